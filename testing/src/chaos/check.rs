//! Whether everything is right in the end: what devices told is in PostgreSQL and on a fresh device, once, or was handed back
//! with a code; and all replicas of an account are equal.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use fitme_core::collection::Collection;
use fitme_core::id::DocId;
use fitme_core::store::{ListQuery, Listed, Store, Sync};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::device;
use super::journal::{self, Receipt, Told, Wrote};
use super::server_side::{self, Account};
use super::town::{Resident, Town};
use crate::Device;

/// Further findings of one kind say no more than the first ones.
const TOLD_OF_EACH: usize = 10;

/// Everything that is wrong, in sentences. Counts what there is on the way.
pub fn all(town: &mut Town) -> Vec<String> {
    let mut found = town.panics();
    found.extend(town.residents.iter().flat_map(|resident| resident.ended_by_themselves.iter().cloned()));
    let emails: BTreeSet<_> = town.residents.iter().map(|resident| resident.email.clone()).collect();
    for email in emails {
        found.extend(account(town, &email).into_iter().take(TOLD_OF_EACH));
    }
    found
}

fn account(town: &mut Town, email: &str) -> Vec<String> {
    let server = match server_side::account(&town.database, email) {
        Ok(server) => server,
        Err(error) => return vec![format!("PostgreSQL does not answer: {error}")],
    };
    let device = Device::new("fresh");
    device.log_in(&town.proxy.url(), email);
    device.done(&["sync"]);
    let fresh = Replica::of(&device);
    let mut found = server.faults();
    found.extend(fresh.differs_from_server(&server).map(|what| format!("a fresh device of {email} {what}")));
    town.figures.entries += server.entries.len();
    town.figures.replicas += 1;
    let sides = Sides::of(&server, fresh.changes());
    for resident in town.residents.iter().filter(|resident| resident.email == email) {
        let replica = Replica::of(&resident.device);
        found.extend(replica.differs_from(&fresh).map(|what| format!("{} {what}", resident.name)));
        let (writes, receipts) = told(resident);
        found.extend(
            sides.missing(&writes, &receipts, &replica.rejected).map(|what| format!("{} {what}", resident.name)),
        );
        town.figures.replicas += 1;
        town.figures.writes += writes.len();
        town.figures.receipts += receipts.len();
        town.figures.rejected.extend(replica.rejected.into_values());
    }
    found
}

/// What a device told, each thing once.
fn told(resident: &Resident) -> (Vec<Wrote>, BTreeSet<Receipt>) {
    let (mut writes, mut receipts) = (Vec::new(), BTreeSet::new());
    for told in journal::read(&resident.journal) {
        match told {
            Told::Wrote(wrote) => writes.push(wrote),
            Told::Receipt(receipt) => drop(receipts.insert(receipt)),
        }
    }
    (writes, receipts)
}

/// A device's store, when nobody works with it any more.
struct Replica {
    store: Store,
    heads: Vec<(DocId, Vec<u8>)>,
    lists: BTreeMap<(Collection, bool), Vec<Listed>>,
    /// Codes of what was handed back, by the entry's id in hex.
    rejected: BTreeMap<String, String>,
}

impl Replica {
    fn of(device: &Device) -> Self {
        let path = device.home().join("fitme.db");
        let store = Store::open(&path, "checker", &mut StdRng::seed_from_u64(0)).expect("the home opens");
        let heads = store.heads().expect("the store can be read");
        let mut lists = BTreeMap::new();
        for collection in Collection::ALL {
            for trashed in [false, true] {
                let query = ListQuery { collection, since: None, until: None, trashed, limit: usize::MAX >> 1 };
                lists.insert((collection, trashed), store.list(&query).expect("the store can be read"));
            }
        }
        let file = device::open(&path);
        let mut query = file
            .prepare("SELECT hex(entry_id), code FROM rejected WHERE entry_id IS NOT NULL")
            .expect("the store has what was rejected");
        let rejected = query
            .query_map([], |row| Ok((row.get::<_, String>(0)?.to_lowercase(), row.get(1)?)))
            .and_then(Iterator::collect::<Result<_, _>>)
            .expect("the store can be read");
        Self { store, heads, lists, rejected }
    }

