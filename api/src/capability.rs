//! What a component can ask for, and a resource grant.

use std::collections::BTreeSet;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Grants;

/// A kind of effect that has to be granted.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Capability {
    /// Asking models.
    Models,
    /// Calling tools.
    Tools,
    /// Calling agents.
    Agents,
    /// Outgoing HTTP requests.
    Http,
    /// Folders of the host.
    Folders,
    /// Environment variables.
    Env,
    /// Real clocks.
    Clocks,
    /// The conversation across runs.
    Session,
    /// Partial output.
    Output,
}

impl Capability {
    /// Every capability.
    pub const ALL: [Capability; 9] = [
        Self::Models,
        Self::Tools,
        Self::Agents,
        Self::Http,
        Self::Folders,
        Self::Env,
        Self::Clocks,
        Self::Session,
        Self::Output,
    ];

    /// What the built-in chat agent asks for. A test of the host compares this with the component.
    pub const OF_CHAT: [Capability; 5] = [
        Self::Models,
        Self::Tools,
        Self::Agents,
        Self::Session,
        Self::Output,
    ];

    /// Its name: the field of [`Grants`].
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Models => "models",
            Self::Tools => "tools",
            Self::Agents => "agents",
            Self::Http => "http",
            Self::Folders => "folders",
            Self::Env => "env",
            Self::Clocks => "clocks",
            Self::Session => "session",
            Self::Output => "output",
        }
    }

    /// The capability behind an imported interface, `package:name/interface@version`; none for what
    /// needs no grant, such as random numbers or the log.
    pub fn of_import(import: &str) -> Option<Self> {
        let interface = import.split('@').next().unwrap_or(import);
        match interface {
            "ringfence:agent/models" => Some(Self::Models),
            "ringfence:agent/tools" => Some(Self::Tools),
            "ringfence:agent/agents" => Some(Self::Agents),
            "ringfence:agent/session" => Some(Self::Session),
            "ringfence:agent/output" => Some(Self::Output),
            "wasi:http/outgoing-handler" => Some(Self::Http),
            "wasi:filesystem/preopens" => Some(Self::Folders),
            "wasi:cli/environment" => Some(Self::Env),
            "wasi:clocks/wall-clock" | "wasi:clocks/monotonic-clock" => Some(Self::Clocks),
            _ => None,
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Grants {
    /// The capabilities of which anything is granted.
    pub fn capabilities(&self) -> BTreeSet<Capability> {
        let given = |capability: &Capability| match capability {
            Capability::Models => !self.models.is_empty(),
            Capability::Tools => !self.tools.is_empty(),
            Capability::Agents => !self.agents.is_empty(),
            Capability::Http => !self.http.is_empty(),
            Capability::Folders => !self.folders.is_empty(),
            Capability::Env => !self.env.is_empty(),
            Capability::Clocks => self.clocks,
            Capability::Session => self.session,
            Capability::Output => self.output,
        };
        Capability::ALL.into_iter().filter(given).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_ask_for_capabilities() {
        let imports = [
            "wasi:clocks/wall-clock@0.2.3",
            "wasi:http/outgoing-handler@0.2.6",
            "wasi:random/random@0.2.0",
            "ringfence:agent/context@0.1.0",
        ];
        let asked: BTreeSet<_> = imports
            .into_iter()
            .filter_map(Capability::of_import)
            .collect();
        assert_eq!(asked, [Capability::Clocks, Capability::Http].into());
    }

    #[test]
    fn names_are_those_of_the_fields() {
        let fields = serde_json::to_value(schemars::schema_for!(Grants)).unwrap();
        for capability in Capability::ALL {
            assert!(
                fields["properties"][capability.as_str()].is_object(),
                "{capability}"
            );
        }
    }
}
