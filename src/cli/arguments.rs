//! What can be typed.

mod backup;
mod buy;
mod login;
mod logs;
mod open;
mod service;
mod setup;
#[cfg(feature = "desktop")]
mod tray;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use url::Url;

use crate::wire::ModelName;

use super::exit::EXIT_CODES;

pub(super) use backup::{AbuseCommand, BackupOptions, PassphraseOptions, RestoreOptions};
pub(super) use buy::{BackendVoucherCommand, BuyOptions};
pub(super) use login::{BackendInviteCommand, LoginOptions};
pub(super) use logs::{LogsOptions, ReportOptions};
pub(super) use open::OpenOptions;
pub(super) use service::ServiceCommand;
pub(super) use setup::SetupOptions;
#[cfg(feature = "desktop")]
pub(super) use tray::TrayOptions;

const EXAMPLES: &str = "\
Examples:
  Everything on this machine, nothing kept:
    llmtor demo
  With a backend:
    llmtor login --backend https://backend.example --keys keys.json
    llmtor serve
  Point a client at it:
    eval \"$(llmtor env)\"";

fn after_help() -> String {
    format!("{EXAMPLES}\n\n{EXIT_CODES}")
}

/// An OpenAI-compatible endpoint on localhost that pays with blind-signed tokens
///
/// Point any OpenAI client at the base URL that `llmtor serve` prints. Every call spends one token. The backend
/// that signed it saw it only blinded, so it cannot tell whose it was.
#[derive(Parser)]
#[command(name = "llmtor", version, arg_required_else_help = true, max_term_width = 110)]
#[command(after_long_help = after_help())]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) globals: Globals,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// Options of every command, before or after its name.
#[derive(Args)]
#[command(next_help_heading = "Global options")]
pub(super) struct Globals {
    /// Where everything is kept [env: LLMTOR_HOME]
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) home: Option<PathBuf>,
    /// Overrides a setting of config.toml; may be repeated
    ///
    /// VALUE is a TOML value; a bare word is a string. An unknown key is an error that names the nearest known one.
    #[arg(long = "set", global = true, value_name = "SECTION.KEY=VALUE")]
    _set: Vec<String>,
    /// Results, events and errors as JSON, one object a line on standard output
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Log level on standard error: off, error, warn, info, debug or trace
    #[arg(long, global = true, value_name = "LEVEL")]
    pub(super) log: Option<String>,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// Everything on this machine: a backend, an account, tokens and the endpoint
    #[command(after_help = "Examples:\n\
                      \x20 llmtor demo\n\
                      \x20 llmtor demo --upstream http://127.0.0.1:8080/v1 --upstream-model qwen3")]
    Demo(DemoOptions),
    /// Runs the local endpoint
    #[command(after_help = "Examples:\n  llmtor serve\n  llmtor serve --transport socks5h://127.0.0.1:9150")]
    Serve(ServeOptions),
    /// Writes the configuration for a backend and pins its keys
    #[command(after_help = "Example: llmtor init --backend https://backend.example --keys keys.json")]
    Init(InitOptions),
    /// The pinned keys of the backend
    #[command(subcommand, after_help = "Example: llmtor keys list")]
    Keys(KeysCommand),
    /// Signs you in to your account with the backend
    ///
    /// Opens a window of your browser (Chromium, Chrome, Edge or Brave) with an empty profile, waits until you have signed in,
    /// takes the session, and deletes the profile. Nothing else is read of what you do there. The session is kept sealed in
    /// the home. With another browser use --paste. With --backend it sets the home up first, as `llmtor init` does.
    ///
    /// Afterwards the abuse tokens that are missing are fetched. Tokens come by themselves while `llmtor serve` runs, at a
    /// random time, so that the backend cannot match the account and the calls; --first-tokens does without that.
    ///
    /// With --session-stdin the session is the value of the cookie `sessionID` (or `sessionID=…`) on standard input, so that
    /// it never stands in the process list or the shell's history.
    #[command(
        after_help = "Examples:\n  llmtor login\n  llmtor login --backend https://backend.example --keys keys.json\n  \
                      llmtor login --paste\n  llmtor login --session-stdin < session.txt"
    )]
    Login(LoginOptions),
    /// Ends the session, at the backend and here
    #[command(after_help = "Example: llmtor logout")]
    Logout,
    /// Shows the account: credits left and used
    #[command(after_help = "Example: llmtor account")]
    Account,
    /// Shows who is signed in, at which backend, and the credits left; exit code 4 if nobody is
    #[command(after_help = "Example: llmtor whoami")]
    Whoami,
    /// Buys credits: shows what is sold, opens the purchase page in your browser, and waits for the credits
    ///
    /// The credits become tokens by themselves, later and at random times, so that the purchase and the tokens cannot be
    /// matched by their times. Nothing is minted here.
    #[command(after_help = buy::EXAMPLES)]
    Buy(BuyOptions),
    /// The abuse tokens
    #[command(subcommand, after_help = "Example: llmtor abuse setup")]
    Abuse(AbuseCommand),
    /// Shows the tokens in stock, per model and state, and one by one what is not simply in stock
    #[command(args_conflicts_with_subcommands = true)]
    #[command(after_help = "Examples:\n  llmtor tokens\n  llmtor tokens mint --model gpt-4.1 --count 50")]
    Tokens(TokensOptions),
    /// Shows whether a daemon runs, and what is in stock
    #[command(after_help = "Examples:\n  llmtor status\n  llmtor status --json")]
    Status,
    /// Opens the local page in your browser: tokens, calls, what left this machine, settings
    ///
    /// The link works once and for a minute. The page is served by the running daemon on this machine, to your account only,
    /// and shows no prompt and no answer.
    #[command(after_help = "Examples:\n  llmtor open\n  llmtor open --print")]
    Open(OpenOptions),
    /// Looks into everything that a call needs, and says what is wrong and what to do
    ///
    /// Home, settings, keys, vault, session, clock, Tor, and the backend by the way that calls take: opened as for a call
    /// (with TLS where the backend speaks it) and closed again. Nothing is said on it, as on a stream that was kept warm and
    /// not needed, and no token is spent. Nothing is asked of anybody by another way. The exit code is that of the first
    /// problem; warnings do not count.
    #[command(after_help = "Example: llmtor doctor")]
    Doctor,
    /// Shows what the daemon said, also when none runs
    ///
    /// It is kept in `logs` of the home for some days (`log.files`). Prompts, answers, tokens and keys are not in it.
    #[command(
        after_help = "Examples:\n  llmtor logs\n  llmtor logs --follow --level warn\n  llmtor logs -n 20"
    )]
    Logs(LogsOptions),
    /// Writes down what a helper needs to know, without what tells who you are
    ///
    /// Version, system, settings, what `llmtor doctor` finds, the state in round terms, the last of the log. Left out or
    /// replaced: names, addresses, hosts, paths, keys, tokens, and counts of them. You see all of it before it is saved, and
    /// nothing is sent to anybody.
    #[command(after_help = "Examples:\n  llmtor report\n  llmtor report --yes --output report.md")]
    Report(ReportOptions),
    /// Seals the whole vault into one file (age), under a passphrase or to a recipient
    ///
    /// In it: the tokens, the master key, the pinned keys, the settings. Not in it: the session (log in again), the local
    /// endpoint's key, Tor's state, and issuances that are under way. The vault need not be stopped.
    ///
    /// With --retire this vault spends nothing from then on: for moving to another machine. A running daemon then answers
    /// calls with an error that says so.
    #[command(
        after_help = "Examples:\n  llmtor backup vault.age\n  llmtor backup --retire --recipient age1… vault.age"
    )]
    Backup(BackupOptions),
    /// Makes a home out of a backup, and takes over its tokens when you say so
    ///
    /// The home must not be there yet, or be empty. It is paused: a token that two vaults spend shows one prompt's answer
    /// to the other. It spends only after a sentence was typed that says that no other machine uses the tokens any more, so
    /// one backup is for one restore; the home that the backup was made of is retired then, if it is on this machine. What the old machine spent
    /// since the backup is found out token by token, on the way.
    #[command(
        after_help = "Examples:\n  llmtor restore vault.age\n  llmtor restore --identity key.txt vault.age --home DIR\n  \
                      llmtor restore --take-over"
    )]
    Restore(RestoreOptions),
    /// Lets nothing leave this machine until `llmtor resume`, also after a restart
    ///
    /// Calls are refused at once and touch no token; those under way end normally. Nothing is kept warm, Tor is put to
    /// rest, top-ups wait, and commands that would ask the backend something say so instead.
    #[command(after_help = "Example: llmtor pause")]
    Pause,
    /// Lets calls leave again after `llmtor pause`
    ///
    /// What was missed meanwhile is not caught up in a burst: top-ups get new appointments, as after sleep.
    #[command(after_help = "Example: llmtor resume")]
    Resume,
    /// Has this session's service manager start llmtor: systemd, launchd or Windows' task scheduler
    #[command(subcommand, after_help = "Example: llmtor service install")]
    Service(ServiceCommand),
    /// Shows an icon in the desktop's panel: whether calls can leave, what is in stock, pause and resume
    ///
    /// It shows the daemon that runs, and starts one where none does. Quitting it closes the icon alone; tools go on being
    /// answered. On Linux it needs a panel that shows tray icons: KDE, Xfce, Cinnamon and others do; GNOME with the
    /// extension “AppIndicator and KStatusNotifierItem Support”.
    #[cfg(feature = "desktop")]
    #[command(after_help = "Example: llmtor tray")]
    Tray(TrayOptions),
    /// The Tor client of the running daemon
    #[command(subcommand, after_help = "Example: llmtor tor new-identity")]
    Tor(TorCommand),
    /// Points a tool at the endpoint, or lists the tools that are known
    ///
    /// Shows the change to the tool's settings, asks, and writes it, with a copy of the file as it was beside it. For a tool
    /// whose settings cannot be written from outside it prints what to do. Small calls, such as titles, are pointed at the
    /// cheapest model.
    #[command(
        after_help = "Examples:\n  llmtor setup\n  llmtor setup opencode\n  llmtor setup codex --model gpt-4.1 --yes\n  \
                      llmtor setup zed --print\n  llmtor setup opencode --undo\n  llmtor setup obsidian --file ~/Notes"
    )]
    Setup(SetupOptions),
    /// Prints the environment variables that point a client at the endpoint
    ///
    /// An Ollama or Anthropic client wants other variables; the guide has them.
    #[command(
        after_help = "Examples:\n  eval \"$(llmtor env)\"\n  llmtor env --shell fish | source\n  llmtor env --shell powershell | iex"
    )]
    Env(EnvOptions),
    /// Lists every parameter of the APIs that the endpoint speaks, and what becomes of it
    ///
    /// carried: the backend is told. emulated: it is done here. ignored: it has no effect, and the response header
    /// x-llmtor-ignored says so (with `strict = true` in the configuration it is refused). refused: 400, with its name.
    #[command(after_help = "Example: llmtor compat responses")]
    Compat(CompatOptions),
    /// The reference backend
    ///
    /// For these commands --home is the backend's own home; its default is `backend` in the platform's place.
    #[command(
        subcommand,
        after_help = "Examples:\n  llmtor backend init --home ./backend\n  llmtor backend serve --home ./backend"
    )]
    Backend(BackendCommand),
    /// Prints a completion script for a shell
    #[command(after_help = "Example:\n\
                      \x20 mkdir -p ~/.local/share/bash-completion/completions\n\
                      \x20 llmtor completions bash > ~/.local/share/bash-completion/completions/llmtor")]
    Completions(CompletionsOptions),
    /// Prints the manual page, or writes one page a command
    #[command(after_help = "Examples:\n  llmtor man | man -l -\n  llmtor man --dir ~/.local/share/man/man1")]
    Man(ManOptions),
}

