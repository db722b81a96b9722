//! Validation of ceilings.

use super::http::{host, methods, path};
use super::{count, size};
use crate::problem::Report;
use crate::{CeilingSpec, HttpBound, LabelOperator, TenantSelector};

/// Bytes of a label's key, as Kubernetes has it: prefix, slash and name.
const LABEL_BYTES: usize = 317;
/// Entries of a selector, and values of one of its conditions.
const SELECTOR_ENTRIES: usize = 64;

impl CeilingSpec {
    pub(super) fn validate(&self, report: &mut Report<'_>) {
        self.tenants.validate(&mut report.field("tenants"));
        let mut report = report.field("allow");
        let allow = &self.allow;
        for (field, entries) in [
            ("tools", allow.tools.len()),
            ("agents", allow.agents.len()),
            ("models", allow.models.len()),
            ("http", allow.http.len()),
            ("folders", allow.folders.len()),
        ] {
            count(entries, &mut report.field(field));
        }
        let mut report = report.field("http");
        for (index, bound) in allow.http.iter().enumerate() {
            bound.validate(&mut report.index(index));
        }
    }
}

impl HttpBound {
    fn validate(&self, report: &mut Report<'_>) {
        if self.host != "*"
            && let Err(message) = host(&self.host)
        {
            report.field("host").say(message);
        }
        if let Some(ports) = &self.ports {
            let mut report = report.field("ports");
            if ports.is_empty() {
                report.say("is empty: name the ports, or remove the field for all of them");
            }
            count(ports.len(), &mut report);
        }
        if let Some(allowed) = &self.methods {
            methods(allowed, &mut report.field("methods"));
        }
        if let Some(allowed) = &self.path {
            path(allowed, &mut report.field("path"));
        }
    }
}

impl TenantSelector {
    fn validate(&self, report: &mut Report<'_>) {
        let few = |entries: usize, report: &mut Report<'_>| {
            if entries > SELECTOR_ENTRIES {
                report.say(format!(
                    "has {entries} entries: at most {SELECTOR_ENTRIES} are allowed"
                ));
            }
        };
        few(self.match_labels.len(), &mut report.field("matchLabels"));
        let mut report = report.field("matchExpressions");
        few(self.match_expressions.len(), &mut report);
        for (index, condition) in self.match_expressions.iter().enumerate() {
            let mut report = report.index(index);
            size(&condition.key, LABEL_BYTES, &mut report.field("key"));
            few(condition.values.len(), &mut report.field("values"));
            let takes = matches!(condition.operator, LabelOperator::In | LabelOperator::NotIn);
            if takes == condition.values.is_empty() {
                report
                    .field("values")
                    .say("In and NotIn need values; Exists and DoesNotExist take none");
            }
        }
    }
}
