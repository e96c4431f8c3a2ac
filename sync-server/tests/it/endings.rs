//! A database comes back from a backup, by copying it at the moment of the backup: what ended afterwards ends again.

use std::path::Path;

use fitme_core::collection::Collection;
use fitme_core::entry::Entry;
use fitme_core::id::DocId;
use fitme_core::limits;
use fitme_testing::{Database, Postgres, ServerProcess};
use futures_util::future::join;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use sync_server::accounts::{devices, sign_ins};
use sync_server::auth::Device;
use sync_server::clock::Clock;
use sync_server::db::wall;
use sync_server::endings::again::{AgainError, Ended, Means, catch_up};
use sync_server::endings::list::{self, ListError};
use sync_server::erase::{self, Backups};
use sync_server::{consents, feeds};

use crate::client::{log_in, sign_up, until};
use crate::erase::Kept;
use crate::phones::{MORNING, Node, Person, Phone, codes};

/// Ann, who shares her workouts with Tom, with a phone, a tablet and a watch; and Ben.
struct Play {
    postgres: Postgres,
    node: Node,
    ann: Person,
    tom: Person,
    ben: Person,
    phone: Phone,
    tablet: Device,
    watch: Device,
    grant: DocId,
    mood: DocId,
}

impl Play {
    async fn set() -> Self {
        let postgres = Postgres::start();
        let node = Node::on(&postgres.of(&named(&postgres).await)).await;
        sync_server::db::installation::establish(&node.server).await.unwrap();
        let (ann, tom, ben) = (node.person().await, node.person().await, node.person().await);
        node.relate(ann.account, tom.account).await;
        let mut phone = node.phone(&ann, 1).await;
        let (tablet, watch) = (node.phone(&ann, 2).await.device, node.phone(&ann, 3).await.device);
        let (mood, logged) = phone.log_mood(1);
        node.push(phone.device, ann.feed(Collection::Moods), vec![logged]).await;
        let (grant, given) = phone.log(Collection::Grants, &consent(&tom));
        assert_eq!(codes(&node.push(phone.device, ann.feed(Collection::Grants), vec![given]).await), ["accepted"]);
        let (grant, mood) = (grant.doc_id, mood.doc_id);
        Self { postgres, node, ann, tom, ben, phone, tablet, watch, grant, mood }
    }

    /// The database as it is now, under another name; the original goes on.
    async fn back_up(&mut self, name: &str) -> Database {
        self.node.close().await;
        let mut admin = PgConnection::connect(&self.postgres.of("postgres").owner).await.unwrap();
        let copy = format!("CREATE DATABASE {name} TEMPLATE {ORIGINAL}");
        sqlx::query(AssertSqlSafe(copy)).execute(&mut admin).await.unwrap();
        self.node = Node::on(&self.postgres.of(ORIGINAL)).await;
        self.postgres.of(name)
    }

    async fn revoke(&self, device: Device, lost: bool) {
        let mut tx = wall::of(&self.node.server, &[self.ann.account]).await.unwrap();
        sign_ins::begin(&mut tx, device, MORNING).await.unwrap();
        assert!(devices::revoke(&mut tx, device, lost, self.phone.device.device, MORNING).await.unwrap());
        tx.commit().await.unwrap();
    }

    async fn take_back(&self, device: Device) {
        let mut tx = wall::of(&self.node.server, &[self.ann.account]).await.unwrap();
        assert!(devices::take_back(&mut tx, self.ann.account, device.device, "mine", None).await.unwrap());
        tx.commit().await.unwrap();
    }

    async fn revoke_grant(&mut self) {
        let (_, revocation) = self.phone.log(Collection::Grants, &consents::revocation(self.grant, MORNING));
        let receipts = self.node.push(self.phone.device, self.ann.feed(Collection::Grants), vec![revocation]).await;
        assert_eq!(codes(&receipts), ["accepted"]);
    }

    async fn erase_mood(&self) {
        let erasure = Entry::erasure(self.mood, MORNING, [1; 8], "");
        let receipts = self.node.push(self.phone.device, self.ann.feed(Collection::Moods), vec![erasure]).await;
        assert_eq!(codes(&receipts), ["accepted"]);
    }

