//! The devices of an account: listed, named and revoked from one another.

use std::time::Duration;

use fitme_core::wire::Frame;
use fitme_testing::{Postgres, ServerHere};
use reqwest::Method;
use serde_json::{Value, json};
use sync_server::auth::access_token::ACCESS_LIFETIME;
use sync_server::clock::Clock;
use sync_server::db::wall;
use sync_server::master_key::MasterKey;
use uuid::Uuid;

use crate::client::{Answer, log_in, post, sign_up};
use crate::rogue::Rogue;

struct Stage {
    server: ServerHere,
    /// On another node of the same database.
    other: ServerHere,
    phone: Value,
    tablet: Value,
}

impl Stage {
    async fn set() -> Self {
        let (url, master) = (Postgres::shared().database().url, MasterKey::random());
        let node = || ServerHere::with(&url, &master, Clock::default(), ACCESS_LIFETIME);
        let (server, other) = (node(), node());
        let phone = sign_up(server.url(), "ann@example.org", "phone").await.body;
        let tablet = log_in(server.url(), "ann@example.org", "tablet").await.body;
        Self { server, other, phone, tablet }
    }

    async fn ask(&self, who: &Value, method: Method, path: &str, body: Value) -> Answer {
        let request = reqwest::Client::new().request(method, format!("{}{path}", self.server.url()));
        let request = request.bearer_auth(who["access_token"].as_str().unwrap()).json(&body);
        Answer::of(request.send().await.unwrap()).await
    }

    async fn list(&self) -> Value {
        self.ask(&self.phone, Method::GET, "/v1/devices", Value::Null).await.body
    }

    async fn revoke(&self, lost: bool) -> Answer {
        let path = format!("/v1/devices/{}/revoke", self.tablet["device"].as_str().unwrap());
        self.ask(&self.phone, Method::POST, &path, json!({ "lost": lost })).await
    }

    async fn exchange(&self, who: &Value) -> Answer {
        let grant = json!({ "grant": "refresh_token", "refresh_token": who["refresh_token"] });
        post(self.server.url(), "/v1/token", &grant).await
    }
}

#[tokio::test]
async fn ann_sees_her_devices_and_gives_one_another_name() {
    let stage = Stage::set().await;
    let path = format!("/v1/devices/{}", stage.tablet["device"].as_str().unwrap());
    let named = stage.ask(&stage.phone, Method::PATCH, &path, json!({ "name": " kitchen tablet " })).await;
    assert_eq!(named.status, 204, "{named:?}");
    let devices = stage.list().await;
    assert_eq!((&devices[0]["name"], &devices[0]["this"]), (&json!("phone"), &json!(true)));
    assert_eq!((&devices[1]["name"], &devices[1]["this"]), (&json!("kitchen tablet"), &json!(false)));
    assert!(devices[1]["seen_at"].is_i64() && devices[1]["revoked_at"].is_null(), "{devices}");
    let nameless = stage.ask(&stage.phone, Method::PATCH, &path, json!({ "name": "" })).await;
    assert_eq!(nameless.code(), "bad_request");
}

#[tokio::test]
async fn a_revoked_device_opens_nothing_and_its_sessions_end_on_every_node() {
    let stage = Stage::set().await;
    let mut session = Rogue::connect_to(stage.other.url(), &stage.tablet).await;
    session.say(&Frame::Hello(session.hello())).await;
    assert!(matches!(session.hear().await, Some(Frame::Welcome(_))));
    let revoked = std::time::Instant::now();
    assert_eq!(stage.revoke(false).await.status, 204);
    session.expect_goodbye("sign_in_again").await;
    assert!(revoked.elapsed() < Duration::from_secs(5), "{:?}", revoked.elapsed());

    let refused = stage.ask(&stage.tablet, Method::GET, "/v1/devices", Value::Null).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (401, "device_revoked"));
    assert_eq!(stage.exchange(&stage.tablet).await.code(), "device_revoked");
    assert!(stage.list().await[1]["revoked_at"].is_i64());
    assert_eq!(stage.exchange(&stage.phone).await.status, 200, "the other device goes on");
}

/// Nobody tells the nodes: the database alone erases, as if the notification had been lost.
#[tokio::test]
async fn sessions_of_an_erased_account_end_on_a_node_that_was_not_told() {
    let stage = Stage::set().await;
    let mut session = Rogue::connect_to(stage.other.url(), &stage.tablet).await;
    session.say(&Frame::Hello(session.hello())).await;
    assert!(matches!(session.hear().await, Some(Frame::Welcome(_))));

    let account = stage.phone["account"].as_str().unwrap().parse::<Uuid>().unwrap();
    let mut tx = wall::of(&stage.server.state().pool, &[account]).await.unwrap();
    sqlx::query("SELECT FROM erase_account($1)").bind(account).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    session.expect_goodbye("sign_in_again").await;
}

#[tokio::test]
async fn a_device_that_is_lost_is_told_so_and_a_login_on_it_begins_anew() {
    let stage = Stage::set().await;
    assert_eq!(stage.revoke(true).await.status, 204);
    let refused = stage.exchange(&stage.tablet).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (401, "device_lost"));
    let body = json!({
        "email": "ann@example.org", "password": crate::client::PASSWORD, "device_name": "tablet",
        "device": stage.tablet["device"],
    });
    let found = post(stage.server.url(), "/v1/login", &body).await.body;
    assert_eq!(found["device"], stage.tablet["device"]);
    assert_eq!(stage.exchange(&found).await.status, 200);
}

#[tokio::test]
async fn a_device_of_another_account_is_unknown() {
    let stage = Stage::set().await;
    let ben = sign_up(stage.server.url(), "ben@example.org", "phone").await.body;
    let path = format!("/v1/devices/{}", stage.tablet["device"].as_str().unwrap());
    let renamed = stage.ask(&ben, Method::PATCH, &path, json!({ "name": "mine" })).await;
    assert_eq!((renamed.status.as_u16(), renamed.code()), (404, "not_found"));
    let revoked = stage.ask(&ben, Method::POST, &format!("{path}/revoke"), json!({})).await;
    assert_eq!((revoked.status.as_u16(), revoked.code()), (404, "not_found"));
    assert_eq!(stage.exchange(&stage.tablet).await.status, 200);
    assert_eq!(stage.list().await.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_device_that_logs_out_is_signed_out() {
    let stage = Stage::set().await;
    let out = stage.ask(&stage.tablet, Method::POST, "/v1/logout", Value::Null).await;
    assert_eq!(out.status, 204);
    assert_eq!(stage.exchange(&stage.tablet).await.code(), "signed_out");
    assert!(stage.list().await[1]["seen_at"].is_null());
}
