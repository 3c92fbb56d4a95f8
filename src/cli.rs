//! The command line: arguments, dispatch and everything that is printed.
//!
//! One file per command. Nothing outside this module writes to standard output; logs go to standard
//! error. With `--json`, whatever a program may read (results, events, the final error) is one JSON object
//! a line on standard output.

mod abuse;
mod account;
mod arguments;
mod backend;
mod backup;
mod buy;
mod compat;
mod completions;
mod demo;
mod doctor;
mod env;
mod exit;
mod init;
mod keys;
mod login;
mod logout;
mod logs;
mod man;
mod open;
mod operate;
mod output;
mod passphrase;
mod pause;
mod report;
mod restore;
mod serve;
mod service;
mod setup;
mod status;
mod tokens;
mod tor;
#[cfg(feature = "desktop")]
mod tray;
mod typed;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser as _;

use crate::app::{logging, memory};
use crate::config::{Config, Layers};
use crate::datadir::Home;
use crate::passage::Passage;
use crate::setup::Shell;

use arguments::{Arguments, Command};
pub use exit::Exit;
use exit::Failure;
use output::Output;

/// The variable that names the home.
const HOME_VARIABLE: &str = "LLMTOR_HOME";

/// Runs the command line `arguments` (the program's name first) to its end.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    memory::keep_out_of_files();
    memory::raise_open_files();
    std::panic::set_hook(Box::new(|panic| output::panicked(panic.location())));
    let raw: Vec<OsString> = arguments.into_iter().collect();
    let parsed = match Arguments::try_parse_from(&raw) {
        Ok(parsed) => parsed,
        Err(error) => return usage(&error, &raw),
    };
    let output = Output::new(parsed.globals.json);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let failure = Failure::new(Exit::Failed, format!("the system gives no threads: {error}"))
                .advise("close other programs, or raise the limit on processes (ulimit -u)");
            return output.failure(&failure);
        }
    };
    let named = parsed.globals.home.as_ref().map(|home| Shell::HERE.word(&home.display().to_string()));
    let context =
        Context { home: parsed.globals.home, sets: assignments(&raw), log: parsed.globals.log, output };
    #[cfg(feature = "desktop")]
    if let Command::Tray(options) = &parsed.command {
        let exit = tray::run(options, &context, &runtime);
        runtime.shutdown_background();
        return exit;
    }
    let result = runtime.block_on(dispatch(parsed.command, &context));
    // What still runs has been told to stop, or is a system call that cannot be.
    runtime.shutdown_background();
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => output.failure(&match &named {
            Some(home) => failure.of_home(home),
            None => failure,
        }),
    }
}

async fn dispatch(command: Command, context: &Context) -> Result<Exit, Failure> {
    memory::outlive_file_sizes();
    match command {
        Command::Demo(options) => demo::run(options, context).await,
        Command::Serve(options) => serve::run(&options, context).await,
        Command::Init(options) => init::run(&options, context).await,
        Command::Keys(command) => keys::run(command, context).await,
        Command::Login(options) => login::run(&options, context).await,
        Command::Logout => logout::run(context).await,
        Command::Account => account::run(context).await,
        Command::Whoami => account::whoami(context).await,
        Command::Buy(options) => buy::run(options, context).await,
        Command::Abuse(command) => abuse::run(command, context).await,
        Command::Tokens(command) => tokens::run(command, context).await,
        Command::Backup(options) => backup::run(options, context).await,
        Command::Restore(options) => restore::run(options, context).await,
        Command::Status => status::run(context).await,
        Command::Pause => pause::run(Passage::Paused, context).await,
        Command::Resume => pause::run(Passage::Open, context).await,
        Command::Service(command) => service::run(command, context).await,
        #[cfg(feature = "desktop")]
        Command::Tray(_) => Ok(Exit::Done),
        Command::Tor(_) => tor::run(context).await,
        Command::Open(options) => open::run(&options, context).await,
        Command::Doctor => doctor::run(context).await,
        Command::Setup(options) => setup::run(options, context).await,
        Command::Logs(options) => logs::run(&options, context).await,
        Command::Report(options) => report::run(&options, context).await,
        Command::Env(options) => env::run(&options, context).await,
        Command::Compat(options) => compat::run(&options, context),
        Command::Backend(command) => backend::run(command, context).await,
        Command::Completions(options) => Ok(completions::run(&options)),
        Command::Man(options) => man::run(&options, context),
    }
}

