//! Every kind of frame, over the socket and in one-shot exchanges.

use std::collections::{BTreeMap, BTreeSet};

use fitme_core::entry::{Digest, Entry};
use fitme_core::id::{DocId, Epoch, FeedId, Installation};
use fitme_core::policy::{Access, Action};
use fitme_core::reconcile::{Question, Range, Sum};
use fitme_core::wire::{
    self, Cursors, EntryKind, FeedDigest, FeedGranted, FeedPage, FeedPush, Fetched, Frame, Goodbye, Hello, Reason,
    Receipt, Repair, Token, Want, Welcome,
};

use super::cast::{Cast, Grantee, Owner};
use crate::phones::code;
use crate::rogue::Rogue;

/// What a kind of frame has to do with permission, and which test below proves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Row {
    /// It opens the session, which then sends what may be read: `each_role_receives_what_the_judge_lets_it_read`.
    Opens,
    /// It says what a device holds: `whoever_claims_to_hold_a_feed_learns_nothing_of_it`.
    Claims,
    /// It asks what is held of a feed: `what_a_feed_holds_is_compared_with_whom_the_judge_lets_read_it`.
    Asks,
    /// It writes: `each_role_writes_where_the_judge_lets_it_write_and_erases_nothing`.
    Writes,
    /// It names another sign-in: `the_token_of_somebody_else_is_not_taken`.
    Renews,
    /// It only says how fast, or that this is the end.
    Harmless,
    /// Only the server says it: `what_only_a_server_says_ends_the_session_of_a_device`.
    OfTheServer,
}

/// A kind of frame that is not named here does not compile.
fn row(frame: &Frame) -> Row {
    match frame {
        Frame::Hello(_) => Row::Opens,
        Frame::Cursors(_) | Frame::Digests(_) => Row::Claims,
        Frame::Repair(
            Repair::Locate { .. }
            | Repair::Compare { .. }
            | Repair::Fetch { .. }
            | Repair::Prove { .. }
            | Repair::BringBack { .. },
        ) => Row::Asks,
        // What others wrote: `nobody_but_a_person_brings_back_what_others_wrote`.
        Frame::Push { .. } | Frame::Repair(Repair::Offer { .. }) => Row::Writes,
        Frame::Renew(_) => Row::Renews,
        Frame::Credit { .. } | Frame::Goodbye(_) => Row::Harmless,
        Frame::Welcome(_)
        | Frame::Receipts { .. }
        | Frame::Entries(_)
        | Frame::Bootstrap { .. }
        | Frame::FeedGranted(_)
        | Frame::FeedRevoked(_)
        | Frame::Repair(Repair::Agreed { .. } | Repair::Compared { .. } | Repair::Fetched(_) | Repair::Wanted { .. })
        | Frame::More(_) => Row::OfTheServer,
    }
}

/// The feeds that a frame names, all of them.
fn named(frame: &Frame) -> Vec<FeedId> {
    match frame {
        Frame::Welcome(welcome) => welcome.merged.iter().map(|(feed, _)| *feed).collect(),
        Frame::Entries(pages) => pages.iter().map(|page| page.feed).collect(),
        Frame::Bootstrap { feeds, .. } => feeds.iter().map(|page| page.next.feed).collect(),
        Frame::FeedGranted(granted) => vec![granted.feed],
        Frame::FeedRevoked(feed) => vec![*feed],
        // An answer to whoever asks about a feed names it and, where it may not be read, says nothing else.
        Frame::Repair(Repair::Compared { answers, .. }) if answers.is_empty() => Vec::new(),
        Frame::Repair(Repair::Agreed { feed, .. } | Repair::Compare { feed, .. } | Repair::Compared { feed, .. }) => {
            vec![*feed]
        }
        Frame::Repair(Repair::Wanted { entries, .. }) if entries.is_empty() => Vec::new(),
        Frame::Repair(Repair::Prove { feed } | Repair::Wanted { feed, .. } | Repair::BringBack { feed, .. }) => {
            vec![*feed]
        }
        Frame::Repair(Repair::Fetched(fetched)) if fetched.documents.is_empty() => Vec::new(),
        Frame::Repair(Repair::Fetch { feed, .. } | Repair::Fetched(Fetched { feed, .. })) => vec![*feed],
        Frame::Repair(Repair::Locate { feeds }) => feeds.iter().map(|(feed, _)| *feed).collect(),
        Frame::Repair(Repair::Offer { feeds, .. }) => feeds.iter().map(|push| push.feed).collect(),
        Frame::Cursors(cursors) => cursors.0.keys().copied().collect(),
        Frame::Digests(digests) => digests.iter().map(|held| held.feed).collect(),
        Frame::Push { feeds, .. } => feeds.iter().map(|push| push.feed).collect(),
        Frame::Hello(_)
        | Frame::Receipts { .. }
        | Frame::Credit { .. }
        | Frame::Renew(_)
        | Frame::Goodbye(_)
        | Frame::More(_) => Vec::new(),
    }
}

