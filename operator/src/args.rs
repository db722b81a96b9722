//! The command line of the operator.

use std::net::SocketAddr;

use clap::{Parser, Subcommand};

/// Places agents and tools on hosts.
#[derive(Debug, Parser)]
#[command(name = "ringfence-operator", version)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the operator can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the controllers, with the cluster of the Pod or of the current kube context.
    Run {
        /// Namespace of the leader's Lease, the hosts and their Leases.
        #[arg(long, env = "RINGFENCE_NAMESPACE", default_value = "ringfence-system")]
        namespace: String,
        /// What tells this operator from others; in a cluster, the name of the Pod.
        #[arg(long, env = "POD_NAME")]
        identity: String,
        /// Where to serve /healthz, /readyz and /metrics.
        #[arg(long, default_value = "127.0.0.1:8081")]
        listen: SocketAddr,
        /// Where to serve custom.metrics.k8s.io to the API server, over TLS: how busy hosts are, for what scales their
        /// pools; not served without
        #[arg(long, value_name = "ADDRESS")]
        custom_metrics_listen: Option<SocketAddr>,
        /// Image of `ringfence` for the hosts of pools; without it, the operator runs no hosts.
        #[arg(long)]
        host_image: Option<String>,
        /// When nodes pull that image.
        #[arg(long, default_value = "IfNotPresent", value_parser = ["Always", "IfNotPresent", "Never"])]
        host_image_pull_policy: String,
        /// User that hosts are to Kubernetes, where they run outside of the cluster: only it gets certificates of
        /// hosts [default: the service account ringfence-host of the namespace]
        #[arg(long, env = "RINGFENCE_HOST_USER", value_name = "USER")]
        host_user: Option<String>,
    },
    /// Prints the CustomResourceDefinitions as YAML, to be applied before anything else.
    Crds {
        /// Applies them instead, and waits until the API server serves them.
        #[arg(long)]
        apply: bool,
    },
}
