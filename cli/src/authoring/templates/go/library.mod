module wit_component

go 1.25

require go.bytecodealliance.org/pkg v0.4.0

// `ringfence build` brings the package that the generated bindings import.
replace go.bytecodealliance.org/pkg => ./.ringfence/go-pkg
