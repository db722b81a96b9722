//! The operator of Ringfence.
#![forbid(unsafe_code)]

use std::io::IsTerminal as _;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser as _;
use ringfence_api::chain;
use ringfence_operator::args::{Args, Command};
use ringfence_operator::connection::Connection;
use ringfence_operator::http::Ready;
use ringfence_operator::pool::HostSettings;
use ringfence_operator::{certificates, crds, custom_metrics, http, metrics::Metrics, run};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Args::parse().command {
        Command::Crds { apply: false } => {
            print!("{}", crds::yaml()?);
            Ok(())
        }
        Command::Crds { apply: true } => {
            for name in crds::apply(&kube::Client::try_from(config().await?)?).await? {
                println!("{name} applied");
            }
            Ok(())
        }
        Command::Run {
            namespace,
            identity,
            listen,
            custom_metrics_listen,
            host_image,
            host_image_pull_policy,
            host_user,
        } => {
            tracing_subscriber::fmt()
                .with_env_filter(
                    tracing_subscriber::EnvFilter::try_from_default_env()
                        .unwrap_or_else(|_| "info".into()),
                )
                .with_ansi(std::io::stderr().is_terminal())
                .with_writer(std::io::stderr)
                .init();
            let connection = Connection::new(config().await?).context(NO_CLUSTER)?;
            let metrics = Metrics::default();
            let listener = TcpListener::bind(listen)
                .await
                .with_context(|| format!("cannot listen on {listen}: choose another --listen"))?;
            let ready = Ready::default();
            let custom_metrics = match custom_metrics_listen {
                Some(listen) => Some(custom_metrics::Settings {
                    listener: Arc::new(std::net::TcpListener::bind(listen).with_context(|| {
                        format!("cannot listen on {listen}: choose another --custom-metrics-listen")
                    })?),
                    look: custom_metrics::LOOK,
                    ready: ready.clone(),
                }),
                None => {
                    ready.is();
                    None
                }
            };
            let serving = tokio::spawn(http::serve(listener, metrics.clone(), ready));
            let mut terminate = signal(SignalKind::terminate())?;
            let stop = async move {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = tokio::signal::ctrl_c() => {}
                }
            };
            let settings = run::Settings {
                namespace,
                identity,
                hosts: host_image.map(|image| HostSettings {
                    image,
                    pull_policy: host_image_pull_policy,
                }),
                certificates: certificates::Settings {
                    host_user,
                    ..certificates::Settings::default()
                },
                custom_metrics,
            };
            let ended = run::run(connection, settings, metrics, stop).await;
            serving.abort();
            // What the API server said is told without the rest of its answer.
            ended.map_err(|error| anyhow::anyhow!(chain(&error)))
        }
    }
}

const NO_CLUSTER: &str =
    "no cluster is configured: run in a Pod, or set KUBECONFIG or ~/.kube/config";

async fn config() -> anyhow::Result<kube::Config> {
    kube::Config::infer().await.context(NO_CLUSTER)
}