    /// Where it is not what another one of the account is (I7).
    fn differs_from<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = String> + 'a {
        let heads = (self.heads != other.heads).then(|| "has other heads than a fresh device".to_owned());
        let lists = self.lists.iter().filter(|(key, list)| !lists_equally(list, &other.lists[key]));
        let lists = lists.map(|((collection, _), _)| format!("lists other {collection} than a fresh device"));
        let unsent = self.lists.values().flatten().filter(|listed| listed.sync == Sync::Pending);
        heads.into_iter().chain(lists).chain(unsent.map(|listed| format!("says that {} is not sent", listed.doc_id)))
    }

    /// Where it is not what the server merged (I12).
    fn differs_from_server<'a>(&'a self, server: &'a Account) -> impl Iterator<Item = String> + 'a {
        let heads = (self.heads != server.heads).then(|| "has other heads than the server".to_owned());
        let records = server.records.iter().filter_map(|(doc_id, record)| {
            let shown = self.store.show(*doc_id).expect("the document can be read");
            let is_equal = shown.is_some_and(|shown| shown.record == *record);
            (!is_equal).then(|| format!("shows {doc_id} otherwise than the server"))
        });
        heads.into_iter().chain(records)
    }

    /// The changes in its documents, by document and hash in hex, with how often each is there.
    fn changes(&self) -> HashMap<(String, String), usize> {
        let mut changes = HashMap::new();
        for (doc_id, _) in &self.heads {
            for change in self.store.history(*doc_id).expect("the document can be read") {
                *changes.entry((doc_id.to_string(), change.hash.to_string())).or_default() += 1;
            }
        }
        changes
    }
}

fn lists_equally(list: &[Listed], other: &[Listed]) -> bool {
    // Not as text: columns that came from the server have their keys in another order.
    let shown = |listed: &Listed| (listed.doc_id, listed.at, listed.columns.clone());
    list.len() == other.len() && list.iter().zip(other).all(|(one, other)| shown(one) == shown(other))
}

/// Where what was told must be.
struct Sides<'a> {
    server: &'a Account,
    /// How often each entry is on the server.
    entries: HashMap<String, usize>,
    /// How often each change is.
    changes: HashMap<(String, String), usize>,
    on_fresh: HashMap<(String, String), usize>,
}

impl<'a> Sides<'a> {
    fn of(server: &'a Account, on_fresh: HashMap<(String, String), usize>) -> Self {
        let (mut entries, mut changes) = (HashMap::new(), HashMap::new());
        for stored in server.entries.values() {
            *entries.entry(stored.id.to_string()).or_default() += 1;
            if let Some(change) = &stored.change {
                *changes.entry((stored.doc.clone(), change.clone())).or_default() += 1;
            }
        }
        Self { server, entries, changes, on_fresh }
    }

    fn missing(
        &self,
        writes: &[Wrote],
        receipts: &BTreeSet<Receipt>,
        rejected: &BTreeMap<String, String>,
    ) -> impl Iterator<Item = String> {
        let erased: BTreeSet<_> =
            writes.iter().filter(|wrote| wrote.change.is_none()).map(|wrote| &wrote.doc).collect();
        let lost = writes.iter().filter_map(|wrote| self.lost(wrote, erased.contains(&wrote.doc), rejected));
        let untrue = receipts.iter().filter(|receipt| !self.holds(receipt));
        let untrue = untrue.map(|receipt| format!("was told {receipt:?}, which is not so"));
        lost.chain(untrue).collect::<Vec<_>>().into_iter()
    }

    fn lost(&self, wrote: &Wrote, erased_here: bool, rejected: &BTreeMap<String, String>) -> Option<String> {
        let named = wrote.change.as_ref().map(|change| (wrote.doc.clone(), change.clone()));
        // The server may know the change under the id of the entry that came first.
        let by_change = || named.as_ref().and_then(|change| self.changes.get(change));
        let times = self.entries.get(&wrote.entry).or_else(by_change).copied().unwrap_or(0);
        let is_erased = self.server.erased.contains(&wrote.doc);
        let Wrote { doc, entry, .. } = wrote;
        match times {
            0 if rejected.get(entry).is_some_and(|code| !code.is_empty()) => None,
            // Who erases a record wants nothing of it sent; of two erasures one is enough.
            0 if is_erased && erased_here => None,
            0 => Some(format!("wrote {entry} of {doc}, which is neither on the server nor rejected")),
            1 if is_erased => None,
            1 => named
                .filter(|change| self.on_fresh.get(change) != Some(&1))
                .map(|_| format!("wrote {entry} of {doc}, which is on the server and not once on a fresh device")),
            _ => Some(format!("wrote {entry} of {doc}, which is on the server {times} times")),
        }
    }

