//! By what the API server's aggregator is known, and on whose behalf it asks.
//!
//! It shows a client certificate of an authority that is for nothing else, and says in headers who the user is whom it
//! has authenticated. Which authority and which headers is in the ConfigMap `extension-apiserver-authentication` of
//! `kube-system`: <https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/>.

use std::collections::BTreeMap;

use http::HeaderMap;
use http::HeaderName;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReviewSpec};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use url::form_urlencoded;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::der::oid::db::rfc4519::COMMON_NAME;

use super::request::Values;
use super::{GROUP, METRIC, VERSION};

/// The ConfigMap that says it, and its namespace.
pub(super) const CONFIG_MAP: &str = "extension-apiserver-authentication";
pub(super) const CONFIG_NAMESPACE: &str = "kube-system";

/// Why the aggregator cannot be known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrontProxyError {
    /// The cluster has no aggregation layer, or its ConfigMap cannot be read.
    #[error(
        "the ConfigMap {CONFIG_NAMESPACE}/{CONFIG_MAP} has no {0}: the API server has to be started with --requestheader-client-ca-file and its like"
    )]
    Missing(&'static str),
    /// Something in it is not what it should be.
    #[error("{0} in the ConfigMap {CONFIG_NAMESPACE}/{CONFIG_MAP} cannot be read")]
    Unreadable(&'static str),
}

/// What the aggregator is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FrontProxy {
    /// Who signs its certificate.
    pub(super) authorities: Vec<CertificateDer<'static>>,
    /// The names that it may have; any where there is none.
    names: Vec<String>,
    users: Vec<HeaderName>,
    uids: Vec<HeaderName>,
    groups: Vec<HeaderName>,
    /// How headers with further facts about the user begin.
    extras: Vec<String>,
}

/// On whose behalf it asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) user: String,
    uid: Option<String>,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

impl FrontProxy {
    /// From the data of the ConfigMap.
    pub(super) fn read(data: &BTreeMap<String, String>) -> Result<Self, FrontProxyError> {
        const AUTHORITIES: &str = "requestheader-client-ca-file";
        const USERS: &str = "requestheader-username-headers";
        let text = data
            .get(AUTHORITIES)
            .ok_or(FrontProxyError::Missing(AUTHORITIES))?;
        let authorities = CertificateDer::pem_slice_iter(text.as_bytes());
        let authorities = authorities
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| FrontProxyError::Unreadable(AUTHORITIES))?;
        if authorities.is_empty() {
            return Err(FrontProxyError::Unreadable(AUTHORITIES));
        }
        let users = headers(data, USERS)?;
        if users.is_empty() {
            return Err(FrontProxyError::Missing(USERS));
        }
        let extras = list(data, "requestheader-extra-headers-prefix")?;
        Ok(Self {
            authorities,
            users,
            names: list(data, "requestheader-allowed-names")?,
            uids: headers(data, "requestheader-uid-headers")?,
            groups: headers(data, "requestheader-group-headers")?,
            extras: extras
                .iter()
                .map(|prefix| prefix.to_ascii_lowercase())
                .collect(),
        })
    }

    /// Whether a certificate, which one of the authorities has signed, has a name that counts.
    pub(super) fn is_named(&self, certificate: &CertificateDer<'_>) -> bool {
        self.names.is_empty()
            || common_name(certificate).is_some_and(|name| self.names.contains(&name))
    }

    /// On whose behalf a request is made; none where it does not say.
    pub(super) fn caller(&self, headers: &HeaderMap) -> Option<Caller> {
        let first = |names: &[HeaderName]| {
            let mut values = names.iter().filter_map(|name| headers.get(name));
            values.find_map(|value| value.to_str().ok().filter(|text| !text.is_empty()))
        };
        let groups = self.groups.iter().flat_map(|name| headers.get_all(name));
        let groups = groups.filter_map(|value| value.to_str().ok().map(str::to_owned));
        let mut extra = BTreeMap::<String, Vec<String>>::new();
        for (name, value) in headers {
            let key = self
                .extras
                .iter()
                .find_map(|prefix| name.as_str().strip_prefix(prefix.as_str()));
            if let (Some(key), Ok(value)) = (key, value.to_str()) {
                extra
                    .entry(unescaped(key))
                    .or_default()
                    .push(value.to_owned());
            }
        }
        Some(Caller {
            user: first(&self.users)?.to_owned(),
            uid: first(&self.uids).map(str::to_owned),
            groups: groups.collect(),
            extra,
        })
    }
}

