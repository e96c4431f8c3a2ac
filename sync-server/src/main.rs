//! The program: reads its options, runs, and says in one sentence why it could not.

use std::process::ExitCode;

use clap::Parser;
use sync_server::config::{AuditCommand, Cli, Command};
use sync_server::{admin, serve, shutdown, telemetry};

/// Sending traces needs a second thread beside the one that waits for it.
const LEAST_THREADS: usize = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let threads = std::thread::available_parallelism().map_or(LEAST_THREADS, |n| n.get().max(LEAST_THREADS));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(&cli)),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sync-server: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: &Cli) -> anyhow::Result<()> {
    let shutdown = shutdown::on_signal()?;
    let telemetry = telemetry::start(&cli.telemetry)?;
    let result = match &cli.command {
        Command::Serve(args) => serve::serve(args, shutdown).await.map_err(anyhow::Error::from),
        Command::Migrate(args) => serve::migrate(args).await.map_err(anyhow::Error::from),
        Command::Audit(AuditCommand::Verify(args)) => serve::verify_audit(args).await.map_err(anyhow::Error::from),
        Command::Admin(args) => admin::run(args).await.map_err(anyhow::Error::from),
    };
    telemetry.stop().await;
    result
}
