//! Sign-up and login: each registers the asking device, signs it in, and hands it its tokens and the account's feeds.

use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::{Method, StatusCode};
use fitme_core::policy::Role;
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::account_feeds::{AccountFeed, ensure_feeds};
use crate::audit::{self, Event};
use crate::auth::Device;
use crate::db::{installation, wall, whose};
use crate::error::{ApiError, Refusal};
use crate::json_body::JsonBody;
use crate::routes::Routes;
use crate::slow_reader::Peer;
use crate::state::AppState;

pub mod address;
pub mod administration;
mod credentials;
pub mod device_key;
pub mod devices;
pub mod housekeeping;
pub mod lockout;
pub mod mailed_tokens;
pub mod oidc;
pub mod password;
pub mod refresh_token;
pub mod sign_ins;
pub mod signup;
pub mod tokens;
pub mod totp;

use credentials::Credentials;
use device_key::parse_public_key;
use devices::PublicKey;
use lockout::Attempt;
use tokens::Tokens;

/// Constraint that keeps an address from having two accounts.
const ONE_ACCOUNT_AN_EMAIL: &str = "accounts_email";

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .open(Method::POST, "/v1/signup", sign_up)
        .open(Method::POST, "/v1/login", log_in)
        .merge(tokens::routes())
        .merge(devices::routes())
        .merge(address::routes())
        .merge(password::routes())
        .merge(totp::routes())
        .merge(oidc::routes())
}

/// What a device needs to begin.
#[derive(Serialize)]
pub struct SignedIn {
    account: Uuid,
    device: Uuid,
    /// What the account calls it, which may not be what it calls itself.
    device_name: String,
    #[serde(flatten)]
    tokens: Tokens,
    installation: String,
    feeds: Vec<AccountFeed>,
}

async fn sign_up(
    State(state): State<AppState>,
    JsonBody(credentials): JsonBody<Credentials>,
) -> Result<(StatusCode, Json<SignedIn>), Refusal> {
    let Credentials { email, password, device_name, role, public_key, .. } = credentials.checked_for_sign_up()?;
    let asking = Asking { name: &device_name, keep_name: false, known: None, public_key: read_key(public_key)? };
    // Before the hash, which is what a closed server need not pay for, and so without the transaction around the rest.
    signup::demand_open(&mut *wall::of(&state.pool, &[]).await?).await?;
    let hash = state.passwords.hash(password).await?;
    let account = Uuid::now_v7();
    let mut tx = wall::of(&state.pool, &[account]).await?;
    insert_account(&mut tx, account, &email, Some(&hash), role.as_deref().unwrap_or(Role::Member.name())).await?;
    let signed_in = admit(&mut tx, &state, account, &asking).await?;
    tx.commit().await?;
    address::send_token(&state, account);
    tracing::info!(%account, device = %signed_in.device, "account created");
    Ok((StatusCode::CREATED, Json(signed_in)))
}

async fn log_in(
    State(state): State<AppState>,
    ConnectInfo(Peer(address)): ConnectInfo<Peer>,
    JsonBody(credentials): JsonBody<Credentials>,
) -> Result<Json<SignedIn>, Refusal> {
    let credentials = credentials.checked_for_login()?;
    let Credentials { email, password, device_name, keep_name, device, public_key, code, .. } = credentials;
    let asking = Asking { name: &device_name, keep_name, known: device, public_key: read_key(public_key)? };
    let attempt = Attempt::new(&email, address);
    attempt.begin(&state.pool, state.clock.now_ms()).await?;
    let (account, hash) = known(&state, &email).await?.unzip();
    // Who enters by a provider alone has no password: any is wrong, at the same cost.
    let fits = match state.passwords.fits(password, hash.flatten()).await {
        Ok(fits) => fits,
        Err(busy) => {
            attempt.was_not_looked_at(&state.pool).await?;
            return Err(busy);
        }
    };
    let account = account.filter(|_| fits).ok_or(ApiError::WrongCredentials)?;
    let mut tx = wall::of(&state.pool, &[account]).await?;
    totp::demand(&mut tx, &state, account, code.as_deref()).await?;
    attempt.succeeded(&mut tx).await?;
    let signed_in = admit(&mut tx, &state, account, &asking).await?;
    tx.commit().await?;
    tracing::info!(%account, device = %signed_in.device, "device logged in");
    Ok(Json(signed_in))
}

/// The account of an address, and what its password is compared with.
async fn known(state: &AppState, email: &str) -> Result<Option<(Uuid, Option<String>)>, sqlx::Error> {
    let mut tx = wall::of(&state.pool, &[]).await?;
    let Some(account) = whose::by_email(&mut tx, email).await? else { return Ok(None) };
    let hash = sqlx::query_scalar!("SELECT password_hash FROM accounts WHERE account = $1", account);
    Ok(Some((account, hash.fetch_one(&mut *tx).await?)))
}

async fn insert_account(
    db: &mut PgConnection,
    account: Uuid,
    email: &str,
    password_hash: Option<&str>,
    role: &str,
) -> Result<(), Refusal> {
    sqlx::query!(
        "INSERT INTO accounts (account, email, password_hash, role) VALUES ($1, $2, $3, $4)",
        account,
        email,
        password_hash,
        role
    )
    .execute(db)
    .await
    .map_err(|error| match error.as_database_error().and_then(|refused| refused.constraint()) {
        Some(ONE_ACCOUNT_AN_EMAIL) => ApiError::EmailTaken.into(),
        _ => Refusal::from(error),
    })?;
    Ok(())
}

/// The device that asks.
struct Asking<'a> {
    name: &'a str,
    /// Whether a device that is known keeps the name it has.
    keep_name: bool,
    /// The device that its home was before, if it was one.
    known: Option<Uuid>,
    public_key: Option<PublicKey>,
}

fn read_key(text: Option<String>) -> Result<Option<PublicKey>, Refusal> {
    let key = text.map(|text| parse_public_key(&text));
    let wrong =
        || ApiError::BadRequest.because("public_key must be the 32 bytes of an Ed25519 key as base64 for URLs.");
    key.map(|key| key.ok_or_else(wrong)).transpose()
}

/// Registers the device, or takes it back, signs it in and collects what it needs to begin.
async fn admit(
    db: &mut PgConnection,
    state: &AppState,
    account: Uuid,
    asking: &Asking<'_>,
) -> Result<SignedIn, Refusal> {
    let feeds = ensure_feeds(db, account).await?;
    let key = asking.public_key.as_ref();
    let kept = match asking.known {
        Some(device) if asking.keep_name => devices::name_of(db, device).await?,
        _ => None,
    };
    let device_name = match kept {
        Some(name) => name,
        None => devices::free_name(db, account, asking.name, asking.known).await?,
    };
    let known = match asking.known {
        Some(device) if devices::take_back(db, account, device, &device_name, key).await? => Some(device),
        _ => None,
    };
    let device = match known {
        Some(device) => device,
        None => devices::register(db, account, &device_name, key).await?,
    };
    let now_ms = state.clock.now_ms();
    let sign_in = sign_ins::begin(db, Device { device, account }, now_ms).await?;
    let installation = installation::in_hex(installation::current(db).await?);
    audit::record(db, account, now_ms, Event::SignedIn { device }).await?;
    Ok(SignedIn { account, device, device_name, tokens: Tokens::of(state, &sign_in)?, installation, feeds })
}
