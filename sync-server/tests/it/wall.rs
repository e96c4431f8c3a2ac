//! The second wall: what PostgreSQL itself refuses the server, whatever its code does. The tables come from the catalogue,
//! so that none can be forgotten; see docs/adr/0007-the-second-wall.md.

use std::process::Command;

use fitme_testing::{Database, Postgres, ServerProcess};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use sync_server::db::wall::{self, Role};
use uuid::Uuid;

use crate::client::{log_in, sign_up};

/// Tables that stand before the wall, each with the reason.
const OPEN: [(&str, &str); 8] = [
    ("_sqlx_migrations", "which migrations ran"),
    ("installation", "one row, of nobody"),
    ("settings", "one row, of nobody"),
    ("erased_devices", "ids of devices whose accounts are gone"),
    ("retired_feeds", "numbers of feeds that are gone"),
    ("signing_keys", "the server's own, sealed by a key that is not in the database"),
    ("oidc_sign_ins", "of people who may have no account yet; found by hashes of secrets alone, for ten minutes"),
    ("login_failures", "of addresses, whether they have an account or not, which it knows by their hashes alone"),
];

/// A row of one person in every table behind the wall, with Tom on the other side where there is one. A table that is new
/// gets a line here.
const ROWS: &str = "
INSERT INTO accounts (account, email, password_hash) VALUES ('ACCOUNT', 'ACCOUNT@example.org', '');
INSERT INTO devices (device, account, name) VALUES ('ACCOUNT', 'ACCOUNT', 'phone');
INSERT INTO feeds (feed, account, collection, epoch) VALUES (FEED, 'ACCOUNT', 'moods', '\\x0000000000000001');
INSERT INTO entries (feed, seq, entry_id, kind, doc_id, author, device_time, digest)
    VALUES (FEED, 1, uuid_send('ACCOUNT'), 0, uuid_send('ACCOUNT'), 'ACCOUNT', 0, '');
INSERT INTO damaged_entries (feed, seq) VALUES (FEED, 1);
INSERT INTO documents (account, doc_id, feed, heads) VALUES ('ACCOUNT', uuid_send('ACCOUNT'), FEED, '{}');
INSERT INTO actors (actor, device, last_entry_id, last_feed, last_seq)
    VALUES (uuid_send('ACCOUNT'), 'ACCOUNT', uuid_send('ACCOUNT'), FEED, 1);
INSERT INTO merge_queue (feed, head_seq) VALUES (FEED, 1);
INSERT INTO snapshots (feed, doc_id, snapshot_seq, heads, snapshot) VALUES (FEED, uuid_send('ACCOUNT'), 1, '{}', '');
INSERT INTO records (feed, doc_id, trashed, columns, record, flags, projection_version)
    VALUES (FEED, uuid_send('ACCOUNT'), false, '{}', '{}', '{}', 1);
INSERT INTO account_usage (account, documents, bytes) VALUES ('ACCOUNT', 1, 1);
INSERT INTO sign_ins (sign_in, account, device, family_hash, token_hash, exchanged_at, started_at, expires_at)
    VALUES ('ACCOUNT', 'ACCOUNT', 'ACCOUNT', sha256('ACCOUNT'), sha256('ACCOUNT'), 0, 0, 0);
INSERT INTO oidc_identities (issuer, subject, account, linked_at) VALUES ('provider', 'ACCOUNT', 'ACCOUNT', 0);
INSERT INTO confirmed_addresses (account, confirmed_at) VALUES ('ACCOUNT', 0);
INSERT INTO mailed_tokens (account, purpose, token_hash, expires_at) VALUES ('ACCOUNT', 'reset', sha256('ACCOUNT'), 0);
INSERT INTO totp (account, sealed_secret) VALUES ('ACCOUNT', '');
INSERT INTO recovery_codes (account, code_hash) VALUES ('ACCOUNT', sha256('ACCOUNT'));
INSERT INTO invites (code_hash, grantee, grantee_name, role, purpose, feeds, expires_at)
    VALUES (sha256('ACCOUNT'), 'ACCOUNT', '', '', '', '[]', now());
INSERT INTO relations (account, grantee) VALUES ('ACCOUNT', 'TOM');
INSERT INTO grants_now (account, grant_id, feed, grantee, access, purpose, shown_as)
    VALUES ('ACCOUNT', uuid_send('ACCOUNT'), FEED, 'TOM', 'read', 'training', '');
INSERT INTO revocations (account, grant_id) VALUES ('ACCOUNT', uuid_send('ACCOUNT'));
INSERT INTO grantees (grantee) VALUES ('ACCOUNT');
INSERT INTO audit_records (account, n, at_ms, kind, detail, prev_hash, hash)
    VALUES ('ACCOUNT', 1, 0, 'signed_in', '{}', sha256('ACCOUNT'), sha256('ACCOUNT'));
