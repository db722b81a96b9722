//! Models: OpenAI-compatible and Anthropic endpoints behind one client, and scripted answers.
//!
//! The codecs are this project's own. `genai` 0.7, the crate that fits best, was tried on paper and
//! put aside: it reads whole response bodies without a bound, talks through a `reqwest::Client` of its
//! own and so past [`crate::egress`], and puts provider error bodies into its errors.
//!
//! A stream is pulled: nothing is read from the endpoint before the caller asks for the next event,
//! and dropping the stream closes the connection.

mod anthropic;
mod client;
mod codec;
mod openai;
mod retry;
mod scripted;
mod stream;
mod types;

pub use client::{DEFAULT_TIMEOUT, MAX_TIMEOUT, ModelClient, ModelError};
pub use codec::{MAX_TOOL_CALLS, MODEL_RESPONSE_BYTES};
pub use retry::{MAX_ATTEMPTS, MAX_RETRY_AFTER};
pub use stream::{CompletionStream, MODEL_EVENT_BYTES};
pub use types::{
    Completion, CompletionEvent, CompletionOptions, CompletionRequest, FinishReason, ToolChoice,
    ToolDefinition, Usage,
};

#[cfg(test)]
mod tests;
