//! Hosts with real connections, certificates and layers, and instead of sandboxes a service that does what each
//! test needs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ringfence_api::{Kind, Name, TenantName};
use serde_json::{Map, json};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::super::hosts::Peer;
use super::super::replicas::Replicas;
use super::super::testing::Authority;
use super::super::{PeerServer, PeerTls, Router};
use crate::artifact::{ArtifactSettings, Artifacts, Launcher};
use crate::core::Core;
use crate::directory::{Directory, Instance, Provider};
use crate::egress::{Egress, EgressSettings};
use crate::engine::{Engine, PoolSize};
use crate::error::CallError;
use crate::function::FunctionResult;
use crate::limits::{Limits, name};
use crate::mediation::{
    AgentReply, Call, CallContext, GrantSet, Principal, Reply, Request, Stages,
};
use crate::message::Part;
use crate::model::Usage;
use crate::output::OutputEvent;
use crate::record::Records;
use crate::sandbox::Sandboxes;
use crate::secret::Secrets;
use crate::session::Sessions;
use crate::telemetry::Metrics;

pub(super) const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn tenant() -> TenantName {
    TenantName::default()
}

pub(super) fn instance(kind: Kind, name: &str, generation: u64) -> Arc<Instance> {
    Arc::new(Instance {
        tenant: tenant(),
        kind,
        name: name.parse().unwrap(),
        description: "For tests.".into(),
        generation,
        provider: Provider::Agent(name.parse().unwrap()),
        grants: Arc::new(GrantSet::default()),
        limits: Arc::new(Limits::TOOL),
        parameters: Arc::new([]),
        descriptions: Arc::new(BTreeMap::new()),
        gate: Arc::new(Semaphore::new(64)),
        listed: OnceLock::new(),
    })
}

/// What a callee does, by the name of the function.
pub(super) async fn callee(
    host: String,
    begun: mpsc::UnboundedSender<oneshot::Sender<()>>,
    call: Call,
) -> Result<Reply, CallError> {
    let context = &call.context;
    match call.request {
        Request::Function { function, .. } => match function.as_str() {
            "who" => {
                context.begin();
                let chain: Vec<_> = context.caller.chain().map(ToString::to_string).collect();
                let session = context.session.as_deref().unwrap_or("none");
                let text = format!(
                    "{host} {} depth {} session {session}",
                    chain.join("<"),
                    context.depth
                );
                Ok(Reply::Function(FunctionResult::text(text)))
            }
            "hang" => {
                context.begin();
                let (gone, notice) = oneshot::channel();
                // Dropped with this call.
                let _ = begun.send(gone);
                let _held = notice;
                std::future::pending().await
            }
            "full" => Err(CallError::limit(name::CONCURRENCY, 64)),
            "broken" => {
                context.begin();
                Err(CallError::Failed("as asked".to_owned()))
            }
            // Nothing has begun, and another host would say the same.
            _ => Err(CallError::NotFound("no such function".to_owned())),
        },
        Request::Agent { messages, .. } => {
            context.begin();
            let events = context.events.clone().unwrap();
            for message in &messages {
                events.send(OutputEvent::Part(message.content[0].clone()));
            }
            context.shared.add_usage(Usage {
                input_tokens: 3,
                output_tokens: 4,
                ..Usage::default()
            });
            Ok(Reply::Agent(AgentReply {
                content: vec![Part::Text(host)],
                usage: Usage::default(),
            }))
        }
        Request::Incoming { request, .. } => {
            context.begin();
            let (parts, body) = request.into_parts();
            let mut response = http::Response::new(body);
            *response.status_mut() = http::StatusCode::IM_A_TEAPOT;
            *response.headers_mut() = parts.headers;
            let seen = format!("{} {}", parts.method, parts.uri);
            response
                .headers_mut()
                .insert("x-seen", seen.parse().unwrap());
            Ok(Reply::Http(response))
        }
        _ => Err(CallError::Canceled),
    }
}

/// A host.
pub(super) struct Side {
    pub(super) name: Name,
    pub(super) core: Arc<Core>,
    pub(super) router: Arc<Router>,
    pub(super) address: SocketAddr,
    pub(super) draining: CancellationToken,
    pub(super) serving: AbortOnDropHandle<()>,
    pub(super) begun: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
    _data: tempfile::TempDir,
}

