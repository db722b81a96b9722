//! The controller manager: garbage collection, deletion of namespaces, service accounts, Deployments.

use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;

use crate::folder::Folder;
use crate::process::{Process, Program};
use crate::programs::Programs;
use crate::{Error, Settings, identity};

const DEADLINE: Duration = Duration::from_secs(60);

/// Starts it, and waits until it has made a first object.
pub(crate) async fn start(
    programs: &Programs,
    folder: &Folder,
    settings: &Settings,
) -> Result<Process, Error> {
    let kubeconfig = folder.path().join("kubeconfig");
    let pki = |name: &str| folder.path().join("pki").join(name).display().to_string();
    let mut arguments = vec![
        format!("--kubeconfig={}", kubeconfig.display()),
        "--use-service-account-credentials".to_owned(),
        "--leader-elect=false".to_owned(), // there is one
        "--secure-port=0".to_owned(),      // nobody asks for its metrics
        format!("--root-ca-file={}", pki("ca.crt")),
        format!("--service-account-private-key-file={}", pki("tokens.key")),
        format!("--cluster-signing-cert-file={}", pki("ca.crt")),
        format!("--cluster-signing-key-file={}", pki("ca.key")),
        // Requests per second: the usual 20 would be the slowest part of a test with thousands of objects.
        "--kube-api-qps=500".to_owned(),
        "--kube-api-burst=1000".to_owned(),
    ];
    arguments.extend(settings.controller_manager_arguments.iter().cloned());
    let mut process = Process::start(Program {
        name: "kube-controller-manager",
        path: programs.path("kube-controller-manager"),
        arguments: arguments.into_iter().map(Into::into).collect(),
        folder: folder.path().to_owned(),
        log: folder.path().join("kube-controller-manager.log"),
        inside: None,
    })?;
    wait(&mut process, &kubeconfig).await?;
    Ok(process)
}

/// Waits until it has made the service account that every Pod in the namespace `default` runs under.
async fn wait(process: &mut Process, kubeconfig: &Path) -> Result<(), Error> {
    let accounts: Api<ServiceAccount> =
        Api::namespaced(identity::client(kubeconfig).await?, "default");
    let works = || async { accounts.get("default").await.is_ok() };
    process.ready(DEADLINE, works).await
}
