//! What the guests share: the imports of `ringfence:agent`, the export of an agent, and little helpers.

#[allow(missing_docs)]
mod generated {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "agent",
        pub_export_macro: true,
        default_bindings_module: "ringfence_test_guest_bindings",
    });
}

pub use generated::*;

use ringfence::agent::types::{Error, Message, Part, Role};
use wasip2::http::outgoing_handler;
use wasip2::http::types::{Fields, OutgoingRequest, Scheme};

/// The code of an error as the host names it, and what it is about: `denied tools`,
/// `limit-exceeded fan-out`, `timeout`, ….
pub fn code(error: &Error) -> String {
    match error {
        Error::Denied(denial) => format!("denied {}", denial.capability),
        Error::BudgetExceeded(what) => format!("budget-exceeded {what}"),
        Error::LimitExceeded(limit) => format!("limit-exceeded {}", limit.name),
        Error::Timeout => "timeout".to_owned(),
        Error::Canceled => "canceled".to_owned(),
        Error::Unavailable(why) => format!("unavailable {why}"),
        Error::NotFound(what) => format!("not-found {what}"),
        Error::Invalid(why) => format!("invalid {why}"),
        Error::Failed(why) => format!("failed {why}"),
        Error::UnknownOutcome(why) => format!("unknown-outcome {why}"),
    }
}

/// All the text of some content.
pub fn text_of(parts: &[Part]) -> String {
    parts
        .iter()
        .filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

/// A question.
pub fn user_message(text: &str) -> Message {
    Message {
        role: Role::User,
        content: vec![Part::Text(text.to_owned())],
        tool_calls: Vec::new(),
        tool_results: Vec::new(),
    }
}

/// Requests `http://AUTHORITY/PATH`: status and body. An authority that begins with `https://` is asked
/// over TLS.
///
/// # Errors
/// What the host said, in the debug form of `wasi:http`'s error code.
pub fn http_get(
    authority: &str,
    path: &str,
    headers: &[(String, String)],
) -> Result<(u16, String), String> {
    let fields = Fields::new();
    for (name, value) in headers {
        fields
            .append(name, value.as_bytes())
            .map_err(|error| format!("header {name}: {error:?}"))?;
    }
    let (scheme, authority) = match authority.strip_prefix("https://") {
        Some(authority) => (Scheme::Https, authority),
        None => (Scheme::Http, authority),
    };
    let request = OutgoingRequest::new(fields);
    let refused = |()| "the request is malformed".to_owned();
    request.set_scheme(Some(&scheme)).map_err(refused)?;
    request.set_authority(Some(authority)).map_err(refused)?;
    request.set_path_with_query(Some(path)).map_err(refused)?;
    let future = outgoing_handler::handle(request, None).map_err(|e| format!("{e:?}"))?;
    future.subscribe().block();
    let response = match future.get() {
        Some(Ok(response)) => response.map_err(|e| format!("{e:?}"))?,
        _ => return Err("the response was not there after waiting for it".to_owned()),
    };
    let status = response.status();
    let body = response.consume().map_err(refused)?;
    let stream = body.stream().map_err(refused)?;
    let mut bytes = Vec::new();
    while let Ok(mut piece) = stream.blocking_read(64 << 10) {
        bytes.append(&mut piece);
    }
    Ok((status, String::from_utf8_lossy(&bytes).into_owned()))
}