/// `demo`
#[derive(Args)]
pub(super) struct DemoOptions {
    /// Where the endpoint listens; a loopback address, or localhost:PORT for both
    #[arg(long, value_name = "ADDR", default_value = "localhost:8787")]
    pub(super) listen: String,
    /// An OpenAI-compatible base URL that answers in place of the embedded model
    #[arg(long, value_name = "URL")]
    pub(super) upstream: Option<Url>,
    /// The model asked for there; the same name when absent
    #[arg(long, value_name = "M", requires = "upstream")]
    pub(super) upstream_model: Option<String>,
    /// The environment variable that holds the key for it
    #[arg(long, value_name = "VAR", requires = "upstream")]
    pub(super) upstream_key_env: Option<String>,
    /// Tokens per model
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub(super) credits: u32,
}

/// `serve`
#[derive(Args)]
pub(super) struct ServeOptions {
    /// Where it listens; a loopback address, or localhost:PORT for both, port 0 lets the system choose [setting: server.listen]
    #[arg(long, value_name = "ADDR")]
    pub(super) listen: Option<String>,
    /// The way out: auto, tor, loopback or socks5h://127.0.0.1:PORT [setting: anonymous.transport]
    #[arg(long, value_name = "WAY")]
    pub(super) transport: Option<String>,
    /// Which calls share a circuit: per-call, per-conversation or shared [setting: anonymous.isolation]
    #[arg(long, value_name = "RULE")]
    pub(super) isolation: Option<String>,
    /// Uses a SOCKS proxy that does not behave as Tor does; it may hide nothing
    #[arg(long)]
    pub(super) allow_socks_without_tor: bool,
    /// In a session of its own; for whoever starts it in the background
    #[arg(long, hide = true)]
    pub(super) detached: bool,
}

