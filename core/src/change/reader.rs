//! Numbers and lengths as a chunk holds them. A number has one encoding here, the shortest: with longer ones allowed, one
//! change could have two entry ids.

use super::{BadChange, COUNTER_MAX};

pub(super) const ACTOR_BYTES: u64 = 16;
/// Bits of a number in one byte; the eighth says that more follow.
const BITS: u32 = 7;
/// Where the tenth and last byte of a number of 64 bits lies: only one bit of it is left.
const LAST_SHIFT: u32 = 63;

/// What is still to be read.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, length: u64) -> Result<&'a [u8], BadChange> {
        let taken = usize::try_from(length).ok().and_then(|length| self.0.split_at_checked(length));
        let (taken, rest) = taken.ok_or_else(|| damaged("it ends early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, BadChange> {
        self.take(1).map(|bytes| bytes[0])
    }

    pub(super) fn unsigned(&mut self) -> Result<u64, BadChange> {
        let mut value = 0_u64;
        for shift in (0..u64::BITS).step_by(BITS as usize) {
            let byte = self.byte()?;
            if shift == LAST_SHIFT && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let padded = shift > 0 && byte == 0;
                return if padded { Err(BadChange::NotCanonical) } else { Ok(value) };
            }
        }
        Err(damaged("a number in it is too long"))
    }

    pub(super) fn signed(&mut self) -> Result<i64, BadChange> {
        let (mut value, mut sign_before) = (0_i64, None);
        for shift in (0..i64::BITS).step_by(BITS as usize) {
            let byte = self.byte()?;
            if shift == LAST_SHIFT && byte != 0 && byte != 0x7f {
                break;
            }
            value |= i64::from(byte & 0x7f) << shift;
            let negative = byte & 0x40 != 0;
            if byte & 0x80 == 0 {
                // The last byte says no more than the sign that the one before it showed already.
                let padded = (byte == 0 || byte == 0x7f) && sign_before == Some(negative);
                let filled = shift == LAST_SHIFT;
                return match padded {
                    true => Err(BadChange::NotCanonical),
                    false => Ok(if negative && !filled { value | (-1 << (shift + BITS)) } else { value }),
                };
            }
            sign_before = Some(negative);
        }
        Err(damaged("a number in it is too long"))
    }

    /// A length and so many bytes.
    pub(super) fn text(&mut self) -> Result<&'a [u8], BadChange> {
        let length = self.unsigned()?;
        self.take(length)
    }

    pub(super) fn actor(&mut self) -> Result<&'a [u8], BadChange> {
        match self.unsigned()? {
            ACTOR_BYTES => self.take(ACTOR_BYTES),
            length => Err(BadChange::BadActor { length }),
        }
    }

    pub(super) fn counter(&mut self, what: &'static str) -> Result<u64, BadChange> {
        match self.unsigned()? {
            value @ 1..=COUNTER_MAX => Ok(value),
            value => Err(BadChange::BadCounter { what, value }),
        }
    }
}

pub(super) fn damaged(why: &str) -> BadChange {
    BadChange::Undecodable(why.to_owned())
}