/// What a session was told of the owners' feeds.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    granted: BTreeMap<FeedId, Access>,
    sent: BTreeSet<FeedId>,
}

impl Told {
    fn note(&mut self, frame: &Frame, of_owners: &BTreeSet<FeedId>) {
        match frame {
            Frame::FeedGranted(granted) => drop(self.granted.insert(granted.feed, granted.access)),
            Frame::Entries(pages) => self.sent.extend(pages.iter().map(|page| page.feed)),
            Frame::Bootstrap { feeds, .. } => self.sent.extend(feeds.iter().map(|page| page.next.feed)),
            _ => {}
        }
        self.granted.retain(|feed, _| of_owners.contains(feed));
        self.sent.retain(|feed| of_owners.contains(feed));
    }
}

impl Cast {
    fn feeds(&self) -> impl Iterator<Item = (&Owner, FeedId)> {
        self.owners.iter().flat_map(|owner| owner.feeds.keys().map(move |feed| (owner, *feed)))
    }

    fn of_owners(&self) -> BTreeSet<FeedId> {
        self.feeds().map(|(_, feed)| feed).collect()
    }

    /// What the judge says that a session is to be told.
    fn expected(&self, who: &Grantee) -> Told {
        let mut told = Told::default();
        for (owner, feed) in self.feeds().filter(|(owner, feed)| owner.lets(who, Action::Read, *feed)) {
            let writes = owner.lets(who, Action::Write, feed);
            told.granted.insert(feed, if writes { Access::Write } else { Access::Read });
            if owner.feeds[&feed].0.is_served() {
                told.sent.insert(feed);
            }
        }
        told
    }

    /// The session of a role up to where all is sent, and what it was told on the way.
    async fn live(&self, who: &Grantee) -> (Rogue, Told) {
        let mut rogue = Rogue::connect_to(self.server.url(), &who.signed_up).await;
        rogue.say(&Frame::Hello(rogue.hello())).await;
        let told = self.listen(&mut rogue, who).await;
        (rogue, told)
    }

    /// Hears until all is sent; a feed that the judge does not let be read may not even be named.
    async fn listen(&self, rogue: &mut Rogue, who: &Grantee) -> Told {
        let (mut told, of_owners, expected) = (Told::default(), self.of_owners(), self.expected(who));
        loop {
            let frame = rogue.hear().await.expect("the session goes on");
            let secret =
                named(&frame).into_iter().find(|feed| of_owners.contains(feed) && !expected.granted.contains_key(feed));
            assert_eq!(secret, None, "a {} was told of it: {frame:?}", who.role);
            told.note(&frame, &of_owners);
            match frame {
                Frame::More(false) | Frame::Welcome(Welcome { want: Want::Nothing, more: false, .. }) => return told,
                _ => {}
            }
        }
    }

    /// One entry of a kind for each feed of each owner; whether the judge lets the grantee.
    fn pushes(&mut self, who: usize, kind: EntryKind) -> (Vec<FeedPush>, Vec<(bool, String)>) {
        let (mut pushes, mut expected) = (Vec::new(), Vec::new());
        for owner in &self.owners {
            for (feed, (collection, scope)) in &owner.feeds {
                let action = if kind == EntryKind::Erase { Action::Erase } else { Action::Write };
                let grantee = &mut self.grantees[who];
                let lets = owner.lets(grantee, action, *feed) && collection.is_served();
                expected.push((lets, format!("{collection}/{scope}, {:?}, of a {}", owner.said, grantee.role)));
                pushes.push(FeedPush { feed: *feed, entries: vec![entry_of(grantee, *collection, kind)] });
            }
        }
        (pushes, expected)
    }
}

