//! Sign-in by the server's OpenID Connect provider. The person signs in with a browser of this computer, which ends at a port
//! that this process listens on (RFC 8252); what it brings is worth nothing without the secret that stays here.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fitme_core::store::{Adoption, Store};
use rand::RngCore;
use reqwest::{Method, Url};
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use uuid::Uuid;

use crate::account::{Joining, SignedIn, adoption};
use crate::error::ServerError;
use crate::tokens::ask;
use crate::transport::Server;

/// How long the person may take; the server waits as long.
const PATIENCE: Duration = Duration::from_secs(10 * 60);
/// How long a browser may take to say what it wants.
const REQUEST_PATIENCE: Duration = Duration::from_secs(5);
/// Longest first line of a request that is read.
const REQUEST_BYTES: u64 = 4 << 10;
/// Random bytes of the secret that stays here.
const SECRET_BYTES: usize = 32;
const DONE: &str = "Done: you can close this window and go on in fitme.";
const NOT_HERE: &str = "Nothing is here.";

/// A sign-in that waits for the person.
pub struct Waiting {
    listener: TcpListener,
    verifier: String,
    url: String,
}

/// What finishes a sign-in.
struct Proof {
    ticket: String,
    verifier: String,
}

#[derive(Deserialize)]
struct Started {
    url: String,
}

#[derive(Deserialize)]
struct Finished {
    email: String,
    #[serde(flatten)]
    signed_in: SignedIn,
}

impl Waiting {
    /// Starts a sign-in.
    ///
    /// # Errors
    /// Where the server cannot be reached, or has no provider.
    pub async fn to_sign_in(server: &str) -> Result<Self, ServerError> {
        let server = Server::at(server)?;
        Self::start(async |starting| server.post("/v1/oidc/start", &starting).await).await
    }

    /// Starts to link an identity at the provider with this home's account, which `password` proves.
    ///
    /// # Errors
    /// Where the server cannot be reached, or refuses.
    pub async fn to_link(store: &mut Store, password: &str) -> Result<Self, ServerError> {
        Self::start(async |mut starting: Value| {
            starting["password"] = json!(password);
            ask(store, Method::POST, "/v1/oidc/link", Some(&starting)).await
        })
        .await
    }

    async fn start(tell: impl AsyncFnOnce(Value) -> Result<Started, ServerError>) -> Result<Self, ServerError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(ServerError::NoPort)?;
        let port = listener.local_addr().map_err(ServerError::NoPort)?.port();
        let verifier = secret();
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
        let starting = json!({ "return_to": format!("http://127.0.0.1:{port}/"), "challenge": challenge });
        let Started { url } = tell(starting).await?;
        Ok(Self { listener, verifier, url })
    }

    /// Where the person's browser has to go.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Signs this device in once the browser is back.
    ///
    /// # Errors
    /// Where it does not come, or the server refuses.
    pub async fn sign_in(self, server: &str, joining: &Joining) -> Result<Adoption, ServerError> {
        let Proof { ticket, verifier } = self.proof().await?;
        let server = Server::at(server)?;
        let body = json!({
            "ticket": ticket,
            "verifier": verifier,
            "device_name": joining.device_name,
            "keep_name": joining.keep_name,
            "device": joining.device.map(Uuid::from_bytes),
            "public_key": joining.public_key,
            "code": joining.code,
        });
        let Finished { email, signed_in } = server.post("/v1/oidc/finish", &body).await?;
        adoption(&server, &email, joining, signed_in)
    }

    /// Links the identity once the browser is back.
    ///
    /// # Errors
    /// Where it does not come, or the server refuses.
    pub async fn link(self, store: &mut Store) -> Result<(), ServerError> {
        let Proof { ticket, verifier } = self.proof().await?;
        let body = json!({ "ticket": ticket, "verifier": verifier });
        ask(store, Method::POST, "/v1/oidc/link/finish", Some(&body)).await
    }

    async fn proof(self) -> Result<Proof, ServerError> {
        let ticket = timeout(PATIENCE, ticket(&self.listener)).await.map_err(|_| ServerError::NoSignIn)??;
        Ok(Proof { ticket, verifier: self.verifier })
    }
}

fn secret() -> String {
    let mut bytes = [0; SECRET_BYTES];
    rand::rng().fill_bytes(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What the browser brings. Whatever else asks at this port is sent away.
async fn ticket(listener: &TcpListener) -> Result<String, ServerError> {
    loop {
        let (mut socket, _) = listener.accept().await.map_err(ServerError::NoPort)?;
        let asked = timeout(REQUEST_PATIENCE, asked(&mut socket)).await.ok().flatten();
        let (status, page) = if asked.is_some() { ("200 OK", DONE) } else { ("404 Not Found", NOT_HERE) };
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{page}",
            page.len()
        );
        // The ticket is here whether the browser hears of it or not.
        let _window_was_closed = timeout(REQUEST_PATIENCE, socket.write_all(answer.as_bytes())).await;
        if let Some(ticket) = asked {
            return Ok(ticket);
        }
    }
}

/// The ticket in `GET /?ticket=… HTTP/1.1`.
async fn asked(socket: &mut TcpStream) -> Option<String> {
    let mut line = String::new();
    BufReader::new(socket.take(REQUEST_BYTES)).read_line(&mut line).await.ok()?;
    let mut words = line.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let url = Url::parse("http://127.0.0.1").ok()?.join(target).ok()?;
    let ticket = url.query_pairs().find(|(key, _)| key == "ticket")?.1.into_owned();
    (method == "GET" && url.path() == "/").then_some(ticket)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may")]

    use super::*;

    async fn say(port: u16, request: &str) -> String {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn the_port_takes_a_ticket_and_sends_everything_else_away() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let browser = async {
            for odd in ["GET /favicon.ico HTTP/1.1\r\n\r\n", "POST /?ticket=x HTTP/1.1\r\n\r\n", "\0\r\n", "GET //\r\n"]
            {
                assert!(say(port, odd).await.starts_with("HTTP/1.1 404"), "{odd}");
            }
            say(port, "GET /?ticket=abc HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").await
        };
        let (ticket, shown) = tokio::join!(ticket(&listener), browser);
        assert_eq!(ticket.unwrap(), "abc");
        assert!(shown.starts_with("HTTP/1.1 200") && shown.ends_with(DONE), "{shown}");
    }
}
