//! The rules of ingest on made-up changes, without a database: a few maps stand in for its tables.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use fitme_core::change::ChangeFacts;
use fitme_core::collection::Collection;
use fitme_core::entry::Entry;
use proptest::prelude::*;

use super::*;
use crate::ingest::check::{FeedPlace, Origin};

const ACCOUNT: Uuid = Uuid::from_u128(1);
const OTHER_ACCOUNT: Uuid = Uuid::from_u128(2);
const PHONE: Device = Device { device: Uuid::from_u128(11), account: ACCOUNT };
const TABLET: Device = Device { device: Uuid::from_u128(12), account: ACCOUNT };
const STRANGER: Device = Device { device: Uuid::from_u128(13), account: OTHER_ACCOUNT };
const MOODS: FeedId = FeedId(100);
const MEALS: FeedId = FeedId(101);
const GRANTS: FeedId = FeedId(102);
const OTHERS_MOODS: FeedId = FeedId(103);

fn hash(n: u8) -> ChangeHash {
    ChangeHash([n; 32])
}

fn actor(n: u8) -> ActorId {
    ActorId([n; 16])
}

/// A change number `n` of a document, with a payload of so many bytes.
fn offer(feed: FeedId, doc: u8, n: u8, (by, actor_seq): (u8, u64), deps: &[u8], bytes: usize) -> Offer {
    let doc_id = DocId([doc; 16]);
    let entry = Entry { kind: 0, doc_id, device_time: 0, salt: [n; 8], payload: vec![n; bytes] };
    let deps = deps.iter().map(|n| hash(*n)).collect();
    let facts = ChangeFacts { hash: hash(n), actor: actor(by), actor_seq, deps, time_ms: 0, operations: 1 };
    let change = Some(Change { facts, shared_actor: by == 0 });
    let place = Some(FeedPlace { owner: ACCOUNT, collection: Collection::Moods, scope: String::new(), grants: GRANTS });
    Offer {
        feed,
        id: entry.id(),
        entry,
        place,
        change,
        consent: None,
        origin: Origin::default(),
        standing: Standing::Open,
    }
}

fn mood(n: u8, writer: (u8, u64), deps: &[u8]) -> Offer {
    offer(MOODS, 1, n, writer, deps, 10)
}

/// The tables.
#[derive(Debug, Clone, PartialEq)]
struct Tables(Known);

impl Tables {
    fn new() -> Self {
        let feed = |account| FeedState { account, head: 0, digest: Digest::default() };
        let feeds = [(MOODS, feed(ACCOUNT)), (MEALS, feed(ACCOUNT)), (OTHERS_MOODS, feed(OTHER_ACCOUNT))].into();
        Self(Known { feeds, ..Known::default() })
    }

