// An agent in JavaScript: it checks the form of the Markdown that it is sent with the tool `markdown` and,
// where it is granted a model, has it suggest how to mend each finding.
import { complete, list as listModels } from 'ringfence:agent/models@0.1.0';
import { call } from 'ringfence:agent/tools@0.1.0';
import { findings } from './findings.js';

const textOf = (parts) => parts.filter((part) => part.tag === 'text').map((part) => part.val).join('\n');
const text = (val) => [{ tag: 'text', val }];
const message = (role, val) => ({ role, content: text(val), toolCalls: [], toolResults: [] });

export const handler = {
  handle(messages) {
    const last = messages.at(-1);
    const document = last ? textOf(last.content) : '';
    if (!document.trim()) throw { tag: 'invalid', val: 'send the Markdown text to check' };

    const result = call({ name: 'markdown_outline', arguments: JSON.stringify({ text: document }) });
    const answer = result.structured ?? textOf(result.content);
    if (result.isError) throw { tag: 'failed', val: answer };
    const found = findings(JSON.parse(answer));
    if (found.length === 0) return text('The form of the document is sound.');

    const report = found.map((finding) => `- ${finding}`).join('\n');
    const model = firstModel();
    return text(model ? `${report}\n\n${advise(model, document, report)}` : report);
  },
};

/** The first granted model; none where no model is granted. */
function firstModel() {
  try {
    return listModels()[0]?.name;
  } catch (error) {
    if (error.payload?.tag === 'denied') return undefined;
    throw error.payload ?? error;
  }
}

function advise(model, document, report) {
  const completion = complete({
    model,
    messages: [
      message('system', 'Say in one sentence each how to mend these findings. Keep the facts of the document.'),
      message('user', `Findings:\n${report}\n\nDocument:\n${document}`),
    ],
    tools: [],
    toolChoice: { tag: 'auto' },
    options: { maxTokens: 1000, stop: [] },
  });
  return textOf(completion.message.content);
}
