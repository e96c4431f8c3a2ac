//! Archives of an account: a zip whose manifest has the checksum of a list that has one of every other file. What is changed is
//! one file in it, a document within its chunks; checksums and zip are made to fit.

use std::io::{Cursor, Read, Write};

use serde_json::Value;
use sha2::{Digest, Sha256};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::{chunk, mutated, put};

const MANIFEST: &str = "manifest.json";
const CHECKSUMS: &str = "CHECKSUMS";
/// One in so many inputs is changed as bytes.
const AS_BYTES: u32 = 8;
/// What one file may unpack to here.
const FILE_BYTES: u64 = 256 << 10;
/// What a file may grow by at once.
const GROWS_BY: usize = 256;

struct Part {
    name: String,
    content: Vec<u8>,
}

/// See `libfuzzer_sys::fuzz_mutator`.
pub fn mutate(data: &mut [u8], size: usize, most: usize, seed: u32) -> usize {
    let parts = if seed % AS_BYTES == 0 { None } else { unpack(&data[..size]) };
    let Some(mut parts) = parts.filter(|parts| !parts.is_empty()) else {
        let new = mutated(&data[..size], most);
        return put(data, size, most, &new);
    };
    let chosen = (seed / AS_BYTES) as usize % parts.len();
    let Part { name, content } = &mut parts[chosen];
    let room = content.len() + GROWS_BY;
    *content = if name.ends_with(".automerge") {
        chunk::changed(chunk::CHANGE, content, room, seed)
    } else {
        mutated(content, room)
    };
    let is_sealed_again = seed % 4 != 1;
    if is_sealed_again {
        seal(&mut parts);
    }
    match pack(&parts, seed % 3 == 0) {
        Some(new) => put(data, size, most, &new),
        None => size,
    }
}

fn unpack(bytes: &[u8]) -> Option<Vec<Part>> {
    let mut zip = ZipArchive::new(Cursor::new(bytes)).ok()?;
    let mut parts = Vec::new();
    for index in 0..zip.len() {
        let file = zip.by_index(index).ok()?;
        let name = file.name().ok()?.to_string();
        let mut content = Vec::new();
        file.take(FILE_BYTES).read_to_end(&mut content).ok()?;
        parts.push(Part { name, content });
    }
    Some(parts)
}

/// Makes the checksums those of what is there now.
fn seal(parts: &mut [Part]) {
    let of_part = |part: &Part| format!("{}  {}\n", sum(&part.content), part.name);
    let lines: String =
        parts.iter().filter(|part| ![MANIFEST, CHECKSUMS].contains(&&*part.name)).map(of_part).collect();
    let checksums = sum(lines.as_bytes());
    for part in parts.iter_mut() {
        if part.name == CHECKSUMS {
            part.content = lines.clone().into_bytes();
        } else if part.name == MANIFEST
            && let Ok(mut manifest) = serde_json::from_slice::<Value>(&part.content)
            && manifest.is_object()
        {
            manifest["checksums"] = checksums.clone().into();
            part.content = manifest.to_string().into_bytes();
        }
    }
}

fn pack(parts: &[Part], deflated: bool) -> Option<Vec<u8>> {
    let method = if deflated { CompressionMethod::Deflated } else { CompressionMethod::Stored };
    let options = SimpleFileOptions::default().compression_method(method);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for part in parts {
        zip.start_file(part.name.as_str(), options).ok()?;
        zip.write_all(&part.content).ok()?;
    }
    Some(zip.finish().ok()?.into_inner())
}

fn sum(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}
