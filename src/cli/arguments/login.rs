//! What can be typed to sign in, and to let people in.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::credits;
use crate::wire::ModelName;

/// `login`
#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(in crate::cli) struct LoginOptions {
    /// Guides you by hand: for a browser that llmtor cannot drive, or on another machine
    #[arg(long, conflicts_with_all = ["session_stdin", "browser"])]
    pub(in crate::cli) paste: bool,
    /// Reads the session from standard input
    #[arg(long, conflicts_with = "browser")]
    pub(in crate::cli) session_stdin: bool,
    /// The browser: Chromium, Chrome, Edge or Brave [setting: login.browser]
    #[arg(long, value_name = "PATH")]
    pub(in crate::cli) browser: Option<PathBuf>,
    /// Mints up to N tokens a model at once: usable now, but the backend can match this mint and your first calls by their times
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(in crate::cli) first_tokens: Option<u32>,
    /// Takes another account than before, though tokens of that one are here: calls paid by either can then be seen to be one user's
    #[arg(long)]
    pub(in crate::cli) another_account: bool,
    /// Sets this home up for a backend first: the base URL of its identity plane
    #[arg(long, value_name = "URL", requires = "keys")]
    pub(in crate::cli) backend: Option<String>,
    /// The backend's public keys, with --backend: JSON, PEM bundle or TypeScript source
    #[arg(long, value_name = "FILE", requires = "backend")]
    pub(in crate::cli) keys: Option<PathBuf>,
    /// Base URL of the anonymous plane, with --backend [default: the same]
    #[arg(long, value_name = "URL", requires = "backend")]
    pub(in crate::cli) anonymous_url: Option<String>,
    /// Replaces the backend of an existing configuration, and keys that differ, with --backend
    #[arg(long, requires = "backend")]
    pub(in crate::cli) force: bool,
}

/// `backend invite …`
#[derive(Subcommand)]
pub(in crate::cli) enum BackendInviteCommand {
    /// Makes a code and prints it, once: whoever has it can sign in
    ///
    /// With NAME it is for the account of that name, which is made at the first use; so it also lets somebody back in whose
    /// session has ended. Without, each use makes an account of its own, which gets the free credits of backend.toml.
    #[command(after_help = "Examples:\n  llmtor backend invite create alice\n  \
                            llmtor backend invite create --uses 20 --expires 7 --credits gpt-4.1=50")]
    Create {
        /// The account that it is for
        name: Option<String>,
        /// Credits of each use; may be repeated
        #[arg(long, value_name = "MODEL=N", value_parser = credits)]
        credits: Vec<(ModelName, i64)>,
        /// How often it may be used
        #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "name")]
        #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
        uses: u32,
        /// For how many days
        #[arg(long, value_name = "DAYS", default_value_t = 14)]
        #[arg(value_parser = clap::value_parser!(u32).range(1..=3650))]
        expires: u32,
    },
    /// Lists the invites that can still be used, without their codes
    #[command(after_help = "Example: llmtor backend invite list")]
    List,
    /// Withdraws an invite
    #[command(after_help = "Example: llmtor backend invite revoke 1a2b3c4d")]
    Revoke {
        /// Its id, as `llmtor backend invite list` shows it
        id: String,
    },
}
