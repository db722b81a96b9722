//! The operator of Ringfence: it turns agents and tools into instances, places them on hosts, and says
//! what came of it.
//!
//! ```text
//! watch ─→ index ─┬─→ queue of agents and tools ─→ plan (pure) ─→ write
//!                 └─→ binder ─→ scheduler (pure) ─→ write
//! ```
//!
//! One index holds everything that is watched. What to do is computed from it by pure functions;
//! nothing is written where nothing changes. Only the leader writes.
#![forbid(unsafe_code)]

pub mod args;
pub mod certificates;
pub mod condition;
pub mod connection;
pub mod controller;
pub mod crds;
pub mod custom_metrics;
pub mod error;
pub mod host_account;
pub mod http;
pub mod index;
mod invalid;
pub mod key;
pub mod leader;
pub mod liveness;
pub mod metrics;
pub mod pool;
mod probe;
pub mod pulse;
pub mod queue;
pub mod run;
pub mod runs;
pub mod scheduler;
pub mod secret_access;
pub mod term;
pub mod watch;
pub mod workload;
pub mod write;
