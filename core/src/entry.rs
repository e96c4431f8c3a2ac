//! The entry: the immutable unit of a feed, what is numbered, acknowledged and sent.

use fitme_proto::v1::EntryKind;
use rand::RngCore;

use crate::id::{DocId, EntryId};

/// Random bytes beside the payload, so that what remains of an erased entry cannot be guessed.
pub type Salt = [u8; 8];

/// A new salt.
pub fn random_salt(rng: &mut dyn RngCore) -> Salt {
    let mut salt = Salt::default();
    rng.fill_bytes(&mut salt);
    salt
}

/// One entry as it travels and is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// What the payload is: an [`EntryKind`] by number. One that this version does not know is kept as it came.
    pub kind: i32,
    /// The document it belongs to.
    pub doc_id: DocId,
    /// Milliseconds since 1970 UTC by the author's clock; 0 in a genesis change.
    pub device_time: i64,
    /// All zero in a genesis change.
    pub salt: Salt,
    /// An automerge change chunk, for [`EntryKind::Change`]; a cause's name or nothing, for [`EntryKind::Erase`].
    pub payload: Vec<u8>,
}

impl Entry {
    /// The entry that erases a document. The server names its `cause`; a person needs none.
    pub fn erasure(doc_id: DocId, device_time: i64, salt: Salt, cause: &str) -> Self {
        Self { kind: EntryKind::Erase.into(), doc_id, device_time, salt, payload: cause.as_bytes().to_vec() }
    }

    /// Whether it erases its document.
    pub fn is_erasure(&self) -> bool {
        self.known_kind() == Some(EntryKind::Erase)
    }

    /// The id that both ends compute from the content.
    pub fn id(&self) -> EntryId {
        let mut hasher = blake3::Hasher::new_derive_key("fitme 2026 entry id v1");
        hasher
            .update(&self.kind.to_le_bytes())
            .update(self.doc_id.as_bytes())
            .update(&self.device_time.to_le_bytes())
            .update(&self.salt)
            .update(&self.payload);
        let mut id = [0; 16];
        id.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        EntryId(id)
    }

    /// The kind, if this version knows it.
    pub fn known_kind(&self) -> Option<EntryKind> {
        EntryKind::try_from(self.kind).ok()
    }
}

/// Health data stays out of logs: only what orders the entry is shown.
impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Entry({}, kind {} of {}, {} bytes)", self.id(), self.kind, self.doc_id, self.payload.len())
    }
}

/// The sum, modulo 2^128, of the ids of all entries of a feed up to some sequence number: equal sums at equal numbers
/// prove that both sides counted the same entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Digest(pub u128);

impl Digest {
    /// The digest after one more entry.
    #[must_use]
    pub fn plus(self, id: EntryId) -> Self {
        Self(self.0.wrapping_add(id.as_number()))
    }

    /// The digest before that entry.
    #[must_use]
    pub fn minus(self, id: EntryId) -> Self {
        Self(self.0.wrapping_sub(id.as_number()))
    }

    /// As stored: 16 bytes, big endian.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// From 16 stored bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(u128::from_be_bytes(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The id is computed by every device and every server for ever: this vector never changes.
    #[test]
    fn the_id_of_a_known_entry_is_frozen() {
        let entry = Entry {
            kind: EntryKind::Change.into(),
            doc_id: DocId([7; 16]),
            device_time: 1_763_796_000_000,
            salt: [1, 2, 3, 4, 5, 6, 7, 8],
            payload: b"payload".to_vec(),
        };
        assert_eq!(entry.id().to_string(), "54740735f60e5805f1c66275929bc87b");
    }

    #[test]
    fn a_digest_wraps_and_does_not_depend_on_order() {
        let (a, b) = (EntryId([0xff; 16]), EntryId([1; 16]));
        let both = Digest::default().plus(a).plus(b);
        assert_eq!(both, Digest::default().plus(b).plus(a));
        assert_eq!(both.minus(a).minus(b), Digest::default());
    }
}
