//! Takes the secrets that the host added to a request out of the response: a destination that echoes
//! what it was sent must not show them to a guest.
//!
//! What is looked for are the values of the request's sensitive headers, the credential behind a scheme
//! (`Bearer …`), and both as JSON writes them. A destination that changes a secret before it sends it
//! back (encoded, cut in pieces) is not caught. It is asked not to compress, and a response that is
//! compressed all the same is refused.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap, HeaderName, HeaderValue};
use http_body::{Body as HttpBody, Frame, SizeHint};
use zeroize::Zeroizing;

use super::error::EgressError;
use crate::secret::REDACTED;

/// What stands in a body for each byte of a secret: lengths that the response declares stay true.
const MASK: u8 = b'*';

/// Finds one secret in a stream. Knuth, Morris and Pratt: each byte is looked at once, and what is
/// remembered between two pieces is how much of the secret has matched.
struct Matcher {
    secret: Zeroizing<Vec<u8>>,
    /// For each length of a match: the longest shorter one that ends the same way.
    shorter: Vec<usize>,
    matched: usize,
}

impl Matcher {
    fn new(secret: &[u8]) -> Self {
        let mut shorter = vec![0; secret.len()];
        let mut length = 0;
        for at in 1..secret.len() {
            while length > 0 && secret[at] != secret[length] {
                length = shorter[length - 1];
            }
            length += usize::from(secret[at] == secret[length]);
            shorter[at] = length;
        }
        Self {
            secret: Zeroizing::new(secret.to_vec()),
            shorter,
            matched: 0,
        }
    }

    /// Takes the next byte; whether it ends the secret.
    fn next(&mut self, byte: u8) -> bool {
        while self.matched > 0 && byte != self.secret[self.matched] {
            self.matched = self.shorter[self.matched - 1];
        }
        self.matched += usize::from(byte == self.secret[self.matched]);
        let whole = self.matched == self.secret.len();
        if whole {
            self.matched = self.shorter[self.matched - 1];
        }
        whole
    }
}

/// The secrets of one exchange.
pub(super) struct Scrubber {
    matchers: Vec<Matcher>,
    /// The end of what came in, as long as it may be the beginning of a secret.
    held: BytesMut,
}

impl Scrubber {
    /// For the sensitive headers of a request, which from here on asks for a response that is not
    /// compressed; nothing where there are none.
    pub(super) fn for_request(headers: &mut HeaderMap) -> Option<Self> {
        let mut secrets: Vec<Zeroizing<Vec<u8>>> = Vec::new();
        for value in headers.values().filter(|value| value.is_sensitive()) {
            let value = value.as_bytes();
            let credential = value.splitn(2, |byte| *byte == b' ').nth(1);
            for part in [Some(value), credential].into_iter().flatten() {
                secrets.push(Zeroizing::new(part.to_vec()));
                secrets.extend(as_json(part));
            }
        }
        secrets.retain(|secret| !secret.is_empty());
        if secrets.is_empty() {
            return None;
        }
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        Some(Self {
            matchers: secrets.iter().map(|secret| Matcher::new(secret)).collect(),
            held: BytesMut::new(),
        })
    }

    /// Whether the body of a response can be searched.
    pub(super) fn check(headers: &HeaderMap, host: &str) -> Result<(), EgressError> {
        let plain = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
        if headers.get_all(CONTENT_ENCODING).iter().all(plain) {
            return Ok(());
        }
        Err(EgressError::Protocol {
            host: host.to_owned(),
            cause:
                "the response is compressed although that was not asked for, so that it cannot be \
                    searched for the secret that was sent"
                    .to_owned(),
        })
    }

    /// Replaces values that hold a secret, and removes headers whose name does.
    pub(super) fn headers(&self, headers: &mut HeaderMap) {
        let named: Vec<HeaderName> = headers
            .keys()
            .filter(|name| self.finds(name.as_str().as_bytes(), true))
            .cloned()
            .collect();
        for name in named {
            headers.remove(name);
        }
        for value in headers.values_mut() {
            if self.finds(value.as_bytes(), false) {
                *value = HeaderValue::from_static(REDACTED);
            }
        }
    }

