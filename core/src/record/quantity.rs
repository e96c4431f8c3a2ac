//! A quantity as the person entered it: the number and its unit, with the SI value derived from one table of factors.
//! 90 lb is stored and shown as 90 lb for ever; only arithmetic uses the SI value.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Number, Value};

/// What a quantity measures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dimension {
    /// Kilograms.
    Mass,
    /// Metres.
    Length,
    /// Seconds.
    Duration,
    /// Joules.
    Energy,
    /// Cubic metres are too large to read for a drink, so volumes are derived in litres.
    Volume,
}

impl Dimension {
    /// The unit of the derived value, and of a number given without a unit.
    pub fn si(self) -> Unit {
        match self {
            Self::Mass => Unit::Kg,
            Self::Length => Unit::M,
            Self::Duration => Unit::S,
            Self::Energy => Unit::J,
            Self::Volume => Unit::L,
        }
    }

    /// All units of this dimension, by name.
    pub fn units(self) -> impl Iterator<Item = Unit> {
        UNITS.iter().filter(move |row| row.dimension == self).map(|row| row.unit)
    }
}

/// A unit that a quantity may be entered in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "each is named and defined by its row in UNITS")]
pub enum Unit {
    Kg,
    G,
    Lb,
    Oz,
    St,
    M,
    Cm,
    Mm,
    Km,
    Mi,
    Yd,
    Ft,
    In,
    S,
    Min,
    H,
    J,
    Kj,
    Kcal,
    Cal,
    L,
    Ml,
    FlOz,
}

struct Row {
    unit: Unit,
    name: &'static str,
    dimension: Dimension,
    /// So many of it…
    per: f64,
    /// …are so many of the dimension's SI unit: whole numbers, exact by definition of the unit. One decimal factor
    /// would make 5.5 ft 1.6764000000000001 m.
    si: f64,
}

const fn row(unit: Unit, name: &'static str, dimension: Dimension, per: f64, si: f64) -> Row {
    Row { unit, name, dimension, per, si }
}

/// In the order of [`Unit`], so that a unit finds its row by its number.
static UNITS: [Row; 23] = [
    row(Unit::Kg, "kg", Dimension::Mass, 1.0, 1.0),
    row(Unit::G, "g", Dimension::Mass, 1_000.0, 1.0),
    row(Unit::Lb, "lb", Dimension::Mass, 100_000_000.0, 45_359_237.0),
    row(Unit::Oz, "oz", Dimension::Mass, 1_600_000_000.0, 45_359_237.0),
    row(Unit::St, "st", Dimension::Mass, 50_000_000.0, 317_514_659.0),
    row(Unit::M, "m", Dimension::Length, 1.0, 1.0),
    row(Unit::Cm, "cm", Dimension::Length, 100.0, 1.0),
    row(Unit::Mm, "mm", Dimension::Length, 1_000.0, 1.0),
    row(Unit::Km, "km", Dimension::Length, 1.0, 1_000.0),
    row(Unit::Mi, "mi", Dimension::Length, 1_000.0, 1_609_344.0),
    row(Unit::Yd, "yd", Dimension::Length, 10_000.0, 9_144.0),
    row(Unit::Ft, "ft", Dimension::Length, 10_000.0, 3_048.0),
    row(Unit::In, "in", Dimension::Length, 10_000.0, 254.0),
    row(Unit::S, "s", Dimension::Duration, 1.0, 1.0),
    row(Unit::Min, "min", Dimension::Duration, 1.0, 60.0),
    row(Unit::H, "h", Dimension::Duration, 1.0, 3_600.0),
    row(Unit::J, "J", Dimension::Energy, 1.0, 1.0),
    row(Unit::Kj, "kJ", Dimension::Energy, 1.0, 1_000.0),
    row(Unit::Kcal, "kcal", Dimension::Energy, 1.0, 4_184.0),
    row(Unit::Cal, "cal", Dimension::Energy, 1_000.0, 4_184.0),
    row(Unit::L, "l", Dimension::Volume, 1.0, 1.0),
    row(Unit::Ml, "ml", Dimension::Volume, 1_000.0, 1.0),
    // The US fluid ounce.
    row(Unit::FlOz, "fl_oz", Dimension::Volume, 10_000_000_000_000.0, 295_735_295_625.0),
];

impl Unit {
    fn row(self) -> &'static Row {
        &UNITS[self as usize]
    }

    /// Its name, as people write it.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// What it measures.
    pub fn dimension(self) -> Dimension {
        self.row().dimension
    }

    /// One of it in the SI unit of its dimension.
    pub fn factor(self) -> f64 {
        self.row().si / self.row().per
    }

    /// The unit of that name.
    pub fn named(name: &str) -> Option<Self> {
        UNITS.iter().find(|row| row.name == name).map(|row| row.unit)
    }
}

/// A number and the unit in which it was entered. Always finite.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Quantity {
    value: f64,
    unit: Unit,
}

/// A text or a value that is not a quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write a number and a unit, such as \"90 lb\" or {{\"value\": 90, \"unit\": \"lb\"}}")]
pub struct BadQuantity;

impl Quantity {
    /// A quantity, unless `value` is infinite or not a number.
    pub fn new(value: f64, unit: Unit) -> Option<Self> {
        // Adding zero makes -0 and 0 the same text.
        value.is_finite().then_some(Self { value: value + 0.0, unit })
    }

