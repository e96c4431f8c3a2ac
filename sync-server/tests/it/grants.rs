//! Consent at ingest: what a grant lets others write, from when and until when, and what happens to a grant that nobody
//! asked for.

use std::collections::BTreeSet;

use fitme_core::collection::Collection;
use fitme_core::entry::Entry;
use fitme_core::id::DocId;
use fitme_core::policy::SERVICES;
use fitme_core::wire::Receipt;
use fitme_testing::Postgres;
use serde_json::{Value, json};
use sync_server::feeds;
use uuid::Uuid;

use crate::phones::{MORNING, Node, Person, Phone, code, codes};

/// Ann, who may grant; Tom, a trainer whose invitation she has accepted; each with a phone.
struct Cast {
    node: Node,
    ann: Person,
    anns: Phone,
    toms: Phone,
    tom: Person,
}

impl Cast {
    async fn on(postgres: &Postgres) -> Self {
        let database = postgres.database();
        let node = Node::on(&database).await;
        sync_server::db::installation::establish(&node.server).await.unwrap();
        let (ann, tom) = (node.person().await, node.person().await);
        let (anns, toms) = (node.phone(&ann, 1).await, node.phone(&tom, 2).await);
        node.relate(ann.account, tom.account).await;
        Self { node, ann, anns, toms, tom }
    }

    fn grant(&self, collection: Collection, access: &str) -> Value {
        json!({
            "at": MORNING, "kind": "grant", "grantee": self.tom.account, "grantee_name": "Tom", "grantee_role": "trainer",
            "shown_as": "Ann", "purpose": "training",
            "feeds": [{ "collection": collection.name(), "access": access }]
        })
    }

    /// Ann writes a document of her `grants` feed and pushes it.
    async fn consent(&mut self, fields: &Value) -> (DocId, Receipt) {
        let (draft, entry) = self.anns.log(Collection::Grants, fields);
        (draft.doc_id, self.push(&self.anns, Collection::Grants, entry).await)
    }

    async fn revoke(&mut self, grant: DocId) -> Receipt {
        self.consent(&json!({ "at": MORNING, "kind": "revocation", "revokes": grant.to_string() })).await.1
    }

    /// Pushes to one of Ann's feeds.
    async fn push(&self, phone: &Phone, collection: Collection, entry: Entry) -> Receipt {
        self.node.push(phone.device, self.ann.feed(collection), vec![entry]).await.remove(0)
    }

    /// What Tom's phone may read of Ann.
    async fn shown_to_tom(&self) -> BTreeSet<String> {
        let grants = feeds::load_grants(&self.node.server, self.tom.account).await.unwrap();
        grants
            .feeds
            .into_iter()
            .map(|feed| format!("{} of {} {}", feed.collection, feed.owner_name, feed.access.name()))
            .collect()
    }
}

#[tokio::test]
async fn a_trainer_reads_and_writes_what_was_granted_and_nothing_else_until_it_is_revoked() {
    let mut cast = Cast::on(Postgres::shared()).await;
    let measured = json!({ "at": MORNING, "resting_hr": 50 });

    let before = cast.toms.log(Collection::Measurements, &measured).1;
    assert_eq!(code(&cast.push(&cast.toms, Collection::Measurements, before).await), "not_your_feed");

    let (grant, receipt) = cast.consent(&cast.grant(Collection::Measurements, "write")).await;
    assert_eq!(code(&receipt), "accepted");
    assert_eq!(cast.shown_to_tom().await, ["measurements of Ann write".to_owned()].into());
    let measured_by_tom = cast.toms.log(Collection::Measurements, &measured).1;
    assert_eq!(code(&cast.push(&cast.toms, Collection::Measurements, measured_by_tom.clone()).await), "accepted");
    let mood = cast.toms.log_mood(1).1;
    assert_eq!(code(&cast.push(&cast.toms, Collection::Moods, mood).await), "not_your_feed");

    assert_eq!(code(&cast.revoke(grant).await), "accepted");
    assert_eq!(cast.shown_to_tom().await, BTreeSet::new());
    let after = cast.toms.log(Collection::Measurements, &measured).1;
    assert_eq!(code(&cast.push(&cast.toms, Collection::Measurements, after).await), "not_your_feed");
    // Its receipt was lost on the way; it stays accepted.
    assert_eq!(code(&cast.push(&cast.toms, Collection::Measurements, measured_by_tom).await), "duplicate");
}

