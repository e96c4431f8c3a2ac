//! `fitme invite`, `accept`, `grants`, `revoke` and `clients`: who may see what. Giving and ending a grant is a write like
//! any other, so both work offline and take effect with the next sync; invitations need the server.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal, Write};

use fitme_core::collection::Collection;
use fitme_core::id::DocId;
use fitme_core::policy::{Access, Purpose, Role, Service};
use fitme_core::store::{Command, ListQuery, Other, Store};
use serde_json::{Value, json};
use uuid::Uuid;

use super::describe::{list, text};
use super::out::{self, FAINT, GOOD, Out, PLAIN, WAITING};
use super::{Refusal, pick, runtime, when};
use crate::clock::now_ms;
use crate::consent::{self, Asked, Request, Terms};
use crate::error::ServerError;
use crate::sync;

const MS_PER_DAY: i64 = 86_400_000;
/// How a service sees somebody whose profile has no name.
const NAMELESS: &str = "somebody";
/// Characters of an account's id that stand for who has no name.
const GRANTEE_SHOWN: usize = 8;
/// What the mark behind a feed's name means.
pub(super) const PLUS: &str = "+ also to write";

/// What to ask others for.
#[derive(Debug, clap::Args)]
pub struct Invitation {
    /// How the person who is invited knows you
    #[arg(long)]
    name: String,
    /// training, nutrition, mental_health or care
    #[arg(long, value_name = "PURPOSE", default_value = "training", value_parser = purpose)]
    r#for: Purpose,
    /// What to see, such as meals, workouts:write or insights/training [default: what is usual for the purpose]
    #[arg(long, value_name = "FEED", value_parser = asked)]
    ask: Vec<Asked>,
    /// For how many days [default: until it is revoked]
    #[arg(long, value_name = "N")]
    days: Option<i32>,
}

/// How to answer an invitation.
#[derive(Debug, clap::Args)]
pub struct Acceptance {
    /// The code of the invitation
    code: String,
    /// The name under which you are seen [default: that of your profile]
    #[arg(long = "as", value_name = "NAME")]
    shown_as: Option<String>,
    /// Share what is asked for without being asked again
    #[arg(long)]
    yes: bool,
}

/// Why there is no consent.
#[derive(Debug, thiserror::Error)]
pub enum ConsentError {
    /// Nobody to ask.
    #[error("nothing was shared: read what is asked for above, and say --yes to share it")]
    NotAsked,
    /// The person said no.
    #[error("nothing was shared")]
    Declined,
    /// No name to be seen under.
    #[error("your profile has no name: say with --as NAME how you want to be seen")]
    NoName,
    /// No such grant.
    #[error("you share nothing with \"{0}\": `fitme grants` lists what you share, and with whom")]
    NoGrant(String),
    /// Several accounts of that name.
    #[error("{0} accounts are called \"{1}\": revoke by the grant's id that `fitme grants` lists")]
    SeveralGrantees(usize, String),
    /// No such client.
    #[error("nobody called \"{0}\" shares anything with you: `fitme clients` lists who does")]
    NoClient(String),
    /// Somebody, but not this.
    #[error("{name} shares no {collection} with you: `fitme clients` lists what is shared")]
    NotShared {
        /// Who.
        name: String,
        /// Of what.
        collection: Collection,
    },
    /// Several.
    #[error("{0} people are called \"{1}\": write the start of the account's id that `fitme clients` lists")]
    SeveralClients(usize, String),
}

fn purpose(name: &str) -> Result<Purpose, String> {
    Purpose::named(name).ok_or_else(|| {
        let names: Vec<_> = Purpose::ALL.iter().map(|purpose| purpose.name()).collect();
        format!("the purposes are {}", names.join(", "))
    })
}

fn asked(feed: &str) -> Result<Asked, String> {
    let (feed, access) = feed.split_once(':').unwrap_or((feed, "read"));
    let access = Access::named(access).ok_or("write FEED, FEED:read or FEED:write")?;
    let known: Vec<_> =
        Collection::feeds_of_an_account().map(|(collection, scope)| name_of(collection.name(), scope)).collect();
    if known.iter().any(|known| known == feed) {
        Ok(Asked::new(feed, access))
    } else {
        Err(format!("the feeds are {}", known.join(", ")))
    }
}

