//! Whether an object is as it was applied, so that nothing is written where nothing changes.

use kube::core::DynamicObject;
use serde_json::Value;

use super::HASH_ANNOTATION;

/// Whether everything that is desired is there. What the API server and others have added does not count; what
/// an operator of another version has applied and this one would not, does.
pub(super) fn same(desired: &Value, live: &DynamicObject) -> bool {
    let Ok(metadata) = serde_json::to_value(&live.metadata) else {
        return false;
    };
    let hash = |metadata: &Value| metadata["annotations"][HASH_ANNOTATION].clone();
    hash(&desired["metadata"]) == hash(&metadata)
        && contains(&metadata, &desired["metadata"])
        && contains(&live.data["spec"], &desired["spec"])
}

/// Whether `live` has all that `desired` has.
fn contains(live: &Value, desired: &Value) -> bool {
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => {
            desired.iter().all(|(key, value)| match live.get(key) {
                Some(there) => contains(there, value),
                // What is empty may be left out.
                None => empty(value),
            })
        }
        (Value::Array(live), Value::Array(desired)) => {
            // Others may put elements of their own beside ours where elements have names.
            let named = desired.iter().all(|element| element.get("name").is_some());
            if named {
                desired.iter().all(|element| {
                    live.iter().any(|there| {
                        there.get("name") == element.get("name") && contains(there, element)
                    })
                })
            } else {
                live.len() == desired.len() && live.iter().zip(desired).all(|(l, d)| contains(l, d))
            }
        }
        (live, desired) => live == desired,
    }
}

fn empty(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(value) => !value,
        Value::Null => true,
        Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn additions_of_others_do_not_count_and_changes_do() {
        let desired = json!({"a": 1, "list": [{"name": "x", "v": 1}], "plain": ["p"], "none": {}});
        for (live, expected) in [
            (
                json!({"a": 1, "list": [{"name": "x", "v": 1}], "plain": ["p"]}),
                true,
            ),
            (
                json!({"a": 1, "b": 2, "list": [{"name": "y"}, {"name": "x", "v": 1, "w": 2}], "plain": ["p"]}),
                true,
            ),
            (
                json!({"a": 2, "list": [{"name": "x", "v": 1}], "plain": ["p"]}),
                false,
            ),
            (
                json!({"a": 1, "list": [{"name": "x", "v": 2}], "plain": ["p"]}),
                false,
            ),
            (
                json!({"a": 1, "list": [{"name": "y", "v": 1}], "plain": ["p"]}),
                false,
            ),
            (
                json!({"a": 1, "list": [{"name": "x", "v": 1}], "plain": ["p", "q"]}),
                false,
            ),
            (json!({"a": 1, "list": [{"name": "x", "v": 1}]}), false),
        ] {
            assert_eq!(contains(&live, &desired), expected, "{live}");
        }
    }
}
