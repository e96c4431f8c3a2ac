//! All of HTTP in one place: the routes, and the one stack of layers that every request passes.

use std::any::Any;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::error_handling::HandleErrorLayer;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request};
use axum::handler::Handler;
use axum::http::{HeaderMap, HeaderName, Method, Response, header};
use axum::middleware::{Next, from_fn, from_fn_with_state, map_response_with_state};
use axum::response::IntoResponse;
use futures_util::StreamExt;
use opentelemetry::propagation::Extractor;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::load_shed::error::Overloaded;
use tower::timeout::error::Elapsed;
use tower::util::option_layer;
use tower::{BoxError, ServiceBuilder};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, RequestId, SetRequestIdLayer};
use tower_http::trace::TraceLayer;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::auth::signing_keys;
use crate::edge::{headers, origins, pace, peer, turns};
use crate::error::{ApiError, Refusal};
use crate::routes::Routes;
use crate::state::AppState;
use crate::{accounts, audit, consents, erase, health, invites, metrics, once, services, ws};

/// Longest body, in bytes, of a route that does not set its own limit with a [`DefaultBodyLimit`].
pub const BODY_LIMIT_BYTES: usize = 16 * 1024;
/// Bytes of a body that is too long which are taken and thrown away before the answer, and for how long.
const DISCARDED_BYTES: usize = 4 * once::REQUEST_BYTES;
const DISCARD_TIME: Duration = Duration::from_secs(2);
/// Longest request id that is taken over from a proxy.
const REQUEST_ID_MAX_BYTES: usize = 64;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The whole server as one service.
pub fn router(state: AppState) -> Router {
    stack(routes(), state)
}

/// Every route.
pub fn routes() -> Routes {
    Routes::new()
        .merge(health::routes())
        .merge(accounts::routes())
        .merge(signing_keys::routes())
        .merge(invites::routes())
        .merge(audit::access_log::routes())
        .merge(audit::exports::routes())
        .merge(erase::routes())
        .merge(consents::routes())
        .merge(services::routes())
        .closed(Method::GET, "/v1/sync", ws::sync)
        .closed(Method::POST, "/v1/sync/once", once::sync_once.layer(DefaultBodyLimit::max(once::REQUEST_BYTES)))
}

/// Puts the layers around routes, outermost first. The order is fixed by a test:
/// an answer of any layer carries the request id and the defences of a browser and is traced; a panic in any later layer
/// becomes a typed error; what a foreign page sends, and who asks too much, takes nobody's place; waiting counts against the
/// timeout; a server with too much to do spends no database query on finding out who asks, which closed routes do last of
/// all; and the log knows who asked.
pub fn stack(routes: Routes, state: AppState) -> Router {
    let layers = ServiceBuilder::new()
        .map_request(drop_odd_request_id)
        .layer(SetRequestIdLayer::new(REQUEST_ID, MakeRequestUuid))
        .layer(PropagateRequestIdLayer::new(REQUEST_ID))
        .layer(map_response_with_state(state.clone(), headers::defend))
        .layer(map_response_with_state(state.clone(), metrics::count_refusal))
        .layer(
            TraceLayer::new_for_http()
                .make_span_with(request_span)
                .on_request(())
                .on_response(())
                .on_body_chunk(())
                .on_eos(())
                .on_failure(()),
        )
        .layer(CatchPanicLayer::custom(answer_to_panic))
        .layer(option_layer(state.edge.origins.cors()))
        .layer(from_fn_with_state(state.clone(), origins::refuse_foreign))
        .layer(from_fn_with_state(state.clone(), peer::find_peer))
        .layer(from_fn_with_state(state.clone(), pace::pace_address))
        .layer(from_fn(refuse_long_body))
        .layer(HandleErrorLayer::new(answer_to_layer))
        .timeout(state.limits.timeout)
        .load_shed()
        .layer(GlobalConcurrencyLimitLayer::new(state.limits.requests))
        .layer(DefaultBodyLimit::max(BODY_LIMIT_BYTES))
        .layer(from_fn_with_state(state.clone(), turns::wait_for_turn))
        .layer(from_fn(log));
    routes
        .guarded(&state)
        .fallback(|| async { ApiError::NotFound })
        .method_not_allowed_fallback(|| async { ApiError::NotFound })
        .layer(layers)
        .with_state(state)
}

