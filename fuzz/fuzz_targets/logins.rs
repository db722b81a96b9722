//! Lets libFuzzer look for bytes that panic [`ringfence_fuzz::logins`].
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: ringfence_fuzz::login_seeds().sow(),
    |bytes: &[u8]| ringfence_fuzz::logins(bytes)
);