#[tokio::test]
async fn a_grant_to_read_is_not_one_to_write() {
    let mut cast = Cast::on(Postgres::shared()).await;
    cast.consent(&cast.grant(Collection::Moods, "read")).await;
    assert_eq!(cast.shown_to_tom().await, ["moods of Ann read".to_owned()].into());
    let mood = cast.toms.log_mood(1).1;
    assert_eq!(code(&cast.push(&cast.toms, Collection::Moods, mood).await), "read_only");
    // Nobody but Ann grants what is Ann's.
    let (_, forged) = cast.toms.log(Collection::Grants, &cast.grant(Collection::Workouts, "write"));
    assert_eq!(code(&cast.push(&cast.toms, Collection::Grants, forged).await), "not_your_feed");
}

/// A revocation can overtake its grant: the two are different documents, perhaps of different devices.
#[tokio::test]
async fn a_revocation_wins_also_when_it_comes_first() {
    let mut cast = Cast::on(Postgres::shared()).await;
    let (draft, grant) = cast.anns.log(Collection::Grants, &cast.grant(Collection::Workouts, "write"));
    assert_eq!(code(&cast.revoke(draft.doc_id).await), "accepted");
    assert_eq!(code(&cast.push(&cast.anns, Collection::Grants, grant).await), "accepted");
    assert_eq!(cast.shown_to_tom().await, BTreeSet::new());
}

#[tokio::test]
async fn a_grant_counts_only_in_its_time() {
    let mut cast = Cast::on(Postgres::shared()).await;
    for (from, until, expected) in [
        (Some(1_i64), Some(2_i64), "grant_not_valid_now"),
        (Some(4_000_000_000_000), None, "grant_not_valid_now"),
        (Some(1), Some(4_000_000_000_000), "accepted"),
    ] {
        let mut grant = cast.grant(Collection::Workouts, "write");
        grant["from"] = json!(from);
        if let Some(until) = until {
            grant["until"] = json!(until);
        }
        assert_eq!(code(&cast.consent(&grant).await.1), "accepted");
        let workout = cast.toms.log(Collection::Workouts, &json!({ "start": MORNING })).1;
        assert_eq!(code(&cast.push(&cast.toms, Collection::Workouts, workout).await), expected);
    }
}

#[tokio::test]
async fn nobody_becomes_the_grantee_of_a_stranger() {
    let mut cast = Cast::on(Postgres::shared()).await;
    let stranger = cast.node.person().await;
    let mut grant = cast.grant(Collection::Workouts, "read");
    grant["grantee"] = json!(stranger.account);
    assert_eq!(code(&cast.consent(&grant).await.1), "not_invited");
}

/// What is derived from moods tells about moods.
#[tokio::test]
async fn insights_show_only_beside_what_they_are_made_of() {
    let mut cast = Cast::on(Postgres::shared()).await;
    let mut grant = cast.grant(Collection::Insights, "read");
    grant["feeds"][0]["scope"] = json!("mind");
    cast.consent(&grant).await;
    assert_eq!(cast.shown_to_tom().await, BTreeSet::new());
    let (moods, _) = cast.consent(&cast.grant(Collection::Moods, "read")).await;
    assert_eq!(cast.shown_to_tom().await.len(), 2);
    cast.revoke(moods).await;
    assert_eq!(cast.shown_to_tom().await, BTreeSet::new());
}

#[tokio::test]
async fn a_record_of_others_is_one_document_of_the_owner() {
    let mut cast = Cast::on(Postgres::shared()).await;
    cast.consent(&cast.grant(Collection::Measurements, "write")).await;
    let (mut draft, entry) = cast.toms.log(Collection::Measurements, &json!({ "at": MORNING, "resting_hr": 50 }));
    assert_eq!(code(&cast.push(&cast.toms, Collection::Measurements, entry).await), "accepted");
    // Ann edits what Tom wrote.
    let edit = cast.anns.edit(&mut draft, &json!({ "resting_hr": 52 }));
    let pushed = cast.node.push(cast.anns.device, cast.ann.feed(Collection::Measurements), vec![edit]).await;
    assert_eq!(codes(&pushed), ["accepted"]);
}

