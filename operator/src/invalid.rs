//! What the definitions alone cannot say is wrong with a resource. `ringfence serve` refuses it when it is
//! applied; on a cluster its condition tells.

use kube::api::ObjectMeta;
use ringfence_api::{Manifest, Metadata, Resource};

/// Problems that are told; the first ones say most.
const TOLD: usize = 5;

/// What is wrong with a resource; none where it is fine.
pub(crate) fn invalid(metadata: &ObjectMeta, resource: Resource) -> Option<String> {
    let name = metadata.name.as_deref().unwrap_or_default().parse();
    let namespace = metadata.namespace.as_deref().unwrap_or_default().parse();
    let (name, namespace) = match (name, namespace) {
        (Ok(name), Ok(namespace)) => (name, namespace),
        (Err(error), _) | (_, Err(error)) => return Some(format!("metadata.name: {error}")),
    };
    let manifest = Manifest {
        // Labels and annotations are Kubernetes' own affair here.
        metadata: Metadata {
            name,
            namespace,
            labels: Default::default(),
            annotations: Default::default(),
        },
        resource,
    };
    let problems = manifest.validate();
    let told: Vec<String> = problems
        .iter()
        .take(TOLD)
        .map(ToString::to_string)
        .collect();
    (!told.is_empty()).then(|| told.join("; "))
}
