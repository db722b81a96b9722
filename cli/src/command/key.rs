//! `ringfence key`: API keys. The file keeps hashes only; a key is shown once, when it is made.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use ringfence_api::TenantName;
use ringfence_host::gateway::Role;
use ringfence_host::gateway::auth::{Expiry, KeysFile, TenantScope, generate};
use serde_json::json;

use crate::exit::{Code, fail};
use crate::show::{self, Format, Style, Table};

/// Arguments of `ringfence key`.
#[derive(Debug, Args)]
pub struct KeyArgs {
    #[command(subcommand)]
    action: Action,
    /// The keys file, as given to `serve --api-keys`
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "api-keys.yaml"
    )]
    file: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a key and print it; it cannot be shown again
    New {
        /// Name of whoever gets it, as records show it
        name: String,
        /// What it is for
        #[arg(long, value_enum, default_value_t = KeyRole::Caller)]
        role: KeyRole,
        /// Tenants it may enter; may be given several times [default: all]
        #[arg(long = "in", value_name = "TENANT")]
        tenants: Vec<TenantName>,
        /// Time until it is refused, such as 30d, 12h or 90s [default: it is never refused]
        #[arg(long, value_name = "TIME", value_parser = life)]
        expires_in: Option<Expiry>,
    },
    /// List the keys, without the keys themselves
    List,
    /// Remove a key
    Delete {
        /// Its name
        name: String,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum KeyRole {
    /// Everything
    Admin,
    /// Calling tools and agents
    Caller,
}

/// Makes, lists and removes keys.
///
/// # Errors
/// The file cannot be used, or there is (no) such key.
pub fn run(args: KeyArgs, format: Format) -> Result<()> {
    let file = &args.file;
    let invalid = |error: &dyn std::fmt::Display| fail(Code::Invalid, error.to_string());
    let mut keys = match file.exists() || !matches!(args.action, Action::New { .. }) {
        true => KeysFile::load(file).map_err(|error| invalid(&error))?,
        false => KeysFile::default(),
    };
    match args.action {
        Action::New {
            name,
            role,
            tenants,
            expires_in,
        } => {
            let scope = match tenants.is_empty() {
                true => TenantScope::All,
                false => TenantScope::Only(tenants.into_iter().collect::<BTreeSet<_>>()),
            };
            let role = match role {
                KeyRole::Admin => Role::Admin,
                KeyRole::Caller => Role::Caller,
            };
            let mut key = generate(&name, scope, role).map_err(|error| invalid(&error))?;
            key.entry.expires = expires_in;
            keys.add(key.entry.clone())
                .map_err(|error| invalid(&error))?;
            keys.save(file).map_err(|error| invalid(&error))?;
            if format != Format::Table {
                return show::document(&json!({ "name": name, "key": key.secret }), format);
            }
            eprintln!("the key of {name}, which cannot be shown again:");
            show::print(&key.secret)
        }
        Action::List => {
            if format != Format::Table {
                return show::document(&json!({ "items": keys.keys }), format);
            }
            let mut table = Table::new(["NAME", "ROLE", "TENANTS", "EXPIRES"]);
            for key in &keys.keys {
                let role = json!(key.role).as_str().unwrap_or_default().to_owned();
                let tenants = match &key.tenants {
                    TenantScope::All => "*".to_owned(),
                    TenantScope::Only(names) => names
                        .iter()
                        .map(ToString::to_string)
                        .collect::<Vec<_>>()
                        .join(", "),
                };
                let expires = key
                    .expires
                    .map_or_else(|| "never".to_owned(), |at| at.to_string());
                let cells = [
                    (key.name.clone(), Style::Strong),
                    (role, Style::Plain),
                    (tenants, Style::Plain),
                    (expires, Style::Plain),
                ];
                table.row(cells);
            }
            show::print(&table.render(show::color()))
        }
        Action::Delete { name } => {
            let before = keys.keys.len();
            keys.keys.retain(|key| key.name != name);
            if keys.keys.len() == before {
                let message = format!("there is no key {name} in {}", file.display());
                return Err(fail(Code::NotFound, message));
            }
            keys.save(file).map_err(|error| invalid(&error))?;
            show::print(&format!("key/{name} deleted"))
        }
    }
}

/// Reads a time from now: a number with `d`, `h`, `m` or `s` behind it.
fn life(text: &str) -> Result<Expiry, String> {
    let problem = || format!("{text:?} is not a time such as 30d, 12h, 45m or 90s");
    let unit = match text.chars().next_back() {
        Some('d') => 24 * 60 * 60,
        Some('h') => 60 * 60,
        Some('m') => 60,
        Some('s') => 1,
        _ => return Err(problem()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| problem())?;
    let seconds = count.checked_mul(unit).ok_or_else(problem)?;
    Expiry::after(Duration::from_secs(seconds)).ok_or_else(problem)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn lives_have_units() {
        let hour = life("1h").unwrap();
        assert!(!hour.is_over(SystemTime::now() + Duration::from_secs(3500)));
        assert!(hour.is_over(SystemTime::now() + Duration::from_secs(3700)));
        for wrong in ["", "d", "5", "-1h", "1.5h", "99999999999d", "h1", "5é"] {
            assert!(life(wrong).is_err(), "{wrong}");
        }
    }
}
