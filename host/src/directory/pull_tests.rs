use ringfence_api::PullSecret;

use super::*;
use crate::artifact::oci::Login;

fn source(image: &str, secrets: &[&str]) -> ArtifactSource {
    let named = |name: &&str| PullSecret {
        name: (*name).to_owned(),
    };
    ArtifactSource::Image(ImageSource {
        image: image.to_owned(),
        pull_secrets: secrets.iter().map(named).collect(),
    })
}

/// Secrets of a host without a cluster, each in a file.
fn secrets(folder: &std::path::Path, files: &[(&str, &str)]) -> Secrets {
    let offered = files.iter().map(|(name, json)| {
        let path = folder.join(name);
        std::fs::write(&path, json).unwrap();
        let option = format!("secret:{name}/.dockerconfigjson=file:{}", path.display());
        option.parse().unwrap()
    });
    Secrets::new(offered.collect::<Vec<_>>()).of(&Default::default())
}

const ONE: &str = r#"{"auths": {"r.example": {"username": "u", "password": "hunter2"}}}"#;

#[test]
fn logins_are_read_where_the_operator_says() {
    let folder = tempfile::tempdir().unwrap();
    let secrets = secrets(folder.path(), &[("one", ONE), ("bad", "hunter2")]);
    let of = |image: &str, named: &[&str]| logins(&secrets, &source(image, named));
    let found = of("r.example/a:1", &["one"]).unwrap();
    let login = Login::new("u".into(), "hunter2".into());
    let secret = "one".to_owned();
    assert_eq!(found, [PullLogin { secret, login }]);
    assert_eq!(of("other.example/a:1", &["one"]).unwrap(), []);
    assert_eq!(of("r.example/a:1", &[]).unwrap(), []);

    let why = of("r.example/a:1", &["one", "two"]).unwrap_err();
    assert_eq!(why.reason, "SecretNotAllowed");
    assert_eq!(why.field, "spec.component.imagePullSecrets[1]");
    let option = "--allow-secret secret:default/two/.dockerconfigjson=";
    assert!(why.message.contains(option), "{why}");

    let why = of("r.example/a:1", &["bad"]).unwrap_err();
    assert_eq!(why.reason, "SecretNotUsable");
    assert_eq!(why.field, "spec.component.imagePullSecrets[0]");
    assert!(why.message.contains("Secret bad"), "{why}");
    assert!(!why.to_string().contains("hunter2"), "{why}");
}

#[test]
fn a_refusal_says_what_to_do_about_it() {
    let refused = |named: &[&str], logins: &[&str]| {
        let error = ArtifactError::Oci(OciError::Unauthorized {
            registry: "r.example".into(),
        });
        let login = |secret: &&str| PullLogin {
            secret: (*secret).to_owned(),
            login: Login::new("u".into(), "hunter2".into()),
        };
        let logins: Vec<_> = logins.iter().map(login).collect();
        let why = not_pulled(error, &source("r.example/a:1", named), &logins);
        assert_eq!(why.reason, UNAUTHORIZED);
        assert!(!why.to_string().contains("hunter2"));
        (why.field.clone(), why.message.clone())
    };
    for (named, logins, field, remedy) in [
        (
            &[][..],
            &[][..],
            "spec.component",
            "name a Secret that has one in imagePullSecrets",
        ),
        (&["a"], &[], FIELD, "add an entry of r.example to auths"),
        (
            &["a", "b"],
            &["a", "a", "b"],
            FIELD,
            "with what is in a, b: correct user and password",
        ),
    ] {
        let (at, message) = refused(named, logins);
        assert_eq!(at, field);
        assert!(message.contains(remedy), "{message}");
    }
}
