//! `GET /v1/access-log`: the chain of one's own account, latest first, a page at a time, with the names that its ids have
//! now. Names are not in the chain: they change, and a chain cannot forget one.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::event;
use crate::auth::Device;
use crate::bytes::hex;
use crate::db::wall;
use crate::error::{ApiError, Refusal};
use crate::routes::Routes;
use crate::state::AppState;

/// Records of a page where nothing else is asked for.
const PAGE: i64 = 50;
/// Records of the longest page.
const PAGE_MAX: i64 = 200;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().closed(Method::GET, "/v1/access-log", list)
}

/// Which records.
#[derive(Deserialize)]
struct Wanted {
    /// Those before this number; the latest if none is given.
    #[serde(default)]
    before: Option<i64>,
    /// At most so many.
    #[serde(default)]
    limit: Option<i64>,
}

/// A page of the chain.
#[derive(Serialize)]
struct Page {
    /// Latest first.
    records: Vec<Listed>,
    /// What to ask for as `before` next; null at the end.
    before: Option<i64>,
    /// What the account's devices are called.
    devices: BTreeMap<Uuid, String>,
    /// What the account calls others, by its grants.
    people: BTreeMap<Uuid, String>,
}

#[derive(Serialize)]
struct Listed {
    n: i64,
    /// Milliseconds UTC.
    at: i64,
    kind: String,
    detail: Value,
    /// Whoever notes it down can show later that the chain was rewritten.
    hash: String,
}

async fn list(
    State(state): State<AppState>,
    asking: Device,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<Page>, Refusal> {
    let wanted = wanted.map_err(|rejection| ApiError::BadRequest.because(rejection.body_text()))?;
    let Query(Wanted { before, limit }) = wanted;
    let limit = limit.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(ApiError::BadRequest.because(format!("limit must be 1 to {PAGE_MAX}.")));
    }
    let mut tx = wall::begin(&state.pool, wall::BEGIN_READING, &[asking.account]).await?;
    let records = page(&mut tx, asking.account, before.unwrap_or(i64::MAX), limit).await?;
    let devices = devices(&mut tx, asking.account).await?;
    let people = people(&mut tx, asking.account, &others_in(&records)).await?;
    let before = records.last().map(|last| last.n).filter(|n| *n > 1);
    Ok(Json(Page { records, before, devices, people }))
}

async fn page(db: &mut PgConnection, account: Uuid, before: i64, limit: i64) -> Result<Vec<Listed>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT n, at_ms, kind, detail, hash FROM audit_records WHERE account = $1 AND n < $2 ORDER BY n DESC LIMIT $3",
        account,
        before,
        limit
    )
    .fetch_all(db)
    .await?;
    let listed = rows.into_iter().map(|row| Listed {
        n: row.n,
        at: row.at_ms,
        kind: row.kind,
        detail: event::parse(&row.detail),
        hash: hex(&row.hash),
    });
    Ok(listed.collect())
}

async fn devices(db: &mut PgConnection, account: Uuid) -> Result<BTreeMap<Uuid, String>, sqlx::Error> {
    let rows = sqlx::query!("SELECT device, name FROM devices WHERE account = $1", account).fetch_all(db).await?;
    Ok(rows.into_iter().map(|row| (row.device, row.name)).collect())
}

/// The accounts of others that records name.
fn others_in(records: &[Listed]) -> Vec<String> {
    let named = records.iter().flat_map(|listed| [&listed.detail["reader"], &listed.detail["grantee"]]);
    let named: BTreeSet<_> = named.filter_map(Value::as_str).collect();
    named.into_iter().map(str::to_owned).collect()
}

/// What they are called in the account's grants, by the latest where it has several.
async fn people(
    db: &mut PgConnection,
    account: Uuid,
    others: &[String],
) -> Result<BTreeMap<Uuid, String>, sqlx::Error> {
    if others.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = sqlx::query!(
        r#"SELECT DISTINCT ON (r.record->>'grantee') r.record->>'grantee' AS "grantee!", r.record->>'grantee_name' AS "name!"
           FROM feeds f JOIN records r USING (feed)
           WHERE f.account = $1 AND f.collection = 'grants' AND r.record->>'grantee' = ANY ($2)
             AND r.record->>'grantee_name' IS NOT NULL
           ORDER BY r.record->>'grantee', r.at DESC NULLS LAST, r.doc_id DESC"#,
        account,
        others
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().filter_map(|row| Some((row.grantee.parse().ok()?, row.name))).collect())
}
