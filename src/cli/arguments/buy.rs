//! What can be typed about buying, and about the vouchers of a backend.

use clap::{Args, Subcommand};

use crate::wire::ModelName;

pub(super) const EXAMPLES: &str = "\
Examples:
  llmtor buy
  llmtor buy gpt-4.1 --package small
  llmtor buy --package small --print
  llmtor buy --voucher -";

/// `buy`
#[derive(Args)]
pub(in crate::cli) struct BuyOptions {
    /// Shows packages of this model only
    pub(in crate::cli) model: Option<String>,
    /// Buys this one, without asking
    #[arg(long, value_name = "ID")]
    pub(in crate::cli) package: Option<String>,
    /// Prints the purchase page's address in place of opening it; whoever has it can pay for your account, for five minutes
    #[arg(long)]
    pub(in crate::cli) print: bool,
    /// Opens your browser although it does not go through Tor, where `identity.transport` says that you do
    #[arg(long, conflicts_with = "print")]
    pub(in crate::cli) open_directly: bool,
    /// How long to wait for the credits; 0 does not wait
    #[arg(long, value_name = "MINUTES", default_value_t = 30, value_parser = clap::value_parser!(u32).range(0..=1440))]
    pub(in crate::cli) wait: u32,
    /// Redeems a voucher; `-` asks for the code, or reads it from standard input
    ///
    /// A voucher is money: typed as an argument it stands in the shell's history and, for a moment, in the list of
    /// processes. With `-` it does not.
    #[arg(long, value_name = "CODE", conflicts_with_all = ["model", "package", "print", "open_directly"])]
    pub(in crate::cli) voucher: Option<String>,
}

/// `backend voucher …`
#[derive(Subcommand)]
pub(in crate::cli) enum BackendVoucherCommand {
    /// Makes vouchers and prints their codes, once
    #[command(
        after_help = "Example: llmtor backend voucher create --credits gpt-4.1=100 --count 5 --expires 365"
    )]
    Create {
        /// What each is good for; may be repeated
        #[arg(long, value_name = "MODEL=N", required = true, value_parser = super::credits)]
        credits: Vec<(ModelName, i64)>,
        /// How many
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        count: u32,
        /// For how many days they are good [default: for ever]
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
        expires: Option<u32>,
    },
    /// Lists them by an id that does not give the code away
    #[command(after_help = "Example: llmtor backend voucher list")]
    List,
    /// Takes one back that was not redeemed
    #[command(after_help = "Example: llmtor backend voucher revoke 3fa9c01b22")]
    Revoke {
        /// As `llmtor backend voucher list` shows it
        id: String,
    },
}
