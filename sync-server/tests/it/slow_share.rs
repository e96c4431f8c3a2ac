//! Tom is shared something with, and reads nothing of it for as long as he likes. What waits for him meanwhile is bounded, and
//! none of it goes out once Ann ended it.

use fitme_core::collection::Collection;
use fitme_core::id::{ActorId, FeedId};
use fitme_core::wire::{Frame, Item};
use fitme_testing::{Postgres, ServerProcess};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use sync_server::auth::Device;
use uuid::Uuid;

use crate::client::sign_up;
use crate::phones::{MORNING, Node, Person, Phone, codes};
use crate::rogue::Rogue;

/// Entries of 20 KiB: three times what may be under way to one session.
const ENTRIES: usize = 600;
const NOTE_BYTES: usize = 20 << 10;

fn id(of: &Value, name: &str) -> Uuid {
    of[name].as_str().unwrap().parse().unwrap()
}

fn person(signed_up: &Value) -> (Person, Phone) {
    let feeds = signed_up["feeds"].as_array().unwrap().iter();
    let feeds =
        feeds.map(|feed| (feed["collection"].as_str().unwrap().to_owned(), FeedId(feed["feed"].as_u64().unwrap())));
    let account = id(signed_up, "account");
    let mut rng = StdRng::seed_from_u64(7);
    let (device, actor) = (Device { device: id(signed_up, "device"), account }, ActorId::random(&mut rng));
    (Person { account, feeds: feeds.collect() }, Phone { device, actor, rng })
}

#[tokio::test]
async fn a_reader_who_takes_nothing_of_what_is_shared_gets_nothing_more_once_it_is_revoked() {
    let database = Postgres::shared().database();
    let (server, node) = (ServerProcess::on(&database.url), Node::on(&database).await);
    let (ann, mut anns) = person(&sign_up(server.url(), "ann@example.org", "phone").await.body);
    let tom = sign_up(server.url(), "tom@example.org", "laptop").await.body;
    node.relate(ann.account, id(&tom, "account")).await;
    let mut session = Rogue::connect(&server, &tom).await;
    session.say(&Frame::Hello(session.hello())).await;
    assert!(matches!(session.hear().await, Some(Frame::Welcome(_))));

    let grant = json!({
        "at": MORNING, "kind": "grant", "grantee": id(&tom, "account"), "grantee_name": "Tom", "grantee_role": "trainer",
        "shown_as": "Ann", "purpose": "training", "feeds": [{ "collection": "moods", "access": "read" }]
    });
    let (grant, consent) = anns.log(Collection::Grants, &grant);
    let consents = ann.feed(Collection::Grants);
    assert_eq!(codes(&node.push(anns.device, consents, vec![consent]).await), ["accepted"]);
    let mood = json!({ "at": MORNING, "valence": 1, "note": "x".repeat(NOTE_BYTES) });
    let entries: Vec<_> = (0..ENTRIES).map(|_| anns.log(Collection::Moods, &mood).1).collect();
    for few in entries.chunks(100) {
        let answers = node.push(anns.device, ann.feed(Collection::Moods), few.to_vec()).await;
        assert!(codes(&answers).iter().all(|code| *code == "accepted"));
    }
    let end = json!({ "at": MORNING, "kind": "revocation", "revokes": grant.doc_id.to_string() });
    let end = anns.log(Collection::Grants, &end).1;
    assert_eq!(codes(&node.push(anns.device, consents, vec![end]).await), ["accepted"]);
    let after = anns.log_mood(-1).1;
    node.push(anns.device, ann.feed(Collection::Moods), vec![after.clone()]).await;

    let mut seen = Vec::new();
    loop {
        match session.hear().await {
            Some(Frame::Entries(pages)) => seen.extend(pages.into_iter().flat_map(|page| page.items)),
            Some(Frame::FeedRevoked(_) | Frame::Goodbye(_)) | None => break,
            Some(_) => {}
        }
    }
    assert!(seen.len() < ENTRIES, "{} entries were sent to one who confirmed none", seen.len());
    assert!(!seen.iter().any(|item| matches!(item, Item::Full(entry) if *entry == after)), "written after the end");
}