    /// What the transaction would write, after checking what the tables' keys would check.
    fn write(&mut self, plan: &Plan, candidates: &[Candidate<'_>]) {
        let tables = &mut self.0;
        for new in &plan.entries {
            let offer = candidates[new.candidate].offer;
            let facts = &offer.change.as_ref().unwrap().facts;
            let (feed, doc_id) = (offer.feed, offer.entry.doc_id);
            assert_eq!(new.seq, tables.feeds[&feed].head + 1, "numbers have no gap");
            assert_eq!(new.digest, tables.feeds[&feed].digest.plus(offer.id));
            let state = tables.feeds.get_mut(&feed).unwrap();
            (state.head, state.digest) = (new.seq, new.digest);
            assert_eq!(tables.entries.insert((feed, offer.id), new.seq), None, "ids are unique");
            let change = (feed, doc_id, facts.hash);
            assert_eq!(tables.changes.insert(change, (new.seq, offer.id)), None, "changes are unique");
            let tip = tables.tips.insert((feed, doc_id, facts.actor), facts.actor_seq).unwrap_or(0);
            assert_eq!(facts.actor_seq, tip + 1, "an actor's sequence has no gap");
        }
        assert_eq!(
            plan.feeds.iter().collect::<Vec<_>>(),
            tables.feeds.iter().filter(|(feed, _)| plan.feeds.contains_key(feed)).collect::<Vec<_>>()
        );
        tables.documents.extend(plan.documents.clone());
        for (account, adds) in &plan.usage {
            let held = tables.usage.entry(*account).or_default();
            *held = held.plus(*adds);
        }
        let account =
            |device| [PHONE, TABLET, STRANGER].into_iter().find(|one| one.device == device).map(|one| one.account);
        let bound = |tip: &ActorTip| Binding { device: tip.device, account: account(tip.device) };
        tables.actors.extend(plan.actors.iter().map(|(actor, tip)| (*actor, bound(tip))));
    }

    fn push(&mut self, fates: &mut Fates, candidates: &[Candidate<'_>]) -> Vec<Verdict> {
        let plan = plan(self.0.clone(), candidates, fates);
        self.write(&plan, candidates);
        for (candidate, verdict) in candidates.iter().zip(&plan.verdicts) {
            let change = candidate.offer.change.as_ref().unwrap();
            fates.note((candidate.device.device, change.facts.hash), Fate::of(verdict));
        }
        plan.verdicts
    }
}

/// Codes of the verdicts on what one device pushes together.
fn push(tables: &mut Tables, device: Device, offers: &[Offer]) -> Vec<&'static str> {
    let candidates: Vec<_> = offers.iter().map(|offer| Candidate { device, offer }).collect();
    let verdicts = tables.push(&mut Fates::default(), &candidates);
    verdicts.iter().map(code).collect()
}

fn code(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Accepted { .. } => "accepted",
        Verdict::Duplicate { .. } => "duplicate",
        Verdict::Rejected(why) => why.code(),
        Verdict::Undecided(why) => why.code(),
    }
}

/// The server lost what the phone wrote, and what a device wrote that it never met since; the tablet holds both.
#[test]
fn what_others_wrote_is_brought_back_and_stays_theirs_and_the_actors_stay_whose_they_are() {
    let mut tables = Tables::new();
    assert_eq!(push(&mut tables, PHONE, &[mood(1, (1, 1), &[])]), ["accepted"]);
    let lost = [mood(2, (1, 2), &[1]), mood(3, (5, 1), &[2])];
    assert_eq!(push(&mut tables, TABLET, &lost[..1]), ["foreign_actor"], "it does not say that it wrote it");
    let lost = lost.map(|offer| Offer { origin: Origin { of_others: true, ..offer.origin }, ..offer });
    let candidates: Vec<_> = lost.iter().map(|offer| Candidate { device: TABLET, offer }).collect();
    let planned = plan(tables.0.clone(), &candidates, &Fates::default());
    let origins: Vec<_> = planned.entries.iter().map(|new| (new.author, new.offered_by)).collect();
    let by = Some(TABLET.device);
    assert_eq!(origins, [(PHONE.device, by), (Uuid::nil(), by)]);
    let bound: Vec<_> = planned.actors.iter().map(|(actor, tip)| (*actor, tip.device)).collect();
    assert_eq!(bound, [(actor(1), PHONE.device)], "what was brought says nothing of who wrote it");
    assert_eq!(push(&mut tables, TABLET, &lost), ["accepted", "accepted"]);
    assert_eq!(push(&mut tables, PHONE, &[mood(2, (1, 2), &[1]), mood(4, (1, 3), &[3])]), ["duplicate", "accepted"]);
}

#[test]
fn an_actor_counts_without_a_gap() {
    let mut tables = Tables::new();
    let offers = [mood(1, (1, 1), &[]), mood(2, (1, 3), &[1]), mood(3, (1, 2), &[1]), mood(4, (1, 2), &[3])];
    assert_eq!(push(&mut tables, PHONE, &offers), ["accepted", "actor_gap", "accepted", "actor_forked"]);
}

