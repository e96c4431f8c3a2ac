//! Every HTTP route.

use std::collections::BTreeSet;

use fitme_core::collection::Collection;
use fitme_core::policy::{Access, Purpose, Role};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sync_server::http;
use sync_server::routes::Door;

use super::cast::{Cast, Grantee, MARKER, Said};
use crate::client::{Answer, PASSWORD};

/// What a signed-in account gets, whatever its role is. `{device}` is a device of an owner.
struct Row {
    method: Method,
    path: &'static str,
    body: Value,
    /// The code of the error, or the status where there is none.
    gets: &'static str,
}

fn row(method: Method, path: &'static str, body: Value, gets: &'static str) -> Row {
    Row { method, path, body, gets }
}

/// A route that has none fails the test. The order is that of asking: what ends the sign-in comes last. The two routes that
/// sync are in `frames`; what `/v1/invites` answers depends on role and collection and is below.
fn rows() -> Vec<Row> {
    use Method as M;
    let nothing = || json!({});
    vec![
        row(M::GET, "/healthz", nothing(), "200"),
        row(M::GET, "/readyz", nothing(), "200"),
        row(M::GET, "/.well-known/jwks.json", nothing(), "200"),
        row(M::GET, "/v1/services", nothing(), "200"),
        row(M::POST, "/v1/signup", json!({ "email": "no address" }), "bad_request"),
        row(M::POST, "/v1/login", json!({ "email": "no address" }), "bad_request"),
        // The server of the matrix has no sign-in provider.
        row(M::POST, "/v1/oidc/start", json!({ "return_to": "", "challenge": "" }), "bad_request"),
        row(M::GET, "/v1/oidc/callback", nothing(), "not_found"),
        row(
            M::POST,
            "/v1/oidc/finish",
            json!({ "ticket": "guessed", "verifier": "", "device_name": "phone" }),
            "not_found",
        ),
        row(M::POST, "/v1/oidc/link", json!({ "return_to": "", "challenge": "" }), "bad_request"),
        row(M::POST, "/v1/oidc/link/finish", json!({ "ticket": "guessed", "verifier": "" }), "not_found"),
        row(M::POST, "/v1/token", json!({ "grant": "refresh_token", "refresh_token": "guessed" }), "prove_device"),
        row(M::POST, "/v1/token/challenge", json!({ "device": "{device}" }), "200"),
        row(M::POST, "/v1/confirm", json!({ "token": "guessed" }), "wrong_token"),
        row(M::POST, "/v1/password/forgotten", json!({ "email": "nobody@example.org" }), "202"),
        row(M::POST, "/v1/password/reset", json!({ "token": "guessed", "password": PASSWORD }), "wrong_token"),
        row(M::GET, "/v1/account", nothing(), "200"),
        row(M::POST, "/v1/confirm/again", nothing(), "202"),
        row(M::GET, "/v1/access-log", nothing(), "200"),
        row(M::POST, "/v1/exports", nothing(), "204"),
        row(M::GET, "/v1/devices", nothing(), "200"),
        row(M::PATCH, "/v1/devices/{device}", json!({ "name": "mine" }), "not_found"),
        row(M::POST, "/v1/devices/{device}/revoke", nothing(), "not_found"),
        row(M::POST, "/v1/totp/confirm", json!({ "code": "000000" }), "wrong_code"),
        row(M::POST, "/v1/totp/off", json!({ "code": "000000" }), "totp_off"),
        row(M::POST, "/v1/totp", nothing(), "200"),
        row(M::POST, "/v1/grants/{grant}/revoke", nothing(), "not_found"),
        row(M::POST, "/v1/invites/look", json!({ "code": "GUES-SEDC-ODES" }), "unknown_invite"),
        row(M::POST, "/v1/invites/accept", json!({ "code": "GUES-SEDC-ODES" }), "unknown_invite"),
        row(M::POST, "/v1/password", json!({ "password": "guessed", "new_password": PASSWORD }), "wrong_credentials"),
        row(M::DELETE, "/v1/records/{record}", nothing(), "not_found"),
        row(
            M::POST,
            "/v1/account/erase",
            json!({ "email": "no@example.org", "password": "guessed" }),
            "wrong_credentials",
        ),
        row(M::POST, "/v1/logout", nothing(), "204"),
    ]
}

/// In `frames`, and below.
const ELSEWHERE: [(Method, &str); 4] = [
    (Method::GET, "/v1/grants"),
    (Method::GET, "/v1/sync"),
    (Method::POST, "/v1/sync/once"),
    (Method::POST, "/v1/invites"),
];

