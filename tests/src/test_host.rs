//! A real host in this process: engine, compile worker, artifacts, mediation, records.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use ringfence_api::{
    Digest, Kind, ModelSpec, Name, Provider as ModelProvider, ScriptedTurn, SecretRef, TenantName,
};
use ringfence_host::artifact::{ArtifactSettings, Artifacts, Launcher, Upload};
use ringfence_host::body::Body;
use ringfence_host::directory::{Instance, Model, Provider};
use ringfence_host::egress::{Egress, EgressSettings};
use ringfence_host::engine::{Engine, PoolSize};
use ringfence_host::error::CallError;
use ringfence_host::function::FunctionResult;
use ringfence_host::mediation::{CallContext, GrantSet, Principal, Request, RunId, Stages};
use ringfence_host::message::{self, Message, Role};
use ringfence_host::model::ModelClient;
use ringfence_host::record::CallRecord;
use ringfence_host::secret::{AllowedSecret, Secrets};
use ringfence_host::telemetry::Metrics;
use ringfence_host::{Host, Parts};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use crate::setup::Setup;

/// First argument of the compile worker: the `main` of a test binary that uses [`TestHost`] has to run
/// `ringfence_host::artifact::worker::main` on the further arguments then.
pub const WORKER: &str = "compile-worker";

/// Sandboxes that fit into the pool.
const SANDBOXES: u32 = 64;
/// How long a call may take that nothing else bounds.
const PATIENCE: Duration = Duration::from_secs(60);

struct Shared {
    host: Host,
    engine: Engine,
    secret: PathBuf,
    /// One upload at a time: the host refuses more than a few.
    uploads: tokio::sync::Mutex<()>,
    _data: TempDir,
}

/// One tenant of the host that all tests of a process share. Tests do not see each other.
#[derive(Clone)]
pub struct TestHost {
    shared: &'static Shared,
    tenant: TenantName,
}

/// The runtime that all tests of a process share, as in a host.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap()
    })
}

/// Runs a test on the shared runtime.
///
/// # Panics
/// When the test does, or when it leaves a sandbox behind.
pub fn within<F: Future<Output = ()>>(body: impl FnOnce(TestHost) -> F) {
    let host = TestHost::new();
    runtime().block_on(async {
        body(host.clone()).await;
        host.all_freed().await;
    });
}

fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| {
        let _inside = runtime().enter();
        let data = tempfile::tempdir().unwrap();
        let secret = data.path().join("secret");
        std::fs::write(&secret, TestHost::SECRET).unwrap();
        let engine = Engine::new(PoolSize::new(SANDBOXES)).unwrap();
        let metrics = Arc::new(Metrics::new());
        let settings = ArtifactSettings {
            metrics: metrics.clone(),
            ..ArtifactSettings::new(Launcher::this_program(WORKER).unwrap())
        };
        let artifacts =
            Artifacts::open(&data.path().join("artifacts"), engine.clone(), settings).unwrap();
        let secrets = Secrets::new([AllowedSecret::Host(SecretRef::File(secret.clone()))]);
        let egress = EgressSettings {
            metrics: metrics.clone(),
            ..EgressSettings::default()
        };
        let host = Host::new(Parts {
            data: data.path().to_owned(),
            engine: engine.clone(),
            artifacts: Arc::new(artifacts),
            egress: Egress::new(&egress, secrets).unwrap(),
            metrics,
            stages: Stages::default(),
        })
        .unwrap();
        Shared {
            host,
            engine,
            secret,
            uploads: tokio::sync::Mutex::default(),
            _data: data,
        }
    })
}

impl Default for TestHost {
    fn default() -> Self {
        Self::new()
    }
}

impl TestHost {
    /// What the file behind [`TestHost::secret`] holds.
    pub const SECRET: &'static str = "s3cret-0f-the-h0st";

    /// A tenant of its own on the shared host.
    pub fn new() -> Self {
        static TENANTS: AtomicU64 = AtomicU64::new(0);
        let number = TENANTS.fetch_add(1, Ordering::Relaxed);
        Self {
            shared: shared(),
            tenant: format!("t{number}").parse().unwrap(),
        }
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.shared.host
    }

    /// Its engine.
    pub fn engine(&self) -> &Engine {
        &self.shared.engine
    }

    /// The tenant.
    pub fn tenant(&self) -> &TenantName {
        &self.tenant
    }

    /// A secret that the host may use.
    pub fn secret(&self) -> SecretRef {
        SecretRef::File(self.shared.secret.clone())
    }

    async fn component(&self, component: &'static [u8]) -> Provider {
        let _turn = self.shared.uploads.lock().await;
        let stored = self
            .host()
            .artifacts()
            .put(&self.tenant, Upload::bytes(component))
            .await
            .unwrap();
        Provider::Component {
            digest: stored.meta.digest,
            inspection: stored.inspection,
        }
    }

    /// Uploads a component that has to be refused; the reason.
    pub async fn refused(&self, component: &'static [u8]) -> String {
        let _turn = self.shared.uploads.lock().await;
        let artifacts = self.host().artifacts();
        let stored = artifacts.put(&self.tenant, Upload::bytes(component)).await;
        let error = stored.expect_err("the component is accepted");
        assert!(artifacts.list(&self.tenant).is_empty());
        assert_eq!(artifacts.usage(&self.tenant).0, 0);
        let again = artifacts.inspect(&Digest::of(component)).await;
        assert!(again.is_err(), "a refused component is still there");
        error.to_string()
    }