/// What every command is given.
struct Context {
    home: Option<PathBuf>,
    sets: Vec<String>,
    log: Option<String>,
    output: Output,
}

impl Context {
    /// `--home`, `LLMTOR_HOME` or the platform's directory.
    fn home_path(&self) -> Result<PathBuf, Failure> {
        if let Some(path) = self.named_home() {
            return Ok(path);
        }
        Home::default_path().ok_or_else(|| {
            Failure::new(Exit::Usage, "this system names no place for data")
                .advise("name one with --home DIR")
        })
    }

    /// `--home` or `LLMTOR_HOME`.
    fn named_home(&self) -> Option<PathBuf> {
        let variable = || std::env::var_os(HOME_VARIABLE).filter(|text| !text.is_empty()).map(PathBuf::from);
        self.home.clone().or_else(variable)
    }

    /// A command of ours for the same home, to be typed.
    fn command(&self, words: &str) -> String {
        match &self.home {
            Some(home) => {
                let home = Shell::HERE.word(&home.display().to_string());
                format!("llmtor {words} --home {home}")
            }
            None => format!("llmtor {words}"),
        }
    }

    /// The home, made if it is not there, and its configuration; `flags` are `(flag, key, value)`.
    ///
    /// Logging starts here, because its level is configuration.
    fn open(&self, flags: &[(&'static str, &'static str, &str)]) -> Result<(Home, Config), Failure> {
        let home = Home::open(&self.home_path()?)?;
        let config = self.config(Some(&home), flags)?;
        Ok((home, config))
    }

    fn config(
        &self,
        home: Option<&Home>,
        flags: &[(&'static str, &'static str, &str)],
    ) -> Result<Config, Failure> {
        let config = self.layers(home, flags)?.finish()?;
        logging::start(config.log.level);
        Ok(config)
    }

    /// The four places, one over the other.
    fn layers(
        &self,
        home: Option<&Home>,
        flags: &[(&'static str, &'static str, &str)],
    ) -> Result<Layers, Failure> {
        let mut layers = Layers::defaults();
        if let Some(home) = home {
            let path = home.config_path();
            match std::fs::read_to_string(&path) {
                Ok(text) => layers.file(&path, &text)?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    let message = format!("{} cannot be read: {error}", path.display());
                    return Err(Failure::new(Exit::Usage, message)
                        .advise("check that it is a file, and yours; `llmtor doctor` looks at the rest"));
                }
            }
        }
        layers.environment(std::env::vars_os())?;
        self.sets.iter().try_for_each(|set| layers.set(set))?;
        for (flag, key, value) in flags {
            layers.flag(flag, key, value)?;
        }
        if let Some(level) = &self.log {
            layers.flag("--log", "log.level", level)?;
        }
        Ok(layers)
    }
}

/// Every `--set`, before and after the command: clap keeps only the ones at the deepest level.
fn assignments(raw: &[OsString]) -> Vec<String> {
    let mut found = Vec::new();
    let mut words = raw.iter().skip(1).map_while(|word| (word != "--").then(|| word.to_string_lossy()));
    while let Some(word) = words.next() {
        if word == "--set" {
            found.extend(words.next().map(std::borrow::Cow::into_owned));
        } else if let Some(value) = word.strip_prefix("--set=") {
            found.push(value.to_owned());
        }
    }
    found
}

/// Help and version are printed where they were asked for; anything else is a usage error.
fn usage(error: &clap::Error, raw: &[OsString]) -> ExitCode {
    let json = raw.iter().any(|word| word == "--json");
    if error.use_stderr() && json {
        let text = error.to_string();
        let message = text.lines().next().unwrap_or("wrong usage").trim_start_matches("error: ").to_owned();
        let failure = Failure::new(Exit::Usage, message).advise("see `llmtor --help`");
        return Output::new(true).failure(&failure);
    }
    // A closed pipe is the reader's choice.
    let _ = error.print();
    if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn every_assignment_counts_wherever_it_stands() {
        let line = words("llmtor --set a.b=1 serve --set=c.d=2 --listen x --set e.f=3");
        assert_eq!(assignments(&line), ["a.b=1", "c.d=2", "e.f=3"]);
    }

    #[test]
    fn global_options_stand_before_or_after_the_command() {
        for line in ["llmtor --home /h --json tokens", "llmtor tokens --json --home /h"] {
            let parsed = Arguments::try_parse_from(words(line)).unwrap();
            assert!(parsed.globals.json);
            assert_eq!(parsed.globals.home, Some(PathBuf::from("/h")));
        }
    }
}
