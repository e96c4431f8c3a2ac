//! A device: the `fitme` program with a home of its own, in Rome.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// The zone that devices are in unless a test takes them elsewhere.
const ZONE: &str = "Europe/Rome";

/// One device of a person.
pub struct Device {
    folder: TempDir,
    zone: &'static str,
}

/// What a command left behind.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Device {
    pub fn new() -> Self {
        Self::in_zone(ZONE)
    }

    pub fn in_zone(zone: &'static str) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), zone }
    }

    /// A place for files beside the home.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// The program as this device runs it: with nothing of the environment of whoever runs the tests.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fitme"));
        command.args(arguments).env_clear().env("FITME_HOME", self.home()).env("TZ", self.zone).stdin(Stdio::null());
        command
    }

    pub fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Said {
        said(&mut self.command(arguments))
    }

    /// Runs a command that is carried out, and returns what it prints.
    pub fn does<A: AsRef<OsStr> + std::fmt::Debug>(&self, arguments: &[A]) -> String {
        let said = self.run(arguments);
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{arguments:?}: {}", said.out);
        said.out
    }

    /// Runs a command that is refused, and returns the sentence that says why.
    pub fn is_refused<A: AsRef<OsStr> + std::fmt::Debug>(&self, arguments: &[A]) -> String {
        let said = self.run(arguments);
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{arguments:?}: {}", said.err);
        let sentence = said.err.strip_prefix("fitme: ").and_then(|rest| rest.strip_suffix('\n'));
        sentence
            .filter(|sentence| !sentence.contains('\n'))
            .unwrap_or_else(|| panic!("not one sentence: {}", said.err))
            .to_owned()
    }

    /// The records of a collection, as JSON.
    pub fn records(&self, collection: &str) -> Vec<Value> {
        let document: Value = serde_json::from_str(&self.does(&["list", collection, "--json"])).unwrap();
        document["records"].as_array().unwrap().clone()
    }

    /// The one record of a collection.
    pub fn only(&self, collection: &str) -> Value {
        let mut records = self.records(collection);
        assert_eq!(records.len(), 1, "{records:?}");
        records.remove(0)
    }
}

pub fn said(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().expect("it ended by itself"), out: text(output.stdout), err: text(output.stderr) }
}
