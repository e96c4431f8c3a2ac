//! Entries inside `Push` and `Entries`: a document id equal to the one before is left out and times are differences,
//! because both are random enough that compression cannot find them.

use super::*;

pub(super) fn push_to_proto(push: &FeedPush) -> proto::FeedEntries {
    let mut before = Before::default();
    proto::FeedEntries {
        feed: push.feed.0,
        entries: push.entries.iter().map(|entry| before.encode(entry)).collect(),
        ..proto::FeedEntries::default()
    }
}

pub(super) fn push_from_proto(feeds: Vec<proto::FeedEntries>) -> Result<Vec<FeedPush>, WireError> {
    at_most("entries", feeds.iter().map(|feed| feed.entries.len()).sum(), limits::PUSH_ENTRIES)?;
    feeds
        .into_iter()
        .map(|entries| {
            let mut before = Before::default();
            Ok(FeedPush {
                feed: feed(entries.feed)?,
                entries: entries.entries.into_iter().map(|entry| before.decode(entry)).collect::<Result<_, _>>()?,
            })
        })
        .collect()
}

pub(super) fn page_to_proto(page: &FeedPage) -> proto::FeedEntries {
    let mut before = Before::default();
    proto::FeedEntries {
        feed: page.feed.0,
        first_seq: page.first_seq,
        merged_seq: page.merged_seq,
        entries: page
            .items
            .iter()
            .map(|item| match item {
                Item::Full(entry) => before.encode(entry),
                Item::Own(id) => proto::Entry { own_id: id.0.to_vec().into(), ..proto::Entry::default() },
                Item::Emptied(emptied) => emptied_to_proto(emptied),
            })
            .collect(),
    }
}

pub(super) fn page_from_proto(page: proto::FeedEntries) -> Result<FeedPage, WireError> {
    if page.first_seq == 0 && !page.entries.is_empty() {
        return Err(WireError::Field { field: "first_seq", expected: "above 0" });
    }
    let mut before = Before::default();
    let item = |entry: proto::Entry| match (entry.own_id.is_empty(), entry.emptied_id.is_empty()) {
        (true, true) => before.decode(entry).map(Item::Full),
        (true, false) => emptied_from_proto(&entry).map(Item::Emptied),
        (false, _) => Ok(Item::Own(EntryId(fixed("own_id", &entry.own_id)?))),
    };
    Ok(FeedPage {
        feed: feed(page.feed)?,
        first_seq: page.first_seq,
        merged_seq: page.merged_seq,
        items: page.entries.into_iter().map(item).collect::<Result<_, _>>()?,
    })
}

/// An entry of which nothing is left out.
pub(super) fn whole_to_proto(entry: &Entry) -> proto::Entry {
    Before::default().encode(entry)
}

pub(super) fn whole_from_proto(entry: proto::Entry) -> Result<Entry, WireError> {
    Before::default().decode(entry)
}

fn emptied_to_proto(emptied: &Emptied) -> proto::Entry {
    proto::Entry {
        kind: emptied.kind,
        doc_id: emptied.doc_id.0.to_vec().into(),
        emptied_id: emptied.id.0.to_vec().into(),
        ..proto::Entry::default()
    }
}

fn emptied_from_proto(entry: &proto::Entry) -> Result<Emptied, WireError> {
    Ok(Emptied {
        id: EntryId(fixed("emptied_id", &entry.emptied_id)?),
        kind: entry.kind,
        doc_id: doc_id(&entry.doc_id, None)?,
    })
}

/// The full entry before this one in the frame.
#[derive(Default)]
struct Before {
    doc_id: Option<DocId>,
    device_time: i64,
}

impl Before {
    fn encode(&mut self, entry: &Entry) -> proto::Entry {
        let same_document = self.doc_id == Some(entry.doc_id);
        let encoded = proto::Entry {
            kind: entry.kind,
            doc_id: if same_document { Vec::new() } else { entry.doc_id.0.to_vec() }.into(),
            device_time: entry.device_time.wrapping_sub(self.device_time),
            salt: if entry.salt == [0; 8] { Vec::new() } else { entry.salt.to_vec() }.into(),
            payload: entry.payload.clone().into(),
            ..proto::Entry::default()
        };
        *self = Self { doc_id: Some(entry.doc_id), device_time: entry.device_time };
        encoded
    }

    fn decode(&mut self, entry: proto::Entry) -> Result<Entry, WireError> {
        if entry.payload.len() > limits::ENTRY_BYTES {
            return Err(WireError::TooLarge { bytes: entry.payload.len(), limit: limits::ENTRY_BYTES });
        }
        let decoded = Entry {
            kind: entry.kind,
            doc_id: doc_id(&entry.doc_id, self.doc_id)?,
            device_time: self.device_time.wrapping_add(entry.device_time),
            salt: salt(&entry.salt)?,
            payload: entry.payload.into(),
        };
        *self = Self { doc_id: Some(decoded.doc_id), device_time: decoded.device_time };
        Ok(decoded)
    }
}