fn name_of(collection: &str, scope: &str) -> String {
    if scope.is_empty() { collection.to_owned() } else { format!("{collection}/{scope}") }
}

/// Makes an invitation and prints its code.
///
/// # Errors
/// [`Refusal`] where the server cannot be reached or refuses.
pub fn invite(invitation: Invitation, store: &mut Store, out: &mut Out) -> Result<(), Refusal> {
    let Invitation { name, r#for: purpose, ask, days } = invitation;
    let feeds = if ask.is_empty() { consent::usually_asked(purpose) } else { ask };
    let request = Request { name, purpose: purpose.name().to_owned(), feeds, days };
    let invited = runtime()?.block_on(consent::invite(store, &request))?;
    out.say(PLAIN, format!("invitation {}", out.paint(GOOD, &invited.code)))?;
    let until = when::show(invited.expires_at_ms, None);
    out.say(PLAIN, format!("asks to see {}", wanted(&request.feeds)))?;
    say_plus(&request.feeds, out)?;
    out.say(PLAIN, format!("one person can take it until {}:", until.trim()))?;
    writeln!(out, "  fitme accept {}", invited.code)?;
    Ok(())
}

/// Explains the mark where a feed has it.
fn say_plus(feeds: &[Asked], out: &mut Out) -> io::Result<()> {
    if feeds.iter().any(writes) { out.say(FAINT, PLUS) } else { Ok(()) }
}

fn writes(feed: &Asked) -> bool {
    feed.access == Access::Write.name()
}

fn wanted(feeds: &[Asked]) -> String {
    let feeds = feeds.iter().map(|asked| {
        let name = name_of(&asked.collection, &asked.scope);
        if writes(asked) { format!("{name}\u{a0}+") } else { name }
    });
    feeds.collect::<Vec<_>>().join(", ")
}

/// Shows what an invitation asks for and, if the person wants it, shares it.
///
/// # Errors
/// [`Refusal`] where the server refuses, or the person does.
pub fn accept(acceptance: &Acceptance, store: &mut Store, out: &mut Out) -> Result<(), Refusal> {
    let runtime = runtime()?;
    let terms = runtime.block_on(consent::look(store, &acceptance.code))?;
    let shown_as = acceptance.shown_as.clone().or(own_name(store)?).ok_or(ConsentError::NoName)?;
    print_terms(&terms, &shown_as, out)?;
    out.flush()?;
    if !acceptance.yes && ask_person("Share this?")? == Said::No {
        return Err(ConsentError::Declined.into());
    }
    let terms = runtime.block_on(consent::accept(store, &acceptance.code))?;
    let fields = grant(&terms, &shown_as, now_ms());
    if let Some(same) =
        given(store)?.into_iter().find(|given| given.state == State::Valid && same(&given.record, &fields))
    {
        out.say(PLAIN, format!("that is shared already: {}", pick::short(same.doc_id)))?;
        return Ok(());
    }
    let grant = write(store, fields)?;
    out.say(PLAIN, format!("{} with {}", out.paint(GOOD, "shared"), terms.grantee_name))?;
    out.say(PLAIN, format!("end it at any time with `fitme revoke {}`", pick::short(grant)))?;
    // What was consented to is wanted now. Without a network it waits like any other write.
    match runtime.block_on(sync::until_synced(store)) {
        Ok(_) => {}
        Err(error @ ServerError::Unreachable { .. }) => out.say(WAITING, error.to_string())?,
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

fn own_name(store: &Store) -> Result<Option<String>, Refusal> {
    let profile = store.show(store.profile_id()?)?;
    Ok(profile.and_then(|profile| text(&profile.record, "name").map(str::to_owned)))
}

fn print_terms(terms: &Terms, shown_as: &str, out: &mut Out) -> io::Result<()> {
    let Terms { grantee_name, grantee_email, role, purpose, days, .. } = terms;
    out.say(PLAIN, format!("{grantee_name} ({grantee_email}), {role}, asks for"))?;
    for asked in &terms.feeds {
        let name = name_of(&asked.collection, &asked.scope);
        let how = if writes(asked) { "to see, to add to and to change" } else { "to see" };
        writeln!(out, "  {name:<20} {}", out.paint(FAINT, how))?;
    }
    let long = days.map_or_else(|| "until you end it".to_owned(), |days| format!("for {days} days"));
    out.say(PLAIN, format!("for {}, {long}, and will see you as “{shown_as}”", purpose.replace('_', " ")))
}

/// What a person said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// Yes, in so many letters.
    Yes,
    /// Anything else.
    No,
}

/// Asks the person at the terminal.
///
/// # Errors
/// Where there is no terminal.
pub fn ask_person(question: &str) -> Result<Said, Refusal> {
    if !io::stdin().is_terminal() {
        return Err(ConsentError::NotAsked.into());
    }
    write!(io::stderr(), "{question} [y/N] ")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(if matches!(answer.trim(), "y" | "Y" | "yes") { Said::Yes } else { Said::No })
}

/// Shows what a service asks for.
///
/// # Errors
/// When it cannot be written.
pub fn print_service(service: &Service, out: &mut Out) -> io::Result<()> {
    let feeds = service_feeds(service, false);
    out.say(PLAIN, format!("the service {} asks to see {}", service.name, wanted(&feeds)))?;
    say_plus(&feeds, out)
}

/// Lets a service see what it asks for, and nothing else: what it was let see before ends.
///
/// # Errors
/// [`Refusal`] as the store gives it.
pub fn allow(service: &Service, with_moods: bool, store: &mut Store, out: &mut Out) -> Result<(), Refusal> {
    let (account, purpose) = (Uuid::from_bytes(service.account), service.purpose.name());
    let shown_as = own_name(store)?.unwrap_or_else(|| NAMELESS.to_owned());
    let feeds = service_feeds(service, with_moods);
    let fields = json!({
        "at": now_ms(), "kind": "grant", "grantee": account, "grantee_name": service.name,
        "grantee_role": Role::Service.name(), "shown_as": shown_as, "purpose": purpose, "feeds": feeds,
    });
    let before = given(store)?.into_iter().filter(|given| {
        given.state == State::Valid && text(&given.record, "grantee") == Some(account.to_string().as_str())
    });
    let before: Vec<_> = before.collect();
    if let Some(known) = before.iter().find(|given| same(&given.record, &fields)) {
        out.say(PLAIN, format!("that is shared already: {}", pick::short(known.doc_id)))?;
        return Ok(());
    }
    before.iter().try_for_each(|given| write(store, revocation(given.doc_id)).map(drop))?;
    write(store, fields)?;
    out.say(PLAIN, format!("{} {} with {}", out.paint(GOOD, "shared"), wanted(&feeds), service.name))?;
    Ok(say_plus(&feeds, out)?)
}

fn service_feeds(service: &Service, with_moods: bool) -> Vec<Asked> {
    let feeds = service.feeds(with_moods);
    feeds.map(|(collection, scope, access)| Asked::new(&name_of(collection.name(), scope), access)).collect()
}

/// Writes a document of the account's `grants` feed.
fn write(store: &mut Store, fields: Value) -> Result<DocId, Refusal> {
    let command = Command::Create { collection: Collection::Grants.name().to_owned(), fields };
    Ok(store.write(&command, now_ms(), &mut rand::rng())?.doc_id)
}

fn revocation(grant: DocId) -> Value {
    json!({ "at": now_ms(), "kind": "revocation", "revokes": grant.to_string() })
}

fn grant(terms: &Terms, shown_as: &str, now_ms: i64) -> Value {
    let mut fields = json!({
        "at": now_ms, "kind": "grant", "grantee": terms.grantee, "grantee_name": terms.grantee_name,
        "grantee_role": terms.role, "shown_as": shown_as, "purpose": terms.purpose, "feeds": terms.feeds,
    });
    if let Some(days) = terms.days {
        fields["until"] = json!(now_ms + i64::from(days) * MS_PER_DAY);
    }
    fields
}

/// Whether both let the same account see the same for the same purpose.
fn same(known: &Value, new: &Value) -> bool {
    let feeds = |record: &Value| {
        let mut feeds: Vec<_> = list(record, "feeds").iter().map(feed_text).collect();
        feeds.sort();
        feeds
    };
    let says = |key: &str| text(known, key) == text(new, key);
    says("grantee") && says("purpose") && feeds(known) == feeds(new)
}

/// What became of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Valid,
    Over,
    Revoked,
}

/// A grant of this home.
struct Given {
    doc_id: DocId,
    record: Value,
    state: State,
}

fn given(store: &Store) -> Result<Vec<Given>, Refusal> {
    let query =
        ListQuery { collection: Collection::Grants, since: None, until: None, trashed: false, limit: usize::MAX >> 1 };
    let mut grants = Vec::new();
    let mut revoked = Vec::new();
    for listed in store.list(&query)? {
        let Some(shown) = store.show(listed.doc_id)? else { continue };
        match text(&shown.record, "revokes") {
            Some(grant) => revoked.push(grant.to_owned()),
            None => grants.push((listed.doc_id, shown.record)),
        }
    }
    let now = now_ms();
    let state = |doc_id: DocId, record: &Value| match record["until"].as_i64() {
        _ if revoked.contains(&doc_id.to_string()) => State::Revoked,
        Some(until) if until <= now => State::Over,
        _ => State::Valid,
    };
    let given = grants.into_iter().map(|(doc_id, record)| Given { doc_id, state: state(doc_id, &record), record });
    Ok(given.collect())
}

/// Lists what this account shares, with whom, until when.
///
/// # Errors
/// [`Refusal`] as the store gives it.
pub fn grants(all: bool, store: &Store, out: &mut Out) -> Result<(), Refusal> {
    let given = given(store)?;
    let shown: Vec<_> = given.iter().filter(|given| all || given.state == State::Valid).collect();
    if shown.is_empty() {
        out.say(PLAIN, "nothing is shared with anybody")?;
        return Ok(());
    }
    let mut table = out.table(&["id", "with", "sees", "for", "until"]);
    let marked = shown.iter().any(|given| list(&given.record, "feeds").iter().any(is_marked));
    for Given { doc_id, record, state } in shown {
        let until = match (state, record["until"].as_i64()) {
            (State::Revoked, _) => "revoked".to_owned(),
            (State::Over, Some(until)) => format!("{}, over", when::show(until, None)),
            (_, Some(until)) => when::show(until, None),
            (_, None) => "you end it".to_owned(),
        };
        let with = format!("{}, {}", grantee(record), text(record, "grantee_role").unwrap_or("?"));
        let feeds: Vec<_> = list(record, "feeds").iter().map(feed_text).collect();
        let purpose = text(record, "purpose").unwrap_or_default().replace('_', " ");
        table.add_row([
            out::faint(pick::short(*doc_id)),
            with.into(),
            feeds.join(", ").into(),
            purpose.into(),
            until.into(),
        ]);
    }
    out.print(&mut table)?;
    if marked {
        out.say(FAINT, PLUS)?;
    }
    Ok(())
}

/// Who may see something, by name. A grant that was written by the web may have none; then by the end of the account's id.
pub(super) fn grantee(record: &Value) -> &str {
    let id = text(record, "grantee").unwrap_or("?");
    text(record, "grantee_name").unwrap_or_else(|| &id[id.len().saturating_sub(GRANTEE_SHOWN)..])
}

fn feed_text(feed: &Value) -> String {
    let name = name_of(text(feed, "collection").unwrap_or_default(), text(feed, "scope").unwrap_or_default());
    if is_marked(feed) { format!("{name}\u{a0}+") } else { name }
}

fn is_marked(feed: &Value) -> bool {
    text(feed, "access") == Some(Access::Write.name())
}

/// Ends a grant, or all valid ones of one person.
///
/// # Errors
/// [`Refusal`] where none is meant.
pub fn revoke(whom: &str, store: &mut Store, out: &mut Out) -> Result<(), Refusal> {
    // Also those that are over by this device's clock: the server's may differ.
    let valid = given(store)?.into_iter().filter(|given| given.state != State::Revoked);
    let named = |given: &Given| {
        text(&given.record, "grantee_name").is_some_and(|name| name.eq_ignore_ascii_case(whom))
            || pick::short(given.doc_id) == whom
            || given.doc_id.to_string() == whom
    };
    let meant: Vec<_> = valid.filter(named).collect();
    let grantees: BTreeSet<_> = meant.iter().filter_map(|given| text(&given.record, "grantee")).collect();
    match grantees.len() {
        0 => return Err(ConsentError::NoGrant(whom.to_owned()).into()),
        1 => {}
        several => return Err(ConsentError::SeveralGrantees(several, whom.to_owned()).into()),
    }
    for Given { doc_id, record, .. } in meant {
        write(store, revocation(doc_id))?;
        out.say(PLAIN, format!("{}: what {} saw", out.paint(GOOD, "ended"), grantee(&record)))?;
    }
    out.say(FAINT, "it takes effect everywhere with the next `fitme sync`")?;
    Ok(())
}

/// Lists who shares something with this account.
///
/// # Errors
/// [`Refusal`] as the store gives it.
pub fn clients(store: &Store, out: &mut Out) -> Result<(), Refusal> {
    let others = store.others()?;
    if others.is_empty() {
        out.say(PLAIN, "nobody shares anything with you: `fitme invite` asks somebody")?;
        return Ok(());
    }
    let mut table = out.table(&["id", "name", "you see", "you may write"]);
    for other in &others {
        let named = |wanted: &dyn Fn(Access) -> bool| {
            let feeds = other.feeds.iter().filter(|(_, access)| wanted(**access));
            feeds.map(|((collection, scope), _)| name_of(collection, scope)).collect::<Vec<_>>().join(", ")
        };
        let (sees, writes) = (named(&|_| true), named(&|access| access == Access::Write));
        table.add_row([out::faint(short(other)), other.name.clone().into(), sees.into(), writes.into()]);
    }
    Ok(out.print(&mut table)?)
}

/// The same, who must share records of this collection.
///
/// # Errors
/// [`Refusal`] where they do not.
pub fn client_with(store: &Store, whom: &str, collection: Collection) -> Result<Other, Refusal> {
    let other = client(store, whom)?;
    if other.feeds.keys().any(|(shared, _)| shared == collection.name()) {
        return Ok(other);
    }
    Err(ConsentError::NotShared { name: other.name, collection }.into())
}

/// Everybody who was ever let write records of this collection, by the names in the grants.
///
/// # Errors
/// [`Refusal`] as the store gives it.
pub fn writers(store: &Store, collection: Collection) -> Result<BTreeSet<String>, Refusal> {
    let writes = |feed: &Value| {
        text(feed, "collection") == Some(collection.name()) && text(feed, "access") == Some(Access::Write.name())
    };
    let given = given(store)?.into_iter().filter(|given| list(&given.record, "feeds").iter().any(writes));
    Ok(given.filter_map(|given| text(&given.record, "grantee_name").map(str::to_owned)).collect())
}

/// Whom each grant of this home lets see something, by the grant's id.
///
/// # Errors
/// [`Refusal`] as the store gives it.
pub fn grantees(store: &Store) -> Result<BTreeMap<String, String>, Refusal> {
    let named = |given: Given| (given.doc_id.to_string(), grantee(&given.record).to_owned());
    Ok(given(store)?.into_iter().map(named).collect())
}

fn short(other: &Other) -> String {
    Uuid::from_bytes(other.account).to_string()[..13].to_owned()
}

/// The person whom `whom` names, by name or by the start of the account's id.
///
/// # Errors
/// [`Refusal`] unless it is exactly one.
pub fn client(store: &Store, whom: &str) -> Result<Other, Refusal> {
    let is_meant = |other: &Other| {
        other.name.eq_ignore_ascii_case(whom)
            || (whom.len() >= 4 && Uuid::from_bytes(other.account).to_string().starts_with(&whom.to_lowercase()))
    };
    let mut meant: Vec<_> = store.others()?.into_iter().filter(is_meant).collect();
    match (meant.pop(), meant.len()) {
        (Some(other), 0) => Ok(other),
        (None, _) => Err(ConsentError::NoClient(whom.to_owned()).into()),
        (Some(_), more) => Err(ConsentError::SeveralClients(more + 1, whom.to_owned()).into()),
    }
}
