//! OpenAI's chat completions and models, below `/{tenant}/v1`, so that an agent is a "model" for any
//! program that speaks to OpenAI.
//!
//! - The model `NAME` or `agent/NAME` is an agent. It brings its own model, tools and sampling:
//!   `temperature`, `max_tokens` and the like are ignored, and what would change what the caller gets
//!   (`tools`, `response_format`, `stop`, `n`, …) is refused.
//! - The model `model/NAME` is a Model of the tenant, as it is: the client's own tools are passed on.
//! - The header `x-ringfence-session` names the conversation that an agent remembers by; without it
//!   there is none. OpenAI's `user` names an end user, not a conversation, and is ignored.
//! - Unknown fields are ignored.

mod agent;
mod answer;
mod convert;
mod error;
mod model;
mod models;
mod sse;
mod wire;

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, Method, Request};
use ringfence_api::Name;

use self::error::Failure;
use self::wire::ChatRequest;
use super::auth::Permission;
use super::respond::Problem;
use super::shared::{Shared, Visitor};

use crate::session::valid_session_name;

/// Header that names the conversation.
const SESSION_HEADER: &str = "x-ringfence-session";

/// Answers one request; `rest` is the path after `/{tenant}/v1/`.
pub(super) async fn serve(
    shared: &Arc<Shared>,
    tenant: &str,
    rest: &str,
    request: Request<Body>,
    from: IpAddr,
) -> Response {
    let visitor = match shared.visit(tenant, request.headers(), from).await {
        Ok(visitor) => visitor,
        Err(problem) => return refuse(problem),
    };
    let method = request.method();
    match rest {
        "chat/completions" if method == Method::POST => chat(shared, visitor, request).await,
        "chat/completions" => Problem::method("POST"),
        "models" if method == Method::GET => models::list(shared, &visitor).await,
        "models" => Problem::method("GET"),
        _ => match rest.strip_prefix("models/") {
            Some(id) if method == Method::GET => models::one(shared, &visitor, id).await,
            Some(_) => Problem::method("GET"),
            None => Failure::not_found(format!(
                "there is no /v1/{rest} here: use /v1/chat/completions or /v1/models"
            ))
            .into_response(),
        },
    }
}

/// A failure of the gateway, in OpenAI's form.
pub(super) fn refuse(problem: Problem) -> Response {
    Failure::from(problem).into_response()
}

/// What a model's name stands for.
enum Target {
    Agent(Name),
    Model(Name),
}

impl Target {
    fn of(model: &str) -> Option<Self> {
        if let Some(name) = model.strip_prefix("model/") {
            return name.parse().ok().map(Target::Model);
        }
        model
            .strip_prefix("agent/")
            .unwrap_or(model)
            .parse()
            .ok()
            .map(Target::Agent)
    }

    /// What asking it takes.
    fn permission(&self) -> Permission {
        match self {
            Target::Agent(name) => Permission::run(name),
            Target::Model(name) => Permission::call_model(name),
        }
    }
}

async fn chat(shared: &Arc<Shared>, visitor: Visitor, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let body = match shared.read(body).await {
        Ok(body) => body,
        Err(response) => return response,
    };
    match answer(shared, &visitor, &parts.headers, &body).await {
        Ok(response) => response,
        Err(failure) => failure.into_response(),
    }
}

async fn answer(
    shared: &Arc<Shared>,
    visitor: &Visitor,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, Failure> {
    let request: ChatRequest = serde_json::from_slice(body).map_err(|error| {
        Failure::invalid(
            "body",
            format!("the request is no chat completion: {error}"),
        )
    })?;
    request.check()?;
    let unknown = || Failure::no_model(&request.model);
    let target = Target::of(&request.model).ok_or_else(unknown)?;
    let permit = visitor.permit(target.permission()).await?;
    let view = shared.host.directory().view(&visitor.tenant);
    let (mut context, in_flight) = shared.begin_traced(permit, headers);
    context.session = session(headers)?;
    match target {
        Target::Agent(name) if shared.host.has_agent(&visitor.tenant, &name).await => {
            request.check_for_agent()?;
            agent::answer(shared, name, request, context, in_flight).await
        }
        Target::Model(name) if view.models.contains_key(&name) => {
            model::answer(shared, name, request, context, in_flight).await
        }
        _ => Err(unknown()),
    }
}

fn session(headers: &HeaderMap) -> Result<Option<Arc<str>>, Failure> {
    let Some(value) = headers.get(SESSION_HEADER) else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(name) if valid_session_name(name) => Ok(Some(name.into())),
        _ => Err(Failure::invalid(
            SESSION_HEADER,
            format!("{SESSION_HEADER} has to be 1 to 128 printable characters"),
        )),
    }
}
