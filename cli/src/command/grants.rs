//! `ringfence grants`: what an agent or tool may do, before anything of it runs.

use anyhow::Result;
use clap::Args;
use ringfence_api::Kind;

use crate::exit::{Code, code_of, fail};
use crate::place::Place;
use crate::show::{self, Format};

/// Arguments of `ringfence grants`.
#[derive(Debug, Args)]
pub struct GrantsArgs {
    /// An agent, or else a tool; agent/NAME or tool/NAME where both have it
    #[arg(value_name = "NAME")]
    of: String,
}

/// Shows what is asked, granted and given, and what is refused and by whom.
///
/// # Errors
/// There is no such agent or tool, or what its component asks for is not known yet.
pub async fn run(place: &Place, args: GrantsArgs, format: Format) -> Result<()> {
    let resource = match args.of.split_once('/') {
        Some((kind, name)) => match kind.parse() {
            Ok(kind @ (Kind::Agent | Kind::Tool)) => place.one(kind, name).await?,
            _ => return Err(fail(Code::Usage, "write agent/NAME or tool/NAME")),
        },
        None => match place.one(Kind::Agent, &args.of).await {
            Err(error) if code_of(&error) == Code::NotFound => {
                place.one(Kind::Tool, &args.of).await?
            }
            found => found?,
        },
    };
    let report = show::report(&resource);
    if format != Format::Table {
        return show::document(&report, format);
    }
    match show::grants(&report) {
        Some(table) if table.is_empty() => {
            eprintln!("{} asks for nothing and is granted nothing", args.of);
            Ok(())
        }
        Some(table) => show::print(&table.render(show::color())),
        None => {
            let (ready, _, message) = show::condition_summary(&resource);
            let message = format!(
                "what {} asks for is not known: its component was not looked at (Ready {ready}: \
                 {message})",
                args.of
            );
            Err(fail(Code::Unavailable, message))
        }
    }
}