INSERT INTO audit_heads (account) VALUES ('ACCOUNT');
INSERT INTO audit_reads (account, feed, reader, device, purposes, first_seq, last_seq, first_at_ms, last_at_ms)
    VALUES ('ACCOUNT', FEED, 'TOM', 'TOM', '{training}', 1, 1, 0, 0);
INSERT INTO erasures (account) VALUES ('ACCOUNT');
INSERT INTO left_out (feed, doc_id, change_hash, seq, void_seq)
    VALUES (FEED, uuid_send('ACCOUNT'), sha256('ACCOUNT'), 1, 2);
INSERT INTO endings (account, subject, kind) VALUES ('ACCOUNT', uuid_send('ACCOUNT'), 'grant');
";

const TOM: Uuid = Uuid::from_u128(1);
const ANN: Uuid = Uuid::from_u128(2);
const BEN: Uuid = Uuid::from_u128(3);

/// Tom, Ann and Ben, each with a row in every table; the feed of each has the number of their account.
struct Play {
    owner: PgPool,
    server: PgPool,
}

impl Play {
    async fn set() -> Self {
        let database = Postgres::shared().database();
        let owner = PgPool::connect(&database.owner).await.unwrap();
        // Every database has them, and they are nobody in this play.
        sqlx::query("DELETE FROM accounts WHERE role = 'service'").execute(&owner).await.unwrap();
        for (account, feed) in [TOM, ANN, BEN].iter().zip(1..) {
            let rows = ROWS.replace("ACCOUNT", &account.to_string()).replace("FEED", &feed.to_string());
            sqlx::raw_sql(AssertSqlSafe(rows.replace("TOM", &TOM.to_string()))).execute(&owner).await.unwrap();
        }
        Self { owner, server: PgPool::connect(&database.url).await.unwrap() }
    }

    /// The tables behind the wall, partitions apart.
    async fn tables(&self) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
             AND NOT relispartition AND relname <> ALL ($1) ORDER BY relname",
        )
        .bind(OPEN.map(|(table, _)| table))
        .fetch_all(&self.owner)
        .await
        .unwrap()
    }

    /// How many rows of a table the server sees with a list; `None` for no list at all.
    async fn seen(&self, table: &str, accounts: Option<&[Uuid]>) -> i64 {
        let mut tx = self.server.begin().await.unwrap();
        sqlx::query("SET LOCAL ROLE fitme_server").execute(&mut *tx).await.unwrap();
        if let Some(accounts) = accounts {
            wall::enter(&mut tx, accounts).await.unwrap();
        }
        count(&mut tx, table).await
    }
}

async fn count(db: &mut PgConnection, table: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {table}"))).fetch_one(db).await.unwrap()
}

/// Runs a statement under a list and returns the SQLSTATE with which it is refused.
async fn refused(play: &Play, accounts: &[Uuid], statement: &'static str) -> String {
    let mut tx = wall::of(&play.server, accounts).await.unwrap();
    let refused = sqlx::query(statement).execute(&mut *tx).await.unwrap_err();
    refused.as_database_error().unwrap().code().unwrap().into_owned()
}

#[tokio::test]
async fn without_a_list_the_server_sees_no_row_of_any_table_and_with_one_those_of_its_accounts_alone() {
    let play = Play::set().await;
    let mut owner = play.owner.acquire().await.unwrap();
    for table in play.tables().await {
        let all = count(&mut owner, &table).await;
        assert!(all > 1, "{table} is empty in this play: give it a row of each person, in ROWS");
        assert_eq!(play.seen(&table, None).await, 0, "{table} without a list");
        assert_eq!(play.seen(&table, Some(&[])).await, 0, "{table} with an empty list");
        assert_eq!(play.seen(&table, Some(&[Uuid::from_u128(9)])).await, 0, "{table} for somebody who is not there");
        assert_eq!(play.seen(&table, Some(&[ANN])).await, 1, "{table} for Ann");
        assert_eq!(play.seen(&table, Some(&[ANN, BEN, TOM])).await, all, "{table} for all");
    }
    // A connection that has served somebody remembers nobody.
    let mut again = play.server.acquire().await.unwrap();
    wall::begin_on(&mut again, wall::BEGIN, &[ANN]).await.unwrap().commit().await.unwrap();
    let mut tx = again.begin().await.unwrap();
    sqlx::query("SET LOCAL ROLE fitme_server").execute(&mut *tx).await.unwrap();
    assert_eq!(count(&mut tx, "accounts").await, 0);
}

