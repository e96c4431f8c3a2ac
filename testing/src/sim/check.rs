//! What must be true of a world at rest, invariant by invariant. Each sentence says what somebody would have lost.
//!
//! Compaction, bootstrap, rotation and repair have their places here when they come: I6 in [`server`], I11's servers in
//! [`homes`], I12 in [`server`].

use fitme_core::wire::Cursors;

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
    let (held, erased) = match device.held().and_then(|held| Ok((held, device.erased()?))) {
        Ok(found) => found,
        Err(error) => {
            let name = device.name.clone();
            return world.broken("I1", format!("the store of {name} cannot be read after a start: {error}"));
        }
    };
    // What somebody no longer shares was removed with what was written for them.
    let lost = device.promises.written.iter().find(|write| {
        let (owner, doc_id, _) = write;
        owner.is_none() && !held.contains(*write) && !erased.contains(&(*owner, *doc_id))
    });
    if let Some((_, doc_id, _)) = lost {
        let sentence = format!("{} lost a write of {doc_id} that had returned", device.name);
        world.broken("I1", sentence);
    }
}

/// An account as a device without any cursor would be told.
fn account_of(world: &World, account: uuid::Uuid) -> Option<fitme_core::session::Account> {
    world.database.load_account(account, &Cursors::default(), &[]).ok()
}
