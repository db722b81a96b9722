import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findings } from './src/findings.js';

const sound = { headings: [{ level: 1, text: 'A' }, { level: 2, text: 'B' }], links: [], tasks: [], words: 10 };

test('a sound document has no findings', () => assert.deepEqual(findings(sound), []));

test('each flaw is found', () => {
  const found = findings({
    headings: [{ level: 2, text: 'B' }, { level: 4, text: 'B' }],
    links: [{ target: 'http://example.com', text: ' ', image: false }],
    tasks: [{ text: 'call', done: false }, { text: 'write', done: true }],
    words: 10,
  });
  for (const words of ['0 titles', 'from level 2 to 4', 'there 2 times', 'no text', 'not encrypted', '1 of 2 tasks']) {
    assert.ok(found.some((finding) => finding.includes(words)), words);
  }
});
