//! Calling functions of tools, and running agents: whole answers as JSON, or events as they come.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use ringfence_api::{FunctionName, Name};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::access::Caller;
use super::extract::{Json, Named};
use super::problem::Failure;
use super::schemas::{json_content, reference};
use super::{Content, Operation, RestState};
use crate::directory::status::FunctionStatus;
use crate::error::CallError;
use crate::host::RUN_TIMEOUT;
use crate::mediation::{AgentReply, CallContext, Reply, Request, RunId};
use crate::message::{Message, Role, text_of};
use crate::output::{OutputEvent, events};
use crate::session::valid_session_name;
use crate::telemetry::RemoteTrace;

/// Header that names the run, on every answer to a call.
const RUN_HEADER: HeaderName = HeaderName::from_static("ringfence-run");

pub(super) fn operations() -> Vec<Operation> {
    let base = |path, id, summary, request, response, handler| Operation {
        method: Method::POST,
        path,
        id,
        summary,
        admin: false,
        query: Vec::new(),
        request: json_content(request),
        status: 200,
        response,
        handler,
    };
    let mut answers = json_content("RunResult");
    answers.push(Content {
        media: "text/event-stream",
        schema: reference("RunEvents"),
    });
    vec![
        Operation {
            method: Method::GET,
            request: Vec::new(),
            ..base(
                "/api/v1/tenants/{tenant}/tools/{name}/functions",
                "listFunctions",
                "The functions of a tool, with what each takes.",
                "CallRequest",
                json_content("FunctionList"),
                get(functions),
            )
        },
        base(
            "/api/v1/tenants/{tenant}/tools/{name}/functions/{function}",
            "callFunction",
            "Calls a function of a tool. A function that fails by its own account answers 200 with \
             isError.",
            "CallRequest",
            json_content("CallResult"),
            post(call),
        ),
        base(
            "/api/v1/tenants/{tenant}/agents/{name}/run",
            "runAgent",
            "Runs an agent. With `accept: text/event-stream`, its output comes as events: run, part, \
             progress, then answer or error.",
            "RunRequest",
            answers,
            post(run),
        ),
    ]
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CallRequest {
    #[serde(default)]
    arguments: Map<String, Value>,
    #[serde(default)]
    timeout_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RunRequest {
    #[serde(default)]
    input: Option<String>,
    #[serde(default)]
    messages: Vec<Message>,
    #[serde(default)]
    session: Option<String>,
    #[serde(default)]
    timeout_ms: Option<u64>,
}

/// A call's context. Dropping the answer cancels what the call still does.
fn begin(
    state: &RestState,
    caller: &Caller,
    headers: &HeaderMap,
    timeout_ms: Option<u64>,
) -> Result<CallContext, Failure> {
    if state.host.draining().is_cancelled() {
        return Err(CallError::Unavailable("the host stops: try another one".to_owned()).into());
    }
    let most = RUN_TIMEOUT.as_millis();
    let timeout = match timeout_ms {
        None => RUN_TIMEOUT,
        Some(ms) if ms > 0 && u128::from(ms) <= most => Duration::from_millis(ms),
        Some(ms) => {
            let message = format!("timeoutMs: {ms} is not between 1 and {most}");
            return Err(CallError::Invalid(message).into());
        }
    };
    let principal = caller.identity.principal(&caller.tenant);
    let mut context = CallContext::start(caller.tenant.clone(), principal, timeout);
    context.trace = RemoteTrace::of_headers(headers).map(Arc::new);
    Ok(context)
}

/// An answer that names its run.
fn answer(run: RunId, response: impl IntoResponse) -> Response {
    let mut response = response.into_response();
    if let Ok(value) = HeaderValue::from_str(&run.to_string()) {
        response.headers_mut().insert(RUN_HEADER, value);
    }
    response
}

async fn functions(
    State(state): State<RestState>,
    caller: Caller,
    path: Named,
) -> Result<axum::Json<Value>, Failure> {
    let directory = state.host.directory();
    let tool = directory.tool(&caller.tenant, &path.get::<Name>("name")?)?;
    let functions: Vec<FunctionStatus> =
        tool.functions().iter().map(FunctionStatus::from).collect();
    Ok(axum::Json(json!({ "items": functions })))
}

async fn call(
    State(state): State<RestState>,
    caller: Caller,
    path: Named,
    headers: HeaderMap,
    Json(body): Json<CallRequest>,
) -> Result<Response, Failure> {
    let request = Request::Function {
        tool: path.get::<Name>("name")?,
        function: path.get::<FunctionName>("function")?,
        arguments: body.arguments,
    };
    let context = begin(&state, &caller, &headers, body.timeout_ms)?;
    let run = context.run;
    let _cancel = context.cancel.clone().drop_guard();
    let result = state
        .host
        .call(context, request)
        .await
        .and_then(Reply::into_function);
    Ok(match result {
        Ok(result) => {
            let mut document = json!(result);
            document["run"] = run.to_string().into();
            answer(run, axum::Json(document))
        }
        Err(error) => answer(run, Failure::from(error).in_run(run)),
    })
}

async fn run(
    State(state): State<RestState>,
    caller: Caller,
    path: Named,
    headers: HeaderMap,
    Json(body): Json<RunRequest>,
) -> Result<Response, Failure> {
    let agent: Name = path.get("name")?;
    let mut messages = body.messages;
    messages.extend(body.input.map(|text| Message::text(Role::User, text)));
    if messages.is_empty() {
        return Err(CallError::Invalid("give input, a text, or messages".to_owned()).into());
    }
    let mut context = begin(&state, &caller, &headers, body.timeout_ms)?;
    if let Some(session) = body.session {
        if !valid_session_name(&session) {
            let message = "session: use 1 to 128 bytes without control characters";
            return Err(CallError::Invalid(message.to_owned()).into());
        }
        context.session = Some(session.into());
    }
    let request = Request::Agent { agent, messages };
    let streams = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|accept| accept.contains("text/event-stream"));
    let run = context.run;
    if streams {
        return Ok(answer(run, stream(state, context, request)));
    }
    let _cancel = context.cancel.clone().drop_guard();
    let result = state
        .host
        .call(context, request)
        .await
        .and_then(Reply::into_agent);
    Ok(match result {
        Ok(reply) => answer(run, axum::Json(document(run, &reply))),
        Err(error) => answer(run, Failure::from(error).in_run(run)),
    })
}

fn document(run: RunId, reply: &AgentReply) -> Value {
    json!({
        "run": run.to_string(),
        "text": text_of(&reply.content),
        "content": reply.content,
        "usage": reply.usage,
    })
}

/// Runs an agent in a task of its own, and hands on what it sends. The task ends with the response:
/// dropping it drops the receiver, and with that cancels the call.
fn stream(state: RestState, mut context: CallContext, request: Request) -> Response {
    let (sink, mut source) = events();
    let run = context.run;
    context.events = Some(sink);
    let cancel = context.cancel.clone();
    let (sender, receiver) = mpsc::channel::<Event>(16);
    let guard = cancel.clone().drop_guard();
    tokio::spawn(async move {
        let host = state.host.clone();
        // Boxed: checking the whole future of a call within `select!` takes the compiler minutes.
        let mut call = host.call(context, request).boxed();
        if sender
            .send(event("run", &json!({ "run": run.to_string() })))
            .await
            .is_err()
        {
            return;
        }
        let result = loop {
            tokio::select! {
                biased;
                Some(output) = source.next() => {
                    if sender.send(output_event(&output)).await.is_err() {
                        return;
                    }
                }
                result = &mut call => break result.and_then(Reply::into_agent),
            }
        };
        // What the agent sent before its end comes before the answer.
        while let Ok(Some(output)) =
            tokio::time::timeout(Duration::from_millis(1), source.next()).await
        {
            if sender.send(output_event(&output)).await.is_err() {
                return;
            }
        }
        let last = match result {
            Ok(reply) => {
                let mut document = document(run, &reply);
                document["droppedEvents"] = source.dropped().into();
                event("answer", &document)
            }
            Err(error) => event("error", &Failure::from(error).in_run(run).document()),
        };
        // A reader that is gone needs no answer.
        drop(sender.send(last).await);
    });
    let held = Arc::new(guard);
    let stream = futures::stream::unfold((receiver, held), |(mut receiver, held)| async move {
        let event = receiver.recv().await?;
        Some((Ok::<_, Infallible>(event), (receiver, held)))
    });
    Sse::new(stream)
        .keep_alive(KeepAlive::default())
        .into_response()
}

fn output_event(output: &OutputEvent) -> Event {
    match output {
        OutputEvent::Part(part) => event("part", &json!(part)),
        OutputEvent::Progress(progress) => event(
            "progress",
            &json!({
                "done": progress.done,
                "total": progress.total,
                "message": progress.message,
            }),
        ),
    }
}

fn event(name: &str, data: &Value) -> Event {
    Event::default().event(name).data(data.to_string())
}
