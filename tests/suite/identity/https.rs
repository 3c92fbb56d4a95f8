//! The identity plane over HTTPS: the real binary, a real TLS server in front of the reference backend, and
//! a certificate authority that the binary is told of by `SSL_CERT_FILE`.

use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, KeyPair, date_time_ymd};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto};

use super::{MODEL, SESSION};
use crate::support::program::{self, Program};

struct Authority {
    certificate: Certificate,
    key: KeyPair,
}

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("key");
    Authority { certificate: params.self_signed(&key).expect("authority"), key }
}

/// A TLS server that ends the encryption and passes on to a backend, if there is one.
struct Front {
    port: u16,
    /// The handshakes that were begun, and every decrypted byte of the clients.
    seen: Arc<Mutex<(usize, Vec<u8>)>>,
}

impl Front {
    async fn start(issuer: &Authority, params: CertificateParams, backend: Option<String>) -> Self {
        let key = KeyPair::generate().expect("key");
        let certificate = params.signed_by(&key, &issuer.certificate, &issuer.key).expect("certificate");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("configuration");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listener");
        let port = listener.local_addr().expect("address").port();
        let seen = Arc::<Mutex<(usize, Vec<u8>)>>::default();
        let told = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                told.lock().expect("seen").0 += 1;
                tokio::spawn(pass(acceptor.clone(), stream, backend.clone(), Arc::clone(&told)));
            }
        });
        Self { port, seen }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    fn heard(&self) -> (usize, String) {
        let seen = self.seen.lock().expect("seen");
        (seen.0, String::from_utf8_lossy(&seen.1).into_owned())
    }
}