/// A body that says it is longer than any route takes is refused before anything of it is looked at, whoever sends it.
async fn refuse_long_body(request: Request, next: Next) -> Response<Body> {
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > once::REQUEST_BYTES as u64) {
        let _time_is_up = tokio::time::timeout(DISCARD_TIME, discard(request.into_body())).await;
        let refusal = Refusal::from(ApiError::PayloadTooLarge);
        refusal.log();
        return refusal.into_response();
    }
    next.run(request).await
}

/// Who sends a little too much hears why: an answer is lost where the connection ends on bytes that nobody took.
async fn discard(body: Body) {
    let (mut stream, mut left) = (body.into_data_stream(), DISCARDED_BYTES);
    while left > 0
        && let Some(Ok(bytes)) = stream.next().await
    {
        left = left.saturating_sub(bytes.len());
    }
}

/// A request id that a proxy gave is kept, so that both logs can be read together; anything long or strange is not.
fn drop_odd_request_id(mut request: Request) -> Request {
    let odd = |id: &axum::http::HeaderValue| {
        id.len() > REQUEST_ID_MAX_BYTES || !id.as_bytes().iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
    };
    if request.headers().get(&REQUEST_ID).is_some_and(odd) {
        request.headers_mut().remove(&REQUEST_ID);
    }
    request
}

/// The span of a request, child of the caller's when it sent a `traceparent`. The route, not the path: paths hold ids.
fn request_span(request: &Request) -> Span {
    let id = request.extensions().get::<RequestId>().and_then(|id| id.header_value().to_str().ok()).unwrap_or_default();
    let route = route_of(request);
    let span = tracing::info_span!(
        "request",
        otel.name = format!("{} {route}", request.method()),
        otel.kind = "server",
        request_id = id,
        method = %request.method(),
        route,
        device = tracing::field::Empty,
        account = tracing::field::Empty,
    );
    let caller =
        opentelemetry::global::get_text_map_propagator(|propagator| propagator.extract(&Headers(request.headers())));
    // Fails only where no traces are sent, and then nobody needs the parent.
    let _ = span.set_parent(caller);
    span
}

fn route_of(request: &Request) -> &str {
    request.extensions().get::<MatchedPath>().map_or("unknown", MatchedPath::as_str)
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

/// Where and why was logged by the panic hook.
fn answer_to_panic(_payload: Box<dyn Any + Send + 'static>) -> Response<Body> {
    let refusal = ApiError::Internal.caused_by("a handler panicked");
    refusal.log();
    refusal.into_response()
}

async fn answer_to_layer(error: BoxError) -> Refusal {
    let refusal = if error.is::<Elapsed>() {
        Refusal::from(ApiError::Timeout)
    } else if error.is::<Overloaded>() {
        Refusal::from(ApiError::Overloaded)
    } else {
        ApiError::Internal.caused_by(error)
    };
    refusal.log();
    refusal
}

/// One line a request, and one more with the reason where it was refused.
async fn log(request: Request, next: Next) -> Response<Body> {
    let started = Instant::now();
    let probe = matches!(route_of(&request), "/healthz" | "/readyz");
    let response = next.run(request).await;
    if let Some(refusal) = response.extensions().get::<Refusal>() {
        refusal.log();
    }
    let (status, ms) = (response.status().as_u16(), started.elapsed().as_secs_f64() * 1e3);
    if probe {
        tracing::debug!(status, ms, "request");
    } else {
        tracing::info!(status, ms, "request");
    }
    response
}
