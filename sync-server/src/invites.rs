//! Invitations: what somebody asks others for, as a code that one account may accept. Accepting makes the inviter a
//! possible grantee; the grant itself is a document that the accepting person's device writes.

use axum::Json;
use axum::extract::State;
use axum::http::{Method, StatusCode};
use fitme_core::collection::Collection;
use fitme_core::limits::NAME_BYTES;
use fitme_core::policy::{Access, Purpose, Role};
use fitme_core::record::grant::GRANTED_FEEDS;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::accounts::address;
use crate::auth::Device;
use crate::bytes::random_bytes;
use crate::db::{wall, whose};
use crate::error::{ApiError, Refusal};
use crate::json_body::JsonBody;
use crate::routes::Routes;
use crate::state::AppState;

/// How long an invitation can be accepted.
const LIFETIME_DAYS: i32 = 14;
/// Invitations of one account that can be accepted at a time.
const OPEN_INVITES: i64 = 200;
/// Days for which a grant may be asked for.
const GRANT_DAYS: std::ops::RangeInclusive<i32> = 1..=3_650;
/// Letters and digits that nobody mistakes for each other when a code is read out.
const ALPHABET: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";
/// 60 random bits in three groups of four.
const CODE_CHARACTERS: usize = 12;
const GROUP: usize = 4;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().closed(Method::POST, "/v1/invites", invite).closed(Method::POST, "/v1/invites/look", look).closed(
        Method::POST,
        "/v1/invites/accept",
        accept,
    )
}

/// One feed that is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Asked {
    collection: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    scope: String,
    access: String,
}

/// What somebody asks for.
#[derive(Deserialize)]
struct Request {
    /// How they call themselves.
    name: String,
    purpose: String,
    feeds: Vec<Asked>,
    /// For how long; until it is revoked if it is not said.
    #[serde(default)]
    days: Option<i32>,
}

#[derive(Serialize)]
struct Invited {
    code: String,
    expires_at_ms: i64,
}

#[derive(Deserialize)]
struct Code {
    code: String,
}

/// What an invitation asks for, for the person who decides.
#[derive(Debug, Serialize)]
pub struct Terms {
    grantee: Uuid,
    grantee_name: String,
    grantee_email: String,
    role: String,
    purpose: String,
    feeds: serde_json::Value,
    days: Option<i32>,
}

async fn invite(
    State(state): State<AppState>,
    device: Device,
    JsonBody(request): JsonBody<Request>,
) -> Result<(StatusCode, Json<Invited>), Refusal> {
    let mut tx = wall::of(&state.pool, &[device.account]).await?;
    let role = role_of(&mut tx, device.account).await?;
    check(&request, role)?;
    address::demand_confirmed(&mut tx, device.account).await?;
    let code = draw_code();
    let row = sqlx::query!(
        r#"INSERT INTO invites (code_hash, grantee, grantee_name, role, purpose, feeds, days, expires_at)
           SELECT $1, $2, $3, $4, $5, $6, $7, now() + make_interval(days => $8)
           WHERE (SELECT count(*) FROM invites WHERE grantee = $2 AND accepted_by IS NULL AND expires_at > now()) < $9
           RETURNING (extract(epoch FROM expires_at) * 1000)::bigint AS "expires_at_ms!""#,
        &hash_of(&code)[..],
        device.account,
        request.name.trim(),
        role.name(),
        request.purpose,
        serde_json::to_value(&request.feeds).map_err(|error| ApiError::Internal.caused_by(error))?,
        request.days,
        LIFETIME_DAYS,
        OPEN_INVITES
    )
    .fetch_optional(&mut *tx)
    .await?;
    let row = row.ok_or(ApiError::TooManyInvites)?;
    tx.commit().await?;
    tracing::info!(account = %device.account, "invitation made");
    Ok((StatusCode::CREATED, Json(Invited { code, expires_at_ms: row.expires_at_ms })))
}

async fn look(
    State(state): State<AppState>,
    device: Device,
    JsonBody(Code { code }): JsonBody<Code>,
) -> Result<Json<Terms>, Refusal> {
    let mut tx = wall::of(&state.pool, &[device.account]).await?;
    whose::by_invite(&mut tx, &hash_of(&code), device.account).await?;
    Ok(Json(terms(&mut tx, device.account, &code).await?))
}

