//! `llmtor restore`

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::app::AppError;
use crate::app::restore::{Restoration, Restored, Taken};
use crate::backup::Passphrase;
use crate::backup::archive::Unlock;
use crate::blind::PublicKey;
use crate::config::Config;
use crate::control::message::KeyReport;
use crate::control::message::backup::{TakeOverReport, sentence};
use crate::control::{Operation, Report};
use crate::datadir::Home;
use crate::keys::{KeyName, store};
use crate::secret::Secret;
use crate::vault::Custody;

use super::Context;
use super::arguments::RestoreOptions;
use super::exit::{Exit, Failure};
use super::operate::{check_home, mismatch, operate_in};
use super::passphrase::{self, Purpose};
use super::status::paused;
use super::typed;

/// More than any vault is large, bytes.
const LIMIT: u64 = 1 << 30;
/// More than any identity file is long, bytes.
const IDENTITY_LIMIT: u64 = 1 << 20;

#[derive(Serialize)]
struct Done {
    home: PathBuf,
    /// When the backup was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    made: Option<String>,
    custody: Custody,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<Destination>,
    /// Settings that were not taken.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    settings_left_out: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    taken_over: Option<TakeOverReport>,
}

/// Where sessions and prompts go from a restored home, for its owner to look at.
#[derive(Serialize)]
struct Destination {
    identity_url: Option<String>,
    anonymous_url: Option<String>,
    keys: Vec<KeyReport>,
}

pub(super) async fn run(options: RestoreOptions, context: &Context) -> Result<Exit, Failure> {
    let Some(file) = &options.file else {
        check_home(context)?;
        let (home, config) = context.open(&[])?;
        let report = take_over(context, &home, &config, custody(context, &home, &config).await?).await?;
        let home = home.root().to_owned();
        let taken_over = Some(report);
        finish(
            context,
            &Done {
                home,
                made: None,
                custody: Custody::Ours,
                backend: None,
                settings_left_out: Vec::new(),
                taken_over,
            },
        );
        return Ok(Exit::Done);
    };
    let sealed = read(file, LIMIT)?;
    let unlock = match &options.identity {
        Some(path) => Unlock::Identity(text(path)?),
        None => {
            Unlock::Passphrase(Passphrase::new(passphrase::read(&options.passphrase, Purpose::Open).await?))
        }
    };
    let taken = match options.identity {
        Some(_) if !options.all_settings => Taken::Harmless,
        _ => Taken::All,
    };
    let file_sum = sum(&sealed);
    let target = context.home_path()?;
    let begun = tokio::task::spawn_blocking(move || Restoration::begin(&target, &sealed, &unlock, taken));
    let begun = begun.await.map_err(|_| Failure::from(AppError::Internal))??;
    let config = context.config(Some(begun.home()), &[])?;
    let backend = destination(begun.home(), &config)?;
    let left_out = begun.left_out().to_vec();
    let Restored { home, manifest } = begun.finish(&config).await?;
    // Before anything is typed that lets it be used.
    let made_by_anybody = options.identity.is_some().then_some(file_sum.as_str());
    context.output.remark(&presented(&backend, made_by_anybody, &left_out, &home));

    let wanted = options.take_over || (std::io::stdin().is_terminal() && !context.output.is_json());
    let taken_over = if wanted {
        match take_over(context, &home, &config, Custody::Restored).await {
            Ok(report) => Some(report),
            // The home is restored all the same, and stays paused.
            Err(failure) if !options.take_over => {
                context.output.remark(&failure.message);
                None
            }
            Err(failure) => return Err(failure),
        }
    } else {
        None
    };
    let custody = if taken_over.is_some() { Custody::Ours } else { Custody::Restored };
    let home = home.root().to_owned();
    finish(
        context,
        &Done {
            home,
            made: Some(manifest.made),
            custody,
            backend: Some(backend),
            settings_left_out: left_out,
            taken_over,
        },
    );
    Ok(Exit::Done)
}

/// SHA-256, as `sha256sum` prints it.
fn sum(file: &[u8]) -> String {
    use sha2::Digest as _;
    crate::backup::hex(&sha2::Sha256::digest(file))
}

fn destination(home: &Home, config: &Config) -> Result<Destination, Failure> {
    let report = |(name, key): (KeyName, &PublicKey)| KeyReport {
        name: name.to_string(),
        fingerprint: key.fingerprint().to_string(),
    };
    let url = |url: Option<&url::Url>| url.map(ToString::to_string);
    Ok(Destination {
        identity_url: url(config.backend.identity_url()),
        anonymous_url: url(config.backend.anonymous_url()),
        keys: store::load(home).map_err(AppError::from)?.iter().map(report).collect(),
    })
}

