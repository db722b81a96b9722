//! The end of the stack: does what a call asks for.

use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Instant;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http_body_util::BodyExt as _;
use ringfence_api::FunctionName;
use serde_json::{Map, Value};
use tower::Service;

use crate::body::{self, Body};
use crate::core::Core;
use crate::directory::{Instance, Provider};
use crate::egress::{EgressError, Timeouts};
use crate::error::CallError;
use crate::function::{self, FunctionResult};
use crate::limits::name;
use crate::mediation::{
    AgentReply, AnswerStream, Call, CallContext, Principal, Reply, Request, size,
};
use crate::message::{Message, Role};
use crate::model::CompletionEvent;
use crate::telemetry::spans;

/// Dispatches calls to sandboxes, models, MCP servers and the network.
#[derive(Clone)]
pub(crate) struct Dispatch {
    core: Weak<Core>,
}

impl Dispatch {
    pub(crate) fn new(core: Weak<Core>) -> Self {
        Self { core }
    }
}

impl Service<Call> for Dispatch {
    type Response = Reply;
    type Error = CallError;
    type Future = BoxFuture<'static, Result<Reply, CallError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let Some(core) = self.core.upgrade() else {
            let stops = CallError::Unavailable("the host stops".to_owned());
            return std::future::ready(Err(stops)).boxed();
        };
        dispatch(core, call)
    }
}

/// Each kind of call is a future of its own: one for all would be as large as the largest, a connection
/// to the outside, and be moved whole for every function call.
fn dispatch(core: Arc<Core>, call: Call) -> BoxFuture<'static, Result<Reply, CallError>> {
    let Call {
        context,
        request,
        callee,
    } = call;
    let callee =
        move || callee.ok_or_else(|| CallError::Failed("the call was not routed".to_owned()));
    match request {
        Request::Function {
            function,
            arguments,
            ..
        } => async move {
            call_function(&core, context, callee()?, &function, arguments)
                .await
                .map(Reply::Function)
        }
        .boxed(),
        Request::Agent { messages, .. } => async move {
            call_agent(&core, context, callee()?, messages)
                .await
                .map(Reply::Agent)
        }
        .boxed(),
        Request::Complete { model, request } => async move {
            let model = core.directory.model(&context.tenant, &model)?;
            spans::record_model(model.client.provider(), model.client.model());
            let completion = context.bound(model.client.complete(&request)).await?;
            context.shared.add_usage(completion.usage);
            Ok(Reply::Completion(completion))
        }
        .boxed(),
        Request::Stream { model, request } => async move {
            let model = core.directory.model(&context.tenant, &model)?;
            spans::record_model(model.client.provider(), model.client.model());
            let stream = context.bound(model.client.stream(&request)).await?;
            let stream = AnswerStream::from(stream).until(&context);
            let counters = context.shared.clone();
            Ok(Reply::Stream(stream.inspect(move |event| {
                if let Ok(CompletionEvent::Finished(completion)) = event {
                    counters.add_usage(completion.usage);
                }
            })))
        }
        .boxed(),
        Request::Outgoing(request) => {
            async move { outgoing(&core, &context, request).await.map(Reply::Http) }.boxed()
        }
        Request::Incoming { request, .. } => async move {
            incoming(&core, context, callee()?, request)
                .await
                .map(Reply::Http)
        }
        .boxed(),
    }
}

async fn call_function(
    core: &Arc<Core>,
    context: CallContext,
    instance: Arc<Instance>,
    function: &FunctionName,
    arguments: Map<String, Value>,
) -> Result<FunctionResult, CallError> {
    check_input(&instance, size::object(&arguments))?;
    match &instance.provider {
        Provider::Component { digest, .. } => {
            let context = context.within(&instance);
            core.sandboxes
                .function(core, &instance, digest, &context, function, arguments)
                .await
        }
        Provider::Mcp(server) => {
            let bounded = context.within(&instance);
            bounded.begin();
            // Boxed, so that calls of components do not carry room for it.
            let result = bounded
                .bound(server.call(function.as_str(), arguments).boxed())
                .await?;
            check_output(&instance, result.size())?;
            Ok(result)
        }
        Provider::Agent(agent) => {
            let message = ask(function, arguments)?;
            context.begin();
            // The tool is the principal of the call that it makes: its instance grants this one agent.
            let caller = Principal::instance(instance.clone(), context.caller.clone());
            let mut nested = context.nested(caller);
            nested.events = context.events.clone();
            let request = Request::Agent {
                agent: agent.clone(),
                messages: vec![Message::text(Role::User, message)],
            };
            let reply = core.call(nested, request).await?.into_agent()?;
            Ok(FunctionResult {
                content: reply.content,
                structured: None,
                is_error: false,
            })
        }
    }
}

