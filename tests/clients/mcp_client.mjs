// The official TypeScript SDK, unmodified, against a tenant's MCP endpoint (fixtures.yaml is applied).
import assert from 'node:assert/strict';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const connect = async (path) => {
  const client = new Client({ name: 'test', version: '1' });
  const url = new URL(process.env.TENANT_URL + path);
  const transport = new StreamableHTTPClientTransport(url);
  await client.connect(transport);
  return { client, transport, url };
};

const { client, transport, url } = await connect('/mcp');
assert.equal(client.getServerVersion().name, 'ringfence');
assert.equal(client.getServerCapabilities().tools.listChanged, true);
const { tools } = await client.listTools();
const add = tools.find((tool) => tool.name === 'echo_add');
assert.deepEqual(Object.keys(add.inputSchema.properties), ['a', 'b']);

const call = (name, args) => client.callTool({ name, arguments: args });
assert.equal((await call('echo_echo', { text: 'hi' })).content[0].text, 'hi');
const failed = await call('echo_fail', { why: 'on purpose' });
assert.equal(failed.isError, true);
assert.match(failed.content[0].text, /on purpose/);
const wrong = await call('echo_add', { a: 'x', b: 1 });
assert.equal(wrong.isError, true);
assert.equal(wrong._meta['ringfence.dev/error'].code, 'invalid');
await assert.rejects(call('echo_nothing', {}), /-32602|Unknown tool/);
await assert.rejects(client.listPrompts(), /prompts|-32601/);

const image = await call('conformance_test_image_content', {});
assert.equal(image.content[0].type, 'image');

const progress = [];
await client.callTool({ name: 'conformance_test_tool_with_progress', arguments: {} }, undefined, {
  onprogress: (report) => progress.push(report.progress),
});
assert(progress.length >= 3 && progress.every((p, i) => i === 0 || p > progress[i - 1]), `${progress}`);

// A canceled call ends on the server too: the client does not wait for it, nor does the gateway.
const giveUp = new AbortController();
const slow = client.callTool({ name: 'sleep_sleep_ms', arguments: { ms: 30000 } }, undefined, {
  signal: giveUp.signal,
});
setTimeout(() => giveUp.abort(), 200);
const began = Date.now();
await assert.rejects(slow);
assert(Date.now() - began < 5000);

// A session is good for the endpoint that opened it, and for no other.
const post = (target, headers) =>
  fetch(target, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-session-id': transport.sessionId,
      ...headers,
    },
    body: '{"jsonrpc":"2.0","id":77,"method":"tools/list"}',
  });
assert.equal((await post(url)).status, 200);
assert.equal((await post(process.env.TENANT_URL + '/tools/echo/mcp')).status, 404);
assert.equal((await post(url, { origin: 'http://evil.example' })).status, 403);
await transport.terminateSession();
assert.equal((await post(url)).status, 404);
await client.close();

const one = await connect('/tools/echo/mcp');
assert.deepEqual((await one.client.listTools()).tools.map((t) => t.name).sort(), ['add', 'echo', 'fail']);
await one.client.close();
await assert.rejects(connect('/tools/nothing/mcp'));
console.log('mcp-typescript: ok');
