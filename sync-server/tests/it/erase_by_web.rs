//! Erasure over HTTP: a record, and the account with everything in it.

use fitme_core::wire::{self, Frame, Receipt};
use fitme_testing::{Database, Postgres, ServerHere};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Connection;
use sync_server::master_key::MasterKey;

use crate::client::{Answer, PASSWORD, post, sign_up};
use crate::rogue::Rogue;

struct Stage {
    database: Database,
    server: ServerHere,
    ann: Value,
}

impl Stage {
    async fn set() -> Self {
        let database = Postgres::shared().database();
        let server = ServerHere::on(&database.url, &MasterKey::random());
        let ann = sign_up(server.url(), "ann@example.org", "phone").await.body;
        Self { database, server, ann }
    }

    async fn ask(&self, who: &Value, method: Method, path: &str, body: Value) -> Answer {
        let request = reqwest::Client::new().request(method, format!("{}{path}", self.server.url()));
        let request = request.bearer_auth(who["access_token"].as_str().unwrap()).json(&body);
        Answer::of(request.send().await.unwrap()).await
    }

    /// Ann's phone, live, after it has pushed a mood; and the mood's path.
    async fn phone_with_a_mood(&self) -> (Rogue, String) {
        let mut phone = Rogue::connect_to(self.server.url(), &self.ann).await;
        phone.say(&Frame::Hello(phone.hello())).await;
        let mood = fitme_testing::entries::mood(1, 2);
        let path = format!("/v1/records/{}", mood.doc_id);
        while !matches!(phone.hear().await, Some(Frame::Welcome(_))) {}
        let feeds = vec![wire::FeedPush { feed: phone.feed("moods"), entries: vec![mood] }];
        phone.say(&Frame::Push { batch: 1, feeds }).await;
        loop {
            if let Frame::Receipts { receipts, .. } = phone.hear().await.unwrap() {
                assert_eq!(receipts, [Receipt::Accepted(1)]);
                return (phone, path);
            }
        }
    }
}

#[tokio::test]
async fn a_record_that_is_erased_by_the_web_reaches_the_phone_and_is_nobody_elses_business() {
    let stage = Stage::set().await;
    let (mut phone, path) = stage.phone_with_a_mood().await;
    let ben = sign_up(stage.server.url(), "ben@example.org", "phone").await.body;
    assert_eq!(stage.ask(&ben, Method::DELETE, &path, Value::Null).await.code(), "not_found");
    assert_eq!(stage.ask(&stage.ann, Method::DELETE, "/v1/records/nonsense", Value::Null).await.code(), "not_found");
    for _ in 0..2 {
        assert_eq!(stage.ask(&stage.ann, Method::DELETE, &path, Value::Null).await.status, 204, "twice is no error");
    }
    let erased = loop {
        if let Frame::Entries(pages) = phone.hear().await.unwrap()
            && let Some(wire::Item::Full(entry)) = pages[0].items.last()
        {
            break entry.clone();
        }
    };
    assert!(erased.is_erasure() && path.ends_with(&erased.doc_id.to_string()));
}

#[tokio::test]
async fn what_was_shared_is_not_erasable() {
    let stage = Stage::set().await;
    let grant = uuid::Uuid::now_v7();
    sqlx::query("INSERT INTO documents (account, doc_id, feed, heads) SELECT account, $1, feed, '{}' FROM feeds WHERE collection = 'grants'")
        .bind(grant.as_bytes().as_slice())
        .execute(&sqlx::PgPool::connect(&stage.database.owner).await.unwrap())
        .await
        .unwrap();
    let refused = stage.ask(&stage.ann, Method::DELETE, &format!("/v1/records/{grant}"), Value::Null).await;
    assert_eq!(refused.code(), "not_erasable");
}

