//! One chain from its first record to its head: does each record follow the one before it, and is each as it was hashed.
//! Pure, so that every way of tampering can be thought through without a database.

use std::fmt;

use uuid::Uuid;

use super::chain::{HASH_BYTES, Record};

/// Something in a chain is not as a server left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whose chain.
    pub account: Account,
    /// Which record.
    pub n: i64,
    /// What is wrong with it.
    pub fault: Fault,
}

/// An account, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// It has a chain, or is in the database without one.
    Known(Uuid),
    /// Nothing of it is in the database; only the hash of its id is known.
    Gone(String),
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is not what was hashed.
    Changed,
    /// It does not name the record before it.
    Unlinked,
    /// It is not there, although later ones are.
    Missing,
    /// It follows the last one that a server appended.
    BeyondHead,
    /// It was the last one, and is not there.
    CutOff {
        /// The number of the last one that is there.
        ends_at: i64,
    },
    /// The head's hash is another one.
    HeadChanged,
    /// The chain has no head.
    NoHead,
    /// Another record was signed under this number.
    SignedOtherwise {
        /// When, ms UTC.
        at_ms: i64,
    },
    /// It was signed, and is not there.
    SignedAndGone {
        /// When, ms UTC.
        at_ms: i64,
        /// The number of the last one that is there.
        ends_at: i64,
    },
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(account) => write!(f, "account {account}"),
            Self::Gone(tag) => write!(f, "an account that is not there any more (hash {tag})"),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { account, n, .. } = self;
        write!(f, "{account}, record {n}: ")?;
        match &self.fault {
            Fault::Changed => write!(f, "is not what was hashed; it was changed, or is of another chain or place"),
            Fault::Unlinked => write!(f, "does not follow the one before it; that one was replaced"),
            Fault::Missing => write!(f, "is missing, although later ones are there"),
            Fault::BeyondHead => write!(f, "lies beyond the end of the chain; it was put there by hand"),
            Fault::CutOff { ends_at } => write!(f, "was the last one and is missing; the chain ends at {ends_at}"),
            Fault::HeadChanged => write!(f, "is the last one, but not the one that the head of the chain names"),
            Fault::NoHead => write!(f, "belongs to a chain whose head is missing"),
            Fault::SignedOtherwise { at_ms } => {
                let at = time(*at_ms);
                write!(f, "is not the one that was signed at {at}; the chain was rewritten from there or before")
            }
            Fault::SignedAndGone { at_ms, ends_at } => write!(
                f,
                "was signed at {} and is not there; the chain ends at {ends_at}: its end was cut off, or the \
                 database is an older one",
                time(*at_ms)
            ),
        }
    }
}

/// UTC, to the second.
fn time(ms: i64) -> String {
    let at = jiff::Timestamp::from_second(ms.div_euclid(1_000));
    at.map_or_else(|_| format!("{ms} ms"), |at| at.to_string())
}

/// A walk along one chain. It goes on after something was found, and keeps the first thing: what follows is mostly its
/// consequence.
#[derive(Debug)]
pub(super) struct Walk {
    account: Uuid,
    head: Option<StoredHead>,
    last: i64,
    hash: Vec<u8>,
    found: Option<Finding>,
}

/// A head as it is stored: the number and the hash of the last record.
pub(super) type StoredHead = (i64, Vec<u8>);

impl Walk {
    pub fn of(account: Uuid, head: Option<StoredHead>) -> Self {
        Self { account, head, last: 0, hash: vec![0; HASH_BYTES], found: None }
    }

    pub fn account(&self) -> Uuid {
        self.account
    }

    /// Takes the next record, in ascending order.
    pub fn step(&mut self, record: &Record) {
        if record.n != self.last + 1 {
            self.find(self.last + 1, Fault::Missing);
        } else if record.hash_in(self.account)[..] != record.hash[..] {
            self.find(record.n, Fault::Changed);
        } else if record.prev_hash != self.hash {
            self.find(record.n, Fault::Unlinked);
        }
        self.last = record.n;
        self.hash.clone_from(&record.hash);
    }

    /// Ends at the head of the chain.
    pub fn end(mut self) -> Option<Finding> {
        match self.head.take() {
            None => self.find(self.last, Fault::NoHead),
            Some((n, _)) if n > self.last => self.find(n, Fault::CutOff { ends_at: self.last }),
            Some((n, _)) if n < self.last => self.find(n + 1, Fault::BeyondHead),
            Some((n, hash)) if hash != self.hash => self.find(n, Fault::HeadChanged),
            Some(_) => {}
        }
        self.found
    }

    fn find(&mut self, n: i64, fault: Fault) {
        self.found.get_or_insert(Finding { account: Account::Known(self.account), n, fault });
    }
}
