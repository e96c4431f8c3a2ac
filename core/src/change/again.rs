//! A change written again: the same operations, by another actor, on what its document is without it.

use std::num::NonZeroU64;

use automerge::legacy::{ElementId, Key, ObjectId, OpId};
use automerge::{Automerge, Change};

use crate::id::ActorId;

/// The chunk of `change` as the first change of `author` in `doc`, which does not hold it. What it made itself is made anew;
/// what it changed must be there.
pub(crate) fn written_again(change: &Change, doc: &Automerge, author: ActorId, time_ms: i64) -> Vec<u8> {
    let mut written = change.decode();
    let (from, to) = (written.start_op.get(), 1 + doc.get_changes(&[]).iter().map(Change::max_op).max().unwrap_or(0));
    let by: automerge::ActorId = author.as_bytes().into();
    let moved = |id: &OpId| match id.counter() >= from && *id.actor() == written.actor_id {
        true => OpId(id.counter() - from + to, by.clone()),
        false => id.clone(),
    };
    for op in &mut written.operations {
        if let ObjectId::Id(id) = &mut op.obj {
            *id = moved(id);
        }
        if let Key::Seq(ElementId::Id(id)) = &mut op.key {
            *id = moved(id);
        }
        op.pred = op.pred.iter().map(moved).collect();
    }
    written.actor_id = by;
    written.seq = 1;
    written.start_op = NonZeroU64::new(to).unwrap_or(NonZeroU64::MIN);
    written.time = time_ms;
    written.deps = doc.get_heads();
    written.deps.sort_unstable();
    written.hash = None;
    Change::from(written).raw_bytes().to_vec()
}
