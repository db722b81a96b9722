//! No text panics the reading of manifests; what is accepted is the same when it is written down and read
//! again, and so is what is refused.

use ringfence_api::{Manifest, TenantName};

/// Reads the bytes as YAML manifests.
pub fn manifests(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let tenant = TenantName::default();
    match Manifest::from_yaml(text, &tenant) {
        Ok(manifests) => {
            for manifest in manifests {
                let again = Manifest::from_json(manifest.to_json(), &tenant);
                assert_eq!(again, Ok(manifest));
            }
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            for problem in problems {
                assert!(!problem.to_string().is_empty());
            }
        }
    }
}
