//! Ann takes everything along: her account becomes a file, and the file an equal account on another server.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use fitme_core::store::Command;
use fitme_testing::realistic::{Act, Diary, Sets};
use fitme_testing::{Device, Postgres, ServerProcess};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

use crate::stage::store;

const ANN: &str = "ann@example.org";

/// Keeps a diary on a device, as its app would.
fn live(device: &Device, seed: u64, acts: usize) {
    let (mut store, mut rng) = (store(device, seed), StdRng::seed_from_u64(seed));
    let mut open = None;
    for act in Diary::new(seed, Sets::OneByOne).take(acts) {
        let at_ms = act.at_ms();
        let command = match act {
            Act::Log { collection, fields, .. } => Command::Create { collection: collection.to_owned(), fields },
            Act::Set { patch, .. } => Command::Edit { doc_id: open.unwrap(), patch },
        };
        open = Some(store.write(&command, at_ms, &mut rng).unwrap().doc_id);
    }
}

/// A file beside the device's home.
fn beside(device: &Device, name: &str) -> PathBuf {
    device.home().with_file_name(format!("{}-{name}", device.home().file_name().unwrap().to_string_lossy()))
}

/// Exports, and reads what the archive holds.
fn exported(device: &Device, name: &str) -> (PathBuf, BTreeMap<String, Vec<u8>>) {
    let file = beside(device, name);
    device.done(&["export", file.to_str().unwrap()]);
    let files = files(&file);
    (file, files)
}

fn files(archive: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut zip = ZipArchive::new(File::open(archive).unwrap()).unwrap();
    (0..zip.len())
        .map(|index| {
            let mut file = zip.by_index(index).unwrap();
            let mut content = Vec::new();
            file.read_to_end(&mut content).unwrap();
            (file.name().unwrap().into_owned(), content)
        })
        .collect()
}

/// The records and lists of an archive: all but the facts of the account, and the documents, whose heads are compared.
fn records(files: &BTreeMap<String, Vec<u8>>) -> Vec<(&String, String)> {
    let is_record = |name: &str| name.starts_with("records/") || name.starts_with("lists/");
    let text = |content: &Vec<u8>| String::from_utf8(content.clone()).unwrap();
    files.iter().filter(|(name, _)| is_record(name)).map(|(name, content)| (name, text(content))).collect()
}

