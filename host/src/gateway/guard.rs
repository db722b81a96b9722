//! Guards against web pages that reach for a service of the visitor's own machine. Where everybody on this
//! machine is served, the `Host` of a request has to be a name of this machine, else DNS rebinding would make a
//! page same-origin with us. Where every caller has to authenticate, a page has nothing to show, and the gateway
//! is reached under names that it cannot know: a Service's, a load balancer's, a Pod's address. An `Origin`, which
//! browsers send, has to be allowed either way. There is no CORS: no response carries a header that would let
//! another origin read it.

use std::net::SocketAddr;
use std::str::FromStr;

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderValue, Uri};

/// Why an origin cannot be allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not an origin: write http or https, '://', a name, and ':PORT' unless it is the scheme's own"
)]
pub struct OriginError(String);

/// A web origin: scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    https: bool,
    host: String,
    port: u16,
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        parse_origin(text).ok_or_else(|| OriginError(text.to_owned()))
    }
}

fn parse_origin(text: &str) -> Option<Origin> {
    let (https, rest) = match text.strip_prefix("https://") {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix("http://")?),
    };
    let (host, port) = split_port(rest)?;
    if host.is_empty() || host.contains(['/', '@', '?', '#']) {
        return None;
    }
    let port = port.unwrap_or(if https { 443 } else { 80 });
    Some(Origin {
        https,
        host: host.to_ascii_lowercase(),
        port,
    })
}

/// Splits `HOST[:PORT]`; brackets stay with an IPv6 address.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let after = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(after);
    match port.strip_prefix(':') {
        None if port.is_empty() => Some((host, None)),
        None => None,
        Some(digits) => Some((host, Some(digits.parse().ok()?))),
    }
}

/// Why a request was refused before anything looked at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// `Host` is missing, doubled or no authority.
    BadHost,
    /// `Host` is not a name of this gateway.
    UnknownHost,
    /// `Origin` is not allowed.
    ForeignOrigin,
}

/// The names and origins that are known.
#[derive(Debug)]
pub(super) struct Guard {
    /// Any name where there are none.
    hosts: Option<Vec<String>>,
    origins: Vec<Origin>,
}

impl Guard {
    /// Knows only these names, or any.
    pub(super) fn new(hosts: Option<Vec<String>>, origins: Vec<Origin>) -> Self {
        Self { hosts, origins }
    }

    /// Looks at a request's head.
    pub(super) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        let host = self.check_host(uri, headers)?;
        match headers.get(ORIGIN) {
            None => Ok(()),
            Some(origin) => self.check_origin(origin, host, headers),
        }
    }

    fn check_host<'a>(&self, uri: &'a Uri, headers: &'a HeaderMap) -> Result<&'a str, Refusal> {
        // A request line with an authority overrules the header (RFC 9112, 3.2.2), but whoever sends
        // two different ones is up to something: both have to be known.
        let from_line = uri.authority().map(http::uri::Authority::as_str);
        let mut values = headers.get_all(HOST).iter();
        let from_header = values.next();
        if values.next().is_some() {
            return Err(Refusal::BadHost);
        }
        let from_header = from_header
            .map(|value| value.to_str().map_err(|_| Refusal::BadHost))
            .transpose()?;
        let host = from_line.or(from_header).ok_or(Refusal::BadHost)?;
        for authority in [from_line, from_header].into_iter().flatten() {
            let (name, _) = split_port(authority).ok_or(Refusal::BadHost)?;
            let known = |hosts: &Vec<String>| hosts.iter().any(|h| h.eq_ignore_ascii_case(name));
            if !self.hosts.as_ref().is_none_or(known) {
                return Err(Refusal::UnknownHost);
            }
        }
        Ok(host)
    }

    fn check_origin(
        &self,
        origin: &HeaderValue,
        host: &str,
        headers: &HeaderMap,
    ) -> Result<(), Refusal> {
        let single = headers.get_all(ORIGIN).iter().nth(1).is_none();
        let origin = origin.to_str().ok().and_then(parse_origin);
        match origin {
            Some(origin)
                if single && (self.is_own(&origin, host) || self.origins.contains(&origin)) =>
            {
                Ok(())
            }
            _ => Err(Refusal::ForeignOrigin),
        }
    }

    /// Whether a page of this gateway sent the request. The host was found to be known already.
    fn is_own(&self, origin: &Origin, host: &str) -> bool {
        split_port(host).is_some_and(|(name, port)| {
            let port = port.unwrap_or(if origin.https { 443 } else { 80 });
            origin.host.eq_ignore_ascii_case(name) && origin.port == port
        })
    }
}

