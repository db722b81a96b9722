// Command top-words counts the words of its standard input and prints the most frequent ones, one a line:
// count, tab, word. It is an ordinary Go program; as a component it becomes a tool that takes arguments
// and standard input.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
	"unicode"
)

func main() {
	most := flag.Int("n", 10, "most words to print")
	least := flag.Int("length", 4, "shortest word that counts, in letters")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "top-words: unexpected argument %q: the text comes on standard input\n", flag.Arg(0))
		os.Exit(2)
	}
	if err := run(os.Stdin, os.Stdout, *most, *least); err != nil {
		fmt.Fprintln(os.Stderr, "top-words:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer, most, least int) error {
	counts, err := count(in, least)
	if err != nil {
		return err
	}
	words := make([]string, 0, len(counts))
	for word := range counts {
		words = append(words, word)
	}
	sort.Slice(words, func(a, b int) bool {
		if counts[words[a]] != counts[words[b]] {
			return counts[words[a]] > counts[words[b]]
		}
		return words[a] < words[b]
	})
	to := bufio.NewWriter(out)
	for _, word := range words[:min(max(most, 0), len(words))] {
		fmt.Fprintf(to, "%d\t%s\n", counts[word], word)
	}
	return to.Flush()
}

func count(in io.Reader, least int) (map[string]int, error) {
	counts := map[string]int{}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		words := strings.FieldsFunc(lines.Text(), func(r rune) bool {
			return !unicode.IsLetter(r) && !unicode.IsDigit(r)
		})
		for _, word := range words {
			if len([]rune(word)) >= least {
				counts[strings.ToLower(word)]++
			}
		}
	}
	return counts, lines.Err()
}
