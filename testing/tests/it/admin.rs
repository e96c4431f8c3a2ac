//! Whoever runs a server makes accounts for people, closes sign-up, and helps who has lost a password, from the command line
//! and beside the running server.

use fitme_testing::{Device, Outcome, Postgres, ServerProcess};

const ANN: &str = "ann@example.org";

/// What a command printed that was carried out.
fn done(outcome: Outcome) -> String {
    assert_eq!(outcome.code, 0, "{}{}", outcome.stdout, outcome.stderr);
    assert!(outcome.stdout.lines().all(|line| line.chars().count() <= 80), "{}", outcome.stdout);
    outcome.stdout
}

/// The last line of what a refused command said.
fn refused(outcome: Outcome) -> String {
    assert_eq!((outcome.code, outcome.stdout.as_str()), (1, ""), "{}", outcome.stderr);
    outcome.stderr.lines().last().unwrap().to_owned()
}

/// The token that was printed to be handed on.
fn token(printed: &str) -> &str {
    printed.split_once("--token ").unwrap().1.split_whitespace().next().unwrap()
}

/// On the private database of a server that runs.
#[test]
fn a_made_account_gets_its_password_from_its_person() {
    let server = ServerProcess::start();
    let printed = done(server.run(&["admin", "create", "Ann@Example.org", "--role", "trainer"]));
    assert!(printed.contains("made ann@example.org (trainer)"), "{printed}");
    let phone = Device::new("phone").with_password("Ann chose this").with_new_password("Ann chose this");
    let early = phone.run(&["login", "--server", server.url(), "--email", ANN, "--device", "phone"]);
    assert!(early.stderr.contains("E-mail address or password is wrong"), "{}", early.stderr);
    phone.done(&["password", "--server", server.url(), "--token", token(&printed)]);
    phone.log_in(server.url(), ANN);
    let again = phone.run(&["password", "--server", server.url(), "--token", token(&printed)]);
    assert_eq!(again.code, 1, "a token is good once");

    let taken = refused(server.run(&["admin", "create", ANN]));
    assert!(taken.contains("ann@example.org has an account already"), "{taken}");
    let nonsense = refused(server.run(&["admin", "create", "ann"]));
    assert!(nonsense.contains("ann is no e-mail address"), "{nonsense}");
    let list = done(server.run(&["admin", "list"]));
    assert!(
        list.lines().any(|line| line.starts_with(ANN) && line.contains("trainer") && line.ends_with(" 1")),
        "{list}"
    );
}

#[test]
fn a_closed_server_takes_no_sign_ups_on_any_node_until_it_is_opened() {
    let database = Postgres::shared().database();
    let (one, other) = (ServerProcess::on(&database.url), ServerProcess::on(&database.url));
    done(one.run(&["admin", "close-signup"]));
    let phone = Device::new("phone");
    for server in [&one, &other] {
        let refused = phone.run(&["signup", "--server", server.url(), "--email", ANN]);
        assert_eq!(refused.code, 1);
        assert!(refused.stderr.contains("This server takes no sign-ups"), "{}", refused.stderr);
    }
    done(one.run(&["admin", "create", "tom@example.org"]));
    done(other.run(&["admin", "open-signup"]));
    phone.sign_up(one.url(), ANN);
}

#[test]
fn an_account_is_erased_for_who_asks_the_operator_and_only_if_that_is_meant() {
    let server = ServerProcess::on(&Postgres::shared().database().url);
    let phone = Device::new("phone");
    phone.sign_up(server.url(), ANN);
    phone.done(&["log", "mood", "--valence", "1"]);
    phone.sync();
    let hasty = refused(server.run(&["admin", "erase", ANN]));
    assert!(hasty.contains("add --yes to erase them"), "{hasty}");
    assert!(phone.done(&["sync"]).contains("synced"));

    let erased = server.run(&["admin", "erase", ANN, "--yes"]);
    assert_eq!(erased.code, 0, "{}", erased.stderr);
    let (_, receipt) = erased.stdout.split_once('\n').unwrap();
    let receipt: serde_json::Value = serde_json::from_str(receipt).unwrap();
    assert!(receipt["removed"].as_array().unwrap().iter().any(|part| part["table"] == "entries"), "{receipt}");
    assert_eq!(phone.run(&["sync"]).code, 1);
    assert!(phone.done(&["list", "moods"]).contains("no moods"), "the device has emptied itself");
    assert_eq!(server.run(&["audit", "verify"]).code, 0, "that its chain is gone is signed");
    let gone = refused(server.run(&["admin", "erase", ANN, "--yes"]));
    assert!(gone.contains(ANN), "{gone}");
}

