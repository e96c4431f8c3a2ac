//! Sign-in by an OpenID Connect provider, against a real one: what it may open, and what somebody who lies on the way gets.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fitme_testing::{Browser, Database, OidcProvider, PUBLIC_URL, Postgres, ServerHere, TOKEN_SECONDS};
use futures_util::future::join_all;
use reqwest::Url;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::{Connection, PgConnection};
use sync_server::accounts::housekeeping;
use sync_server::accounts::oidc::pending::{LIFETIME, UNDER_WAY};
use sync_server::accounts::oidc::settings::OidcArgs;
use sync_server::auth::access_token::ACCESS_LIFETIME;
use sync_server::clock::Clock;
use sync_server::master_key::MasterKey;

use crate::client::{Answer, PASSWORD, credentials, log_in, post, sign_up};

const ANN: &str = "ann@example.org";
/// Where the device waits for the browser; no test opens it.
const RETURN_TO: &str = "http://127.0.0.1:9/";
/// What the device keeps to itself.
const VERIFIER: &str = "the device's secret";

struct Stage {
    provider: OidcProvider,
    server: ServerHere,
    clock: Clock,
    database: Database,
}

impl Stage {
    fn set() -> Self {
        Self::with(OidcProvider::start())
    }

    fn with(provider: OidcProvider) -> Self {
        let (database, clock) = (Postgres::shared().database(), Clock::default());
        let master = MasterKey::random();
        let server = ServerHere::signing_in_by(&provider.settings(), &database.url, &master, clock.clone());
        Self { provider, server, clock, database }
    }

    async fn start(&self) -> String {
        let started = post(self.server.url(), "/v1/oidc/start", &starting()).await;
        assert_eq!(started.status, 200, "{started:?}");
        started.body["url"].as_str().unwrap().to_owned()
    }

    /// Somebody signs in at the provider; returns the address to which it sends the browser.
    async fn signed_in(&self, login: &str) -> String {
        Browser::default().sign_in(&self.start().await, login)
    }

    /// The browser opens that address; returns where it is sent, or what it is shown.
    fn opened(&self, back: &str) -> (u16, String) {
        let here = back.replace(PUBLIC_URL, self.server.url());
        let (status, shown) = Browser::default().open(&here);
        (status.as_u16(), shown)
    }

    /// The whole way through the browser, as `login`.
    async fn ticket(&self, login: &str) -> String {
        self.ticket_of(&self.signed_in(login).await)
    }

    fn ticket_of(&self, back: &str) -> String {
        let (status, to) = self.opened(back);
        assert_eq!(status, 303, "{to}");
        to.strip_prefix("http://127.0.0.1:9/?ticket=").unwrap().to_owned()
    }

    async fn finish(&self, ticket: &str, more: Value) -> Answer {
        let mut body = json!({ "ticket": ticket, "verifier": VERIFIER, "device_name": "phone" });
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        post(self.server.url(), "/v1/oidc/finish", &body).await
    }

    async fn sign_in(&self, login: &str) -> Answer {
        self.finish(&self.ticket(login).await, json!({})).await
    }

    /// What `path` shows to who is signed in.
    async fn get(&self, device: &Value, path: &str) -> Value {
        let request = reqwest::Client::new().get(format!("{}{path}", self.server.url()));
        let request = request.bearer_auth(device["access_token"].as_str().unwrap());
        Answer::of(request.send().await.unwrap()).await.body
    }

    async fn ask(&self, device: &Value, path: &str, body: Value) -> Answer {
        let request = reqwest::Client::new().post(format!("{}{path}", self.server.url()));
        let request = request.bearer_auth(device["access_token"].as_str().unwrap()).json(&body);
        Answer::of(request.send().await.unwrap()).await
    }

    /// What Ann is told whose sign-in went through somebody who lies.
    async fn refused(&self) -> String {
        let answer = self.sign_in(ANN).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (502, "provider_failed"), "{answer:?}");
        answer.message().to_owned()
    }
}

fn starting() -> Value {
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
    json!({ "return_to": RETURN_TO, "challenge": challenge })
}

fn parameter(url: &str, name: &str) -> String {
    let url = Url::parse(url).unwrap();
    url.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned()
}

