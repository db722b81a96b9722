//! What containerd, CNI plug-ins, kubelet and kube-proxy are told.

use std::path::Path;

use serde_json::{Value, json};

use crate::network::Network;

/// The image of the process that holds a Pod's namespaces.
pub(super) const PAUSE: &str = "test.local/pause:1";
/// The domain of Services.
const DOMAIN: &str = "cluster.local";

pub(super) fn containerd(cni: &Path) -> String {
    let cni = cni.display();
    format!(
        r#"version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  # Without CAP_SYS_RESOURCE, lowering it fails, and with it every Pod.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{}"
    conf_dir = "{cni}"
"#,
        super::CNI_PLUGINS
    )
}

/// `ptp` and not `bridge`: with a cable of its own, a Pod's answer to a Pod beside it passes the node, which
/// has to translate it back if the question went to a Service.
pub(super) fn cni(network: Network) -> Value {
    json!({
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "ptp",
                "ipam": {
                    "type": "host-local",
                    "subnet": network.pods().to_string(),
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
}

pub(super) fn kubelet(network: Network, control_group: &str, pki: &Path) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": network.node(),
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": pki.join("ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": pki.join("kubelet-server.crt"),
        "tlsPrivateKeyFile": pki.join("kubelet-server.key"),
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{control_group}"),
        "failCgroupV1": false,
        "failSwapOn": false,
        "clusterDNS": [super::dns(network)],
        "clusterDomain": DOMAIN,
        "resolvConf": pki.join("resolv.conf"),
        // The disk is the machine's, and others fill it too: no Pod is evicted and no image removed for that.
        "evictionHard": {"nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
    })
}

pub(super) fn kube_proxy(network: Network, kubeconfig: &Path) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clusterCIDR": network.pods().to_string(),
        "clientConnection": {"kubeconfig": kubeconfig},
        "bindAddress": network.node(),
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "oomScoreAdj": 0,
        // These settings are the machine's, not the network namespace's.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    })
}
