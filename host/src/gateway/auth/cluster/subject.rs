//! Somebody as the API server describes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::authentication::v1::UserInfo;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// What precedes the name of a user of the cluster: no API key's name has a colon, so that neither can be
/// taken for the other in records.
const PREFIX: &str = "kubernetes:";
/// Bytes of everything that the API server says about one user.
const LONGEST: usize = 32 << 10;
/// Bytes of a name.
const LONGEST_NAME: usize = 1024;

/// A user of the cluster.
#[derive(Debug)]
pub(in crate::gateway::auth) struct Subject {
    pub(super) info: Info,
    /// Of everything about the user: who gets another group is somebody else.
    pub(super) digest: [u8; 32],
    name: Arc<str>,
}

/// What a SubjectAccessReview repeats of a TokenReview.
#[derive(Debug, Serialize)]
pub(super) struct Info {
    pub(super) user: String,
    pub(super) uid: Option<String>,
    pub(super) groups: Vec<String>,
    pub(super) extra: BTreeMap<String, Vec<String>>,
}

impl Subject {
    /// Takes what a TokenReview says; none where it names nobody, or more than anybody is kept with.
    pub(super) fn new(user: UserInfo) -> Option<Self> {
        let info = Info {
            user: user.username.filter(|name| !name.is_empty())?,
            uid: user.uid,
            groups: user.groups.unwrap_or_default(),
            extra: user.extra.unwrap_or_default(),
        };
        let text = serde_json::to_vec(&info).ok()?;
        if text.len() > LONGEST || info.user.len() > LONGEST_NAME {
            tracing::warn!(
                bytes = text.len(),
                "somebody is refused: the API server says more about them than a host keeps ({LONGEST} bytes)"
            );
            return None;
        }
        Some(Self {
            name: format!("{PREFIX}{}", info.user).into(),
            digest: Sha256::digest(text).into(),
            info,
        })
    }

    /// The name, for records and for sessions.
    pub(in crate::gateway::auth) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The user's own name, as the cluster has it.
    pub(in crate::gateway::auth) fn user(&self) -> &str {
        &self.info.user
    }

    /// Whether both are the same user with the same groups.
    pub(in crate::gateway::auth) fn is(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, groups: &[&str]) -> UserInfo {
        UserInfo {
            username: Some(name.to_owned()),
            groups: Some(groups.iter().map(|group| (*group).to_owned()).collect()),
            ..UserInfo::default()
        }
    }

    #[test]
    fn nobody_is_no_subject_and_neither_is_too_much() {
        assert!(Subject::new(UserInfo::default()).is_none());
        assert!(Subject::new(user("", &["a"])).is_none());
        let many = vec!["group"; LONGEST / 6];
        assert!(Subject::new(user("ada", &many)).is_none());
        assert!(Subject::new(user(&"a".repeat(LONGEST_NAME + 1), &[])).is_none());
    }

    #[test]
    fn other_groups_are_another_subject_and_a_name_cannot_be_that_of_a_key() {
        let one = Subject::new(user("ada", &["a"])).unwrap();
        assert!(one.is(&Subject::new(user("ada", &["a"])).unwrap()));
        assert!(!one.is(&Subject::new(user("ada", &["a", "b"])).unwrap()));
        assert_eq!(&**one.name(), "kubernetes:ada");
    }
}
