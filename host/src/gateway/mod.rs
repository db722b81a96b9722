//! Everything that a client outside talks to: MCP, the OpenAI surface, tools that serve HTTP, the REST
//! API, health and metrics, all on one listener.
//!
//! ```text
//! connection → guard (Host, Origin) → route → authenticate → surface → permission → Host::call
//! ```
//!
//! The gateway decides who somebody is and what they may begin in which tenant; what a call may do is
//! decided behind it, by mediation. A tenant in which somebody may do nothing answers exactly as one that
//! does not exist, with 404, so that nobody learns of other tenants; where somebody may know what there is,
//! what they may not do answers 403.

pub mod auth;
mod binding;
mod connection;
mod guard;
mod incoming;
mod mcp;
mod openai;
mod ops;
mod respond;
pub mod rest;
mod route;
mod server;
mod settings;
mod shared;

pub use auth::{Identity, KeyRing, Role};
pub use binding::{Binding, BindingError};
pub use guard::{Origin, OriginError};
pub use respond::{Problem, status_of};
pub use server::Gateway;
pub use settings::Settings;
