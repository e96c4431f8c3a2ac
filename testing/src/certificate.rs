//! A certificate that signs itself, for servers on this computer.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A certificate for 127.0.0.1 and its key, as files that are removed with it.
pub struct Certificate {
    folder: TempDir,
}

impl Certificate {
    /// A new one.
    ///
    /// # Panics
    /// When it cannot be made or written.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "each is another one")]
    pub fn new() -> Self {
        let certificate = Self { folder: tempfile::tempdir().expect("a temporary folder can be made") };
        certificate.renew();
        certificate
    }

    /// One whose time is over.
    ///
    /// # Panics
    /// When it cannot be made or written.
    #[must_use]
    pub fn ended() -> Self {
        let certificate = Self { folder: tempfile::tempdir().expect("a temporary folder can be made") };
        let key = rcgen::KeyPair::generate().expect("a key can be made");
        let mut of = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name for a certificate");
        of.not_before = rcgen::date_time_ymd(2020, 1, 1);
        of.not_after = rcgen::date_time_ymd(2021, 1, 1);
        let made = of.self_signed(&key).expect("a certificate can be made");
        std::fs::write(certificate.file(), made.pem()).expect("the folder is ours");
        std::fs::write(certificate.key(), key.serialize_pem()).expect("the folder is ours");
        certificate
    }

    /// Writes another pair into the same files.
    ///
    /// # Panics
    /// When it cannot be made or written.
    pub fn renew(&self) {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate can be made");
        std::fs::write(self.file(), made.cert.pem()).expect("the folder is ours");
        std::fs::write(self.key(), made.signing_key.serialize_pem()).expect("the folder is ours");
    }

    /// The certificate.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    /// The folder of both.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The environment of a server that speaks TLS with it.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, String); 2] {
        let text = |path: PathBuf| path.display().to_string();
        [("FITME_TLS_CERT", text(self.file())), ("FITME_TLS_KEY", text(self.key()))]
    }
}
