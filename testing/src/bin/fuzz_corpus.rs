//! Makes what the fuzz targets start from, out of what people log: `cargo run -p fitme-testing --bin fuzz_corpus -- FOLDER`.
//! `scripts/fuzz minimise` then keeps the fewest that reach as much.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use fitme_core::collection::Collection;
use fitme_core::entry::{Digest, Entry, random_salt};
use fitme_core::id::{ActorId, DocId, EntryId, Epoch, FeedId, Installation};
use fitme_core::policy::Access;
use fitme_core::record::{self, Author};
use fitme_core::wire::{
    self, Cursors, Emptied, EntryKind, FeedDigest, FeedGranted, FeedPage, FeedPush, Frame, Goodbye, Hello, Item,
    Reason, Receipt, Refusal, Token, Want, Welcome,
};
use fitme_testing::Device;
use fitme_testing::realistic::{Act, Diary, Sets};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;

/// Acts of the diary that changes and documents are made of.
const ACTS: usize = 120;
/// 2026-11-22 08:00 UTC.
const MORNING: i64 = 1_795_334_400_000;

fn main() {
    let folder = PathBuf::from(std::env::args().nth(1).expect("say into which folder"));
    let (changes, documents) = diary();
    save(&folder.join("change"), &changes);
    save(&folder.join("document"), &documents);
    save(&folder.join("frame"), &frames(&changes));
    let ride = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/ride.fit");
    save(&folder.join("fit"), &[fs::read(&ride).expect("the sample is there")]);
    save(&folder.join("archive"), &[archive(&ride)]);
}

fn save(folder: &Path, inputs: &[Vec<u8>]) {
    fs::create_dir_all(folder).expect("the folder can be made");
    for (number, input) in inputs.iter().enumerate() {
        fs::write(folder.join(format!("{number:03}")), input).expect("the folder can be written");
    }
    println!("{}: {} inputs", folder.display(), inputs.len());
}

/// Changes as they travel, and the documents that they end as.
fn diary() -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let mut rng = StdRng::seed_from_u64(1);
    let author = Author { actor: ActorId::random(&mut rng), time_ms: MORNING };
    let (mut changes, mut documents, mut open) = (Vec::new(), Vec::new(), None);
    for act in Diary::new(1, Sets::OneByOne).take(ACTS) {
        match act {
            Act::Log { collection, fields, .. } => {
                let collection = Collection::named(collection).expect("the diary has no others");
                let (doc, payload) = record::create(collection, &fields, &author, &mut rng).expect("a valid record");
                changes.push(payload);
                documents.extend(open.replace((collection, doc)).map(|(_, doc)| doc.save()));
            }
            Act::Set { patch, .. } => {
                let (collection, doc) = open.as_mut().expect("a workout is logged before its sets");
                let edit = record::edit(doc, *collection, &patch, &author, &mut rng).expect("a valid set");
                changes.extend(edit);
            }
        }
    }
    if let Some((_, mut doc)) = open {
        changes.extend(record::set_trashed(&mut doc, true, &author));
        documents.push(doc.save_nocompress());
    }
    changes.push(record::genesis(Collection::Profile));
    (changes, documents)
}

fn entry(payload: &[u8], rng: &mut StdRng) -> Entry {
    let salt = random_salt(rng);
    let doc_id = DocId::random(MORNING, rng);
    Entry { kind: EntryKind::Change.into(), doc_id, device_time: MORNING, salt, payload: payload.to_vec() }
}

fn frames(changes: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut rng = StdRng::seed_from_u64(2);
    let entries: Vec<_> = changes.iter().map(|payload| entry(payload, &mut rng)).collect();
    let (actor, id) = (ActorId::random(&mut rng), EntryId::random(&mut rng));
    let (installation, epoch) = (Installation::random(&mut rng), Epoch::random(&mut rng));
    let feed = FeedId(0x1234_5678_9abc);
    let cursors = Cursors(BTreeMap::from([(feed, 7), (FeedId(feed.0 + 9), 1_000)]));
    let hello = Hello { major: wire::MAJOR, minor: wire::MINOR, installation: Some(installation), ..Hello::default() };
    let refusal = || Refusal { code: wire::ERASED.to_owned(), message: wire::ERASED_SENTENCE.to_owned() };
    let emptied = Emptied { id, kind: EntryKind::Change.into(), doc_id: entries[0].doc_id };
    let page = |items| FeedPage { feed, first_seq: 8, items, merged_seq: 7 };
    let receipts = vec![
        Receipt::Accepted(8),
        Receipt::Duplicate { seq: 3, entry_id: id },
        Receipt::Rejected(refusal()),
        Receipt::Retry(refusal()),
    ];
    let frames = [
        Frame::Hello(Hello { actors: vec![(actor, Some(id)), (actor, None)], ..hello.clone() }),
        Frame::Hello(Hello { cursors: Some(cursors.clone()), max_bytes: 1 << 20, ..hello }),
        Frame::Welcome(Welcome {
            minor: wire::MINOR,
            installation,
            clock_ms: MORNING,
            actors: vec![(actor, id)],
            merged: vec![(feed, 6)],
            want: Want::Digests,
            more: true,
        }),
        Frame::Cursors(cursors),
        Frame::Digests(vec![FeedDigest { feed, epoch, cursor: 7, digest: Digest::default().plus(id) }]),
        Frame::Push { batch: 1, feeds: vec![FeedPush { feed, entries: entries[..2].to_vec() }] },
        Frame::Push { batch: 2, feeds: vec![FeedPush { feed, entries: entries[2..12].to_vec() }] },
        Frame::Receipts { batch: 1, receipts },
        Frame::Entries(vec![page(vec![Item::Own(id), Item::Emptied(emptied), Item::Full(entries[0].clone())])]),
        Frame::Entries(vec![page(entries[12..20].iter().cloned().map(Item::Full).collect())]),
        Frame::FeedGranted(FeedGranted {
            feed,
            account: [3; 16],
            collection: "workouts".to_owned(),
            scope: String::new(),
            epoch,
            access: Access::Read,
            owner_name: "Ann".to_owned(),
        }),
        Frame::FeedRevoked(feed),
        Frame::Credit { bytes: 1 << 20 },
        Frame::Renew(Token("a.b.c".to_owned())),
        Frame::Goodbye(Goodbye { reason: Reason::Unavailable, message: "come again".to_owned(), retry_after_ms: 500 }),
        Frame::More(true),
    ];
    frames.iter().map(|frame| wire::encode(frame).expect("a small frame")).collect()
}

/// What `fitme export` makes of a home with a record of each kind and an imported file.
fn archive(ride: &Path) -> Vec<u8> {
    let phone = Device::new("phone");
    phone.done(&["log", "profile", "--name", "Ann"]);
    phone.done(&["import", ride.to_str().expect("the path is text")]);
    phone.done(&["log", "meal", "--kind", "lunch", "--item", "Oats 80g 300kcal 10p 54c 6f"]);
    phone.done(&["log", "mood", "--valence", "1", "--tag", "sun"]);
    let patch = json!({ "name": "Ann-Marie" }).to_string();
    phone.done(&["edit", "profile", "--json", &patch]);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("account.zip");
    phone.done(&["export", file.to_str().expect("the path is text")]);
    fs::read(file).expect("it was just written")
}
