//! Records of access: what is recorded, and that nobody who rules the database changes it unseen. Each way of tampering is
//! done by SQL, on a real database, and told in a sentence.

use std::path::Path;
use std::time::Duration;

use fitme_core::collection::Collection;
use fitme_core::entry::Entry;
use fitme_core::id::DocId;
use fitme_core::session::{Page, Received};
use fitme_core::wire::EntryKind;
use fitme_testing::{Database, Postgres};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use std::str::FromStr;
use sync_server::audit::reads::{self, GATHERED_FOR, Read};
use sync_server::audit::verify::{Report, verify};
use sync_server::audit::{self, Audit, Event};
use sync_server::auth::Device;
use sync_server::clock::Clock;
use sync_server::db::{self, wall};
use sync_server::master_key::MasterKey;
use tempfile::TempDir;
use uuid::Uuid;

use crate::phones::{MORNING, Node, Person};

/// Ann and Berta, each with a chain of five records, whose heads are signed.
struct Stage {
    database: Database,
    node: Node,
    audit: Audit,
    master: MasterKey,
    clock: Clock,
    folder: TempDir,
    ann: Person,
    berta: Person,
}

impl Stage {
    async fn set() -> Self {
        let database = Postgres::shared().database();
        let node = Node::on(&database).await;
        let (ann, berta) = (node.person().await, node.person().await);
        let (master, clock, folder) = (MasterKey::random(), Clock::default(), tempfile::tempdir().unwrap());
        let audit = Audit::open(node.server.clone(), &master, clock.clone(), folder.path()).unwrap();
        let stage = Self { database, node, audit, master, clock, folder, ann, berta };
        stage.logins(&stage.ann, 5).await;
        stage.logins(&stage.berta, 5).await;
        stage.audit.sign().await.unwrap();
        stage
    }

    /// Each from another device.
    async fn logins(&self, person: &Person, logins: usize) {
        for _ in 0..logins {
            log_in(&self.node.server, person).await;
        }
    }

    /// Whoever rules the database can do this.
    async fn tamper(&self, sql: &str) {
        let sql = sql.replace("ANN", &format!("'{}'", self.ann.account));
        let sql = sql.replace("BERTA", &format!("'{}'", self.berta.account));
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&self.node.pool).await.unwrap();
    }

    async fn verify(&self) -> Report {
        verify(&self.node.server, &self.master, self.folder.path()).await.unwrap()
    }

    /// A page of Ann's workouts is sent to a device.
    async fn reads(&self, reader: Device, first: u64, last: u64) {
        let page = page(&self.ann, first, last);
        let read = Read::of(&page, self.ann.account, reader, vec!["training".to_owned()]).unwrap();
        let mut tx = wall::begin(&self.node.server, reads::BEGIN, &[self.ann.account]).await.unwrap();
        reads::note(&mut tx, &read, self.clock.now_ms()).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// The only thing that is found.
    async fn finding(&self) -> String {
        let report = self.verify().await;
        assert_eq!(report.findings.len(), 1, "{report}");
        report.findings[0].clone()
    }

    fn of_ann(&self, n: i64, found: &str) -> String {
        format!("account {}, record {n}: {found}", self.ann.account)
    }

    async fn kinds(&self, person: &Person) -> Vec<String> {
        let sql = "SELECT kind FROM audit_records WHERE account = $1 ORDER BY n";
        sqlx::query_scalar(sql).bind(person.account).fetch_all(&self.node.pool).await.unwrap()
    }
}

