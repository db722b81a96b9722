//! Certificates of hosts, asked for with real tokens.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestSpec,
};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, ServiceAccount};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client, ResourceExt as _};
use parking_lot::Mutex;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, SanType};
use ringfence_api::peer;
use ringfence_operator::certificates::{
    AUTHORITY_VALID, BACKDATED, Clock, KNOWN, SUCCESSION, Settings, VALID,
};
use ringfence_test_cluster::ControlPlane;
use time::OffsetDateTime;
use x509_cert::der::DecodePem as _;
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, SubjectKeyIdentifier};
use x509_cert::{Certificate, TbsCertificate};

use crate::fixture::{Running, SYSTEM, eventually, own_cluster};
use crate::hosts::LEASE;

/// The hosts' service account and what it may do to get certificates, as in the chart.
const ACCOUNT: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: ringfence-host, namespace: ringfence-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: ringfence-host}
rules:
  - {apiGroups: [certificates.k8s.io], resources: [certificatesigningrequests], verbs: [create, get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: ringfence-host}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: ringfence-host}
subjects: [{kind: ServiceAccount, name: ringfence-host, namespace: ringfence-system}]
";

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: NAME, namespace: ringfence-system}
spec:
  serviceAccountName: ringfence-host
  containers: [{name: host, image: none}]
";

fn host(name: &str, owner: Option<&str>) -> String {
    let owners = owner.map_or(String::new(), |uid| {
        format!(", ownerReferences: [{{apiVersion: v1, kind: Pod, name: {name}, uid: {uid}}}]")
    });
    format!(
        "apiVersion: ringfence.dev/v1alpha1
kind: Host
metadata: {{name: {name}, namespace: {SYSTEM}{owners}}}
spec: {{pool: default}}
"
    )
}

/// A request for the SPIFFE id `id`.
fn request(id: &str, signer: &str) -> CertificateSigningRequest {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
    let key = KeyPair::generate().unwrap();
    let pem = params.serialize_request(&key).unwrap().pem().unwrap();
    CertificateSigningRequest {
        metadata: ObjectMeta {
            generate_name: Some("test-".to_owned()),
            ..ObjectMeta::default()
        },
        spec: CertificateSigningRequestSpec {
            request: ByteString(pem.into_bytes()),
            signer_name: signer.to_owned(),
            usages: Some(peer::USAGES.map(str::to_owned).to_vec()),
            ..CertificateSigningRequestSpec::default()
        },
        status: None,
    }
}

async fn make(client: &Client, id: &str) -> String {
    let api: Api<CertificateSigningRequest> = Api::all(client.clone());
    let request = request(id, peer::SIGNER);
    let made = api.create(&PostParams::default(), &request).await;
    made.unwrap().name_any()
}

/// What came of a request: a certificate, or a condition and its reason.
async fn outcome(client: &Client, name: &str) -> Result<TbsCertificate, (String, String)> {
    let api: Api<CertificateSigningRequest> = Api::all(client.clone());
    eventually("the request is answered", async || {
        let status = api.get(name).await.unwrap().status.unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        let refused = conditions.iter().find(|c| c.type_ != "Approved");
        if let Some(refused) = refused {
            assert!(status.certificate.is_none());
            let reason = refused.reason.clone().unwrap_or_default();
            return Some(Err((refused.type_.clone(), reason)));
        }
        let certificate = Certificate::from_pem(status.certificate?.0).unwrap();
        Some(Ok(certificate.tbs_certificate))
    })
    .await
}

async fn ask(client: &Client, id: &str) -> Result<TbsCertificate, String> {
    let name = make(client, id).await;
    outcome(client, &name).await.map_err(|(kind, reason)| {
        assert_eq!(kind, "Denied");
        reason
    })
}

