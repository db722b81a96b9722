//! Grants: what an instance may do, and the layer that holds it to that.

use std::path::PathBuf;
use std::task::{Context, Poll};

use futures::future::{Either, Ready, ready};
use ringfence_api::{EnvGrant, FolderAccess, FunctionName, Grants, Name, ToolGrant};
use tower::{Layer, Service};

use super::call::{Call, Reply, Request};
use crate::egress::{AllowList, GrantError};
use crate::error::CallError;

/// A folder as a sandbox sees it.
#[derive(Debug, Clone)]
pub struct FolderMount {
    /// Where it is on the host.
    pub path: PathBuf,
    /// Where the guest sees it.
    pub mount: String,
    /// How it may be used.
    pub access: FolderAccess,
}

/// The grants of one instance, ready to be checked.
#[derive(Debug, Default)]
pub struct GrantSet {
    spec: Grants,
    http: AllowList,
    folders: Vec<FolderMount>,
}

impl GrantSet {
    /// `folders` are the folder grants, resolved against what the host offers.
    ///
    /// # Errors
    /// An HTTP grant that cannot be enforced.
    pub fn new(spec: Grants, folders: Vec<FolderMount>) -> Result<Self, GrantError> {
        let http = AllowList::new(&spec.http)?;
        Ok(Self {
            spec,
            http,
            folders,
        })
    }

    /// As the resource gives them.
    pub fn spec(&self) -> &Grants {
        &self.spec
    }

    /// Tools that may be called.
    pub fn tools(&self) -> &[ToolGrant] {
        &self.spec.tools
    }

    /// Agents that may be called.
    pub fn agents(&self) -> impl Iterator<Item = &Name> {
        self.spec.agents.iter().map(|grant| &grant.name)
    }

    /// Models that may be asked, the default one first.
    pub fn models(&self) -> impl Iterator<Item = &Name> {
        self.spec.models.iter().map(|grant| &grant.name)
    }

    /// Outgoing HTTP requests that may be made.
    pub fn http(&self) -> &AllowList {
        &self.http
    }

    /// Folders that are seen.
    pub fn folders(&self) -> &[FolderMount] {
        &self.folders
    }

    /// Environment variables that are seen.
    pub fn env(&self) -> &[EnvGrant] {
        &self.spec.env
    }

    /// Whether the clocks are real.
    pub fn clocks(&self) -> bool {
        self.spec.clocks
    }

    /// Whether the conversation across runs may be used.
    pub fn session(&self) -> bool {
        self.spec.session
    }

    /// Whether partial output may be sent.
    pub fn output(&self) -> bool {
        self.spec.output
    }

    /// Whether a function may be called.
    pub fn permits_function(&self, tool: &Name, function: &FunctionName) -> bool {
        self.spec.tools.iter().any(|grant| {
            grant.name == *tool
                && grant
                    .functions
                    .as_ref()
                    .is_none_or(|only| only.contains(function))
        })
    }

    fn permits(&self, request: &Request) -> Result<(), CallError> {
        let allowed = match request {
            Request::Function { tool, function, .. } => self.permits_function(tool, function),
            Request::Incoming { tool, .. } => {
                self.spec.tools.iter().any(|grant| grant.name == *tool)
            }
            Request::Agent { agent, .. } => self.agents().any(|granted| granted == agent),
            Request::Complete { model, .. } | Request::Stream { model, .. } => {
                self.models().any(|granted| granted == model)
            }
            Request::Outgoing(outgoing) => {
                let checked = self.http.check(outgoing.method(), outgoing.uri());
                return checked.map(drop).map_err(|refusal| {
                    CallError::denied("http", request.target(), refusal.to_string())
                });
            }
        };
        if allowed {
            return Ok(());
        }
        Err(CallError::denied(
            request.capability(),
            request.target(),
            "not granted to this component",
        ))
    }
}

/// Denies what the calling instance was not granted. Users are bounded by authentication, not by
/// grants.
#[derive(Debug, Clone, Copy)]
pub(super) struct GrantsLayer;

#[derive(Debug, Clone)]
pub(super) struct Granted<S>(S);

impl<S> Layer<S> for GrantsLayer {
    type Service = Granted<S>;

    fn layer(&self, inner: S) -> Granted<S> {
        Granted(inner)
    }
}

impl<S> Service<Call> for Granted<S>
where
    S: Service<Call, Response = Reply, Error = CallError>,
{
    type Response = Reply;
    type Error = CallError;
    type Future = Either<S::Future, Ready<Result<Reply, CallError>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let decision = match call.context.caller.bound_by() {
            Some(instance) => instance.grants.permits(&call.request),
            // Nobody outside borrows the host's network.
            None if matches!(call.request, Request::Outgoing(_)) => Err(CallError::denied(
                "http",
                call.request.target(),
                "only agents and tools make outgoing requests",
            )),
            None => Ok(()),
        };
        match decision {
            Ok(()) => Either::Left(self.0.call(call)),
            Err(error) => Either::Right(ready(Err(error))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn call(tool: &str, function: &str) -> Request {
        Request::Function {
            tool: name(tool),
            function: function.parse().unwrap(),
            arguments: serde_json::Map::new(),
        }
    }

    #[test]
    fn nothing_is_granted_by_default() {
        let none = GrantSet::default();
        let agent = Request::Agent {
            agent: name("a"),
            messages: Vec::new(),
        };
        for request in [call("t", "f"), agent] {
            assert!(matches!(none.permits(&request), Err(CallError::Denied(_))));
        }
    }

    #[test]
    fn a_list_of_functions_narrows_the_grant_of_a_tool() {
        let only = ToolGrant {
            name: name("t"),
            functions: Some(vec!["f".parse().unwrap()]),
        };
        let grants = Grants {
            tools: vec![only],
            ..Grants::default()
        };
        let grants = GrantSet::new(grants, Vec::new()).unwrap();
        assert_eq!(grants.permits(&call("t", "f")), Ok(()));
        assert!(grants.permits(&call("t", "g")).is_err());
        assert!(grants.permits(&call("u", "f")).is_err());
    }
}
