module top-words

go 1.25
