//! Sign-ins over weeks: refresh tokens that are exchanged, lost, stolen and forgotten, and sessions that end with them.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fitme_core::wire::{self, Frame, Token};
use fitme_testing::{Database, Postgres, ServerHere};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use sync_server::accounts::device_key::PROOF_CONTEXT;
use sync_server::accounts::refresh_token::{GRACE, REFRESH_LIFETIME, hash};
use sync_server::accounts::sign_ins::{self, Cause};
use sync_server::auth::access_token::ACCESS_LIFETIME;
use sync_server::clock::Clock;
use sync_server::db::wall;
use sync_server::master_key::MasterKey;
use uuid::Uuid;

use crate::client::{Answer, PASSWORD, post};
use crate::rogue::Rogue;

const PHONES_SEED: [u8; 32] = [1; 32];
const SECOND: Duration = Duration::from_secs(1);

struct Stage {
    server: ServerHere,
    master: MasterKey,
    clock: Clock,
    database: Database,
    /// What the phone got when Ann signed up with it.
    phone: Value,
}

impl Stage {
    async fn set() -> Self {
        Self::with_tokens_for(ACCESS_LIFETIME).await
    }

    async fn with_tokens_for(lifetime: Duration) -> Self {
        let (database, master, clock) = (Postgres::shared().database(), MasterKey::random(), Clock::default());
        let server = ServerHere::with(&database.url, &master, clock.clone(), lifetime);
        let body = json!({
            "email": "ann@example.org",
            "password": PASSWORD,
            "device_name": "phone",
            "public_key": URL_SAFE_NO_PAD.encode(pair(&PHONES_SEED).public_key()),
        });
        let phone = post(server.url(), "/v1/signup", &body).await.body;
        Self { server, master, clock, database, phone }
    }

    fn token(&self) -> String {
        text(&self.phone, "refresh_token")
    }

    async fn exchange(&self, token: &str) -> Answer {
        let grant = json!({ "grant": "refresh_token", "refresh_token": token });
        post(self.server.url(), "/v1/token", &grant).await
    }

    /// What the device gets for its token.
    async fn renewed(&self, token: &str) -> Answer {
        let answer = self.exchange(token).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer
    }

    async fn challenge(&self) -> String {
        let answer = post(self.server.url(), "/v1/token/challenge", &json!({ "device": self.phone["device"] })).await;
        text(&answer.body, "challenge")
    }

    async fn prove(&self, challenge: &str, seed: &[u8; 32]) -> Answer {
        let signed = [PROOF_CONTEXT, &URL_SAFE_NO_PAD.decode(challenge).unwrap()].concat();
        let signature = URL_SAFE_NO_PAD.encode(pair(seed).sign(&signed));
        let device = &self.phone["device"];
        let grant = json!({ "grant": "device_key", "device": device, "challenge": challenge, "signature": signature });
        post(self.server.url(), "/v1/token", &grant).await
    }

    async fn execute(&self, sql: &'static str) {
        let mut db = PgConnection::connect(&self.database.owner).await.unwrap();
        sqlx::query(sql).execute(&mut db).await.unwrap();
    }

    async fn sign_out(&self) {
        let [account, device]: [Uuid; 2] = ["account", "device"].map(|name| text(&self.phone, name).parse().unwrap());
        let mut tx = wall::of(&self.server.state().pool, &[account]).await.unwrap();
        sign_ins::end_of_device(&mut tx, device, Cause::Reused).await.unwrap();
        tx.commit().await.unwrap();
    }
}

fn pair(seed: &[u8; 32]) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(seed).unwrap()
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}")).to_owned()
}

/// What the server says to an access token; empty where it believes it.
async fn opens(server: &ServerHere, access: &Value) -> String {
    let request = reqwest::Client::new().post(format!("{}/v1/sync/once", server.url()));
    let answer = Answer::of(request.bearer_auth(access.as_str().unwrap()).send().await.unwrap()).await;
    if answer.code() == "bad_request" { String::new() } else { answer.code().to_owned() }
}