/// Its receipt promised that a restored backup is erased again, also where no server that ran kept a list.
#[test]
fn an_erasure_by_the_operator_is_in_the_list_when_it_is_said_and_its_receipt_says_what_backups_do() {
    let server = ServerProcess::on(&Postgres::shared().database().url);
    let (ann, ben) = (Device::new("Ann's phone"), Device::new("Ben's phone"));
    ann.sign_up(server.url(), ANN);
    ben.sign_up(server.url(), "ben@example.org");
    let erased = server.run(&["admin", "erase", "ben@example.org", "--yes"]);
    assert!(erased.stdout.contains("brings the account back until it is erased again"), "{}", erased.stdout);
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list");
    let elsewhere = folder.path().join("nowhere/list");
    let refused = server.run(&["admin", "erase", ANN, "--yes", "--erasures", elsewhere.to_str().unwrap()]);
    assert!(refused.code == 1 && refused.stderr.contains("name a file by FITME_ERASURES"), "{}", refused.stderr);
    assert!(ann.done(&["sync"]).contains("synced"), "nothing was erased");

    let erased = server.run(&["admin", "erase", ANN, "--yes", "--erasures", list.to_str().unwrap()]);
    assert_eq!(erased.code, 0, "{}", erased.stderr);
    assert!(erased.stdout.contains("one that is restored is erased again"), "{}", erased.stdout);
    let listed = std::fs::read_to_string(&list).unwrap();
    assert_eq!(listed.lines().filter(|line| line.starts_with("account ")).count(), 2, "what was not listed yet too");
}

/// The devices that are signed in stay so until the new password is chosen.
#[test]
fn a_lost_password_is_replaced_by_its_person_and_every_device_signed_out() {
    let server = ServerProcess::on(&Postgres::shared().database().url);
    let phone = Device::new("phone").with_new_password("another horse");
    phone.sign_up(server.url(), ANN);
    let first = done(server.run(&["admin", "reset-password", ANN]));
    let printed = done(server.run(&["admin", "reset-password", ANN]));
    assert_ne!(token(&first), token(&printed));
    phone.done(&["sync"]);
    let old = phone.run(&["password", "--token", token(&first)]);
    assert_eq!(old.code, 1, "the next token ends the one before");
    phone.done(&["password", "--token", token(&printed)]);
    assert!(phone.run(&["sync"]).stderr.contains("use `fitme login` again"));
    let unknown = refused(server.run(&["admin", "reset-password", "nobody@example.org"]));
    assert!(unknown.contains("nobody@example.org has no account"), "{unknown}");
}

#[test]
fn accounts_are_listed_in_pages_and_nothing_of_their_records() {
    let server = ServerProcess::on(&Postgres::shared().database().url);
    let phone = Device::new("phone");
    phone.sign_up(server.url(), ANN);
    phone.done(&["log", "profile", "--name", "zebra-crossing-4711"]);
    phone.sync();
    let long = format!("{}@example.org", "b".repeat(40));
    for email in ["carl@example.org", long.as_str()] {
        done(server.run(&["admin", "create", email]));
    }
    let page = server.run(&["admin", "list", "--limit", "2"]);
    let (first, rest) = page.stdout.split_once("more: sync-server admin list --after ").unwrap();
    assert!(first.contains(ANN) && first.contains('…') && !first.contains("carl@"), "{first}");
    assert!(first.contains("? the address is not confirmed"), "{first}");
    let next = done(server.run(&["admin", "list", "--after", rest.trim()]));
    assert!(next.contains("carl@example.org") && !next.contains(ANN) && !next.contains("more:"), "{next}");
    assert!(!page.stdout.contains("zebra-crossing-4711"));
}
