//! Private registries: over TLS with an authority of their own, and with a login, as people keep it for Docker.

use std::path::Path;
use std::process::{Command, Output};

use ringfence_test_cluster::{Access, Registry};
use ringfence_test_guests as guests;
use tokio::runtime::Runtime;

use super::{BINARY, Host, text};

/// The command with Docker's configuration in `docker`, spoken to a host.
fn command(host: &Host, docker: &Path, arguments: &[&str]) -> Output {
    Command::new(BINARY)
        .args(arguments)
        .env("RINGFENCE_HOST", &host.url)
        .env("DOCKER_CONFIG", docker)
        .env_remove("RINGFENCE_API_KEY")
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    text(&output.stderr)
}

fn tool(image: &str) -> String {
    format!(
        "apiVersion: ringfence.dev/v1alpha1\nkind: Tool\nmetadata: {{name: adder}}\n\
         spec: {{component: {{image: '{image}'}}}}\n"
    )
}

#[test]
fn a_registry_behind_an_authority_of_its_own_is_used_once_that_is_named() {
    let runtime = Runtime::new().unwrap();
    let tls = Access {
        tls: true,
        ..Access::default()
    };
    let registry = runtime.block_on(Registry::start(tls)).unwrap();
    let authority = registry.authority().unwrap().to_str().unwrap();
    let image = registry.image("team/adder:1");
    let folders = [(); 4].map(|()| tempfile::tempdir().unwrap());
    let named = ["--private-registry", registry.name()];
    let trusting = [&named[..], &["--ca-file", authority]].concat();

    let host = Host::start(folders[0].path(), &trusting);
    let guest = host.folder.join("guest.wasm");
    std::fs::write(&guest, guests::ECHO).unwrap();
    let guest = guest.to_str().unwrap();
    let pushed = host.ok(&["push", guest, "--to", &image]);
    assert!(
        pushed.contains(&image) && pushed.contains("sha256:"),
        "{pushed}"
    );

    // Another host gets it by its name alone: by `pull`, or because a manifest names it.
    let puller = Host::start(folders[1].path(), &trusting);
    assert!(puller.ok(&["pull", &image]).contains("sha256:"));
    let fetcher = Host::start(folders[2].path(), &trusting);
    let manifest = fetcher.file("tool.yaml", &tool(&image));
    fetcher.ok(&["apply", "-f", &manifest]);
    let answer = fetcher.ok(&["call", "adder", "add", "--arg", "a=40", "--arg", "b=2"]);
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["result"], 42);

    // Without the authority nobody talks to it, and all say what to do.
    let wary = Host::start(folders[3].path(), &named);
    let manifest = wary.file("tool.yaml", &tool(&image));
    for arguments in [
        &["pull", &image][..],
        &["push", guest, "--to", &image],
        &["apply", "-f", &manifest],
    ] {
        let (code, why) = wary.err(arguments);
        assert!(code == 5 || code == 6, "{arguments:?}: {code} {why}");
        assert!(why.contains("is not trusted here"), "{why}");
        assert!(why.contains("--ca-file"), "{why}");
    }
    // A command cannot do it for its host, and does not look as if it did.
    let (code, why) = wary.err(&["push", guest, "--to", &image, "--ca-file", authority]);
    assert_eq!(code, 2, "{why}");
    assert!(why.contains("to the host"), "{why}");
}

