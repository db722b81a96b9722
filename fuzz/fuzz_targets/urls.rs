//! Lets libFuzzer look for bytes that panic [`ringfence_fuzz::urls`].
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: ringfence_fuzz::url_seeds().sow(),
    |bytes: &[u8]| ringfence_fuzz::urls(bytes)
);
