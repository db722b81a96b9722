//! `ringfence serve`: a host on this machine.

use std::io::{IsTerminal as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use ringfence_host::artifact::Launcher;
use ringfence_host::artifact::oci::RegistrySettings;
use ringfence_host::authorities::Authorities;
use ringfence_host::config::Config;
use ringfence_host::data::DataError;
use ringfence_host::directory::folder::Synced;
use ringfence_host::gateway::Settings;
use ringfence_host::local::{LocalError, LocalHost, Options};
use ringfence_host::telemetry::Otlp;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::COMPILE_WORKER;
use crate::exit::{Code, fail};
use crate::show::Style;
use crate::target::{DEFAULT_PORT, default_data_dir};

/// Sandboxes that may exist at the same time, when nothing is said.
const SANDBOXES: u32 = 256;
/// What is logged where `RINGFENCE_LOG` says nothing. rmcp warns of each request that is not as the
/// protocol has it: whoever can connect could fill the log.
const DEFAULT_LOG: &str = "warn,ringfence_host=info,rmcp=error";
/// Time that telemetry has to leave the process at its end.
pub(super) const LAST_SPANS: std::time::Duration = std::time::Duration::from_secs(3);

/// How log lines look.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// Arguments of `ringfence serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Folder for everything that the host keeps [default: ~/.local/share/ringfence]
    #[arg(long, env = "RINGFENCE_DATA_DIR", value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// Address to listen on; port 0 takes a free one [default: 127.0.0.1:7070]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Folder of manifests; it is watched
    #[arg(long, value_name = "FOLDER")]
    manifests: Option<PathBuf>,
    /// Folder that can be granted: NAME=PATH, or NAME=PATH:ro; may be given several times
    #[arg(long = "allow-folder", value_name = "NAME=PATH")]
    allow_folders: Vec<String>,
    /// Secret that resources may refer to: env:NAME or file:PATH, or secret:NAME/KEY= (of another tenant
    /// secret:TENANT/NAME/KEY=) and one of both; may be given several times
    #[arg(long = "allow-secret", value_name = "SECRET")]
    allow_secrets: Vec<String>,
    /// File of API keys (see `ringfence key`); with one, every request needs a key
    #[arg(long, value_name = "FILE")]
    api_keys: Option<PathBuf>,
    /// Registry that is reached over plain HTTP: HOST:PORT; may be given several times
    #[arg(long = "insecure-registry", value_name = "REGISTRY")]
    insecure_registries: Vec<String>,
    /// Registry that may be at a private address and is reached over TLS, also on this machine: HOST:PORT; may
    /// be given several times
    #[arg(long = "private-registry", value_name = "REGISTRY")]
    private_registries: Vec<String>,
    /// PEM file of certificate authorities that are trusted beside the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Sandboxes that may exist at the same time [default: 256]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    sandboxes: Option<u32>,
    /// YAML file with the same settings; options win over it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How log lines look; RINGFENCE_LOG says which there are
    #[arg(long, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub(super) log: LogFormat,
}

/// Serves until the process is asked to end.
///
/// # Errors
/// The host cannot start.
pub async fn run(args: ServeArgs) -> Result<()> {
    crate::tls::install();
    let log = args.log;
    let options = options(args)?;
    let otlp = logging(log, &options.authorities)?;
    let data_dir = options.data_dir.clone();
    let with_keys = options.api_keys.is_some();
    // Before the host is up, so that a signal is never missed.
    let mut signals = Signals::new().context("signals cannot be received")?;
    let host = LocalHost::start(options).await.map_err(explain)?;
    banner(&host, &data_dir, with_keys);
    let signal = signals.next().await;
    eprintln!(
        "{signal}: no more work is taken, calls in flight are finished (again to end at once)"
    );
    tokio::select! {
        () = host.stop() => {}
        _ = signals.next() => eprintln!("ended at once"),
    }
    if let Some(otlp) = otlp {
        // It waits for the network, briefly.
        drop(tokio::task::spawn_blocking(move || otlp.shutdown(LAST_SPANS)).await);
    }
    Ok(())
}

/// Exit codes for what goes wrong at the start.
pub(super) fn explain(error: LocalError) -> anyhow::Error {
    let code = match &error {
        LocalError::Data(DataError::InUse { .. }) | LocalError::Listen { .. } => Code::Unavailable,
        LocalError::Binding(_) => Code::Denied,
        LocalError::Offer(_) | LocalError::Keys(_) | LocalError::Manifests { .. } => Code::Invalid,
        _ => Code::Failed,
    };
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |e| e.source());
    let mut text = String::new();
    for cause in causes.map(ToString::to_string) {
        if !text.contains(&cause) {
            text += if text.is_empty() { "" } else { ": " };
            text += &cause;
        }
    }
    fail(code, text)
}

