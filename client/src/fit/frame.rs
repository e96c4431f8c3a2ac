//! The frame of a file: one or several parts, each a header, data and a checksum.
//!
//! All frames are checked before the first message is parsed. `fitparser` would check them on its way, but
//! gives no offset for a wrong checksum or a file that ends early, and panics on a header shorter than it says.

use std::ops::Range;

use super::{FitError, MAX_PARTS};

const SIGNATURE: &[u8] = b".FIT";
const SIGNATURE_AT: Range<usize> = 8..12;
const SHORT_HEADER: usize = 12;
const LONG_HEADER: usize = 14;
const CHECKSUM_BYTES: usize = 2;

/// The checksum of FIT, for headers and for data.
const CHECKSUM: crc::Crc<u16> = crc::Crc::<u16>::new(&crc::CRC_16_ARC);

/// Where one part lies in the file.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// The offset of its header.
    pub(super) start: usize,
    /// Its messages.
    pub(super) data: Range<usize>,
}

/// Finds the parts of a file, every one of them whole and with a right checksum; at least one.
pub(super) fn parts(bytes: &[u8]) -> Result<Vec<Part>, FitError> {
    if bytes.get(SIGNATURE_AT) != Some(SIGNATURE) {
        return Err(FitError::NotFit);
    }
    let mut parts = Vec::new();
    let mut start = 0;
    while start < bytes.len() {
        if parts.len() == MAX_PARTS {
            return Err(FitError::TooLarge { what: "chained parts", found: MAX_PARTS + 1, limit: MAX_PARTS });
        }
        let part = part(bytes, start)?;
        start = part.data.end + CHECKSUM_BYTES;
        parts.push(part);
    }
    Ok(parts)
}

fn part(bytes: &[u8], start: usize) -> Result<Part, FitError> {
    let header = header(bytes, start)?;
    let size = u32_at(header, 4) as usize;
    if size == 0 {
        let reason = "its header promises no data, as a recording has that was never finished";
        return Err(FitError::damaged(start + 4, reason));
    }
    // Saturating: a promised size near u32::MAX would overflow where an address has 32 bits.
    let data = start + header.len()..(start + header.len()).saturating_add(size);
    let promised = data.end.saturating_add(CHECKSUM_BYTES);
    let Some(stored) = bytes.get(data.end..promised) else {
        return Err(FitError::damaged(bytes.len(), format!("it ends here, and its header promises {promised} bytes")));
    };
    // The header belongs to what is summed. Where it has a checksum of its own the two cancel out, so one rule
    // serves both lengths of header.
    let computed = CHECKSUM.checksum(&bytes[start..data.end]);
    if computed != u16_at(stored, 0) {
        return Err(FitError::damaged(data.end, checksum_reason("data", computed, u16_at(stored, 0))));
    }
    Ok(Part { start, data })
}

fn header(bytes: &[u8], start: usize) -> Result<&[u8], FitError> {
    let rest = &bytes[start..];
    if rest.get(SIGNATURE_AT) != Some(SIGNATURE) {
        let reason = format!("the {} bytes from here on do not begin with a FIT header", rest.len());
        return Err(FitError::damaged(start, reason));
    }
    let length = usize::from(rest[0]);
    if length != SHORT_HEADER && length != LONG_HEADER {
        return Err(FitError::damaged(start, format!("its header says it is {length} bytes long, not 12 or 14")));
    }
    let header = rest.get(..length).ok_or_else(|| FitError::damaged(bytes.len(), "it ends within its header"))?;
    if length == LONG_HEADER {
        check_header(header).map_err(|reason| FitError::damaged(start + SHORT_HEADER, reason))?;
    }
    Ok(header)
}

/// A checksum of zero in the header means that its writer left it out.
fn check_header(header: &[u8]) -> Result<(), String> {
    let stored = u16_at(header, SHORT_HEADER);
    let computed = CHECKSUM.checksum(&header[..SHORT_HEADER]);
    if stored == 0 || stored == computed { Ok(()) } else { Err(checksum_reason("header", computed, stored)) }
}

fn checksum_reason(of: &str, computed: u16, stored: u16) -> String {
    format!("the checksum of its {of} is {computed:#06x}, and {stored:#06x} is written here")
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
