//! The header of a document chunk: what a device looks at of a snapshot that it stores without loading it. Loading one takes
//! a hundred times as long, and automerge may answer Ok to what is not whole, so the checksum and the heads are compared here.

use sha2::{Digest, Sha256};

use super::chunk::{CHECKSUM_BYTES, HASH_BYTES, MAGIC};
use super::reader::{Reader, damaged};
use super::{BadChange, limits};
use crate::id::ChangeHash;

const CHUNK_TYPE_DOCUMENT: u8 = 0;

/// The heads, sorted, of the one document chunk that `snapshot` is, if its checksum is right.
///
/// # Errors
/// [`BadChange`] if it is anything else.
pub fn document_heads(snapshot: &[u8]) -> Result<Vec<ChangeHash>, BadChange> {
    let mut reader = Reader(snapshot);
    let is_magic = reader.take(MAGIC.len() as u64)? == MAGIC;
    let checksum = reader.take(CHECKSUM_BYTES)?;
    let hashed = reader.0;
    if !is_magic || reader.take(1)? != [CHUNK_TYPE_DOCUMENT] {
        return Err(damaged("it is no document"));
    }
    let length = reader.unsigned()?;
    let mut body = Reader(reader.take(length)?);
    if !reader.0.is_empty() || !Sha256::digest(hashed).starts_with(checksum) {
        return Err(damaged("its checksum differs"));
    }
    for _ in 0..body.unsigned()? {
        body.actor()?;
    }
    heads(&mut body)
}

fn heads(body: &mut Reader<'_>) -> Result<Vec<ChangeHash>, BadChange> {
    let claimed = body.unsigned()?;
    if claimed > limits::CHANGE_DEPENDENCIES {
        return Err(BadChange::TooManyDependencies { claimed });
    }
    let mut heads = Vec::new();
    for _ in 0..claimed {
        heads.extend(ChangeHash::from_slice(body.take(HASH_BYTES)?));
    }
    heads.sort_unstable();
    Ok(heads)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use automerge::ROOT;
    use automerge::transaction::Transactable;

    use super::*;
    use crate::{merge, record};

    fn two_headed() -> automerge::Automerge {
        let mut doc = record::blank().with_actor(vec![1; 16].into());
        doc.transact::<_, _, automerge::AutomergeError>(|tx| tx.put(ROOT, "a", 1)).unwrap();
        let mut other = doc.fork().with_actor(vec![2; 16].into());
        doc.transact::<_, _, automerge::AutomergeError>(|tx| tx.put(ROOT, "b", 1)).unwrap();
        other.transact::<_, _, automerge::AutomergeError>(|tx| tx.put(ROOT, "c", 1)).unwrap();
        doc.merge(&mut other).unwrap();
        doc
    }

    #[test]
    fn the_heads_in_the_header_are_those_of_the_document() {
        let doc = two_headed();
        assert_eq!(document_heads(&doc.save_nocompress()).unwrap(), merge::heads(&doc));
        assert_eq!(merge::heads(&doc).len(), 2);
    }

    #[test]
    fn a_flipped_bit_anywhere_is_seen() {
        let whole = two_headed().save_nocompress();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            assert!(document_heads(&flipped).is_err(), "byte {at}");
        }
        assert!(document_heads(&whole[..whole.len() - 1]).is_err());
        assert!(document_heads(&[&whole[..], &[0]].concat()).is_err());
        assert!(document_heads(&[]).is_err());
    }
}
