//! The allow-list: which requests an agent's or tool's HTTP grants let through. Pure.

use std::sync::Arc;

use http::{HeaderName, Method, Uri};
use ringfence_api::{AddressScope, HeaderSpec, HttpGrant, HttpScheme};
use url::Host;

use super::target::{Target, TargetError, normal_name, normal_path};

/// Why a grant cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// `host` is neither a name, nor `*.` and a name, nor an address.
    #[error("http grant: host {0:?} is no host name, `*.` and a host name, or IP address")]
    Host(String),
    /// `path` is not an absolute path.
    #[error(
        "http grant for {host}: path {path:?} must start with `/` and hold no `.`, `..`, `//`, `?` or `#`"
    )]
    Path {
        /// Host of the grant.
        host: String,
        /// The path.
        path: String,
    },
    /// A method that cannot be granted.
    #[error("http grant for {host}: method {method:?} is not a method that can be granted")]
    Method {
        /// Host of the grant.
        host: String,
        /// The method.
        method: String,
    },
    /// A header that cannot be added.
    #[error(
        "http grant for {host}: header {header:?} cannot be added; it needs a valid name and either `value` or `valueFrom`"
    )]
    Header {
        /// Host of the grant.
        host: String,
        /// Its name.
        header: String,
    },
}

/// Why a request was not let through.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The URL is no destination at all.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// `CONNECT`, `TRACE` and the like.
    #[error("the method {0} is never allowed")]
    Method(String),
    /// No grant matches; says how close it came.
    #[error("{method} {target} matches no http grant: {missing}")]
    NotGranted {
        /// Method of the request.
        method: String,
        /// Destination, without its query.
        target: String,
        /// What the closest grant did not allow.
        missing: &'static str,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum HostPattern {
    Exact(Host<String>),
    /// Any name below this one; starts with a dot.
    Below(String),
}

#[derive(Debug, Clone)]
struct Rule {
    scheme: HttpScheme,
    host: HostPattern,
    port: u16,
    methods: Vec<Method>,
    /// Whole segments, in normal form; empty for any path.
    path: Vec<String>,
    scope: AddressScope,
    headers: Arc<[HeaderSpec]>,
}

/// A request that may be sent: where to, and under which conditions.
#[derive(Debug, Clone)]
pub struct Allowed {
    pub(super) target: Target,
    pub(super) scope: AddressScope,
    pub(super) headers: Arc<[HeaderSpec]>,
    /// Connections to hosts that a guest can choose freely are not kept.
    pub(super) pooled: bool,
}

impl Allowed {
    /// A destination that a resource itself names (a model's or an MCP server's endpoint).
    ///
    /// # Errors
    /// A URL that is no destination, or headers that cannot be sent.
    pub fn endpoint(
        url: &url::Url,
        scope: AddressScope,
        headers: &[HeaderSpec],
    ) -> Result<Self, EndpointError> {
        let target = Target::from_url(url.clone())?;
        for header in headers {
            check_header(&target.host(), header)?;
        }
        Ok(Allowed {
            target,
            scope,
            headers: headers.into(),
            pooled: true,
        })
    }

    /// Where it goes.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Headers that are added on the way out.
    pub fn headers(&self) -> &[HeaderSpec] {
        &self.headers
    }

    /// Addresses that may be dialled.
    pub fn scope(&self) -> AddressScope {
        self.scope
    }
}

/// Why an endpoint of a resource cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// The URL.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A header.
    #[error(transparent)]
    Grant(#[from] GrantError),
}

/// HTTP grants, ready to be asked.
#[derive(Debug, Clone, Default)]
pub struct AllowList {
    rules: Vec<Rule>,
}

impl AllowList {
    /// Reads grants. Where several match a request, the first one counts.
    ///
    /// # Errors
    /// A grant that could never be enforced as written.
    pub fn new(grants: &[HttpGrant]) -> Result<Self, GrantError> {
        let rules = grants.iter().map(Rule::new).collect::<Result<_, _>>()?;
        Ok(Self { rules })
    }

    /// Whether anything at all is allowed.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Decides over one request.
    ///
    /// # Errors
    /// Says what no grant allows.
    pub fn check(&self, method: &Method, uri: &Uri) -> Result<Allowed, Refusal> {
        self.check_target(method, Target::from_uri(uri)?)
    }

    pub(super) fn check_target(&self, method: &Method, target: Target) -> Result<Allowed, Refusal> {
        if !grantable(method) {
            return Err(Refusal::Method(method.to_string()));
        }
        let segments: Vec<&str> = segments(&target.path).collect();
        let mut closest = (0, "no grant names this host");
        for rule in &self.rules {
            let (rank, missing) = match rule.compare(method, &target, &segments) {
                Ok(pooled) => {
                    return Ok(Allowed {
                        target,
                        scope: rule.scope,
                        headers: rule.headers.clone(),
                        pooled,
                    });
                }
                Err(miss) => miss,
            };
            if rank > closest.0 {
                closest = (rank, missing);
            }
        }
        Err(Refusal::NotGranted {
            method: method.to_string(),
            target: target.to_string(),
            missing: closest.1,
        })
    }
}

