//! `llmtor buy`
//!
//! | step | what stands in the way, and what is said |
//! | --- | --- |
//! | the packages, filtered by model | none, or none of the model: the nearest name |
//! | which one: `--package`, or asked for at a terminal | no such id; without a terminal the table is all |
//! | `/me`: a token for the purchase page | not logged in |
//! | the page, in the user's own browser or printed | Tor for the account but not for the browser; no browser |
//! | waiting: `/me` now and then | nothing came in time; Ctrl-C. Nothing is lost by either |
//! | the credits; what becomes of them, and when | – |
//!
//! Between two looks at the account the home is nobody's: a daemon may start meanwhile.

mod landing;
mod table;
mod wait;

use std::collections::BTreeMap;
use std::io::IsTerminal as _;

use serde_json::json;

use crate::browse::Slip;
use crate::config::{Config, IdentityTransport};
use crate::control::message::{CheckoutReport, OfferReport, OffersReport, SecretText, VoucherReport};
use crate::control::{Operation, Report};
use crate::datadir::Home;
use crate::secret::Secret;

use super::arguments::BuyOptions;
use super::exit::{Exit, Failure};
use super::operate::{mismatch, operate_in};
use super::{Context, passphrase, typed};

/// How the purchase page gets to the user.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Browser,
    Print,
}

pub(super) async fn run(options: BuyOptions, context: &Context) -> Result<Exit, Failure> {
    let (home, config) = context.open(&[])?;
    if let Some(code) = options.voucher {
        return redeem(code, context, &home, &config).await;
    }
    let way = way(&options, &config);
    // Whoever knows already what to buy hears at once what is in the way; whoever looks at the prices need not.
    let way = if options.package.is_some() { Ok(way?) } else { way };
    let operation = Operation::Offers;
    let Report::Offers(offers) = operate_in(context.output, &home, &config, operation).await? else {
        return Err(mismatch());
    };
    let offers = filter(offers, options.model.as_deref())?;
    let package = match &options.package {
        Some(id) => choose(&offers, id)?,
        None if typed::is_somebody_there(context.output) => match ask(&offers, context).await? {
            Some(package) => package,
            None => return Ok(Exit::Done),
        },
        None => {
            context.output.result(&offers, || table::of(&offers.packages));
            context.output.remark("`llmtor buy --package ID` buys one");
            return Ok(Exit::Done);
        }
    };
    let way = way?;
    let landing = if options.wait > 0 { landing::Landing::open().await } else { None };
    let redirect = landing.as_ref().map(landing::Landing::url);
    let operation = Operation::Checkout { package: package.id, redirect };
    let Report::Checkout(checkout) = operate_in(context.output, &home, &config, operation).await? else {
        return Err(mismatch());
    };
    let slip = show(&checkout, way, context, &home)?;
    if options.wait == 0 {
        // The browser may take its time to start; the daemon deletes it, or the next one opened.
        if let Some(slip) = slip {
            slip.leave();
        }
        context.output.remark("`llmtor account` shows the credits once they are there");
        return Ok(Exit::Done);
    }
    let granted = wait::for_credits(&checkout, options.wait, context.output, &home, &config).await?;
    drop((landing, slip));
    tell(&granted, context, &home, &config).await?;
    Ok(Exit::Done)
}

async fn redeem(code: String, context: &Context, home: &Home, config: &Config) -> Result<Exit, Failure> {
    let code = match code.as_str() {
        "-" if std::io::stdin().is_terminal() => {
            let unreadable = |_| {
                Failure::new(Exit::Usage, "the code cannot be read from this terminal")
                    .advise("give it on standard input: llmtor buy --voucher - < FILE")
            };
            typed::unseen("Voucher code (not shown): ", unreadable).await?
        }
        "-" => Secret::new(passphrase::stdin_line()?),
        _ => Secret::new(code),
    };
    let operation = Operation::Voucher { code: SecretText(code) };
    let Report::Voucher(report) = operate_in(context.output, home, config, operation).await? else {
        return Err(mismatch());
    };
    let VoucherReport { granted, supply } = &report;
    context.output.result(&json!({ "event": "credits", "granted": granted, "supply": supply }), || {
        table::arrived(granted, supply)
    });
    Ok(Exit::Done)
}

/// Where the account goes through Tor a browser that does not would give the address away; whoever wants that says so.
fn way(options: &BuyOptions, config: &Config) -> Result<Way, Failure> {
    match config.identity.transport {
        _ if options.print => Ok(Way::Print),
        IdentityTransport::Tor if !options.open_directly => Err(Failure::new(
            Exit::Usage,
            "your account is reached through Tor (`identity.transport`), but your browser would go to the backend directly \
             and show it your address; nothing was opened",
        )
        .advise("add --print and open the link in Tor Browser, or --open-directly if your address may be seen")),
        IdentityTransport::Tor | IdentityTransport::Direct => Ok(Way::Browser),
    }
}

fn filter(offers: OffersReport, model: Option<&str>) -> Result<OffersReport, Failure> {
    if offers.packages.is_empty() {
        return Err(Failure::new(Exit::Failed, "this backend sells nothing")
            .advise("its operator may give out vouchers: `llmtor buy --voucher -`"));
    }
    let Some(model) = model else { return Ok(offers) };
    let models: std::collections::BTreeSet<&str> =
        offers.packages.iter().map(|package| package.model.as_str()).collect();
    if !models.contains(model) {
        let hint = nearest(model, models.iter().copied());
        let all: Vec<&str> = models.into_iter().collect();
        return Err(Failure::new(Exit::Usage, format!("nothing is sold for `{model}`{hint}"))
            .advise(format!("credits are sold for: {}", all.join(", "))));
    }
    let of_model = offers.packages.iter().filter(|package| package.model == model).cloned().collect();
    Ok(OffersReport { packages: of_model })
}

