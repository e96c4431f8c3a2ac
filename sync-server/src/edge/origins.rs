//! Web pages of other origins. Nothing here is proved by a cookie, so a foreign page can do nothing in a person's name;
//! still no request of such a page that changes something, and no session that it opens, is let in unless its origin is
//! allowed: the rule is in force before the first cookie is. Allowed origins also get the answers of CORS.
//!
//! A request without `Origin` and `Sec-Fetch-Site` comes from no browser of this decade; devices send neither.
//! `tower_http::csrf` has the same rule, but lets every GET through, and a WebSocket is opened by one.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::error::{ApiError, Refusal};
use crate::state::AppState;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// How long a browser remembers what an allowed origin may do.
const PREFLIGHT_LIFETIME: Duration = Duration::from_secs(600);

/// An allowed origin that is none.
#[derive(Debug, thiserror::Error)]
#[error(
    "FITME_ALLOWED_ORIGINS names {0}, which is no origin; write for example https://app.example.org, without a path"
)]
pub struct BadOrigin(String);

/// Origins whose pages may use the server; none by default. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    allowed: Arc<HashSet<HeaderValue>>,
}

impl Origins {
    /// Allows these.
    ///
    /// # Errors
    /// When one is no origin.
    pub fn allowing(origins: &[String]) -> Result<Self, BadOrigin> {
        let given = origins.iter().map(|origin| origin.trim()).filter(|origin| !origin.is_empty());
        let allowed: Result<HashSet<_>, _> =
            given.map(|origin| parse(origin).ok_or(BadOrigin(origin.to_owned()))).collect();
        Ok(Self { allowed: Arc::new(allowed?) })
    }

    /// Tells browsers that these may read the answers; without any, nothing is told, which denies.
    #[must_use]
    pub fn cors(&self) -> Option<CorsLayer> {
        let some = !self.allowed.is_empty();
        some.then(|| {
            CorsLayer::new()
                .allow_origin(AllowOrigin::list(self.allowed.iter().cloned()))
                .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::PUT, Method::DELETE])
                .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE])
                .expose_headers([header::RETRY_AFTER, HeaderName::from_static("x-request-id")])
                .max_age(PREFLIGHT_LIFETIME)
        })
    }

    /// Whether a browser says that a page of a foreign origin sends this.
    fn is_foreign(&self, headers: &HeaderMap, uri: &Uri) -> bool {
        let origin = headers.get(header::ORIGIN);
        if origin.is_some_and(|origin| self.allowed.contains(origin)) {
            return false;
        }
        match headers.get(FETCH_SITE).map(HeaderValue::as_bytes) {
            Some(b"same-origin" | b"none") => false,
            Some(_) => true,
            None => origin.is_some_and(|origin| !is_own(origin, headers, uri)),
        }
    }
}

/// As browsers write them: scheme and host in small letters, no path.
fn parse(origin: &str) -> Option<HeaderValue> {
    let uri: Uri = origin.parse().ok()?;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "https" | "http"))?;
    let whole = format!("{scheme}://{}", uri.authority()?);
    (whole == origin.to_ascii_lowercase()).then(|| HeaderValue::from_str(&whole.to_ascii_lowercase()).ok())?
}

/// The scheme is not compared: behind a proxy the server does not know its own.
fn is_own(origin: &HeaderValue, headers: &HeaderMap, uri: &Uri) -> bool {
    let asked = uri.authority().map(|authority| authority.as_str().as_bytes());
    let asked = asked.or_else(|| headers.get(header::HOST).map(HeaderValue::as_bytes));
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    matches!((origin, asked), (Some((_, host)), Some(asked)) if host.as_bytes() == asked)
}

/// Middleware: refuses what pages of foreign origins send.
pub async fn refuse_foreign(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let opens_session = request.headers().contains_key(header::UPGRADE);
    if (!reads || opens_session) && state.edge.origins.is_foreign(request.headers(), request.uri()) {
        let refusal = Refusal::from(ApiError::CrossSite);
        refusal.log();
        return refusal.into_response();
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may")]

    use super::*;

    fn foreign(origins: &[&str], headers: &[(HeaderName, &str)]) -> bool {
        let origins: Vec<_> = origins.iter().map(|origin| (*origin).to_owned()).collect();
        let mut all: HeaderMap = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        all.insert(header::HOST, "sync.example.org".parse().unwrap());
        Origins::allowing(&origins).unwrap().is_foreign(&all, &Uri::from_static("/v1/login"))
    }

    #[test]
    fn a_page_is_foreign_unless_it_is_ours_or_allowed() {
        let origin = |value| (header::ORIGIN, value);
        let site = |value| (FETCH_SITE, value);
        assert!(!foreign(&[], &[]), "a device sends neither");
        assert!(foreign(&[], &[origin("https://evil.example")]));
        assert!(foreign(&[], &[origin("null")]));
        assert!(!foreign(&[], &[origin("https://sync.example.org")]));
        assert!(foreign(&[], &[origin("https://sync.example.org:8443")]));
        for (value, refused) in [("same-origin", false), ("none", false), ("same-site", true), ("cross-site", true)] {
            assert_eq!(foreign(&[], &[site(value)]), refused, "{value}");
        }
        let allowed = ["https://app.example.org"];
        assert!(!foreign(&allowed, &[origin("https://app.example.org"), site("same-site")]));
        assert!(foreign(&allowed, &[origin("http://app.example.org"), site("cross-site")]), "another scheme");
    }

    #[test]
    fn what_is_no_origin_is_refused_at_the_start() {
        for wrong in ["app.example.org", "https://app.example.org/", "https://app.example.org/x", "ftp://a", "*"] {
            assert!(Origins::allowing(&[wrong.to_owned()]).is_err(), "{wrong}");
        }
        assert!(Origins::allowing(&["https://app.example.org:8443".to_owned(), String::new()]).is_ok());
    }
}
