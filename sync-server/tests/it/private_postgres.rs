//! The server's own PostgreSQL: where it may live, who may enter, and what survives a crash.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fitme_testing::ServerProcess;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::Connection;
use sqlx::PgConnection;
use sync_server::private_postgres::PrivatePostgres;

use crate::client::{log_in, sign_up, until};

#[tokio::test]
async fn it_is_durable_has_no_tcp_port_and_leaves_nothing_behind() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("a".repeat(150)).join("data");

    let postgres = PrivatePostgres::start(&data).await.unwrap();

    let socket_dir = postgres.socket_dir().to_owned();
    assert_eq!(std::fs::metadata(&socket_dir).unwrap().permissions().mode() & 0o777, 0o700);
    let mut db = PgConnection::connect(&postgres.url()).await.unwrap();
    for setting in ["fsync", "synchronous_commit", "full_page_writes", "data_checksums"] {
        let value: String =
            sqlx::query_scalar("SELECT current_setting($1)").bind(setting).fetch_one(&mut db).await.unwrap();
        assert_eq!(value, "on", "{setting}");
    }
    let tcp: String = sqlx::query_scalar("SHOW listen_addresses").fetch_one(&mut db).await.unwrap();
    assert_eq!(tcp, "", "no TCP port is open");

    let pid = postgres.pid();
    postgres.stop().await.unwrap();
    assert!(!runs(pid), "PostgreSQL still runs");
    assert!(!socket_dir.exists() && !data.join("postgres/postmaster.pid").exists(), "something was left behind");
}

mod needs_root {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use sync_server::private_postgres::PrivatePostgres;

    /// A user without rights.
    const NOBODY: u32 = 65534;

