//! Drives the core's session over a WebSocket: the only loop of the device that waits for the network. Store calls block
//! for a few milliseconds at most, so they run in place.

use std::time::{Duration, Instant};

use fitme_core::limits;
use fitme_core::session::{DeviceEffect, DeviceEvent, DeviceSession, Progress};
use fitme_core::store::{Applied, Ended, Store, Tokens};
use fitme_core::wire::{self, Frame, Goodbye, Reason, Token};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use rand::Rng;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

use crate::clock::now_ms;
use crate::devices;
use crate::error::ServerError;
use crate::tokens;
use crate::transport::Socket;

/// Without any message for so long the server is taken for gone; it pings more often than that.
const SILENCE: Duration = Duration::from_secs(120);
/// A server that takes no byte for so long is gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);
/// Messages that wait for the socket: Hello, what the server wanted to know, the pushes in flight, a few credits.
const OUTGOING: usize = limits::PUSHES_IN_FLIGHT + 12;
/// How long the goodbye may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long another process of this home may take to keep the tokens of a new sign-in.
const SIGN_IN_SETTLES: Duration = Duration::from_millis(500);
/// How long to wait after the next access token could not be had.
const RENEW_AGAIN: Duration = Duration::from_secs(10);
/// Longest that a session waits before it asks for the next access token, whatever the device's clock says.
const LONGEST_WAIT_MS: i64 = 60 * 60 * 1_000;
/// First wait before a reconnect; doubled each time, with jitter.
const BACKOFF_FIRST: Duration = Duration::from_millis(250);
/// Longest wait before a reconnect.
const BACKOFF_MOST: Duration = Duration::from_secs(60);

/// What a sync moved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Entries that the server sent, own ones included.
    pub received: usize,
    /// Records that changed.
    pub changed_records: usize,
    /// Writes the server refused.
    pub refused: usize,
    /// Entries that the server had lost, and that were sent again.
    pub sent_again: usize,
    /// Records that were missing or damaged here, and came again.
    pub mended: usize,
    /// Entries that the server had lost or damaged, and has back from here.
    pub brought_back: usize,
    /// Entries that the server has lost or damaged, and that are not here.
    pub wanting: usize,
    /// Records that were erased elsewhere, and so here.
    pub erased: usize,
    /// What others no longer share; it was removed from this device.
    pub ended: Vec<Ended>,
    /// Message bytes sent.
    pub bytes_out: u64,
    /// Message bytes received.
    pub bytes_in: u64,
    /// Messages in either direction.
    pub messages: u64,
    /// From dialling to in sync.
    pub took: Duration,
}

impl Report {
    /// What both moved, in so much time.
    #[must_use]
    pub fn and(self, more: Self, took: Duration) -> Self {
        Self {
            received: self.received + more.received,
            changed_records: self.changed_records + more.changed_records,
            refused: self.refused + more.refused,
            sent_again: self.sent_again + more.sent_again,
            mended: self.mended + more.mended,
            brought_back: self.brought_back + more.brought_back,
            wanting: self.wanting + more.wanting,
            erased: self.erased + more.erased,
            ended: self.ended.into_iter().chain(more.ended).collect(),
            bytes_out: self.bytes_out + more.bytes_out,
            bytes_in: self.bytes_in + more.bytes_in,
            messages: self.messages + more.messages,
            took,
        }
    }

    /// Adds what was stored.
    pub(crate) fn count(&mut self, applied: &Applied) {
        self.received += applied.entries;
        self.changed_records += applied.changed();
        self.erased += applied.erased.len();
    }
}

/// What observers of a live sync hear.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// Connected; what is missing on either side is on its way.
    Connected,
    /// Everything is on both sides.
    Synced,
    /// Records changed.
    Applied(Applied),
    /// Records came whole, because this device was far behind.
    Received(Applied, Progress),
    /// Somebody no longer shares something; it was removed from this device.
    Revoked(Ended),
    /// The server refused so many writes.
    Refused(usize),
    /// The server had lost so many entries, which are sent again.
    SentAgain(usize),
    /// So many records were missing or damaged here, and came again.
    Mended(usize),
    /// The server had lost or damaged entries.
    BroughtBack {
        /// So many were here, and it has them back.
        entries: usize,
        /// So many are not here.
        wanting: usize,
    },
    /// No connection; the next attempt follows after so long.
    Offline {
        /// Why, in a sentence.
        reason: String,
        /// Until the next attempt.
        retry_in: Duration,
    },
}

/// Syncs until everything is on both sides.
pub async fn until_synced(store: &mut Store) -> Result<Report, ServerError> {
    until_synced_telling(store, None).await
}