fn entry_of(who: &mut Grantee, collection: fitme_core::collection::Collection, kind: EntryKind) -> Entry {
    use fitme_core::collection::Collection::{Meals, Measurements, Moods, Profile, Workouts};
    use serde_json::json;

    use crate::phones::MORNING;
    let entry = match collection {
        Workouts => who.phone.log(Workouts, &json!({ "start": MORNING })).1,
        Meals => who.phone.log(Meals, &json!({ "at": MORNING, "kind": "lunch" })).1,
        Measurements => who.phone.log(Measurements, &json!({ "at": MORNING, "resting_hr": 50 })).1,
        Profile => who.phone.profile().1,
        // Where it may not be written, what it is does not matter.
        _ => who.phone.log(Moods, &json!({ "at": MORNING, "valence": 1 })).1,
    };
    match kind {
        EntryKind::Erase => Entry::erasure(entry.doc_id, MORNING, entry.salt, ""),
        kind => Entry { kind: kind.into(), ..entry },
    }
}

fn hello(rogue: &Rogue) -> Hello {
    rogue.hello()
}

#[tokio::test]
async fn each_role_receives_what_the_judge_lets_it_read() {
    let cast = Cast::set().await;
    for who in &cast.grantees {
        let (_, told) = cast.live(who).await;
        assert_eq!(told, cast.expected(who), "a {} over the socket", who.role);
        let told = exchange(&cast, who, &[Frame::Hello(hello_of(&cast, who).await)]).await.0;
        assert_eq!(told, cast.expected(who), "a {} in an exchange", who.role);
    }
    let trainer = &cast.grantees[1];
    assert!(cast.expected(trainer).granted.len() > 20, "the matrix is not empty");
}

#[tokio::test]
async fn each_role_writes_where_the_judge_lets_it_write_and_erases_nothing() {
    let mut cast = Cast::set().await;
    for who in 0..cast.grantees.len() {
        for kind in [EntryKind::Change, EntryKind::Erase, EntryKind::Samples, EntryKind::Sealed, EntryKind::Void] {
            let (feeds, expected) = cast.pushes(who, kind);
            let (mut rogue, _) = cast.live(&cast.grantees[who]).await;
            rogue.say(&Frame::Push { batch: 1, feeds: feeds.clone() }).await;
            let receipts = receipts(&mut rogue).await;
            judged(&receipts, &expected, kind);
            let grantee = &cast.grantees[who];
            let hello = Frame::Hello(hello_of(&cast, grantee).await);
            let (_, receipts) = exchange(&cast, grantee, &[hello, Frame::Push { batch: 2, feeds }]).await;
            judged(&receipts, &expected, kind);
        }
    }
}

/// The profile is written once by everybody alike, so another time it is there already.
fn judged(receipts: &[Receipt], expected: &[(bool, String)], kind: EntryKind) {
    assert_eq!(receipts.len(), expected.len());
    for (receipt, (lets, place)) in receipts.iter().zip(expected) {
        let taken = matches!(receipt, Receipt::Accepted(_) | Receipt::Duplicate { .. });
        assert_eq!(taken, *lets && kind == EntryKind::Change, "{kind:?} in {place}: {}", code(receipt));
    }
}

async fn receipts(rogue: &mut Rogue) -> Vec<Receipt> {
    loop {
        match rogue.hear().await.expect("the session goes on") {
            Frame::Receipts { receipts, .. } => return receipts,
            Frame::Goodbye(last) => panic!("{}", last.message),
            _ => {}
        }
    }
}

/// The first frame of a device that holds nothing of others.
async fn hello_of(cast: &Cast, who: &Grantee) -> Hello {
    let rogue = Rogue::connect_to(cast.server.url(), &who.signed_up).await;
    hello(&rogue)
}

/// One-shot exchanges until all is sent, with the same frames each time.
async fn exchange(cast: &Cast, who: &Grantee, frames: &[Frame]) -> (Told, Vec<Receipt>) {
    let mut body = Vec::new();
    for frame in frames {
        let bytes = wire::encode(frame).unwrap();
        body.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
        body.extend_from_slice(&bytes);
    }
    let request = reqwest::Client::new().post(format!("{}/v1/sync/once", cast.server.url())).bearer_auth(who.token());
    let answer = request.body(body).send().await.unwrap().bytes().await.unwrap();
    let (mut told, mut receipts, of_owners, expected) =
        (Told::default(), Vec::new(), cast.of_owners(), cast.expected(who));
    let mut rest = &answer[..];
    while let Some((length, more)) = rest.split_first_chunk::<4>() {
        let (bytes, more) = more.split_at(u32::from_be_bytes(*length) as usize);
        let frame = wire::decode(bytes).unwrap().unwrap();
        let secret =
            named(&frame).into_iter().find(|feed| of_owners.contains(feed) && !expected.granted.contains_key(feed));
        assert_eq!(secret, None, "a {} was told of it: {frame:?}", who.role);
        told.note(&frame, &of_owners);
        match frame {
            Frame::Receipts { receipts: all, .. } => receipts = all,
            Frame::More(more) => assert!(!more, "the answer holds all"),
            _ => {}
        }
        rest = more;
    }
    (told, receipts)
}

