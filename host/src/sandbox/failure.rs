//! What went wrong in a sandbox, as the typed error of the call.

use wasmtime::Trap;
use wasmtime::component::ResourceTableError;
use wasmtime_wasi_http::FieldMapError;

use super::state::State;
use crate::engine;
use crate::error::CallError;
use crate::limits::{HTTP_HEADER_BYTES, name};

/// Longest text about a trap that leaves the host, in bytes.
const TEXT: usize = 2048;

/// Errors that wasmtime keeps to itself, by their text. The hostile guests in `tests/guests` cross
/// both limits, so that a new wording fails a test.
const HOST_CALL_FUEL: &str = "fuel allocated for hostcalls has been exhausted";
const HANDLE_LIMIT: &str = "store handle limit exceeded";

/// The typed error for a failure of the guest's code or of starting it.
pub(super) fn classify(error: wasmtime::Error, state: &State) -> CallError {
    // A capability or a stream ended the call on purpose.
    if let Some(typed) = error.downcast_ref::<CallError>() {
        return typed.clone();
    }
    if let Some(exhausted) = engine::pool_exhausted(&error) {
        state.guest.core.metrics.pool_exhausted();
        return exhausted;
    }
    if matches!(error.downcast_ref::<Trap>(), Some(Trap::Interrupt)) {
        let ms = state.guest.instance.limits.cpu.as_millis();
        return CallError::limit(name::CPU_MS, u64::try_from(ms).unwrap_or(u64::MAX));
    }
    // A guest that is refused memory usually aborts: name the cause, not the abort.
    if let Some(crossed) = state.limiter.crossed() {
        return crossed.clone();
    }
    crossed_inside_wasmtime(&error, state).unwrap_or_else(|| CallError::Failed(text(&error)))
}

/// Limits of ours that wasmtime itself watches.
fn crossed_inside_wasmtime(error: &wasmtime::Error, state: &State) -> Option<CallError> {
    let handles = state.guest.instance.limits.resource_handles;
    if matches!(
        error.downcast_ref::<ResourceTableError>(),
        Some(ResourceTableError::Full)
    ) {
        return Some(CallError::limit(name::RESOURCE_HANDLES, handles));
    }
    let headers = error.downcast_ref::<FieldMapError>();
    if matches!(
        headers,
        Some(FieldMapError::TotalSizeTooBig | FieldMapError::TooManyFields)
    ) {
        return Some(CallError::limit(
            name::HTTP_HEADER_BYTES,
            HTTP_HEADER_BYTES as u64,
        ));
    }
    error.chain().map(ToString::to_string).find_map(|cause| {
        if cause.contains(HOST_CALL_FUEL) {
            Some(CallError::limit(
                name::HOST_CALL_BYTES,
                state.host_call_bytes as u64,
            ))
        } else if cause.contains(HANDLE_LIMIT) {
            Some(CallError::limit(name::RESOURCE_HANDLES, handles))
        } else {
            None
        }
    })
}

/// The error with its causes, without the native backtrace, bounded.
fn text(error: &wasmtime::Error) -> String {
    let mut text = String::new();
    for (n, cause) in error.chain().enumerate() {
        let cause = cause.to_string();
        if n > 0 && !cause.is_empty() {
            text.push_str(": ");
        }
        text.push_str(cause.trim());
        if text.len() > TEXT {
            break;
        }
    }
    text.truncate(text.floor_char_boundary(TEXT));
    text
}
