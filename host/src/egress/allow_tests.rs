//! Tables and properties of the allow-list.

use proptest::prelude::*;
use ringfence_api::SecretRef;

use super::*;

fn grant(host: &str) -> HttpGrant {
    HttpGrant {
        scheme: HttpScheme::Https,
        host: host.to_owned(),
        port: None,
        methods: None,
        path: None,
        addresses: AddressScope::Public,
        headers: Vec::new(),
    }
}

fn allows(grant: HttpGrant, method: &str, url: &str) -> bool {
    let list = AllowList::new(&[grant]).unwrap();
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    match Target::parse(url) {
        Ok(target) => list.check_target(&method, target).is_ok(),
        Err(_) => false,
    }
}

#[test]
fn hosts() {
    for (granted, url, allowed) in [
        ("api.example.com", "https://api.example.com/", true),
        ("api.example.com", "https://API.EXAMPLE.COM./x", true),
        ("API.Example.com", "https://api.example.com/x", true),
        (
            "api.example.com",
            "https://api.example.com.evil.test/",
            false,
        ),
        ("api.example.com", "https://evil-api.example.com/", false),
        ("api.example.com", "https://x.api.example.com/", false),
        (
            "api.example.com",
            "https://api.example.com@evil.test/",
            false,
        ),
        (
            "api.example.com",
            "https://evil.test/?https://api.example.com/",
            false,
        ),
        (
            "api.example.com",
            "https://evil.test#@api.example.com/",
            false,
        ),
        ("*.example.com", "https://a.example.com/", true),
        ("*.example.com", "https://a.b.example.com/", true),
        ("*.example.com", "https://example.com/", false),
        ("*.example.com", "https://badexample.com/", false),
        ("*.example.com", "https://.example.com/", false),
        ("bücher.example", "https://xn--bcher-kva.example/", true),
        ("10.0.0.1", "https://167772161/", true),
        ("10.0.0.1", "https://[::ffff:a00:1]/", true),
        ("10.0.0.1", "https://10.0.0.2/", false),
        ("[2606:4700::1]", "https://[2606:4700:0::1]/", true),
        ("2606:4700::1", "https://[2606:4700::1]/", true),
        ("*.0.0.1.example", "https://10.0.0.1/", false),
    ] {
        assert_eq!(
            allows(grant(granted), "GET", url),
            allowed,
            "{granted} {url}"
        );
    }
}

#[test]
fn schemes_and_ports() {
    let with_port = HttpGrant {
        port: Some(8443),
        ..grant("h.example")
    };
    let plain = HttpGrant {
        scheme: HttpScheme::Http,
        ..grant("h.example")
    };
    for (granted, url, allowed) in [
        (&grant("h.example"), "https://h.example:443/", true),
        (&grant("h.example"), "https://h.example:8443/", false),
        (&grant("h.example"), "http://h.example/", false),
        (&grant("h.example"), "http://h.example:443/", false),
        (&with_port, "https://h.example:8443/", true),
        (&with_port, "https://h.example/", false),
        (&plain, "http://h.example/", true),
        (&plain, "https://h.example/", false),
    ] {
        assert_eq!(allows(granted.clone(), "GET", url), allowed, "{url}");
    }
}

#[test]
fn methods() {
    let post = HttpGrant {
        methods: Some(vec!["POST".to_owned()]),
        ..grant("h.example")
    };
    let url = "https://h.example/";
    assert!(allows(grant("h.example"), "GET", url));
    assert!(allows(grant("h.example"), "HEAD", url));
    assert!(!allows(grant("h.example"), "POST", url));
    assert!(!allows(grant("h.example"), "get", url));
    assert!(allows(post.clone(), "POST", url));
    assert!(!allows(post.clone(), "GET", url));
    assert!(!allows(post, "CONNECT", url));
    for method in ["CONNECT", "TRACE", "B AD", ""] {
        let bad = HttpGrant {
            methods: Some(vec![method.to_owned()]),
            ..grant("h.example")
        };
        assert!(AllowList::new(&[bad]).is_err(), "{method}");
    }
}

