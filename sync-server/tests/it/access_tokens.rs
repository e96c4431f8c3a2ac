//! Access tokens: which are believed and which are not, on one node and on two, before and after their keys change.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fitme_testing::{Database, Postgres, ServerHere, run_server};
use ring::hmac;
use ring::signature::Ed25519KeyPair;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use sync_server::auth::access_token::ACCESS_LIFETIME;
use sync_server::auth::signing_keys::{SigningKeys, SigningKeysError};
use sync_server::clock::Clock;
use sync_server::master_key::MasterKey;

use crate::client::{Answer, get, sign_up, until};

struct Stage {
    server: ServerHere,
    master: MasterKey,
    clock: Clock,
    database: Database,
    token: String,
}

impl Stage {
    async fn set() -> Self {
        let (database, master, clock) = (Postgres::shared().database(), MasterKey::random(), Clock::default());
        let server = ServerHere::with(&database.url, &master, clock.clone(), ACCESS_LIFETIME);
        let ann = sign_up(server.url(), "ann@example.org", "phone").await;
        let token = ann.body["access_token"].as_str().unwrap().to_owned();
        Self { server, master, clock, database, token }
    }

    /// The seed of the key that signs, as nobody but who has database and master key can read it.
    async fn seed(&self) -> Vec<u8> {
        let mut db = PgConnection::connect(&self.database.owner).await.unwrap();
        let (kid, sealed): (String, Vec<u8>) =
            sqlx::query_as("SELECT kid, sealed_seed FROM signing_keys").fetch_one(&mut db).await.unwrap();
        self.master.unseal(&format!("signing_keys/{kid}"), &sealed).unwrap()
    }
}

/// What the server says to a token; empty where it believes it.
async fn code(server: &ServerHere, token: &str) -> String {
    let request = reqwest::Client::new().post(format!("{}/v1/sync/once", server.url())).bearer_auth(token);
    let answer = Answer::of(request.send().await.unwrap()).await;
    // No body is a bad request, once the token was believed.
    if answer.code() == "bad_request" { String::new() } else { answer.code().to_owned() }
}

fn part(text: &str, number: usize) -> Value {
    let part = URL_SAFE_NO_PAD.decode(text.split('.').nth(number).unwrap()).unwrap();
    serde_json::from_slice(&part).unwrap()
}

fn unsigned(header: &Value, claims: &Value) -> String {
    [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".")
}

fn signed(seed: &[u8], header: &Value, claims: &Value) -> String {
    let text = unsigned(header, claims);
    let pair = Ed25519KeyPair::from_seed_unchecked(seed).unwrap();
    let signature = URL_SAFE_NO_PAD.encode(pair.sign(text.as_bytes()));
    format!("{text}.{signature}")
}

fn with(value: &Value, key: &str, to: Value) -> Value {
    let mut value = value.clone();
    value[key] = to;
    value
}

#[tokio::test]
async fn a_token_opens_the_api_until_it_expires() {
    let stage = Stage::set().await;
    let claims = part(&stage.token, 1);
    let seconds = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert!((900..=901).contains(&seconds), "{seconds}");
    assert_eq!(code(&stage.server, &stage.token).await, "");
    stage.clock.advance(ACCESS_LIFETIME - Duration::from_secs(60));
    assert_eq!(code(&stage.server, &stage.token).await, "");
    stage.clock.advance(Duration::from_secs(61));
    assert_eq!(code(&stage.server, &stage.token).await, "unauthenticated");
}

/// Each is signed with the true key unless it is about the signature: nothing else is wrong with it.
#[tokio::test]
async fn a_token_of_another_algorithm_purpose_issuer_or_key_is_not_believed() {
    let stage = Stage::set().await;
    let (header, claims, seed) = (part(&stage.token, 0), part(&stage.token, 1), stage.seed().await);
    assert_eq!(code(&stage.server, &signed(&seed, &header, &claims)).await, "", "the test signs as the server does");

    let jwks = get(stage.server.url(), "/.well-known/jwks.json").await.body;
    let public = URL_SAFE_NO_PAD.decode(jwks["keys"][0]["x"].as_str().unwrap()).unwrap();
    let hs256 = unsigned(&with(&header, "alg", json!("HS256")), &claims);
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &public), hs256.as_bytes());
    let mac = URL_SAFE_NO_PAD.encode(mac);
    let none = unsigned(&with(&header, "alg", json!("none")), &claims);
    let forged = unsigned(&header, &with(&claims, "device", json!(uuid::Uuid::now_v7())));
    let signature = stage.token.rsplit('.').next().unwrap();
    let cases = [
        ("no algorithm", format!("{none}.")),
        ("no algorithm, old signature", format!("{none}.{signature}")),
        ("the public key as a shared secret", format!("{hs256}.{mac}")),
        ("a foreign key under the same name", signed(&[9; 32], &header, &claims)),
        ("other claims under the old signature", format!("{forged}.{signature}")),
        ("another audience", signed(&seed, &header, &with(&claims, "aud", json!("fitme-audit")))),
        ("no audience", signed(&seed, &header, &with(&claims, "aud", Value::Null))),
        ("another issuer", signed(&seed, &header, &with(&claims, "iss", json!("evil")))),
        ("another type of token", signed(&seed, &with(&header, "typ", json!("JWT")), &claims)),
        ("no name of a key", signed(&seed, &with(&header, "kid", Value::Null), &claims)),
        ("an unknown key", signed(&seed, &with(&header, "kid", json!("0000000000000000")), &claims)),
        ("expired", signed(&seed, &header, &with(&claims, "exp", json!(1)))),
        ("no expiry", signed(&seed, &header, &with(&claims, "exp", Value::Null))),
        ("an unknown sign-in", signed(&seed, &header, &with(&claims, "sid", json!(uuid::Uuid::now_v7())))),
        ("nothing", String::new()),
        ("a long text", "a".repeat(4_000)),
        ("a token in three", stage.token.replacen('.', "..", 1)),
    ];
    for (what, token) in cases {
        assert_eq!(code(&stage.server, &token).await, "unauthenticated", "{what}");
    }
}

