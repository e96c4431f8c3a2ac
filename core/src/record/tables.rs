//! The tables of all records: every field, its range and what it means. Validation, the mapping to documents, ingest's
//! checks and docs/records.md follow from them. The keys are the frozen format of stored documents: add, never rename.

use crate::collection::Collection;
use crate::limits::{NAME_BYTES, PROSE_BYTES};

use super::quantity::Dimension::{Duration, Energy, Length, Mass, Volume};
use super::shape::{Field, Member, Need, Rule, Shape, ZONE_FILE, ZONE_GUESS};

const fn field(name: &'static str, rule: Rule, need: Need, doc: &'static str) -> Field {
    Field { name, rule, need, doc }
}

const fn required(name: &'static str, rule: Rule, doc: &'static str) -> Field {
    field(name, rule, Need::Required, doc)
}

const fn optional(name: &'static str, rule: Rule, doc: &'static str) -> Field {
    field(name, rule, Need::Optional, doc)
}

const NAME: Rule = Rule::Name(NAME_BYTES);
const GRAMS: Rule = Rule::Real(0.0, 5_000.0);
const KCAL: Rule = Rule::Real(0.0, 50_000.0);
const HEART_RATE: Rule = Rule::Int(20, 260);
const ONE_TO_FIVE: Rule = Rule::Int(1, 5);
const ONE_TO_SEVEN: Rule = Rule::Int(1, 7);
/// The circumference of the earth at most: what one session covers on foot, by bicycle or by boat lies far below.
const DISTANCE: Rule = Rule::Amount(Length, 0.0, 10_000_000.0);
/// Thirty days.
const MOVING_TIME: Rule = Rule::Amount(Duration, 0.0, 2_592_000.0);
const BURNT: Rule = Rule::Amount(Energy, 0.0, 418_400_000.0);

const AT: Member = Member::Field(required("at", Rule::Time, "When it happened."));
const ZONE: Field = optional("zone", Rule::Zone, "The time zone where it happened.");
const NOTE: Member = Member::Text("note", PROSE_BYTES, "Free words.");

/// The shape of `collection`, if this version reads and writes its records.
pub(crate) fn shape(collection: Collection) -> Option<&'static Shape> {
    SHAPES.iter().find(|shape| shape.collection == collection)
}

pub(crate) static SHAPES: [Shape; 6] = [
    Shape { collection: Collection::Profile, members: PROFILE, at: None, doc: "The one document about the person." },
    Shape {
        collection: Collection::Workouts,
        members: WORKOUTS,
        at: Some("start"),
        doc: "A session of training: either strength (`exercises`) or endurance (`endurance`, `laps`).",
    },
    Shape { collection: Collection::Meals, members: MEALS, at: Some("at"), doc: "What was eaten at one time." },
    Shape { collection: Collection::Moods, members: MOODS, at: Some("at"), doc: "How it felt at one time." },
    Shape {
        collection: Collection::Measurements,
        members: MEASUREMENTS,
        at: Some("at"),
        doc: "What was measured at one time: at least one of the values.",
    },
    Shape {
        collection: Collection::Grants,
        members: GRANTS,
        at: Some("at"),
        doc: "Who may see what: a grant, or the revocation of one. Written once, never edited and never trashed; what each role may be granted is in docs/permissions.md.",
    },
];

const PROFILE: &[Member] = &[
    Member::Field(optional("name", NAME, "How the person wants to be called.")),
    Member::Field(optional("birth_date", Rule::Date, "For ages and heart rate zones.")),
    Member::Field(optional(
        "sex_for_formulas",
        Rule::Choice(&["male", "female"]),
        "Which of the two variants of physiological formulas to use.",
    )),
    Member::Field(optional("height", Rule::Amount(Length, 0.3, 3.0), "Body height.")),
    Member::Field(required("units", Rule::Choice(&["metric", "imperial"]), "How quantities are shown.")),
    Member::Field(required("zone", Rule::Zone, "The home time zone.")),
    Member::Group(
        "objective",
        &[
            required("goal", Rule::Choice(&["lose", "maintain", "gain"]), "What body weight should do."),
            optional("kcal_per_day", KCAL, "Energy to eat in a day."),
            optional("protein_g", GRAMS, "Protein to eat in a day."),
            optional("carbohydrate_g", GRAMS, "Carbohydrate to eat in a day."),
            optional("fat_g", GRAMS, "Fat to eat in a day."),
        ],
        "What the person wants to reach.",
    ),
    Member::Field(optional("max_hr_bpm", HEART_RATE, "Highest heart rate.")),
    Member::Field(optional("resting_hr_bpm", HEART_RATE, "Heart rate at rest.")),
    Member::Tags("diet_tags", "Such as vegetarian or gluten-free."),
    Member::Tags("allergies", "What must not be eaten."),
];