    async fn shown_to_tom(&self, node: &Node) -> usize {
        feeds::load_grants(&node.server, self.tom.account).await.unwrap().feeds.len()
    }
}

const ORIGINAL: &str = "original";

async fn named(postgres: &Postgres) -> String {
    let database = postgres.database();
    let name = database.url.split('/').nth(3).unwrap().split('?').next().unwrap();
    let mut admin = PgConnection::connect(&postgres.of("postgres").owner).await.unwrap();
    let rename = format!("ALTER DATABASE {name} RENAME TO {ORIGINAL}");
    sqlx::query(AssertSqlSafe(rename)).execute(&mut admin).await.unwrap();
    ORIGINAL.to_owned()
}

fn consent(tom: &Person) -> serde_json::Value {
    json!({
        "at": MORNING, "kind": "grant", "grantee": tom.account, "grantee_name": "Tom", "grantee_role": "trainer",
        "shown_as": "Ann", "purpose": "training", "feeds": [{ "collection": "workouts", "access": "write" }]
    })
}

async fn ended_again(node: &Node, kept: &Kept, list: &Path) -> Result<Ended, AgainError> {
    let means = Means { pool: &node.server, audit: &kept.audit, ingest: &node.ingest, clock: &Clock::default() };
    catch_up(means, list).await
}

async fn fill(node: &Node, documents: u64, bytes: u64) {
    sqlx::query("UPDATE account_usage SET documents = $1, bytes = $2")
        .bind(documents.cast_signed())
        .bind(bytes.cast_signed())
        .execute(&node.pool)
        .await
        .unwrap();
}

/// How a device stands: whether it is revoked, whether it is lost, and how many live sign-ins it has.
async fn stands(node: &Node, device: Device) -> (bool, bool, i64) {
    let stands = "SELECT revoked_at IS NOT NULL, lost,
                         (SELECT count(*) FROM sign_ins s WHERE s.device = d.device AND ended_at IS NULL)
                  FROM devices d WHERE device = $1";
    sqlx::query_as(stands).bind(device.device).fetch_one(&node.pool).await.unwrap()
}

#[tokio::test]
async fn after_a_restore_what_the_list_names_is_ended_again_and_twice_changes_nothing() {
    let mut play = Play::set().await;
    let restored = play.back_up("restored").await;
    let (folder, kept) = (tempfile::tempdir().unwrap(), Kept::of(&play.node));
    let list = folder.path().join("list");
    play.erase_mood().await;
    play.revoke_grant().await;
    play.revoke(play.tablet, true).await;
    play.revoke(play.watch, false).await;
    let account = play.ben.account;
    erase::account(&play.node.server, &kept.audit, &Clock::default(), account, Backups::default()).await.unwrap();
    assert_eq!(list::copy(&play.node.server, &list).await.unwrap(), 5);
    assert_eq!(list::copy(&play.node.server, &list).await.unwrap(), 0, "each once");
    assert_eq!(ended_again(&play.node, &kept, &list).await.unwrap(), Ended::default(), "a restart changes nothing");

    let node = Node::on(&restored).await;
    assert_eq!(play.shown_to_tom(&node).await, 1, "the backup brought it back");
    let ended = ended_again(&node, &Kept::of(&node), &list).await.unwrap();
    assert_eq!(ended, Ended { accounts: 1, records: 1, grants: 1, devices: 2, idle: 0 });
    assert_eq!(play.shown_to_tom(&node).await, 0);
    assert_eq!(stands(&node, play.tablet).await, (true, true, 0));
    assert_eq!(stands(&node, play.watch).await, (true, false, 0));
    assert_eq!(ended_again(&node, &Kept::of(&node), &list).await.unwrap(), Ended::default());
    assert_eq!(node.feed(play.ann.feed(Collection::Grants)).await.len(), 2, "the grant and one revocation");
}

