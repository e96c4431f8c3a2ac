//! A document that the server accepted and cannot merge: whoever wrote it still has the command that made each entry.

use fitme_core::entry::Entry;
use fitme_core::id::FeedId;
use fitme_core::store::Command;
use fitme_core::wire::{FeedPush, Receipt};
use fitme_testing::{Database, Device, Outcome, Postgres, ServerProcess, entries, wait_until};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use sqlx::PgPool;
use sync_server::ingest::Ingest;
use uuid::Uuid;

use crate::stage::{Look, MORNING, store};

fn commands(phone: &Device) -> i64 {
    let home = rusqlite::Connection::open(phone.home().join("fitme.db")).unwrap();
    home.query_row("SELECT count(*) FROM outbox", [], |row| row.get(0)).unwrap()
}

/// The phone forgot a command once the merge had passed its entry, also when that entry went into quarantine: nobody could
/// have made the edit again.
#[test]
fn a_phone_keeps_the_commands_of_what_is_in_quarantine_until_it_is_merged() {
    let database = Postgres::shared().database();
    let server = ServerProcess::on(&database.url);
    let mut look = Look::at(&database);
    let phone = Device::new("phone");
    phone.sign_up(server.url(), "ann@example.org");
    phone.done(&["log", "mood", "--valence", "0"]);
    let sync_until = |expected: i64| {
        wait_until("the phone to forget what it may", || {
            phone.done(&["sync"]);
            commands(&phone) == expected
        });
    };
    sync_until(0);

    look.execute("ALTER TABLE records ADD CONSTRAINT poison CHECK ((record ->> 'valence')::int <> 1)");
    phone.done(&["log", "mood", "--valence", "1"]);
    phone.done(&["sync"]);
    look.wait_for_merge();
    assert_eq!(look.number("SELECT count(*) FROM snapshots WHERE quarantined IS NOT NULL"), 1);
    phone.done(&["sync"]);
    assert_eq!(commands(&phone), 1, "it is kept");
    phone.done(&["log", "measurement", "--weight", "80kg"]);
    sync_until(1);

    look.execute("ALTER TABLE records DROP CONSTRAINT poison");
    let moods = phone.json(&["list", "moods", "--json"]);
    let id = moods["records"][0]["id"].as_str().unwrap();
    phone.done(&["edit", id, "--json", r#"{"energy": 3}"#]);
    sync_until(0);
}

/// What a command of the operator's printed.
fn done(outcome: Outcome) -> String {
    assert_eq!(outcome.code, 0, "{}{}", outcome.stdout, outcome.stderr);
    outcome.stdout
}

/// Ann's mood went into quarantine by its second entry, which the database cannot hold; a note was written on top of it.
struct Poisoned {
    database: Database,
    server: ServerProcess,
    look: Look,
    phone: Device,
    tablet: Device,
    id: String,
    feed: String,
}

impl Poisoned {
    fn mood() -> Self {
        let database = Postgres::shared().database();
        let server = ServerProcess::on(&database.url);
        let mut look = Look::at(&database);
        let (phone, tablet) = (Device::new("phone"), Device::new("tablet"));
        phone.sign_up(server.url(), "ann@example.org");
        tablet.log_in(server.url(), "ann@example.org");
        phone.done(&["log", "mood", "--valence", "0"]);
        phone.done(&["sync"]);
        look.wait_for_merge();
        look.execute("ALTER TABLE records ADD CONSTRAINT poison CHECK ((record ->> 'valence')::int <> 1)");
        let id = phone.json(&["list", "moods", "--json"])["records"][0]["id"].as_str().unwrap().to_owned();
        phone.done(&["edit", &id, "--json", r#"{"valence": 1}"#]);
        phone.done(&["edit", &id, "--json", r#"{"note": "slept badly"}"#]);
        phone.done(&["sync"]);
        tablet.done(&["sync"]);
        look.wait_for_merge();
        let feed = look.number("SELECT feed FROM snapshots WHERE quarantined IS NOT NULL").to_string();
        Self { database, server, look, phone, tablet, id, feed }
    }

    /// Until both devices and the server have nothing left to do.
    fn settle(&mut self) {
        let Self { look, phone, tablet, .. } = self;
        for device in [&*phone, &*tablet, &*phone, &*tablet] {
            device.done(&["sync"]);
        }
        look.wait_for_merge();
        assert_eq!(look.number("SELECT count(*) FROM snapshots WHERE quarantined IS NOT NULL"), 0);
    }

    fn mood_on(&self, device: &Device) -> Value {
        device.json(&["show", &self.id, "--json"])["records"][0]["record"].clone()
    }
}

#[test]
fn an_operator_discards_the_entry_at_fault_and_its_author_gets_it_back() {
    let mut play = Poisoned::mood();
    let listed = done(play.server.run(&["quarantine", "list"]));
    assert!(listed.contains(&play.feed) && listed.contains(&play.id) && listed.contains("ann@example.org"), "{listed}");
    assert!(listed.contains("the database refused the merged document"), "{listed}");
    let shown = done(play.server.run(&["quarantine", "show", &play.feed, &play.id]));
    assert!(shown.contains("entry 2: 1 operations") && !shown.contains("slept"), "{shown}");
    let shown = done(play.server.run(&["quarantine", "show", &play.feed, &play.id, "--health-data"]));
    assert!(shown.contains("slept"), "{shown}");
    let unsure = play.server.run(&["quarantine", "discard", &play.feed, "2"]);
    assert!(unsure.code == 1 && unsure.stderr.contains("--yes"), "{}", unsure.stderr);
    let merged = play.server.run(&["quarantine", "discard", &play.feed, "1", "--yes"]);
    assert!(merged.code == 1 && merged.stderr.contains("not_in_quarantine"), "{}", merged.stderr);

    done(play.server.run(&["quarantine", "discard", &play.feed, "2", "--yes"]));
    play.settle();
    for device in [&play.phone, &play.tablet] {
        let mood = play.mood_on(device);
        assert_eq!((&mood["valence"], &mood["note"]), (&0.into(), &"slept badly".into()), "{mood}");
    }
    let refused = play.phone.json(&["rejected", "--json"])["rejected"].clone();
    assert_eq!((&refused[0]["code"], &refused[0]["command"]["patch"]["valence"]), (&"voided".into(), &1.into()));
    assert_eq!(refused.as_array().unwrap().len(), 1);
    assert_eq!(play.tablet.done(&["rejected"]), "the server refused nothing\n");
    assert_eq!(done(play.server.run(&["quarantine", "list"])), "every record is merged\n");
    play.look.assert_gap_free();
    let watch = Device::new("watch");
    watch.log_in(play.server.url(), "ann@example.org");
    watch.done(&["sync"]);
    assert_eq!(play.mood_on(&watch), play.mood_on(&play.phone));
    assert_eq!(play.look.records().len(), 1);
    drop(play.database);
}

/// The server was mended: what the entry did is written again by the server, and nobody has to do anything.
#[test]
fn an_operator_replays_an_entry_that_can_be_merged_in_other_words() {
    let mut play = Poisoned::mood();
    play.look.execute("ALTER TABLE records DROP CONSTRAINT poison");
    done(play.server.run(&["quarantine", "replay", &play.feed, "2"]));
    play.settle();
    for device in [&play.phone, &play.tablet] {
        let mood = play.mood_on(device);
        assert_eq!((&mood["valence"], &mood["note"]), (&1.into(), &"slept badly".into()), "{mood}");
        assert_eq!(device.done(&["rejected"]), "the server refused nothing\n");
    }
    play.look.assert_gap_free();
    play.look.assert_nothing_doubled();
}

/// I9 on a real server: its database refuses the fifth of 24 sets that were logged one by one. The others are everywhere, once
/// and in order; the fifth stays with who wrote it, and can be written again.
#[test]
fn i9_what_a_real_server_refuses_is_dropped_nowhere_and_stops_nothing() {
    let database = Postgres::shared().database();
    let server = ServerProcess::on(&database.url);
    let mut look = Look::at(&database);
    let (phone, tablet) = (Device::new("phone"), Device::new("tablet"));
    phone.sign_up(server.url(), "ann@example.org");
    tablet.log_in(server.url(), "ann@example.org");
    let mut rng = StdRng::seed_from_u64(9);
    let mut home = store(&phone, 9);
    let fields = json!({ "start": MORNING, "exercises": [{ "name": "Squat" }] });
    let create = Command::Create { collection: "workouts".to_owned(), fields };
    let doc_id = home.write(&create, MORNING, &mut rng).unwrap().doc_id;
    let squat = home.show(doc_id).unwrap().unwrap().record["exercises"][0]["id"].clone();
    for reps in 1..=24 {
        let set = json!({ "reps": reps, "load": "100 kg", "kind": "work" });
        let patch = json!({ "exercises": [{ "id": squat, "sets": [set] }] });
        home.write(&Command::Edit { doc_id, patch }, MORNING + reps * 1_000, &mut rng).unwrap();
    }
    drop(home);
    // The time at which the fifth was logged.
    look.execute("ALTER TABLE entries ADD CONSTRAINT fifth CHECK (device_time <> 1795334405000)");

    let reps = |device: &Device| {
        let shown = device.json(&["show", &doc_id.to_string(), "--json"]);
        let sets = shown["records"][0]["record"]["exercises"][0]["sets"].as_array().unwrap().clone();
        sets.iter().map(|set| set["reps"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    phone.done(&["sync"]);
    tablet.done(&["sync"]);
    let kept: Vec<_> = (1..=24).filter(|reps| *reps != 5).collect();
    assert_eq!((reps(&phone), reps(&tablet)), (kept.clone(), kept));
    let refused = phone.json(&["rejected", "--json"])["rejected"].clone();
    assert_eq!((refused.as_array().unwrap().len(), &refused[0]["code"]), (1, &"refused_by_database".into()));
    assert_eq!(refused[0]["command"]["patch"]["exercises"][0]["sets"][0]["reps"], 5, "what was typed is kept");

    look.execute("ALTER TABLE entries DROP CONSTRAINT fifth");
    phone.done(&["rejected", "retry", "1"]);
    phone.done(&["sync"]);
    tablet.done(&["sync"]);
    assert!(reps(&tablet).contains(&5) && reps(&tablet).len() == 24, "{:?}", reps(&tablet));
    look.assert_gap_free();
    look.assert_nothing_doubled();
    look.wait_for_merge();
    assert_eq!(look.number("SELECT count(*) FROM snapshots WHERE quarantined IS NOT NULL"), 0);
}

/// Another program of Ann's wrote a record that the merge library panics on. Every check of ingest lets it pass: so it is in the
/// feed, and in the feed of everybody who reads it. Nothing else is held up by it, anywhere, and the operator takes it out.
#[test]
fn a_change_that_panics_in_the_merge_harms_neither_feed_nor_device() {
    let database = Postgres::shared().database();
    let server = ServerProcess::on(&database.url);
    let mut look = Look::at(&database);
    let (phone, tablet) = (Device::new("phone"), Device::new("tablet"));
    phone.sign_up(server.url(), "ann@example.org");
    tablet.log_in(server.url(), "ann@example.org");
    phone.done(&["log", "mood", "--valence", "0"]);
    phone.done(&["sync"]);
    let entry = entries::mood_that_breaks_the_merge(1);
    push_as(&database, "phone", "moods", entry.clone());
    phone.done(&["log", "mood", "--valence", "2"]);

    phone.done(&["sync"]);
    tablet.done(&["sync"]);
    tablet.done(&["log", "mood", "--valence", "-1"]);
    tablet.done(&["sync"]);
    look.wait_for_merge();
    assert_eq!(look.number("SELECT count(*) FROM snapshots WHERE quarantined IS NOT NULL"), 1);
    assert_eq!(look.number("SELECT count(*) FROM records"), 3, "everything else is merged");
    phone.done(&["sync"]);
    for device in [&phone, &tablet] {
        assert_eq!(device.json(&["list", "moods", "--json"])["records"].as_array().unwrap().len(), 3);
        assert_eq!(device.json(&["status", "--json"])["status"]["unapplied"], 1);
    }

    let listed = done(server.run(&["quarantine", "list"]));
    assert!(listed.contains("the merge library broke on it"), "{listed}");
    let feed = look.number("SELECT feed FROM snapshots WHERE quarantined IS NOT NULL").to_string();
    let shown = done(server.run(&["quarantine", "show", &feed, &entry.doc_id.to_string(), "--health-data"]));
    assert!(shown.contains("27 operations") && shown.contains("the merge library broke on it"), "{shown}");
    let seq =
        look.number("SELECT e.seq FROM entries e JOIN snapshots s USING (feed, doc_id) WHERE s.quarantined <> ''");
    let replayed = server.run(&["quarantine", "replay", &feed, &seq.to_string()]);
    assert!(replayed.code == 1 && replayed.stderr.contains("cannot be written again"), "{}", replayed.stderr);
    done(server.run(&["quarantine", "discard", &feed, &seq.to_string(), "--yes"]));
    look.wait_for_merge();
    assert_eq!(look.number("SELECT count(*) FROM snapshots WHERE quarantined IS NOT NULL"), 0);
    for device in [&phone, &tablet] {
        device.done(&["sync"]);
        assert_eq!(device.json(&["status", "--json"])["status"]["unapplied"], 0);
    }
    look.assert_gap_free();
}

/// As another program on one of the account's devices would.
fn push_as(database: &Database, device: &str, collection: &str, entry: Entry) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let owner = PgPool::connect(&database.owner).await.unwrap();
        let query = "SELECT d.device, d.account, f.feed FROM devices d JOIN feeds f USING (account)
                     WHERE d.name = $1 AND f.collection = $2";
        let (device, account, feed): (Uuid, Uuid, i64) =
            sqlx::query_as(query).bind(device).bind(collection).fetch_one(&owner).await.unwrap();
        let pool = PgPool::connect(&database.url).await.unwrap();
        let ingest = Ingest::start(pool, |_| {});
        let push = FeedPush { feed: FeedId(feed.cast_unsigned()), entries: vec![entry] };
        let settled = ingest.submit(sync_server::auth::Device { device, account }, vec![push]).await;
        assert!(matches!(settled.receipts[..], [Receipt::Accepted(_)]), "{:?}", settled.receipts);
    });
}
