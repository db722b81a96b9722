//! What an instance under test is given.

use std::path::Path;

use ringfence_api::{AgentGrant, FolderAccess, Grants, ModelGrant, Parameter, ToolGrant};
use ringfence_host::limits::Limits;
use ringfence_host::mediation::FolderMount;

/// Grants, folders, limits and parameters of one instance; nothing is granted by default.
#[derive(Debug, Clone)]
pub struct Setup {
    /// What it may do.
    pub grants: Grants,
    /// Folders that it sees.
    pub folders: Vec<FolderMount>,
    /// Limits of each of its sandboxes.
    pub limits: Limits,
    /// Its settings.
    pub parameters: Vec<Parameter>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            grants: Grants::default(),
            folders: Vec::new(),
            limits: Limits::TOOL,
            parameters: Vec::new(),
        }
    }
}

impl Setup {
    /// These limits and no grant.
    pub fn limited(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Grants every function of these tools as well.
    #[must_use]
    pub fn tools(mut self, names: &[&str]) -> Self {
        self.grants
            .tools
            .extend(names.iter().map(|name| tool_grant(name)));
        self
    }

    /// Grants these agents as well.
    #[must_use]
    pub fn agents(mut self, names: &[&str]) -> Self {
        self.grants
            .agents
            .extend(names.iter().map(|name| AgentGrant {
                name: name.parse().unwrap(),
            }));
        self
    }

    /// Grants these models as well.
    #[must_use]
    pub fn models(mut self, names: &[&str]) -> Self {
        self.grants
            .models
            .extend(names.iter().map(|name| ModelGrant {
                name: name.parse().unwrap(),
            }));
        self
    }

    /// Grants partial output.
    #[must_use]
    pub fn output(mut self) -> Self {
        self.grants.output = true;
        self
    }

    /// Grants a folder at this place.
    #[must_use]
    pub fn folder(mut self, path: &Path, mount: &str, access: FolderAccess) -> Self {
        self.folders.push(FolderMount {
            path: path.to_owned(),
            mount: mount.to_owned(),
            access,
        });
        self
    }

    /// Sets a parameter.
    #[must_use]
    pub fn parameter(mut self, name: &str, value: &str) -> Self {
        self.parameters.push(Parameter {
            name: name.to_owned(),
            value: value.to_owned(),
        });
        self
    }
}

/// Leave to call every function of a tool.
pub fn tool_grant(name: &str) -> ToolGrant {
    ToolGrant {
        name: name.parse().unwrap(),
        functions: None,
    }
}

/// A setup whose only grant is this folder at `/data`, to read and write.
pub fn reads_and_writes(path: &Path) -> Setup {
    Setup::default().folder(path, "/data", FolderAccess::ReadWrite)
}
