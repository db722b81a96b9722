//! `ringfence key`: API keys. The file keeps hashes only; a key is shown once, when it is made.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use ringfence_api::TenantName;
use ringfence_host::gateway::Role;
use ringfence_host::gateway::auth::{KeysFile, TenantScope, generate};
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
        } => {
            let scope = match tenants.is_empty() {
                true => TenantScope::All,
                false => TenantScope::Only(tenants.into_iter().collect::<BTreeSet<_>>()),
            };
            let role = match role {
                KeyRole::Admin => Role::Admin,
                KeyRole::Caller => Role::Caller,
            };
            let key = generate(&name, scope, role).map_err(|error| invalid(&error))?;
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
            let mut table = Table::new(["NAME", "ROLE", "TENANTS"]);
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
                let cells = [
                    (key.name.clone(), Style::Strong),
                    (role, Style::Plain),
                    (tenants, Style::Plain),
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