/// Every name of a gateway that only this machine reaches, on `address`.
pub(super) fn local_names(address: SocketAddr) -> Vec<String> {
    let mut hosts: Vec<String> = ["localhost", "127.0.0.1", "[::1]"]
        .map(str::to_owned)
        .to_vec();
    // Another loopback address than the usual one.
    hosts.push(match address.ip().to_canonical() {
        std::net::IpAddr::V4(ip) => ip.to_string(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
    });
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> Guard {
        let origins = vec!["https://app.example.com".parse().unwrap()];
        let names = local_names("127.0.0.2:8080".parse().unwrap());
        Guard::new(Some(names), origins)
    }

    fn check(pairs: &[(&str, &str)]) -> Result<(), Refusal> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(
                http::HeaderName::try_from(*name).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        guard().check(&Uri::from_static("/x"), &headers)
    }

    #[test]
    fn only_known_hosts_are_served() {
        for good in [
            "localhost",
            "LOCALHOST:1",
            "127.0.0.1:8080",
            "[::1]:9",
            "127.0.0.2:8080",
        ] {
            assert_eq!(check(&[("host", good)]), Ok(()), "{good}");
        }
        for bad in [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example:8080",
            "::1",
        ] {
            assert!(check(&[("host", bad)]).is_err(), "{bad}");
        }
        assert_eq!(check(&[]), Err(Refusal::BadHost));
        assert_eq!(
            check(&[("host", "localhost"), ("host", "localhost")]),
            Err(Refusal::BadHost)
        );
    }

    #[test]
    fn any_name_will_do_where_callers_authenticate_but_not_any_origin() {
        let guard = Guard::new(None, Vec::new());
        let check = |host: &'static str, origin: Option<&'static str>| {
            let origin = origin.map(|origin| (ORIGIN, HeaderValue::from_static(origin)));
            let host = (HOST, HeaderValue::from_static(host));
            let headers = std::iter::once(host).chain(origin).collect();
            guard.check(&Uri::from_static("/x"), &headers)
        };
        assert_eq!(
            check("ringfence-default.ringfence-system:7070", None),
            Ok(())
        );
        assert_eq!(check("10.0.0.7:7070", None), Ok(()));
        assert_eq!(check("::1", None), Err(Refusal::BadHost));
        let foreign = Some("http://evil.example");
        assert_eq!(check("tools.example", foreign), Err(Refusal::ForeignOrigin));
    }

    #[test]
    fn an_authority_in_the_request_line_is_checked_too() {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("localhost"));
        let uri = Uri::from_static("http://evil.example/x");
        assert_eq!(guard().check(&uri, &headers), Err(Refusal::UnknownHost));
    }

    #[test]
    fn pages_of_other_origins_are_refused() {
        let from = |origin| check(&[("host", "localhost:8080"), ("origin", origin)]);
        assert_eq!(from("http://localhost:8080"), Ok(()));
        assert_eq!(from("https://app.example.com"), Ok(()));
        assert_eq!(from("https://app.example.com:443"), Ok(()));
        for bad in [
            "null",
            "",
            "http://evil.example",
            "http://localhost:81",
            "http://app.example.com",
            "x",
        ] {
            assert_eq!(from(bad), Err(Refusal::ForeignOrigin), "{bad}");
        }
    }
}
