//! What hosts say to each other: HTTP/2 over mutual TLS, one request for each call, with [`frame`]s in both
//! bodies, JSON in most of them ([`wire`]).
//!
//! ```text
//! GET /ringfence/peer/1         once for each connection: 204 says that calls are taken
//! POST /ringfence/peer/1
//!   → Ask                 who calls on whose behalf, until when, and what
//!   → Data* (Trailers | End)      the body of an HTTP request, once the call has begun
//!   ← Began               where a body follows: the call takes it now, and may have had effects
//!   ← Event*              partial output
//!   ← Answer              the result, an error, or a refusal: then nothing has begun
//!   ← Data* (Trailers | End)      the body of an HTTP response
//! ```
//!
//! The number in the path is the version. A host that does not know it answers 404, and nothing has begun. A
//! version only changes when old and new cannot understand each other; fields are added as optional.

pub(crate) mod frame;
pub(crate) mod reader;
pub(crate) mod wire;

/// Where calls of this version go.
pub(crate) const PATH: &str = "/ringfence/peer/1";
