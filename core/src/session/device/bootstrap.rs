//! Snapshots on their way into the store: large documents put together from their parts, credit, and what of it is told.

use std::collections::BTreeSet;

use super::*;
use crate::store::{Bootstrapped, Coming};
use crate::wire::Item;
use crate::wire::bootstrap::{FeedBootstrap, Pass, Snapshot, Token};

/// How far the documents have come of feeds in which the device was far behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// So many documents are here.
    pub stored: u64,
    /// Of so many.
    pub total: u64,
    /// Those of the last weeks are here, of every feed.
    pub has_recent: bool,
}

/// What has come in this session, and what has come of a document that comes in parts.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    coming: BTreeMap<FeedId, Coming>,
    partial: Option<(FeedId, Snapshot)>,
    /// Something came that comes after the recent documents of every feed.
    has_recent: bool,
    /// Feeds that come as entries after all; of each the server may have sent more before it heard that.
    refused: BTreeSet<FeedId>,
}

impl Snapshots {
    /// The pages with whole documents only; what begins or goes on in the next page is kept until then.
    fn assemble(&mut self, mut pages: Vec<FeedBootstrap>) -> Result<Vec<FeedBootstrap>, SessionError> {
        for page in &mut pages {
            let parts = std::mem::take(&mut page.documents);
            for part in parts {
                page.documents.extend(self.assembled(page.next.feed, part)?);
            }
        }
        Ok(pages)
    }

    fn assembled(&mut self, feed: FeedId, part: Snapshot) -> Result<Option<Snapshot>, SessionError> {
        let document = match self.partial.take() {
            None => part,
            Some((begun, mut document)) => {
                if begun != feed || !document.append(part) {
                    return Err(SessionError::OutOfTurn("a part of another document"));
                }
                document
            }
        };
        if document.more {
            self.partial = Some((feed, document));
            return Ok(None);
        }
        Ok(Some(document))
    }

    fn progress(&self) -> Progress {
        Progress {
            stored: self.coming.values().map(|feed| feed.stored).sum(),
            total: self.coming.values().map(|feed| feed.total).sum(),
            has_recent: self.has_recent,
        }
    }
}

impl DeviceSession {
    pub(super) fn bootstrap(
        &mut self,
        store: &mut Store,
        pages: Vec<FeedBootstrap>,
        rng: &mut dyn RngCore,
        effects: &mut Vec<DeviceEffect>,
    ) -> Result<(), SessionError> {
        let bytes: usize = pages.iter().map(bytes).sum();
        let upto: BTreeMap<_, _> = pages.iter().map(|page| (page.next.feed, page.next.upto)).collect();
        self.snapshots.has_recent |= pages.iter().any(is_behind_recent);
        let pages = self.snapshots.assemble(pages)?;
        let Bootstrapped { applied, coming, refused } = store.apply_bootstrap(pages)?;
        self.snapshots.coming.extend(coming);
        self.refuse(refused, &upto, effects)?;
        for actor in &applied.shared_actors {
            store.renew_actor(*actor, rng)?;
        }
        self.confirm(bytes as u64, effects)?;
        self.settle_owed(store)?;
        effects.push(DeviceEffect::Received(applied, self.snapshots.progress()));
        Ok(())
    }

    /// Has feeds sent as entries; everything is not here before those have come. An exchange says it with the next Hello.
    fn refuse(
        &mut self,
        tokens: Vec<Token>,
        upto: &BTreeMap<FeedId, u64>,
        effects: &mut Vec<DeviceEffect>,
    ) -> Result<(), SessionError> {
        for feed in tokens.iter().map(|token| token.feed) {
            self.snapshots.refused.insert(feed);
            self.owed.insert(feed, upto.get(&feed).copied().unwrap_or_default());
        }
        if tokens.is_empty() || self.max_bytes > 0 {
            return Ok(());
        }
        send(&Frame::Bootstrap { feeds: Vec::new(), tokens }, effects)
    }

    /// The pages that follow what is here; those beyond, of a feed that is to come as entries, come again.
    pub(super) fn in_order(&self, store: &mut Store, pages: Vec<FeedPage>) -> Result<(Vec<FeedPage>, u64), StoreError> {
        let (mut kept, mut dropped) = (Vec::new(), 0);
        for page in pages {
            let is_beyond = self.snapshots.refused.contains(&page.feed)
                && store.cursor(page.feed)?.is_some_and(|cursor| page.first_seq > cursor + 1);
            if is_beyond {
                let full = |item: &Item| if let Item::Full(entry) = item { entry.payload.len() as u64 } else { 0 };
                dropped += page.items.iter().map(full).sum::<u64>();
            } else {
                kept.push(page);
            }
        }
        Ok((kept, dropped))
    }
}

/// Whether the page is of a later pass: the others begin when the recent documents of every feed are through.
fn is_behind_recent(page: &FeedBootstrap) -> bool {
    page.next.pass > Pass::Rest || page.next.pass == Pass::Rest && page.next.last.is_some()
}

/// What the server counts against the window.
fn bytes(page: &FeedBootstrap) -> usize {
    let erasures: usize = page.erasures.iter().map(|(_, entry)| entry.payload.len()).sum();
    page.documents.iter().map(Snapshot::bytes).sum::<usize>() + erasures
}
