//! Limits of the gateway itself: what somebody outside can make the host spend before any call is made.

use std::time::Duration;

/// Settings of a gateway. [`Settings::default`] is meant for use; every field is enforced.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Connections that may be open, each stream of HTTP/2 counting as one more; further ones are answered
    /// 503.
    pub connections: usize,
    /// Bytes of a request's head.
    pub header_bytes: usize,
    /// Time in which a connection has to begin, and then a request's head has to arrive; a connection that
    /// is idle so long is closed.
    pub header_timeout: Duration,
    /// Bytes of a request's body, except for tools that serve HTTP, whose own `input-bytes` bound it.
    pub body_bytes: usize,
    /// Time in which such a body has to arrive.
    pub body_timeout: Duration,
    /// MCP sessions that may be open; further clients are answered 503.
    pub sessions: usize,
    /// MCP sessions of one principal.
    pub sessions_per_principal: usize,
    /// Time after which an MCP session that nobody uses is closed.
    pub session_idle: Duration,
    /// Streams of `subscriptions/listen` that may be open.
    pub subscriptions: usize,
    /// Time that calls in flight have to end when the gateway stops; then they are canceled.
    pub drain: Duration,
    /// Time that a call from outside may take.
    pub call_timeout: Duration,
    /// Origins of web pages that may call. A page of the gateway itself always may.
    pub origins: Vec<super::Origin>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connections: 1024,
            header_bytes: 64 << 10,
            header_timeout: Duration::from_secs(60),
            body_bytes: 8 << 20,
            body_timeout: Duration::from_secs(30),
            sessions: 1000,
            sessions_per_principal: 200,
            session_idle: Duration::from_secs(30 * 60),
            subscriptions: 1000,
            drain: Duration::from_secs(30),
            call_timeout: crate::RUN_TIMEOUT,
            origins: Vec::new(),
        }
    }
}