#[tokio::test]
async fn a_phone_that_was_offline_for_90_days_comes_back_without_a_password() {
    let stage = Stage::set().await;
    stage.clock.advance(REFRESH_LIFETIME - SECOND);
    let back = stage.renewed(&stage.token()).await;
    assert_eq!(opens(&stage.server, &back.body["access_token"]).await, "");
    stage.clock.advance(REFRESH_LIFETIME);
    let late = stage.exchange(&text(&back.body, "refresh_token")).await;
    assert_eq!((late.status.as_u16(), late.code()), (401, "signed_out"));
}

#[tokio::test]
async fn an_answer_that_was_lost_is_given_again_within_the_grace() {
    let stage = Stage::set().await;
    let lost = stage.renewed(&stage.token()).await;
    stage.clock.advance(GRACE - SECOND);
    let again = stage.renewed(&stage.token()).await;
    assert_eq!(again.body["refresh_token"], lost.body["refresh_token"], "one successor, however often it is asked for");
    assert_eq!(stage.renewed(&text(&again.body, "refresh_token")).await.status, 200);
}

#[tokio::test]
async fn a_token_that_was_exchanged_before_ends_the_sign_in_for_thief_and_owner_alike() {
    let stage = Stage::set().await;
    let stolen = stage.token();
    let second = stage.renewed(&stolen).await;
    let third = stage.renewed(&text(&second.body, "refresh_token")).await;
    assert_eq!(opens(&stage.server, &third.body["access_token"]).await, "");

    assert_eq!(stage.exchange(&stolen).await.code(), "signed_out");
    assert_eq!(stage.exchange(&text(&third.body, "refresh_token")).await.code(), "signed_out");
    assert_eq!(opens(&stage.server, &third.body["access_token"]).await, "signed_out", "at once, not when it expires");
    let challenge = stage.challenge().await;
    assert_eq!(stage.prove(&challenge, &PHONES_SEED).await.code(), "signed_out", "only a password helps now");
}

/// The phone asked, the answer got lost, and then it was offline for weeks: it is not signed out for that.
#[tokio::test]
async fn a_token_whose_answer_was_lost_for_weeks_is_replaced_by_a_proof() {
    let stage = Stage::set().await;
    stage.renewed(&stage.token()).await;
    stage.clock.advance(Duration::from_secs(30 * 24 * 3_600));
    assert_eq!(stage.exchange(&stage.token()).await.code(), "prove_device");
    let proved = stage.prove(&stage.challenge().await, &PHONES_SEED).await;
    assert_eq!(opens(&stage.server, &proved.body["access_token"]).await, "");
}

#[tokio::test]
async fn a_server_restored_from_a_backup_takes_the_devices_key_for_the_token_it_does_not_know() {
    let stage = Stage::set().await;
    stage.execute("CREATE TABLE backup AS SELECT * FROM sign_ins").await;
    let mut token = stage.token();
    for _ in 0..3 {
        token = text(&stage.renewed(&token).await.body, "refresh_token");
    }
    stage.execute("DELETE FROM sign_ins").await;
    stage.execute("INSERT INTO sign_ins SELECT * FROM backup").await;

    let unknown = stage.exchange(&token).await;
    assert_eq!((unknown.status.as_u16(), unknown.code()), (401, "prove_device"));
    let challenge = stage.challenge().await;
    assert_eq!(stage.prove(&challenge, &[2; 32]).await.code(), "signed_out", "another key proves nothing");
    let proved = stage.prove(&challenge, &PHONES_SEED).await;
    assert_eq!(proved.status, 200, "{proved:?}");
    assert_eq!(stage.renewed(&text(&proved.body, "refresh_token")).await.status, 200);
    assert_eq!(stage.prove(&challenge, &PHONES_SEED).await.code(), "signed_out", "a challenge is answered once");
    assert_eq!(stage.exchange(&token).await.code(), "signed_out", "the sign-in before has ended");
}

