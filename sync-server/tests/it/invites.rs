//! Invitations over HTTP: who may ask for what, and which codes are good for something.

use fitme_testing::{Postgres, ServerProcess};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::client::{Answer, PASSWORD, post, sign_up};

async fn ask(server: &ServerProcess, who: &Answer, path: &str, body: &Value) -> Answer {
    let token = who.body["access_token"].as_str().unwrap();
    let request = reqwest::Client::new().post(format!("{}{path}", server.url())).bearer_auth(token).json(body);
    Answer::of(request.send().await.unwrap()).await
}

async fn trainer(server: &ServerProcess) -> Answer {
    let body = json!({ "email": "tom@example.org", "password": PASSWORD, "device_name": "laptop", "role": "trainer" });
    let tom = post(server.url(), "/v1/signup", &body).await;
    confirm(server, "tom@example.org").await;
    tom
}

async fn member(server: &ServerProcess, email: &str) -> Answer {
    let answer = sign_up(server.url(), email, "phone").await;
    confirm(server, email).await;
    answer
}

async fn confirm(server: &ServerProcess, email: &str) {
    let token = server.mailed(email, "fitme confirm");
    assert_eq!(post(server.url(), "/v1/confirm", &json!({ "token": token })).await.status, 200);
}

fn workouts() -> Value {
    json!({ "name": "Tom", "purpose": "training", "feeds": [{ "collection": "workouts", "access": "read" }] })
}

#[tokio::test]
async fn a_role_asks_for_what_its_table_allows() {
    let server = ServerProcess::on(&Postgres::shared().database().url);
    let tom = trainer(&server).await;
    assert_eq!(ask(&server, &tom, "/v1/invites", &workouts()).await.status, 201);
    for (change, code) in [
        (json!({ "feeds": [{ "collection": "journal", "access": "read" }] }), "not_for_role"),
        (json!({ "feeds": [{ "collection": "meals", "access": "write" }] }), "not_for_role"),
        (json!({ "feeds": [{ "collection": "inbox", "access": "read" }] }), "not_for_role"),
        (json!({ "purpose": "care" }), "not_for_role"),
        (json!({ "purpose": "curiosity" }), "bad_request"),
        (json!({ "feeds": [] }), "bad_request"),
        (json!({ "name": " " }), "bad_request"),
        (json!({ "days": 0 }), "bad_request"),
    ] {
        let mut body = workouts();
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let refused = ask(&server, &tom, "/v1/invites", &body).await;
        assert_eq!(refused.code(), code, "{body}");
    }
    let ann = member(&server, "ann@example.org").await;
    assert_eq!(ask(&server, &ann, "/v1/invites", &workouts()).await.code(), "not_for_role");
    let body = json!({ "email": "eve@example.org", "password": PASSWORD, "device_name": "phone", "role": "admin" });
    assert_eq!(post(server.url(), "/v1/signup", &body).await.code(), "bad_request", "nobody makes themselves an admin");
}

#[tokio::test]
async fn a_code_is_good_for_one_account_until_it_is_over() {
    let database = Postgres::shared().database();
    let server = ServerProcess::on(&database.url);
    let (tom, ann) = (trainer(&server).await, member(&server, "ann@example.org").await);
    let berta = member(&server, "berta@example.org").await;
    let invited = ask(&server, &tom, "/v1/invites", &workouts()).await;
    let code = json!({ "code": invited.body["code"] });

    let terms = ask(&server, &ann, "/v1/invites/look", &code).await;
    assert_eq!(
        (terms.body["grantee"].clone(), terms.body["role"].clone()),
        (tom.body["account"].clone(), json!("trainer"))
    );
    assert_eq!(ask(&server, &tom, "/v1/invites/accept", &code).await.code(), "unknown_invite", "it is his own");
    assert_eq!(ask(&server, &ann, "/v1/invites/accept", &code).await.status, 200);
    // The answer was lost, so she asks again.
    assert_eq!(ask(&server, &ann, "/v1/invites/accept", &code).await.status, 200);
    for path in ["/v1/invites/look", "/v1/invites/accept"] {
        assert_eq!(ask(&server, &berta, path, &code).await.code(), "unknown_invite");
        assert_eq!(ask(&server, &berta, path, &json!({ "code": "2222-2222-2222" })).await.code(), "unknown_invite");
    }

    let late = json!({ "code": ask(&server, &tom, "/v1/invites", &workouts()).await.body["code"] });
    let mut db = PgConnection::connect(&database.owner).await.unwrap();
    sqlx::query("UPDATE invites SET expires_at = now() WHERE accepted_by IS NULL").execute(&mut db).await.unwrap();
    assert_eq!(ask(&server, &berta, "/v1/invites/accept", &late).await.code(), "unknown_invite");
}

#[tokio::test]
async fn only_so_many_invitations_wait_at_a_time() {
    let database = Postgres::shared().database();
    let server = ServerProcess::on(&database.url);
    let tom = trainer(&server).await;
    let mut db = PgConnection::connect(&database.owner).await.unwrap();
    sqlx::query(
        "INSERT INTO invites (code_hash, grantee, grantee_name, role, purpose, feeds, expires_at)
         SELECT decode(lpad(n::text, 64, '0'), 'hex'), account, 'Tom', 'trainer', 'training', '[]', now() + interval '1 day'
         FROM accounts, generate_series(1, 199) n WHERE role = 'trainer'",
    )
    .execute(&mut db)
    .await
    .unwrap();
    assert_eq!(ask(&server, &tom, "/v1/invites", &workouts()).await.status, 201);
    assert_eq!(ask(&server, &tom, "/v1/invites", &workouts()).await.code(), "too_many_invites");
}

/// Others are shown the address, so it must be true.
#[tokio::test]
async fn whose_address_is_not_confirmed_neither_invites_nor_accepts() {
    let server = ServerProcess::on(&Postgres::shared().database().url);
    let tom = trainer(&server).await;
    let code = json!({ "code": ask(&server, &tom, "/v1/invites", &workouts()).await.body["code"] });
    let ann = sign_up(server.url(), "ann@example.org", "phone").await;
    let refused = ask(&server, &ann, "/v1/invites/accept", &code).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (403, "address_unconfirmed"));
    let body = json!({ "email": "eve@example.org", "password": PASSWORD, "device_name": "phone", "role": "trainer" });
    let eve = post(server.url(), "/v1/signup", &body).await;
    assert_eq!(ask(&server, &eve, "/v1/invites", &workouts()).await.code(), "address_unconfirmed");
    confirm(&server, "ann@example.org").await;
    assert_eq!(ask(&server, &ann, "/v1/invites/accept", &code).await.status, 200);
}
