//! Validation of everything that names an address outside: HTTP grants, headers, URLs.

use std::net::{IpAddr, Ipv6Addr};

use url::{Host, Url};

use super::{KEY_BYTES, VALUE_BYTES, count, size, unique};
use crate::problem::Report;
use crate::{AddressScope, HeaderSpec, HttpGrant};

/// Headers that belong to the connection, so that nobody may set them.
const CONNECTION_HEADERS: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl HttpGrant {
    pub(super) fn validate(&self, report: &mut Report<'_>) {
        match host(&self.host) {
            Err(message) => report.field("host").say(message),
            Ok(()) => reachable(&self.host, self.addresses, &mut report.field("host")),
        }
        if self.port == Some(0) {
            report.field("port").say("0 is no port");
        }
        if let Some(granted) = &self.methods {
            methods(granted, &mut report.field("methods"));
        }
        if let Some(prefix) = &self.path {
            path(prefix, &mut report.field("path"));
        }
        headers(&self.headers, &mut report.field("headers"));
    }
}

/// Checks methods, as grants and bounds name them.
pub(super) fn methods(methods: &[String], report: &mut Report<'_>) {
    if methods.is_empty() {
        report.say("is empty: name the methods, or remove the field for GET and HEAD");
    }
    count(methods.len(), report);
    unique(methods, "", report);
    for (index, method) in methods.iter().enumerate() {
        let token = !method.is_empty() && method.bytes().all(token_byte);
        if !token || method.bytes().any(|b| b.is_ascii_lowercase()) {
            report.index(index).say(format!(
                "{method:?} is not a method: write it as GET or POST"
            ));
        } else if method == "CONNECT" {
            report.index(index).say("CONNECT cannot be granted");
        }
        size(method, 32, &mut report.index(index));
    }
}

/// Checks a path prefix.
pub(super) fn path(path: &str, report: &mut Report<'_>) {
    size(path, 2048, report);
    let segments = || path.split('/').any(|part| matches!(part, "." | ".."));
    if !path.starts_with('/') {
        report.say(format!("{path:?} is not absolute: start it with /"));
    } else if path.contains(['?', '#']) || segments() {
        report.say(format!("{path:?} is not plain: leave out ?, #, . and .."));
    } else if path.bytes().any(|b| !b.is_ascii_graphic()) {
        report.say(format!(
            "{path:?} holds characters that have to be percent-encoded"
        ));
    }
}

/// A host name, `*.` and a domain, or an IP address.
pub(super) fn host(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("is empty: name a host".to_owned());
    }
    if text == "*" {
        return Err("any host cannot be granted: name one, or use *.example.com".to_owned());
    }
    if text.contains("://") || text.contains('/') {
        return Err(format!(
            "{text:?} is more than a host: scheme, port and path have fields of their own"
        ));
    }
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<Ipv6Addr>().is_ok() {
        return match bare == text {
            true => Ok(()),
            false => Err(format!("{text:?}: write the address without brackets")),
        };
    }
    if text.contains(':') {
        return Err(format!(
            "{text:?} is more than a host: the port has a field of its own"
        ));
    }
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(format!(
            "{text:?}: write it in lower case, {:?}",
            text.to_ascii_lowercase()
        ));
    }
    let name = text.strip_prefix("*.").unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > 253 || !name.split('.').all(label) {
        return Err(format!(
            "{text:?} is not a host name: use letters, digits, '-' and '.' (international names in \
             their xn-- form)"
        ));
    }
    if text.starts_with("*.") && (!name.contains('.') || name.parse::<IpAddr>().is_ok()) {
        return Err(format!("{text:?} is too wide: name at least *.DOMAIN.TLD"));
    }
    // `1.2.3` or `0x7f.1` would be read as an address by some resolvers and as a name by others.
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|b| b.is_ascii_digit()) && name.parse::<IpAddr>().is_err() {
        return Err(format!("{text:?} is neither a host name nor an IP address"));
    }
    Ok(())
}

/// Says so when a host can only have addresses that `scope` leaves out.
fn reachable(host: &str, scope: AddressScope, report: &mut Report<'_>) {
    let address = host.parse::<IpAddr>().ok();
    if address.is_some_and(|address| match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_unspecified() || v4.is_multicast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_unspecified() || v6.is_multicast(),
    }) {
        return report.say(format!("{host} is an address that is never dialled"));
    }
    let private = match address {
        Some(IpAddr::V4(v4)) => v4.is_private() || v4.is_loopback(),
        Some(IpAddr::V6(v6)) => v6.is_loopback() || v6.is_unique_local(),
        None => host == "localhost" || host.ends_with(".localhost"),
    };
    if private && scope == AddressScope::Public {
        report.say(format!(
            "{host} is not on the public internet: set addresses: private"
        ));
    }
}

/// Checks the URL of an endpoint.
pub(super) fn endpoint(url: &Url, scope: AddressScope, report: &mut Report<'_>) {
    if !matches!(url.scheme(), "http" | "https") {
        report.say(format!(
            "{:?} is not a scheme that works here: use https or http",
            url.scheme()
        ));
        return;
    }
    if !url.username().is_empty() || url.password().is_some() {
        report.say("holds a credential: use a header or apiKey that refers to a secret");
    }
    if url.fragment().is_some() {
        report.say("holds a fragment (#…): remove it");
    }
    size(url.as_str(), 2048, report);
    match url.host() {
        Some(Host::Domain(name)) => reachable(name, scope, report),
        Some(Host::Ipv4(address)) => reachable(&address.to_string(), scope, report),
        Some(Host::Ipv6(address)) => reachable(&address.to_string(), scope, report),
        None => report.say("names no host"),
    }
}

/// Checks a list of headers.
pub(super) fn headers(headers: &[HeaderSpec], report: &mut Report<'_>) {
    count(headers.len(), report);
    unique(
        headers
            .iter()
            .map(|header| header.name.to_ascii_lowercase()),
        "name",
        report,
    );
    for (index, header) in headers.iter().enumerate() {
        let mut report = report.index(index);
        let name = &header.name;
        size(name, KEY_BYTES, &mut report.field("name"));
        if name.is_empty() || !name.bytes().all(token_byte) {
            report
                .field("name")
                .say(format!("{name:?} is not the name of a header"));
        } else if CONNECTION_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
            report.field("name").say(format!(
                "{name:?} belongs to the connection and cannot be set"
            ));
        }
        match (&header.value, &header.value_from) {
            (Some(value), None) => {
                size(value, VALUE_BYTES, &mut report.field("value"));
                if value
                    .bytes()
                    .any(|b| b != b'\t' && !(b' '..=b'~').contains(&b))
                {
                    report
                        .field("value")
                        .say("may hold visible ASCII characters only");
                }
            }
            (None, Some(secret)) => secret.validate(&mut report.field("valueFrom")),
            (Some(_), Some(_)) => report.say("give value or valueFrom, not both"),
            (None, None) => report.say("give value, or valueFrom for a secret"),
        }
    }
}

/// A byte of a `token` of RFC 9110.
fn token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_wildcards_or_addresses() {
        for good in [
            "example.com",
            "*.example.com",
            "127.0.0.1",
            "::1",
            "localhost",
            "xn--4ca.de",
        ] {
            assert_eq!(host(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "*",
            "*.com",
            "*.1.2.3.4",
            "https://a.b",
            "a.b/c",
            "a.b:80",
            "[::1]",
            "A.b",
            "a..b",
            "-a.b",
            "a b",
            "ä.de",
            "1.2.3",
            "*.*.a.b",
        ] {
            assert!(host(bad).is_err(), "{bad}");
        }
    }
}
