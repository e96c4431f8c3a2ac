//! What a device asks whose history of a feed is another one: `sync-server/src/repair.rs` on the model's tables.

use fitme_core::entry::Digest;
use fitme_core::id::FeedId;
use fitme_core::reconcile::{Answer, Answering, Held, Question};
use uuid::Uuid;

use super::reading::{Away, may_read};
use super::{Database, Inner};

impl Database {
    /// `repair::locate`.
    ///
    /// # Errors
    /// When the database is away.
    pub fn locate(
        &self,
        reader: Uuid,
        feed: FeedId,
        others: bool,
        points: &[(u64, Digest)],
    ) -> Result<Option<u64>, Away> {
        self.read(|inner| {
            owner(inner, reader, feed, others)?;
            let digest = |seq| inner.tables.entries.get(feed, seq).map(|row| row.digest);
            Some(points.iter().find(|(seq, at)| digest(*seq) == Some(*at)).map_or(0, |(seq, _)| *seq))
        })
    }

    /// `repair::compare`.
    ///
    /// # Errors
    /// When the database is away.
    pub fn compare(
        &self,
        reader: Uuid,
        feed: FeedId,
        others: bool,
        questions: &[Question],
    ) -> Result<Option<Vec<Answer>>, Away> {
        self.read(|inner| {
            let owner = owner(inner, reader, feed, others)?;
            Some(questions.iter().map(|question| answer(inner, owner, feed, *question)).collect())
        })
    }
}

/// Whose feed the reader may read.
pub(super) fn owner(inner: &Inner, reader: Uuid, feed: FeedId, others: bool) -> Option<Uuid> {
    if !others {
        return Some(reader);
    }
    let is_named = inner.tables.grants_now.iter().any(|((.., of), row)| *of == feed && row.grantee == reader);
    let owner = inner.tables.feeds.get(&feed).filter(|_| is_named)?.account;
    may_read(inner, reader, owner, feed).then_some(owner)
}

fn answer(inner: &Inner, owner: Uuid, feed: FeedId, question: Question) -> Answer {
    let mut answering = Answering::new(question);
    for ((account, doc_id), document) in &inner.tables.documents {
        let is_in = *doc_id >= question.range.from && question.range.to.is_none_or(|to| *doc_id < to);
        if is_in && (*account, document.feed) == (owner, feed) {
            answering.take(Held { doc_id: *doc_id, heads: document.heads.clone() });
        }
    }
    answering.answer()
}
