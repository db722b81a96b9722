import assert from 'node:assert/strict';
import { test } from 'node:test';
import { outline, tables, toHtml } from './src/index.js';

test('a document is listed', () => {
  const text = '# A *b*\n\nOne [two](https://example.com) three.\n\n- [x] done\n- [ ] open\n\n![p](p.png)\n';
  assert.deepEqual(outline(text), {
    headings: [{ level: 1, text: 'A b' }],
    links: [
      { target: 'https://example.com', text: 'two', image: false },
      { target: 'p.png', text: 'p', image: true },
    ],
    tasks: [{ text: 'done', done: true }, { text: 'open', done: false }],
    words: 6,
  });
});

test('tables come with their header', () => {
  assert.deepEqual(tables('|a|b|\n|-|-|\n|1|`2`|\n'), [[['a', 'b'], ['1', '2']]]);
});

test('HTML and dangerous links do not pass', () => {
  const html = toHtml('<script>x</script>\n\n[a](javascript:x) <b>b</b>');
  assert.ok(!html.includes('<script') && !html.includes('<b>') && !html.includes('href'), html);
});