/// `init`
#[derive(Args)]
pub(super) struct InitOptions {
    /// Base URL of the identity plane: https://, or http:// to this machine or an onion service
    #[arg(long, value_name = "URL")]
    pub(super) backend: String,
    /// Base URL of the anonymous plane [default: the same]
    #[arg(long, value_name = "URL")]
    pub(super) anonymous_url: Option<String>,
    /// The backend's public keys: JSON, PEM bundle or TypeScript source
    #[arg(long, value_name = "FILE")]
    pub(super) keys: PathBuf,
    /// Replaces the backend of an existing configuration, and keys that differ
    #[arg(long)]
    pub(super) force: bool,
}

/// `keys …`
#[derive(Subcommand)]
pub(super) enum KeysCommand {
    /// Pins the keys of one or more files, all or none
    ///
    /// FILE is a JSON object {"name": "PEM"}, a PEM bundle with `# name` lines, or TypeScript source with PEM
    /// constants and a name map. Names are model ids, `abuse-permanent` and `abuse-transient`.
    #[command(after_help = "Example: llmtor keys import keys.json")]
    Import {
        /// The files; `-` is standard input
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Accepts keys that differ from the pinned ones
        #[arg(long)]
        replace: bool,
    },
    /// Lists the pinned keys and their fingerprints
    #[command(after_help = "Example: llmtor keys list")]
    List,
}

