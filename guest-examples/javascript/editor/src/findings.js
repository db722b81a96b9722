// What is wrong with the form of a document, from its outline.

/** Sentences about an outline as `markdown_outline` gives it; none for a sound document. */
export function findings({ headings, links, tasks, words }) {
  const found = [];
  const titles = headings.filter((heading) => heading.level === 1).length;
  if (titles !== 1) found.push(`There are ${titles} titles; one is expected.`);
  headings.forEach((heading, at) => {
    const before = headings[at - 1]?.level ?? heading.level;
    if (heading.level > before + 1) found.push(`"${heading.text}" skips from level ${before} to ${heading.level}.`);
  });
  for (const [name, count] of counted(headings.map((heading) => heading.text))) {
    if (count > 1) found.push(`The heading "${name}" is there ${count} times.`);
  }
  for (const link of links) {
    if (!link.text.trim()) found.push(`The ${link.image ? 'picture' : 'link'} to ${link.target} has no text.`);
    if (!link.target) found.push(`The link "${link.text}" leads nowhere.`);
    if (link.target.startsWith('http:')) found.push(`The link to ${link.target} is not encrypted.`);
  }
  const open = tasks.filter((task) => !task.done);
  if (open.length > 0) found.push(`${open.length} of ${tasks.length} tasks are open: ${open.map((t) => t.text).join('; ')}.`);
  if (headings.length === 0 && words > 300) found.push(`${words} words stand without a single heading.`);
  return found;
}

function counted(items) {
  const counts = new Map();
  for (const item of items) counts.set(item, (counts.get(item) ?? 0) + 1);
  return counts;
}
