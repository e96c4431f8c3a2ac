//! Homes and databases that earlier versions wrote, in testing/samples: an upgrade opens them, shows every record and
//! syncs on. testing/samples/README.md says how the next one is made; one that is there is never changed.

use std::fs;
use std::path::{Path, PathBuf};

use fitme_testing::{Database, Device, Postgres, ServerProcess};
use serde_json::{Map, Value, json};

use crate::stage::Look;

const EMAIL: &str = "ann@example.org";
const COLLECTIONS: [&str; 5] = ["profile", "workouts", "meals", "moods", "measurements"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples")
}

/// What one version left behind.
struct Sample {
    name: String,
    path: PathBuf,
}

impl Sample {
    fn all() -> Vec<Self> {
        let entries = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
        let found: Vec<_> = entries.filter(|path| path.is_dir()).map(Self::at).collect();
        assert!(!found.is_empty(), "there are samples");
        found
    }

    fn at(path: PathBuf) -> Self {
        Self { name: path.file_name().unwrap().to_string_lossy().into_owned(), path }
    }

    /// The phone, as if its app had just been updated.
    fn phone(&self) -> Device {
        let phone = Device::new("phone");
        fs::copy(self.path.join("phone.db"), phone.home().join("fitme.db")).unwrap();
        phone
    }

    /// What the phone showed when it was saved.
    fn shown(&self) -> Value {
        serde_json::from_str(&fs::read_to_string(self.path.join("phone.json")).unwrap()).unwrap()
    }

    /// Its server's database, restored and migrated.
    fn database(&self) -> Database {
        let dump = fs::read_to_string(self.path.join("server.sql")).unwrap();
        Postgres::shared().restored(dump)
    }
}

/// What a device shows: every record by id, what waits and what was refused.
fn shown_by(device: &Device) -> Value {
    let mut records = Map::new();
    for collection in COLLECTIONS {
        for row in device.json(&["list", collection, "--json"])["records"].as_array().unwrap() {
            records.insert(row["id"].as_str().unwrap().to_owned(), row["record"].clone());
        }
    }
    let status = &device.json(&["status", "--json"])["status"];
    let rejected = device.json(&["rejected", "--json"])["rejected"].clone();
    json!({ "records": records, "pending": status["pending"], "waiting": status["waiting"], "rejected": rejected })
}

/// Whether all that was shown is shown still; a later version may show more.
fn assert_still_shown(then: &Value, now: &Value, at: &str) {
    match (then, now) {
        (Value::Object(then), Value::Object(now)) => {
            for (key, value) in then {
                assert_still_shown(value, now.get(key).unwrap_or(&Value::Null), &format!("{at}.{key}"));
            }
        }
        (Value::Array(then), Value::Array(now)) => {
            assert_eq!(then.len(), now.len(), "{at}");
            then.iter().zip(now).enumerate().for_each(|(n, (then, now))| {
                assert_still_shown(then, now, &format!("{at}[{n}]"));
            });
        }
        _ => assert_eq!(then, now, "{at}"),
    }
}

/// The address of the server that the home was saved with is gone.
fn move_server(phone: &Device, url: &str) {
    let home = rusqlite::Connection::open(phone.home().join("fitme.db")).unwrap();
    home.execute("UPDATE meta SET value = CAST(?1 AS BLOB) WHERE key = 'server'", [url]).unwrap();
}

