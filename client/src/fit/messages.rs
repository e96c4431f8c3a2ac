//! The messages of one part, parsed and not decoded: field numbers with raw values.

use std::cell::Cell;
use std::collections::HashMap;

use fitparser::de::{DecodeOption, FitDataMessage, FitObject, FitStreamProcessor};
use fitparser::profile::MesgNum;
use fitparser::profile::field_types::FitBaseType;
use fitparser::{ErrorKind, Value};

use super::FitError;
use super::frame::Part;

/// Milliseconds between 1970 and the epoch of FIT, 1989-12-31T00:00:00Z.
const FIT_EPOCH_MS: i64 = 631_065_600_000;
/// Smaller times count from when the device was switched on: its clock had not been set.
const FIRST_CALENDAR_TIME: u32 = 0x1000_0000;
/// Local message numbers are four bits.
const LOCAL_MESSAGES: usize = 16;

const ODD_DEVELOPER_FIELD: &str = "the message has a developer field whose size does not fit its type";

/// One data message.
pub(super) struct Message {
    /// Which kind it is in the FIT profile.
    pub(super) kind: u16,
    /// Where it begins in the file.
    pub(super) offset: usize,
    fields: HashMap<u8, Value>,
}

impl Message {
    /// A whole number that is not negative. Invalid values, arrays and other types count as absent.
    pub(super) fn int(&self, field: u8) -> Option<u32> {
        let value: i64 = self.fields.get(&field)?.try_into().ok()?;
        u32::try_from(value).ok()
    }

    /// A number that the file stores as a whole number times `scale`.
    pub(super) fn scaled(&self, field: u8, scale: f64) -> Option<f64> {
        self.int(field).map(|raw| f64::from(raw) / scale)
    }

    /// A calendar time in UTC milliseconds.
    pub(super) fn time_ms(&self, field: u8) -> Option<i64> {
        let seconds = self.int(field).filter(|seconds| *seconds >= FIRST_CALENDAR_TIME)?;
        Some(FIT_EPOCH_MS + i64::from(seconds) * 1_000)
    }

    /// A text that is not empty.
    pub(super) fn text(&self, field: u8) -> Option<&str> {
        match self.fields.get(&field)? {
            Value::String(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }
}

/// Hands every data message of a part to `take`, in order. `position` follows along, so that a caller who
/// catches a panic knows where it happened.
pub(super) fn walk(
    bytes: &[u8],
    part: &Part,
    position: &Cell<usize>,
    mut take: impl FnMut(Message) -> Result<(), FitError>,
) -> Result<(), FitError> {
    let mut reader = Reader::open(&bytes[part.start..part.data.end])
        .map_err(|error| FitError::damaged(part.start, reason(&error)))?;
    let mut at = part.data.start;
    while at < part.data.end {
        position.set(at);
        let (length, message) =
            reader.next(&bytes[at..part.data.end]).map_err(|reason| FitError::damaged(at, reason))?;
        if let Some(message) = message {
            take(Message { kind: message.global_message_number(), offset: at, fields: message.fields })?;
        }
        at += length;
    }
    Ok(())
}

struct Reader {
    processor: FitStreamProcessor,
    /// How long the messages of each local number are.
    sizes: [Option<usize>; LOCAL_MESSAGES],
}

impl Reader {
    /// Begins a part. Definitions never reach from one part into the next, so each part has its own reader.
    fn open(part: &[u8]) -> Result<Self, fitparser::Error> {
        let mut processor = FitStreamProcessor::new();
        processor.add_option(DecodeOption::SkipHeaderCrcValidation);
        processor.deserialize_next(part)?;
        Ok(Reader { processor, sizes: [None; LOCAL_MESSAGES] })
    }

    /// Parses one message and says how many bytes it took.
    fn next(&mut self, input: &[u8]) -> Result<(usize, Option<FitDataMessage>), String> {
        let patched = odd_sizes_as_bytes(input);
        let message = self.data_message(input);
        let input = patched.as_deref().or(message).unwrap_or(input);
        let (rest, object) = self.processor.deserialize_next(input).map_err(|error| match *error {
            ErrorKind::UnexpectedEof(_) if message.is_some() => ODD_DEVELOPER_FIELD.to_owned(),
            _ => reason(&error),
        })?;
        let length = input.len() - rest.len();
        match object {
            FitObject::DefinitionMessage(definition) => {
                self.sizes[usize::from(definition.local_message_number())] = Some(definition.data_message_size());
                Ok((length, None))
            }
            FitObject::DataMessage(message) => {
                self.learn_developer_field(&message)?;
                Ok((length, Some(message)))
            }
            FitObject::Header(_) | FitObject::Crc(_) => Err("a message was expected here".to_owned()),
        }
    }

    /// The next message alone, where it is a whole data message of a known definition. The parser must not see
    /// more: in a developer field whose size is no multiple of its type it reads on, into the messages behind
    /// it or, where its count of bytes wraps around, through all that is left of the file.
    fn data_message<'a>(&self, input: &'a [u8]) -> Option<&'a [u8]> {
        let local = match input[0] {
            compressed if compressed & 0x80 != 0 => compressed >> 5 & 0x3,
            definition if definition & 0x40 != 0 => return None,
            data => data & 0xF,
        };
        input.get(..self.sizes[usize::from(local)]?)
    }