#[test]
fn a_document_has_a_bounded_number_of_heads() {
    let mut tables = Tables::new();
    assert_eq!(push(&mut tables, PHONE, &[mood(0, (1, 1), &[])]), ["accepted"]);
    let document = tables.0.documents.get_mut(&(ACCOUNT, DocId([1; 16]))).unwrap();
    document.heads = (0..limits::CHANGE_DEPENDENCIES as u8 as u64 + 256)
        .map(|n| {
            let mut head = [0xff; 32];
            head[..8].copy_from_slice(&n.to_be_bytes());
            ChangeHash(head)
        })
        .collect();
    assert_eq!(push(&mut tables, PHONE, &[mood(1, (1, 2), &[0])]), ["too_many_heads"]);
}

#[test]
fn a_document_has_a_bounded_size() {
    let mut tables = Tables::new();
    let half = limits::DOCUMENT_BYTES as usize / 2;
    let part = |n, seq, deps: &[u8], bytes| offer(MOODS, 1, n, (1, seq), deps, bytes);
    let offers = [part(1, 1, &[], half), part(2, 2, &[1], half + 1), part(3, 2, &[1], half), part(4, 3, &[3], 1)];
    assert_eq!(push(&mut tables, PHONE, &offers), ["accepted", "document_full", "accepted", "document_full"]);
}

#[test]
fn an_account_has_a_bounded_size() {
    let mut tables = Tables::new();
    tables.0.usage.insert(ACCOUNT, Usage { documents: 7, bytes: limits::ACCOUNT_BYTES - 20 });
    let offers = [mood(1, (1, 1), &[]), mood(2, (1, 2), &[1]), mood(3, (1, 3), &[2])];
    assert_eq!(push(&mut tables, PHONE, &offers), ["accepted", "accepted", "account_full"]);
    assert_eq!(push(&mut tables, PHONE, &offers[..1]), ["duplicate"]);
    assert_eq!(tables.0.usage[&ACCOUNT], Usage { documents: 8, bytes: limits::ACCOUNT_BYTES });
}

#[test]
fn an_account_has_a_bounded_number_of_records_and_those_can_be_edited() {
    let mut tables = Tables::new();
    tables.0.usage.insert(ACCOUNT, Usage { documents: limits::ACCOUNT_DOCUMENTS - 1, bytes: 0 });
    let offers = [mood(1, (1, 1), &[]), offer(MOODS, 2, 2, (1, 1), &[], 10), mood(3, (1, 2), &[1])];
    assert_eq!(push(&mut tables, PHONE, &offers), ["accepted", "too_many_records", "accepted"]);
    assert_eq!(tables.0.usage[&ACCOUNT], Usage { documents: limits::ACCOUNT_DOCUMENTS, bytes: 20 });
}

/// The devices that actors belong to.
fn bound(tables: &Tables) -> Vec<(ActorId, Uuid)> {
    tables.0.actors.iter().map(|(actor, bound)| (*actor, bound.device)).collect()
}

/// A person exports an account and imports it into another one: the changes are those that the old account's phone wrote.
#[test]
fn an_account_may_bring_along_what_another_ones_devices_wrote_and_the_actors_stay_theirs() {
    let mut tables = Tables::new();
    let brought = |n, writer, deps: &[u8]| {
        let mut offer = offer(OTHERS_MOODS, 1, n, writer, deps, 10);
        offer.place.as_mut().unwrap().owner = OTHER_ACCOUNT;
        offer
    };
    assert_eq!(push(&mut tables, PHONE, &[mood(1, (1, 1), &[])]), ["accepted"]);
    let record = [brought(1, (1, 1), &[]), brought(2, (1, 2), &[1])];
    assert_eq!(push(&mut tables, STRANGER, &record), ["accepted", "accepted"]);
    assert_eq!(push(&mut tables, STRANGER, &record), ["duplicate", "duplicate"]);
    assert_eq!(bound(&tables), [(actor(1), PHONE.device)]);
    assert_eq!(push(&mut tables, PHONE, &[mood(3, (1, 2), &[1])]), ["accepted"], "the phone goes on");
}

