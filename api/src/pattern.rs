//! Patterns over names of resources, for ceilings.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Name;

/// A text that is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a pattern: write a name, a prefix such as \"search-*\", or \"*\" for every name"
)]
pub struct PatternError(String);

/// Matches names: `search` only itself, `search-*` every name that starts so, `*` every name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?|([a-z0-9][-a-z0-9]*)?\*)$", "maxLength" = 63))]
pub struct NamePattern(Arc<str>);

impl NamePattern {
    /// The pattern that every name matches.
    pub fn any() -> Self {
        Self("*".into())
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a name matches.
    pub fn matches(&self, name: &Name) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => name.as_str().starts_with(prefix),
            None => name.as_str() == &*self.0,
        }
    }
}

impl TryFrom<String> for NamePattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        text.parse()
    }
}

impl FromStr for NamePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let valid = match text.strip_suffix('*') {
            // A prefix is a name that may also end with a hyphen.
            Some(prefix) => prefix.is_empty() || format!("{prefix}x").parse::<Name>().is_ok(),
            None => text.parse::<Name>().is_ok(),
        };
        match valid && text.len() <= 63 {
            true => Ok(Self(text.into())),
            false => Err(PatternError(text.to_owned())),
        }
    }
}

impl From<NamePattern> for String {
    fn from(pattern: NamePattern) -> String {
        pattern.0.as_ref().to_owned()
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_at_the_end_only() {
        for good in ["*", "a", "search-*", "s*", "text-search"] {
            assert!(good.parse::<NamePattern>().is_ok(), "{good}");
        }
        for bad in ["", "**", "*a", "a*b", "-*", "A*", "a.b"] {
            assert!(bad.parse::<NamePattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_prefix_matches_what_starts_with_it() {
        let matches = |pattern: &str, name: &str| {
            let pattern: NamePattern = pattern.parse().unwrap();
            pattern.matches(&name.parse().unwrap())
        };
        assert!(matches("*", "anything"));
        assert!(matches("search-*", "search-web"));
        assert!(!matches("search-*", "search"));
        assert!(matches("search", "search"));
        assert!(!matches("search", "search-web"));
    }
}
