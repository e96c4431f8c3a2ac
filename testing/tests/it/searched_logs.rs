//! The search of the logs finds what it is for, or it proves nothing.

use std::path::Path;
use std::process::Command;

fn search(log: &str) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("deep")).unwrap();
    std::fs::write(folder.path().join("deep/server.log"), log).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/search-logs");
    let output = Command::new(script).arg(folder.path()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn every_planted_value_and_every_form_of_a_secret_is_found_by_file_line_and_kind_alone() {
    let planted = include_str!("../../planted.txt").lines().filter(|line| !line.starts_with('#'));
    let planted = planted.filter_map(|line| line.split_once(' ')).map(|(kind, value)| (kind, value.to_owned()));
    let forms = [
        ("access token", "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxIn0abc.c2lnbmF0dXJlLW9mLWl0"),
        ("refresh token", "AAECAwQFBgcICQoLDA0ODw.17.EBESExQVFhcYGRobHB0eHw"),
        ("bearer", "authorization: Bearer c2VjcmV0LXRva2Vu"),
        ("e-mail", "ann@example.org"),
        ("password in an address", "postgres://fitme:hunter2@db/fitme"),
    ];
    for (kind, value) in planted.chain(forms.map(|(kind, value)| (kind, value.to_owned()))) {
        let (clean, said) = search(&format!("a line\n{{\"message\":\"request\",\"why\":\"{value}\"}}\n"));
        assert!(!clean, "{value} was not found");
        assert!(said.contains("deep/server.log:2: ") && said.contains(kind), "{said}");
        assert!(!said.contains(&value), "the search tells the secret: {said}");
    }
}

#[test]
fn an_ordinary_log_passes_and_none_at_all_does_not() {
    let ordinary =
        r#"{"level":"INFO","message":"request","status":200,"account":"0198f0a2-7f3a-7000-8000-5b1c3a1e2d4f"}"#;
    assert!(search(ordinary).0, "{}", search(ordinary).1);
    assert!(!search("").0, "an empty folder of logs proves nothing");
}