const WORKOUTS: &[Member] = &[
    Member::Field(required("start", Rule::Time, "When it began.")),
    Member::Field(optional("end", Rule::Time, "When it was over; not before `start`.")),
    Member::Field(field(
        "zone",
        Rule::Zone,
        Need::Optional,
        "The time zone where it happened: what the person said, else what the file says, else what the importing device guessed; `zone_from` says which (`person`, `file`, `device`).",
    )),
    Member::Field(field(ZONE_FILE, Rule::Zone, Need::Internal, "The zone that the imported file states.")),
    Member::Field(field(
        ZONE_GUESS,
        Rule::Zone,
        Need::Internal,
        "The zone of the device that imported the file; written by imports only, in a change of its own.",
    )),
    Member::Field(optional("title", NAME, "A short name.")),
    Member::Field(optional("session_rpe", Rule::Real(0.0, 10.0), "How hard the whole session felt.")),
    NOTE,
    Member::Group(
        "source",
        &[
            required("file_hash", Rule::Name(64), "The hash of the imported file, in hexadecimal."),
            required("session", Rule::Int(0, 9_999), "Which session of the file."),
            required("importer_version", Rule::Int(1, 65_535), "The newest importer that read it."),
            optional("device", NAME, "The device that recorded it."),
        ],
        "Where an imported workout comes from.",
    ),
    Member::Items(
        "exercises",
        &[
            Member::Field(required("name", NAME, "What was done.")),
            Member::Field(optional("exercise_ref", NAME, "Its entry in a catalogue.")),
            Member::Items(
                "sets",
                &[
                    Member::Field(required("reps", Rule::Int(0, 1_000), "Repetitions.")),
                    Member::Field(required(
                        "load",
                        Rule::Amount(Mass, 0.0, 1_500.0),
                        "Weight moved; 0 for the body alone.",
                    )),
                    Member::Field(optional("rpe", Rule::Real(1.0, 10.0), "How hard it felt.")),
                    Member::Field(required(
                        "kind",
                        Rule::Choice(&["warm-up", "work", "drop"]),
                        "What the set was for.",
                    )),
                    Member::Field(optional("done_at", Rule::Time, "When it was done.")),
                ],
                "The sets, in order.",
            ),
        ],
        "Strength: the exercises, in order.",
    ),
    Member::Group(
        "endurance",
        &[
            required("sport", NAME, "Such as running or cycling."),
            required("distance", DISTANCE, "Distance covered."),
            required("moving_time", MOVING_TIME, "Time without breaks."),
            optional("energy", BURNT, "Energy used."),
            optional("average_heart_rate", HEART_RATE, "Beats a minute."),
            optional("maximum_heart_rate", HEART_RATE, "Beats a minute."),
        ],
        "Endurance: the session as a whole.",
    ),
    Member::Rows(
        "laps",
        &[
            optional("start", Rule::Time, "When it began."),
            optional("distance", DISTANCE, "Distance covered."),
            optional("moving_time", MOVING_TIME, "Time without breaks."),
            optional("energy", BURNT, "Energy used."),
            optional("average_heart_rate", HEART_RATE, "Beats a minute."),
            optional("maximum_heart_rate", HEART_RATE, "Beats a minute."),
        ],
        "Endurance: its laps, in order.",
    ),
];

const MEALS: &[Member] = &[
    AT,
    Member::Field(ZONE),
    Member::Field(required("kind", Rule::Choice(&["breakfast", "lunch", "dinner", "snack"]), "Which meal it was.")),
    NOTE,
    Member::Items(
        "items",
        &[
            Member::Field(required("name", NAME, "What was eaten.")),
            Member::Field(optional("food_ref", NAME, "Its entry in a catalogue.")),
            Member::Field(required("amount", Rule::Amount(Mass, 0.0, 20.0), "How much was eaten.")),
            Member::Field(optional("kcal", KCAL, "Energy of what was eaten.")),
            Member::Field(optional("protein_g", GRAMS, "Protein in it.")),
            Member::Field(optional("carbohydrate_g", GRAMS, "Carbohydrate in it.")),
            Member::Field(optional("fat_g", GRAMS, "Fat in it.")),
            Member::Field(optional("fibre_g", GRAMS, "Fibre in it.")),
        ],
        "The foods, in order.",
    ),
];

