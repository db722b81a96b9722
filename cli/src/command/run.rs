//! `ringfence run`: runs an agent and prints its answer as it comes.

use std::io::{IsTerminal as _, Write as _};

use anyhow::Result;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::Args;
use reqwest::Method;
use ringfence_api::Kind;
use serde_json::{Value, json};

use super::get::segment;
use super::{read_input, read_text};
use crate::client::{Client, ServerEvents, failure};
use crate::exit::{Code, fail};
use crate::place::Place;
use crate::show::{self, Format, Style};

/// Arguments of `ringfence run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The agent
    #[arg(value_name = "AGENT")]
    agent: String,
    /// What to say to it; - or nothing reads standard input
    #[arg(value_name = "TEXT")]
    text: Option<String>,
    /// Attach a file; may be given several times
    #[arg(short = 'f', long = "file", value_name = "PATH")]
    files: Vec<String>,
    /// Conversation that this is part of
    #[arg(long, value_name = "NAME")]
    session: Option<String>,
    /// Show the tree of calls afterwards, with decisions and durations
    #[arg(long)]
    trace: bool,
    /// Give up after this many seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: Option<u64>,
}

/// Runs an agent.
///
/// # Errors
/// The agent fails, or the host refuses.
pub async fn run(place: &Place, args: RunArgs, format: Format) -> Result<()> {
    let text = match args.text.as_deref() {
        Some("-") => Some(read_text("-")?),
        None if !std::io::stdin().is_terminal() => Some(read_text("-")?).filter(|t| !t.is_empty()),
        other => other.map(ToOwned::to_owned),
    };
    let mut content: Vec<Value> = text.iter().map(|text| json!({ "text": text })).collect();
    for file in &args.files {
        content.push(attachment(file)?);
    }
    if content.is_empty() {
        return Err(fail(
            Code::Usage,
            "say something: ringfence run AGENT \"TEXT\"",
        ));
    }
    let body = json!({
        "messages": [{"role": "user", "content": content}],
        "session": args.session,
        "timeoutMs": args.timeout.map(|seconds| seconds * 1000),
    });
    let client = &place.gateway(Some((Kind::Agent, &args.agent))).await?;
    let path = format!("agents/{}/run", segment(&args.agent));
    let request = client.in_tenant(Method::POST, &path).json(&body);
    let result = match format {
        Format::Table => stream(client, request).await,
        format => match client.json(request).await {
            Ok(answer) => {
                let run = answer["run"].as_str().map(ToOwned::to_owned);
                show::document(&answer, format).map(|()| run)
            }
            Err(error) => Err((error, None)).map_err(|(error, _): (_, Option<String>)| error),
        }
        .map_err(|error| (error, None)),
    };
    let (run, result) = match result {
        Ok(run) => (run, Ok(())),
        Err((error, run)) => (run, Err(error)),
    };
    if let Some(run) = run.filter(|_| args.trace) {
        let path = format!("runs/{}", segment(&run));
        let tree = client.json(client.in_tenant(Method::GET, &path)).await?;
        let color = show::color();
        let trace = show::trace(&tree, color);
        // Beside the answer, not in it: a pipe gets the answer alone.
        let heading = Style::Faint.paint(&format!("run {run}"), color);
        drop(write!(std::io::stderr(), "\n{heading}\n{trace}"));
    }
    result
}

type Streamed = std::result::Result<Option<String>, (anyhow::Error, Option<String>)>;

/// Prints parts as they come. The answer repeats what was streamed, so that it is printed only where
/// nothing, or something else, came before.
async fn stream(client: &Client, request: reqwest::RequestBuilder) -> Streamed {
    let request = request.header("accept", "text/event-stream");
    let response = client.send(request).await.map_err(|error| (error, None))?;
    let mut events = ServerEvents::new(response);
    let mut run = None;
    let mut printed = String::new();
    loop {
        let event = events.next().await.map_err(|error| (error, run.clone()))?;
        let Some(event) = event else {
            let error = fail(Code::Unavailable, "the connection ended before the answer");
            return Err((error, run));
        };
        let shown = match event.name.as_str() {
            "run" => {
                run = event.data["run"].as_str().map(ToOwned::to_owned);
                Ok(())
            }
            "part" => {
                let text = part_text(&event.data);
                printed += &text;
                show::print_piece(&show::outside(&text))
            }
            "progress" => {
                progress(&event.data);
                Ok(())
            }
            "answer" => finish(&event.data, &printed),
            "error" => return Err((failure(&event.data), run)),
            _ => Ok(()),
        };
        shown.map_err(|error| (error, run.clone()))?;
        if event.name == "answer" {
            return Ok(run);
        }
    }
}

fn finish(answer: &Value, printed: &str) -> Result<()> {
    let parts = answer["content"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let text: String = parts.iter().map(part_text).collect();
    let complete = answer["droppedEvents"].as_u64().unwrap_or(0) == 0;
    if complete && !printed.is_empty() && printed.trim_end().ends_with(text.trim_end()) {
        return if printed.ends_with('\n') {
            Ok(())
        } else {
            show::print_piece("\n")
        };
    }
    if !printed.is_empty() {
        show::print_piece("\n")?;
    }
    show::print(&show::outside(&text))
}

fn part_text(part: &Value) -> String {
    if let Some(text) = part["text"].as_str() {
        return text.to_owned();
    }
    if let Some(resource) = part.get("resource") {
        return match resource["body"]["text"].as_str() {
            Some(text) => text.to_owned(),
            None => format!("[{}]\n", resource["uri"].as_str().unwrap_or("resource")),
        };
    }
    let kind = ["image", "audio"]
        .into_iter()
        .find(|kind| part.get(*kind).is_some());
    match kind {
        Some(kind) => format!(
            "[{} {kind}]\n",
            part[kind]["mimeType"].as_str().unwrap_or("")
        ),
        None => String::new(),
    }
}

fn progress(data: &Value) {
    if !std::io::stderr().is_terminal() {
        return;
    }
    let message = show::safe(data["message"].as_str().unwrap_or("working"));
    let done = data["done"].as_f64().unwrap_or(0.0);
    let line = match data["total"].as_f64() {
        Some(total) => format!("{message} ({done}/{total})"),
        None => message,
    };
    drop(writeln!(
        std::io::stderr(),
        "{}",
        Style::Faint.paint(&line, show::color())
    ));
}

/// A file as a part of a message: text where it is text, else its bytes.
fn attachment(path: &str) -> Result<Value> {
    let bytes = read_input(path)?;
    let extension = path
        .rsplit('.')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let image = match extension.as_str() {
        "png" => Some("image/png"),
        "jpg" | "jpeg" => Some("image/jpeg"),
        "gif" => Some("image/gif"),
        "webp" => Some("image/webp"),
        _ => None,
    };
    if let Some(media) = image {
        let data = BASE64_STANDARD.encode(&bytes);
        return Ok(json!({"image": {"mimeType": media, "data": data}}));
    }
    let name = std::path::Path::new(path)
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    let uri = format!("file:///{name}");
    let resource = match String::from_utf8(bytes) {
        Ok(text) => json!({"uri": uri, "mimeType": "text/plain", "body": {"text": text}}),
        Err(error) => {
            let data = BASE64_STANDARD.encode(error.as_bytes());
            json!({"uri": uri, "mimeType": "application/octet-stream", "body": {"bytes": data}})
        }
    };
    Ok(json!({ "resource": resource }))
}