async fn ask(cast: &Cast, method: &Method, path: &str, body: &Value, token: Option<&str>) -> (Answer, String) {
    let theirs = cast.owners[0].phone.device.device.to_string();
    let url = format!("{}{}", cast.server.url(), path.replace("{device}", &theirs));
    let body = body.to_string().replace("{device}", &theirs);
    let request =
        reqwest::Client::new().request(method.clone(), url).header("content-type", "application/json").body(body);
    let request = token.into_iter().fold(request, reqwest::RequestBuilder::bearer_auth);
    let answer = Answer::of(request.send().await.unwrap()).await;
    let text = answer.body.to_string();
    (answer, text)
}

fn got(answer: &Answer) -> String {
    if answer.code().is_empty() { answer.status.as_u16().to_string() } else { answer.code().to_owned() }
}

/// Nothing of the owners may be in it: neither who they are nor what they have.
fn assert_tells_nothing(cast: &Cast, text: &str, what: &str) {
    assert!(!text.contains(MARKER), "{what}: {text}");
    for owner in &cast.owners {
        let ids = [owner.account.to_string(), owner.phone.device.device.to_string()];
        let feeds = owner.feeds.keys().map(|feed| feed.0.to_string());
        assert!(!ids.into_iter().chain(feeds).any(|secret| text.contains(&secret)), "{what}: {text}");
    }
}

#[test]
fn every_route_has_a_row() {
    let routes = http::routes();
    let served: BTreeSet<_> = routes.list().iter().map(|route| (route.method.to_string(), route.path)).collect();
    let rows = rows().into_iter().map(|row| (row.method, row.path)).chain(ELSEWHERE);
    let spoken_of: BTreeSet<_> = rows.map(|(method, path)| (method.to_string(), path)).collect();
    assert_eq!(served, spoken_of, "left: what is served; right: what has a row");
}

#[tokio::test]
async fn a_closed_route_answers_nobody_without_a_token() {
    let cast = Cast::set().await;
    for route in http::routes().list().iter().filter(|route| route.door == Door::Closed) {
        for token in [None, Some("guessed")] {
            let (answer, _) = ask(&cast, &route.method, route.path, &json!({}), token).await;
            assert_eq!(answer.code(), "unauthenticated", "{} {}", route.method, route.path);
        }
    }
}

#[tokio::test]
async fn every_role_gets_its_own_and_nothing_of_others() {
    let cast = Cast::set().await;
    for who in &cast.grantees {
        for row in rows() {
            let (answer, text) = ask(&cast, &row.method, row.path, &row.body, Some(who.token())).await;
            let what = format!("{} {} by a {}", row.method, row.path, who.role);
            assert_eq!(got(&answer), row.gets, "{what}: {text}");
            assert_tells_nothing(&cast, &text, &what);
        }
    }
}

#[tokio::test]
async fn each_account_is_told_what_is_shared_with_it_and_nothing_else() {
    let cast = Cast::set().await;
    for who in &cast.grantees {
        let (answer, _) = ask(&cast, &Method::GET, "/v1/grants", &json!({}), Some(who.token())).await;
        assert_eq!(answer.body["given"], json!([]), "a {} has given nothing", who.role);
        let received = answer.body["received"].as_array().unwrap().iter();
        let told: BTreeSet<_> = received.map(|grant| grant["account"].as_str().unwrap().to_owned()).collect();
        let sharing = cast.owners.iter().filter(|owner| {
            !matches!(owner.said, Said::Over | Said::Revoked) && !owner.said.feeds(who.role).is_empty()
        });
        assert_eq!(told, sharing.map(|owner| owner.account.to_string()).collect(), "a {}", who.role);
    }
}

#[tokio::test]
async fn each_role_asks_for_what_the_table_of_permissions_says() {
    let cast = Cast::set().await;
    for who in &cast.grantees {
        for purpose in Purpose::ALL {
            for (collection, scope) in Collection::feeds_of_an_account() {
                for access in [Access::Read, Access::Write] {
                    let expected = who.role.asks(purpose, collection, access);
                    let asked = invite(&cast, who, purpose, (collection, scope), access).await;
                    let what = format!("a {} asks to {} {collection} for {}", who.role, access.name(), purpose.name());
                    let expected = if expected { StatusCode::CREATED } else { StatusCode::FORBIDDEN };
                    assert_eq!(asked.status, expected, "{what}: {}", asked.message());
                }
            }
        }
    }
    let askers: Vec<_> = Role::ALL.into_iter().filter(|role| !role.may_ask().0.is_empty()).collect();
    assert_eq!(askers.len(), 5, "members and admins ask for nothing: {askers:?}");
}

async fn invite(
    cast: &Cast,
    who: &Grantee,
    purpose: Purpose,
    (collection, scope): (Collection, &str),
    access: Access,
) -> Answer {
    let body = json!({
        "name": "asks", "purpose": purpose.name(),
        "feeds": [{ "collection": collection.name(), "scope": scope, "access": access.name() }]
    });
    ask(cast, &Method::POST, "/v1/invites", &body, Some(who.token())).await.0
}
