//! Whom the device believes to be a server: who has a certificate of an authority that browsers know, or of one that the
//! person names, for a server at home that no public authority vouches for.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::error::ServerError;

/// Names a file (PEM) of certificates of authorities that are believed as well.
const CA_VARIABLE: &str = "FITME_CA_FILE";

/// How TLS is spoken, by WebSocket and HTTP alike.
///
/// # Errors
/// When the file that names further authorities cannot be used.
pub fn tls() -> Result<Arc<ClientConfig>, ServerError> {
    static CONFIG: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();
    CONFIG.get_or_init(config).clone().map_err(ServerError::BadCaFile)
}

fn config() -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(file) = std::env::var_os(CA_VARIABLE).filter(|file| !file.is_empty()) {
        let file = Path::new(&file);
        add(&mut roots, file).map_err(|reason| format!("{} ({reason})", file.display()))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(Arc::new(config.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth()))
}

fn add(roots: &mut RootCertStore, file: &Path) -> Result<(), String> {
    let mut found = 0;
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| error.to_string())? {
        roots.add(certificate.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
        found += 1;
    }
    if found == 0 { Err("it holds no certificate".to_owned()) } else { Ok(()) }
}
