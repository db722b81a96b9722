//! The CustomResourceDefinitions as YAML, and in the cluster.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::runtime::conditions::is_crd_established;
use kube::runtime::wait::Condition as _;
use kube::{Api, Client};
use serde_json::Value;

use crate::error::Error;
use crate::write::FIELD_MANAGER;

/// How long the API server may take until it serves a definition.
const ESTABLISHED: Duration = Duration::from_secs(30);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(100);

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

/// Applies all definitions, waits until they are served, and returns their names. Fields that somebody else
/// has set are taken over: a definition belongs to the version of the operator.
///
/// # Errors
/// The API server refuses one, does not answer, or does not serve it in time.
pub async fn apply(client: &Client) -> Result<Vec<String>, Error> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let mut names = Vec::new();
    for definition in ringfence_api::crd::definitions() {
        let name = definition["metadata"]["name"].as_str().unwrap_or_default();
        let failed = Error::api(format!("apply the definition {name}"));
        api.patch(name, &params, &Patch::Apply(&definition))
            .await
            .map_err(failed)?;
        names.push(name.to_owned());
    }
    for name in &names {
        served(&api, name).await?;
    }
    Ok(names)
}

async fn served(api: &Api<CustomResourceDefinition>, name: &str) -> Result<(), Error> {
    let action = format!("look at the definition {name}");
    let established = async {
        loop {
            let definition = api.get_opt(name).await.map_err(Error::api(&action))?;
            if is_crd_established().matches_object(definition.as_ref()) {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let late = |_| Error::Timeout {
        action: format!("serve the definition {name}"),
        after: ESTABLISHED,
    };
    tokio::time::timeout(ESTABLISHED, established)
        .await
        .map_err(late)?
}