    /// The number as entered.
    pub fn value(self) -> f64 {
        self.value
    }

    /// The unit as entered.
    pub fn unit(self) -> Unit {
        self.unit
    }

    /// In kilograms, metres, seconds, joules or litres.
    pub fn si(self) -> f64 {
        let Row { per, si, .. } = self.unit.row();
        self.value * si / per
    }

    /// The quantity in `json`: an object with `value` and `unit` (a given `si` is derived anew), a text such as
    /// "90 lb", or a bare number in the SI unit of `dimension`.
    ///
    /// # Errors
    /// [`BadQuantity`], also for a unit of another dimension.
    pub fn from_json(json: &Value, dimension: Dimension) -> Result<Self, BadQuantity> {
        let quantity = match json {
            Value::Number(number) => number.as_f64().and_then(|value| Self::new(value, dimension.si())),
            Value::String(text) => text.parse().ok(),
            Value::Object(object) => Self::from_object(object),
            _ => None,
        };
        quantity.filter(|quantity| quantity.unit.dimension() == dimension).ok_or(BadQuantity)
    }

    fn from_object(object: &Map<String, Value>) -> Option<Self> {
        let known = object.keys().all(|key| matches!(key.as_str(), "value" | "unit" | "si"));
        let unit = Unit::named(object.get("unit")?.as_str()?)?;
        Self::new(object.get("value")?.as_f64()?, unit).filter(|_| known)
    }

    /// `{"value": 90, "unit": "lb", "si": 40.8233133}`
    pub fn to_json(self) -> Value {
        let mut object = Map::new();
        object.insert("value".to_owned(), number(self.value));
        object.insert("unit".to_owned(), self.unit.name().into());
        object.insert("si".to_owned(), number(self.si()));
        Value::Object(object)
    }
}

/// A JSON number: whole ones without a fraction (90, not 90.0), null for what JSON cannot hold.
pub(super) fn number(value: f64) -> Value {
    /// Beyond 2^53 a float no longer holds every whole number.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() < EXACT {
        Value::from(value as i64)
    } else {
        Number::from_f64(value).map_or(Value::Null, Value::Number)
    }
}

/// As stored in a document: "90 lb".
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.value, self.unit.name())
    }
}

impl FromStr for Quantity {
    type Err = BadQuantity;

    fn from_str(text: &str) -> Result<Self, BadQuantity> {
        let text = text.trim();
        let unit = text.find(|c: char| c.is_ascii_alphabetic() && !matches!(c, 'e' | 'E')).ok_or(BadQuantity)?;
        let (value, unit) = text.split_at(unit);
        let value = value.trim_end().parse().map_err(|_| BadQuantity)?;
        Unit::named(unit).and_then(|unit| Self::new(value, unit)).ok_or(BadQuantity)
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Value::deserialize(deserializer)?;
        let quantity = match &json {
            Value::String(text) => text.parse().ok(),
            Value::Object(object) => Self::from_object(object),
            _ => None,
        };
        quantity.ok_or_else(|| serde::de::Error::custom(BadQuantity))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_unit_is_at_its_own_row_and_named_once() {
        for (index, row) in UNITS.iter().enumerate() {
            assert_eq!(row.unit as usize, index, "{} is out of order", row.name);
            assert_eq!(Unit::named(row.name), Some(row.unit));
        }
    }

    #[test]
    fn ninety_pounds_stay_ninety_pounds() {
        let entered = Quantity::from_json(&json!("90 lb"), Dimension::Mass).expect("a quantity");
        assert_eq!(entered.to_string(), "90 lb");
        assert_eq!(entered.to_json(), json!({"value": 90, "unit": "lb", "si": 40.8233133}));
        assert_eq!(Quantity::from_json(&entered.to_json(), Dimension::Mass), Ok(entered));
        assert_eq!("90lb".parse(), Ok(entered));
        assert_eq!("5.5 ft".parse().map(Quantity::si), Ok(1.6764));
        assert_eq!("1 oz".parse().map(Quantity::si), Ok(0.028_349_523_125));
        assert_eq!("1 st".parse().map(Quantity::si), Ok(6.350_293_18));
        assert_eq!("1 fl_oz".parse().map(Quantity::si), Ok(0.029_573_529_562_5));
    }

    #[test]
    fn a_bare_number_is_si() {
        let metres = Quantity::from_json(&json!(1.5), Dimension::Length).expect("a quantity");
        assert_eq!(metres.to_string(), "1.5 m");
    }

    #[test]
    fn what_is_not_a_quantity_is_refused() {
        for bad in [json!("90"), json!("lb"), json!("90 parsec"), json!("inf kg"), json!("NaN kg"), json!("1e999 kg")] {
            assert_eq!(Quantity::from_json(&bad, Dimension::Mass), Err(BadQuantity), "{bad}");
        }
        for bad in
            [json!("90 cm"), json!(true), json!(null), json!({"value": 1}), json!({"value": 1, "unit": "kg", "x": 1})]
        {
            assert_eq!(Quantity::from_json(&bad, Dimension::Mass), Err(BadQuantity), "{bad}");
        }
    }
}