#[tokio::test]
async fn a_first_sign_in_makes_an_account_and_the_next_ones_enter_it() {
    for provider in [OidcProvider::start(), OidcProvider::with_addresses_in_tokens()] {
        let stage = Stage::with(provider);
        let phone = stage.sign_in(ANN).await;
        assert_eq!(phone.status, 200, "{phone:?}");
        assert_eq!(phone.body["email"], ANN);
        assert!(phone.body["feeds"].as_array().unwrap().len() > 5);
        let tablet = stage.sign_in(ANN).await.body;
        assert_eq!(tablet["account"], phone.body["account"]);
        assert_ne!(tablet["device"], phone.body["device"]);
        let shown = stage.get(&tablet, "/v1/account").await;
        assert_eq!((&shown["email"], &shown["confirmed"]), (&json!(ANN), &json!(true)));
        assert_eq!(log_in(stage.server.url(), ANN, "laptop").await.code(), "wrong_credentials", "it has no password");
    }
}

#[tokio::test]
async fn the_browser_carries_state_nonce_and_the_hash_of_a_verifier() {
    let stage = Stage::set();
    let (one, other) = (stage.start().await, stage.start().await);
    assert_eq!(parameter(&one, "code_challenge_method"), "S256");
    for name in ["state", "nonce", "code_challenge"] {
        assert_ne!(parameter(&one, name), parameter(&other, name), "{name} is drawn for each sign-in");
    }
}

#[tokio::test]
async fn a_state_that_nobody_waits_for_and_one_that_was_answered_are_refused() {
    let stage = Stage::set();
    let back = stage.signed_in(ANN).await;
    let foreign = back.replace(&parameter(&back, "state"), &"x".repeat(43));
    let without = back.split_once("&state").unwrap().0;
    for odd in [&foreign, without] {
        let (status, shown) = stage.opened(odd);
        assert!(status == 400 && shown.contains("wrong_sign_in"), "{shown}");
    }
    let ticket = stage.ticket_of(&back);
    let (status, shown) = stage.opened(&back);
    assert!(status == 400 && shown.contains("wrong_sign_in"), "a callback is taken once: {shown}");
    assert_eq!(stage.finish(&ticket, json!({})).await.status, 200, "what was answered before goes on");
    assert_eq!(stage.finish(&ticket, json!({})).await.code(), "wrong_sign_in", "a ticket is worth one sign-in");
}

/// The code of Ann's sign-in is brought back in Mallory's.
#[tokio::test]
async fn a_code_of_another_sign_in_is_worth_nothing() {
    let stage = Stage::set();
    let (anns, mallorys) = (stage.signed_in(ANN).await, stage.signed_in("mallory@example.org").await);
    let mixed = mallorys.replace(&parameter(&mallorys, "code"), &parameter(&anns, "code"));
    let ticket = stage.ticket_of(&mixed);
    let refused = stage.finish(&ticket, json!({})).await;
    assert_eq!(refused.code(), "provider_failed");
    assert!(refused.message().contains("did not take its own code"), "{}", refused.message());
}

#[tokio::test]
async fn who_sees_the_ticket_cannot_use_it() {
    let stage = Stage::set();
    let ticket = stage.ticket(ANN).await;
    for verifier in ["", "another secret"] {
        let thief = stage.finish(&ticket, json!({ "verifier": verifier })).await;
        assert_eq!((thief.status.as_u16(), thief.code()), (400, "wrong_sign_in"));
    }
    assert_eq!(stage.finish(&ticket, json!({})).await.status, 200);
}

#[tokio::test]
async fn a_wrong_verifier_is_refused_by_the_provider() {
    let stage = Stage::set();
    stage.provider.change_question("/token", |form| {
        let (before, after) = form.split_once("code_verifier=").unwrap();
        format!("{before}code_verifier=x{}", &after[1..])
    });
    assert!(stage.refused().await.contains("did not take its own code"));
}

#[tokio::test]
async fn a_true_token_of_another_sign_in_or_for_another_server_is_refused() {
    let stage = Stage::set();
    let token = stage.provider.token_for("fitme", "another-nonce", ANN);
    stage.provider.change_answer("/token", move |mut answer| {
        answer["id_token"] = json!(token);
        answer
    });
    assert!(stage.refused().await.contains("belongs to another sign-in"), "the nonce");

    let url = stage.start().await;
    let token = stage.provider.token_for("other", &parameter(&url, "nonce"), ANN);
    stage.provider.change_answer("/token", move |mut answer| {
        answer["id_token"] = json!(token);
        answer
    });
    let ticket = stage.ticket_of(&Browser::default().sign_in(&url, ANN));
    let refused = stage.finish(&ticket, json!({})).await;
    assert!(refused.message().contains("meant for another server"), "all but the audience is right: {refused:?}");
}