/// A client with the token of a Pod of the hosts' account.
async fn of_pod(cluster: &ControlPlane, name: &str) -> (Client, String) {
    cluster.apply(&POD.replace("NAME", name)).await.unwrap();
    let admin = cluster.client().await.unwrap();
    let pods: Api<Pod> = Api::namespaced(admin.clone(), SYSTEM);
    let uid = pods.get(name).await.unwrap().uid().unwrap();
    let accounts: Api<ServiceAccount> = Api::namespaced(admin, SYSTEM);
    let request = TokenRequest {
        spec: TokenRequestSpec {
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: Some(name.to_owned()),
                uid: Some(uid.clone()),
            }),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let answer = accounts
        .create_token_request("ringfence-host", &PostParams::default(), &request)
        .await
        .unwrap();
    let mut config = admin_config(cluster).await;
    config.auth_info.client_certificate_data = None;
    config.auth_info.client_key_data = None;
    config.auth_info.token = Some(answer.status.unwrap().token.into());
    (Client::try_from(config).unwrap(), uid)
}

async fn admin_config(cluster: &ControlPlane) -> kube::Config {
    let kubeconfig = kube::config::Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
    kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default())
        .await
        .unwrap()
}

/// A client with a token of the account that belongs to no Pod.
async fn of_account(cluster: &ControlPlane) -> Client {
    let path = cluster
        .kubeconfig_for_service_account(SYSTEM, "ringfence-host")
        .await
        .unwrap();
    let kubeconfig = kube::config::Kubeconfig::read_from(path).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await;
    Client::try_from(config.unwrap()).unwrap()
}

/// A clock that a test moves.
#[derive(Clone, Default)]
struct Moved(Arc<Mutex<Duration>>);

impl Moved {
    fn settings(&self) -> Settings {
        let ahead = self.0.clone();
        Settings {
            look: Duration::from_millis(100),
            clock: Clock::new(move || OffsetDateTime::now_utc() + *ahead.lock()),
            ..Settings::default()
        }
    }

    fn go(&self, by: Duration) {
        *self.0.lock() += by;
    }
}

async fn bundle(client: &Client) -> Vec<Certificate> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), SYSTEM);
    let map = maps.get_opt(peer::AUTHORITY).await.unwrap();
    let text = map.and_then(|map| map.data?.remove(peer::BUNDLE_KEY));
    // The library's reader of chains does not bear an empty one.
    text.map_or_else(Vec::new, |text| {
        Certificate::load_pem_chain(text.as_bytes()).unwrap()
    })
}

async fn bundle_of(client: &Client, count: usize) -> Vec<Certificate> {
    eventually(&format!("{count} authorities count"), async || {
        let bundle = bundle(client).await;
        (bundle.len() == count).then_some(bundle)
    })
    .await
}

/// Whether an authority has signed a certificate, by the identifiers of their keys.
fn signed_by(certificate: &TbsCertificate, authority: &Certificate) -> bool {
    let said = certificate
        .get::<AuthorityKeyIdentifier>()
        .unwrap()
        .unwrap()
        .1;
    let own = authority.tbs_certificate.get::<SubjectKeyIdentifier>();
    said.key_identifier.unwrap() == own.unwrap().unwrap().1.0
}

