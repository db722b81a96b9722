//! Reading requests: bodies of bounded size, and failures that say what is wrong with them.

use std::str::FromStr;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::RestState;
use super::problem::Failure;
use crate::error::CallError;
use crate::limits::{Limits, name};

/// Bytes of a body of manifests.
pub(super) const MANIFESTS_BYTES: usize = 64 << 20;

/// A JSON body. Binary content is base64 in JSON, so that a third more than the limit of input has to
/// pass; what it decodes to is held to the limit of the resource that is called.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<RestState> for Json<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &RestState) -> Result<Self, Failure> {
        let most = usize::try_from(Limits::MAX.input_bytes).unwrap_or(usize::MAX) / 2 * 3;
        let bytes = body(request.into_body(), most).await?;
        json(&bytes).map(Json).map_err(|text| {
            CallError::Invalid(format!("the body is not what was expected: {text}")).into()
        })
    }
}

/// One JSON document, with nothing behind it; the error says where it is wrong.
fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        match error.path().to_string().as_str() {
            "." => error.inner().to_string(),
            path => format!("{path}: {}", error.inner()),
        }
    })?;
    reader.end().map_err(|error| error.to_string())?;
    Ok(value)
}

/// A whole body of at most `most` bytes.
pub(super) async fn body(body: Body, most: usize) -> Result<bytes::Bytes, Failure> {
    to_bytes(body, most).await.map_err(|error| {
        // The length limit is the only cause that the caller can do something about.
        let too_long = std::error::Error::source(&error)
            .is_some_and(|cause| cause.is::<http_body_util::LengthLimitError>());
        match too_long {
            true => CallError::limit(name::INPUT_BYTES, most as u64).into(),
            false => CallError::Invalid(format!("the body cannot be read: {error}")).into(),
        }
    })
}

/// The parts of the path, by name.
pub(super) struct Named(std::collections::HashMap<String, String>);

impl Named {
    /// One part, as the type that it has to be.
    pub(super) fn get<T: FromStr<Err: std::fmt::Display>>(&self, part: &str) -> Result<T, Failure> {
        let text = self.0.get(part).map(String::as_str).unwrap_or_default();
        text.parse()
            .map_err(|error| CallError::Invalid(format!("{part}: {error}")).into())
    }

    /// One part, as it is.
    pub(super) fn text(&self, part: &str) -> &str {
        self.0.get(part).map(String::as_str).unwrap_or_default()
    }
}

impl FromRequestParts<RestState> for Named {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &RestState) -> Result<Self, Failure> {
        Path::from_request_parts(parts, state)
            .await
            .map(|Path(map)| Self(map))
            .map_err(|error| CallError::Invalid(error.to_string()).into())
    }
}

/// The query, with unknown parameters refused by the type.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<RestState> for Params<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &RestState) -> Result<Self, Failure> {
        Query::from_request_parts(parts, state)
            .await
            .map(|Query(params)| Self(params))
            .map_err(|error| CallError::Invalid(error.body_text()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;

    #[test]
    fn a_body_is_one_document_without_unknown_fields() {
        let read = |text: &str| json::<Vec<Message>>(text.as_bytes()).map(|_| ());
        assert_eq!(
            read(r#"[{"role": "user", "content": [{"text": "x"}]}] "#),
            Ok(())
        );
        for (wrong, why) in [
            (r#"[] []"#, "trailing characters"),
            (
                r#"[{"role": "user", "contents": []}]"#,
                "[0].contents: unknown field",
            ),
            (
                r#"[{"role": "user", "content": [{"image": {"mimeType": "a/b", "data": "", "x": 1}}]}]"#,
                "unknown field `x`",
            ),
        ] {
            let error = read(wrong).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
