//! What is read of sound files.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use fitme_client::fit::{self, FitError, IMPORTER_VERSION, Lap, Session, device_label, read, step_fields};
use fitparser::Value;

use super::build::{self, Field, NEW_YEAR, NEW_YEAR_MS};
use super::{FIXTURES, fixture, shared};

/// One line of what a file holds: sport, start in seconds of 1970, zone in minutes, metres, seconds, kcal, heart
/// rates, laps.
fn line(session: &Session) -> String {
    let Session { index, sport, start_ms, .. } = session;
    let zone = session.utc_offset_s.map(|offset| offset / 60);
    let (distance, time, energy) = (session.distance_m, session.moving_time_s, session.energy_kcal);
    let (average, maximum) = (session.average_heart_rate_bpm, session.maximum_heart_rate_bpm);
    let show = |value: Option<f64>| value.map_or("-".to_owned(), |value| value.to_string());
    let rate = |value: Option<u16>| value.map_or("-".to_owned(), |value| value.to_string());
    format!(
        "{index} {sport} @{} {} {} m {} s {} kcal {}/{} bpm {} laps",
        start_ms / 1000,
        zone.map_or("no zone".to_owned(), |zone| format!("{zone:+} min")),
        show(distance),
        show(time),
        show(energy),
        rate(average),
        rate(maximum),
        session.laps.len()
    )
}

fn outcome(bytes: &[u8]) -> Vec<String> {
    match read(bytes) {
        Ok(file) => file.sessions.iter().map(line).collect(),
        Err(error) => vec![error.to_string()],
    }
}

fn refused(kind: &str) -> Vec<String> {
    vec![format!("this is {kind}, so there is no workout in it to import")]
}

fn damaged(offset: usize, reason: &str) -> Vec<String> {
    let advice = "nothing of it was imported, copy it from the device again";
    vec![format!("the file is damaged at byte {offset}: {reason}; {advice}")]
}

