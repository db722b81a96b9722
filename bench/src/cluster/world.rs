//! A cluster to measure on.

use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::Client;
use ringfence_test_cluster::ControlPlane;
use tempfile::TempDir;

use crate::server::{Announces, Server};
use crate::setting::Setting;

/// A control plane with the definitions, a namespace for the system and a model.
pub(super) struct World<'a> {
    setting: &'a Setting,
    pub(super) cluster: ControlPlane,
    pub(super) client: Client,
    /// Data directories and logs.
    folder: TempDir,
}

/// An operator in a process of its own.
pub(super) struct Operator {
    child: Child,
    url: String,
}

impl<'a> World<'a> {
    pub(super) async fn new(setting: &'a Setting) -> Result<Self> {
        // Another part of this process may have chosen one already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let cluster = ControlPlane::start().await?;
        let world = Self {
            client: cluster.client().await?,
            setting,
            cluster,
            folder: tempfile::tempdir()?,
        };
        let installed = Command::new(&setting.operator)
            .args(["crds", "--apply"])
            .env("KUBECONFIG", world.cluster.kubeconfig())
            .stdout(Stdio::null())
            .status()?;
        ensure!(installed.success(), "the definitions cannot be installed");
        let base = "apiVersion: v1
kind: Namespace
metadata: {name: ringfence-system}
---
apiVersion: ringfence.dev/v1alpha1
kind: Model
metadata: {name: scripted, namespace: default}
spec: {provider: {scripted: {turns: [{text: done}]}}}
";
        world.cluster.apply(base).await?;
        Ok(world)
    }

    /// Starts an operator, and waits until it leads.
    pub(super) async fn operator(&self, name: &str) -> Result<Operator> {
        self.operator_with(name, &[]).await
    }

    /// The same, with further arguments.
    pub(super) async fn operator_with(&self, name: &str, more: &[&str]) -> Result<Operator> {
        // Somebody else could take it meanwhile; then the operator says so, and the benchmark fails.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let child = Command::new(&self.setting.operator)
            .args(["run", "--identity", name, "--listen", &address.to_string()])
            .args(more)
            .env("KUBECONFIG", self.cluster.kubeconfig())
            .stderr(File::create(
                self.folder.path().join(format!("{name}.log")),
            )?)
            .spawn()?;
        let operator = Operator {
            child,
            url: format!("http://{address}/metrics"),
        };
        for _ in 0..600 {
            if let Ok(metrics) = operator.metrics().await
                && metrics.contains("\nringfence_operator_leading 1\n")
            {
                return Ok(operator);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::bail!("the operator does not come to lead")
    }

    /// Starts a host, on this data directory or one of its own.
    pub(super) fn host(&self, name: &str, data: Option<&Path>, more: &[&str]) -> Result<Server> {
        let own = self.folder.path().join(name);
        let data = data.unwrap_or(&own);
        std::fs::create_dir_all(data)?;
        let mut command = Command::new(&self.setting.ringfence);
        command
            .args([
                "host",
                "--name",
                name,
                "--listen",
                "127.0.0.1:0",
                "--data-dir",
            ])
            .arg(data)
            .args(more)
            .env("KUBECONFIG", self.cluster.kubeconfig())
            .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
            .stderr(File::create(
                self.folder.path().join(format!("{name}.log")),
            )?);
        Server::start(command, &Announces::Stdout)
    }

    /// Requests that the API server has answered, watches not counted.
    pub(super) async fn requests(&self) -> Result<f64> {
        let request = http::Request::get("/metrics").body(Vec::new())?;
        let text = self.client.request_text(request).await?;
        Ok(text
            .lines()
            .filter(|line| line.starts_with("apiserver_request_total{"))
            .filter(|line| !line.contains("verb=\"WATCH\""))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum())
    }
}

impl Operator {
    async fn metrics(&self) -> Result<String> {
        crate::api::get(&self.url).await
    }

    /// Writes that it has made.
    pub(super) async fn writes(&self) -> Result<f64> {
        let text = self.metrics().await?;
        Ok(text
            .lines()
            .filter(|line| line.starts_with("ringfence_operator_writes_total"))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            // The sum of no numbers at all is -0.
            .fold(0.0, |sum, count| sum + count))
    }

    /// Bytes of memory that are resident now.
    pub(super) fn resident(&self) -> Result<u64> {
        crate::server::resident(self.child.id())
    }

    /// Ends it and waits until it has.
    pub(super) fn stop(mut self) -> Result<()> {
        crate::server::terminate(self.child.id())?;
        self.child.wait().context("the operator")?;
        Ok(())
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        // It may be gone already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Does the work of a benchmark in a runtime of its own.
pub(super) fn within<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(work)
}
