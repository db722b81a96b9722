//! Lets libFuzzer look for bytes that panic [`ringfence_fuzz::inspect`].
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: ringfence_fuzz::inspect_seeds().sow(),
    |bytes: &[u8]| ringfence_fuzz::inspect(bytes)
);
