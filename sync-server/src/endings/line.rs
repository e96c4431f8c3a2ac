//! A line of the list: one thing that ended, by ids alone.
//!
//! ```text
//! account 01936d3e-9a51-7c3f-8a4e-0d6c1f2b3a49
//! record 01936d3e-9a51-7c3f-8a4e-0d6c1f2b3a49 01936d3f-0b1c-7d2e-9f00-112233445566
//! grant 01936d3e-9a51-7c3f-8a4e-0d6c1f2b3a49 01936d40-2c3d-7e4f-8011-223344556677
//! device 01936d3e-9a51-7c3f-8a4e-0d6c1f2b3a49 01936d41-3d4e-7f50-9122-334455667788 00000001 lost
//! ```
//!
//! Each kind has its length, so that what a crash cut off is recognised: it is the beginning of a line and no line.

use std::fmt;
use std::str::FromStr;

use fitme_core::id::DocId;
use uuid::Uuid;

/// Bytes of the longest line.
pub const LINE_BYTES: usize = 128;
/// What lines look like; `0` stands for any hexadecimal digit.
const FORMS: [&str; 6] = [
    "account 00000000-0000-0000-0000-000000000000",
    "record 00000000-0000-0000-0000-000000000000 00000000-0000-0000-0000-000000000000",
    "grant 00000000-0000-0000-0000-000000000000 00000000-0000-0000-0000-000000000000",
    "device 00000000-0000-0000-0000-000000000000 00000000-0000-0000-0000-000000000000 00000000 revoked",
    "device 00000000-0000-0000-0000-000000000000 00000000-0000-0000-0000-000000000000 00000000 lost",
    "device 00000000-0000-0000-0000-000000000000 00000000-0000-0000-0000-000000000000 00000000 back",
];

/// One thing that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Line {
    /// All of an account was erased.
    Account(Uuid),
    /// One record of an account was erased.
    Record(Uuid, DocId),
    /// A grant of an account was revoked.
    Grant(Uuid, DocId),
    /// How a device of an account stands that was ever revoked. It is the only thing that may end and begin again, so it is
    /// counted how often that happened, and the highest number counts.
    Device {
        /// Whose it is.
        account: Uuid,
        /// Which.
        device: Uuid,
        /// 1 for its first revocation.
        n: u32,
        /// How it stands since.
        is: DeviceIs,
    },
}

/// How a device stands that was ever revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceIs {
    /// It opens nothing.
    Revoked,
    /// Nor that, and it removes what it holds.
    Lost,
    /// Somebody who knows the password logged in on it again.
    Back,
}

impl DeviceIs {
    /// As lists and the database name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Lost => "lost",
            Self::Back => "back",
        }
    }

    /// The one with that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Revoked, Self::Lost, Self::Back].into_iter().find(|one| one.name() == name)
    }
}

/// A text that is no line of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoLine;

impl Line {
    /// Whose it is.
    #[must_use]
    pub const fn account(&self) -> Uuid {
        match self {
            Self::Account(account)
            | Self::Record(account, _)
            | Self::Grant(account, _)
            | Self::Device { account, .. } => *account,
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(account) => write!(f, "account {account}"),
            Self::Record(account, doc_id) => write!(f, "record {account} {doc_id}"),
            Self::Grant(account, grant) => write!(f, "grant {account} {grant}"),
            Self::Device { account, device, n, is } => write!(f, "device {account} {device} {n:08x} {}", is.name()),
        }
    }
}

impl FromStr for Line {
    type Err = NoLine;

    fn from_str(text: &str) -> Result<Self, NoLine> {
        if !FORMS.iter().any(|form| form.len() == text.len() && begins_as(text, form)) {
            return Err(NoLine);
        }
        let uuid = |text: &str| text.parse::<Uuid>().map_err(|_| NoLine);
        let doc_id = |text: &str| text.parse::<DocId>().map_err(|_| NoLine);
        match text.split(' ').collect::<Vec<_>>()[..] {
            ["account", account] => Ok(Self::Account(uuid(account)?)),
            ["record", account, record] => Ok(Self::Record(uuid(account)?, doc_id(record)?)),
            ["grant", account, grant] => Ok(Self::Grant(uuid(account)?, doc_id(grant)?)),
            ["device", account, device, n, is] => Ok(Self::Device {
                account: uuid(account)?,
                device: uuid(device)?,
                n: u32::from_str_radix(n, 16).map_err(|_| NoLine)?,
                is: DeviceIs::named(is).ok_or(NoLine)?,
            }),
            _ => Err(NoLine),
        }
    }
}

/// Whether the text is the beginning of a line, as a crash leaves it. What it was about was written again behind it, or
/// went with the database that it was read from.
#[must_use]
pub fn was_cut_off(text: &str) -> bool {
    FORMS.iter().any(|form| text.len() < form.len() && begins_as(text, form))
}

fn begins_as(text: &str, form: &str) -> bool {
    text.bytes().zip(form.bytes()).all(|(byte, expected)| match expected {
        b'0' => byte.is_ascii_hexdigit(),
        expected => byte == expected,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> [Line; 6] {
        let (account, other) = (Uuid::from_u128(1 << 120), Uuid::from_u128(2));
        let device = |n, is| Line::Device { account, device: other, n, is };
        [
            Line::Account(account),
            Line::Record(account, DocId([7; 16])),
            Line::Grant(account, DocId([8; 16])),
            device(1, DeviceIs::Revoked),
            device(u32::MAX, DeviceIs::Lost),
            device(0xab, DeviceIs::Back),
        ]
    }

    #[test]
    fn a_line_reads_as_it_was_written_and_what_was_cut_off_of_it_is_no_line() {
        for line in lines() {
            let text = line.to_string();
            assert_eq!(text.parse(), Ok(line));
            assert!(text.len() <= LINE_BYTES && !was_cut_off(&text), "{text}");
            for end in 0..text.len() {
                assert_eq!(text[..end].parse::<Line>(), Err(NoLine));
                assert!(was_cut_off(&text[..end]), "{}", &text[..end]);
            }
        }
    }

    #[test]
    fn anything_else_is_neither() {
        let [first, record, .., back] = lines().map(|line| line.to_string());
        for strange in [
            "erase everything".to_owned(),
            "account 7".to_owned() + " ",
            format!("{first} "),
            format!("{record}{record}"),
            record.replace('-', ""),
            record.to_uppercase(),
            back.replace("back", "gone"),
            back.replace("device", "gadget"),
        ] {
            assert_eq!(strange.parse::<Line>(), Err(NoLine), "{strange}");
            assert!(!was_cut_off(&strange), "{strange}");
        }
    }
}
