//! `ringfence get` and `ringfence describe`.

use anyhow::Result;
use clap::Args;
use reqwest::Method;
use ringfence_api::Kind;
use serde_json::{Value, json};

use crate::exit::{Code, fail};
use crate::place::Place;
use crate::show::{self, Format, Style, Table, condition_summary};

/// What can be asked for; some have it that others of them have not.
pub(crate) const KINDS: [&str; 8] = [
    "agents",
    "tools",
    "models",
    "ceilings",
    "all",
    "artifacts",
    "runs",
    "tenants",
];

/// Arguments of `ringfence get`.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// agents, tools, models, ceilings, all, artifacts, runs or tenants
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
    /// agent, tool, model or ceiling
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
pub async fn get(place: &Place, args: GetArgs, format: Format) -> Result<()> {
    match args.kind.as_str() {
        "artifact" | "artifacts" => return artifacts(place, args.name, format).await,
        "run" | "runs" => return runs(place, args.name, args.limit, format).await,
        "tenant" | "tenants" => return tenants(place, format).await,
        _ => {}
    }
    let kinds: Vec<Kind> = match args.kind.as_str() {
        "all" => Kind::OF_TENANTS.to_vec(),
        other => vec![kind(other)?],
    };
    if let (Some(name), [kind]) = (&args.name, &kinds[..]) {
        let resource = place.one(*kind, name).await?;
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
        items.extend(place.list(kind).await?);
    }
    match format {
        Format::Table if items.is_empty() && args.kind == "all" => {
            none(place, "agents, tools or models")
        }
        Format::Table if items.is_empty() => none(place, &args.kind),
        Format::Table => show::print(&resources(&items).render(show::color())),
        format => show::document(&json!({ "items": items }), format),
    }
}

/// Shows everything about one resource.
///
/// # Errors
/// As [`get`].
pub async fn describe(place: &Place, args: DescribeArgs, format: Format) -> Result<()> {
    let kind = kind(&args.kind)?;
    let mut resource = place.one(kind, &args.name).await?;
    if kind == Kind::Tool && matches!(place, Place::Cluster(_)) {
        add_functions(place, &args.name, &mut resource).await;
    }
    match format {
        Format::Table => show::print(&show::describe(&resource, show::color())),
        format => show::document(&resource, format),
    }
}

fn kind(text: &str) -> Result<Kind> {
    text.parse().map_err(|_| {
        let message = format!(
            "{text:?} is no kind: use agents, tools, models, ceilings, artifacts, runs or tenants"
        );
        fail(Code::Usage, message)
    })
}

/// The functions of a tool, which a host keeps in its status and a cluster does not.
async fn add_functions(place: &Place, name: &str, tool: &mut Value) {
    let found = async {
        let gateway = place.gateway(Some((Kind::Tool, name))).await?;
        let path = format!("tools/{}/functions", segment(name));
        gateway.json(gateway.in_tenant(Method::GET, &path)).await
    };
    match found.await {
        Ok(mut answer) => tool["status"]["functions"] = answer["items"].take(),
        Err(error) => eprintln!("its functions are not shown: {error}"),
    }
}

/// What somebody typed, as one segment of a path.
pub(crate) fn segment(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes())
        .collect::<String>()
        .replace('+', "%20")
}

/// Nothing to list is no failure; the note goes where it does not disturb a script.
fn none(place: &Place, what: &str) -> Result<()> {
    eprintln!("no {what} in tenant {}", place.tenant());
    Ok(())
}

fn resources(items: &[Value]) -> Table {
    let mut table = Table::new(["KIND", "NAME", "READY", "GENERATION", "FROM", "MESSAGE"]);
    for item in items {
        let (ready, style, message) = condition_summary(item);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        // A file of the manifest folder, or whoever else applied it to a cluster.
        let status = &item["status"];
        let from = match (&status["file"], &status["manager"]) {
            (Value::String(from), _) | (_, Value::String(from)) => from.clone(),
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

async fn artifacts(place: &Place, digest: Option<String>, format: Format) -> Result<()> {
    if let Some(digest) = digest {
        let path = format!("artifacts/{}", segment(&digest));
        let artifact = place.ask_any(&path).await?;
        return show::document(&artifact, format);
    }
    let answer = json!({ "items": distinct(place.ask_all("artifacts").await?, "digest") });
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
        return none(place, "artifacts");
    }
    show::print(&table.render(show::color()))
}

async fn runs(place: &Place, run: Option<String>, limit: u32, format: Format) -> Result<()> {
    if let Some(run) = run {
        let path = format!("runs/{}", segment(&run));
        let run = place.ask_any(&path).await?;
        return match format {
            Format::Table => show::print(&show::trace(&run, show::color())),
            format => show::document(&run, format),
        };
    }
    let path = format!("runs?limit={limit}");
    let mut items = distinct(place.ask_all(&path).await?, "run");
    items.sort_by_key(|run| std::cmp::Reverse(run["startedUs"].as_u64()));
    items.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let answer = json!({ "items": items });
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
        return none(place, "runs");
    }
    show::print(&table.render(show::color()))
}

/// The items of several lists, of those with the same id only the first.
fn distinct(answers: Vec<Value>, id: &str) -> Vec<Value> {
    let mut seen = std::collections::BTreeSet::new();
    let mut items = Vec::new();
    for mut answer in answers {
        let Value::Array(list) = answer["items"].take() else {
            continue;
        };
        items.extend(
            list.into_iter()
                .filter(|item| seen.insert(item[id].as_str().unwrap_or_default().to_owned())),
        );
    }
    items
}

async fn tenants(place: &Place, format: Format) -> Result<()> {
    let names = place.tenants().await?;
    if format != Format::Table {
        return show::document(&json!({ "items": names }), format);
    }
    let mut table = Table::new(["TENANT"]);
    for name in names {
        table.row([(name, Style::Strong)]);
    }
    show::print(&table.render(show::color()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_several_hosts_know_is_told_once() {
        let list = |runs: &[&str]| {
            let items: Vec<Value> = runs.iter().map(|run| json!({ "run": run })).collect();
            json!({ "items": items })
        };
        let merged = distinct(vec![list(&["a", "b"]), list(&[]), list(&["b", "c"])], "run");
        let names: Vec<&str> = merged
            .iter()
            .filter_map(|run| run["run"].as_str())
            .collect();
        assert_eq!(names, ["a", "b", "c"]);
    }
}
