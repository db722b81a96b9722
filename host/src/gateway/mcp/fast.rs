//! The short way for the ordinary `tools/call`: one pass over the body, no task, one JSON response.
//!
//! It takes a request only when everything about it is as the protocol wants it, and when no message
//! but the answer may be due. The rest, and every mistake, is [`Answer::Unusual`] and goes to rmcp,
//! which knows the right error for each.

use std::borrow::Cow;

use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use rmcp::model::{CallToolResult, ClientCapabilities, ErrorData, ProtocolVersion};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::endpoint::{Endpoint, Extras};
use super::sessions::SessionCall;
use crate::gateway::respond::{Problem, json_bytes};
use crate::gateway::shared::Shared;
use crate::telemetry::RemoteTrace;

const SESSION: &str = "mcp-session-id";
const VERSION: &str = "mcp-protocol-version";
const METHOD: &str = "mcp-method";
const NAME: &str = "mcp-name";
/// The first version without sessions.
const STATELESS: &str = "2026-07-28";

/// What became of a request.
pub(super) enum Answer {
    /// It was answered.
    Done(Response),
    /// rmcp has to answer it.
    Unusual,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    jsonrpc: Cow<'a, str>,
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    params: Option<Params<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Params<'a> {
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(default)]
    arguments: Option<Map<String, Value>>,
    #[serde(borrow, default)]
    request_id: Option<&'a RawValue>,
    #[serde(borrow, rename = "_meta", default)]
    meta: Option<Meta<'a>>,
}

#[derive(Default, Deserialize)]
struct Meta<'a> {
    #[serde(borrow, rename = "progressToken", default)]
    progress: Option<&'a RawValue>,
    #[serde(borrow, rename = "io.modelcontextprotocol/protocolVersion", default)]
    version: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "io.modelcontextprotocol/clientCapabilities", default)]
    capabilities: Option<&'a RawValue>,
    #[serde(borrow, default)]
    traceparent: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    tracestate: Option<Cow<'a, str>>,
}

#[derive(Serialize)]
struct Reply<'a> {
    jsonrpc: &'static str,
    id: &'a RawValue,
    #[serde(flatten)]
    body: ReplyBody<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum ReplyBody<'a> {
    Result(&'a CallToolResult),
    Error(&'a ErrorData),
}

/// Answers a POST, if it is an ordinary `tools/call` of somebody who may make it.
pub(super) async fn call(
    shared: &Shared,
    endpoint: &Endpoint,
    headers: &HeaderMap,
    body: &Bytes,
) -> Answer {
    match serde_json::from_slice::<Envelope<'_>>(body) {
        Ok(envelope) if envelope.method == "tools/call" => {
            answer(shared, endpoint, headers, envelope).await
        }
        _ => Answer::Unusual,
    }
}

/// Looks at a POST that rmcp is about to answer: refuses a session too many, and cancels what is answered
/// here.
pub(super) fn notice(
    shared: &Shared,
    endpoint: &Endpoint,
    headers: &HeaderMap,
    body: &Bytes,
) -> Answer {
    let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(body) else {
        return Answer::Unusual;
    };
    match &*envelope.method {
        "initialize" if !shared.mcp.sessions.has_room(endpoint) => {
            let problem = Problem::overloaded("too many MCP sessions are open: close some");
            Answer::Done(problem.into_response())
        }
        "notifications/cancelled" => {
            // rmcp hears of it too: the call may be one of its own.
            let id = envelope
                .params
                .as_ref()
                .and_then(|params| params.request_id);
            if let Some((session, id)) = text(headers, SESSION).zip(id) {
                shared.mcp.sessions.cancel(session, endpoint, id.get());
            }
            Answer::Unusual
        }
        _ => Answer::Unusual,
    }
}

/// The era of a request that may be answered here.
enum Era {
    Stateless,
    Session(SessionCall),
}

