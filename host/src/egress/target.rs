//! The destination of a request in one normal form, so that the allow-list judges exactly what is sent.
//!
//! The URL parser of the web platform brings hosts into normal form (IPv4 in octal, hexadecimal or as
//! one number; percent-encoded and internationalised names; case) and resolves `.` and `..`. On top of
//! that, user information is refused, one trailing dot of the host is dropped, percent-encoding of
//! characters that need none is undone, and paths are refused in which a server that decodes further
//! could still find a `..`.

use std::net::IpAddr;

use http::Uri;
use ringfence_api::HttpScheme;
use url::{Host, Url};

/// Bytes of a URL.
pub const MAX_URL_BYTES: usize = 16 << 10;

/// Why a URL is not accepted as a destination.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It is no absolute URL.
    #[error("the URL cannot be read: {0}")]
    Unreadable(String),
    /// It is too long.
    #[error("the URL is longer than {MAX_URL_BYTES} bytes")]
    TooLong,
    /// Only HTTP can be spoken.
    #[error("the scheme {0:?} is not http or https")]
    Scheme(String),
    /// A user or password in it.
    #[error("the URL carries a user or password; remove it")]
    UserInfo,
    /// No host.
    #[error("the URL has no host")]
    NoHost,
    /// A path that different servers read differently.
    #[error("the path is ambiguous: it hides a `..`, a `.` or a control character behind encoding")]
    AmbiguousPath,
}

/// A destination in normal form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub(super) scheme: HttpScheme,
    /// Without brackets, lower case, no trailing dot.
    pub(super) host: Host<String>,
    pub(super) port: u16,
    /// Starts with `/`.
    pub(super) path: String,
    uri: Uri,
}

impl Target {
    /// Brings a URL into normal form.
    ///
    /// # Errors
    /// Whatever is not an `http` or `https` URL that every server reads the same way.
    pub fn parse(url: &str) -> Result<Self, TargetError> {
        if url.len() > MAX_URL_BYTES {
            return Err(TargetError::TooLong);
        }
        let url = Url::parse(url).map_err(|error| TargetError::Unreadable(error.to_string()))?;
        Self::from_url(url)
    }

    /// [`Target::parse`] for a URI in absolute form.
    ///
    /// # Errors
    /// As for [`Target::parse`].
    pub fn from_uri(uri: &Uri) -> Result<Self, TargetError> {
        if uri.scheme().is_none() {
            return Err(TargetError::Unreadable("it has no scheme".to_owned()));
        }
        Self::parse(&uri.to_string())
    }

    /// [`Target::parse`] for a URL that is parsed already.
    ///
    /// # Errors
    /// As for [`Target::parse`].
    pub fn from_url(mut url: Url) -> Result<Self, TargetError> {
        let scheme = match url.scheme() {
            "http" => HttpScheme::Http,
            "https" => HttpScheme::Https,
            other => return Err(TargetError::Scheme(other.to_owned())),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(TargetError::UserInfo);
        }
        url.set_fragment(None);
        let host = match url.host().ok_or(TargetError::NoHost)?.to_owned() {
            Host::Domain(name) => Host::Domain(normal_name(&name).ok_or(TargetError::NoHost)?),
            Host::Ipv6(address) => match address.to_ipv4_mapped() {
                Some(inner) => Host::Ipv4(inner),
                None => Host::Ipv6(address),
            },
            address @ Host::Ipv4(_) => address,
        };
        let port = url.port_or_known_default().ok_or(TargetError::NoHost)?;
        let path = normal_path(url.path())?;
        url.set_host(Some(&host.to_string()))
            .map_err(|error| TargetError::Unreadable(error.to_string()))?;
        url.set_path(&path);
        if url.as_str().len() > MAX_URL_BYTES {
            return Err(TargetError::TooLong);
        }
        let uri: Uri = url
            .as_str()
            .parse()
            .map_err(|error: http::uri::InvalidUri| TargetError::Unreadable(error.to_string()))?;
        Ok(Target {
            scheme,
            host,
            port,
            path,
            uri,
        })
    }

    /// What is sent.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The host, without brackets.
    pub fn host(&self) -> String {
        match &self.host {
            Host::Domain(name) => name.clone(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        }
    }

    /// The host as an address, where it is one.
    pub fn address(&self) -> Option<IpAddr> {
        match self.host {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(address.into()),
            Host::Ipv6(address) => Some(address.into()),
        }
    }

    /// Scheme, host and port: two targets of one origin may share credentials.
    pub fn same_origin(&self, other: &Target) -> bool {
        (self.scheme, &self.host, self.port) == (other.scheme, &other.host, other.port)
    }
}

/// For records and errors: without the query, which may hold what is not for logs.
impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = match self.scheme {
            HttpScheme::Http => "http",
            HttpScheme::Https => "https",
        };
        write!(f, "{scheme}://{}:{}{}", self.host, self.port, self.path)
    }
}

/// A host name without its root dot; nothing where no name is left.
pub(super) fn normal_name(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let fine = !name.is_empty() && name.len() <= 253 && name.split('.').all(|l| !l.is_empty());
    fine.then(|| name.to_ascii_lowercase())
}

/// Undoes encoding that changes nothing, and refuses what could mean another path to somebody else.
pub(super) fn normal_path(path: &str) -> Result<String, TargetError> {
    let mut out = String::with_capacity(path.len());
    for segment in path.strip_prefix('/').unwrap_or(path).split('/') {
        out.push('/');
        refuse_hidden_dots(segment)?;
        let bytes = segment.as_bytes();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match escaped(bytes, at) {
                Some(value) if is_unreserved(value) => {
                    out.push(char::from(value));
                    at += 3;
                }
                Some(value) => {
                    out.push_str(&format!("%{value:02X}"));
                    at += 3;
                }
                None if byte == b'%' => {
                    out.push_str("%25");
                    at += 1;
                }
                None => {
                    // The URL parser leaves nothing but ASCII.
                    out.push(char::from(byte));
                    at += 1;
                }
            }
        }
    }
    Ok(out)
}

