//! Lets libFuzzer look for bytes that panic [`ringfence_fuzz::arguments`].
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: ringfence_fuzz::argument_seeds().sow(),
    |bytes: &[u8]| ringfence_fuzz::arguments(bytes)
);
