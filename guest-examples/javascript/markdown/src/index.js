// A tool that reads and renders Markdown, with the npm package `markdown-it`. It needs no grants at all.
import MarkdownIt from 'markdown-it';

// HTML inside a text is shown as text, and links that could run a script stay text: the defaults.
const markdown = new MarkdownIt({ html: false, linkify: false });

/** The text of inline tokens without their markup. */
const plain = (tokens) =>
  (tokens ?? [])
    .map((token) => {
      if (token.type === 'image') return plain(token.children);
      return token.type === 'softbreak' || token.type === 'hardbreak' ? ' ' : token.content;
    })
    .join('');

const countWords = (text) => text.split(/\s+/u).filter(Boolean).length;

export function outline(text) {
  const structure = { headings: [], links: [], tasks: [], words: 0 };
  const tokens = markdown.parse(text, {});
  tokens.forEach((token, at) => {
    if (token.type !== 'inline') return;
    structure.links.push(...links(token.children));
    const content = plain(token.children);
    const opened = tokens[at - 1];
    if (opened.type === 'heading_open') {
      structure.headings.push({ level: Number(opened.tag.slice(1)), text: content });
      return;
    }
    if (opened.type !== 'paragraph_open') return;
    const task = tokens[at - 2]?.type === 'list_item_open' && /^\[([ xX])\]\s+(.*)$/su.exec(content);
    if (task) structure.tasks.push({ text: task[2].trim(), done: task[1] !== ' ' });
    structure.words += countWords(task ? task[2] : content);
  });
  return structure;
}

/** Links and pictures of inline tokens; a link's text is what stands between its two ends. */
function links(tokens) {
  const found = [];
  tokens.forEach((token, at) => {
    if (token.type === 'image') {
      found.push({ target: token.attrGet('src') ?? '', text: plain(token.children), image: true });
    } else if (token.type === 'link_open') {
      const end = tokens.findIndex((other, index) => index > at && other.type === 'link_close');
      found.push({ target: token.attrGet('href') ?? '', text: plain(tokens.slice(at + 1, end)), image: false });
    }
  });
  return found;
}

export function toHtml(text) {
  return markdown.render(text);
}

export function tables(text) {
  const found = [];
  const tokens = markdown.parse(text, {});
  tokens.forEach((token, at) => {
    if (token.type === 'table_open') found.push([]);
    else if (token.type === 'tr_open') found.at(-1).push([]);
    else if (token.type === 'th_open' || token.type === 'td_open') {
      // A cell is three tokens: its opening, what is in it, its end.
      found.at(-1).at(-1).push(plain(tokens[at + 1].children));
    }
  });
  return found;
}
