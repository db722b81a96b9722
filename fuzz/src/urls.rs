//! No text panics the reading of a destination. What is accepted has one form, which holds no way around
//! the allow-list.

use ringfence_host::egress::Target;

/// Reads the bytes as the URL of an outgoing request.
pub fn urls(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(target) = Target::parse(text) else {
        return;
    };
    let written = target.uri().to_string();
    let again = Target::parse(&written).expect("the normal form of a URL is a URL");
    assert_eq!(again.uri(), target.uri());
    assert!(target.same_origin(&again));
    let path = target.uri().path();
    assert!(path.starts_with('/'), "{path}");
    assert!(
        !path.split('/').any(|part| part == ".." || part == "."),
        "{path}"
    );
}
