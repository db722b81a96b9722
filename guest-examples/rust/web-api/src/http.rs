//! One GET request over `wasi:http`.

use wasip2::http::outgoing_handler;
use wasip2::http::types::{Fields, OutgoingRequest, RequestOptions, Scheme};

/// Most bytes of a body.
const BODY: usize = 1 << 20;
/// Longest wait for the connection and for each piece, in nanoseconds.
const PATIENCE: u64 = 15_000_000_000;

/// Status and body.
pub fn get(url: &str) -> Result<(u16, Vec<u8>), String> {
    let (scheme, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (Scheme::Https, rest),
        (_, Some(rest)) => (Scheme::Http, rest),
        _ => return Err(format!("{url:?} is not an http or https URL")),
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };

    let headers = Fields::new();
    for (name, value) in [("accept", "application/json"), ("user-agent", "ringfence-example/0.1")] {
        headers.append(name, value.as_bytes()).map_err(|e| format!("{name}: {e:?}"))?;
    }
    let request = OutgoingRequest::new(headers);
    let malformed = |()| format!("{url:?} is not a valid URL");
    request.set_scheme(Some(&scheme)).map_err(malformed)?;
    request.set_authority(Some(authority)).map_err(malformed)?;
    request.set_path_with_query(Some(&path)).map_err(malformed)?;
    let options = RequestOptions::new();
    let _ = options.set_connect_timeout(Some(PATIENCE));
    let _ = options.set_first_byte_timeout(Some(PATIENCE));
    let _ = options.set_between_bytes_timeout(Some(PATIENCE));

    let failed = |error| format!("{url} cannot be requested: {error:?}");
    let pending = outgoing_handler::handle(request, Some(options)).map_err(failed)?;
    pending.subscribe().block();
    let response = match pending.get() {
        Some(Ok(response)) => response.map_err(failed)?,
        _ => return Err(format!("{url} gave no response")),
    };
    let status = response.status();
    let body = response.consume().map_err(|()| format!("{url} gave no body"))?;
    let stream = body.stream().map_err(|()| format!("{url} gave no body"))?;
    let mut bytes = Vec::new();
    // The stream's only regular end is its closing.
    while let Ok(mut piece) = stream.blocking_read(64 << 10) {
        bytes.append(&mut piece);
        if bytes.len() > BODY {
            return Err(format!("{url} answered with more than {BODY} bytes"));
        }
    }
    Ok((status, bytes))
}
