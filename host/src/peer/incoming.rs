//! One call that another host sent.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame as HttpFrame};
use ringfence_api::Name;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::task_tracker::TaskTrackerToken;
use wasmtime_wasi_http::Error;

use super::protocol::frame::{FrameKind, MESSAGE_BYTES, encode};
use super::protocol::reader::{Reader, pieces};
use super::protocol::wire::{Answer, CallAsk, Link, Refusal, WireEvent, WireReply, WireRequest};
use crate::body::{self, Body};
use crate::core::{Core, Effect};
use crate::error::CallError;
use crate::limits::{CALL_DEPTH, name};
use crate::mediation::{
    CallContext, Principal, PrincipalKind, Reply, Request, Routed, RunCounters,
};
use crate::output::{self, Events, OutputEvent};

/// Principals of a chain: one for each call around the call, and who started it.
const CHAIN: usize = CALL_DEPTH as usize + 2;
/// Bytes of the name of one.
const PRINCIPAL_BYTES: usize = 512;
/// The longest that a caller may want to wait.
const LONGEST: Duration = Duration::from_secs(86_400);
/// Frames that wait to be sent.
const FRAMES: usize = 8;

/// One frame on its way, and whether it is the last.
struct Piece {
    content: Result<Bytes, Error>,
    last: bool,
}

/// Starts a call, and waits until there is something to say of it: what is short goes out at once, with the head
/// of the response. The body tells how it goes on; dropping it ends the call.
///
/// # Errors
/// What was asked makes no sense; nothing has begun.
pub(super) async fn start(
    core: &Arc<Core>,
    numbers: Arc<AtomicU32>,
    from: Name,
    ask: CallAsk<'_>,
    reader: Reader,
    in_flight: TaskTrackerToken,
) -> Result<Body, Refusal> {
    let caller = caller(&ask)?;
    let routed = Arc::new(Routed::new(from, ask.call));
    let (sink, events) = ask.events.then(output::events).unzip();
    let mut context = CallContext::start(
        ask.tenant,
        caller,
        Duration::from_millis(ask.remaining_ms).min(LONGEST),
    );
    let shared = Arc::new(RunCounters::numbered(numbers));
    context.run = ask.run;
    context.call = shared.next_call();
    context.session = ask.session;
    context.depth = ask.depth;
    context.trace = ask.trace.and_then(|trace| trace.read()).map(Arc::new);
    context.events = sink;
    context.shared = shared.clone();
    context.routed = Some(routed.clone());
    let cancel = CancellationToken::new();
    context.cancel = cancel.clone();
    let body_follows = matches!(ask.request, WireRequest::Incoming { body: true, .. });
    let request = request(ask.request, reader)?;
    let (frames, ready) = mpsc::channel(FRAMES);
    let served = Served {
        core: core.clone(),
        routed,
        shared,
        frames,
        body_follows,
    };
    let effect = core.spawn(context, request);
    let mut answering = Answering {
        served: Some(Box::pin(served.run(effect, events))),
        ready,
        first: None,
        ended: false,
        _held: (in_flight, cancel.drop_guard()),
    };
    answering.first = poll_fn(|cx| Pin::new(&mut answering).poll_frame(cx)).await;
    Ok(answering.boxed_unsync())
}

/// The body of the response. The call itself runs in a task of its own; what it says is taken down here, by
/// whoever reads this.
struct Answering {
    served: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    ready: mpsc::Receiver<Piece>,
    first: Option<Result<HttpFrame<Bytes>, Error>>,
    ended: bool,
    /// Whoever stops reading does not want the call any more.
    _held: (TaskTrackerToken, DropGuard),
}

impl HttpBody for Answering {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<HttpFrame<Bytes>, Error>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first));
        }
        if let Some(served) = &mut self.served
            && served.as_mut().poll(cx).is_ready()
        {
            self.served = None;
        }
        let piece = ready!(self.ready.poll_recv(cx));
        self.ended = piece.as_ref().is_none_or(|piece| piece.last);
        Poll::Ready(piece.map(|piece| piece.content.map(HttpFrame::data)))
    }

    /// Said with the last frame, so that the end needs none of its own.
    fn is_end_stream(&self) -> bool {
        self.ended && self.first.is_none()
    }
}

/// Who calls, as the other host says.
fn caller(ask: &CallAsk<'_>) -> Result<Arc<Principal>, Refusal> {
    let bad = |why: &str| Refusal::Unreadable(why.to_owned());
    if ask.chain.len() > CHAIN {
        return Err(bad("the chain of callers is too long"));
    }
    let mut caller = None;
    // The one who started it is the last.
    for Link { kind, name } in ask.chain.iter().rev() {
        if name.is_empty() || name.len() > PRINCIPAL_BYTES || name.chars().any(char::is_control) {
            return Err(bad("the name of a caller is not one"));
        }
        if (*kind == PrincipalKind::User) != caller.is_none() {
            return Err(bad(
                "a chain of callers begins with a user, and with no other",
            ));
        }
        caller = Some(Principal::elsewhere(
            *kind,
            ask.tenant.clone(),
            name,
            caller,
        ));
    }
    caller.ok_or_else(|| bad("nobody calls"))
}

