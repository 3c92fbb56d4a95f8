//! `llmtor backend …`

mod invite;
mod store;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::json;
use tokio::net::TcpListener;

use crate::app::demo::backend_settings;
use crate::backend::{Backend, BackendError, SETTINGS_FILE, Settings};
use crate::clock::SystemClock;
use crate::datadir::Home;
use crate::supervisor::Supervisor;
use crate::wire::ModelName;

use super::Context;
use super::arguments::{BackendAccountCommand, BackendCommand, BackendKeysCommand};
use super::exit::{Exit, Failure};
use super::serve::{ended, signals};

pub(super) async fn run(command: BackendCommand, context: &Context) -> Result<Exit, Failure> {
    // Only the log level of the client's settings means anything here.
    let config = context.config(None, &[])?;
    let home = home(context)?;
    match command {
        BackendCommand::Serve { listen, onion, config: file } => {
            let plane = if onion { AnonymousPlane::Onion } else { AnonymousPlane::Listener };
            serve(context, &home, Serving { listen, file, plane, grace: config.server.grace() }).await
        }
        BackendCommand::Init { config: file } => {
            let settings = settings(&home, file.as_deref())?;
            blocking(move |home| Backend::init(home, &settings), &home).await?;
            let done = json!({ "event": "done", "home": home });
            context.output.result(&done, || format!("the backend's home is {}", home.display()));
            Ok(Exit::Done)
        }
        BackendCommand::Account(BackendAccountCommand::Add { name, credits }) => {
            add_account(context, &home, name, credits).await
        }
        BackendCommand::Invite(command) => invite::run(command, &home, context).await,
        BackendCommand::Voucher(command) => store::vouchers(command, context, &home).await,
        BackendCommand::Sales => store::sales(context, &home).await,
        BackendCommand::Keys(BackendKeysCommand::Export) => {
            let settings = settings(&home, None)?;
            let backend = blocking(move |home| open(home, settings), &home).await?;
            let keys = backend.export_keys();
            context.output.result(&keys, || serde_json::to_string_pretty(&keys).unwrap_or_default());
            Ok(Exit::Done)
        }
    }
}

/// What `backend serve` is told.
struct Serving {
    listen: SocketAddr,
    file: Option<PathBuf>,
    plane: AnonymousPlane,
    grace: std::time::Duration,
}

/// Where the anonymous plane is served.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AnonymousPlane {
    /// At the listener.
    Listener,
    /// As an onion service.
    Onion,
}

async fn serve(context: &Context, home: &Path, serving: Serving) -> Result<Exit, Failure> {
    let Serving { listen, file, plane, grace } = serving;
    let mut signals = signals()?;
    let listener =
        TcpListener::bind(listen).await.and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (address, listener) = listener.map_err(|error| {
        Failure::new(Exit::Failed, format!("{listen} cannot be listened on: {error}"))
            .advise("stop the program that uses it, or choose another address with --listen")
    })?;
    if !address.ip().is_loopback() {
        tracing::warn!(
            %address,
            "sessions, invite codes and prompts cross the network in clear: put a TLS proxy in front, or listen on 127.0.0.1"
        );
    }
    let settings = settings(home, file.as_deref())?;
    let (backend, onion) = blocking(
        move |home| {
            Backend::init(home, &settings)?;
            let onion = match plane {
                AnonymousPlane::Listener => None,
                AnonymousPlane::Onion => Some(Backend::onion(home, &settings.tor, SystemClock::shared())?),
            };
            let beside = onion.is_some().then(|| settings.planes_beside_onion());
            let backend = open(home, settings)?;
            backend.check_secrets()?;
            Ok((beside.map_or(backend.clone(), |planes| backend.with_planes(planes)), onion))
        },
        home,
    )
    .await?;
    let mut supervisor = Supervisor::new(grace);
    let base_url = format!("http://{address}");
    let onion_url = onion.as_ref().map(|host| format!("http://{}", host.address()));
    if let Some(host) = onion {
        let backend = backend.clone();
        supervisor.part("the onion service", backend.serve_onion(host, supervisor.stop(), grace));
    }
    supervisor.part("the backend", backend.serve(listener, supervisor.stop(), grace));
    let mut ready = json!({ "event": "ready", "base_url": base_url });
    if let Some(url) = &onion_url {
        ready["onion_url"] = json!(url);
    }
    context.output.result(&ready, || {
        let onion = onion_url
            .iter()
            .map(|url| format!("the anonymous plane is at {url}; Tor may take a minute to make it known\n"));
        let onion: String = onion.collect();
        format!("the backend is ready at {base_url}\n{onion}Ctrl-C stops it")
    });
    ended(supervisor.run(&mut signals).await)
}

async fn add_account(
    context: &Context,
    home: &Path,
    name: String,
    credits: Vec<(ModelName, i64)>,
) -> Result<Exit, Failure> {
    let settings = settings(home, None)?;
    let mut counts = BTreeMap::new();
    for (model, count) in credits {
        *counts.entry(model).or_insert(0_i64) += count;
    }
    let account = name.clone();
    let session = blocking(move |home| open(home, settings)?.add_account(&account, &counts), home).await?;
    let result = json!({ "name": name, "session": session.expose() });
    context.output.remark("the session of the new account; it is shown this once:");
    context.output.result(&result, || session.expose().to_owned());
    Ok(Exit::Done)
}

/// `--home`, `LLMTOR_HOME`, or `backend` in the platform's place.
fn home(context: &Context) -> Result<PathBuf, Failure> {
    let default = || Home::default_path().map(|path| path.join("backend"));
    context.named_home().or_else(default).ok_or_else(|| {
        Failure::new(Exit::Usage, "this system names no place for data").advise("name one with --home DIR")
    })
}

/// The named file, the home's own, or the built-in ones.
fn settings(home: &Path, file: Option<&Path>) -> Result<Settings, Failure> {
    let own = home.join(SETTINGS_FILE);
    let path = match file {
        Some(file) => file,
        None if own.exists() => &own,
        None => return Ok(backend_settings()),
    };
    Settings::load(path).map_err(|error| BackendError::from(error).into())
}

fn open(home: &Path, settings: Settings) -> Result<Backend, BackendError> {
    Backend::open(home, settings, SystemClock::shared())
}

/// The backend's set-up makes keys and opens databases: not on the runtime's own threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce(&Path) -> Result<T, BackendError> + Send + 'static,
    home: &Path,
) -> Result<T, Failure> {
    let home = home.to_owned();
    let result = tokio::task::spawn_blocking(move || work(&home)).await;
    result
        .map_err(|_| Failure::new(Exit::Failed, "an internal task stopped").advise("start llmtor again"))?
        .map_err(Failure::from)
}
