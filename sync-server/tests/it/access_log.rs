//! `/v1/access-log`: what members see of their own account's records of access, and nobody else's.

use std::time::Duration;

use fitme_testing::{Postgres, ServerHere};
use reqwest::Method;
use serde_json::{Value, json};
use sync_server::master_key::MasterKey;
use totp_rs::{Builder, Secret};

use crate::client::{Answer, PASSWORD, log_in, post, sign_up};

/// An app for codes shows another one after so long.
const CODE_CHANGES: Duration = Duration::from_secs(30);

struct Stage {
    server: ServerHere,
    phone: Value,
}

impl Stage {
    async fn set() -> Self {
        let server = ServerHere::on(&Postgres::shared().database().url, &MasterKey::random());
        let phone = sign_up(server.url(), "ann@example.org", "phone").await.body;
        Self { server, phone }
    }

    async fn ask(&self, who: &Value, method: Method, path: &str, body: Value) -> Answer {
        let request = reqwest::Client::new().request(method, format!("{}{path}", self.server.url()));
        let request = request.bearer_auth(who["access_token"].as_str().unwrap()).json(&body);
        Answer::of(request.send().await.unwrap()).await
    }

    /// What an app for codes shows now.
    fn code(&self, secret: &Value) -> String {
        let secret = Secret::try_from_base32(secret.as_str().unwrap()).unwrap();
        let seconds = u64::try_from(self.server.state().clock.now_ms() / 1_000).unwrap();
        Builder::new().with_secret(secret).build().unwrap().generate(seconds).to_string()
    }

    async fn log(&self, who: &Value, query: &str) -> Answer {
        self.ask(who, Method::GET, &format!("/v1/access-log{query}"), Value::Null).await
    }
}

/// What happened, latest first.
fn kinds(log: &Answer) -> Vec<&str> {
    log.body["records"].as_array().unwrap().iter().map(|record| record["kind"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_member_sees_what_happened_to_the_account_with_the_names_of_its_devices() {
    let stage = Stage::set().await;
    let tablet = log_in(stage.server.url(), "ann@example.org", "tablet").await.body;
    let path = format!("/v1/devices/{}/revoke", tablet["device"].as_str().unwrap());
    stage.ask(&stage.phone, Method::POST, &path, json!({ "lost": true })).await;
    let passwords = json!({ "password": PASSWORD, "new_password": "another horse battery" });
    stage.ask(&stage.phone, Method::POST, "/v1/password", passwords).await;

    let log = stage.log(&stage.phone, "").await;
    assert_eq!(kinds(&log), ["password_changed", "device_revoked", "signed_in", "signed_in"]);
    let revoked = &log.body["records"][1];
    assert_eq!(revoked["detail"], json!({ "device": tablet["device"], "lost": true, "by": stage.phone["device"] }));
    assert_eq!(log.body["devices"][tablet["device"].as_str().unwrap()], "tablet");
    assert_eq!(log.body["before"], Value::Null);

    stage.ask(&stage.phone, Method::POST, "/v1/logout", Value::Null).await;
    let login = json!({ "email": "ann@example.org", "password": "another horse battery", "device_name": "phone" });
    let phone = post(stage.server.url(), "/v1/login", &login).await.body;
    assert_eq!(kinds(&stage.log(&phone, "").await)[..2], ["signed_in", "signed_out"]);
}

/// A stolen token, a second factor that comes and goes, a forgotten password.
#[tokio::test]
async fn a_member_sees_every_way_by_which_somebody_may_have_come_in() {
    let stage = Stage::set().await;
    let url = stage.server.url();
    let exchange = async |token: &Value| {
        let grant = json!({ "grant": "refresh_token", "refresh_token": token });
        post(url, "/v1/token", &grant).await.body["refresh_token"].clone()
    };
    let stolen = &stage.phone["refresh_token"];
    let second = exchange(stolen).await;
    exchange(&second).await;
    exchange(stolen).await;

    let phone = log_in(url, "ann@example.org", "phone").await.body;
    let secret = stage.ask(&phone, Method::POST, "/v1/totp", Value::Null).await.body["secret"].clone();
    for path in ["/v1/totp/confirm", "/v1/totp/off"] {
        let answer = stage.ask(&phone, Method::POST, path, json!({ "code": stage.code(&secret) })).await;
        assert!(answer.status.is_success(), "{answer:?}");
        stage.server.state().clock.advance(CODE_CHANGES);
    }
    post(url, "/v1/password/forgotten", &json!({ "email": "ann@example.org" })).await;
    let token = stage.server.mailed("ann@example.org", "fitme password --token");
    post(url, "/v1/password/reset", &json!({ "token": token, "password": PASSWORD })).await;
    let phone = log_in(url, "ann@example.org", "phone").await.body;

    let log = stage.log(&phone, "").await;
    let expected = [
        "signed_in",
        "password_changed",
        "second_factor_off",
        "second_factor_on",
        "signed_in",
        "token_reused",
        "signed_in",
    ];
    assert_eq!(kinds(&log), expected);
    assert_eq!(log.body["records"][1]["detail"]["by"], "mail");
}

#[tokio::test]
async fn the_log_comes_in_pages_of_a_bounded_length() {
    let stage = Stage::set().await;
    for device in ["tablet", "watch", "laptop"] {
        log_in(stage.server.url(), "ann@example.org", device).await;
    }
    let numbers = |log: &Answer| -> Vec<i64> {
        log.body["records"].as_array().unwrap().iter().map(|record| record["n"].as_i64().unwrap()).collect()
    };
    let first = stage.log(&stage.phone, "?limit=3").await;
    assert_eq!((numbers(&first), &first.body["before"]), (vec![4, 3, 2], &json!(2)));
    let last = stage.log(&stage.phone, "?limit=3&before=2").await;
    assert_eq!((numbers(&last), &last.body["before"]), (vec![1], &Value::Null));
    assert_eq!(stage.log(&stage.phone, "?limit=200").await.status, 200);
    for wrong in ["?limit=0", "?limit=201", "?limit=-1", "?limit=many", "?before=x"] {
        assert_eq!(stage.log(&stage.phone, wrong).await.code(), "bad_request", "{wrong}");
    }
}

#[tokio::test]
async fn nobody_sees_the_log_of_another_account() {
    let stage = Stage::set().await;
    let tom = sign_up(stage.server.url(), "tom@example.org", "laptop").await.body;
    let log = stage.log(&tom, "").await;
    assert_eq!(kinds(&log), ["signed_in"]);
    assert_eq!(log.body["records"][0]["detail"]["device"], tom["device"]);
    assert_eq!(log.body["devices"].as_object().unwrap().len(), 1);
    let nobody = Answer::of(reqwest::get(format!("{}/v1/access-log", stage.server.url())).await.unwrap()).await;
    assert_eq!(nobody.code(), "unauthenticated");
}
