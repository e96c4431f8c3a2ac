//! The server's disk loses, doubles, swaps and flips what is stored in its tables. The audit of a device has the server prove its
//! entries, and what is damaged goes back to it from a device that still has it.

use fitme_testing::{Database, Device, Postgres, ServerProcess, run_server};

use crate::stage::{Look, log_moods, notes};

/// Few enough to come as entries.
const MOODS: usize = 60;

struct Stage {
    database: Database,
    server: ServerProcess,
    phone: Device,
    notes: Vec<String>,
    look: Look,
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
        let mut look = Look::at(&database);
        look.wait_for_merge();
        Self { database, server, phone, notes, look }
    }

    /// A device that has never been here.
    fn newcomer(&self, name: &str) -> Device {
        let device = Device::new(name);
        device.log_in(self.server.url(), "ann@example.org");
        device.done(&["sync"]);
        device
    }

    /// The phone's audit says so and moves no more than what differs; then everything is as it was, also for a newcomer, and
    /// another audit finds nothing.
    fn assert_brought_back(&mut self, entries: usize) {
        let said = self.phone.done(&["sync", "--audit"]);
        let noun = if entries == 1 { "entry" } else { "entries" };
        let told = format!("the server had lost or damaged {entries} {noun}, and has it back from here");
        assert_eq!(said.contains(&told), entries > 0, "{said}");
        assert!(!said.contains("that this device does not have"), "{said}");
        assert!(said.contains(" up") && !said.contains("MB") && !said.contains("came again"), "{said}");
        self.look.assert_gap_free();
        self.look.assert_nothing_doubled();
        assert_eq!(self.look.number("SELECT count(*) FROM damaged_entries"), 0);
        self.look.wait_for_merge();
        assert_eq!(notes(&self.newcomer("newcomer")), self.notes);
        let said = self.phone.done(&["sync", "--audit"]);
        assert!(!said.contains("lost or damaged"), "{said}");
        // What comes next has the next number.
        self.phone.done(&["log", "mood", "--valence", "2", "--note", "afterwards"]);
        self.phone.done(&["sync"]);
        self.look.assert_gap_free();
        assert_eq!(self.phone.json(&["status", "--json"])["status"]["pending"], 0);
    }
}

#[test]
fn a_lost_entry_comes_back_from_a_device_and_keeps_its_number() {
    let mut stage = Stage::new();
    let before = stage.look.text("SELECT md5(string_agg(entry_id || digest || payload, '' ORDER BY seq)) FROM entries");
    stage.look.execute("DELETE FROM entries WHERE seq = 7");
    let tablet = stage.newcomer("tablet");
    assert_eq!(notes(&tablet).len(), 6, "what is behind the gap waits, under its own numbers");
    stage.assert_brought_back(1);
    let now = "SELECT md5(string_agg(entry_id || digest || payload, '' ORDER BY seq)) FROM entries WHERE seq <= 60";
    assert_eq!(stage.look.text(now), before);
    tablet.done(&["sync"]);
    assert_eq!(notes(&tablet).len(), MOODS + 1);
}

#[test]
fn lost_entries_in_a_row_and_at_the_end_come_back() {
    let mut stage = Stage::new();
    stage.look.execute("DELETE FROM entries WHERE seq BETWEEN 11 AND 13 OR seq >= 59");
    stage.assert_brought_back(5);
}

#[test]
fn a_row_that_is_there_twice_is_removed_before_it_keeps_anything_out() {
    let mut stage = Stage::new();
    stage.look.execute(
        "INSERT INTO entries (feed, seq, entry_id, kind, doc_id, author, device_time, digest, salt, payload)
         SELECT feed, 61, substr(payload, 1, 16), kind, doc_id, author, device_time, digest, salt, payload
         FROM entries WHERE seq = 60",
    );
    stage.assert_brought_back(0);
}

#[test]
fn swapped_payloads_come_back() {
    let mut stage = Stage::new();
    stage.look.execute(
        "UPDATE entries e SET payload = o.payload FROM entries o
         WHERE e.feed = o.feed AND (e.seq, o.seq) IN ((3, 4), (4, 3))",
    );
    stage.assert_brought_back(2);
}

/// The tablet comes while it is damaged. It gets everything else, and the record as soon as the server has it back.
#[test]
fn a_flipped_byte_and_a_lost_payload_come_back() {
    let mut stage = Stage::new();
    stage.look.execute("UPDATE entries SET payload = set_byte(payload, 60, get_byte(payload, 60) # 255) WHERE seq = 5");
    stage.look.execute("UPDATE entries SET payload = NULL, salt = NULL, change_hash = NULL WHERE seq = 6");
    let tablet = stage.newcomer("tablet");
    assert_eq!(notes(&tablet).len(), MOODS - 2);
    stage.assert_brought_back(2);
    let said = tablet.done(&["sync", "--audit"]);
    assert!(said.contains("2 records were missing or damaged here, and came again"), "{said}");
    assert_eq!(notes(&tablet).len(), MOODS + 1);
}

/// The phone that had it is gone. Whoever runs the server is told, and so is the person; nothing else is held up.
#[test]
fn what_nobody_has_is_said_and_holds_nothing_else_up() {
    let mut stage = Stage::new();
    stage.look.execute("UPDATE entries SET payload = set_byte(payload, 60, get_byte(payload, 60) # 255) WHERE seq = 5");
    // The snapshot, which could still have told, was damaged by the same disk.
    stage
        .look
        .execute("UPDATE snapshots SET snapshot = 'gone' WHERE doc_id = (SELECT doc_id FROM entries WHERE seq = 5)");
    let tablet = stage.newcomer("tablet");
    let said = tablet.done(&["sync", "--audit"]);
    assert!(said.contains("the server has lost or damaged 1 entry that this device does not have"), "{said}");
    let check = run_server(&["check"], &[("DATABASE_URL", &stage.database.url)]);
    assert!(check.stdout.contains("1 damaged or gone"), "{}", check.stdout);
    assert_eq!(notes(&tablet).len(), MOODS - 1);
    tablet.done(&["log", "mood", "--valence", "1", "--note", "goes on"]);
    tablet.done(&["sync"]);
    assert_eq!(tablet.json(&["status", "--json"])["status"]["pending"], 0);
    // It turns up again.
    stage.notes = notes(&stage.phone);
    let said = stage.phone.done(&["sync", "--audit"]);
    assert!(said.contains("the server had lost or damaged 1 entry, and has it back from here"), "{said}");
    let check = run_server(&["check"], &[("DATABASE_URL", &stage.database.url)]);
    assert!(check.stdout.contains("none is known to be damaged"), "{}", check.stdout);
}
