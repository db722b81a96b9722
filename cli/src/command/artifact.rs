//! `ringfence push`, `pull` and `inspect`.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use futures::StreamExt as _;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;
use ringfence_api::Digest;
use ringfence_host::artifact::oci::{
    Login, OciError, PushFileError, RegistrySettings, docker_config, push_file,
};
use ringfence_host::authorities::Authorities;
use serde_json::{Value, json};

use super::get::segment;
use crate::client::Client;
use crate::exit::{Code, fail};
use crate::place::Place;
use crate::show::{self, Format, Style};

/// Bytes that are handed to the connection at a time.
const CHUNK: usize = 64 << 10;

/// Credential for a registry.
#[derive(Debug, Args)]
pub struct RegistryArgs {
    /// User at the registry
    #[arg(long, env = "RINGFENCE_REGISTRY_USER", value_name = "NAME")]
    registry_user: Option<String>,
    /// Password or token at the registry [default: what ~/.docker/config.json has]
    #[arg(
        long,
        env = "RINGFENCE_REGISTRY_PASSWORD",
        hide_env_values = true,
        value_name = "TEXT"
    )]
    registry_password: Option<String>,
}

/// Arguments of `ringfence push`.
#[derive(Debug, Args)]
pub struct PushArgs {
    /// A component file, or the digest of one that the host has
    #[arg(value_name = "FILE|DIGEST")]
    component: String,
    /// Push it on to this image, REGISTRY/REPOSITORY:TAG; a cluster takes components only so
    #[arg(long, value_name = "IMAGE")]
    to: Option<String>,
    /// The registry is reached over plain HTTP (for a cluster; a host has its own setting)
    #[arg(long, requires = "to")]
    insecure_registry: bool,
    /// PEM file of certificate authorities that are trusted beside the system's (for a cluster; a host has its
    /// own setting)
    #[arg(
        long,
        requires = "to",
        conflicts_with = "insecure_registry",
        value_name = "FILE"
    )]
    ca_file: Option<PathBuf>,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// Arguments of `ringfence pull`.
#[derive(Debug, Args)]
pub struct PullArgs {
    /// The image, REGISTRY/REPOSITORY:TAG or …@sha256:…
    #[arg(value_name = "IMAGE")]
    image: String,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// Arguments of `ringfence inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// A component file, or the digest of one that the host has
    #[arg(value_name = "FILE|DIGEST")]
    component: String,
}

impl RegistryArgs {
    /// The login, as it was given or as Docker has it.
    fn login(&self, image: &str) -> Result<Option<Login>> {
        match (&self.registry_user, &self.registry_password) {
            (user, Some(password)) => Ok(Some(Login::new(
                user.clone().unwrap_or_default(),
                password.clone(),
            ))),
            (Some(_), None) => Err(fail(
                Code::Usage,
                "--registry-user needs --registry-password",
            )),
            (None, None) => from_docker(image),
        }
    }

    /// The body of a request that needs a registry.
    fn request(&self, image: &str) -> Result<Value> {
        let mut body = json!({ "image": image });
        if let Some(login) = self.login(image)? {
            let (user, password) = login.parts();
            body["password"] = password.into();
            body["username"] = user.into();
        }
        Ok(body)
    }
}

/// The credential that Docker's configuration has for the image's registry.
fn from_docker(image: &str) -> Result<Option<Login>> {
    let folder = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".docker"));
    let Some(folder) = folder.or_else(home) else {
        return Ok(None);
    };
    let Ok(text) = std::fs::read_to_string(folder.join("config.json")) else {
        return Ok(None);
    };
    match docker_config(&text, image) {
        Ok(login) => Ok(login),
        // Whoever speaks to the registry says so.
        Err(OciError::Reference { .. }) => Ok(None),
        Err(error) => {
            let file = folder.join("config.json");
            let why = format!("{}: {error}; or give --registry-password", file.display());
            Err(fail(Code::Usage, why))
        }
    }
}