/// The first account that accepts an invitation is the only one; it may do so again when the answer was lost.
async fn accept(
    State(state): State<AppState>,
    device: Device,
    JsonBody(Code { code }): JsonBody<Code>,
) -> Result<Json<Terms>, Refusal> {
    let mut tx = wall::of(&state.pool, &[device.account]).await?;
    address::demand_confirmed(&mut tx, device.account).await?;
    whose::by_invite(&mut tx, &hash_of(&code), device.account).await?;
    let grantee = sqlx::query_scalar!(
        "UPDATE invites SET accepted_by = $2, accepted_at = now()
         WHERE code_hash = $1 AND grantee <> $2 AND (accepted_by = $2 OR (accepted_by IS NULL AND expires_at > now()))
         RETURNING grantee",
        &hash_of(&code)[..],
        device.account
    )
    .fetch_optional(&mut *tx)
    .await?;
    let grantee = grantee.ok_or(ApiError::UnknownInvite)?;
    sqlx::query!(
        "INSERT INTO relations (account, grantee) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        device.account,
        grantee
    )
    .execute(&mut *tx)
    .await?;
    let terms = terms(&mut tx, device.account, &code).await?;
    tx.commit().await?;
    tracing::info!(account = %device.account, %grantee, "invitation accepted");
    Ok(Json(terms))
}

async fn role_of(db: &mut PgConnection, account: Uuid) -> Result<Role, Refusal> {
    let role = sqlx::query_scalar!("SELECT role FROM accounts WHERE account = $1", account).fetch_one(db).await?;
    Role::named(&role).ok_or_else(|| ApiError::Internal.caused_by("an account has a role that does not exist"))
}

/// An invitation that `account` may accept, or has accepted.
async fn terms(db: &mut PgConnection, account: Uuid, code: &str) -> Result<Terms, Refusal> {
    let terms = sqlx::query_as!(
        Terms,
        "SELECT i.grantee, i.grantee_name, a.email AS grantee_email, i.role, i.purpose, i.feeds, i.days
         FROM invites i JOIN accounts a ON a.account = i.grantee
         WHERE i.code_hash = $1 AND i.grantee <> $2
           AND (i.accepted_by = $2 OR (i.accepted_by IS NULL AND i.expires_at > now()))",
        &hash_of(code)[..],
        account
    )
    .fetch_optional(db)
    .await?;
    Ok(terms.ok_or(ApiError::UnknownInvite)?)
}

fn check(request: &Request, role: Role) -> Result<(), Refusal> {
    let name = request.name.trim();
    if name.is_empty() || name.len() > NAME_BYTES || name.contains(char::is_control) {
        return Err(ApiError::BadRequest.because(format!("name must be 1 to {NAME_BYTES} bytes of plain text.")));
    }
    if request.days.is_some_and(|days| !GRANT_DAYS.contains(&days)) {
        let (first, last) = (GRANT_DAYS.start(), GRANT_DAYS.end());
        return Err(ApiError::BadRequest.because(format!("days must be {first} to {last}.")));
    }
    if request.feeds.is_empty() || request.feeds.len() > GRANTED_FEEDS {
        return Err(ApiError::BadRequest.because(format!("feeds must name 1 to {GRANTED_FEEDS} feeds.")));
    }
    let purpose = Purpose::named(&request.purpose);
    let purpose =
        purpose.ok_or_else(|| ApiError::BadRequest.because("purpose is none that docs/permissions.md lists."))?;
    let refused = request.feeds.iter().find(|asked| !may_ask(role, purpose, asked));
    refused.map_or(Ok(()), |asked| {
        let Asked { collection, access, .. } = asked;
        let sentence = format!(
            "A {role} may not ask to {access} {collection} for {}; docs/permissions.md lists what each role may ask for.",
            purpose.name()
        );
        Err(ApiError::NotForRole.because(sentence))
    })
}

fn may_ask(role: Role, purpose: Purpose, asked: &Asked) -> bool {
    let known = Collection::feeds_of_an_account()
        .any(|(collection, scope)| collection.name() == asked.collection && scope == asked.scope);
    let (collection, access) = (Collection::named(&asked.collection), Access::named(&asked.access));
    known && collection.zip(access).is_some_and(|(collection, access)| role.asks(purpose, collection, access))
}

fn draw_code() -> String {
    let characters: Vec<u8> =
        random_bytes::<CODE_CHARACTERS>().iter().map(|byte| ALPHABET[usize::from(byte % 32)]).collect();
    let groups: Vec<_> = characters.chunks(GROUP).map(String::from_utf8_lossy).collect();
    groups.join("-")
}

/// However a person typed it.
fn hash_of(code: &str) -> [u8; blake3::OUT_LEN] {
    let plain: String = code.chars().filter(char::is_ascii_alphanumeric).collect();
    *blake3::hash(plain.to_ascii_uppercase().as_bytes()).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_the_same_however_it_is_typed() {
        let code = draw_code();
        assert_eq!(code.len(), CODE_CHARACTERS + 2);
        let typed = format!(" {} ", code.to_lowercase().replace('-', " "));
        assert_eq!(hash_of(&typed), hash_of(&code));
        assert_ne!(hash_of(&draw_code()), hash_of(&code));
    }
}
