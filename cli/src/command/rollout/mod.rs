//! `ringfence rollout`: what becomes of a new revision of an agent or tool, as `kubectl rollout` does it
//! for Deployments. On a cluster only: a host of its own changes at once, or not at all.

mod change;
mod history;
mod status;

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Args, Subcommand};
use ringfence_api::Kind;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::exit::{Code, fail};
use crate::place::Place;
use crate::show::{self, Format};
use history::Entry;
use status::State;

/// Time between two looks at a rollout.
const LOOK: Duration = Duration::from_millis(500);
/// How often a change is tried anew because somebody else changed the same object meanwhile.
const TRIES: u32 = 5;

/// Arguments of `ringfence rollout`.
#[derive(Debug, Args)]
pub struct RolloutArgs {
    /// What to do
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Follow a rollout until it is complete or has failed
    Status {
        #[command(flatten)]
        of: Of,
        /// Say how it is, and do not wait
        #[arg(long)]
        no_watch: bool,
        /// Seconds to wait at most
        #[arg(long, value_name = "SECONDS")]
        timeout: Option<u64>,
    },
    /// Show earlier revisions
    History {
        #[command(flatten)]
        of: Of,
        /// Show what this one says
        #[arg(long, value_name = "NUMBER")]
        revision: Option<i64>,
    },
    /// Go back to an earlier revision
    Undo {
        #[command(flatten)]
        of: Of,
        /// Which one [default: the one before]
        #[arg(long, value_name = "NUMBER")]
        to_revision: Option<i64>,
    },
    /// Let a rollout stand still
    Pause(Of),
    /// Let it go on
    Resume(Of),
    /// Replace every instance, by the rules of a rollout
    Restart(Of),
    /// End the step of a canary
    Promote {
        #[command(flatten)]
        of: Of,
        /// End all steps that are left
        #[arg(long)]
        full: bool,
    },
}

/// An agent or tool.
#[derive(Debug, Args)]
struct Of {
    /// agent/NAME or tool/NAME
    #[arg(value_name = "KIND/NAME", value_parser = target)]
    target: (Kind, String),
}

fn target(text: &str) -> Result<(Kind, String), String> {
    let wrong = || format!("{text:?} is neither agent/NAME nor tool/NAME");
    let (kind, name) = text.split_once('/').ok_or_else(wrong)?;
    match kind.parse() {
        Ok(kind @ (Kind::Agent | Kind::Tool)) => Ok((kind, name.to_owned())),
        _ => Err(wrong()),
    }
}

/// Does what the verb says.
///
/// # Errors
/// It is no cluster, there is no such agent or tool, or it cannot be done now.
pub async fn run(place: &Place, args: RolloutArgs, format: Format) -> Result<()> {
    let Place::Cluster(cluster) = place else {
        let message = "a host of its own knows no rollouts: a change takes over at once, or is refused; \
                       for a cluster give --cluster or --context";
        return Err(fail(Code::Usage, message));
    };
    match args.verb {
        Verb::Status {
            of,
            no_watch,
            timeout,
        } => follow(cluster, &of.target, !no_watch, timeout).await,
        Verb::History { of, revision } => show_history(cluster, &of.target, revision, format).await,
        Verb::Undo { of, to_revision } => undo(cluster, &of.target, to_revision).await,
        Verb::Pause(of) => change_one(cluster, &of.target, "paused", change::pause).await,
        Verb::Resume(of) => change_one(cluster, &of.target, "resumed", change::resume).await,
        Verb::Restart(of) => change_one(cluster, &of.target, "restarted", change::restart).await,
        Verb::Promote { of, full } => {
            let promote = |object: &mut Value| change::promote(object, full);
            change_one(cluster, &of.target, "promoted", promote).await
        }
    }
}

fn what((kind, name): &(Kind, String)) -> String {
    format!("{}/{name}", kind.as_str().to_ascii_lowercase())
}

async fn follow(
    cluster: &Cluster,
    target: &(Kind, String),
    watch: bool,
    timeout: Option<u64>,
) -> Result<()> {
    let begun = Instant::now();
    let mut said = String::new();
    loop {
        let object = cluster.whole(target.0, &target.1).await?;
        match status::of(&what(target), &object) {
            State::Complete(text) => return show::print(&format!("{text}\n")),
            State::Failed(text) => return Err(fail(Code::Failed, text)),
            State::Waiting(text) => {
                if text != said {
                    show::print(&format!("{text}\n"))?;
                    said = text;
                }
            }
        }
        if !watch {
            return Ok(());
        }
        if timeout.is_some_and(|seconds| begun.elapsed() >= Duration::from_secs(seconds)) {
            let message = format!("{} did not come to its end in time", what(target));
            return Err(fail(Code::Limit, message));
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn show_history(
    cluster: &Cluster,
    target: &(Kind, String),
    revision: Option<i64>,
    format: Format,
) -> Result<()> {
    // Whether there is such an agent or tool at all.
    let object = cluster.whole(target.0, &target.1).await?;
    let entries = history::of(cluster, target).await?;
    if let Some(number) = revision {
        let entry = find(&entries, number, target)?;
        let format = match format {
            Format::Table => Format::Yaml,
            format => format,
        };
        return show::document(&entry.document(), format);
    }
    match format {
        Format::Table => {
            show::print(&format!("{}\n", what(target)))?;
            show::print(&history::table(&entries, &object).render(show::color()))
        }
        format => {
            let items: Vec<Value> = entries.iter().map(Entry::document).collect();
            show::document(&json!({"items": items}), format)
        }
    }
}

fn find<'e>(entries: &'e [Entry], number: i64, target: &(Kind, String)) -> Result<&'e Entry> {
    let found = entries.iter().find(|entry| entry.number == number);
    found.ok_or_else(|| {
        let message = format!("{} has no revision {number} in its history", what(target));
        fail(Code::NotFound, message)
    })
}

async fn undo(cluster: &Cluster, target: &(Kind, String), number: Option<i64>) -> Result<()> {
    let entries = history::of(cluster, target).await?;
    let object = cluster.whole(target.0, &target.1).await?;
    let entry = match number {
        Some(number) => find(&entries, number, target)?,
        None => history::before(&entries, &object).ok_or_else(|| {
            let message = format!("{} has no earlier revision in its history", what(target));
            fail(Code::NotFound, message)
        })?,
    };
    if entry.runs(&object) {
        return show::print(&format!(
            "{} not changed: it is revision {} already\n",
            what(target),
            entry.number
        ));
    }
    let back = |object: &mut Value| change::undo(object, entry);
    change_one(cluster, target, "rolled back", back).await
}

/// Changes an object, and says so. Where somebody else changes it at the same time, it is looked at anew.
async fn change_one(
    cluster: &Cluster,
    target: &(Kind, String),
    done: &str,
    change: impl Fn(&mut Value) -> Result<(), String>,
) -> Result<()> {
    let mut tries = TRIES;
    loop {
        tries -= 1;
        let mut object = cluster.whole(target.0, &target.1).await?;
        change(&mut object).map_err(|why| fail(Code::Failed, format!("{} {why}", what(target))))?;
        if cluster
            .replace(target.0, &target.1, object, tries > 0)
            .await?
        {
            return show::print(&format!("{} {done}\n", what(target)));
        }
    }
}