#[tokio::test]
async fn a_token_that_nobody_gave_and_a_proof_of_nothing_open_nothing() {
    let stage = Stage::set().await;
    for token in ["", "nonsense", "a.0.b", &"x".repeat(300)] {
        assert_eq!(stage.exchange(token).await.code(), "prove_device", "{token:?}");
    }
    for challenge in ["", "AAAA", &URL_SAFE_NO_PAD.encode([0; 56])] {
        assert_eq!(stage.prove(challenge, &PHONES_SEED).await.code(), "signed_out", "{challenge:?}");
    }
    let old = stage.challenge().await;
    stage.clock.advance(GRACE);
    assert_eq!(stage.prove(&old, &PHONES_SEED).await.code(), "signed_out", "a challenge is answered soon");
    let body = json!({ "grant": "password" });
    assert_eq!(post(stage.server.url(), "/v1/token", &body).await.code(), "bad_request");
}

/// A device of the version before sign-ins holds one opaque token, good for 90 days.
#[tokio::test]
async fn a_token_of_the_version_before_starts_a_sign_in() {
    let stage = Stage::set().await;
    let old = "k2mTqZ0b7o1mWw3hC1nTtYlq0a8e5cXvRj4uBfDsEgI";
    stage.execute("DELETE FROM sign_ins").await;
    let mut db = PgConnection::connect(&stage.database.owner).await.unwrap();
    let upgrade =
        "UPDATE devices SET token_hash = $1, token_expires_at = now() + interval '80 days', public_key = NULL";
    sqlx::query(upgrade).bind(&hash(old)[..]).execute(&mut db).await.unwrap();

    let key = URL_SAFE_NO_PAD.encode(pair(&PHONES_SEED).public_key());
    let grant = json!({ "grant": "refresh_token", "refresh_token": old, "public_key": key });
    let (first, second) =
        tokio::join!(post(stage.server.url(), "/v1/token", &grant), post(stage.server.url(), "/v1/token", &grant));
    assert_eq!(text(&first.body, "refresh_token"), text(&second.body, "refresh_token"), "two processes of the home");
    let again = stage.renewed(old).await;
    assert_eq!(again.body["refresh_token"], first.body["refresh_token"], "also when the first answer was lost");
    let second = stage.renewed(&text(&first.body, "refresh_token")).await;
    assert_eq!(stage.prove(&stage.challenge().await, &PHONES_SEED).await.status, 200, "its key is known from now on");
    assert_eq!(stage.exchange(&text(&second.body, "refresh_token")).await.code(), "signed_out");
    assert_eq!(stage.exchange(old).await.code(), "signed_out", "it is good once");
}

#[tokio::test]
async fn a_session_ends_with_its_token_unless_that_is_renewed_in_band() {
    let stage = Stage::with_tokens_for(2 * SECOND).await;
    let mut forgetful = Rogue::connect_to(stage.server.url(), &stage.phone).await;
    let mut careful = Rogue::connect_to(stage.server.url(), &stage.phone).await;
    for device in [&mut forgetful, &mut careful] {
        device.say(&Frame::Hello(device.hello())).await;
        assert!(matches!(device.hear().await, Some(Frame::Welcome(_))));
    }
    let tokens = stage.server.state().tokens.clone().living(ACCESS_LIFETIME);
    let access = tokens.read(&text(&stage.phone, "access_token")).await.unwrap();
    careful.say(&Frame::Renew(Token(tokens.make(access.device, access.sign_in).unwrap()))).await;

    forgetful.expect_goodbye("token_expired").await;
    let push = wire::FeedPush { feed: careful.feed("moods"), entries: vec![fitme_testing::entries::mood(1, 1)] };
    careful.say(&Frame::Push { batch: 1, feeds: vec![push] }).await;
    assert!(matches!(careful.hear().await, Some(Frame::Receipts { batch: 1, .. })));
}

