//! The `fitme` command line client; `fitme_client::cli` is all of it.

use std::process::ExitCode;

fn main() -> ExitCode {
    fitme_client::cli::main()
}
