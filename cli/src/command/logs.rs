//! `ringfence logs`: what guests wrote to their logs.

use anyhow::Result;
use clap::Args;
use ringfence_api::Kind;
use serde_json::{Value, json};

use super::get::segment;
use crate::exit::{Code, code_of};
use crate::place::Place;
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
pub async fn run(place: &Place, args: LogsArgs, format: Format) -> Result<()> {
    let answer = if looks_like_run(&args.of) {
        let path = format!("runs/{}/logs", segment(&args.of));
        place.ask_any(&path).await?
    } else {
        let source = source(place, &args.of).await?;
        let path = format!("logs?source={}&limit={}", segment(&source), args.limit);
        json!({ "items": newest(place.ask_all(&path).await?, args.limit) })
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
async fn source(place: &Place, name: &str) -> Result<String> {
    if name.starts_with("agent/") || name.starts_with("tool/") {
        return Ok(name.to_owned());
    }
    match place.one(Kind::Agent, name).await {
        Ok(_) => Ok(format!("agent/{name}")),
        Err(error) if code_of(&error) == Code::NotFound => {
            place.one(Kind::Tool, name).await?;
            Ok(format!("tool/{name}"))
        }
        Err(error) => Err(error),
    }
}

/// The newest entries of what several hosts have, oldest first.
fn newest(answers: Vec<Value>, limit: u32) -> Vec<Value> {
    let mut entries: Vec<Value> = answers
        .into_iter()
        .filter_map(|mut answer| answer["items"].as_array_mut().map(std::mem::take))
        .flatten()
        .collect();
    entries.sort_by_key(|entry| entry["atUs"].as_u64());
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    entries.split_off(entries.len().saturating_sub(limit))
}
