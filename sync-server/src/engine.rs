//! What a sync session needs of this server, performed: the effects that the core's state machine asks for. The socket
//! and the one-shot exchange drive the same thing.

use std::sync::Arc;
use std::time::Instant;

use fitme_core::entry::Entry;
use fitme_core::id::{ActorId, FeedId};
use fitme_core::limits;
use fitme_core::reconcile::{Answer, Question};
use fitme_core::session::{Echo, ServerEffect, ServerEvent, Settled};
use fitme_core::wire::{Cursors, FeedPush, Token};
use sqlx::PgPool;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::auth::Device;
use crate::bootstrap;
use crate::clock::Clock;
use crate::fanout::Fanout;
use crate::feeds::{self, Named};
use crate::hints::Hints;
use crate::ingest::{Committed, Ingest};
use crate::live_sign_ins::LiveSignIns;
use crate::merge::MergeWorkers;
use crate::metrics::Metrics;
use crate::prove;
use crate::regrants::Regrants;
use crate::repair;

/// Merge workers of one node. They compute; a third would take a core from those whom a device waits for.
const MERGE_WORKERS: usize = 2;
/// With so much waiting to be written, merging takes fewer turns: devices wait for their receipts, and nobody for a merge. It is
/// what sixteen devices push that come back from a training session at once.
const PRESSED_KIB: usize = 64;

/// The parts of the server that sessions use; cloning is cheap.
#[derive(Debug, Clone)]
pub struct Engine {
    /// Connections to the database.
    pub pool: PgPool,
    /// Accepts or refuses what devices push.
    pub ingest: Ingest,
    /// Hands out what was accepted.
    pub fanout: Fanout,
    /// The sign-ins that are connected, so that they can be ended.
    pub live: LiveSignIns,
    clock: Clock,
    /// What this node does, in numbers.
    pub metrics: Metrics,
    hints: Hints,
    /// Who compares documents.
    comparing: Arc<Semaphore>,
    /// They end with the last clone.
    _workers: Arc<MergeWorkers>,
}

/// What performing an effect comes to.
pub enum Performed {
    /// A message for the device.
    Send(Vec<u8>),
    /// A last message for the device.
    Close(Vec<u8>),
    /// An answer for the session.
    Event(ServerEvent<'static>),
    /// A token under which the connection wants to go on.
    Renew(Token),
    /// Work that goes on beside the session.
    Ingest {
        /// The device's number for it.
        batch: u64,
        /// The entries.
        feeds: Vec<FeedPush>,
        /// Whether others may have written them.
        offered: bool,
    },
}

impl Engine {
    /// Starts ingest, merge workers and the talk with other nodes on this database, until `shutdown`.
    #[must_use]
    pub fn start(pool: PgPool, clock: Clock, shutdown: &CancellationToken) -> Self {
        let (fanout, hints, news) = (Fanout::default(), Hints::default(), Arc::new(Notify::new()));
        let (regrants, live_sign_ins) = (Regrants::default(), LiveSignIns::default());
        regrants.start(&pool, &fanout, shutdown);
        hints.start(&pool, &fanout, &regrants, &live_sign_ins, shutdown);
        let (live, told, appended) = (fanout.clone(), hints.clone(), Arc::clone(&news));
        let ingest = Ingest::start(pool.clone(), move |committed| match committed {
            Committed::Entries(entries) => {
                live.publish(&entries);
                told.head(entries.feed, entries.last_seq());
                appended.notify_one();
            }
            Committed::Regranted(grantee) => {
                regrants.tell(grantee);
                told.regranted(grantee);
            }
        });
        let pushed = ingest.clone();
        let is_pressed = move || pushed.waiting_kib() > PRESSED_KIB;
        // How far a feed is merged is no hurry, and what counts for devices the poll reads.
        let workers = MergeWorkers::start_beside(&pool, MERGE_WORKERS, &news, |_, _| {}, is_pressed);
        let metrics = Metrics::default();
        let comparing = Arc::new(Semaphore::new(repair::AT_ONCE));
        Self {
            pool,
            ingest,
            fanout,
            live: live_sign_ins,
            clock,
            metrics,
            hints,
            comparing,
            _workers: Arc::new(workers),
        }
    }

