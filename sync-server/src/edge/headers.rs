//! What every answer tells a browser about itself. The server answers programs, so whatever a browser could do with an
//! answer beyond reading it is switched off; a page that is served one day sets its own policy and keeps it.

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, Response, header};

use crate::state::AppState;

/// A policy for what is no page: nothing may be loaded by it, run in it, or put around it.
const NO_PAGE: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox";
/// Header and value of every answer that has no such header.
const DEFENCES: [(HeaderName, HeaderValue); 6] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(NO_PAGE)),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    // Answers hold tokens and health data; what may be kept says so itself.
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];
/// Two years, as browsers ask of those who want to be known for it.
const ONLY_TLS: HeaderValue = HeaderValue::from_static("max-age=63072000");

/// Puts the headers on an answer.
pub async fn defend<B>(State(state): State<AppState>, mut response: Response<B>) -> Response<B> {
    let headers = response.headers_mut();
    for (name, value) in &DEFENCES {
        headers.entry(name).or_insert_with(|| value.clone());
    }
    if state.edge.tls {
        headers.entry(header::STRICT_TRANSPORT_SECURITY).or_insert(ONLY_TLS);
    }
    response
}