async fn log_in(pool: &PgPool, person: &Person) {
    let mut tx = wall::of(pool, &[person.account]).await.unwrap();
    audit::record(&mut tx, person.account, MORNING, Event::SignedIn { device: Uuid::now_v7() }).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn what_nobody_touched_is_as_it_was_written() {
    let stage = Stage::set().await;
    let report = stage.verify().await.to_string();
    assert_eq!(report, "10 records in 2 chains and 2 signed heads: all as they were written");
}

#[tokio::test]
async fn an_edited_record_is_found() {
    let stage = Stage::set().await;
    stage.tamper("UPDATE audit_records SET at_ms = at_ms + 1 WHERE account = ANN AND n = 3").await;
    assert!(stage.finding().await.starts_with(&stage.of_ann(3, "is not what was hashed")));
}

#[tokio::test]
async fn a_deleted_record_is_found() {
    let stage = Stage::set().await;
    stage.tamper("DELETE FROM audit_records WHERE account = ANN AND n = 3").await;
    assert_eq!(stage.finding().await, stage.of_ann(3, "is missing, although later ones are there"));
}

#[tokio::test]
async fn a_record_that_is_put_between_others_is_found() {
    let stage = Stage::set().await;
    stage
        .tamper(
            "UPDATE audit_records SET n = n + 100 WHERE account = ANN AND n > 2;
             UPDATE audit_records SET n = n - 99 WHERE account = ANN AND n > 100;
             INSERT INTO audit_records (account, n, at_ms, kind, detail, prev_hash, hash)
             SELECT account, 3, at_ms, kind, detail, prev_hash, hash FROM audit_records WHERE account = ANN AND n = 4",
        )
        .await;
    let report = stage.verify().await;
    assert!(report.findings[0].starts_with(&stage.of_ann(4, "is not what was hashed")), "{report}");
}

/// The forger knows how records are hashed.
#[tokio::test]
async fn a_record_that_is_put_behind_the_last_one_is_found() {
    let stage = Stage::set().await;
    stage.logins(&stage.ann, 1).await;
    stage
        .tamper(
            "UPDATE audit_heads h SET n = r.n, hash = r.hash FROM audit_records r
             WHERE h.account = ANN AND r.account = ANN AND r.n = 5",
        )
        .await;
    assert!(stage.finding().await.starts_with(&stage.of_ann(6, "lies beyond the end of the chain")));
}

#[tokio::test]
async fn reordered_records_are_found() {
    let stage = Stage::set().await;
    stage
        .tamper(
            "UPDATE audit_records SET n = 103 WHERE account = ANN AND n = 3;
             UPDATE audit_records SET n = 3 WHERE account = ANN AND n = 4;
             UPDATE audit_records SET n = 4 WHERE account = ANN AND n = 103",
        )
        .await;
    assert!(stage.finding().await.starts_with(&stage.of_ann(3, "is not what was hashed")));
}

#[tokio::test]
async fn a_cut_tail_is_found() {
    let stage = Stage::set().await;
    stage.tamper("DELETE FROM audit_records WHERE account = ANN AND n > 3").await;
    let report = stage.verify().await;
    let by_the_head = stage.of_ann(5, "was the last one and is missing; the chain ends at 3");
    assert_eq!(report.findings[0], by_the_head, "{report}");
    // Whoever knows of the head moves it too; what was signed stays.
    stage
        .tamper(
            "UPDATE audit_heads h SET n = r.n, hash = r.hash FROM audit_records r
             WHERE h.account = ANN AND r.account = ANN AND r.n = 3",
        )
        .await;
    let finding = stage.finding().await;
    assert!(finding.starts_with(&stage.of_ann(5, "was signed at ")), "{finding}");
    assert!(finding.contains("is not there; the chain ends at 3: its end was cut off"), "{finding}");
}

/// The forger knows how records are hashed: the new end of the chain fits.
#[tokio::test]
async fn a_chain_that_is_rewritten_from_a_record_on_is_found() {
    let stage = Stage::set().await;
    stage
        .tamper(
            "DELETE FROM audit_records WHERE account = ANN AND n > 2;
             UPDATE audit_heads h SET n = r.n, hash = r.hash FROM audit_records r
             WHERE h.account = ANN AND r.account = ANN AND r.n = 2",
        )
        .await;
    stage.logins(&stage.ann, 4).await;
    let finding = stage.finding().await;
    assert!(finding.starts_with(&stage.of_ann(5, "is not the one that was signed at ")), "{finding}");
    assert!(finding.ends_with("the chain was rewritten from there or before"), "{finding}");
}

#[tokio::test]
async fn swapped_chains_are_found() {
    let stage = Stage::set().await;
    for table in ["audit_records", "audit_heads"] {
        stage
            .tamper(&format!(
                "UPDATE {table} SET account = '00000000-0000-0000-0000-000000000000' WHERE account = ANN;
                 UPDATE {table} SET account = ANN WHERE account = BERTA;
                 UPDATE {table} SET account = BERTA WHERE account = '00000000-0000-0000-0000-000000000000'"
            ))
            .await;
    }
    let report = stage.verify().await;
    for person in [&stage.ann, &stage.berta] {
        let finding = format!(
            "account {}, record 1: is not what was hashed; it was changed, or is of another chain or place",
            person.account
        );
        assert!(report.findings.contains(&finding), "{report}");
    }
}

/// Everything in it fits together; it is just not the latest any more.
#[tokio::test]
async fn a_database_that_was_rolled_back_is_found() {
    let stage = Stage::set().await;
    stage.node.close().await;
    let options = PgConnectOptions::from_str(&stage.database.url).unwrap();
    let name = options.get_database().unwrap().to_owned();
    let owner = PgConnectOptions::from_str(&stage.database.owner).unwrap().database("postgres");
    let mut postgres = PgConnection::connect_with(&owner).await.unwrap();
    let backup = format!("CREATE DATABASE {name}_backup TEMPLATE {name}");
    sqlx::query(AssertSqlSafe(backup)).execute(&mut postgres).await.unwrap();

    let pool = db::connect(options.clone()).await.unwrap();
    log_in(&pool, &stage.ann).await;
    let audit = Audit::open(pool, &stage.master, stage.clock.clone(), stage.folder.path()).unwrap();
    audit.sign().await.unwrap();

    let restored = db::connect(options.database(&format!("{name}_backup"))).await.unwrap();
    let report = verify(&restored, &stage.master, stage.folder.path()).await.unwrap();
    let [finding] = &report.findings[..] else { panic!("{report}") };
    assert!(finding.starts_with(&stage.of_ann(6, "was signed at ")), "{finding}");
    assert!(
        finding.ends_with("the chain ends at 5: its end was cut off, or the database is an older one"),
        "{finding}"
    );
}

#[tokio::test]
async fn a_chain_without_its_head_is_found() {
    let stage = Stage::set().await;
    stage.tamper("DELETE FROM audit_heads WHERE account = ANN").await;
    assert_eq!(stage.finding().await, stage.of_ann(5, "belongs to a chain whose head is missing"));
}

/// An account that is erased takes its chain along; that it did is signed.
#[tokio::test]
async fn the_chain_of_an_erased_account_is_not_missed_and_one_that_was_deleted_by_hand_is() {
    let stage = Stage::set().await;
    let mut tx = wall::of(&stage.node.server, &[stage.ann.account]).await.unwrap();
    stage.audit.close(&mut tx, stage.ann.account).await.unwrap();
    tx.commit().await.unwrap();
    stage
        .tamper(
            "DELETE FROM audit_records WHERE account = ANN; DELETE FROM audit_heads WHERE account = ANN;
             DELETE FROM feeds WHERE account = ANN; DELETE FROM accounts WHERE account = ANN",
        )
        .await;
    let report = stage.verify().await;
    assert_eq!(report.found, 0, "{report}");
    // Somebody was still reading.
    log_in(&stage.node.server, &stage.ann).await;
    assert_eq!(stage.kinds(&stage.ann).await, Vec::<String>::new(), "an account that is gone gets no new chain");

    stage
        .tamper(
            "DELETE FROM audit_records WHERE account = BERTA; DELETE FROM audit_heads WHERE account = BERTA;
             DELETE FROM feeds WHERE account = BERTA; DELETE FROM accounts WHERE account = BERTA",
        )
        .await;
    let finding = stage.finding().await;
    assert!(finding.starts_with("an account that is not there any more (hash "), "{finding}");
    assert!(finding.contains("record 5: was signed at"), "{finding}");
}

/// The erasure failed after its tombstone was signed: the chain goes on, and is guarded as before.
#[tokio::test]
async fn a_chain_that_was_not_closed_after_all_is_guarded_as_before() {
    let stage = Stage::set().await;
    let mut tx = wall::of(&stage.node.server, &[stage.ann.account]).await.unwrap();
    stage.audit.close(&mut tx, stage.ann.account).await.unwrap();
    tx.rollback().await.unwrap();
    stage.logins(&stage.ann, 1).await;
    stage.audit.sign().await.unwrap();
    assert_eq!(stage.verify().await.found, 0);
    stage.tamper("DELETE FROM audit_records WHERE account = ANN; DELETE FROM audit_heads WHERE account = ANN").await;
    let finding = stage.finding().await;
    assert!(finding.starts_with(&stage.of_ann(5, "was signed at ")), "{finding}");
}

#[tokio::test]
async fn what_another_key_signed_is_found_and_what_was_being_written_is_not() {
    let stage = Stage::set().await;
    let file = std::fs::read_dir(stage.folder.path()).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}{}", &text[..40])).unwrap();
    assert_eq!(stage.verify().await.found, 0, "the server died over its last line");

    std::fs::write(&file, text.replace("\"n\":5", "\"n\":4")).unwrap();
    let finding = stage.finding().await;
    assert!(finding.contains("line 1: was not signed by this server's master key"), "{finding}");
}

