//! Which interfaces the host knows: what it serves, what it calls, and what serving one may let out.

use super::Kind;

/// Greatest `x` of WASI 0.2.x that the linker has.
const WASI_PATCH: u64 = 12;

/// Interfaces of WASI 0.2 that are linked, granted or not.
const WASI: &[(&str, &[&str])] = &[
    (
        "cli",
        &[
            "environment",
            "exit",
            "stderr",
            "stdin",
            "stdout",
            "terminal-input",
            "terminal-output",
            "terminal-stderr",
            "terminal-stdin",
            "terminal-stdout",
        ],
    ),
    ("clocks", &["monotonic-clock", "wall-clock"]),
    ("filesystem", &["preopens", "types"]),
    ("http", &["outgoing-handler", "types"]),
    ("io", &["error", "poll", "streams"]),
    ("random", &["insecure", "insecure-seed", "random"]),
    (
        "sockets",
        &[
            "instance-network",
            "ip-name-lookup",
            "network",
            "tcp",
            "tcp-create-socket",
            "udp",
            "udp-create-socket",
        ],
    ),
];

/// Interfaces of `ringfence:agent@0.1` that are linked.
const AGENT: &[&str] = &[
    "agents", "context", "models", "output", "session", "tools", "types",
];

/// `ns:pkg/iface@1.2.3`, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Id<'a> {
    namespace: &'a str,
    package: &'a str,
    interface: &'a str,
    /// Major, minor, patch; none where there is no version or it is a pre-release.
    version: Option<(u64, u64, u64)>,
}

impl<'a> Id<'a> {
    pub(super) fn parse(name: &'a str) -> Option<Self> {
        let (path, version) = match name.split_once('@') {
            Some((path, version)) => (path, Some(version)),
            None => (name, None),
        };
        let (package, interface) = path.split_once('/')?;
        let (namespace, package) = package.split_once(':')?;
        Some(Self {
            namespace,
            package,
            interface,
            version: version.and_then(release),
        })
    }

    /// WASI 0.3, its candidates included.
    pub(super) fn is_wasi3(name: &str) -> bool {
        name.starts_with("wasi:")
            && name
                .split_once('@')
                .is_some_and(|(_, v)| v.starts_with("0.3."))
    }

    fn is_wasi2(&self) -> bool {
        self.namespace == "wasi"
            && matches!(self.version, Some((0, 2, patch)) if patch <= WASI_PATCH)
    }

    fn is_agent(&self) -> bool {
        let contract = self.namespace == "ringfence" && self.package == "agent";
        contract && matches!(self.version, Some((0, 1, _)))
    }

    /// Whether the host provides this interface to a component.
    pub(super) fn is_served(&self) -> bool {
        let known = WASI.iter().find(|(package, _)| *package == self.package);
        let wasi = known.is_some_and(|(_, interfaces)| interfaces.contains(&self.interface));
        (self.is_wasi2() && wasi) || (self.is_agent() && AGENT.contains(&self.interface))
    }

    /// What a component that exports this interface is.
    pub(super) fn kind(&self) -> Option<Kind> {
        match (self.package, self.interface) {
            ("cli", "run") if self.is_wasi2() => Some(Kind::Command),
            ("http", "incoming-handler") if self.is_wasi2() => Some(Kind::Http),
            ("agent", "handler") if self.is_agent() => Some(Kind::Agent),
            _ => None,
        }
    }
}

fn release(version: &str) -> Option<(u64, u64, u64)> {
    let mut numbers = version.split('.').map(|part| part.parse::<u64>().ok());
    let version = (numbers.next()??, numbers.next()??, numbers.next()??);
    numbers.next().is_none().then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(name: &str) -> bool {
        Id::parse(name).is_some_and(|id| id.is_served())
    }

    #[test]
    fn released_wasi_0_2_up_to_the_linkers_version_is_served() {
        for good in [
            "wasi:io/streams@0.2.0",
            "wasi:cli/terminal-stdout@0.2.12",
            "wasi:sockets/tcp@0.2.3",
            "wasi:http/outgoing-handler@0.2.8",
            "ringfence:agent/tools@0.1.0",
            "ringfence:agent/types@0.1.7",
        ] {
            assert!(served(good), "{good}");
        }
        for bad in [
            "wasi:io/streams@0.2.13",
            "wasi:io/streams@0.2.0-rc-2023-11-10",
            "wasi:io/streams@0.3.0",
            "wasi:io/streams",
            "wasi:keyvalue/store@0.2.0",
            "wasi:http/incoming-handler@0.2.0",
            "ringfence:agent/handler@0.1.0",
            "ringfence:agent/tools@0.2.0",
            "wasmcloud:messaging/consumer@0.2.0",
            "plain",
        ] {
            assert!(!served(bad), "{bad}");
        }
    }

    #[test]
    fn exports_tell_the_kind() {
        let kind = |name| Id::parse(name).and_then(|id| id.kind());
        assert_eq!(kind("wasi:cli/run@0.2.6"), Some(Kind::Command));
        assert_eq!(kind("wasi:http/incoming-handler@0.2.0"), Some(Kind::Http));
        assert_eq!(kind("ringfence:agent/handler@0.1.0"), Some(Kind::Agent));
        assert_eq!(kind("wasi:cli/run@0.3.0"), None);
        assert_eq!(kind("other:cli/run@0.2.0"), None);
    }

    #[test]
    fn candidates_of_wasi_0_3_are_told_apart() {
        assert!(Id::is_wasi3("wasi:cli/run@0.3.0-rc-2026-03-15"));
        assert!(Id::is_wasi3("wasi:http/handler@0.3.0"));
        assert!(!Id::is_wasi3("wasi:cli/run@0.2.3"));
        assert!(!Id::is_wasi3("other:cli/run@0.3.0"));
    }
}
