//! Grants over HTTP: the same grants that devices have, ended as a device would end them.

use fitme_core::collection::Collection;
use fitme_core::id::{ActorId, FeedId};
use fitme_core::wire::Frame;
use fitme_testing::{Postgres, ServerHere};
use rand::SeedableRng;
use rand::rngs::StdRng;
use reqwest::Method;
use serde_json::{Value, json};
use sync_server::auth::Device;
use sync_server::master_key::MasterKey;
use uuid::Uuid;

use crate::client::{Answer, credentials, post, until};
use crate::phones::{MORNING, Node, Phone, code};
use crate::rogue::Rogue;

/// Ann shares her workouts with Tom.
struct Stage {
    server: ServerHere,
    node: Node,
    ann: Value,
    anns: Phone,
    tom: Value,
    grant: String,
}

async fn signed_up(server: &ServerHere, name: &str, role: &str) -> Value {
    let email = format!("{name}@example.org");
    let mut body = credentials(&email, "correct horse battery", "phone");
    body["role"] = json!(role);
    let person = post(server.url(), "/v1/signup", &body).await.body;
    let token = server.mailed(&email, "fitme confirm");
    assert_eq!(post(server.url(), "/v1/confirm", &json!({ "token": token })).await.status, 200);
    person
}

fn id(person: &Value, field: &str) -> Uuid {
    person[field].as_str().unwrap().parse().unwrap()
}

fn feed(person: &Value, collection: &str) -> FeedId {
    let feeds = person["feeds"].as_array().unwrap();
    FeedId(feeds.iter().find(|feed| feed["collection"] == collection).unwrap()["feed"].as_u64().unwrap())
}

impl Stage {
    async fn set() -> Self {
        let database = Postgres::shared().database();
        let server = ServerHere::on(&database.url, &MasterKey::random());
        let node = Node::on(&database).await;
        let (ann, tom) = (signed_up(&server, "ann", "member").await, signed_up(&server, "tom", "trainer").await);
        let mut rng = StdRng::seed_from_u64(1);
        let device = Device { device: id(&ann, "device"), account: id(&ann, "account") };
        let anns = Phone { device, actor: ActorId::random(&mut rng), rng };
        let mut stage = Self { server, node, ann, anns, tom, grant: String::new() };
        let asked =
            json!({ "name": "Tom", "purpose": "training", "feeds": [{ "collection": "workouts", "access": "write" }] });
        let invited = stage.ask(&stage.tom, Method::POST, "/v1/invites", asked).await.body;
        let accepted =
            stage.ask(&stage.ann, Method::POST, "/v1/invites/accept", json!({ "code": invited["code"] })).await;
        assert_eq!(accepted.status, 200);
        stage.share().await;
        stage
    }

    /// Ann's phone writes the grant.
    async fn share(&mut self) {
        let grant = json!({
            "at": MORNING, "kind": "grant", "grantee": self.tom["account"], "grantee_name": "Tom", "grantee_role": "trainer",
            "shown_as": "Ann", "purpose": "training", "feeds": [{ "collection": "workouts", "access": "write" }]
        });
        let (draft, entry) = self.anns.log(Collection::Grants, &grant);
        let receipts = self.node.push(self.anns.device, feed(&self.ann, "grants"), vec![entry]).await;
        assert_eq!(code(&receipts[0]), "accepted");
        self.grant = draft.doc_id.to_string();
    }

    async fn ask(&self, who: &Value, method: Method, path: &str, body: Value) -> Answer {
        let request = reqwest::Client::new().request(method, format!("{}{path}", self.server.url()));
        let request = request.bearer_auth(who["access_token"].as_str().unwrap()).json(&body);
        Answer::of(request.send().await.unwrap()).await
    }

    async fn grants(&self, who: &Value) -> Value {
        self.ask(who, Method::GET, "/v1/grants", Value::Null).await.body
    }

    async fn revoke(&self, who: &Value, grant: &str) -> Answer {
        self.ask(who, Method::POST, &format!("/v1/grants/{grant}/revoke"), Value::Null).await
    }
}

