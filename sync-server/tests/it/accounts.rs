//! Ana signs up, logs in from her tablet, and others try what they should not.

use std::collections::HashSet;

use fitme_testing::{Postgres, ServerProcess};
use serde_json::json;
use sqlx::{Connection, PgConnection};

use crate::client::{Answer, PASSWORD, credentials, get, log_in, post, sign_up};

#[tokio::test]
async fn ana_signs_up_and_her_tablet_finds_the_same_feeds() {
    let server = ServerProcess::on(&Postgres::shared().database().url);

    let phone = sign_up(server.url(), "Ana@Example.org", "phone").await;
    assert_eq!(phone.status, 201, "{phone:?}");
    let feeds = phone.body["feeds"].as_array().unwrap();
    assert_eq!(feeds.len(), 14);
    let numbers: HashSet<i64> = feeds.iter().map(|feed| feed["feed"].as_i64().unwrap()).collect();
    assert_eq!(numbers.len(), 14, "each feed has a number of its own");
    assert!(numbers.iter().all(|number| (1..1 << 48).contains(number)));
    assert!(feeds.iter().all(|feed| feed["epoch"].as_str().unwrap().len() == 16));
    let scopes: Vec<&str> = feeds
        .iter()
        .filter(|feed| feed["collection"] == "insights")
        .map(|feed| feed["scope"].as_str().unwrap())
        .collect();
    assert_eq!(scopes, ["mind", "nutrition", "training"]);

    let tablet = log_in(server.url(), "ana@example.ORG", "tablet").await;
    assert_eq!(tablet.status, 200, "{tablet:?}");
    for same in ["account", "feeds", "installation"] {
        assert_eq!(tablet.body[same], phone.body[same], "{same}");
    }
    for own in ["device", "access_token", "refresh_token"] {
        assert_ne!(tablet.body[own], phone.body[own], "{own}");
    }
    assert_eq!((&tablet.body["expires_in"], &tablet.body["token_type"]), (&(15 * 60).into(), &"Bearer".into()));
    assert_eq!(tablet.body["refresh_expires_in"], 90 * 24 * 3_600);
}

#[tokio::test]
async fn one_address_has_one_account_even_when_two_phones_sign_up_at_once() {
    let server = ServerProcess::on(&Postgres::shared().database().url);
    let (first, second) =
        tokio::join!(sign_up(server.url(), "ana@example.org", "one"), sign_up(server.url(), "ANA@example.org", "two"));
    let mut codes = [first.code(), second.code()];
    codes.sort_unstable();
    assert_eq!(codes, ["", "email_taken"]);
}

#[tokio::test]
async fn a_closed_server_takes_no_sign_ups_and_lets_in_who_has_an_account() {
    let server = ServerProcess::on(&Postgres::shared().database().url);
    sign_up(server.url(), "ana@example.org", "phone").await;
    assert_eq!(server.run(&["admin", "close-signup"]).code, 0);
    let ben = sign_up(server.url(), "ben@example.org", "phone").await;
    assert_eq!((ben.status.as_u16(), ben.code()), (403, "signup_closed"));
    assert_eq!(log_in(server.url(), "ana@example.org", "tablet").await.status, 200);
    assert_eq!(server.run(&["admin", "open-signup"]).code, 0);
    assert_eq!(sign_up(server.url(), "ben@example.org", "phone").await.status, 201);
}