/// A device that had a feed once, or that guesses, says what it holds of all of them, and is right.
#[tokio::test]
async fn whoever_claims_to_hold_a_feed_learns_nothing_of_it() {
    let cast = Cast::set().await;
    let rows: Vec<(i64, Vec<u8>, i64, Vec<u8>)> =
        sqlx::query_as("SELECT feed, epoch, head_seq, digest FROM feeds").fetch_all(&cast.node.pool).await.unwrap();
    let of_owners = cast.of_owners();
    let held = rows.iter().map(|(feed, epoch, head, digest)| FeedDigest {
        feed: FeedId(feed.cast_unsigned()),
        epoch: Epoch(epoch.as_slice().try_into().unwrap()),
        cursor: head.cast_unsigned(),
        digest: Digest::from_slice(digest).unwrap(),
    });
    let held: Vec<_> = held.filter(|held| of_owners.contains(&held.feed)).collect();
    for who in &cast.grantees {
        let expected = cast.expected(who);
        let mut rogue = Rogue::connect_to(cast.server.url(), &who.signed_up).await;
        rogue.say(&Frame::Hello(Hello { summary: [7; 16], cursors: None, ..rogue.hello() })).await;
        assert!(matches!(rogue.hear().await, Some(Frame::Welcome(Welcome { want: Want::Cursors, .. }))));
        rogue.say(&Frame::Cursors(Cursors(held.iter().map(|held| (held.feed, held.cursor)).collect()))).await;
        let welcome = rogue.hear().await;
        let Some(Frame::Welcome(Welcome { want: Want::Digests, merged, .. })) = welcome else {
            panic!("a {}: {welcome:?}", who.role)
        };
        assert_eq!(merged, []);
        rogue.say(&Frame::Digests(held.clone())).await;
        let mut removed = BTreeSet::new();
        loop {
            match rogue.hear().await.expect("the session goes on") {
                Frame::FeedRevoked(feed) => drop(removed.insert(feed)),
                Frame::Welcome(welcome) if !welcome.more => break,
                Frame::More(false) => break,
                Frame::Entries(pages) => {
                    let of_others = pages.iter().find(|page| of_owners.contains(&page.feed));
                    assert_eq!(of_others, None, "what is held is not sent, and what is not shared still less");
                }
                _ => {}
            }
        }
        let kept: BTreeSet<_> = of_owners.difference(&removed).copied().collect();
        assert_eq!(kept, expected.granted.keys().copied().collect(), "a {} keeps what it may read", who.role);
    }
}

#[tokio::test]
async fn what_a_feed_holds_is_compared_with_whom_the_judge_lets_read_it() {
    let cast = Cast::set().await;
    for who in &cast.grantees {
        let expected = cast.expected(who);
        let (mut rogue, _) = cast.live(who).await;
        for feed in cast.of_owners() {
            // Nobody is asked where their history parts who was not told that it does.
            rogue.say(&Frame::Repair(Repair::Locate { feeds: vec![(feed, vec![(1, Digest::default())])] })).await;
            let questions = vec![Question { range: Range::ALL, sum: Sum(7) }];
            rogue.say(&Frame::Repair(Repair::Compare { feed, questions })).await;
            let Some(Frame::Repair(Repair::Compared { feed: of, answers })) = rogue.hear().await else {
                panic!("a {} gets an answer", who.role)
            };
            // Documents of others come in order, where each page is judged and noted, or not at all.
            rogue.say(&Frame::Repair(Repair::Fetch { feed, documents: vec![DocId([1; 16])] })).await;
            let Some(Frame::Repair(Repair::Fetched(fetched))) = rogue.hear().await else {
                panic!("a {} gets an answer", who.role)
            };
            assert_eq!((fetched.documents, fetched.erasures), (Vec::new(), Vec::new()), "a {}", who.role);
            // What is wrong with somebody else's feed is for their own devices.
            for step in [Repair::Prove { feed }, Repair::BringBack { feed, entries: Vec::new() }] {
                rogue.say(&Frame::Repair(step)).await;
                assert_eq!(rogue.hear().await, Some(Frame::Repair(Repair::Wanted { feed, entries: Vec::new() })));
            }
            let may_read = expected.granted.contains_key(&feed);
            assert_eq!((of, answers.len()), (feed, usize::from(may_read)), "a {}", who.role);
        }
    }
}