const MOODS: &[Member] = &[
    AT,
    Member::Field(ZONE),
    Member::Field(required("valence", Rule::Int(-2, 2), "From very bad to very good.")),
    Member::Field(optional("energy", ONE_TO_FIVE, "From none to full.")),
    Member::Field(optional("stress", ONE_TO_FIVE, "From none to extreme.")),
    Member::Field(optional("fatigue", ONE_TO_SEVEN, "From fresh to exhausted.")),
    Member::Field(optional("soreness", ONE_TO_SEVEN, "From none to extreme.")),
    Member::Tags("tags", "What it had to do with."),
    NOTE,
];

/// A record holds what was measured in one go: `problems` requires at least one of what follows `zone`.
const MEASUREMENTS: &[Member] = &[
    AT,
    Member::Field(ZONE),
    Member::Field(optional("weight", Rule::Amount(Mass, 0.2, 700.0), "Body weight.")),
    Member::Field(optional("body_fat", Rule::Real(1.0, 80.0), "Body fat, in percent of body weight.")),
    Member::Field(optional("waist", Rule::Amount(Length, 0.2, 3.0), "Waist circumference.")),
    Member::Field(optional("resting_hr", HEART_RATE, "Heart rate at rest, in beats a minute.")),
    Member::Group(
        "blood_pressure",
        &[required("systolic", Rule::Int(40, 350), "In mmHg."), required("diastolic", Rule::Int(20, 250), "In mmHg.")],
        "Blood pressure.",
    ),
    Member::Field(optional("water", Rule::Amount(Volume, 0.0, 30.0), "Water drunk.")),
];

const UUID_BYTES: usize = 36;

const GRANTS: &[Member] = &[
    Member::Field(required("at", Rule::Time, "When it was consented to, or ended.")),
    Member::Field(required("kind", Rule::Choice(&["grant", "revocation"]), "Which of both it is.")),
    Member::Field(optional("grantee", Rule::Name(UUID_BYTES), "A grant: the account that may.")),
    Member::Field(optional("grantee_name", NAME, "A grant: how the person knows the grantee.")),
    Member::Field(optional(
        "grantee_role",
        Rule::Choice(&["trainer", "nutritionist", "therapist", "doctor", "service"]),
        "A grant: what the grantee is.",
    )),
    Member::Field(optional("shown_as", NAME, "A grant: the name under which the grantee sees the person.")),
    Member::Field(optional(
        "purpose",
        Rule::Choice(&["training", "nutrition", "mental_health", "care", "insights", "notifications"]),
        "A grant: what it is for.",
    )),
    Member::Field(optional("from", Rule::Time, "A grant: valid from then on; at once if it is not set.")),
    Member::Field(optional("until", Rule::Time, "A grant: valid before then; until revoked if it is not set.")),
    Member::Rows(
        "feeds",
        &[
            optional("collection", NAME, "Such as workouts."),
            optional("scope", NAME, "Of insights: training, nutrition or mind."),
            optional("access", Rule::Choice(&["read", "write"]), "How far; to write is to read as well."),
        ],
        "A grant: what may be seen, 1 to 64 feeds.",
    ),
    Member::Field(optional("revokes", Rule::Name(UUID_BYTES), "A revocation: the id of the grant that ends.")),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::record::ids;

    fn leaves(members: &'static [Member], found: &mut Vec<(&'static str, Rule)>) {
        for member in members {
            match member {
                Member::Field(field) => found.push((field.name, field.rule)),
                Member::Group(_, fields, _) | Member::Rows(_, fields, _) => {
                    found.extend(fields.iter().map(|field| (field.name, field.rule)))
                }
                Member::Items(_, inside, _) => leaves(inside, found),
                Member::Tags(..) | Member::Text(..) => {}
            }
        }
    }

    /// Ingest sees one change: the key of a register, but not of which item. It checks by the leaf key alone.
    #[test]
    fn no_leaf_key_has_two_rules_in_one_collection() {
        for shape in &SHAPES {
            let mut found = Vec::new();
            leaves(shape.members, &mut found);
            let mut rules = BTreeMap::new();
            for (name, rule) in found {
                let known = rules.entry(name).or_insert(rule);
                assert_eq!(*known, rule, "{}: {name} has two rules", shape.collection);
            }
        }
    }

    /// An item's id is a key beside the keys of registers.
    #[test]
    fn no_key_can_be_drawn_as_an_id() {
        for shape in &SHAPES {
            let mut found = Vec::new();
            leaves(shape.members, &mut found);
            for (name, _) in found {
                assert!(!ids::is_item_id(name), "{}: {name} could be an item's id", shape.collection);
            }
        }
    }

    #[test]
    fn every_served_collection_has_its_table() {
        for collection in Collection::ALL {
            assert_eq!(shape(collection).is_some(), collection.is_served(), "{collection}");
        }
    }
}