#[tokio::test]
async fn every_table_is_behind_the_wall_or_stands_in_the_list_of_those_that_are_not() {
    let play = Play::set().await;
    let before: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace
         AND relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT relrowsecurity ORDER BY relname",
    )
    .fetch_all(&play.owner)
    .await
    .unwrap();
    let mut open = OPEN.map(|(table, _)| table);
    open.sort_unstable();
    assert_eq!(before, open);
    let partitions: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class WHERE relispartition AND relkind = 'r'
         AND has_any_column_privilege('fitme_server', oid, 'SELECT, INSERT, UPDATE')",
    )
    .fetch_all(&play.owner)
    .await
    .unwrap();
    assert!(partitions.is_empty(), "the server may touch {partitions:?} without the table that they are parts of");
}

#[tokio::test]
async fn what_runs_as_the_owner_is_for_the_server_alone() {
    let play = Play::set().await;
    let open: Vec<String> = sqlx::query_scalar(
        "SELECT proname::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prosecdef
         AND (has_function_privilege('public', oid, 'EXECUTE') OR has_function_privilege('fitme_poll', oid, 'EXECUTE'))",
    )
    .fetch_all(&play.owner)
    .await
    .unwrap();
    assert!(open.is_empty(), "anybody may run {open:?}");
}

#[tokio::test]
async fn a_row_of_somebody_else_can_be_neither_written_nor_changed() {
    let play = Play::set().await;
    let into_bens = "INSERT INTO entries (feed, seq, entry_id, kind, doc_id, author, device_time, digest)
                     VALUES (3, 2, 'x', 0, 'x', '00000000-0000-0000-0000-000000000002', 0, '')";
    assert_eq!(refused(&play, &[ANN], into_bens).await, "42501");
    let a_document = "INSERT INTO documents (account, doc_id, feed, heads)
                      VALUES ('00000000-0000-0000-0000-000000000003', uuid_send(gen_random_uuid()), 3, '{}')";
    assert_eq!(refused(&play, &[ANN], a_document).await, "42501");
    let given_away = "UPDATE feeds SET account = '00000000-0000-0000-0000-000000000003'";
    assert_eq!(refused(&play, &[ANN], given_away).await, "42501");
    let rewritten = "UPDATE entries SET payload = ''";
    assert_eq!(refused(&play, &[ANN, BEN], rewritten).await, "42501", "entries are never changed");
    let a_grant = "INSERT INTO grants_now (account, grant_id, feed, grantee, access, purpose, shown_as)
                   VALUES ('00000000-0000-0000-0000-000000000002', 'x', 2,
                           '00000000-0000-0000-0000-000000000001', 'read', 'training', '')";
    assert_eq!(refused(&play, &[TOM], a_grant).await, "42501", "a grantee grants himself nothing");
    let mut tx = wall::of(&play.server, &[ANN]).await.unwrap();
    let moved = sqlx::query("UPDATE feeds SET head_seq = 9 WHERE feed = 3").execute(&mut *tx).await.unwrap();
    assert_eq!(moved.rows_affected(), 0);
}

#[tokio::test]
async fn a_statement_outside_of_the_wall_is_refused() {
    let play = Play::set().await;
    let refused = sqlx::query("SELECT FROM accounts").execute(&play.server).await.unwrap_err();
    assert!(refused.to_string().contains("permission denied"), "{refused}");
}

#[tokio::test]
async fn the_poll_sees_that_something_changed_and_not_what() {
    let play = Play::set().await;
    for (role, expected) in [
        (
            Role::Poll,
            "erased_devices.device erased_devices.erased_at feeds.feed feeds.head_seq feeds.touched_at grantees.changed_at grantees.grantee grantees.version \
             grants_now.from_ms grants_now.grantee grants_now.until_ms installation.id merge_queue.clean_seq \
             merge_queue.feed merge_queue.merged_seq sign_ins.ended_at sign_ins.sign_in",
        ),
        (
            Role::Merge,
            "feeds.account feeds.collection feeds.feed merge_queue.feed merge_queue.head_seq merge_queue.lease_until \
             merge_queue.merged_seq merge_queue.served_at merge_queue.worker",
        ),
        (
            Role::Tidy,
            "endings.account endings.ended_at endings.kind endings.listed_at endings.n endings.subject erasures.account \
             erasures.doc_id erasures.erased_at erasures.listed_at login_failures.last_at \
             mailed_tokens.expires_at oidc_sign_ins.expires_at sign_ins.expires_at",
        ),
        (
            Role::Audit,
            "accounts.account audit_heads.account audit_heads.hash audit_heads.moved_at audit_heads.n \
             audit_reads.account audit_reads.first_at_ms audit_records.account audit_records.at_ms audit_records.detail \
             audit_records.hash audit_records.kind audit_records.n audit_records.prev_hash",
        ),
        (
            Role::Admin,
            "accounts.account accounts.created_at accounts.email accounts.role confirmed_addresses.account \
             damaged_entries.feed damaged_entries.found_at damaged_entries.seq feeds.account feeds.collection feeds.feed \
             settings.only_row settings.signup_open sign_ins.account sign_ins.ended_at snapshots.doc_id snapshots.feed \
             snapshots.quarantined snapshots.snapshot_seq",
        ),
    ] {
        let sees: Vec<String> = sqlx::query_scalar(
            r#"SELECT c.relname || '.' || a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
               WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0
               AND has_column_privilege($1, c.oid, a.attnum, 'SELECT')
               ORDER BY (c.relname || '.' || a.attname) COLLATE "C""#,
        )
        .bind(role.name())
        .fetch_all(&play.owner)
        .await
        .unwrap();
        assert_eq!(sees.join(" "), expected, "{role:?}");
    }
}

