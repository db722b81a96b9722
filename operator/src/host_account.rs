//! Who hosts are to Kubernetes. The name is fixed: the chart makes the account, and its admission policies bound what
//! hosts may write and which Secrets the operator may let them read by it.

/// The service account of hosts, in the operator's namespace.
pub const HOST_ACCOUNT: &str = "ringfence-host";

/// The user that this account is. `namespace` is that of the operator.
pub fn host_user(namespace: &str) -> String {
    format!("system:serviceaccount:{namespace}:{HOST_ACCOUNT}")
}