/// Decodes as often as there is something to decode, since servers behind servers do the same.
fn refuse_hidden_dots(segment: &str) -> Result<(), TargetError> {
    let mut current = segment.as_bytes().to_vec();
    loop {
        let pieces = current.split(|&b| b == b'/' || b == b'\\');
        for piece in pieces {
            // `..;x` is `..` to servers that know path parameters.
            let name = piece.split(|&b| b == b';').next().unwrap_or(piece);
            let dots = name == b".." || name == b".";
            if dots || piece.iter().any(|b| b.is_ascii_control()) {
                return Err(TargetError::AmbiguousPath);
            }
        }
        let mut next = Vec::with_capacity(current.len());
        let mut at = 0;
        while let Some(&byte) = current.get(at) {
            match escaped(&current, at) {
                Some(value) => {
                    next.push(value);
                    at += 3;
                }
                None => {
                    next.push(byte);
                    at += 1;
                }
            }
        }
        if next.len() == current.len() {
            return Ok(());
        }
        current = next;
    }
}

fn escaped(bytes: &[u8], at: usize) -> Option<u8> {
    let &[b'%', high, low] = bytes.get(at..at + 3)? else {
        return None;
    };
    let digit = |b: u8| {
        char::from(b)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    Some(digit(high)? << 4 | digit(low)?)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn target(url: &str) -> Target {
        Target::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn odd_notations_of_a_host_are_one_host() {
        for url in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://0x7f.0.0.1/",
            "http://0177.0.0.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://%31%32%37.0.0.1/",
            "http://127.0.0.1./",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]/",
            "http://127。0。0。1/",
            "http:\\\\127.0.0.1/",
            "http://127.0.0.1:80/",
        ] {
            let t = target(url);
            assert_eq!(t.host(), "127.0.0.1", "{url}");
            assert_eq!(t.uri().host(), Some("127.0.0.1"), "{url}");
        }
        for url in [
            "https://EXAMPLE.com/",
            "https://example.com./",
            "https://ex%61mple.com/",
        ] {
            assert_eq!(
                target(url).uri().to_string(),
                "https://example.com/",
                "{url}"
            );
        }
        assert_eq!(
            target("https://bücher.example/").host(),
            "xn--bcher-kva.example"
        );
        assert_eq!(
            target("https://[2606:4700::1]:8443/").host(),
            "2606:4700::1"
        );
    }

    #[test]
    fn paths_come_into_one_form() {
        for (path, normal) in [
            ("", "/"),
            ("/a/./b/../c", "/a/c"),
            ("/a/%2e%2e/c", "/c"),
            ("/%61/%7Eb", "/a/~b"),
            ("/a%2fb", "/a%2Fb"),
            ("/a%", "/a%25"),
            ("/a//b", "/a//b"),
            ("/../../x", "/x"),
            ("/a\\b", "/a/b"),
            ("/ä", "/%C3%A4"),
        ] {
            let t = target(&format!("https://example.com{path}"));
            assert_eq!(t.path, normal, "{path}");
            assert_eq!(t.uri().path(), normal, "{path}");
        }
    }

    #[test]
    fn what_servers_read_differently_is_refused() {
        for path in [
            "/a/..%2fb",
            "/a/%2e%2e%2fb",
            "/a/%252e%252e/b",
            "/a/%252e%252e%252fb",
            "/a/..;/b",
            "/a/..%5cb",
            "/a/%2e%3bx/b",
            "/a%00b",
            "/a%0d%0ab",
            "/a/%25252e%25252e/b",
        ] {
            let refused = Target::parse(&format!("https://example.com{path}"));
            assert_eq!(refused, Err(TargetError::AmbiguousPath), "{path}");
        }
    }

    #[test]
    fn urls_that_are_no_destination() {
        for url in [
            "example.com/",
            "/etc/passwd",
            "ftp://example.com/",
            "file:///etc/passwd",
            "http://user@example.com/",
            "http://user:pass@example.com/",
            "http://example.com@evil.example:80@/",
            "http://",
            "http://./",
            "http://a..b/",
            "http://[fe80::1%25eth0]/",
            "http://1.2.3.4.5/",
            "http://256.1.1.1/",
            "http://exa mple.com/",
        ] {
            assert!(Target::parse(url).is_err(), "{url}");
        }
        let long = format!("http://example.com/{}", "a".repeat(MAX_URL_BYTES));
        assert_eq!(Target::parse(&long), Err(TargetError::TooLong));
    }

    proptest! {
        /// Normal form is a fixed point, and what is sent is what was judged.
        #[test]
        fn normalising_twice_changes_nothing(url in "https?://[a-zA-Z0-9.%\\[\\]:@-]{1,30}/[ -~]{0,60}") {
            if let Ok(once) = Target::parse(&url) {
                let twice = Target::parse(&once.uri().to_string()).unwrap();
                prop_assert_eq!(&once, &twice);
                prop_assert_eq!(once.uri().path(), once.path.as_str());
                prop_assert!(!once.path.split('/').any(|s| s == ".." || s == "."));
            }
        }

        #[test]
        fn no_text_panics(url in "\\PC{0,80}") {
            let _ = Target::parse(&url);
        }
    }
}
