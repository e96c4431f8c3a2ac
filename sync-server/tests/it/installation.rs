//! A server knows when its database is not the one that devices know, or not one it can use.

use std::process::{Command, Output};

use fitme_core::wire::{Frame, Want};
use fitme_testing::{Database, Postgres, ServerProcess};
use serde_json::Value;
use sqlx::{Connection, PgConnection};

use crate::client::{log_in, sign_up, until};
use crate::rogue::Rogue;

#[tokio::test]
async fn a_copied_database_is_a_new_installation_with_new_epochs() {
    let postgres = Postgres::start();
    let original = postgres.database();
    let mut server = ServerProcess::on(&original.url);
    let before = sign_up(server.url(), "ana@example.org", "phone").await.body;
    server.restart();
    let same = log_in(server.url(), "ana@example.org", "phone").await.body;
    assert_eq!(same["installation"], before["installation"], "a restart is no new installation");
    assert_eq!(same["feeds"], before["feeds"]);
    server.terminate();

    let source = original.url.split('/').nth(3).unwrap().split('?').next().unwrap();
    let mut admin = PgConnection::connect(&postgres.of("postgres").owner).await.unwrap();
    let statement = format!("CREATE DATABASE copy TEMPLATE {source}");
    sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut admin).await.unwrap();
    let mut server = ServerProcess::on(&postgres.of("copy").url);

    let after = log_in(server.url(), "ana@example.org", "phone").await.body;
    assert_eq!(after["account"], before["account"]);
    assert_ne!(after["installation"], before["installation"]);
    assert!(server.log().contains("the database is a copy or was restored"));
    let epochs = |answer: &Value| -> Vec<String> {
        answer["feeds"].as_array().unwrap().iter().map(|feed| feed["epoch"].as_str().unwrap().to_owned()).collect()
    };
    assert!(epochs(&before).iter().zip(epochs(&after)).all(|(before, after)| *before != after), "an epoch was kept");

    server.restart();
    let again = log_in(server.url(), "ana@example.org", "phone").await.body;
    assert_eq!(again["installation"], after["installation"], "it is noticed once");
}

/// An operator restores the database behind a running server: the connections break, and the new ones lead to another one.
/// Here only the name by which it is known changes, which is all that a server can see of it.
#[tokio::test]
async fn a_database_that_is_replaced_under_a_running_server_is_noticed_by_the_next_connection() {
    let postgres = Postgres::start();
    let database = postgres.database();
    let server = ServerProcess::on(&database.url);
    let before = sign_up(server.url(), "ana@example.org", "phone").await.body;
    let mut session = Rogue::connect(&server, &before).await;
    session.say(&Frame::Hello(session.hello())).await;
    assert!(matches!(session.hear().await, Some(Frame::Welcome(_))));

    let mut db = PgConnection::connect(&database.owner).await.unwrap();
    sqlx::query("UPDATE installation SET fingerprint = 'of the database before'").execute(&mut db).await.unwrap();
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'fitme-sync-server'";
    sqlx::query(cut).execute(&mut db).await.unwrap();

    session.expect_goodbye("session_unavailable").await;
    until("the server has noticed", async || server.log().contains("the database is a copy or was restored")).await;
    let after = log_in(server.url(), "ana@example.org", "phone").await.body;
    assert_ne!(after["installation"], before["installation"]);
    let mut again = Rogue::connect(&server, &before).await;
    again.say(&Frame::Hello(again.hello())).await;
    let Some(Frame::Welcome(welcome)) = again.hear().await else { panic!("no Welcome") };
    assert_eq!(welcome.want, Want::Digests, "the epochs that the device knows are gone");
    assert_eq!(server.log().matches("the database is a copy or was restored").count(), 1, "it is noticed once");
}

#[tokio::test]
async fn a_database_without_tables_is_refused_until_it_is_migrated() {
    let database = Postgres::shared().empty_database();
    let refused = run("serve", &database);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("sync-server migrate"), "{said}");

    for _ in 0..2 {
        let migrated = run("migrate", &database);
        assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    }
    let server = ServerProcess::on(&database.url);
    assert_eq!(sign_up(server.url(), "ana@example.org", "phone").await.status, 201);
}

/// Each of several nodes migrates before it serves, and all are started together. The login that they share is new as well.
#[tokio::test]
async fn several_that_migrate_at_once_take_turns() {
    let Database { url, owner } = Postgres::shared().empty_database();
    let database = Database { url: url.replace("fitme_node", "at_once"), owner };
    let migrating = [(); 3].map(|()| {
        let database = database.clone();
        tokio::task::spawn_blocking(move || run("migrate", &database))
    });
    for migrated in migrating {
        let migrated = migrated.await.unwrap();
        assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    }
    let server = ServerProcess::on(&database.url);
    assert_eq!(sign_up(server.url(), "ana@example.org", "phone").await.status, 201);
}

#[tokio::test]
async fn a_database_of_a_newer_server_is_refused() {
    let database = Postgres::shared().database();
    let mut db = PgConnection::connect(&database.owner).await.unwrap();
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (9000, 'of the future', true, '', 0)";
    sqlx::query(newer).execute(&mut db).await.unwrap();
    for command in ["serve", "migrate"] {
        let refused = run(command, &database);
        assert_eq!(refused.status.code(), Some(1));
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains("newer server (to 9000)"), "{said}");
    }
}

#[tokio::test]
async fn a_database_that_may_lose_writes_is_warned_about() {
    let database = Postgres::shared().database();
    let name = database.url.split('/').nth(3).unwrap().split('?').next().unwrap();
    let mut db = PgConnection::connect(&database.owner).await.unwrap();
    let statement = format!("ALTER DATABASE {name} SET synchronous_commit = off");
    sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut db).await.unwrap();
    let server = ServerProcess::on(&database.url);
    assert!(server.log().contains("\"setting\":\"synchronous_commit\""), "{}", server.log());
    assert!(!server.log().contains("\"setting\":\"fsync\""), "{}", server.log());
}

#[test]
fn no_output_shows_the_password_of_the_database() {
    let secret = "hunter22";
    let data = tempfile::tempdir().unwrap();
    for url in [format!("mysql://ana:{secret}@localhost/x"), format!("postgres://ana:{secret}@127.0.0.1:1/x")] {
        for arguments in [vec!["serve"], vec!["serve", "--help"], vec!["migrate"]] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_sync-server"));
            command
                .args(arguments)
                .env("DATABASE_URL", &url)
                .env("FITME_OWNER_DATABASE_URL", &url)
                .env("FITME_DATA", data.path())
                .env("FITME_LISTEN", "127.0.0.1:0")
                .env("FITME_LOG", "debug");
            let output = command.output().unwrap();
            let said = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
            assert!(!said.is_empty() && !said.contains(secret), "{said}");
        }
    }
}

fn run(command: &str, database: &Database) -> Output {
    let (mut program, data) = (Command::new(env!("CARGO_BIN_EXE_sync-server")), tempfile::tempdir().unwrap());
    program.arg(command).env("DATABASE_URL", &database.url).env("FITME_OWNER_DATABASE_URL", &database.owner);
    program.env("FITME_LISTEN", "127.0.0.1:0");
    program.env("FITME_DATA", data.path()).output().unwrap()
}
