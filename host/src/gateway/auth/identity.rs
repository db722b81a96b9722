//! Who somebody is, once they are known.

use std::collections::BTreeSet;
use std::sync::Arc;

use ringfence_api::TenantName;
use serde::{Deserialize, Serialize};

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

/// Somebody outside who was authenticated. The REST API finds it in the extensions of each request, as
/// `Arc<Identity>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    name: Arc<str>,
    role: Role,
    tenants: TenantScope,
}

impl Identity {
    /// Somebody by name.
    pub fn new(name: &str, role: Role, tenants: TenantScope) -> Self {
        Self {
            name: name.into(),
            role,
            tenants,
        }
    }

    /// Whoever works on this machine, where no keys are configured.
    pub fn local() -> Self {
        Self::new("local", Role::Admin, TenantScope::All)
    }

    /// The key's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it may change what there is.
    pub fn is_admin(&self) -> bool {
        self.role == Role::Admin
    }

    /// Whether it may enter a tenant. A surface answers 404 for one that it may not.
    pub fn may_enter(&self, tenant: &TenantName) -> bool {
        match &self.tenants {
            TenantScope::All => true,
            TenantScope::Only(names) => names.contains(tenant),
        }
    }

    /// Whether it may enter every tenant.
    pub fn is_everywhere(&self) -> bool {
        self.tenants == TenantScope::All
    }

    /// The principal that calls within a tenant.
    pub fn principal(&self, tenant: &TenantName) -> Arc<Principal> {
        Principal::user(tenant.clone(), &self.name)
    }
}
