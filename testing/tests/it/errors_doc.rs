//! docs/errors.md is made from the enums; a stale one fails here, and so does a code that no test provokes.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use fitme_core::session::RETRY_AFTER_HELLO;
use fitme_core::store::{DENIALS, Denies, LOST_TO_DAMAGE, NOT_REPLAYED};
use fitme_core::wire::goodbye::REASONS;
use sync_server::error::ApiError;
use sync_server::ingest::verdict::{Postponement, Rejection};

const RETRY: (&str, &str) =
    (RETRY_AFTER_HELLO, "The device compares itself with the server first and pushes again by itself.");

/// A code that a device gives by itself, as it does `not_replayed`.
const SPOILT: (&str, &str) = (
    LOST_TO_DAMAGE,
    "This device's disk spoilt the change before it was sent: make it again; the damaged file is kept.",
);

const INTRODUCTION: &str = "# Errors

Every error that leaves a process has a code for programs and a sentence for people. A code is never used for a second
meaning. This page is generated from the code: `UPDATE_DOCS=1 make test` writes it again.

Whatever the error, what was logged on a device stays there until the server has it.
";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What becomes of the writes behind a refused entry.
fn fate(code: &str) -> &'static str {
    match DENIALS.iter().find(|(known, _)| *known == code).map(|(_, denies)| denies) {
        Some(Denies::Place) => "it is written again by itself, a few times",
        Some(Denies::Command) => "it is handed over; later ones of the record are written again without it",
        Some(Denies::Document) => "all that waits for the record is handed over",
        None => panic!("{code} is missing in core/src/store/rebase.rs"),
    }
}

fn refusals(page: &mut String) {
    page.push_str(
        "
## Entries refused for good

The entry leaves the outbox and its record. What is handed over is kept with its text: `fitme rejected` shows it. `not_replayed`
and `store_damaged` are the device's own.

| code | what to do | the write |
|---|---|---|
",
    );
    for (code, remedy) in Rejection::CODES {
        writeln!(page, "| `{code}` | {remedy} | {} |", fate(code)).unwrap();
    }
    for (code, remedy) in [NOT_REPLAYED, SPOILT] {
        writeln!(page, "| `{code}` | {remedy} | it is handed over |").unwrap();
    }
}

fn table(page: &mut String, title: &str, about: &str, rows: impl IntoIterator<Item = (String, String)>) {
    write!(page, "\n## {title}\n\n{about}\n\n| code | what to do |\n|---|---|\n").unwrap();
    for (code, remedy) in rows {
        writeln!(page, "| `{code}` | {remedy} |").unwrap();
    }
}

fn page() -> String {
    let own = |(code, remedy): (&str, &str)| (code.to_owned(), remedy.to_owned());
    let mut page = INTRODUCTION.to_owned();
    refusals(&mut page);
    table(
        &mut page,
        "Entries not decided",
        "Nothing was decided; the entry stays in the outbox.",
        Postponement::CODES.into_iter().chain([RETRY]).map(own),
    );
    table(&mut page, "Sessions", "The last frame of a session.", REASONS.map(|(_, code, remedy)| own((code, remedy))));
    table(
        &mut page,
        "HTTP",
        "As `{\"error\":{\"code\":…,\"message\":…}}` with the status given.",
        ApiError::ALL.map(|error| {
            let row = error.row();
            (row.code.to_owned(), format!("{} (status {})", row.sentence, row.status.as_u16()))
        }),
    );
    page
}

#[test]
fn the_page_of_errors_is_what_the_code_says() {
    let path = root().join("docs/errors.md");
    if std::env::var("UPDATE_DOCS").is_ok() {
        std::fs::write(&path, page()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page(), "docs/errors.md is stale: run UPDATE_DOCS=1 make test");
}

/// Codes are named in the tests that provoke them.
#[test]
fn every_code_is_provoked_by_a_test() {
    let mut tests = String::new();
    for suite in ["core/tests", "client/tests", "sync-server/tests", "testing/tests"] {
        read_all(&root().join(suite), &mut tests);
    }
    let own_codes = [&RETRY, &NOT_REPLAYED, &SPOILT];
    let codes = Rejection::CODES.iter().chain(&Postponement::CODES).chain(own_codes).map(|(code, _)| *code);
    let codes = codes.chain(REASONS.iter().map(|(_, code, _)| *code)).chain(ApiError::ALL.map(|e| e.row().code));
    let unprovoked: Vec<_> = codes.filter(|code| !tests.contains(&format!("\"{code}\""))).collect();
    assert!(unprovoked.is_empty(), "no test names these codes: {unprovoked:?}");
}

fn read_all(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.path() {
            path if path.is_dir() => read_all(&path, text),
            path if path.file_name().is_some_and(|name| name == "errors_doc.rs") => {}
            path if path.extension().is_some_and(|kind| kind == "rs") => {
                text.push_str(&std::fs::read_to_string(path).unwrap());
            }
            _ => {}
        }
    }
}