/// Whoever may write says that somebody else wrote it, and that the server lost it.
#[tokio::test]
async fn nobody_but_a_person_brings_back_what_others_wrote() {
    let mut cast = Cast::set().await;
    for who in 0..cast.grantees.len() {
        let (feeds, _) = cast.pushes(who, EntryKind::Change);
        // What every device makes alike has no writer.
        let by_rule: Vec<_> = feeds.iter().map(|push| push.entries[0].doc_id.is_derived()).collect();
        let (mut rogue, _) = cast.live(&cast.grantees[who]).await;
        rogue.say(&Frame::Repair(Repair::Offer { batch: 1, feeds })).await;
        for (receipt, by_rule) in receipts(&mut rogue).await.iter().zip(by_rule) {
            let taken = matches!(receipt, Receipt::Accepted(_) | Receipt::Duplicate { .. });
            assert!(!taken || by_rule, "a {}: {}", cast.grantees[who].role, code(receipt));
        }
    }
}

#[tokio::test]
async fn the_token_of_somebody_else_is_not_taken() {
    let cast = Cast::set().await;
    for (who, other) in cast.grantees.iter().zip(cast.grantees.iter().cycle().skip(1)) {
        let (mut rogue, _) = cast.live(who).await;
        rogue.say(&Frame::Renew(Token(other.token().to_owned()))).await;
        let last = rogue.expect_goodbye("token_expired").await;
        assert_eq!(last.reason, Reason::TokenExpired);
    }
}

#[tokio::test]
async fn what_only_a_server_says_ends_the_session_of_a_device() {
    let cast = Cast::set().await;
    let feed = *cast.owners[0].feeds.keys().next().unwrap();
    let rows: BTreeSet<_> = samples(feed).iter().map(row).collect();
    assert_eq!(rows.len(), 7, "each row has a frame: {rows:?}");
    for who in &cast.grantees {
        for frame in samples(feed).into_iter().filter(|frame| row(frame) == Row::OfTheServer) {
            let (mut rogue, _) = cast.live(who).await;
            rogue.say(&frame).await;
            rogue.expect_goodbye("bad_frame").await;
        }
    }
}

/// One frame of each kind.
fn samples(feed: FeedId) -> Vec<Frame> {
    let page = FeedPage { feed, first_seq: 1, items: Vec::new(), merged_seq: 1 };
    let welcome = Welcome {
        installation: Installation([1; 8]),
        clock_ms: 1,
        actors: Vec::new(),
        merged: Vec::new(),
        want: Want::Nothing,
        more: false,
        minor: 0,
    };
    let granted = FeedGranted {
        feed,
        account: [1; 16],
        collection: "moods".to_owned(),
        scope: String::new(),
        epoch: Epoch([1; 8]),
        access: Access::Write,
        owner_name: String::new(),
    };
    let fetched = Fetched { feed, upto: None, projection_version: 1, documents: Vec::new(), erasures: Vec::new() };
    let goodbye = Goodbye { reason: Reason::Shutdown, message: "so long".to_owned(), retry_after_ms: 0 };
    vec![
        Frame::Hello(Hello::default()),
        Frame::Welcome(welcome),
        Frame::Cursors(Cursors::default()),
        Frame::Digests(Vec::new()),
        Frame::Push { batch: 1, feeds: Vec::new() },
        Frame::Receipts { batch: 1, receipts: Vec::new() },
        Frame::Entries(vec![page]),
        Frame::FeedGranted(granted),
        Frame::FeedRevoked(feed),
        Frame::Repair(Repair::Locate { feeds: Vec::new() }),
        Frame::Repair(Repair::Agreed { feed, seq: 1 }),
        Frame::Repair(Repair::Compare { feed, questions: Vec::new() }),
        Frame::Repair(Repair::Compared { feed, answers: Vec::new() }),
        Frame::Repair(Repair::Offer { batch: 1, feeds: Vec::new() }),
        Frame::Repair(Repair::Fetch { feed, documents: Vec::new() }),
        Frame::Repair(Repair::Fetched(fetched)),
        Frame::Repair(Repair::Prove { feed }),
        Frame::Repair(Repair::Wanted { feed, entries: Vec::new() }),
        Frame::Repair(Repair::BringBack { feed, entries: Vec::new() }),
        Frame::Credit { bytes: 1 },
        Frame::Renew(Token("token".to_owned())),
        Frame::Goodbye(goodbye),
        Frame::More(false),
    ]
}
