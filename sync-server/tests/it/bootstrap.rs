//! What a device gets that is far behind: each document once, as it was merged, in the order of ids, on a real database.

use std::collections::BTreeMap;
use std::sync::Arc;

use fitme_core::collection::Collection;
use fitme_core::entry::{Digest, Entry};
use fitme_core::id::{DocId, FeedId};
use fitme_core::session::{Place, SnapshotsAsked, SnapshotsRead};
use fitme_core::wire::bootstrap::{Pass, Snapshot};
use fitme_core::{limits, merge, record};
use fitme_testing::Postgres;
use serde_json::{Value, json};
use sync_server::bootstrap::{read, read_of_other};
use sync_server::merge::MergeWorkers;
use tokio::sync::Notify;

use crate::client::until;
use crate::phones::{Draft, MORNING, Node, Person, Phone, codes};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
const EVERYTHING: usize = usize::MAX >> 1;

fn mood(days_ago: i64) -> Value {
    json!({ "at": MORNING - days_ago * DAY_MS, "valence": 1 })
}

/// Ana's diary on a server of its own.
struct Diary {
    node: Node,
    ana: Person,
    phone: Phone,
    drafts: Vec<Draft>,
}

impl Diary {
    /// One mood each ten days, the first one of today.
    async fn of(moods: i64) -> Self {
        let node = Node::on(&Postgres::shared().database()).await;
        let ana = node.person().await;
        let phone = node.phone(&ana, 1).await;
        let mut diary = Self { node, ana, phone, drafts: Vec::new() };
        for n in 0..moods {
            diary.log(&mood(10 * n)).await;
        }
        diary.merged().await;
        diary
    }

    fn feed(&self) -> FeedId {
        self.ana.feed(Collection::Moods)
    }

    async fn push(&self, entry: Entry) {
        let receipts = self.node.push(self.phone.device, self.feed(), vec![entry]).await;
        assert_eq!(codes(&receipts), ["accepted"]);
    }

    async fn log(&mut self, fields: &Value) {
        let (draft, entry) = self.phone.log(Collection::Moods, fields);
        self.drafts.push(draft);
        self.push(entry).await;
    }

    async fn edit(&mut self, at: usize, patch: &Value) {
        let entry = self.phone.edit(&mut self.drafts[at], patch);
        self.push(entry).await;
    }

    async fn erase(&self, at: usize) -> Entry {
        let entry = Entry::erasure(self.drafts[at].doc_id, MORNING, [3; 8], "");
        self.push(entry.clone()).await;
        entry
    }

    async fn merged(&self) {
        let workers = MergeWorkers::start(&self.node.server, 2, &Arc::new(Notify::new()), |_, _| {});
        until("everything is merged", async || {
            let behind = "SELECT count(*) FROM merge_queue WHERE merged_seq < head_seq";
            let behind: i64 = sqlx::query_scalar(behind).fetch_one(&self.node.pool).await.unwrap();
            behind == 0
        })
        .await;
        workers.stop().await;
    }

    fn beginning(&self, from: u64, upto: u64) -> SnapshotsAsked {
        SnapshotsAsked { feed: self.feed(), place: Place { from, upto, pass: Pass::Recent, last: None }, count: false }
    }

    /// Reads the pass to its end, in pages of about so many bytes.
    async fn pass(&self, mut asked: SnapshotsAsked, max_bytes: usize) -> SnapshotsRead {
        let mut all: Option<SnapshotsRead> = None;
        loop {
            let mut pages = read(&self.node.server, self.ana.account, &[asked], max_bytes).await.unwrap();
            let page = pages.remove(0);
            let last = page.documents.last().map(|document| document.doc_id);
            let last = last.or(page.erasures.last().map(|(_, entry)| entry.doc_id));
            let is_exhausted = page.exhausted;
            assert!(is_exhausted || last.is_some(), "each page goes on");
            asked.place.last = last;
            match &mut all {
                None => all = Some(page),
                Some(all) => {
                    all.documents.extend(page.documents);
                    all.erasures.extend(page.erasures);
                }
            }
            if is_exhausted {
                return all.unwrap();
            }
        }
    }
}

fn at_pass(asked: SnapshotsAsked, pass: Pass) -> SnapshotsAsked {
    SnapshotsAsked { place: Place { pass, ..asked.place }, count: pass == Pass::Rest, ..asked }
}

fn ids(read: &SnapshotsRead) -> Vec<DocId> {
    read.documents.iter().map(|document| document.doc_id).collect()
}

