//! Buying: what is sold, the way to the purchase page, and vouchers (protocol.md §3).
//!
//! Prices are asked for in nobody's name: no cookie goes along. The purchase page is for a browser, which has no session
//! here: its address carries a token that the backend gave the session, good for five minutes. Whoever has the address may
//! pay for this account, and no more; it is a secret all the same.
//!
//! Deliberately absent: minting. A purchase and an issuance close together would tie the two in time; when credits become
//! tokens is [`schedule`](super::schedule)'s affair.

use std::collections::BTreeMap;
use std::sync::Arc;

use url::Url;

use crate::identity::api::{Api, Rejected};
use crate::identity::error::Foreign;
use crate::identity::record::Witness;
use crate::identity::{Account, Deadlines, Identity, IdentityError, IdentityUrl, Route};
use crate::passage::Gate;
use crate::secret::Secret;
use crate::wire::ModelName;
use crate::wire::identity::{Me, Package, PaymentLog, Pricing, VoucherRequest};
use crate::wire::shown::shown;
use crate::wire::voucher::{VoucherCode, VoucherRefusal};

/// How long the purchase page's address is good for, seconds (protocol.md §3).
pub const LINK_SECONDS: u32 = 300;

/// Longest id, model or price that is shown, characters.
const LONGEST: usize = 120;

/// A package, its texts fit for a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Names it.
    pub id: String,
    /// The model that its credits are for.
    pub model: String,
    /// How many.
    pub credits: i64,
    /// As the backend writes it.
    pub price: String,
    /// Whether many buy it, by the backend's word.
    pub is_popular: bool,
}

/// The purchase page's address.
pub struct CheckoutLink(Secret<String>);

impl CheckoutLink {
    /// The address itself, for the user's browser.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

/// What is needed to buy.
pub struct Checkout {
    /// What is bought.
    pub offer: Offer,
    /// Where.
    pub link: CheckoutLink,
    /// What the account had before.
    pub account: Account,
}

impl From<Package> for Offer {
    fn from(package: Package) -> Self {
        Self {
            id: shown(&package.id, LONGEST),
            model: shown(&package.model_id, LONGEST),
            credits: package.tokens,
            price: shown(&package.price, LONGEST),
            is_popular: package.popular,
        }
    }
}

/// What the backend sells. Asked for without a session.
pub async fn offers(
    url: IdentityUrl,
    route: Route,
    deadlines: &Deadlines,
    gate: Gate,
    witness: Arc<dyn Witness>,
) -> Result<Vec<Offer>, IdentityError> {
    let pricing: Pricing = Api::public(url, route, deadlines, gate, witness)?.get(&["model-pricing"]).await?;
    // One without a name or a price cannot be bought.
    let sold = pricing.packages.into_iter().filter(|package| !package.id.is_empty() && package.tokens > 0);
    Ok(sold.map(Offer::from).collect())
}

impl Identity {
    /// The way to the purchase page of `package`. `redirect` is where the page sends the browser afterwards.
    pub async fn checkout(&self, package: &str, redirect: Option<&Url>) -> Result<Checkout, IdentityError> {
        let pricing: Pricing = self.api.get(&["model-pricing"]).await?;
        let package = pricing
            .packages
            .into_iter()
            .find(|sold| sold.id == package)
            .ok_or_else(|| IdentityError::NoSuchPackage(package.to_owned()))?;
        let mut me: Me = self.api.get(&["me"]).await?;
        let token = Secret::new(std::mem::take(&mut me.transient_token));
        if me.id.is_empty() || token.expose().is_empty() {
            return Err(IdentityError::NoCheckout);
        }
        let link = link(self.api.endpoint(&["purchase"]), &package, &me.id, &token, redirect);
        Ok(Checkout { offer: package.into(), link, account: me.into() })
    }