#[test]
fn paths_match_by_whole_segments() {
    for (granted, path, allowed) in [
        ("/v1", "/v1", true),
        ("/v1", "/v1/", true),
        ("/v1", "/v1/x?y=/../..", true),
        ("/v1/", "/v1", true),
        ("/v1", "/v1x", false),
        ("/v1", "/v2", false),
        ("/v1", "/V1", false),
        ("/v1", "/", false),
        ("/v1", "//v1", false),
        ("/v1", "/v1/../v2", false),
        ("/v1", "/v1/%2e%2e/v2", false),
        ("/v1", "/v1/..%2fv2", false),
        ("/v1", "/v1/..;/v2", false),
        ("/v1", "/v1/%252e%252e/v2", false),
        ("/v1", "/v1\\..\\v2", false),
        ("/v1", "/x/../v1/y", true),
        ("/v1", "/%761/y", true),
        ("/a/b", "/a%2Fb", false),
        ("/p/group%2fname", "/p/group%2Fname/x", true),
        ("/", "/anything", true),
        ("/ü", "/%C3%BC/x", true),
    ] {
        let granted_path = HttpGrant {
            path: Some(granted.to_owned()),
            ..grant("h.example")
        };
        let url = format!("https://h.example{path}");
        assert_eq!(
            allows(granted_path, "GET", &url),
            allowed,
            "{granted} {path}"
        );
    }
}

#[test]
fn grants_that_cannot_be_enforced_are_refused() {
    for host in [
        "",
        "*",
        "*.",
        "*.*.example.com",
        "a.*.example.com",
        "h.example:80",
        "http://h",
        "u@h",
        "*.10.0.0.1",
        "a..b",
        "1.2.3.4.5",
    ] {
        assert!(AllowList::new(&[grant(host)]).is_err(), "{host}");
    }
    for path in [
        "",
        "v1",
        "/a/../b",
        "/a//b",
        "/a?b",
        "/a#b",
        "/%2e%2e/b",
        "/./a",
    ] {
        let bad = HttpGrant {
            path: Some(path.to_owned()),
            ..grant("h.example")
        };
        assert!(AllowList::new(&[bad]).is_err(), "{path}");
    }
    let secret = SecretRef::Env("X".to_owned());
    for (name, value, value_from) in [
        ("bad name", Some("x".to_owned()), None),
        ("x-a", None, None),
        ("x-a", Some("x".to_owned()), Some(secret)),
        ("host", Some("x".to_owned()), None),
        ("transfer-encoding", Some("x".to_owned()), None),
    ] {
        let header = HeaderSpec {
            name: name.to_owned(),
            value,
            value_from,
        };
        let bad = HttpGrant {
            headers: vec![header],
            ..grant("h.example")
        };
        assert!(AllowList::new(&[bad]).is_err(), "{name}");
    }
}

#[test]
fn the_first_matching_grant_counts_and_a_refusal_says_what_is_missing() {
    let private = HttpGrant {
        addresses: AddressScope::Private,
        path: Some("/p".to_owned()),
        ..grant("h.example")
    };
    let list = AllowList::new(&[private, grant("h.example")]).unwrap();
    let check = |url: &str| list.check(&Method::GET, &url.parse().unwrap());
    assert_eq!(
        check("https://h.example/p/x").unwrap().scope(),
        AddressScope::Private
    );
    assert_eq!(
        check("https://h.example/q").unwrap().scope(),
        AddressScope::Public
    );
    let refused = list.check(&Method::POST, &"https://h.example/q?key=1".parse().unwrap());
    let text = refused.unwrap_err().to_string();
    assert_eq!(
        text,
        "POST https://h.example:443/q matches no http grant: its host is granted without this method"
    );
    assert!(
        AllowList::default()
            .check(&Method::GET, &"https://h.example/".parse().unwrap())
            .is_err()
    );
}

proptest! {
    /// Whatever is let through goes to the granted host, below the granted path.
    #[test]
    fn nothing_leaves_the_grant(path in "[a-z0-9./%;\\\\?#@:-]{0,40}", host in "(h\\.example|h\\.example\\.evil\\.test|evil\\.test|[a-z.@:%0-9]{1,20})") {
        let list = AllowList::new(&[HttpGrant { path: Some("/v1/x".to_owned()), ..grant("h.example") }]).unwrap();
        if let Ok(target) = Target::parse(&format!("https://{host}/{path}"))
            && let Ok(allowed) = list.check_target(&Method::GET, target)
        {
            let uri = allowed.target().uri();
            prop_assert_eq!(uri.host(), Some("h.example"));
            prop_assert!(uri.path() == "/v1/x" || uri.path().starts_with("/v1/x/"));
            prop_assert!(!uri.path().contains(".."  ) || !uri.path().split('/').any(|s| s == ".."));
        }
    }
}
