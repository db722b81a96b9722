//! An instance: one resolved agent or tool with frozen grants and limits.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use ringfence_api::{Digest, FunctionName, Kind, Name, Parameter, TenantName};
use tokio::sync::Semaphore;

use super::listing::{self, FunctionSummary};
use crate::artifact::inspect::Inspection;
use crate::limits::Limits;
use crate::mcp_client::McpServer;
use crate::mediation::{GrantSet, PrincipalKind};
use crate::model::ModelClient;

/// Who provides an instance's functions.
pub enum Provider {
    /// A component.
    Component {
        /// Its digest.
        digest: Digest,
        /// What it exports and imports.
        inspection: Arc<Inspection>,
    },
    /// An MCP server outside.
    Mcp(Arc<McpServer>),
    /// An agent of the same tenant, as the function `ask`.
    Agent(Name),
}

/// A model that can be asked.
pub struct Model {
    /// What it is for.
    pub description: Arc<str>,
    /// Generation of the resource that it was made from.
    pub generation: u64,
    /// Who answers.
    pub client: ModelClient,
}

/// One agent or tool as it runs. It never changes; a new revision is a new instance.
pub struct Instance {
    /// The tenant.
    pub tenant: TenantName,
    /// Agent or tool.
    pub kind: Kind,
    /// Its name.
    pub name: Name,
    /// What it does, for models and people.
    pub description: Arc<str>,
    /// Generation of the resource that it was made from.
    pub generation: u64,
    /// Who provides it.
    pub provider: Provider,
    /// What it may do.
    pub grants: Arc<GrantSet>,
    /// Limits of each of its sandboxes.
    pub limits: Arc<Limits>,
    /// Settings for the component.
    pub parameters: Arc<[Parameter]>,
    /// Descriptions that replace the functions' own.
    pub descriptions: Arc<BTreeMap<String, String>>,
    /// Permits for calls that run at the same time.
    pub gate: Arc<Semaphore>,
    /// The list of functions, once somebody has asked for it; only where it cannot change.
    pub listed: OnceLock<Arc<[FunctionSummary]>>,
}

impl Instance {
    /// What its principal is.
    pub fn principal_kind(&self) -> PrincipalKind {
        match self.kind {
            Kind::Agent => PrincipalKind::Agent,
            _ => PrincipalKind::Tool,
        }
    }

    /// The functions that it offers now.
    pub fn functions(&self) -> Arc<[FunctionSummary]> {
        match &self.provider {
            Provider::Mcp(_) => self.list(),
            Provider::Component { .. } | Provider::Agent(_) => {
                self.listed.get_or_init(|| self.list()).clone()
            }
        }
    }

    /// One of its functions.
    pub fn function(&self, name: &FunctionName) -> Option<FunctionSummary> {
        self.functions()
            .iter()
            .find(|function| function.name == *name)
            .cloned()
    }

    fn list(&self) -> Arc<[FunctionSummary]> {
        let mut functions = listing::functions(self);
        for function in &mut functions {
            if let Some(description) = self.descriptions.get(function.name.as_str()) {
                function.description = description.as_str().into();
            }
        }
        functions.into()
    }
}