/// Each of them could switch the wall off.
#[tokio::test]
async fn a_server_that_the_wall_would_not_hold_does_not_start() {
    let postgres = Postgres::start();
    let database = postgres.database();
    let mut owner = PgConnection::connect(&database.owner).await.unwrap();
    for role in
        ["CREATE ROLE passer LOGIN BYPASSRLS", "CREATE ROLE maker LOGIN CREATEROLE", "CREATE ROLE stranger LOGIN"]
    {
        sqlx::query(role).execute(&mut owner).await.unwrap();
    }
    sqlx::query("GRANT SELECT ON _sqlx_migrations TO stranger").execute(&mut owner).await.unwrap();
    for (login, expected) in [
        ("fitme", "may do everything"),
        ("passer", "may do everything"),
        ("maker", "may do everything"),
        ("stranger", "may not work for the server yet"),
    ] {
        let said = run("serve", &database.url.replace("fitme_node", login), &database.owner);
        assert!(said.contains(expected) && said.contains("sync-server migrate"), "{login}: {said}");
    }
    sqlx::query("ALTER ROLE fitme_node INHERIT").execute(&mut owner).await.unwrap();
    let said = run("serve", &database.url, &database.owner);
    assert!(said.contains("may not work for the server yet"), "{said}");
    assert_eq!(run("migrate", &database.url, &database.owner), "", "which puts it right");
    let server = ServerProcess::on(&database.url);
    assert_eq!(sign_up(server.url(), "ana@example.org", "phone").await.status, 201);
    let said = run("migrate", &database.owner, &database.owner);
    assert!(said.contains("both log in to the database as fitme"), "{said}");
}

/// As on a database that somebody else runs: nobody but they are superusers.
#[tokio::test]
async fn an_ordinary_owner_migrates_and_an_ordinary_server_serves() {
    let postgres = Postgres::start();
    let mut admin = PgConnection::connect(&postgres.of("postgres").owner).await.unwrap();
    for statement in [
        "CREATE ROLE keeper LOGIN CREATEROLE",
        "GRANT fitme_server, fitme_poll, fitme_merge, fitme_tidy, fitme_audit, fitme_admin TO keeper WITH ADMIN OPTION",
        "CREATE DATABASE kept OWNER keeper",
    ] {
        sqlx::query(statement).execute(&mut admin).await.unwrap();
    }
    let Database { url, owner } = postgres.of("kept");
    let (url, owner) = (url.replace("fitme_node", "shop"), owner.replace("fitme@", "keeper@"));
    let said = run("migrate", &url, &owner);
    assert!(said.contains("made the role that DATABASE_URL names"), "{said}");
    let server = ServerProcess::on(&url);
    assert_eq!(sign_up(server.url(), "ana@example.org", "phone").await.status, 201);
    assert_eq!(log_in(server.url(), "ana@example.org", "tablet").await.status, 200);
}

#[tokio::test]
async fn migrate_asks_for_the_owner() {
    let database = Postgres::shared().empty_database();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sync-server"));
    let said = command.arg("migrate").env("DATABASE_URL", &database.url).env_remove("FITME_OWNER_DATABASE_URL");
    let said = String::from_utf8(said.output().unwrap().stderr).unwrap();
    assert!(said.contains("migrate needs FITME_OWNER_DATABASE_URL"), "{said}");
}

/// What the program says on standard error before it ends.
fn run(command: &str, url: &str, owner: &str) -> String {
    let (mut program, data) = (Command::new(env!("CARGO_BIN_EXE_sync-server")), tempfile::tempdir().unwrap());
    program.arg(command).env("DATABASE_URL", url).env("FITME_OWNER_DATABASE_URL", owner);
    let output = program.env("FITME_LISTEN", "127.0.0.1:0").env("FITME_DATA", data.path()).output().unwrap();
    String::from_utf8(output.stderr).unwrap()
}
