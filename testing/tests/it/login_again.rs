//! Tokens expire, and `fitme login` on the same home renews them. It used to make the home a new device, while its writers'
//! actors stayed bound to the old one: every later write was refused with `foreign_actor`, for good.

use fitme_testing::{Device, Postgres, ServerProcess};

#[test]
fn a_home_that_logs_in_again_is_the_same_device() {
    let server = ServerProcess::on(&Postgres::shared().database().url);
    let phone = Device::new("phone");
    phone.sign_up(server.url(), "ann@example.org");
    phone.done(&["log", "mood", "--valence", "1"]);
    phone.done(&["sync"]);
    phone.done(&["log", "mood", "--valence", "0"]);
    phone.log_in(server.url(), "ann@example.org");
    phone.done(&["log", "mood", "--valence", "2"]);
    phone.done(&["sync"]);
    let status = &phone.json(&["status", "--json"])["status"];
    assert_eq!((&status["pending"], &status["rejected"]), (&0.into(), &0.into()), "{status}");
}

/// A server that does not know the device any more makes a new one of it; its writers then draw new actors.
#[test]
fn a_home_whose_device_is_gone_goes_on_as_a_new_one() {
    let database = Postgres::shared().database();
    let server = ServerProcess::on(&database.url);
    let phone = Device::new("phone");
    phone.sign_up(server.url(), "ann@example.org");
    phone.done(&["log", "mood", "--valence", "1"]);
    phone.done(&["sync"]);
    let mut look = crate::stage::Look::at(&database);
    look.execute("DELETE FROM sign_ins");
    look.execute("DELETE FROM devices");
    assert_eq!(phone.run(&["sync"]).code, 1);
    phone.log_in(server.url(), "ann@example.org");
    let id = phone.json(&["list", "moods", "--json"])["records"][0]["id"].as_str().unwrap().to_owned();
    let history = phone.json(&["show", &id, "--history", "--json"]);
    assert_eq!(history["records"][0]["history"][0]["own"], true, "the new actor is the same person: {history}");
    phone.done(&["log", "mood", "--valence", "2"]);
    phone.done(&["sync"]);
    let status = &phone.json(&["status", "--json"])["status"];
    assert_eq!((&status["pending"], &status["rejected"]), (&0.into(), &0.into()), "{status}");
}