#[test]
fn a_home_of_every_earlier_version_opens_with_all_its_records_and_goes_on() {
    for sample in Sample::all() {
        let phone = sample.phone();
        let (mut then, mut now) = (sample.shown(), shown_by(&phone));
        // What was refused left its record since, and what waited beside it waits to be sent.
        let refused = then["rejected"][0]["id"].as_str().unwrap().to_owned();
        let waiting = |shown: &Value| shown["pending"].as_i64().unwrap() + shown["waiting"].as_i64().unwrap();
        assert_eq!(waiting(&then), waiting(&now), "{}", sample.name);
        assert_eq!(now["records"][&refused]["energy"], then["records"][&refused]["energy"], "{}", sample.name);
        for shown in [&mut then, &mut now] {
            shown["records"] = without(shown["records"].take(), &refused);
            (shown["pending"], shown["waiting"]) = (Value::Null, Value::Null);
        }
        assert_still_shown(&then, &now, &sample.name);
        let again = phone.done(&["import", folder().join("ride.fit").to_str().unwrap()]);
        assert!(again.contains("known"), "{}: {again}", sample.name);
        let id = a_mood(&sample.shown());
        phone.done(&["edit", &id, "--json", r#"{"energy": 5}"#]);
        assert_eq!(phone.json(&["show", &id, "--json"])["records"][0]["record"]["energy"], 5, "{}", sample.name);
    }
}

/// The phone still has the token of then; the tablet is new, and logs in with the password of then.
#[test]
fn a_database_of_every_earlier_version_serves_the_devices_of_then_and_new_ones() {
    for sample in Sample::all() {
        let database = sample.database();
        let server = ServerProcess::on(&database.url);
        let phone = sample.phone();
        move_server(&phone, server.url());
        phone.done(&["log", "mood", "--valence", "2", "--note", "after the upgrade"]);
        phone.done(&["sync"]);
        let (then, now) = (sample.shown(), shown_by(&phone));
        let refused = then["rejected"][0]["id"].as_str().unwrap();
        let kept = |shown: &Value| without(shown["records"].clone(), refused);
        assert_still_shown(&kept(&then), &kept(&now), &sample.name);
        assert_still_shown(&then["rejected"], &now["rejected"], &sample.name);
        assert_eq!(now["pending"], 0, "{}", sample.name);

        let tablet = Device::new("new tablet");
        tablet.log_in(server.url(), EMAIL);
        tablet.done(&["sync"]);
        assert_eq!(now["records"], shown_by(&tablet)["records"], "{}", sample.name);
        let mut look = Look::at(&database);
        look.wait_for_merge();
        assert_eq!(look.records().len(), now["records"].as_object().unwrap().len(), "{}", sample.name);
        look.assert_gap_free();
        look.assert_accounts_are_counted();
        look.assert_nothing_doubled();
    }
}

fn without(mut records: Value, id: &str) -> Value {
    records.as_object_mut().unwrap().remove(id);
    records
}

/// A mood of which nothing was refused.
fn a_mood(shown: &Value) -> String {
    let refused = &shown["rejected"][0]["id"];
    let mut records = shown["records"].as_object().unwrap().iter();
    records.find(|(id, record)| record.get("valence").is_some() && *id != refused).unwrap().0.clone()
}

/// Ann's phone: a record of each kind, an imported file, edits that met her tablet's, a refused edit with one that waits
/// beside it, and a mood that is not sent yet.
fn play(database: &Database, phone: &Device) {
    let server = ServerProcess::on(&database.url);
    phone.done(&["log", "profile", "--name", "Ann", "--units", "imperial", "--zone", "Europe/Rome"]);
    phone.done(&["import", folder().join("ride.fit").to_str().unwrap()]);
    phone.done(&["log", "workout", "--title", "Push day", "--set", "Bench press 2x8x80kg@8", "--set", "Pull-up 12"]);
    phone.done(&["log", "meal", "--kind", "lunch", "--item", "Oats 80g 300kcal 10p 54c 6f", "--item", "Milk 200g"]);
    phone.done(&["log", "measurement", "--weight", "177lb", "--blood-pressure", "120/80"]);
    phone.sign_up(server.url(), EMAIL);
    phone.done(&["log", "mood", "--valence", "1", "--tag", "sun", "--note", "Slept well. Ünïcödé 🏃"]);
    phone.done(&["log", "mood", "--valence", "-1", "--note", "too full to grow"]);
    phone.done(&["sync"]);

    let tablet = Device::new("tablet");
    tablet.log_in(server.url(), EMAIL);
    tablet.done(&["sync"]);
    let listed = phone.json(&["list", "workouts", "--json"]);
    let workout = listed["records"][0]["id"].as_str().unwrap();
    phone.done(&["edit", workout, "--json", r#"{"title": "Push day, heavy", "note": "from the phone"}"#]);
    tablet.done(&["edit", workout, "--json", r#"{"title": "Push day, long", "session_rpe": 8}"#]);
    tablet.done(&["sync"]);
    phone.done(&["sync"]);

    let mut look = Look::at(database);
    look.wait_for_merge();
    let moods = phone.json(&["list", "moods", "--json"]);
    let full = moods["records"][0]["id"].as_str().unwrap();
    look.execute("UPDATE documents SET payload_bytes = payload_bytes + 1048000");
    phone.done(&["edit", full, "--json", &json!({ "note": "a long story ".repeat(60) }).to_string()]);
    phone.done(&["sync"]);
    phone.done(&["edit", full, "--json", r#"{"energy": 2}"#]);
    look.execute("UPDATE documents SET payload_bytes = payload_bytes - 1048000");
    erase_a_mood(phone);
    phone.done(&["log", "mood", "--valence", "2", "--note", "not sent yet"]);
    look.wait_for_merge();
    look.execute("UPDATE devices SET token_expires_at = '2200-01-01'");
    look.execute("UPDATE sign_ins SET expires_at = 7258118400000");
}

fn erase_a_mood(phone: &Device) {
    phone.done(&["log", "mood", "--valence", "0", "--note", "nobody's business"]);
    phone.done(&["sync"]);
    let moods = phone.json(&["list", "moods", "--json"]);
    let gone =
        moods["records"].as_array().unwrap().iter().find(|row| row["record"]["note"] == "nobody's business").unwrap();
    phone.done(&["erase", gone["id"].as_str().unwrap(), "--yes"]);
    phone.done(&["sync"]);
}

fn save_home(phone: &Device, to: &Path) {
    let home = rusqlite::Connection::open(phone.home().join("fitme.db")).unwrap();
    home.execute("VACUUM INTO ?1", [to.to_str().unwrap()]).unwrap();
}

/// Statements that any client can run: pg_dump's lines for psql alone are left out.
fn dump(database: &Database) -> String {
    let arguments = ["--inserts", "--load-via-partition-root", "--no-owner", "--no-comments"];
    let output = std::process::Command::new("pg_dump").args(arguments).arg(&database.owner).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let is_statement = |line: &&str| !line.is_empty() && !line.starts_with(['-', '\\']);
    text.lines().filter(is_statement).flat_map(|line| [line, "\n"]).collect()
}

#[test]
#[ignore = "makes a new sample; see testing/samples/README.md"]
fn make_a_sample() {
    let name = std::env::var("FITME_SAMPLE").expect("FITME_SAMPLE names the new sample, such as v2");
    let path = folder().join(name);
    fs::create_dir(&path).expect("a sample that is there is never made again");
    let (database, phone) = (Postgres::shared().database(), Device::new("phone"));
    play(&database, &phone);
    fs::write(path.join("phone.json"), serde_json::to_string_pretty(&shown_by(&phone)).unwrap() + "\n").unwrap();
    save_home(&phone, &path.join("phone.db"));
    fs::write(path.join("server.sql"), dump(&database)).unwrap();
}
