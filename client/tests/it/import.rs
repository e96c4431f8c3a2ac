//! Alice imports what her watch recorded. The files are real; what comes of one follows from its bytes alone.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::cli_local::is_valid;
use crate::device::Device;
use crate::fit::{FIXTURES, build};

fn file(name: &str) -> String {
    FIXTURES.join(name).to_str().unwrap().to_owned()
}

fn all_files() -> Vec<String> {
    let mut files: Vec<_> = std::fs::read_dir(&*FIXTURES).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|file| file.to_str().unwrap().to_owned()).collect()
}

fn import(files: &[String]) -> Vec<String> {
    [&["import".to_owned()], files].concat()
}

#[test]
fn of_many_files_the_good_ones_are_imported_and_each_gets_a_line() {
    let alice = Device::new();
    let files = all_files();
    let said = alice.run(&import(&files));
    assert_eq!((said.code, said.err.as_str()), (1, "fitme: 9 of 13 files were not imported\n"));
    let expected = "\
Activity.fit                      added 1 workout (running, 6 m, 0:14)
DeveloperData.fit                 refused: an activity file without a session
MonitoringFile.fit                refused: a monitoring file, no activity
Settings.fit                      refused: a settings file, no activity
WeightScaleMultiUser.fit          refused: a weight scale file, no activity
WeightScaleSingleUser.fit         refused: a weight scale file, no activity
WorkoutCustomTargetValues.fit     refused: a workout definition, no activity
WorkoutIndividualSteps.fit        refused: a workout definition, no activity
WorkoutRepeatGreaterThanStep.fit  refused: a workout definition, no activity
WorkoutRepeatSteps.fit            refused: a workout definition, no activity
garmin-fenix-5-bike.fit           added 1 workout (cycling, 460 m, 1:00)
hrv-activity.fit                  added 1 workout (cycling, 6.87 km, 17:51)
sample_mulitple_header.fit        added 5 workouts (swimming, transition, …)
";
    assert_eq!(said.out, expected);
    let workouts = alice.records("workouts");
    assert_eq!(workouts.len(), 8);

    let again = alice.run(&import(&files));
    assert_eq!(again.out.matches("known, nothing new").count(), 4, "{}", again.out);
    assert_eq!(alice.records("workouts"), workouts);
}

#[test]
fn an_imported_workout_says_where_it_comes_from() {
    let alice = Device::new();
    let path = file("garmin-fenix-5-bike.fit");
    assert_eq!(alice.does(&["import", &path]), "garmin-fenix-5-bike.fit  added 1 workout (cycling, 460 m, 1:00)\n");
    let ride = alice.only("workouts");
    let hash = blake3::hash(&std::fs::read(path).unwrap()).to_hex().to_string();
    let source = json!({"file_hash": hash, "session": 0, "importer_version": 2, "device": "fit:1:2697"});
    assert_eq!(ride["record"]["source"], source);
    assert_eq!(ride["flags"], json!([]));
    is_valid("records", &alice.does(&["list", "workouts", "--json"]));
    let shown = alice.does(&["show", ride["id"].as_str().unwrap(), "--history"]);
    for words in ["recorded by garmin fenix5", "459.52 m", "101 bpm", "importer 1", "importer 2", "LAP"] {
        assert!(shown.contains(words), "{words} is not in\n{shown}");
    }
}

