//! Text that is a statement, a header or a path somewhere else: it is text here.

use fitme_testing::{Postgres, ServerProcess};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{Answer, PASSWORD, log_in, post, sign_up};

const STATEMENTS: [&str; 4] =
    ["'; DROP TABLE accounts; --", "\" OR 1=1 --", "$1", "x' UNION SELECT password_hash FROM accounts --"];

#[tokio::test]
async fn a_statement_in_any_text_is_text() {
    let server = ServerProcess::on(&Postgres::shared().database().url);
    let ann = sign_up(server.url(), "ann@example.org", "phone").await.body;
    let token = ann["access_token"].as_str().unwrap();
    for text in STATEMENTS {
        let login = json!({ "email": format!("{text}@example.org"), "password": text, "device_name": text });
        let refused = post(server.url(), "/v1/login", &login).await;
        assert!(matches!(refused.code(), "wrong_credentials" | "bad_request"), "{text}: {}", refused.code());
        let named = json!({ "email": "ann@example.org", "password": PASSWORD, "device_name": text });
        assert_eq!(post(server.url(), "/v1/login", &named).await.status, 200, "a name of a device may be anything");
        let wrong = json!({ "token": text, "password": "another password" });
        assert_eq!(post(server.url(), "/v1/password/reset", &wrong).await.code(), "wrong_token");
        let exchange = json!({ "grant": "refresh_token", "refresh_token": text });
        assert!(post(server.url(), "/v1/token", &exchange).await.status.is_client_error());
        let client = reqwest::Client::new();
        let mut url = reqwest::Url::parse(server.url()).unwrap();
        url.path_segments_mut().unwrap().extend(["v1", "devices", text]);
        let renamed = client.patch(url).bearer_auth(token).json(&json!({ "name": "mine" })).send().await.unwrap();
        assert!(renamed.status().is_client_error());
        let listed = client.get(format!("{}/v1/devices", server.url())).bearer_auth(token).send().await.unwrap();
        assert!(
            Answer::of(listed).await.body.to_string().contains(&serde_json::to_string(text).unwrap()),
            "as it was typed"
        );
    }
    assert_eq!(log_in(server.url(), "ann@example.org", "tablet").await.status, 200, "the table is there");
}

/// A line break in what comes back as a header would begin another one.
#[tokio::test]
async fn a_line_break_begins_no_header() {
    let server = ServerProcess::on(&Postgres::shared().database().url);
    let address = server.url().trim_start_matches("http://");
    for id in ["a\r\nset-cookie: x=1", "a%0d%0aset-cookie:%20x=1", "a\nset-cookie: x=1"] {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let request = format!("GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-request-id: {id}\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        assert!(!answer.to_lowercase().contains("set-cookie"), "{answer}");
    }
    let smuggled = "POST /v1/login HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(smuggled.as_bytes()).await.unwrap();
    socket.shutdown().await.unwrap();
    let mut answer = String::new();
    let _reset_is_as_good = socket.read_to_string(&mut answer).await;
    assert!(!answer.contains("200 OK"), "a request inside another one is none: {answer}");
}