#[tokio::test]
async fn a_token_that_is_changed_unsigned_or_signed_by_a_foreign_key_is_refused() {
    let stage = Stage::set();
    stage.provider.change_answer("/token", |mut answer| {
        let token: Vec<_> = answer["id_token"].as_str().unwrap().split('.').map(str::to_owned).collect();
        let mut claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(&token[1]).unwrap()).unwrap();
        claims["sub"] = json!("mallory@example.org");
        answer["id_token"] = json!(format!("{}.{}.{}", token[0], URL_SAFE_NO_PAD.encode(claims.to_string()), token[2]));
        answer
    });
    assert!(stage.refused().await.contains("not signed by it"), "changed");
    stage.provider.change_answer("/token", |mut answer| {
        let claims = answer["id_token"].as_str().unwrap().split('.').nth(1).unwrap();
        answer["id_token"] = json!(format!("{}.{claims}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#)));
        answer
    });
    assert!(stage.refused().await.contains("not signed by it"), "alg: none");

    // The provider's keys are another's: to a server that has not seen the true ones, its tokens are by a foreign key.
    let stage = Stage::set();
    stage.provider.change_answer("/jwks", |mut keys| {
        for key in keys["keys"].as_array_mut().unwrap() {
            let n = key["n"].as_str().unwrap_or_default().to_owned();
            key["n"] = json!(n.chars().rev().collect::<String>());
        }
        keys
    });
    assert!(stage.refused().await.contains("not signed by it"), "a foreign key");
}

#[tokio::test]
async fn a_token_that_is_over_is_refused() {
    let stage = Stage::set();
    let back = stage.signed_in(ANN).await;
    stage.clock.advance(Duration::from_secs(TOKEN_SECONDS + 1));
    let ticket = stage.ticket_of(&back);
    let refused = stage.finish(&ticket, json!({})).await;
    assert!(refused.message().contains("too old"), "{refused:?}");
}

#[tokio::test]
async fn a_provider_that_poses_as_another_is_not_believed() {
    let stage = Stage::set();
    stage.provider.change_answer("/.well-known/openid-configuration", |mut metadata| {
        metadata["issuer"] = json!("https://id.example.org");
        metadata
    });
    let started = post(stage.server.url(), "/v1/oidc/start", &starting()).await;
    assert_eq!((started.status.as_u16(), started.code()), (502, "provider_failed"));
}

#[tokio::test]
async fn a_new_key_of_the_provider_is_looked_for_and_found() {
    let stage = Stage::set();
    stage.provider.change_answer("/jwks", |_| json!({ "keys": [] }));
    let back = stage.signed_in(ANN).await;
    stage.provider.change_answer("/jwks", |keys| keys);
    stage.clock.advance(Duration::from_secs(11));
    let ticket = stage.ticket_of(&back);
    assert_eq!(stage.finish(&ticket, json!({})).await.status, 200);
}

#[tokio::test]
async fn an_address_that_the_provider_has_not_verified_makes_no_account() {
    let stage = Stage::set();
    let refused = stage.sign_in("ann@example.org unverified").await;
    assert_eq!((refused.status.as_u16(), refused.code()), (403, "email_unverified"), "{refused:?}");
    assert_eq!(sign_up(stage.server.url(), ANN, "phone").await.status, 201, "the address is free");
}

#[tokio::test]
async fn an_account_that_exists_is_entered_only_after_its_owner_linked_it() {
    let stage = Stage::set();
    let phone = sign_up(stage.server.url(), ANN, "phone").await.body;
    let refused = stage.sign_in("ANN@example.org").await;
    assert_eq!((refused.status.as_u16(), refused.code()), (409, "link_needed"), "{refused:?}");

    for password in [json!(null), json!("wrong horse")] {
        let mut linking = starting();
        linking["password"] = password;
        assert_eq!(stage.ask(&phone, "/v1/oidc/link", linking).await.code(), "wrong_credentials");
    }
    let mut linking = starting();
    linking["password"] = json!(PASSWORD);
    let started = stage.ask(&phone, "/v1/oidc/link", linking).await;
    let url = started.body["url"].as_str().unwrap();
    // Her identity has another address; what counts is that she asked.
    let ticket = stage.ticket_of(&Browser::default().sign_in(url, "annie@elsewhere.example"));
    assert_eq!(stage.finish(&ticket, json!({})).await.code(), "wrong_sign_in", "what links does not sign in");
    let proof = json!({ "ticket": ticket, "verifier": VERIFIER });
    assert_eq!(stage.ask(&phone, "/v1/oidc/link/finish", proof.clone()).await.status, 204);
    assert_eq!(stage.ask(&phone, "/v1/oidc/link/finish", proof).await.code(), "wrong_sign_in");
    let log = stage.get(&phone, "/v1/access-log").await;
    let linked: Vec<_> =
        log["records"].as_array().unwrap().iter().filter(|one| one["kind"] == "identity_linked").collect();
    assert_eq!(linked.len(), 1, "she sees that somebody may enter from now on: {log}");
    assert_eq!(linked[0]["detail"], json!({ "by": phone["device"] }));
    let tablet = stage.sign_in("annie@elsewhere.example").await.body;
    assert_eq!((&tablet["account"], &tablet["email"]), (&phone["account"], &json!(ANN)));
    assert_eq!(log_in(stage.server.url(), ANN, "laptop").await.status, 200, "the password stays");
}

/// Ann came by the provider and has no password. A stolen access token of hers must not let the thief in for ever.
#[tokio::test]
async fn an_account_without_a_password_is_linked_with_nobody_before_it_has_one() {
    let stage = Stage::set();
    let phone = stage.sign_in(ANN).await.body;
    for password in [json!(null), json!(""), json!(PASSWORD)] {
        let mut linking = starting();
        linking["password"] = password;
        let refused = stage.ask(&phone, "/v1/oidc/link", linking).await;
        assert_eq!((refused.status.as_u16(), refused.code()), (401, "wrong_credentials"));
        assert!(refused.message().contains("fitme password --forgotten"), "{}", refused.message());
    }
    let mut look = PgConnection::connect(&stage.database.owner).await.unwrap();
    let links: i64 = sqlx::query_scalar("SELECT count(*) FROM oidc_sign_ins WHERE links IS NOT NULL")
        .fetch_one(&mut look)
        .await
        .unwrap();
    assert_eq!(links, 0, "nothing is under way");
}

/// It took each connection and said nothing: who wanted to sign in waited for it, and after them everybody else.
#[tokio::test]
async fn a_provider_that_never_answers_costs_one_request_a_bounded_time() {
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let issuer = format!("http://{}", deaf.local_addr().unwrap());
    let (connected, connections) = std::sync::mpsc::channel();
    std::thread::spawn(move || deaf.incoming().map_while(Result::ok).try_for_each(|socket| connected.send(socket)));
    let settings = OidcArgs {
        oidc_issuer: Some(issuer),
        oidc_client_id: Some("fitme".to_owned()),
        oidc_client_secret: "secret-of-fitme".parse().ok(),
        public_url: Some(PUBLIC_URL.to_owned()),
    };
    let database = Postgres::shared().database();
    let server = ServerHere::signing_in_by(&settings, &database.url, &MasterKey::random(), Clock::default());
    let everybody = (0..20).map(|_| async {
        let refused = post(server.url(), "/v1/oidc/start", &starting()).await;
        assert_eq!((refused.status.as_u16(), refused.code()), (502, "provider_failed"), "{refused:?}");
        assert!(refused.message().contains("could not be asked"), "{}", refused.message());
    });
    // Far less than one after the other would take.
    tokio::time::timeout(Duration::from_secs(60), join_all(everybody)).await.expect("each is answered in bounded time");
    assert_eq!(connections.try_iter().count(), 1, "one asked, the others were told what it heard");
    assert_eq!(sign_up(server.url(), ANN, "phone").await.status, 201, "everything else goes on");
}

#[tokio::test]
async fn an_identity_enters_one_account() {
    let stage = Stage::set();
    stage.sign_in(ANN).await;
    let berta = sign_up(stage.server.url(), "berta@example.org", "phone").await.body;
    let mut linking = starting();
    linking["password"] = json!(PASSWORD);
    let started = stage.ask(&berta, "/v1/oidc/link", linking).await;
    let ticket = stage.ticket_of(&Browser::default().sign_in(started.body["url"].as_str().unwrap(), ANN));
    let proof = json!({ "ticket": ticket, "verifier": VERIFIER });
    let refused = stage.ask(&berta, "/v1/oidc/link/finish", proof).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (409, "linked_elsewhere"));
}