    /// The parser needs the types of developer fields to get past them; decoding their descriptions is how it
    /// learns them.
    fn learn_developer_field(&mut self, message: &FitDataMessage) -> Result<(), String> {
        if message.global_message_number() != MesgNum::FieldDescription.as_u16() {
            return Ok(());
        }
        self.processor.decode_message(message.clone()).map(drop).map_err(|error| reason(&error))
    }
}

/// A copy of a definition in which every field whose size is no multiple of its type is a byte array, or none
/// where there is no such field. The parser does the same, but announces each one on standard error, and no
/// option silences it: a crafted file would write millions of lines to the terminal. A definition that is cut
/// off is copied as far as it goes, since the parser announces before it notices.
fn odd_sizes_as_bytes(message: &[u8]) -> Option<Vec<u8>> {
    const FIELDS_AT: usize = 6;
    const BYTE: u8 = 0x0D;
    let first = *message.first()?;
    if first & 0xC0 != 0x40 {
        return None;
    }
    let fields_end = FIELDS_AT + 3 * usize::from(*message.get(FIELDS_AT - 1)?);
    let fields = FIELDS_AT..fields_end.min(message.len());
    let is_odd = |field: &[u8]| !field[1].is_multiple_of(base_size(field[2]));
    if !message[fields.clone()].chunks_exact(3).any(is_odd) {
        return None;
    }
    let developer_fields = message.get(fields_end).filter(|_| first & 0x20 != 0);
    let end = fields_end + developer_fields.map_or(0, |count| 1 + 3 * usize::from(*count));
    let mut copy = message[..end.min(message.len())].to_vec();
    for field in copy[fields].chunks_exact_mut(3).filter(|field| is_odd(field)) {
        field[2] = BYTE;
    }
    Some(copy)
}

fn base_size(base_type: u8) -> u8 {
    match FitBaseType::from(base_type & 0x9F) {
        FitBaseType::Sint16 | FitBaseType::Uint16 | FitBaseType::Uint16z => 2,
        FitBaseType::Sint32 | FitBaseType::Uint32 | FitBaseType::Uint32z | FitBaseType::Float32 => 4,
        FitBaseType::Sint64 | FitBaseType::Uint64 | FitBaseType::Uint64z | FitBaseType::Float64 => 8,
        _ => 1,
    }
}

/// In our words, because those of the parser name its own types and positions.
fn reason(error: &ErrorKind) -> String {
    match error {
        ErrorKind::MissingDefinitionMessage(local, _) => {
            format!("a message of local type {local}, which nothing before it defines")
        }
        ErrorKind::UnexpectedEof(_) => "the message runs past the end of its part".to_owned(),
        ErrorKind::ParseError(..) => "the message has a developer field that nothing before it describes".to_owned(),
        ErrorKind::ValueError(_) => "a developer field is described without its number or type".to_owned(),
        other => format!("the message cannot be read ({other})"),
    }
}
