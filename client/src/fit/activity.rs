//! From messages to sessions: which fields are read, and which lap belongs to which session.

use std::cell::Cell;

use super::frame::Part;
use super::messages::{self, Message};
use super::names::{DEVICE_PREFIX, describe_kind, is_activity, sport_name, sub_sport_name};
use super::{FitError, Lap, MAX_LAPS, MAX_SESSIONS, Session};

/// Kinds of messages in the FIT profile.
mod kind {
    pub(super) const FILE_ID: u16 = 0;
    pub(super) const SESSION: u16 = 18;
    pub(super) const LAP: u16 = 19;
    pub(super) const ACTIVITY: u16 = 34;
}

/// When the message was written.
const TIMESTAMP: u8 = 253;
/// The number of the message among those of its kind, in its lower bits.
const MESSAGE_INDEX: u8 = 254;
const MESSAGE_INDEX_BITS: u32 = 0x0FFF;

const HUNDREDTHS: f64 = 100.0;
const THOUSANDTHS: f64 = 1_000.0;

/// Zones differ by quarters of an hour, from 12 h behind UTC to 14 h ahead.
const ZONE_STEP_S: i64 = 15 * 60;
const ZONES_S: std::ops::RangeInclusive<i64> = -12 * 3_600..=14 * 3_600;
/// Some devices take the two times of a pair seconds apart.
const ZONE_SLACK_S: i64 = 60;

/// What names a device may take of the document.
const MAX_DEVICE_CHARS: usize = 64;

/// Reads the sessions of all parts. Parts of other kinds (settings in front of an activity, late heart rates
/// after it) are passed over as long as one part holds a session.
pub(super) fn sessions(bytes: &[u8], parts: &[Part], position: &Cell<usize>) -> Result<Vec<Session>, FitError> {
    let mut sessions = Vec::new();
    let mut laps_left = MAX_LAPS;
    let mut first_kind = None;
    for part in parts {
        let mut content = Content { laps_left, sessions_left: MAX_SESSIONS - sessions.len(), ..Content::default() };
        messages::walk(bytes, part, position, |message| content.take(&message))?;
        laps_left = content.laps_left;
        first_kind = first_kind.or(content.file_type);
        if content.file_type.is_none_or(is_activity) {
            content.append_to(&mut sessions);
        }
    }
    match sessions.is_empty() {
        true => Err(FitError::NotAnActivity { kind: describe_kind(first_kind) }),
        false => Ok(sessions),
    }
}

/// What one part holds of interest.
#[derive(Default)]
struct Content {
    file_type: Option<u8>,
    device: Option<String>,
    utc_offset_s: Option<i32>,
    sessions: Vec<(Session, Option<Claim>)>,
    laps: Vec<(u32, Lap)>,
    sessions_left: usize,
    laps_left: usize,
}

/// The laps that a session says are its own.
struct Claim {
    first: u32,
    count: u32,
}

impl Claim {
    fn covers(&self, lap: u32) -> bool {
        lap >= self.first && lap - self.first < self.count
    }
}

impl Content {
    fn take(&mut self, message: &Message) -> Result<(), FitError> {
        match message.kind {
            kind::FILE_ID => {
                self.file_type = message.int(0).and_then(|kind| u8::try_from(kind).ok());
                self.device = device(message);
            }
            kind::ACTIVITY => self.utc_offset_s = utc_offset_s(message),
            kind::SESSION => {
                spend(&mut self.sessions_left, "sessions", MAX_SESSIONS)?;
                self.sessions.push((session(message)?, claim(message)));
            }
            kind::LAP => {
                spend(&mut self.laps_left, "laps", MAX_LAPS)?;
                let place = u32::try_from(self.laps.len()).unwrap_or(u32::MAX);
                let number = message.int(MESSAGE_INDEX).map_or(place, |index| index & MESSAGE_INDEX_BITS);
                self.laps.push((number, lap(message)));
            }
            _ => {}
        }
        Ok(())
    }

    fn append_to(mut self, sessions: &mut Vec<Session>) {
        for (number, lap) in std::mem::take(&mut self.laps) {
            if let Some(owner) = self.owner(number, &lap) {
                let laps = &mut self.sessions[owner].0.laps;
                laps.push(Lap { index: count(laps), ..lap });
            }
        }
        for (session, _) in self.sessions {
            let (device, utc_offset_s) = (self.device.clone(), self.utc_offset_s);
            sessions.push(Session { index: count(sessions), device, utc_offset_s, ..session });
        }
    }

