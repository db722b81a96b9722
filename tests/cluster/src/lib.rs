//! A real Kubernetes for tests, from the binaries that `tests/cluster/setup` builds. [`ControlPlane`] is etcd,
//! API server and controller manager as child processes on the loopback; [`Node`] adds a node that runs Pods.
//! Nothing of either outlives the process that started it.
//!
//! ```no_run
//! # async fn test() {
//! let cluster = ringfence_test_cluster::shared().await;
//! let namespace = cluster.temp_namespace().await.unwrap();
//! let pods: kube::Api<k8s_openapi::api::core::v1::Pod> =
//!     kube::Api::namespaced(cluster.client().await.unwrap(), &namespace);
//! # }
//! ```

#![forbid(unsafe_code)]

mod api_server;
mod chart;
mod control_plane;
mod controller_manager;
mod error;
mod etcd;
mod folder;
mod identity;
mod image;
mod kubectl;
mod namespace;
mod network;
mod node;
mod pki;
mod ports;
mod process;
mod programs;
mod registry;
mod tar;
mod webhook;

pub use chart::chart;
pub use control_plane::{ControlPlane, Settings, shared};
pub use error::Error;
pub use image::Image;
pub use network::Subnet;
pub use node::{Node, import_tar};
pub use programs::{VERSION, cache_folder};
pub use registry::{Access, Registry};
pub use webhook::{Opinion, Webhook};