    /// Turns a voucher into credits; what the account has got, by model. A voucher is not sent twice: if no answer comes, the
    /// account tells.
    pub async fn redeem_voucher(&self, code: &VoucherCode) -> Result<BTreeMap<String, i64>, IdentityError> {
        let request = VoucherRequest { code: code.text().expose().clone() };
        let answer = self.api.post_bare::<PaymentLog>(&["voucher"], &request).await;
        drop(Secret::new(request.code));
        match answer {
            Ok(PaymentLog { tokens_granted: Some(granted), .. }) => {
                Ok(granted.into_iter().filter(|(model, _)| ModelName::new(model.as_str()).is_ok()).collect())
            }
            Ok(_) => Err(IdentityError::NotTheBackend(Foreign::Incomplete, 200)),
            Err(Rejected::Invalid(404)) => Err(IdentityError::Voucher(VoucherRefusal::NotTaken)),
            Err(rejected) => Err(rejected.into()),
        }
    }
}

fn link(
    mut url: Url,
    package: &Package,
    user: &str,
    token: &Secret<String>,
    redirect: Option<&Url>,
) -> CheckoutLink {
    let (parameter, value) = package.parameter();
    {
        let mut query = url.query_pairs_mut();
        query.append_pair("transientToken", token.expose()).append_pair("userID", user);
        query.append_pair(parameter, value);
        if let Some(redirect) = redirect {
            query.append_pair("redirect", redirect.as_str());
            // The name of today's server, as its own web client writes it.
            query.append_pair("redirectURL", redirect.as_str());
        }
    }
    CheckoutLink(Secret::new(url.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::lenient;

    fn packages(json: &str) -> Vec<Package> {
        lenient::from_slice::<Pricing>(json.as_bytes()).unwrap().packages
    }

    fn link_of(package: &Package, redirect: Option<&str>) -> String {
        let token = Secret::new("to+ken".to_owned());
        let redirect = redirect.map(|url| Url::parse(url).unwrap());
        let url = Url::parse("https://h/api/v1/purchase").unwrap();
        link(url, package, "me&you", &token, redirect.as_ref()).expose().to_owned()
    }

    #[test]
    fn a_package_that_cannot_be_read_takes_none_of_the_others_with_it() {
        let all = packages(
            r#"{"Packages":[{"ID":"a","Tokens":1.5},{"ID":"b","ModelID":"m","Tokens":5,"Price":"$1\u001b[2J\nx"},
                {"ID":"c","Tokens":"100"},{"ID":"d","Tokens":5,"Price":1.5},7]}"#,
        );
        let offers: Vec<Offer> = all.into_iter().map(Offer::from).collect();
        assert_eq!(
            offers.iter().map(|offer| (&*offer.id, &*offer.price)).collect::<Vec<_>>(),
            [("b", "$1�[2J x")]
        );
    }

    #[test]
    fn the_page_s_address_names_the_package_by_its_own_field() {
        let all = packages(
            r#"{"Packages":[
                {"ID":"a","ModelID":"m","Tokens":5,"Price":"$1","Popular":true,"PaddlePriceID":"pri_1"},
                {"id":"b","modelID":"m","tokens":5,"price":"$1","dodoproductid":"pdt_1","Extra":{"x":[1]}},
                {"ID":"c","ModelID":"m","Tokens":5,"Price":"$1","Popular":null,"ProductID":"p","PaddlePriceID":""},
                {"ID":"d","ModelID":"m","Tokens":5,"Price":null}]}"#,
        );
        let named: Vec<_> = all.iter().map(|package| link_of(package, None)).collect();
        let begin = "https://h/api/v1/purchase?transientToken=to%2Bken&userID=me%26you&";
        for (link, end) in
            named.iter().zip(["paddlePriceID=pri_1", "dodoProductID=pdt_1", "productID=p", "packageID=d"])
        {
            assert_eq!(link, &format!("{begin}{end}"));
        }
        let back = link_of(&all[0], Some("http://127.0.0.1:5139/callback"));
        assert!(back.contains("&redirect=http%3A%2F%2F127.0.0.1%3A5139%2Fcallback&redirectURL="), "{back}");
    }

    #[test]
    fn a_backend_that_sells_nothing_says_so_in_any_of_these_ways() {
        for nothing in [r#"{"Packages":null}"#, r#"{"Packages":[]}"#, "{}"] {
            assert!(packages(nothing).is_empty());
        }
    }
}
