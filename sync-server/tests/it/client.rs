//! What the tests say to the server, and how long they wait for it.

use std::time::{Duration, Instant};

use fitme_testing::{Postgres, ServerHere};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use sync_server::auth::access_token::ACCESS_LIFETIME;
use sync_server::clock::Clock;
use sync_server::master_key::MasterKey;

pub const PASSWORD: &str = "correct horse battery";
/// No step of a test takes longer, however busy the computer is.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub retry_after: Option<String>,
    pub request_id: Option<String>,
    pub body: Value,
}

impl Answer {
    pub async fn of(response: Response) -> Self {
        let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (status, retry_after, request_id) = (response.status(), header("retry-after"), header("x-request-id"));
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Self { status, retry_after, request_id, body }
    }

    /// The code of the error envelope; empty when the answer is none.
    pub fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    pub fn message(&self) -> &str {
        self.body["error"]["message"].as_str().unwrap_or_default()
    }
}

pub fn credentials(email: &str, password: &str, device: &str) -> Value {
    json!({ "email": email, "password": password, "device_name": device })
}

pub async fn get(server: &str, path: &str) -> Answer {
    Answer::of(reqwest::get(format!("{server}{path}")).await.unwrap()).await
}

pub async fn post(server: &str, path: &str, body: &Value) -> Answer {
    let request = reqwest::Client::new().post(format!("{server}{path}")).json(body);
    Answer::of(request.send().await.unwrap()).await
}

pub async fn sign_up(server: &str, email: &str, device: &str) -> Answer {
    post(server, "/v1/signup", &credentials(email, PASSWORD, device)).await
}

pub async fn log_in(server: &str, email: &str, device: &str) -> Answer {
    post(server, "/v1/login", &credentials(email, PASSWORD, device)).await
}

/// A server whose clock the test moves, and the phone of `email`, who has just signed up.
pub async fn server_with(email: &str) -> (ServerHere, Clock, Value) {
    let (master, clock) = (MasterKey::random(), Clock::default());
    let server = ServerHere::with(&Postgres::shared().database().url, &master, clock.clone(), ACCESS_LIFETIME);
    let phone = sign_up(server.url(), email, "phone").await.body;
    (server, clock, phone)
}

/// Repeats the question until the answer is as wanted.
pub async fn until(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !ask().await {
        assert!(Instant::now() < deadline, "it never came true that {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
