//! One file: what programs see, what a power failure leaves of it, its locks and its shared memory.

use std::collections::BTreeMap;
use std::fs;

use rand::{Rng, RngCore};

/// What reaches the disk at once, or not.
const SECTOR: usize = 512;
/// Words of one region of shared memory, which has 32 KiB.
const REGION_WORDS: usize = 4096;
/// Places that can be locked in shared memory.
pub const SHARED_LOCKS: usize = 8;

/// A file of a folder.
#[derive(Debug)]
pub struct File {
    /// What programs read.
    pub live: Vec<u8>,
    /// What is on the disk for certain; `None` until the first sync, as nothing says that the file itself is.
    durable: Option<Vec<u8>>,
    /// What was done since then.
    unsynced: Vec<Change>,
    /// The file of this name on the real disk: kept open, so that its number is not used again.
    pub placeholder: fs::File,
    pub locks: FileLocks,
    pub shared: SharedMemory,
}

#[derive(Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(offset, written) => {
                let end = offset + written.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*offset..end].copy_from_slice(written);
            }
            Self::Truncate(size) => bytes.truncate(*size),
        }
    }

    /// Cut where sectors end.
    fn sectors(self) -> Vec<Self> {
        let (mut offset, mut written) = match self {
            Self::Write(offset, written) => (offset, written),
            truncation @ Self::Truncate(_) => return vec![truncation],
        };
        let mut parts = Vec::new();
        while !written.is_empty() {
            let rest = written.split_off(written.len().min(SECTOR - offset % SECTOR));
            let next = offset + written.len();
            parts.push(Self::Write(offset, written));
            (offset, written) = (next, rest);
        }
        parts
    }
}

impl File {
    pub fn new(placeholder: fs::File) -> Self {
        Self {
            live: Vec::new(),
            durable: None,
            unsynced: Vec::new(),
            placeholder,
            locks: FileLocks::default(),
            shared: SharedMemory::default(),
        }
    }

    /// One that is on the disk.
    pub fn durable(placeholder: fs::File, bytes: Vec<u8>) -> Self {
        Self { live: bytes.clone(), durable: Some(bytes), ..Self::new(placeholder) }
    }

    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        self.change(Change::Write(offset, bytes.to_vec()));
    }

    pub fn truncate(&mut self, size: usize) {
        self.change(Change::Truncate(size));
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.live);
        self.unsynced.push(change);
    }

    pub fn sync(&mut self) {
        let durable = self.durable.get_or_insert_default();
        for change in self.unsynced.drain(..) {
            change.apply(durable);
        }
    }

    /// What is on the disk for certain.
    pub fn on_disk(&self) -> Option<&[u8]> {
        self.durable.as_deref()
    }

    /// Power fails. What was not synced is gone; with `rng`, some sectors of it were written after all.
    pub fn lose_power(&mut self, rng: Option<&mut dyn RngCore>) {
        let unsynced = std::mem::take(&mut self.unsynced);
        if let Some(rng) = rng {
            let durable = self.durable.get_or_insert_default();
            for sector in unsynced.into_iter().flat_map(Change::sectors) {
                if rng.random_bool(0.5) {
                    sector.apply(durable);
                }
            }
        }
        self.live = self.durable.clone().unwrap_or_default();
        self.locks = FileLocks::default();
        self.shared = SharedMemory::default();
    }
}

/// SQLite's five levels of a lock, as far as others must know of them; holders are numbers of handles.
#[derive(Debug, Default)]
pub struct FileLocks {
    levels: BTreeMap<u64, i32>,
}

impl FileLocks {
    pub const SHARED: i32 = 1;
    pub const RESERVED: i32 = 2;
    pub const PENDING: i32 = 3;
    pub const EXCLUSIVE: i32 = 4;

    /// False where somebody else stands in the way.
    pub fn raise(&mut self, by: u64, level: i32) -> bool {
        let others =
            self.levels.iter().filter(|(holder, _)| **holder != by).map(|(_, level)| *level).max().unwrap_or(0);
        let held = self.levels.get(&by).copied().unwrap_or(0);
        let free = match level {
            Self::SHARED => others < Self::PENDING,
            Self::RESERVED | Self::PENDING => others < Self::RESERVED,
            _ => others == 0,
        };
        if free && level > held {
            self.levels.insert(by, level);
        } else if !free && level == Self::EXCLUSIVE && others < Self::RESERVED {
            // Nobody new reads, so that those who read come to an end.
            self.levels.insert(by, Self::PENDING);
        }
        free
    }

    pub fn lower(&mut self, by: u64, level: i32) {
        match level {
            0 => drop(self.levels.remove(&by)),
            level => drop(self.levels.insert(by, level)),
        }
    }

    pub fn is_reserved(&self) -> bool {
        self.levels.values().any(|level| *level >= Self::RESERVED)
    }
}

/// The index of a write-ahead log, which programs share.
#[derive(Debug, Default)]
pub struct SharedMemory {
    /// Each stays where it is as long as anybody uses it.
    regions: Vec<Box<[u64; REGION_WORDS]>>,
    users: BTreeMap<u64, [i8; SHARED_LOCKS]>,
}

impl SharedMemory {
    /// The address of a region; `None` if it is not there and not to be made.
    pub fn region(&mut self, by: u64, at: usize, extend: bool) -> Option<*mut u64> {
        self.users.entry(by).or_default();
        while extend && self.regions.len() <= at {
            self.regions.push(Box::new([0; REGION_WORDS]));
        }
        self.regions.get_mut(at).map(|region| region.as_mut_ptr())
    }

    /// Locks some places, for oneself or together with others; false where somebody else stands in the way.
    pub fn lock(&mut self, by: u64, places: std::ops::Range<usize>, exclusive: bool) -> bool {
        let stands = |held: &[i8; SHARED_LOCKS]| {
            held[places.clone()].iter().any(|held| if exclusive { *held != 0 } else { *held < 0 })
        };
        if self.users.iter().any(|(user, held)| *user != by && stands(held)) {
            return false;
        }
        let held = self.users.entry(by).or_default();
        for place in places {
            held[place] = if exclusive { -1 } else { held[place] + 1 };
        }
        true
    }

    pub fn unlock(&mut self, by: u64, places: std::ops::Range<usize>, exclusive: bool) {
        let held = self.users.entry(by).or_default();
        for place in places {
            held[place] = if exclusive { 0 } else { (held[place] - 1).max(0) };
        }
    }

    /// Without anybody who uses it, it is gone.
    pub fn leave(&mut self, by: u64) {
        self.users.remove(&by);
        if self.users.is_empty() {
            self.regions.clear();
        }
    }
}
