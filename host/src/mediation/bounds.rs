//! Depth and time: checks that need nothing but the call itself.

use std::task::{Context, Poll};
use std::time::Instant;

use futures::future::{Either, Ready, ready};
use tower::{Layer, Service};

use super::call::{Call, Reply};
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
    S: Service<Call, Response = Reply, Error = CallError>,
{
    type Response = Reply;
    type Error = CallError;
    type Future = Either<S::Future, Ready<Result<Reply, CallError>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        match check(&call) {
            Ok(()) => Either::Left(self.0.call(call)),
            Err(error) => Either::Right(ready(Err(error))),
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
