//! Validation of grants and parameters.

use super::{KEY_BYTES, VALUE_BYTES, count, size, unique};
use crate::problem::Report;
use crate::{EnvGrant, FolderGrant, Grants, Parameter, SecretKey, SecretRef, ToolGrant};

impl Grants {
    pub(super) fn validate(&self, report: &mut Report<'_>) {
        tools(&self.tools, &mut report.field("tools"));
        {
            let mut report = report.field("agents");
            count(self.agents.len(), &mut report);
            unique(
                self.agents.iter().map(|grant| &grant.name),
                "name",
                &mut report,
            );
        }
        {
            let mut report = report.field("models");
            count(self.models.len(), &mut report);
            unique(
                self.models.iter().map(|grant| &grant.name),
                "name",
                &mut report,
            );
        }
        {
            let mut report = report.field("http");
            count(self.http.len(), &mut report);
            unique(&self.http, "", &mut report);
            for (index, grant) in self.http.iter().enumerate() {
                grant.validate(&mut report.index(index));
            }
        }
        folders(&self.folders, &mut report.field("folders"));
        env(&self.env, &mut report.field("env"));
    }
}

fn tools(grants: &[ToolGrant], report: &mut Report<'_>) {
    count(grants.len(), report);
    unique(grants.iter().map(|grant| &grant.name), "name", report);
    for (index, grant) in grants.iter().enumerate() {
        let Some(functions) = &grant.functions else {
            continue;
        };
        let mut report = report.index(index);
        let mut report = report.field("functions");
        if functions.is_empty() {
            report.say("is empty: name the functions, or remove the field to grant all of them");
        }
        count(functions.len(), &mut report);
        unique(functions, "", &mut report);
    }
}

fn folders(grants: &[FolderGrant], report: &mut Report<'_>) {
    count(grants.len(), report);
    for (index, grant) in grants.iter().enumerate() {
        let mut report = report.index(index);
        if let Err(message) = mount(&grant.mount) {
            report.field("mount").say(message);
        }
        size(&grant.mount, KEY_BYTES, &mut report.field("mount"));
        for (other, earlier) in grants[..index].iter().enumerate() {
            if within(&grant.mount, &earlier.mount) || within(&earlier.mount, &grant.mount) {
                report.field("mount").say(format!(
                    "{:?} overlaps {:?} of entry {other}: mounts have to be apart",
                    grant.mount, earlier.mount
                ));
            }
        }
    }
}

fn mount(path: &str) -> Result<(), String> {
    let Some(rest) = path.strip_prefix('/') else {
        return Err(format!("{path:?} is not absolute: start it with /"));
    };
    if path.contains(['\0', '\\']) {
        return Err(format!(
            "{path:?} holds a character that a mount may not have"
        ));
    }
    if rest.is_empty() {
        return Ok(());
    }
    if rest.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(format!(
            "{path:?} is not plain: leave out //, ., .. and a / at the end"
        ));
    }
    Ok(())
}

/// True when `inner` is `outer` or lies below it.
fn within(inner: &str, outer: &str) -> bool {
    let outer = outer.trim_end_matches('/');
    inner
        .strip_prefix(outer)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn env(grants: &[EnvGrant], report: &mut Report<'_>) {
    count(grants.len(), report);
    unique(grants.iter().map(|grant| &grant.name), "name", report);
    for (index, grant) in grants.iter().enumerate() {
        let mut report = report.index(index);
        variable(&grant.name, &mut report.field("name"));
        size(&grant.value, VALUE_BYTES, &mut report.field("value"));
        if grant.value.contains('\0') {
            report.field("value").say("may not hold a zero byte");
        }
    }
}

fn variable(name: &str, report: &mut Report<'_>) {
    let start = |c: char| c.is_ascii_alphabetic() || c == '_';
    let rest = |c: char| c.is_ascii_alphanumeric() || c == '_';
    size(name, KEY_BYTES, report);
    if !name.starts_with(start) || !name.chars().all(rest) {
        report.say(format!(
            "{name:?} is not the name of a variable: use letters, digits and _, not starting with a digit"
        ));
    }
}

impl SecretRef {
    pub(super) fn validate(&self, report: &mut Report<'_>) {
        match self {
            SecretRef::Env(name) => variable(name, &mut report.field("env")),
            SecretRef::File(path) if !path.is_absolute() => {
                report
                    .field("file")
                    .say(format!("{path:?} is not absolute: start it with /"));
            }
            SecretRef::File(_) => {}
            SecretRef::Secret(secret) => secret.validate(&mut report.field("secret")),
        }
    }
}

impl SecretKey {
    /// Checks that both are names as Kubernetes has them.
    fn validate(&self, report: &mut Report<'_>) {
        secret_name(&self.name, report);
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if self.key.is_empty() || self.key.len() > NAME_BYTES || !self.key.chars().all(fits) {
            report.field("key").say(format!(
                "{:?} is not a key of a Secret: use at most {NAME_BYTES} letters, digits, -, _ and .",
                self.key
            ));
        }
    }
}

/// Checks the `name` of a Secret.
pub(super) fn secret_name(name: &str, report: &mut Report<'_>) {
    if !is_object_name(name) {
        report.field("name").say(format!(
            "{name:?} is not the name of a Secret: use at most {NAME_BYTES} lower-case letters, digits, - and ., with a letter or digit first and last"
        ));
    }
}

/// Bytes of the name of an object of Kubernetes.
const NAME_BYTES: usize = 253;

fn is_object_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    let end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= NAME_BYTES
        && name.starts_with(end)
        && name.ends_with(end)
        && name.chars().all(inner)
}

/// Checks the parameters of a component.
pub(super) fn parameters(parameters: &[Parameter], report: &mut Report<'_>) {
    count(parameters.len(), report);
    unique(
        parameters.iter().map(|parameter| &parameter.name),
        "name",
        report,
    );
    for (index, parameter) in parameters.iter().enumerate() {
        let mut report = report.index(index);
        if parameter.name.is_empty() {
            report.field("name").say("may not be empty");
        }
        size(&parameter.name, KEY_BYTES, &mut report.field("name"));
        size(&parameter.value, VALUE_BYTES, &mut report.field("value"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_absolute_and_plain() {
        for good in ["/", "/docs", "/a/b.c"] {
            assert_eq!(mount(good), Ok(()), "{good}");
        }
        for bad in ["", "docs", "/a/", "/a//b", "/a/../b", "/.", "/a\\b"] {
            assert!(mount(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn secrets_have_names_and_keys_as_kubernetes_has_them() {
        for good in ["a", "open-ai.keys", "0"] {
            assert!(is_object_name(good), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a/b", "a_b", &"a".repeat(254)] {
            assert!(!is_object_name(bad), "{bad}");
        }
    }

    #[test]
    fn overlap_goes_by_whole_segments() {
        assert!(within("/a/b", "/a"));
        assert!(within("/a", "/"));
        assert!(within("/a", "/a"));
        assert!(!within("/ab", "/a"));
        assert!(!within("/a", "/a/b"));
    }
}
