//! `/v1/grants`: what an account shares and what is shared with it, for whoever has no store of its own, such as the web. A
//! device has all of this in its `grants` feed.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{Method, StatusCode};
use fitme_core::collection::Collection;
use fitme_core::id::{DocId, FeedId};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::auth::Device;
use crate::db::wall;
use crate::error::{ApiError, Refusal};
use crate::routes::Routes;
use crate::state::AppState;
use crate::web_writes::NewDocument;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().closed(Method::GET, "/v1/grants", list).closed(Method::POST, "/v1/grants/{grant}/revoke", revoke)
}

/// Grants that are not revoked. Those that are over are listed to who gave them alone.
#[derive(Serialize)]
struct Grants {
    given: Vec<Given>,
    received: Vec<Received>,
}

/// Times are milliseconds UTC.
#[derive(Serialize)]
struct Given {
    #[serde(rename = "id")]
    grant: Uuid,
    grantee: Uuid,
    /// How the grantee called themselves; null until the grant is merged.
    grantee_name: Option<String>,
    purpose: String,
    /// `[{collection, scope, access}]`
    feeds: Value,
    from_ms: Option<i64>,
    until_ms: Option<i64>,
}

#[derive(Serialize)]
struct Received {
    #[serde(rename = "id")]
    grant: Uuid,
    /// Whose records they are.
    account: Uuid,
    /// How that person wants to be seen.
    shown_as: String,
    purpose: String,
    feeds: Value,
    from_ms: Option<i64>,
    until_ms: Option<i64>,
}

async fn list(State(state): State<AppState>, device: Device) -> Result<Json<Grants>, Refusal> {
    let mut tx = wall::of(&state.pool, &[device.account]).await?;
    let given = given(&mut tx, device.account).await?;
    let received = received(&mut tx, device.account).await?;
    Ok(Json(Grants { given, received }))
}

async fn given(db: &mut PgConnection, account: Uuid) -> Result<Vec<Given>, sqlx::Error> {
    sqlx::query_as!(
        Given,
        r#"SELECT encode(g.grant_id, 'hex')::uuid AS "grant!", g.grantee, r.record ->> 'grantee_name' AS grantee_name,
                  g.purpose, g.feeds AS "feeds!", g.from_ms, g.until_ms
           FROM (
               SELECT n.account, n.grant_id, n.grantee, n.purpose, n.from_ms, n.until_ms,
                      jsonb_agg(jsonb_build_object('collection', f.collection, 'scope', f.scope, 'access', n.access)
                                ORDER BY f.collection, f.scope) AS feeds
               FROM grants_now n JOIN feeds f ON f.feed = n.feed
               WHERE n.account = $1 GROUP BY n.account, n.grant_id, n.grantee, n.purpose, n.from_ms, n.until_ms
           ) g
           JOIN feeds own ON own.account = g.account AND own.collection = 'grants' AND own.scope = ''
           LEFT JOIN records r ON r.feed = own.feed AND r.doc_id = g.grant_id
           ORDER BY g.grant_id"#,
        account
    )
    .fetch_all(db)
    .await
}

async fn received(db: &mut PgConnection, account: Uuid) -> Result<Vec<Received>, sqlx::Error> {
    sqlx::query_as!(
        Received,
        r#"SELECT encode(n.grant_id, 'hex')::uuid AS "grant!", n.account, n.shown_as, n.purpose,
                  jsonb_agg(jsonb_build_object('collection', f.collection, 'scope', f.scope, 'access', n.access)
                            ORDER BY f.collection, f.scope) AS "feeds!",
                  n.from_ms, n.until_ms
           FROM grants_now n
           JOIN places_of_feeds(ARRAY(SELECT feed FROM grants_now WHERE grantee = $1)) f ON f.feed = n.feed
           WHERE n.grantee = $1
             AND (n.until_ms IS NULL OR n.until_ms > (extract(epoch FROM clock_timestamp()) * 1000)::bigint)
           GROUP BY n.account, n.grant_id, n.shown_as, n.purpose, n.from_ms, n.until_ms
           ORDER BY n.grant_id"#,
        account
    )
    .fetch_all(db)
    .await
}

/// Ends a grant as the account's device would: by a document of the `grants` feed. Ended before, it stays ended.
async fn revoke(
    State(state): State<AppState>,
    device: Device,
    Path(grant): Path<String>,
) -> Result<StatusCode, Refusal> {
    let unknown = || ApiError::NotFound.because("The account has given no such grant; list them first.");
    let grant: DocId = grant.parse().map_err(|_| unknown())?;
    let Standing { feed, in_force, revoked } = standing(&state.pool, device.account, grant).await?;
    if revoked {
        return Ok(StatusCode::NO_CONTENT);
    }
    if !in_force {
        return Err(unknown());
    }
    let now_ms = state.clock.now_ms();
    let revocation = NewDocument {
        feed: FeedId(feed.cast_unsigned()),
        collection: Collection::Grants,
        doc_id: DocId::random(now_ms, &mut rand::rng()),
        fields: &revocation(grant, now_ms),
    };
    state.web_writer.create(&state.engine, device, &revocation, now_ms).await?;
    tracing::info!(account = %device.account, "grant revoked over HTTP");
    Ok(StatusCode::NO_CONTENT)
}

/// The record that ends a grant.
#[must_use]
pub fn revocation(grant: DocId, at_ms: i64) -> Value {
    json!({ "at": at_ms, "kind": "revocation", "revokes": grant.to_string() })
}

struct Standing {
    /// The account's `grants` feed.
    feed: i64,
    in_force: bool,
    revoked: bool,
}

async fn standing(pool: &PgPool, account: Uuid, grant: DocId) -> Result<Standing, sqlx::Error> {
    sqlx::query_as!(
        Standing,
        r#"SELECT feed,
                  EXISTS (SELECT FROM grants_now WHERE account = $1 AND grant_id = $2) AS "in_force!",
                  EXISTS (SELECT FROM revocations WHERE account = $1 AND grant_id = $2) AS "revoked!"
           FROM feeds WHERE account = $1 AND collection = 'grants' AND scope = ''"#,
        account,
        grant.as_bytes()
    )
    .fetch_one(&mut *wall::of(pool, &[account]).await?)
    .await
}
