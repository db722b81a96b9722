//! The one choke point: every effect, of a guest or of a caller outside, is a [`Call`] that passes the
//! same layers in the same order.
//!
//! ```text
//! record → bounds → grants → policy → budget → approval → journal → routing → admission → dispatch
//! ```
//!
//! [`stack`] builds the layers as `tower` services. Policy, budget, approval and journal are stages
//! that a capability of their own fills; an empty stage costs nothing.

mod admission;
mod answer;
mod bounds;
mod call;
mod grants;
mod principal;
mod recording;
mod routing;
mod run_id;
pub(crate) mod size;
mod stack;

pub use answer::AnswerStream;
pub use call::{AgentReply, Call, CallContext, Reply, Request, RunCounters};
pub use grants::{FolderMount, GrantSet};
pub use principal::{Principal, PrincipalKind};
pub use run_id::RunId;
pub use stack::{CallLayer, CallService, Stage, Stages};

pub(crate) use call::{ROUTED_CALLS, Routed};
pub(crate) use routing::{Inner, missing};
pub(crate) use stack::build;
