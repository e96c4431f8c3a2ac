//! A rule at work: a JSON value to what the document stores and back, and whether a stored value is within its range.

use std::fmt;

use automerge::ScalarValue;
use serde_json::Value;

use super::quantity::{self, Quantity};
use super::shape::Rule;

/// 1900-01-01T00:00:00Z
const FIRST_MS: i64 = -2_208_988_800_000;
/// 2100-12-31T23:59:59.999Z
const LAST_MS: i64 = 4_133_980_799_999;
const YEARS: std::ops::RangeInclusive<u16> = 1900..=2100;
const ZONE_BYTES: usize = 64;
/// The one character that neither a text nor a key may hold: the server keeps merged records as jsonb, which refuses it,
/// and a document with it could never be merged there.
pub(crate) const FORBIDDEN: char = '\0';

impl Rule {
    /// What the document stores for `json`, if the rule allows it.
    pub fn parse(self, json: &Value) -> Option<ScalarValue> {
        let value = match self {
            Self::Name(_) | Self::Choice(_) | Self::Date | Self::Zone => ScalarValue::Str(json.as_str()?.into()),
            Self::Int(..) => ScalarValue::Int(whole(json)?),
            Self::Real(..) => ScalarValue::F64(json.as_f64()? + 0.0),
            Self::Amount(dimension, ..) => {
                ScalarValue::Str(Quantity::from_json(json, dimension).ok()?.to_string().into())
            }
            Self::Time => ScalarValue::Timestamp(whole(json)?),
            Self::Flag => ScalarValue::Boolean(json.as_bool()?),
        };
        self.allows(&value).then_some(value)
    }

    /// Whether `value` is of the rule's kind, in its range, and a choice that this version knows.
    pub fn allows(self, value: &ScalarValue) -> bool {
        let known = match (self, value) {
            (Self::Choice(choices), ScalarValue::Str(text)) => choices.contains(&text.as_str()),
            _ => true,
        };
        known && self.admits(value)
    }

    /// The same for a value that a newer version may have written: a choice only has to be short.
    pub fn admits(self, value: &ScalarValue) -> bool {
        match (self, value) {
            (Self::Name(max), ScalarValue::Str(text)) => is_name(text, max),
            (Self::Choice(_), ScalarValue::Str(text)) => is_name(text, crate::limits::NAME_BYTES),
            (Self::Int(min, max), ScalarValue::Int(value)) => (min..=max).contains(value),
            (Self::Real(min, max), ScalarValue::F64(value)) => (min..=max).contains(value),
            (Self::Amount(dimension, min, max), ScalarValue::Str(text)) => text
                .parse::<Quantity>()
                .is_ok_and(|quantity| quantity.unit().dimension() == dimension && (min..=max).contains(&quantity.si())),
            (Self::Time, ScalarValue::Timestamp(ms)) => (FIRST_MS..=LAST_MS).contains(ms),
            (Self::Date, ScalarValue::Str(text)) => is_date(text),
            (Self::Zone, ScalarValue::Str(text)) => is_zone(text),
            (Self::Flag, ScalarValue::Boolean(_)) => true,
            _ => false,
        }
    }

    /// `value` as JSON, if it is of the rule's kind; it may lie outside the range.
    pub fn show(self, value: &ScalarValue) -> Option<Value> {
        match (self, value) {
            (Self::Name(_) | Self::Choice(_) | Self::Date | Self::Zone, ScalarValue::Str(text)) => {
                Some(text.as_str().into())
            }
            (Self::Int(..), ScalarValue::Int(value)) => Some((*value).into()),
            (Self::Real(..), ScalarValue::F64(value)) if value.is_finite() => Some(quantity::number(*value)),
            (Self::Amount(..), ScalarValue::Str(text)) => text.parse::<Quantity>().ok().map(Quantity::to_json),
            (Self::Time, ScalarValue::Timestamp(ms)) => Some((*ms).into()),
            (Self::Flag, ScalarValue::Boolean(value)) => Some((*value).into()),
            _ => None,
        }
    }
}

/// A scalar of a field that this version does not know, as JSON, if JSON can hold it.
pub(crate) fn show_unknown(value: &ScalarValue) -> Option<Value> {
    match value {
        ScalarValue::Str(text) => Some(text.as_str().into()),
        ScalarValue::Int(value) | ScalarValue::Timestamp(value) => Some((*value).into()),
        ScalarValue::Uint(value) => Some((*value).into()),
        ScalarValue::F64(value) if value.is_finite() => Some(quantity::number(*value)),
        ScalarValue::Counter(counter) => Some(i64::from(counter).into()),
        ScalarValue::Boolean(value) => Some((*value).into()),
        _ => None,
    }
}

