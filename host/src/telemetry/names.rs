//! OpenTelemetry's names for generative AI and MCP, in one place because they still change: all of
//! them have the status "development". These are the names of version 1.42 of the conventions.

/// Schema that the names below follow; it goes into the instrumentation scope of every span.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.42.0";

/// What is being done; one of [`operation`].
pub const OPERATION_NAME: &str = "gen_ai.operation.name";
/// Who answers for a model.
pub const PROVIDER_NAME: &str = "gen_ai.provider.name";
/// The model that was asked for.
pub const REQUEST_MODEL: &str = "gen_ai.request.model";
/// Whether the answer was asked for in pieces.
pub const REQUEST_STREAM: &str = "gen_ai.request.stream";
/// The model that answered.
pub const RESPONSE_MODEL: &str = "gen_ai.response.model";
/// Why the answer ended.
pub const RESPONSE_FINISH_REASONS: &str = "gen_ai.response.finish_reasons";
/// Tokens read.
pub const USAGE_INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
/// Tokens written.
pub const USAGE_OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
/// The session.
pub const CONVERSATION_ID: &str = "gen_ai.conversation.id";
/// The agent.
pub const AGENT_NAME: &str = "gen_ai.agent.name";
/// The function of a tool.
pub const TOOL_NAME: &str = "gen_ai.tool.name";
/// What kind of tool; always `extension`: the host calls it, not the client.
pub const TOOL_TYPE: &str = "gen_ai.tool.type";
/// Stable code of what went wrong.
pub const ERROR_TYPE: &str = "error.type";
/// Method of an HTTP request.
pub const HTTP_METHOD: &str = "http.request.method";
/// Host that an HTTP request goes to.
pub const SERVER_ADDRESS: &str = "server.address";
/// Status of an HTTP response.
pub const HTTP_STATUS: &str = "http.response.status_code";
/// Method of an MCP request.
pub const MCP_METHOD_NAME: &str = "mcp.method.name";

/// Our own attributes, where the conventions have none.
pub const TENANT: &str = "ringfence.tenant";
/// The run.
pub const RUN: &str = "ringfence.run";
/// Number of the call within its run.
pub const CALL: &str = "ringfence.call";
/// Who calls.
pub const PRINCIPAL: &str = "ringfence.principal";

/// Values of [`OPERATION_NAME`].
pub mod operation {
    /// A model answers.
    pub const CHAT: &str = "chat";
    /// An agent answers.
    pub const INVOKE_AGENT: &str = "invoke_agent";
    /// A function is called.
    pub const EXECUTE_TOOL: &str = "execute_tool";
}
