//! Mail to people: by SMTP, or as files in a folder where no server is named. Sending never keeps a request waiting, so how
//! long an answer takes tells nobody whether there was mail.

use std::fs;
use std::future::Future;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Message};
use lettre::{AsyncFileTransport, AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use tokio::sync::Semaphore;

use crate::config::MailArgs;
use crate::error::Refusal;

/// Folder of the letters in the server's data folder, where no SMTP server is named.
const FOLDER: &str = "mail";
/// Letters under way at once; beyond, a letter is not sent, and asking for it again helps.
const UNDER_WAY: usize = 32;

/// Why no mail can be sent; each is a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The address of the SMTP server is none. It may hold a password, so it is not shown.
    #[error("FITME_SMTP_URL is no address like smtps://user:password@mail.example.org; correct it, or unset it")]
    BadSmtpUrl,
    /// The sender's address is none.
    #[error("FITME_MAIL_FROM={0} is no sender; write for example FitME <fitme@example.org>")]
    BadSender(String),
    /// The folder cannot be made.
    #[error("letters cannot be kept in {folder} ({source}); make it writable, or name a server by FITME_SMTP_URL")]
    Folder {
        /// Which.
        folder: String,
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// A letter of plain text.
pub struct Letter {
    /// To which address.
    pub to: String,
    /// Its subject.
    pub subject: &'static str,
    /// Its text.
    pub text: String,
}

/// Sends letters; cloning is cheap.
#[derive(Clone)]
pub struct Mailer {
    transport: Arc<Transport>,
    from: Mailbox,
    under_way: Arc<Semaphore>,
}

enum Transport {
    Folder(AsyncFileTransport<Tokio1Executor>),
    Smtp(AsyncSmtpTransport<Tokio1Executor>),
}

impl std::fmt::Debug for Mailer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mailer")
    }
}

impl Mailer {
    /// Mail as it was configured; into a folder of `data` where no SMTP server is named.
    ///
    /// # Errors
    /// When the configuration names no server, no sender or no folder.
    pub fn open(args: &MailArgs, data: &Path) -> Result<Self, MailError> {
        let transport = match &args.smtp_url {
            Some(url) => Transport::Smtp(url.transport().ok_or(MailError::BadSmtpUrl)?),
            None => Transport::Folder(AsyncFileTransport::new(private_folder(&data.join(FOLDER))?)),
        };
        let from = args.mail_from.parse().map_err(|_| MailError::BadSender(args.mail_from.clone()))?;
        Ok(Self { transport: Arc::new(transport), from, under_way: Arc::new(Semaphore::new(UNDER_WAY)) })
    }

    /// Writes a letter and sends it, behind the request that asked for it. `write` gives none where there is nobody to
    /// write to.
    pub fn send(&self, write: impl Future<Output = Result<Option<Letter>, Refusal>> + Send + 'static) {
        let Ok(place) = Arc::clone(&self.under_way).try_acquire_owned() else {
            tracing::warn!("too many letters are under way; one was not written");
            return;
        };
        let mailer = self.clone();
        tokio::spawn(async move {
            let _place = place;
            match write.await {
                Ok(Some(letter)) => mailer.deliver(letter).await,
                Ok(None) => {}
                Err(refusal) => refusal.log(),
            }
        });
    }

    /// What goes wrong here is for the operator: the mail server's words name no address of ours.
    async fn deliver(&self, letter: Letter) {
        let subject = letter.subject;
        match self.send_now(letter).await {
            Ok(()) => tracing::info!(subject, "letter sent"),
            Err(error) => tracing::warn!(error, subject, "a letter was not sent"),
        }
    }

    /// Sends a letter while the caller waits.
    ///
    /// # Errors
    /// What the mail server or the file system says.
    pub async fn send_now(&self, letter: Letter) -> Result<(), String> {
        let to = letter.to.parse().map_err(|_| "the account's address cannot be written to".to_owned())?;
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(letter.subject)
            .header(ContentType::TEXT_PLAIN)
            .body(letter.text)
            .map_err(|error| error.to_string())?;
        match &*self.transport {
            Transport::Folder(folder) => folder.send(message).await.map_err(|error| error.to_string()).map(drop),
            Transport::Smtp(smtp) => smtp.send(message).await.map_err(|error| error.to_string()).map(drop),
        }
    }
}

/// Letters hold one-time tokens.
fn private_folder(folder: &Path) -> Result<&Path, MailError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|source| MailError::Folder { folder: folder.display().to_string(), source })?;
    Ok(folder)
}
