use serde_json::json;

use super::*;

/// Users of the logins for an image, in the order in which they are tried.
fn users(image: &str, secrets: &[serde_json::Value]) -> Vec<String> {
    let mut keyring = Keyring::of(image).unwrap();
    for (index, secret) in secrets.iter().enumerate() {
        keyring
            .add(&format!("s{index}"), &secret.to_string())
            .unwrap();
    }
    let logins = keyring.logins().unwrap();
    let user = |found: &PullLogin| found.login.parts().0.to_owned();
    logins.iter().map(user).collect()
}

/// A file with one entry for each place, whose user is the place.
fn file(places: &[&str]) -> serde_json::Value {
    let entry = |place: &&str| {
        let entry = json!({"username": place, "password": "p"});
        ((*place).to_owned(), entry)
    };
    let auths: serde_json::Map<String, serde_json::Value> = places.iter().map(entry).collect();
    json!({ "auths": auths })
}

#[test]
fn a_login_counts_for_its_registry_only() {
    let all = file(&[
        "r.example:5000",
        "r.example",
        "other.example",
        "example",
        "sub.r.example",
    ]);
    let all = std::slice::from_ref(&all);
    assert_eq!(users("r.example:5000/a:1", all), ["r.example:5000"]);
    assert_eq!(users("r.example/a:1", all), ["r.example"]);
    assert_eq!(users("R.example/a:1", all), ["r.example"]);
    assert!(users("r.example:5001/a:1", all).is_empty());
    assert!(users("xr.example/a:1", all).is_empty());
    assert!(users("evil.example/r.example/a:1", all).is_empty());
    assert!(users("r.example.evil.example/a:1", all).is_empty());
}

#[test]
fn the_longest_path_is_tried_first_and_paths_are_whole_names() {
    let one = file(&[
        "r.example",
        "r.example/team",
        "https://r.example/team/deep/",
    ]);
    let two = file(&["http://r.example/team", "r.example/te", "*.example/team"]);
    let all = [one, two];
    assert_eq!(
        users("r.example/team/deep/a:1", &all),
        [
            "https://r.example/team/deep/",
            "r.example/team",
            "http://r.example/team",
            "*.example/team",
            "r.example",
        ]
    );
    assert_eq!(users("r.example/teammate/a:1", &all), ["r.example"]);
    // The name of the image counts as a part of the path, its tag does not.
    assert_eq!(
        users("r.example/team:1", &all)[..2],
        ["r.example/team", "http://r.example/team"]
    );
}

#[test]
fn parts_of_a_host_may_be_patterns() {
    for (pattern, registry, fits) in [
        ("*.example.org", "r.example.org", true),
        ("*.example.org", "example.org", false),
        ("*.example.org", "a.r.example.org", false),
        ("r*.example.org", "r1.example.org", true),
        ("r*.example.org", "x1.example.org", false),
        ("*-eu-*.example.org", "a-eu-1.example.org", true),
        ("*-eu-*.example.org", "a-us-1.example.org", false),
        ("*.example.org:5000", "r.example.org:5000", true),
        ("*.example.org", "r.example.org:5000", false),
        ("*", "r.example.org", false),
        ("aa*aa.example.org", "aaa.example.org", false),
    ] {
        let found = users(&format!("{registry}/a:1"), &[file(&[pattern])]);
        assert_eq!(!found.is_empty(), fits, "{pattern} {registry}");
    }
}

#[test]
fn dockers_own_registry_has_two_names() {
    for place in [
        "https://index.docker.io/v1/",
        "index.docker.io",
        "docker.io",
        "https://index.docker.io/v2",
    ] {
        assert_eq!(
            users("docker.io/me/a:1", &[file(&[place])]),
            [place],
            "{place}"
        );
    }
    let below = file(&["docker.io/me"]);
    assert!(users("docker.io/you/a:1", std::slice::from_ref(&below)).is_empty());
}

#[test]
fn both_forms_of_an_entry_are_read_and_the_rest_is_refused() {
    let json = r#"{"auths": {
        "auth.example:5000": {"auth": "dXNlcjpwYTpzcw==", "username": "x", "password": "y"},
        "bare.example": {"auth": "dXNlcjpwYTpzcw"},
        "pair.example": {"username": "u", "password": "p", "email": "e", "auth": ""},
        "token.example": {"identitytoken": "t"},
        "broken.example": {"auth": "!"},
        "nobody.example": {}
    }, "credHelpers": {"helped.example": "x"}, "credsStore": "desktop"}"#;
    let of = |registry: &str| docker_config(json, &format!("{registry}/a:1"));
    let login = |u: &str, p: &str| Some(Login::new(u.into(), p.into()));
    assert_eq!(of("auth.example:5000").unwrap(), login("user", "pa:ss"));
    assert_eq!(of("bare.example").unwrap(), login("user", "pa:ss"));
    assert_eq!(of("pair.example").unwrap(), login("u", "p"));
    assert_eq!(of("auth.example").unwrap(), None);
    for refused in [
        "token.example",
        "broken.example",
        "nobody.example",
        "helped.example",
    ] {
        assert!(of(refused).is_err(), "{refused}");
    }
    let error = docker_config("{\"auths\": \"secret\"}", "r.example/a:1").unwrap_err();
    assert!(!error.to_string().contains("secret"));
}

#[test]
fn the_logins_of_one_image_are_bounded() {
    let fill = |entries: usize| {
        let mut keyring = Keyring::of("r.example/a:1").unwrap();
        for index in 0..entries {
            let json = file(&["r.example"]).to_string();
            keyring.add(&format!("s{index}"), &json).unwrap();
        }
        keyring.logins()
    };
    assert_eq!(fill(LOGINS).unwrap().len(), LOGINS);
    let error = fill(LOGINS + 1).unwrap_err().to_string();
    assert!(error.contains("at most 16 are tried"), "{error}");
}

#[test]
fn a_login_is_shown_nowhere() {
    let json = file(&["r.example"])
        .to_string()
        .replace("\"p\"", "\"hunter2\"");
    let mut keyring = Keyring::of("r.example/a:1").unwrap();
    keyring.add("s", &json).unwrap();
    let mut shown = format!("{keyring:?}");
    shown += &format!("{:?}", keyring.logins());
    assert!(!shown.contains("hunter2"), "{shown}");
}