#[test]
fn a_login_is_taken_from_where_docker_keeps_it() {
    let runtime = Runtime::new().unwrap();
    let both = Access {
        tls: true,
        login: true,
        ..Access::default()
    };
    let registry = runtime.block_on(Registry::start(both)).unwrap();
    let image = registry.image("team/adder:1");
    let folder = tempfile::tempdir().unwrap();
    let authority = registry.authority().unwrap().to_str().unwrap();
    let options = [
        "--private-registry",
        registry.name(),
        "--ca-file",
        authority,
    ];
    let host = Host::start(folder.path(), &options);
    let guest = host.folder.join("guest.wasm");
    std::fs::write(&guest, guests::ECHO).unwrap();
    let push = ["push", guest.to_str().unwrap(), "--to", &image];

    // What `docker login` writes: the pair in base64, here puller:wrong.
    const WRONG: &str = "cHVsbGVyOndyb25n";
    let docker = |pair: &str| {
        let content = format!(
            r#"{{"auths": {{"{}": {{"auth": "{pair}"}}}}}}"#,
            registry.name()
        );
        std::fs::write(folder.path().join("config.json"), content).unwrap();
    };
    for known in ["none", "wrong"] {
        if known == "wrong" {
            docker(WRONG);
        }
        let refused = command(&host, folder.path(), &push);
        assert!(!refused.status.success(), "{known}");
        assert!(
            said(&refused).contains("refuses access"),
            "{}",
            said(&refused)
        );
        assert!(!said(&refused).contains(WRONG), "{}", said(&refused));
    }
    docker(Registry::AUTH);
    let pushed = command(&host, folder.path(), &push);
    assert!(pushed.status.success(), "{}", said(&pushed));
    let pulled = command(&host, folder.path(), &["pull", &image]);
    assert!(pulled.status.success(), "{}", said(&pulled));
    // The options win over the file.
    let options = [
        "--registry-user",
        Registry::USER,
        "--registry-password",
        "wrong",
    ];
    let refused = command(
        &host,
        folder.path(),
        &[&["pull", &image][..], &options].concat(),
    );
    assert!(
        said(&refused).contains("refuses access"),
        "{}",
        said(&refused)
    );
    // Whoever pulled it may name it: for this tenant it means what was pulled.
    let manifest = host.file("tool.yaml", &tool(&image));
    host.ok(&["apply", "-f", &manifest]);
}

#[test]
fn a_manifest_names_where_its_login_is() {
    let runtime = Runtime::new().unwrap();
    let login = Access {
        login: true,
        ..Access::default()
    };
    let registry = runtime.block_on(Registry::start(login)).unwrap();
    let image = registry.image("team/adder:1");
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("logins.json");
    let write = |auth: &str| {
        let auths = format!(
            r#"{{"auths": {{"{}": {{"auth": "{auth}"}}}}}}"#,
            registry.name()
        );
        std::fs::write(&config, auths).unwrap();
    };
    write(Registry::AUTH);
    let offer = format!(
        "secret:registry/.dockerconfigjson=file:{}",
        config.display()
    );
    let host = Host::start(folder.path(), &["--allow-secret", &offer]);
    let guest = host.folder.join("guest.wasm");
    std::fs::write(&guest, guests::ECHO).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let author = Host::start(elsewhere.path(), &[]);
    let as_author = [
        "--registry-user",
        Registry::USER,
        "--registry-password",
        Registry::PASSWORD,
    ];
    let push = ["push", guest.to_str().unwrap(), "--to", &image];
    author.ok(&[&push[..], &as_author].concat());

    let apply = |secrets: &str| {
        let tool = format!(
            "apiVersion: ringfence.dev/v1alpha1\nkind: Tool\nmetadata: {{name: adder}}\n\
             spec: {{component: {{image: '{image}'{secrets}}}}}\n"
        );
        [
            "apply".to_owned(),
            "-f".to_owned(),
            host.file("tool.yaml", &tool),
        ]
    };
    let refused = |secrets: &str, parts: &[&str]| {
        let apply = apply(secrets);
        let (_, why) = host.err(&apply.each_ref().map(String::as_str));
        assert!(!why.contains(Registry::AUTH), "{why}");
        for part in parts {
            assert!(why.contains(part), "{why}");
        }
    };
    let named = ", imagePullSecrets: [{name: registry}]";
    refused(
        "",
        &["spec.component", "without a login", "imagePullSecrets"],
    );
    let other = ", imagePullSecrets: [{name: other}]";
    let option = "--allow-secret secret:default/other/.dockerconfigjson=";
    refused(other, &["spec.component.imagePullSecrets[0]", option]);
    write("cHVsbGVyOndyb25n");
    refused(named, &["correct user and password"]);
    // The file is read when it is needed, as any other.
    write(Registry::AUTH);
    let good = apply(named);
    host.ok(&good.each_ref().map(String::as_str));
    let sum = host.ok(&["call", "adder", "add", "--arg", "a=40", "--arg", "b=2"]);
    assert!(sum.contains("42"), "{sum}");
    // It is here now, but still not for what names no login.
    refused("", &["without a login"]);
}
