//! Ann erases a record (I10): it leaves her other devices, her trainer's, the server's tables and the database's files; what
//! her tablet wrote meanwhile stays there until she discards it.

use std::path::{Path, PathBuf};

use fitme_testing::{Database, Device, Postgres, ServerProcess};

use crate::consent::introduced;
use crate::stage::Look;

/// Planted in what is erased, to be searched for in files.
pub const MARKER: &str = "quokka-lighthouse-2290";

/// The files below `folder` that hold the marker.
pub fn files_with_marker(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(files_with_marker(&path));
        } else if std::fs::read(&path).unwrap_or_default().windows(MARKER.len()).any(|part| part == MARKER.as_bytes()) {
            found.push(path);
        }
    }
    found
}

/// The tables of a database as files, rewritten first. The write-ahead log is not among them: it goes as it is recycled.
pub fn tables_with_marker(database: &Database) -> Vec<PathBuf> {
    let mut look = Look::at(database);
    look.execute("VACUUM FULL");
    look.execute("CHECKPOINT");
    let number = look.text("SELECT oid::text FROM pg_database WHERE datname = current_database()");
    files_with_marker(&Postgres::shared().folder().join("base").join(number))
}

fn epochs(database: &Database) -> String {
    Look::at(database).text("SELECT string_agg(encode(epoch, 'hex'), ',' ORDER BY feed) FROM feeds")
}

fn first_id(device: &Device, collection: &str) -> String {
    device.json(&["list", collection, "--json"])["records"][0]["id"].as_str().unwrap().to_owned()
}

#[test]
fn what_the_phone_erases_is_in_no_file_and_the_edit_of_an_offline_tablet_stays_until_it_is_discarded() {
    let database = Postgres::shared().database();
    let server = ServerProcess::on(&database.url);
    let (phone, tablet) = (Device::new("phone"), Device::new("tablet"));
    phone.sign_up(server.url(), "ann@example.org");
    tablet.log_in(server.url(), "ann@example.org");
    phone.done(&["log", "workout", "--title", MARKER, "--set", "Squat 5x100kg"]);
    let id = first_id(&phone, "workouts");
    phone.sync();
    tablet.sync();
    let mut look = Look::at(&database);
    look.wait_for_merge();
    assert!(!tables_with_marker(&database).is_empty() && !files_with_marker(phone.home()).is_empty());

    tablet.done(&["edit", &id, "--json", &format!(r#"{{"title": "{MARKER} edited offline"}}"#)]);
    let asked = phone.run(&["erase", &id]);
    assert_eq!(asked.code, 1, "nobody was there to ask");
    assert!(asked.stderr.contains("--yes"), "{}", asked.stderr);
    let said = phone.done(&["erase", &id, "--yes"]);
    assert!(said.contains(MARKER) && said.contains("erased"), "{said}");
    assert_eq!(files_with_marker(phone.home()), [] as [PathBuf; 0], "before any network");
    phone.sync();
    look.wait_for_merge();
    assert_eq!(tables_with_marker(&database), [] as [PathBuf; 0]);

    let before = epochs(&database);
    tablet.done(&["sync"]);
    assert_eq!(epochs(&database), before, "no repair");
    let refused = tablet.json(&["rejected", "--json"]);
    assert_eq!(refused["rejected"][0]["code"], "erased");
    assert_eq!(refused["rejected"][0]["command"]["patch"]["title"], format!("{MARKER} edited offline"));
    assert_eq!(tablet.run(&["show", &id]).code, 1);
    assert!(!files_with_marker(tablet.home()).is_empty(), "it stays with who wrote it");
    tablet.done(&["rejected", "discard", "--all"]);
    assert_eq!(tablet.done(&["rejected"]), "the server refused nothing\n");
    assert_eq!(files_with_marker(tablet.home()), [] as [PathBuf; 0]);

    let watch = Device::new("watch");
    watch.log_in(server.url(), "ann@example.org");
    watch.sync();
    assert_eq!(epochs(&database), before, "a new device counts what was emptied");
    assert_eq!(files_with_marker(watch.home()), [] as [PathBuf; 0]);
    assert_eq!(tables_with_marker(&database), [] as [PathBuf; 0]);
}

#[test]
fn an_erased_profile_is_made_anew_and_is_one_on_every_device() {
    let database = Postgres::shared().database();
    let server = ServerProcess::on(&database.url);
    let (phone, tablet) = (Device::new("phone"), Device::new("tablet"));
    phone.sign_up(server.url(), "ann@example.org");
    tablet.log_in(server.url(), "ann@example.org");
    phone.done(&["log", "profile", "--name", MARKER]);
    phone.sync();
    tablet.sync();
    phone.done(&["erase", "profile", "--yes"]);
    phone.done(&["log", "profile", "--name", "Ann"]);
    phone.sync();
    tablet.sync();
    assert_eq!(tablet.json(&["show", "profile", "--json"])["records"][0]["record"]["name"], "Ann");
    assert_eq!(files_with_marker(tablet.home()), [] as [PathBuf; 0]);
    Look::at(&database).wait_for_merge();
    assert_eq!(tables_with_marker(&database), [] as [PathBuf; 0]);
}

/// Tom watches; he may write, and still cannot erase.
#[test]
fn what_ann_erases_leaves_her_trainers_device_to_the_last_byte() {
    let server = ServerProcess::on(&Postgres::shared().database().url);
    let (ann, tom) = introduced(&server, "training");
    ann.done(&["log", "workout", "--title", MARKER, "--set", "Squat 5x100kg"]);
    ann.sync();
    tom.sync();
    assert!(!files_with_marker(tom.home()).is_empty());
    let id = tom.json(&["list", "workouts", "--of", "Ann", "--json"])["records"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(tom.run(&["erase", &id, "--yes"]).code, 1, "it is none of his");
    tom.done(&["edit", &id, "--of", "Ann", "--json", r#"{"note": "slower"}"#]);

    ann.done(&["erase", &id, "--yes"]);
    ann.sync();
    tom.sync();
    assert_eq!(tom.done(&["list", "workouts", "--of", "Ann"]), "no workouts here\n");
    assert_eq!(files_with_marker(tom.home()), [] as [PathBuf; 0], "his own words are kept, hers are not");
    let refused = tom.json(&["rejected", "--json"]);
    assert_eq!(refused["rejected"][0]["code"], "erased");
    tom.done(&["rejected", "discard", "1"]);
    assert_eq!(tom.done(&["rejected"]), "the server refused nothing\n");
}
