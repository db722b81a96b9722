//! Components that ship inside the host. They are ordinary guests without privileges; `builtin/` has
//! their sources, and `build.rs` compiles them.

/// The chat agent, which runs every `Agent` that names no component. Its settings are parameters; see
/// [`parameter`].
pub const CHAT_COMPONENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/chat.wasm"));

/// Names of the parameters that the chat agent reads through `context`. `builtin/README.md` describes
/// them; the chat agent refuses any other name that starts with `chat.`.
pub mod parameter {
    /// System prompt.
    pub const INSTRUCTIONS: &str = "chat.instructions";
    /// Name of the model; the first granted one where absent.
    pub const MODEL: &str = "chat.model";
    /// Sampling temperature, a number from 0.
    pub const TEMPERATURE: &str = "chat.temperature";
    /// Most tokens of one answer.
    pub const MAX_TOKENS: &str = "chat.max-tokens";
    /// JSON Schema of the final answer, as JSON text.
    pub const OUTPUT_SCHEMA: &str = "chat.output-schema";
    /// Most model calls; 20 where absent.
    pub const MAX_TURNS: &str = "chat.max-turns";
    /// Most tokens, read and written together, over all turns; 1,000,000 where absent.
    pub const TOTAL_TOKENS: &str = "chat.total-tokens";
    /// Most function calls made at the same time; 16 where absent, at most 32.
    pub const PARALLEL_CALLS: &str = "chat.parallel-calls";
}

#[cfg(test)]
mod tests {
    use wasmparser::{Encoding, Parser, Payload};

    #[test]
    fn the_chat_agent_is_a_small_component() {
        let first = Parser::new(0).parse_all(super::CHAT_COMPONENT).next();
        assert!(matches!(
            first,
            Some(Ok(Payload::Version {
                encoding: Encoding::Component,
                ..
            }))
        ));
        assert!(super::CHAT_COMPONENT.len() < 1 << 20);
    }

    #[test]
    fn it_asks_for_what_the_operator_believes() {
        let inspection = crate::artifact::inspect::inspect(super::CHAT_COMPONENT).unwrap();
        // The environment is imported by Rust's standard library; validation grants a chat agent none.
        let of_runtime = ringfence_api::Capability::Env;
        let needs = inspection.needs().into_iter();
        let asked: Vec<_> = needs.filter(|asked| *asked != of_runtime).collect();
        assert_eq!(asked, ringfence_api::Capability::OF_CHAT);
    }
}
