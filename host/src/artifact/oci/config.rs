//! Which registries the host talks to, and over what.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ringfence_api::AddressScope;

use super::OciError;
use crate::authorities::Authorities;
use crate::egress::classify;

/// What the operator allows. Registries are named as in an image reference, `host` or `host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrySettings {
    /// Only these, if given.
    pub only: Option<BTreeSet<String>>,
    /// Registries that are spoken to without TLS, beside those on this machine.
    pub plain_http: BTreeSet<String>,
    /// Registries that may be at a private address, this machine's too. They are spoken to over TLS, unless
    /// `plain_http` names them as well.
    pub private: BTreeSet<String>,
    /// Whether a registry on this machine may be used by whoever names it, and without TLS. To be
    /// switched off where tenants do not trust each other.
    pub loopback: bool,
    /// Certificate authorities that are trusted beside the system's.
    pub authorities: Authorities,
}

impl Default for RegistrySettings {
    fn default() -> Self {
        Self {
            only: None,
            plain_http: BTreeSet::new(),
            private: BTreeSet::new(),
            loopback: true,
            authorities: Authorities::default(),
        }
    }
}

impl RegistrySettings {
    /// For somebody who may go wherever this machine can, to one registry: over plain HTTP if it is
    /// `insecure`, or on this machine and no authority is named for it.
    #[must_use]
    pub fn of_one(registry: &str, insecure: bool, authorities: Authorities) -> Self {
        let here = is_loopback_name(host_of(registry)) && authorities == Authorities::default();
        let plain = (insecure || here).then(|| registry.to_owned());
        Self {
            plain_http: plain.into_iter().collect(),
            private: BTreeSet::from([registry.to_owned()]),
            authorities,
            ..Self::default()
        }
    }

    pub(super) fn scheme(&self, registry: &str) -> &'static str {
        let here = self.loopback
            && is_loopback_name(host_of(registry))
            && !self.private.contains(registry);
        if here || self.plain_http.contains(registry) {
            "http"
        } else {
            "https"
        }
    }

    pub(super) fn allows(&self, registry: &str) -> Result<(), OciError> {
        match &self.only {
            Some(only) if !only.contains(registry) => Err(OciError::Forbidden(format!(
                "registry {registry} is not one of those that this host may use"
            ))),
            _ => Ok(()),
        }
    }

    /// Whether the host may dial this address for `host`, which is `registry` itself or where it sent
    /// us: to other hosts of this machine or network only if it is of the same kind itself.
    pub(super) fn may_dial(&self, registry: &str, host: &str, ip: IpAddr) -> bool {
        let both = |is: &dyn Fn(&str) -> bool| is(host) && is(host_of(registry));
        let local = ip.to_canonical().is_loopback() && self.loopback && both(&is_loopback_name);
        let scope = if local || both(&|host| self.named_private(host)) {
            AddressScope::Private
        } else {
            AddressScope::Public
        };
        classify(ip).allowed_in(scope)
    }

    fn named_private(&self, host: &str) -> bool {
        self.private
            .iter()
            .any(|registry| host_of(registry) == host)
    }
}

/// The host of `host:port`, without the brackets of an IPv6 address.
pub(super) fn host_of(registry: &str) -> &str {
    let host = match registry.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => registry,
    };
    host.trim_start_matches('[').trim_end_matches(']')
}

fn is_loopback_name(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(private: &str) -> RegistrySettings {
        RegistrySettings {
            private: BTreeSet::from([private.to_owned()]),
            ..RegistrySettings::default()
        }
    }

    #[test]
    fn only_public_addresses_are_dialled() {
        let settings = RegistrySettings::default();
        for ip in [
            "10.0.0.1",
            "192.168.1.1",
            "172.16.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "127.0.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "fe80::1",
            "fd00::1",
            "::",
            "::ffff:10.0.0.1",
            "2002:a00:1::",
            "2001::1",
            "64:ff9b::a00:1",
            "ff02::1",
        ] {
            assert!(
                !settings.may_dial("registry.example", "registry.example", ip.parse().unwrap()),
                "{ip}"
            );
        }
        for ip in ["93.184.215.14", "2606:2800:21f::1"] {
            assert!(
                settings.may_dial("registry.example", "registry.example", ip.parse().unwrap()),
                "{ip}"
            );
        }
    }

    #[test]
    fn private_and_local_registries_have_to_be_named() {
        let private = "10.0.0.1".parse().unwrap();
        assert!(named("registry.example:5000").may_dial(
            "registry.example",
            "registry.example",
            private
        ));
        assert!(!named("registry.example:5000").may_dial(
            "other.example",
            "other.example",
            private
        ));
        let local = "127.0.0.1".parse().unwrap();
        let settings = RegistrySettings::default();
        assert!(settings.may_dial("127.0.0.1:5000", "localhost", local));
        // A public name that resolves to this machine is an attack, not a registry.
        assert!(!settings.may_dial("registry.example", "registry.example", local));
        assert!(!settings.may_dial("registry.example", "localhost", local));
        assert!(!named("in.example").may_dial("registry.example", "in.example", private));
        // What is never dialled for guests is not dialled for registries either.
        for never in ["169.254.169.254", "fd00:ec2::254", "224.0.0.1"] {
            let settings = named("in.example");
            assert!(!settings.may_dial("in.example", "in.example", never.parse().unwrap()));
        }
        let strict = RegistrySettings {
            loopback: false,
            ..settings
        };
        assert!(!strict.may_dial("127.0.0.1:5000", "localhost", local));
    }

    #[test]
    fn plain_http_is_for_this_machine_and_for_named_registries() {
        let mut settings = RegistrySettings::default();
        for (registry, scheme) in [
            ("localhost:5000", "http"),
            ("127.0.0.1:5000", "http"),
            ("[::1]:5000", "http"),
            ("localhost.example:5000", "https"),
            ("registry.example", "https"),
        ] {
            assert_eq!(settings.scheme(registry), scheme, "{registry}");
        }
        settings.plain_http.insert("registry.example:80".into());
        assert_eq!(settings.scheme("registry.example:80"), "http");
        assert_eq!(settings.scheme("registry.example"), "https");
        settings.private.insert("localhost:5001".into());
        assert_eq!(settings.scheme("localhost:5001"), "https");
        settings.loopback = false;
        assert_eq!(settings.scheme("localhost:5000"), "https");
        let one = |registry: &str, insecure| {
            let settings = RegistrySettings::of_one(registry, insecure, Authorities::default());
            assert!(settings.may_dial(registry, host_of(registry), "127.0.0.1".parse().unwrap()));
            settings.scheme(registry)
        };
        assert_eq!(one("localhost:5000", false), "http");
        assert_eq!(one("registry.example", false), "https");
        assert_eq!(one("registry.example", true), "http");
    }

    #[test]
    fn a_list_of_registries_excludes_all_others() {
        let only = RegistrySettings {
            only: Some(BTreeSet::from(["ghcr.io".to_owned()])),
            ..RegistrySettings::default()
        };
        assert!(only.allows("ghcr.io").is_ok());
        assert!(matches!(
            only.allows("ghcr.io:8443"),
            Err(OciError::Forbidden(_))
        ));
    }
}
