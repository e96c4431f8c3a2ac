//! A backup of a server that works, its loss, and its return: rehearsed, because a backup that was never restored is none.

use std::sync::atomic::{AtomicBool, Ordering};

use fitme_testing::{Database, Device, Postgres, ServerProcess, run_server, wait_until};
use sqlx::{Connection, PgConnection};

use crate::stage::notes;

fn log(device: &Device, note: &str) {
    device.done(&["log", "mood", "--valence", "1", "--note", note]);
}

#[test]
fn a_server_that_is_lost_comes_back_from_a_backup_that_was_taken_while_it_worked() {
    let safe = tempfile::tempdir().unwrap();
    let erasures = safe.path().join("erasures");
    let listing = ("FITME_ERASURES", erasures.to_str().unwrap());
    let mut server = ServerProcess::start_with(None, &[listing]);
    let (phone, tablet, busy) = (Device::new("phone"), Device::new("tablet"), Device::new("busy"));
    phone.sign_up(server.url(), "ann@example.org");
    tablet.log_in(server.url(), "ann@example.org");
    busy.sign_up(server.url(), "ben@example.org");
    log(&phone, "before the backup");
    log(&phone, "to be erased");
    phone.sync();
    tablet.sync();
    let (file, data) = (safe.path().join("backup"), safe.path().join("data"));
    let (file, data) = (file.to_str().unwrap(), data.to_str().unwrap());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                log(&busy, "meanwhile");
                busy.sync();
            }
        });
        let backup = run_server(&["backup", file], &[("FITME_DATA", server.data().to_str().unwrap())]);
        done.store(true, Ordering::Relaxed);
        assert_eq!(backup.code, 0, "{}", backup.stderr);
    });
    log(&phone, "after the backup");
    let listed = phone.json(&["list", "moods", "--json"]);
    let mut records = listed["records"].as_array().unwrap().iter();
    let gone = records.find(|row| row["record"]["note"] == "to be erased").unwrap()["id"].as_str().unwrap().to_owned();
    phone.done(&["erase", &gone, "--yes"]);
    phone.sync();
    tablet.sync();
    wait_until("the erasure to be listed beside the backup", || {
        std::fs::read_to_string(&erasures).is_ok_and(|list| list.contains("record "))
    });
    server.terminate();

    let restored = run_server(&["restore", file], &[("FITME_DATA", data)]);
    assert_eq!(restored.code, 0, "{}", restored.stderr);
    std::fs::copy(server.data().join("master.key"), safe.path().join("data/master.key")).unwrap();
    let address = server.url().trim_start_matches("http://").to_owned();
    let server = ServerProcess::start_with(None, &[("FITME_LISTEN", &address), ("FITME_DATA", data), listing]);
    assert_eq!(server.url(), format!("http://{address}"));
    for device in [&phone, &tablet, &busy, &phone] {
        device.sync();
    }
    log(&tablet, "after the restore");
    tablet.sync();
    phone.sync();
    let everything = ["after the backup", "after the restore", "before the backup"];
    assert_eq!(
        (notes(&phone), notes(&tablet)),
        (everything.map(str::to_owned).to_vec(), everything.map(str::to_owned).to_vec())
    );
    let newcomer = Device::new("newcomer");
    newcomer.log_in(server.url(), "ann@example.org");
    newcomer.sync();
    let notes = notes(&newcomer);
    assert!(
        notes.contains(&"before the backup".to_owned()) && notes.contains(&"after the restore".to_owned()),
        "{notes:?}"
    );
    assert!(
        !notes.contains(&"to be erased".to_owned()),
        "what was erased after the backup was erased again: {notes:?}"
    );
}

fn addresses(database: &Database) -> [(&str, &str); 2] {
    [("DATABASE_URL", &database.url), ("FITME_OWNER_DATABASE_URL", &database.owner)]
}

/// The numbers of every feed, and their sums, are those of one moment.
#[tokio::test]
async fn a_backup_holds_one_moment_and_goes_into_an_empty_database_alone() {
    let postgres = Postgres::shared();
    let (database, empty) = (postgres.database(), postgres.empty_database());
    let server = ServerProcess::on(&database.url);
    let phone = Device::new("phone");
    phone.sign_up(server.url(), "ann@example.org");
    let safe = tempfile::tempdir().unwrap();
    let file = safe.path().join("backup");
    let file = file.to_str().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                log(&phone, "one");
                log(&phone, "more");
                phone.sync();
            }
        });
        let backup = run_server(&["backup", file], &addresses(&database));
        done.store(true, Ordering::Relaxed);
        assert_eq!(backup.code, 0, "{}", backup.stderr);
    });
    let full = run_server(&["restore", file], &addresses(&database));
    assert_eq!(full.code, 1);
    assert!(full.stderr.contains("not empty"), "{}", full.stderr);
    let restored = run_server(&["restore", file], &addresses(&empty));
    assert_eq!(restored.code, 0, "{}", restored.stderr);

    let mut copy = PgConnection::connect(&empty.owner).await.unwrap();
    let odd: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM feeds f LEFT JOIN LATERAL (
             SELECT count(*) AS number, coalesce(max(seq), 0) AS last FROM entries e WHERE e.feed = f.feed) e ON true
         WHERE f.head_seq <> e.number OR f.head_seq <> e.last",
    )
    .fetch_one(&mut copy)
    .await
    .unwrap();
    assert_eq!(odd, 0, "a feed has a gap or a head that is none");
    // The server logs in as one who may do no more than before.
    let other = ServerProcess::on(&empty.url);
    assert!(other.log().contains("the database is a copy or was restored"), "{}", other.log());
}