/// Who may write into somebody's feed writes under their own name.
#[test]
fn a_grantee_writes_under_no_actor_of_the_owner_or_of_anybody_else() {
    let mut tables = Tables::new();
    let write = Permit {
        collection: Collection::Moods,
        scope: String::new(),
        access: policy::Access::Write,
        from_ms: None,
        until_ms: None,
    };
    tables.0.grants.permits.insert((ACCOUNT, OTHER_ACCOUNT), vec![(DocId([9; 16]), write)]);
    let nobody_known = Binding { device: Uuid::from_u128(99), account: None };
    tables.0.actors.insert(actor(7), nobody_known);
    assert_eq!(push(&mut tables, PHONE, &[mood(1, (1, 1), &[])]), ["accepted"]);
    let offers = [mood(2, (1, 2), &[1]), mood(3, (7, 1), &[1]), mood(4, (3, 1), &[1])];
    assert_eq!(push(&mut tables, STRANGER, &offers), ["foreign_actor", "foreign_actor", "accepted"]);
}

#[test]
fn who_may_write_where() {
    let mut tables = Tables::new();
    assert_eq!(push(&mut tables, STRANGER, &[mood(1, (3, 1), &[])]), ["not_your_feed"]);
    assert_eq!(push(&mut tables, PHONE, &[mood(1, (1, 1), &[])]), ["accepted"]);
    assert_eq!(push(&mut tables, TABLET, &[mood(1, (1, 1), &[])]), ["duplicate"], "who offers it does not matter");
    assert_eq!(push(&mut tables, TABLET, &[mood(2, (1, 2), &[1])]), ["foreign_actor"]);
    assert_eq!(push(&mut tables, TABLET, &[mood(2, (2, 1), &[1])]), ["accepted"]);
    assert_eq!(push(&mut tables, TABLET, &[offer(MEALS, 1, 3, (2, 1), &[], 10)]), ["foreign_document"]);
    assert_eq!(push(&mut tables, TABLET, &[mood(3, (2, 1), &[])]), ["document_exists"]);
    assert_eq!(push(&mut tables, PHONE, &[mood(4, (0, 1), &[1])]), ["accepted"], "an actor of every device");
    assert_eq!(bound(&tables), [(actor(1), PHONE.device), (actor(2), TABLET.device)]);
}

#[test]
fn what_builds_on_an_undecided_change_is_undecided_too() {
    let mut tables = Tables::new();
    let mut away = mood(2, (1, 2), &[1]);
    away.standing = Standing::Undecided(Postponement::Unavailable);
    let offers = [mood(1, (1, 1), &[]), away, mood(3, (1, 3), &[2]), mood(4, (1, 4), &[3]), mood(5, (1, 3), &[9])];
    let expected = ["accepted", "unavailable", "depends_on_undecided", "depends_on_undecided", "unknown_dependency"];
    assert_eq!(push(&mut tables, PHONE, &offers), expected);
}

/// Pushes of two devices and a stranger: mostly good changes, and every way of being bad.
fn pushed() -> impl Strategy<Value = Vec<(Device, Offer)>> {
    let device = prop_oneof![8 => Just(PHONE), 4 => Just(TABLET), 1 => Just(STRANGER)];
    let one = (
        device,
        prop::bool::weighted(0.9),
        0..3_u8,
        1..25_u8,
        1..4_u8,
        1..6_u64,
        prop::collection::vec(1..25_u8, 0..2),
    );
    let offer = one.prop_map(|(device, in_moods, doc, n, by, seq, deps)| {
        let feed = if in_moods { MOODS } else { MEALS };
        // Every third change is a well-formed step of a chain, so that some documents grow.
        let (by, seq, deps) = match n % 3 {
            0 => (by, seq, deps),
            _ if n < 4 => (device.device.as_u128() as u8, 1, vec![]),
            _ => (device.device.as_u128() as u8, u64::from(n / 3), vec![n - 3]),
        };
        (device, offer(feed, doc, n, (by, seq), &deps, usize::from(n) * 3_000))
    });
    prop::collection::vec(offer, 1..60)
}

