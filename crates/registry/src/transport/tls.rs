//! TLS: one provider (ring), the system's authorities read when the first HTTPS connection needs them, and what
//! is configured for a host.

use std::fs;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::crypto::CryptoProvider;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use crate::config::{ConfigError, HostConfig};

/// The authorities of this machine, read once.
#[derive(Debug, Default)]
pub(super) struct SystemRoots(OnceLock<Vec<Certificate<'static>>>);

impl SystemRoots {
    fn get(&self) -> &[Certificate<'static>] {
        self.0.get_or_init(|| {
            let found = rustls_native_certs::load_native_certs().certs;
            found.iter().map(|der| Certificate::from_der(der).to_owned()).collect()
        })
    }

    #[cfg(test)]
    pub(super) fn were_read(&self) -> bool {
        self.0.get().is_some()
    }
}

/// Returns the TLS settings for `domain`.
pub(super) fn settings(
    domain: &str,
    host: Option<&HostConfig>,
    roots: &SystemRoots,
) -> Result<TlsConfig, ConfigError> {
    let builder = TlsConfig::builder().unversioned_rustls_crypto_provider(provider());
    let Some(host) = host else {
        return Ok(builder.root_certs(trusted(roots, Vec::new())?).build());
    };
    let mut extra = Vec::new();
    for path in &host.ca_files {
        extra.extend(certificates(domain, path)?);
    }
    let roots = if host.skip_verify { RootCerts::new_with_certs(&[]) } else { trusted(roots, extra)? };
    let client = match (&host.client_cert, &host.client_key) {
        (Some(cert), Some(key)) => Some(client_cert(domain, cert, key)?),
        _ => None,
    };
    Ok(builder.root_certs(roots).disable_verification(host.skip_verify).client_cert(client).build())
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())))
}

fn trusted(roots: &SystemRoots, mut extra: Vec<Certificate<'static>>) -> Result<RootCerts, ConfigError> {
    extra.extend_from_slice(roots.get());
    if extra.is_empty() { Err(ConfigError::NoRoots) } else { Ok(RootCerts::from(extra)) }
}

fn read(domain: &str, path: &Path) -> Result<Vec<u8>, ConfigError> {
    fs::read(path).map_err(|error| unusable(domain, path, error.to_string()))
}

fn unusable(domain: &str, path: &Path, reason: impl Into<String>) -> ConfigError {
    ConfigError::File { domain: domain.to_owned(), path: path.to_owned(), reason: reason.into() }
}

fn certificates(domain: &str, path: &Path) -> Result<Vec<Certificate<'static>>, ConfigError> {
    let bytes = read(domain, path)?;
    let mut found = Vec::new();
    for item in parse_pem(&bytes) {
        if let PemItem::Certificate(certificate) =
            item.map_err(|_| unusable(domain, path, "it is not PEM"))?
        {
            found.push(certificate);
        }
    }
    if found.is_empty() { Err(unusable(domain, path, "it has no certificate")) } else { Ok(found) }
}

fn client_cert(domain: &str, cert: &Path, key: &Path) -> Result<ClientCert, ConfigError> {
    let chain = certificates(domain, cert)?;
    let key_bytes = read(domain, key)?;
    let private =
        PrivateKey::from_pem(&key_bytes).map_err(|_| unusable(domain, key, "it has no private key"))?;
    check_pair(&chain, &key_bytes).map_err(|reason| unusable(domain, key, reason))?;
    Ok(ClientCert::new_with_certs(&chain, private))
}

/// Tries the pair: the client library panics on one that does not fit.
fn check_pair(chain: &[Certificate<'static>], key: &[u8]) -> Result<(), String> {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let chain = chain.iter().map(|certificate| CertificateDer::from(certificate.der().to_vec())).collect();
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| "it has no private key")?;
    let builder = rustls::ClientConfig::builder_with_provider(provider());
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let builder = builder.with_root_certificates(rustls::RootCertStore::empty());
    builder.with_client_auth_cert(chain, key).map(drop).map_err(|error| error.to_string())
}