    #[tokio::test]
    #[ignore = "needs root"]
    async fn it_lives_where_its_own_user_cannot_look_and_nobody_else_gets_in() {
        let place = tempfile::tempdir().unwrap();
        let closed = place.path().join("closed");
        std::fs::DirBuilder::new().mode(0o700).create(&closed).unwrap();
        let cluster = closed.join("data/postgres");

        let postgres = PrivatePostgres::start(closed.join("data")).await.unwrap();

        let uid = std::fs::metadata(format!("/proc/{}", postgres.pid())).unwrap().uid();
        assert_ne!(uid, 0, "PostgreSQL does not run as root");
        assert_eq!(std::fs::metadata(&cluster).unwrap().uid(), uid);
        let can_list = |uid: u32, folder: &std::path::Path| {
            let output = Command::new("/bin/ls").arg(folder).uid(uid).gid(NOBODY).current_dir("/").output();
            output.unwrap().status.success()
        };
        assert!(!can_list(uid, &cluster), "the play is set wrongly: its user can look into the folder by name");
        assert!(can_list(uid, postgres.socket_dir()), "the play is set wrongly: nobody can enter");
        assert!(!can_list(NOBODY, postgres.socket_dir()), "another user reached the socket");
        postgres.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_second_server_on_the_same_data_is_refused_by_name() {
    let first = ServerProcess::start();
    let second = serve(first.data(), "127.0.0.1:0");
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8(second.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(&format!("in use by process {}", first.pid())), "{said}");
    assert!(sign_up(first.url(), "ana@example.org", "phone").await.status.is_success(), "the first one is not harmed");
}

#[tokio::test]
async fn a_busy_port_is_one_sentence_that_says_what_to_do() {
    let first = ServerProcess::start();
    let home = tempfile::tempdir().unwrap();
    let address = first.url().trim_start_matches("http://");
    let second = serve(home.path(), address);
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8(second.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(address) && said.contains("FITME_LISTEN"), "{said}");
    assert!(!home.path().join("postgres").exists(), "no database was made for nothing");
}

#[tokio::test]
async fn a_killed_server_adopts_its_database_and_stops_it_at_the_end() {
    let mut server = ServerProcess::start();
    sign_up(server.url(), "ana@example.org", "phone").await;
    let postgres = pid_of_postgres(server.data());

    server.kill9();
    assert!(runs(postgres), "a crash of the server does not reach the database");
    server.restart();

    assert_eq!(pid_of_postgres(server.data()), postgres, "the running one was adopted");
    assert!(log_in(server.url(), "ana@example.org", "tablet").await.status.is_success());
    let status = server.terminate();
    assert!(status.success(), "{status}: {}", server.log());
    assert!(!runs(postgres), "what was adopted is stopped as well");
}

#[tokio::test]
async fn after_a_power_cut_a_stale_process_number_does_not_keep_it_down() {
    let mut server = ServerProcess::start();
    sign_up(server.url(), "ana@example.org", "phone").await;
    let postgres = pid_of_postgres(server.data());
    server.kill9();
    kill(Pid::from_raw(postgres.cast_signed()), Signal::SIGKILL).unwrap();
    until("the database is dead", async || !runs(postgres)).await;
    for file in [server.data().join("postgres/postmaster.pid"), socket_lock(server.data())] {
        let left = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, left.replacen(&postgres.to_string(), &std::process::id().to_string(), 1)).unwrap();
    }
    until("the last process of the dead database is gone", async || !mentions_cluster(server.data())).await;

    server.restart();

    assert!(log_in(server.url(), "ana@example.org", "tablet").await.status.is_success());
}

#[tokio::test]
async fn a_half_made_cluster_is_made_again() {
    let data = tempfile::tempdir().unwrap();
    let unfinished = data.path().join("postgres.unfinished");
    std::fs::create_dir(&unfinished).unwrap();
    std::fs::write(unfinished.join("PG_VERSION"), "15\n").unwrap();
    let postgres = PrivatePostgres::start(data.path()).await.unwrap();
    assert!(!unfinished.exists());
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn a_cluster_of_another_version_is_refused_with_what_to_install() {
    let data = tempfile::tempdir().unwrap();
    PrivatePostgres::start(data.path()).await.unwrap().stop().await.unwrap();
    std::fs::write(data.path().join("postgres/PG_VERSION"), "9\n").unwrap();
    let refused = PrivatePostgres::start(data.path()).await.unwrap_err().to_string();
    assert!(refused.contains("PostgreSQL 9, which made the existing data,"), "{refused}");
}

/// Before migration 0007 the server logged in as the owner of everything, and there was no other role.
#[tokio::test]
async fn a_cluster_from_before_the_server_had_a_login_of_its_own_goes_on() {
    let data = tempfile::tempdir().unwrap();
    let postgres = PrivatePostgres::start(data.path()).await.unwrap();
    let mut owner = PgConnection::connect(&postgres.url()).await.unwrap();
    let of_then = include_str!("../../../testing/samples/v1/server.sql");
    sqlx::raw_sql(of_then).execute(&mut owner).await.unwrap();
    owner.close().await.unwrap();
    postgres.stop().await.unwrap();
    let mut server = ServerProcess::start_with(None, &[("FITME_DATA", data.path().to_str().unwrap())]);
    assert_eq!(sign_up(server.url(), "ana@example.org", "phone").await.status, 201);
    server.restart();
    assert_eq!(log_in(server.url(), "ana@example.org", "tablet").await.status, 200);
}

fn serve(data: &Path, listen: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sync-server"));
    command.arg("serve").env("FITME_DATA", data).env("FITME_LISTEN", listen).env_remove("DATABASE_URL");
    command.output().unwrap()
}

fn pid_of_postgres(data: &Path) -> u32 {
    let file = std::fs::read_to_string(data.join("postgres/postmaster.pid")).unwrap();
    file.lines().next().unwrap().trim().parse().unwrap()
}

fn socket_lock(data: &Path) -> PathBuf {
    let file = std::fs::read_to_string(data.join("postgres/postmaster.pid")).unwrap();
    Path::new(file.lines().nth(4).unwrap()).join(".s.PGSQL.5432.lock")
}

/// A process that has ended but that nobody has waited for does not run.
fn runs(pid: u32) -> bool {
    std::fs::read_link(format!("/proc/{pid}/exe")).is_ok()
}

/// Whether any process works in the cluster's folder.
fn mentions_cluster(data: &Path) -> bool {
    let cluster: PathBuf = data.join("postgres").canonicalize().unwrap();
    let processes = std::fs::read_dir("/proc").unwrap();
    processes.flatten().any(|entry| std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == cluster))
}
