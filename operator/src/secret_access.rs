//! Which Secrets of a tenant its hosts may read: a Role with exactly those that admitted resources refer to,
//! and its binding to the hosts' account. Pure; nothing where nothing refers to any.
//!
//! The operator itself can read none of them. It may write Roles and RoleBindings of this one name only, and
//! admission policies of the chart see to it that they say nothing else.

use std::collections::BTreeSet;

use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use serde_json::{Value, json};

use crate::host_account::HOST_ACCOUNT;

/// Name of the Role and of the RoleBinding.
pub const NAME: &str = "ringfence-secrets";
/// Label of both, by which they are watched.
pub const LABEL: &str = "ringfence.dev/secrets";
/// Secrets of one tenant that its hosts may read. What comes after them by name may not be read.
pub const MOST: usize = 1_000;

const GROUP: &str = "rbac.authorization.k8s.io";

/// What has to be done to one object.
#[derive(Debug, Clone, PartialEq)]
pub enum Todo {
    /// Nothing.
    Nothing,
    /// It has to be as this.
    Apply(Value),
    /// It says what it may not, and cannot be changed: it has to go first.
    Replace(Value),
    /// It has to go.
    Delete,
}

/// What has to be done for a tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// To the Role.
    pub role: Todo,
    /// To the RoleBinding.
    pub binding: Todo,
}

/// Plans what hosts need to read these Secrets, and nothing else. `namespace` is that of the hosts.
pub fn plan(
    secrets: &BTreeSet<String>,
    role: Option<&Role>,
    binding: Option<&RoleBinding>,
    namespace: &str,
) -> Plan {
    if secrets.is_empty() {
        return Plan {
            role: role.map_or(Todo::Nothing, |_| Todo::Delete),
            binding: binding.map_or(Todo::Nothing, |_| Todo::Delete),
        };
    }
    let rule = PolicyRule {
        api_groups: Some(vec![String::new()]),
        resources: Some(vec!["secrets".to_owned()]),
        resource_names: Some(secrets.iter().take(MOST).cloned().collect()),
        verbs: vec!["get".to_owned(), "watch".to_owned()],
        ..PolicyRule::default()
    };
    let subject = Subject {
        kind: "ServiceAccount".to_owned(),
        name: HOST_ACCOUNT.to_owned(),
        namespace: Some(namespace.to_owned()),
        ..Subject::default()
    };
    let of_role = RoleRef {
        api_group: GROUP.to_owned(),
        kind: "Role".to_owned(),
        name: NAME.to_owned(),
    };
    let rules = vec![rule];
    let subjects = vec![subject];
    Plan {
        role: match role {
            Some(role) if role.rules.as_ref() == Some(&rules) => Todo::Nothing,
            _ => Todo::Apply(object("Role", json!({"rules": rules}))),
        },
        binding: {
            let wanted = object(
                "RoleBinding",
                json!({"roleRef": of_role, "subjects": subjects}),
            );
            match binding {
                None => Todo::Apply(wanted),
                Some(binding) if binding.role_ref != of_role => Todo::Replace(wanted),
                Some(binding) if binding.subjects.as_ref() == Some(&subjects) => Todo::Nothing,
                Some(_) => Todo::Apply(wanted),
            }
        },
    }
}

fn object(kind: &str, rest: Value) -> Value {
    let mut object = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": kind,
        "metadata": {
            "name": NAME,
            "labels": {LABEL: "true", "app.kubernetes.io/managed-by": "ringfence-operator"},
        },
    });
    if let (Some(object), Value::Object(rest)) = (object.as_object_mut(), rest) {
        object.extend(rest);
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYSTEM: &str = "ringfence-system";

    fn names(all: &[&str]) -> BTreeSet<String> {
        all.iter().map(|name| (*name).to_owned()).collect()
    }

    fn made<T: serde::de::DeserializeOwned>(todo: &Todo) -> T {
        match todo {
            Todo::Apply(value) | Todo::Replace(value) => {
                serde_json::from_value(value.clone()).unwrap()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_a_plan_leads_to_needs_nothing_more() {
        let secrets = names(&["b", "a"]);
        let first = plan(&secrets, None, None, SYSTEM);
        let (role, binding): (Role, RoleBinding) = (made(&first.role), made(&first.binding));
        let rule = &role.rules.as_ref().unwrap()[0];
        assert_eq!(rule.resource_names.as_deref().unwrap(), ["a", "b"]);
        assert_eq!(rule.verbs, ["get", "watch"]);
        let nothing = Plan {
            role: Todo::Nothing,
            binding: Todo::Nothing,
        };
        assert_eq!(plan(&secrets, Some(&role), Some(&binding), SYSTEM), nothing);
        assert_eq!(plan(&names(&[]), None, None, SYSTEM), nothing);
        let gone = plan(&names(&[]), Some(&role), Some(&binding), SYSTEM);
        assert_eq!((gone.role, gone.binding), (Todo::Delete, Todo::Delete));
        let fewer = plan(&names(&["a"]), Some(&role), Some(&binding), SYSTEM);
        assert_eq!(fewer.binding, Todo::Nothing);
        let role: Role = made(&fewer.role);
        assert_eq!(
            role.rules.unwrap()[0].resource_names.as_deref().unwrap(),
            ["a"]
        );
    }

    #[test]
    fn what_others_made_of_them_is_undone() {
        let secrets = names(&["a"]);
        let first = plan(&secrets, None, None, SYSTEM);
        let (mut role, mut binding): (Role, RoleBinding) =
            (made(&first.role), made(&first.binding));
        role.rules.as_mut().unwrap()[0]
            .verbs
            .push("delete".to_owned());
        binding.subjects.as_mut().unwrap()[0].name = "somebody".to_owned();
        let again = plan(&secrets, Some(&role), Some(&binding), SYSTEM);
        assert_eq!(again, first);
        binding.role_ref.name = "cluster-admin".to_owned();
        let again = plan(&secrets, Some(&role), Some(&binding), SYSTEM);
        assert!(matches!(again.binding, Todo::Replace(_)));
    }

    #[test]
    fn the_secrets_of_one_tenant_are_bounded() {
        let many: BTreeSet<String> = (0..MOST + 5).map(|n| format!("s{n:05}")).collect();
        let role: Role = made(&plan(&many, None, None, SYSTEM).role);
        assert_eq!(
            role.rules.unwrap()[0]
                .resource_names
                .as_ref()
                .unwrap()
                .len(),
            MOST
        );
    }
}
