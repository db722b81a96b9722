//! Which tenants a ceiling bounds: a selector over the labels of namespaces, as in Kubernetes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::TenantName;

/// Label that every namespace carries with its own name. On one machine, where tenants have no
/// namespace object, it is the only label there is.
pub const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Selects tenants by the labels of their namespaces; all parts must hold. Empty, it selects every
/// tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TenantSelector {
    /// Labels that the namespace must have with these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub match_labels: BTreeMap<String, String>,
    /// Conditions on its labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub match_expressions: Vec<LabelCondition>,
}

/// A condition on one label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "(self.operator in ['In', 'NotIn']) == has(self.values)", "message": "In and NotIn need values; Exists and DoesNotExist take none"},
]))]
pub struct LabelCondition {
    /// The label.
    #[schemars(length(max = 317))]
    pub key: String,
    /// How it is compared.
    pub operator: LabelOperator,
    /// Values of `In` and `NotIn`; the other operators take none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LabelOperator {
    /// The label is there, with one of the values.
    In,
    /// The label is not there, or has none of the values.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
}

impl TenantSelector {
    /// Whether a tenant whose namespace carries `labels` is selected.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|c| c.holds(labels))
    }
}

impl LabelCondition {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        let listed = value.is_some_and(|value| self.values.contains(value));
        match self.operator {
            LabelOperator::In => listed,
            LabelOperator::NotIn => !listed,
            LabelOperator::Exists => value.is_some(),
            LabelOperator::DoesNotExist => value.is_none(),
        }
    }
}

/// The labels of a tenant that has no namespace object.
pub fn labels_of_name(tenant: &TenantName) -> BTreeMap<String, String> {
    BTreeMap::from([(NAMESPACE_NAME_LABEL.to_owned(), tenant.to_string())])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(json: serde_json::Value) -> TenantSelector {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn an_empty_selector_selects_every_tenant() {
        assert!(TenantSelector::default().selects(&BTreeMap::new()));
    }

    #[test]
    fn every_part_must_hold() {
        let team = |text: &str| {
            BTreeMap::from([
                ("team".to_owned(), text.to_owned()),
                ("tier".to_owned(), "free".to_owned()),
            ])
        };
        let both = selector(serde_json::json!({
            "matchLabels": {"tier": "free"},
            "matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["core"]}]
        }));
        assert!(both.selects(&team("web")));
        assert!(!both.selects(&team("core")));
        assert!(!both.selects(&BTreeMap::new()));
    }

    #[test]
    fn a_name_selects_on_one_machine_too() {
        let named = selector(serde_json::json!({
            "matchExpressions": [
                {"key": NAMESPACE_NAME_LABEL, "operator": "In", "values": ["a", "b"]},
                {"key": "team", "operator": "DoesNotExist"}
            ]
        }));
        assert!(named.selects(&labels_of_name(&"a".parse().unwrap())));
        assert!(!named.selects(&labels_of_name(&"c".parse().unwrap())));
    }
}
