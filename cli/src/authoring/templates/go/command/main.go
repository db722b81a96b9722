// Command {{name}} is an ordinary program. It reads text on stdin and prints its most frequent
// words; the first argument says how many (10 by default).
package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

func main() {
	most := 10
	if len(os.Args) > 1 {
		number, err := strconv.Atoi(os.Args[1])
		if err != nil || number < 0 {
			fmt.Fprintf(os.Stderr, "how many words? %q is not a number\n", os.Args[1])
			os.Exit(2)
		}
		most = number
	}
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, "cannot read stdin:", err)
		os.Exit(1)
	}
	counts := map[string]int{}
	for word := range strings.FieldsFuncSeq(strings.ToLower(string(text)), func(letter rune) bool {
		return !unicode.IsLetter(letter) && !unicode.IsDigit(letter)
	}) {
		counts[word]++
	}
	words := make([]string, 0, len(counts))
	for word := range counts {
		words = append(words, word)
	}
	// Words of the same frequency in alphabetical order.
	slices.SortFunc(words, func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	for _, word := range words[:min(most, len(words))] {
		fmt.Printf("%d\t%s\n", counts[word], word)
	}
}