/// With the sum of a file of which nothing shows who made it.
fn presented(backend: &Destination, sum: Option<&str>, left_out: &[String], home: &Home) -> String {
    let Destination { identity_url, anonymous_url, keys } = backend;
    let mut text = String::from("in the backup:");
    for (plane, url) in [("identity plane", identity_url), ("anonymous plane", anonymous_url)] {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n  {plane}: {}", url.as_deref().unwrap_or("none"));
    }
    for key in keys {
        let _ = write!(text, "\n  key of {}: {}", key.name, key.fingerprint);
    }
    if let Some(sum) = sum {
        let _ = write!(
            text,
            "\nnothing proves who made this file: whoever knows the recipient can seal one, with a backend, keys and a vault of \
             their own, whose abuse tokens would tell them your calls. Compare these with what the operator publishes, and \
             the file's SHA-256 with what `llmtor backup` said when you made it, before you log in or take over:\n  {sum}"
        );
    }
    if !left_out.is_empty() {
        let _ = write!(
            text,
            "\nthese settings were left out, because somebody else could have put them there to start a program or to end \
             your anonymity. Those that are yours (bridges, a proxy, a browser) put into {} before you start llmtor; or restore \
             with --all-settings into another home:",
            home.config_path().display()
        );
        for line in left_out {
            let _ = write!(text, "\n  {line}");
        }
    }
    text
}

fn finish(context: &Context, done: &Done) {
    context.output.result(done, || {
        let mut text = match &done.made {
            Some(made) => format!(
                "the backup of {made} is restored in {}; log in again before minting: {}",
                done.home.display(),
                context.command("login")
            ),
            None => String::new(),
        };
        if let Some(report) = &done.taken_over {
            text += "\nthis vault's tokens are spent from here now; any that were spent elsewhere meanwhile are dropped when \
                     they are met";
            if let Some(until) = &report.resting_until {
                let _ = write!(
                    text,
                    "\nfirst they rest: they may be used from {until} on, because a call of the old machine may still be \
                     under way"
                );
            }
            if let Some(retired) = &report.retired {
                // Writing to a String cannot fail.
                let _ = write!(text, "\nretired: {}", retired.display());
            }
        }
        if let Some(paused) = paused(context, done.custody) {
            text += "\nPAUSED: ";
            text += &paused;
        }
        text.trim_start().to_owned()
    });
}

async fn custody(context: &Context, home: &Home, config: &Config) -> Result<Custody, Failure> {
    let Report::Status(report) = operate_in(context.output, home, config, Operation::Status).await? else {
        return Err(mismatch());
    };
    Ok(report.custody)
}

/// Has the sentence typed, and lets the vault spend.
async fn take_over(
    context: &Context,
    home: &Home,
    config: &Config,
    custody: Custody,
) -> Result<TakeOverReport, Failure> {
    let sentence = match sentence(custody) {
        Some(expected) if std::io::stdin().is_terminal() => {
            context.output.remark(&format!(
                "A token that two vaults spend shows the answer to one's prompt to the other. If it is true, type:\n  \
                 {expected}"
            ));
            let typed = typed::line("").await?;
            typed.map(|line| line.trim_end_matches(['\r', '\n']).to_owned()).map_err(|error| {
                Failure::new(Exit::Failed, format!("the sentence cannot be read: {error}"))
                    .advise("the home is restored, and stays paused; `llmtor restore --take-over` asks again")
            })?
        }
        Some(_) => passphrase::stdin_line()?,
        // The operation says that there is nothing to take over.
        None => String::new(),
    };
    let operation = Operation::TakeOver { sentence };
    let Report::TakeOver(report) = operate_in(context.output, home, config, operation).await? else {
        return Err(mismatch());
    };
    Ok(report)
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(|error| {
        Failure::new(Exit::Usage, format!("{} cannot be read: {error}", path.display()))
            .advise("check its name and that it is yours to read")
    })?;
    Ok(bytes)
}

fn text(path: &Path) -> Result<Secret<String>, Failure> {
    String::from_utf8(read(path, IDENTITY_LIMIT)?).map(Secret::new).map_err(|error| {
        drop(Secret::new(error.into_bytes()));
        Failure::new(Exit::Usage, format!("{} is not an identity file", path.display()))
            .advise("name the file that `age-keygen` wrote: --identity KEYFILE")
    })
}
