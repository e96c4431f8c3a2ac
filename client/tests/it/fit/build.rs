//! Writes small FIT files, for the shapes that no real file has.

use crc::{CRC_16_ARC, Crc};

const CHECKSUM: Crc<u16> = Crc::<u16>::new(&CRC_16_ARC);

/// 2023-01-01T00:00:00Z in seconds of the FIT epoch, and in milliseconds of 1970.
pub const NEW_YEAR: u32 = 1_041_465_600;
pub const NEW_YEAR_MS: i64 = 1_672_531_200_000;

/// A field: its number and a value with the type of that width.
#[derive(Clone, Copy)]
pub enum Field {
    Byte(u8, u8),
    Word(u8, u16),
    Long(u8, u32),
}

impl Field {
    fn definition(self) -> [u8; 3] {
        match self {
            Field::Byte(number, _) => [number, 1, 0x02],
            Field::Word(number, _) => [number, 2, 0x84],
            Field::Long(number, _) => [number, 4, 0x86],
        }
    }

    fn value(self) -> Vec<u8> {
        match self {
            Field::Byte(_, value) => vec![value],
            Field::Word(_, value) => value.to_le_bytes().to_vec(),
            Field::Long(_, value) => value.to_le_bytes().to_vec(),
        }
    }
}

/// A definition and one message of it.
pub fn message(kind: u16, fields: &[Field]) -> Vec<u8> {
    let mut bytes = vec![0x40, 0, 0];
    bytes.extend(kind.to_le_bytes());
    bytes.push(u8::try_from(fields.len()).unwrap());
    bytes.extend(fields.iter().flat_map(|field| field.definition()));
    bytes.push(0);
    bytes.extend(fields.iter().flat_map(|field| field.value()));
    bytes
}

/// The `file_id` message of a file of this type, from product 1836 of manufacturer 1.
pub fn file_id(file_type: u8) -> Vec<u8> {
    message(0, &[Field::Byte(0, file_type), Field::Word(1, 1), Field::Word(2, 1836)])
}

/// A session that starts so many seconds into the new year.
pub fn session(start: u32, more: &[Field]) -> Vec<u8> {
    message(18, &[&[Field::Long(2, NEW_YEAR + start), Field::Byte(5, 1)], more].concat())
}

/// A lap that starts so many seconds into the new year, and is so many centimetres long.
pub fn lap(start: u32, centimetres: u32) -> Vec<u8> {
    message(19, &[Field::Long(2, NEW_YEAR + start), Field::Long(9, centimetres)])
}

/// One whole part of a file around these messages.
pub fn part(messages: &[Vec<u8>]) -> Vec<u8> {
    let data = messages.concat();
    let mut bytes = vec![14, 0x20, 0, 0];
    bytes.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
    bytes.extend(b".FIT");
    bytes.extend(CHECKSUM.checksum(&bytes).to_le_bytes());
    bytes.extend(data);
    bytes.extend([0, 0]);
    repair(&mut bytes);
    bytes
}

/// Writes the right checksum at the end, so that what was bent before it reaches the parser.
pub fn repair(bytes: &mut [u8]) {
    let end = bytes.len() - 2;
    let checksum = CHECKSUM.checksum(&bytes[..end]);
    bytes[end..].copy_from_slice(&checksum.to_le_bytes());
}
