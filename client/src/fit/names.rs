//! Words for the numbers of FIT.
//!
//! The words for sports are written into documents, so they are a table of our own that never changes, and a
//! number that it does not know stays a number. Words that are only shown come from the profile in `fitparser`.

use fitparser::profile::{FieldDataType, get_field_variant_as_string};

const ACTIVITY_FILE: u8 = 4;

/// What stands before the numbers of a device that the file does not name.
pub(super) const DEVICE_PREFIX: &str = "fit:";
/// The manufacturers whose products are numbered in the list of Garmin, as the profile has it.
const GARMIN_FAMILY: [i64; 4] = [1, 13, 15, 89];

/// Never change or remove a word. A word for a further sport belongs to a new importer step, since devices
/// without it have already written `fit_sport_<number>` in step 1.
#[rustfmt::skip]
const SPORTS: &[(u32, &str)] = &[
    (0, "generic"), (1, "running"), (2, "cycling"), (3, "transition"), (4, "fitness_equipment"),
    (5, "swimming"), (6, "basketball"), (7, "soccer"), (8, "tennis"), (9, "american_football"),
    (10, "training"), (11, "walking"), (12, "cross_country_skiing"), (13, "alpine_skiing"),
    (14, "snowboarding"), (15, "rowing"), (16, "mountaineering"), (17, "hiking"), (18, "multisport"),
    (19, "paddling"), (20, "flying"), (21, "e_biking"), (22, "motorcycling"), (23, "boating"),
    (24, "driving"), (25, "golf"), (26, "hang_gliding"), (27, "horseback_riding"), (28, "hunting"),
    (29, "fishing"), (30, "inline_skating"), (31, "rock_climbing"), (32, "sailing"), (33, "ice_skating"),
    (34, "sky_diving"), (35, "snowshoeing"), (36, "snowmobiling"), (37, "stand_up_paddleboarding"),
    (38, "surfing"), (39, "wakeboarding"), (40, "water_skiing"), (41, "kayaking"), (42, "rafting"),
    (43, "windsurfing"), (44, "kitesurfing"), (45, "tactical"), (46, "jumpmaster"), (47, "boxing"),
    (48, "floor_climbing"), (49, "baseball"), (53, "diving"), (56, "shooting"), (58, "winter_sport"),
    (59, "grinding"), (62, "hiit"), (63, "video_gaming"), (64, "racket"), (65, "wheelchair_push_walk"),
    (66, "wheelchair_push_run"), (67, "meditation"), (68, "para_sport"), (69, "disc_golf"),
    (70, "team_sport"), (71, "cricket"), (72, "rugby"), (73, "hockey"), (74, "lacrosse"),
    (75, "volleyball"), (76, "water_tubing"), (77, "wakesurfing"), (78, "water_sport"), (79, "archery"),
    (80, "mixed_martial_arts"), (81, "motor_sports"), (82, "snorkeling"), (83, "dance"), (84, "jump_rope"),
    (85, "pool_apnea"), (86, "mobility"), (87, "geocaching"), (88, "canoeing"),
];

/// The word for a sport; `generic` where the file gives no number.
pub(super) fn sport_name(number: Option<u32>) -> String {
    let number = number.unwrap_or(0);
    let known = SPORTS.iter().find(|(known, _)| *known == number);
    known.map_or_else(|| format!("fit_sport_{number}"), |(_, word)| (*word).to_owned())
}

/// The profile's word for a finer sport: it may change with the profile.
pub(super) fn sub_sport_name(number: u32) -> String {
    get_field_variant_as_string(FieldDataType::SubSport, number.into())
}

/// Whether files of this type hold recorded activities.
pub(super) fn is_activity(file_type: u8) -> bool {
    file_type == ACTIVITY_FILE
}

/// What a file without a session is, by the type in its `file_id` message, with its article: `a settings file`.
#[must_use]
pub fn describe_kind(file_type: Option<u8>) -> &'static str {
    match file_type {
        None => "a FIT file that does not say what it is",
        Some(1) => "a device description",
        Some(2) => "a settings file",
        Some(3) => "a sport settings file",
        Some(ACTIVITY_FILE) => "an activity file without a session",
        Some(5) => "a workout definition",
        Some(6) => "a course",
        Some(7) => "a schedule of workouts",
        Some(9) => "a weight scale file",
        Some(10) => "a totals file",
        Some(11) => "a goals file",
        Some(14) => "a blood pressure file",
        Some(15 | 28 | 32) => "a monitoring file",
        Some(20) => "an activity summary",
        Some(34) => "a segment",
        Some(35) => "a list of segments",
        Some(40) => "a display configuration",
        Some(0xF7..=0xFE) => "a file of a kind that only its manufacturer knows",
        Some(_) => "a FIT file of an unknown kind",
    }
}

/// A device as a person reads it: `fit:1:1836` is `garmin edge1000`, and a name stays itself. For display
/// only, since the names grow with the profile; the document keeps the numbers.
#[must_use]
pub fn device_label(device: &str) -> String {
    let numbers = device.strip_prefix(DEVICE_PREFIX).unwrap_or_default();
    let mut numbers = numbers.split(':').map_while(|number| number.parse().ok());
    let Some(manufacturer) = numbers.next() else { return device.to_owned() };
    let maker = name(FieldDataType::Manufacturer, manufacturer);
    match numbers.next() {
        Some(product) if GARMIN_FAMILY.contains(&manufacturer) => {
            format!("{maker} {}", name(FieldDataType::GarminProduct, product))
        }
        Some(product) => format!("{maker} {product}"),
        None => maker,
    }
}

fn name(list: FieldDataType, number: i64) -> String {
    match list.is_named_variant(number) {
        true => get_field_variant_as_string(list, number).replace('_', " "),
        false => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sport_has_the_word_that_the_profile_gives_it() {
        for (number, word) in SPORTS {
            let profile = get_field_variant_as_string(FieldDataType::Sport, i64::from(*number));
            assert_eq!(*word, profile, "sport {number}");
        }
    }

    #[test]
    fn a_sport_that_came_later_keeps_its_number() {
        assert_eq!(sport_name(Some(200)), "fit_sport_200");
        assert_eq!(sport_name(None), "generic");
    }
}
