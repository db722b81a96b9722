//! `ringfence logs`: what guests wrote to their logs.

use anyhow::Result;
use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::get::segment;
use crate::client::Client;
use crate::exit::{Code, code_of};
use crate::show::{self, Format, Style};

/// Arguments of `ringfence logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// A run, or the name of an agent or tool (tool/NAME where both have it)
    #[arg(value_name = "RUN|NAME")]
    of: String,
    /// Most entries, of an agent or tool
    #[arg(long, value_name = "N", default_value_t = 200)]
    limit: u32,
}

/// Prints logs, oldest first.
///
/// # Errors
/// There is no such run, agent or tool, or the host refuses.
pub async fn run(client: &Client, args: LogsArgs, format: Format) -> Result<()> {
    let answer = if looks_like_run(&args.of) {
        let path = format!("runs/{}/logs", segment(&args.of));
        client.json(client.in_tenant(Method::GET, &path)).await?
    } else {
        let source = source(client, &args.of).await?;
        let path = format!("logs?source={}&limit={}", segment(&source), args.limit);
        client.json(client.in_tenant(Method::GET, &path)).await?
    };
    if format != Format::Table {
        return show::document(&answer, format);
    }
    let color = show::color();
    let mut out = String::new();
    for entry in answer["items"].as_array().into_iter().flatten() {
        let source = entry["source"].as_str().unwrap_or_default();
        let label = Style::Faint.paint(&show::safe(source), color);
        for line in entry["text"].as_str().unwrap_or_default().lines() {
            out += &format!("{label} {}\n", show::outside(line));
        }
    }
    if out.is_empty() {
        eprintln!("{} wrote nothing to its log", args.of);
        return Ok(());
    }
    show::print(&out)
}

/// A run is a UUID; a name never has this form with its length and dashes.
fn looks_like_run(text: &str) -> bool {
    text.len() == 36 && text.bytes().filter(|b| *b == b'-').count() == 4
}

/// `agent/NAME` or `tool/NAME`: what was said, or what there is.
async fn source(client: &Client, name: &str) -> Result<String> {
    if name.starts_with("agent/") || name.starts_with("tool/") {
        return Ok(name.to_owned());
    }
    let path = |kind: &str| format!("{kind}/{}", segment(name));
    let agent: Result<Value> = client
        .json(client.in_tenant(Method::GET, &path("agents")))
        .await;
    match agent {
        Ok(_) => Ok(format!("agent/{name}")),
        Err(error) if code_of(&error) == Code::NotFound => {
            client
                .json(client.in_tenant(Method::GET, &path("tools")))
                .await?;
            Ok(format!("tool/{name}"))
        }
        Err(error) => Err(error),
    }
}
