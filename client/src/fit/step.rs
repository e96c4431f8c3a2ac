//! The importer steps: which fields of a session each importer version adds to its document.
//!
//! The content of a step is one change of the document, and every device must write it byte-equal for ever.
//! So a step is never changed once released, not in its keys, values or order; what a later version reads
//! comes as a new step.

use super::{Lap, Session};

/// The newest importer step. A document of this version carries all steps up to it.
pub const IMPORTER_VERSION: u16 = 2;

const METRES: &str = "m";
const SECONDS: &str = "s";
const KILOCALORIES: &str = "kcal";

/// A value of an imported field.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// UTC milliseconds.
    Time(i64),
    /// A text.
    Text(String),
    /// A whole number.
    Int(i64),
    /// A number with its unit, which is an SI unit except for energy.
    Quantity {
        /// The number.
        value: f64,
        /// `m`, `s` or `kcal`.
        unit: &'static str,
    },
}

impl Scalar {
    fn quantity(unit: &'static str) -> impl Fn(f64) -> Self {
        move |value| Scalar::Quantity { value, unit }
    }

    fn rate(bpm: u16) -> Self {
        Scalar::Int(bpm.into())
    }
}

/// The fields that one step adds, as flat keys in a fixed order; a field that the file does not have is left
/// out. Steps from 1 to [`IMPORTER_VERSION`] have fields, any other has none.
#[must_use]
pub fn step_fields(session: &Session, step: u16) -> Vec<(String, Scalar)> {
    let mut fields = Fields(Vec::new());
    match step {
        1 => totals(&mut fields, session),
        2 => effort(&mut fields, session),
        _ => {}
    }
    fields.0
}

struct Fields(Vec<(String, Scalar)>);

impl Fields {
    fn add(&mut self, key: impl Into<String>, value: Option<Scalar>) {
        self.0.extend(value.map(|value| (key.into(), value)));
    }

    fn add_to_lap(&mut self, lap: &Lap, key: &str, value: Option<Scalar>) {
        self.add(format!("laps/{}/{key}", lap.index), value);
    }
}

fn totals(fields: &mut Fields, session: &Session) {
    fields.add("start", Some(Scalar::Time(session.start_ms)));
    fields.add("end", session.end_ms.map(Scalar::Time));
    fields.add("zone", session.utc_offset_s.map(zone).map(Scalar::Text));
    fields.add("endurance/sport", Some(Scalar::Text(session.sport.clone())));
    fields.add("endurance/distance", session.distance_m.map(Scalar::quantity(METRES)));
    fields.add("endurance/moving_time", session.moving_time_s.map(Scalar::quantity(SECONDS)));
    fields.add("source/session", Some(Scalar::Int(session.index.into())));
    fields.add("source/device", session.device.clone().map(Scalar::Text));
    for lap in &session.laps {
        fields.add_to_lap(lap, "start", lap.start_ms.map(Scalar::Time));
        fields.add_to_lap(lap, "distance", lap.distance_m.map(Scalar::quantity(METRES)));
        fields.add_to_lap(lap, "moving_time", lap.moving_time_s.map(Scalar::quantity(SECONDS)));
    }
}

fn effort(fields: &mut Fields, session: &Session) {
    fields.add("endurance/energy", session.energy_kcal.map(Scalar::quantity(KILOCALORIES)));
    fields.add("endurance/average_heart_rate", session.average_heart_rate_bpm.map(Scalar::rate));
    fields.add("endurance/maximum_heart_rate", session.maximum_heart_rate_bpm.map(Scalar::rate));
    for lap in &session.laps {
        fields.add_to_lap(lap, "energy", lap.energy_kcal.map(Scalar::quantity(KILOCALORIES)));
        fields.add_to_lap(lap, "average_heart_rate", lap.average_heart_rate_bpm.map(Scalar::rate));
        fields.add_to_lap(lap, "maximum_heart_rate", lap.maximum_heart_rate_bpm.map(Scalar::rate));
    }
}

/// `+02:00`: an offset is all that the file knows of the zone.
fn zone(offset_s: i32) -> String {
    let sign = if offset_s < 0 { '-' } else { '+' };
    let minutes = offset_s.unsigned_abs() / 60;
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}
