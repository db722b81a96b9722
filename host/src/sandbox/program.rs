//! Components that are ready to start.

use std::collections::HashMap;
use std::sync::Arc;

use futures::FutureExt as _;
use ringfence_api::{Digest, FunctionName};
use wasmtime::component::{ComponentExportIndex, InstancePre, Linker};
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use super::state::State;
use crate::artifact::{Artifacts, Prepared};
use crate::cache::BoundedCache;
use crate::capability;
use crate::capability::bindings::AgentPre;
use crate::engine::{Engine, PoolMetrics};
use crate::error::CallError;
use crate::function::Function;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::CacheResult;

/// Components that stay linked at the same time; the least recently used one makes room.
pub(crate) const LINKED_PROGRAMS: usize = 1024;

/// A component that is linked, with its exports looked up.
pub(crate) struct Program {
    pub(super) pre: InstancePre<State>,
    pub(super) functions: HashMap<FunctionName, (Arc<Function>, ComponentExportIndex)>,
    /// `wasi:cli/run.run`.
    pub(super) command: Option<ComponentExportIndex>,
    /// `wasi:http/incoming-handler`.
    pub(super) proxy: Option<ProxyPre<State>>,
    /// `ringfence:agent/handler`.
    pub(super) agent: Option<AgentPre<State>>,
}

/// Everything that sandboxes are made from.
pub(crate) struct Sandboxes {
    pub(super) engine: Engine,
    linker: Linker<State>,
    artifacts: Arc<Artifacts>,
    metrics: Arc<Metrics>,
    programs: BoundedCache<Digest, Arc<Program>>,
}

impl Sandboxes {
    /// # Errors
    /// When the linker refuses an interface: a fault of this build.
    pub(crate) fn new(
        engine: Engine,
        artifacts: Arc<Artifacts>,
        metrics: Arc<Metrics>,
    ) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(engine.wasmtime());
        capability::link(&mut linker)?;
        Ok(Self {
            engine,
            linker,
            artifacts,
            metrics,
            programs: BoundedCache::new(LINKED_PROGRAMS),
        })
    }

    /// What the pool holds now.
    pub(crate) fn pool(&self) -> PoolMetrics {
        self.engine.metrics()
    }

    /// The component, compiled and linked; from the cache where it can be.
    pub(super) async fn program(&self, digest: &Digest) -> Result<Arc<Program>, CallError> {
        if let Some(program) = self.programs.get(digest) {
            self.metrics.artifact_cache(CacheResult::Linked);
            return Ok(program);
        }
        // Boxed, so that calls of linked components do not carry room for a compilation.
        self.prepare(digest).boxed().await
    }

    async fn prepare(&self, digest: &Digest) -> Result<Arc<Program>, CallError> {
        let prepared = self.artifacts.prepare(digest).await.map_err(|error| {
            // What the caller is not told belongs into the log.
            tracing::warn!(%digest, error = &error as &dyn std::error::Error, "artifact");
            CallError::from(&error)
        })?;
        let program = self.link(&prepared).map_err(|error| {
            CallError::Failed(format!(
                "component {} cannot be linked: {error:#}",
                digest.short()
            ))
        })?;
        let program = Arc::new(program);
        self.programs.insert(*digest, program.clone());
        Ok(program)
    }

    fn link(&self, prepared: &Prepared) -> wasmtime::Result<Program> {
        let component = &prepared.component;
        let inspection = &prepared.inspection;
        let pre = self.linker.instantiate_pre(component)?;
        let export = |interface: Option<&str>, name: &str| -> Option<ComponentExportIndex> {
            let parent = match interface {
                Some(interface) => Some(component.get_export_index(None, interface)?),
                None => None,
            };
            component.get_export_index(parent.as_ref(), name)
        };
        // Exports carry a version; any one that inspection let in will do.
        let exported = |interface: &str| {
            let mut names = inspection.exports.iter().map(String::as_str);
            names.find(|name| name.split('@').next() == Some(interface))
        };
        let mut functions = HashMap::new();
        for function in inspection.functions.iter() {
            let path = &function.export;
            let index = export(path.interface.as_deref(), &path.function)
                .ok_or_else(|| wasmtime::format_err!("export {path} is missing"))?;
            functions.insert(function.name.clone(), (function.clone(), index));
        }
        let command = exported("wasi:cli/run").and_then(|interface| export(Some(interface), "run"));
        let proxy = match exported("wasi:http/incoming-handler") {
            Some(_) => Some(ProxyPre::new(pre.clone())?),
            None => None,
        };
        let agent = match exported("ringfence:agent/handler") {
            Some(_) => Some(AgentPre::new(pre.clone())?),
            None => None,
        };
        Ok(Program {
            pre,
            functions,
            command,
            proxy,
            agent,
        })
    }
}
