//! Chat completion requests as they are sent.

use serde::Deserialize;
use serde_json::Value;

use super::error::Failure;

/// A request. Fields that are not here are ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ChatRequest {
    pub(super) model: String,
    pub(super) messages: Vec<WireMessage>,
    pub(super) stream: Option<bool>,
    pub(super) stream_options: Option<StreamOptions>,
    pub(super) temperature: Option<f64>,
    pub(super) top_p: Option<f64>,
    pub(super) max_tokens: Option<u32>,
    pub(super) max_completion_tokens: Option<u32>,
    pub(super) seed: Option<i64>,
    pub(super) stop: Option<OneOrMany>,
    pub(super) response_format: Option<ResponseFormat>,
    pub(super) tools: Option<Vec<WireTool>>,
    pub(super) tool_choice: Option<WireChoice>,
    parallel_tool_calls: Option<bool>,
    n: Option<u32>,
    logprobs: Option<bool>,
    top_logprobs: Option<u32>,
    logit_bias: Option<serde_json::Map<String, Value>>,
    presence_penalty: Option<f64>,
    frequency_penalty: Option<f64>,
    modalities: Option<Vec<String>>,
    audio: Option<Value>,
    functions: Option<Value>,
    function_call: Option<Value>,
    web_search_options: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct StreamOptions {
    pub(super) include_usage: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ResponseFormat {
    Text,
    JsonObject,
    JsonSchema { json_schema: JsonSchema },
}

#[derive(Debug, Deserialize)]
pub(super) struct JsonSchema {
    pub(super) schema: Option<Value>,
}

#[derive(Debug, Deserialize)]
pub(super) struct WireTool {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) function: Option<WireFunction>,
}