#[tokio::test]
async fn a_second_factor_is_asked_for_here_as_well_and_guesses_wait() {
    let stage = Stage::set();
    let phone = stage.sign_in(ANN).await.body;
    let begun = stage.ask(&phone, "/v1/totp", Value::Null).await.body;
    let secret = totp_rs::Secret::try_from_base32(begun["secret"].as_str().unwrap()).unwrap();
    let app = totp_rs::Builder::new().with_secret(secret).build().unwrap();
    let shown = || app.generate(u64::try_from(stage.clock.now_ms() / 1_000).unwrap()).to_string();
    assert_eq!(stage.ask(&phone, "/v1/totp/confirm", json!({ "code": shown() })).await.status, 200);
    stage.clock.advance(Duration::from_secs(30));
    let ticket = stage.ticket(ANN).await;
    assert_eq!(stage.finish(&ticket, json!({})).await.code(), "code_needed");
    assert_eq!(stage.finish(&ticket, json!({ "code": "000000" })).await.code(), "wrong_code");
    assert_eq!(stage.finish(&ticket, json!({ "code": shown() })).await.status, 200, "the ticket was not used up");
    let ticket = stage.ticket(ANN).await;
    for _ in 0..5 {
        assert_eq!(stage.finish(&ticket, json!({ "code": "000000" })).await.code(), "wrong_code");
    }
    stage.clock.advance(Duration::from_millis(1));
    assert_eq!(stage.finish(&ticket, json!({ "code": "000000" })).await.code(), "too_many_attempts");
}

