//! Letters with tokens: an address that is confirmed, a password that was forgotten; and a password that is changed.

use std::time::Duration;

use fitme_testing::ServerHere;
use reqwest::Method;
use serde_json::{Value, json};
use sync_server::clock::Clock;

use crate::client::{Answer, PASSWORD, credentials, log_in, post, server_with, sign_up, until};

const ANN: &str = "ann@example.org";
const MINUTE: Duration = Duration::from_secs(60);

struct Stage {
    server: ServerHere,
    clock: Clock,
    phone: Value,
}

impl Stage {
    async fn set() -> Self {
        let (server, clock, phone) = server_with(ANN).await;
        Self { server, clock, phone }
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        post(self.server.url(), path, &body).await
    }

    async fn ask(&self, who: &Value, method: Method, path: &str, body: Value) -> Answer {
        let request = reqwest::Client::new().request(method, format!("{}{path}", self.server.url()));
        let request = request.bearer_auth(who["access_token"].as_str().unwrap()).json(&body);
        Answer::of(request.send().await.unwrap()).await
    }

    /// The tokens in the letters after this command, once there are so many.
    async fn tokens(&self, after: &str, count: usize) -> Vec<String> {
        let found = || {
            let letters = self.server.letters();
            let tokens = letters.iter().filter_map(|letter| Some(letter.split_once(after)?.1.trim_start()));
            tokens.map(|rest| rest.split_whitespace().next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        until("the letter is there", async || found().len() >= count).await;
        found()
    }

    async fn is_confirmed(&self) -> bool {
        self.ask(&self.phone, Method::GET, "/v1/account", Value::Null).await.body["confirmed"] == true
    }
}

#[tokio::test]
async fn an_address_is_confirmed_by_the_token_in_the_letter_once() {
    let stage = Stage::set().await;
    let token = stage.tokens("fitme confirm", 1).await.remove(0);
    let letter = stage.server.letters().remove(0);
    assert!(letter.contains("To: ann@example.org") && letter.contains("Subject: Confirm your address"), "{letter}");
    assert!(!stage.is_confirmed().await);
    assert_eq!(stage.post("/v1/confirm", json!({ "token": "guessed" })).await.code(), "wrong_token");
    assert_eq!(stage.post("/v1/confirm", json!({ "token": token })).await.status, 200);
    assert!(stage.is_confirmed().await);
    let again = stage.post("/v1/confirm", json!({ "token": token })).await;
    assert_eq!((again.status.as_u16(), again.code()), (400, "wrong_token"));
}

#[tokio::test]
async fn a_second_letter_is_written_after_a_minute_and_its_token_ends_the_first() {
    let stage = Stage::set().await;
    let first = stage.tokens("fitme confirm", 1).await.remove(0);
    stage.clock.advance(MINUTE);
    let asked = stage.ask(&stage.phone, Method::POST, "/v1/confirm/again", Value::Null).await;
    assert_eq!(asked.status, 202);
    let tokens = stage.tokens("fitme confirm", 2).await;
    let second = tokens.iter().find(|token| **token != first).unwrap();
    assert_eq!(stage.post("/v1/confirm", json!({ "token": first })).await.code(), "wrong_token");
    stage.clock.advance(7 * 24 * 60 * MINUTE);
    assert_eq!(stage.post("/v1/confirm", json!({ "token": second })).await.code(), "wrong_token", "a week is over");
}

#[tokio::test]
async fn a_forgotten_password_is_replaced_by_a_mailed_token_and_every_device_signed_out() {
    let stage = Stage::set().await;
    let tablet = log_in(stage.server.url(), ANN, "tablet").await.body;
    for email in [ANN, "nobody@example.org", "no address"] {
        let asked = stage.post("/v1/password/forgotten", json!({ "email": email })).await;
        assert_eq!((asked.status.as_u16(), asked.body), (202, json!("")), "{email} is answered like any other");
    }
    let token = stage.tokens("--token", 1).await.remove(0);
    let short = stage.post("/v1/password/reset", json!({ "token": token, "password": "short" })).await;
    assert_eq!(short.code(), "bad_request");
    let reset = json!({ "token": token, "password": "another horse" });
    assert_eq!(stage.post("/v1/password/reset", reset.clone()).await.status, 204);

    assert_eq!(stage.post("/v1/password/reset", reset).await.code(), "wrong_token", "a token is good once");
    for device in [&stage.phone, &tablet] {
        assert_eq!(stage.ask(device, Method::GET, "/v1/account", Value::Null).await.code(), "signed_out");
        let grant = json!({ "grant": "refresh_token", "refresh_token": device["refresh_token"] });
        assert_eq!(stage.post("/v1/token", grant).await.code(), "signed_out");
    }
    assert_eq!(log_in(stage.server.url(), ANN, "phone").await.code(), "wrong_credentials");
    let back = stage.post("/v1/login", credentials(ANN, "another horse", "phone")).await;
    assert_eq!(back.status, 200);
    let account = stage.ask(&back.body, Method::GET, "/v1/account", Value::Null).await;
    assert_eq!(account.body["confirmed"], true, "who read the letter has the address");
    assert_eq!(stage.server.letters().len(), 2, "nobody else got a letter");
}

#[tokio::test]
async fn a_mailed_token_lives_an_hour_and_is_good_for_nothing_else() {
    let stage = Stage::set().await;
    stage.post("/v1/password/forgotten", json!({ "email": ANN })).await;
    let token = stage.tokens("--token", 1).await.remove(0);
    assert_eq!(stage.post("/v1/confirm", json!({ "token": token })).await.code(), "wrong_token");
    stage.clock.advance(60 * MINUTE);
    let late = stage.post("/v1/password/reset", json!({ "token": token, "password": "another horse" })).await;
    assert_eq!(late.code(), "wrong_token");
    let confirming = stage.tokens("fitme confirm", 1).await.remove(0);
    let wrong = stage.post("/v1/password/reset", json!({ "token": confirming, "password": "another horse" })).await;
    assert_eq!(wrong.code(), "wrong_token");
    assert_eq!(log_in(stage.server.url(), ANN, "phone").await.status, 200, "the password stays");
}

#[tokio::test]
async fn a_changed_password_signs_out_the_others_and_guessing_the_old_one_waits() {
    let stage = Stage::set().await;
    let tablet = log_in(stage.server.url(), ANN, "tablet").await.body;
    let change = |old: &str| json!({ "password": old, "new_password": "another horse" });
    for _ in 0..5 {
        let wrong = stage.ask(&stage.phone, Method::POST, "/v1/password", change("a guess")).await;
        assert_eq!(wrong.code(), "wrong_credentials");
    }
    let locked = stage.ask(&stage.phone, Method::POST, "/v1/password", change(PASSWORD)).await;
    assert_eq!(locked.code(), "too_many_attempts");
    stage.clock.advance(MINUTE);
    assert_eq!(stage.ask(&stage.phone, Method::POST, "/v1/password", change(PASSWORD)).await.status, 204);
    assert!(!stage.is_confirmed().await, "the phone goes on");
    assert_eq!(stage.ask(&tablet, Method::GET, "/v1/account", Value::Null).await.code(), "signed_out");
    assert_eq!(stage.post("/v1/login", credentials(ANN, "another horse", "tablet")).await.status, 200);
}

/// An address becomes a header of a letter.
#[tokio::test]
async fn an_address_with_a_line_break_is_no_address() {
    let stage = Stage::set().await;
    for email in ["ann@example.org\r\nBcc: eve@example.org", "ann@example.org\nSubject: evil"] {
        assert_eq!(sign_up(stage.server.url(), email, "phone").await.code(), "bad_request");
        assert_eq!(stage.post("/v1/password/forgotten", json!({ "email": email })).await.status, 202);
    }
    stage.tokens("fitme confirm", 1).await;
    assert_eq!(stage.server.letters().len(), 1);
}
