//! What a person types is in no log, however much is logged: values that can be recognised go every way that there is.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use fitme_testing::{Device, Postgres, ServerProcess};

const PLANTED: &str = include_str!("../../planted.txt");

/// The `n`th planted value of this kind.
fn planted(kind: &str, n: usize) -> &'static str {
    let lines = PLANTED.lines().filter(|line| !line.starts_with('#'));
    let mut values = lines.filter_map(|line| line.split_once(' ')).filter(|(of, _)| *of == kind);
    values.nth(n).unwrap().1
}

fn search(folder: &Path) -> std::process::Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/search-logs");
    Command::new(script).arg(folder).output().unwrap()
}

/// A request as no client of ours makes it; what comes back is of no interest.
fn send(server: &ServerProcess, path: &str, body: &str) {
    let mut socket = TcpStream::connect(server.url().trim_start_matches("http://")).unwrap();
    let (token, length) = (planted("password", 2), body.len());
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
         authorization: Bearer {token}\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    socket.write_all(request.as_bytes()).unwrap();
    let _whatever_it_says = socket.read_to_string(&mut String::new());
}

#[test]
fn no_log_holds_what_a_person_typed_nor_a_token() {
    let logs = tempfile::tempdir().unwrap();
    let database = Postgres::shared().database();
    let server = ServerProcess::start_with(Some(&database.url), &[("FITME_LOG", "trace")]);
    let log_file = logs.path().join("device.log").display().to_string();
    let device = |name: &str| {
        Device::new(name)
            .with_password(planted("password", 0))
            .with_new_password(planted("password", 1))
            .with_env("FITME_LOG", "trace")
            .with_env("FITME_LOG_FILE", log_file.clone())
    };
    let (email, phone) = (planted("e-mail", 0), device(planted("device", 0)));
    phone.sign_up(server.url(), email);
    phone.done(&["log", "profile", "--name", planted("name", 0)]);
    phone.done(&["log", "mood", "--valence", "1", "--note", planted("note", 0), "--tag", planted("tag", 0)]);
    phone.done(&["log", "workout", "--title", planted("title", 0), "--set", "Row 3x10x60kg"]);
    phone.done(&["log", "meal", "--kind", "lunch", "--item", &format!("{} 300g 250kcal", planted("food", 0))]);
    phone.sync();
    phone.done(&["confirm", &server.mailed(email, "fitme confirm ")]);
    phone.done(&["totp", "on"]);
    phone.run(&["totp", "confirm", "123456"]);
    phone.run(&["log", "mood", "--valence", planted("note", 0)]);
    let guess = device("tablet").with_password(planted("password", 2));
    assert_eq!(guess.run(&["login", "--server", server.url(), "--email", email]).code, 1);
    phone.done(&["password"]);
    let tablet = device("tablet").with_password(planted("password", 1));
    tablet.log_in(server.url(), email);
    tablet.done(&["sync", "--once"]);
    phone.sync();
    let body = format!(r#"{{ "email": "{email}", "password": "{}", "device_name": 7 "#, planted("password", 0));
    for path in ["/v1/login", "/v1/signup", "/v1/token", "/v1/sync/once", "/v1/password"] {
        send(&server, path, &body);
        send(&server, &format!("{path}?email={email}"), &format!("{body}}}"));
    }

    std::fs::write(logs.path().join("server.log"), server.log()).unwrap();
    assert!(server.log().lines().count() > 100, "the server told much");
    assert!(std::fs::metadata(&log_file).is_ok_and(|log| log.len() > 0), "and so did the devices");
    let searched = search(logs.path());
    let said = String::from_utf8_lossy(&searched.stdout).into_owned();
    let shown: Vec<_> = said.lines().take(5).collect();
    assert!(searched.status.success(), "{shown:?} {}", String::from_utf8_lossy(&searched.stderr));
}
