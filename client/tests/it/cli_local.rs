//! Alice uses `fitme` alone: no network, no account. What she logs is there, in order, as she wrote it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::device::{Device, said};

/// One record of each kind, with every field that its flags have.
const DAY: &[&[&str]] = &[
    &[
        "log",
        "workout",
        "--start",
        "2026-11-21 18:00",
        "--end",
        "2026-11-21 19:05",
        "--title",
        "Push day",
        "--rpe",
        "7.5",
        "--set",
        "Bench press 2x8x80kg@8",
        "--set",
        "Bench press 6x85kg drop",
        "--set",
        "Row 10x90lb",
        "--note",
        "Strong.",
    ],
    &[
        "log",
        "workout",
        "--start",
        "2026-11-20T07:00+09:00",
        "--sport",
        "running",
        "--distance",
        "10km",
        "--time",
        "52:30",
        "--energy",
        "610kcal",
        "--average-hr",
        "151",
        "--maximum-hr",
        "172",
    ],
    &[
        "log",
        "meal",
        "--kind",
        "lunch",
        "--at",
        "2026-11-21 12:30",
        "--note",
        "At home.",
        "--item",
        "Rolled oats 80g 300kcal 10.5p 54c 6f 8fb",
        "--item",
        "Milk 200g 128kcal",
    ],
    &[
        "log",
        "mood",
        "--at",
        "2026-11-21 21:30",
        "--valence",
        "-1",
        "--energy",
        "3",
        "--stress",
        "4",
        "--fatigue",
        "6",
        "--soreness",
        "5",
        "--tag",
        "rain",
        "--tag",
        "work",
        "--note",
        "Long day.",
    ],
    &[
        "log",
        "measurement",
        "--at",
        "2026-11-21 07:00",
        "--weight",
        "80.5kg",
        "--body-fat",
        "17.5",
        "--waist",
        "33in",
        "--resting-hr",
        "52",
        "--blood-pressure",
        "118/76",
        "--water",
        "0.5l",
    ],
    &[
        "log",
        "profile",
        "--name",
        "Alice",
        "--birth-date",
        "1990-05-17",
        "--sex-for-formulas",
        "female",
        "--height",
        "170cm",
        "--units",
        "metric",
        "--zone",
        "Europe/Rome",
        "--max-hr",
        "186",
        "--resting-hr",
        "52",
        "--diet",
        "vegetarian",
        "--allergy",
        "peanut",
        "--goal",
        "lose",
        "--kcal-per-day",
        "1900",
        "--protein",
        "120",
        "--carbohydrate",
        "180",
        "--fat",
        "60",
    ],
];

const COLLECTIONS: [&str; 5] = ["workouts", "meals", "moods", "measurements", "profile"];

fn alice() -> Device {
    let alice = Device::new();
    for command in DAY {
        alice.does(command);
    }
    alice
}

/// The last characters of a record's id, as lists show them.
pub fn short(record: &Value) -> &str {
    let id = record["id"].as_str().unwrap();
    &id[id.len() - 8..]
}

#[test]
fn alice_logs_her_day_and_finds_it_in_the_lists() {
    let alice = alice();
    let workouts = alice.does(&["list", "workouts"]);
    let lines: Vec<_> = workouts.lines().collect();
    assert_eq!(lines.len(), 3, "{workouts}");
    assert!(
        lines[1].ends_with("Sat 21 Nov 18:00  Push day  4 sets, 2,198 kg") || lines[1].contains("21 Nov 2026"),
        "{workouts}"
    );
    assert!(lines[2].contains("running   10 km, 52:30"), "{workouts}");
    let measurements = alice.does(&["list", "measurements"]);
    for value in ["80.5 kg", "17.5 %", "33 in", "52 bpm", "118/76 mmHg", "0.5 l"] {
        assert!(measurements.contains(value), "{value} is not in\n{measurements}");
    }
    assert!(alice.does(&["list", "meals"]).contains("Rolled oats, Milk"));
    assert!(alice.does(&["list", "moods"]).contains("bad"));
}

