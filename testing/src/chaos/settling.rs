//! How far the devices are behind the server, or ahead of it.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::device;
use super::server_side::{self, Head};
use super::town::{Resident, Town};

/// What is not everywhere yet, in sentences; empty once all is.
pub fn behind(town: &Town) -> Vec<String> {
    let heads = match server_side::heads(&town.database) {
        Ok(heads) => heads,
        Err(error) => return vec![format!("PostgreSQL does not answer: {error}")],
    };
    let mut behind: Vec<_> = town.residents.iter().filter_map(|resident| behind_of(resident, &heads)).collect();
    let unmerged = heads.values().filter(|head| head.merged_seq < head.seq).count();
    if unmerged > 0 {
        behind.push(format!("{unmerged} feeds are not merged"));
    }
    behind
}

fn behind_of(resident: &Resident, heads: &BTreeMap<i64, Head>) -> Option<String> {
    let file = device::open(&resident.device.home().join("fitme.db"));
    let looked = pending(&file).and_then(|pending| Ok((pending, cursors(&file)?)));
    let (pending, cursors) = match looked {
        Ok(looked) => looked,
        Err(error) => return Some(format!("the store of {} cannot be read: {error}", resident.name)),
    };
    let differs = |(feed, cursor, digest): &(i64, i64, Vec<u8>)| {
        heads.get(feed).is_none_or(|head| (head.seq, &head.digest) != (*cursor, digest))
    };
    let apart = cursors.iter().filter(|cursor| differs(cursor)).count();
    let is_behind = pending > 0 || apart > 0 || cursors.is_empty();
    is_behind.then(|| {
        format!("{} has {pending} entries to send and {apart} feeds that differ from the server's", resident.name)
    })
}

fn pending(file: &Connection) -> rusqlite::Result<i64> {
    file.query_row("SELECT count(*) FROM outbox WHERE state = 0", [], |row| row.get(0))
}

fn cursors(file: &Connection) -> rusqlite::Result<Vec<(i64, i64, Vec<u8>)>> {
    let mut query = file.prepare("SELECT wire, cursor, digest FROM feeds WHERE wire IS NOT NULL")?;
    query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
}
