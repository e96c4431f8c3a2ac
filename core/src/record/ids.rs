//! Ids that are derived from what they name, and ids of items.

use rand::RngCore;

use crate::id::{ActorId, DocId};

/// Actors that begin so are nobody's: only a genesis change and imported changes have them.
const RESERVED: &[u8; 6] = b"fitme/";
/// The actor of every genesis change.
pub(crate) const GENESIS_ACTOR: ActorId = ActorId(*b"fitme/genesis/v1");

/// The id of the one profile of an account; after an erasure the next creation uses the next generation.
pub fn profile_id(generation: u32) -> DocId {
    DocId::derived(&[b"profile", &generation.to_le_bytes()])
}

/// The id of the workout that one session of an imported file is, on whatever device it is imported.
pub fn imported_id(file_hash: &[u8; 32], session: u32, generation: u32) -> DocId {
    DocId::derived(&[b"workout", file_hash, &session.to_le_bytes(), &generation.to_le_bytes()])
}

/// The actor of what importer `version` reads into `doc_id`: the same on every device, so that the same import made
/// twice is the same change.
pub fn import_actor(doc_id: DocId, version: u16) -> ActorId {
    let mut hasher = blake3::Hasher::new_derive_key("fitme 2026 import actor v1");
    let hash = hasher.update(doc_id.as_bytes()).update(&version.to_be_bytes()).finalize();
    let mut actor = [0; 16];
    actor[..6].copy_from_slice(RESERVED);
    actor[6..14].copy_from_slice(&hash.as_bytes()[..8]);
    actor[14..].copy_from_slice(&version.to_be_bytes());
    ActorId(actor)
}

/// The importer's version, if `actor` is an importer's in `doc_id`.
pub fn import_version(doc_id: DocId, actor: ActorId) -> Option<u16> {
    imported(actor.as_bytes()).filter(|version| import_actor(doc_id, *version) == actor)
}

/// The importer's version, if `actor` is an importer's in whatever document it was found.
pub(crate) fn imported(actor: &[u8]) -> Option<u16> {
    let version = actor.strip_prefix(RESERVED)?.last_chunk().copied().map(u16::from_be_bytes)?;
    (actor != GENESIS_ACTOR.as_bytes()).then_some(version)
}

/// Whether no device may write under this actor.
pub(crate) fn is_reserved(actor: ActorId) -> bool {
    actor.as_bytes().starts_with(RESERVED)
}

/// Base 32 without the letters that are easily mistaken.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const ITEM_ID_CHARACTERS: usize = 8;

/// A new item's id: 40 random bits are short in every change that names the item, and enough among the items of one
/// document.
pub(crate) fn item_id(rng: &mut dyn RngCore) -> String {
    let mut bits = rng.next_u64();
    let mut draw = || {
        let character = ALPHABET[(bits & 31) as usize] as char;
        bits >>= 5;
        character
    };
    (0..ITEM_ID_CHARACTERS).map(|_| draw()).collect()
}

/// Whether `id` has the form of [`item_id`].
pub(crate) fn is_item_id(id: &str) -> bool {
    id.len() == ITEM_ID_CHARACTERS && id.bytes().all(|byte| ALPHABET.contains(&byte))
}

/// Whether `id` may name a row: a number from an import, or an item's id.
pub(crate) fn is_row_id(id: &str) -> bool {
    row_number(id).is_some() || is_item_id(id)
}

/// The number of an imported row: "0", "1", "2"…
fn row_number(id: &str) -> Option<u32> {
    let canonical = id == "0" || !id.starts_with('0');
    (id.len() < ITEM_ID_CHARACTERS && canonical && id.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| id.parse().ok())?
}

/// The order of rows: imported ones by number, then those added later by id.
pub(crate) fn row_order(id: &str) -> (u32, &str) {
    (row_number(id).unwrap_or(u32::MAX), id)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Devices that never met must agree on these for ever.
    #[test]
    fn derived_ids_are_frozen() {
        assert_eq!(profile_id(0).to_string(), "f72f8afb-3659-8645-83a9-740627aafc79");
        assert_eq!(imported_id(&[7; 32], 1, 0).to_string(), "43cea53d-bc2d-8ce3-a9a3-9c87d94d45e1");
        assert_eq!(import_actor(DocId([7; 16]), 3).to_string(), "6669746d652f5519391936ab87710003");
    }

    #[test]
    fn an_import_actor_is_recognised_in_its_document_only() {
        let (here, elsewhere) = (profile_id(0), profile_id(1));
        let actor = import_actor(here, 258);
        assert_eq!(import_version(here, actor), Some(258));
        assert_eq!(import_version(elsewhere, actor), None);
        assert_eq!(import_version(here, GENESIS_ACTOR), None);
        assert_eq!(import_version(here, ActorId([9; 16])), None);
    }

    #[test]
    fn rows_come_by_number_then_by_id() {
        let mut ids = vec!["b2345678", "10", "9", "a2345678", "0"];
        ids.sort_by_key(|id| row_order(id));
        assert_eq!(ids, ["0", "9", "10", "a2345678", "b2345678"]);
        assert!(!is_row_id("007") && !is_row_id("") && !is_row_id("1/2") && is_row_id("12345678"));
    }
}
