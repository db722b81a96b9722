// Package export_local_{{snake}}_text is the tool: wit/world.wit says what its functions are, this
// file what they do. `ringfence build` writes the bindings around it; the package's name is theirs.
package export_local_{{snake}}_text

import (
	"strings"

	witTypes "go.bytecodealliance.org/pkg/wit/types"

	text "wit_component/local_{{snake}}_text"
)

// Measure counts the lines, words and bytes of a text.
func Measure(content string) text.Counts {
	return text.Counts{
		Lines: uint32(len(lines(content))),
		Words: uint32(len(strings.Fields(content))),
		Bytes: uint32(len(content)),
	}
}

// Find lists the lines that contain a phrase. An error becomes a tool error: the caller sees the
// text, and a model can try again.
func Find(content string, phrase string) witTypes.Result[[]text.Hit, string] {
	if phrase == "" {
		return witTypes.Err[[]text.Hit]("the phrase is empty")
	}
	hits := []text.Hit{}
	for index, line := range lines(content) {
		if strings.Contains(line, phrase) {
			hits = append(hits, text.Hit{Line: uint32(index + 1), Text: line})
		}
	}
	return witTypes.Ok[[]text.Hit, string](hits)
}

// lines splits a text; the end of the last line does not begin another.
func lines(content string) []string {
	content = strings.TrimSuffix(content, "\n")
	if content == "" {
		return nil
	}
	return strings.Split(content, "\n")
}