    /// Whether a text holds a secret; names of headers come in lower case.
    fn finds(&self, text: &[u8], lower: bool) -> bool {
        self.matchers.iter().any(|matcher| {
            let secret = &matcher.secret;
            text.windows(secret.len()).any(|window| match lower {
                true => window.eq_ignore_ascii_case(secret),
                false => window == secret.as_slice(),
            })
        })
    }

    /// Takes a piece of the body; gives what is certain by now, which may be nothing.
    fn piece(&mut self, data: Bytes) -> Bytes {
        let before = self.held.len();
        // The ends of the secrets found, and their lengths.
        let mut found: Vec<(usize, usize)> = Vec::new();
        for (at, byte) in data.iter().enumerate() {
            for matcher in &mut self.matchers {
                if matcher.next(*byte) {
                    found.push((before + at + 1, matcher.secret.len()));
                }
            }
        }
        let undecided = self.matchers.iter().map(|matcher| matcher.matched).max();
        let undecided = undecided.unwrap_or_default();
        if found.is_empty() && before == 0 && undecided == 0 {
            return data;
        }
        let mut all = std::mem::take(&mut self.held);
        all.extend_from_slice(&data);
        for (end, length) in found {
            all[end - length..end].fill(MASK);
        }
        self.held = all.split_off(all.len() - undecided);
        all.freeze()
    }

    /// What is left when the body has ended.
    fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.held).freeze()
    }
}

/// The secret as it stands within a JSON string, where that is different.
fn as_json(secret: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let text = std::str::from_utf8(secret).ok()?;
    let quoted = Zeroizing::new(serde_json::to_string(text).ok()?);
    let inner = quoted.get(1..quoted.len() - 1)?;
    (inner != text).then(|| Zeroizing::new(inner.as_bytes().to_vec()))
}

/// A response body without the secrets of its request.
pub(super) struct Scrubbed<B> {
    inner: B,
    scrubber: Scrubber,
    trailers: Option<HeaderMap>,
    ended: bool,
}

impl<B> Scrubbed<B> {
    pub(super) fn new(inner: B, scrubber: Scrubber) -> Self {
        Self {
            inner,
            scrubber,
            trailers: None,
            ended: false,
        }
    }
}

