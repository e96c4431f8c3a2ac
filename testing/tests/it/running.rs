//! A command that runs on beside the test.

use std::io::Read;
use std::process::Child;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A process that ends with the test, whatever happens.
pub struct Running(pub Child);

impl Running {
    /// Ends it as Ctrl-C does; returns what it printed.
    pub fn interrupted(mut self) -> String {
        let pid = Pid::from_raw(self.0.id().cast_signed());
        kill(pid, Signal::SIGINT).unwrap();
        let mut said = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        said
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _gone_already = self.0.kill();
        let _gone_already = self.0.wait();
    }
}