/// The same, and tells how it goes on; a full channel loses news, never data.
pub async fn until_synced_telling(store: &mut Store, news: Option<mpsc::Sender<News>>) -> Result<Report, ServerError> {
    let started = Instant::now();
    let mut connection = Connection::open(store).await?;
    connection.news = news;
    connection.event(store, DeviceEvent::Opened).await?;
    while !connection.synced {
        let renewal = tokio::time::sleep_until(connection.renew_at);
        tokio::select! {
            message = connection.next() => connection.take(store, message?).await?,
            () = renewal => connection.renew(store).await?,
        }
    }
    connection.close().await;
    Ok(Report { took: started.elapsed(), ..std::mem::take(&mut connection.report) })
}

/// Stays in sync until the error that no retry mends: reconnects with growing, jittered pauses, and pushes what `written`
/// announces. Observers hear through `news`; a full channel loses news, never data.
pub async fn watch(store: &mut Store, written: &mut mpsc::Receiver<()>, news: &mpsc::Sender<News>) -> ServerError {
    let mut backoff = BACKOFF_FIRST;
    loop {
        let error = match live(store, written, news, &mut backoff).await {
            Ok(never) => match never {},
            Err(error) => error,
        };
        let error = why_ended(store, error).await;
        if !error.is_passing() {
            return error;
        }
        let asked = match &error {
            ServerError::Refused { retry_after, .. } => *retry_after,
            _ => Duration::ZERO,
        };
        let retry_in = backoff.max(asked).mul_f64(rand::rng().random_range(0.75..1.5));
        tell(news, News::Offline { reason: error.to_string(), retry_in });
        tokio::time::sleep(retry_in).await;
        backoff = (backoff * 2).min(BACKOFF_MOST);
    }
}

/// A goodbye does not say why the device was signed out; the answer to a request does. Where another process of this home
/// has just signed in anew, all goes on.
async fn why_ended(store: &mut Store, error: ServerError) -> ServerError {
    if !matches!(error, ServerError::SignInAgain) {
        return error;
    }
    tokio::time::sleep(SIGN_IN_SETTLES).await;
    let anew = || ServerError::Broken("this device has signed in anew".to_owned());
    devices::list(store).await.err().unwrap_or_else(anew)
}

async fn live(
    store: &mut Store,
    written: &mut mpsc::Receiver<()>,
    news: &mpsc::Sender<News>,
    backoff: &mut Duration,
) -> Result<std::convert::Infallible, ServerError> {
    let mut connection = Connection::open(store).await?;
    connection.news = Some(news.clone());
    connection.event(store, DeviceEvent::Opened).await?;
    tell(news, News::Connected);
    loop {
        let renewal = tokio::time::sleep_until(connection.renew_at);
        tokio::select! {
            message = connection.next() => {
                let message = message?;
                connection.take(store, message).await?;
                // Not at the first message: a server in trouble greets, too.
                if std::mem::take(&mut connection.synced) {
                    *backoff = BACKOFF_FIRST;
                }
            }
            Some(()) = written.recv() => connection.event(store, DeviceEvent::Written).await?,
            () = renewal => connection.renew(store).await?,
        }
    }
}

/// Reads and writes at the same time: a server that sends while it is being pushed to must not have to wait for itself.
struct Connection {
    incoming: SplitStream<Socket>,
    outgoing: mpsc::Sender<Message>,
    writer: JoinHandle<()>,
    session: DeviceSession,
    report: Report,
    synced: bool,
    news: Option<mpsc::Sender<News>>,
    /// When to go on under the next access token.
    renew_at: tokio::time::Instant,
}

impl Connection {
    /// The store is borrowed mutably: a store can be sent to another thread but not be used by two, so a shared borrow
    /// across the dialling would bind the whole sync to one thread.
    async fn open(store: &mut Store) -> Result<Self, ServerError> {
        let socket = tokens::with_access(store, |server, access| async move { server.dial(&access).await }).await?;
        let (sink, incoming) = socket.split();
        let (outgoing, messages) = mpsc::channel(OUTGOING);
        let writer = tokio::spawn(write(sink, messages));
        let (session, report) = (DeviceSession::new(), Report::default());
        let renew_at = instant_of(&store.tokens()?);
        Ok(Self { incoming, outgoing, writer, session, report, synced: false, news: None, renew_at })
    }

