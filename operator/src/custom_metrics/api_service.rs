//! Tells the API server by whose signature it knows what serves the metrics.

use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::Api;
use kube::api::{Patch, PatchParams};
use ringfence_api::{chain, peer};
use serde_json::json;

use super::{API_SERVICE, SERVICE};
use crate::error::Error;
use crate::metrics::Verb;
use crate::write::{FIELD_MANAGER, Writer};

/// What did not work is tried again after this long, if the next look is later.
const RETRY: Duration = Duration::from_secs(2);

/// Why it is not told.
#[derive(Debug, thiserror::Error)]
enum TellError {
    #[error(transparent)]
    Api(#[from] Error),
    #[error(
        "there is no APIService {API_SERVICE}: the chart makes it with autoscaling.serveMetrics"
    )]
    Missing,
    #[error(
        "the APIService {API_SERVICE} leads to {0}, and is left alone: another adapter serves metrics in this cluster; set autoscaling.serveMetrics to false"
    )]
    Foreign(String),
    #[error("no authority is published yet")]
    NoAuthority,
}

/// Keeps `caBundle` of the APIService what the operators' certificates are signed by, for ever. To be run by the leader
/// only.
pub(crate) async fn keep(writer: Writer, namespace: String, look: Duration) {
    let mut trouble = String::new();
    loop {
        let wait = match tell(&writer, &namespace).await {
            Ok(()) => {
                trouble.clear();
                look
            }
            // Somebody else wrote at the same time.
            Err(TellError::Api(error)) if error.code() == Some(409) => RETRY.min(look),
            Err(error) => {
                let error = chain(&error);
                if error != trouble {
                    tracing::warn!(%error, "the API server does not find the custom metrics; it is tried again");
                }
                trouble = error;
                RETRY.min(look)
            }
        };
        tokio::time::sleep(wait).await;
    }
}

async fn tell(writer: &Writer, namespace: &str) -> Result<(), TellError> {
    let maps: Api<ConfigMap> = writer.namespaced(namespace);
    let action = format!("read the ConfigMap {}", peer::AUTHORITY);
    let map = writer.read(action, maps.get_opt(peer::AUTHORITY)).await?;
    let bundle = map.and_then(|map| map.data?.remove(peer::BUNDLE_KEY));
    let bundle = bundle.filter(|bundle| !bundle.is_empty());
    let bundle = ByteString(bundle.ok_or(TellError::NoAuthority)?.into_bytes());

    let services: Api<APIService> = writer.all();
    let action = format!("read the APIService {API_SERVICE}");
    let service = writer.read(action, services.get_opt(API_SERVICE)).await?;
    let service = service.ok_or(TellError::Missing)?;
    let spec = service.spec.unwrap_or_default();
    let to = spec.service.unwrap_or_default();
    if to.namespace.as_deref() != Some(namespace) || to.name.as_deref() != Some(SERVICE) {
        let (namespace, name) = (
            to.namespace.unwrap_or_default(),
            to.name.unwrap_or_default(),
        );
        return Err(TellError::Foreign(format!(
            "the Service {namespace}/{name}"
        )));
    }
    if spec.ca_bundle.as_ref() == Some(&bundle) {
        return Ok(());
    }
    let patch = json!({
        "metadata": {"resourceVersion": service.metadata.resource_version},
        "spec": {"caBundle": bundle},
    });
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let action = format!("write the APIService {API_SERVICE}");
    let patch = Patch::Merge(&patch);
    let patching = services.patch(API_SERVICE, &params, &patch);
    writer.send(Verb::Patch, action, patching).await?;
    tracing::info!("the API server knows by whom custom metrics are served");
    Ok(())
}
