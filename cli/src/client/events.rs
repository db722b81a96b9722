//! Reading server-sent events.

use anyhow::Result;
use reqwest::Response;
use serde_json::Value;

use crate::exit::{Code, fail};

/// Bytes of one event.
const EVENT_BYTES: usize = 64 << 20;

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerEvent {
    /// Its name.
    pub name: String,
    /// Its data, JSON.
    pub data: Value,
}

/// The events of a response.
pub struct ServerEvents {
    response: Response,
    parser: Parser,
}

impl ServerEvents {
    /// The events of this response.
    pub fn new(response: Response) -> Self {
        Self {
            response,
            parser: Parser::default(),
        }
    }

    /// The next event; none when the stream ended.
    pub async fn next(&mut self) -> Result<Option<ServerEvent>> {
        loop {
            if let Some(event) = self.parser.next() {
                return Ok(Some(event));
            }
            let chunk = self.response.chunk().await.map_err(|error| {
                fail(
                    Code::Unavailable,
                    format!("the connection broke off: {error}"),
                )
            })?;
            match chunk {
                Some(bytes) => self.parser.buffer.extend_from_slice(&bytes),
                None => return Ok(None),
            }
            if self.parser.buffer.len() > EVENT_BYTES {
                return Err(fail(
                    Code::Limit,
                    "the host sent an event that is too large",
                ));
            }
        }
    }
}

#[derive(Default)]
struct Parser {
    buffer: Vec<u8>,
}

impl Parser {
    /// Takes the first whole event out of the buffer. Comments, which keep the connection alive, and
    /// events that are not JSON are passed over.
    fn next(&mut self) -> Option<ServerEvent> {
        loop {
            let end = self.buffer.windows(2).position(|pair| pair == b"\n\n")?;
            let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
            let text = String::from_utf8_lossy(&block);
            let mut name = "message";
            let mut data = String::new();
            for line in text.lines() {
                if let Some(value) = line.strip_prefix("event:") {
                    name = value.trim();
                } else if let Some(value) = line.strip_prefix("data:") {
                    data.push_str(value.strip_prefix(' ').unwrap_or(value));
                    data.push('\n');
                }
            }
            if let Ok(data) = serde_json::from_str(&data) {
                return Some(ServerEvent {
                    name: name.to_owned(),
                    data,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_cut_wherever_chunks_end() {
        let text = ": keep\n\nevent: run\ndata: {\"run\":\"1\"}\n\nevent: part\ndata: {\"text\":\ndata: \"a\"}\n\n";
        let mut parser = Parser::default();
        let mut events = Vec::new();
        for byte in text.bytes() {
            parser.buffer.push(byte);
            events.extend(parser.next());
        }
        let names: Vec<_> = events.iter().map(|event| event.name.as_str()).collect();
        assert_eq!(names, ["run", "part"]);
        assert_eq!(events[1].data, serde_json::json!({"text": "a"}));
    }
}
