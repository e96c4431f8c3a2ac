//! `/v1/sync/once`: the same session as one HTTP exchange, for background tasks that get a few seconds. Each part of
//! request and answer is a frame after its length (four bytes, big endian), so that a cut body loses only its last one.

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use fitme_core::limits;
use fitme_core::session::{Mode, ServerEvent, ServerSession};
use fitme_core::wire::{self, Frame};

use crate::auth::Device;
use crate::devices;
use crate::engine::{Engine, Performed};
use crate::error::{ApiError, Refusal};
use crate::state::AppState;

/// A request: Hello, digests if the exchange before asked for them, and at most one push, each with its length.
pub const REQUEST_BYTES: usize = limits::FRAME_BYTES;
/// Frames in one request.
const REQUEST_FRAMES: usize = 3;
/// The media type of both bodies.
const FRAMES: &str = "application/vnd.fitme.sync-frames";

/// Runs one exchange.
///
/// # Errors
/// When the request is no sequence of frames, or the database does not answer.
pub async fn sync_once(
    State(state): State<AppState>,
    device: Device,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    let body = body.map_err(unreadable)?;
    let frames = split(&body).ok_or(ApiError::BadRequest)?;
    let mut exchange = Exchange {
        engine: state.engine.clone(),
        device,
        session: ServerSession::new(Mode::Once),
        answer: Vec::new(),
        closed: false,
    };
    for frame in frames {
        if !state.devices.count_frame(device.device, state.limits.device) {
            exchange.close(&wire::encode(&Frame::Goodbye(devices::too_fast())).map_err(|_| ApiError::Internal)?);
            break;
        }
        exchange.handle(ServerEvent::Message(frame)).await?;
    }
    if !exchange.closed {
        let more = wire::encode(&Frame::More(exchange.session.has_more())).map_err(|_| ApiError::Internal)?;
        exchange.append(&more);
    }
    Ok(([(header::CONTENT_TYPE, FRAMES)], exchange.answer).into_response())
}

struct Exchange {
    engine: Engine,
    device: Device,
    session: ServerSession,
    answer: Vec<u8>,
    closed: bool,
}

impl Exchange {
    async fn handle(&mut self, event: ServerEvent<'_>) -> Result<(), Refusal> {
        let mut effects = std::collections::VecDeque::from(self.session.handle(event));
        while let Some(effect) = effects.pop_front() {
            match self.engine.perform(self.device, effect).await? {
                Performed::Send(message) => self.append(&message),
                Performed::Close(message) => self.close(&message),
                Performed::Event(event) => effects.extend(self.session.handle(event)),
                // An exchange has one token from its first byte to its last.
                Performed::Renew(_) => {}
                Performed::Ingest { batch, feeds, origin } => {
                    let settled = self.engine.settle(self.device, batch, feeds, origin).await;
                    effects.extend(self.session.handle(ServerEvent::Settled(settled)));
                }
            }
        }
        Ok(())
    }

    fn close(&mut self, last: &[u8]) {
        self.append(last);
        self.closed = true;
    }

    fn append(&mut self, frame: &[u8]) {
        self.answer.extend_from_slice(&(frame.len() as u32).to_be_bytes());
        self.answer.extend_from_slice(frame);
    }
}

fn unreadable(rejection: BytesRejection) -> Refusal {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::PayloadTooLarge.into(),
        _ => ApiError::BadRequest.because(rejection.body_text()),
    }
}

fn split(mut body: &[u8]) -> Option<Vec<&[u8]>> {
    let mut frames = Vec::new();
    while let Some((length, rest)) = body.split_first_chunk::<4>() {
        let (frame, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        frames.push(frame);
        body = rest;
    }
    (body.is_empty() && !frames.is_empty() && frames.len() <= REQUEST_FRAMES).then_some(frames)
}
