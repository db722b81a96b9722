//! Endpoints that a resource names itself: an MCP server, a model. The host calls them on the tenant's
//! behalf, so that a ceiling bounds them as it bounds the requests of components.

use url::{Host, Url};

use crate::{AddressScope, HttpGrant, HttpScheme, ModelSpec, Provider};

/// Root of OpenAI's API.
pub const OPENAI_BASE_URL: &str = "https://api.openai.com/v1";
/// Root of Anthropic's API.
pub const ANTHROPIC_BASE_URL: &str = "https://api.anthropic.com/v1";
/// Methods that MCP and the models' APIs use.
const METHODS: [&str; 3] = ["GET", "POST", "DELETE"];

impl HttpGrant {
    /// The leave that calling an endpoint is. None for a URL that is no endpoint; validation refuses it.
    pub fn of_endpoint(url: &Url, addresses: AddressScope) -> Option<Self> {
        let scheme = match url.scheme() {
            "http" => HttpScheme::Http,
            "https" => HttpScheme::Https,
            _ => return None,
        };
        let host = match url.host()? {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        };
        Some(Self {
            scheme,
            host,
            port: url.port(),
            methods: Some(METHODS.map(str::to_owned).to_vec()),
            path: Some(url.path().to_owned()).filter(|path| path != "/"),
            addresses,
            headers: Vec::new(),
        })
    }
}

impl ModelSpec {
    /// The leave that asking the model is. None for a scripted one, which asks nobody.
    pub fn endpoint(&self) -> Option<HttpGrant> {
        let (base_url, own, addresses) = match &self.provider {
            Provider::OpenAi {
                base_url,
                addresses,
                ..
            } => (base_url, OPENAI_BASE_URL, addresses),
            Provider::Anthropic {
                base_url,
                addresses,
                ..
            } => (base_url, ANTHROPIC_BASE_URL, addresses),
            Provider::Scripted { .. } => return None,
        };
        let url = match base_url {
            Some(url) => url.clone(),
            None => Url::parse(own).ok()?,
        };
        HttpGrant::of_endpoint(&url, *addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_grant_of_its_url() {
        let model = |provider: serde_json::Value| -> ModelSpec {
            serde_json::from_value(serde_json::json!({"provider": provider})).unwrap()
        };
        let own = model(serde_json::json!({"openAi": {"model": "m"}}))
            .endpoint()
            .unwrap();
        assert_eq!(
            (own.host.as_str(), own.path.as_deref()),
            ("api.openai.com", Some("/v1"))
        );
        let local = serde_json::json!({"anthropic": {
            "model": "m", "baseUrl": "http://[::1]:8080/", "addresses": "private"
        }});
        let local = model(local).endpoint().unwrap();
        assert_eq!(
            (local.host.as_str(), local.port, local.path),
            ("::1", Some(8080), None)
        );
        assert_eq!(local.addresses, AddressScope::Private);
        let scripted = serde_json::json!({"scripted": {"turns": [{"text": "x"}]}});
        assert_eq!(model(scripted).endpoint(), None);
    }
}
