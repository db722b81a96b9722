// An agent: it hands the conversation to a model, makes the calls that the model asks for, and answers when the
// model has no more to ask. `ringfence build` takes the types off without a look at them: your editor and `tsc`
// check them.
import { complete, list as listModels, type Request } from 'ringfence:agent/models@0.1.0';
import { callAll, list as listTools } from 'ringfence:agent/tools@0.1.0';
import type { Message, Part, ToolResult } from 'ringfence:agent/types@0.1.0';

// Most turns of the model before the agent gives up.
const TURNS = 8;

const INSTRUCTIONS = 'Answer briefly. Use the tools for facts and calculations.';

const text = (value: string): Part => ({ tag: 'text', val: value });
const message = (role: Message['role'], fields: Partial<Message>): Message => ({
  role,
  content: [],
  toolCalls: [],
  toolResults: [],
  ...fields,
});

export const handler = {
  handle(messages: Message[]): Part[] {
    // Only what was granted is listed; the first model is the default one.
    const [model] = listModels();
    if (!model) throw { tag: 'invalid', val: 'this agent has no model' };
    const request: Request = {
      model: model.name,
      messages: [message('system', { content: [text(INSTRUCTIONS)] }), ...messages],
      tools: listTools().map(({ name, description, inputSchema }) => ({
        name,
        description,
        parameters: inputSchema,
      })),
      toolChoice: { tag: 'auto' },
      options: { stop: [] },
    };
    for (let turns = 0; turns < TURNS; turns += 1) {
      const turn = complete(request).message;
      if (turn.toolCalls.length === 0) return turn.content;
      // The host makes the calls at the same time, each in the tool's own sandbox.
      const calls = turn.toolCalls.map(({ name, arguments: json }) => ({ name, arguments: json }));
      const toolResults = callAll(calls).map((result, index): ToolResult => {
        const { id } = turn.toolCalls[index]!;
        if (result.tag === 'ok') return { id, content: result.val.content, isError: result.val.isError };
        // A call that fails is not the end: the model reads why.
        return { id, content: [text(JSON.stringify(result.val))], isError: true };
      });
      request.messages.push(turn, message('tool', { toolResults }));
    }
    throw { tag: 'failed', val: `the model had no answer after ${TURNS} turns` };
  },
};
