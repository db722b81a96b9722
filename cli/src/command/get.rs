//! `ringfence get` and `ringfence describe`.

use anyhow::Result;
use clap::Args;
use reqwest::Method;
use ringfence_api::Kind;
use serde_json::{Value, json};

use crate::client::Client;
use crate::exit::{Code, fail};
use crate::show::{self, Format, Style, Table, condition_summary};

/// Arguments of `ringfence get`.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// agents, tools, models, all, artifacts, runs or tenants
    #[arg(value_name = "KIND")]
    kind: String,
    /// One of them only
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Most runs that are listed
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
}

/// Arguments of `ringfence describe`.
#[derive(Debug, Args)]
pub struct DescribeArgs {
    /// agent, tool or model
    #[arg(value_name = "KIND")]
    kind: String,
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
}

/// Lists things, or shows one.
///
/// # Errors
/// The kind is unknown, the thing is not there, or the host refuses.
pub async fn get(client: &Client, args: GetArgs, format: Format) -> Result<()> {
    match args.kind.as_str() {
        "artifact" | "artifacts" => return artifacts(client, args.name, format).await,
        "run" | "runs" => return runs(client, args.name, args.limit, format).await,
        "tenant" | "tenants" => return tenants(client, format).await,
        _ => {}
    }
    let kinds: Vec<Kind> = match args.kind.as_str() {
        "all" => Kind::ALL.to_vec(),
        other => vec![kind(other)?],
    };
    if let (Some(name), [kind]) = (&args.name, &kinds[..]) {
        let resource = one(client, *kind, name).await?;
        return match format {
            Format::Table => show::print(&resources(&[resource]).render(show::color())),
            format => show::document(&resource, format),
        };
    }
    if args.name.is_some() {
        return Err(fail(Code::Usage, "`get all` takes no name: say which kind"));
    }
    let mut items = Vec::new();
    for kind in kinds {
        let answer = client
            .json(client.in_tenant(Method::GET, kind.plural()))
            .await?;
        items.extend(answer["items"].as_array().cloned().unwrap_or_default());
    }
    match format {
        Format::Table if items.is_empty() && args.kind == "all" => {
            none(client, "agents, tools or models")
        }
        Format::Table if items.is_empty() => none(client, &args.kind),
        Format::Table => show::print(&resources(&items).render(show::color())),
        format => show::document(&json!({ "items": items }), format),
    }
}

/// Shows everything about one resource.
///
/// # Errors
/// As [`get`].
pub async fn describe(client: &Client, args: DescribeArgs, format: Format) -> Result<()> {
    let resource = one(client, kind(&args.kind)?, &args.name).await?;
    match format {
        Format::Table => show::print(&show::describe(&resource, show::color())),
        format => show::document(&resource, format),
    }
}

fn kind(text: &str) -> Result<Kind> {
    text.parse().map_err(|_| {
        let message =
            format!("{text:?} is no kind: use agents, tools, models, artifacts, runs or tenants");
        fail(Code::Usage, message)
    })
}

async fn one(client: &Client, kind: Kind, name: &str) -> Result<Value> {
    let path = format!("{}/{}", kind.plural(), segment(name));
    client.json(client.in_tenant(Method::GET, &path)).await
}

/// What somebody typed, as one segment of a path.
pub(super) fn segment(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes())
        .collect::<String>()
        .replace('+', "%20")
}

/// Nothing to list is no failure; the note goes where it does not disturb a script.
fn none(client: &Client, what: &str) -> Result<()> {
    eprintln!("no {what} in tenant {}", client.tenant());
    Ok(())
}

fn resources(items: &[Value]) -> Table {
    let mut table = Table::new(["KIND", "NAME", "READY", "GENERATION", "FROM", "MESSAGE"]);
    for item in items {
        let (ready, style, message) = condition_summary(item);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let from = match &item["status"]["file"] {
            Value::String(file) => file.clone(),
            _ => "apply".to_owned(),
        };
        table.row([
            (text(&item["kind"]), Style::Plain),
            (text(&item["metadata"]["name"]), Style::Strong),
            (ready, style),
            (item["metadata"]["generation"].to_string(), Style::Plain),
            (from, Style::Faint),
            (message, Style::Plain),
        ]);
    }
    table
}

async fn artifacts(client: &Client, digest: Option<String>, format: Format) -> Result<()> {
    if let Some(digest) = digest {
        let path = format!("artifacts/{}", segment(&digest));
        let artifact = client.json(client.in_tenant(Method::GET, &path)).await?;
        return show::document(&artifact, format);
    }
    let answer = client
        .json(client.in_tenant(Method::GET, "artifacts"))
        .await?;
    if format != Format::Table {
        return show::document(&answer, format);
    }
    let mut table = Table::new(["DIGEST", "SIZE", "IMAGES"]);
    for item in answer["items"].as_array().into_iter().flatten() {
        let images: Vec<&str> = item["images"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let digest = item["digest"].as_str().unwrap_or_default();
        table.row_uncut([
            (digest.to_owned(), Style::Strong),
            (item["size"].to_string(), Style::Plain),
            (images.join(", "), Style::Plain),
        ]);
    }
    if table.is_empty() {
        return none(client, "artifacts");
    }
    show::print(&table.render(show::color()))
}

async fn runs(client: &Client, run: Option<String>, limit: u32, format: Format) -> Result<()> {
    if let Some(run) = run {
        let path = format!("runs/{}", segment(&run));
        let run = client.json(client.in_tenant(Method::GET, &path)).await?;
        return match format {
            Format::Table => show::print(&show::trace(&run, show::color())),
            format => show::document(&run, format),
        };
    }
    let path = format!("runs?limit={limit}");
    let answer = client.json(client.in_tenant(Method::GET, &path)).await?;
    if format != Format::Table {
        return show::document(&answer, format);
    }
    let mut table = Table::new([
        "RUN", "CALLER", "TARGET", "OUTCOME", "TIME", "CALLS", "DENIED",
    ]);
    for item in answer["items"].as_array().into_iter().flatten() {
        let text = |field: &str| item[field].as_str().unwrap_or_default().to_owned();
        let outcome = item["outcome"]["code"].as_str().unwrap_or("running");
        let style = match outcome {
            "ok" => Style::Good,
            "running" => Style::Plain,
            _ => Style::Bad,
        };
        let denied = item["denied"].as_u64().unwrap_or(0);
        table.row([
            (text("run"), Style::Strong),
            (text("caller"), Style::Plain),
            (text("target"), Style::Plain),
            (outcome.to_owned(), style),
            (
                show::duration(item["durationUs"].as_u64().unwrap_or(0)),
                Style::Plain,
            ),
            (item["calls"].to_string(), Style::Plain),
            (
                denied.to_string(),
                if denied > 0 {
                    Style::Warn
                } else {
                    Style::Plain
                },
            ),
        ]);
    }
    if table.is_empty() {
        return none(client, "runs");
    }
    show::print(&table.render(show::color()))
}

async fn tenants(client: &Client, format: Format) -> Result<()> {
    let answer = client.json(client.request(Method::GET, "tenants")).await?;
    if format != Format::Table {
        return show::document(&answer, format);
    }
    let mut table = Table::new(["TENANT"]);
    for name in answer["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        table.row([(name.to_owned(), Style::Strong)]);
    }
    show::print(&table.render(show::color()))
}
