//! The tokens of a home that is signed in: the access token that goes with every request, and how it is followed by the
//! next one without anybody typing a password.

use fitme_core::store::{Identity, Store, Tokens};
use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::clock::now_ms;
use crate::device_key::DeviceKey;
use crate::error::ServerError;
use crate::transport::Server;

/// The server does not know the refresh token, and takes a signature for it.
const PROVE_DEVICE: &str = "prove_device";

/// Tokens as the server gives them.
#[derive(Deserialize)]
pub struct Given {
    access_token: String,
    expires_in: i64,
    refresh_token: String,
    /// What the device is called, which another one may have changed.
    #[serde(default)]
    device_name: Option<String>,
}

impl Given {
    /// What the account calls the device; a server of the version before does not say it at a login.
    pub fn device_name(&self) -> Option<&str> {
        self.device_name.as_deref()
    }

    /// As they are kept. The next ones are asked for when a quarter of their time is left; that is counted on this device,
    /// whose clock may be wrong.
    pub fn kept(self) -> Tokens {
        let renew_at = now_ms().saturating_add(self.expires_in.saturating_mul(750));
        Tokens { refresh: self.refresh_token, access: self.access_token, renew_at }
    }
}

#[derive(Deserialize)]
struct Challenge {
    challenge: String,
}

/// Does what needs an access token; once more with the next one where the server does not take the one that is here.
///
/// # Errors
/// As `ask`, and where there is no account or the device is signed out.
pub async fn with_access<T, Asking: Future<Output = Result<T, ServerError>>>(
    store: &mut Store,
    mut ask: impl FnMut(Server, String) -> Asking,
) -> Result<T, ServerError> {
    let identity = store.identity()?.ok_or(ServerError::NoAccount)?;
    let server = Server::at(&identity.server)?;
    let Tokens { access, renew_at, .. } = identity.tokens;
    if !access.is_empty() && now_ms() < renew_at {
        match ask(server.clone(), access.clone()).await {
            Err(ServerError::AccessRefused) => {}
            done => return done,
        }
    }
    let access = renew(store, &access).await?;
    ask(server, access).await
}

/// Asks the server for what only a device that is signed in may have, and reads the JSON that comes back.
///
/// # Errors
/// As [`with_access`].
pub async fn ask<T: DeserializeOwned>(
    store: &mut Store,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<T, ServerError> {
    let method = &method;
    with_access(store, |server, access| async move { server.ask(method.clone(), path, Some(&access), body).await })
        .await
}

/// Gets the tokens that follow `old`, and keeps them before anybody uses them. Another process of this home may have done so
/// already. An answer that is lost is no harm: the server gives it again.
///
/// # Errors
/// Where the server cannot be reached, or the device is signed out.
pub async fn renew(store: &mut Store, old: &str) -> Result<String, ServerError> {
    let identity = store.identity()?.ok_or(ServerError::NoAccount)?;
    if identity.tokens.access != old && now_ms() < identity.tokens.renew_at {
        return Ok(identity.tokens.access);
    }
    let key = DeviceKey::of(store)?;
    let given = given(&identity, &key).await?;
    if let Some(name) = &given.device_name {
        store.name_device(name)?;
    }
    let tokens = given.kept();
    store.keep_tokens(&tokens)?;
    Ok(tokens.access)
}

async fn given(identity: &Identity, key: &DeviceKey) -> Result<Given, ServerError> {
    let server = Server::at(&identity.server)?;
    let grant = json!({
        "grant": "refresh_token",
        "refresh_token": identity.tokens.refresh,
        "public_key": key.public(),
    });
    match ask_own(&server, "/v1/token", &grant).await {
        Err(ServerError::Refused { code, .. }) if code == PROVE_DEVICE => prove(&server, identity, key).await,
        answered => answered,
    }
}

async fn prove(server: &Server, identity: &Identity, key: &DeviceKey) -> Result<Given, ServerError> {
    let device = Uuid::from_bytes(identity.device);
    let Challenge { challenge } = ask_own(server, "/v1/token/challenge", &json!({ "device": device })).await?;
    let signature = key.answer(&challenge);
    let signature = signature.ok_or_else(|| ServerError::Answer("a challenge is not base64".to_owned()))?;
    let grant = json!({ "grant": "device_key", "device": device, "challenge": challenge, "signature": signature });
    ask_own(server, "/v1/token", &grant).await
}

/// Asks the server that this home belongs to, which may say that the device is revoked or its account erased.
async fn ask_own<T: DeserializeOwned>(server: &Server, path: &str, body: &Value) -> Result<T, ServerError> {
    server.ask(Method::POST, path, None, Some(body)).await
}
