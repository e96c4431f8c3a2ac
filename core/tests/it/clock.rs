//! Wrong clocks: nothing is refused for its time, and what was logged meanwhile is offered the right one.

use fitme_core::collection::Collection;
use fitme_core::id::DocId;
use fitme_core::store::{Command, WrongTime};
use serde_json::json;

use crate::hub::{Device, Hub, MORNING};

const HOUR: i64 = 3_600_000;
const YEAR: i64 = 365 * 24 * HOUR;

/// Time passes for both, whatever their clocks say.
fn pass(hub: &mut Hub, phone: &mut Device, ms: i64) {
    hub.clock_ms += ms;
    phone.now_ms += ms;
}

/// A phone whose clock is `wrong` ahead, and has met the server.
fn phone_ahead(hub: &mut Hub, seed: u64, wrong: i64) -> Device {
    let mut phone = Device::new("phone", seed);
    phone.sign_in(hub);
    phone.now_ms = hub.clock_ms + wrong;
    phone.sync(hub);
    phone
}

/// A mood of this moment.
fn mood(phone: &mut Device) -> DocId {
    let at = phone.now_ms + 1_000;
    phone.log(Collection::Moods, json!({ "at": at, "valence": 1 }))
}

fn offered(phone: &Device) -> Vec<(DocId, i64)> {
    phone.store.wrong_times().unwrap().into_iter().map(|one| (one.doc_id, one.by_ms)).collect()
}

#[test]
fn what_was_logged_while_the_clock_was_an_hour_ahead_is_moved_back_and_can_be_undone() {
    let mut hub = Hub::new();
    let mut phone = phone_ahead(&mut hub, 10, HOUR);
    assert_eq!(phone.store.clock_offset_ms().unwrap(), Some(-HOUR));
    pass(&mut hub, &mut phone, 10 * 60_000);
    let id = mood(&mut phone);
    hub.clock_ms += 1_000;
    pass(&mut hub, &mut phone, 10 * 60_000);
    phone.sync(&mut hub);
    assert_eq!(offered(&phone), [(id, -HOUR)]);

    let before = phone.record(id);
    let state = phone.store.history(id).unwrap()[0].hash.to_string();
    let wrong = phone.store.wrong_times().unwrap().remove(0);
    phone.store.correct_time(&wrong, phone.now_ms, &mut phone.rng).unwrap();
    assert_eq!(phone.record(id)["at"], before["at"].as_i64().unwrap() - HOUR);
    assert_eq!(phone.store.history(id).unwrap().len(), 2, "one change");
    assert_eq!(offered(&phone), [], "once");
    phone.write(&Command::RestoreTo { doc_id: id, state });
    assert_eq!(phone.record(id), before);
    phone.sync(&mut hub);
    assert_eq!(phone.store.status().unwrap().rejected, 0, "nothing is refused for its time");
}

#[test]
fn a_workout_is_moved_from_its_beginning_to_its_end() {
    let mut hub = Hub::new();
    let mut phone = phone_ahead(&mut hub, 11, -HOUR);
    let start = phone.now_ms + 1_000;
    let id = phone.log(Collection::Workouts, json!({ "start": start, "end": start + 60_000, "title": "Legs" }));
    hub.clock_ms += 1_000;
    pass(&mut hub, &mut phone, 60_000);
    phone.sync(&mut hub);
    let WrongTime { at, by_ms, .. } = phone.store.wrong_times().unwrap()[0];
    assert_eq!((at, by_ms), (start, HOUR));
    let wrong = phone.store.wrong_times().unwrap().remove(0);
    phone.store.correct_time(&wrong, phone.now_ms, &mut phone.rng).unwrap();
    let record = phone.record(id);
    assert_eq!((&record["start"], &record["end"]), (&json!(start + HOUR), &json!(start + 60_000 + HOUR)));
}

/// The person set the clock right before the next contact: what was off is what the contact before had said.
#[test]
fn a_clock_that_was_set_right_in_between_is_known_from_the_contact_before() {
    let mut hub = Hub::new();
    let mut phone = phone_ahead(&mut hub, 12, 3 * HOUR);
    let id = mood(&mut phone);
    phone.now_ms = hub.clock_ms + 60_000;
    hub.clock_ms += 60_000;
    phone.sync(&mut hub);
    assert_eq!(phone.store.clock_offset_ms().unwrap(), Some(0));
    assert_eq!(offered(&phone), [(id, -3 * HOUR)]);
    // And from then on all is well, also after contacts at which nothing was new.
    pass(&mut hub, &mut phone, HOUR);
    phone.sync(&mut hub);
    mood(&mut phone);
    pass(&mut hub, &mut phone, HOUR);
    phone.sync(&mut hub);
    assert_eq!(offered(&phone), [(id, -3 * HOUR)]);
}

/// Everything was logged before the phone had an account, by a clock that is ten years behind.
#[test]
fn ten_years_off_before_the_first_contact() {
    let mut hub = Hub::new();
    let mut phone = Device::new("phone", 2);
    phone.now_ms = MORNING - 10 * YEAR;
    let id = mood(&mut phone);
    phone.sign_in(&hub);
    pass(&mut hub, &mut phone, HOUR);
    phone.sync(&mut hub);
    let by = phone.store.wrong_times().unwrap()[0].by_ms;
    assert_eq!(offered(&phone), [(id, by)]);
    assert!(by.abs_diff(10 * YEAR) <= 1_000, "{by}");
}

#[test]
fn nothing_is_offered_where_the_clock_is_right_or_the_person_named_the_time() {
    let mut hub = Hub::new();
    let mut right = phone_ahead(&mut hub, 13, 60_000);
    mood(&mut right);
    right.log(Collection::Moods, json!({ "at": MORNING - 7 * HOUR, "valence": 1 }));
    right.sync(&mut hub);
    assert_eq!(offered(&right), [], "a minute is nothing");

    let mut wrong = phone_ahead(&mut hub, 14, 5 * HOUR);
    wrong.log(Collection::Moods, json!({ "at": MORNING - 7 * HOUR, "valence": 1 }));
    wrong.sync(&mut hub);
    assert_eq!(offered(&wrong), []);
    right.sync(&mut hub);
    assert_eq!(offered(&right), [], "and none of another device's");
}