fn descending(drafts: &[Draft]) -> Vec<DocId> {
    let mut ids: Vec<_> = drafts.iter().map(|draft| draft.doc_id).collect();
    ids.sort_unstable_by(|a, b| b.cmp(a));
    ids
}

fn assert_is(document: &Snapshot, draft: &Draft) {
    let expected = merge::assemble(draft.payloads.iter().map(Vec::as_slice)).unwrap();
    let loaded = merge::load(&document.snapshot).unwrap();
    assert_eq!(merge::heads(&loaded), merge::heads(&expected));
    assert_eq!(document.heads, merge::heads(&expected));
    assert_eq!(document.payload_bytes, draft.payloads.iter().map(|payload| payload.len() as u64).sum::<u64>());
    let projection = record::project(&expected, draft.collection);
    let listed = document.listed.as_ref().unwrap();
    assert_eq!((listed.at, listed.trashed), (projection.at, projection.trashed));
    assert_eq!(serde_json::from_str::<Value>(&listed.columns).unwrap(), projection.columns);
}

#[tokio::test]
async fn pages_of_any_size_are_together_every_document_once_the_recent_ones_first() {
    let mut diary = Diary::of(30).await;
    diary.edit(3, &json!({ "note": "slept well" })).await;
    diary.merged().await;
    let asked = diary.beginning(0, 31);
    for max_bytes in [1, 1_500, EVERYTHING] {
        let recent = diary.pass(asked, max_bytes).await;
        let rest = diary.pass(at_pass(asked, Pass::Rest), max_bytes).await;
        assert_eq!((ids(&recent), ids(&rest)), (descending(&diary.drafts[..9]), descending(&diary.drafts[9..])));
        assert_eq!((recent.total, rest.total), (0, 30));
        let all: BTreeMap<_, _> =
            recent.documents.iter().chain(&rest.documents).map(|document| (document.doc_id, document)).collect();
        diary.drafts.iter().for_each(|draft| assert_is(all[&draft.doc_id], draft));
        let ids = diary.node.feed(diary.feed()).await;
        let digest = ids.iter().fold(Digest::default(), |sum, id| sum.plus(*id));
        assert_eq!((recent.digest, rest.digest), (Some(digest), Some(digest)));
    }
    let changed = diary.pass(diary.beginning(30, 31), EVERYTHING).await;
    assert_eq!(ids(&changed), [diary.drafts[3].doc_id], "a device that has 30 entries gets what changed since");
    let beyond = diary.pass(diary.beginning(0, 32), EVERYTHING).await;
    assert_eq!((beyond.digest, beyond.documents), (None, Vec::new()), "a number that the feed has not reached");
}

/// Paging by the time of a record lost what moved while pages were under way.
#[tokio::test]
async fn records_that_move_between_the_passes_come_in_the_second_one() {
    let mut diary = Diary::of(20).await;
    let asked = diary.beginning(0, 20);
    let recent = diary.pass(asked, EVERYTHING).await;
    assert_eq!(ids(&recent), descending(&diary.drafts[..9]));
    diary.edit(2, &mood(400)).await;
    diary.edit(15, &mood(1)).await;
    diary.log(&mood(2)).await;
    diary.merged().await;
    let rest = diary.pass(at_pass(asked, Pass::Rest), 1_000).await;
    let moved = [&diary.drafts[2..3], &diary.drafts[9..]].concat();
    assert_eq!(ids(&rest), descending(&moved));
    let moved = rest.documents.iter().find(|document| document.doc_id == diary.drafts[15].doc_id).unwrap();
    assert_is(moved, &diary.drafts[15]);
}

#[tokio::test]
async fn a_document_in_quarantine_comes_with_the_entries_that_it_was_not_merged_with() {
    let mut diary = Diary::of(2).await;
    let poison = "ALTER TABLE records ADD CONSTRAINT poison CHECK ((record ->> 'valence')::int <> 2)";
    sqlx::query(poison).execute(&diary.node.pool).await.unwrap();
    diary.edit(1, &json!({ "valence": 2 })).await;
    diary.log(&json!({ "at": MORNING, "valence": 2 })).await;
    diary.merged().await;
    let asked = diary.beginning(0, 4);
    let mut all = diary.pass(asked, EVERYTHING).await.documents;
    all.extend(diary.pass(at_pass(asked, Pass::Rest), EVERYTHING).await.documents);
    let of = |at: usize| all.iter().find(|document| document.doc_id == diary.drafts[at].doc_id).unwrap();
    let payloads = |at| of(at).entries.iter().map(|(_, entry)| entry.payload.clone()).collect::<Vec<_>>();
    assert_eq!((of(1).seq, payloads(1)), (2, diary.drafts[1].payloads[1..].to_vec()));
    assert!(merge::load(&of(1).snapshot).is_ok());
    assert_eq!((of(2).snapshot.len(), of(2).heads.len(), payloads(2)), (0, 0, diary.drafts[2].payloads.clone()));
    assert_eq!(of(2).entries[0].0, 4);
}

