//! What a power failure leaves of a database, and that a program on the disk in memory notices nothing of it otherwise.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use fitme_disk::{Folder, Lost, install};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rusqlite::Connection;

fn open(folder: &Folder, synchronous: &str) -> Connection {
    install();
    let connection = Connection::open(folder.path().join("store.db")).unwrap();
    let pragmas = format!("PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}");
    connection.execute_batch(&pragmas).unwrap();
    connection.execute_batch("CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY)").unwrap();
    connection
}

fn count(connection: &Connection) -> i64 {
    connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
}

/// Writes rows until the power fails; returns how many inserts returned before.
fn write_until_it_fails(folder: &Folder, synchronous: &str, steps: u64) -> i64 {
    let connection = open(folder, synchronous);
    folder.fail_after(Some(steps));
    (0..100).take_while(|_| connection.execute("INSERT INTO t DEFAULT VALUES", []).is_ok()).count() as i64
}

#[test]
fn what_was_committed_with_full_is_there_wherever_the_power_failed() {
    for steps in 0..60 {
        let folder = Folder::new();
        let written = write_until_it_fails(&folder, "FULL", steps);
        let mut rng = StdRng::seed_from_u64(steps);
        folder.restart(if steps % 2 == 0 { Lost::Unsynced } else { Lost::SomeSectors(&mut rng) });
        let left = count(&open(&folder, "FULL"));
        assert!(left == written || left == written + 1, "{written} were written, {left} are left after {steps} steps");
    }
}

#[test]
fn what_was_committed_with_normal_may_be_gone() {
    let folder = Folder::new();
    let written = write_until_it_fails(&folder, "NORMAL", 60);
    folder.restart(Lost::Unsynced);
    assert!(count(&open(&folder, "NORMAL")) < written);
}

#[test]
fn a_killed_process_loses_nothing() {
    let folder = Folder::new();
    let connection = open(&folder, "NORMAL");
    connection.execute("INSERT INTO t DEFAULT VALUES", []).unwrap();
    folder.cut();
    drop(connection);
    folder.restart(Lost::Nothing);
    assert_eq!(count(&open(&folder, "NORMAL")), 1);
}

#[test]
fn a_full_disk_refuses_and_keeps_what_is_there() {
    let folder = Folder::new();
    let connection = open(&folder, "FULL");
    folder.set_room(Some(5_000));
    let error = (0..100).find_map(|_| connection.execute("INSERT INTO t DEFAULT VALUES", []).err()).unwrap();
    assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DiskFull));
    folder.set_room(None);
    connection.execute("INSERT INTO t DEFAULT VALUES", []).unwrap();
}

#[test]
fn an_image_put_back_is_an_older_state() {
    let folder = Folder::new();
    let connection = open(&folder, "FULL");
    let image = folder.image();
    connection.execute("INSERT INTO t DEFAULT VALUES", []).unwrap();
    drop(connection);
    folder.put_back(&image);
    assert_eq!(count(&open(&folder, "FULL")), 0);
}

#[test]
fn two_programs_share_a_file_and_what_is_removed_without_sqlite_is_gone() {
    let folder = Folder::new();
    let (one, other) = (open(&folder, "FULL"), open(&folder, "FULL"));
    one.execute("INSERT INTO t DEFAULT VALUES", []).unwrap();
    assert_eq!(count(&other), 1);
    other.execute("INSERT INTO t DEFAULT VALUES", []).unwrap();
    assert_eq!(count(&one), 2);
    drop((one, other));
    std::fs::remove_file(folder.path().join("store.db")).unwrap();
    assert_eq!(count(&open(&folder, "FULL")), 0);
}

#[test]
fn files_elsewhere_are_where_they_were() {
    install();
    let real = tempfile::tempdir().unwrap();
    Connection::open(real.path().join("store.db")).unwrap().execute_batch("CREATE TABLE t (n)").unwrap();
    assert!(std::fs::metadata(real.path().join("store.db")).unwrap().len() > 0);
}