    /// Performs one effect of a session of `device`. What waits for the database is boxed: a connection has room for all
    /// that it may ever wait for, also while it is idle, and statements take 17 KiB of it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn perform(&self, device: Device, effect: ServerEffect) -> Result<Performed, sqlx::Error> {
        Ok(match effect {
            ServerEffect::Send(message) | ServerEffect::SendOfOther(_, message) => Performed::Send(message),
            ServerEffect::Close(message) => Performed::Close(message),
            ServerEffect::Renew(token) => Performed::Renew(token),
            ServerEffect::Ingest { batch, feeds, offered } => Performed::Ingest { batch, feeds, offered },
            ServerEffect::LoadAccount { cursors, actors } => self.load_account(device, &cursors, &actors, None).await?,
            ServerEffect::RenewEpochs(diverged) => {
                tracing::warn!(feeds = diverged.len(), "a device holds another history of its feeds; they start anew");
                Box::pin(feeds::renew_epochs(&self.pool, device.account, &diverged)).await?;
                Performed::Event(ServerEvent::EpochsRenewed)
            }
            ServerEffect::Read { feed, others, after, max_bytes } => {
                let asked = feeds::Asked { feed, after, max_bytes, max_entries: limits::ENTRIES_PAGE };
                let page = match others {
                    false => Some(Box::pin(feeds::read_page(&self.pool, device.account, asked)).await?),
                    true => Box::pin(feeds::read_page_of_other(&self.pool, device, asked, self.clock.now_ms())).await?,
                };
                match page {
                    Some(page) => Performed::Event(ServerEvent::Page(page)),
                    None => self.denied(device).await?,
                }
            }
            ServerEffect::Locate { feed, others, points } => {
                let asked = repair::Asked { feed, others };
                match Box::pin(repair::locate(&self.pool, device, asked, &points)).await? {
                    Some(seq) => Performed::Event(ServerEvent::Located { feed, seq }),
                    None => self.denied(device).await?,
                }
            }
            ServerEffect::Compare { feed, others, questions } => {
                let asked = repair::Asked { feed, others };
                match Box::pin(self.compare(device, asked, &questions)).await? {
                    Some(answers) => Performed::Event(ServerEvent::Compared { feed, answers }),
                    None => self.denied(device).await?,
                }
            }
            ServerEffect::Fetch { feed, documents } => {
                let fetched =
                    Box::pin(bootstrap::single_documents(&self.pool, device.account, feed, &documents)).await?;
                Performed::Event(ServerEvent::Fetched(fetched))
            }
            ServerEffect::Prove(feed) => Box::pin(self.prove(device, feed, None)).await?,
            ServerEffect::BringBack { feed, entries } => Box::pin(self.prove(device, feed, Some(entries))).await?,
            ServerEffect::ReadSnapshots { others: false, asked, max_bytes } => {
                let read = Box::pin(bootstrap::read(&self.pool, device.account, &asked, max_bytes)).await?;
                Performed::Event(ServerEvent::Snapshots(read))
            }
            ServerEffect::ReadSnapshots { others: true, asked, max_bytes } => {
                let (mut read, now_ms) = (Vec::new(), self.clock.now_ms());
                for one in asked {
                    match Box::pin(bootstrap::read_of_other(&self.pool, device, one, max_bytes, now_ms)).await? {
                        Some(page) => read.extend(page),
                        None => return self.denied(device).await,
                    }
                }
                Performed::Event(ServerEvent::Snapshots(read))
            }
        })
    }

    /// What the account may read of others now, because something of it was asked for and may not be read.
    async fn denied(&self, device: Device) -> Result<Performed, sqlx::Error> {
        let grants = Box::pin(feeds::load_grants(&self.pool, device.account)).await?;
        Ok(Performed::Event(ServerEvent::Denied(Arc::new(grants))))
    }

    /// Proves a feed when it is its turn, with what a device brings back of it.
    async fn prove(
        &self,
        device: Device,
        feed: FeedId,
        brought: Option<Vec<(u64, Entry)>>,
    ) -> Result<Performed, sqlx::Error> {
        let _turn = self.comparing.acquire().await;
        let entries = match brought {
            None => prove::prove(&self.pool, device.account, feed).await?,
            Some(entries) => prove::bring_back(&self.pool, device, feed, entries).await?,
        };
        Ok(Performed::Event(ServerEvent::Wanted { feed, entries }))
    }

    /// When it is its turn.
    async fn compare(
        &self,
        device: Device,
        asked: repair::Asked,
        questions: &[Question],
    ) -> Result<Option<Vec<Answer>>, sqlx::Error> {
        let _turn = self.comparing.acquire().await;
        repair::compare(&self.pool, device, asked, questions).await
    }

    /// The feeds that the account may have to be told of.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn named(&self, account: Uuid) -> Result<Named, sqlx::Error> {
        Box::pin(feeds::named(&self.pool, account)).await
    }

    /// Performs [`ServerEffect::LoadAccount`] for who knows already what grants name.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn load_account(
        &self,
        device: Device,
        cursors: &Cursors,
        actors: &[ActorId],
        named: Option<Named>,
    ) -> Result<Performed, sqlx::Error> {
        let account = Box::pin(feeds::load_account(&self.pool, device.account, cursors, actors, named)).await?;
        Ok(Performed::Event(ServerEvent::Account(account)))
    }

    /// Has a push accepted or refused. Every entry gets a receipt, also when the database is away: then it is to be
    /// pushed again.
    pub async fn settle(&self, device: Device, batch: u64, feeds: Vec<FeedPush>, offered: bool) -> Settled {
        let began = Instant::now();
        let outcome = match offered {
            true => self.ingest.submit_of_others(device, feeds).await,
            false => self.ingest.submit(device, feeds).await,
        };
        self.metrics.settled(&outcome.receipts, began.elapsed());
        // A commit that was not heard of, because its node died over it, is announced when the device pushes again.
        for own in outcome.own.iter().filter(|own| own.echo != Echo::Fresh) {
            self.fanout.head(own.feed, own.seq);
            self.hints.head(own.feed, own.seq);
        }
        Settled { batch, receipts: outcome.receipts, own: outcome.own }
    }
}