#[tokio::test]
async fn an_accounts_grants_are_bounded() {
    let mut cast = Cast::on(Postgres::shared()).await;
    let all_but_one = i64::try_from(fitme_core::limits::GRANTED_FEEDS_OF_AN_ACCOUNT).unwrap() - 1;
    sqlx::query(
        "INSERT INTO grants_now (account, grant_id, feed, grantee, access, purpose, shown_as)
         SELECT $1, decode(lpad(n::text, 32, '0'), 'hex'), 1, $2, 'read', 'training', 'Ann' FROM generate_series(1, $3) n",
    )
    .bind(cast.ann.account)
    .bind(cast.tom.account)
    .bind(all_but_one)
    .execute(&cast.node.pool)
    .await
    .unwrap();
    let grant = cast.grant(Collection::Workouts, "read");
    assert_eq!(code(&cast.consent(&grant).await.1), "accepted");
    assert_eq!(code(&cast.consent(&grant).await.1), "too_many_grants");
}

/// A trainer with so many clients that one session could not carry their feeds.
#[tokio::test]
async fn what_one_account_is_granted_is_bounded() {
    let mut cast = Cast::on(Postgres::shared()).await;
    sqlx::query(
        "INSERT INTO grants_now (account, grant_id, feed, grantee, access, purpose, shown_as)
         SELECT gen_random_uuid(), decode('00', 'hex'), n, $1, 'read', 'training', 'Ann' FROM generate_series(1, $2) n",
    )
    .bind(cast.tom.account)
    .bind(i64::try_from(fitme_core::limits::GRANTED_FEEDS_TO_AN_ACCOUNT).unwrap() - 1)
    .execute(&cast.node.pool)
    .await
    .unwrap();
    let grant = cast.grant(Collection::Workouts, "read");
    assert_eq!(code(&cast.consent(&grant).await.1), "accepted");
    assert_eq!(code(&cast.consent(&grant).await.1), "grantee_full");
}

#[tokio::test]
async fn a_service_is_granted_what_it_is_for_without_an_invitation_and_nothing_else() {
    let mut cast = Cast::on(Postgres::shared()).await;
    let insights = &SERVICES[0];
    let mut grant = cast.grant(Collection::Workouts, "read");
    grant["grantee"] = json!(Uuid::from_bytes(insights.account));
    assert_eq!(code(&cast.consent(&grant).await.1), "not_invited", "as a trainer it is nobody");
    grant["grantee_role"] = json!("service");
    grant["purpose"] = json!("notifications");
    assert_eq!(code(&cast.consent(&grant).await.1), "not_invited", "that is what another service is for");
    grant["purpose"] = json!("insights");
    assert_eq!(code(&cast.consent(&grant).await.1), "accepted");
    let shown = feeds::load_grants(&cast.node.server, Uuid::from_bytes(insights.account)).await.unwrap();
    assert!(matches!(&shown.feeds[..], [feed] if &*feed.collection == "workouts"), "{shown:?}");
}

/// Everybody may let a service see something: it is not full when a person would be.
#[tokio::test]
async fn a_service_is_granted_more_than_a_person_could_be() {
    let mut cast = Cast::on(Postgres::shared()).await;
    let insights = Uuid::from_bytes(SERVICES[0].account);
    sqlx::query(
        "INSERT INTO grants_now (account, grant_id, feed, grantee, access, purpose, shown_as)
         SELECT gen_random_uuid(), decode('00', 'hex'), n, $1, 'read', 'insights', 'Ann' FROM generate_series(1, $2) n",
    )
    .bind(insights)
    .bind(i64::try_from(fitme_core::limits::GRANTED_FEEDS_TO_AN_ACCOUNT).unwrap())
    .execute(&cast.node.pool)
    .await
    .unwrap();
    let mut grant = cast.grant(Collection::Workouts, "read");
    grant["grantee"] = json!(insights);
    grant["grantee_role"] = json!("service");
    grant["purpose"] = json!("insights");
    assert_eq!(code(&cast.consent(&grant).await.1), "accepted");
}

#[tokio::test]
async fn every_database_has_the_services_accounts() {
    let node = Node::on(&Postgres::shared().database()).await;
    let found: Vec<(Uuid, Option<String>)> =
        sqlx::query_as("SELECT account, password_hash FROM accounts WHERE role = 'service' ORDER BY account")
            .fetch_all(&node.pool)
            .await
            .unwrap();
    let named = SERVICES.iter().map(|service| (Uuid::from_bytes(service.account), None));
    assert_eq!(found, named.collect::<Vec<_>>());
}