/// Uploads a component to a host, and pushes it on where that is wanted. On a cluster a file goes to the
/// registry from here, and a component that a host has from there.
///
/// # Errors
/// The component is refused, or host or registry fail.
pub async fn push(place: &Place, args: PushArgs, format: Format) -> Result<()> {
    let from_here = matches!(place, Place::Cluster(_)) && args.component.parse::<Digest>().is_err();
    if !from_here && (args.insecure_registry || args.ca_file.is_some()) {
        return Err(fail(
            Code::Usage,
            "the host speaks to the registry, not this command: give --insecure-registry and --ca-file to the \
             host",
        ));
    }
    let digest = match (args.component.parse::<Digest>(), place) {
        (Ok(digest), _) => digest.to_string(),
        (Err(_), Place::Host(client)) => {
            let artifact = upload(client, &args.component).await?;
            if args.to.is_none() {
                return shown(&artifact, format);
            }
            artifact["digest"].as_str().unwrap_or_default().to_owned()
        }
        (Err(_), Place::Cluster(_)) => return push_from_here(&args, format).await,
    };
    let Some(image) = args.to else {
        return Err(fail(
            Code::Usage,
            "the host has it already: give --to IMAGE to push it on",
        ));
    };
    let bar = spinner(&format!("pushing to {image}"));
    let body = args.registry.request(&image)?;
    let answer = async {
        let client = holder(place, &digest).await?;
        let path = format!("artifacts/{digest}/push");
        client
            .json(client.in_tenant(Method::POST, &path).json(&body))
            .await
    };
    let answer = answer.await;
    bar.finish_and_clear();
    pushed(&image, &answer?, format)
}

/// The gateway of a host that has a component.
async fn holder(place: &Place, digest: &str) -> Result<Client> {
    let mut gateways = place.gateways().await?;
    if gateways.len() == 1 {
        return Ok(gateways.remove(0));
    }
    let path = format!("artifacts/{digest}");
    for gateway in gateways {
        if gateway
            .json(gateway.in_tenant(Method::GET, &path))
            .await
            .is_ok()
        {
            return Ok(gateway);
        }
    }
    let message =
        format!("no host of the cluster has {digest} for this tenant: pull its image first");
    Err(fail(Code::NotFound, message))
}

async fn push_from_here(args: &PushArgs, format: Format) -> Result<()> {
    let Some(image) = &args.to else {
        return Err(fail(
            Code::Usage,
            "a cluster takes no upload: its hosts come and go, and each would need one. Push to a \
             registry with --to REGISTRY/REPOSITORY:TAG, and name the image in the manifest",
        ));
    };
    let registry = image.split('/').next().unwrap_or_default();
    let authorities = match &args.ca_file {
        Some(file) => {
            Authorities::read(file).map_err(|error| fail(Code::Invalid, error.to_string()))?
        }
        None => Authorities::default(),
    };
    let settings = RegistrySettings::of_one(registry, args.insecure_registry, authorities);
    let login = args.registry.login(image)?;
    let bar = spinner(&format!("pushing to {image}"));
    let done = push_file(Path::new(&args.component), image, login, settings).await;
    bar.finish_and_clear();
    let (digest, manifest) = done.map_err(|error| {
        let code = match &error {
            PushFileError::Read(..) | PushFileError::Refused { .. } => Code::Invalid,
            PushFileError::Registry(_) | PushFileError::Late(_) => Code::Unavailable,
        };
        let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |e| e.source());
        let causes: Vec<String> = causes.map(ToString::to_string).collect();
        fail(code, causes.join(": "))
    })?;
    let answer = json!({"image": image, "manifest": manifest, "digest": digest});
    pushed(image, &answer, format)
}

fn pushed(image: &str, answer: &Value, format: Format) -> Result<()> {
    match format {
        Format::Table => show::print(&format!(
            "{image}\n{}",
            answer["manifest"].as_str().unwrap_or_default()
        )),
        format => show::document(answer, format),
    }
}

