//! Between the contract's generated types and the host's own.

use super::bindings::ringfence::agent::{models, tools, types};
use crate::error::{CallError, Denial};
use crate::function::FunctionResult;
use crate::message::{
    Blob, EmbeddedResource, Message, Part, ResourceBody, Role, ToolCall, ToolResult,
};
use crate::model::{
    Completion, CompletionEvent, CompletionOptions, CompletionRequest, FinishReason, ToolChoice,
    ToolDefinition, Usage,
};

impl From<types::Blob> for Blob {
    fn from(blob: types::Blob) -> Self {
        Self {
            mime_type: blob.mime_type,
            data: blob.data.into(),
        }
    }
}

impl From<Blob> for types::Blob {
    fn from(blob: Blob) -> Self {
        Self {
            mime_type: blob.mime_type,
            data: blob.data.into(),
        }
    }
}

impl From<types::Part> for Part {
    fn from(part: types::Part) -> Self {
        match part {
            types::Part::Text(text) => Part::Text(text),
            types::Part::Image(blob) => Part::Image(blob.into()),
            types::Part::Audio(blob) => Part::Audio(blob.into()),
            types::Part::Resource(resource) => Part::Resource(EmbeddedResource {
                uri: resource.uri,
                mime_type: resource.mime_type,
                body: match resource.body {
                    types::ResourceBody::Text(text) => ResourceBody::Text(text),
                    types::ResourceBody::Bytes(bytes) => ResourceBody::Bytes(bytes.into()),
                },
            }),
        }
    }
}

impl From<Part> for types::Part {
    fn from(part: Part) -> Self {
        match part {
            Part::Text(text) => types::Part::Text(text),
            Part::Image(blob) => types::Part::Image(blob.into()),
            Part::Audio(blob) => types::Part::Audio(blob.into()),
            Part::Resource(resource) => types::Part::Resource(types::EmbeddedResource {
                uri: resource.uri,
                mime_type: resource.mime_type,
                body: match resource.body {
                    ResourceBody::Text(text) => types::ResourceBody::Text(text),
                    ResourceBody::Bytes(bytes) => types::ResourceBody::Bytes(bytes.into()),
                },
            }),
        }
    }
}

/// Converts every item.
pub(super) fn all<A: Into<B>, B>(items: Vec<A>) -> Vec<B> {
    items.into_iter().map(Into::into).collect()
}

impl From<types::Role> for Role {
    fn from(role: types::Role) -> Self {
        match role {
            types::Role::System => Role::System,
            types::Role::User => Role::User,
            types::Role::Assistant => Role::Assistant,
            types::Role::Tool => Role::Tool,
        }
    }
}

impl From<Role> for types::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::System => types::Role::System,
            Role::User => types::Role::User,
            Role::Assistant => types::Role::Assistant,
            Role::Tool => types::Role::Tool,
        }
    }
}

impl From<types::ToolCall> for ToolCall {
    fn from(call: types::ToolCall) -> Self {
        Self {
            id: call.id,
            name: call.name,
            arguments: call.arguments,
        }
    }
}

impl From<ToolCall> for types::ToolCall {
    fn from(call: ToolCall) -> Self {
        Self {
            id: call.id,
            name: call.name,
            arguments: call.arguments,
        }
    }
}

impl From<types::ToolResult> for ToolResult {
    fn from(result: types::ToolResult) -> Self {
        Self {
            id: result.id,
            content: all(result.content),
            is_error: result.is_error,
        }
    }
}

impl From<ToolResult> for types::ToolResult {
    fn from(result: ToolResult) -> Self {
        Self {
            id: result.id,
            content: all(result.content),
            is_error: result.is_error,
        }
    }
}

impl From<types::Message> for Message {
    fn from(message: types::Message) -> Self {
        Self {
            role: message.role.into(),
            content: all(message.content),
            tool_calls: all(message.tool_calls),
            tool_results: all(message.tool_results),
        }
    }
}

impl From<Message> for types::Message {
    fn from(message: Message) -> Self {
        Self {
            role: message.role.into(),
            content: all(message.content),
            tool_calls: all(message.tool_calls),
            tool_results: all(message.tool_results),
        }
    }
}

