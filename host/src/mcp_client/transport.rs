//! rmcp's HTTP transport over [`Egress`]: same wire, but our way out, our limits and our secrets.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use rmcp::model::{ClientJsonRpcMessage, ClientRequest, ErrorData, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_client::{
    HttpStatusError, SseError, StreamableHttpClient, StreamableHttpError,
    StreamableHttpPostResponse,
};
use sse_stream::Sse;

use super::MCP_MESSAGE_BYTES;
use crate::egress::{self, Allowed, Body, Egress, EgressError, Timeouts};
use crate::sse::Decoder;

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Bytes of an error body.
const ERROR_BYTES: usize = 64 << 10;
/// Announcements may be rare: such a stream lives this long before it is opened again.
const STREAM_LIFE: Duration = Duration::from_secs(3600);

type Error = StreamableHttpError<EgressError>;
type Events = BoxStream<'static, Result<Sse, SseError>>;

/// The HTTP side of one server.
#[derive(Debug, Clone)]
pub(super) struct EgressTransport {
    pub(super) egress: Egress,
    pub(super) allowed: Allowed,
    pub(super) timeout: Duration,
}

impl EgressTransport {
    async fn send(
        &self,
        method: Method,
        mut headers: HeaderMap,
        custom: HashMap<HeaderName, HeaderValue>,
        body: Body,
        lives_long: bool,
    ) -> Result<Response<Body>, Error> {
        headers.extend(custom);
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.headers_mut() = headers;
        let life = if lives_long {
            STREAM_LIFE
        } else {
            self.timeout
        };
        let timeouts = Timeouts {
            first_byte: self.timeout,
            between_bytes: life,
            total: life,
        };
        let response = self.egress.send(&self.allowed, request, timeouts).await;
        response.map_err(StreamableHttpError::Client)
    }
}

impl StreamableHttpClient for EgressTransport {
    type Error = EgressError;