/// The message to an agent that is called as a tool.
fn ask(function: &FunctionName, arguments: Map<String, Value>) -> Result<String, CallError> {
    if function.as_str() != function::ASK {
        return Err(CallError::NotFound(format!(
            "an agent as a tool has the one function {}",
            function::ASK
        )));
    }
    function::ask_message(arguments)
}

async fn call_agent(
    core: &Arc<Core>,
    context: CallContext,
    instance: Arc<Instance>,
    messages: Vec<Message>,
) -> Result<AgentReply, CallError> {
    check_input(&instance, messages.iter().map(Message::size).sum())?;
    let Provider::Component { digest, .. } = &instance.provider else {
        let name = &instance.name;
        return Err(CallError::Failed(format!("agent {name} has no component")));
    };
    let context = context.within(&instance);
    let content = core
        .sandboxes
        .agent(core, &instance, digest, &context, messages)
        .await?;
    Ok(AgentReply {
        content,
        usage: context.shared.usage(),
    })
}

async fn outgoing(
    core: &Arc<Core>,
    context: &CallContext,
    request: http::Request<Body>,
) -> Result<http::Response<Body>, CallError> {
    let instance = context
        .caller
        .bound_by()
        .ok_or_else(|| CallError::Failed("an outgoing request without an instance".to_owned()))?;
    let limits = instance.limits.clone();
    let allowed = instance
        .grants
        .http()
        .check(request.method(), request.uri())
        .map_err(EgressError::from)?;
    let request = request.map(|body| {
        body::bounded(body, limits.output_bytes, None::<()>)
            .map_err(|error| EgressError::RequestBody(error.to_string()))
            .boxed_unsync()
    });
    let timeouts = Timeouts {
        total: context.remaining(),
        ..Timeouts::default()
    };
    // With the secrets of the tenant whose grant this is.
    let egress = core.egress.of(&instance.tenant);
    let response = context
        .bound(async { Ok(egress.send(&allowed, request, timeouts).await?) })
        .await?;
    Ok(response.map(|body| {
        let body = body.map_err(|error| body::broken(&error));
        body::bounded(body.boxed_unsync(), limits.input_bytes, None::<()>)
    }))
}

async fn incoming(
    core: &Arc<Core>,
    context: CallContext,
    instance: Arc<Instance>,
    request: http::Request<Body>,
) -> Result<http::Response<Body>, CallError> {
    let Provider::Component { digest, .. } = &instance.provider else {
        let name = &instance.name;
        return Err(CallError::NotFound(format!(
            "tool {name} does not serve HTTP"
        )));
    };
    let most = instance.limits.input_bytes;
    let request = request.map(|body| body::bounded(body, most, None::<()>));
    let context = context.within(&instance);
    core.sandboxes
        .incoming(core, &instance, digest, &context, request)
        .await
}

fn check_input(instance: &Instance, size: usize) -> Result<(), CallError> {
    let most = instance.limits.input_bytes;
    if size as u64 > most {
        Err(CallError::limit(name::INPUT_BYTES, most))
    } else {
        Ok(())
    }
}

fn check_output(instance: &Instance, size: usize) -> Result<(), CallError> {
    let most = instance.limits.output_bytes;
    if size as u64 > most {
        Err(CallError::limit(name::OUTPUT_BYTES, most))
    } else {
        Ok(())
    }
}

impl CallContext {
    /// This context, ended when the instance's wall time is over if that comes first.
    fn within(mut self, instance: &Instance) -> Self {
        let own = Instant::now() + instance.limits.wall;
        self.bound_by_wall = own < self.deadline;
        self.deadline = self.deadline.min(own);
        self
    }

    /// What it means that the deadline has passed while `instance` ran.
    pub(crate) fn out_of_time(&self, instance: &Instance) -> CallError {
        if self.bound_by_wall {
            let ms = u64::try_from(instance.limits.wall.as_millis()).unwrap_or(u64::MAX);
            CallError::limit(name::WALL_MS, ms)
        } else {
            CallError::Timeout
        }
    }

    /// Waits for work outside a sandbox, until the deadline or the end of the caller's patience.
    pub(crate) async fn bound<T>(
        &self,
        work: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, CallError> {
        tokio::select! {
            biased;
            done = work => done,
            () = self.cancel.cancelled() => Err(CallError::Canceled),
            () = tokio::time::sleep_until(self.deadline.into()) => Err(CallError::Timeout),
        }
    }
}