impl From<CallError> for types::Error {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Denied(denial) => types::Error::Denied(types::Denial {
                capability: denial.capability,
                target: denial.target,
                reason: denial.reason,
                policy: denial.policy,
            }),
            CallError::BudgetExceeded(text) => types::Error::BudgetExceeded(text),
            CallError::LimitExceeded { name, maximum } => {
                types::Error::LimitExceeded(types::Limit { name, maximum })
            }
            CallError::Timeout => types::Error::Timeout,
            CallError::Canceled => types::Error::Canceled,
            CallError::Unavailable(text) => types::Error::Unavailable(text),
            CallError::NotFound(text) => types::Error::NotFound(text),
            CallError::Invalid(text) => types::Error::Invalid(text),
            CallError::Failed(text) => types::Error::Failed(text),
            CallError::UnknownOutcome(text) => types::Error::UnknownOutcome(text),
        }
    }
}

impl From<types::Error> for CallError {
    fn from(error: types::Error) -> Self {
        match error {
            types::Error::Denied(denial) => CallError::Denied(Denial {
                capability: denial.capability,
                target: denial.target,
                reason: denial.reason,
                policy: denial.policy,
            }),
            types::Error::BudgetExceeded(text) => CallError::BudgetExceeded(text),
            types::Error::LimitExceeded(limit) => CallError::limit(&limit.name, limit.maximum),
            types::Error::Timeout => CallError::Timeout,
            types::Error::Canceled => CallError::Canceled,
            types::Error::Unavailable(text) => CallError::Unavailable(text),
            types::Error::NotFound(text) => CallError::NotFound(text),
            types::Error::Invalid(text) => CallError::Invalid(text),
            types::Error::Failed(text) => CallError::Failed(text),
            types::Error::UnknownOutcome(text) => CallError::UnknownOutcome(text),
        }
    }
}

impl From<models::Request> for CompletionRequest {
    fn from(request: models::Request) -> Self {
        Self {
            messages: all(request.messages),
            tools: request
                .tools
                .into_iter()
                .map(|tool| ToolDefinition {
                    name: tool.name,
                    description: tool.description,
                    parameters: tool.parameters,
                })
                .collect(),
            tool_choice: match request.tool_choice {
                models::ToolChoice::Auto => ToolChoice::Auto,
                models::ToolChoice::None => ToolChoice::None,
                models::ToolChoice::Required => ToolChoice::Required,
                models::ToolChoice::Function(name) => ToolChoice::Function(name),
            },
            options: CompletionOptions {
                temperature: request.options.temperature,
                top_p: request.options.top_p,
                max_tokens: request.options.max_tokens,
                stop: request.options.stop,
                seed: request.options.seed,
                response_schema: request.options.response_schema,
            },
        }
    }
}

impl From<Usage> for models::Usage {
    fn from(usage: Usage) -> Self {
        Self {
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
        }
    }
}

impl From<Completion> for models::Completion {
    fn from(completion: Completion) -> Self {
        Self {
            message: completion.message.into(),
            finish_reason: match completion.finish_reason {
                FinishReason::Stop => models::FinishReason::Stop,
                FinishReason::Length => models::FinishReason::Length,
                FinishReason::ToolCalls => models::FinishReason::ToolCalls,
                FinishReason::ContentFilter => models::FinishReason::ContentFilter,
                FinishReason::Other => models::FinishReason::Other,
            },
            usage: completion.usage.into(),
            model: completion.model,
        }
    }
}

impl From<CompletionEvent> for models::CompletionEvent {
    fn from(event: CompletionEvent) -> Self {
        match event {
            CompletionEvent::Text(text) => models::CompletionEvent::Text(text),
            CompletionEvent::ToolCall(call) => models::CompletionEvent::ToolCall(call.into()),
            CompletionEvent::Finished(completion) => {
                models::CompletionEvent::Finished(completion.into())
            }
        }
    }
}

impl From<FunctionResult> for tools::CallResult {
    fn from(result: FunctionResult) -> Self {
        Self {
            content: all(result.content),
            structured: result.structured.map(|value| value.to_string()),
            is_error: result.is_error,
        }
    }
}
