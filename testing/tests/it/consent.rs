//! Tom, a trainer, sees what Ann shares with him, on his own device and as it happens, and nothing any more once she
//! ended it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Child;
use std::sync::mpsc::{Receiver, channel};

use fitme_testing::{Device, PATIENCE, Postgres, ServerProcess, wait_until};
use serde_json::Value;

use crate::stage::Look;

/// Planted in what Ann logs, to be searched for in Tom's files.
const MARKER: &str = "zebra-crossing-4711";

/// Tom's invitation, accepted by Ann.
pub fn introduced(server: &ServerProcess, purpose: &str) -> (Device, Device) {
    let (ann, tom) = (Device::new("Ann's phone"), Device::new("Tom's laptop"));
    ann.sign_up(server.url(), "ann@example.org");
    let trainer = ["--email", "tom@example.org", "--device", "laptop", "--role", "trainer"];
    tom.done(&[&["signup", "--server", server.url()], &trainer[..]].concat());
    confirm(server, &ann, "ann@example.org");
    confirm(server, &tom, "tom@example.org");
    let invited = tom.done(&["invite", "--name", "Tom", "--for", purpose]);
    let code = invited.split_whitespace().last().unwrap();
    let accepted = ann.done(&["accept", code, "--yes", "--as", "Ann"]);
    assert!(accepted.contains("Tom (tom@example.org), trainer, asks for"), "{accepted}");
    (ann, tom)
}

/// Confirms the address of a device's account by the letter that came.
fn confirm(server: &ServerProcess, device: &Device, email: &str) {
    device.done(&["confirm", &server.mailed(email, "fitme confirm")]);
}

/// The lines of a device that watches.
fn watched(child: &mut Child) -> Receiver<String> {
    let (tell, lines) = channel();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
    lines
}

fn wait_for(lines: &Receiver<String>, wanted: &str) {
    loop {
        let line = lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("waited for “{wanted}”"));
        if line.contains(wanted) {
            return;
        }
    }
}

