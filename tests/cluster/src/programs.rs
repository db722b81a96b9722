//! Where the binaries are that `tests/cluster/setup` builds.

use std::path::{Path, PathBuf};

use crate::Error;

/// The version of Kubernetes, as `build/kubernetes/go.mod` has it.
pub const VERSION: &str = version(include_str!("../build/kubernetes/go.mod"));

/// The folder of the binaries.
#[derive(Debug, Clone)]
pub(crate) struct Programs(PathBuf);

impl Programs {
    /// The folder, if it has what a control plane needs.
    pub(crate) fn of_control_plane() -> Result<Self, Error> {
        const NEEDED: [&str; 5] = [
            "etcd",
            "kube-apiserver",
            "kube-controller-manager",
            "kubectl",
            "helm",
        ];
        Self::with(&NEEDED, "control-plane")
    }

    /// The folder, if it has what a whole node needs, too.
    pub(crate) fn of_node() -> Result<Self, Error> {
        const NEEDED: [&str; 5] = [
            "kube-scheduler",
            "kubelet",
            "kube-proxy",
            "coredns",
            "pause",
        ];
        Self::of_control_plane().and(Self::with(&NEEDED, "node"))
    }

    fn with(needed: &[&'static str], target: &'static str) -> Result<Self, Error> {
        let cache = cache_folder()?;
        let folder = cache.join(format!("kubernetes-{VERSION}/bin"));
        match needed
            .iter()
            .find(|program| !folder.join(program).is_file())
        {
            Some(program) => Err(Error::NotBuilt {
                program,
                folder,
                target,
            }),
            None => Ok(Self(folder)),
        }
    }

    /// The path of one.
    pub(crate) fn path(&self, program: &str) -> PathBuf {
        self.0.join(program)
    }

    /// All of them.
    pub(crate) fn folder(&self) -> &Path {
        &self.0
    }
}

/// Where things are kept that can be made again: `RINGFENCE_CACHE`, or a folder below `HOME`.
///
/// # Errors
/// When neither variable is set.
pub fn cache_folder() -> Result<PathBuf, Error> {
    match std::env::var_os("RINGFENCE_CACHE") {
        Some(folder) => Ok(folder.into()),
        None => Ok(std::env::home_dir()
            .ok_or(Error::NoCache)?
            .join(".cache/ringfence")),
    }
}

/// What follows `k8s.io/kubernetes v` in a `go.mod`.
const fn version(go_mod: &'static str) -> &'static str {
    const MARK: &str = "\tk8s.io/kubernetes v";
    let text = go_mod.as_bytes();
    let mark = MARK.as_bytes();
    let mut at = 0;
    while at + mark.len() < text.len() {
        let mut matched = 0;
        while matched < mark.len() && text[at + matched] == mark[matched] {
            matched += 1;
        }
        if matched == mark.len() {
            let mut end = at + matched;
            while end < text.len() && text[end] != b' ' && text[end] != b'\n' {
                end += 1;
            }
            return go_mod.split_at(end).0.split_at(at + matched).1;
        }
        at += 1;
    }
    #[expect(clippy::panic, reason = "it is evaluated while this compiles")]
    {
        panic!("build/kubernetes/go.mod requires no k8s.io/kubernetes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_go_mod() {
        assert_eq!(
            version("require (\n\tk8s.io/kubernetes v1.2.3 // indirect\n)"),
            "1.2.3"
        );
        assert!(VERSION.starts_with("1."), "{VERSION}");
    }
}
