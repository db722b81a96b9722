// OpenAI's own JavaScript client, unmodified, against a tenant's /v1 (fixtures.yaml is applied there).
import assert from 'node:assert/strict';
import OpenAI from 'openai';

const client = new OpenAI({ baseURL: `${process.env.TENANT_URL}/v1`, apiKey: 'unused' });
const user = (text) => [{ role: 'user', content: text }];

const ids = [];
for await (const model of client.models.list()) ids.push(model.id);
for (const id of ['repeater', 'streamer', 'model/scripted']) assert(ids.includes(id), `${ids}`);
assert.equal((await client.models.retrieve('model/scripted')).id, 'model/scripted');

const answer = await client.chat.completions.create({ model: 'repeater', messages: user('hello') });
assert.equal(answer.choices[0].message.content, 'hello');

// The agent emits each word, then answers with all of them: they must come once.
let pieces = 0;
const helper = client.chat.completions.stream({ model: 'streamer', messages: user('one two three') });
helper.on('content', () => (pieces += 1));
assert.equal(await helper.finalContent(), 'one two three');
assert(pieces >= 3, 'it came in one piece');

const tool = {
  type: 'function',
  function: { name: 'weather', parameters: { type: 'object', properties: {} } },
};
const asked = client.chat.completions.stream({ model: 'model/scripted', messages: user('hi'), tools: [tool] });
const turn = (await asked.finalChatCompletion()).choices[0];
assert.equal(turn.finish_reason, 'tool_calls');
assert.equal(turn.message.tool_calls[0].function.name, 'weather');
assert.deepEqual(JSON.parse(turn.message.tool_calls[0].function.arguments), { city: 'Oslo' });

const denied = client.chat.completions.create({ model: 'muted', messages: user('x'), stream: true });
await assert.rejects(denied, (error) => {
  assert(error instanceof OpenAI.PermissionDeniedError);
  assert.equal(error.code, 'denied');
  assert.equal(error.headers.get('x-should-retry'), 'false');
  return true;
});
await assert.rejects(
  client.chat.completions.create({ model: 'repeater', messages: user('x'), n: 2 }),
  OpenAI.BadRequestError,
);
console.log('openai-js: ok');
