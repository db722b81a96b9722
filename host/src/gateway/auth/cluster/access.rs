//! What somebody may do: SubjectAccessReview.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};
use ringfence_api::{API_GROUP, TenantName};
use tokio::sync::Semaphore;

use super::Subject;
use super::reviews::{Bounds, Fresh, Reviews, Unreviewed};
use crate::gateway::auth::permission::Permission;
use crate::telemetry::Metrics;

/// How long somebody is known to be allowed something: what is taken from them is refused that soon.
const KEEP_YES: Duration = Duration::from_secs(10);
/// How long they are known not to be.
const KEEP_NO: Duration = Duration::from_secs(5);
/// Questions that are asked at the same time.
const AT_ONCE: usize = 32;
const BOUNDS: Bounds = Bounds {
    kind: "access",
    yes: 16_384,
    no: 8_192,
    open: 4_096,
};

/// What can be asked about somebody.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::gateway::auth) enum AccessQuestion {
    /// May they do this in this tenant?
    In(TenantName, Permission),
    /// May they read this path of a host, which belongs to no tenant?
    Path(&'static str),
}

/// Digest of a subject, and what is asked about them.
type Key = ([u8; 32], AccessQuestion);

/// What everybody may do, as far as it is known.
pub(in crate::gateway::auth) struct Access {
    client: Client,
    reviews: Reviews<Key, bool>,
    turns: Arc<Semaphore>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").finish_non_exhaustive()
    }
}

impl Access {
    pub(super) fn new(client: Client, metrics: Arc<Metrics>) -> Self {
        Self {
            client,
            reviews: Reviews::new(BOUNDS, metrics),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Whether somebody may.
    pub(in crate::gateway::auth) async fn allows(
        &self,
        subject: &Subject,
        question: AccessQuestion,
    ) -> Result<bool, Unreviewed> {
        let ask = |key: &Key| {
            let spec = spec(subject, &key.1);
            ask(self.client.clone(), spec, self.turns.clone())
        };
        self.reviews.get((subject.digest, question), ask).await
    }
}

fn spec(subject: &Subject, question: &AccessQuestion) -> SubjectAccessReviewSpec {
    let info = &subject.info;
    let of_resource = |permission: &Permission, tenant: &TenantName| ResourceAttributes {
        group: Some(API_GROUP.to_owned()),
        namespace: Some(tenant.to_string()),
        resource: Some(permission.resource.to_owned()),
        verb: Some(permission.verb.to_owned()),
        name: permission.name.as_ref().map(ToString::to_string),
        ..ResourceAttributes::default()
    };
    let (resource, path) = match question {
        AccessQuestion::In(tenant, permission) => (Some(of_resource(permission, tenant)), None),
        AccessQuestion::Path(path) => (
            None,
            Some(NonResourceAttributes {
                path: Some((*path).to_owned()),
                verb: Some("get".to_owned()),
            }),
        ),
    };
    SubjectAccessReviewSpec {
        user: Some(info.user.clone()),
        uid: info.uid.clone(),
        groups: Some(info.groups.clone()),
        extra: Some(info.extra.clone()),
        resource_attributes: resource,
        non_resource_attributes: path,
    }
}

async fn ask(
    client: Client,
    spec: SubjectAccessReviewSpec,
    turns: Arc<Semaphore>,
) -> Result<Fresh<bool>, Unreviewed> {
    let _turn = turns.acquire().await.map_err(|_| Unreviewed::Away)?;
    let review = SubjectAccessReview {
        spec,
        ..SubjectAccessReview::default()
    };
    let reviewed = Api::<SubjectAccessReview>::all(client)
        .create(&PostParams::default(), &review)
        .await
        .map_err(|error| {
            tracing::warn!(
                %error,
                "what a caller may do could not be asked: may the host create subjectaccessreviews (system:auth-delegator)?"
            );
            Unreviewed::Away
        })?;
    let yes = reviewed.status.is_some_and(|status| status.allowed);
    Ok(Fresh {
        value: yes,
        yes,
        keep: if yes { KEEP_YES } else { KEEP_NO },
    })
}