/// `tor …`
#[derive(Subcommand)]
pub(super) enum TorCommand {
    /// Leaves every circuit behind: no later call shares one with an earlier call
    ///
    /// With `per-call` isolation, the default, no two calls share one anyway; only the circuits that wait ahead of need
    /// are dropped. An identity plane that goes through Tor gets new circuits, too.
    #[command(after_help = "Example: llmtor tor new-identity")]
    NewIdentity,
}

/// `tokens …`
#[derive(Args)]
pub(super) struct TokensOptions {
    #[command(subcommand)]
    pub(super) command: Option<TokensCommand>,
}

/// What can be done with tokens.
#[derive(Subcommand)]
pub(super) enum TokensCommand {
    /// Turns credits into tokens
    ///
    /// Nobody has to: `llmtor serve` tops up by itself, at random times (`topup.enabled`). A fresh token may be used after a
    /// random delay, so that issuing and spending cannot be matched by their times; --now does without the delay.
    #[command(after_help = "Example: llmtor tokens mint --model gpt-4.1 --count 50")]
    Mint {
        /// For which model
        #[arg(long, value_name = "M")]
        model: ModelName,
        /// How many
        #[arg(long, value_name = "N", allow_negative_numbers = true)]
        #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
        count: u32,
        /// Usable at once
        #[arg(long)]
        now: bool,
    },
    /// Says what will become of one token: what the same request does, what a restart does, and when it comes back
    #[command(after_help = "Example: llmtor tokens explain 3fa9c01b")]
    Explain {
        /// The first digits of its id, as `llmtor tokens` shows them; four at least
        id: String,
    },
    /// Lists credits that no token came of, with the time and the reason
    ///
    /// A credit is lost if the backend took it and its answer never came, not even when it was asked again.
    #[command(after_help = "Examples:\n  llmtor tokens losses\n  llmtor tokens losses --forget")]
    Losses {
        /// Clears the list
        #[arg(long)]
        forget: bool,
    },
}

/// `env`
#[derive(Args)]
pub(super) struct EnvOptions {
    /// In whose syntax
    #[arg(long, value_enum, default_value_t = EnvShell::Sh)]
    pub(super) shell: EnvShell,
}

/// A syntax for setting environment variables.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum EnvShell {
    /// POSIX shells, bash, zsh
    Sh,
    /// fish
    Fish,
    /// PowerShell
    Powershell,
}