fn holds(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

/// Compares every FIT file of a folder with what is expected of it; none may be forgotten.
fn assert_outcomes(folder: &Path, expected: impl IntoIterator<Item = (&'static str, Vec<String>)>) {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.extension().is_some_and(|extension| extension == "fit"));
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let found: BTreeMap<_, _> = files.map(|path| (name(&path), outcome(&std::fs::read(&path).unwrap()))).collect();
    let expected: BTreeMap<_, _> = expected.into_iter().map(|(name, outcome)| (name.to_owned(), outcome)).collect();
    assert_eq!(found, expected);
}

const SDK_RUN: &str = "0 running @1334006546 -240 min 5.73 m 13.749 s 0 kcal -/- bpm 1 laps";

#[test]
fn every_file_of_the_package_is_imported_or_refused_by_name() {
    assert_outcomes(
        &FIXTURES,
        [
            ("Activity.fit", holds(&[SDK_RUN])),
            ("DeveloperData.fit", refused("an activity file without a session")),
            ("MonitoringFile.fit", refused("a monitoring file")),
            ("Settings.fit", refused("a settings file")),
            ("WeightScaleMultiUser.fit", refused("a weight scale file")),
            ("WeightScaleSingleUser.fit", refused("a weight scale file")),
            ("WorkoutCustomTargetValues.fit", refused("a workout definition")),
            ("WorkoutIndividualSteps.fit", refused("a workout definition")),
            ("WorkoutRepeatGreaterThanStep.fit", refused("a workout definition")),
            ("WorkoutRepeatSteps.fit", refused("a workout definition")),
            (
                "garmin-fenix-5-bike.fit",
                holds(&["0 cycling @1497283762 -420 min 459.52 m 60.363 s 7 kcal 101/114 bpm 1 laps"]),
            ),
            (
                "hrv-activity.fit",
                holds(&["0 cycling @1644252472 +60 min 6873.6 m 1071.188 s 216 kcal 156/185 bpm 15 laps"]),
            ),
            (
                "sample_mulitple_header.fit",
                holds(&[
                    "0 swimming @1527406381 +120 min 1644.71 m 1987.521 s 245 kcal 165/175 bpm 1 laps",
                    "1 transition @1527408368 +120 min 141.7 m 170.269 s 6 kcal 176/184 bpm 1 laps",
                    "2 cycling @1527408538 +120 min 40909.42 m 4422.14 s 1001 kcal 172/183 bpm 1 laps",
                    "3 transition @1527412960 +120 min 31.93 m 60.724 s 1 kcal 164/169 bpm 1 laps",
                    "4 running @1527413021 +120 min 9805.92 m 2850.694 s 632 kcal 176/187 bpm 1 laps",
                ]),
            ),
        ],
    );
}

#[test]
fn every_shared_file_is_imported_or_refused_with_offset_and_reason() {
    let Some(folder) = shared() else { return };
    assert_outcomes(
        &folder,
        [
            ("Activity.fit", holds(&[SDK_RUN])),
            ("WeightScaleSingleUser.fit", refused("a weight scale file")),
            ("activity-filecrc.fit", damaged(769, "the checksum of its data is 0xa1d5, and 0xb1d5 is written here")),
            (
                "activity-settings-corruptheader.fit",
                damaged(771, "the 83 bytes from here on do not begin with a FIT header"),
            ),
            ("activity-unexpected-eof.fit", damaged(768, "it ends here, and its header promises 771 bytes")),
            (
                "garmin-edge-820-bike.fit",
                holds(&["0 cycling @1497283815 -420 min 457.12 m 64.524 s 8 kcal 116/121 bpm 1 laps"]),
            ),
            (
                "garmin-fenix-5-walk.fit",
                holds(&["0 walking @1497191571 -420 min 67.85 m 45.379 s 4 kcal 75/82 bpm 1 laps"]),
            ),
            (
                "sample-activity-indoor-trainer.fit",
                holds(&["0 cycling @1320238459 no zone 0 m 2261.85 s 379 kcal 148/176 bpm 5 laps"]),
            ),
        ],
    );
}

/// The records that others read of two rides: their first time, last distance and highest heart rate are those
/// of the session.
#[test]
fn the_sessions_agree_with_the_records_that_others_read() {
    let Some(folder) = shared() else { return };
    let rides = [
        ("garmin-edge-820-bike", "Mon Jun 12 09:10:15 PDT 2017", 9 * 3600 + 10 * 60 + 15),
        ("garmin-fenix-5-walk", "Sun Jun 11 07:32:51 PDT 2017", 7 * 3600 + 32 * 60 + 51),
    ];
    for (name, first_time, seconds_of_day) in rides {
        let session = &read(&std::fs::read(folder.join(format!("{name}.fit"))).unwrap()).unwrap().sessions[0];
        let table = std::fs::read_to_string(folder.join(format!("{name}-records.csv"))).unwrap();
        let rows: Vec<Vec<&str>> = table.lines().skip(1).map(|row| row.split(',').collect()).collect();
        assert_eq!(rows[0][0], first_time);
        let local_ms = session.start_ms + i64::from(session.utc_offset_s.unwrap()) * 1000;
        assert_eq!(local_ms / 1000 % 86_400, seconds_of_day, "{name} started when its first record was made");
        assert_eq!(session.distance_m, rows.last().unwrap()[4].parse().ok(), "{name} ended where its last record is");
        let highest = rows.iter().map(|row| row[1].parse().unwrap()).max();
        assert_eq!(session.maximum_heart_rate_bpm, highest, "{name}");
    }
}

/// What the decoder of the library makes of the same messages, with its own table of fields and scales.
#[test]
fn the_fields_have_the_numbers_and_scales_of_the_profile() {
    for name in ["Activity.fit", "garmin-fenix-5-bike.fit", "hrv-activity.fit", "sample_mulitple_header.fit"] {
        let bytes = fixture(name);
        let sessions = read(&bytes).unwrap().sessions;
        let decoded = fitparser::from_bytes(&bytes).unwrap();
        let of_kind = |kind: &'static str| decoded.iter().filter(move |record| record.kind().to_string() == kind);
        assert_eq!(of_kind("session").count(), sessions.len(), "{name}");
        for (session, record) in sessions.iter().zip(of_kind("session")) {
            assert_eq!(fields_of_session(session), fields_of_record(record), "{name}");
        }
        let laps: Vec<&Lap> = sessions.iter().flat_map(|session| &session.laps).collect();
        assert_eq!(of_kind("lap").count(), laps.len(), "{name}");
        for (lap, record) in laps.into_iter().zip(of_kind("lap")) {
            assert_eq!(fields_of_lap(lap), fields_of_record(record)[..6], "{name}");
        }
    }
}

type Fields = Vec<Option<f64>>;

fn fields_of_lap(lap: &Lap) -> Fields {
    let (average, maximum) = (lap.average_heart_rate_bpm, lap.maximum_heart_rate_bpm);
    let rates = [average, maximum].map(|rate| rate.map(f64::from));
    let start = lap.start_ms.map(|start| (start / 1000) as f64);
    vec![start, lap.distance_m, lap.moving_time_s, lap.energy_kcal, rates[0], rates[1]]
}

fn fields_of_session(session: &Session) -> Fields {
    let (average, maximum) = (session.average_heart_rate_bpm, session.maximum_heart_rate_bpm);
    let rates = [average, maximum].map(|rate| rate.map(f64::from));
    let start = Some((session.start_ms / 1000) as f64);
    let (distance, time, elapsed) = (session.distance_m, session.moving_time_s, session.elapsed_time_s);
    vec![start, distance, time, session.energy_kcal, rates[0], rates[1], elapsed]
}

fn fields_of_record(record: &fitparser::FitDataRecord) -> Fields {
    let names = [
        "start_time",
        "total_distance",
        "total_timer_time",
        "total_calories",
        "avg_heart_rate",
        "max_heart_rate",
        "total_elapsed_time",
    ];
    let value = |name: &&str| record.fields().iter().find(|field| field.name() == *name).map(|f| f.value().clone());
    let number = |value: Value| -> f64 { value.try_into().unwrap() };
    names.iter().map(|name| value(name).map(number)).collect()
}

#[test]
fn the_laps_of_the_interval_ride_follow_each_other() {
    let session = &read(&fixture("hrv-activity.fit")).unwrap().sessions[0];
    assert_eq!(session.sub_sport.as_deref(), Some("indoor_cycling"));
    assert_eq!(session.elapsed_time_s, Some(1072.488));
    assert_eq!(session.end_ms, Some(session.start_ms + 1_072_488));
    let indices: Vec<u32> = session.laps.iter().map(|lap| lap.index).collect();
    assert_eq!(indices, (0..15).collect::<Vec<_>>());
    assert_eq!(session.laps[0].start_ms, Some(session.start_ms));
    assert!(session.laps.is_sorted_by_key(|lap| lap.start_ms));
    let metres: f64 = session.laps.iter().filter_map(|lap| lap.distance_m).sum();
    assert!((metres - session.distance_m.unwrap()).abs() < 0.5, "the laps add up to the session: {metres}");
    assert_eq!(session.laps[3].average_heart_rate_bpm, Some(163));
    assert_eq!(session.laps[3].moving_time_s, Some(89.96));
}

/// A frozen test vector. If this fails, devices of two versions would write two histories of one import: put
/// the code back, and bring what is new as a new importer step.
#[test]
fn the_bike_ride_becomes_these_fields_for_ever() {
    let session = &read(&fixture("garmin-fenix-5-bike.fit")).unwrap().sessions[0];
    let fields = |step| step_fields(session, step).into_iter().map(|(key, value)| format!("{key} = {value:?}"));
    let expected = [
        r#"start = Time(1497283762000)"#,
        r#"end = Time(1497283822363)"#,
        r#"zone = Text("-07:00")"#,
        r#"endurance/sport = Text("cycling")"#,
        r#"endurance/distance = Quantity { value: 459.52, unit: "m" }"#,
        r#"endurance/moving_time = Quantity { value: 60.363, unit: "s" }"#,
        r#"source/session = Int(0)"#,
        r#"source/device = Text("fit:1:2697")"#,
        r#"laps/0/start = Time(1497283762000)"#,
        r#"laps/0/distance = Quantity { value: 459.52, unit: "m" }"#,
        r#"laps/0/moving_time = Quantity { value: 60.363, unit: "s" }"#,
        r#"endurance/energy = Quantity { value: 7.0, unit: "kcal" }"#,
        r#"endurance/average_heart_rate = Int(101)"#,
        r#"endurance/maximum_heart_rate = Int(114)"#,
        r#"laps/0/energy = Quantity { value: 7.0, unit: "kcal" }"#,
        r#"laps/0/average_heart_rate = Int(101)"#,
        r#"laps/0/maximum_heart_rate = Int(114)"#,
    ];
    assert_eq!(fields(1).chain(fields(2)).collect::<Vec<_>>(), expected);
    assert_eq!(IMPORTER_VERSION, 2);
    assert!(step_fields(session, 0).is_empty() && step_fields(session, 3).is_empty());
}

#[test]
fn a_device_on_the_other_side_of_the_world_reads_the_same() {
    let frozen = "fit::outcomes::the_bike_ride_becomes_these_fields_for_ever";
    for zone in ["Pacific/Kiritimati", "America/St_Johns", "UTC"] {
        let mut test = Command::new(std::env::current_exe().unwrap());
        let output = test.args([frozen, "--exact"]).env("TZ", zone).output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && printed.contains("1 passed"), "in {zone}: {printed}");
    }
}

#[test]
fn the_device_is_kept_as_numbers_and_shown_as_a_name() {
    let device = |name| read(&fixture(name)).unwrap().sessions[0].device.clone().unwrap();
    assert_eq!(device("hrv-activity.fit"), "fit:1:3121");
    assert_eq!(device_label("fit:1:3121"), "garmin edge 530");
    assert_eq!(device_label("fit:260:0"), "zwift 0");
    assert_eq!(device_label("fit:1"), "garmin");
    assert_eq!(device_label("fit:"), "fit:");
    assert_eq!(device_label("My Watch"), "My Watch");
}

#[test]
fn sessions_of_chained_parts_are_counted_through() {
    let morning = build::part(&[build::file_id(4), build::session(0, &[]), build::session(900, &[])]);
    let settings = build::part(&[build::file_id(2)]);
    let evening = build::part(&[build::file_id(4), build::session(40_000, &[])]);
    let file = read(&[morning, settings.clone(), evening.clone()].concat()).unwrap();
    let indices: Vec<u32> = file.sessions.iter().map(|session| session.index).collect();
    assert_eq!(indices, [0, 1, 2]);
    assert_eq!(file.sessions[2].start_ms, NEW_YEAR_MS + 40_000_000);

    let behind_settings = read(&[settings.clone(), evening].concat()).unwrap();
    assert_eq!(behind_settings.sessions.len(), 1, "settings in front do not hide an activity");
    let kind = "a settings file";
    let weights = build::part(&[build::file_id(9)]);
    assert_eq!(read(&[settings, weights].concat()), Err(FitError::NotAnActivity { kind }));
}

#[test]
fn laps_go_to_the_session_that_claims_them_or_was_running() {
    let starts = |session: &Session| session.laps.iter().map(|lap| lap.start_ms.unwrap()).collect::<Vec<_>>();
    let at = |second: i64| NEW_YEAR_MS + second * 1000;
    let laps = [build::lap(0, 100_000), build::lap(300, 100_000), build::lap(600, 50_000)].concat();

    let claim = |first, count| [Field::Word(25, first), Field::Word(26, count)];
    let claimed = [build::session(0, &claim(1, 2)), build::session(500, &claim(0, 1))].concat();
    let file = read(&build::part(&[build::file_id(4), laps.clone(), claimed])).unwrap();
    assert_eq!(starts(&file.sessions[0]), [at(300), at(600)], "a claim counts more than the time");
    assert_eq!(starts(&file.sessions[1]), [at(0)]);

    let timed = [build::session(0, &[]), build::session(500, &[])].concat();
    let file = read(&build::part(&[build::file_id(4), laps, timed])).unwrap();
    assert_eq!(starts(&file.sessions[0]), [at(0), at(300)]);
    assert_eq!(starts(&file.sessions[1]), [at(600)]);
    assert_eq!(file.sessions[1].laps[0].distance_m, Some(500.0));
    assert_eq!(file.sessions[1].laps[0].index, 0, "laps are counted within their session");
}

#[test]
fn what_a_file_leaves_open_stays_open() {
    let silent = [Field::Byte(16, 0), Field::Byte(17, 0xFF), Field::Long(9, u32::MAX), Field::Byte(6, 6)];
    let file = read(&build::part(&[build::file_id(4), build::session(0, &silent)])).unwrap();
    let session = &file.sessions[0];
    assert_eq!((session.average_heart_rate_bpm, session.maximum_heart_rate_bpm), (None, None));
    assert_eq!((session.distance_m, session.end_ms, session.utc_offset_s), (None, None, None));
    let keys: Vec<String> = step_fields(session, 1).into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["start", "endurance/sport", "source/session", "source/device"]);
    assert!(step_fields(session, 2).is_empty());
}

#[test]
fn an_offset_that_no_zone_has_is_no_zone() {
    let offset = |local: u32| {
        let activity = build::message(34, &[Field::Long(253, NEW_YEAR), Field::Long(5, local)]);
        let file = read(&build::part(&[build::file_id(4), build::session(0, &[]), activity])).unwrap();
        file.sessions[0].utc_offset_s
    };
    assert_eq!(offset(NEW_YEAR + 20_700), Some(20_700), "Kathmandu, 5 h 45 min ahead");
    assert_eq!(offset(NEW_YEAR - 12_601), Some(-12_600), "St. John's, its two times read a second apart");
    assert_eq!(offset(NEW_YEAR + 20_300), None, "nobody lives there");
    assert_eq!(offset(NEW_YEAR + 15 * 3600), None, "further than any zone");
    assert_eq!(offset(0), None, "never set");
}

#[test]
fn kinds_are_named_with_their_article() {
    for kind in (0..=u8::MAX).map(Some).chain([None]) {
        assert!(fit::describe_kind(kind).starts_with("a"), "{kind:?}");
    }
}