#[tokio::test]
async fn an_app_that_cannot_erase_is_told_to_update_instead_of_keeping_what_was_erased() {
    let stage = Stage::set().await;
    let (_phone, path) = stage.phone_with_a_mood().await;
    let mut old = Rogue::connect_to(stage.server.url(), &stage.ann).await;
    old.say(&Frame::Hello(wire::Hello { minor: wire::ERASURES_MINOR - 1, ..old.hello() })).await;
    while !matches!(old.hear().await, Some(Frame::Entries(_))) {}
    stage.ask(&stage.ann, Method::DELETE, &path, Value::Null).await;
    old.expect_goodbye("upgrade").await;
}

#[tokio::test]
async fn an_account_goes_for_address_and_password_and_its_devices_are_told() {
    let stage = Stage::set().await;
    let (mut phone, _) = stage.phone_with_a_mood().await;
    let erase = async |email: &str, password: &str| {
        let body = json!({ "email": email, "password": password });
        stage.ask(&stage.ann, Method::POST, "/v1/account/erase", body).await
    };
    assert_eq!(erase("ann@example.org", "guessed").await.code(), "wrong_credentials");
    assert_eq!(erase("ben@example.org", PASSWORD).await.code(), "wrong_credentials");
    let receipt = erase(" Ann@example.org ", PASSWORD).await;
    assert_eq!((receipt.status.as_u16(), &receipt.body["devices"]), (200, &json!(1)));
    phone.expect_goodbye("sign_in_again").await;
    assert_eq!(stage.ask(&stage.ann, Method::GET, "/v1/devices", Value::Null).await.code(), "unauthenticated");
    let url = stage.server.url();
    let refresh = json!({ "grant": "refresh_token", "refresh_token": stage.ann["refresh_token"] });
    assert_eq!(post(url, "/v1/token", &refresh).await.code(), "prove_device");
    let challenge = post(url, "/v1/token/challenge", &json!({ "device": stage.ann["device"] })).await.body;
    let proof = json!({
        "grant": "device_key", "device": stage.ann["device"], "challenge": challenge["challenge"], "signature": "AAAA",
    });
    assert_eq!(post(url, "/v1/token", &proof).await.code(), "account_erased");
}

/// Ann came by a provider and has no password. Whoever has an access token of hers, which lives for minutes, knows her address
/// too; neither may be enough to end the account for ever.
#[tokio::test]
async fn an_access_token_alone_erases_no_account_not_even_one_without_a_password() {
    let stage = Stage::set().await;
    let mut owner = sqlx::PgConnection::connect(&stage.database.owner).await.unwrap();
    sqlx::query("UPDATE accounts SET password_hash = NULL WHERE email = 'ann@example.org'")
        .execute(&mut owner)
        .await
        .unwrap();
    for password in ["", PASSWORD] {
        let body = json!({ "email": "ann@example.org", "password": password });
        let refused = stage.ask(&stage.ann, Method::POST, "/v1/account/erase", body).await;
        assert_eq!(refused.code(), "wrong_credentials");
        assert!(refused.message().contains("has no password"), "{}", refused.message());
    }
    assert_eq!(stage.ask(&stage.ann, Method::GET, "/v1/account", Value::Null).await.status, 200);
}

#[tokio::test]
async fn an_account_with_a_second_factor_is_erased_by_a_code_as_well() {
    let stage = Stage::set().await;
    let begun = stage.ask(&stage.ann, Method::POST, "/v1/totp", Value::Null).await;
    let secret = totp_rs::Secret::try_from_base32(begun.body["secret"].as_str().unwrap()).unwrap();
    let seconds = u64::try_from(stage.server.state().clock.now_ms() / 1_000).unwrap();
    let code = totp_rs::Builder::new().with_secret(secret).build().unwrap().generate(seconds).to_string();
    let confirmed = stage.ask(&stage.ann, Method::POST, "/v1/totp/confirm", json!({ "code": code })).await;
    let spare = confirmed.body["recovery_codes"][0].as_str().unwrap().to_owned();
    let mut body = json!({ "email": "ann@example.org", "password": PASSWORD });
    assert_eq!(stage.ask(&stage.ann, Method::POST, "/v1/account/erase", body.clone()).await.code(), "code_needed");
    body["code"] = json!(spare);
    assert_eq!(stage.ask(&stage.ann, Method::POST, "/v1/account/erase", body).await.status, 200);
}
