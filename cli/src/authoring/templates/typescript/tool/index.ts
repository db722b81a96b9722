// A tool: `wit/world.wit` says what its functions are, this file what they do. Packages of package.json are
// bundled. `ringfence build` takes the types off without a look at them: your editor and `tsc` check them.

interface Counts { lines: number; words: number; bytes: number }
interface Hit { line: number; text: string }

/** Lines without their ends; a text that ends with a line break has no empty line after it. */
const linesOf = (text: string): string[] => {
  const lines = text.split(/\r?\n/);
  if (lines.at(-1) === '') lines.pop();
  return lines;
};

export const text = {
  measure(text: string): Counts {
    return {
      lines: linesOf(text).length,
      words: text.split(/\s+/).filter(Boolean).length,
      bytes: new TextEncoder().encode(text).length,
    };
  },

  // What is thrown becomes a tool error: the caller sees the text, and a model can try again.
  find(text: string, phrase: string): Hit[] {
    if (phrase === '') throw 'the phrase is empty';
    return linesOf(text)
      .map((line, index): Hit => ({ line: index + 1, text: line }))
      .filter((hit) => hit.text.includes(phrase));
  },
};
