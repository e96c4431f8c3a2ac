//! A disk damages what a device holds, or something of it is gone: an audit finds it, and only that comes again.

use fitme_core::collection::Collection;
use fitme_core::id::DocId;
use fitme_core::store::{Audited, LOST_TO_DAMAGE, Proof};
use fitme_core::wire::{self, Frame, Welcome};
use rusqlite::Connection;
use serde_json::json;

use crate::hub::{Device, Hub, Link, MORNING, assert_converged, workout};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
/// Flips the last byte of every snapshot.
const FLIP_SNAPSHOTS: &str =
    "UPDATE snapshots SET snapshot = CAST(substr(snapshot, 1, length(snapshot) - 1) || x'ff' AS BLOB)";

/// A phone and a tablet with the same records, one of which has a long history.
struct Stage {
    hub: Hub,
    phone: Device,
    tablet: Device,
    long: DocId,
    short: DocId,
}

/// What an audit and the sync after it came to.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    damaged: usize,
    tidied: usize,
    /// Records that came again.
    mended: usize,
}

impl Stage {
    fn new(seed: u64) -> Self {
        let mut hub = Hub::new();
        let (mut phone, mut tablet) = (Device::new("phone", seed), Device::new("tablet", seed));
        phone.sign_in(&hub);
        tablet.sign_in(&hub);
        let long = phone.log(Collection::Workouts, workout("Legs"));
        for n in 0..40 {
            phone.edit(long, json!({ "note": format!("a note that is long enough to be folded away {n:0100}") }));
        }
        let short = phone.log(Collection::Workouts, workout("Arms"));
        for n in 0..20 {
            phone.log(Collection::Moods, json!({ "at": MORNING + n, "valence": 1 }));
        }
        phone.sync(&mut hub);
        tablet.sync(&mut hub);
        Self { hub, phone, tablet, long, short }
    }

    /// What a disk does to the tablet.
    fn damage(&mut self, statement: &str) {
        damage(&mut self.tablet, statement);
    }

    /// Audits the tablet and syncs it; what was moved is returned as well.
    fn audit(&mut self, proof: Proof) -> (Found, usize) {
        let Audited { damaged, tidied, .. } = self.tablet.store.audit(proof, self.tablet.now_ms).unwrap();
        let (mended, bytes) = self.sync();
        (Found { damaged, tidied, mended }, bytes)
    }

    fn sync(&mut self) -> (usize, usize) {
        let mut link = Link::open(&mut self.tablet);
        while link.step(&mut self.tablet, &mut self.hub) {}
        assert!(link.synced);
        assert_converged(&self.phone, &self.tablet);
        let status = self.tablet.store.status().unwrap();
        assert_eq!((status.pending, status.rejected, status.unapplied, link.sent_again), (0, 0, 0, 0));
        assert_eq!(self.tablet.list(Collection::Moods).len(), 20);
        assert_eq!(self.tablet.list(Collection::Workouts).len(), 2);
        (link.mended, link.bytes)
    }

    /// Whether another audit finds nothing.
    fn assert_whole(&mut self) {
        let (found, _) = self.audit(Proof::Whole);
        assert_eq!(found, Found { damaged: 0, tidied: 0, mended: 0 });
    }
}

fn damage(device: &mut Device, statement: &str) {
    let conn = Connection::open(device.path()).unwrap();
    conn.pragma_update(None, "foreign_keys", false).unwrap();
    assert!(conn.execute(statement, []).unwrap() > 0, "{statement}");
    device.restart();
}

