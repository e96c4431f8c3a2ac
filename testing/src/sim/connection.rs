//! The server's end of a session: `sync-server/src/ws.rs` in steps. What waits for the database there is a step of its own, so
//! that others commit in between.

use std::collections::VecDeque;
use std::sync::Arc;

use fitme_core::id::{Epoch, FeedId};
use fitme_core::limits;
use fitme_core::session::{Echo, Grants, Mode, ServerEffect, ServerEvent, ServerSession, Settled};
use rand::Rng;
use sync_server::auth::Device;
use sync_server::fanout::{Subscription, withhold};
use sync_server::feeds::Asked;
use sync_server::ingest::Outcome;
use sync_server::ingest::check::Origin;
use tokio::sync::oneshot;

use super::census::Census;
use super::node::{Hint, Node};
use super::script::Dice;

/// Messages that may wait for the socket before the session's next wish is performed.
const OUTGOING: usize = 2;

/// A message, and of whose feed its entries are where that is somebody else's.
type Outgoing = (Option<FeedId>, Vec<u8>);

/// One connection, as its node has it.
pub struct Connection {
    device: Device,
    session: ServerSession,
    news: Subscription,
    ingests: VecDeque<(u64, oneshot::Receiver<Outcome>)>,
    effects: VecDeque<ServerEffect>,
    /// What the session waits for from the database.
    asked: Option<ServerEffect>,
    outgoing: VecDeque<Outgoing>,
    closing: bool,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.session.fmt(f)
    }
}

/// The connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended(pub &'static str);

impl Connection {
    /// A device has dialled.
    pub fn open(node: &Node, device: Device) -> Self {
        Self {
            device,
            session: ServerSession::new(Mode::Socket),
            news: node.fanout.subscription(device.account),
            ingests: VecDeque::new(),
            effects: VecDeque::new(),
            asked: None,
            outgoing: VecDeque::new(),
            closing: false,
        }
    }

    /// Whose it is.
    pub fn device(&self) -> Device {
        self.device
    }

    /// A message came.
    pub fn receive(&mut self, message: &[u8]) {
        self.handle(ServerEvent::Message(message));
    }