#[tokio::test]
async fn a_new_key_signs_at_once_and_the_old_one_verifies_until_its_tokens_have_expired() {
    let stage = Stage::set().await;
    let other = ServerHere::with(&stage.database.url, &stage.master, stage.clock.clone(), ACCESS_LIFETIME);
    let keys = |answer: &Answer| answer.body["keys"].as_array().unwrap().len();
    stage.server.state().tokens.keys().rotate().await.unwrap();

    let ben = sign_up(stage.server.url(), "ben@example.org", "phone").await;
    let new = ben.body["access_token"].as_str().unwrap();
    assert_ne!(part(new, 0)["kid"], part(&stage.token, 0)["kid"]);
    assert_eq!(code(&stage.server, &stage.token).await, "", "nobody is logged out");
    assert_eq!(code(&other, new).await, "", "a node that has not heard of the key looks for it");
    assert_eq!(keys(&get(other.url(), "/.well-known/jwks.json").await), 2);

    let month = Duration::from_secs(30 * 24 * 3_600);
    for _ in 0..2 {
        stage.clock.advance(month);
        stage.server.state().tokens.keys().renew_if_due().await.unwrap();
    }
    assert_eq!(keys(&get(stage.server.url(), "/.well-known/jwks.json").await), 2, "the newest and the one before");
    assert_eq!(code(&stage.server, new).await, "unauthenticated");
}

#[tokio::test]
async fn invented_keys_make_a_node_look_once_a_second_and_a_true_one_is_found_all_the_same() {
    let stage = Stage::set().await;
    let other = ServerHere::with(&stage.database.url, &stage.master, stage.clock.clone(), ACCESS_LIFETIME);
    let header = with(&part(&stage.token, 0), "kid", json!("invented"));
    let invented = signed(&[9; 32], &header, &part(&stage.token, 1));
    for _ in 0..20 {
        assert_eq!(code(&other, &invented).await, "unauthenticated");
    }
    stage.server.state().tokens.keys().rotate().await.unwrap();
    let ben = sign_up(stage.server.url(), "ben@example.org", "phone").await;
    let new = ben.body["access_token"].as_str().unwrap();
    until("the other node knows the new key", async || code(&other, new).await.is_empty()).await;
}

#[tokio::test]
async fn a_server_with_another_master_key_does_not_start() {
    let stage = Stage::set().await;
    let pool = stage.server.state().pool.clone();
    let opened = SigningKeys::open(pool, MasterKey::random(), Clock::default()).await;
    let Err(refused @ SigningKeysError::OtherMasterKey) = opened else { panic!("it was opened") };
    assert!(refused.to_string().contains("FITME_MASTER_KEY"), "{refused}");
}

/// A month after the last key was made, it made one of its own, which no other server could open.
#[tokio::test]
async fn a_server_with_another_master_key_makes_no_key_either_when_one_is_due() {
    let stage = Stage::set().await;
    let mut db = PgConnection::connect(&stage.database.owner).await.unwrap();
    sqlx::query("UPDATE signing_keys SET made_at = 0").execute(&mut db).await.unwrap();
    let pool = stage.server.state().pool.clone();
    let opened = SigningKeys::open(pool, MasterKey::random(), Clock::default()).await;
    assert!(matches!(opened, Err(SigningKeysError::OtherMasterKey)));
    stage.seed().await;
}

/// It started with a new key, which nothing that was sealed before could be opened with.
#[tokio::test]
async fn a_server_whose_master_key_is_missing_makes_none_beside_a_database_that_has_secrets() {
    let stage = Stage::set().await;
    let data = tempfile::tempdir().unwrap();
    let environment = [
        ("DATABASE_URL", stage.database.url.as_str()),
        ("FITME_DATA", data.path().to_str().unwrap()),
        ("FITME_LISTEN", "127.0.0.1:0"),
    ];
    for (command, said) in [("serve", "sealed by a master key that is not here"), ("check", "that is not here")] {
        let refused = run_server(&[command], &environment);
        let printed = (refused.stdout + &refused.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(refused.code, 1, "{printed}");
        assert!(printed.contains(said), "{printed}");
        assert!(!data.path().join("master.key").exists());
    }
}