impl Caller {
    /// What to ask the API server: whether the caller may.
    pub(super) fn review(&self, values: &Values) -> SubjectAccessReviewSpec {
        SubjectAccessReviewSpec {
            user: Some(self.user.clone()),
            uid: self.uid.clone(),
            groups: Some(self.groups.clone()),
            extra: Some(self.extra.clone()),
            resource_attributes: Some(ResourceAttributes {
                group: Some(GROUP.to_owned()),
                version: Some(VERSION.to_owned()),
                resource: Some("pods".to_owned()),
                subresource: Some(METRIC.to_owned()),
                name: Some(values.name.clone()),
                namespace: Some(values.namespace.clone()),
                verb: Some("get".to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        }
    }
}

/// A list of texts, as JSON; empty where there is none.
fn list(
    data: &BTreeMap<String, String>,
    key: &'static str,
) -> Result<Vec<String>, FrontProxyError> {
    let Some(text) = data.get(key) else {
        return Ok(Vec::new());
    };
    let list: Option<Vec<String>> =
        serde_json::from_str(text).map_err(|_| FrontProxyError::Unreadable(key))?;
    Ok(list.unwrap_or_default())
}

fn headers(
    data: &BTreeMap<String, String>,
    key: &'static str,
) -> Result<Vec<HeaderName>, FrontProxyError> {
    let names = list(data, key)?.into_iter().map(|name| name.parse());
    names
        .collect::<Result<_, _>>()
        .map_err(|_| FrontProxyError::Unreadable(key))
}

/// Keys of further facts are percent-encoded where a header's name could not have what is in them.
fn unescaped(key: &str) -> String {
    // This is no form: what means something there stands for itself here.
    let key = key.replace('+', "%2B").replace('&', "%26");
    let decoded = form_urlencoded::parse(key.as_bytes()).next();
    decoded.map(|(key, _)| key.into_owned()).unwrap_or_default()
}

/// The name of a certificate's subject, as Go's `Subject.CommonName` has it: the last, where there are several.
fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let subject = certificate.tbs_certificate.subject;
    let attributes = subject.0.iter().flat_map(|set| set.0.iter());
    let mut attributes = attributes.rev();
    let name = attributes.find(|attribute| attribute.oid == COMMON_NAME)?;
    String::from_utf8(name.value.value().to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn named(name: &str) -> rcgen::Certificate {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap()
    }

    fn data() -> BTreeMap<String, String> {
        let authority = named("authority").pem();
        let entries = [
            ("client-ca-file", "of no interest here"),
            ("requestheader-client-ca-file", &authority),
            ("requestheader-allowed-names", r#"["front-proxy-client"]"#),
            ("requestheader-username-headers", r#"["X-Remote-User"]"#),
            ("requestheader-uid-headers", r#"["X-Remote-Uid"]"#),
            ("requestheader-group-headers", r#"["X-Remote-Group"]"#),
            (
                "requestheader-extra-headers-prefix",
                r#"["X-Remote-Extra-"]"#,
            ),
        ];
        let entries = entries.map(|(key, value)| (key.to_owned(), value.to_owned()));
        BTreeMap::from(entries)
    }

    #[test]
    fn it_is_known_by_its_name() {
        let mut data = data();
        let proxy = FrontProxy::read(&data).unwrap();
        assert!(proxy.is_named(named("front-proxy-client").der()));
        assert!(!proxy.is_named(named("admin").der()));
        assert!(!proxy.is_named(&CertificateDer::from(vec![1, 2, 3])));
        for any in ["[]", "null"] {
            data.insert("requestheader-allowed-names".to_owned(), any.to_owned());
            let proxy = FrontProxy::read(&data).unwrap();
            assert!(
                proxy.is_named(named("admin").der()),
                "{any}: who has signed it is enough"
            );
        }
    }

    #[test]
    fn headers_say_who_asks() {
        let proxy = FrontProxy::read(&data()).unwrap();
        let mut headers = HeaderMap::new();
        assert_eq!(proxy.caller(&headers), None);
        for (name, value) in [
            (
                "x-remote-user",
                "system:serviceaccount:kube-system:horizontal-pod-autoscaler",
            ),
            ("x-remote-uid", "1-2"),
            ("x-remote-group", "system:authenticated"),
            ("x-remote-group", "system:serviceaccounts"),
            (
                "x-remote-extra-authentication.kubernetes.io%2fpod-name",
                "manager",
            ),
            ("authorization", "of no interest here"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        let caller = proxy.caller(&headers).unwrap();
        let values = Values {
            namespace: "system".to_owned(),
            name: "*".to_owned(),
            selector: Default::default(),
        };
        let review = caller.review(&values);
        assert_eq!(review.uid.as_deref(), Some("1-2"));
        assert_eq!(
            review.groups.unwrap(),
            ["system:authenticated", "system:serviceaccounts"]
        );
        let extra = review.extra.unwrap();
        assert_eq!(extra["authentication.kubernetes.io/pod-name"], ["manager"]);
        assert_eq!(extra.len(), 1);
        let asked = review.resource_attributes.unwrap();
        assert_eq!(asked.subresource.as_deref(), Some("ringfence_pool_used"));
        assert_eq!(asked.namespace.as_deref(), Some("system"));

        headers.insert("x-remote-user", "".parse().unwrap());
        assert_eq!(proxy.caller(&headers), None, "an empty name is nobody's");
    }

    #[test]
    fn nobody_is_believed_where_it_is_not_said_whom_to_believe() {
        for (key, value) in [
            ("requestheader-client-ca-file", ""),
            (
                "requestheader-client-ca-file",
                "-----BEGIN CERTIFICATE-----\n",
            ),
            ("requestheader-username-headers", "[]"),
            ("requestheader-username-headers", r#"["a b"]"#),
            ("requestheader-allowed-names", "front-proxy-client"),
        ] {
            let mut data = data();
            data.insert(key.to_owned(), value.to_owned());
            assert!(FrontProxy::read(&data).is_err(), "{key}: {value}");
        }
        for key in [
            "requestheader-client-ca-file",
            "requestheader-username-headers",
        ] {
            let mut data = data();
            data.remove(key);
            assert_eq!(FrontProxy::read(&data), Err(FrontProxyError::Missing(key)));
        }
    }
}
