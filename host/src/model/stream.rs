//! An answer while it is being written: pulled from the endpoint one event at a time.

use std::collections::VecDeque;

use futures::Stream;
use http_body_util::BodyExt;

use super::codec::MODEL_RESPONSE_BYTES;
use super::types::{Completion, CompletionEvent};
use super::{anthropic, openai};
use crate::egress::Body;
use crate::error::CallError;
use crate::sse::Decoder;

/// Bytes of one event of a stream.
pub const MODEL_EVENT_BYTES: usize = 4 << 20;

/// Events of one answer; the last one is [`CompletionEvent::Finished`]. Dropping it ends the request.
pub struct CompletionStream {
    source: Source,
    ready: VecDeque<CompletionEvent>,
}

impl std::fmt::Debug for CompletionStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompletionStream").finish_non_exhaustive()
    }
}

pub(super) enum Codec {
    OpenAi(openai::Stream),
    Anthropic(anthropic::Stream),
}

impl Codec {
    fn event(&mut self, data: &str) -> Result<(Option<String>, bool), CallError> {
        match self {
            Codec::OpenAi(stream) => stream.event(data),
            Codec::Anthropic(stream) => stream.event(data),
        }
    }

    fn finish(self, model: &str) -> Result<Vec<CompletionEvent>, CallError> {
        match self {
            Codec::OpenAi(stream) => stream.finish(model),
            Codec::Anthropic(stream) => stream.finish(model),
        }
    }
}

enum Source {
    Wire(Box<Wire>),
    Ended,
}

struct Wire {
    body: Body,
    decoder: Decoder,
    codec: Codec,
    model: String,
    received: usize,
    redact: super::client::Redact,
}

impl CompletionStream {
    pub(super) fn wire(
        body: Body,
        codec: Codec,
        model: String,
        redact: super::client::Redact,
    ) -> Self {
        Self {
            source: Source::Wire(Box::new(Wire {
                body,
                decoder: Decoder::new(MODEL_EVENT_BYTES),
                codec,
                model,
                received: 0,
                redact,
            })),
            ready: VecDeque::new(),
        }
    }

    /// Events that are known already.
    pub(super) fn known(events: impl IntoIterator<Item = CompletionEvent>) -> Self {
        Self {
            source: Source::Ended,
            ready: events.into_iter().collect(),
        }
    }

    /// Waits for the next event; none after the last one or an error.
    pub async fn next(&mut self) -> Option<Result<CompletionEvent, CallError>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            let Source::Wire(wire) = &mut self.source else {
                return None;
            };
            match wire.advance().await {
                Ok(Some(text)) => return Some(Ok(CompletionEvent::Text(text))),
                Ok(None) => {
                    let Source::Wire(wire) = std::mem::replace(&mut self.source, Source::Ended)
                    else {
                        return None;
                    };
                    match wire.codec.finish(&wire.model) {
                        Ok(events) => self.ready.extend(events),
                        Err(error) => return Some(Err(error)),
                    }
                }
                Err(error) => {
                    let error = wire.redact.error(error);
                    self.source = Source::Ended;
                    return Some(Err(error));
                }
            }
        }
    }

    /// Reads everything.
    ///
    /// # Errors
    /// The answer breaks off.
    pub async fn collect(mut self) -> Result<Completion, CallError> {
        while let Some(event) = self.next().await {
            if let CompletionEvent::Finished(completion) = event? {
                return Ok(completion);
            }
        }
        Err(super::codec::malformed("it has no end"))
    }

    /// The same as a [`Stream`].
    pub fn into_stream(self) -> impl Stream<Item = Result<CompletionEvent, CallError>> + Send {
        futures::stream::unfold(self, |mut this| async move {
            let event = this.next().await?;
            Some((event, this))
        })
    }
}

impl Wire {
    /// The next piece of text, or nothing at the end.
    async fn advance(&mut self) -> Result<Option<String>, CallError> {
        loop {
            let event = self.decoder.next();
            let event = event
                .map_err(|_| CallError::limit("model-event-bytes", MODEL_EVENT_BYTES as u64))?;
            if let Some(event) = event {
                let Some(data) = event.data else { continue };
                let (text, last) = self.codec.event(&data)?;
                if last {
                    return Ok(None);
                }
                if text.is_some() {
                    return Ok(text);
                }
                continue;
            }
            match self.body.frame().await {
                Some(frame) => {
                    let Ok(data) = frame?.into_data() else {
                        continue;
                    };
                    self.received += data.len();
                    if self.received > MODEL_RESPONSE_BYTES {
                        let most = MODEL_RESPONSE_BYTES as u64;
                        return Err(CallError::limit("model-response-bytes", most));
                    }
                    self.decoder.push(&data);
                }
                // Not every endpoint marks its end; the codec knows whether something is missing.
                None => return Ok(None),
            }
        }
    }
}