/// `backend …`
#[derive(Subcommand)]
pub(super) enum BackendCommand {
    /// Runs the backend; makes a fresh home by itself
    ///
    /// With --onion the anonymous plane, and only that, is served as an onion service whose keys are kept in `tor/state`
    /// of the home: the same home is the same address. The listener then serves the identity plane only, unless `planes`
    /// in backend.toml says what it serves. Arti's settings are passed through in `[tor]` of backend.toml. Clients of an
    /// onion service have no address, so `limits.per_address` does not count them.
    #[command(after_help = "Examples:\n\
                      \x20 llmtor backend serve --home ./backend\n\
                      \x20 llmtor backend serve --home ./backend --onion")]
    Serve {
        /// Where it listens
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9797")]
        listen: SocketAddr,
        /// Serves the anonymous plane as an onion service
        #[arg(long)]
        onion: bool,
        /// Its settings [default: backend.toml in its home]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Makes the home: settings, key pairs, store
    #[command(after_help = "Example: llmtor backend init --home ./backend --config backend.toml")]
    Init {
        /// The settings to begin with [default: the built-in ones]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// The accounts; also while the backend runs
    #[command(subcommand, after_help = "Example: llmtor backend account add alice --home ./backend")]
    Account(BackendAccountCommand),
    /// Codes that let people in; also while the backend runs
    #[command(subcommand, after_help = "Example: llmtor backend invite create alice --home ./backend")]
    Invite(BackendInviteCommand),
    /// Vouchers: credits to hand out
    #[command(subcommand, after_help = "Example: llmtor backend voucher list --home ./backend")]
    Voucher(BackendVoucherCommand),
    /// Lists what payment providers reported, and what was not turned into credits and why
    #[command(after_help = "Example: llmtor backend sales")]
    Sales,
    /// Its public keys
    #[command(subcommand, after_help = "Example: llmtor backend keys export --home ./backend > keys.json")]
    Keys(BackendKeysCommand),
}

/// `backend account …`
#[derive(Subcommand)]
pub(super) enum BackendAccountCommand {
    /// Adds an account and prints its session, once
    #[command(after_help = "Example:\n\
                      \x20 llmtor backend account add alice --credits gpt-4.1=100 --home ./backend")]
    Add {
        /// What to call it
        name: String,
        /// Credits to begin with; may be repeated
        #[arg(long, value_name = "MODEL=N", value_parser = credits)]
        credits: Vec<(ModelName, i64)>,
    },
}

/// `backend keys …`
#[derive(Subcommand)]
pub(super) enum BackendKeysCommand {
    /// Prints them as JSON, for `llmtor keys import`
    #[command(after_help = "Example: llmtor backend keys export --home ./backend > keys.json")]
    Export,
}

/// `compat`
#[derive(Args)]
pub(super) struct CompatOptions {
    /// Only endpoints with this in their name, such as `responses`
    pub(super) endpoint: Option<String>,
    /// As the documentation has it
    #[arg(long, conflicts_with = "json")]
    pub(super) markdown: bool,
}

/// `completions`
#[derive(Args)]
pub(super) struct CompletionsOptions {
    /// For which shell
    #[arg(value_enum)]
    pub(super) shell: clap_complete::Shell,
}

/// `man`
#[derive(Args)]
pub(super) struct ManOptions {
    /// Writes llmtor.1, llmtor-tokens.1, … into this directory
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
}

pub(super) fn credits(text: &str) -> Result<(ModelName, i64), String> {
    let (model, count) = text.rsplit_once('=').ok_or("expected MODEL=N, such as gpt-4.1=100")?;
    let count = count.parse().ok().filter(|count| *count >= 0).ok_or("N is a whole number, 0 or more")?;
    Ok((model.parse().map_err(|error: crate::wire::InvalidModelName| error.to_string())?, count))
}

#[cfg(test)]
mod examples;

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_count_out_of_range_is_told_the_range() {
        for wrong in ["0", "-1", "100001", "99999999999"] {
            let words = ["llmtor", "tokens", "mint", "--model", "gpt-4.1", "--count", wrong];
            let error = Arguments::command().try_get_matches_from(words).unwrap_err().to_string();
            assert!(error.contains("1..=100000"), "{wrong}: {error}");
        }
    }

    #[test]
    fn credits_are_model_and_number() {
        assert_eq!(credits("gpt-4.1=100"), Ok((ModelName::new("gpt-4.1").unwrap(), 100)));
        for wrong in ["gpt-4.1", "gpt-4.1=", "gpt-4.1=-1", "=5", "gpt 4=5"] {
            assert!(credits(wrong).is_err(), "{wrong}");
        }
    }
}
