//! `sync-server check` finds what would keep a server from serving well, and says what to do.

use fitme_testing::{Certificate, Postgres, ServerProcess, run_server};
use sqlx::{Connection, PgConnection};

/// The exit code and the table.
fn check(environment: &[(&str, &str)]) -> (i32, String) {
    let data = tempfile::tempdir().unwrap();
    let mut all = vec![("FITME_DATA", data.path().to_str().unwrap()), ("FITME_LISTEN", "127.0.0.1:0")];
    all.extend_from_slice(environment);
    let outcome = run_server(&["check"], &all);
    assert!(outcome.stdout.lines().all(|line| line.chars().count() <= 80), "{}", outcome.stdout);
    // The table breaks sentences where a column ends.
    (outcome.code, outcome.stdout.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[test]
fn a_server_that_would_serve_well_passes_also_while_it_runs() {
    let (code, said) = check(&[("DATABASE_URL", &Postgres::shared().database().url)]);
    assert_eq!(code, 0, "{said}");
    for good in ["PostgreSQL 1", "tables ok", "durability ok", "clock ok", "edge ok"] {
        assert!(said.contains(good), "{good} is missing: {said}");
    }
    let server = ServerProcess::start();
    let (code, said) = check(&[("FITME_DATA", server.data().to_str().unwrap())]);
    assert_eq!((code, said.contains("tables ok"), said.contains("master key ok")), (0, true, true), "{said}");
    let (code, said) = check(&[]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("will be made at the first start"), "{said}");
}

#[tokio::test]
async fn a_database_that_loses_writes_or_lacks_its_tables_fails() {
    let (lossy, empty) = (Postgres::shared().database(), Postgres::shared().empty_database());
    let name = lossy.url.split('/').nth(3).unwrap().split('?').next().unwrap();
    let mut db = PgConnection::connect(&lossy.owner).await.unwrap();
    let statement = format!("ALTER DATABASE {name} SET synchronous_commit = off");
    sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut db).await.unwrap();
    for (url, said) in [
        (lossy.url.as_str(), "synchronous_commit off: acknowledged data can be lost"),
        (empty.url.as_str(), "run `sync-server migrate`"),
        (lossy.owner.as_str(), "nothing in it would hold the server back"),
        ("postgres://nobody@127.0.0.1:9/none", "check that it runs"),
        ("mysql://x", "DATABASE_URL is not an address"),
    ] {
        let (code, table) = check(&[("DATABASE_URL", url)]);
        assert_eq!(code, 1, "{table}");
        assert!(table.contains(said), "{said}: {table}");
    }
}

#[test]
fn certificates_that_do_not_fit_have_ended_or_are_missing_fail() {
    let (good, other, ended) = (Certificate::new(), Certificate::new(), Certificate::ended());
    let path = |path: std::path::PathBuf| path.display().to_string();
    let judge = |certificate: String, key: String, said: &str, expected: i32| {
        let (code, table) = check(&[("FITME_TLS_CERT", &certificate), ("FITME_TLS_KEY", &key)]);
        assert_eq!(code, expected, "{table}");
        assert!(table.contains(said), "{said}: {table}");
    };
    judge(path(good.file()), path(good.key()), "the key fits", 0);
    judge(path(good.file()), path(other.key()), "do not fit together", 1);
    judge(path(ended.file()), path(ended.key()), "has ended; renew it", 1);
    judge("no such file".to_owned(), path(good.key()), "FITME_TLS_CERT", 1);
    let (code, table) = check(&[("FITME_LISTEN", "0.0.0.0:8080")]);
    assert_eq!((code, table.contains("devices refuse that")), (1, true), "{table}");
}

#[tokio::test]
async fn a_master_key_that_is_not_that_of_the_database_fails() {
    let (database, key) = (Postgres::shared().database(), tempfile::NamedTempFile::new().unwrap());
    std::fs::write(key.path(), "ab".repeat(32)).unwrap();
    let key = ("FITME_MASTER_KEY", key.path().to_str().unwrap());
    let (code, table) = check(&[("DATABASE_URL", &database.url), key]);
    assert_eq!((code, table.contains("master key ok")), (0, true), "nothing is sealed yet: {table}");
    let _sealed_by_another = ServerProcess::on(&database.url);
    let (code, table) = check(&[("DATABASE_URL", &database.url), key]);
    assert_eq!((code, table.contains("not the one that sealed the keys in the database")), (1, true), "{table}");
}

#[tokio::test]
async fn a_list_of_what_ended_that_is_missing_damaged_or_cannot_be_written_fails() {
    let database = Postgres::shared().database();
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list");
    let look = |list: &std::path::Path, expected: i32, said: &str| {
        let (code, table) = check(&[("DATABASE_URL", &database.url), ("FITME_ERASURES", list.to_str().unwrap())]);
        assert_eq!(code, expected, "{table}");
        assert!(table.contains(said), "{said}: {table}");
    };
    look(&list, 0, "will be made at the first start; servers that share the database add to one file");
    assert!(!list.exists());
    look(&folder.path().join("nowhere/list"), 1, "No such file");
    look(folder.path(), 1, "name a file by FITME_ERASURES");
    std::fs::write(&list, format!("account {}\n\naccount 0193", uuid::Uuid::nil())).unwrap();
    look(&list, 0, "1 lines of what ended");
    std::fs::write(&list, "my notes\n").unwrap();
    look(&list, 1, "line 1 of");
    let mut db = PgConnection::connect(&database.owner).await.unwrap();
    let noted = "INSERT INTO erasures (account, listed_at) VALUES (gen_random_uuid(), now())";
    sqlx::query(noted).execute(&mut db).await.unwrap();
    std::fs::remove_file(&list).unwrap();
    look(&list, 1, "is not there, though the database has noted things in it");
    let (code, table) = check(&[("DATABASE_URL", &database.url)]);
    assert_eq!((code, table.contains("list LOOK none is kept")), (0, true), "{table}");
}

#[test]
fn mail_keys_and_addresses_that_cannot_be_used_fail() {
    let open = tempfile::NamedTempFile::new().unwrap();
    std::fs::set_permissions(open.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    for (name, value, said) in [
        ("FITME_SMTP_URL", "smtp://127.0.0.1:9", "check host, port, user and password"),
        ("FITME_SMTP_URL", "nonsense", "FITME_SMTP_URL is no address"),
        ("FITME_MASTER_KEY", open.path().to_str().unwrap(), "chmod 600"),
        ("FITME_METRICS_ADDR", "0.0.0.0:9100", "loopback"),
        ("FITME_ALLOWED_ORIGINS", "app.example.org", "no origin"),
    ] {
        let (code, table) = check(&[(name, value)]);
        assert_eq!(code, 1, "{table}");
        assert!(table.contains(said), "{said}: {table}");
    }
}