    /// Goes on under the next access token, so that the server does not end the session with the old one. The old one lives
    /// for a while yet: a network that fails now is no reason to stop.
    async fn renew(&mut self, store: &mut Store) -> Result<(), ServerError> {
        let old = store.tokens()?.access;
        match tokens::renew(store, &old).await {
            Ok(access) => {
                self.renew_at = instant_of(&store.tokens()?);
                self.send(wire::encode(&Frame::Renew(Token(access)))?)
            }
            Err(error) if error.is_passing() => {
                self.renew_at = tokio::time::Instant::now() + RENEW_AGAIN;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn next(&mut self) -> Result<Message, ServerError> {
        match tokio::time::timeout(SILENCE, self.incoming.next()).await {
            Ok(Some(Ok(message))) => Ok(message),
            Ok(Some(Err(error))) => Err(ServerError::Broken(error.to_string())),
            Ok(None) => Err(ServerError::Broken("the server closed it".to_owned())),
            Err(_) => Err(ServerError::Broken("the server fell silent".to_owned())),
        }
    }

    async fn take(&mut self, store: &mut Store, message: Message) -> Result<(), ServerError> {
        match message {
            Message::Binary(bytes) => {
                self.report.bytes_in += bytes.len() as u64;
                self.report.messages += 1;
                self.event(store, DeviceEvent::Message(&bytes)).await
            }
            Message::Close(_) => Err(ServerError::Broken("the server closed it".to_owned())),
            // Pings are answered by the library when the socket is read.
            _ => Ok(()),
        }
    }

    async fn event(&mut self, store: &mut Store, event: DeviceEvent<'_>) -> Result<(), ServerError> {
        let effects = self.session.handle(store, event, now_ms(), &mut rand::rng())?;
        for effect in effects {
            self.perform(effect).await?;
        }
        Ok(())
    }

    async fn perform(&mut self, effect: DeviceEffect) -> Result<(), ServerError> {
        match effect {
            DeviceEffect::Send(bytes) => return self.send(bytes),
            DeviceEffect::Applied(applied) => {
                self.report.count(&applied);
                self.tell(News::Applied(applied));
            }
            DeviceEffect::Received(applied, progress) => {
                self.report.count(&applied);
                self.tell(News::Received(applied, progress));
            }
            DeviceEffect::Refused(entries) => {
                self.report.refused += entries;
                self.tell(News::Refused(entries));
            }
            DeviceEffect::SentAgain(entries) => {
                self.report.sent_again += entries;
                self.tell(News::SentAgain(entries));
            }
            DeviceEffect::Mended(records) => {
                self.report.mended += records;
                self.tell(News::Mended(records));
            }
            DeviceEffect::BroughtBack { entries, wanting } => {
                self.report.brought_back += entries;
                self.report.wanting += wanting;
                self.tell(News::BroughtBack { entries, wanting });
            }
            DeviceEffect::Revoked(ended) => {
                self.report.ended.push(ended.clone());
                self.tell(News::Revoked(ended));
            }
            DeviceEffect::Synced => {
                self.synced = true;
                self.tell(News::Synced);
            }
            DeviceEffect::Closed(goodbye) => return Err(ended(goodbye)),
        }
        Ok(())
    }

    fn send(&mut self, bytes: Vec<u8>) -> Result<(), ServerError> {
        self.report.bytes_out += bytes.len() as u64;
        self.report.messages += 1;
        // The queue is never full: the session has a bound on what it sends without an answer.
        let queued = self.outgoing.try_send(Message::Binary(bytes.into()));
        queued.map_err(|_| ServerError::Broken("the server takes nothing any more".to_owned()))
    }

    fn tell(&self, news: News) {
        if let Some(observers) = &self.news {
            tell(observers, news);
        }
    }

    async fn close(&mut self) {
        // Everything is settled; a server that does not hear the goodbye notices the closed socket.
        let _settled = self.outgoing.try_send(Message::Close(None));
        let _settled = tokio::time::timeout(CLOSE_TIMEOUT, self.next()).await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.writer.abort();
    }
}

/// Ends when the socket breaks or takes nothing; the reading half notices.
async fn write(mut sink: SplitSink<Socket, Message>, mut messages: mpsc::Receiver<Message>) {
    while let Some(message) = messages.recv().await {
        if !matches!(tokio::time::timeout(SEND_TIMEOUT, sink.send(message)).await, Ok(Ok(()))) {
            return;
        }
    }
}

/// When it is time for the next tokens, by the clock that waits.
fn instant_of(tokens: &Tokens) -> tokio::time::Instant {
    let left = tokens.renew_at.saturating_sub(now_ms()).clamp(0, LONGEST_WAIT_MS);
    tokio::time::Instant::now() + Duration::from_millis(left.unsigned_abs())
}

pub(crate) fn tell(observers: &mpsc::Sender<News>, news: News) {
    let _observer_is_slow = observers.try_send(news);
}

/// What the server's goodbye means here.
pub(crate) fn ended(goodbye: Goodbye) -> ServerError {
    match goodbye.reason {
        Reason::SignInAgain => ServerError::SignInAgain,
        reason => ServerError::Refused {
            code: wire::goodbye::code(reason).to_owned(),
            message: goodbye.message,
            retry_after: Duration::from_millis(goodbye.retry_after_ms.into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Apps spawn a sync on a runtime with several threads: this compiles only if they can.
    #[test]
    fn a_sync_can_be_spawned() {
        fn spawnable<F: Future + Send>(_: impl FnOnce(&'static mut Store) -> F) {}
        spawnable(until_synced);
        spawnable(crate::once::until_synced);
        spawnable(|store| async move {
            let ((_tell, mut written), (news, _heard)) = (mpsc::channel(1), mpsc::channel(1));
            watch(store, &mut written, &news).await
        });
    }
}