#[tokio::test]
async fn what_was_erased_before_comes_as_what_erased_it_and_what_is_erased_meanwhile_with_the_entries() {
    let diary = Diary::of(4).await;
    let before = diary.erase(1).await;
    diary.merged().await;
    let _meanwhile = diary.erase(2).await;
    let asked = diary.beginning(0, 5);
    let mut here = ids(&diary.pass(asked, EVERYTHING).await);
    here.extend(ids(&diary.pass(at_pass(asked, Pass::Rest), EVERYTHING).await));
    here.sort_unstable_by(|a, b| b.cmp(a));
    assert_eq!(here, descending(&[diary.drafts[0].clone(), diary.drafts[3].clone()]));
    let erased = diary.pass(at_pass(asked, Pass::Erased), 1).await;
    assert_eq!(erased.erasures, [(5, before)]);
    assert_eq!(erased.erasures[0].1.id(), diary.node.feed(diary.feed()).await[4]);
    let since = diary.pass(at_pass(diary.beginning(5, 6), Pass::Erased), 1).await;
    assert_eq!(since.erasures.len(), 1, "only what was erased after the device's cursor");
}

/// A page of somebody else's feed is judged when it is read, and its owner finds it recorded.
#[tokio::test]
async fn a_trainer_gets_pages_until_the_grant_ends_and_each_is_recorded() {
    let mut diary = Diary::of(3).await;
    sync_server::db::installation::establish(&diary.node.server).await.unwrap();
    let tom = diary.node.person().await;
    let toms = diary.node.phone(&tom, 9).await;
    diary.node.relate(diary.ana.account, tom.account).await;
    let asked = diary.beginning(0, 3);
    let page = async || read_of_other(&diary.node.server, toms.device, asked, EVERYTHING, MORNING).await.unwrap();
    assert_eq!(page().await, None, "nothing is granted yet");
    let grants = diary.ana.feed(Collection::Grants);
    let grant = json!({
        "at": MORNING, "kind": "grant", "grantee": tom.account, "grantee_name": "Tom", "grantee_role": "trainer",
        "shown_as": "Ana", "purpose": "training", "feeds": [{ "collection": "moods", "access": "read" }]
    });
    let (grant, consent) = diary.phone.log(Collection::Grants, &grant);
    assert_eq!(codes(&diary.node.push(diary.phone.device, grants, vec![consent]).await), ["accepted"]);
    let noted = async || {
        let row = "SELECT first_seq, last_seq FROM audit_reads WHERE reader = $1";
        sqlx::query_as::<_, (i64, i64)>(row).bind(tom.account).fetch_all(&diary.node.pool).await.unwrap()
    };
    assert_eq!(noted().await, []);
    let shown = page().await.unwrap();
    assert_eq!(ids(&shown[0]), descending(&diary.drafts));
    assert_eq!(noted().await, [(1, 3)]);
    let end = json!({ "at": MORNING, "kind": "revocation", "revokes": grant.doc_id.to_string() });
    let end = diary.phone.log(Collection::Grants, &end).1;
    assert_eq!(codes(&diary.node.push(diary.phone.device, grants, vec![end]).await), ["accepted"]);
    assert_eq!(page().await, None, "the next page is not sent");
}

/// A limit that a page holds is a limit that the next page goes on from.
#[tokio::test]
async fn a_pass_goes_on_behind_as_many_documents_as_one_page_has() {
    let mut diary = Diary::of(0).await;
    let entries: Vec<_> = (0..limits::BOOTSTRAP_PAGE + 10)
        .map(|_| {
            let (draft, entry) = diary.phone.log(Collection::Moods, &mood(0));
            diary.drafts.push(draft);
            entry
        })
        .collect();
    for some in entries.chunks(limits::PUSH_ENTRIES) {
        diary.node.push(diary.phone.device, diary.feed(), some.to_vec()).await;
    }
    diary.merged().await;
    let asked = diary.beginning(0, entries.len() as u64);
    let first = read(&diary.node.server, diary.ana.account, &[asked], EVERYTHING).await.unwrap();
    assert_eq!((first[0].documents.len(), first[0].exhausted), (limits::BOOTSTRAP_PAGE, false));
    assert_eq!(ids(&diary.pass(asked, EVERYTHING).await), descending(&diary.drafts));
}