/// The phone is in Rome and the tablet in Tokyo. Neither file nor workout knows that, but for the guess at a zone.
#[test]
fn two_devices_that_never_met_import_the_same_workouts() {
    let (phone, tablet) = (Device::in_zone("Europe/Rome"), Device::in_zone("Asia/Tokyo"));
    let anywhere = phone.folder().join("anywhere.fit");
    std::fs::write(&anywhere, build::part(&[build::file_id(4), build::session(0, &[])])).unwrap();
    let files = [all_files(), vec![anywhere.to_str().unwrap().to_owned()]].concat();
    for device in [&phone, &tablet] {
        device.run(&import(&files));
    }
    let stripped = |device: &Device| -> Vec<Value> {
        let mut records = device.records("workouts");
        for record in &mut records {
            let fields = record["record"].as_object_mut().unwrap();
            if fields.get("zone_from") == Some(&json!("device")) {
                fields.remove("zone");
            }
        }
        records
    };
    assert_eq!(stripped(&phone), stripped(&tablet));
    let zones = |device: &Device| -> Vec<(Value, Value)> {
        device
            .records("workouts")
            .iter()
            .map(|record| (record["record"]["zone_from"].clone(), record["record"]["zone"].clone()))
            .collect()
    };
    assert!(zones(&phone).contains(&(json!("file"), json!("-07:00"))), "{:?}", zones(&phone));
    assert!(zones(&phone).contains(&(json!("device"), json!("Europe/Rome"))), "{:?}", zones(&phone));
    assert!(zones(&tablet).contains(&(json!("device"), json!("Asia/Tokyo"))), "{:?}", zones(&tablet));
}

#[test]
fn a_damaged_file_is_refused_whole_and_says_where() {
    let alice = Device::new();
    let mut bytes = std::fs::read(file("sample_mulitple_header.fit")).unwrap();
    let last = bytes.len() - 40;
    bytes[last] ^= 0xff;
    let damaged: PathBuf = alice.folder().join("triathlon.fit");
    std::fs::write(&damaged, bytes).unwrap();
    let said = alice.run(&["import", damaged.to_str().unwrap(), &file("Activity.fit")]);
    assert_eq!(said.code, 1);
    assert!(said.out.starts_with("triathlon.fit  refused: damaged at byte "), "{}", said.out);
    assert!(said.out.contains("Activity.fit   added 1 workout"), "{}", said.out);
    assert_eq!(alice.records("workouts").len(), 1, "nothing of the damaged file is there");
}

#[test]
fn what_is_no_file_of_a_device_is_refused_by_what_it_is() {
    let alice = Device::new();
    let text = alice.folder().join("notes.txt");
    std::fs::write(&text, "bench press, eight times eighty").unwrap();
    let said = alice.run(&["import", text.to_str().unwrap(), alice.folder().to_str().unwrap(), "nowhere.fit"]);
    assert_eq!(said.code, 1);
    let lines: Vec<_> = said.out.lines().collect();
    assert!(lines[0].ends_with("refused: not a FIT file"), "{}", said.out);
    assert!(lines[1].contains("refused: the file cannot be read"), "{}", said.out);
    assert!(
        lines[2].starts_with("nowhere.fit") && lines[2].contains("refused: the file cannot be read"),
        "{}",
        said.out
    );
}

/// More files than one page holds, all the same but for the first: the pages are written one after the other.
#[test]
fn the_same_file_a_hundred_times_is_one_workout() {
    let alice = Device::new();
    let original = file("Activity.fit");
    let copies: Vec<String> = (0..100)
        .map(|number| {
            let copy = alice.folder().join(format!("{number:03}.fit"));
            std::fs::copy(&original, &copy).unwrap();
            copy.to_str().unwrap().to_owned()
        })
        .collect();
    let said = alice.does(&import(&copies));
    assert_eq!(said.lines().filter(|line| line.contains("added 1 workout")).count(), 1);
    assert_eq!(said.lines().filter(|line| line.ends_with("known, nothing new")).count(), 99);
    assert!(said.starts_with("000.fit  added"), "{said}");
    assert_eq!(alice.records("workouts").len(), 1);
}

#[test]
fn an_edit_of_an_imported_workout_outlives_the_next_import() {
    let alice = Device::new();
    let path = file("garmin-fenix-5-bike.fit");
    alice.does(&["import", &path]);
    let ride = alice.only("workouts");
    let patch = r#"{"title": "To the lake", "laps": {"0": {"distance": "0.5 km"}}}"#;
    alice.does(&["edit", ride["id"].as_str().unwrap(), "--json", patch]);
    alice.does(&["import", &path]);
    let ride = alice.only("workouts");
    assert_eq!(ride["record"]["title"], "To the lake");
    assert_eq!(ride["record"]["laps"][0]["distance"], json!({"value": 0.5, "unit": "km", "si": 500}));
    assert_eq!(ride["conflicts"], json!([]));
}
