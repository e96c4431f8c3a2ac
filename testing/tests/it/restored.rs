//! A phone restored from a backup writes on with an actor that went further without it.

use std::fs;
use std::path::Path;

use fitme_testing::{Device, Postgres, ServerProcess};

use crate::stage::notes;

fn copy(from: &Path, to: &Path) {
    for file in fs::read_dir(to).unwrap().map(Result::unwrap) {
        fs::remove_file(file.path()).unwrap();
    }
    for file in fs::read_dir(from).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// The first exchange decides nothing about what the restored phone pushes with its Hello ("retry_after_hello"): the phone
/// reads what the server has, draws a new actor and pushes again. The one edit that it made with a number that is taken is
/// refused ("actor_forked") and written again by another actor: nothing comes back to the person, everything is on the server.
#[test]
fn a_restored_phone_loses_nothing_and_stops_forking() {
    let server = ServerProcess::on(&Postgres::shared().database().url);
    let (phone, tablet) = (Device::new("phone"), Device::new("tablet"));
    let backup = tempfile::tempdir().unwrap();
    phone.sign_up(server.url(), "ann@example.org");
    tablet.log_in(server.url(), "ann@example.org");
    phone.done(&["log", "mood", "--valence", "1", "--note", "first"]);
    phone.done(&["sync", "--once"]);
    let id = phone.json(&["list", "moods", "--json"])["records"][0]["id"].as_str().unwrap().to_owned();
    copy(phone.home(), backup.path());
    phone.done(&["edit", &id, "--json", r#"{"energy": 4}"#]);
    phone.done(&["log", "mood", "--valence", "0", "--note", "after the backup"]);
    phone.done(&["sync", "--once"]);

    copy(backup.path(), phone.home());
    phone.done(&["edit", &id, "--json", r#"{"energy": 2}"#]);
    phone.done(&["log", "mood", "--valence", "-1", "--note", "after the restore"]);
    phone.done(&["sync", "--once"]);

    assert_eq!(phone.done(&["rejected"]), "the server refused nothing\n");
    phone.done(&["log", "mood", "--valence", "2", "--note", "later"]);
    phone.done(&["sync", "--once"]);
    phone.done(&["sync", "--once"]);
    tablet.done(&["sync"]);
    let everything = ["after the backup", "after the restore", "first", "later"];
    assert_eq!(notes(&phone), everything);
    assert_eq!(notes(&tablet), everything);
    let status = &phone.json(&["status", "--json"])["status"];
    assert_eq!((&status["pending"], &status["rejected"]), (&0.into(), &0.into()), "{status}");
    let shown = |device: &Device| device.json(&["show", &id, "--json"])["records"][0].clone();
    assert_eq!(shown(&phone)["record"], shown(&tablet)["record"]);
    // The edit was written again on top of what the phone had forgotten, as a person would have who had seen it.
    assert_eq!(shown(&phone)["record"]["energy"], 2);
    assert_eq!(shown(&phone)["conflicts"], serde_json::json!([]));
}
