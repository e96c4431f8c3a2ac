//! A phone whose disk has spoilt a page of its home.

use std::fs;
use std::path::Path;

use fitme_testing::{Device, Postgres, ServerProcess};

use crate::stage::{log_moods, notes};

/// Flips every bit of the first page of a table, where it lies on the disk.
fn spoil(home: &Path, table: &str) {
    let path = home.join("fitme.db");
    let (page, size): (u32, u32) = rusqlite::Connection::open(&path)
        .unwrap()
        .query_row("SELECT rootpage, page_size FROM sqlite_schema, pragma_page_size WHERE name = ?", [table], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    let mut file = fs::read(&path).unwrap();
    let (from, to) = ((page - 1) * size, page * size);
    file[from as usize..to as usize].iter_mut().for_each(|byte| *byte ^= 0xff);
    fs::write(&path, file).unwrap();
}

fn logged(phone: &Device, note: &str) {
    phone.done(&["log", "mood", "--valence", "1", "--note", note]);
}

#[test]
fn a_home_with_a_spoilt_page_has_everything_again_after_a_sync_and_says_what_was_saved() {
    let database = Postgres::shared().database();
    let server = ServerProcess::on(&database.url);
    let phone = Device::new("phone");
    phone.sign_up(server.url(), "ann@example.org");
    log_moods(&phone, 20, 1);
    phone.done(&["sync"]);
    logged(&phone, "not sent yet");
    let before = notes(&phone);

    spoil(phone.home(), "records");
    let refused = phone.run(&["list", "moods"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("1 record with changes that only this device had were saved"), "{refused:?}");
    assert!(refused.stderr.contains("fitme.db.damaged-1"), "{refused:?}");
    assert!(phone.home().join("fitme.db.damaged-1").exists());
    assert_eq!(notes(&phone), ["not sent yet"], "what only this device had is there before any network is");

    phone.done(&["sync"]);
    assert_eq!(notes(&phone), before);
    assert_eq!(phone.json(&["status", "--json"])["status"]["pending"], 0);
    let tablet = Device::new("tablet");
    tablet.log_in(server.url(), "ann@example.org");
    tablet.done(&["sync"]);
    assert_eq!(notes(&tablet), before);
}

/// The first page says that it is a database, and where its tables are: without it nothing can be read.
#[test]
fn a_home_that_is_no_database_any_more_begins_anew_and_asks_to_log_in() {
    let database = Postgres::shared().database();
    let server = ServerProcess::on(&database.url);
    let phone = Device::new("phone");
    phone.sign_up(server.url(), "ann@example.org");
    log_moods(&phone, 5, 1);
    phone.done(&["sync"]);
    let before = notes(&phone);

    let path = phone.home().join("fitme.db");
    let mut file = fs::read(&path).unwrap();
    file[..4096].fill(0xaa);
    fs::write(&path, file).unwrap();
    let said = phone.run(&["status"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.stderr.contains("there may have been more") && said.stderr.contains("`fitme login`"), "{said:?}");

    phone.log_in(server.url(), "ann@example.org");
    phone.done(&["sync"]);
    assert_eq!(notes(&phone), before);
}