impl<B> HttpBody for Scrubbed<B>
where
    B: HttpBody<Data = Bytes, Error = EgressError> + Unpin,
{
    type Data = Bytes;
    type Error = EgressError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, EgressError>>> {
        let this = &mut *self;
        while !this.ended {
            match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        let certain = this.scrubber.piece(data);
                        if !certain.is_empty() {
                            return Poll::Ready(Some(Ok(Frame::data(certain))));
                        }
                    }
                    Err(frame) => {
                        if let Ok(mut trailers) = frame.into_trailers() {
                            this.scrubber.headers(&mut trailers);
                            this.trailers = Some(trailers);
                        }
                        this.ended = true;
                    }
                },
                Some(Err(error)) => {
                    this.ended = true;
                    this.scrubber.rest();
                    return Poll::Ready(Some(Err(error)));
                }
                None => this.ended = true,
            }
        }
        let rest = this.scrubber.rest();
        if !rest.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(rest))));
        }
        Poll::Ready(this.trailers.take().map(|t| Ok(Frame::trailers(t))))
    }

    fn is_end_stream(&self) -> bool {
        self.scrubber.held.is_empty()
            && self.trailers.is_none()
            && (self.ended || self.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        // As many bytes come out as go in.
        let held = self.scrubber.held.len() as u64;
        let inner = self.inner.size_hint();
        let mut hint = SizeHint::new();
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(held));
        }
        hint.set_lower(inner.lower().saturating_add(held));
        hint
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scrubber(secrets: &[&str]) -> Scrubber {
        let mut headers = HeaderMap::new();
        for secret in secrets {
            let mut value = HeaderValue::from_str(secret).unwrap();
            value.set_sensitive(true);
            headers.append("x-key", value);
        }
        headers.append("x-open", HeaderValue::from_static("open"));
        Scrubber::for_request(&mut headers).unwrap()
    }

    fn scrub(secrets: &[&str], pieces: &[&[u8]]) -> Vec<u8> {
        let mut scrubber = scrubber(secrets);
        let mut all = Vec::new();
        for piece in pieces {
            all.extend_from_slice(&scrubber.piece(Bytes::copy_from_slice(piece)));
        }
        all.extend_from_slice(&scrubber.rest());
        all
    }

    #[test]
    fn secrets_are_masked_wherever_pieces_end() {
        for (pieces, expected) in [
            (&["a key-1 b"][..], "a ***** b"),
            (&["a ke", "y-", "1 b"], "a ***** b"),
            (&["key-key-1"], "key-*****"),
            (&["kkey-", "2key", "-1"], "kkey-2*****"),
            (&["key-"], "key-"),
            (&["open"], "open"),
        ] {
            let pieces: Vec<&[u8]> = pieces.iter().map(|p| p.as_bytes()).collect();
            assert_eq!(scrub(&["key-1"], &pieces), expected.as_bytes());
        }
    }

    #[test]
    fn credentials_are_found_without_their_scheme_and_as_json_writes_them() {
        assert_eq!(scrub(&["Bearer abc123"], &[b"<abc123>"]), b"<******>");
        let quoted = scrub(&[r#"a"b\c"#], &[br#"{"key": "a\"b\\c"}"#]);
        assert_eq!(quoted, br#"{"key": "*******"}"#);
    }

    #[test]
    fn what_cannot_be_the_beginning_of_a_secret_is_not_held_up() {
        let mut scrubber = scrubber(&["key-1"]);
        assert_eq!(scrubber.piece(Bytes::from_static(b"data\n\n")), "data\n\n");
        assert_eq!(scrubber.piece(Bytes::from_static(b"more ke")), "more ");
        assert_eq!(scrubber.piece(Bytes::from_static(b"n")), "ken");
    }

    #[test]
    fn a_request_without_secrets_is_left_alone() {
        let mut headers = HeaderMap::new();
        headers.insert("x-open", HeaderValue::from_static("open"));
        assert!(Scrubber::for_request(&mut headers).is_none());
        assert_eq!(headers.len(), 1);
    }

    #[test]
    fn headers_lose_values_and_names() {
        let mut headers = HeaderMap::new();
        headers.append("x-echo", HeaderValue::from_static("<Key-1>"));
        headers.append("x-key-1", HeaderValue::from_static("1"));
        headers.append("x-fine", HeaderValue::from_static("1"));
        scrubber(&["Key-1"]).headers(&mut headers);
        assert_eq!(headers["x-echo"], REDACTED);
        assert_eq!(headers.len(), 2);
    }

    #[test]
    fn compressed_responses_are_refused() {
        let mut headers = HeaderMap::new();
        assert!(Scrubber::check(&headers, "h").is_ok());
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("Identity"));
        assert!(Scrubber::check(&headers, "h").is_ok());
        headers.append(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert!(Scrubber::check(&headers, "h").is_err());
    }

    proptest! {
        /// Texts of few letters, so that secrets overlap with themselves and each other.
        #[test]
        fn no_cut_lets_a_secret_through(
            one in "[ab]{1,5}",
            two in "[abc]{1,5}",
            text in "[abc]{0,40}",
            cuts in prop::collection::vec(0_usize..40, 0..6),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &text.as_bytes()[w[0]..w[1]]).collect();
            let got = scrub(&[&one, &two], &pieces);
            let mut expected = text.clone().into_bytes();
            for secret in [&one, &two] {
                for at in 0..text.len() {
                    if text[at..].starts_with(secret.as_str()) {
                        expected[at..at + secret.len()].fill(MASK);
                    }
                }
            }
            prop_assert_eq!(got, expected);
        }
    }
}
