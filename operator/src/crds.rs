//! The CustomResourceDefinitions as YAML.

use serde_json::Value;

/// All definitions, as `kubectl apply -f -` takes them.
///
/// # Errors
/// Never, unless a definition holds what YAML cannot.
pub fn yaml() -> Result<String, serde_saphyr::ser::Error> {
    let mut text = String::new();
    for definition in ringfence_api::crd::definitions() {
        text += "---\n";
        text += &serde_saphyr::to_string(&definition)?;
    }
    Ok(text)
}

/// File name and YAML of each definition.
///
/// # Errors
/// As [`yaml`].
pub fn files() -> Result<Vec<(String, String)>, serde_saphyr::ser::Error> {
    ringfence_api::crd::definitions()
        .iter()
        .map(|definition| {
            let plural = definition["spec"]["names"]["plural"].as_str();
            let name = format!("{}.yaml", plural.unwrap_or_default());
            Ok((name, serde_saphyr::to_string::<Value>(definition)?))
        })
        .collect()
}
