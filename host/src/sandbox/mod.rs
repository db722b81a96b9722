//! The sandbox: one store, for one call, that holds only what was granted.
//!
//! [`Sandboxes`] keeps each component ready to start ([`program`]); [`enter`] makes the store of one
//! call with its limits ([`state`], [`limiter`], [`meter`], [`stdio`], [`clock`]); [`call`] and
//! [`serve`] run the three kinds of tool and the agents in it; [`failure`] says what went wrong.

mod call;
mod clock;
mod enter;
mod failure;
mod limiter;
mod meter;
mod program;
mod serve;
mod state;
mod stdio;

pub(crate) use program::Sandboxes;
pub(crate) use state::{Guest, State};
pub(crate) use stdio::Capture;

pub(crate) use crate::core::Core;
