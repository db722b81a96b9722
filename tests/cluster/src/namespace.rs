//! A namespace for each test.

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};

use crate::{ControlPlane, Error};

impl ControlPlane {
    /// Makes a namespace with a name of its own. It lasts as long as the control plane: tests that share one
    /// do not see each other, and nobody waits for a deletion.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn temp_namespace(&self) -> Result<String, Error> {
        let name = format!("test-{}", self.next_number());
        let namespace = Namespace {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        let namespaces: Api<Namespace> = Api::all(self.client().await?);
        namespaces
            .create(&PostParams::default(), &namespace)
            .await?;
        Ok(name)
    }
}
