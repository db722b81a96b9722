//! What the types alone cannot say: which fields go together, what texts may hold, how much there may
//! be of anything. Pure; it never stops at the first problem.

mod ceiling;
mod grants;
mod http;
mod kinds;
mod rollout;

use crate::problem::{Problem, Report};
use crate::{Manifest, Metadata, Resource};

/// Bytes of one description.
pub const DESCRIPTION_BYTES: usize = 4 << 10;
/// Bytes of a chat agent's instructions, or of a scripted answer.
pub const TEXT_BYTES: usize = 256 << 10;
/// Bytes of one parameter or environment variable.
pub const VALUE_BYTES: usize = 32 << 10;
/// Entries of one list or map.
pub const ENTRIES: usize = 256;
/// Bytes of the name of a parameter, variable, label, header or model.
pub const KEY_BYTES: usize = 256;

impl Manifest {
    /// Everything that is wrong with the manifest beyond its shape; empty when it is fine.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        self.metadata
            .validate(&mut Report::at("metadata", &mut problems));
        let mut report = Report::at("spec", &mut problems);
        match &self.resource {
            Resource::Agent(spec) => spec.validate(&mut report),
            Resource::Tool(spec) => spec.validate(&mut report),
            Resource::Model(spec) => spec.validate(&mut report),
            Resource::Ceiling(spec) => spec.validate(&mut report),
        }
        problems
    }
}

impl Metadata {
    fn validate(&self, report: &mut Report<'_>) {
        if self.namespace.is_reserved() {
            report.field("namespace").say(format!(
                "{:?} is a path of the gateway, so that nobody could reach a tenant of that name: \
                 choose another",
                self.namespace
            ));
        }
        for (field, map, value_bytes) in [
            ("labels", &self.labels, 63),
            ("annotations", &self.annotations, VALUE_BYTES),
        ] {
            let mut report = report.field(field);
            count(map.len(), &mut report);
            for (key, value) in map {
                if key.is_empty() {
                    report.say("a key may not be empty");
                }
                size(key, KEY_BYTES, &mut report.field(key));
                size(value, value_bytes, &mut report.field(key));
            }
        }
    }
}

/// A text of bounded size.
fn size(text: &str, most: usize, report: &mut Report<'_>) {
    if text.len() > most {
        report.say(format!(
            "has {} bytes: at most {most} are allowed",
            text.len()
        ));
    }
}

/// A list of bounded length.
fn count(entries: usize, report: &mut Report<'_>) {
    if entries > ENTRIES {
        report.say(format!(
            "has {entries} entries: at most {ENTRIES} are allowed"
        ));
    }
}

/// A number within bounds.
fn range<N: Copy + PartialOrd + std::fmt::Display>(
    value: Option<N>,
    least: N,
    most: N,
    report: &mut Report<'_>,
) {
    if let Some(value) = value.filter(|value| *value < least || *value > most) {
        report.say(format!("{value} is not between {least} and {most}"));
    }
}

/// Reports each key that an earlier entry had already.
fn unique<K: PartialEq>(keys: impl IntoIterator<Item = K>, field: &str, report: &mut Report<'_>) {
    let mut seen: Vec<K> = Vec::new();
    for (index, key) in keys.into_iter().enumerate() {
        if let Some(first) = seen.iter().position(|earlier| *earlier == key) {
            let mut entry = report.index(index);
            let message = format!("repeats entry {first}: keep one of them");
            if field.is_empty() {
                entry.say(message);
            } else {
                entry.field(field).say(message);
            }
        }
        seen.push(key);
    }
}
