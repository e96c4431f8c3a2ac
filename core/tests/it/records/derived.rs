//! Documents that devices make without having met.

use fitme_core::collection::Collection::{self, Profile, Workouts};
use fitme_core::id::DocId;
use fitme_core::record::{self, Scalar, Unit};
use serde_json::json;

use super::examples::{MORNING, editable};
use super::{Device, accepted};

const FILE: [u8; 32] = [0xfe; 32];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What importer `version` reads of the file: the second version also reads heart rates and a zone.
fn fields(version: u16) -> Vec<(String, Scalar)> {
    let mut fields = vec![
        ("start".to_owned(), Scalar::Time(MORNING)),
        ("source/file_hash".to_owned(), Scalar::Text(hex(&FILE))),
        ("source/session".to_owned(), Scalar::Int(0)),
        ("source/importer_version".to_owned(), Scalar::Int(version.into())),
        ("endurance/sport".to_owned(), Scalar::Text("running".to_owned())),
        ("endurance/distance".to_owned(), Scalar::Quantity { value: 3_000.0, unit: Unit::M }),
        ("endurance/moving_time".to_owned(), Scalar::Quantity { value: 900.0, unit: Unit::S }),
    ];
    for lap in 0..3 {
        fields.push((format!("laps/{lap}/distance"), Scalar::Quantity { value: 1_000.0, unit: Unit::M }));
        if version > 1 {
            fields.push((format!("laps/{lap}/average_heart_rate"), Scalar::Int(140 + lap)));
        }
    }
    if version > 1 {
        fields.push(("zone".to_owned(), Scalar::Text("+02:00".to_owned())));
    }
    fields
}

/// A device that imports the file with importer `version`, in `zone`.
fn home(number: u8, version: u16, zone: &str) -> Device {
    let doc_id = record::imported_id(&FILE, 0, 0);
    let mut device = Device::new(number);
    device.receive(&[record::genesis(Workouts), record::import(Workouts, doc_id, version, &fields(version)).unwrap()]);
    device.edit(Workouts, &json!({"zone_guess": zone}));
    device
}

#[test]
fn two_homes_that_never_met_make_one_profile_and_one_workout_with_every_edit() {
    let mut rome = home(1, 1, "Europe/Rome");
    let mut tokyo = home(2, 2, "Asia/Tokyo");
    rome.edit(Workouts, &json!({"laps": {"0": {"distance": "1010 m"}}, "title": "Lake"}));
    tokyo.edit(Workouts, &json!({"laps": {"2": {"distance": "990 m"}}, "session_rpe": 6}));
    rome.meet(&mut tokyo);

    let shown = record::project(&rome.doc, Workouts);
    assert_eq!(shown, record::project(&tokyo.doc, Workouts));
    assert_eq!(shown.flags, Vec::<String>::new());
    assert_eq!(shown.at, Some(MORNING));
    let metres: Vec<_> =
        shown.record["laps"].as_array().unwrap().iter().map(|lap| lap["distance"]["value"].as_i64().unwrap()).collect();
    assert_eq!(metres, [1_010, 1_000, 990], "a person's edit wins over what any importer read");
    assert_eq!(shown.record["laps"][1]["average_heart_rate"], 141, "the newer importer added to the same workout");
    assert_eq!((&shown.record["title"], &shown.record["session_rpe"]), (&json!("Lake"), &json!(6)));
    assert_eq!(shown.record["source"]["importer_version"], 2);
    assert_eq!((&shown.record["zone"], &shown.record["zone_from"]), (&json!("+02:00"), &json!("file")));
    assert_eq!(record::conflicts(&rome.doc, Workouts), []);
    accepted(Workouts, record::imported_id(&FILE, 0, 0), &rome.changes());

    let mut here = Device::new(3);
    let mut there = Device::new(4);
    here.doc = record::from_genesis(Profile);
    there.doc = record::from_genesis(Profile);
    here.edit(Profile, &json!({"name": "Ada", "zone": "Europe/Rome", "allergies": ["kiwi"]}));
    there.edit(Profile, &json!({"height": "168 cm", "units": "metric", "allergies": ["nuts"]}));
    here.meet(&mut there);
    assert_eq!(here.record(Profile), there.record(Profile));
    assert_eq!(record::project(&here.doc, Profile).flags, Vec::<String>::new());
    assert_eq!(here.record(Profile)["allergies"], json!(["kiwi", "nuts"]));
    assert_eq!(record::conflicts(&here.doc, Profile), []);
    accepted(Profile, record::profile_id(0), &here.changes());
}