/// Options and configuration file together.
pub(super) fn options(args: ServeArgs) -> Result<Options> {
    let config = match &args.config {
        Some(path) => Config::read(path).map_err(|error| fail(Code::Invalid, chain(&error)))?,
        None => Config::default(),
    };
    let both =
        |options: Vec<String>, file: Vec<String>| if options.is_empty() { file } else { options };
    let invalid = |error: &dyn std::error::Error| fail(Code::Invalid, chain(error));
    let mut folders = Vec::new();
    for text in both(args.allow_folders, config.allow_folders) {
        folders.push(
            text.parse().map_err(|error| {
                invalid(&error as &ringfence_host::directory::offers::OfferError)
            })?,
        );
    }
    let mut secrets = Vec::new();
    for text in both(args.allow_secrets, config.allow_secrets) {
        secrets.push(
            text.parse()
                .map_err(|error| invalid(&error as &ringfence_host::secret::AllowedSecretError))?,
        );
    }
    let insecure = both(args.insecure_registries, config.insecure_registries);
    let private = both(args.private_registries, config.private_registries);
    let registries = RegistrySettings {
        plain_http: insecure.iter().cloned().collect(),
        private: insecure.into_iter().chain(private).collect(),
        ..RegistrySettings::default()
    };
    let authorities = match args.ca_file.or(config.ca_file) {
        Some(file) => Authorities::read(&file).map_err(|error| invalid(&error))?,
        None => Authorities::default(),
    };
    let sandboxes = args.sandboxes.or(config.sandboxes).unwrap_or(SANDBOXES);
    if !(1..=4096).contains(&sandboxes) {
        let message = format!("sandboxes: {sandboxes} is not between 1 and 4096");
        return Err(fail(Code::Invalid, message));
    }
    Ok(Options {
        data_dir: args
            .data_dir
            .or(config.data_dir)
            .unwrap_or_else(default_data_dir),
        listen: args
            .listen
            .or(config.listen)
            .unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT))),
        manifests: args.manifests.or(config.manifests),
        folders,
        secrets,
        api_keys: args.api_keys.or(config.api_keys),
        registries,
        authorities,
        sandboxes,
        launcher: Launcher::this_program(COMPILE_WORKER)
            .context("the system does not say which program is running")?,
        gateway: Settings::default(),
    })
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// Log lines to standard error; spans to OTLP where the environment names a collector.
pub(super) fn logging(format: LogFormat, authorities: &Authorities) -> Result<Option<Otlp>> {
    let filter =
        EnvFilter::try_from_env("RINGFENCE_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT_LOG));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    let otlp = Otlp::from_env(authorities).context("OTLP export cannot be set up")?;
    let spans = otlp.as_ref().map(Otlp::layer);
    tracing_subscriber::registry()
        .with(spans)
        .with(lines.with_filter(filter))
        .init();
    Ok(otlp)
}

/// What to do with the host that runs now. The address goes to standard output, alone on its line, so
/// that a script can read it.
fn banner(host: &LocalHost, data_dir: &std::path::Path, with_keys: bool) {
    let base = format!("http://{}", host.address());
    let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let strong = |text: &str| Style::Strong.paint(text, color);
    let mut out = std::io::stdout();
    drop(writeln!(out, "{base}").and_then(|()| out.flush()));
    let mut text = format!(
        "\n{} serves on {}\n\n  state     {}\n  MCP       {base}/default/mcp\n  OpenAI    {base}/default/v1\n  \
         REST      {base}/api/v1 (openapi.json)\n  metrics   {base}/metrics\n",
        strong("ringfence"),
        strong(&base),
        data_dir.display(),
    );
    text += if with_keys {
        "  access    with an API key only\n"
    } else {
        "  access    everybody on this machine\n"
    };
    if let Some(synced) = &host.manifests {
        text += &manifests(synced, color);
    }
    let headers = if with_keys {
        ", \"headers\": {\"Authorization\": \"Bearer YOUR-KEY\"}"
    } else {
        ""
    };
    text += &format!(
        "\nFor MCP clients:\n\n  {{\"mcpServers\": {{\"ringfence\": {{\"type\": \"http\", \"url\": \"{base}/default/mcp\"{headers}}}}}}}\n\n\
         Next: ringfence push COMPONENT.wasm, ringfence apply -f FILE, ringfence get all\n\n"
    );
    drop(write!(std::io::stderr(), "{text}"));
}

fn manifests(synced: &Synced, color: bool) -> String {
    let mut text = format!(
        "  manifests {} changed, {} removed\n",
        synced.changed, synced.removed
    );
    for complaint in &synced.complaints {
        let line = crate::show::safe(&complaint.to_string());
        text += &format!("            {}\n", Style::Bad.paint(&line, color));
    }
    text
}

/// SIGINT and SIGTERM.
pub(super) struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
