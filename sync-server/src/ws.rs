//! `/v1/sync`: one WebSocket drives one session. The loop below is the only place where its events come together.

use std::collections::VecDeque;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use fitme_core::id::{ActorId, FeedId};
use fitme_core::limits;
use fitme_core::session::{Grants, Mode, ServerEffect, ServerEvent, ServerSession, Settled};
use fitme_core::wire::{self, Cursors, Frame, Goodbye, Reason, Token};
use futures_util::future::{BoxFuture, poll_fn};
use futures_util::stream::{FuturesOrdered, SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::time::{Instant, timeout};

use crate::auth::{Access, Device, access_by};
use crate::devices::{self, Seat};
use crate::edge::connections::GoesOn;
use crate::engine::{Engine, Performed};
use crate::error::ApiError;
use crate::fanout::{Subscription, withhold};
use crate::live_sign_ins::Presence;
use crate::state::AppState;

/// A connection's read buffer. Ten thousand idle connections pay for it; a frame that is larger grows it.
const READ_BUFFER_BYTES: usize = 4 << 10;
/// Bytes gathered before a write to the socket: none, a frame is written as it is made.
const WRITE_BUFFER_BYTES: usize = 0;
/// Bytes that may wait in the socket's write buffer: two frames.
const WRITE_BUFFER_MAX_BYTES: usize = 2 * limits::FRAME_BYTES;
/// A device that takes no byte for so long is gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the last words may take.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);
/// Messages that may wait for the socket before the session's next wish is performed.
const OUTGOING: usize = 2;
/// An idle connection is asked for a sign of life this often; without one by the next time it is closed.
const PING_EVERY: Duration = Duration::from_secs(45);
/// When a device may come back after the server had to send it away, in milliseconds.
const RETRY_AFTER_MS: u32 = 1_000;

/// Upgrades to a WebSocket and runs the session until one side goes.
pub async fn sync(
    State(state): State<AppState>,
    access: Access,
    goes_on: Option<Extension<GoesOn>>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let device = access.device;
    upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(WRITE_BUFFER_MAX_BYTES)
        .max_message_size(limits::FRAME_BYTES)
        .max_frame_size(limits::FRAME_BYTES)
        .on_upgrade(move |socket| async move {
            // Else the server would end before the session has said its last words.
            let _until_it_is_over = goes_on;
            let connection = Connection::new(&state, access, socket);
            tracing::debug!(device = %device.device, "a device connected");
            let end = connection.run(&state).await;
            tracing::debug!(device = %device.device, ?end, "a device left");
        })
}

/// Why a connection ended.
#[derive(Debug)]
enum End {
    /// The device closed it, or the network did.
    Gone,
    /// The session said goodbye.
    Closed,
    /// The device took no bytes.
    Stuck,
    /// The database is away.
    Unavailable,
    /// The server stops.
    Shutdown,
    /// The access token ended and was not renewed.
    Expired,
    /// The device's sign-in was ended.
    SignedOut,
    /// No sign of life.
    Silent,
    /// More frames than one device may send.
    TooFast,
    /// Newer sockets of the device took its place.
    Displaced,
    /// Somebody ended what they shared while entries of it waited for this device.
    Withheld,
}

impl End {
    /// What the device is told, and when it may come back; nothing where nobody listens or all is said.
    fn farewell(&self) -> Option<Goodbye> {
        let (reason, message, retry_after_ms) = match self {
            Self::Shutdown => (Reason::Shutdown, "the server restarts; reconnect in a moment", RETRY_AFTER_MS),
            Self::Unavailable => {
                (Reason::Unavailable, "the server's database is away; nothing is lost, try again", RETRY_AFTER_MS)
            }
            Self::TooFast => return Some(devices::too_fast()),
            Self::Displaced => {
                (Reason::Displaced, "newer connections of this device took its place", devices::RETRY_AFTER_MS)
            }
            Self::Expired => {
                (Reason::TokenExpired, "the access token has ended; get the next one and reconnect", RETRY_AFTER_MS)
            }
            Self::SignedOut => (Reason::SignInAgain, "this device was signed out; log in again", 0),
            Self::Withheld => {
                (Reason::Slow, "somebody ended what they shared while it waited for this device", RETRY_AFTER_MS)
            }
            Self::Stuck | Self::Silent | Self::Gone | Self::Closed => return None,
        };
        Some(Goodbye { reason, message: message.to_owned(), retry_after_ms })
    }
}

/// A message, and of whose feed its entries are where that is somebody else's.
type Outgoing = (Option<FeedId>, Message);

struct Connection {
    engine: Engine,
    device: Device,
    seat: Seat,
    /// Hears when the device's sign-in is ended.
    presence: Presence,
    /// When the access token ends.
    expires: Instant,
    sink: SplitSink<WebSocket, Message>,
    stream: SplitStream<WebSocket>,
    session: ServerSession,
    news: Subscription,
    ingests: FuturesOrdered<BoxFuture<'static, Settled>>,
    /// What the session wants done; it waits while messages wait to be taken by the socket.
    effects: VecDeque<ServerEffect>,
    outgoing: VecDeque<Outgoing>,
    /// Since when the socket has taken nothing of what it is to send; `None` when it has sent everything.
    sending_since: Option<Instant>,
    closing: bool,
    answered_ping: bool,
}

impl Connection {
    fn new(state: &AppState, access: Access, socket: WebSocket) -> Self {
        let (sink, stream) = socket.split();
        Self {
            engine: state.engine.clone(),
            seat: state.devices.enter(access.device.device, state.limits.device),
            device: access.device,
            presence: state.engine.live.enter(access.device.device, access.sign_in),
            expires: end_of(&access, state),
            sink,
            stream,
            session: ServerSession::new(Mode::Socket),
            news: state.engine.fanout.subscription(access.device.account),
            ingests: FuturesOrdered::new(),
            effects: VecDeque::new(),
            outgoing: VecDeque::new(),
            sending_since: None,
            closing: false,
            answered_ping: true,
        }
    }

    async fn run(mut self, state: &AppState) -> End {
        let end = match self.exchange(state).await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        if let Some(goodbye) = end.farewell() {
            self.outgoing
                .extend(wire::encode(&Frame::Goodbye(goodbye)).ok().map(|bytes| (None, Message::Binary(bytes.into()))));
        }
        if !matches!(end, End::Stuck | End::Gone) {
            self.outgoing.push_back((None, Message::Close(None)));
            let last_words = std::mem::take(&mut self.outgoing);
            let sending = async {
                for (_, message) in last_words {
                    self.sink.send(message).await?;
                }
                Ok::<_, axum::Error>(())
            };
            let _gone_anyway = timeout(FAREWELL_TIMEOUT, sending).await;
        }
        end
    }

    /// Reads and writes at the same time: a device that pushes while it is being sent to must not have to wait for
    /// itself. Whatever is waited for here loses nothing when something else comes first.
    async fn exchange(&mut self, state: &AppState) -> Result<std::convert::Infallible, End> {
        let mut ping = tokio::time::interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        loop {
            while self.outgoing.len() < OUTGOING && !self.closing {
                let Some(effect) = self.effects.pop_front() else { break };
                self.perform(state, effect).await?;
            }
            if !self.outgoing.is_empty() {
                self.sending_since.get_or_insert_with(Instant::now);
            }
            match self.sending_since {
                Some(since) if since.elapsed() > SEND_TIMEOUT => return Err(End::Stuck),
                None if self.closing => return Err(End::Closed),
                _ => {}
            }
            // In this order: a receipt goes out before the entry that it is about is echoed.
            tokio::select! {
                biased;
                sent = send_next(&mut self.sink, &mut self.outgoing), if self.sending_since.is_some() => {
                    sent?;
                    self.sending_since = (!self.outgoing.is_empty()).then(Instant::now);
                }
                Some(settled) = self.ingests.next(), if !self.ingests.is_empty() => {
                    self.handle(ServerEvent::Settled(settled));
                }
                () = self.news.arrived() => self.take_news()?,
                message = self.stream.next() => self.receive(message)?,
                _ = ping.tick() => self.ping()?,
                () = self.seat.displaced() => return Err(End::Displaced),
                () = tokio::time::sleep_until(self.expires) => return Err(End::Expired),
                () = self.presence.ended() => return Err(End::SignedOut),
                () = state.shutdown.cancelled() => return Err(End::Shutdown),
            }
        }
    }

    fn receive(&mut self, message: Option<Result<Message, axum::Error>>) -> Result<(), End> {
        self.answered_ping = true;
        if matches!(message, Some(Ok(_))) && !self.seat.count_frame() {
            return Err(End::TooFast);
        }
        match message {
            Some(Ok(Message::Binary(bytes))) => self.handle(ServerEvent::Message(&bytes)),
            Some(Ok(Message::Text(_))) => self.handle(ServerEvent::Message(&[])),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(End::Gone),
        }
        Ok(())
    }

    fn take_news(&mut self) -> Result<(), End> {
        let news = self.news.take();
        if news.cut_off {
            return Err(End::Unavailable);
        }
        if let Some(grants) = &news.grants {
            self.withhold(grants)?;
        }
        self.effects.extend(self.news.tell(news, &mut self.session));
        Ok(())
    }

    fn withhold(&mut self, grants: &Grants) -> Result<(), End> {
        if withhold(grants, &mut self.outgoing, &self.effects) { Err(End::Withheld) } else { Ok(()) }
    }

    fn ping(&mut self) -> Result<(), End> {
        if !std::mem::take(&mut self.answered_ping) {
            return Err(End::Silent);
        }
        self.outgoing.push_back((None, Message::Ping(Default::default())));
        Ok(())
    }

    fn handle(&mut self, event: ServerEvent<'_>) {
        self.effects.extend(self.session.handle(event));
    }

    async fn perform(&mut self, state: &AppState, effect: ServerEffect) -> Result<(), End> {
        let of = if let ServerEffect::SendOfOther(feed, _) = &effect { Some(*feed) } else { None };
        let performed = match effect {
            ServerEffect::LoadAccount { cursors, actors } => self.load_account(&cursors, &actors).await,
            effect => self.engine.perform(self.device, effect).await,
        };
        match performed.map_err(|error| unavailable(&error))? {
            Performed::Send(message) => self.outgoing.push_back((of, Message::Binary(message.into()))),
            Performed::Close(message) => {
                self.outgoing.push_back((None, Message::Binary(message.into())));
                self.closing = true;
            }
            Performed::Event(event) => {
                if let ServerEvent::Denied(grants) = &event {
                    self.withhold(grants)?;
                    self.news.read(grants.feeds.iter().map(|feed| feed.feed));
                }
                self.handle(event);
            }
            Performed::Renew(Token(token)) => Box::pin(self.renew(state, &token)).await?,
            Performed::Ingest { batch, feeds, origin } => {
                let (engine, device) = (self.engine.clone(), self.device);
                self.ingests.push_back(Box::pin(async move { engine.settle(device, batch, feeds, origin).await }));
            }
        }
        Ok(())
    }

    /// Goes on under another token of the same device, until that one ends.
    async fn renew(&mut self, state: &AppState, token: &str) -> Result<(), End> {
        match access_by(state, token).await {
            Ok(access) if access.device == self.device => {
                self.presence = self.engine.live.enter(self.device.device, access.sign_in);
                self.expires = end_of(&access, state);
                Ok(())
            }
            Ok(_) => Err(End::Expired),
            Err(refusal) => Err(match refusal.error {
                ApiError::Unauthenticated => End::Expired,
                ApiError::SignedOut | ApiError::DeviceRevoked | ApiError::DeviceLost => End::SignedOut,
                _ => End::Unavailable,
            }),
        }
    }

    /// An account is read after its feeds are subscribed to: what is committed in between is then either in the reading
    /// or in the inbox. A device with too many feeds to name any is asked for none: their numbers are read first. Feeds that
    /// even so show only in the reading have it repeated.
    async fn load_account(&mut self, cursors: &Cursors, actors: &[ActorId]) -> Result<Performed, sqlx::Error> {
        self.news.read(cursors.0.keys().copied());
        let named = if cursors.0.is_empty() { Some(self.engine.named(self.device.account).await?) } else { None };
        self.news.read(named.iter().flat_map(|named| named.feeds.iter().copied()));
        let performed = self.engine.load_account(self.device, cursors, actors, named).await?;
        let Performed::Event(ServerEvent::Account(account)) = &performed else { return Ok(performed) };
        let own = account.feeds.iter().map(|feed| feed.feed).collect();
        let fresh = self.news.read(account.feeds.iter().map(|feed| feed.feed));
        self.news.keep_only(&own);
        if fresh == 0 { Ok(performed) } else { self.engine.load_account(self.device, cursors, actors, None).await }
    }
}

/// When a token ends, by the clock that waits.
fn end_of(access: &Access, state: &AppState) -> Instant {
    let left = access.expires_at_ms.saturating_sub(state.clock.now_ms());
    Instant::now() + Duration::from_millis(left.max(0).unsigned_abs())
}

/// Hands the next message to the socket, or flushes what it has. Being dropped half-way loses nothing: a message leaves
/// the queue in the moment in which the socket takes it.
async fn send_next(sink: &mut SplitSink<WebSocket, Message>, outgoing: &mut VecDeque<Outgoing>) -> Result<(), End> {
    poll_fn(|context| sink.poll_ready_unpin(context)).await.map_err(|_| End::Gone)?;
    if let Some((_, message)) = outgoing.pop_front() {
        sink.start_send_unpin(message).map_err(|_| End::Gone)?;
    }
    if outgoing.is_empty() {
        poll_fn(|context| sink.poll_flush_unpin(context)).await.map_err(|_| End::Gone)?;
    }
    Ok(())
}

fn unavailable(error: &sqlx::Error) -> End {
    tracing::warn!(%error, "the database did not answer a session");
    End::Unavailable
}
