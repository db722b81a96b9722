//! Headers of outgoing requests: what belongs to the connection is the host's alone, and what a
//! destination's grant adds is added last.

use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use ringfence_api::HeaderSpec;

use super::error::EgressError;
use crate::limits::HTTP_HEADER_BYTES;
use crate::secret::{SecretError, Secrets};

/// Headers of one request or response.
pub const MAX_HEADERS: usize = 128;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Headers that only the connection itself may set. A `host` of the sender's own would reach another
/// site behind the granted one.
const OF_THE_CONNECTION: [HeaderName; 11] = [
    HOST,
    CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HTTP2_SETTINGS,
];

/// Whether neither a guest nor a resource can set this header.
pub fn is_reserved(name: &HeaderName) -> bool {
    *name == CONTENT_LENGTH || OF_THE_CONNECTION.contains(name)
}

/// Removes what the sender may not decide, including what its `connection` header names.
pub(super) fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&OF_THE_CONNECTION) {
        headers.remove(name);
    }
}

/// Bounds the number of headers and their bytes.
pub(super) fn check_size(headers: &HeaderMap) -> Result<(), EgressError> {
    let bytes: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    if bytes > HTTP_HEADER_BYTES {
        return Err(EgressError::Limit {
            name: "http-header-bytes",
            maximum: HTTP_HEADER_BYTES as u64,
        });
    }
    if headers.len() > MAX_HEADERS {
        return Err(EgressError::Limit {
            name: "http-headers",
            maximum: MAX_HEADERS as u64,
        });
    }
    Ok(())
}

/// Adds a destination's own headers, replacing those of the sender. Secrets among them are marked as
/// sensitive.
pub(super) fn inject(
    headers: &mut HeaderMap,
    specs: &[HeaderSpec],
    secrets: &Secrets,
) -> Result<(), EgressError> {
    for spec in specs {
        let name = HeaderName::from_bytes(spec.name.as_bytes()).map_err(|_| {
            EgressError::RequestBody(format!("header {:?} has no valid name", spec.name))
        })?;
        match (&spec.value, &spec.value_from) {
            (_, Some(reference)) => {
                let secret = secrets.resolve(reference)?;
                let mut value = HeaderValue::from_str(secret.expose()).map_err(|_| {
                    SecretError::NotAHeader {
                        reference: secrets.describe(reference),
                    }
                })?;
                value.set_sensitive(true);
                headers.insert(name, value);
            }
            (Some(value), None) => {
                let value = HeaderValue::from_str(value).map_err(|_| {
                    EgressError::RequestBody(format!("header {:?} has no valid value", spec.name))
                })?;
                headers.insert(name, value);
            }
            (None, None) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::AllowedSecret;
    use ringfence_api::SecretRef;

    #[test]
    fn the_connections_own_headers_cannot_be_set() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "other.example"),
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("proxy-authorization", "x"),
            ("x-kept", "1"),
        ] {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        strip(&mut headers);
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["x-kept"]);
    }

    #[test]
    fn a_destinations_headers_win_and_are_marked_sensitive() {
        let reference = SecretRef::Env("CARGO_PKG_NAME".to_owned());
        let secrets = Secrets::new([AllowedSecret::Host(reference.clone())]);
        let spec = HeaderSpec {
            name: "Authorization".to_owned(),
            value: None,
            value_from: Some(reference),
        };
        let mut headers = HeaderMap::new();
        headers.append("authorization", HeaderValue::from_static("guest's"));
        headers.append("authorization", HeaderValue::from_static("and another"));
        inject(&mut headers, &[spec], &secrets).unwrap();
        let values: Vec<_> = headers.get_all("authorization").iter().collect();
        assert_eq!(values, ["ringfence-host"]);
        assert!(values[0].is_sensitive());
        assert!(!format!("{headers:?}").contains("ringfence-host"));
    }

    #[test]
    fn headers_are_bounded() {
        let mut headers = HeaderMap::new();
        for _ in 0..=MAX_HEADERS {
            headers.append("x", HeaderValue::from_static("1"));
        }
        assert!(check_size(&headers).is_err());
        let mut headers = HeaderMap::new();
        let big = "a".repeat(HTTP_HEADER_BYTES);
        headers.append("x", HeaderValue::from_str(&big).unwrap());
        assert!(check_size(&headers).is_err());
    }
}
