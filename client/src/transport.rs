//! Connections to the server: which addresses are allowed, and how they are dialled.

use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::Duration;

use fitme_core::limits;
use reqwest::{Method, RequestBuilder, Url};
use rustls::ClientConfig;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config};

use crate::error::ServerError;
use crate::trust;

/// How long to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait for an HTTP answer, hashing of the password included.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// An open WebSocket.
pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A server's address, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    url: Url,
}

impl Server {
    /// The server at `url`: https, or http on this very machine. Health data does not travel in the clear, unless
    /// `FITME_ALLOW_PLAIN_TEXT=1` says that the way there is safe.
    pub fn at(url: &str) -> Result<Self, ServerError> {
        let bad = |reason| ServerError::BadUrl { url: url.to_owned(), reason };
        let parsed = Url::parse(url).map_err(|_| bad("expected something like https://sync.example.org"))?;
        let allowed = std::env::var("FITME_ALLOW_PLAIN_TEXT").is_ok_and(|value| value == "1");
        match parsed.scheme() {
            // Here it can still be said that the authorities' file is wrong.
            "https" => trust::tls().map(|_| Self { url: parsed }),
            "http" if allowed || is_loopback(&parsed) => Ok(Self { url: parsed }),
            "http" => Err(bad("http would send health data in the clear; use https (or set FITME_ALLOW_PLAIN_TEXT=1)")),
            _ => Err(bad("expected https://")),
        }
    }

    /// The address of an HTTP route.
    pub fn route(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        url.set_path(&format!("{}{path}", self.url.path().trim_end_matches('/')));
        url.set_query(query);
        url
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }

    /// Opens the sync socket.
    pub async fn dial(&self, token: &str) -> Result<Socket, ServerError> {
        let mut url = self.route("/v1/sync");
        let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
        url.set_scheme(scheme).map_err(|()| self.unreachable("the address has no WebSocket form"))?;
        let mut request = url.as_str().into_client_request().map_err(|error| self.unreachable(error))?;
        let bearer = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| ServerError::AccessRefused)?;
        request.headers_mut().insert(header::AUTHORIZATION, bearer);
        let config = WebSocketConfig::default()
            .max_message_size(Some(limits::FRAME_BYTES))
            .max_frame_size(Some(limits::FRAME_BYTES));
        let dialled =
            connect_async_tls_with_config(request, Some(config), true, Some(Connector::Rustls(trust::tls()?)));
        match tokio::time::timeout(CONNECT_TIMEOUT, dialled).await {
            Ok(Ok((socket, _))) => Ok(socket),
            Ok(Err(tungstenite::Error::Http(answer))) => {
                Err(refusal(answer.status().as_u16(), answer.body().as_deref().unwrap_or_default()))
            }
            Ok(Err(error)) => Err(self.unreachable(error)),
            Err(_) => Err(self.unreachable("no answer in time")),
        }
    }

    /// Posts JSON to a server that this home need not belong to, and reads the JSON that comes back.
    ///
    /// # Errors
    /// Where the server cannot be reached, or refuses.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, ServerError> {
        self.ask(Method::POST, path, None, Some(body)).await.map_err(ServerError::of_any_server)
    }

    /// Asks with an access token, a body or both, and reads the JSON that comes back; no body at all reads as null.
    ///
    /// # Errors
    /// Where the server cannot be reached, or refuses.
    pub async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        access: Option<&str>,
        body: Option<&Value>,
    ) -> Result<T, ServerError> {
        let request = http().request(method, self.route(path));
        let request = access.into_iter().fold(request, RequestBuilder::bearer_auth);
        let request = body.into_iter().fold(request, RequestBuilder::json);
        let answer = request.send().await.map_err(|error| self.unreachable(root_cause(&error)))?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(|error| ServerError::Broken(root_cause(&error)))?;
        if !status.is_success() {
            return Err(refusal(status.as_u16(), &bytes));
        }
        let json = if bytes.is_empty() { b"null" } else { &bytes[..] };
        serde_json::from_slice(json).map_err(|error| ServerError::Answer(error.to_string()))
    }

    /// Why there is no connection.
    pub fn unreachable(&self, reason: impl std::fmt::Display) -> ServerError {
        ServerError::Unreachable { url: self.as_str().to_owned(), reason: reason.to_string() }
    }
}

/// The HTTP client: one for the process, so that connections are used again.
pub fn http() -> &'static reqwest::Client {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    CLIENT.get_or_init(|| {
        let mut client = reqwest::Client::builder();
        if let Ok(tls) = trust::tls() {
            client = client.use_preconfigured_tls(ClientConfig::clone(&tls));
        }
        client
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("the options are constant")
    })
}

/// The server's own words for an HTTP status that is no success.
pub fn refusal(status: u16, body: &[u8]) -> ServerError {
    let envelope: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |key: &str| envelope["error"][key].as_str().map(str::to_owned);
    match (status, text("code"), text("message")) {
        (401, Some(code), _) if code == "unauthenticated" => ServerError::AccessRefused,
        (401, Some(code), _) if code == "signed_out" => ServerError::SignInAgain,
        (401, Some(code), _) if code == "device_revoked" => ServerError::Revoked,
        (401, Some(code), _) if code == "device_lost" => ServerError::Lost,
        (401, Some(code), _) if code == "account_erased" => ServerError::AccountErased,
        (_, Some(code), Some(message)) => ServerError::Refused { code, message, retry_after: Duration::ZERO },
        _ => ServerError::Answer(format!("HTTP status {status}")),
    }
}

fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

/// reqwest wraps what the network said in its own words; the innermost ones are what a person can act on.
pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
