//! Letters by SMTP, to a mail server that listens here and speaks as much of the protocol as it takes (RFC 5321).

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fitme_testing::{Postgres, ServerProcess, run_server};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::client::{post, sign_up, until};

const PASSWORD: &str = "the-mail-servers-password";
const PATIENCE: Duration = Duration::from_secs(60);

/// A letter as it came.
#[derive(Debug)]
struct Taken {
    from: String,
    to: String,
    text: String,
}

/// A mail server that takes letters from whoever knows the password; its address, and what it took.
async fn mail_server(takes: bool) -> (String, Receiver<Taken>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (taken, letters) = channel();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let taken = taken.clone();
            tokio::spawn(async move {
                if let Some(letter) = talk(socket, takes).await {
                    let _test_is_over = taken.send(letter);
                }
            });
        }
    });
    (address, letters)
}

async fn talk(socket: TcpStream, takes: bool) -> Option<Taken> {
    let (read, mut write) = socket.into_split();
    let mut lines = BufReader::new(read).lines();
    let mut letter = Taken { from: String::new(), to: String::new(), text: String::new() };
    write.write_all(b"220 mail.example.org\r\n").await.ok()?;
    while let Some(line) = lines.next_line().await.ok()? {
        let word = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let answer = match word.as_str() {
            "EHLO" => "250-mail.example.org\r\n250 AUTH PLAIN\r\n",
            "AUTH" => {
                let given = STANDARD.decode(line.rsplit(' ').next()?).ok()?;
                let right = given == format!("\0fitme\0{PASSWORD}").as_bytes();
                if right && takes { "235 welcome\r\n" } else { "535 no\r\n" }
            }
            "MAIL" => {
                letter.from = line;
                "250 ok\r\n"
            }
            "RCPT" => {
                letter.to = line;
                "250 ok\r\n"
            }
            "DATA" => {
                write.write_all(b"354 go on\r\n").await.ok()?;
                while let Some(line) = lines.next_line().await.ok()?.filter(|line| line != ".") {
                    letter.text.push_str(line.strip_prefix('.').unwrap_or(&line));
                    letter.text.push('\n');
                }
                write.write_all(b"250 taken\r\n").await.ok()?;
                return Some(letter);
            }
            "QUIT" => return None,
            _ => "250 ok\r\n",
        };
        write.write_all(answer.as_bytes()).await.ok()?;
    }
    None
}

fn server(mail: &str) -> ServerProcess {
    let url = format!("smtp://fitme:{PASSWORD}@{mail}");
    let environment = [("FITME_SMTP_URL", url.as_str()), ("FITME_MAIL_FROM", "FitME <fitme@example.org>")];
    ServerProcess::start_with(Some(&Postgres::shared().database().url), &environment)
}

#[tokio::test]
async fn a_mail_server_gets_the_letter_and_its_token_confirms_the_address() {
    let (mail, letters) = mail_server(true).await;
    let server = server(&mail);
    sign_up(server.url(), "ann@example.org", "phone").await;
    let letter = tokio::task::spawn_blocking(move || letters.recv_timeout(PATIENCE).unwrap()).await.unwrap();
    assert!(letter.from.contains("<fitme@example.org>") && letter.to.contains("<ann@example.org>"), "{letter:?}");
    let text = letter.text.replace("=\n", "");
    let token = text.split_once("fitme confirm ").unwrap().1.split_whitespace().next().unwrap().to_owned();
    assert_eq!(post(server.url(), "/v1/confirm", &json!({ "token": token })).await.status, 200);
    until("it is noted", async || server.log().contains("letter sent")).await;
    assert!(!server.log().contains(&token) && !server.log().contains("ann@example.org"), "{}", server.log());
    let check = tokio::task::spawn_blocking(move || {
        let url = format!("smtp://fitme:{PASSWORD}@{mail}");
        let data = server.data().display().to_string();
        let database = Postgres::shared().database().url;
        run_server(&["check"], &[("FITME_SMTP_URL", &url), ("DATABASE_URL", &database), ("FITME_DATA", &data)])
    });
    let check = check.await.unwrap();
    assert!(check.stdout.contains("takes letters"), "{}", check.stdout);
}

#[tokio::test]
async fn a_mail_server_that_refuses_is_the_operators_news_and_nobody_elses() {
    let (mail, _letters) = mail_server(false).await;
    let server = server(&mail);
    assert_eq!(sign_up(server.url(), "ann@example.org", "phone").await.status, 201, "sign-up does not wait for mail");
    until("it is noted", async || server.log().contains("a letter was not sent")).await;
    assert!(!server.log().contains(PASSWORD) && !server.log().contains("ann@example.org"), "{}", server.log());
}
