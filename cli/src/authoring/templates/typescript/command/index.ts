// A command-line tool: it reads text on stdin and prints its most frequent words; the first argument says how
// many (10 by default). `ringfence build` takes the types off without a look at them: your editor and `tsc` check
// them.
import { getArguments } from 'wasi:cli/environment@0.2.12';
import { getStdin } from 'wasi:cli/stdin@0.2.12';
import { getStdout } from 'wasi:cli/stdout@0.2.12';

function readAll(stream: ReturnType<typeof getStdin>): string {
  const decoder = new TextDecoder();
  let text = '';
  for (;;) {
    try {
      text += decoder.decode(stream.blockingRead(65536n), { stream: true });
    } catch (error) {
      // The end of a WASI stream is the error `closed`.
      const thrown = error as { payload?: { tag?: string }; tag?: string };
      if ((thrown.payload ?? thrown).tag !== 'closed') throw error;
      return text + decoder.decode();
    }
  }
}

function writeAll(stream: ReturnType<typeof getStdout>, text: string): void {
  const bytes = new TextEncoder().encode(text);
  // A stream takes at most 4096 bytes at once.
  for (let start = 0; start < bytes.length; start += 4096) {
    stream.blockingWriteAndFlush(bytes.subarray(start, start + 4096));
  }
}

export const run = {
  run(): void {
    const [, argument = '10'] = getArguments();
    const most = Number(argument);
    if (!Number.isInteger(most) || most < 0) {
      console.error(`how many words? ${argument} is not a number`);
      // The exit code becomes 1.
      throw undefined;
    }
    const counts = new Map<string, number>();
    // The engine has no Unicode properties in regular expressions: what is not ASCII counts as a letter.
    for (const [word] of readAll(getStdin()).toLowerCase().matchAll(/[a-z0-9\u0080-\uffff]+/g)) {
      counts.set(word, (counts.get(word) ?? 0) + 1);
    }
    // Words of the same frequency in alphabetical order.
    const words = [...counts].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1));
    writeAll(getStdout(), words.slice(0, most).map(([word, count]) => `${count}\t${word}\n`).join(''));
  },
};
