//! What must be true of a world at rest, invariant by invariant. Each sentence says what somebody would have lost.
//!
//! Compaction and rotation have their places here when they come: I6 and I12 in [`server`].

use fitme_core::id::DocId;
use fitme_core::policy::AccountId;
use fitme_core::wire::Cursors;
use uuid::Uuid;

use super::words;
use super::world::World;

mod homes;
mod server;

/// All of them.
pub fn all(world: &mut World) {
    let mut broken = Vec::new();
    server::numbers_have_no_gap_and_digests_are_sums(world, &mut broken);
    server::nothing_was_accepted_that_nobody_permitted(world, &mut broken);
    server::what_was_acknowledged_is_there(world, &mut broken);
    server::documents_are_what_their_entries_make_of_them(world, &mut broken);
    server::a_reader_from_any_cursor_counts_what_the_head_says(world, &mut broken);
    server::erased_content_is_in_no_table(world, &mut broken);
    homes::every_write_has_a_fate(world, &mut broken);
    homes::every_word_has_a_fate(world, &mut broken);
    homes::nothing_waits_to_be_sent(world, &mut broken);
    homes::cursors_are_at_the_heads(world, &mut broken);
    homes::records_are_what_the_server_has(world, &mut broken);
    homes::nobody_holds_what_is_not_shared(world, &mut broken);
    homes::erased_content_is_in_no_file(world, &mut broken);
    homes::nothing_is_there_twice(world, &mut broken);
    for (invariant, sentence) in broken {
        world.broken(invariant, sentence);
    }
}

/// A sentence, after the name of its invariant.
type Broken = Vec<(&'static str, String)>;

/// I1: what a write promised by returning is in the tables of the home that has just started.
pub fn kept_writes(world: &mut World, home: usize) {
    let device = &world.homes[home];
    if device.promises.written.is_empty() {
        return;
    }
    let look = || Ok::<_, rusqlite::Error>((device.held()?, device.erased()?, device.words_kept()?));
    let (held, erased, words) = match look() {
        Ok(found) => found,
        Err(error) => {
            let name = device.name.clone();
            return world.broken("I1", format!("the store of {name} cannot be read after a start: {error}"));
        }
    };
    // What somebody no longer shares was removed with what was written for them, and came into the list of what was refused.
    let lost = device.promises.written.iter().find(|write| {
        let (owner, doc_id, _) = write;
        owner.is_none()
            && !held.contains(*write)
            && !erased.contains(&(*owner, *doc_id))
            && !device.writes_again(*owner, *doc_id)
    });
    let lost = lost.map(|(_, doc_id, _)| *doc_id).or_else(|| {
        let is_kept = |(word, (owner, doc_id)): &(&u64, &(Option<AccountId>, DocId))| {
            let account = owner.map_or(device.device.account, Uuid::from_bytes);
            words.contains_key(word)
                || erased.contains(&(*owner, *doc_id))
                || is_on_server(world, account, *doc_id, **word)
        };
        device.promises.words.iter().find(|word| !is_kept(word)).map(|(_, (_, doc_id))| *doc_id)
    });
    if let Some(doc_id) = lost {
        let sentence = format!("{} lost a write of {doc_id} that had returned", device.name);
        world.broken("I1", sentence);
    }
}

/// Whether the server has a word in its document, or has erased that.
pub fn is_on_server(world: &World, account: Uuid, doc_id: DocId, word: u64) -> bool {
    world.database.look(|tables| {
        let Some(document) = tables.documents.get(&(account, doc_id)) else { return false };
        let has_word = |payload: &[u8]| words::marks_in(payload).contains(&word);
        let mut entries = tables.entries.after(document.feed, 0).filter(|(_, row)| row.doc_id == doc_id);
        document.erased.is_some()
            || entries.any(|(_, row)| row.content.as_ref().is_some_and(|(_, payload)| has_word(payload)))
    })
}

/// An account as a device without any cursor would be told.
fn account_of(world: &World, account: Uuid) -> Option<fitme_core::session::Account> {
    world.database.load_account(account, &Cursors::default(), &[]).ok()
}
