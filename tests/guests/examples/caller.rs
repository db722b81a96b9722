//! Behaves well: makes one call of each kind and says what came of it, so that tests see what a
//! guest sees.

use ringfence_test_guest_bindings::ringfence::agent::{agents, context, models, tools};
use ringfence_test_guest_bindings::{code, text_of, user_message};

wit_bindgen::generate!({
    inline: r#"
        package ringfence:test;
        world guest {
            /// Calls a function; the text of its result, or the code of the error.
            export call-tool: func(function: string, arguments: string) -> result<string, string>;
            /// Functions that it may call.
            export functions: func() -> result<list<string>, string>;
            /// Asks an agent.
            export ask-agent: func(agent: string, message: string) -> result<string, string>;
            /// Asks a model.
            export ask-model: func(model: string, message: string) -> result<string, string>;
            /// Its context as `TENANT KIND NAME` and then `KIND NAME` of each caller, separated by `; `.
            export who: func() -> string;
            /// One of its parameters.
            export parameter: func(name: string) -> option<string>;
            /// Milliseconds until its call is ended.
            export remaining-ms: func() -> u64;
        }
    "#,
});

struct Component;

impl Guest for Component {
    fn call_tool(function: String, arguments: String) -> Result<String, String> {
        let request = tools::CallRequest {
            name: function,
            arguments,
        };
        let result = tools::call(&request).map_err(|e| code(&e))?;
        Ok(text_of(&result.content))
    }

    fn functions() -> Result<Vec<String>, String> {
        let functions = tools::list().map_err(|e| code(&e))?;
        Ok(functions
            .into_iter()
            .map(|function| function.name)
            .collect())
    }

    fn ask_agent(agent: String, message: String) -> Result<String, String> {
        let answer = agents::send(&agent, &[user_message(&message)]).map_err(|e| code(&e))?;
        Ok(text_of(&answer))
    }

    fn ask_model(model: String, message: String) -> Result<String, String> {
        let request = models::Request {
            model,
            messages: vec![user_message(&message)],
            tools: Vec::new(),
            tool_choice: models::ToolChoice::Auto,
            options: models::Options {
                temperature: None,
                top_p: None,
                max_tokens: None,
                stop: Vec::new(),
                seed: None,
                response_schema: None,
            },
        };
        let completion = models::complete(&request).map_err(|e| code(&e))?;
        Ok(text_of(&completion.message.content))
    }

    fn who() -> String {
        let context = context::current();
        let name = |p: &context::Principal| match p.kind {
            context::PrincipalKind::User => format!("user {}", p.name),
            context::PrincipalKind::Agent => format!("agent {}", p.name),
            context::PrincipalKind::Tool => format!("tool {}", p.name),
        };
        let mut all = vec![format!(
            "{} {}",
            context.tenant,
            name(&context.self_principal)
        )];
        all.extend(context.callers.iter().map(name));
        all.join("; ")
    }

    fn parameter(name: String) -> Option<String> {
        let parameters = context::current().parameters;
        parameters
            .into_iter()
            .find(|p| p.name == name)
            .map(|p| p.value)
    }

    fn remaining_ms() -> u64 {
        context::current().remaining_ms
    }
}

export!(Component);
