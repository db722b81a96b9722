//! Depth and time: checks that need nothing but the call itself.

use std::task::{Context, Poll};
use std::time::Instant;

use futures::FutureExt as _;
use tower::{Layer, Service};

use super::call::{Call, Reply};
use super::stack::Answer;
use crate::error::CallError;
use crate::limits::{CALL_DEPTH, name};

/// Refuses calls that are nested too deep, late, or no longer wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct BoundsLayer;

#[derive(Debug, Clone)]
pub(super) struct Bounds<S>(S);

impl<S> Layer<S> for BoundsLayer {
    type Service = Bounds<S>;

    fn layer(&self, inner: S) -> Bounds<S> {
        Bounds(inner)
    }
}

impl<S> Service<Call> for Bounds<S>
where
    S: Service<Call, Response = Reply, Error = CallError, Future: Send + 'static>,
{
    type Response = Reply;
    type Error = CallError;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Answer {
        match check(&call) {
            Ok(()) => self.0.call(call).boxed(),
            Err(error) => std::future::ready(Err(error)).boxed(),
        }
    }
}

fn check(call: &Call) -> Result<(), CallError> {
    let context = &call.context;
    if context.depth > CALL_DEPTH {
        return Err(CallError::limit(name::CALL_DEPTH, CALL_DEPTH.into()));
    }
    if context.cancel.is_cancelled() {
        return Err(CallError::Canceled);
    }
    if context.deadline <= Instant::now() {
        return Err(CallError::Timeout);
    }
    Ok(())
}
