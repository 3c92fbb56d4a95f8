//! `llmtor backend …`

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
        BackendCommand::Serve { listen, config: file } => {
            serve(context, &home, listen, file, config.server.grace()).await
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
        BackendCommand::Keys(BackendKeysCommand::Export) => {
            let settings = settings(&home, None)?;
            let backend = blocking(move |home| open(home, settings), &home).await?;
            let keys = backend.export_keys();
            context.output.result(&keys, || serde_json::to_string_pretty(&keys).unwrap_or_default());
            Ok(Exit::Done)
        }
    }
}

async fn serve(
    context: &Context,
    home: &Path,
    listen: SocketAddr,
    file: Option<PathBuf>,
    grace: std::time::Duration,
) -> Result<Exit, Failure> {
    let mut signals = signals()?;
    let listener =
        TcpListener::bind(listen).await.and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (address, listener) = listener.map_err(|error| {
        Failure::new(Exit::Failed, format!("{listen} cannot be listened on: {error}"))
            .advise("stop the program that uses it, or choose another address with --listen")
    })?;
    let settings = settings(home, file.as_deref())?;
    let backend = blocking(
        move |home| {
            Backend::init(home, &settings)?;
            open(home, settings)
        },
        home,
    )
    .await?;
    let mut supervisor = Supervisor::new(grace);
    supervisor.part("the backend", backend.serve(listener, supervisor.stop(), grace));
    let base_url = format!("http://{address}");
    let ready = json!({ "event": "ready", "base_url": base_url });
    context.output.result(&ready, || format!("the backend is ready at {base_url}\nCtrl-C stops it"));
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
    Settings::load(path).map_err(|error| Failure::new(Exit::Usage, error.to_string()))
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
        .map_err(|_| Failure::new(Exit::Failed, "an internal task stopped; start llmtor again"))?
        .map_err(Failure::from)
}