#[tokio::test]
async fn what_is_under_way_ends_and_is_bounded() {
    let stage = Stage::set();
    let back = stage.signed_in(ANN).await;
    let ticket = stage.ticket(ANN).await;
    stage.clock.advance(LIFETIME);
    assert!(stage.opened(&back).1.contains("wrong_sign_in"));
    assert_eq!(stage.finish(&ticket, json!({})).await.code(), "wrong_sign_in");
    housekeeping::tidy(&stage.server.state().pool, stage.clock.now_ms()).await.unwrap();
    let mut look = PgConnection::connect(&stage.database.owner).await.unwrap();
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM oidc_sign_ins").fetch_one(&mut look).await.unwrap();
    assert_eq!(left, 0);
    for _ in 0..UNDER_WAY {
        stage.start().await;
    }
    let refused = post(stage.server.url(), "/v1/oidc/start", &starting()).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (429, "too_many_attempts"));
}

#[tokio::test]
async fn a_browser_is_sent_to_nobody_but_the_device() {
    let stage = Stage::set();
    let mut elsewhere = starting();
    elsewhere["return_to"] = json!("https://evil.example.org/");
    let mut unproved = starting();
    unproved["challenge"] = json!("short");
    for odd in [elsewhere, unproved] {
        assert_eq!(post(stage.server.url(), "/v1/oidc/start", &odd).await.code(), "bad_request");
    }
}

#[tokio::test]
async fn the_database_has_neither_state_nor_ticket_nor_verifier() {
    let stage = Stage::set();
    let url = stage.start().await;
    let back = Browser::default().sign_in(&url, ANN);
    let ticket = stage.ticket_of(&back);
    let rows: String = sqlx::query_scalar("SELECT string_agg(o::text, '') FROM oidc_sign_ins o")
        .fetch_one(&mut PgConnection::connect(&stage.database.owner).await.unwrap())
        .await
        .unwrap();
    assert!(rows.contains(ANN), "{rows}");
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    for secret in [parameter(&url, "state"), parameter(&url, "nonce"), parameter(&back, "code"), ticket] {
        assert!(!rows.contains(&secret) && !rows.contains(&hex(&secret)));
    }
}

#[tokio::test]
async fn a_server_without_a_provider_says_so() {
    let database = Postgres::shared().database();
    let server = ServerHere::with(&database.url, &MasterKey::random(), Clock::default(), ACCESS_LIFETIME);
    let refused = post(server.url(), "/v1/oidc/start", &starting()).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (404, "not_found"));
    assert!(refused.message().contains("log in with a password"), "{}", refused.message());
    let known = post(server.url(), "/v1/login", &credentials(ANN, PASSWORD, "phone")).await;
    assert_eq!(known.code(), "wrong_credentials");
}
