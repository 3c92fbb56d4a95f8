//! What can be typed about abuse tokens and backups.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `abuse …`
#[derive(Subcommand)]
pub(in crate::cli) enum AbuseCommand {
    /// Gets the abuse tokens that are missing
    #[command(after_help = "Example: llmtor abuse setup")]
    Setup,
    /// Shows which abuse tokens are held, and what to do about one that is missing
    #[command(after_help = "Example: llmtor abuse status")]
    Status,
    /// Gets a fresh monthly token, because somebody else may have the one in use
    ///
    /// Calls from now on carry the fresh one; the old one counts until the month is over, whoever has it. The permanent
    /// token stays the same, because an account gets one for good: whoever has that can still be taken for you. Tokens in
    /// doubt keep the old one. An account gets 30 monthly tokens a month.
    ///
    /// Where the backend refuses the one in use, add --later: an operator who refuses one token and watches who comes for
    /// another learns whose calls these are.
    #[command(after_help = "Examples:\n  llmtor abuse rotate --later\n  llmtor abuse rotate")]
    Rotate {
        /// Has the running daemon fetch it at a random moment within a day
        #[arg(long)]
        later: bool,
    },
    /// Seals the abuse tokens under a passphrase, in the official client's format
    ///
    /// The account's permanent token is issued once: without the home that holds it or a backup, the account cannot make
    /// calls any more. The server's copy is found by whoever is signed in to the account; the operator keeps it and can try
    /// passphrases on it.
    #[command(
        after_help = "Examples:\n  llmtor abuse backup tokens.llmtorbak\n  llmtor abuse backup --server"
    )]
    Backup {
        #[command(flatten)]
        place: AbusePlace,
        #[command(flatten)]
        passphrase: PassphraseOptions,
        /// Replaces a file of that name, or the copy that the server has
        #[arg(long)]
        force: bool,
    },
    /// Takes abuse tokens out of a backup of this or of the official client
    ///
    /// Reads .llmtorbak and .llmmaskbak files and the server's copy. Nothing is stored that the pinned keys did not sign. A
    /// monthly token of another month is skipped; a permanent token that is held stays, without --replace.
    #[command(
        after_help = "Examples:\n  llmtor abuse restore tokens.llmtorbak\n  llmtor abuse restore --server"
    )]
    Restore {
        #[command(flatten)]
        place: AbusePlace,
        #[command(flatten)]
        passphrase: PassphraseOptions,
        /// Puts the backup's tokens in the place of others that are held
        #[arg(long)]
        replace: bool,
    },
}

/// A file or the server.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(in crate::cli) struct AbusePlace {
    /// The file; *.llmtorbak by convention
    #[arg(value_name = "FILE")]
    pub(in crate::cli) file: Option<PathBuf>,
    /// The server's copy of the account that is logged in
    #[arg(long)]
    pub(in crate::cli) server: bool,
}

/// Where a passphrase comes from. Never an argument or a variable: other programs see those.
#[derive(Args)]
pub(in crate::cli) struct PassphraseOptions {
    /// Reads the passphrase, one line, from this descriptor (0 is standard input) instead of asking at the terminal
    #[arg(long, value_name = "N")]
    pub(in crate::cli) passphrase_fd: Option<u32>,
}

/// `backup`
#[derive(Args)]
pub(in crate::cli) struct BackupOptions {
    /// The file; *.age by convention
    #[arg(value_name = "FILE")]
    pub(in crate::cli) file: PathBuf,
    /// Seals to the holder of this key instead of under a passphrase; may be repeated
    #[arg(long = "recipient", value_name = "age1…", conflicts_with = "passphrase_fd")]
    pub(in crate::cli) recipients: Vec<String>,
    #[command(flatten)]
    pub(in crate::cli) passphrase: PassphraseOptions,
    /// Pauses this vault: the copy is to be used in its stead
    #[arg(long)]
    pub(in crate::cli) retire: bool,
    /// Replaces a file of that name
    #[arg(long)]
    pub(in crate::cli) force: bool,
}

/// `restore`
#[derive(Args)]
pub(in crate::cli) struct RestoreOptions {
    /// The file; left out with --take-over for a home that is paused
    #[arg(value_name = "FILE", required_unless_present = "take_over")]
    pub(in crate::cli) file: Option<PathBuf>,
    /// Opens a backup that is sealed to a recipient with this age identity file
    #[arg(long, value_name = "KEYFILE", conflicts_with = "passphrase_fd", requires = "file")]
    pub(in crate::cli) identity: Option<PathBuf>,
    /// Takes every setting of such a backup, also those that start programs or weaken anonymity; only of one that you made
    #[arg(long, requires = "identity")]
    pub(in crate::cli) all_settings: bool,
    #[command(flatten)]
    pub(in crate::cli) passphrase: PassphraseOptions,
    /// Lets the vault spend again; the sentence that confirms it is typed, or read from standard input
    #[arg(long)]
    pub(in crate::cli) take_over: bool,
}
