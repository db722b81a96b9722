//! Who somebody is, once they are known.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use ringfence_api::{Name, TenantName};
use serde::{Deserialize, Serialize};

use super::cluster::{Access, AccessQuestion, Subject, Unreviewed};
use super::permission::{AGENTS, MODELS, Permission, RUNS, Refused, TOOLS, Visible};
use crate::mediation::Principal;

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Calls, and changes what there is.
    Admin,
    /// Calls.
    Caller,
}

/// The tenants that a key may enter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TenantScope {
    /// Every tenant, those to come included. Written `"*"`.
    All,
    /// These. Written as a list.
    Only(BTreeSet<TenantName>),
}

impl TenantScope {
    fn has(&self, tenant: &TenantName) -> bool {
        match self {
            TenantScope::All => true,
            TenantScope::Only(names) => names.contains(tenant),
        }
    }
}

impl Serialize for TenantScope {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            TenantScope::All => serializer.serialize_str("*"),
            TenantScope::Only(names) => names.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for TenantScope {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Scope;

        impl<'de> serde::de::Visitor<'de> for Scope {
            type Value = TenantScope;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("\"*\" or a list of tenants")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<TenantScope, E> {
                match text {
                    "*" => Ok(TenantScope::All),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut names: A,
            ) -> Result<TenantScope, A::Error> {
                let mut only = BTreeSet::new();
                while let Some(name) = names.next_element()? {
                    only.insert(name);
                }
                Ok(TenantScope::Only(only))
            }
        }

        deserializer.deserialize_any(Scope)
    }
}

/// Names of one kind that are looked at one by one for a list, where somebody may use some only. What
/// comes after them can be used, but is not listed.
pub const LISTED_BY_NAME: usize = 512;
/// Of those, names that are asked about at the same time.
const AT_ONCE: usize = 16;

/// Somebody outside who was authenticated. The REST API finds it in the extensions of each request, as
/// `Arc<Identity>`.
#[derive(Debug)]
pub struct Identity {
    name: Arc<str>,
    rights: Rights,
}

/// Where it is written what somebody may do.
#[derive(Debug)]
enum Rights {
    /// With their API key.
    Key { role: Role, tenants: TenantScope },
    /// In the roles of their cluster.
    Cluster {
        subject: Subject,
        access: Arc<Access>,
    },
}

impl Identity {
    /// Somebody with an API key.
    pub fn new(name: &str, role: Role, tenants: TenantScope) -> Self {
        Self {
            name: name.into(),
            rights: Rights::Key { role, tenants },
        }
    }

    /// Whoever works on this machine, where no keys are configured.
    pub fn local() -> Self {
        Self::new("local", Role::Admin, TenantScope::All)
    }

    /// A user of the cluster.
    pub(super) fn of_cluster(subject: Subject, access: Arc<Access>) -> Self {
        Self {
            name: subject.name().clone(),
            rights: Rights::Cluster { subject, access },
        }
    }

    /// The key's name, or that of the cluster's user.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether both are the same, with the same rights: a session of one is one of the other.
    pub(in crate::gateway) fn is(&self, other: &Self) -> bool {
        match (&self.rights, &other.rights) {
            (Rights::Key { .. }, Rights::Key { .. }) => self.name == other.name,
            (Rights::Cluster { subject: a, .. }, Rights::Cluster { subject: b, .. }) => a.is(b),
            _ => false,
        }
    }

    /// Whether it is an API key that may only call.
    pub(in crate::gateway) fn is_caller_key(&self) -> bool {
        matches!(
            self.rights,
            Rights::Key {
                role: Role::Caller,
                ..
            }
        )
    }

    /// Whether it is an API key for every tenant, those to come included.
    pub fn is_everywhere(&self) -> bool {
        matches!(
            self.rights,
            Rights::Key {
                tenants: TenantScope::All,
                ..
            }
        )
    }

    /// Whether it may see what others have run in a tenant: an admin's key, or `list` on runs.
    pub(in crate::gateway) async fn sees_runs_of_others(
        &self,
        tenant: &TenantName,
    ) -> Result<bool, Unreviewed> {
        match &self.rights {
            Rights::Key { role, tenants } => Ok(*role == Role::Admin && tenants.has(tenant)),
            Rights::Cluster { subject, access } => {
                let list = Permission::all("list", RUNS);
                let question = AccessQuestion::In(tenant.clone(), list);
                access.allows(subject, question).await
            }
        }
    }