fn choose(offers: &OffersReport, id: &str) -> Result<OfferReport, Failure> {
    let found = offers.packages.iter().find(|package| package.id == id).cloned();
    found.ok_or_else(|| {
        let ids: Vec<&str> = offers.packages.iter().map(|package| package.id.as_str()).collect();
        let hint = nearest(id, ids.iter().copied());
        Failure::new(Exit::Usage, format!("no package has the id `{id}`{hint}"))
            .advise(format!("there are: {}", ids.join(", ")))
    })
}

fn nearest<'a>(wanted: &str, known: impl Iterator<Item = &'a str>) -> String {
    known
        .map(|name| (strsim::normalized_damerau_levenshtein(wanted, name), name))
        .filter(|(likeness, _)| *likeness > 0.5)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map_or_else(String::new, |(_, name)| format!("; did you mean `{name}`?"))
}

/// By number or by id; nothing for none.
async fn ask(offers: &OffersReport, context: &Context) -> Result<Option<OfferReport>, Failure> {
    context.output.remark(&table::of(&offers.packages));
    loop {
        let line = typed::line("Which one? (number or id, Enter for none): ").await?;
        let line = line.map_err(|error| {
            Failure::new(Exit::Failed, format!("the answer cannot be read: {error}"))
                .advise("name the package instead: llmtor buy --package ID")
        })?;
        let answer = line.trim();
        if answer.is_empty() {
            return Ok(None);
        }
        let by_number =
            answer.parse().ok().and_then(|number: usize| offers.packages.get(number.checked_sub(1)?));
        match by_number.cloned().map_or_else(|| choose(offers, answer), Ok) {
            Ok(package) => return Ok(Some(package)),
            Err(failure) => context.output.remark(&failure.message),
        }
    }
}

/// Opens the page, or prints its address.
fn show(
    checkout: &CheckoutReport,
    way: Way,
    context: &Context,
    home: &Home,
) -> Result<Option<Slip>, Failure> {
    let OfferReport { id, model, credits, price, .. } = &checkout.package;
    // Not every backend says it beforehand.
    let named_price = if price.is_empty() { "at the price that the page shows" } else { price.as_str() };
    let minutes = checkout.seconds / 60;
    let link = checkout.link.0.expose();
    let event = |url: Option<&str>| {
        json!({ "event": "checkout", "package": id, "model": model, "credits": credits, "price": price,
                "url": url, "seconds": checkout.seconds })
    };
    match way {
        Way::Print => {
            context.output.remark(&format!(
                "{credits} credits for {model}, {named_price}. Open this link within {minutes} minutes. It is a secret: whoever has it \
                 can pay for your account."
            ));
            context.output.result(&event(Some(link)), || link.to_owned());
            Ok(None)
        }
        Way::Browser => {
            let slip = Slip::open(home, link).map_err(|error| {
                Failure::new(Exit::Failed, format!("no browser could be opened ({})", error.kind()))
                    .advise("nothing was bought; add --print to get the link, and open it yourself")
            })?;
            context.output.result(&event(None), || {
                format!(
                    "{credits} credits for {model}, {named_price}: the purchase page is open in your browser. It is good for \
                     {minutes} minutes."
                )
            });
            Ok(Some(slip))
        }
    }
}

/// Which credits came, and what becomes of them.
async fn tell(
    granted: &BTreeMap<String, i64>,
    context: &Context,
    home: &Home,
    config: &Config,
) -> Result<(), Failure> {
    let Report::Tokens(tokens) = operate_in(context.output, home, config, Operation::Tokens).await? else {
        return Err(mismatch());
    };
    let supply: BTreeMap<_, _> =
        tokens.supply.into_iter().filter(|(model, _)| granted.contains_key(model.as_str())).collect();
    context.output.result(&json!({ "event": "credits", "granted": granted, "supply": supply }), || {
        table::arrived(granted, &supply)
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offers() -> OffersReport {
        let offer = |id: &str, model: &str| OfferReport {
            id: id.into(),
            model: model.into(),
            credits: 100,
            price: "$1".into(),
            popular: false,
        };
        OffersReport {
            packages: vec![
                offer("small", "gpt-4.1"),
                offer("large", "gpt-4.1"),
                offer("g", "gemini-2.5-pro"),
            ],
        }
    }

    #[test]
    fn a_name_that_is_mistyped_is_told_the_nearest() {
        let failure = filter(offers(), Some("gtp-4.1")).err().unwrap();
        assert!(failure.message.contains("did you mean `gpt-4.1`?"), "{}", failure.message);
        assert_eq!(failure.advice.as_deref(), Some("credits are sold for: gemini-2.5-pro, gpt-4.1"));
        let failure = choose(&offers(), "smal").err().unwrap();
        assert!(failure.message.contains("did you mean `small`?"), "{}", failure.message);
        let failure = choose(&offers(), "zzzz").err().unwrap();
        assert!(!failure.message.contains("did you mean"), "{}", failure.message);
        assert_eq!(filter(offers(), Some("gpt-4.1")).ok().unwrap().packages.len(), 2);
        assert_eq!(filter(offers(), None).ok().unwrap().packages.len(), 3);
    }

    #[test]
    fn a_backend_that_sells_nothing_points_at_vouchers() {
        let failure = filter(OffersReport::default(), Some("gpt-4.1")).err().unwrap();
        assert!(failure.message.contains("sells nothing"));
        assert!(failure.advice.unwrap().contains("--voucher"));
    }
}