#[tokio::test]
async fn hosts_get_certificates_and_nobody_else() {
    let cluster = own_cluster().await;
    cluster.apply(ACCOUNT).await.unwrap();
    let admin = cluster.client().await.unwrap();
    let account = of_account(cluster).await;
    let id = |name: &str| format!("spiffe://ringfence.dev/host/{name}");

    // Before anybody signs: one that a person has approved, though it asks for what no host may.
    let early = make(&account, "spiffe://ringfence.dev/operator/x").await;
    cluster
        .kubectl(&["certificate", "approve", &early])
        .await
        .unwrap();
    let clock = Moved::default();
    let operator = Running::start_with(cluster, "first", clock.settings());
    let refused = outcome(&admin, &early).await.unwrap_err();
    assert_eq!(refused, ("Failed".to_owned(), "WrongName".to_owned()));

    // Outside of Pods: for a Host that is there.
    let refused = |reason: &str| Err(reason.to_owned());
    let denied = |asked: Result<TbsCertificate, String>| asked.map(drop);
    assert_eq!(
        denied(ask(&account, &id("h-1")).await),
        refused("NoSuchHost")
    );
    cluster.apply(&host("h-1", None)).await.unwrap();
    let first = ask(&account, &id("h-1")).await.unwrap();
    let authorities = bundle(&admin).await;
    assert!(authorities.len() == 1 && signed_by(&first, &authorities[0]));
    let valid =
        first.validity.not_after.to_unix_duration() - first.validity.not_before.to_unix_duration();
    assert_eq!(valid, VALID + BACKDATED);
    let administrator = denied(ask(&admin, &id("h-1")).await);
    assert_eq!(administrator, refused("NotAHost"));
    let other = denied(ask(&account, "spiffe://example.org/host/h-1").await);
    assert_eq!(other, refused("WrongName"));

    // In a Pod: for itself, whether its Host is there already or not.
    let (pod, uid) = of_pod(cluster, "h-2").await;
    assert!(ask(&pod, &id("h-2")).await.is_ok());
    assert_eq!(denied(ask(&pod, &id("h-1")).await), refused("AnotherHost"));
    cluster.apply(&host("h-2", Some(&uid))).await.unwrap();
    assert_eq!(
        denied(ask(&account, &id("h-2")).await),
        refused("NotItsPod")
    );

    // What is not meant for it is left alone.
    let api: Api<CertificateSigningRequest> = Api::all(admin.clone());
    let foreign = request(&id("h-1"), "example.org/other");
    let foreign = api.create(&PostParams::default(), &foreign).await.unwrap();
    assert!(ask(&pod, &id("h-2")).await.is_ok());
    let foreign = api.get(&foreign.name_any()).await.unwrap();
    assert_eq!(foreign.status.unwrap_or_default(), Default::default());

    // Another operator finds everything as it should be.
    operator.stop();
    let operator = Running::start_with(cluster, "second", clock.settings());
    operator.leads().await;
    tokio::time::sleep(LEASE).await;
    assert_eq!(operator.writes(), 0, "{}", operator.metrics.render());
    assert_eq!(bundle(&admin).await, authorities);
    operator.stop();
}

#[tokio::test]
async fn authorities_follow_each_other_with_an_overlap() {
    let cluster = own_cluster().await;
    cluster.apply(ACCOUNT).await.unwrap();
    cluster.apply(&host("h-1", None)).await.unwrap();
    let admin = cluster.client().await.unwrap();
    let account = of_account(cluster).await;
    let clock = Moved::default();
    let operator = Running::start_with(cluster, "first", clock.settings());
    let sign = async || {
        ask(&account, "spiffe://ringfence.dev/host/h-1")
            .await
            .unwrap()
    };
    let first = bundle_of(&admin, 1).await.remove(0);
    assert!(signed_by(&sign().await, &first));

    clock.go(AUTHORITY_VALID - SUCCESSION + Duration::from_secs(1));
    let [old, second] = bundle_of(&admin, 2).await.try_into().unwrap();
    assert_eq!(old, first);
    assert!(
        signed_by(&sign().await, &first),
        "hosts have to know the new one first"
    );
    clock.go(KNOWN);
    // Another operator goes on where the first one was.
    operator.stop();
    let operator = Running::start_with(cluster, "second", clock.settings());
    assert!(signed_by(&sign().await, &second));
    assert_eq!(bundle(&admin).await, [first, second.clone()]);

    clock.go(SUCCESSION);
    assert_eq!(bundle_of(&admin, 1).await, [second]);
    let secrets: Api<Secret> = Api::namespaced(admin.clone(), SYSTEM);
    let kept = secrets.get(peer::AUTHORITY).await.unwrap().data.unwrap();
    assert_eq!(kept.len(), 2, "one certificate and one key");

    // Whoever deletes the Secret wants new certificates for everybody.
    secrets
        .delete(peer::AUTHORITY, &Default::default())
        .await
        .unwrap();
    let other = eventually("there is a new authority", async || {
        let other = bundle(&admin).await;
        (other.len() == 1 && !other.contains(&bundle_before(&kept))).then_some(other)
    })
    .await;
    assert!(signed_by(&sign().await, &other[0]));
    operator.stop();
}

/// The certificate that a Secret held.
fn bundle_before(kept: &std::collections::BTreeMap<String, ByteString>) -> Certificate {
    let certificate = kept
        .iter()
        .find(|(name, _)| name.ends_with(".crt"))
        .unwrap();
    Certificate::from_pem(&certificate.1.0).unwrap()
}