    /// The next message, if the device takes it.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        self.outgoing.pop_front().map(|(_, message)| message)
    }

    /// One step; false if there was nothing to do.
    ///
    /// # Errors
    /// When the connection is over.
    pub fn step(&mut self, node: &mut Node, dice: &mut Dice, census: &mut Census) -> Result<bool, Ended> {
        if self.closing && self.outgoing.is_empty() {
            return Err(Ended("closed"));
        }
        // Nothing else is heard while the database is waited for: news of feeds that are being read would be for nobody.
        if let Some(asked) = self.asked.take() {
            self.answer(node, asked, dice, census)?;
            return Ok(true);
        }
        // A receipt goes out before the entry that it is about is echoed.
        if self.settled(node) || self.take_news()? {
            return Ok(true);
        }
        if self.outgoing.len() >= OUTGOING || self.closing {
            return Ok(false);
        }
        let Some(effect) = self.effects.pop_front() else { return Ok(false) };
        self.perform(node, effect)?;
        Ok(true)
    }

    fn handle(&mut self, event: ServerEvent<'_>) {
        self.effects.extend(self.session.handle(event));
    }

    /// `Engine::settle`.
    fn settled(&mut self, node: &mut Node) -> bool {
        let Some((batch, outcome)) = self.ingests.front_mut() else { return false };
        let Ok(outcome) = outcome.try_recv() else { return false };
        let batch = *batch;
        self.ingests.pop_front();
        for own in outcome.own.iter().filter(|own| own.echo != Echo::Fresh) {
            node.fanout.head(own.feed, own.seq);
            node.hints.push(Hint::Head(own.feed, own.seq));
        }
        self.handle(ServerEvent::Settled(Settled { batch, receipts: outcome.receipts, own: outcome.own }));
        true
    }

    fn take_news(&mut self) -> Result<bool, Ended> {
        let news = self.news.take();
        if news.cut_off {
            return Err(Ended("cut off"));
        }
        let is_news = news.grants.is_some() || !news.live.is_empty() || !news.heads.is_empty();
        if let Some(grants) = &news.grants {
            self.withhold(grants)?;
        }
        self.effects.extend(self.news.tell(news, &mut self.session));
        Ok(is_news)
    }

    fn withhold(&mut self, grants: &Grants) -> Result<(), Ended> {
        if withhold(grants, &mut self.outgoing, &self.effects) { Err(Ended("withheld")) } else { Ok(()) }
    }

    fn perform(&mut self, node: &mut Node, effect: ServerEffect) -> Result<(), Ended> {
        match effect {
            ServerEffect::Send(message) => self.outgoing.push_back((None, message)),
            ServerEffect::SendOfOther(feed, message) => self.outgoing.push_back((Some(feed), message)),
            ServerEffect::Close(message) => {
                self.outgoing.push_back((None, message));
                self.closing = true;
            }
            ServerEffect::Renew(_) => {}
            ServerEffect::Ingest { batch, feeds, offered, clock_offset_ms } => {
                let origin = Origin { of_others: offered, clock_offset_ms };
                self.ingests.push_back((batch, node.submit(self.device, feeds, origin)));
            }
            ServerEffect::LoadAccount { cursors, actors } => {
                // Subscribed before it is read: what is committed in between is in the reading or in the inbox.
                self.news.read(cursors.0.keys().copied());
                if cursors.0.is_empty() {
                    self.news.read(node.database.numbers(self.device.account).map_err(|_| Ended("unavailable"))?);
                }
                self.asked = Some(ServerEffect::LoadAccount { cursors, actors });
            }
            asked => self.asked = Some(asked),
        }
        Ok(())
    }

    fn answer(&mut self, node: &Node, asked: ServerEffect, dice: &mut Dice, census: &mut Census) -> Result<(), Ended> {
        let unavailable = |_| Ended("unavailable");
        match asked {
            ServerEffect::LoadAccount { cursors, actors } => {
                let account =
                    node.database.load_account(self.device.account, &cursors, &actors).map_err(unavailable)?;
                let own = account.feeds.iter().map(|feed| feed.feed).collect();
                let fresh = self.news.read(account.feeds.iter().map(|feed| feed.feed));
                self.news.keep_only(&own);
                match fresh {
                    0 => self.handle(ServerEvent::Account(account)),
                    _ => self.asked = Some(ServerEffect::LoadAccount { cursors, actors }),
                }
            }
            ServerEffect::RenewEpochs(feeds) => {
                census.count("session new epoch");
                let epoch = || Epoch(dice.random());
                node.database.renew_epochs(self.device.account, &feeds, epoch).map_err(unavailable)?;
                self.handle(ServerEvent::EpochsRenewed);
            }
            ServerEffect::Read { feed, others, after, max_bytes } => {
                let asked = Asked { feed, after, max_bytes, max_entries: limits::ENTRIES_PAGE };
                let page = match others {
                    false => Some(node.database.read_page(self.device.account, asked).map_err(unavailable)?),
                    true => node.database.read_page_of_other(self.device.account, asked).map_err(unavailable)?,
                };
                self.answered(node, page.map(ServerEvent::Page), census)?;
            }
            ServerEffect::Locate { feed, others, points } => {
                census.count("session locates where histories part");
                let reader = self.device.account;
                let seq = node.database.locate(reader, feed, others, &points).map_err(unavailable)?;
                self.answered(node, seq.map(|seq| ServerEvent::Located { feed, seq }), census)?;
            }
            ServerEffect::Compare { feed, others, questions } => {
                census.count("session compares documents");
                let reader = self.device.account;
                let answers = node.database.compare(reader, feed, others, &questions).map_err(unavailable)?;
                self.answered(node, answers.map(|answers| ServerEvent::Compared { feed, answers }), census)?;
            }
            ServerEffect::ReadSnapshots { others, asked, max_bytes } => {
                census.count("session reads snapshots");
                let reader = self.device.account;
                let read = node.database.read_snapshots(reader, others, &asked, max_bytes).map_err(unavailable)?;
                self.answered(node, read.map(ServerEvent::Snapshots), census)?;
            }
            ServerEffect::Fetch { feed, documents } => {
                census.count("session fetches documents that a device lacks");
                let own = self.device.account;
                let fetched = node.database.single_documents(own, feed, &documents).map_err(unavailable)?;
                self.answered(node, Some(ServerEvent::Fetched(fetched)), census)?;
            }
            // The model's disk damages nothing.
            ServerEffect::Prove(feed) | ServerEffect::BringBack { feed, .. } => {
                census.count("session has a server prove its entries");
                self.answered(node, Some(ServerEvent::Wanted { feed, entries: Vec::new() }), census)?;
            }
            other => unreachable!("{other:?} asks nothing of the database"),
        }
        Ok(())
    }

    /// Hands over what was read; nothing, where the judge did not let it be read: then what may be.
    fn answered(&mut self, node: &Node, event: Option<ServerEvent<'static>>, census: &mut Census) -> Result<(), Ended> {
        let Some(event) = event else {
            census.count("session denied");
            let grants = node.database.load_grants(self.device.account).map_err(|_| Ended("unavailable"))?;
            let grants = Arc::new(grants);
            self.withhold(&grants)?;
            self.news.read(grants.feeds.iter().map(|feed| feed.feed));
            self.handle(ServerEvent::Denied(grants));
            return Ok(());
        };
        self.handle(event);
        Ok(())
    }
}
