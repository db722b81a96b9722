//! Tools that serve HTTP (`wasi:http/incoming-handler`), at `/{tenant}/tools/{tool}/http/…`.
//!
//! The tool sees the path without that prefix, and bodies stream both ways. Headers that belong to one
//! connection go no further, nor does the key that let the caller in.

use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONNECTION, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::BodyExt as _;
use ringfence_api::Name;
use wasmtime_wasi_http::Error;

use super::auth::{API_KEY_HEADER, Credential, Permission};
use super::respond::Problem;
use super::shared::{InFlight, Shared};
use crate::mediation::Request as CallRequest;

/// Headers of one connection (RFC 9110, 7.6.1), beside those that `Connection` names.
const HOP_BY_HOP: [HeaderName; 7] = [
    CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Hands a request to a tool. `rest` is the path that the tool sees.
pub(super) async fn serve(
    shared: &Shared,
    tenant: &str,
    tool: &str,
    rest: &str,
    request: Request<Body>,
    from: IpAddr,
) -> Response {
    let visitor = match shared.visit(tenant, request.headers(), from).await {
        Ok(visitor) => visitor,
        Err(problem) => return problem.into_response(),
    };
    let Ok(tool) = tool.parse::<Name>() else {
        return Problem::not_found(format!("no tool {tool:?}")).into_response();
    };
    let permit = match visitor.permit(Permission::call_tool(&tool)).await {
        Ok(permit) => permit,
        Err(problem) => return problem.into_response(),
    };
    let Some(uri) = inner_uri(rest, request.uri(), request.headers()) else {
        let message = "the path is not valid";
        return Problem::new(StatusCode::BAD_REQUEST, "bad-path", message).into_response();
    };
    let (mut parts, body) = request.into_parts();
    parts.uri = uri;
    strip_hop_by_hop(&mut parts.headers);
    match visitor.credential {
        Credential::None => {}
        Credential::Bearer => drop(parts.headers.remove(AUTHORIZATION)),
        Credential::ApiKey => drop(parts.headers.remove(API_KEY_HEADER)),
    }
    let body = body.map_err(|_| Error::HttpProtocolError).boxed_unsync();
    let request = Request::from_parts(parts, body);
    let (context, in_flight) = shared.begin_traced(permit, request.headers());
    let answer = shared
        .host
        .call(context, CallRequest::Incoming { tool, request })
        .await;
    match answer.and_then(crate::mediation::Reply::into_http) {
        Ok(response) => {
            let (mut parts, body) = response.into_parts();
            strip_hop_by_hop(&mut parts.headers);
            Response::from_parts(
                parts,
                Body::new(Held {
                    body,
                    _in_flight: in_flight,
                }),
            )
        }
        Err(error) => Problem::from(error).into_response(),
    }
}

/// The URI that the tool sees: its own path, on the authority that the client named.
fn inner_uri(rest: &str, outer: &Uri, headers: &HeaderMap) -> Option<Uri> {
    let path = if rest.is_empty() { "/" } else { rest };
    let target = match outer.query() {
        None => PathAndQuery::try_from(path).ok()?,
        Some(query) => {
            PathAndQuery::from_maybe_shared(Bytes::from(format!("{path}?{query}"))).ok()?
        }
    };
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = Some(target);
    parts.scheme = Some(http::uri::Scheme::HTTP);
    parts.authority = Some(match outer.authority() {
        Some(authority) => authority.clone(),
        None => headers
            .get(http::header::HOST)?
            .as_bytes()
            .try_into()
            .ok()?,
    });
    Uri::from_parts(parts).ok()
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| name.trim().parse().ok())
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    headers.remove("keep-alive");
    headers.remove("proxy-connection");
}

/// A tool's body, with the call that is in flight until it ends.
struct Held {
    body: crate::body::Body,
    _in_flight: InFlight,
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tool_sees_its_own_path() {
        let outer: Uri = "/acme/tools/web/http/a%20b?x=1&y".parse().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(http::header::HOST, "127.0.0.1:8080".parse().unwrap());
        let inner = inner_uri("/a%20b", &outer, &headers).unwrap();
        assert_eq!(inner, "http://127.0.0.1:8080/a%20b?x=1&y");
        let root = inner_uri("", &"/acme/tools/web/http".parse().unwrap(), &headers).unwrap();
        assert_eq!(root.path(), "/");
    }

    #[test]
    fn headers_of_the_connection_stay_behind() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, X-Private"),
            ("keep-alive", "timeout=5"),
            ("x-private", "1"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("x-kept", "1"),
        ] {
            headers.insert(HeaderName::from_static(name), value.parse().unwrap());
        }
        strip_hop_by_hop(&mut headers);
        assert_eq!(
            headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(),
            ["x-kept"]
        );
    }
}
