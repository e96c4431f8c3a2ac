//! TLS that the server speaks itself. Certificates are renewed while servers run, so the files are read again when they
//! change; a pair that does not fit is reported, and the one before stays in use.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

/// How often it is looked whether the files changed.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Why TLS cannot be spoken; each is a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate's file cannot be used.
    #[error("the certificate {} cannot be read ({reason}); name a PEM file with the whole chain by FITME_TLS_CERT", path.display())]
    Certificate {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The key's file cannot be used.
    #[error("the key {} cannot be read ({reason}); name the PEM file of the certificate's private key by FITME_TLS_KEY", path.display())]
    Key {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Both are good, but not of one pair.
    #[error(
        "FITME_TLS_CERT and FITME_TLS_KEY do not fit together ({0}); name the key that the certificate was made for"
    )]
    Pair(rustls::Error),
}

/// The two files.
#[derive(Debug, Clone)]
pub struct Files {
    /// The chain, PEM.
    pub certificate: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
}

impl Files {
    /// Certificate and key as they lie there now, proved to be a pair.
    ///
    /// # Errors
    /// When one cannot be read, or they are no pair.
    pub fn read(&self) -> Result<CertifiedKey, TlsError> {
        let (chain, key) = (self.chain()?, self.private_key()?);
        let pair = CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider());
        let pair = pair.map_err(TlsError::Pair)?;
        pair.keys_match().map_err(TlsError::Pair)?;
        Ok(pair)
    }

    fn chain(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let wrong = |reason: String| TlsError::Certificate { path: self.certificate.clone(), reason };
        let certificates =
            CertificateDer::pem_file_iter(&self.certificate).map_err(|error| wrong(error.to_string()))?;
        let chain: Vec<_> = certificates.collect::<Result<_, _>>().map_err(|error| wrong(error.to_string()))?;
        if chain.is_empty() {
            return Err(wrong("it holds no certificate".to_owned()));
        }
        Ok(chain)
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let wrong = |reason: String| TlsError::Key { path: self.key.clone(), reason };
        PrivateKeyDer::from_pem_file(&self.key).map_err(|error| wrong(error.to_string()))
    }

    fn config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let (chain, key) = (self.chain()?, self.private_key()?);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = versions.map_err(TlsError::Pair)?.with_no_client_auth().with_single_cert(chain, key);
        let mut config = config.map_err(TlsError::Pair)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    fn changed_at(&self) -> [Option<SystemTime>; 2] {
        let at = |path: &Path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
        [at(&self.certificate), at(&self.key)]
    }
}

/// Speaks TLS with the certificate of the moment; cloning is cheap.
#[derive(Debug, Clone)]
pub struct Tls {
    config: watch::Receiver<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads the files, and again whenever they change, until `shutdown`.
    ///
    /// # Errors
    /// When they cannot be used now.
    pub fn open(files: Files, shutdown: CancellationToken) -> Result<Self, TlsError> {
        let changed_at = files.changed_at();
        let (renewed, config) = watch::channel(files.config()?);
        tokio::spawn(shutdown.run_until_cancelled_owned(keep_fresh(files, changed_at, renewed, LOOK_EVERY)));
        Ok(Self { config })
    }

    /// The handshake.
    ///
    /// # Errors
    /// When the client hangs up, or speaks something else.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, io: S) -> io::Result<TlsStream<S>> {
        let config = Arc::clone(&self.config.borrow());
        TlsAcceptor::from(config).accept(io).await
    }
}

async fn keep_fresh(
    files: Files,
    mut known: [Option<SystemTime>; 2],
    renewed: watch::Sender<Arc<ServerConfig>>,
    look_every: Duration,
) {
    loop {
        tokio::time::sleep(look_every).await;
        let changed_at = files.changed_at();
        if changed_at == known {
            continue;
        }
        // Whoever renews writes one file after the other: a pair that does not fit is looked at again.
        match files.config() {
            Ok(config) => {
                renewed.send_replace(config);
                known = changed_at;
                tracing::info!("the new TLS certificate is in use");
            }
            Err(error) => {
                tracing::error!(%error, "the TLS certificate was changed and cannot be used; the one before stays")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may")]

    use tempfile::TempDir;

    use super::*;

    struct Folder(TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn files(&self) -> Files {
            Files { certificate: self.0.path().join("cert.pem"), key: self.0.path().join("key.pem") }
        }

        fn write_pair(&self) -> Files {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            let files = self.files();
            std::fs::write(&files.certificate, made.cert.pem()).unwrap();
            std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
            files
        }
    }

    #[test]
    fn files_that_are_missing_empty_or_no_pair_are_refused_with_what_to_do() {
        let folder = Folder::new();
        let said = |files: &Files| files.read().unwrap_err().to_string();
        assert!(said(&folder.files()).contains("FITME_TLS_CERT"));
        let files = folder.write_pair();
        assert!(files.read().is_ok() && files.config().is_ok());
        let other = Folder::new().write_pair();
        assert!(
            matches!(Files { key: other.key, ..files.clone() }.read(), Err(TlsError::Key { .. })),
            "its folder is gone"
        );
        let other = Folder::new();
        other.write_pair();
        let mixed = Files { key: other.files().key, ..files.clone() };
        assert!(said(&mixed).contains("do not fit together"), "{}", said(&mixed));
        std::fs::write(&files.certificate, "nothing").unwrap();
        assert!(said(&files).contains("no certificate"), "{}", said(&files));
    }

    #[tokio::test]
    async fn a_renewed_certificate_is_taken_up_and_a_broken_one_is_not() {
        let folder = Folder::new();
        let files = folder.write_pair();
        let first = files.config().unwrap();
        let (renewed, mut config) = watch::channel(Arc::clone(&first));
        tokio::spawn(keep_fresh(files.clone(), [None, None], renewed, Duration::from_millis(1)));
        config.changed().await.unwrap();
        assert!(!Arc::ptr_eq(&config.borrow_and_update(), &first));
        std::fs::write(&files.key, "nothing").unwrap();
        assert!(files.config().is_err());
        folder.write_pair();
        config.changed().await.unwrap();
    }
}
