//! One call on its way to another host: written once, offered to one host after the other until one takes it.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Body as _, Frame as HttpFrame};
use parking_lot::Mutex;
use ringfence_api::Name;
use tokio::sync::oneshot;
use tracing::Span;
use wasmtime_wasi_http::Error;

use super::client::{AskError, InFlight, PeerClient};
use super::health::Sign;
use super::protocol::frame::{FrameKind, MESSAGE_BYTES, encode};
use super::protocol::reader::{Reader, pieces, whole};
use super::protocol::wire::{
    Answer, Ask, CallAsk, Link, Refusal, WireEvent, WireReply, WireRequest, WireTrace,
};
use crate::body::{self, Body};
use crate::error::CallError;
use crate::limits::name;
use crate::mediation::{AgentReply, CallContext, Reply, Request};
use crate::telemetry::RemoteTrace;

/// The body of an HTTP request, until a host has begun with it.
type Slot = Arc<Mutex<Option<Body>>>;

/// A call as it is sent.
pub(crate) struct Outgoing {
    ask: Bytes,
    body: Option<Slot>,
}

/// What came of offering it to one host.
pub(crate) enum Offered {
    /// The call is over, or its answer streams.
    Done(Result<Reply, CallError>),
    /// Nothing has begun there.
    Refused(Refusal),
    /// Nothing has arrived there.
    Unreachable(AskError),
}

impl Outgoing {
    /// Writes a call. The body of an HTTP request moves out of it.
    ///
    /// # Errors
    /// `limit-exceeded` when it is too large for one message.
    pub(crate) fn new(context: &CallContext, request: &mut Request) -> Result<Self, CallError> {
        let mut slot = None;
        if let Request::Incoming { request, .. } = request
            && !request.body().is_end_stream()
        {
            let body = std::mem::replace(request.body_mut(), body::empty());
            slot = Some(Arc::new(Mutex::new(Some(body))));
        }
        let request = match request {
            Request::Function {
                tool,
                function,
                arguments,
            } => WireRequest::Function {
                tool: tool.clone(),
                function: function.clone(),
                arguments: Cow::Borrowed(arguments),
            },
            Request::Agent { agent, messages } => WireRequest::Agent {
                agent: agent.clone(),
                messages: Cow::Borrowed(messages),
            },
            Request::Incoming { tool, request } => WireRequest::Incoming {
                tool: tool.clone(),
                method: request.method().to_string(),
                uri: request.uri().to_string(),
                headers: request.headers().into(),
                body: slot.is_some(),
            },
            Request::Complete { .. } | Request::Stream { .. } | Request::Outgoing(_) => {
                return Err(CallError::Failed(
                    "models and the network are asked by the host itself".to_owned(),
                ));
            }
        };
        let ask = Ask::Call(Box::new(CallAsk {
            run: context.run,
            call: context.call,
            session: context.session.clone(),
            tenant: context.tenant.clone(),
            chain: context
                .caller
                .chain()
                .map(|principal| Link {
                    kind: principal.kind(),
                    name: principal.name().to_owned(),
                })
                .collect(),
            remaining_ms: u64::try_from(context.remaining().as_millis()).unwrap_or(u64::MAX),
            depth: context.depth,
            // A host that exports no spans hands on what it was given.
            trace: RemoteTrace::of_span(&Span::current())
                .as_ref()
                .or(context.trace.as_deref())
                .map(WireTrace::from),
            events: context.events.is_some(),
            request,
        }));
        Ok(Self {
            ask: message(&ask)?,
            body: slot,
        })
    }

    /// Puts the body back into the request, for this host to do it after all.
    pub(crate) fn restore(self, request: &mut Request) {
        if let Request::Incoming { request, .. } = request
            && let Some(body) = self.body.and_then(|slot| slot.lock().take())
        {
            *request.body_mut() = body;
        }
    }

    /// Offers it to a host. `permit` is held for as long as the answer takes.
    pub(crate) async fn offer<P: Send + 'static>(
        &self,
        client: &PeerClient,
        host: &Name,
        address: SocketAddr,
        context: &CallContext,
        permit: &mut Option<P>,
    ) -> Offered {
        let (go, body) = self.body();
        let (reader, in_flight) = match client.ask(host, address, body).await {
            Ok(begun) => begun,
            Err(AskError::Gone(_)) => {
                client.note(host, Sign::Broke);
                return Offered::Done(Err(unknown(host)));
            }
            Err(error @ AskError::Declined(..)) => return Offered::Unreachable(error),
            Err(error @ AskError::Unreachable(_)) => {
                client.note(host, Sign::Unreachable);
                return Offered::Unreachable(error);
            }
        };
        follow(reader, in_flight, go, client, host, context, permit).await
    }

    /// The body of the request to the other host, and what lets the body of the HTTP request follow.
    fn body(&self) -> (Option<oneshot::Sender<()>>, Body) {
        let Some(slot) = self.body.clone() else {
            return (None, whole(self.ask.clone()));
        };
        let (go, may_go) = oneshot::channel();
        let first = stream::iter([Ok(HttpFrame::data(self.ask.clone()))]);
        let rest = stream::once(async move {
            // Where nothing begins, the body stays for another host.
            match may_go.await {
                Ok(()) => slot.lock().take(),
                Err(_) => None,
            }
        });
        let rest = rest.flat_map(|body| stream::iter(body).flat_map(frames));
        (Some(go), StreamBody::new(first.chain(rest)).boxed_unsync())
    }
}