    /// The session that claims the lap by its number; else, among those that claim none, the last that had
    /// started when the lap did.
    fn owner(&self, number: u32, lap: &Lap) -> Option<usize> {
        let claims = |claim: &Option<Claim>| claim.as_ref().is_some_and(|claim| claim.covers(number));
        self.sessions.iter().position(|(_, claim)| claims(claim)).or_else(|| {
            let unclaiming = self.sessions.iter().enumerate().filter(|(_, (_, claim))| claim.is_none());
            let started = unclaiming.filter(|(_, (session, _))| lap.start_ms.is_some_and(|at| session.start_ms <= at));
            started.max_by_key(|(_, (session, _))| session.start_ms).map(|(place, _)| place)
        })
    }
}

fn spend(left: &mut usize, what: &'static str, limit: usize) -> Result<(), FitError> {
    *left = left.checked_sub(1).ok_or(FitError::TooLarge { what, found: limit + 1, limit })?;
    Ok(())
}

fn count<T>(items: &[T]) -> u32 {
    u32::try_from(items.len()).expect("MAX_SESSIONS and MAX_LAPS are far below u32::MAX")
}

fn session(message: &Message) -> Result<Session, FitError> {
    let start_ms = message
        .time_ms(2)
        .ok_or_else(|| FitError::damaged(message.offset, "a session without the calendar time of its start"))?;
    let elapsed_ms = message.int(7).map(i64::from);
    let written_ms = message.time_ms(TIMESTAMP).filter(|written| *written >= start_ms);
    Ok(Session {
        index: 0,
        start_ms,
        end_ms: elapsed_ms.map(|elapsed| start_ms + elapsed).or(written_ms),
        utc_offset_s: None,
        sport: sport_name(message.int(5)),
        sub_sport: message.int(6).map(sub_sport_name),
        distance_m: message.scaled(9, HUNDREDTHS),
        moving_time_s: message.scaled(8, THOUSANDTHS),
        elapsed_time_s: message.scaled(7, THOUSANDTHS),
        energy_kcal: message.int(11).map(f64::from),
        average_heart_rate_bpm: heart_rate(message, 16),
        maximum_heart_rate_bpm: heart_rate(message, 17),
        device: None,
        laps: Vec::new(),
    })
}

fn claim(message: &Message) -> Option<Claim> {
    let count = message.int(26).filter(|count| *count > 0)?;
    message.int(25).map(|first| Claim { first, count })
}

fn lap(message: &Message) -> Lap {
    Lap {
        index: 0,
        start_ms: message.time_ms(2),
        distance_m: message.scaled(9, HUNDREDTHS),
        moving_time_s: message.scaled(8, THOUSANDTHS),
        energy_kcal: message.int(11).map(f64::from),
        average_heart_rate_bpm: heart_rate(message, 15),
        maximum_heart_rate_bpm: heart_rate(message, 16),
    }
}

/// Devices without a strap write 0 as often as they leave the field out.
fn heart_rate(message: &Message, field: u8) -> Option<u16> {
    message.int(field).filter(|rate| *rate > 0).and_then(|rate| u16::try_from(rate).ok())
}

fn utc_offset_s(message: &Message) -> Option<i32> {
    let ahead_s = (message.time_ms(5)? - message.time_ms(TIMESTAMP)?) / 1_000;
    let rounded_s = (ahead_s + ZONE_STEP_S / 2).div_euclid(ZONE_STEP_S) * ZONE_STEP_S;
    let is_zone = ZONES_S.contains(&rounded_s) && (ahead_s - rounded_s).abs() <= ZONE_SLACK_S;
    is_zone.then(|| i32::try_from(rounded_s).ok()).flatten()
}

fn device(message: &Message) -> Option<String> {
    let printable = |name: &str| name.chars().filter(|c| !c.is_control()).take(MAX_DEVICE_CHARS).collect::<String>();
    let named = message.text(8).map(printable).map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    named.or_else(|| {
        let manufacturer = message.int(1)?;
        Some(match message.int(2) {
            Some(product) => format!("{DEVICE_PREFIX}{manufacturer}:{product}"),
            None => format!("{DEVICE_PREFIX}{manufacturer}"),
        })
    })
}