#[tokio::test]
async fn a_folder_without_signed_heads_is_no_proof() {
    let stage = Stage::set().await;
    let empty = tempfile::tempdir().unwrap();
    let refusal = |folder: &Path| {
        let (pool, master, folder) = (stage.node.server.clone(), stage.master.clone(), folder.to_owned());
        async move { verify(&pool, &master, &folder).await.unwrap_err().to_string() }
    };
    assert!(refusal(empty.path()).await.starts_with("no signed heads are in "));
    let missing = refusal(&empty.path().join("mistyped")).await;
    assert!(missing.contains("cannot be read") && missing.contains("FITME_AUDIT_DIR"), "{missing}");
}

/// Two nodes, and ten devices at each that log in at once.
#[tokio::test]
async fn a_chain_does_not_fork_however_many_append_at_once() {
    let stage = Stage::set().await;
    let other = Node::on(&stage.database).await;
    let logins = (0..20).map(|n| {
        let pool = if n % 2 == 0 { &stage.node.server } else { &other.server };
        log_in(pool, &stage.ann)
    });
    futures_util::future::join_all(logins).await;
    let report = stage.verify().await;
    assert_eq!((report.records, report.found), (30, 0), "{report}");
}

#[tokio::test]
async fn heads_are_signed_again_and_again() {
    let stage = Stage::set().await;
    let keeping = tokio::spawn(stage.audit.clone().keep(Duration::from_millis(5), Duration::from_millis(5)));
    stage.logins(&stage.ann, 1).await;
    crate::client::until("the new head is signed", async || {
        let folder = std::fs::read_dir(stage.folder.path()).unwrap();
        let text: String = folder.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
        text.contains("\"n\":6")
    })
    .await;
    keeping.abort();
    assert_eq!(stage.verify().await.found, 0);
}