fn request(asked: WireRequest<'_>, reader: Reader) -> Result<Request, Refusal> {
    Ok(match asked {
        WireRequest::Function {
            tool,
            function,
            arguments,
        } => Request::Function {
            tool,
            function,
            arguments: arguments.into_owned(),
        },
        WireRequest::Agent { agent, messages } => Request::Agent {
            agent,
            messages: messages.into_owned(),
        },
        WireRequest::Incoming {
            tool,
            method,
            uri,
            headers,
            body,
        } => {
            let bad = || Refusal::Unreadable("the HTTP request is not one".to_owned());
            let body = if body {
                reader.into_body(())
            } else {
                body::empty()
            };
            let mut request = http::Request::new(body);
            *request.method_mut() = method.parse().map_err(|_| bad())?;
            *request.uri_mut() = uri.parse().map_err(|_| bad())?;
            *request.headers_mut() = headers.read().ok_or_else(bad)?;
            Request::Incoming { tool, request }
        }
    })
}

/// A call on its way back.
struct Served {
    core: Arc<Core>,
    routed: Arc<Routed>,
    shared: Arc<RunCounters>,
    frames: mpsc::Sender<Piece>,
    /// Whether the other host waits with a body until the call has begun.
    body_follows: bool,
}

impl Served {
    async fn run(self, mut effect: Effect, mut events: Option<Events>) {
        let mut said = !self.body_follows;
        let result = loop {
            tokio::select! {
                biased;
                () = self.routed.begins(), if !said => {
                    said = true;
                    self.send(FrameKind::Began, &[]).await;
                }
                event = next(&mut events) => match event {
                    Some(event) => self.event(event).await,
                    None => events = None,
                },
                result = &mut effect => break result,
            }
        };
        // The guest is gone, but what it emitted last may still wait to be read.
        while let Some(Some(event)) = futures::FutureExt::now_or_never(next(&mut events)) {
            self.event(event).await;
        }
        match result {
            Err(error) if !self.routed.has_begun() && self.refuses(&error) => {
                let refusal = if self.routed.has_missed() {
                    Refusal::NotHere
                } else {
                    Refusal::Busy(error)
                };
                self.answer("refused", &Answer::Refused(refusal), true)
                    .await;
            }
            Ok(Reply::Http(response)) => {
                let (head, body) = response.into_parts();
                let reply = WireReply::Http {
                    status: head.status.as_u16(),
                    headers: (&head.headers).into(),
                };
                self.result(Ok(reply), false).await;
                self.stream(body).await;
            }
            Ok(Reply::Function(result)) => self.result(Ok(WireReply::Function(result)), true).await,
            Ok(Reply::Agent(reply)) => self.result(Ok(WireReply::Agent(reply.content)), true).await,
            Ok(Reply::Completion(_) | Reply::Stream(_)) => {
                let error = CallError::Failed("the reply does not fit the request".to_owned());
                self.result(Err(error), true).await;
            }
            Err(error) => self.result(Err(error), true).await,
        }
    }

    /// Whether another host may do better with a call that has not begun.
    fn refuses(&self, error: &CallError) -> bool {
        let full = matches!(error, CallError::LimitExceeded { name, .. }
            if [name::CONCURRENCY, name::TENANT_CONCURRENCY].contains(&name.as_str()));
        self.routed.has_missed() || full || matches!(error, CallError::Unavailable(_))
    }

    async fn result(&self, result: Result<WireReply, CallError>, last: bool) {
        let code = result.as_ref().map_or_else(CallError::code, |_| "ok");
        let answer = Answer::Call {
            result,
            usage: self.shared.usage(),
        };
        self.answer(code, &answer, last).await;
    }

    async fn answer(&self, code: &'static str, answer: &Answer, last: bool) {
        self.core.metrics.peer.served(code);
        self.put(Ok(write(answer)), last).await;
    }

    async fn event(&self, event: OutputEvent) {
        if let Ok(json) = serde_json::to_vec(&WireEvent::from(event)) {
            self.send(FrameKind::Event, &json).await;
        }
    }

    async fn stream(&self, mut body: Body) {
        loop {
            let last = match body.frame().await {
                Some(Ok(frame)) => {
                    let ends = frame.is_trailers();
                    let Ok(pieces) = pieces(frame) else { return };
                    for piece in pieces {
                        if !self.put(Ok(piece), ends).await {
                            return;
                        }
                    }
                    ends
                }
                Some(Err(error)) => {
                    // The other side has to see that it broke off.
                    self.put(Err(error), true).await;
                    return;
                }
                None => {
                    if let Ok(end) = encode(FrameKind::End, &[]) {
                        self.put(Ok(end), true).await;
                    }
                    return;
                }
            };
            if last {
                return;
            }
        }
    }

    async fn send(&self, kind: FrameKind, content: &[u8]) {
        if let Ok(frame) = encode(kind, content) {
            self.put(Ok(frame), false).await;
        }
    }

    /// False where nobody reads any more.
    async fn put(&self, content: Result<Bytes, Error>, last: bool) -> bool {
        self.frames.send(Piece { content, last }).await.is_ok()
    }
}

async fn next(events: &mut Option<Events>) -> Option<OutputEvent> {
    match events {
        Some(events) => events.next().await,
        None => std::future::pending().await,
    }
}

/// Writes an answer as one frame. One that is too large becomes an error that says so.
pub(super) fn write(answer: &Answer) -> Bytes {
    let written = serde_json::to_vec(answer).ok();
    if let Some(frame) = written.and_then(|json| encode(FrameKind::Answer, &json).ok()) {
        return frame;
    }
    let error = CallError::limit(name::PEER_MESSAGE_BYTES, MESSAGE_BYTES as u64);
    let usage = match answer {
        Answer::Call { usage, .. } => *usage,
        _ => Default::default(),
    };
    let instead = Answer::Call {
        result: Err(error),
        usage,
    };
    serde_json::to_vec(&instead)
        .ok()
        .and_then(|json| encode(FrameKind::Answer, &json).ok())
        .unwrap_or_default()
}