    fn put(&self, kind: Kind, name: &str, provider: Provider, setup: Setup) -> Arc<Instance> {
        let permits = usize::try_from(setup.limits.concurrency).unwrap();
        let instance = Arc::new(Instance {
            tenant: self.tenant.clone(),
            kind,
            name: name.parse().unwrap(),
            description: format!("{name} under test").into(),
            generation: 1,
            provider,
            grants: Arc::new(GrantSet::new(setup.grants, setup.folders).unwrap()),
            limits: Arc::new(setup.limits),
            parameters: setup.parameters.into(),
            descriptions: Arc::new(BTreeMap::new()),
            gate: Arc::new(Semaphore::new(permits)),
            listed: OnceLock::new(),
        });
        self.host().directory().put_instance(instance.clone());
        instance
    }

    /// Adds a tool that is this component.
    pub async fn tool(&self, name: &str, guest: &'static [u8], setup: Setup) -> Arc<Instance> {
        let provider = self.component(guest).await;
        self.put(Kind::Tool, name, provider, setup)
    }

    /// Adds an agent that is this component.
    pub async fn agent(&self, name: &str, guest: &'static [u8], setup: Setup) -> Arc<Instance> {
        let provider = self.component(guest).await;
        self.put(Kind::Agent, name, provider, setup)
    }

    /// Adds a tool that asks this agent.
    pub fn agent_tool(&self, name: &str, agent: &str) -> Arc<Instance> {
        let provider = Provider::Agent(agent.parse().unwrap());
        self.put(
            Kind::Tool,
            name,
            provider,
            Setup::default().agents(&[agent]),
        )
    }

    /// Adds a model that answers with these texts, one for each assistant turn of a conversation.
    pub fn model(&self, name: &str, turns: &[&str]) {
        let turns = turns.iter().map(|text| ScriptedTurn {
            text: Some((*text).to_owned()),
            ..ScriptedTurn::default()
        });
        let spec = ModelSpec {
            description: String::new(),
            provider: ModelProvider::Scripted {
                turns: turns.collect(),
            },
            timeout_ms: None,
            retry: None,
        };
        let client = ModelClient::from_spec(&spec, self.host().egress()).unwrap();
        let model = Model {
            description: "a model under test".into(),
            generation: 1,
            client,
        };
        let name: Name = name.parse().unwrap();
        let directory = self.host().directory();
        directory.put_model(&self.tenant, name, Arc::new(model));
    }

    /// The context of a call by the user `tester`.
    pub fn context(&self) -> CallContext {
        let user = Principal::user(self.tenant.clone(), "tester");
        CallContext::start(self.tenant.clone(), user, PATIENCE)
    }

    /// Calls a function of a tool.
    ///
    /// # Errors
    /// What the host answers.
    pub async fn call(
        &self,
        tool: &str,
        function: &str,
        arguments: Value,
    ) -> Result<FunctionResult, CallError> {
        self.call_in(self.context(), tool, function, arguments)
            .await
    }

    /// As [`TestHost::call`], in this context.
    ///
    /// # Errors
    /// What the host answers.
    pub async fn call_in(
        &self,
        context: CallContext,
        tool: &str,
        function: &str,
        arguments: Value,
    ) -> Result<FunctionResult, CallError> {
        let Value::Object(arguments) = arguments else {
            panic!("arguments are an object");
        };
        let request = Request::Function {
            tool: tool.parse().unwrap(),
            function: function.parse().unwrap(),
            arguments,
        };
        self.host().call(context, request).await?.into_function()
    }

    /// Asks an agent; the text of its answer.
    ///
    /// # Errors
    /// What the host answers.
    pub async fn ask(&self, agent: &str, text: &str) -> Result<String, CallError> {
        self.ask_in(self.context(), agent, text).await
    }

    /// As [`TestHost::ask`], in this context.
    ///
    /// # Errors
    /// What the host answers.
    pub async fn ask_in(
        &self,
        context: CallContext,
        agent: &str,
        text: &str,
    ) -> Result<String, CallError> {
        let request = Request::Agent {
            agent: agent.parse().unwrap(),
            messages: vec![Message::text(Role::User, text)],
        };
        let reply = self.host().call(context, request).await?.into_agent()?;
        Ok(message::text_of(&reply.content))
    }

    /// Hands an HTTP request to a tool.
    ///
    /// # Errors
    /// What the host answers.
    pub async fn serve(
        &self,
        tool: &str,
        request: http::Request<Body>,
    ) -> Result<http::Response<Body>, CallError> {
        let request = Request::Incoming {
            tool: tool.parse().unwrap(),
            request,
        };
        self.host().call(self.context(), request).await?.into_http()
    }

    /// The records of a run.
    pub fn records(&self, run: RunId) -> Vec<Arc<CallRecord>> {
        self.host().records().calls(&self.tenant, run)
    }

    /// Waits until no sandbox is left in the whole process. Tests that use it run one at a time.
    ///
    /// # Panics
    /// When sandboxes are left after some seconds.
    pub async fn all_freed(&self) {
        let patience = Instant::now() + Duration::from_secs(20);
        loop {
            let pool = self.engine().metrics();
            let held = [
                pool.components,
                pool.core_instances,
                pool.memories,
                pool.tables,
                pool.stacks,
            ];
            if held == [0; 5] {
                return;
            }
            assert!(Instant::now() < patience, "left behind: {pool:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// All text of a result.
pub fn text_of(result: &FunctionResult) -> String {
    message::text_of(&result.content)
}

/// The value that a function returned.
///
/// # Panics
/// When it has none.
pub fn json_of(result: &FunctionResult) -> Value {
    let structured = result.structured.clone();
    let structured = structured.unwrap_or_else(|| panic!("no value: {result:?}"));
    structured
        .get("result")
        .cloned()
        .unwrap_or(structured.clone())
}
