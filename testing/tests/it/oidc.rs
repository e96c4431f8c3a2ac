//! Ann signs in with her browser, from the command line: no password is ever typed into fitme.

use std::io::{BufRead, BufReader};
use std::process::Child;

use fitme_testing::{Browser, Device, OidcProvider, PUBLIC_URL, Postgres, ServerHere};
use sync_server::clock::Clock;
use sync_server::master_key::MasterKey;

const ANN: &str = "ann@example.org";

fn server(provider: &OidcProvider) -> ServerHere {
    let database = Postgres::shared().database();
    ServerHere::signing_in_by(&provider.settings(), &database.url, &MasterKey::random(), Clock::default())
}

/// Plays the person for a command that waits for the browser; returns what it says in the end.
fn with_browser(mut command: Child, server: &ServerHere, login: &str) -> (bool, String) {
    let mut lines = BufReader::new(command.stdout.take().unwrap()).lines().map_while(Result::ok);
    let url = lines.find_map(|line| line.trim().strip_prefix("http").map(|rest| format!("http{rest}")));
    let mut browser = Browser::default();
    let back = browser.sign_in(&url.expect("fitme shows an address"), login);
    let (_, home) = browser.open(&back.replace(PUBLIC_URL, server.url()));
    assert!(home.starts_with("http://127.0.0.1:"), "{home}");
    let (status, page) = browser.open(&home);
    assert!(status.is_success() && page.contains("close this window"), "{page}");
    let said: Vec<_> = lines.collect();
    let ended = command.wait_with_output().unwrap();
    (ended.status.success(), said.join("\n") + &String::from_utf8_lossy(&ended.stderr))
}

#[test]
fn a_person_signs_in_with_a_browser_and_syncs_two_devices() {
    let provider = OidcProvider::start();
    let server = server(&provider);
    let login = ["login", "--oidc", "--server", server.url(), "--device", "device"];
    let (phone, tablet) = (Device::new("phone"), Device::new("tablet"));
    phone.done(&["log", "mood", "--valence", "1"]);
    for device in [&phone, &tablet] {
        let (done, said) = with_browser(device.spawn(&login), &server, ANN);
        assert!(done && said.contains("logged in as ann@example.org"), "{said}");
    }
    phone.done(&["sync"]);
    tablet.done(&["sync"]);
    assert_eq!(tablet.json(&["list", "moods", "--json"])["records"].as_array().unwrap().len(), 1);
}

#[test]
fn an_account_with_a_password_is_linked_by_its_owner_first() {
    let provider = OidcProvider::start();
    let server = server(&provider);
    let (phone, tablet) = (Device::new("phone"), Device::new("tablet"));
    phone.sign_up(server.url(), ANN);
    let login = ["login", "--oidc", "--server", server.url(), "--device", "tablet"];
    let (done, said) = with_browser(tablet.spawn(&login), &server, ANN);
    assert!(!done && said.contains("then use `fitme link`"), "{said}");
    let (done, said) = with_browser(phone.spawn(&["link"]), &server, ANN);
    assert!(done && said.contains("linked with ann@example.org"), "{said}");
    let (done, said) = with_browser(tablet.spawn(&login), &server, ANN);
    assert!(done && said.contains("logged in as ann@example.org"), "{said}");
}

#[test]
fn a_server_without_a_provider_says_so() {
    let database = Postgres::shared().database();
    let server = ServerHere::on(&database.url, &MasterKey::random());
    let refused = Device::new("phone").run(&["login", "--oidc", "--server", server.url()]);
    assert!(refused.code == 1 && refused.stderr.contains("has no sign-in by a provider"), "{}", refused.stderr);
    let unclear = Device::new("phone").run(&["login", "--server", server.url()]);
    assert_eq!(unclear.code, 2, "an address is needed without a provider: {}", unclear.stderr);
}
