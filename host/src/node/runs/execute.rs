//! One run, from being bound to its end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use k8s_openapi::jiff::Timestamp;
use ringfence_api::{RUN_MESSAGE_BYTES, Run, RunOutput, RunPhase, RunRole, RunSpec, head};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::output::{Gave, Tail};
use super::{Runs, Ticket, Why, report};
use crate::blob::BLOB_LIFE;
use crate::error::CallError;
use crate::mediation::{CallContext, Principal, Reply, Request};
use crate::message::{Message, Role, text_of};
use crate::model::Usage;
use crate::output::events;
use crate::session::valid_session_name;

/// How often news of a run are written at most.
const NEWS: Duration = Duration::from_secs(1);
/// A run whose target has just left the host is given back after this long: the operator then knows, too.
const LEFT: Duration = Duration::from_millis(250);
/// Blobs outlive the run that they belong to by this much.
const BLOB_MARGIN: Duration = Duration::from_secs(600);

/// How a run ended.
struct End {
    phase: RunPhase,
    output: Option<Gave>,
    error: Option<(&'static str, String)>,
    usage: Usage,
}

impl End {
    fn failed(error: &CallError) -> Self {
        Self {
            phase: RunPhase::Failed,
            output: None,
            error: Some((error.code(), error.to_string())),
            usage: Usage::default(),
        }
    }
}

/// Executes a run, unless it must not begin any more.
pub(super) async fn execute(runs: Arc<Runs>, run: Arc<Run>, ticket: Arc<Ticket>) {
    let deadline = Instant::now() + time(&run);
    let slot = tokio::select! {
        biased;
        () = ticket.cancel.cancelled() => return not_begun(&runs, &ticket).await,
        () = runs.draining.cancelled() => return report::give_back(&runs.shared, &ticket).await,
        () = sleep_until(deadline) => {
            let end = End::failed(&CallError::Timeout);
            return close(&runs, &run, &ticket, end, json!({})).await;
        }
        slot = runs.slots.acquire() => slot,
    };
    // The slots are never closed.
    let Ok(slot) = slot else { return };
    let request = match request(&run.spec) {
        Ok(request) => request,
        Err(error) => {
            return close(&runs, &run, &ticket, End::failed(&error), json!({})).await;
        }
    };
    if !is_here(&runs, &ticket, &request) {
        drop(slot);
        tokio::time::sleep(LEFT).await;
        return report::give_back(&runs.shared, &ticket).await;
    }
    if !runs.journal.begin(&ticket.uid).await {
        let error = CallError::Unavailable("the host cannot note that the run begins".to_owned());
        return close(&runs, &run, &ticket, End::failed(&error), json!({})).await;
    }
    runs.shared.host.metrics().run_began();
    let (end, begun) = call(&runs, &run, &ticket, request, deadline).await;
    drop(slot);
    let outcome = end.error.as_ref().map_or("ok", |(code, _)| *code);
    runs.shared.host.metrics().run_ended(outcome);
    close(&runs, &run, &ticket, end, begun).await;
    runs.journal.forget(&ticket.uid).await;
}

/// How much time the run has, counted from now.
fn time(run: &Run) -> Duration {
    let most = Duration::from_secs(run.spec.timeout_seconds.into());
    let left = run.status.as_ref().and_then(|status| status.time_left_ms);
    left.map_or(most, |left| Duration::from_millis(left).min(most))
}

async fn not_begun(runs: &Runs, ticket: &Ticket) {
    // Nobody has to be told of the end of a run that is gone.
    if ticket.why() == Why::Asked {
        let error = json!({"code": "canceled", "message": "it was canceled before it began"});
        let status = json!({ "error": error });
        report::finish(&runs.shared, ticket, RunPhase::Canceled, status).await;
    }
}

fn is_here(runs: &Runs, ticket: &Ticket, request: &Request) -> bool {
    let directory = runs.shared.host.directory();
    match request {
        Request::Agent { agent, .. } => directory.agent(&ticket.tenant, agent).is_ok(),
        Request::Function { tool, .. } => directory.tool(&ticket.tenant, tool).is_ok(),
        _ => false,
    }
}

/// The call that a run asks for.
fn request(spec: &RunSpec) -> Result<Request, CallError> {
    match (&spec.agent, &spec.tool) {
        (Some(agent), None) => {
            let said = agent.messages.iter().flatten();
            let mut messages: Vec<Message> = said
                .map(|message| Message::text(role(message.role), message.text.clone()))
                .collect();
            let input = agent.input.clone();
            messages.extend(input.map(|text| Message::text(Role::User, text)));
            if agent
                .session
                .as_deref()
                .is_some_and(|name| !valid_session_name(name))
            {
                let message = "spec.agent.session: use 1 to 128 bytes without control characters";
                return Err(CallError::Invalid(message.to_owned()));
            }
            Ok(Request::Agent {
                agent: agent.name.clone(),
                messages,
            })
        }
        (None, Some(tool)) => Ok(Request::Function {
            tool: tool.name.clone(),
            function: tool.function.clone(),
            arguments: tool.arguments.clone(),
        }),
        _ => {
            let message = "spec: give exactly one of agent and tool";
            Err(CallError::Invalid(message.to_owned()))
        }
    }
}

fn role(role: RunRole) -> Role {
    match role {
        RunRole::System => Role::System,
        RunRole::User => Role::User,
        RunRole::Assistant => Role::Assistant,
    }
}

/// Makes the call, and writes news of it at most once a second. Also gives what a run has that has begun.
async fn call(
    runs: &Runs,
    run: &Run,
    ticket: &Ticket,
    request: Request,
    deadline: Instant,
) -> (End, Value) {
    let principal = Principal::user(ticket.tenant.clone(), &format!("run/{}", ticket.name));
    let left = deadline.saturating_duration_since(Instant::now());
    let mut context = CallContext::start(ticket.tenant.clone(), principal, left);
    let (sink, mut source) = events();
    context.events = Some(sink);
    context.cancel = ticket.cancel.clone();
    context.waits = true;
    let session = run
        .spec
        .agent
        .as_ref()
        .and_then(|agent| agent.session.as_deref());
    context.session = session.map(Into::into);
    let begun =
        json!({"runId": context.run.to_string(), "startedAt": Timestamp::now().to_string()});
    let counters = context.shared.clone();
    let host = runs.shared.host.clone();
    // A task of its own: it goes on while news of it are written.
    let call = tokio::spawn(async move { host.call(context, request).await });
    let mut call = AbortOnDropHandle::new(call);
    let mut tail = Tail::default();
    let mut told = false;
    let mut ticks = interval_at(Instant::now() + NEWS, NEWS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let done = loop {
        tokio::select! {
            biased;
            done = &mut call => break done,
            Some(event) = source.next() => tail.take(&event),
            _ = ticks.tick() => {
                let news = tail.news();
                if told && news.is_none() {
                    continue;
                }
                let mut status = begun.clone();
                status["phase"] = json!(RunPhase::Running);
                if let Some(news) = news {
                    status["progress"] = json!(news);
                }
                report::progress(&runs.shared, ticket, &status).await;
                told = true;
            }
        }
    };
    let mut end = match done {
        Ok(Ok(reply)) => ended(reply),
        Ok(Err(CallError::Canceled)) => canceled(ticket),
        Ok(Err(error)) => End::failed(&error),
        Err(_) => End::failed(&CallError::Failed(
            "the host failed inside this run".to_owned(),
        )),
    };
    end.usage = counters.usage();
    (end, begun)
}

fn canceled(ticket: &Ticket) -> End {
    let (phase, message) = match ticket.why() {
        Why::Stopped => (RunPhase::Failed, "the host stopped before it was over"),
        _ => (RunPhase::Canceled, "it was canceled while it ran"),
    };
    End {
        phase,
        output: None,
        error: Some(("canceled", message.to_owned())),
        usage: Usage::default(),
    }
}

fn ended(reply: Reply) -> End {
    let (gave, failed) = match reply {
        Reply::Agent(reply) => (
            Gave {
                content: reply.content,
                structured: None,
            },
            false,
        ),
        Reply::Function(result) => (
            Gave {
                content: result.content,
                structured: result.structured,
            },
            result.is_error,
        ),
        _ => {
            let error = CallError::Failed("the reply does not fit the run".to_owned());
            return End::failed(&error);
        }
    };
    End {
        phase: match failed {
            true => RunPhase::Failed,
            false => RunPhase::Succeeded,
        },
        error: failed.then(|| ("tool-error", text_of(&gave.content))),
        output: Some(gave),
        usage: Usage::default(),
    }
}

/// Says how a run ended; `status` is what was said before.
async fn close(runs: &Runs, run: &Run, ticket: &Ticket, mut end: End, mut status: Value) {
    if let Some(gave) = end.output.take() {
        match keep(runs, run, ticket, gave).await {
            Ok(output) => status["output"] = json!(output),
            Err(error) => {
                end.phase = RunPhase::Failed;
                end.error = Some((error.code(), error.to_string()));
            }
        }
    }
    if end.phase == RunPhase::Succeeded {
        // The output says it all.
        status["progress"] = Value::Null;
    }
    if let Some((code, message)) = end.error {
        status["error"] = json!({"code": code, "message": head(message, RUN_MESSAGE_BYTES)});
    }
    if end.usage != Usage::default() {
        status["usage"] = json!({
            "inputTokens": end.usage.input_tokens, "outputTokens": end.usage.output_tokens,
        });
    }
    // A run that was deleted has nobody to be told.
    if ticket.why() != Why::Gone {
        report::finish(&runs.shared, ticket, end.phase, status).await;
    }
}

/// The output as the object shows it; a large one goes to the blob store.
async fn keep(runs: &Runs, run: &Run, ticket: &Ticket, gave: Gave) -> Result<RunOutput, CallError> {
    let document = match gave.output() {
        Ok(output) => return Ok(output),
        Err(document) => Bytes::from(document),
    };
    let size = document.len() as u64;
    let ttl = Duration::from_secs(run.spec.ttl_seconds_after_finished.into());
    let life = (ttl + BLOB_MARGIN).min(BLOB_LIFE);
    let blobs = runs.shared.host.blobs();
    let digest = blobs.put(&ticket.tenant, document, life).await?;
    let (address, tenant) = (runs.address, &ticket.tenant);
    Ok(RunOutput {
        blob: Some(ringfence_api::BlobRef {
            digest,
            size,
            where_: format!("http://{address}/api/v1/tenants/{tenant}/blobs/{digest}"),
        }),
        ..RunOutput::default()
    })
}
