//! A lane writes groups one after the other. A group is what arrived, and was checked, while the one before was being
//! written; an idle lane starts at once with what comes first. There is no timer: waiting for company would add to each
//! entry's latency what the commit before it adds anyway when there is company.

use std::collections::{HashSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use sqlx::PgPool;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc, oneshot};
use uuid::Uuid;

use super::check::Offer;
use super::settle::{Database, Settler, Settling};
use super::{OnCommit, Outcome};
use crate::auth::Device;

/// Entries in one group; a push is never split over groups.
const GROUP_ENTRIES: usize = 1_000;
/// Payload bytes in one group.
const GROUP_BYTES: usize = 2 << 20;

/// The way into a lane.
#[derive(Debug, Clone)]
pub(super) struct Entrance {
    queue: mpsc::UnboundedSender<Push>,
    checked: Arc<Notify>,
}

/// A push in the lane, its checks still under way.
#[derive(Debug)]
pub(super) struct Push {
    pub device: Device,
    pub offers: oneshot::Receiver<Vec<Offer>>,
    pub reply: oneshot::Sender<Outcome>,
    /// Its share of what may wait, given back when it is settled.
    pub room: OwnedSemaphorePermit,
}

impl Entrance {
    /// Joins the queue; false if the lane has ended.
    pub(super) fn join(&self, push: Push) -> bool {
        self.queue.send(push).is_ok()
    }

    /// Tells the lane that some push's checks are done.
    pub(super) fn announce_checked(&self) {
        self.checked.notify_one();
    }
}

pub(super) struct Lane {
    pool: PgPool,
    queue: mpsc::UnboundedReceiver<Push>,
    checked: Arc<Notify>,
    waiting: VecDeque<Waiting>,
    settler: Settler<Database>,
}

enum Waiting {
    Unchecked(Push),
    /// Checked, and too large for the group that was being made.
    Checked(Settling),
}

impl Waiting {
    fn device(&self) -> Uuid {
        match self {
            Self::Unchecked(push) => push.device.device,
            Self::Checked(settling) => settling.device.device,
        }
    }

    /// `Err` if the checks go on; `None` if they were lost.
    fn settling(self) -> Result<Option<Settling>, Self> {
        match self {
            Self::Checked(settling) => Ok(Some(settling)),
            Self::Unchecked(mut push) => match push.offers.try_recv() {
                Ok(offers) => Ok(Some(Settling::new(push.device, offers, push.reply, push.room))),
                Err(TryRecvError::Empty) => Err(Self::Unchecked(push)),
                Err(TryRecvError::Closed) => Ok(None),
            },
        }
    }
}

impl Lane {
    /// Starts a lane, which ends when its entrance or the pool is closed.
    pub(super) fn start(pool: PgPool, patience: Duration, on_commit: OnCommit) -> Entrance {
        let (sender, queue) = mpsc::unbounded_channel();
        let checked = Arc::new(Notify::new());
        let entrance = Entrance { queue: sender, checked: Arc::clone(&checked) };
        let settler = Settler::new(Database::new(pool.clone(), patience), on_commit);
        tokio::spawn(Self { pool, queue, checked, waiting: VecDeque::new(), settler }.run());
        entrance
    }

    async fn run(mut self) {
        let mut open = true;
        let closing = self.pool.close_event();
        tokio::pin!(closing);
        while open || !self.waiting.is_empty() {
            while let Ok(push) = self.queue.try_recv() {
                self.waiting.push_back(Waiting::Unchecked(push));
            }
            let group = self.next_group();
            if !group.is_empty() {
                self.settle(group).await;
                continue;
            }
            tokio::select! {
                push = self.queue.recv(), if open => match push {
                    Some(push) => self.waiting.push_back(Waiting::Unchecked(push)),
                    None => open = false,
                },
                () = self.checked.notified() => {}
                () = &mut closing => return,
            }
        }
    }

    /// Takes what is checked, in order. A push whose checks go on holds up only later ones of its device, which may
    /// build on it.
    fn next_group(&mut self) -> Vec<Settling> {
        let mut group = Vec::new();
        let (mut entries, mut bytes, mut full) = (0, 0, false);
        let mut behind = HashSet::new();
        for waiting in std::mem::take(&mut self.waiting) {
            let device = waiting.device();
            if full || behind.contains(&device) {
                self.waiting.push_back(waiting);
                continue;
            }
            match waiting.settling() {
                Err(unchecked) => {
                    behind.insert(device);
                    self.waiting.push_back(unchecked);
                }
                Ok(None) => {}
                Ok(Some(settling)) => {
                    entries += settling.entries();
                    bytes += settling.bytes();
                    full = !group.is_empty() && (entries > GROUP_ENTRIES || bytes > GROUP_BYTES);
                    if full {
                        self.waiting.push_back(Waiting::Checked(settling));
                    } else {
                        group.push(settling);
                    }
                }
            }
        }
        group
    }

    /// A bug that breaks on a group must not end the lane: its devices are told to push again.
    async fn settle(&mut self, group: Vec<Settling>) {
        if AssertUnwindSafe(self.settler.settle(group)).catch_unwind().await.is_err() {
            tracing::error!("a group could not be settled because of a bug; its devices push again");
            self.settler.storage().forget_connection();
        }
    }
}
