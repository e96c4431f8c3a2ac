//! A document that the server accepted and cannot merge: whoever wrote it still has the command that made each entry.

use fitme_testing::{Device, Postgres, ServerProcess, wait_until};

use crate::stage::Look;

fn commands(phone: &Device) -> i64 {
    let home = rusqlite::Connection::open(phone.home().join("fitme.db")).unwrap();
    home.query_row("SELECT count(*) FROM outbox", [], |row| row.get(0)).unwrap()
}

/// The phone forgot a command once the merge had passed its entry, also when that entry went into quarantine: nobody could
/// have made the edit again.
#[test]
fn a_phone_keeps_the_commands_of_what_is_in_quarantine_until_it_is_merged() {
    let database = Postgres::shared().database();
    let server = ServerProcess::on(&database.url);
    let mut look = Look::at(&database);
    let phone = Device::new("phone");
    phone.sign_up(server.url(), "ann@example.org");
    phone.done(&["log", "mood", "--valence", "0"]);
    let sync_until = |expected: i64| {
        wait_until("the phone to forget what it may", || {
            phone.done(&["sync"]);
            commands(&phone) == expected
        });
    };
    sync_until(0);

    look.execute("ALTER TABLE records ADD CONSTRAINT poison CHECK ((record ->> 'valence')::int <> 1)");
    phone.done(&["log", "mood", "--valence", "1"]);
    phone.done(&["sync"]);
    look.wait_for_merge();
    assert_eq!(look.number("SELECT count(*) FROM snapshots WHERE quarantined IS NOT NULL"), 1);
    phone.done(&["sync"]);
    assert_eq!(commands(&phone), 1, "it is kept");
    phone.done(&["log", "measurement", "--weight", "80kg"]);
    sync_until(1);

    look.execute("ALTER TABLE records DROP CONSTRAINT poison");
    let moods = phone.json(&["list", "moods", "--json"]);
    let id = moods["records"][0]["id"].as_str().unwrap();
    phone.done(&["edit", id, "--json", r#"{"energy": 3}"#]);
    sync_until(0);
}
