//! Sign-in by an OpenID Connect provider, beside passwords. Why the browser ends on the device: docs/adr/0008-oidc.md.
//!
//! 1. A device starts a sign-in and keeps a secret, whose hash it shows; it gets the address for the browser.
//! 2. The provider sends the browser back with a code; the server has it exchanged and verified, and sends the browser on
//!    to the device with a ticket.
//! 3. The device finishes with ticket and secret, and is signed in as by a password.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::url::Url;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::credentials::checked_device_name;
use super::lockout::Attempt;
use super::{Asking, SignedIn, admit, password, read_key, totp};
use crate::audit::{self, Event};
use crate::auth::Device;
use crate::db::wall;
use crate::error::{ApiError, Refusal};
use crate::json_body::JsonBody;
use crate::routes::Routes;
use crate::slow_reader::Peer;
use crate::state::AppState;

mod bounded_http;
pub(super) mod identities;
pub mod pending;
pub mod provider;
mod secrets;
pub mod settings;

use pending::{Proof, Start};
use provider::{Provider, Unproved};
use secrets::Secrets;

/// Where the app of a phone takes the ticket. Other apps may claim the same name, but have not the device's secret.
const APP_RETURN: &str = "fitme:/signed-in";
/// Longest address of a device.
const RETURN_BYTES: usize = 256;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .open(Method::POST, "/v1/oidc/start", start)
        .open(Method::GET, settings::CALLBACK, call_back)
        .open(Method::POST, "/v1/oidc/finish", finish)
        .closed(Method::POST, "/v1/oidc/link", start_link)
        .closed(Method::POST, "/v1/oidc/link/finish", finish_link)
}

#[derive(Deserialize)]
struct Starting {
    /// The device's own address: of a port on the same computer, or of the app.
    return_to: String,
    /// SHA-256 of the device's secret, base64 for URLs.
    challenge: String,
}

/// Where to send the browser, and until when it may be back.
#[derive(Serialize)]
struct Started {
    url: String,
    expires_at_ms: i64,
}

async fn start(
    State(state): State<AppState>,
    ConnectInfo(Peer(address)): ConnectInfo<Peer>,
    JsonBody(starting): JsonBody<Starting>,
) -> Result<Json<Started>, Refusal> {
    begin(&state, checked(&starting, address, None)?).await
}

/// The password is asked for where there is one: a stolen access token must not become a way in for ever.
#[derive(Deserialize)]
struct Linking {
    password: Option<String>,
    #[serde(flatten)]
    starting: Starting,
}

async fn start_link(
    State(state): State<AppState>,
    ConnectInfo(Peer(address)): ConnectInfo<Peer>,
    device: Device,
    JsonBody(linking): JsonBody<Linking>,
) -> Result<Json<Started>, Refusal> {
    let start = checked(&linking.starting, address, Some(device.account))?;
    password::demand(&state, device.account, address, linking.password).await?;
    begin(&state, start).await
}

fn checked(starting: &Starting, address: std::net::IpAddr, links: Option<Uuid>) -> Result<Start<'_>, Refusal> {
    let challenge = URL_SAFE_NO_PAD.decode(&starting.challenge).ok().and_then(|bytes| bytes.try_into().ok());
    let wrong = || ApiError::BadRequest.because("challenge must be the SHA-256 of a secret as base64 for URLs.");
    if !is_on_the_device(&starting.return_to) {
        let sentence = format!("return_to must be http://127.0.0.1:PORT/, http://[::1]:PORT/ or {APP_RETURN}.");
        return Err(ApiError::BadRequest.because(sentence));
    }
    Ok(Start { challenge: challenge.ok_or_else(wrong)?, return_to: &starting.return_to, address, links })
}

/// Whether the browser ends on the device that starts the sign-in: a ticket that went elsewhere would sign somebody else in.
/// By number, as names may be led elsewhere (RFC 8252).
fn is_on_the_device(return_to: &str) -> bool {
    let Some(url) = Url::parse(return_to).ok().filter(|_| return_to.len() <= RETURN_BYTES) else { return false };
    let port = url.port();
    let loopback = ["127.0.0.1", "[::1]"];
    return_to == APP_RETURN
        || loopback.iter().any(|host| port.is_some_and(|port| url.as_str() == format!("http://{host}:{port}/")))
}

async fn begin(state: &AppState, start: Start<'_>) -> Result<Json<Started>, Refusal> {
    let secrets = Secrets::draw(&state.master);
    let url = provider(state)?.authorization_url(&secrets).await.map_err(|unproved| failed(&unproved))?;
    let expires_at_ms = pending::open(&state.pool, &secrets, &start, state.clock.now_ms()).await?;
    Ok(Json(Started { url: url.into(), expires_at_ms }))
}

fn provider(state: &AppState) -> Result<&Provider, Refusal> {
    let none = || ApiError::NotFound.because("This server has no sign-in by a provider; log in with a password.");
    state.oidc.as_ref().ok_or_else(none)
}

fn failed(unproved: &Unproved) -> Refusal {
    ApiError::ProviderFailed.caused_by(unproved)
}

/// What the browser brings from the provider: a code, or an error.
#[derive(Deserialize)]
struct CalledBack {
    state: Option<String>,
    code: Option<String>,
}