/// A page of a feed with these numbers.
fn page(person: &Person, first: u64, last: u64) -> Page {
    let entry = Entry {
        kind: EntryKind::Change.into(),
        doc_id: DocId::from_slice(&[0; 16]).unwrap(),
        device_time: 0,
        salt: [0; 8],
        payload: Vec::new(),
    };
    let received = Received::whole(entry);
    let entries = vec![received; usize::try_from(last + 1 - first).unwrap()];
    Page { feed: person.feed(Collection::Workouts), after: first - 1, entries, head: last }
}

/// Tom, a trainer, reads Ann's workouts page by page, and again after a minute.
#[tokio::test]
async fn reads_of_a_minute_are_one_record() {
    let stage = Stage::set().await;
    let tom = Device { account: Uuid::now_v7(), device: Uuid::now_v7() };
    stage.reads(tom, 1, 500).await;
    stage.reads(tom, 501, 640).await;
    stage.audit.gather().await.unwrap();
    assert_eq!(stage.kinds(&stage.ann).await.len(), 5, "they are gathered for a minute");
    stage.clock.advance(GATHERED_FOR);
    stage.audit.gather().await.unwrap();
    stage.reads(tom, 641, 641).await;
    stage.clock.advance(GATHERED_FOR);
    stage.audit.gather().await.unwrap();

    let sql = "SELECT detail FROM audit_records WHERE account = $1 AND kind = 'read' ORDER BY n";
    let details: Vec<String> =
        sqlx::query_scalar(sql).bind(stage.ann.account).fetch_all(&stage.node.pool).await.unwrap();
    let details: Vec<serde_json::Value> = details.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    assert_eq!(details.len(), 2);
    assert_eq!((&details[0]["first"], &details[0]["last"]), (&1.into(), &640.into()));
    assert_eq!((&details[1]["first"], &details[1]["last"]), (&641.into(), &641.into()));
    assert_eq!(details[0]["feed"], "workouts");
    assert_eq!(details[0]["reader"], tom.account.to_string());
    assert_eq!(details[0]["device"], tom.device.to_string());
    assert_eq!(stage.verify().await.found, 0);
    assert_eq!(Read::of(&page(&stage.ann, 7, 6), stage.ann.account, tom, Vec::new()), None, "nothing was sent");
}

/// Both nodes find the same reads due.
#[tokio::test]
async fn a_read_is_recorded_once_however_many_nodes_gather_it() {
    let stage = Stage::set().await;
    let other = Node::on(&stage.database).await;
    let other = Audit::open(other.server.clone(), &stage.master, stage.clock.clone(), stage.folder.path()).unwrap();
    for _ in 0..10 {
        let tom = Device { account: Uuid::now_v7(), device: Uuid::now_v7() };
        stage.reads(tom, 1, 1).await;
    }
    stage.clock.advance(GATHERED_FOR);
    let (here, there) = tokio::join!(stage.audit.gather(), other.gather());
    here.and(there).unwrap();
    assert_eq!(stage.kinds(&stage.ann).await.iter().filter(|kind| *kind == "read").count(), 10);
}