#[expect(clippy::disallowed_methods, reason = "a test stands outside the house and dials it")]
async fn pass(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    backend: Option<String>,
    seen: Arc<Mutex<(usize, Vec<u8>)>>,
) {
    let Ok(client) = acceptor.accept(stream).await else { return };
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (from_backend, mut to_backend) = match backend {
        Some(address) => {
            let (from, to) = TcpStream::connect(address).await.expect("backend").into_split();
            (Some(from), Some(to))
        }
        None => (None, None),
    };
    let upwards = async {
        let mut bytes = vec![0; 16 * 1024];
        while let Ok(read @ 1..) = from_client.read(&mut bytes).await {
            seen.lock().expect("seen").1.extend_from_slice(&bytes[..read]);
            if let Some(backend) = &mut to_backend {
                backend.write_all(&bytes[..read]).await.expect("passed on");
            }
        }
    };
    let downwards = async {
        if let Some(mut backend) = from_backend {
            let _ = tokio::io::copy(&mut backend, &mut to_client).await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = upwards => {}
        () = downwards => {}
    }
}

/// `llmtor` in a home of `room`, trusting the authorities in `room/ca.pem` and no other.
async fn client(room: &Path, arguments: &[&str], input: &str) -> Output {
    let mut command = program::command(room);
    command.args(["--home", "client"]).args(arguments).env("SSL_CERT_FILE", room.join("ca.pem"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let input = input.to_owned();
    tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().expect("started");
        std::io::Write::write_all(&mut child.stdin.take().expect("stdin"), input.as_bytes())
            .expect("written");
        child.wait_with_output().expect("ended")
    })
    .await
    .expect("joined")
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("text")
}

async fn init(room: &Path, url: &str, keys: &str) {
    std::fs::write(room.join("keys.json"), keys).expect("keys");
    let arguments =
        ["init", "--backend", url, "--anonymous-url", "http://127.0.0.1:1", "--keys", "keys.json"];
    stdout(&client(room, &arguments, "").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn login_account_and_minting_work_over_https() {
    let dir = tempfile::tempdir().expect("directory");
    let room = dir.path();
    let settings = format!("[models.\"{MODEL}\"]\nprovider = \"embedded\"\n");
    std::fs::write(room.join("backend.toml"), settings).expect("settings");
    let credits = format!("{MODEL}=3");
    program::run(room, &["backend", "init", "--home", "backend", "--config", "backend.toml"], "");
    let added = ["backend", "account", "add", "alice", "--credits", &credits, "--home", "backend", "--json"];
    let added: serde_json::Value =
        serde_json::from_slice(&program::run(room, &added, "").stdout).expect("JSON");
    let session = added["session"].as_str().expect("session").to_owned();
    let keys = program::run(room, &["backend", "keys", "export", "--home", "backend"], "").stdout;
    let mut backend =
        Program::start(room, &["backend", "serve", "--home", "backend", "--listen", "127.0.0.1:0", "--json"]);
    let ready = backend.ready();
    let address = ready
        .as_object()
        .expect("object")
        .values()
        .find_map(|value| value.as_str()?.strip_prefix("http://"))
        .expect("address")
        .trim_end_matches('/')
        .to_owned();

    let authority = authority("ours");
    std::fs::write(room.join("ca.pem"), authority.certificate.pem()).expect("authority");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
    let front = Front::start(&authority, params, Some(address)).await;
    init(room, &front.url(), std::str::from_utf8(&keys).expect("text")).await;
    stdout(&client(room, &["login", "--session-stdin"], &session).await);
    let account = stdout(&client(room, &["account", "--json"], "").await);
    let account: serde_json::Value = serde_json::from_str(&account).expect("JSON");
    assert_eq!(account["credits"][MODEL], 3);
    stdout(&client(room, &["tokens", "mint", "--model", MODEL, "--count", "2", "--now"], "").await);
    let account = stdout(&client(room, &["account", "--json"], "").await);
    let account: serde_json::Value = serde_json::from_str(&account).expect("JSON");
    assert_eq!(account["credits"][MODEL], 1);
    let (_, heard) = front.heard();
    assert!(heard.contains("GET /api/v1/me HTTP/1.1") && heard.contains(&session));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_proves_nothing_is_named_and_the_session_is_not_sent() {
    let dir = tempfile::tempdir().expect("directory");
    let [trusted, other, namesake] = ["ours", "another", "ours"].map(authority);
    std::fs::write(dir.path().join("ca.pem"), trusted.certificate.pem()).expect("authority");
    let named = |name: &str| CertificateParams::new(vec![name.to_owned()]).expect("parameters");
    let mut expired = named("localhost");
    expired.not_before = date_time_ymd(2020, 1, 1);
    expired.not_after = date_time_ymd(2021, 1, 1);
    let mut early = named("localhost");
    early.not_before = date_time_ymd(4000, 1, 1);
    early.not_after = date_time_ymd(4001, 1, 1);
    for (case, issuer, params, says) in [
        ("untrusted", &other, named("localhost"), "no certificate authority that this machine trusts"),
        ("forged", &namesake, named("localhost"), "no certificate authority that this machine trusts"),
        ("expired", &trusted, expired, "it has expired"),
        ("early", &trusted, early, "it is not valid yet"),
        ("misnamed", &trusted, named("elsewhere.example"), "it is for another host name"),
    ] {
        let room = dir.path().join(case);
        std::fs::create_dir(&room).expect("room");
        std::fs::copy(dir.path().join("ca.pem"), room.join("ca.pem")).expect("authority");
        let front = Front::start(issuer, params, None).await;
        let key = super::issuer::public_key(0).to_spki_pem().expect("pem");
        init(&room, &front.url(), &serde_json::json!({ MODEL: key }).to_string()).await;
        let output = client(&room, &["login", "--session-stdin"], SESSION).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success());
        assert!(
            said.contains("the backend's certificate was refused") && said.contains(says),
            "{case}: {said}"
        );
        assert!(said.contains("Nothing was sent") && !said.contains(SESSION), "{case}: {said}");
        let (handshakes, heard) = front.heard();
        assert!(handshakes > 0, "{case}: it was not asked at all");
        assert_eq!(heard, "", "{case}");
        assert!(!room.join("client/session.sealed").exists(), "{case}");
    }
}
