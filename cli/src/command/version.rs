//! `ringfence version`.

use anyhow::Result;
use reqwest::Method;
use serde_json::json;

use crate::client::Client;
use crate::exit::{Code, code_of};
use crate::show::{self, Format};

/// Prints the version of this command, and that of the host if one answers.
///
/// # Errors
/// Never because of the host.
pub async fn run(client: &Client, format: Format) -> Result<()> {
    let here = env!("CARGO_PKG_VERSION");
    let host = client.json(client.request(Method::GET, "version")).await;
    if format != Format::Table {
        let host = host.ok();
        return show::document(&json!({ "client": here, "host": host }), format);
    }
    let there = match &host {
        Ok(version) => version["version"].as_str().unwrap_or("unknown").to_owned(),
        Err(error) if code_of(error) == Code::Unavailable => "not running".to_owned(),
        Err(error) => error.to_string(),
    };
    show::print(&format!(
        "client {here}\nhost   {there} ({})",
        client.base()
    ))
}
