//! Names of resources, tenants and functions, checked when they are parsed.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not a DNS label (RFC 1123), which every resource name has to be.
    #[error(
        "{0:?} is not a valid name: use 1 to 63 lower-case letters, digits and '-', starting and ending with a letter or digit"
    )]
    Label(String),
    /// Not a function name.
    #[error("{0:?} is not a valid function name: use 1 to 64 letters, digits, '_', '-' and '.'")]
    Function(String),
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $check:ident, $error:ident, $pattern:literal, $max:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(with = "String", extend("pattern" = $pattern, "maxLength" = $max))]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                if $check(text) { Ok(Self(text.into())) } else { Err(NameError::$error(text.to_owned())) }
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

name_type!(
    /// Name of a resource within its tenant: a DNS label, so it never contains `_` or `.`.
    Name, is_label, Label, "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", 63
);
name_type!(
    /// Name of a tenant: a namespace, so a DNS label too.
    TenantName, is_label, Label, "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", 63
);
name_type!(
    /// Name of one function of a tool.
    FunctionName, is_function, Function, "^[a-zA-Z0-9_.-]{1,64}$", 64
);

impl Name {
    /// A name that is written in the source.
    ///
    /// # Panics
    /// The literal is no name.
    #[allow(
        clippy::panic,
        reason = "the argument is a literal: the first test that gets here tells"
    )]
    pub fn well_known(literal: &'static str) -> Self {
        match literal.parse() {
            Ok(name) => name,
            Err(error) => panic!("{error}"),
        }
    }
}

impl TenantName {
    /// The tenant that owns what ships inside the host. Nobody else may use it.
    pub const SYSTEM: &str = "ringfence-system";

    /// Names that begin the gateway's own paths: a tenant of that name could not be reached.
    pub const RESERVED: [&str; 5] = ["api", "healthz", "metrics", "readyz", "ui"];

    /// Whether this is [`TenantName::SYSTEM`].
    pub fn is_system(&self) -> bool {
        self.as_str() == Self::SYSTEM
    }

    /// Whether this is one of [`TenantName::RESERVED`].
    pub fn is_reserved(&self) -> bool {
        Self::RESERVED.contains(&self.as_str())
    }

    /// The tenant of resources that name none, as in Kubernetes.
    pub fn default_tenant() -> Self {
        Self("default".into())
    }
}

impl Default for TenantName {
    fn default() -> Self {
        Self::default_tenant()
    }
}

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(inner)
        && bytes.first() != Some(&b'-')
        && bytes.last() != Some(&b'-')
}

fn is_function(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_follow_rfc_1123() {
        for good in ["a", "text-search", "0", &"a".repeat(63)] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a_b", "a.b", "ä", &"a".repeat(64)] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }

    #[test]
    fn function_names_are_what_mcp_allows() {
        assert!("find_matches".parse::<FunctionName>().is_ok());
        assert!("a b".parse::<FunctionName>().is_err());
        assert!("a".repeat(65).parse::<FunctionName>().is_err());
    }
}