impl Rule {
    fn new(grant: &HttpGrant) -> Result<Self, GrantError> {
        let host = &grant.host;
        let methods = match &grant.methods {
            None => vec![Method::GET, Method::HEAD],
            Some(methods) => methods
                .iter()
                .map(|text| {
                    Method::from_bytes(text.as_bytes())
                        .ok()
                        .filter(grantable)
                        .ok_or_else(|| GrantError::Method {
                            host: host.clone(),
                            method: text.clone(),
                        })
                })
                .collect::<Result<_, _>>()?,
        };
        let path = match &grant.path {
            None => Vec::new(),
            Some(path) => path_segments(path).ok_or_else(|| GrantError::Path {
                host: host.clone(),
                path: path.clone(),
            })?,
        };
        for header in &grant.headers {
            check_header(host, header)?;
        }
        Ok(Rule {
            scheme: grant.scheme,
            host: host_pattern(host).ok_or_else(|| GrantError::Host(host.clone()))?,
            port: grant.port.unwrap_or(match grant.scheme {
                HttpScheme::Http => 80,
                HttpScheme::Https => 443,
            }),
            methods,
            path,
            scope: grant.addresses,
            headers: grant.headers.as_slice().into(),
        })
    }

    /// Whether the host's connections may be kept; or how far the rule matched, and what did not.
    fn compare(
        &self,
        method: &Method,
        target: &Target,
        segments: &[&str],
    ) -> Result<bool, (u8, &'static str)> {
        let pooled = match (&self.host, &target.host) {
            (HostPattern::Exact(granted), asked) if granted == asked => true,
            (HostPattern::Below(suffix), Host::Domain(name))
                if name.len() > suffix.len() && name.ends_with(suffix.as_str()) =>
            {
                false
            }
            _ => return Err((0, "no grant names this host")),
        };
        if self.scheme != target.scheme {
            return Err((1, "its host is granted with another scheme"));
        }
        if self.port != target.port {
            return Err((2, "its host is granted with another port"));
        }
        let under = segments.len() >= self.path.len()
            && self
                .path
                .iter()
                .zip(segments)
                .all(|(granted, asked)| granted == asked);
        if !under {
            return Err((3, "its host is granted with another path"));
        }
        if !self.methods.contains(method) {
            return Err((4, "its host is granted without this method"));
        }
        Ok(pooled)
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/').unwrap_or(path).split('/')
}

/// Segments of a granted path; a trailing slash means the same as none.
fn path_segments(path: &str) -> Option<Vec<String>> {
    if !path.starts_with('/') || path.contains(['?', '#', '\\']) {
        return None;
    }
    // The URL parser encodes what has to be encoded, as it does for requests.
    let mut url = url::Url::parse("http://host/").ok()?;
    url.set_path(path);
    if segments(url.path()).count() != segments(path).count() {
        return None;
    }
    let normal = normal_path(url.path()).ok()?;
    let mut parts: Vec<String> = segments(&normal).map(str::to_owned).collect();
    if parts.last().is_some_and(String::is_empty) {
        parts.pop();
    }
    parts.iter().all(|part| !part.is_empty()).then_some(parts)
}

fn host_pattern(host: &str) -> Option<HostPattern> {
    let below = host.strip_prefix("*.");
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    if let Ok(address) = bare.unwrap_or(host).parse::<std::net::Ipv6Addr>() {
        return Some(HostPattern::Exact(match address.to_ipv4_mapped() {
            Some(inner) => Host::Ipv4(inner),
            None => Host::Ipv6(address),
        }));
    }
    if host.contains(['%', '/', '@', ':']) || below.unwrap_or(host).contains('*') {
        return None;
    }
    match (Host::parse(below.unwrap_or(host)).ok()?, below) {
        (Host::Domain(name), None) => Some(HostPattern::Exact(Host::Domain(normal_name(&name)?))),
        (Host::Domain(name), Some(_)) => {
            Some(HostPattern::Below(format!(".{}", normal_name(&name)?)))
        }
        (address, None) => Some(HostPattern::Exact(address)),
        (_, Some(_)) => None,
    }
}

/// Tunnels and echoes of headers are never granted.
fn grantable(method: &Method) -> bool {
    *method != Method::CONNECT && *method != Method::TRACE
}

fn check_header(host: &str, header: &HeaderSpec) -> Result<(), GrantError> {
    let name = HeaderName::from_bytes(header.name.as_bytes());
    let valued = header.value.is_some() != header.value_from.is_some();
    match name {
        Ok(name) if valued && !super::headers::is_reserved(&name) => Ok(()),
        _ => Err(GrantError::Header {
            host: host.to_owned(),
            header: header.name.clone(),
        }),
    }
}

#[cfg(test)]
#[path = "allow_tests.rs"]
mod tests;
