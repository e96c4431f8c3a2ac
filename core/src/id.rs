//! Identifiers as types of their own, so that a document's id cannot be passed where an entry's is meant.

use std::fmt;

use rand::RngCore;

/// A text that is not the identifier it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not {what}: expected {expected}")]
pub struct BadId {
    text: String,
    what: &'static str,
    expected: &'static str,
}

macro_rules! bytes_id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// The id in `bytes`, if there are exactly as many as it has.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// An id drawn from `rng`.
            pub fn random(rng: &mut dyn RngCore) -> Self {
                let mut bytes = [0; $len];
                rng.fill_bytes(&mut bytes);
                Self(bytes)
            }

            /// The id's bytes.
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

bytes_id!(
    /// An entry: the start of the blake3 hash over its content.
    EntryId, 16
);
bytes_id!(
    /// A writer (one app, extension or background process on one device), as automerge knows it.
    ActorId, 16
);
bytes_id!(
    /// An automerge change: the SHA-256 of its chunk.
    ChangeHash, 32
);
bytes_id!(
    /// Drawn anew whenever a feed's history may differ from what devices have seen of it.
    Epoch, 8
);
bytes_id!(
    /// One database of one server.
    Installation, 8
);

/// A document, unique within its account: a UUIDv7 where one device made it, a UUIDv8 where the id is derived from what
/// the document is, so that two devices may make it without having met.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocId(pub [u8; 16]);

impl DocId {
    /// A new id for a document that only this device creates; `now_ms` in milliseconds since 1970 UTC.
    pub fn random(now_ms: i64, rng: &mut dyn RngCore) -> Self {
        let mut random = [0; 10];
        rng.fill_bytes(&mut random);
        let millis = u64::try_from(now_ms).unwrap_or(0);
        Self(*uuid::Builder::from_unix_timestamp_millis(millis, &random).as_uuid().as_bytes())
    }

    /// The id derived from `parts`; the same parts give the same id on every device.
    pub fn derived(parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("fitme 2026 derived document id v1");
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self(*uuid::Builder::from_custom_bytes(bytes).as_uuid().as_bytes())
    }

    /// Whether the id is derived from content.
    pub fn is_derived(&self) -> bool {
        uuid::Uuid::from_bytes(self.0).get_version_num() == 8
    }

    /// The id in `bytes`, if they are 16.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The id's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for DocId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).hyphenated().fmt(f)
    }
}

impl fmt::Debug for DocId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DocId({self})")
    }
}

impl std::str::FromStr for DocId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        uuid::Uuid::parse_str(text).map(|uuid| Self(*uuid.as_bytes())).map_err(|_| BadId {
            text: text.to_owned(),
            what: "a record's id",
            expected: "a UUID such as 01936d3e-9a51-7c3f-8a4e-0d6c1f2b3a49",
        })
    }
}

/// A feed's number on the wire: 48 random bits that the server gave it and never uses again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FeedId(pub u64);

impl fmt::Display for FeedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl EntryId {
    /// The id as the number that a feed's digest sums.
    pub fn as_number(&self) -> u128 {
        u128::from_be_bytes(self.0)
    }
}