/// An HTTP body as frames of the protocol, with its end.
fn frames(body: Body) -> impl futures::Stream<Item = Result<HttpFrame<Bytes>, Error>> + Send {
    stream::unfold(
        (Some(body), Vec::new()),
        |(mut body, mut ready)| async move {
            loop {
                if let Some(next) = ready.pop() {
                    return Some((Ok(HttpFrame::data(next)), (body, ready)));
                }
                match body.as_mut()?.frame().await {
                    Some(Ok(frame)) => {
                        if frame.is_trailers() {
                            body = None;
                        }
                        match pieces(frame) {
                            Ok(pieces) => ready.extend(pieces.into_iter().rev()),
                            Err(_) => {
                                return Some((Err(Error::HttpProtocolError), (None, Vec::new())));
                            }
                        }
                    }
                    Some(Err(error)) => return Some((Err(error), (None, Vec::new()))),
                    None => {
                        body = None;
                        ready.extend(encode(FrameKind::End, &[]));
                    }
                }
            }
        },
    )
}

/// Reads what comes back.
async fn follow<P: Send + 'static>(
    mut reader: Reader,
    in_flight: InFlight,
    mut go: Option<oneshot::Sender<()>>,
    client: &PeerClient,
    host: &Name,
    context: &CallContext,
    permit: &mut Option<P>,
) -> Offered {
    loop {
        let frame = match reader.next().await {
            Ok(Some(frame)) => frame,
            Ok(None) | Err(_) => {
                client.note(host, Sign::Broke);
                return Offered::Done(Err(unknown(host)));
            }
        };
        match frame.kind {
            FrameKind::Began => {
                if let Some(go) = go.take() {
                    // It fails when the other side wants no body.
                    let _ = go.send(());
                }
            }
            FrameKind::Event => {
                if let Some(events) = &context.events
                    && let Ok(event) = serde_json::from_slice::<WireEvent>(&frame.content)
                {
                    events.send(event.into());
                }
            }
            FrameKind::Answer => {
                client.note(host, Sign::Answered);
                return match serde_json::from_slice(&frame.content) {
                    Ok(Answer::Refused(refusal)) => Offered::Refused(refusal),
                    Ok(Answer::Call { result, usage }) => {
                        context.shared.add_usage(usage);
                        let guard = (in_flight, permit.take(), go);
                        Offered::Done(result.and_then(|reply| read(reply, reader, guard, context)))
                    }
                    _ => Offered::Done(Err(unknown(host))),
                };
            }
            _ => return Offered::Done(Err(unknown(host))),
        }
    }
}

fn read<G: Send + 'static>(
    reply: WireReply,
    reader: Reader,
    guard: G,
    context: &CallContext,
) -> Result<Reply, CallError> {
    Ok(match reply {
        WireReply::Function(result) => Reply::Function(result),
        WireReply::Agent(content) => Reply::Agent(AgentReply {
            content,
            usage: context.shared.usage(),
        }),
        WireReply::Http { status, headers } => {
            let unreadable =
                || CallError::Failed("the response of another host cannot be read".to_owned());
            let mut response = http::Response::new(reader.into_body(guard));
            *response.status_mut() =
                http::StatusCode::from_u16(status).map_err(|_| unreadable())?;
            *response.headers_mut() = headers.read().ok_or_else(unreadable)?;
            Reply::Http(response)
        }
    })
}

fn unknown(host: &Name) -> CallError {
    CallError::UnknownOutcome(format!(
        "host {host} went away while it had the call: it may or may not have been done"
    ))
}

/// Writes a message as one frame.
///
/// # Errors
/// `limit-exceeded` when it is too large.
pub(crate) fn message(ask: &Ask<'_>) -> Result<Bytes, CallError> {
    let json = serde_json::to_vec(ask)
        .map_err(|error| CallError::Failed(format!("a call cannot be written: {error}")))?;
    encode(FrameKind::Ask, &json)
        .map_err(|_| CallError::limit(name::PEER_MESSAGE_BYTES, MESSAGE_BYTES as u64))
}
