//! No bytes panic the inspection of a component.

/// Inspects the bytes.
pub fn inspect(bytes: &[u8]) {
    if let Err(error) = ringfence_host::artifact::inspect::inspect(bytes) {
        assert!(!error.to_string().is_empty());
    }
}
