//! A server that speaks TLS itself, and devices that believe its certificate or do not.

use fitme_testing::{Certificate, Device, Postgres, ServerProcess};

fn server_with(certificate: &Certificate) -> ServerProcess {
    let environment = certificate.environment();
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    ServerProcess::start_with(Some(&Postgres::shared().database().url), &environment)
}

#[test]
fn devices_sync_over_tls_with_a_certificate_of_the_operators_own() {
    let certificate = Certificate::new();
    let server = server_with(&certificate);
    assert!(server.url().starts_with("https://127.0.0.1:"), "{}", server.url());
    let trusting = |name| Device::new(name).with_env("FITME_CA_FILE", certificate.file().display().to_string());
    let (phone, tablet) = (trusting("phone"), trusting("tablet"));
    phone.sign_up(server.url(), "ann@example.org");
    tablet.log_in(server.url(), "ann@example.org");
    phone.done(&["log", "mood", "--valence", "1", "--tag", "lake"]);
    phone.done(&["sync"]);
    tablet.done(&["sync", "--once"]);
    assert!(tablet.done(&["list", "moods"]).contains("lake"));
}

#[test]
fn a_server_that_nobody_vouches_for_gets_nothing() {
    let certificate = Certificate::new();
    let server = server_with(&certificate);
    let phone = Device::new("phone");
    let refused = phone.run(&["signup", "--server", server.url(), "--email", "ann@example.org"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("certificate"), "{}", refused.stderr);
    let another = Certificate::new();
    let phone = phone.with_env("FITME_CA_FILE", another.file().display().to_string());
    assert_eq!(phone.run(&["signup", "--server", server.url(), "--email", "ann@example.org"]).code, 1);
}

#[test]
fn a_file_of_authorities_that_is_none_is_named() {
    let certificate = Certificate::new();
    let nothing = certificate.folder().join("nothing.pem");
    std::fs::write(&nothing, "nothing").unwrap();
    let phone = Device::new("phone").with_env("FITME_CA_FILE", nothing.display().to_string());
    let refused = phone.run(&["signup", "--server", "https://127.0.0.1:9", "--email", "ann@example.org"]);
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains("FITME_CA_FILE") && refused.stderr.contains("no certificate"),
        "{}",
        refused.stderr
    );
}
