//! `llmtor init`

use std::path::PathBuf;

use serde::Serialize;

use crate::config::Layers;
use crate::control::message::{ChangedKey, ImportReport};
use crate::control::{Operation, Report};
use crate::datadir::{Home, HomeError};

use super::Context;
use super::arguments::InitOptions;
use super::exit::{Exit, Failure};
use super::keys;
use super::operate::{mismatch, operate_in};

#[derive(Serialize)]
pub(super) struct Done<'a> {
    home: String,
    identity_url: &'a str,
    anonymous_url: &'a str,
    #[serde(flatten)]
    keys: ImportReport,
    #[serde(skip)]
    config: PathBuf,
}

impl Done<'_> {
    /// What was done, for a person.
    pub(super) fn text(&self) -> String {
        let keys = keys::imported(&self.keys);
        format!("configured {} for {}\n{keys}", self.config.display(), self.identity_url)
    }
}

pub(super) async fn run(options: &InitOptions, context: &Context) -> Result<Exit, Failure> {
    let done = set_up(options, context).await?;
    context.output.result(&done, || format!("{}next: llmtor login", done.text()));
    Ok(Exit::Done)
}

/// Writes the configuration and pins the keys.
pub(super) async fn set_up<'a>(options: &'a InitOptions, context: &Context) -> Result<Done<'a>, Failure> {
    let identity_url = options.backend.as_str();
    let anonymous_url = options.anonymous_url.as_deref().unwrap_or(identity_url);
    // Everything that can be wrong with the arguments is found before anything is written.
    let mut check = Layers::defaults();
    check.flag("--backend", "backend.identity_url", identity_url)?;
    check.flag(
        if options.anonymous_url.is_some() { "--anonymous-url" } else { "--backend" },
        "backend.anonymous_url",
        anonymous_url,
    )?;
    check.finish()?;
    let files = keys::read(std::slice::from_ref(&options.keys))?;
    for file in &files {
        crate::keys::import::parse(&file.text).map_err(|error| {
            Failure::new(Exit::Usage, format!("{}: {error}", file.name)).advise(
                "--keys wants the operator's published keys; `llmtor keys import --help` says in which forms",
            )
        })?;
    }
    let home = Home::open(&context.home_path()?)?;
    if let Some(Rewritten { text, is_other }) =
        configuration(&home, identity_url, anonymous_url, options.force)?
    {
        // A session is its own backend's secret, and would go to the other one with the next question.
        if is_other
            && let Err(error) = std::fs::remove_file(home.session_path())
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(HomeError::Unreadable { path: home.session_path(), kind: error.kind() }.into());
        }
        write(&home, &text)?;
    }

    let config = context.config(Some(&home), &[])?;
    let changed = if options.force { ChangedKey::Replace } else { ChangedKey::Refuse };
    let operation = Operation::KeysImport { files, changed };
    let imported = operate_in(context.output, &home, &config, operation).await.map_err(|failure| {
        if failure.kind == "key_changed" {
            failure.advise("`llmtor keys import FILE --replace` pins the new ones, and so does this command with --force")
        } else {
            failure
        }
    })?;
    let Report::KeysImport(report) = imported else { return Err(mismatch()) };
    let (home, config) = (home.root().display().to_string(), home.config_path());
    Ok(Done { home, identity_url, anonymous_url, keys: report, config })
}

/// The configuration, changed.
struct Rewritten {
    text: String,
    /// Whether the account is another backend's from now on.
    is_other: bool,
}

/// The file's new text; `None` when it says the same already. A file that says something else is left alone without
/// `--force`.
fn configuration(
    home: &Home,
    identity_url: &str,
    anonymous_url: &str,
    force: bool,
) -> Result<Option<Rewritten>, Failure> {
    let path = home.config_path();
    let mut root = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => toml::Table::new(),
        Err(error) => return Err(HomeError::Unreadable { path, kind: error.kind() }.into()),
        Ok(text) => {
            let mut layers = Layers::defaults();
            layers.file(&path, &text)?;
            // Readable, as the layers have just seen.
            text.parse().unwrap_or_default()
        }
    };
    let backend = root.entry("backend").or_insert_with(|| toml::Value::Table(toml::Table::new()));
    let (mut changed, mut is_other) = (false, false);
    if let toml::Value::Table(backend) = backend {
        for (key, url) in [("identity_url", identity_url), ("anonymous_url", anonymous_url)] {
            let before = backend.insert(key.into(), toml::Value::String(url.into()));
            let before = before.as_ref().and_then(toml::Value::as_str);
            if before.is_some_and(|before| before != url) && !force {
                let before = before.unwrap_or_default();
                let message = format!("{} names another backend: {key} = \"{before}\"", path.display());
                return Err(Failure::new(Exit::Usage, message)
                    .advise("use --force to replace it, or another home (--home DIR)"));
            }
            changed |= before != Some(url);
            is_other |= key == "identity_url" && before.is_some_and(|before| before != url);
        }
    }
    if !changed {
        return Ok(None);
    }
    let text = toml::to_string(&root).map_err(|error| {
        Failure::new(Exit::Failed, format!("the configuration cannot be written: {error}"))
            .advise("write `[backend]` into config.toml by hand; config/llmtor.example.toml shows how")
    })?;
    let text = format!("# Every key and its default: config/llmtor.example.toml\n\n{text}");
    Ok(Some(Rewritten { text, is_other }))
}

fn write(home: &Home, text: &str) -> Result<(), Failure> {
    Ok(home.write_private(&home.config_path(), text.as_bytes())?)
}
