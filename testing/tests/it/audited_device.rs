//! A phone's disk loses, doubles, swaps and flips what is stored on it, below the file's own checks. `fitme sync --audit`
//! finds it, and only what differs comes again from the server.

use fitme_testing::{Database, Device, Postgres, ServerProcess};
use rusqlite::Connection;

use crate::stage::{Look, log_moods, notes};

/// Records on the phone.
const MOODS: usize = 300;

struct Stage {
    database: Database,
    phone: Device,
    notes: Vec<String>,
    _server: ServerProcess,
}

impl Stage {
    fn new() -> Self {
        let database = Postgres::shared().database();
        let server = ServerProcess::on(&database.url);
        let phone = Device::new("phone");
        phone.sign_up(server.url(), "ann@example.org");
        log_moods(&phone, MOODS, 1);
        phone.done(&["sync"]);
        let notes = notes(&phone);
        Self { database, phone, notes, _server: server }
    }

    /// What the disk does.
    fn damage(&self, statement: &str) {
        let conn = Connection::open(self.phone.home().join("fitme.db")).unwrap();
        conn.pragma_update(None, "foreign_keys", false).unwrap();
        assert!(conn.execute(statement, []).unwrap() > 0, "{statement}");
    }

    /// The audit says `found` and `mended`, and everything is as it was, on both sides; another one finds nothing.
    fn assert_found_and_mended(&self, found: &str, mended: &str) {
        let (entries, said) = (Look::at(&self.database).entries(), self.phone.done(&["sync", "--audit"]));
        assert!(said.contains(&format!("audited {MOODS} records: {found}")), "{said}");
        assert!(said.contains(mended), "{said}");
        assert!(kilobytes_down(&said) < 10.0, "no more comes than what differs: {said}");
        assert_eq!(notes(&self.phone), self.notes);
        assert_eq!(Look::at(&self.database).entries(), entries, "nothing is written twice on the server");
        let status = self.phone.json(&["status", "--json"]);
        assert_eq!((&status["status"]["pending"], &status["status"]["rejected"]), (&0.into(), &0.into()));
        let said = self.phone.done(&["sync", "--audit"]);
        assert!(said.contains(&format!("audited {MOODS} records: none is damaged\n")), "{said}");
        assert!(!said.contains("came again"), "{said}");
    }
}

/// `synced: 0 sent, 1 record changed here · 812 B up, 1.2 kB down, 35 ms`
fn kilobytes_down(said: &str) -> f64 {
    let (before, _) = said.split_once(" down").unwrap();
    let mut words = before.rsplit(' ');
    let (unit, number) = (words.next().unwrap(), words.next().unwrap());
    let number: f64 = number.replace(',', "").parse().unwrap();
    if unit == "B" { number / 1e3 } else { number }
}

#[test]
fn a_record_that_is_lost_comes_again() {
    let stage = Stage::new();
    let conn = Connection::open(stage.phone.home().join("fitme.db")).unwrap();
    conn.pragma_update(None, "foreign_keys", false).unwrap();
    let gone: Vec<u8> = conn.query_row("SELECT min(doc_id) FROM documents", [], |row| row.get(0)).unwrap();
    for table in ["entries", "records", "documents"] {
        assert_eq!(conn.execute(&format!("DELETE FROM {table} WHERE doc_id = ?"), [&gone]).unwrap(), 1);
    }
    drop(conn);
    // What is gone with all its rows is missed by nobody here; the server has it.
    let said = stage.phone.done(&["sync", "--audit"]);
    assert!(said.contains("1 record was missing or damaged here, and came again"), "{said}");
    assert_eq!(notes(&stage.phone), stage.notes);
    stage.assert_found_and_mended("none is damaged", "synced");
}

#[test]
fn a_payload_that_is_lost_comes_again() {
    let stage = Stage::new();
    stage.damage("DELETE FROM entries WHERE doc_id = (SELECT max(doc_id) FROM documents)");
    stage.assert_found_and_mended("1 is damaged", "1 record was missing or damaged here, and came again");
}

#[test]
fn entries_that_are_there_twice_are_put_right() {
    let stage = Stage::new();
    stage.damage(
        "INSERT INTO entries (n, feed, seq, entry_id, kind, doc_id, change_hash, device_time, salt, payload)
         SELECT n + 100000, feed, seq, entry_id, kind, doc_id, change_hash, device_time, salt, payload FROM entries LIMIT 2",
    );
    stage.assert_found_and_mended("none is damaged; 2 lines of lists or of changes put right", "synced");
}

#[test]
fn payloads_that_were_swapped_come_again() {
    let stage = Stage::new();
    stage.damage(
        "UPDATE entries SET payload = other FROM (
             SELECT n AS at, coalesce(lead(payload) OVER (ORDER BY n), lag(payload) OVER (ORDER BY n)) AS other
             FROM (SELECT n, payload FROM entries JOIN feeds USING (feed) WHERE collection = 'moods' LIMIT 2)
         ) WHERE n = at",
    );
    stage.assert_found_and_mended("2 are damaged", "2 records were missing or damaged here, and came again");
}

#[test]
fn a_flipped_byte_is_found_and_its_record_comes_again() {
    let stage = Stage::new();
    stage.damage(
        "UPDATE entries SET payload = CAST(substr(payload, 1, 90) || x'00' || substr(payload, 92) AS BLOB)
         WHERE n = (SELECT n FROM entries JOIN feeds USING (feed) WHERE collection = 'moods' ORDER BY n LIMIT 1 OFFSET 7)",
    );
    stage.assert_found_and_mended("1 is damaged", "1 record was missing or damaged here, and came again");
}
