//! Documents that two devices may create without having met: both write the same first change, and the same import is
//! the same change again.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use automerge::transaction::{CommitOptions, Transactable, Transaction};
use automerge::{Automerge, Change, ObjId, ScalarValue};

use crate::collection::Collection;
use crate::id::{ChangeHash, DocId};

use super::content::container_kind;
use super::document::{Author, blank, commit, served};
use super::ids::{self, GENESIS_ACTOR};
use super::invalid::Invalid;
use super::quantity::{Quantity, Unit};
use super::shape::{Known, Shape, TRASHED, ZONE_FILE, ZONE_GUESS};
use super::tables::SHAPES;
use super::write::refused;

/// A value that an importer read.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// Milliseconds since 1970 UTC.
    Time(i64),
    /// A name, a zone, a choice.
    Text(String),
    /// A whole number.
    Int(i64),
    /// A number.
    Real(f64),
    /// A number with the unit in which the file has it.
    Quantity {
        /// The number.
        value: f64,
        /// Its unit.
        unit: Unit,
    },
}

impl Scalar {
    /// None for what no document holds, such as an infinite distance.
    fn stored(&self) -> Option<ScalarValue> {
        Some(match self {
            Self::Time(ms) => ScalarValue::Timestamp(*ms),
            Self::Text(text) => ScalarValue::Str(text.as_str().into()),
            Self::Int(value) => ScalarValue::Int(*value),
            Self::Real(value) => ScalarValue::F64(*value + 0.0),
            Self::Quantity { value, unit } => ScalarValue::Str(Quantity::new(*value, *unit)?.to_string().into()),
        })
    }
}

pub(super) struct Genesis {
    pub payload: Vec<u8>,
    pub hash: ChangeHash,
    change: Change,
}

/// The first change of every document of `collection` with a derived id: its containers, and nothing else.
///
/// # Panics
/// For a collection that this version does not serve.
pub fn genesis(collection: Collection) -> Vec<u8> {
    genesis_of(collection).expect("only served collections have documents").payload.clone()
}

/// A document that holds the genesis change of `collection`, ready to be edited.
///
/// # Panics
/// For a collection that this version does not serve.
pub fn from_genesis(collection: Collection) -> Automerge {
    let genesis = genesis_of(collection).expect("only served collections have documents");
    let mut doc = blank();
    doc.apply_changes([genesis.change.clone()]).expect("a genesis change depends on nothing");
    doc
}

pub(super) fn genesis_of(collection: Collection) -> Option<&'static Genesis> {
    static ALL: OnceLock<Vec<(Collection, Genesis)>> = OnceLock::new();
    let all =
        ALL.get_or_init(|| SHAPES.iter().map(|shape| (shape.collection, make_genesis(shape.collection))).collect());
    all.iter().find(|(of, _)| *of == collection).map(|(_, genesis)| genesis)
}

fn make_genesis(collection: Collection) -> Genesis {
    let author = Author { actor: GENESIS_ACTOR, time_ms: 0 };
    let mut doc = blank();
    let made = served(collection).and_then(|shape| commit(&mut doc, &author, |tx| containers(tx, shape)));
    let payload =
        made.expect("containers at the root are always within bounds").unwrap_or_else(|| without_containers(&mut doc));
    let change = Change::try_from(payload.as_slice()).expect("automerge reads what it wrote");
    let hash = ChangeHash(change.hash().0);
    Genesis { payload, hash, change }
}

fn containers(tx: &mut Transaction<'_>, shape: &Shape) -> Result<(), Invalid> {
    let mut containers = shape.containers();
    containers.try_for_each(|member| {
        tx.put_object(ObjId::Root, member.name(), container_kind(member)).map(drop).map_err(refused)
    })
}

fn without_containers(doc: &mut Automerge) -> Vec<u8> {
    doc.empty_commit(CommitOptions::default().with_time(0));
    doc.get_last_local_change().expect("an empty change was just made").raw_bytes().to_vec()
}

/// What importer `version` read of one session, as one change on top of the genesis: `fields` are flat keys of the
/// table such as `start`, `endurance/distance` or `laps/0/distance`. The same fields make the same bytes on every
/// device, so nothing of the device may be among them; `zone` is what the file itself says.
///
/// A value outside its range is left out: one nonsensical reading of a sensor must not lose the session.
///
/// # Errors
/// [`Invalid`] if a key is not in the table, if no field is left, or if there are more than one change may hold.
pub fn import(
    collection: Collection,
    doc_id: DocId,
    version: u16,
    fields: &[(String, Scalar)],
) -> Result<Vec<u8>, Invalid> {
    let shape = served(collection)?;
    let mut puts = BTreeMap::new();
    for (key, scalar) in fields {
        let key = if key == "zone" { ZONE_FILE } else { key.as_str() };
        let Known::Register(rule) = shape.at_root(key) else {
            return Err(Invalid::field(key, "is not a field that an importer can fill"));
        };
        if !may_import(key) {
            return Err(Invalid::field(key, "is not for importers: it does not come from the file"));
        }
        puts.extend(scalar.stored().filter(|value| rule.allows(value)).map(|value| (key, value)));
    }
    let mut doc = from_genesis(collection);
    let author = Author { actor: ids::import_actor(doc_id, version), time_ms: 0 };
    let made = commit(&mut doc, &author, |tx| {
        puts.into_iter().try_for_each(|(key, value)| tx.put(ObjId::Root, key, value).map_err(refused))
    })?;
    made.ok_or_else(|| Invalid::record("the import holds no field"))
}

/// Whether an imported change may set the register at `key`.
pub(super) fn may_import(key: &str) -> bool {
    !matches!(key, "zone" | ZONE_GUESS | TRASHED)
}
