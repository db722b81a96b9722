//! Intersections of HTTP grants with the bounds of ceilings.
//!
//! A grant is a set of requests; so is a bound. The intersection of two such sets is again one that a
//! grant can describe, or empty, because every part of them (scheme, host, port, methods, path,
//! addresses) is a set whose intersection is of the same form.

use std::net::IpAddr;

use crate::{HttpBound, HttpGrant, HttpScheme};

/// The requests that both the grant and the bound allow; none where there are no such requests. The
/// result keeps the headers of the grant.
pub(super) fn intersect(grant: &HttpGrant, bound: &HttpBound) -> Option<HttpGrant> {
    if bound.scheme.is_some_and(|scheme| scheme != grant.scheme) {
        return None;
    }
    if let Some(ports) = &bound.ports
        && !ports.contains(&port(grant))
    {
        return None;
    }
    Some(HttpGrant {
        host: narrower_host(&grant.host, &bound.host)?.to_owned(),
        methods: common_methods(grant.methods.as_deref(), bound.methods.as_deref())?,
        path: narrower_path(grant.path.as_deref(), bound.path.as_deref())?,
        addresses: grant.addresses.min(bound.addresses),
        ..grant.clone()
    })
}

/// Whether `wide` allows every request that `narrow` does. Headers are not compared.
pub(super) fn covers(wide: &HttpGrant, narrow: &HttpGrant) -> bool {
    let bound = HttpBound {
        scheme: Some(wide.scheme),
        host: wide.host.clone(),
        ports: Some(vec![port(wide)]),
        methods: Some(methods(wide).map(ToOwned::to_owned).collect()),
        path: wide.path.clone(),
        addresses: wide.addresses,
    };
    intersect(narrow, &bound).is_some_and(|both| {
        both.host == narrow.host
            && both.addresses == narrow.addresses
            && methods(&both).eq(methods(narrow))
            && both.path == narrow.path
    })
}

fn port(grant: &HttpGrant) -> u16 {
    grant.port.unwrap_or(match grant.scheme {
        HttpScheme::Http => 80,
        HttpScheme::Https => 443,
    })
}

/// Methods of a grant that names none.
const DEFAULT_METHODS: [&str; 2] = ["GET", "HEAD"];

fn methods(grant: &HttpGrant) -> impl Iterator<Item = &str> {
    let named = grant.methods.as_deref();
    let default = named.is_none().then_some(DEFAULT_METHODS);
    named
        .into_iter()
        .flatten()
        .map(String::as_str)
        .chain(default.into_iter().flatten())
}

/// The methods in both lists, as a grant writes them; none where no method is.
fn common_methods(
    granted: Option<&[String]>,
    bound: Option<&[String]>,
) -> Option<Option<Vec<String>>> {
    let Some(bound) = bound else {
        return Some(granted.map(<[_]>::to_vec));
    };
    let allowed = |method: &str| bound.iter().any(|allowed| allowed == method);
    match granted {
        None if DEFAULT_METHODS.into_iter().all(allowed) => Some(None),
        None => {
            let common = DEFAULT_METHODS.into_iter().filter(|m| allowed(m));
            non_empty(common.map(ToOwned::to_owned).collect()).map(Some)
        }
        Some(granted) => {
            let common = granted.iter().filter(|m| allowed(m));
            non_empty(common.cloned().collect()).map(Some)
        }
    }
}

fn non_empty(methods: Vec<String>) -> Option<Vec<String>> {
    (!methods.is_empty()).then_some(methods)
}

/// The narrower of two host patterns; none where no host matches both.
fn narrower_host<'a>(granted: &'a str, bound: &'a str) -> Option<&'a str> {
    if bound == "*" || same_host(granted, bound) {
        return Some(granted);
    }
    if below(granted, bound) {
        return Some(granted);
    }
    below(bound, granted).then_some(bound)
}

fn same_host(a: &str, b: &str) -> bool {
    a == b
        || matches!(
            (a.parse::<IpAddr>(), b.parse::<IpAddr>()),
            (Ok(a), Ok(b)) if a.to_canonical() == b.to_canonical()
        )
}

/// Whether every host that `pattern` matches lies below `wildcard`.
fn below(pattern: &str, wildcard: &str) -> bool {
    // `*.example.com` leaves `.example.com`, which a name below it ends with, and so does a wildcard
    // below it. An address never does: its last part is a number, that of a domain is not.
    wildcard
        .strip_prefix('*')
        .is_some_and(|suffix| pattern.len() > suffix.len() && pattern.ends_with(suffix))
}

/// The longer of two path prefixes where one lies below the other; none where neither does.
fn narrower_path(granted: Option<&str>, bound: Option<&str>) -> Option<Option<String>> {
    let (Some(granted), Some(bound)) = (granted, bound) else {
        return Some(granted.or(bound).map(ToOwned::to_owned));
    };
    let (mut a, mut b) = (segments(granted), segments(bound));
    loop {
        match (a.next(), b.next()) {
            // The grant is the longer one, or as long.
            (_, None) => return Some(Some(granted.to_owned())),
            (None, Some(_)) => return Some(Some(bound.to_owned())),
            (Some(a), Some(b)) if a == b => {}
            _ => return None,
        }
    }
}

/// Segments of a path prefix. A slash at the end means the same as none.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    path.split('/').filter(move |_| !path.is_empty())
}