fn blob(id: DocId) -> String {
    format!("x'{}'", id.0.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

#[test]
fn an_audit_of_what_is_whole_finds_nothing_and_moves_next_to_nothing() {
    for proof in [Proof::OfBytes, Proof::Whole] {
        let mut stage = Stage::new(1);
        let (found, bytes) = stage.audit(proof);
        assert_eq!(found, Found { damaged: 0, tidied: 0, mended: 0 });
        assert!(bytes < 1_000, "{bytes} bytes");
    }
}

/// Each kind of damage, and what finds it: both proofs, for the bytes tell.
#[test]
fn lost_flipped_and_swapped_payloads_are_found_by_either_proof_and_only_their_records_come_again() {
    for (n, proof) in [Proof::OfBytes, Proof::Whole].into_iter().enumerate() {
        let stage = || Stage::new(2 + n as u64);
        let short = blob(stage().short);
        let kinds = [
            ("a flipped byte of a snapshot", FLIP_SNAPSHOTS.to_owned(), 1),
            (
                "a flipped byte of a payload",
                format!(
                    "UPDATE entries SET payload = CAST(x'00' || substr(payload, 2) AS BLOB) WHERE doc_id = {short}"
                ),
                1,
            ),
            ("a lost payload", format!("DELETE FROM entries WHERE doc_id = {short}"), 1),
            ("a lost snapshot", "DELETE FROM snapshots".to_owned(), 1),
            (
                "swapped payloads",
                "UPDATE entries SET payload = other FROM (
                     SELECT n AS at, coalesce(lead(payload) OVER (ORDER BY n), lag(payload) OVER (ORDER BY n)) AS other
                     FROM (SELECT n, payload FROM entries JOIN feeds USING (feed) WHERE collection = 'moods' LIMIT 2)
                 ) WHERE n = at"
                    .to_owned(),
                2,
            ),
        ];
        for (what, statement, records) in kinds {
            let mut stage = stage();
            stage.damage(&statement);
            let (found, bytes) = stage.audit(proof);
            assert_eq!(found, Found { damaged: records, tidied: 0, mended: records }, "{what}, {proof:?}");
            assert!(bytes < 16_000, "{what}: {bytes} bytes");
            stage.assert_whole();
        }
    }
}

#[test]
fn a_document_that_is_gone_with_all_its_rows_comes_again() {
    let mut stage = Stage::new(4);
    for table in ["documents", "records", "entries"] {
        stage.damage(&format!("DELETE FROM {table} WHERE doc_id = {}", blob(stage.short)));
    }
    let (found, _) = stage.audit(Proof::OfBytes);
    assert_eq!(found, Found { damaged: 0, tidied: 0, mended: 1 });
    assert_eq!(stage.tablet.record(stage.short)["title"], "Arms");
    stage.assert_whole();
}

#[test]
fn a_document_whose_row_alone_is_gone_comes_again() {
    let mut stage = Stage::new(5);
    stage.damage(&format!("DELETE FROM documents WHERE doc_id = {}", blob(stage.long)));
    let (found, _) = stage.audit(Proof::OfBytes);
    assert_eq!(found, Found { damaged: 1, tidied: 0, mended: 1 });
    stage.assert_whole();
}

#[test]
fn swapped_snapshots_are_found_though_each_is_what_was_stored() {
    let mut stage = Stage::new(6);
    let other = stage.phone.log(Collection::Workouts, workout("Back"));
    for n in 0..40 {
        stage.phone.edit(other, json!({ "note": format!("another note, as long as the other ones are {n:0100}") }));
    }
    stage.phone.sync(&mut stage.hub);
    stage.tablet.sync(&mut stage.hub);
    stage.damage(&format!("UPDATE snapshots SET doc_id = x'00' WHERE doc_id = {}", blob(stage.long)));
    stage.damage(&format!("UPDATE snapshots SET doc_id = {} WHERE doc_id = {}", blob(stage.long), blob(other)));
    stage.damage(&format!("UPDATE snapshots SET doc_id = {} WHERE doc_id = x'00'", blob(other)));
    let audited = stage.tablet.store.audit(Proof::Whole, stage.tablet.now_ms).unwrap();
    assert_eq!(audited.damaged, 2);
    stage.tablet.sync(&mut stage.hub);
    assert_converged(&stage.phone, &stage.tablet);
}

#[test]
fn what_is_there_twice_is_put_right_without_the_server() {
    let mut stage = Stage::new(7);
    stage.damage(
        "INSERT INTO entries (n, feed, seq, entry_id, kind, doc_id, change_hash, device_time, salt, payload)
         SELECT n + 10000, feed, seq, entry_id, kind, doc_id, change_hash, device_time, salt, payload FROM entries
         ORDER BY n DESC LIMIT 3",
    );
    stage.damage("INSERT INTO records SELECT zeroblob(16), collection, at, trashed, columns FROM records LIMIT 1");
    let (found, _) = stage.audit(Proof::OfBytes);
    assert_eq!(found, Found { damaged: 0, tidied: 4, mended: 0 });
    stage.assert_whole();
}

#[test]
fn a_list_that_says_something_else_than_its_records_is_made_anew() {
    let mut stage = Stage::new(8);
    stage.damage(&format!("UPDATE records SET columns = '{{}}', at = 5 WHERE doc_id = {}", blob(stage.short)));
    stage.damage(&format!("DELETE FROM records WHERE doc_id = {}", blob(stage.long)));
    let (found, _) = stage.audit(Proof::Whole);
    assert_eq!(found, Found { damaged: 0, tidied: 2, mended: 0 });
}

/// What waits to be sent is nobody else's: it survives the damage around it.
#[test]
fn an_edit_that_waits_survives_the_damage_of_what_it_builds_on() {
    let mut stage = Stage::new(9);
    stage.tablet.edit(stage.long, json!({ "title": "written offline" }));
    stage.damage(FLIP_SNAPSHOTS);
    stage.tablet.store.audit(Proof::OfBytes, stage.tablet.now_ms).unwrap();
    stage.tablet.sync(&mut stage.hub);
    stage.phone.sync(&mut stage.hub);
    assert_eq!(stage.phone.record(stage.long)["title"], "written offline");
    stage.assert_whole();
}

/// It would be refused by the server, or be taken for something else. What was asked for is known, and handed over.
#[test]
fn an_edit_that_waits_and_cannot_be_read_any_more_is_handed_over_with_what_builds_on_it() {
    let mut stage = Stage::new(10);
    stage.tablet.edit(stage.short, json!({ "title": "first" }));
    stage.tablet.edit(stage.short, json!({ "title": "second" }));
    stage.damage(
        "UPDATE entries SET payload = CAST(substr(payload, 1, 60) || x'77' || substr(payload, 62) AS BLOB)
         WHERE n = (SELECT min(n) FROM outbox WHERE state = 0)",
    );
    let audited = stage.tablet.store.audit(Proof::OfBytes, stage.tablet.now_ms).unwrap();
    assert_eq!((audited.damaged, audited.lost), (1, 2));
    let rejected = stage.tablet.store.rejected().unwrap();
    assert!(rejected.iter().all(|write| write.code == LOST_TO_DAMAGE));
    assert!(rejected.iter().any(|write| write.command.to_string().contains("second")), "{rejected:?}");
    stage.tablet.sync(&mut stage.hub);
    assert_converged(&stage.phone, &stage.tablet);
    assert_eq!(stage.tablet.record(stage.short)["title"], "Arms");
}

/// The erasure itself is gone, and with it that the record is not to be shown.
#[test]
fn a_record_that_came_back_to_life_is_erased_again() {
    let mut stage = Stage::new(11);
    let copy = stage.tablet.cloned("copy of the tablet");
    stage.phone.erase(stage.short);
    stage.phone.sync(&mut stage.hub);
    stage.tablet.sync(&mut stage.hub);
    let tables = ["documents", "entries", "records"].map(|table| {
        format!("INSERT OR REPLACE INTO {table} SELECT * FROM old.{table} WHERE doc_id = {}", blob(stage.short))
    });
    let conn = Connection::open(stage.tablet.path()).unwrap();
    conn.execute("ATTACH ? AS old", [copy.path().to_str().unwrap()]).unwrap();
    for statement in tables {
        assert_eq!(conn.execute(&statement, []).unwrap(), 1, "{statement}");
    }
    drop(conn);
    stage.tablet.restart();
    assert_eq!(stage.tablet.record(stage.short)["title"], "Arms");
    stage.tablet.store.audit(Proof::OfBytes, stage.tablet.now_ms).unwrap();
    stage.tablet.sync(&mut stage.hub);
    assert!(stage.tablet.store.show(stage.short).unwrap().is_none());
    assert_converged(&stage.phone, &stage.tablet);
}

/// Nobody asks for it: once a day everything is proved and compared.
#[test]
fn what_is_lost_is_noticed_within_a_day() {
    let mut stage = Stage::new(12);
    for table in ["documents", "records", "entries"] {
        stage.damage(&format!("DELETE FROM {table} WHERE doc_id = {}", blob(stage.short)));
    }
    stage.damage(FLIP_SNAPSHOTS);
    stage.tablet.sync(&mut stage.hub);
    assert!(stage.tablet.store.show(stage.short).unwrap().is_none(), "cursors and digests say nothing of it");
    stage.tablet.now_ms += DAY_MS;
    assert_eq!(stage.sync().0, 2);
    assert_eq!(stage.tablet.store.audited_at().unwrap(), Some(stage.tablet.now_ms));
    stage.assert_whole();
}

/// An older server skips nothing of a repair: it is not asked what it cannot answer.
#[test]
fn a_server_that_gives_no_single_documents_is_not_asked_for_them() {
    let mut stage = Stage::new(13);
    stage.damage(FLIP_SNAPSHOTS);
    stage.tablet.store.audit(Proof::OfBytes, stage.tablet.now_ms).unwrap();
    let mut link = Link::open(&mut stage.tablet);
    link.rewrite = Some(|frame| match frame {
        Frame::Welcome(welcome) => Frame::Welcome(Welcome { minor: wire::FETCH_MINOR - 1, ..welcome }),
        frame => frame,
    });
    while link.step(&mut stage.tablet, &mut stage.hub) {}
    assert!(link.synced);
    assert_eq!(link.mended, 0);
}
