//! Lets libFuzzer look for bytes that panic [`ringfence_fuzz::inspect`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringfence_fuzz::inspect(bytes));