#[test]
fn the_guess_of_the_device_counts_until_somebody_knows_better() {
    let mut home = home(1, 1, "Europe/Rome");
    assert_eq!(
        (&home.record(Workouts)["zone"], &home.record(Workouts)["zone_from"]),
        (&json!("Europe/Rome"), &json!("device"))
    );
    home.edit(Workouts, &json!({"zone": "Europe/Malta"}));
    assert_eq!(
        (&home.record(Workouts)["zone"], &home.record(Workouts)["zone_from"]),
        (&json!("Europe/Malta"), &json!("person"))
    );
}

#[test]
fn the_same_import_is_the_same_change_whatever_the_order_of_its_fields() {
    let doc_id = record::imported_id(&FILE, 0, 0);
    let mut backwards = fields(2);
    backwards.reverse();
    assert_eq!(record::import(Workouts, doc_id, 2, &fields(2)), record::import(Workouts, doc_id, 2, &backwards));
    assert_ne!(record::import(Workouts, doc_id, 2, &fields(2)), record::import(Workouts, doc_id, 3, &fields(2)));
}

#[test]
fn one_nonsensical_reading_does_not_lose_the_session() {
    let doc_id = record::imported_id(&FILE, 0, 0);
    let mut fields = fields(1);
    fields.push(("endurance/maximum_heart_rate".to_owned(), Scalar::Int(-1)));
    fields.push(("endurance/energy".to_owned(), Scalar::Quantity { value: f64::NAN, unit: Unit::Kcal }));
    let payload = record::import(Workouts, doc_id, 1, &fields).unwrap();
    accepted(Workouts, doc_id, &[record::genesis(Workouts), payload.clone()]);
    assert_eq!(Some(payload), record::import(Workouts, doc_id, 1, &self::fields(1)).ok());
}

#[test]
fn an_importer_fills_only_what_the_file_says() {
    let doc_id = record::imported_id(&FILE, 0, 0);
    for key in ["zone_guess", "trashed", "note", "exercises", "laps", "laps/0", "laps/0/colour", "colour"] {
        assert!(record::import(Workouts, doc_id, 1, &[(key.to_owned(), Scalar::Int(1))]).is_err(), "{key}");
    }
    assert!(record::import(Workouts, doc_id, 1, &[]).is_err());
}

/// Devices that never met write these byte for byte: the vectors never change.
#[test]
fn genesis_changes_and_an_import_are_frozen() {
    assert_eq!(
        hex(&record::genesis(Profile)),
        concat!(
            "856f4a833650f437013e00106669746d652f67656e657369732f7631010100000005151534014202560270027e096469",
            "65745f7461677309616c6c65726769657302020002000200",
        )
    );
    assert_eq!(
        hex(&record::genesis(Workouts)),
        concat!(
            "856f4a83dec83937013a00106669746d652f67656e657369732f7631010100000005151034014203560270027e046e6f",
            "746509657865726369736573027e040002000200",
        )
    );
    let imported =
        record::import(Workouts, record::imported_id(&FILE, 0, 0), 1, &[("start".to_owned(), Scalar::Time(MORNING))])
            .unwrap();
    assert_eq!(
        hex(&imported),
        concat!(
            "856f4a83632c6537015801dec839375a8fac58321ab1e84ecfdddfdf146a8912ee5aa89cd3af0606a2511f106669746d",
            "652fd65b1de1501bda2400010103000000061507340142025602570670027f057374617274017f017f6980a0a5c3ca33",
            "7f00",
        )
    );
}

#[test]
fn every_genesis_change_is_accepted_with_a_derived_id_only() {
    for collection in editable() {
        let read = fitme_core::change::read(&record::genesis(collection)).unwrap();
        assert_eq!((read.facts.actor_seq, read.facts.time_ms, read.facts.deps.len()), (1, 0, 0));
        record::check_change(collection, record::profile_id(0), &read).unwrap();
        let elsewhere: DocId = super::random_id();
        assert_eq!(record::check_change(collection, elsewhere, &read), Err(record::BadContent::Genesis));
        let other = if collection == Profile { Workouts } else { Collection::Profile };
        assert_eq!(record::check_change(other, record::profile_id(0), &read), Err(record::BadContent::Genesis));
    }
}
