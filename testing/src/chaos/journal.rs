//! What a device has told: its writes and the receipts it knows, one JSON document a line. A line counts once it is on the
//! disk; what a kill has cut off in the middle was never told.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// One thing that a device says is so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// The store returned from a write.
    Wrote(Wrote),
    /// The server has numbered an entry.
    Receipt(Receipt),
}

/// An entry that is durable on the device; ids in hex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wrote {
    /// The document.
    pub doc: String,
    /// The entry; a hash of its content.
    pub entry: String,
    /// Its change; none where the entry erases.
    pub change: Option<String>,
}

/// A number that the server gave an entry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Receipt {
    /// Number of the feed on the wire.
    pub feed: i64,
    /// Number of the entry.
    pub seq: i64,
    /// The entry, in hex.
    pub entry: String,
}

/// A journal that a device goes on with.
pub struct Journal(File);

impl Journal {
    /// Opens it behind its last whole line.
    ///
    /// # Panics
    /// When it cannot be read or written.
    pub fn open(path: &Path) -> Self {
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path);
        let mut file = file.expect("the journal's folder is ours");
        let mut text = Vec::new();
        file.read_to_end(&mut text).expect("the journal can be read");
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last as u64 + 1);
        file.set_len(whole).expect("the journal can be cut");
        file.seek(SeekFrom::Start(whole)).expect("the journal has an end");
        Self(file)
    }

    /// Tells; on the disk when this returns.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn tell(&mut self, told: &[Told]) {
        if told.is_empty() {
            return;
        }
        let mut lines = Vec::new();
        for told in told {
            serde_json::to_writer(&mut lines, told).expect("what is told is plain data");
            lines.push(b'\n');
        }
        self.0.write_all(&lines).and_then(|()| self.0.sync_data()).expect("the journal can be written");
    }
}

/// All that was told.
///
/// # Panics
/// When the journal is damaged.
pub fn read(path: &Path) -> Vec<Told> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |last| &text[..last]);
    whole.lines().map(|line| serde_json::from_str(line).expect("a whole line of a journal")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(seq: i64) -> Told {
        Told::Receipt(Receipt { feed: 1, seq, entry: "00".to_owned() })
    }

    #[test]
    fn what_a_kill_cut_off_was_not_told_and_does_not_spoil_what_follows() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().join("journal");
        Journal::open(&path).tell(&[receipt(1)]);
        let mut file = OpenOptions::new().append(true).open(&path).expect("it is there");
        file.write_all(br#"{"receipt":{"fe"#).expect("it can be written");
        assert_eq!(read(&path), [receipt(1)]);
        Journal::open(&path).tell(&[receipt(2)]);
        assert_eq!(read(&path), [receipt(1), receipt(2)]);
    }
}
