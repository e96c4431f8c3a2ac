//! Reads a Garmin `.fit` file into the sessions that it holds: a pure function of its bytes.
//!
//! What two devices read from one file becomes the same change of the same document without the two having
//! met, and that change is frozen for ever. So nothing here may depend on the device, on its zone, on the
//! order of a hash map, or on which names the FIT profile of the day has. `fitparser` is therefore used to
//! parse messages, not to decode them: its decoder turns local times into the zone of the device, fills its
//! fields in the order of a hash map, and names more sports with every new profile. Field numbers and scales
//! are stated in `activity` beside their use, and a test compares the outcome with the decoder's.
//!
//! The road of a file: `frame` checks headers, lengths and checksums of every chained part before anything
//! is parsed; `messages` walks the messages of one part; `activity` makes sessions of them; `step` says
//! which fields each importer version adds to the document.
//!
//! Only session messages make sessions. A file of records without a session is refused as
//! [`FitError::NotAnActivity`]: a recording that an empty battery cut off is also cut off in its frame, and
//! the one file of this shape that we have carries no times, so any rule to derive a session would be
//! frozen on a guess. Refusing it freezes nothing, so a later version can still begin to read it.

mod activity;
mod frame;
mod messages;
mod names;
mod step;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub use names::{describe_kind, device_label};
pub use step::{IMPORTER_VERSION, Scalar, step_fields};

/// The largest file that is read. A day of one-second records with every sensor is about 10 MiB.
pub const MAX_FILE_BYTES: usize = 64 << 20;
/// The most chained parts of one file. Real ones have up to four.
pub const MAX_PARTS: usize = 1_000;
/// The most sessions of one file. A triathlon has five; the bound keeps a hostile file from filling memory.
pub const MAX_SESSIONS: usize = 1_000;
/// The most laps of one file, over all its sessions: every length of a whole day in a 25 m pool fits.
pub const MAX_LAPS: usize = 10_000;

/// What a file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct FitFile {
    /// Every session, in the order of the file, over all chained parts; never empty.
    pub sessions: Vec<Session>,
}

/// One recorded session: what becomes one workout.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// Its place in the file, counted over all chained parts. Part of the identity of the workout.
    pub index: u32,
    /// When it started, UTC milliseconds.
    pub start_ms: i64,
    /// Start plus elapsed time, UTC milliseconds; without an elapsed time when its message was written, which
    /// is up to minutes later because devices write it when the person presses save.
    pub end_ms: Option<i64>,
    /// Seconds that the wall clock of the device was ahead of UTC, where the file gives both.
    pub utc_offset_s: Option<i32>,
    /// A word such as `cycling`, from a table that never changes; `generic` where the file names none.
    pub sport: String,
    /// A finer word such as `indoor_cycling`. It comes from the profile of `fitparser`, which grows, so it is
    /// for display and never part of an importer step.
    pub sub_sport: Option<String>,
    /// Metres.
    pub distance_m: Option<f64>,
    /// Seconds that the timer ran.
    pub moving_time_s: Option<f64>,
    /// Seconds from start to end, pauses included.
    pub elapsed_time_s: Option<f64>,
    /// Kilocalories, as the device estimated them.
    pub energy_kcal: Option<f64>,
    /// Beats per minute.
    pub average_heart_rate_bpm: Option<u16>,
    /// Beats per minute.
    pub maximum_heart_rate_bpm: Option<u16>,
    /// What recorded it: the product's name where the file carries it, else `fit:<manufacturer>:<product>`,
    /// the numbers of the FIT profile, for [`device_label`] to name.
    pub device: Option<String>,
    /// Its laps in their order.
    pub laps: Vec<Lap>,
}

/// One lap of a session.
#[derive(Clone, Debug, PartialEq)]
pub struct Lap {
    /// Its place in the session.
    pub index: u32,
    /// When it started, UTC milliseconds.
    pub start_ms: Option<i64>,
    /// Metres.
    pub distance_m: Option<f64>,
    /// Seconds that the timer ran.
    pub moving_time_s: Option<f64>,
    /// Kilocalories.
    pub energy_kcal: Option<f64>,
    /// Beats per minute.
    pub average_heart_rate_bpm: Option<u16>,
    /// Beats per minute.
    pub maximum_heart_rate_bpm: Option<u16>,
}

/// Why a file was refused. It is refused whole: no session of a refused file is ever returned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FitError {
    /// A sound FIT file of another kind.
    #[error("this is {kind}, so there is no workout in it to import")]
    NotAnActivity {
        /// What it is, with its article: `a settings file`.
        kind: &'static str,
    },
    /// A FIT file that is broken or incomplete.
    #[error(
        "the file is damaged at byte {offset}: {reason}; nothing of it was imported, copy it from the device again"
    )]
    Damaged {
        /// Where, from the start of the file.
        offset: usize,
        /// What is wrong there.
        reason: String,
    },
    /// Something else altogether.
    #[error("this is not a FIT file: bytes 8 to 11 of a FIT file are \".FIT\"")]
    NotFit,
    /// More than is read of one file.
    #[error("the file holds {found} {what}, and at most {limit} are read from one file")]
    TooLarge {
        /// What there is too much of: `bytes`, `chained parts`, `sessions` or `laps`.
        what: &'static str,
        /// How many were found; reading stops at the first one too many.
        found: usize,
        /// How many are read.
        limit: usize,
    },
}

impl FitError {
    fn damaged(offset: usize, reason: impl Into<String>) -> Self {
        FitError::Damaged { offset, reason: reason.into() }
    }
}

/// Reads all sessions of a file, or says why there are none.
///
/// # Errors
/// See [`FitError`]. A file with one damaged part among several is refused whole.
pub fn read(bytes: &[u8]) -> Result<FitFile, FitError> {
    if bytes.len() > MAX_FILE_BYTES {
        return Err(FitError::TooLarge { what: "bytes", found: bytes.len(), limit: MAX_FILE_BYTES });
    }
    let parts = frame::parts(bytes)?;
    let position = Cell::new(0);
    // Built with overflow checks the parser panics where a developer field of 255 bytes has a wider type. Nothing
    // that the closure changes outlives a panic but the position.
    catch_unwind(AssertUnwindSafe(|| activity::sessions(bytes, &parts, &position)))
        .unwrap_or_else(|_| {
            Err(FitError::damaged(position.get(), "the message has fields whose sizes do not fit their types"))
        })
        .map(|sessions| FitFile { sessions })
}
