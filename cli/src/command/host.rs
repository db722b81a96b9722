//! `ringfence host`: a host as a node of a cluster.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use ringfence_api::{DEFAULT_POOL, Name, Resources};
use ringfence_host::gateway::auth::DEFAULT_AUDIENCE;
use ringfence_host::node::{Clients, Membership, Node, NodeError};

use super::serve::{LAST_SPANS, ServeArgs, Signals, explain, logging, options};
use crate::exit::{Code, fail};

/// Arguments of `ringfence host`: those of `ringfence serve`, and what makes it a node.
#[derive(Debug, Args)]
pub struct HostArgs {
    /// Name of the host; in a cluster, that of its Pod
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    name: Name,
    /// Pool that it belongs to
    #[arg(long, env = "RINGFENCE_POOL", default_value = DEFAULT_POOL, value_name = "POOL")]
    pool: Name,
    /// Zone that it runs in
    #[arg(long, env = "RINGFENCE_ZONE", value_name = "ZONE")]
    zone: Option<String>,
    /// Unique id of its Pod, which then owns its objects
    #[arg(long, env = "POD_UID", value_name = "UID")]
    pod_uid: Option<String>,
    /// Bytes of memory that instances may use of it [default: 4 GiB]
    #[arg(long, default_value_t = 4 << 30, hide_default_value = true, value_name = "BYTES")]
    memory_bytes: u64,
    /// Thousandths of a processor that instances may use of it
    #[arg(long, default_value_t = 4_000, value_name = "MILLIS")]
    cpu_millis: u64,
    /// Instances that it takes
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    instances: u32,
    /// How callers are known, beside API keys; without any of both, loopback only is served
    #[arg(long, value_enum, value_name = "BY")]
    authenticate: Option<Authenticate>,
    /// Audience that a caller's token has to be made for; may be given several times
    #[arg(
        long = "token-audience",
        value_name = "AUDIENCE",
        default_value = DEFAULT_AUDIENCE,
        value_parser = clap::builder::NonEmptyStringValueParser::new(),
    )]
    token_audiences: Vec<String>,
    /// Address on which it takes calls of other hosts, for example 0.0.0.0:7071; without, it does only what
    /// runs on it
    #[arg(long, env = "RINGFENCE_PEER_LISTEN", value_name = "ADDRESS")]
    peer_listen: Option<SocketAddr>,
    /// Address under which others reach it, where it listens on all of its addresses; in a cluster, that of
    /// its Pod
    #[arg(long, env = "POD_IP", value_name = "IP")]
    advertise: Option<IpAddr>,
    #[command(flatten)]
    serve: ServeArgs,
}

/// How callers of a host are known.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Authenticate {
    /// By tokens of the cluster, whose roles say what they may do
    Kubernetes,
}

/// Serves as a node until the process is asked to end.
///
/// # Errors
/// The host cannot start, or cannot join the cluster.
pub async fn run(args: HostArgs, namespace: String) -> Result<()> {
    crate::tls::install();
    let log = args.serve.log;
    let options = options(args.serve)?;
    let otlp = logging(log, &options.authorities)?;
    let unconfigured = |error: &dyn std::error::Error| {
        let hint = "run in a Pod, or set KUBECONFIG or ~/.kube/config";
        let message = format!("no cluster is configured ({error}): {hint}");
        fail(Code::Unavailable, message)
    };
    let config = kube::Config::infer().await;
    let config = config.map_err(|error| unconfigured(&error))?;
    let clients = Clients::new(config).map_err(|error| unconfigured(&error))?;
    let owner = args.pod_uid.map(|uid| OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        name: args.name.to_string(),
        uid,
        ..OwnerReference::default()
    });
    let membership = Membership {
        name: args.name,
        pool: args.pool,
        // Empty in a Pod whose node has none.
        zone: args.zone.filter(|zone| !zone.is_empty()),
        namespace,
        allocatable: Resources {
            memory_bytes: args.memory_bytes,
            cpu_millis: args.cpu_millis,
            instances: args.instances,
        },
        advertise: args.advertise,
        peer_listen: args.peer_listen,
        owner,
        token_audiences: args
            .authenticate
            .map(|Authenticate::Kubernetes| args.token_audiences),
    };
    // Before the host is up, so that a signal is never missed.
    let mut signals = Signals::new().context("signals cannot be received")?;
    let node = Node::join(options, clients, membership)
        .await
        .map_err(|error| match error {
            NodeError::Host(error) => explain(error),
            NodeError::Setting(message) => fail(Code::Invalid, message.to_owned()),
            error => error.into(),
        })?;
    let mut out = std::io::stdout();
    drop(writeln!(out, "http://{}", node.address()).and_then(|()| out.flush()));
    let signal = signals.next().await;
    eprintln!(
        "{signal}: instances move elsewhere, calls in flight are finished (again to end at once)"
    );
    tokio::select! {
        () = node.leave() => {}
        _ = signals.next() => eprintln!("ended at once"),
    }
    if let Some(otlp) = otlp {
        // It waits for the network, briefly.
        drop(tokio::task::spawn_blocking(move || otlp.shutdown(LAST_SPANS)).await);
    }
    Ok(())
}
