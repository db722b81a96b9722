//! Sizes of JSON values, near enough for limits and records, without writing them out.

use serde_json::{Map, Value};

/// Bytes that a value takes as JSON text, escapes not counted.
pub(crate) fn value(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 4,
        Value::Number(_) => 8,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => {
            2 + items
                .iter()
                .map(|item| self::value(item) + 1)
                .sum::<usize>()
        }
        Value::Object(members) => object(members),
    }
}

/// Bytes that an object takes as JSON text, escapes not counted.
pub(crate) fn object(members: &Map<String, Value>) -> usize {
    2 + members
        .iter()
        .map(|(key, member)| key.len() + 4 + value(member))
        .sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_near_the_text() {
        let sample = serde_json::json!({"name": "value", "list": [1, true, null, "x"]});
        let text = sample.to_string().len();
        assert!(value(&sample).abs_diff(text) < text / 2);
    }
}
