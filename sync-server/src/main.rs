//! The program: reads its options, runs, and says in one sentence why it could not.

use std::process::ExitCode;

use clap::Parser;
use sync_server::config::{AuditCommand, Cli, Command};
use sync_server::{admin, backup, check, serve, shutdown, telemetry};

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
    let telemetry = telemetry::start(&cli.telemetry, cli.command.log())?;
    let result = match &cli.command {
        // The others end as any program does when they are interrupted.
        Command::Serve(args) => serve::serve(args, shutdown::on_signal()?).await.map_err(Into::into),
        Command::Check(args) => check::run(args).await.map_err(Into::into),
        Command::Backup(args) => backup::write(args).await.map_err(Into::into),
        Command::Restore(args) => backup::read(args).await.map_err(Into::into),
        Command::Migrate(args) => serve::migrate(args).await.map_err(Into::into),
        Command::Audit(AuditCommand::Verify(args)) => serve::verify_audit(args).await.map_err(Into::into),
        Command::Admin(args) => admin::run(args).await.map_err(Into::into),
    };
    telemetry.stop().await;
    result
}