#[tokio::test]
async fn what_has_not_the_right_form_is_named() {
    let server = ServerProcess::on(&Postgres::shared().database().url);
    let long = "x".repeat(1025);
    let cases = [
        (credentials("ana@example.org", "short", "phone"), "password"),
        (credentials("ana@example.org", &long, "phone"), "password"),
        (credentials("ana.example.org", PASSWORD, "phone"), "e-mail"),
        (credentials("ana@example.org", PASSWORD, ""), "device_name"),
        (credentials("ana@example.org", PASSWORD, &long), "device_name"),
        (credentials("ana@example.org", PASSWORD, "pho\u{0}ne"), "device_name"),
        (json!({ "email": "ana@example.org", "password": PASSWORD }), "device_name"),
        (json!({ "email": 7, "password": PASSWORD, "device_name": "phone" }), "email"),
        (json!([]), "JSON"),
    ];
    for (body, named) in cases {
        let answer = post(server.url(), "/v1/signup", &body).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, "bad_request"), "{body}");
        assert!(answer.message().contains(named), "{body}: {}", answer.message());
    }
    for body in ["", "{", "\u{feff}{}", "garbage"] {
        let request = reqwest::Client::new().post(format!("{}/v1/login", server.url()));
        let request = request.header("content-type", "application/json").body(body);
        assert_eq!(Answer::of(request.send().await.unwrap()).await.code(), "bad_request", "{body:?}");
    }
    let huge = credentials("ana@example.org", &"x".repeat(17 * 1024), "phone");
    let answer = post(server.url(), "/v1/signup", &huge).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (413, "payload_too_large"));
    assert_eq!(get(server.url(), "/v1/nothing").await.code(), "not_found");
    assert_eq!(get(server.url(), "/v1/login").await.code(), "not_found");
    assert_eq!(sign_up(server.url(), "ana@example.org", "phone").await.status, 201, "the server goes on");
}

#[tokio::test]
async fn an_older_account_gets_new_feeds_when_it_logs_in() {
    let database = Postgres::shared().database();
    let server = ServerProcess::on(&database.url);
    let before = sign_up(server.url(), "ana@example.org", "phone").await;
    let mut db = PgConnection::connect(&database.owner).await.unwrap();
    sqlx::query("DELETE FROM feeds WHERE collection = 'plans' OR scope = 'mind'").execute(&mut db).await.unwrap();

    let (one, two) =
        tokio::join!(log_in(server.url(), "ana@example.org", "one"), log_in(server.url(), "ana@example.org", "two"));

    assert_eq!(one.body["feeds"], two.body["feeds"], "two logins at once agree");
    assert_eq!(one.body["feeds"].as_array().unwrap().len(), 14);
    let kept = |answer: &Answer| {
        let feeds = answer.body["feeds"].as_array().unwrap().clone();
        feeds.into_iter().find(|feed| feed["collection"] == "meals").unwrap()
    };
    assert_eq!(kept(&one), kept(&before));
}

#[tokio::test]
async fn neither_the_database_nor_the_log_holds_a_secret() {
    let database = Postgres::shared().database();
    let server = ServerProcess::start_with(Some(&database.url), &[("FITME_LOG", "trace")]);
    let phone = sign_up(server.url(), "ana@example.org", "phone").await;
    let secret = |name: &str| phone.body[name].as_str().unwrap();
    let mut db = PgConnection::connect(&database.owner).await.unwrap();
    let tables = "SELECT string_agg(d::text || a::text || s::text, '') FROM devices d, accounts a, sign_ins s";
    let stored: String = sqlx::query_scalar(tables).fetch_one(&mut db).await.unwrap();
    assert!(stored.contains("$argon2id$"));
    let log = server.log();
    assert!(log.contains(phone.request_id.as_deref().unwrap()), "the log names the request");
    for (place, text) in [("database", stored), ("log", log)] {
        assert!(!text.contains(secret("access_token")), "the {place} holds the access token");
        for part in secret("refresh_token").split('.').filter(|part| part.len() > 1) {
            assert!(!text.contains(part), "the {place} holds a part of the refresh token");
        }
        assert!(!text.contains(PASSWORD), "the {place} holds the password");
    }
}

/// Its address is known to everybody.
#[tokio::test]
async fn nobody_logs_in_as_a_service() {
    let server = ServerProcess::on(&Postgres::shared().database().url);
    for password in ["", "null", PASSWORD] {
        let body = credentials("insights@service.invalid", password, "phone");
        assert_eq!(post(server.url(), "/v1/login", &body).await.code(), "wrong_credentials");
    }
    let listed = get(server.url(), "/v1/services").await.body;
    assert_eq!((&listed[0]["name"], &listed[0]["role"]), (&"insights".into(), &"service".into()));
    assert_eq!(listed[0]["feeds_with_moods"][0]["collection"], "moods");
}
