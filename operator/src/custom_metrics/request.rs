//! What is asked for. Pure.

use http::{Method, Uri};
use kube::core::Selector;
use url::form_urlencoded;

use super::answer::Refusal;
use super::{GROUP, METRIC, VERSION, selector};

/// The name that stands for all objects.
pub(super) const ALL: &str = "*";
/// Most bytes of path and query together.
pub const TARGET_BYTES: usize = 8_192;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ask {
    /// Which groups of resources there are.
    Groups,
    /// Which versions of the one group.
    Group,
    /// Which resources of the one version.
    Resources,
    /// How busy hosts are.
    Values(Values),
}

/// Whose values are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Values {
    pub(super) namespace: String,
    /// A Pod, or [`ALL`].
    pub(super) name: String,
    /// Which of them all.
    pub(super) selector: Selector,
}

/// Reads a request.
pub(super) fn read(method: &Method, uri: &Uri) -> Result<Ask, Refusal> {
    let target = uri.path_and_query().map_or("", |target| target.as_str());
    if target.len() > TARGET_BYTES {
        return Err(Refusal::bad_request(format!(
            "path and query have more than {TARGET_BYTES} bytes"
        )));
    }
    let ask = by_path(uri)?;
    if method != Method::GET {
        return Err(Refusal::method());
    }
    Ok(ask)
}

fn by_path(uri: &Uri) -> Result<Ask, Refusal> {
    let path = uri.path().trim_end_matches('/');
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match parts.as_slice() {
        ["apis"] => Ok(Ask::Groups),
        ["apis", GROUP] => Ok(Ask::Group),
        ["apis", GROUP, VERSION] => Ok(Ask::Resources),
        [
            "apis",
            GROUP,
            VERSION,
            "namespaces",
            namespace,
            "pods",
            name,
            metric,
        ] => {
            if *metric != METRIC {
                return Err(Refusal::not_found(format!(
                    "there is no metric of that name: {METRIC} is the only one"
                )));
            }
            if !is_name(namespace) || !is_name(name) && !is_all(name) {
                return Err(Refusal::not_found(
                    "there is no Pod of such a name".to_owned(),
                ));
            }
            let name = if is_all(name) { ALL } else { name };
            Ok(Ask::Values(Values {
                namespace: (*namespace).to_owned(),
                name: name.to_owned(),
                selector: selector_of(uri, name)?,
            }))
        }
        _ => Err(Refusal::not_found(format!(
            "only namespaces/NAMESPACE/pods/NAME/{METRIC} is served here"
        ))),
    }
}

fn selector_of(uri: &Uri, name: &str) -> Result<Selector, Refusal> {
    let mut selector = Selector::default();
    for (key, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        match &*key {
            "labelSelector" if name != ALL && !value.trim().is_empty() => {
                return Err(Refusal::bad_request(format!(
                    "a label selector is for the name {ALL} only"
                )));
            }
            "labelSelector" => {
                selector = selector::parse(&value)
                    .map_err(|error| Refusal::bad_request(error.to_string()))?;
            }
            "metricLabelSelector" if !value.trim().is_empty() => {
                return Err(Refusal::bad_request(format!(
                    "{METRIC} has no labels to select by: leave metricLabelSelector out"
                )));
            }
            // As an API server does: how to print it, and how long to wait.
            _ => {}
        }
    }
    Ok(selector)
}

fn is_all(name: &str) -> bool {
    name == ALL || name.eq_ignore_ascii_case("%2A")
}

/// Whether it may be the name of a namespace or a Pod.
fn is_name(name: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    (1..=253).contains(&name.len()) && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PODS: &str = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/system/pods";

    fn get(target: &str) -> Result<Ask, Refusal> {
        read(&Method::GET, &target.parse().unwrap())
    }

    fn values(name: &str, selector: &str) -> Result<Ask, Refusal> {
        Ok(Ask::Values(Values {
            namespace: "system".to_owned(),
            name: name.to_owned(),
            selector: selector::parse(selector).unwrap(),
        }))
    }

    #[test]
    fn what_the_autoscaler_asks_is_understood() {
        assert_eq!(get("/apis"), Ok(Ask::Groups));
        assert_eq!(get("/apis/custom.metrics.k8s.io"), Ok(Ask::Group));
        assert_eq!(
            get("/apis/custom.metrics.k8s.io/v1beta2?timeout=32s"),
            Ok(Ask::Resources)
        );
        let all = format!(
            "{PODS}/*/ringfence_pool_used?labelSelector=app.kubernetes.io%2Fname%3Dringfence%2Cringfence.dev%2Fpool%3Dred&metricLabelSelector="
        );
        assert_eq!(
            get(&all),
            values(
                "*",
                "app.kubernetes.io/name=ringfence,ringfence.dev/pool=red"
            )
        );
        assert_eq!(
            get(&format!("{PODS}/%2a/ringfence_pool_used")),
            values("*", "")
        );
        assert_eq!(
            get(&format!("{PODS}/h-1/ringfence_pool_used")),
            values("h-1", "")
        );
    }

    #[test]
    fn everything_else_is_refused() {
        let long = format!(
            "{PODS}/*/ringfence_pool_used?labelSelector={}",
            "a".repeat(TARGET_BYTES)
        );
        for (target, code) in [
            ("/", 404),
            ("/metrics", 404),
            ("/openapi/v2", 404),
            ("/apis/other.example.org", 404),
            ("/apis/custom.metrics.k8s.io/v1beta1", 404),
            (
                "/apis/custom.metrics.k8s.io/v1beta2/nodes/*/ringfence_pool_used",
                404,
            ),
            (&format!("{PODS}/*/cpu"), 404),
            (&format!("{PODS}/a%2Fb/ringfence_pool_used"), 404),
            (&format!("{PODS}/UPPER/ringfence_pool_used"), 404),
            (
                &format!("{PODS}/{}/ringfence_pool_used", "a".repeat(254)),
                404,
            ),
            (&format!("{PODS}/*/ringfence_pool_used/more"), 404),
            (
                &format!("{PODS}/*/ringfence_pool_used?labelSelector=a%3Eb"),
                400,
            ),
            (
                &format!("{PODS}/h-1/ringfence_pool_used?labelSelector=a%3Db"),
                400,
            ),
            (
                &format!("{PODS}/*/ringfence_pool_used?metricLabelSelector=a%3Db"),
                400,
            ),
            (&long, 400),
        ] {
            assert_eq!(get(target).unwrap_err().code().as_u16(), code, "{target}");
        }
        let post = read(&Method::POST, &"/apis".parse().unwrap());
        assert_eq!(post.unwrap_err().code().as_u16(), 405);
    }
}
