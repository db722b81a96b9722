//! `ringfence call`: calls a function of a tool.

use anyhow::Result;
use clap::Args;
use reqwest::Method;
use ringfence_api::Kind;
use serde_json::{Map, Value, json};

use super::get::segment;
use super::read_text;
use crate::client::Client;
use crate::exit::{Code, fail};
use crate::place::Place;
use crate::show::{self, Format};

/// Arguments of `ringfence call`.
#[derive(Debug, Args)]
pub struct CallArgs {
    /// The tool
    #[arg(value_name = "TOOL")]
    tool: String,
    /// The function
    #[arg(value_name = "FUNCTION")]
    function: String,
    /// One argument; VALUE is JSON, or text where the function wants text; @PATH reads a file
    #[arg(short = 'a', long = "arg", value_name = "NAME=VALUE")]
    args: Vec<String>,
    /// All arguments as one JSON object; @PATH reads a file, - standard input
    #[arg(long, value_name = "JSON")]
    json: Option<String>,
    /// Give up after this many seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: Option<u64>,
}

/// Calls a function and prints what it returns.
///
/// # Errors
/// The function fails, or the host refuses.
pub async fn run(place: &Place, args: CallArgs, format: Format) -> Result<()> {
    let mut arguments = match &args.json {
        None => Map::new(),
        Some(text) => object(text)?,
    };
    let client = &place.gateway(Some((Kind::Tool, &args.tool))).await?;
    let schema = match args.args.is_empty() {
        true => Value::Null,
        false => input_schema(client, &args.tool, &args.function).await,
    };
    for pair in &args.args {
        let Some((name, text)) = pair.split_once('=') else {
            return Err(fail(
                Code::Usage,
                format!("--arg {pair:?}: write NAME=VALUE"),
            ));
        };
        arguments.insert(name.to_owned(), value(text, &schema["properties"][name])?);
    }
    let body = json!({
        "arguments": arguments,
        "timeoutMs": args.timeout.map(|seconds| seconds * 1000),
    });
    let path = format!(
        "tools/{}/functions/{}",
        segment(&args.tool),
        segment(&args.function)
    );
    let result = client
        .json(client.in_tenant(Method::POST, &path).json(&body))
        .await?;
    let failed = result["isError"] == true;
    if format != Format::Table {
        show::document(&result, format)?;
    } else {
        let text = text(&result);
        if failed {
            return Err(fail(
                Code::Failed,
                format!("{} failed: {text}", args.function),
            ));
        }
        show::print(&show::outside(&text))?;
    }
    if failed {
        return Err(fail(Code::Failed, format!("{} failed", args.function)));
    }
    Ok(())
}

fn object(text: &str) -> Result<Map<String, Value>> {
    let text = match (text, text.strip_prefix('@')) {
        ("-", _) => read_text("-")?,
        (_, Some(path)) => read_text(path)?,
        (text, None) => text.to_owned(),
    };
    serde_json::from_str(&text)
        .map_err(|error| fail(Code::Usage, format!("--json is not a JSON object: {error}")))
}

/// What the function takes; without it, values are read by their looks.
async fn input_schema(client: &Client, tool: &str, function: &str) -> Value {
    let path = format!("tools/{}/functions", segment(tool));
    let Ok(mut answer) = client.json(client.in_tenant(Method::GET, &path)).await else {
        return Value::Null;
    };
    let functions = answer["items"].as_array_mut().map(std::mem::take);
    functions
        .unwrap_or_default()
        .into_iter()
        .find(|known| known["name"] == function)
        .map_or(Value::Null, |known| known["inputSchema"].clone())
}

/// An argument: text where text is wanted, JSON where it is JSON, text otherwise.
fn value(text: &str, schema: &Value) -> Result<Value> {
    let text = match text.strip_prefix('@') {
        Some(path) => read_text(path)?,
        None => text.to_owned(),
    };
    if schema["type"] == "string" {
        return Ok(text.into());
    }
    Ok(serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

fn text(result: &Value) -> String {
    if let Some(structured) = result.get("structured").filter(|value| !value.is_null()) {
        return serde_json::to_string_pretty(structured).unwrap_or_default();
    }
    let parts = result["content"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let texts = parts.iter().map(|part| match part["text"].as_str() {
        Some(text) => text.to_owned(),
        None => part.to_string(),
    });
    texts.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_as_the_function_wants_them() {
        let text = json!({"type": "string"});
        let cases = [
            ("5", &text, json!("5")),
            ("5", &Value::Null, json!(5)),
            ("true", &Value::Null, json!(true)),
            ("[1, 2]", &Value::Null, json!([1, 2])),
            ("a b", &Value::Null, json!("a b")),
        ];
        for (written, schema, expected) in cases {
            assert_eq!(value(written, schema).unwrap(), expected, "{written}");
        }
    }
}