    /// Those of the tenants that it may know of: where it may list agents, tools or models.
    pub(in crate::gateway) async fn knows(
        &self,
        tenants: Vec<TenantName>,
    ) -> Result<Vec<TenantName>, Unreviewed> {
        let (subject, access) = match &self.rights {
            Rights::Key { tenants: own, .. } => {
                return Ok(tenants.into_iter().filter(|name| own.has(name)).collect());
            }
            Rights::Cluster { subject, access } => (subject, access),
        };
        let each = tenants
            .into_iter()
            .take(LISTED_BY_NAME)
            .map(|tenant| async move {
                for resource in [AGENTS, TOOLS, MODELS] {
                    let list = Permission::all("list", resource);
                    let question = AccessQuestion::In(tenant.clone(), list);
                    if access.allows(subject, question).await? {
                        return Ok(Some(tenant));
                    }
                }
                Ok::<_, Unreviewed>(None)
            });
        let known: Vec<Option<TenantName>> = futures::stream::iter(each)
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(known.into_iter().flatten().collect())
    }

    /// Whether it may come to the door of a tenant: what it may do there is asked for each thing that it
    /// does. A surface answers 404 where it may not.
    pub(in crate::gateway) fn may_knock(&self, tenant: &TenantName) -> bool {
        match &self.rights {
            Rights::Key { tenants, .. } => tenants.has(tenant),
            Rights::Cluster { .. } => true,
        }
    }

    /// Asks for a permission in a tenant.
    pub(in crate::gateway) async fn permit(
        self: &Arc<Self>,
        tenant: &TenantName,
        permission: Permission,
    ) -> Result<Permit, Refused> {
        self.check(tenant, permission).await?;
        Ok(Permit {
            tenant: tenant.clone(),
            identity: self.clone(),
        })
    }

    /// Whether it has a permission in a tenant. Who has not, but may list what there is of the kind, is
    /// told so; everybody else learns nothing that they would not learn of a tenant that does not exist.
    pub(in crate::gateway) async fn check(
        &self,
        tenant: &TenantName,
        permission: Permission,
    ) -> Result<(), Refused> {
        match &self.rights {
            Rights::Key { tenants, .. } if !tenants.has(tenant) => Err(Refused::Hidden),
            Rights::Key { role, .. } => {
                if permission.is_use() || *role == Role::Admin {
                    return Ok(());
                }
                let why = "this needs a key with the role admin";
                Err(Refused::Denied(why.to_owned()))
            }
            Rights::Cluster { subject, access } => {
                let ask = |permission| {
                    access.allows(subject, AccessQuestion::In(tenant.clone(), permission))
                };
                let resource = permission.resource;
                if ask(permission.clone()).await? {
                    return Ok(());
                }
                if permission.verb == "list" || !ask(Permission::all("list", resource)).await? {
                    return Err(Refused::Hidden);
                }
                Err(Refused::Denied(format!(
                    "no role of {:?} in the namespace {tenant} allows it to {permission}",
                    subject.user()
                )))
            }
        }
    }

    /// Which resources of a kind it may use with a verb. `names` are those that there are.
    pub(in crate::gateway) async fn sees(
        &self,
        tenant: &TenantName,
        verb: &'static str,
        resource: &'static str,
        names: impl FnOnce() -> Vec<Name>,
    ) -> Result<Visible, Unreviewed> {
        let (subject, access) = match &self.rights {
            Rights::Key { tenants, .. } if tenants.has(tenant) => return Ok(Visible::All),
            Rights::Key { .. } => return Ok(Visible::Only(BTreeSet::new())),
            Rights::Cluster { subject, access } => (subject, access),
        };
        let ask =
            |permission| access.allows(subject, AccessQuestion::In(tenant.clone(), permission));
        if ask(Permission::all(verb, resource)).await? {
            return Ok(Visible::All);
        }
        let each = names().into_iter().take(LISTED_BY_NAME).map(|name| {
            let answer = ask(Permission::one(verb, resource, &name));
            async move { Ok::<_, Unreviewed>(answer.await?.then_some(name)) }
        });
        let seen: Vec<Option<Name>> = futures::stream::iter(each)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(Visible::Only(seen.into_iter().flatten().collect()))
    }

    /// Whether it may read the metrics of the host, which name tenants: an admin's key for all tenants, or
    /// in a cluster `get` on the path `/metrics`, as for the cluster's own parts.
    pub(in crate::gateway) async fn may_read_metrics(&self) -> Result<bool, Unreviewed> {
        match &self.rights {
            Rights::Key { role, tenants } => {
                Ok(*role == Role::Admin && *tenants == TenantScope::All)
            }
            Rights::Cluster { subject, access } => {
                access
                    .allows(subject, AccessQuestion::Path("/metrics"))
                    .await
            }
        }
    }

    /// The principal that calls within a tenant.
    pub fn principal(&self, tenant: &TenantName) -> Arc<Principal> {
        Principal::user(tenant.clone(), &self.name)
    }
}

/// That somebody may do what they ask for in a tenant: whoever starts a call has to hold one.
#[derive(Debug)]
pub(in crate::gateway) struct Permit {
    pub(in crate::gateway) tenant: TenantName,
    pub(in crate::gateway) identity: Arc<Identity>,
}
