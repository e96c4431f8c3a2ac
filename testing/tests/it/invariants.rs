//! Invariants of ARCHITECTURE.md against real servers, real devices and a real PostgreSQL, each in a play that is named for it.
//! I2 is in `kill`.

use std::path::PathBuf;

use fitme_testing::{Device, Postgres, ServerProcess, wait_until};

use crate::consent::introduced;
use crate::erase::{MARKER, files_with_marker};
use crate::stage::{Look, log_moods, lose_and_restore};

fn log(device: &Device, title: &str) {
    device.done(&["log", "workout", "--title", title, "--set", "Squat 5x100kg"]);
}

/// The titles of all workouts that a device lists, sorted.
fn titles(device: &Device) -> Vec<String> {
    let listed = device.json(&["list", "workouts", "--json"]);
    let records = listed["records"].as_array().unwrap().iter();
    let mut titles: Vec<_> = records.map(|row| row["record"]["title"].as_str().unwrap().to_owned()).collect();
    titles.sort();
    titles
}

fn nothing() -> [PathBuf; 0] {
    []
}

/// After the backup Ann logs a workout, erases another one and ends what she shares with Tom; her tablet and his laptop have not
/// heard of the last two. The restored server knows of none. What was lost comes back, and what ended stays so, although the
/// tablet holds what was erased, and repairs.
#[test]
fn i10_i11_what_was_erased_and_revoked_after_the_backup_stays_so_while_devices_bring_back_what_was_lost() {
    let safe = tempfile::tempdir().unwrap();
    let list = safe.path().join("list");
    let listing = ("FITME_ERASURES", list.to_str().unwrap());
    let mut server = ServerProcess::start_with(None, &[listing]);
    let (ann, tom) = introduced(&server, "training");
    let tablet = Device::new("tablet");
    tablet.log_in(server.url(), "ann@example.org");
    log(&ann, "before the backup");
    log(&ann, MARKER);
    let erased = ann.json(&["list", "workouts", "--json"])["records"]
        .as_array()
        .unwrap()
        .iter()
        .find_map(|row| (row["record"]["title"] == MARKER).then(|| row["id"].as_str().unwrap().to_owned()));
    ann.sync();
    tom.sync();
    let file = safe.path().join("backup");
    let backup = server.run(&["backup", file.to_str().unwrap()]);
    assert_eq!(backup.code, 0, "{}", backup.stderr);

    log(&ann, "acknowledged and lost");
    ann.sync();
    tablet.sync();
    ann.done(&["erase", &erased.unwrap(), "--yes"]);
    ann.done(&["revoke", "Tom"]);
    ann.sync();
    wait_until("all of it to be listed beside the backup", || {
        let listed = std::fs::read_to_string(&list).unwrap_or_default();
        listed.lines().any(|line| line.starts_with("grant ")) && listed.lines().any(|line| line.starts_with("record "))
    });
    assert!(!files_with_marker(tablet.home()).is_empty() && !files_with_marker(tom.home()).is_empty());
    lose_and_restore(&mut server, &file, &safe.path().join("data"), &[listing]);

    let said = tablet.done(&["sync"]);
    assert!(said.contains("sent again"), "{said}");
    assert_eq!(files_with_marker(tablet.home()), nothing(), "what was erased is erased on the tablet");
    tom.sync();
    assert!(tom.done(&["clients"]).contains("nobody shares anything with you"));
    assert_eq!(files_with_marker(tom.home()), nothing());
    for device in [&ann, &tablet] {
        device.done(&["sync"]);
    }
    let newcomer = Device::new("newcomer");
    newcomer.log_in(server.url(), "ann@example.org");
    newcomer.done(&["sync"]);
    for device in [&ann, &tablet, &newcomer] {
        assert_eq!(titles(device), ["acknowledged and lost", "before the backup"]);
        assert_eq!(files_with_marker(device.home()), nothing());
        let status = device.json(&["status", "--json"]);
        assert_eq!((&status["status"]["pending"], &status["status"]["rejected"]), (&0.into(), &0.into()));
    }
    assert_eq!(ann.done(&["grants"]), "nothing is shared with anybody\n");
}

/// Everything that was merged is dropped, and made again of the entries by the workers that merge every day.
#[test]
fn i12_snapshots_and_records_that_are_dropped_come_out_equal() {
    let database = Postgres::shared().database();
    let server = ServerProcess::on(&database.url);
    let (phone, tablet) = (Device::new("phone"), Device::new("tablet"));
    phone.sign_up(server.url(), "ann@example.org");
    tablet.log_in(server.url(), "ann@example.org");
    log_moods(&phone, 100, 1);
    log(&phone, "edited on both");
    phone.done(&["sync"]);
    tablet.done(&["sync"]);
    let id = phone.json(&["list", "workouts", "--json"])["records"][0]["id"].as_str().unwrap().to_owned();
    phone.done(&["edit", &id, "--json", r#"{"note": "of the phone"}"#]);
    tablet.done(&["edit", &id, "--json", r#"{"note": "of the tablet"}"#]);
    phone.done(&["sync"]);
    tablet.done(&["sync"]);
    let mut look = Look::at(&database);
    look.wait_for_merge();
    let merged =
        "SELECT md5(string_agg(concat(r.doc_id, s.snapshot_seq, s.heads::text, s.snapshot, s.quarantined, r.at,
                      r.trashed, r.columns, r.record, r.flags::text, r.projection_version), '' ORDER BY r.doc_id))
                  FROM records r JOIN snapshots s USING (feed, doc_id)";
    let (before, records) = (look.text(merged), look.records());
    assert_eq!(records.len(), 101);

    look.execute("DELETE FROM records");
    look.execute("DELETE FROM snapshots");
    look.execute("UPDATE merge_queue SET merged_seq = 0");
    wait_until("the workers to begin", || look.number("SELECT count(*) FROM records") > 0);
    look.wait_for_merge();
    assert_eq!(look.records(), records);
    assert_eq!(look.text(merged), before, "to the last byte of each snapshot");
}