/// 12 and 12.0 are the same whole number: some languages have only floats in JSON.
fn whole(json: &Value) -> Option<i64> {
    /// Beyond 2^53 a float no longer holds every whole number.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let whole = |value: &f64| value.fract() == 0.0 && value.abs() < EXACT;
    json.as_i64().or_else(|| json.as_f64().filter(whole).map(|value| value as i64))
}

/// One line: what lists show in one line is entered as one.
pub(crate) fn is_name(text: &str, max: usize) -> bool {
    !text.trim().is_empty() && text.len() <= max && !text.chars().any(char::is_control)
}

fn is_date(text: &str) -> bool {
    let digits = |range: std::ops::Range<usize>| -> Option<u16> {
        let part = text.get(range)?;
        part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())?
    };
    let dashes = text.len() == 10 && text.as_bytes()[4] == b'-' && text.as_bytes()[7] == b'-';
    let (Some(year), Some(month), Some(day), true) = (digits(0..4), digits(5..7), digits(8..10), dashes) else {
        return false;
    };
    YEARS.contains(&year) && (1..=days_in(year, month)).contains(&day)
}

/// 0 for a month that does not exist.
fn days_in(year: u16, month: u16) -> u16 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 0,
    }
}

fn is_zone(text: &str) -> bool {
    let name = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+-".contains(&byte);
    match text.as_bytes() {
        [b'+' | b'-', h1, h2, b':', m1, m2] => {
            let digits = [h1, h2, m1, m2].iter().all(|byte| byte.is_ascii_digit());
            digits && (*h1 < b'2' || (*h1 == b'2' && *h2 < b'4')) && *m1 < b'6'
        }
        bytes @ [first, ..] => {
            first.is_ascii_alphabetic() && bytes.len() <= ZONE_BYTES && bytes.iter().copied().all(name)
        }
        [] => false,
    }
}

/// What must hold, to be read after "must be".
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(max) => write!(f, "a text of one line, at most {max} bytes"),
            Self::Choice(choices) => write!(f, "one of {}", choices.join(", ")),
            Self::Int(min, max) => write!(f, "a whole number from {min} to {max}"),
            Self::Real(min, max) => write!(f, "a number from {min} to {max}"),
            Self::Amount(dimension, min, max) => {
                let units: Vec<_> = dimension.units().map(|unit| unit.name()).collect();
                write!(f, "a number with a unit ({}), from {min} to {max} {}", units.join(", "), dimension.si().name())
            }
            Self::Time => write!(f, "milliseconds since 1970 UTC, in the years 1900 to 2100"),
            Self::Date => write!(f, "a date as YYYY-MM-DD, in the years 1900 to 2100"),
            Self::Zone => write!(f, "an IANA time zone such as Europe/Rome, or an offset such as +02:00"),
            Self::Flag => write!(f, "true or false"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_date_is_a_day_of_the_calendar() {
        for good in ["2024-02-29", "1900-01-01", "2100-12-31"] {
            assert!(is_date(good), "{good}");
        }
        for bad in [
            "2023-02-29",
            "1899-12-31",
            "2101-01-01",
            "2024-13-01",
            "2024-1-1",
            "2024-00-10",
            "20240101ab",
            "２０２４-01",
        ] {
            assert!(!is_date(bad), "{bad}");
        }
    }

    #[test]
    fn a_zone_is_checked_by_its_form_alone() {
        for good in ["Europe/Rome", "UTC", "Etc/GMT+1", "+02:00", "-11:30", "Mars/Olympus_Mons"] {
            assert!(is_zone(good), "{good}");
        }
        for bad in ["", "+2", "+24:00", "+02:60", "Europe/Köln", " UTC", "02:00"] {
            assert!(!is_zone(bad), "{bad}");
        }
        assert!(!is_zone(&"a".repeat(65)));
    }

    #[test]
    fn ranges_include_their_ends() {
        let reps = Rule::Int(0, 1_000);
        assert!(reps.parse(&json!(0)).is_some() && reps.parse(&json!(1000.0)).is_some());
        assert!(
            reps.parse(&json!(1001)).is_none()
                && reps.parse(&json!(0.5)).is_none()
                && reps.parse(&json!("5")).is_none()
        );
        let time = Rule::Time;
        assert!(time.parse(&json!(FIRST_MS)).is_some() && time.parse(&json!(LAST_MS)).is_some());
        assert!(time.parse(&json!(FIRST_MS - 1)).is_none() && time.parse(&json!(LAST_MS + 1)).is_none());
    }

    #[test]
    fn a_choice_of_a_newer_version_is_admitted_and_not_written() {
        let kind = Rule::Choice(&["work", "drop"]);
        let newer = ScalarValue::Str("cluster".into());
        assert!(kind.admits(&newer) && !kind.allows(&newer));
        assert!(!Rule::Real(0.0, 1.0).admits(&ScalarValue::F64(f64::NAN)));
    }
}
