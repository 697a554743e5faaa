//! TLS for doubles: a certificate for `localhost`, good until 2126, and the authority that signed it. Whoever is told to
//! trust that authority (`SSL_CERT_FILE`) can be seen to talk to nobody else. The key protects nothing.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsAcceptor;

/// The authority's certificate.
pub(crate) const AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/tls/ca.pem");

/// A connection, encrypted or not.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

fn acceptor() -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("tls/localhost.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/localhost.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap()))
}

/// The server's side of a handshake.
pub(crate) async fn accept(stream: Box<dyn Stream>) -> std::io::Result<Box<dyn Stream>> {
    Ok(Box::new(acceptor().accept(stream).await?))
}

/// The connection as it is, or encrypted from the first byte.
pub(crate) async fn open(stream: TcpStream, encrypted: bool) -> std::io::Result<Box<dyn Stream>> {
    let stream: Box<dyn Stream> = Box::new(stream);
    if encrypted { accept(stream).await } else { Ok(stream) }
}
