//! TLS to the backend, over a stream that Tor carries.
//!
//! Roots are the web's (`webpki-roots`), and those of a file for a backend that has its own; the machine's trust store is
//! not asked, since it differs from machine to machine. A certificate that is in that file itself is taken at its word: most
//! who make one for themselves make it an authority's. A pin narrows that to one key. Sessions are never resumed and no
//! ticket is kept: a resumed session would tie two calls together. No early data, no key log.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest as _, Sha256};
use tokio_rustls::TlsConnector;

use super::target::{Layer, Target};
use super::{Stream, TransportError, TransportErrorKind};

/// SHA-256 of the SubjectPublicKeyInfo of the only key that the backend's certificate may have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pin([u8; 32]);

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256/{}", STANDARD.encode(self.0))
    }
}

/// Not `sha256/` and the Base64 of 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pin is `sha256/` and the Base64 of the SHA-256 of the certificate's public key")]
pub struct InvalidPin;

impl FromStr for Pin {
    type Err = InvalidPin;

    fn from_str(text: &str) -> Result<Self, InvalidPin> {
        let encoded = text.strip_prefix("sha256/").ok_or(InvalidPin)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| InvalidPin)?;
        bytes.try_into().map(Self).map_err(|_| InvalidPin)
    }
}

/// Why there are no roots to judge by.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// Not PEM, or no certificate in it.
    #[error("the file of extra roots holds no PEM certificate")]
    NoCertificate,
    /// A certificate that cannot be a root.
    #[error("a certificate in the file of extra roots cannot be read")]
    BadCertificate,
    /// The TLS library's own settings; cannot be.
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

/// How the backend's certificate is judged.
#[derive(Clone)]
pub struct Tls {
    connector: TlsConnector,
}

impl Tls {
    /// The web's roots, those in `extra_roots` (PEM), and `pin` on top if there is one.
    pub fn new(extra_roots: Option<&[u8]>, pin: Option<Pin>) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        let mut own = Vec::new();
        if let Some(pem) = extra_roots {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|_| TlsError::NoCertificate)?;
                roots.add(certificate.clone()).map_err(|_| TlsError::BadCertificate)?;
                own.push(certificate);
            }
            if own.is_empty() {
                return Err(TlsError::NoCertificate);
            }
        }
        let setup = |error: &dyn fmt::Display| TlsError::Setup(error.to_string());
        let provider = Arc::new(ring::default_provider());
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .map_err(|error| setup(&error))?;
        let verifier = Arc::new(Verifier { chain, own, pin, provider: provider.clone() });
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| setup(&error))?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        config.enable_early_data = false;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { connector: TlsConnector::from(Arc::new(config)) })
    }

    /// What is spoken to `target` on `stream`: TLS, or nothing on top for an onion service. Cancel-safe; the
    /// caller sets the time limit.
    pub async fn layer(
        &self,
        stream: impl Stream + 'static,
        target: &Target,
    ) -> Result<Box<dyn Stream>, TransportError> {
        match target.layer() {
            Layer::Onion => Ok(Box::new(stream)),
            Layer::Tls => self.wrap(stream, target.host()).await,
        }
    }

    /// Shakes hands as a client of `host`.
    async fn wrap(
        &self,
        stream: impl Stream + 'static,
        host: &str,
    ) -> Result<Box<dyn Stream>, TransportError> {
        let connect = || TransportError::new(TransportErrorKind::Connect);
        let name = ServerName::try_from(host.to_owned()).map_err(|_| connect())?;
        match self.connector.connect(name, stream).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => {
                let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
                let kind = match inner {
                    Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
                        TransportErrorKind::Certificate
                    }
                    _ => TransportErrorKind::Connect,
                };
                Err(TransportError::new(kind))
            }
        }
    }
}