#[tokio::test]
async fn both_see_what_is_shared_and_nobody_else_does() {
    let stage = Stage::set().await;
    let feeds = json!([{ "collection": "workouts", "scope": "", "access": "write" }]);
    until("the grant is merged", async || stage.grants(&stage.ann).await["given"][0]["grantee_name"] == "Tom").await;
    let anns = stage.grants(&stage.ann).await;
    assert_eq!((&anns["given"][0]["id"], &anns["given"][0]["feeds"]), (&json!(stage.grant), &feeds));
    assert_eq!((&anns["given"][0]["grantee"], &anns["received"]), (&stage.tom["account"], &json!([])));
    let toms = stage.grants(&stage.tom).await;
    assert_eq!((&toms["received"][0]["id"], &toms["received"][0]["feeds"]), (&json!(stage.grant), &feeds));
    assert_eq!((&toms["received"][0]["shown_as"], &toms["given"]), (&json!("Ann"), &json!([])));
    let berta = signed_up(&stage.server, "berta", "trainer").await;
    assert_eq!(stage.grants(&berta).await, json!({ "given": [], "received": [] }));
}

/// Ann ends it in a browser while Tom's device is connected, and her phone as well.
#[tokio::test]
async fn what_is_revoked_over_http_ends_toms_session_with_it_and_reaches_anns_phone() {
    let stage = Stage::set().await;
    let (mut toms, mut phone) = (
        Rogue::connect_to(stage.server.url(), &stage.tom).await,
        Rogue::connect_to(stage.server.url(), &stage.ann).await,
    );
    for device in [&mut toms, &mut phone] {
        let hello = device.hello();
        device.say(&Frame::Hello(hello)).await;
    }
    let workouts = feed(&stage.ann, "workouts");
    while !matches!(toms.hear().await, Some(Frame::FeedGranted(granted)) if granted.feed == workouts) {}

    assert_eq!(stage.revoke(&stage.ann, &stage.grant).await.status, 204);
    while !matches!(toms.hear().await, Some(Frame::FeedRevoked(gone)) if gone == workouts) {}
    let grants = feed(&stage.ann, "grants");
    let mut heard = 0;
    while heard < 2 {
        if let Some(Frame::Entries(pages)) = phone.hear().await {
            heard += pages.iter().filter(|page| page.feed == grants).map(|page| page.items.len()).sum::<usize>();
        }
    }
    assert_eq!(stage.grants(&stage.ann).await, json!({ "given": [], "received": [] }));
    assert_eq!(stage.grants(&stage.tom).await, json!({ "given": [], "received": [] }));
    let mut toms = stage.anns.clone();
    toms.device = Device { device: id(&stage.tom, "device"), account: id(&stage.tom, "account") };
    let workout = toms.log(Collection::Workouts, &json!({ "start": MORNING })).1;
    assert_eq!(code(&stage.node.push(toms.device, workouts, vec![workout]).await[0]), "not_your_feed");
}

#[tokio::test]
async fn a_grant_is_ended_by_who_gave_it_and_stays_ended() {
    let mut stage = Stage::set().await;
    for who in [&stage.tom, &signed_up(&stage.server, "berta", "member").await] {
        let refused = stage.revoke(who, &stage.grant).await;
        assert_eq!((refused.status.as_u16(), refused.code()), (404, "not_found"));
    }
    for odd in ["0", "01936d3e-9a51-7c3f-8a4e-0d6c1f2b3a49"] {
        assert_eq!(stage.revoke(&stage.ann, odd).await.code(), "not_found");
    }
    for _ in 0..2 {
        assert_eq!(stage.revoke(&stage.ann, &stage.grant).await.status, 204);
    }
    // Two of one process, each its own document.
    stage.share().await;
    assert_eq!(stage.revoke(&stage.ann, &stage.grant).await.status, 204);
    assert_eq!(stage.node.feed(feed(&stage.ann, "grants")).await.len(), 4);
}