#[tokio::test]
async fn a_session_is_not_renewed_by_anothers_token_nor_by_nonsense() {
    let stage = Stage::set().await;
    let ben = crate::client::sign_up(stage.server.url(), "ben@example.org", "phone").await.body;
    for token in [text(&ben, "access_token"), "nonsense".to_owned()] {
        let mut device = Rogue::connect_to(stage.server.url(), &stage.phone).await;
        device.say(&Frame::Hello(device.hello())).await;
        device.say(&Frame::Renew(Token(token))).await;
        device.expect_goodbye("token_expired").await;
    }
    let mut device = Rogue::connect_to(stage.server.url(), &stage.phone).await;
    device.say(&Frame::Renew(Token("too early".to_owned()))).await;
    device.expect_goodbye("bad_frame").await;
}

#[tokio::test]
async fn a_sign_in_that_is_ended_ends_its_live_sessions_on_every_node() {
    let stage = Stage::set().await;
    let other = ServerHere::with(&stage.database.url, &stage.master, stage.clock.clone(), ACCESS_LIFETIME);
    let mut here = Rogue::connect_to(stage.server.url(), &stage.phone).await;
    let mut there = Rogue::connect_to(other.url(), &stage.phone).await;
    for device in [&mut here, &mut there] {
        device.say(&Frame::Hello(device.hello())).await;
        assert!(matches!(device.hear().await, Some(Frame::Welcome(_))));
    }
    let ended = std::time::Instant::now();
    stage.sign_out().await;
    assert_eq!(here.expect_goodbye("sign_in_again").await.retry_after_ms, 0, "it does not come back by itself");
    there.expect_goodbye("sign_in_again").await;
    assert!(ended.elapsed() < 5 * SECOND, "{:?}", ended.elapsed());
}

#[tokio::test]
async fn logging_in_again_ends_the_sign_in_before() {
    let stage = Stage::set().await;
    let body = json!({
        "email": "ann@example.org", "password": PASSWORD, "device_name": "phone", "device": stage.phone["device"],
    });
    let again = post(stage.server.url(), "/v1/login", &body).await.body;
    assert_eq!(again["device"], stage.phone["device"]);
    assert_eq!(stage.exchange(&stage.token()).await.code(), "signed_out");
    assert_eq!(stage.renewed(&text(&again, "refresh_token")).await.status, 200);
    let wrong = json!({
        "email": "ann@example.org", "password": PASSWORD, "device_name": "phone", "public_key": "short",
    });
    assert_eq!(post(stage.server.url(), "/v1/login", &wrong).await.code(), "bad_request");
}

/// Processes of one home do things at once: each gets an answer, and the last sign-in is the one that lives.
#[tokio::test]
async fn sign_ins_that_begin_at_once_follow_each_other() {
    let stage = Stage::set().await;
    let challenges = [stage.challenge().await, stage.challenge().await, stage.challenge().await];
    let proofs = challenges.iter().map(|challenge| stage.prove(challenge, &PHONES_SEED));
    let body = json!({
        "email": "ann@example.org", "password": PASSWORD, "device_name": "phone", "device": stage.phone["device"],
    });
    let logins = (0..3).map(|_| post(stage.server.url(), "/v1/login", &body));
    let (proofs, logins) = tokio::join!(futures_util::future::join_all(proofs), futures_util::future::join_all(logins));
    assert!(proofs.iter().all(|proof| proof.status == 200 || proof.code() == "signed_out"), "{proofs:?}");
    assert!(logins.iter().all(|login| login.status == 200), "{logins:?}");
    let mut live = 0;
    for answer in proofs.iter().chain(&logins).filter(|answer| answer.status == 200) {
        live += usize::from(stage.exchange(&text(&answer.body, "refresh_token")).await.status == 200);
    }
    assert_eq!(live, 1);
}