/// Ann with a phone and a tablet, both with a diary, an edit of both, an import and something in the trash.
fn ann(server: &ServerProcess) -> (Device, Device) {
    let (phone, tablet) = (Device::new("Ann's phone"), Device::new("Ann's tablet"));
    phone.sign_up(server.url(), ANN);
    tablet.log_in(server.url(), ANN);
    live(&phone, 1, 600);
    live(&tablet, 2, 400);
    let ride = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/ride.fit");
    phone.done(&["import", ride.to_str().unwrap()]);
    phone.done(&["log", "profile", "--name", "Ann", "--units", "metric"]);
    phone.sync();
    tablet.done(&["log", "profile", "--zone", "Europe/Rome"]);
    tablet.sync();
    let mood = first(&tablet, "moods");
    tablet.done(&["trash", &mood]);
    let meal = first(&tablet, "meals");
    tablet.done(&["edit", &meal, "--json", r#"{"note": "from the tablet"}"#]);
    phone.done(&["edit", &meal, "--json", r#"{"note": "from the phone"}"#]);
    for device in [&tablet, &phone, &tablet] {
        device.sync();
    }
    (phone, tablet)
}

fn first(device: &Device, collection: &str) -> String {
    device.json(&["list", collection, "--limit", "1", "--json"])["records"][0]["id"].as_str().unwrap().to_owned()
}

#[test]
fn an_exported_account_becomes_an_equal_one_on_another_server() {
    let (here, there) = (Postgres::shared().database(), Postgres::shared().database());
    let (old, new) = (ServerProcess::on(&here.url), ServerProcess::on(&there.url));
    let (phone, tablet) = ann(&old);
    let (archive, before) = exported(&phone, "ann.zip");
    let account: Value = serde_json::from_slice(&before["account.json"]).unwrap();
    assert_eq!((&account["here"]["email"], &account["on_the_server"]["role"]), (&json!(ANN), &json!("member")));
    assert_eq!(account["devices"].as_array().unwrap().len(), 2);

    let (laptop, watch) = (Device::new("laptop"), Device::new("watch"));
    laptop.sign_up(new.url(), ANN);
    let said = laptop.done(&["import-account", archive.to_str().unwrap()]);
    assert!(said.contains("imported") && said.contains("new here"), "{said}");
    laptop.sync();
    watch.log_in(new.url(), ANN);
    watch.sync();

    let (want, same) = (store(&phone, 9).heads().unwrap(), |device: &Device| store(device, 9).heads().unwrap());
    assert!(want.len() > 100);
    for (name, device) in [("the old tablet", &tablet), ("the importing laptop", &laptop), ("the new watch", &watch)] {
        assert_eq!(same(device), want, "{name}");
        assert_eq!(records(&exported(device, "again.zip").1), records(&before), "{name}");
        let status = &device.json(&["status", "--json"])["status"];
        assert_eq!((&status["pending"], &status["rejected"]), (&json!(0), &json!(0)), "{name}: {status}");
    }

    let again = laptop.done(&["import-account", archive.to_str().unwrap()]);
    assert!(again.contains("nothing of it was new here"), "{again}");
    assert_eq!(laptop.json(&["status", "--json"])["status"]["pending"], 0);
}

/// The old account is still there, and its phone goes on writing.
#[test]
fn an_exported_account_becomes_an_equal_one_on_the_same_server() {
    let server = ServerProcess::on(&Postgres::shared().database().url);
    let phone = Device::new("Ann's phone");
    phone.sign_up(server.url(), ANN);
    live(&phone, 3, 60);
    phone.sync();
    phone.done(&["log", "mood", "--valence", "1", "--note", "not sent yet"]);
    let file = beside(&phone, "ann.zip");
    let said = phone.done(&["export", file.to_str().unwrap()]);
    assert!(said.contains("1 change is not on the server yet: the file has them"), "{said}");
    let log = phone.done(&["access-log"]);
    assert!(log.contains("Ann's phone") && log.contains("exported everything as zip"), "{log}");

    // Signed up after the import: what is in the home becomes the account's first data.
    let laptop = Device::new("laptop");
    laptop.done(&["import-account", file.to_str().unwrap()]);
    laptop.sign_up(server.url(), "ann@new.example.org");
    laptop.sync();
    let open = first(&phone, "moods");
    phone.done(&["edit", &open, "--json", r#"{"note": "later"}"#]);
    phone.sync();
    for device in [&phone, &laptop] {
        let status = &device.json(&["status", "--json"])["status"];
        assert_eq!((&status["pending"], &status["rejected"]), (&json!(0), &json!(0)), "{status}");
    }
    let moods = |device: &Device| device.json(&["list", "moods", "--json"])["records"].as_array().unwrap().len();
    assert_eq!(moods(&laptop), moods(&phone));
}

#[test]
fn what_others_share_is_not_exported_and_what_was_shared_is_not_shared_again() {
    let server = ServerProcess::on(&Postgres::shared().database().url);
    let (ann, tom) = (Device::new("Ann's phone"), Device::new("Tom's laptop"));
    ann.sign_up(server.url(), ANN);
    tom.done(&[
        "signup",
        "--server",
        server.url(),
        "--email",
        "tom@example.org",
        "--device",
        "laptop",
        "--role",
        "trainer",
    ]);
    ann.done(&["confirm", &server.mailed(ANN, "fitme confirm")]);
    tom.done(&["confirm", &server.mailed("tom@example.org", "fitme confirm")]);
    let invited = tom.done(&["invite", "--name", "Tom"]);
    ann.done(&["accept", invited.split_whitespace().last().unwrap(), "--yes", "--as", "Ann"]);
    ann.done(&["log", "workout", "--title", "zebra-crossing-4711", "--set", "Squat 5x100kg"]);
    ann.sync();
    tom.sync();

    let (_, of_tom) = exported(&tom, "tom.zip");
    let holds = |content: &Vec<u8>| content.windows(19).any(|window| window == b"zebra-crossing-4711");
    assert!(!of_tom.values().any(holds), "what Ann shares is hers");
    let grants: Value = serde_json::from_slice(&of_tom["grants.json"]).unwrap();
    assert_eq!(grants["received"][0]["name"], "Ann");

    let said = ann.done(&["export", beside(&ann, "counted.zip").to_str().unwrap()]);
    assert!(said.contains("exported 1 record and 1 consent"), "{said}");
    let (archive, of_ann) = exported(&ann, "ann.zip");
    let grants: Value = serde_json::from_slice(&of_ann["grants.json"]).unwrap();
    assert_eq!(grants["given"][0]["grant"]["grantee_name"], "Tom");
    let laptop = Device::new("laptop");
    laptop.sign_up(server.url(), "ann@new.example.org");
    let said = laptop.done(&["import-account", archive.to_str().unwrap()]);
    assert!(said.contains("imported 1 record") && said.contains("1 consent left out"), "{said}");
    laptop.sync();
    assert_eq!(laptop.json(&["status", "--json"])["status"]["rejected"], 0);
    assert_eq!(laptop.done(&["grants"]), "nothing is shared with anybody\n");
}

#[test]
fn an_export_needs_no_network_and_writes_over_nothing() {
    let phone = Device::new("phone");
    phone.done(&["log", "mood", "--valence", "1"]);
    let (file, files) = exported(&phone, "mood.zip");
    assert_eq!(serde_json::from_slice::<Value>(&files["account.json"]).unwrap(), json!({ "account": null }));
    let refused = phone.run(&["export", file.to_str().unwrap()]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("is there already: name another file"), "{}", refused.stderr);
    let nowhere = phone.run(&["export", "/nowhere/mood.zip"]);
    assert!(nowhere.stderr.contains("cannot be written"), "{}", nowhere.stderr);
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_damaged_record_keeps_no_other_out_of_the_export() {
    let phone = Device::new("phone");
    for _ in 0..2 {
        phone.done(&["log", "mood", "--valence", "1"]);
    }
    let flip = "UPDATE entries SET payload = zeroblob(9) WHERE doc_id = (SELECT min(doc_id) FROM records)";
    rusqlite::Connection::open(phone.home().join("fitme.db")).unwrap().execute(flip, []).unwrap();
    let file = beside(&phone, "moods.zip");
    let said = phone.done(&["export", file.to_str().unwrap()]);
    assert!(said.contains("exported 1 record") && said.contains("damaged on this device"), "{said}");
    let laptop = Device::new("laptop");
    assert!(laptop.done(&["import-account", file.to_str().unwrap()]).contains("imported 1 record"));
}

#[test]
fn two_peoples_records_are_not_mixed_unless_somebody_says_so() {
    let (phone, other) = (Device::new("phone"), Device::new("another home"));
    phone.done(&["log", "mood", "--valence", "1"]);
    let (file, _) = exported(&phone, "mood.zip");
    other.done(&["log", "meal", "--kind", "lunch", "--item", "Oats 80g"]);
    let refused = other.run(&["import-account", file.to_str().unwrap()]);
    assert!(refused.stderr.contains("records in this home that are not in the archive: 1."), "{}", refused.stderr);
    assert_eq!(other.done(&["list", "moods"]), "no moods here\n");
    other.done(&["import-account", file.to_str().unwrap(), "--merge"]);
    assert_ne!(other.done(&["list", "moods"]), "no moods here\n");
}

/// Ben had just logged in on a new laptop, where nothing of his was yet: Ann's records went to his account.
#[test]
fn a_home_that_was_just_signed_in_asks_the_server_whose_records_it_has() {
    let mut server = ServerProcess::on(&Postgres::shared().database().url);
    let (anns, bens) = (Device::new("Ann's phone"), Device::new("Ben's phone"));
    anns.done(&["log", "meal", "--kind", "lunch", "--item", "Oats 80g"]);
    let (file, _) = exported(&anns, "ann.zip");
    bens.sign_up(server.url(), "ben@example.org");
    bens.done(&["log", "mood", "--valence", "1"]);
    bens.sync();
    let (laptop, tablet) = (Device::new("laptop"), Device::new("tablet"));
    laptop.log_in(server.url(), "ben@example.org");
    tablet.log_in(server.url(), "ben@example.org");
    let import = ["import-account", file.to_str().unwrap()];

    let refused = laptop.run(&import);
    assert!(refused.stderr.contains("records in this home that are not in the archive: 1."), "{}", refused.stderr);
    server.terminate();
    let refused = tablet.run(&import);
    assert!(
        refused.stderr.contains("nothing was imported: what ben@example.org has must be here first"),
        "{refused:?}"
    );
    for device in [&laptop, &tablet] {
        assert_eq!(device.done(&["list", "meals"]), "no meals here\n");
    }
    tablet.done(&[&import[..], &["--merge"]].concat());
}

/// Writes an archive with other content.
fn forged(archive: &Path, name: &str, change: impl FnOnce(&mut BTreeMap<String, Vec<u8>>)) -> PathBuf {
    let mut content = files(archive);
    change(&mut content);
    let path = archive.with_extension(name);
    let mut zip = ZipWriter::new(File::create(&path).unwrap());
    for (name, bytes) in content {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(&bytes).unwrap();
    }
    zip.finish().unwrap();
    path
}

#[test]
fn a_file_that_is_not_what_was_exported_is_refused_and_nothing_of_it_is_imported() {
    let phone = Device::new("phone");
    phone.done(&["log", "mood", "--valence", "1"]);
    phone.done(&["log", "mood", "--valence", "2"]);
    let (archive, content) = exported(&phone, "moods.zip");
    let document = content.keys().find(|name| name.starts_with("documents/moods/")).unwrap().clone();
    let (cut, text, empty) =
        (archive.with_extension("cut"), archive.with_extension("txt"), archive.with_extension("gone"));
    let whole = std::fs::read(&archive).unwrap();
    std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    std::fs::write(&text, "no zip").unwrap();
    let manifest = |change: fn(&mut Value)| {
        move |content: &mut BTreeMap<String, Vec<u8>>| {
            let mut manifest: Value = serde_json::from_slice(&content["manifest.json"]).unwrap();
            change(&mut manifest);
            content.insert("manifest.json".to_owned(), manifest.to_string().into_bytes());
        }
    };
    let cases = [
        (cut, "is no archive of an account"),
        (text, "is no archive of an account"),
        (empty, "cannot be read"),
        (forged(&archive, "foreign", manifest(|one| one["format"] = "photos".into())), "is no archive of an account"),
        (forged(&archive, "newer", manifest(|one| one["version"] = 2.into())), "newer version of FitME"),
        (forged(&archive, "lost", |content| drop(content.remove(&document))), "is missing"),
        (forged(&archive, "bare", |content| drop(content.remove("CHECKSUMS"))), "CHECKSUMS is missing"),
        (
            forged(&archive, "flipped", |content| content.get_mut(&document).unwrap()[60] ^= 1),
            "is not what was exported",
        ),
        (
            forged(&archive, "bomb", |content| drop(content.insert(document.clone(), vec![0; 64 << 20]))),
            "holds more than an account may",
        ),
        (
            forged(&archive, "manifest-bomb", |content| {
                drop(content.insert("manifest.json".into(), vec![b' '; 1 << 20]))
            }),
            "holds more than an account may",
        ),
        (
            forged(&archive, "sums", |content| content.get_mut("CHECKSUMS").unwrap().extend(b"x  y\n")),
            "CHECKSUMS is not",
        ),
    ];
    let laptop = Device::new("laptop");
    for (file, why) in cases {
        let refused = laptop.run(&["import-account", file.to_str().unwrap()]);
        assert_eq!((refused.code, refused.stdout.as_str()), (1, ""), "{}", file.display());
        assert!(
            refused.stderr.contains(why) && refused.stderr.lines().count() == 1,
            "{}: {}",
            file.display(),
            refused.stderr
        );
        assert_eq!(laptop.done(&["list", "moods"]), "no moods here\n");
    }
}
