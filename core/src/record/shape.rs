//! How the shape of a record is described: the words in which the tables of `tables` are written, and what follows
//! from a table: which rule a key has, which containers a document has.

use crate::collection::Collection;

use super::quantity::Dimension;

/// What values a field may hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Rule {
    /// One line of text, at most so many UTF-8 bytes.
    Name(usize),
    /// One of these words. A newer version may add some, so ingest checks the length only.
    Choice(&'static [&'static str]),
    /// A whole number between both, inclusive.
    Int(i64, i64),
    /// A finite number between both, inclusive.
    Real(f64, f64),
    /// A number with a unit; the bounds are in the dimension's SI unit, inclusive.
    Amount(Dimension, f64, f64),
    /// Milliseconds since 1970 UTC, in the years 1900 to 2100.
    Time,
    /// A calendar date, in the years 1900 to 2100.
    Date,
    /// An IANA zone name or an offset. Only its form is checked: devices and servers know different sets of zones.
    Zone,
    /// Yes or no.
    Flag,
}

/// Who needs a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// A record (or item, or group that is there at all) without it is refused.
    Required,
    /// May be left out.
    Optional,
    /// Kept by the engine: never part of a record's JSON.
    Internal,
}

/// One register.
#[derive(Debug)]
pub(crate) struct Field {
    pub name: &'static str,
    pub rule: Rule,
    pub need: Need,
    /// A sentence for docs/records.md.
    pub doc: &'static str,
}

/// One part of a record.
#[derive(Debug)]
pub(crate) enum Member {
    /// A register at its own key.
    Field(Field),
    /// Registers at the flat keys `name/field`; in JSON an object.
    Group(&'static str, &'static [Field], &'static str),
    /// Registers at the flat keys `name/id/field`; in JSON an array of objects with an `id`.
    Rows(&'static str, &'static [Field], &'static str),
    /// A map of ids to maps, ordered by their `pos`; in JSON an array of objects with an `id`.
    Items(&'static str, &'static [Member], &'static str),
    /// A map of tags to true; in JSON an array of texts.
    Tags(&'static str, &'static str),
    /// Prose that merges by character, at most so many UTF-8 bytes.
    Text(&'static str, usize, &'static str),
}

impl Member {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Field(field) => field.name,
            Self::Group(name, ..)
            | Self::Rows(name, ..)
            | Self::Items(name, ..)
            | Self::Tags(name, _)
            | Self::Text(name, ..) => name,
        }
    }

    /// Whether the document has a container at its key.
    pub fn is_container(&self) -> bool {
        matches!(self, Self::Items(..) | Self::Tags(..) | Self::Text(..))
    }

    /// Whether it is part of a record's JSON.
    pub fn is_shown(&self) -> bool {
        !matches!(self, Self::Field(field) if field.need == Need::Internal)
    }
}

/// All records of one collection.
#[derive(Debug)]
pub(crate) struct Shape {
    pub collection: Collection,
    pub members: &'static [Member],
    /// The register that says when it happened, if it happened at one time.
    pub at: Option<&'static str>,
    /// A sentence for docs/records.md.
    pub doc: &'static str,
}

/// Where an item lies among its siblings; every item of [`Member::Items`] has it.
pub(crate) const POSITION: &str = "pos";
/// Every record has it; written by trash and restore alone.
pub(crate) const TRASHED: &str = "trashed";
/// The zone of an importing device: each sets its own, they may differ, and nobody has to decide.
pub(crate) const ZONE_GUESS: &str = "zone_guess";
/// The zone that an imported file states.
pub(crate) const ZONE_FILE: &str = "zone_file";
/// The key of an item or a row in JSON.
pub(crate) const ID: &str = "id";

/// What a key of a document is, as far as the key tells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Known {
    /// A register with this rule.
    Register(Rule),
    /// A container, made with the document or with its item.
    Container,
    /// Nothing that this version knows.
    Nothing,
}

impl Shape {
    /// What lies at `key` of the document's root.
    pub fn at_root(&self, key: &str) -> Known {
        if key == TRASHED {
            return Known::Register(Rule::Flag);
        }
        let (head, rest) = key.split_once('/').map_or((key, None), |(head, rest)| (head, Some(rest)));
        let Some(member) = self.members.iter().find(|member| member.name() == head) else {
            return Known::Nothing;
        };
        match (member, rest) {
            (Member::Field(field), None) => Known::Register(field.rule),
            (Member::Group(_, fields, _), Some(leaf)) => register(fields, leaf),
            (Member::Rows(_, fields, _), Some(rest)) => {
                rest.split_once('/').map_or(Known::Nothing, |(_, leaf)| register(fields, leaf))
            }
            (member, None) if member.is_container() => Known::Container,
            _ => Known::Nothing,
        }
    }

    /// What lies at `key` of an item. The change alone does not say of which item, so one leaf key has one rule in a
    /// collection (a test holds that).
    pub fn in_item(&self, key: &str) -> Known {
        if key == POSITION {
            return Known::Register(Rule::Name(crate::limits::NAME_BYTES));
        }
        in_items(self.members, key)
    }

    /// Whether it has tags: then a key below the root may be any text.
    pub fn has_tags(&self) -> bool {
        self.members.iter().any(|member| matches!(member, Member::Tags(..)))
    }

    /// The containers at the root, in the order of the table: all are made by a document's first change.
    pub fn containers(&self) -> impl Iterator<Item = &'static Member> {
        self.members.iter().filter(|member| member.is_container())
    }
}

fn register(fields: &[Field], leaf: &str) -> Known {
    fields.iter().find(|field| field.name == leaf).map_or(Known::Nothing, |field| Known::Register(field.rule))
}

fn in_items(members: &'static [Member], key: &str) -> Known {
    let inside = members.iter().filter_map(|member| match member {
        Member::Items(_, inside, _) => Some(*inside),
        _ => None,
    });
    for inside in inside {
        let found = inside.iter().find(|member| member.name() == key);
        match found {
            Some(Member::Field(field)) => return Known::Register(field.rule),
            Some(_) => return Known::Container,
            None => match in_items(inside, key) {
                Known::Nothing => {}
                known => return known,
            },
        }
    }
    Known::Nothing
}