/// The grant is in a document as ever, and its end too: her devices get it, and it is in her records of access.
#[tokio::test]
async fn the_server_revokes_in_its_own_name_and_only_once_however_many_servers_start() {
    let mut play = Play::set().await;
    let restored = play.back_up("restored").await;
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list");
    play.revoke_grant().await;
    list::copy(&play.node.server, &list).await.unwrap();

    let (one, other) = (Node::on(&restored).await, Node::on(&restored).await);
    // However full her account is.
    fill(&one, limits::ACCOUNT_DOCUMENTS, limits::ACCOUNT_BYTES).await;
    let (ones, others) = (Kept::of(&one), Kept::of(&other));
    let (here, there) = join(ended_again(&one, &ones, &list), ended_again(&other, &others, &list)).await;
    assert!(here.unwrap().grants + there.unwrap().grants >= 1);
    assert_eq!(play.shown_to_tom(&one).await, 0);
    let grants = play.ann.feed(Collection::Grants);
    assert_eq!(one.feed(grants).await.len(), 2);
    let author: uuid::Uuid = sqlx::query_scalar("SELECT author FROM entries WHERE feed = $1 AND seq = 2")
        .bind(grants.0.cast_signed())
        .fetch_one(&one.pool)
        .await
        .unwrap();
    assert!(author.is_nil());
    let told: String = sqlx::query_scalar("SELECT detail FROM audit_records WHERE kind = 'grant_revoked'")
        .fetch_one(&one.pool)
        .await
        .unwrap();
    assert!(told.contains(&format!(r#""by":"{}""#, uuid::Uuid::nil())), "{told}");
    // A phone that brings the revocation from before the loss is not refused.
    fill(&one, 2, 2).await;
    play.node = one;
    play.revoke_grant().await;
}

/// Ann found her tablet and logged in on it again: a backup from the days between would have it empty itself.
#[tokio::test]
async fn a_device_that_is_back_is_not_told_that_it_is_lost_and_one_that_went_again_is() {
    let mut play = Play::set().await;
    play.revoke(play.tablet, true).await;
    play.revoke(play.watch, true).await;
    let (folder, kept) = (tempfile::tempdir().unwrap(), Kept::of(&play.node));
    let list = folder.path().join("list");
    list::copy(&play.node.server, &list).await.unwrap();
    let restored = play.back_up("restored").await;
    for device in [play.tablet, play.watch] {
        play.take_back(device).await;
        list::copy(&play.node.server, &list).await.unwrap();
    }
    play.revoke(play.watch, false).await;
    list::copy(&play.node.server, &list).await.unwrap();

    // Lists of several servers that were put together are in no order.
    let listed = std::fs::read_to_string(&list).unwrap();
    let backwards: Vec<_> = listed.lines().rev().collect();
    std::fs::write(&list, backwards.join("\n") + "\n").unwrap();
    let node = Node::on(&restored).await;
    assert_eq!(stands(&node, play.tablet).await, (true, true, 0));
    ended_again(&node, &kept, &list).await.unwrap();
    assert_eq!(stands(&node, play.tablet).await, (false, false, 0));
    assert_eq!(stands(&node, play.watch).await, (true, false, 0));
    assert_eq!(ended_again(&node, &kept, &list).await.unwrap(), Ended::default());
}

#[tokio::test]
async fn a_list_that_is_missing_or_damaged_stops_the_server_and_a_lost_one_is_written_again() {
    let mut play = Play::set().await;
    let (folder, kept) = (tempfile::tempdir().unwrap(), Kept::of(&play.node));
    let (list, other) = (folder.path().join("list"), folder.path().join("other"));
    assert_eq!(ended_again(&play.node, &kept, &list).await.unwrap(), Ended::default(), "the first start makes it");
    play.erase_mood().await;
    play.revoke_grant().await;
    list::copy(&play.node.server, &list).await.unwrap();
    let refused = ended_again(&play.node, &kept, &other).await.unwrap_err();
    assert!(matches!(refused, AgainError::List(ListError::Missing(_))), "{refused}");
    std::fs::write(&other, "").unwrap();
    ended_again(&play.node, &kept, &other).await.unwrap();
    assert_eq!(list::copy(&play.node.server, &other).await.unwrap(), 2, "what the database knows");

    let nobody = uuid::Uuid::now_v7();
    std::fs::write(&list, format!("account {nobody}\naccount {}\nerase everything\n", play.ben.account)).unwrap();
    let refused = ended_again(&play.node, &kept, &list).await.unwrap_err();
    assert!(refused.to_string().contains("line 3 of"), "{refused}");
    std::fs::write(&list, format!("account {nobody}\naccount {}\naccount 0193", play.ben.account)).unwrap();
    let ended = ended_again(&play.node, &kept, &list).await.unwrap();
    assert_eq!(ended, Ended { accounts: 1, idle: 1, ..Ended::default() }, "a damaged list erased nobody before");
}

/// Holds the row of an account, so that its erasure waits.
async fn hold(database: &Database, email: &str) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let pool = sqlx::PgPool::connect(&database.owner).await.unwrap();
    let mut held = pool.begin().await.unwrap();
    sqlx::query("SELECT FROM accounts WHERE email = $1 FOR UPDATE").bind(email).execute(&mut *held).await.unwrap();
    held
}

async fn somebody_waits(database: &Database) -> bool {
    let mut look = PgConnection::connect(&database.owner).await.unwrap();
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    sqlx::query_scalar::<_, i64>(waits).fetch_one(&mut look).await.unwrap() > 0
}

/// Whether a request to the server is answered within a second.
async fn answers(url: &str) -> bool {
    let client = reqwest::Client::builder().timeout(std::time::Duration::from_secs(1)).build().unwrap();
    let asked = client.get(format!("{url}/healthz")).send().await;
    asked.is_ok_and(|answer| answer.status().is_success())
}

#[tokio::test]
async fn nobody_is_served_before_what_ended_has_ended_again() {
    let database = Postgres::shared().database();
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list");
    let mut first = ServerProcess::on(&database.url);
    let address = first.url().trim_start_matches("http://").to_owned();
    let ben = sign_up(first.url(), "ben@example.org", "phone").await.body;
    first.terminate();
    std::fs::write(&list, format!("account {}\n", ben["account"].as_str().unwrap())).unwrap();
    let held = hold(&database, "ben@example.org").await;
    let starting = std::thread::spawn({
        let (url, list, address) = (database.url.clone(), list.display().to_string(), address.clone());
        move || ServerProcess::start_with(Some(&url), &[("FITME_ERASURES", &list), ("FITME_LISTEN", &address)])
    });
    until("the server waits for Ben's row", async || somebody_waits(&database).await).await;
    let url = format!("http://{address}");
    assert!(!answers(&url).await && !starting.is_finished(), "it was served before");
    held.rollback().await.unwrap();
    until("the server is served", async || answers(&url).await).await;
    assert_eq!(log_in(&url, "ben@example.org", "phone").await.code(), "wrong_credentials");
    drop(starting.join().unwrap());
}

/// As above in `installation.rs`: only the name by which the database is known changes.
#[tokio::test]
async fn a_database_that_is_replaced_under_a_running_server_is_served_after_what_ended_since() {
    let postgres = Postgres::start();
    let database = postgres.database();
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list");
    let server = ServerProcess::start_with(Some(&database.url), &[("FITME_ERASURES", list.to_str().unwrap())]);
    sign_up(server.url(), "ann@example.org", "phone").await;
    let ben = sign_up(server.url(), "ben@example.org", "phone").await.body;
    std::fs::write(&list, format!("account {}\n", ben["account"].as_str().unwrap())).unwrap();

    let held = hold(&database, "ben@example.org").await;
    let mut db = PgConnection::connect(&database.owner).await.unwrap();
    sqlx::query("UPDATE installation SET fingerprint = 'of the database before'").execute(&mut db).await.unwrap();
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'fitme-sync-server'";
    sqlx::query(cut).execute(&mut db).await.unwrap();
    until("the server waits for Ben's row", async || somebody_waits(&database).await).await;
    let refused = log_in(server.url(), "ann@example.org", "tablet").await;
    assert_eq!((refused.status.as_u16(), refused.code()), (503, "unavailable"), "nobody is served meanwhile");
    held.rollback().await.unwrap();
    until("Ann is served", async || log_in(server.url(), "ann@example.org", "tablet").await.status == 200).await;
    assert_eq!(log_in(server.url(), "ben@example.org", "phone").await.code(), "wrong_credentials");
    assert!(server.log().contains("1 accounts, 0 records"), "{}", server.log());
}
