//! No bytes panic the inspection of a component.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringfence_host::artifact::inspect::inspect;

fuzz_target!(|bytes: &[u8]| {
    if let Err(error) = inspect(bytes) {
        assert!(!error.to_string().is_empty());
    }
});
