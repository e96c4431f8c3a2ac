//! Records of access from end to end: Tom reads what Ann shares, and Ann sees that he did, whatever the server went through
//! meanwhile; and an operator is told when somebody changed what was recorded.

use std::path::Path;
use std::str::FromStr;

use fitme_testing::{Postgres, ServerProcess};
use serde_json::Value;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};

use crate::consent::introduced;

/// Columns of a terminal.
const WIDTH: usize = 80;

fn execute(database_url: &str, sql: &'static str) {
    let options = PgConnectOptions::from_str(database_url).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut connection = PgConnection::connect_with(&options).await.unwrap();
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    });
}

/// Panics with every difference between `printed` and its schema.
fn is_valid(printed: &Value) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema/access-log.schema.json");
    let mut schemas = boon::Schemas::new();
    let index = boon::Compiler::new().compile(file.to_str().unwrap(), &mut schemas).unwrap();
    if let Err(differences) = schemas.validate(printed, index) {
        panic!("not after access-log.schema.json: {differences:#}\n{printed:#}");
    }
}

#[test]
fn a_member_sees_who_read_what_also_after_the_server_was_killed() {
    let database = Postgres::shared().database();
    let mut server = ServerProcess::on(&database.url);
    let (ann, tom) = introduced(&server, "training");
    ann.done(&["log", "workout", "--title", "Leg day", "--set", "Squat 5x100kg"]);
    ann.done(&["log", "mood", "--valence", "1"]);
    ann.sync();
    tom.sync();
    server.kill9();
    server.restart();
    // In order: what was noted before the kill is taken into the chain.
    server.restart();

    let log = ann.done(&["access-log"]);
    let of =
        |what: &str| log.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("no “{what}” in\n{log}"));
    assert!(of("read workouts, entry 1, for training").contains("Tom"), "{log}");
    assert!(of("shared profile, workouts").contains("Ann's phone"), "{log}");
    assert!(of("logged in").contains("Ann's phone"), "{log}");
    assert!(!log.contains("moods"), "what was not shared was not read: {log}");
    assert!(!log.contains("Leg day"), "what a record holds is in no record of access: {log}");
    let too_wide: Vec<_> = log.lines().filter(|line| line.chars().count() > WIDTH).collect();
    assert!(too_wide.is_empty(), "{too_wide:?}");

    ann.done(&["revoke", "Tom"]);
    ann.sync();
    assert!(ann.done(&["access-log", "--limit", "1"]).contains("ended what Tom saw"));
    let json = ann.json(&["access-log", "--json"]);
    is_valid(&json);
    assert_eq!(json["records"][0]["kind"], "grant_revoked");
    let toms = tom.done(&["access-log"]);
    assert!(!toms.contains("read"), "nobody has read anything of Tom's: {toms}");

    assert!(server.terminate().success());
    let verified = server.run(&["audit", "verify"]);
    assert_eq!(verified.code, 0, "{}{}", verified.stdout, verified.stderr);
    assert!(verified.stdout.ends_with(": all as they were written\n"), "{}", verified.stdout);

    execute(&database.owner, "DELETE FROM audit_records WHERE kind = 'read'");
    let verified = server.run(&["audit", "verify"]);
    assert_eq!(verified.code, 1);
    assert!(verified.stdout.contains("is missing, although later ones are there"), "{}", verified.stdout);
    assert!(verified.stderr.contains("were tampered with"), "{}", verified.stderr);
}