proptest! {
    /// I3 and I4 on the plan alone: every entry gets one verdict, numbers have no gap, and how pushes fall into groups
    /// changes nothing about anybody's verdict.
    #[test]
    fn groups_do_not_change_verdicts(pushed in pushed(), cuts in prop::collection::vec(1..12_usize, 60)) {
        let candidates: Vec<_> = pushed.iter().map(|(device, offer)| Candidate { device: *device, offer }).collect();
        let (mut alone, mut fates) = (Tables::new(), Fates::default());
        let expected: Vec<_> =
            candidates.iter().flat_map(|candidate| alone.push(&mut fates, std::slice::from_ref(candidate))).collect();

        let (mut grouped, mut fates) = (Tables::new(), Fates::default());
        let (mut verdicts, mut rest) = (Vec::new(), candidates.as_slice());
        for cut in cuts {
            let (group, later) = rest.split_at(cut.min(rest.len()));
            verdicts.extend(grouped.push(&mut fates, group));
            rest = later;
        }
        verdicts.extend(grouped.push(&mut fates, rest));

        prop_assert_eq!(&verdicts, &expected);
        prop_assert_eq!(verdicts.len(), pushed.len());
        prop_assert_eq!(grouped, alone);
    }
}

/// A void leaves a change out with what builds on it: the heads go back, and nothing may build on them any more, also in the
/// group of the void itself. Only the server may say so, and only of what is in quarantine.
#[test]
fn what_a_void_leaves_out_nothing_builds_on() {
    const SERVER: Device = Device { device: Uuid::nil(), account: ACCOUNT };
    let mut tables = Tables::new();
    push(&mut tables, PHONE, &[mood(1, (1, 1), &[]), mood(2, (1, 2), &[1]), mood(3, (1, 3), &[2])]);
    let void = Void { change: hash(2), replayed: false }.entry(DocId([1; 16]), 0, [7; 8]);
    let void = Offer { id: void.id(), entry: void, change: None, ..mood(9, (9, 1), &[]) };
    let judge = |tables: &Tables, device, offers: &[Offer]| {
        let candidates: Vec<_> = offers.iter().map(|offer| Candidate { device, offer }).collect();
        plan(tables.0.clone(), &candidates, &Fates::default())
    };
    let codes = |plan: &Plan| plan.verdicts.iter().map(code).collect::<Vec<_>>();
    assert_eq!(codes(&judge(&tables, PHONE, std::slice::from_ref(&void))), ["kind_not_served"]);
    assert_eq!(codes(&judge(&tables, SERVER, std::slice::from_ref(&void))), ["not_in_quarantine"]);
    let lost = vec![(hash(2), 2), (hash(3), 3)];
    tables.0.voids.insert(void.id, Lost { changes: lost.clone(), heads: vec![hash(1)] });
    let group = [void, mood(4, (2, 1), &[3]), mood(5, (2, 1), &[1])];
    let plan = judge(&tables, SERVER, &group);
    assert_eq!(codes(&plan), ["accepted", "depends_on_rejected", "accepted"]);
    assert_eq!((plan.voids[0].seq, &plan.voids[0].changes), (4, &lost));
    assert_eq!(plan.documents[&(ACCOUNT, DocId([1; 16]))].heads, [hash(5)]);
    assert!(plan.actors.is_empty(), "the server binds no actor");
}
