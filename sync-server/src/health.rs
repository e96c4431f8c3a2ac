//! For whoever runs the server: does the process live, and can it do its work.

use std::time::Duration;

use axum::extract::State;
use axum::http::Method;

use crate::db;
use crate::error::{ApiError, Refusal};
use crate::routes::Routes;
use crate::state::AppState;

/// A database that needs longer for the smallest question cannot serve devices either.
const READY_TIMEOUT: Duration = Duration::from_secs(2);

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().open(Method::GET, "/healthz", healthz).open(Method::GET, "/readyz", readyz)
}

/// Answers as long as the process lives, whatever happened to the database.
async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(State(state): State<AppState>) -> Result<&'static str, Refusal> {
    match tokio::time::timeout(READY_TIMEOUT, db::ping(&state.pool)).await {
        Ok(Ok(())) => Ok("ready\n"),
        Ok(Err(error)) => Err(ApiError::Unavailable.caused_by(error)),
        Err(_) => Err(ApiError::Unavailable.caused_by("the database took too long for the smallest question")),
    }
}
