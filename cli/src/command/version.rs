//! `ringfence version`.

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::Client;
use crate::exit::{Code, code_of};
use crate::place::Place;
use crate::show::{self, Format};

/// Prints the version of this command, and that of the host, or of a cluster and its hosts.
///
/// # Errors
/// Never because of the host.
pub async fn run(place: &Place, format: Format) -> Result<()> {
    let here = env!("CARGO_PKG_VERSION");
    let (gateways, what) = match place {
        Place::Host(client) => (Ok(vec![Client::clone(client)]), None),
        Place::Cluster(cluster) => (cluster.gateways().await, Some(cluster.version().await)),
    };
    let mut hosts = Vec::new();
    match gateways {
        Ok(gateways) => {
            for client in gateways {
                let host = client.json(client.request(Method::GET, "version")).await;
                hosts.push((client.name().to_owned(), host));
            }
        }
        Err(error) => hosts.push(("no host".to_owned(), Err(error))),
    }
    if format != Format::Table {
        let host = hosts.into_iter().find_map(|(_, host)| host.ok());
        let mut document = json!({ "client": here, "host": host });
        if let Some(version) = what {
            document["cluster"] = version.ok().map_or(Value::Null, Value::from);
        }
        return show::document(&document, format);
    }
    let mut text = format!("client {here}");
    if let (Some(version), Place::Cluster(cluster)) = (what, place) {
        let version = version.unwrap_or_else(|error| error.to_string());
        text += &format!("\ncluster {version} ({})", cluster.name());
    }
    for (name, host) in hosts {
        let there = match &host {
            Ok(version) => version["version"].as_str().unwrap_or("unknown").to_owned(),
            Err(error) if code_of(error) == Code::Unavailable => "not running".to_owned(),
            Err(error) => error.to_string(),
        };
        text += &format!("\nhost   {there} ({name})");
    }
    show::print(&text)
}
