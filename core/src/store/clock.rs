//! A wrong clock. Nothing is refused for its time; but each contact with the server says how far this device's clock is from
//! its clock, and what was written between two contacts was written between those two moments. A record whose time lies
//! outside of them was written while the clock was wrong: it is offered the time that the measured offset makes of it.

use rand::RngCore;
use rusqlite::Connection;
use serde_json::{Value, json};

use super::{Command, Store, StoreError, WriteError, Written};
use crate::collection::Collection;
use crate::id::{ChangeHash, DocId};

/// A clock that is off by less is right.
pub const CLOCK_SLACK_MS: i64 = 120_000;
/// What a person logs without a time gets that of the moment, and is written at once.
const AT_ONCE_MS: i64 = 5_000;
/// Readings that are kept: of a device that writes and syncs each hour, those of a month.
const READINGS: i64 = 750;

/// A record whose time is wrong, as far as this device can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongTime {
    /// Which.
    pub doc_id: DocId,
    /// Of which collection.
    pub collection: Collection,
    /// When it says it happened, ms UTC.
    pub at: i64,
    /// By how much that is to be moved, ms.
    pub by_ms: i64,
}

/// What a contact with the server said.
#[derive(Debug, Clone, Copy)]
struct Reading {
    n: i64,
    measured_at: i64,
    offset_ms: i64,
}

impl Reading {
    /// By the server's clock.
    fn true_time(self) -> i64 {
        self.measured_at.saturating_add(self.offset_ms)
    }
}

/// A change, and the readings around it.
struct Suspect {
    doc_id: DocId,
    hash: ChangeHash,
    device_time: i64,
    before: Option<Reading>,
    after: Reading,
}

impl Suspect {
    /// Whether it can have been written then, by the server's clock.
    fn fits(&self, time: i64) -> bool {
        let from = self.before.map_or(i64::MIN, Reading::true_time).saturating_sub(CLOCK_SLACK_MS);
        (from..=self.after.true_time().saturating_add(CLOCK_SLACK_MS)).contains(&time)
    }

    /// What the clock was off by: as at the contact after, or as at the one before. None if it can have been right, or no
    /// measured offset explains it.
    fn off_by(&self) -> Option<i64> {
        let measured = [Some(self.after), self.before].into_iter().flatten().map(|reading| reading.offset_ms);
        let mut wrong = measured.filter(|offset| offset.abs() > CLOCK_SLACK_MS);
        // Before the first contact nothing says from when on it was written: a clock that was right then was right before.
        let is_possible = match self.before {
            Some(_) => self.fits(self.device_time),
            None => self.after.offset_ms.abs() <= CLOCK_SLACK_MS,
        };
        wrong.find(|offset| !is_possible && self.fits(self.device_time.saturating_add(*offset)))
    }
}

/// Notes what the server's clock said. Of several readings between which nothing was written the first and the last count.
pub(super) fn note(conn: &Connection, now_ms: i64, offset_ms: i64) -> Result<(), StoreError> {
    conn.execute(
        "INSERT INTO clock (n, measured_at, offset_ms, last_at, last_offset_ms)
         VALUES ((SELECT coalesce(max(n), 0) FROM entries), ?1, ?2, ?1, ?2)
         ON CONFLICT (n) DO UPDATE SET last_at = excluded.last_at, last_offset_ms = excluded.last_offset_ms",
        (now_ms, offset_ms),
    )?;
    let forget = "DELETE FROM clock WHERE n <= (SELECT n FROM clock ORDER BY n DESC LIMIT 1 OFFSET ?)";
    conn.prepare_cached(forget)?.execute([READINGS])?;
    Ok(())
}

impl Store {
    /// Own records whose times are wrong because this device's clock was when they were logged.
    pub fn wrong_times(&self) -> Result<Vec<WrongTime>, StoreError> {
        let mut found = Vec::new();
        for suspect in self.suspects()? {
            let Some(by_ms) = suspect.off_by() else { continue };
            let made = self.history(suspect.doc_id)?.into_iter().next();
            let own = made.is_some_and(|change| change.own && change.hash == suspect.hash);
            let Some(shown) = self.show(suspect.doc_id)?.filter(|shown| own && !shown.trashed) else { continue };
            let Some(at) = shown.at.filter(|at| at.abs_diff(suspect.device_time) <= AT_ONCE_MS.unsigned_abs()) else {
                continue;
            };
            found.push(WrongTime { doc_id: suspect.doc_id, collection: shown.collection, at, by_ms });
        }
        Ok(found)
    }

    /// Moves the time of such a record, by one change like any other: its history has the state before.
    pub fn correct_time(
        &mut self,
        wrong: &WrongTime,
        now_ms: i64,
        rng: &mut dyn RngCore,
    ) -> Result<Written, WriteError> {
        let record = self.show(wrong.doc_id)?.map(|shown| shown.record).unwrap_or_default();
        let moved = |name: &str| Some((name.to_owned(), json!(record[name].as_i64()?.saturating_add(wrong.by_ms))));
        let patch = Value::Object(["at", "start", "end"].into_iter().filter_map(moved).collect());
        self.write(&Command::Edit { doc_id: wrong.doc_id, patch }, now_ms, rng)
    }

    /// Changes whose times lie outside of the contacts between which they were stored; those of other devices too.
    fn suspects(&self) -> Result<Vec<Suspect>, StoreError> {
        let mut query = self
            .conn
            .prepare_cached("SELECT n, measured_at, offset_ms, last_at, last_offset_ms FROM clock ORDER BY n")?;
        let readings = query.query_map([], |row| {
            let n = row.get(0)?;
            let first = Reading { n, measured_at: row.get(1)?, offset_ms: row.get(2)? };
            Ok((first, Reading { n, measured_at: row.get(3)?, offset_ms: row.get(4)? }))
        })?;
        let mut suspects = Vec::new();
        let mut before: Option<Reading> = None;
        for readings in readings {
            let (after, last) = readings?;
            if [Some(after), before].into_iter().flatten().any(|one| one.offset_ms.abs() > CLOCK_SLACK_MS) {
                suspects.extend(self.written_between(before, after)?);
            }
            before = Some(last);
        }
        Ok(suspects)
    }

    fn written_between(&self, before: Option<Reading>, after: Reading) -> Result<Vec<Suspect>, StoreError> {
        let mut query = self.conn.prepare_cached(
            "SELECT doc_id, change_hash, device_time FROM entries
             WHERE n > ? AND n <= ? AND change_hash IS NOT NULL AND device_time <> 0 ORDER BY n",
        )?;
        let rows = query.query_map((before.map_or(0, |reading| reading.n), after.n), |row| {
            let (doc_id, hash) = (DocId(row.get(0)?), ChangeHash(row.get(1)?));
            Ok(Suspect { doc_id, hash, device_time: row.get(2)?, before, after })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
