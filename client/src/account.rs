//! Sign-up and login: the home's store is adopted by the account that the server names.

use fitme_core::id::{Epoch, FeedId};
use fitme_core::policy::Access;
use fitme_core::store::{Adoption, Identity};
use fitme_core::wire::FeedGranted;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use crate::error::ServerError;
use crate::tokens::Given;
use crate::transport::Server;

/// What a person signs up or logs in with.
#[derive(Clone)]
pub struct Credentials {
    /// E-mail address.
    pub email: String,
    /// Password.
    pub password: String,
    /// What the account is to be, at sign-up: member if it is not said.
    pub role: Option<String>,
    /// The device.
    pub joining: Joining,
}

/// The device that joins an account.
#[derive(Clone)]
pub struct Joining {
    /// What this device is to be called.
    pub device_name: String,
    /// Whether it keeps the name that the account gave it, if it is known: nobody chose another one.
    pub keep_name: bool,
    /// The device that the home was before, if it was one.
    pub device: Option<[u8; 16]>,
    /// Public half of the home's key pair; a device without one cannot prove itself to a restored server.
    pub public_key: Option<String>,
    /// At login, where the account asks for one: a code of the second factor.
    pub code: Option<String>,
}

/// What the server gives to a device that it has signed in.
#[derive(Deserialize)]
pub(crate) struct SignedIn {
    account: Uuid,
    device: Uuid,
    #[serde(flatten)]
    tokens: Given,
    feeds: Vec<Feed>,
}

#[derive(Deserialize)]
struct Feed {
    feed: u64,
    collection: String,
    scope: String,
    epoch: String,
}

/// Makes an account and registers this device with it.
pub async fn sign_up(server: &str, credentials: &Credentials) -> Result<Adoption, ServerError> {
    ask("/v1/signup", server, credentials).await
}

/// Registers this device with an account.
pub async fn log_in(server: &str, credentials: &Credentials) -> Result<Adoption, ServerError> {
    ask("/v1/login", server, credentials).await
}

async fn ask(path: &str, server: &str, credentials: &Credentials) -> Result<Adoption, ServerError> {
    let server = Server::at(server)?;
    let body = json!({
        "email": credentials.email,
        "password": credentials.password,
        "device_name": credentials.joining.device_name,
        "keep_name": credentials.joining.keep_name,
        "role": credentials.role,
        "device": credentials.joining.device.map(Uuid::from_bytes),
        "public_key": credentials.joining.public_key,
        "code": credentials.joining.code,
    });
    let signed_in: SignedIn = server.post(path, &body).await?;
    adoption(&server, &credentials.email, &credentials.joining, signed_in)
}

/// What the home's store takes over.
pub(crate) fn adoption(
    server: &Server,
    email: &str,
    joining: &Joining,
    signed_in: SignedIn,
) -> Result<Adoption, ServerError> {
    let account = *signed_in.account.as_bytes();
    let feeds = signed_in.feeds.into_iter().map(|feed| {
        let epoch = u64::from_str_radix(&feed.epoch, 16)
            .map_err(|_| ServerError::Answer("a feed's epoch is not 8 bytes in hex".to_owned()))?;
        Ok(FeedGranted {
            feed: FeedId(feed.feed),
            account,
            collection: feed.collection,
            scope: feed.scope,
            access: Access::Write,
            owner_name: String::new(),
            epoch: Epoch(epoch.to_be_bytes()),
        })
    });
    Ok(Adoption {
        feeds: feeds.collect::<Result<_, ServerError>>()?,
        identity: Identity {
            account,
            device: *signed_in.device.as_bytes(),
            email: email.to_owned(),
            device_name: signed_in.tokens.device_name().unwrap_or(&joining.device_name).to_owned(),
            server: server.as_str().to_owned(),
            tokens: signed_in.tokens.kept(),
        },
    })
}
