package main

import (
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	var out strings.Builder
	text := "Über den Wolken, über den Bergen.\nWolken!\n"
	if err := run(strings.NewReader(text), &out, 2, 4); err != nil {
		t.Fatal(err)
	}
	if want := "2\twolken\n2\tüber\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}