/// The chain as the web judges it, then the pin.
struct Verifier {
    chain: Arc<WebPkiServerVerifier>,
    /// Those of the file of extra roots.
    own: Vec<CertificateDer<'static>>,
    pin: Option<Pin>,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let judged =
            self.chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let verified = match judged {
            // All but that is in order, its dates among it; the name is looked at after it.
            Err(error) if self.own.contains(end_entity) && is_authority_at_the_end(&error) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                ServerCertVerified::assertion()
            }
            judged => judged?,
        };
        if let Some(pin) = self.pin {
            let parsed = ParsedCertificate::try_from(end_entity)?;
            let key = parsed.subject_public_key_info();
            if Pin(Sha256::digest(key.as_ref()).into()) != pin {
                return Err(CertificateError::ApplicationVerificationFailure.into());
            }
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Whether what is wrong is only that an authority's certificate stands where a server's should.
fn is_authority_at_the_end(error: &rustls::Error) -> bool {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(other)) => {
            other.0.downcast_ref::<webpki::Error>() == Some(&webpki::Error::CaUsedAsEndEntity)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
    use rustls::pki_types::PrivateKeyDer;
    use rustls::{HandshakeKind, ServerConfig};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_rustls::TlsAcceptor;

    use super::*;

    struct Server {
        roots: String,
        pin: Pin,
        acceptor: TlsAcceptor,
    }

    fn server(change: impl FnOnce(&mut CertificateParams)) -> Server {
        let ca_key = KeyPair::generate().unwrap();
        let mut ca = CertificateParams::new(Vec::<String>::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = ca.self_signed(&ca_key).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut leaf =
            CertificateParams::new(vec!["backend.test".to_owned(), "127.0.0.9".to_owned()]).unwrap();
        change(&mut leaf);
        let leaf = leaf.signed_by(&key, &ca, &ca_key).unwrap();
        let pin = Pin(Sha256::digest(key.public_key_der()).into());
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        assert!(config.send_tls13_tickets > 0, "resumption is offered");
        Server { roots: ca.pem(), pin, acceptor: TlsAcceptor::from(Arc::new(config)) }
    }

    /// The handshake's outcome at the client, and what kind it was for the server.
    async fn shake(
        server: &Server,
        tls: &Tls,
        host: &str,
    ) -> (Option<TransportErrorKind>, Option<HandshakeKind>) {
        let (near, far) = tokio::io::duplex(1 << 16);
        let acceptor = server.acceptor.clone();
        let serving = tokio::spawn(async move {
            let mut stream = acceptor.accept(far).await.ok()?;
            let kind = stream.get_ref().1.handshake_kind();
            let mut byte = [0];
            stream.read_exact(&mut byte).await.ok()?;
            stream.write_all(&byte).await.ok()?;
            stream.flush().await.ok()?;
            kind
        });
        match tls.wrap(near, host).await {
            Ok(mut stream) => {
                // Read, so that tickets are taken notice of.
                stream.write_all(b"x").await.unwrap();
                stream.flush().await.unwrap();
                let mut byte = [0];
                stream.read_exact(&mut byte).await.unwrap();
                drop(stream);
                (None, serving.await.unwrap())
            }
            Err(error) => {
                let _ = serving.await.unwrap();
                (Some(error.kind()), None)
            }
        }
    }

    fn trusting(server: &Server, pin: Option<Pin>) -> Tls {
        Tls::new(Some(server.roots.as_bytes()), pin).unwrap()
    }

    #[tokio::test]
    async fn extra_roots_are_trusted_for_names_and_addresses() {
        let server = server(|_| ());
        let tls = trusting(&server, None);
        assert_eq!(shake(&server, &tls, "backend.test").await.0, None);
        assert_eq!(shake(&server, &tls, "127.0.0.9").await.0, None);
    }

    #[tokio::test]
    async fn whoever_the_web_does_not_vouch_for_is_refused() {
        let server = server(|_| ());
        let refused = Some(TransportErrorKind::Certificate);
        assert_eq!(shake(&server, &Tls::new(None, None).unwrap(), "backend.test").await.0, refused);
        assert_eq!(shake(&server, &trusting(&server, None), "other.test").await.0, refused);
    }

    #[tokio::test]
    async fn a_certificate_that_has_expired_is_refused() {
        let server = server(|leaf| leaf.not_after = rcgen::date_time_ymd(2020, 1, 1));
        let outcome = shake(&server, &trusting(&server, None), "backend.test").await.0;
        assert_eq!(outcome, Some(TransportErrorKind::Certificate));
    }

    #[tokio::test]
    async fn a_certificate_that_is_a_root_itself_is_taken_for_its_names_and_in_its_time() {
        let own = |change: fn(&mut CertificateParams)| {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(vec!["backend.test".to_owned()]).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            change(&mut params);
            let certificate = params.self_signed(&key).unwrap();
            let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(
                    vec![certificate.der().clone()],
                    PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
                )
                .unwrap();
            let pin = Pin(Sha256::digest(key.public_key_der()).into());
            Server { roots: certificate.pem(), pin, acceptor: TlsAcceptor::from(Arc::new(config)) }
        };
        let (mine, other) = (own(|_| ()), own(|_| ()));
        assert_eq!(shake(&mine, &trusting(&mine, None), "backend.test").await.0, None);
        assert_eq!(shake(&mine, &trusting(&mine, Some(mine.pin)), "backend.test").await.0, None);
        let refused = Some(TransportErrorKind::Certificate);
        assert_eq!(shake(&mine, &trusting(&mine, None), "other.test").await.0, refused);
        assert_eq!(shake(&mine, &trusting(&other, None), "backend.test").await.0, refused);
        assert_eq!(shake(&mine, &trusting(&mine, Some(other.pin)), "backend.test").await.0, refused);
        let late = own(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
        assert_eq!(shake(&late, &trusting(&late, None), "backend.test").await.0, refused);
    }

    #[tokio::test]
    async fn a_pin_allows_one_key_only() {
        let server = server(|_| ());
        let right = trusting(&server, Some(server.pin.to_string().parse().unwrap()));
        assert_eq!(shake(&server, &right, "backend.test").await.0, None);
        let wrong = trusting(&server, Some(Pin([7; 32])));
        assert_eq!(shake(&server, &wrong, "backend.test").await.0, Some(TransportErrorKind::Certificate));
    }

    #[tokio::test]
    async fn no_session_is_ever_resumed() {
        let server = server(|_| ());
        let tls = trusting(&server, None);
        for _ in 0..3 {
            let (_, kind) = shake(&server, &tls, "backend.test").await;
            assert!(matches!(kind, Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest)));
        }
    }

    #[test]
    fn what_is_no_pin_or_no_certificate_is_refused() {
        for text in ["", "sha256/", "sha256/AAAA", "md5/x", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="] {
            assert_eq!(text.parse::<Pin>(), Err(InvalidPin), "{text}");
        }
        assert_eq!(Tls::new(Some(b"no pem"), None).err(), Some(TlsError::NoCertificate));
    }
}
