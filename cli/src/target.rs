//! Which host or cluster a command speaks to, and how that was decided. Nothing is guessed from what
//! happens to answer: a flag decides, else the environment, else it is the host of this machine.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use ringfence_api::TenantName;
use ringfence_host::gateway::auth::DEFAULT_AUDIENCE;

use crate::exit::{Code, fail};

/// Where a host listens when it is told nothing else.
pub const DEFAULT_PORT: u16 = 7070;
/// File in the data directory that says where its host listens.
pub const ADDRESS_FILE: &str = "address";
/// Variable that names a host.
const HOST_VARIABLE: &str = "RINGFENCE_HOST";
/// Variable that names a context of the kubeconfig.
const CONTEXT_VARIABLE: &str = "RINGFENCE_CONTEXT";

/// Which host or cluster, as whom, in which tenant.
#[derive(Debug, Clone, Default, Args)]
pub struct Target {
    /// URL of a host [env: RINGFENCE_HOST] [default: the one that runs on this machine, else
    /// http://127.0.0.1:7070]
    #[arg(
        long,
        global = true,
        value_name = "URL",
        help_heading = "Host or cluster",
        conflicts_with_all = ["cluster", "context", "kubeconfig"]
    )]
    pub host: Option<String>,
    /// The cluster of the kubeconfig's current context, instead of a host
    #[arg(long, global = true, help_heading = "Host or cluster")]
    pub cluster: bool,
    /// The cluster of this context of the kubeconfig [env: RINGFENCE_CONTEXT]
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        help_heading = "Host or cluster"
    )]
    pub context: Option<String>,
    /// The cluster of this kubeconfig [default: KUBECONFIG, else ~/.kube/config]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help_heading = "Host or cluster"
    )]
    pub kubeconfig: Option<PathBuf>,
    /// Tenant; on a cluster, the namespace [default: default, or the context's namespace]
    #[arg(
        long,
        short = 't',
        visible_alias = "namespace",
        visible_short_alias = 'n',
        global = true,
        env = "RINGFENCE_TENANT",
        value_name = "NAME",
        help_heading = "Host or cluster"
    )]
    pub tenant: Option<TenantName>,
    /// API key of the host, or a token that is made for it [default on a cluster: the kubeconfig's token
    /// where it is]
    #[arg(
        long,
        global = true,
        env = "RINGFENCE_API_KEY",
        hide_env_values = true,
        value_name = "KEY",
        help_heading = "Host or cluster"
    )]
    pub api_key: Option<String>,
    /// Service account of the tenant as which hosts of a cluster are called; a short-lived token is made
    #[arg(
        long,
        global = true,
        env = "RINGFENCE_SERVICE_ACCOUNT",
        value_name = "NAME",
        help_heading = "Host or cluster"
    )]
    pub service_account: Option<String>,
    /// Audience of the tokens that hosts of a cluster take; another token is never sent to them
    #[arg(
        long,
        global = true,
        env = "RINGFENCE_AUDIENCE",
        value_name = "AUDIENCE",
        default_value = DEFAULT_AUDIENCE,
        help_heading = "Host or cluster"
    )]
    pub audience: String,
    /// Namespace of the operator and the hosts of a cluster
    #[arg(
        long,
        global = true,
        env = "RINGFENCE_NAMESPACE",
        value_name = "NAME",
        default_value = TenantName::SYSTEM,
        help_heading = "Host or cluster"
    )]
    pub system_namespace: String,
}

/// What a command speaks to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chosen {
    /// A host.
    Host {
        /// Its URL.
        url: String,
        /// How it was chosen.
        by: &'static str,
    },
    /// A cluster.
    Cluster {
        /// The context; the current one where none.
        context: Option<String>,
        /// The kubeconfig; the usual one where none.
        kubeconfig: Option<PathBuf>,
        /// How it was chosen.
        by: &'static str,
    },
}

