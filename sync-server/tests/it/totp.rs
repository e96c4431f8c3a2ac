//! The second factor: asked for at each login, each code taken once.

use std::time::Duration;

use fitme_testing::ServerHere;
use serde_json::{Value, json};
use sync_server::clock::Clock;
use sync_server::db::wall;
use totp_rs::{Builder, Secret};

use crate::client::{Answer, PASSWORD, post, server_with};

const ANN: &str = "ann@example.org";
const STEP: Duration = Duration::from_secs(30);

struct Stage {
    server: ServerHere,
    clock: Clock,
    phone: Value,
    /// What Ann's app for codes holds.
    secret: String,
    recovery_codes: Vec<String>,
}

impl Stage {
    async fn set() -> Self {
        let (server, clock, phone) = server_with(ANN).await;
        let mut stage = Self { server, clock, phone, secret: String::new(), recovery_codes: Vec::new() };
        let begun = stage.ask("/v1/totp", Value::Null).await.body;
        stage.secret = begun["secret"].as_str().unwrap().to_owned();
        assert!(begun["uri"].as_str().unwrap().starts_with("otpauth://totp/FitME:ann"), "{begun}");
        let confirmed = stage.ask("/v1/totp/confirm", json!({ "code": stage.code() })).await;
        assert_eq!(confirmed.status, 200, "{confirmed:?}");
        let codes = confirmed.body["recovery_codes"].as_array().unwrap().iter();
        stage.recovery_codes = codes.map(|code| code.as_str().unwrap().to_owned()).collect();
        stage
    }

    /// What Ann's app shows now.
    fn code(&self) -> String {
        let secret = Secret::try_from_base32(&self.secret).unwrap();
        let seconds = u64::try_from(self.clock.now_ms() / 1_000).unwrap();
        Builder::new().with_secret(secret).build().unwrap().generate(seconds).to_string()
    }

    async fn ask(&self, path: &str, body: Value) -> Answer {
        let request = reqwest::Client::new().post(format!("{}{path}", self.server.url()));
        let request = request.bearer_auth(self.phone["access_token"].as_str().unwrap()).json(&body);
        Answer::of(request.send().await.unwrap()).await
    }

    async fn log_in(&self, code: Option<&str>) -> Answer {
        let body = json!({ "email": ANN, "password": PASSWORD, "device_name": "tablet", "code": code });
        post(self.server.url(), "/v1/login", &body).await
    }
}

#[tokio::test]
async fn a_login_needs_a_code_and_takes_each_once() {
    let stage = Stage::set().await;
    let without = stage.log_in(None).await;
    assert_eq!((without.status.as_u16(), without.code()), (401, "code_needed"));
    let replayed = stage.log_in(Some(&stage.code())).await;
    assert_eq!((replayed.status.as_u16(), replayed.code()), (401, "wrong_code"), "it turned the factor on already");
    stage.clock.advance(STEP);
    let code = stage.code();
    assert_eq!(stage.log_in(Some(&code)).await.status, 200);
    assert_eq!(stage.log_in(Some(&code)).await.code(), "wrong_code", "a code is taken once");
    stage.clock.advance(STEP);
    let late = stage.code();
    stage.clock.advance(STEP);
    assert_eq!(stage.log_in(Some(&late)).await.status, 200, "a slow hand has the step after as well");
    stage.clock.advance(STEP);
    let too_late = stage.code();
    stage.clock.advance(2 * STEP);
    assert_eq!(stage.log_in(Some(&too_late)).await.code(), "wrong_code");
}

#[tokio::test]
async fn a_recovery_code_stands_in_once_however_it_is_typed() {
    let stage = Stage::set().await;
    assert_eq!(stage.recovery_codes.len(), 10);
    let typed = stage.recovery_codes[0].replace('-', " ").to_uppercase();
    assert_eq!(stage.log_in(Some(&typed)).await.status, 200);
    assert_eq!(stage.log_in(Some(&stage.recovery_codes[0])).await.code(), "wrong_code");
    assert_eq!(stage.log_in(Some(&stage.recovery_codes[1])).await.status, 200);
}

#[tokio::test]
async fn codes_are_guessed_as_slowly_as_passwords() {
    let stage = Stage::set().await;
    for _ in 0..5 {
        assert_eq!(stage.log_in(Some("000000")).await.code(), "wrong_code");
    }
    stage.clock.advance(Duration::from_millis(1));
    assert_eq!(stage.log_in(Some(&stage.recovery_codes[0])).await.code(), "too_many_attempts");
}

#[tokio::test]
async fn it_is_turned_off_by_a_code_and_a_device_that_is_signed_in_needs_none() {
    let stage = Stage::set().await;
    assert_eq!(stage.ask("/v1/totp", Value::Null).await.code(), "totp_on");
    assert_eq!(stage.ask("/v1/totp/off", json!({ "code": "000000" })).await.code(), "wrong_code");
    let grant = json!({ "grant": "refresh_token", "refresh_token": stage.phone["refresh_token"] });
    assert_eq!(post(stage.server.url(), "/v1/token", &grant).await.status, 200);
    assert_eq!(stage.ask("/v1/totp/off", json!({ "code": stage.recovery_codes[9] })).await.status, 204);
    assert_eq!(stage.log_in(None).await.status, 200);
    assert_eq!(stage.ask("/v1/totp/off", json!({ "code": "000000" })).await.code(), "totp_off");
}

#[tokio::test]
async fn the_database_has_neither_secret_nor_recovery_code() {
    let stage = Stage::set().await;
    let account = stage.phone["account"].as_str().unwrap().parse().unwrap();
    let mut db = wall::of(&stage.server.state().pool, &[account]).await.unwrap();
    let stored: String = sqlx::query_scalar("SELECT string_agg(t::text || r::text, '') FROM totp t, recovery_codes r")
        .fetch_one(&mut *db)
        .await
        .unwrap();
    let secret = Secret::try_from_base32(&stage.secret).unwrap();
    let hex: String = secret.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(!stored.contains(&hex));
    for code in &stage.recovery_codes {
        assert!(!stored.contains(&code.replace('-', "")));
    }
}

/// A device's access token was stolen; the thief guesses the code that would turn the second factor off.
#[tokio::test]
async fn a_stolen_access_token_guesses_the_second_factor_off_as_slowly_as_a_password() {
    let stage = Stage::set().await;
    for _ in 0..5 {
        assert_eq!(stage.ask("/v1/totp/off", json!({ "code": "000000" })).await.code(), "wrong_code");
    }
    let right = json!({ "code": stage.recovery_codes[0] });
    assert_eq!(stage.ask("/v1/totp/off", right).await.code(), "too_many_attempts");
}