    async fn post_message(
        &self,
        _: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        _: Option<String>,
        custom: HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, Error> {
        let mut headers = accept("application/json, text/event-stream");
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let in_session = session.is_some();
        add_session(&mut headers, session)?;
        let body = egress::full(serde_json::to_vec(&message)?);
        let listens = matches!(&message, ClientJsonRpcMessage::Request(request)
            if matches!(request.request, ClientRequest::SubscriptionsListenRequest(_)));
        let response = self
            .send(Method::POST, headers, custom, body, listens)
            .await?;
        let status = response.status();
        if matches!(status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT) {
            return Ok(StreamableHttpPostResponse::Accepted);
        }
        if status == StatusCode::NOT_FOUND && in_session {
            return Err(StreamableHttpError::SessionExpired);
        }
        let expects_answer = matches!(message, ClientJsonRpcMessage::Request(_));
        let session_id = response
            .headers()
            .get(SESSION_ID)
            .and_then(|id| id.to_str().ok())
            .map(str::to_owned);
        if !status.is_success() {
            return refused(&message, in_session, session_id, response).await;
        }
        match content_type(&response) {
            Kind::Events => Ok(StreamableHttpPostResponse::Sse(
                events(response.into_body()),
                session_id,
            )),
            Kind::Json => {
                let body = read(response.into_body(), MCP_MESSAGE_BYTES).await?;
                match serde_json::from_slice::<ServerJsonRpcMessage>(&body) {
                    Ok(message) => Ok(StreamableHttpPostResponse::Json(message, session_id)),
                    Err(_) if !expects_answer => Ok(StreamableHttpPostResponse::Accepted),
                    Err(error) => Err(error.into()),
                }
            }
            Kind::Other(_) if !expects_answer => Ok(StreamableHttpPostResponse::Accepted),
            Kind::Other(found) => Err(StreamableHttpError::UnexpectedContentType(found)),
        }
    }

    async fn delete_session(
        &self,
        _: Arc<str>,
        session: Arc<str>,
        _: Option<String>,
        custom: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), Error> {
        let mut headers = HeaderMap::new();
        add_session(&mut headers, Some(session))?;
        let response = self
            .send(Method::DELETE, headers, custom, egress::empty(), false)
            .await?;
        match response.status() {
            StatusCode::METHOD_NOT_ALLOWED => {
                Err(StreamableHttpError::ServerDoesNotSupportDeleteSession)
            }
            _ => Ok(()),
        }
    }

    async fn get_stream(
        &self,
        _: Arc<str>,
        session: Option<Arc<str>>,
        last_event_id: Option<String>,
        _: Option<String>,
        custom: HashMap<HeaderName, HeaderValue>,
    ) -> Result<Events, Error> {
        let mut headers = accept("text/event-stream");
        add_session(&mut headers, session)?;
        if let Some(id) = last_event_id {
            headers.insert(LAST_EVENT_ID, header_value(&id)?);
        }
        let response = self
            .send(Method::GET, headers, custom, egress::empty(), true)
            .await?;
        let status = response.status();
        if status == StatusCode::METHOD_NOT_ALLOWED {
            return Err(StreamableHttpError::ServerDoesNotSupportSse);
        }
        if !status.is_success() {
            return Err(HttpStatusError::new(status.as_u16(), None).into());
        }
        match content_type(&response) {
            Kind::Events => Ok(events(response.into_body())),
            Kind::Json => Err(StreamableHttpError::ServerDoesNotSupportSse),
            Kind::Other(found) => Err(StreamableHttpError::UnexpectedContentType(found)),
        }
    }
}

/// An answer that is no success: a JSON-RPC error where it holds one, its status otherwise.
async fn refused(
    message: &ClientJsonRpcMessage,
    in_session: bool,
    session_id: Option<String>,
    response: Response<Body>,
) -> Result<StreamableHttpPostResponse, Error> {
    let status = response.status();
    let retry_after = response.headers().get(RETRY_AFTER);
    let retry_after = retry_after
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let is_json = matches!(content_type(&response), Kind::Json);
    let body = read(response.into_body(), ERROR_BYTES)
        .await
        .unwrap_or_default();
    let error = match serde_json::from_slice::<ServerJsonRpcMessage>(&body) {
        Ok(ServerJsonRpcMessage::Error(error)) if is_json => Some(error),
        _ => None,
    };
    let no_auth = !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    if let ClientJsonRpcMessage::Request(request) = message
        && matches!(request.request, ClientRequest::DiscoverRequest(_))
        && !in_session
        && status.is_client_error()
        && no_auth
    {
        // A server of the older era does not know this request. It may not echo the id either, and
        // without it the client would not take this for the answer.
        let data = error.map_or_else(
            || ErrorData::invalid_request(format!("HTTP {status}"), None),
            |error| error.error,
        );
        let answer = ServerJsonRpcMessage::error(data, Some(request.id.clone()));
        return Ok(StreamableHttpPostResponse::Json(answer, None));
    }
    match error {
        Some(error) if no_auth => Ok(StreamableHttpPostResponse::Json(
            ServerJsonRpcMessage::Error(error),
            session_id,
        )),
        _ => Err(HttpStatusError::new(status.as_u16(), retry_after).into()),
    }
}

enum Kind {
    Events,
    Json,
    Other(Option<String>),
}

fn content_type(response: &Response<Body>) -> Kind {
    let value = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    match value {
        Some(value) if value.starts_with("text/event-stream") => Kind::Events,
        Some(value) if value.starts_with("application/json") => Kind::Json,
        other => Kind::Other(other.map(|text| text.chars().take(100).collect())),
    }
}

fn accept(types: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static(types));
    headers
}

fn add_session(headers: &mut HeaderMap, session: Option<Arc<str>>) -> Result<(), Error> {
    if let Some(id) = session {
        headers.insert(SESSION_ID, header_value(&id)?);
    }
    Ok(())
}

fn header_value(text: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(text).map_err(|_| {
        StreamableHttpError::UnexpectedServerResponse(Cow::from("an id that is no header value"))
    })
}

async fn read(body: Body, maximum: usize) -> Result<Bytes, Error> {
    let read = egress::read(body, "mcp-message-bytes", maximum).await;
    read.map_err(StreamableHttpError::Client)
}

/// The events of a body, none longer than a message may be.
fn events(body: Body) -> Events {
    let state = (body, Decoder::new(MCP_MESSAGE_BYTES), false);
    stream::unfold(state, |(mut body, mut decoder, over)| async move {
        if over {
            return None;
        }
        loop {
            match decoder.next() {
                Ok(Some(event)) => {
                    let event = Sse {
                        event: event.name,
                        data: event.data,
                        id: event.id,
                        retry: event.retry,
                    };
                    return Some((Ok(event), (body, decoder, false)));
                }
                Ok(None) => {}
                Err(error) => {
                    return Some((Err(SseError::Body(Box::new(error))), (body, decoder, true)));
                }
            }
            match body.frame().await? {
                Ok(frame) => {
                    if let Ok(data) = frame.into_data() {
                        decoder.push(&data);
                    }
                }
                Err(error) => {
                    return Some((Err(SseError::Body(Box::new(error))), (body, decoder, true)));
                }
            }
        }
    })
    .boxed()
}
