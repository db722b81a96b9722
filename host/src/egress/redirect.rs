//! Following redirects, for callers that ask for it: each hop is a request of its own to the
//! allow-list, and what belongs to one origin does not travel to another.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};

use super::allow::AllowList;
use super::body::{Body, full};
use super::target::Target;
use super::{Egress, EgressError, Timeouts};

/// Redirects that are followed in a row.
pub const MAX_REDIRECTS: usize = 5;

impl Egress {
    /// Sends a request that the list allows and follows what it is redirected to, as long as the list
    /// allows that too. Each hop has its own `timeouts`.
    ///
    /// # Errors
    /// As for [`Egress::send`]; a hop that is not allowed, or more than [`MAX_REDIRECTS`] of them.
    pub async fn send_following(
        &self,
        list: &AllowList,
        mut request: Request<Bytes>,
        timeouts: Timeouts,
    ) -> Result<Response<Body>, EgressError> {
        let mut allowed = list.check(request.method(), request.uri())?;
        for _ in 0..=MAX_REDIRECTS {
            let mut hop = Request::new(full(request.body().clone()));
            hop.method_mut().clone_from(request.method());
            hop.headers_mut().clone_from(request.headers());
            let response = self.send(&allowed, hop, timeouts).await?;
            let Some(next) = next_hop(&allowed.target, &response)? else {
                return Ok(response);
            };
            let status = response.status();
            let becomes_get = status == StatusCode::SEE_OTHER
                || (matches!(status, StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND)
                    && *request.method() == Method::POST);
            if becomes_get && *request.method() != Method::HEAD {
                *request.method_mut() = Method::GET;
                *request.body_mut() = Bytes::new();
                for name in [
                    header::CONTENT_TYPE,
                    header::CONTENT_LENGTH,
                    header::CONTENT_ENCODING,
                ] {
                    request.headers_mut().remove(name);
                }
            }
            if !allowed.target.same_origin(&next) {
                for name in [header::AUTHORIZATION, header::COOKIE] {
                    request.headers_mut().remove(name);
                }
            }
            allowed = list.check_target(request.method(), next)?;
        }
        Err(EgressError::Redirect(format!(
            "more than {MAX_REDIRECTS} in a row"
        )))
    }
}

/// Where a response points to; nothing where it is the last one.
fn next_hop(from: &Target, response: &Response<Body>) -> Result<Option<Target>, EgressError> {
    let redirects = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let Some(location) = response
        .headers()
        .get(header::LOCATION)
        .filter(|_| redirects)
    else {
        return Ok(None);
    };
    let fail = |error: &dyn std::fmt::Display| EgressError::Redirect(error.to_string());
    let location = location.to_str().map_err(|e| fail(&e))?;
    let base = url::Url::parse(&from.uri().to_string()).map_err(|e| fail(&e))?;
    let next = base.join(location).map_err(|e| fail(&e))?;
    Target::from_url(next).map(Some).map_err(|e| fail(&e))
}