/// Whether any file below `folder` holds the text.
fn holds(folder: &Path, text: &str) -> bool {
    std::fs::read_dir(folder).unwrap().map(Result::unwrap).any(|entry| {
        let bytes = std::fs::read(entry.path()).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

#[test]
fn a_trainer_sees_what_is_shared_and_nothing_else() {
    let server = ServerProcess::on(&Postgres::shared().database().url);
    let (ann, tom) = introduced(&server, "training");
    ann.done(&["log", "workout", "--title", "Leg day", "--set", "Squat 5x100kg"]);
    ann.done(&["log", "mood", "--valence", "-1", "--note", MARKER]);
    ann.sync();
    tom.sync();
    let clients = tom.done(&["clients"]);
    assert!(clients.contains("Ann") && clients.contains("workouts"), "{clients}");
    let workouts = tom.json(&["list", "workouts", "--of", "Ann", "--json"]);
    assert_eq!(workouts["records"][0]["record"]["title"], "Leg day");
    assert_eq!(tom.done(&["list", "workouts"]), "no workouts here\n", "her records are not among his own");
    let moods = tom.run(&["list", "moods", "--of", "Ann"]);
    assert!(moods.code == 1 && moods.stderr.contains("Ann shares no moods with you"), "{moods:?}");
    assert!(!holds(tom.home(), MARKER), "what was not shared is not on his disk");
    let stranger = tom.run(&["list", "workouts", "--of", "Berta"]);
    assert_eq!(stranger.code, 1);
    assert!(stranger.stderr.contains("nobody called \"Berta\" shares anything with you"), "{}", stranger.stderr);
}

/// Two nodes: Tom watches at one, Ann revokes at the other.
#[test]
fn what_is_revoked_leaves_the_watching_trainer_at_once_and_to_the_last_byte() {
    let database = Postgres::shared().database();
    let (here, there) = (ServerProcess::on(&database.url), ServerProcess::on(&database.url));
    let (ann, tom) = introduced(&here, "training");
    ann.log_in(there.url(), "ann@example.org");
    let mut watching = tom.spawn(&["sync", "--watch"]);
    let lines = watched(&mut watching);
    wait_for(&lines, "everything is on both sides");

    ann.done(&["log", "workout", "--title", MARKER, "--set", "Squat 5x100kg"]);
    ann.sync();
    wait_for(&lines, "Ann: 1 record");
    assert!(holds(tom.home(), MARKER));

    ann.done(&["revoke", "Tom"]);
    ann.sync();
    wait_for(&lines, "Ann no longer shares");
    wait_until("Ann to be no longer among Tom's clients", || !tom.done(&["clients"]).contains("Ann"));
    assert!(!holds(tom.home(), MARKER), "what was revoked is gone from his disk");
    assert!(ann.done(&["grants", "--all"]).contains("revoked"));
    assert_eq!(ann.done(&["grants"]), "nothing is shared with anybody\n");

    ann.done(&["log", "workout", "--title", "Afterwards", "--set", "Squat 5x100kg"]);
    ann.sync();
    watching.kill().unwrap();
    watching.wait().unwrap();
    tom.sync();
    let none = tom.run(&["list", "workouts", "--of", "Ann"]);
    assert_eq!(none.code, 1, "{}", none.stdout);
}

/// Tom was offline when it ended.
#[test]
fn what_is_revoked_meanwhile_goes_with_the_next_sync() {
    let server = ServerProcess::on(&Postgres::shared().database().url);
    let (ann, tom) = introduced(&server, "training");
    ann.done(&["log", "workout", "--title", MARKER, "--set", "Squat 5x100kg"]);
    ann.sync();
    tom.done(&["sync"]);
    assert!(holds(tom.home(), MARKER));
    ann.done(&["revoke", "Tom"]);
    ann.sync();
    tom.done(&["sync"]);
    assert!(!holds(tom.home(), MARKER));
    assert!(tom.done(&["clients"]).contains("nobody shares anything with you"));
}

#[test]
fn an_invitation_is_for_one_person_and_for_what_the_role_may_ask() {
    let server = ServerProcess::on(&Postgres::shared().database().url);
    let (ann, tom) = introduced(&server, "training");
    let berta = Device::new("Berta's phone");
    berta.sign_up(server.url(), "berta@example.org");
    confirm(&server, &berta, "berta@example.org");
    let code = tom.done(&["invite", "--name", "Tom"]);
    let code = code.split_whitespace().last().unwrap().to_owned();
    let unread = berta.run(&["accept", &code, "--as", "Berta"]);
    assert!(unread.stderr.contains("say --yes to share it"), "{}", unread.stderr);
    berta.done(&["accept", &code.to_lowercase(), "--yes", "--as", "Berta"]);
    for (who, why) in [(&ann, "accepted by somebody else"), (&tom, "your own")] {
        let refused = who.run(&["accept", &code, "--yes", "--as", "Me"]);
        assert!(refused.code == 1 && refused.stderr.contains(why), "{}", refused.stderr);
    }
    let journal = tom.run(&["invite", "--name", "Tom", "--ask", "journal"]);
    assert!(journal.stderr.contains("A trainer may not ask to read journal"), "{}", journal.stderr);
    let care = tom.run(&["invite", "--name", "Tom", "--for", "care"]);
    let why = "A trainer may not ask for care; a trainer may ask for training.";
    assert!(care.stderr.contains(why), "{}", care.stderr);
    let member = ann.run(&["invite", "--name", "Ann"]);
    assert!(member.stderr.contains("a member may ask nobody for anything"), "{}", member.stderr);
}

/// Tom writes into Ann's workouts without a network. It is hers like what she wrote, on all her devices.
#[test]
fn a_trainer_writes_for_a_client_offline_and_both_go_on_with_it() {
    let server = ServerProcess::on(&Postgres::shared().database().url);
    let (ann, tom) = introduced(&server, "training");
    tom.done(&["sync"]);
    let logged = tom.done(&["log", "workout", "--title", "Planned by Tom", "--set", "Squat 5x100kg", "--for", "Ann"]);
    assert!(logged.contains("for Ann"), "{logged}");
    assert_eq!(tom.done(&["list", "workouts"]), "no workouts here\n");
    // Measurements she lets him read and not write, moods not even that.
    for (what, value, why) in
        [("measurement", ["--weight", "80kg"], "not write"), ("mood", ["--valence", "1"], "does not share")]
    {
        let refused = tom.run(&[&["log", what][..], &value, &["--for", "Ann"]].concat());
        assert!(refused.code == 1 && refused.stderr.contains(why), "{}", refused.stderr);
    }
    let waits = tom.done(&["status"]);
    assert!(waits.contains("1 change to send"), "{waits}");
    let sent = tom.done(&["sync"]);
    assert!(sent.contains("synced: 1 sent"), "{sent}");
    ann.done(&["sync"]);
    let workouts = ann.json(&["list", "workouts", "--json"]);
    assert_eq!(workouts["records"][0]["record"]["title"], "Planned by Tom");
    let id = workouts["records"][0]["id"].as_str().unwrap().to_owned();

    let history = ann.done(&["show", &id, "--history"]);
    assert!(history.contains("another device or Tom"), "{history}");

    // Both edit it while neither has a network.
    ann.done(&["edit", &id, "--json", r#"{"note": "knee hurt"}"#]);
    tom.done(&["edit", &id, "--json", r#"{"title": "Legs"}"#, "--of", "Ann"]);
    ann.done(&["sync"]);
    tom.done(&["sync", "--once"]);
    ann.done(&["sync"]);
    for record in [ann.json(&["show", &id, "--json"]), tom.json(&["show", &id, "--of", "Ann", "--json"])] {
        let merged = &record["records"][0]["record"];
        assert_eq!((merged["title"].as_str(), merged["note"].as_str()), (Some("Legs"), Some("knee hurt")), "{record}");
    }
    assert_eq!(tom.done(&["rejected"]), "the server refused nothing\n");
}

/// What Tom wrote after it ended, and could not know, went without a trace: it was only said that it did. It is his until he
/// discards it; what Ann shared is not.
#[test]
fn what_was_written_for_somebody_who_ended_it_stays_with_who_wrote_it() {
    let server = ServerProcess::on(&Postgres::shared().database().url);
    let (ann, tom) = introduced(&server, "training");
    ann.done(&["log", "workout", "--title", MARKER, "--set", "Squat 5x100kg"]);
    ann.sync();
    tom.done(&["sync"]);
    ann.done(&["revoke", "Tom"]);
    ann.sync();
    let hers =
        tom.json(&["list", "workouts", "--of", "Ann", "--json"])["records"][0]["id"].as_str().unwrap().to_owned();
    tom.done(&["edit", &hers, "--json", r#"{"note": "slower next time"}"#, "--of", "Ann"]);
    tom.done(&["log", "workout", "--title", "Leg day", "--set", "Squat 3x5x100kg", "--for", "Ann"]);
    let synced = tom.done(&["sync"]);
    assert!(synced.contains("Ann no longer shares workouts"), "{synced}");
    assert!(synced.contains("had not taken 2 changes of yours") && synced.contains("synced: 0 sent"), "{synced}");
    assert!(!holds(tom.home(), MARKER), "of hers nothing is left");
    ann.done(&["sync"]);
    assert!(!ann.done(&["list", "workouts"]).contains("Leg day"));

    let rejected = tom.json(&["rejected", "--json"]);
    let [edit, new] = rejected["rejected"].as_array().unwrap().as_slice() else { panic!("{rejected}") };
    assert_eq!(
        (&edit["person"], &edit["code"], &edit["record"]),
        (&"Ann".into(), &"not_your_feed".into(), &Value::Null)
    );
    assert!(edit["command"].to_string().contains("slower next time"), "{edit}");
    assert!(new["command"].to_string().contains("Leg day") && new["command"].to_string().contains("100kg"), "{new}");
    assert_eq!(tom.json(&["status", "--json"])["status"]["rejected"], 2);
    assert!(tom.run(&["logout"]).stderr.contains("2 changes are not on the server"));

    let told = tom.done(&["rejected"]);
    assert!(told.contains("workouts of Ann") && told.contains("fitme rejected show"), "{told}");
    let retried = tom.run(&["rejected", "retry", "1"]);
    assert!(retried.code == 1 && retried.stderr.contains("shared again"), "{}", retried.stderr);
    tom.done(&["rejected", "discard", "1"]);
    tom.done(&["rejected", "discard", "--all"]);
    assert_eq!(tom.done(&["rejected"]), "the server refused nothing\n");
    assert!(!holds(tom.home(), "slower next time"), "discarded to the last byte");
}

/// The entry that Ann logged after she had ended it went to the watching trainer from memory, because both came in one
/// push and so in one commit.
#[test]
fn what_is_logged_after_the_end_is_not_sent_although_both_arrive_together() {
    let server = ServerProcess::on(&Postgres::shared().database().url);
    let (ann, tom) = introduced(&server, "training");
    let mut watching = tom.spawn(&["sync", "--watch"]);
    let lines = watched(&mut watching);
    wait_for(&lines, "everything is on both sides");
    ann.done(&["revoke", "Tom"]);
    ann.done(&["log", "workout", "--title", MARKER, "--set", "Squat 5x100kg"]);
    ann.done(&["sync"]);
    loop {
        let line = lines.recv_timeout(PATIENCE).expect("Tom hears that it ended");
        assert!(!line.contains("record"), "{line}");
        if line.contains("Ann no longer shares workouts") {
            break;
        }
    }
    assert!(!holds(tom.home(), MARKER));
    watching.kill().unwrap();
    watching.wait().unwrap();
}

/// Accepting twice, as after a lost answer, shares once: else ending it would end one of two.
#[test]
fn accepting_twice_shares_once() {
    let server = ServerProcess::on(&Postgres::shared().database().url);
    let (ann, tom) = introduced(&server, "training");
    let code = tom.done(&["invite", "--name", "Tom"]);
    let code = code.split_whitespace().last().unwrap().to_owned();
    let again = ann.done(&["accept", &code, "--yes", "--as", "Ann"]);
    assert!(again.contains("that is shared already"), "{again}");
    let nobody = ann.run(&["revoke", "Berta"]);
    assert!(nobody.stderr.contains("you share nothing with \"Berta\""), "{}", nobody.stderr);
    ann.done(&["revoke", "Tom"]);
    ann.sync();
    tom.done(&["sync"]);
    assert!(tom.done(&["clients"]).contains("nobody shares anything with you"));
}

/// What Tom wrote for Ann and could not send would have gone with the emptied home, as only his own writes were counted.
#[test]
fn logging_out_does_not_lose_what_was_written_for_a_client() {
    let mut server = ServerProcess::on(&Postgres::shared().database().url);
    let (ann, tom) = introduced(&server, "training");
    ann.done(&["log", "workout", "--title", MARKER, "--set", "Squat 5x100kg"]);
    ann.sync();
    tom.done(&["sync"]);
    server.kill9();
    tom.done(&["log", "workout", "--title", "Planned", "--set", "Squat 5x100kg", "--for", "Ann"]);
    let refused = tom.run(&["logout"]);
    assert!(refused.code == 1 && refused.stderr.contains("1 change is not on the server"), "{}", refused.stderr);
    tom.done(&["logout", "--keep"]);
    server.restart();
    tom.done(&["login", "--server", server.url(), "--email", "tom@example.org"]);
    tom.done(&["sync"]);
    ann.done(&["sync"]);
    assert!(ann.done(&["list", "workouts"]).contains("Planned"));

    // A device that is signed out cannot hear that something ended, so it keeps nothing of others.
    tom.done(&["logout", "--keep"]);
    assert!(!holds(tom.home(), MARKER));
    tom.done(&["login", "--server", server.url(), "--email", "tom@example.org"]);
    tom.done(&["sync"]);
    assert!(tom.done(&["list", "workouts", "--of", "Ann"]).contains(MARKER));
}

#[test]
fn services_see_what_their_person_allows_at_sign_up_or_later_and_nothing_of_moods_unasked() {
    let database = Postgres::shared().database();
    let server = ServerProcess::on(&database.url);
    let mut look = Look::at(&database);
    let (ann, berta) = (Device::new("Ann's phone"), Device::new("Berta's phone"));
    berta.sign_up(server.url(), "berta@example.org");
    berta.sync();
    assert_eq!(berta.done(&["grants"]), "nothing is shared with anybody\n", "who is not asked says nothing");

    let who = ["signup", "--server", server.url(), "--email", "ann@example.org", "--device", "phone"];
    ann.done(&[&who[..], &["--allow", "insights"]].concat());
    ann.sync();
    let seen = look.granted_to("insights");
    assert!(seen.contains(&"workouts/ read".to_owned()) && seen.contains(&"insights/training write".to_owned()));
    assert!(!seen.iter().any(|feed| ["moods", "journal", "insights/mind"].iter().any(|no| feed.starts_with(no))));
    assert_eq!(look.granted_to("notifications"), Vec::<String>::new());
    let grants = ann.done(&["grants"]);
    assert!(grants.contains("insights, service"), "{grants}");

    ann.done(&["allow", "insights", "--moods"]);
    ann.done(&["allow", "notifications"]);
    assert!(ann.done(&["allow", "notifications"]).contains("shared already"));
    ann.sync();
    let seen = look.granted_to("insights");
    assert!(seen.contains(&"moods/ read".to_owned()) && seen.contains(&"insights/mind write".to_owned()), "{seen:?}");
    assert_eq!(seen.len(), 11, "the grant before has ended: {seen:?}");
    assert_eq!(look.granted_to("notifications").len(), 5);

    ann.done(&["revoke", "insights"]);
    ann.sync();
    assert_eq!(look.granted_to("insights"), Vec::<String>::new());
    assert_eq!(ann.done(&["rejected"]), "the server refused nothing\n");
    let unknown = ann.run(&["allow", "billing"]);
    assert!(unknown.code == 2 && unknown.stderr.contains("the services are insights and notifications"));
}
