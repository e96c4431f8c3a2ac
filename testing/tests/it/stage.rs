//! What the plays share: a phone's home filled without a process per write, and looks into the server's database.

use std::path::Path;

use fitme_core::id::DocId;
use fitme_core::store::{Command, Store};
use fitme_testing::{Database, Device, ServerProcess, run_server, wait_until};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;
use sqlx::{Connection, PgConnection, Row};

/// 2026-11-22 08:00 UTC.
pub const MORNING: i64 = 1_795_334_400_000;

/// Opens the store in a device's home, as an app on it would.
pub fn store(device: &Device, seed: u64) -> Store {
    Store::open(&device.home().join("fitme.db"), "app", &mut StdRng::seed_from_u64(seed)).unwrap()
}

/// Logs so many moods; returns their ids.
pub fn log_moods(device: &Device, count: usize, seed: u64) -> Vec<DocId> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut store = store(device, seed);
    (0..count as i64)
        .map(|n| {
            let fields = json!({ "at": MORNING + n * 1_000, "valence": n % 5 - 2, "note": format!("note {n}") });
            let command = Command::Create { collection: "moods".to_owned(), fields };
            store.write(&command, MORNING + n, &mut rng).unwrap().doc_id
        })
        .collect()
}

/// The notes of all moods that a device lists, sorted.
pub fn notes(device: &Device) -> Vec<String> {
    let listed = device.json(&["list", "moods", "--json"]);
    let records = listed["records"].as_array().unwrap().iter();
    let mut notes: Vec<_> = records.map(|row| row["record"]["note"].as_str().unwrap().to_owned()).collect();
    notes.sort();
    notes
}

/// The server ends, and is restored from a backup into a folder of its own; it listens where it did.
pub fn lose_and_restore(server: &mut ServerProcess, backup: &Path, data: &Path, settings: &[(&str, &str)]) {
    server.terminate();
    let folder = ("FITME_DATA", data.to_str().unwrap());
    let restored = run_server(&["restore", backup.to_str().unwrap()], &[folder]);
    assert_eq!(restored.code, 0, "{}", restored.stderr);
    std::fs::copy(server.data().join("master.key"), data.join("master.key")).unwrap();
    let address = server.url().trim_start_matches("http://").to_owned();
    *server = ServerProcess::start_with(None, &[&[("FITME_LISTEN", &*address), folder], settings].concat());
}

/// The server's database, looked at from outside.
pub struct Look {
    runtime: tokio::runtime::Runtime,
    connection: PgConnection,
}

impl Look {
    pub fn at(database: &Database) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let connection = runtime.block_on(PgConnection::connect(&database.owner)).unwrap();
        Self { runtime, connection }
    }

    pub fn number(&mut self, sql: &'static str) -> i64 {
        self.runtime.block_on(sqlx::query(sql).fetch_one(&mut self.connection)).unwrap().get(0)
    }

    pub fn text(&mut self, sql: &'static str) -> String {
        self.runtime.block_on(sqlx::query(sql).fetch_one(&mut self.connection)).unwrap().get(0)
    }

    /// Does to the database what no server does.
    pub fn execute(&mut self, sql: &'static str) {
        self.runtime.block_on(sqlx::query(sql).execute(&mut self.connection)).unwrap();
    }

    /// The same with one value of bytes.
    pub fn execute_with(&mut self, sql: &'static str, bytes: &[u8]) {
        self.runtime.block_on(sqlx::query(sql).bind(bytes).execute(&mut self.connection)).unwrap();
    }

    /// What everybody together lets a service see, as `collection/scope access`.
    pub fn granted_to(&mut self, service: &str) -> Vec<String> {
        let query =
            "SELECT f.collection || '/' || f.scope || ' ' || g.access FROM grants_now g JOIN feeds f USING (feed)
                     JOIN accounts a ON a.account = g.grantee WHERE a.email = $1 AND a.role = 'service' ORDER BY 1";
        let query = sqlx::query_scalar(query).bind(format!("{service}@service.invalid"));
        self.runtime.block_on(query.fetch_all(&mut self.connection)).unwrap()
    }

    /// Entries the server has.
    pub fn entries(&mut self) -> i64 {
        self.number("SELECT count(*) FROM entries")
    }

    /// Whether every feed's numbers run 1, 2, 3… to its head.
    pub fn assert_gap_free(&mut self) {
        let broken = self.number(
            "SELECT count(*) FROM feeds f LEFT JOIN (SELECT feed, count(*) n, max(seq) top FROM entries GROUP BY feed) e
             USING (feed) WHERE coalesce(e.n, 0) <> f.head_seq OR coalesce(e.top, 0) <> f.head_seq",
        );
        assert_eq!(broken, 0, "feeds with a gap or a wrong head");
    }

    /// Whether nothing is stored twice.
    pub fn assert_nothing_doubled(&mut self) {
        let doubled = self.number(
            "SELECT count(*) FROM (SELECT 1 FROM entries WHERE change_hash IS NOT NULL
                                   GROUP BY feed, doc_id, change_hash HAVING count(*) > 1) d",
        );
        assert_eq!(doubled, 0, "changes that are stored twice");
    }

    /// Whether what each account holds was counted.
    pub fn assert_accounts_are_counted(&mut self) {
        let wrong = self.number(
            "SELECT count(*) FROM account_usage u FULL JOIN (
                 SELECT account, count(*) documents, sum(payload_bytes) bytes FROM documents GROUP BY account
             ) d USING (account)
             WHERE (u.documents, u.bytes) IS DISTINCT FROM (d.documents, d.bytes::bigint)",
        );
        assert_eq!(wrong, 0, "accounts that were counted wrongly");
    }

    /// Waits until the merge workers have come to the head of every feed.
    pub fn wait_for_merge(&mut self) {
        wait_until("the merge", || self.number("SELECT count(*) FROM merge_queue WHERE merged_seq < head_seq") == 0);
    }

    /// The merged records, by document.
    pub fn records(&mut self) -> Vec<(DocId, serde_json::Value)> {
        let rows = sqlx::query("SELECT doc_id, record FROM records ORDER BY doc_id").fetch_all(&mut self.connection);
        let rows = self.runtime.block_on(rows).unwrap();
        rows.iter().map(|row| (DocId::from_slice(row.get(0)).unwrap(), row.get(1))).collect()
    }

    /// Heads of every document, sorted, as the device stores them.
    pub fn heads(&mut self) -> Vec<(DocId, Vec<u8>)> {
        let rows = sqlx::query("SELECT doc_id, heads FROM documents ORDER BY doc_id").fetch_all(&mut self.connection);
        let rows = self.runtime.block_on(rows).unwrap();
        rows.iter()
            .map(|row| (DocId::from_slice(row.get(0)).unwrap(), row.get::<Vec<Vec<u8>>, _>(1).concat()))
            .collect()
    }
}
