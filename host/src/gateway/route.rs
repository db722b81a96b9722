//! Which surface a path belongs to. Tenants come first in a path, so that no tenant may have one of the
//! gateway's own names ([`TenantName::RESERVED`]).

use ringfence_api::TenantName;

/// Where a request goes. Names are not checked yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route<'a> {
    /// `/healthz`
    Health,
    /// `/readyz`
    Ready,
    /// `/metrics`
    Metrics,
    /// `/{tenant}/mcp` and `/{tenant}/tools/{tool}/mcp`
    Mcp {
        tenant: &'a str,
        tool: Option<&'a str>,
    },
    /// `/{tenant}/tools/{tool}/http/…`; `rest` is what the tool sees, empty or with a `/` first.
    Http {
        tenant: &'a str,
        tool: &'a str,
        rest: &'a str,
    },
    /// `/{tenant}/v1/…`; `rest` comes without the `/`.
    OpenAi { tenant: &'a str, rest: &'a str },
    /// Anything else: the REST API and its documents.
    Other,
}

impl<'a> Route<'a> {
    pub(super) fn of(path: &'a str) -> Self {
        let Some(path) = path.strip_prefix('/') else {
            return Route::Other;
        };
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        match (first, rest) {
            ("healthz", "") => return Route::Health,
            ("readyz", "") => return Route::Ready,
            ("metrics", "") => return Route::Metrics,
            _ if TenantName::RESERVED.contains(&first) => return Route::Other,
            _ => {}
        }
        let tenant = first;
        if rest == "mcp" {
            return Route::Mcp { tenant, tool: None };
        }
        if let Some(rest) = rest.strip_prefix("v1/") {
            return Route::OpenAi { tenant, rest };
        }
        let Some((tool, rest)) = rest
            .strip_prefix("tools/")
            .and_then(|rest| rest.split_once('/'))
        else {
            return Route::Other;
        };
        if rest == "mcp" {
            return Route::Mcp {
                tenant,
                tool: Some(tool),
            };
        }
        match rest.strip_prefix("http") {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                Route::Http { tenant, tool, rest }
            }
            _ => Route::Other,
        }
    }

    /// Whether it is for those who run the host: answered also while it drains.
    pub(super) fn is_ops(&self) -> bool {
        matches!(self, Route::Health | Route::Ready | Route::Metrics)
    }

    /// Name of the surface, for metrics.
    pub(super) fn surface(&self) -> &'static str {
        match self {
            Route::Health | Route::Ready | Route::Metrics => "ops",
            Route::Mcp { .. } => "mcp",
            Route::Http { .. } => "http",
            Route::OpenAi { .. } => "openai",
            Route::Other => "rest",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_surfaces() {
        let tool = Some("search");
        for (path, route) in [
            ("/healthz", Route::Health),
            ("/readyz", Route::Ready),
            ("/metrics", Route::Metrics),
            ("/metrics/mcp", Route::Other),
            ("/api/v1/chat", Route::Other),
            (
                "/acme/mcp",
                Route::Mcp {
                    tenant: "acme",
                    tool: None,
                },
            ),
            ("/acme/mcp/", Route::Other),
            (
                "/acme/tools/search/mcp",
                Route::Mcp {
                    tenant: "acme",
                    tool,
                },
            ),
            (
                "/acme/tools/search/http",
                Route::Http {
                    tenant: "acme",
                    tool: "search",
                    rest: "",
                },
            ),
            (
                "/acme/tools/search/http/a/b",
                Route::Http {
                    tenant: "acme",
                    tool: "search",
                    rest: "/a/b",
                },
            ),
            ("/acme/tools/search/httpx", Route::Other),
            (
                "/acme/v1/models",
                Route::OpenAi {
                    tenant: "acme",
                    rest: "models",
                },
            ),
            ("/acme", Route::Other),
            ("/", Route::Other),
            ("*", Route::Other),
        ] {
            assert_eq!(Route::of(path), route, "{path}");
        }
    }
}
