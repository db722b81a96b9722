//! Lets libFuzzer look for bytes that panic [`ringfence_fuzz::manifests`].
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: ringfence_fuzz::manifest_seeds().sow(),
    |bytes: &[u8]| ringfence_fuzz::manifests(bytes)
);