async fn answer(
    shared: &Shared,
    endpoint: &Endpoint,
    headers: &HeaderMap,
    envelope: Envelope<'_>,
) -> Answer {
    let Envelope {
        jsonrpc,
        id: Some(id),
        params: Some(params),
        ..
    } = envelope
    else {
        return Answer::Unusual;
    };
    let Params {
        name: Some(name),
        arguments,
        meta,
        ..
    } = params
    else {
        return Answer::Unusual;
    };
    let meta = meta.unwrap_or_default();
    let plain = jsonrpc == "2.0" && is_id(id) && meta.progress.is_none() && negotiates(headers);
    if !plain {
        return Answer::Unusual;
    }
    let listing = endpoint.listing(shared);
    let Some(entry) = listing.find(&name) else {
        return Answer::Unusual;
    };
    let Ok(permit) = endpoint.permit(entry).await else {
        return Answer::Unusual;
    };
    let era = match text(headers, VERSION) {
        Some(STATELESS) => {
            if entry.wants_headers || !is_self_contained(headers, &meta, &name) {
                return Answer::Unusual;
            }
            Era::Stateless
        }
        version => {
            let known = version.is_none_or(|version| {
                ProtocolVersion::KNOWN_VERSIONS
                    .iter()
                    .any(|known| known.as_str() == version)
            });
            let session = text(headers, SESSION).filter(|_| known && meta.version.is_none());
            let Some(call) = session
                .and_then(|session| shared.mcp.sessions.begin_call(session, endpoint, id.get()))
            else {
                return Answer::Unusual;
            };
            Era::Session(call)
        }
    };
    let extras = Extras {
        events: None,
        cancel: match &era {
            Era::Stateless => None,
            Era::Session(call) => Some(call.cancel.clone()),
        },
        trace: meta
            .traceparent
            .as_deref()
            .and_then(|parent| RemoteTrace::read(parent, meta.tracestate.as_deref())),
    };
    let arguments = arguments.unwrap_or_default();
    let mut result = endpoint
        .call(shared, permit, &name, entry, arguments, extras)
        .await;
    if let (Era::Session(_), Ok(result)) = (&era, &mut result) {
        // Only newer clients know of it.
        result.result_type = None;
    }
    let body = match &result {
        Ok(result) => ReplyBody::Result(result),
        Err(error) => ReplyBody::Error(error),
    };
    match serde_json::to_vec(&Reply {
        jsonrpc: "2.0",
        id,
        body,
    }) {
        Ok(text) => Answer::Done(json_bytes(StatusCode::OK, text)),
        // The call was made, so it must not be made again.
        Err(_) => Answer::Done(StatusCode::INTERNAL_SERVER_ERROR.into_response()),
    }
}

/// A string or an integer, as the protocol wants ids.
fn is_id(id: &RawValue) -> bool {
    let text = id.get();
    text.starts_with('"') || text.parse::<i64>().is_ok()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// Whether JSON is sent, and JSON as well as event streams accepted, without weights.
fn negotiates(headers: &HeaderMap) -> bool {
    let is_json = headers
        .get(CONTENT_TYPE)
        .map(HeaderValue::as_bytes)
        .is_some_and(|value| {
            value == b"application/json" || value.starts_with(b"application/json;")
        });
    let accepts = |media: &str| {
        headers
            .get_all(ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|entry| entry.trim() == media)
    };
    is_json && accepts("application/json") && accepts("text/event-stream")
}

/// Whether a request since 2026-07-28 carries all that it has to, in agreement with its headers.
fn is_self_contained(headers: &HeaderMap, meta: &Meta<'_>, name: &str) -> bool {
    meta.version.as_deref() == Some(STATELESS)
        && meta.capabilities.is_some_and(|capabilities| {
            serde_json::from_str::<ClientCapabilities>(capabilities.get()).is_ok()
        })
        && text(headers, METHOD) == Some("tools/call")
        && text(headers, NAME) == Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_version_without_sessions_is_the_one_rmcp_means() {
        assert_eq!(STATELESS, ProtocolVersion::NO_INITIALIZE.as_str());
    }

    #[test]
    fn ids_are_strings_and_integers() {
        let id = |text: &str| is_id(&RawValue::from_string(text.to_owned()).unwrap());
        assert!(id("1") && id("\"a\"") && id("-5"));
        assert!(!id("null") && !id("1.5") && !id("{}") && !id("[1]"));
    }

    #[test]
    fn only_plain_negotiation_is_ordinary() {
        let with = |accept: &str, content: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            headers.insert(CONTENT_TYPE, content.parse().unwrap());
            negotiates(&headers)
        };
        assert!(with(
            "application/json, text/event-stream",
            "application/json"
        ));
        assert!(with(
            "text/event-stream,application/json",
            "application/json; charset=utf-8"
        ));
        assert!(!with("application/json", "application/json"));
        assert!(!with(
            "application/json;q=0, text/event-stream",
            "application/json"
        ));
        assert!(!with("application/json, text/event-stream", "text/plain"));
    }

    #[test]
    fn the_envelope_is_read_in_one_pass() {
        let body = br#"{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":"a_b",
            "arguments":{"n":1},"_meta":{"progressToken":3,"traceparent":"t","other":{}},"more":[]}}"#;
        let envelope: Envelope<'_> = serde_json::from_slice(body).unwrap();
        let params = envelope.params.unwrap();
        assert_eq!(params.name.as_deref(), Some("a_b"));
        assert_eq!(params.arguments.unwrap()["n"], 1);
        let meta = params.meta.unwrap();
        assert_eq!(meta.progress.unwrap().get(), "3");
        assert_eq!(meta.traceparent.as_deref(), Some("t"));
        let wrong: Result<Envelope<'_>, _> = serde_json::from_slice(
            br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":1}}"#,
        );
        assert!(wrong.is_err());
    }
}
