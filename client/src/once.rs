//! One-shot exchange: the session in a single HTTP request, for a background task with a few seconds to live. Each part
//! of the answer is applied in a transaction of its own, so a cut answer loses only its last part.

use std::time::Instant;

use fitme_core::limits;
use fitme_core::session::{DeviceEffect, DeviceEvent, DeviceSession};
use fitme_core::store::Store;
use futures_util::StreamExt;
use reqwest::Response;
use tokio::sync::mpsc;

use crate::clock::now_ms;
use crate::error::ServerError;
use crate::sync::{self, News, Report, ended, tell};
use crate::tokens;
use crate::transport::{self, Server, root_cause};

/// Exchanges of one call: a backlog larger than this is for a socket.
const EXCHANGES: usize = 200;

/// Exchanges until everything is on both sides, one request after the other.
pub async fn until_synced(store: &mut Store) -> Result<Report, ServerError> {
    until_synced_telling(store, None).await
}

/// The same, and tells how it goes on; a full channel loses news, never data.
pub async fn until_synced_telling(store: &mut Store, news: Option<mpsc::Sender<News>>) -> Result<Report, ServerError> {
    let started = Instant::now();
    let mut report = Report::default();
    for _ in 0..EXCHANGES {
        if exchange(store, &news, &mut report).await? {
            break;
        }
        // Two histories are brought together in questions and answers, for which an exchange has no room.
        if store.owes_repair()? {
            let rest = sync::until_synced(store).await?;
            return Ok(report.and(rest, started.elapsed()));
        }
    }
    report.took = started.elapsed();
    Ok(report)
}

/// One exchange; true when nothing is left on either side.
async fn exchange(
    store: &mut Store,
    news: &Option<mpsc::Sender<News>>,
    report: &mut Report,
) -> Result<bool, ServerError> {
    let mut session = DeviceSession::once(limits::ONCE_ANSWER_BYTES as u32);
    let mut request = Vec::new();
    for effect in session.handle(store, DeviceEvent::Opened, now_ms(), &mut rand::rng())? {
        if let DeviceEffect::Send(frame) = effect {
            append(&mut request, &frame);
        }
    }
    report.bytes_out += request.len() as u64;
    let answer = tokens::with_access(store, |server, access| send(server, access, request.clone())).await?;
    let mut exchange = Exchange { session, synced: false, news: news.clone() };
    let mut body = answer.bytes_stream();
    let mut buffer = Vec::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| ServerError::Broken(root_cause(&error)))?;
        report.bytes_in += chunk.len() as u64;
        buffer.extend_from_slice(&chunk);
        exchange.take_frames(store, &mut buffer, report)?;
    }
    Ok(exchange.synced)
}

async fn send(server: Server, access: String, request: Vec<u8>) -> Result<Response, ServerError> {
    let sent = transport::http().post(server.route("/v1/sync/once")).bearer_auth(access).body(request);
    let answer = sent.send().await.map_err(|error| server.unreachable(root_cause(&error)))?;
    if answer.status().is_success() {
        return Ok(answer);
    }
    let status = answer.status().as_u16();
    let body = answer.bytes().await.unwrap_or_default();
    Err(transport::refusal(status, &body))
}

struct Exchange {
    session: DeviceSession,
    synced: bool,
    news: Option<mpsc::Sender<News>>,
}

impl Exchange {
    fn take_frames(&mut self, store: &mut Store, buffer: &mut Vec<u8>, report: &mut Report) -> Result<(), ServerError> {
        let mut at = 0;
        while let Some((length, rest)) = buffer[at..].split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            if length > limits::FRAME_BYTES {
                return Err(ServerError::Answer("a part of it is longer than a frame may be".to_owned()));
            }
            let Some(frame) = rest.get(..length) else { break };
            self.take_frame(store, frame, report)?;
            at += 4 + length;
        }
        buffer.drain(..at);
        Ok(())
    }

    fn take_frame(&mut self, store: &mut Store, frame: &[u8], report: &mut Report) -> Result<(), ServerError> {
        report.messages += 1;
        let effects = self.session.handle(store, DeviceEvent::Message(frame), now_ms(), &mut rand::rng())?;
        for effect in effects {
            match effect {
                DeviceEffect::Applied(applied) => report.count(&applied),
                DeviceEffect::Received(applied, progress) => {
                    report.count(&applied);
                    self.tell(News::Received(applied, progress));
                }
                DeviceEffect::Refused(entries) => report.refused += entries,
                DeviceEffect::SentAgain(entries) => report.sent_again += entries,
                DeviceEffect::Mended(records) => report.mended += records,
                DeviceEffect::BroughtBack { entries, wanting } => {
                    report.brought_back += entries;
                    report.wanting += wanting;
                }
                DeviceEffect::Synced => self.synced = true,
                DeviceEffect::Closed(goodbye) => return Err(ended(goodbye)),
                // What the server wants to know is remembered in the store and goes with the next exchange.
                DeviceEffect::Send(_) => {}
                DeviceEffect::Revoked(ended) => report.ended.push(ended),
            }
        }
        Ok(())
    }

    fn tell(&self, news: News) {
        if let Some(observers) = &self.news {
            tell(observers, news);
        }
    }
}

fn append(request: &mut Vec<u8>, frame: &[u8]) {
    request.extend_from_slice(&(frame.len() as u32).to_be_bytes());
    request.extend_from_slice(frame);
}
