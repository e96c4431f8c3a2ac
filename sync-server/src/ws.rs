//! `/v1/sync`: one WebSocket drives one session. The loop below is the only place where its events come together.

use std::collections::VecDeque;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use fitme_core::limits;
use fitme_core::session::{LiveEntries, Mode, ServerEffect, ServerEvent, ServerSession, Settled};
use fitme_core::wire::{self, Frame, Goodbye, Reason};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use tokio::time::{Instant, timeout};

use crate::auth::Device;
use crate::engine::{Engine, Performed};
use crate::fanout::Subscription;
use crate::state::AppState;

/// A connection's read buffer. Ten thousand idle connections pay for it; a frame that is larger grows it.
const READ_BUFFER_BYTES: usize = 4 << 10;
/// Bytes gathered before a write to the socket: none, a frame is written as it is made.
const WRITE_BUFFER_BYTES: usize = 0;
/// Bytes that may wait in the socket's write buffer: two frames.
const WRITE_BUFFER_MAX_BYTES: usize = 2 * limits::FRAME_BYTES;
/// A device that takes no byte for so long is gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// An idle connection is asked for a sign of life this often; without one by the next time it is closed.
const PING_EVERY: Duration = Duration::from_secs(45);
/// When a device may come back after the server had to send it away, in milliseconds.
const RETRY_AFTER_MS: u32 = 1_000;

/// Upgrades to a WebSocket and runs the session until one side goes.
pub async fn sync(State(state): State<AppState>, device: Device, upgrade: WebSocketUpgrade) -> Response {
    upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(WRITE_BUFFER_MAX_BYTES)
        .max_message_size(limits::FRAME_BYTES)
        .max_frame_size(limits::FRAME_BYTES)
        .on_upgrade(move |socket| async move {
            let connection = Connection::new(&state, device, socket);
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
    /// No sign of life.
    Silent,
}

struct Connection {
    engine: Engine,
    device: Device,
    socket: WebSocket,
    session: ServerSession,
    news: Subscription,
    ingests: FuturesOrdered<BoxFuture<'static, Settled>>,
    answered_ping: bool,
}

impl Connection {
    fn new(state: &AppState, device: Device, socket: WebSocket) -> Self {
        Self {
            engine: state.engine.clone(),
            device,
            socket,
            session: ServerSession::new(Mode::Socket),
            news: state.engine.fanout.subscription(),
            ingests: FuturesOrdered::new(),
            answered_ping: true,
        }
    }

    async fn run(mut self, state: &AppState) -> End {
        let end = match self.exchange(state).await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        let farewell = match end {
            End::Shutdown => Some((Reason::Shutdown, "the server restarts; reconnect in a moment")),
            End::Unavailable => {
                Some((Reason::Unavailable, "the server's database is away; nothing is lost, try again"))
            }
            End::Stuck | End::Silent | End::Gone | End::Closed => None,
        };
        if let Some((reason, message)) = farewell {
            let goodbye = Goodbye { reason, message: message.to_owned(), retry_after_ms: RETRY_AFTER_MS };
            if let Ok(bytes) = wire::encode(&Frame::Goodbye(goodbye)) {
                let _gone_anyway = self.send(bytes).await;
            }
        }
        let _gone_anyway = timeout(SEND_TIMEOUT, self.socket.send(Message::Close(None))).await;
        end
    }

    async fn exchange(&mut self, state: &AppState) -> Result<std::convert::Infallible, End> {
        let mut ping = tokio::time::interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        loop {
            // In this order: a receipt goes out before the entry that it is about is echoed.
            tokio::select! {
                biased;
                Some(settled) = self.ingests.next(), if !self.ingests.is_empty() => {
                    self.handle(ServerEvent::Settled(settled)).await?;
                }
                () = self.news.arrived() => self.take_news().await?,
                message = self.socket.recv() => self.receive(message).await?,
                _ = ping.tick() => self.ping().await?,
                () = state.shutdown.cancelled() => return Err(End::Shutdown),
            }
        }
    }

    async fn receive(&mut self, message: Option<Result<Message, axum::Error>>) -> Result<(), End> {
        self.answered_ping = true;
        match message {
            Some(Ok(Message::Binary(bytes))) => self.handle(ServerEvent::Message(&bytes)).await,
            Some(Ok(Message::Text(_))) => self.handle(ServerEvent::Message(&[])).await,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(()),
            Some(Ok(Message::Close(_)) | Err(_)) | None => Err(End::Gone),
        }
    }

    async fn take_news(&mut self) -> Result<(), End> {
        let news = self.news.take();
        if news.cut_off {
            return Err(End::Unavailable);
        }
        for (feed, seq) in news.merged {
            self.handle(ServerEvent::Merged(feed, seq)).await?;
        }
        for live in news.live {
            let live = LiveEntries { feed: live.feed, first_seq: live.first_seq, entries: &live.entries };
            self.handle(ServerEvent::Live(live)).await?;
        }
        for (feed, head) in news.heads {
            self.handle(ServerEvent::Head(feed, head)).await?;
        }
        Ok(())
    }

    async fn ping(&mut self) -> Result<(), End> {
        if !std::mem::take(&mut self.answered_ping) {
            return Err(End::Silent);
        }
        self.write(Message::Ping(Default::default())).await
    }

    /// Gives the session an event and performs what it wants, and what it wants then.
    async fn handle(&mut self, event: ServerEvent<'_>) -> Result<(), End> {
        let mut effects = VecDeque::from(self.session.handle(event));
        while let Some(effect) = effects.pop_front() {
            match self.perform(effect).await? {
                Performed::Send(message) => self.send(message).await?,
                Performed::Close(message) => {
                    self.send(message).await?;
                    return Err(End::Closed);
                }
                Performed::Event(event) => effects.extend(self.session.handle(event)),
                Performed::Ingest { batch, feeds } => {
                    let (engine, device) = (self.engine.clone(), self.device);
                    self.ingests.push_back(Box::pin(async move { engine.settle(device, batch, feeds).await }));
                }
            }
        }
        Ok(())
    }

    /// An account is read after its feeds are subscribed to: what is committed in between is then either in the reading
    /// or in the inbox. Feeds that the device did not name show only in the reading, which is then repeated.
    async fn perform(&mut self, effect: ServerEffect) -> Result<Performed, End> {
        let ServerEffect::LoadAccount { cursors, actors } = &effect else {
            return self.engine.perform(self.device, effect).await.map_err(|error| unavailable(&error));
        };
        self.news.read(cursors.0.keys().copied());
        let again = ServerEffect::LoadAccount { cursors: cursors.clone(), actors: actors.clone() };
        let performed = self.engine.perform(self.device, effect).await.map_err(|error| unavailable(&error))?;
        match &performed {
            Performed::Event(ServerEvent::Account(account))
                if self.news.read(account.feeds.iter().map(|feed| feed.feed)) > 0 =>
            {
                self.engine.perform(self.device, again).await.map_err(|error| unavailable(&error))
            }
            _ => Ok(performed),
        }
    }

    async fn send(&mut self, message: Vec<u8>) -> Result<(), End> {
        self.write(Message::Binary(message.into())).await
    }

    async fn write(&mut self, message: Message) -> Result<(), End> {
        match timeout(SEND_TIMEOUT, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => Err(End::Stuck),
        }
    }
}

fn unavailable(error: &sqlx::Error) -> End {
    tracing::warn!(%error, "the database did not answer a session");
    End::Unavailable
}