/// What came of it is told to the device alone, when it finishes: the browser is sent there whatever it is.
async fn call_back(
    State(state): State<AppState>,
    query: Result<Query<CalledBack>, QueryRejection>,
) -> Result<Response, Refusal> {
    let provider = provider(&state)?;
    let Query(back) = query.map_err(|rejection| ApiError::BadRequest.because(rejection.body_text()))?;
    let secrets = Secrets::of(&state.master, back.state.unwrap_or_default());
    let return_to = pending::call_back(&state.pool, &secrets, state.clock.now_ms()).await?;
    let return_to = return_to.ok_or(ApiError::WrongSignIn)?;
    let named = match back.code {
        Some(code) => provider.identity(code, &secrets).await,
        None => Err(Unproved::Declined),
    };
    if let Err(unproved) = &named {
        failed(unproved).log();
    }
    let ticket = pending::note(&state.pool, &secrets, &named).await?;
    let kept_by_nobody = [(header::CACHE_CONTROL, "no-store"), (header::REFERRER_POLICY, "no-referrer")];
    Ok((kept_by_nobody, Redirect::to(&format!("{return_to}?ticket={ticket}"))).into_response())
}

/// Not `Debug`: it holds what signs in.
#[derive(Deserialize)]
struct Finishing {
    ticket: String,
    verifier: String,
    device_name: String,
    #[serde(default)]
    keep_name: bool,
    #[serde(default)]
    device: Option<Uuid>,
    #[serde(default)]
    public_key: Option<String>,
    /// Where the account asks for one: of the second factor, or a recovery code.
    #[serde(default)]
    code: Option<String>,
}

#[derive(Serialize)]
struct Finished {
    /// The account's address: the device does not know it yet.
    email: String,
    #[serde(flatten)]
    signed_in: SignedIn,
}

/// A provider vouches for who somebody is; where the account asks for a code, it asks here as well.
async fn finish(
    State(state): State<AppState>,
    ConnectInfo(Peer(address)): ConnectInfo<Peer>,
    JsonBody(finishing): JsonBody<Finishing>,
) -> Result<Json<Finished>, Refusal> {
    let device_name = checked_device_name(&finishing.device_name)?;
    let public_key = read_key(finishing.public_key)?;
    let asking = Asking { name: &device_name, keep_name: finishing.keep_name, known: finishing.device, public_key };
    let issuer = provider(&state)?.issuer();
    let proof = Proof { ticket: &finishing.ticket, verifier: &finishing.verifier, links: None };
    let now_ms = state.clock.now_ms();
    let identity = pending::named(&state.pool, &proof, now_ms).await?;
    // Guesses of a code are counted for whom the provider named.
    let attempt = Attempt::new(&format!("{issuer} {}", identity.subject), address);
    attempt.begin(&state.pool, now_ms).await?;
    let mut tx = wall::of(&state.pool, &[]).await?;
    pending::redeem(&mut tx, &proof).await?;
    let account = identities::account_of(&mut tx, issuer, &identity, now_ms).await?;
    totp::demand(&mut tx, &state, account, finishing.code.as_deref()).await?;
    attempt.succeeded(&mut tx).await?;
    let signed_in = admit(&mut tx, &state, account, &asking).await?;
    let email =
        sqlx::query_scalar!("SELECT email FROM accounts WHERE account = $1", account).fetch_one(&mut *tx).await?;
    tx.commit().await?;
    tracing::info!(%account, device = %signed_in.device, "device logged in by a provider");
    Ok(Json(Finished { email, signed_in }))
}

#[derive(Deserialize)]
struct FinishingLink {
    ticket: String,
    verifier: String,
}

async fn finish_link(
    State(state): State<AppState>,
    device: Device,
    JsonBody(finishing): JsonBody<FinishingLink>,
) -> Result<StatusCode, Refusal> {
    let (issuer, account) = (provider(&state)?.issuer(), device.account);
    let proof = Proof { ticket: &finishing.ticket, verifier: &finishing.verifier, links: Some(account) };
    let now_ms = state.clock.now_ms();
    let identity = pending::named(&state.pool, &proof, now_ms).await?;
    let mut tx = wall::of(&state.pool, &[account]).await?;
    pending::redeem(&mut tx, &proof).await?;
    identities::link(&mut tx, issuer, &identity, account, now_ms).await?;
    audit::record(&mut tx, account, now_ms, Event::IdentityLinked { by: device.device }).await?;
    tx.commit().await?;
    tracing::info!(%account, "sign-in provider linked");
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::is_on_the_device;

    #[test]
    fn a_browser_ends_on_the_device_and_nowhere_else() {
        for here in ["http://127.0.0.1:4711/", "http://[::1]:4711/", "fitme:/signed-in"] {
            assert!(is_on_the_device(here), "{here}");
        }
        let elsewhere = [
            "http://127.0.0.1/",
            "http://localhost:4711/",
            "http://127.0.0.1:4711/?x=1",
            "http://127.0.0.1:4711@evil.example.org/",
            "http://127.0.0.1.evil.example.org:4711/",
            "https://evil.example.org/",
            "javascript:alert(1)",
            "fitme:/elsewhere",
            "",
        ];
        for there in elsewhere {
            assert!(!is_on_the_device(there), "{there}");
        }
    }
}