/// Lets the host pull an image; on a cluster, every host that is ready.
///
/// # Errors
/// The component is refused, or host or registry fail.
pub async fn pull(place: &Place, args: PullArgs, format: Format) -> Result<()> {
    let body = args.registry.request(&args.image)?;
    let gateways = place.gateways().await?;
    let bar = spinner(&format!("pulling {}", args.image));
    let asked = gateways.iter().map(async |gateway| {
        let request = gateway
            .in_tenant(Method::POST, "artifacts/pull")
            .json(&body);
        gateway.json(request).await
    });
    let answers: Result<Vec<Value>> = futures::future::join_all(asked).await.into_iter().collect();
    bar.finish_and_clear();
    shown(answers?.first().unwrap_or(&Value::Null), format)
}

/// Shows what a component exports, imports and would need. A file is looked at here; it goes nowhere.
///
/// # Errors
/// It is no component, or no host has one of this digest.
pub async fn inspect(place: &Place, args: InspectArgs, format: Format) -> Result<()> {
    if args.component.parse::<Digest>().is_ok() {
        let path = format!("artifacts/{}", segment(&args.component));
        return shown(&place.ask_any(&path).await?, format);
    }
    let bytes = super::read_input(&args.component)?;
    let inspection = ringfence_host::artifact::inspect::inspect(&bytes).map_err(|error| {
        fail(
            Code::Invalid,
            format!("{} is refused: {error}", args.component),
        )
    })?;
    let document = json!({
        "digest": Digest::of(&bytes),
        "size": bytes.len(),
        "needs": inspection.needs(),
        "inspection": inspection,
    });
    shown(&document, format)
}

async fn upload(client: &Client, path: &str) -> Result<Value> {
    let bytes = bytes_of(path)?;
    let total = bytes.len() as u64;
    let bar = bar(total);
    let progress = bar.clone();
    let chunks: Vec<bytes::Bytes> = (0..bytes.len())
        .step_by(CHUNK)
        .map(|at| bytes.slice(at..bytes.len().min(at + CHUNK)))
        .collect();
    let stream = futures::stream::iter(chunks).map(move |chunk| {
        progress.inc(chunk.len() as u64);
        if progress.position() >= total {
            progress.set_message("the host inspects and compiles it");
        }
        Ok::<_, std::io::Error>(chunk)
    });
    let request = client
        .in_tenant(Method::POST, "artifacts")
        .header("content-type", "application/wasm")
        .header("content-length", total)
        .body(reqwest::Body::wrap_stream(stream));
    let answer = client.json(request).await;
    bar.finish_and_clear();
    answer
}

fn bytes_of(path: &str) -> Result<bytes::Bytes> {
    let looks_like_digest = path.starts_with("sha256:");
    if looks_like_digest {
        return Err(fail(
            Code::Usage,
            format!("{path:?} is no digest: 64 hexadecimal digits follow"),
        ));
    }
    Ok(super::read_input(path)?.into())
}

/// What a component is, in a few lines.
fn shown(artifact: &Value, format: Format) -> Result<()> {
    if format != Format::Table {
        return show::document(artifact, format);
    }
    let color = show::color();
    let inspection = &artifact["inspection"];
    let names = |value: &Value| -> Vec<String> {
        value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(show::safe)
            .collect()
    };
    let mut out = format!("{}\n", artifact["digest"].as_str().unwrap_or_default());
    let needs = names(&artifact["needs"]);
    let mut line = |label: &str, value: String| {
        if !value.is_empty() {
            out += &format!(
                "{} {value}\n",
                Style::Faint.paint(&format!("{label:<10}"), color)
            );
        }
    };
    line("size", artifact["size"].to_string());
    line(
        "exports",
        names(&inspection["exports"]).join("\n           "),
    );
    line(
        "imports",
        names(&inspection["imports"]).join("\n           "),
    );
    let functions: Vec<String> = inspection["functions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|function| function["name"].as_str())
        .map(show::safe)
        .collect();
    line("functions", functions.join(", "));
    line(
        "would need",
        if needs.is_empty() {
            "nothing".to_owned()
        } else {
            needs.join(", ")
        },
    );
    show::print(&out)
}

/// A bar on a terminal, nothing in a pipe.
fn bar(total: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {msg}");
    ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn spinner(message: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner().with_message(message.to_owned());
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    bar
}
