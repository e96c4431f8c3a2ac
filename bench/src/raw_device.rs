//! A device without a store: it sends messages that were encoded beforehand, so that what it costs is not measured as
//! what the server costs.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use fitme_client::transport::{Server, Socket};
use fitme_core::entry::{Digest, Entry};
use fitme_core::id::{ActorId, FeedId};
use fitme_core::limits;
use fitme_core::session::summary;
use fitme_core::store::{Adoption, Tokens};
use fitme_core::wire::{self, Cursors, FeedPush, Frame, Hello, Receipt, Want};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

/// A connection that is past Welcome.
pub struct RawDevice {
    socket: Socket,
}

impl RawDevice {
    /// Connects a device that has nothing yet, and lets what the account has already go by.
    pub async fn connect(adoption: &Adoption, actors: &[ActorId]) -> Result<Self> {
        let identity = &adoption.identity;
        let server = Server::at(&identity.server)?;
        let socket = server.dial(&access_token(&server, &identity.tokens).await?).await?;
        let mut device = Self { socket };
        device.send(wire::encode(&Frame::Hello(hello(adoption, actors)))?).await?;
        let mut first = device.next().await?;
        while matches!(first, Frame::FeedGranted(_)) {
            first = device.next().await?;
        }
        let more = match first {
            Frame::Welcome(welcome) if welcome.want == Want::Nothing => welcome.more,
            other => bail!("a new device was welcomed with {other:?}"),
        };
        while more && device.next().await? != Frame::More(false) {}
        Ok(device)
    }

    /// Pushes what is encoded, as many pushes at a time as a device may have under way, until all are receipted. Returns
    /// how many entries were accepted.
    pub async fn push(&mut self, pushes: &[Vec<u8>]) -> Result<usize> {
        let (mut accepted, mut sent, mut settled) = (0, 0, 0);
        while settled < pushes.len() {
            while sent < pushes.len() && sent - settled < limits::PUSHES_IN_FLIGHT {
                self.send(pushes[sent].clone()).await?;
                sent += 1;
            }
            if let Frame::Receipts { receipts, .. } = self.next().await? {
                accepted += count_accepted(&receipts)?;
                settled += 1;
            }
        }
        Ok(accepted)
    }

    /// Waits for entries of this feed that others wrote.
    pub async fn entries(&mut self) -> Result<()> {
        while !matches!(self.next().await?, Frame::Entries(_)) {}
        Ok(())
    }

    /// Waits until it is told that somebody no longer shares something.
    pub async fn revoked(&mut self) -> Result<()> {
        while !matches!(self.next().await?, Frame::FeedRevoked(_)) {}
        Ok(())
    }

    /// Sends one encoded frame.
    pub async fn send(&mut self, frame: Vec<u8>) -> Result<()> {
        Ok(self.socket.send(Message::Binary(frame.into())).await?)
    }

    async fn next(&mut self) -> Result<Frame> {
        loop {
            match self.socket.next().await.context("the server closed the connection")?? {
                Message::Binary(bytes) => match wire::decode(&bytes)? {
                    Some(Frame::Goodbye(goodbye)) => bail!("the server said: {}", goodbye.message),
                    Some(frame) => return Ok(frame),
                    None => {}
                },
                Message::Close(_) => bail!("the server closed the connection"),
                _ => {}
            }
        }
    }
}

/// The access token of a device; one that was made in the database itself exchanges its refresh token first.
async fn access_token(server: &Server, tokens: &Tokens) -> Result<String> {
    if !tokens.access.is_empty() {
        return Ok(tokens.access.clone());
    }
    let grant = json!({ "grant": "refresh_token", "refresh_token": tokens.refresh });
    let given: Value = server.post("/v1/token", &grant).await?;
    Ok(given["access_token"].as_str().context("the server gave no access token")?.to_owned())
}

fn count_accepted(receipts: &[Receipt]) -> Result<usize> {
    let other = receipts.iter().find(|receipt| !matches!(receipt, Receipt::Accepted(_)));
    match other {
        Some(other) => bail!("an entry was not accepted: {other:?}"),
        None => Ok(receipts.len()),
    }
}

/// Hello of a device whose feeds are all empty.
fn hello(adoption: &Adoption, actors: &[ActorId]) -> Hello {
    let feeds: BTreeMap<_, _> = adoption.feeds.iter().map(|feed| (feed.feed, feed.epoch)).collect();
    Hello {
        major: wire::MAJOR,
        minor: wire::MINOR,
        actors: actors.iter().map(|actor| (*actor, None)).collect(),
        summary: summary(feeds.iter().map(|(feed, epoch)| (*feed, *epoch, 0, Digest::default()))),
        cursors: Some(Cursors(feeds.keys().map(|feed| (*feed, 0)).collect())),
        ..Hello::default()
    }
}

/// The number of an account's feed of this collection.
pub fn feed_of(adoption: &Adoption, collection: &str) -> Result<FeedId> {
    let feed = adoption.feeds.iter().find(|feed| feed.collection == collection && feed.scope.is_empty());
    Ok(feed.with_context(|| format!("the account has no feed {collection}"))?.feed)
}

/// Pushes of `size` entries each, encoded.
pub fn encode_pushes(adoption: &Adoption, entries: &[(&'static str, Entry)], size: usize) -> Result<Vec<Vec<u8>>> {
    (1..).zip(entries.chunks(size)).map(|(batch, chunk)| encode_push(adoption, batch, chunk)).collect()
}

fn encode_push(adoption: &Adoption, batch: u64, entries: &[(&'static str, Entry)]) -> Result<Vec<u8>> {
    let mut feeds: BTreeMap<FeedId, Vec<Entry>> = BTreeMap::new();
    for (collection, entry) in entries {
        feeds.entry(feed_of(adoption, collection)?).or_default().push(entry.clone());
    }
    let feeds = feeds.into_iter().map(|(feed, entries)| FeedPush { feed, entries }).collect();
    Ok(wire::encode(&Frame::Push { batch, feeds })?)
}