#[derive(Debug, Deserialize)]
pub(super) struct WireFunction {
    pub(super) name: String,
    #[serde(default)]
    pub(super) description: Option<String>,
    #[serde(default)]
    pub(super) parameters: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum WireChoice {
    Word(String),
    Function { function: ChosenFunction },
}

#[derive(Debug, Deserialize)]
pub(super) struct ChosenFunction {
    pub(super) name: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct WireMessage {
    pub(super) role: String,
    #[serde(default)]
    pub(super) content: Option<WireContent>,
    #[serde(default)]
    pub(super) tool_calls: Option<Vec<WireCall>>,
    #[serde(default)]
    pub(super) tool_call_id: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum WireContent {
    Text(String),
    Parts(Vec<WirePart>),
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum WirePart {
    Text { text: String },
    Refusal { refusal: String },
    ImageUrl { image_url: ImageUrl },
    InputAudio { input_audio: InputAudio },
    File { file: InputFile },
}

#[derive(Debug, Deserialize)]
pub(super) struct ImageUrl {
    pub(super) url: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct InputAudio {
    pub(super) data: String,
    pub(super) format: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct InputFile {
    #[serde(default)]
    pub(super) file_data: Option<String>,
    #[serde(default)]
    pub(super) filename: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct WireCall {
    pub(super) id: String,
    pub(super) function: CalledFunction,
}

#[derive(Debug, Deserialize)]
pub(super) struct CalledFunction {
    pub(super) name: String,
    pub(super) arguments: String,
}

/// Whether a field was sent with something in it.
fn is_set(value: Option<&Value>) -> bool {
    value.is_some_and(|value| !value.is_null() && *value != Value::Array(Vec::new()))
}

impl ChatRequest {
    pub(super) fn streams(&self) -> bool {
        self.stream == Some(true)
    }

    pub(super) fn wants_usage(&self) -> bool {
        self.stream_options
            .as_ref()
            .and_then(|options| options.include_usage)
            == Some(true)
    }

    /// Refuses what would be answered with something else than was asked for.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.model.is_empty() {
            return Err(Failure::invalid(
                "model",
                "say which model is to answer".to_owned(),
            ));
        }
        if self.messages.is_empty() {
            return Err(Failure::invalid(
                "messages",
                "send at least one message".to_owned(),
            ));
        }
        let text_only = self
            .modalities
            .as_ref()
            .is_none_or(|modalities| modalities.iter().all(|modality| modality == "text"));
        let nonzero = |value: Option<f64>| value.is_some_and(|value| value != 0.0);
        let refused = [
            (
                "n",
                self.n.is_some_and(|n| n != 1),
                "only one answer is given: leave it out or send 1",
            ),
            (
                "logprobs",
                self.logprobs == Some(true),
                "probabilities are not given: leave it out",
            ),
            (
                "top_logprobs",
                self.top_logprobs.is_some(),
                "probabilities are not given: leave it out",
            ),
            (
                "logit_bias",
                self.logit_bias
                    .as_ref()
                    .is_some_and(|bias| !bias.is_empty()),
                "it is not supported: leave it out",
            ),
            (
                "presence_penalty",
                nonzero(self.presence_penalty),
                "only 0 is supported: leave it out",
            ),
            (
                "frequency_penalty",
                nonzero(self.frequency_penalty),
                "only 0 is supported: leave it out",
            ),
            ("modalities", !text_only, "answers are text only"),
            (
                "audio",
                is_set(self.audio.as_ref()),
                "answers are text only: leave it out",
            ),
            (
                "functions",
                is_set(self.functions.as_ref()),
                "it is deprecated: use tools",
            ),
            (
                "function_call",
                is_set(self.function_call.as_ref()),
                "it is deprecated: use tool_choice",
            ),
            (
                "web_search_options",
                is_set(self.web_search_options.as_ref()),
                "it is not supported: give the agent a tool that searches",
            ),
        ];
        refuse(&refused)
    }

    /// Refuses what an agent does not take from its caller.
    pub(super) fn check_for_agent(&self) -> Result<(), Failure> {
        let has_tools = self.tools.as_ref().is_some_and(|tools| !tools.is_empty());
        let chooses = self.tool_choice.as_ref().is_some_and(
            |choice| !matches!(choice, WireChoice::Word(word) if word == "auto" || word == "none"),
        );
        let stops = match &self.stop {
            None => false,
            Some(OneOrMany::One(_)) => true,
            Some(OneOrMany::Many(stops)) => !stops.is_empty(),
        };
        let formats = matches!(
            self.response_format,
            Some(ResponseFormat::JsonObject | ResponseFormat::JsonSchema { .. })
        );
        refuse(&[
            (
                "tools",
                has_tools,
                "an agent calls its own tools: grant them to the agent, or use model/NAME, \
                 which passes your tools on",
            ),
            (
                "tool_choice",
                chooses,
                "an agent chooses among its own tools: leave it out",
            ),
            (
                "stop",
                stops,
                "an agent ends its answer itself: leave it out, or use model/NAME",
            ),
            (
                "response_format",
                formats,
                "an agent's format is its own: set outputSchema on the agent, or use model/NAME",
            ),
        ])
    }

    /// Refuses what a model is not asked through this host.
    pub(super) fn check_for_model(&self) -> Result<(), Failure> {
        refuse(&[(
            "parallel_tool_calls",
            self.parallel_tool_calls == Some(false),
            "it cannot be switched off: leave it out",
        )])
    }
}

fn refuse(refused: &[(&str, bool, &str)]) -> Result<(), Failure> {
    match refused.iter().find(|(_, is_refused, _)| *is_refused) {
        None => Ok(()),
        Some((param, _, why)) => Err(Failure::invalid(param, format!("{param}: {why}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request(extra: Value) -> ChatRequest {
        let mut all = json!({ "model": "a", "messages": [{ "role": "user", "content": "hi" }] });
        for (key, value) in extra.as_object().unwrap() {
            all[key] = value.clone();
        }
        serde_json::from_value(all).unwrap()
    }

    #[test]
    fn what_clients_send_by_habit_is_accepted() {
        let usual = request(json!({
            "n": 1, "temperature": 0.5, "presence_penalty": 0, "user": "u", "logit_bias": null,
            "tools": [], "tool_choice": "auto", "stream": false, "store": true, "something": {}
        }));
        assert!(usual.check().is_ok() && usual.check_for_agent().is_ok());
    }

    #[test]
    fn what_would_change_the_answer_is_refused() {
        for extra in [
            json!({ "n": 2 }),
            json!({ "logprobs": true }),
            json!({ "presence_penalty": 1.0 }),
            json!({ "modalities": ["text", "audio"] }),
            json!({ "functions": [{ "name": "f" }] }),
        ] {
            assert!(request(extra.clone()).check().is_err(), "{extra}");
        }
        for extra in [
            json!({ "tools": [{ "type": "function", "function": { "name": "f" } }] }),
            json!({ "tool_choice": "required" }),
            json!({ "stop": "x" }),
            json!({ "response_format": { "type": "json_object" } }),
        ] {
            let request = request(extra.clone());
            assert!(
                request.check().is_ok() && request.check_for_agent().is_err(),
                "{extra}"
            );
        }
    }
}
