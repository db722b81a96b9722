//! The built-in chat agent: instructions, a model and granted functions, driven in a bounded loop.
//!
//! It is an ordinary guest. All it knows comes through `context`, and all it does goes through the
//! imports of `ringfence:agent`, so it can do nothing that its resource does not grant. The loop is
//! written against [`world::World`], so that tests drive it on the build machine with a model of
//! their own.

pub mod bindings;
pub mod catalog;
pub mod clip;
pub mod dispatch;
pub mod failure;
pub mod settings;
pub mod turns;
pub mod world;

#[cfg(target_family = "wasm")]
mod guest;
