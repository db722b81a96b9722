//! Settings: parameters whose names start with `chat.`, which the host sets from the `Agent` resource.

use ringfence_schema::Schema;
use serde_json::Value;

use crate::bindings::ringfence::agent::context::Parameter;

/// Most requests that one `tools.call-all` may carry; the host refuses more.
pub const FAN_OUT: usize = 32;

/// What the resource asks of the chat agent.
#[derive(Debug)]
pub struct Settings {
    /// `chat.instructions`: the system prompt.
    pub instructions: Option<String>,
    /// `chat.model`: name of the model; the first granted one where absent.
    pub model: Option<String>,
    /// `chat.temperature`.
    pub temperature: Option<f64>,
    /// `chat.max-tokens`: most tokens of one answer.
    pub max_tokens: Option<u32>,
    /// `chat.output-schema`: what the final answer has to follow.
    pub output_schema: Option<Schema>,
    /// `chat.max-turns`: most model calls that may ask for functions; re-asking for an answer that
    /// follows the schema comes on top.
    pub max_turns: u32,
    /// `chat.total-tokens`: most tokens, read and written together, over all turns.
    pub total_tokens: u64,
    /// `chat.parallel-calls`: most function calls of one turn.
    pub parallel_calls: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            instructions: None,
            model: None,
            temperature: None,
            max_tokens: None,
            output_schema: None,
            max_turns: 20,
            total_tokens: 1_000_000,
            parallel_calls: 16,
        }
    }
}

impl Settings {
    /// Reads the `chat.` parameters; others are left to whoever they are for.
    ///
    /// # Errors
    /// A sentence that names the parameter, when it is unknown or its value cannot be used. A setting
    /// that would have no effect is never accepted.
    pub fn read(parameters: &[Parameter]) -> Result<Self, String> {
        let mut settings = Self::default();
        for Parameter { name, value } in parameters {
            let Some(key) = name.strip_prefix("chat.") else {
                continue;
            };
            let refuse = |why: &str| format!("parameter {name}: {why}, not {value:?}");
            match key {
                "instructions" => settings.instructions = Some(value.clone()),
                "model" => settings.model = Some(value.clone()),
                "temperature" => {
                    let temperature = value
                        .parse()
                        .ok()
                        .filter(|t: &f64| t.is_finite() && *t >= 0.0);
                    settings.temperature =
                        Some(temperature.ok_or_else(|| refuse("expected a number from 0"))?);
                }
                "max-tokens" => {
                    settings.max_tokens = Some(
                        positive(value)
                            .and_then(|n| u32::try_from(n).ok())
                            .ok_or_else(|| refuse("expected a whole number from 1"))?,
                    );
                }
                "output-schema" => {
                    let schema: Value = serde_json::from_str(value)
                        .map_err(|error| format!("parameter {name}: not JSON: {error}"))?;
                    let schema = Schema::new(schema)
                        .map_err(|error| format!("parameter {name}: {error}"))?;
                    settings.output_schema = Some(schema);
                }
                "max-turns" => {
                    settings.max_turns = positive(value)
                        .and_then(|n| u32::try_from(n).ok())
                        .ok_or_else(|| refuse("expected a whole number from 1"))?;
                }
                "total-tokens" => {
                    settings.total_tokens =
                        positive(value).ok_or_else(|| refuse("expected a whole number from 1"))?;
                }
                "parallel-calls" => {
                    settings.parallel_calls = positive(value)
                        .and_then(|n| usize::try_from(n).ok())
                        .filter(|n| *n <= FAN_OUT)
                        .ok_or_else(|| refuse("expected a whole number from 1 to 32"))?;
                }
                _ => {
                    return Err(format!(
                        "parameter {name}: the chat agent has no such setting"
                    ));
                }
            }
        }
        Ok(settings)
    }
}

fn positive(text: &str) -> Option<u64> {
    text.parse().ok().filter(|n| *n > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameter(name: &str, value: &str) -> Parameter {
        Parameter {
            name: name.to_owned(),
            value: value.to_owned(),
        }
    }

    #[test]
    fn absent_parameters_take_the_documented_defaults() {
        let settings = Settings::read(&[parameter("mine", "x")]).unwrap();
        assert_eq!(
            (
                settings.max_turns,
                settings.total_tokens,
                settings.parallel_calls
            ),
            (20, 1_000_000, 16)
        );
    }

    #[test]
    fn values_that_cannot_be_used_are_refused_by_name() {
        for (name, value) in [
            ("chat.temperature", "warm"),
            ("chat.temperature", "NaN"),
            ("chat.max-tokens", "0"),
            ("chat.max-turns", "0"),
            ("chat.max-turns", "4294967296"),
            ("chat.total-tokens", "-1"),
            ("chat.parallel-calls", "33"),
            ("chat.output-schema", "{"),
            ("chat.output-schema", "[]"),
            ("chat.turns", "3"),
        ] {
            let error = Settings::read(&[parameter(name, value)]).unwrap_err();
            assert!(error.contains(name), "{error}");
        }
    }
}
