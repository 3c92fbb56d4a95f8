//! `llmtor backend voucher …` and `llmtor backend sales`

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;

use crate::backend::{HeldBecause, Sale, SaleState, Voucher, VoucherState};
use crate::wire::ModelName;
use crate::wire::identity::Counts;

use super::super::Context;
use super::super::arguments::BackendVoucherCommand;
use super::super::exit::{Exit, Failure};
use super::{blocking, open, settings};

pub(super) async fn vouchers(
    command: BackendVoucherCommand,
    context: &Context,
    home: &Path,
) -> Result<Exit, Failure> {
    let settings = settings(home, None)?;
    match command {
        BackendVoucherCommand::Create { credits, count, expires } => {
            let mut counts: BTreeMap<ModelName, i64> = BTreeMap::new();
            for (model, count) in credits {
                let sum = counts.entry(model).or_default();
                *sum = sum.saturating_add(count);
            }
            let worth = counts.clone();
            let codes =
                blocking(move |home| open(home, settings)?.create_vouchers(&counts, count, expires), home)
                    .await?;
            let texts: Vec<_> = codes.iter().map(crate::wire::voucher::VoucherCode::text).collect();
            let codes: Vec<&str> = texts.iter().map(|text| text.expose().as_str()).collect();
            context.output.remark("each code is money, and is shown this once:");
            context
                .output
                .result(&json!({ "codes": codes, "credits": worth, "expires_in_days": expires }), || {
                    codes.join("\n")
                });
        }
        BackendVoucherCommand::List => {
            let vouchers = blocking(move |home| open(home, settings)?.vouchers(), home).await?;
            context.output.result(&json!({ "vouchers": vouchers }), || voucher_table(&vouchers));
        }
        BackendVoucherCommand::Revoke { id } => {
            let wanted = id.clone();
            blocking(move |home| open(home, settings)?.revoke_voucher(&wanted), home).await?;
            context.output.result(&json!({ "revoked": id }), || {
                format!("the voucher {id} is good for nothing any more")
            });
        }
    }
    Ok(Exit::Done)
}

pub(super) async fn sales(context: &Context, home: &Path) -> Result<Exit, Failure> {
    let settings = settings(home, None)?;
    let sales = blocking(move |home| open(home, settings)?.sales(), home).await?;
    context.output.result(&json!({ "sales": sales }), || sale_table(&sales));
    Ok(Exit::Done)
}

fn voucher_table(vouchers: &[Voucher]) -> String {
    if vouchers.is_empty() {
        return "no vouchers; `llmtor backend voucher create --credits MODEL=N` makes one".into();
    }
    let mut text = String::from("id          state    until       credits\n");
    for voucher in vouchers {
        let state = match voucher.state {
            VoucherState::Open => "open",
            VoucherState::Used => "used",
            VoucherState::Revoked => "revoked",
            VoucherState::Expired => "expired",
        };
        let until = voucher.expires_at.map_or_else(|| "-".to_owned(), day);
        let _ = writeln!(text, "{:11} {state:8} {until:11} {}", voucher.id, worth(&voucher.credits));
    }
    text
}

fn sale_table(sales: &[Sale]) -> String {
    if sales.is_empty() {
        return "no sales: no payment provider has reported any".into();
    }
    let mut text = String::new();
    for sale in sales {
        let account = sale.account.as_deref().unwrap_or("unknown account");
        let _ = write!(
            text,
            "{} {} {} {} ",
            day(sale.seen_at),
            sale.transaction,
            amount(sale.total, &sale.currency),
            sale.currency
        );
        let _ = match sale.state {
            SaleState::Credited => writeln!(text, "{account}: {}", worth(&sale.credits)),
            SaleState::Held(reason) => writeln!(text, "{account}: held, no credits given: {}", why(reason)),
        };
        if !sale.taken_back.is_empty() {
            let _ = writeln!(text, "    taken back after a refund: {}", worth(&sale.taken_back));
        }
        if sale.spent_before_refund > 0 {
            let _ = writeln!(
                text,
                "    spent before the refund, and not taken back: {}",
                sale.spent_before_refund
            );
        }
    }
    text
}

/// An amount in the currency's smallest unit, as people write it (ISO 4217).
fn amount(total: i64, currency: &str) -> String {
    match currency {
        "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX" | "VND"
        | "VUV" | "XAF" | "XOF" | "XPF" => total.to_string(),
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => {
            format!("{}.{:03}", total / 1000, total % 1000)
        }
        _ => format!("{}.{:02}", total / 100, total % 100),
    }
}

fn why(reason: HeldBecause) -> &'static str {
    match reason {
        HeldBecause::UnknownProduct => {
            "no package in backend.toml has this price or product; add it and have the provider send the event again, or refund"
        }
        HeldBecause::AmountDiffers => {
            "the amount is not the package's (a discount?); correct `amount` and have the provider send the event again, or refund"
        }
        HeldBecause::CurrencyDiffers => {
            "the currency is not the package's; switch local currencies off at the provider, and refund"
        }
        HeldBecause::UnknownBuyer => {
            "it names no checkout of this backend; refund it, or give its buyer a voucher"
        }
    }
}

fn worth(credits: &Counts) -> String {
    let each: Vec<String> = credits.iter().map(|(model, count)| format!("{model}={count}")).collect();
    each.join(" ")
}

/// `YYYY-MM-DD`, UTC.
fn day(unix: i64) -> String {
    time::OffsetDateTime::from_unix_timestamp(unix).map_or_else(|_| "-".into(), |at| at.date().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_has_as_many_decimals_as_its_currency() {
        let amounts = [("USD", "1.05"), ("JPY", "105"), ("KWD", "0.105")];
        for (currency, expected) in amounts {
            assert_eq!(amount(105, currency), expected, "{currency}");
        }
    }
}