/// Sentences went to the edge and beyond, the title of a workout, what a service sees and why something was refused among them.
#[test]
fn every_line_fits_a_terminal_of_80_columns() {
    let alice = alice();
    let long = "word ".repeat(40);
    let on_terminal = |arguments: &[&str]| {
        let said = said(alice.command(arguments).env("COLUMNS", "80"));
        said.out + &said.err
    };
    let mut shown = vec![on_terminal(&["log", "workout", "--title", &long, "--note", &long, "--set", "Row 5x60kg"])];
    shown.extend(
        [&["allow", "insights"][..], &["grants"], &["status"], &["show", "deadbeef"], &["rejected"]].map(on_terminal),
    );
    shown.extend(COLLECTIONS.map(|collection| on_terminal(&["list", collection])));
    for record in COLLECTIONS.iter().flat_map(|collection| alice.records(collection)) {
        shown.push(on_terminal(&["show", short(&record), "--history"]));
    }
    for line in shown.iter().flat_map(|text| text.lines()) {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

/// The names of feeds were broken in the middle: `insights/tra` on one line, `ining +` on the next.
#[test]
fn what_is_shared_is_listed_by_whole_words() {
    let alice = Device::new();
    assert!(alice.does(&["allow", "notifications"]).lines().all(|line| !line.contains('+')), "nothing to write");
    assert!(alice.does(&["allow", "insights"]).contains("insights/training\u{a0}+"));
    let grants = said(alice.command(&["grants"]).env("COLUMNS", "80")).out;
    for whole in ["measurements,", "insights/training\u{a0}+", "insights/nutrition\u{a0}+", "+ also to write"] {
        assert!(grants.contains(whole), "{whole} is not in\n{grants}");
    }
    assert!(alice.does(&["revoke", "insights"]).contains("what insights saw"));
}

/// The loads of a workout are never converted on the way in and out: 90 lb would come back as 90.00000000000001 lb.
#[test]
fn ninety_pounds_stay_ninety_pounds() {
    let alice = Device::new();
    alice.does(&["log", "workout", "--set", "Squat 5x90lb"]);
    let workout = alice.only("workouts");
    let load = &workout["record"]["exercises"][0]["sets"][0]["load"];
    assert_eq!(*load, json!({"value": 90, "unit": "lb", "si": 40.8233133}));
    assert!(alice.does(&["show", short(&workout)]).contains("5 × 90 lb"));
}

#[test]
fn a_time_is_shown_where_it_happened() {
    let alice = alice();
    let workouts = alice.records("workouts");
    let tokyo = &workouts[1];
    assert_eq!(tokyo["record"]["zone"], "+09:00");
    let shown = alice.does(&["show", short(tokyo)]);
    assert!(shown.contains("Fri 20 Nov 2026, 07:00 (+09:00)"), "{shown}");
    let listed = alice.does(&["list", "workouts"]);
    assert!(listed.contains("20 Nov") && listed.contains("07:00"), "{listed}");
}

#[test]
fn a_record_is_named_by_any_end_or_start_of_its_id() {
    let alice = alice();
    let meal = alice.only("meals");
    let id = meal["id"].as_str().unwrap();
    for name in [id, &id[id.len() - 8..], &id[id.len() - 8..id.len() - 4], &id[id.len() - 4..], &id.to_uppercase()] {
        assert!(alice.does(&["show", name]).contains(id), "{name}");
    }
    assert!(alice.does(&["show", "profile"]).contains("Alice"));
    // All were made within the same seconds, and such ids begin alike.
    let several = alice.is_refused(&["show", &id[..8]]);
    assert!(several.contains("fits 5 records") && several.contains("write more of the id"), "{several}");
}

#[test]
fn trash_can_be_undone() {
    let alice = alice();
    let mood = alice.only("moods");
    let id = short(&mood);
    alice.does(&["trash", id]);
    assert!(alice.records("moods").is_empty());
    assert!(alice.does(&["list", "moods", "--trashed"]).contains(id));
    assert!(alice.does(&["show", id]).contains("in the trash"));
    alice.does(&["restore", id]);
    assert_eq!(alice.only("moods")["record"], mood["record"]);
    assert!(alice.does(&["restore", id]).starts_with("nothing to change"));
    let history = alice.does(&["show", id, "--history"]);
    let told: Vec<_> =
        history.lines().filter_map(|line| line.split_once("this device  ")).map(|(_, what)| what).collect();
    assert_eq!(told[1..], ["moved to the trash", "taken out of the trash"], "{history}");
}

#[test]
fn the_profile_shows_its_zone() {
    assert!(
        alice()
            .does(&["show", "profile"])
            .lines()
            .any(|line| line.starts_with("zone ") && line.ends_with("Europe/Rome"))
    );
}

#[test]
fn an_earlier_state_comes_back_by_the_start_of_its_name() {
    let alice = alice();
    let before = &alice.records("workouts")[0];
    let id = short(before);
    let shown: Value = serde_json::from_str(&alice.does(&["show", id, "--history", "--json"])).unwrap();
    let state = &shown["records"][0]["history"][0]["state"].as_str().unwrap()[..8];
    alice.does(&["edit", id, "--json", r#"{"title": "Pull day", "note": null, "exercises": null}"#]);
    let edited = &alice.records("workouts")[0];
    assert_eq!((&edited["record"]["title"], &edited["record"]["exercises"]), (&json!("Pull day"), &Value::Null));
    assert!(alice.does(&["show", id, "--history"]).contains(state));
    alice.does(&["restore", id, "--to", state]);
    assert_eq!(alice.records("workouts")[0]["record"], before["record"]);
}

#[test]
fn json_comes_from_the_command_line_a_file_or_standard_input() {
    let alice = Device::new();
    let file = alice.folder().join("mood.json");
    std::fs::write(&file, r#"{"valence": 2, "at": "2026-11-21 21:30", "zone": "Asia/Tokyo"}"#).unwrap();
    alice.does(&["log", "mood", "--json", file.to_str().unwrap(), "--energy", "4"]);
    let mood = alice.only("moods");
    // The time was written by somebody in Rome; the zone was said.
    assert_eq!(mood["record"], json!({"at": 1795293000000_i64, "zone": "Asia/Tokyo", "valence": 2, "energy": 4}));
    let patch = std::fs::File::open(&file).unwrap();
    std::fs::write(&file, r#"{"valence": -2}"#).unwrap();
    let said = said(alice.command(&["edit", short(&mood), "--json", "-"]).stdin(patch));
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(alice.only("moods")["record"]["valence"], -2);
    assert!(alice.does(&["edit", short(&mood), "--json", r#"{"valence": -2}"#]).starts_with("nothing to change"));
}

#[test]
fn lists_take_a_part_of_the_time() {
    let alice = Device::new();
    for day in ["2026-03-01", "2026-03-02", "2026-03-03"] {
        alice.does(&["log", "measurement", "--weight", "80kg", "--at", &format!("{day} 23:30")]);
    }
    let days = |arguments: &[&str]| {
        let listed = alice.does(&[&["list", "measurements", "--json"], arguments].concat());
        serde_json::from_str::<Value>(&listed).unwrap()["records"].as_array().unwrap().len()
    };
    assert_eq!(days(&["--since", "2026-03-02"]), 2);
    assert_eq!(days(&["--until", "2026-03-02"]), 2, "a day as the end is part of the range");
    assert_eq!(days(&["--until", "2026-03-02 23:30"]), 1, "a time as the end is not");
    assert_eq!(days(&["--since", "2026-03-02", "--until", "2026-03-02"]), 1);
    assert_eq!(days(&["--limit", "1"]), 1);
    assert!(alice.does(&["list", "measurements", "--limit", "2"]).contains("the latest 2"));
    assert_eq!(alice.does(&["list", "measurements", "--since", "2026-04-01"]), "no measurements here from that time\n");
}

#[test]
fn what_is_printed_as_json_keeps_to_its_schema() {
    let alice = alice();
    let first = &alice.records("workouts")[0];
    alice.does(&["edit", short(first), "--json", r#"{"laps": null, "session_rpe": 8}"#]);
    for collection in COLLECTIONS {
        is_valid("records", &alice.does(&["list", collection, "--json"]));
    }
    is_valid("records", &alice.does(&["list", "moods", "--trashed", "--json"]));
    is_valid("records", &alice.does(&["show", short(first), "--history", "--json"]));
    is_valid("records", &alice.does(&["show", "profile", "--json"]));
    is_valid("rejected", &alice.does(&["rejected", "--json"]));
    is_valid("status", &alice.does(&["status", "--json"]));
}

/// Panics with every difference between `printed` and docs/schema.
pub fn is_valid(schema: &str, printed: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/schema/{schema}.schema.json"));
    let mut schemas = boon::Schemas::new();
    let index = boon::Compiler::new().compile(file.to_str().unwrap(), &mut schemas).unwrap();
    let printed: Value = serde_json::from_str(printed).unwrap();
    if let Err(differences) = schemas.validate(&printed, index) {
        panic!("not after {schema}.schema.json: {differences:#}\n{printed:#}");
    }
}

#[test]
fn colours_are_for_terminals_and_those_who_ask_for_them() {
    let alice = alice();
    let has_colours = |variables: &[(&str, &str)]| {
        let listed = said(alice.command(&["list", "workouts"]).envs(variables.iter().copied()));
        listed.out.contains('\u{1b}')
    };
    assert!(!has_colours(&[]));
    assert!(has_colours(&[("CLICOLOR_FORCE", "1")]));
    assert!(!has_colours(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let alice = Device::new();
    let note = "word ".repeat(12_000);
    // More than a pipe holds, so that the program writes after the reader has gone.
    for _ in 0..4 {
        alice.does(&["log", "mood", "--valence", "0", "--note", &note]);
    }
    let mut list =
        alice.command(&["list", "moods", "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(list.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let ended = list.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn status_says_what_waits_and_what_is_here() {
    let alice = alice();
    let status = alice.does(&["status"]);
    assert!(status.contains("until `fitme signup` or `login`") && status.contains("workouts 2"), "{status}");
    let status: Value = serde_json::from_str(&alice.does(&["status", "--json"])).unwrap();
    // The profile's document was made, then edited.
    assert_eq!((&status["status"]["pending"], &status["status"]["account"]), (&json!(7), &Value::Null));
    assert_eq!(alice.does(&["rejected"]), "the server refused nothing\n");
    assert_eq!(alice.does(&["clock"]), "not compared with a server yet: `fitme sync` does\n");
    assert_eq!(alice.does(&["clock", "fix"]), "no record has a time of a wrong clock\n");
}

#[cfg(unix)]
mod private {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn open_to_all(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn nobody_else_can_look_into_a_home() {
        let alice = alice();
        assert_eq!(mode(&alice.home()), 0o700);
        for file in std::fs::read_dir(alice.home()).unwrap() {
            assert_eq!(mode(&file.unwrap().path()), 0o600);
        }
    }

    #[test]
    fn a_home_that_was_opened_to_others_is_closed_again() {
        let alice = alice();
        open_to_all(&alice.home(), 0o755);
        open_to_all(&alice.home().join("fitme.db"), 0o644);
        alice.does(&["status"]);
        assert_eq!((mode(&alice.home()), mode(&alice.home().join("fitme.db"))), (0o700, 0o600));
    }

    #[test]
    fn a_folder_of_other_things_is_no_home_and_keeps_its_mode() {
        let alice = Device::new();
        open_to_all(alice.folder(), 0o755);
        std::fs::write(alice.folder().join("letter.txt"), "Dear Bob").unwrap();
        let refused = alice.is_refused(&["--home", alice.folder().to_str().unwrap(), "status"]);
        assert!(refused.contains("holds other files"), "{refused}");
        assert_eq!(mode(alice.folder()), 0o755);
    }

    #[test]
    fn the_home_is_where_the_system_keeps_data_unless_told() {
        let alice = Device::new();
        let data = alice.folder().join("data");
        let mut command = alice.command(&["status"]);
        command.env_remove("FITME_HOME").env("HOME", alice.folder()).env("XDG_DATA_HOME", &data);
        let status = said(&mut command);
        assert!(status.out.contains("fitme"), "{status:?}");
        if cfg!(target_os = "linux") {
            assert_eq!(mode(&data.join("fitme/fitme.db")), 0o600);
        }
    }
}