impl Side {
    pub(super) async fn new(name: &str, tls: PeerTls) -> Self {
        let data = tempfile::tempdir().unwrap();
        let engine = Engine::new(PoolSize::new(4)).unwrap();
        let metrics = Arc::new(Metrics::new());
        let settings = ArtifactSettings::new(Launcher::new("/nonexistent", []));
        let artifacts = Artifacts::open(&data.path().join("artifacts"), engine.clone(), settings);
        let artifacts = Arc::new(artifacts.unwrap());
        let directory = Arc::new(Directory::default());
        let records = Arc::new(Records::open(&data.path().join("records")).unwrap());
        let (told, begun) = mpsc::unbounded_channel();
        let host = name.to_owned();
        let dispatch = tower::service_fn(move |call| callee(host.clone(), told.clone(), call));
        let router_of = Arc::new(OnceLock::new());
        let core = Arc::new(Core {
            stack: crate::mediation::build(
                dispatch,
                &Stages::default(),
                directory.clone(),
                records.clone(),
                metrics.clone(),
                router_of.clone(),
            ),
            sandboxes: Sandboxes::new(engine, artifacts.clone(), metrics.clone()).unwrap(),
            artifacts,
            egress: Egress::new(&EgressSettings::default(), Secrets::new(Vec::new())).unwrap(),
            sessions: Sessions::open(&data.path().join("sessions.sqlite")).unwrap(),
            metrics: metrics.clone(),
            directory: directory.clone(),
            records,
            router: router_of.clone(),
        });
        // There is no API server: what it would tell, the tests say.
        let nowhere = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        let client = kube::Client::try_from(nowhere).unwrap();
        let api = kube::Api::namespaced(client.clone(), "ringfence-system");
        let own: Name = name.parse().unwrap();
        let router = Router::start(own.clone(), client, api, tls.clone(), directory, metrics);
        assert!(router_of.set(router.clone()).is_ok());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let draining = CancellationToken::new();
        let server = PeerServer::new(core.clone(), router.clone(), tls, draining.clone());
        Self {
            name: own,
            core,
            router,
            address,
            draining,
            serving: AbortOnDropHandle::new(tokio::spawn(server.serve(listener))),
            begun,
            _data: data,
        }
    }

    pub(super) fn knows(&self, other: &Side) {
        let peer = Peer {
            address: Some(other.address),
            draining: false,
            lost: false,
        };
        self.router.hosts.put(other.name.clone(), peer);
    }

    /// Says which hosts have the tool `t` and the agent `a` ready.
    pub(super) fn sees(&self, hosts: &[&str]) {
        let mut replicas = Replicas::default();
        for host in hosts {
            for kind in ["tool", "agent"] {
                replicas.put(&ready(kind, host));
            }
        }
        self.router.table.seed(tenant(), replicas);
    }

    pub(super) fn runs(&self) {
        self.core
            .directory
            .put_instance(instance(Kind::Tool, "t", 1));
        self.core
            .directory
            .put_instance(instance(Kind::Agent, "a", 1));
    }

    pub(super) async fn call(&self, function: &str) -> Result<String, CallError> {
        let context = context();
        self.call_with(context, function).await
    }

    pub(super) async fn call_with(
        &self,
        context: CallContext,
        function: &str,
    ) -> Result<String, CallError> {
        let request = Request::Function {
            tool: "t".parse().unwrap(),
            function: function.parse().unwrap(),
            arguments: Map::new(),
        };
        let call = self.core.call(context, request);
        let reply = tokio::time::timeout(PATIENCE, call).await.unwrap()?;
        let content = reply.into_function()?.content;
        Ok(crate::message::text_of(&content))
    }
}

pub(super) fn context() -> CallContext {
    CallContext::start(
        tenant(),
        Principal::user(tenant(), "ann"),
        Duration::from_secs(60),
    )
}

/// An instance of `t` or `a` that is ready on a host.
pub(super) fn ready(kind: &str, host: &str) -> ringfence_api::Instance {
    let (name, workload) = match kind {
        "agent" => (
            "a",
            json!({"agent": {"instructions": "x", "model": {"name": "m"}}}),
        ),
        _ => ("t", json!({"tool": {"agent": "a"}})),
    };
    serde_json::from_value(json!({
        "apiVersion": "ringfence.dev/v1alpha1", "kind": "Instance",
        "metadata": {
            "name": format!("{name}-{host}"), "namespace": "default",
            "labels": {ringfence_api::NAME_LABEL: name},
        },
        "spec": {
            "hostName": host, "generation": 1, "workload": workload,
            "placement": {"pool": "default", "trustClass": "default"}, "requests": {},
        },
        "status": {"hostName": host, "conditions": [{
            "type": "Ready", "status": "True", "reason": "Ready", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]},
    }))
    .unwrap()
}

/// Hosts that know each other; none of them runs anything.
pub(super) async fn hosts<const N: usize>(names: [&str; N]) -> [Side; N] {
    hosts_of(&Authority::new(), names).await
}

pub(super) async fn hosts_of<const N: usize>(authority: &Authority, names: [&str; N]) -> [Side; N] {
    let mut sides = Vec::new();
    for name in names {
        sides.push(Side::new(name, authority.host(name)).await);
    }
    for side in &sides {
        for other in &sides {
            side.knows(other);
        }
    }
    let Ok(sides) = sides.try_into() else {
        unreachable!("as many as names");
    };
    sides
}
