//! Which of two versions of an object is the newer one.

use kube::api::ObjectMeta;

/// Whether `seen` takes the place of `known`: it is another object of that name, or a later version.
/// Resource versions of one object may be compared as numbers (Kubernetes 1.35, KEP-5504; every version
/// before it did so too). Where they are none, the one that was seen last counts.
pub(crate) fn newer(seen: &ObjectMeta, known: &ObjectMeta) -> bool {
    if seen.uid != known.uid {
        return true;
    }
    let version = |meta: &ObjectMeta| meta.resource_version.as_ref()?.parse::<u64>().ok();
    match (version(seen), version(known)) {
        (Some(seen), Some(known)) => seen > known,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(uid: &str, version: &str) -> ObjectMeta {
        ObjectMeta {
            uid: Some(uid.into()),
            resource_version: Some(version.into()),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn versions_are_numbers() {
        assert!(newer(&meta("a", "10"), &meta("a", "9")));
        assert!(!newer(&meta("a", "9"), &meta("a", "10")));
        assert!(!newer(&meta("a", "9"), &meta("a", "9")));
        assert!(newer(&meta("b", "1"), &meta("a", "9")), "another object");
    }
}