impl Target {
    /// Decides. `plugin` says whether kubectl runs this command.
    ///
    /// # Errors
    /// The environment names both a host and a cluster.
    pub fn choose(&self, plugin: bool) -> Result<Chosen> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        self.choose_in(variable, plugin, &default_data_dir())
    }

    fn choose_in(
        &self,
        variable: impl Fn(&str) -> Option<String>,
        plugin: bool,
        data_dir: &Path,
    ) -> Result<Chosen> {
        if let Some(url) = &self.host {
            let url = url.clone();
            return Ok(Chosen::Host { url, by: "--host" });
        }
        let cluster = |context: Option<String>, by| Chosen::Cluster {
            context,
            kubeconfig: self.kubeconfig.clone(),
            by,
        };
        if let Some(context) = &self.context {
            return Ok(cluster(Some(context.clone()), "--context"));
        }
        if self.kubeconfig.is_some() {
            return Ok(cluster(None, "--kubeconfig"));
        }
        if self.cluster {
            return Ok(cluster(None, "--cluster"));
        }
        if plugin {
            // What kubectl itself would speak to, whatever is set for the command of its own.
            return Ok(cluster(None, "kubectl"));
        }
        match (variable(HOST_VARIABLE), variable(CONTEXT_VARIABLE)) {
            (Some(_), Some(_)) => {
                let message = format!(
                    "{HOST_VARIABLE} names a host and {CONTEXT_VARIABLE} a cluster: unset one of \
                     them, or give --host or --context"
                );
                Err(fail(Code::Usage, message))
            }
            (Some(url), None) => Ok(Chosen::Host {
                url,
                by: HOST_VARIABLE,
            }),
            (None, Some(context)) => Ok(cluster(Some(context), CONTEXT_VARIABLE)),
            (None, None) => Ok(match local_address(data_dir) {
                Some(url) => Chosen::Host {
                    url,
                    by: "the address in its data directory",
                },
                None => Chosen::Host {
                    url: format!("http://127.0.0.1:{DEFAULT_PORT}"),
                    by: "default",
                },
            }),
        }
    }
}

/// The data directory of a host that is told nothing else.
pub fn default_data_dir() -> PathBuf {
    let folder = |name: &str| {
        std::env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    folder("RINGFENCE_DATA_DIR")
        .or_else(|| folder("XDG_DATA_HOME").map(|home| home.join("ringfence")))
        .or_else(|| folder("HOME").map(|home| home.join(".local/share/ringfence")))
        .unwrap_or_else(|| PathBuf::from(".ringfence"))
}

/// Where the host that uses a data directory listens, if one does.
fn local_address(data_dir: &Path) -> Option<String> {
    let text = std::fs::read_to_string(data_dir.join(ADDRESS_FILE)).ok()?;
    let text = text.trim();
    url::Url::parse(text).ok().map(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(target: &Target, environment: &[(&str, &str)], plugin: bool) -> Result<Chosen> {
        let variable = |name: &str| {
            let found = environment.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        target.choose_in(variable, plugin, Path::new("/nowhere"))
    }

    fn by(target: &Target, environment: &[(&str, &str)], plugin: bool) -> (&'static str, bool) {
        match choose(target, environment, plugin).unwrap() {
            Chosen::Host { by, .. } => (by, false),
            Chosen::Cluster { by, .. } => (by, true),
        }
    }

    #[test]
    fn flags_win_over_the_environment_and_a_kubeconfig_alone_changes_nothing() {
        let none = Target::default();
        let host = Target {
            host: Some("http://h".to_owned()),
            ..Target::default()
        };
        let context = Target {
            context: Some("c".to_owned()),
            ..Target::default()
        };
        let both = [(HOST_VARIABLE, "http://e"), (CONTEXT_VARIABLE, "e")];
        assert_eq!(
            by(&none, &[("KUBECONFIG", "/k")], false),
            ("default", false)
        );
        assert_eq!(by(&host, &both, true), ("--host", false));
        assert_eq!(by(&context, &both, false), ("--context", true));
        assert_eq!(by(&none, &both[..1], false), (HOST_VARIABLE, false));
        assert_eq!(by(&none, &both[1..], false), (CONTEXT_VARIABLE, true));
        assert_eq!(by(&none, &both, true), ("kubectl", true));
        let said = choose(&none, &both, false).unwrap_err().to_string();
        assert!(said.contains("unset one of them"), "{said}");
    }

    #[test]
    fn the_address_file_is_the_host_of_this_machine() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(ADDRESS_FILE), "http://127.0.0.1:9\n").unwrap();
        let chosen = Target::default().choose_in(|_| None, false, folder.path());
        let Chosen::Host { url, .. } = chosen.unwrap() else {
            unreachable!("nothing names a cluster")
        };
        assert_eq!(url, "http://127.0.0.1:9");
    }
}