    fn holds(&self, receipt: &Receipt) -> bool {
        let stored = self.server.entries.get(&(receipt.feed, receipt.seq));
        stored.is_some_and(|stored| stored.id.to_string() == receipt.entry)
    }
}

/// The checker finds what it is there for.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::server_side::Stored;
    use crate::entries;
    use fitme_core::entry::Digest;

    /// An account with one mood, and what the device told of it.
    fn one_mood() -> (Account, HashMap<(String, String), usize>, Wrote, Receipt) {
        let entry = entries::mood(1, 2);
        let (id, doc, change) = (entry.id(), entry.doc_id.to_string(), "c0ffee".to_owned());
        let digest = Digest::default().plus(id).to_bytes().to_vec();
        let stored =
            Stored { id, doc: doc.clone(), change: Some(change.clone()), content: Some(entry), digest: digest.clone() };
        let mut server = Account::default();
        server.feeds.insert(7, (1, digest));
        server.entries.insert((7, 1), stored);
        let on_fresh = HashMap::from([((doc.clone(), change.clone()), 1)]);
        let wrote = Wrote { doc, entry: id.to_string(), change: Some(change) };
        (server, on_fresh, wrote, Receipt { feed: 7, seq: 1, entry: id.to_string() })
    }

    fn missing(
        server: &Account,
        on_fresh: HashMap<(String, String), usize>,
        wrote: &Wrote,
        receipt: &Receipt,
        rejected: &BTreeMap<String, String>,
    ) -> usize {
        let sides = Sides::of(server, on_fresh);
        sides.missing(std::slice::from_ref(wrote), &BTreeSet::from([receipt.clone()]), rejected).count()
    }

    #[test]
    fn what_is_on_all_sides_once_is_as_it_must_be() {
        let (server, on_fresh, wrote, receipt) = one_mood();
        assert_eq!(server.faults(), [""; 0]);
        assert_eq!(missing(&server, on_fresh, &wrote, &receipt, &BTreeMap::new()), 0);
    }

    #[test]
    fn a_write_that_the_server_lost_is_found_unless_it_was_handed_back() {
        let (mut server, on_fresh, wrote, receipt) = one_mood();
        let lost = server.entries.remove(&(7, 1)).expect("it is there");
        assert_eq!(server.faults().len(), 1, "the head is beyond the last entry");
        let both = "the write and the receipt";
        assert_eq!(missing(&server, on_fresh.clone(), &wrote, &receipt, &BTreeMap::new()), 2, "{both}");
        let rejected = BTreeMap::from([(lost.id.to_string(), "document_full".to_owned())]);
        assert_eq!(missing(&server, on_fresh, &wrote, &receipt, &rejected), 1, "the receipt");
    }

    #[test]
    fn a_write_that_a_fresh_device_lacks_or_has_twice_is_found() {
        let (server, on_fresh, wrote, receipt) = one_mood();
        assert_eq!(missing(&server, HashMap::new(), &wrote, &receipt, &BTreeMap::new()), 1);
        let twice = on_fresh.into_keys().map(|change| (change, 2)).collect();
        assert_eq!(missing(&server, twice, &wrote, &receipt, &BTreeMap::new()), 1);
    }

    #[test]
    fn a_change_that_is_stored_twice_is_found() {
        let (mut server, on_fresh, wrote, receipt) = one_mood();
        let (again, _, _, _) = one_mood();
        server.entries.extend(again.entries.into_values().map(|stored| ((8, 1), stored)));
        assert_eq!(missing(&server, on_fresh, &wrote, &receipt, &BTreeMap::new()), 1);
    }

    #[test]
    fn content_that_changed_by_itself_is_found() {
        let (mut server, ..) = one_mood();
        let stored = server.entries.get_mut(&(7, 1)).expect("it is there");
        stored.content.as_mut().expect("it has content").payload[20] ^= 1;
        assert_eq!(server.faults().len(), 1);
    }
}
