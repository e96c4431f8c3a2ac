//! `POST /v1/exports`: a device tells that it has copied everything of its account into a file. It makes the file of what it
//! holds itself, so nothing else could tell; one that does not want to tell, does not.

use axum::extract::State;
use axum::http::{Method, StatusCode};

use super::event::{By, Event};
use crate::auth::Device;
use crate::db::wall;
use crate::error::Refusal;
use crate::routes::Routes;
use crate::state::AppState;

/// What devices write: an archive as docs/archive.md has it.
const FORM: &str = "zip";

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().closed(Method::POST, "/v1/exports", note)
}

async fn note(State(state): State<AppState>, Device { device, account }: Device) -> Result<StatusCode, Refusal> {
    let mut tx = wall::of(&state.pool, &[account]).await?;
    let event = Event::Exported { by: By::Device(device), form: FORM };
    super::record(&mut tx, account, state.clock.now_ms(), event).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
