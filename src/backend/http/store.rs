//! Where credits are bought: prices, the purchase page, payment providers' webhooks, vouchers.
//!
//! | endpoint | who | what vouches for them |
//! | --- | --- | --- |
//! | `GET /model-pricing` | anybody | – |
//! | `GET /purchase` | a browser, without the session | transient token |
//! | `GET /purchase/checkout/REFERENCE` | the same browser, sent on | the reference: random, and known to the provider |
//! | `POST /purchase/voucher` | the form of that page | transient token |
//! | `POST /voucher` | a client | session |
//! | `POST /webhooks/paddle`, `/webhooks/dodo` | a payment provider | signature |
//!
//! The address of `/purchase` has the transient token in it: it is sent on to nobody (`Referrer-Policy`), and a foreign script
//! runs only at the checkout's own address, to which the browser is redirected. A script can read its page's first address for
//! as long as the page lives, whatever the address bar says.

mod page;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use url::Url;

use self::page::{Notice, Page};
use super::identity::{App, SignedIn, broken, parse};
use super::sign_in::own_address;
use super::{Peer, Shared, fail, internal, invalid, not_found, ok, read, to_the_end};
use crate::backend::ledger::AccountId;
use crate::backend::settings::PackageSettings;
use crate::backend::sqlite::StoreError;
use crate::backend::store::vouchers::Redemption;
use crate::backend::store::{Deaf, Guesser, Provider};
use crate::wire::identity::{
    DODO_PARAMETER, PACKAGE_PARAMETER, PADDLE_PARAMETER, Package, PaymentLog, Pricing, VoucherRequest,
};
use crate::wire::voucher::{EXPIRED, REVOKED, TOO_MANY_GUESSES, UNKNOWN, USED, VoucherCode, VoucherRefusal};
use crate::wire::{API_PREFIX, STATUS_UNAUTHORIZED};

/// Largest webhook, bytes. Real ones have a few thousand.
const WEBHOOK_LIMIT: usize = 256 << 10;
/// Largest form, bytes.
const FORM_LIMIT: usize = 4 << 10;

pub(super) fn routes() -> Router<Arc<Shared>> {
    let path = |endpoint: &str| format!("{API_PREFIX}{endpoint}");
    Router::new()
        .route(&path("/model-pricing"), get(pricing))
        .route(&path("/purchase"), get(purchase))
        .route(&path("/purchase/checkout/{reference}"), get(paddle))
        .route(&path("/purchase/voucher"), post(purchase_by_voucher))
        .route(&path("/voucher"), post(voucher))
        .route(
            &path("/webhooks/paddle"),
            post(async |app: App, headers: HeaderMap, body: Body| {
                webhook(Provider::Paddle, app, headers, body).await
            }),
        )
        .route(
            &path("/webhooks/dodo"),
            post(async |app: App, headers: HeaderMap, body: Body| {
                webhook(Provider::Dodo, app, headers, body).await
            }),
        )
}

async fn pricing(State(shared): App) -> Response {
    let packages = shared.store.packages().iter().map(|package| Package {
        id: package.id.clone(),
        model_id: package.model.to_string(),
        tokens: package.tokens,
        price: package.price.clone(),
        popular: package.popular,
        paddle_price_id: sold_by(package, &shared, Provider::Paddle).map(str::to_owned),
        dodo_product_id: sold_by(package, &shared, Provider::Dodo).map(str::to_owned),
        product_id: None,
    });
    ok(Pricing { packages: packages.collect() })
}

/// What a provider that is configured calls the package.
fn sold_by<'p>(package: &'p PackageSettings, shared: &Shared, provider: Provider) -> Option<&'p str> {
    let store = &shared.settings.store;
    match provider {
        Provider::Paddle => package.paddle_price_id.as_deref().filter(|_| store.paddle.is_some()),
        Provider::Dodo => package.dodo_product_id.as_deref().filter(|_| store.dodo.is_some()),
    }
}

/// What the page's address says.
#[derive(Default)]
struct Asked {
    token: String,
    user: String,
    package: Option<(String, String)>,
    redirect: Option<String>,
    code: Option<String>,
}

impl Asked {
    fn read(query: &[u8]) -> Self {
        let mut asked = Self::default();
        for (name, value) in url::form_urlencoded::parse(query) {
            let value = value.into_owned();
            match &*name {
                "transientToken" => asked.token = value,
                "userID" => asked.user = value,
                PADDLE_PARAMETER | DODO_PARAMETER | PACKAGE_PARAMETER => {
                    asked.package = Some((name.into_owned(), value));
                }
                // The official web client says the latter.
                "redirect" | "redirectURL" if !value.is_empty() => asked.redirect = Some(value),
                "Code" => asked.code = Some(value),
                _ => {}
            }
        }
        asked
    }
}

/// Why there is no checkout; the page says what to do.
enum Refused {
    Redirect,
    Token,
    Checkout,
    Package,
    /// It could not be written down.
    Failed(StoreError),
}

impl Refused {
    fn answer(&self, page: &Page<'_>) -> Response {
        let (status, notice) = match self {
            Self::Redirect => (StatusCode::BAD_REQUEST, Notice::ForeignRedirect),
            Self::Token => (StatusCode::FORBIDDEN, Notice::LinkIsOver),
            Self::Checkout => (StatusCode::NOT_FOUND, Notice::NoSuchCheckout),
            Self::Package => (StatusCode::NOT_FOUND, Notice::NoSuchPackage),
            Self::Failed(error) => return broken(error),
        };
        page.notice(status, notice)
    }
}

async fn purchase(State(shared): App, RawQuery(query): RawQuery) -> Response {
    let page = Page::new(&shared.settings.store);
    let asked = Asked::read(query.as_deref().unwrap_or_default().as_bytes());
    if asked.token.is_empty() && asked.user.is_empty() {
        return page.notice(StatusCode::OK, Notice::NothingAsked);
    }
    checkout(&shared, &page, &asked).await.unwrap_or_else(|refused| refused.answer(&page))
}

/// The checkout of a package, or the voucher form alone where nobody takes money for it.
async fn checkout(shared: &Shared, page: &Page<'_>, asked: &Asked) -> Result<Response, Refused> {
    let redirect = redirect(shared, asked)?;
    let account = shared.store.buyer(&asked.user, &asked.token).ok_or(Refused::Token)?;
    let form = page::VoucherForm { user: &asked.user, token: &asked.token };
    let Some((name, value)) = &asked.package else { return Ok(page.vouchers(&form, None)) };
    let package = shared.store.package(name, value).ok_or(Refused::Package)?;
    let (paddle, dodo) =
        (sold_by(package, shared, Provider::Paddle), sold_by(package, shared, Provider::Dodo));
    // The one that was asked for, else whichever sells it.
    let wants_dodo = name == DODO_PARAMETER;
    let answer = match (paddle, dodo) {
        (_, Some(product)) if wants_dodo || paddle.is_none() => {
            let reference = open(shared, account, package).await?;
            page.dodo(package, product, &reference, redirect.as_ref(), &form)
        }
        (Some(_), _) => {
            away_from_the_token(&open(shared, account, package).await?, package, redirect.as_ref())?
        }
        _ => page.vouchers(&form, Some(package)),
    };
    Ok(answer)
}

/// To the page with the payment provider's script, by an address that has nothing of the account in it. Relative, for whoever
/// serves all of this under a path.
fn away_from_the_token(
    reference: &str,
    package: &PackageSettings,
    redirect: Option<&Url>,
) -> Result<Response, Refused> {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair(PACKAGE_PARAMETER, &package.id);
    if let Some(redirect) = redirect {
        query.append_pair("redirect", redirect.as_str());
    }
    let to = HeaderValue::try_from(format!("purchase/checkout/{reference}?{}", query.finish()));
    let headers = [
        (header::LOCATION, to.map_err(|_| Refused::Package)?),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((StatusCode::SEE_OTHER, headers).into_response())
}

async fn paddle(State(shared): App, Path(reference): Path<String>, RawQuery(query): RawQuery) -> Response {
    let page = Page::new(&shared.settings.store);
    let asked = Asked::read(query.as_deref().unwrap_or_default().as_bytes());
    let opened = opened(&shared, &page, reference, &asked).await;
    opened.unwrap_or_else(|refused| refused.answer(&page))
}

/// The page of a checkout that was opened before.
async fn opened(
    shared: &Shared,
    page: &Page<'_>,
    reference: String,
    asked: &Asked,
) -> Result<Response, Refused> {
    let redirect = redirect(shared, asked)?;
    let is_open = shared.store.has_checkout(reference.clone()).await.map_err(Refused::Failed)?;
    if !is_open {
        return Err(Refused::Checkout);
    }
    let (name, value) = asked.package.as_ref().ok_or(Refused::Package)?;
    let package = shared.store.package(name, value).ok_or(Refused::Package)?;
    let price = sold_by(package, shared, Provider::Paddle).ok_or(Refused::Package)?;
    Ok(page.paddle(package, price, &reference, redirect.as_ref()))
}

async fn open(shared: &Shared, account: AccountId, package: &PackageSettings) -> Result<String, Refused> {
    let reference = uuid::Uuid::new_v4().to_string();
    shared.store.open_checkout(reference, account, package).await.map_err(Refused::Failed)
}

/// Where the buyer goes afterwards, if anywhere.
fn redirect(shared: &Shared, asked: &Asked) -> Result<Option<Url>, Refused> {
    let Some(target) = &asked.redirect else { return Ok(None) };
    let url = Url::parse(target).ok().filter(|url| shared.settings.store.allows_redirect(url));
    url.map(Some).ok_or(Refused::Redirect)
}

async fn purchase_by_voucher(
    State(shared): App,
    peer: Option<axum::Extension<Peer>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let Ok(body) = read(body, FORM_LIMIT).await else { return invalid("the form is too large or broke off") };
    let asked = Asked::read(&body);
    drop(zeroize::Zeroizing::new(body));
    let page = Page::new(&shared.settings.store);
    let Some(account) = shared.store.buyer(&asked.user, &asked.token) else {
        return Refused::Token.answer(&page);
    };
    let guesser = Guesser { account: account.clone(), address: own_address(peer.as_ref(), &headers) };
    let code = zeroize::Zeroizing::new(asked.code.clone().unwrap_or_default());
    let redeemed = match VoucherCode::parse(&code) {
        Ok(code) => match shared.store.redeem(Some(&code), account, guesser).await {
            Ok(redeemed) => redeemed,
            Err(error) => return broken(&error),
        },
        Err(slip) => {
            let form = page::VoucherForm { user: &asked.user, token: &asked.token };
            return page.retry(&form, &slip.to_string());
        }
    };
    match redeemed {
        Ok(Redemption { credits, .. }) => page.redeemed(&credits),
        Err(refusal) => {
            let form = page::VoucherForm { user: &asked.user, token: &asked.token };
            page.retry(&form, refusal_text(refusal))
        }
    }
}

fn refusal_text(refusal: VoucherRefusal) -> &'static str {
    match refusal {
        VoucherRefusal::Unknown => {
            "This code was not given out here. Compare it with what you have, letter by letter."
        }
        VoucherRefusal::Used => {
            "This voucher was used before. If that was you, the credits are in your account."
        }
        VoucherRefusal::Expired => "This voucher's time is over. Ask whoever gave it to you for another.",
        VoucherRefusal::Revoked => "This voucher was taken back. Ask whoever gave it to you.",
        VoucherRefusal::TooMany => "Too many wrong codes were tried. Try again in an hour.",
        VoucherRefusal::NotTaken => "There are no vouchers here.",
    }
}

async fn voucher(
    State(shared): App,
    SignedIn(account): SignedIn,
    peer: Option<axum::Extension<Peer>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let request: VoucherRequest = match parse(body).await {
        Ok(request) => request,
        Err(refused) => return refused,
    };
    let typed = zeroize::Zeroizing::new(request.code);
    // Clients find slips by themselves; what does not add up here is a guess.
    let code = VoucherCode::parse(&typed).ok();
    let guesser = Guesser { account: account.clone(), address: own_address(peer.as_ref(), &headers) };
    let worker = Arc::clone(&shared);
    to_the_end(&shared.tasks, async move {
        match worker.store.redeem(code.as_ref(), account, guesser).await {
            Ok(Ok(Redemption { id, credits })) => ok(PaymentLog {
                transaction_id: id,
                tokens_granted: Some(credits.into_iter().map(|(model, n)| (model.to_string(), n)).collect()),
            }),
            Ok(Err(VoucherRefusal::TooMany)) => {
                fail(StatusCode::TOO_MANY_REQUESTS, "Too many requests.", TOO_MANY_GUESSES)
            }
            Ok(Err(VoucherRefusal::Used)) => internal(USED),
            Ok(Err(VoucherRefusal::Expired)) => internal(EXPIRED),
            Ok(Err(VoucherRefusal::Revoked)) => internal(REVOKED),
            Ok(Err(VoucherRefusal::Unknown | VoucherRefusal::NotTaken)) => internal(UNKNOWN),
            Err(error) => broken(&error),
        }
    })
    .await
}

async fn webhook(provider: Provider, State(shared): App, headers: HeaderMap, body: Body) -> Response {
    let Ok(body) = read(body, WEBHOOK_LIMIT).await else {
        return invalid("the body is too large or broke off");
    };
    let worker = Arc::clone(&shared);
    to_the_end(&shared.tasks, async move {
        match worker.store.hear(provider, &headers, &body).await {
            // A held one is in the books; sending it again would change nothing.
            Ok(_) => ok(serde_json::Value::Null),
            Err(Deaf::NotConfigured) => not_found(),
            Err(Deaf::Unsigned(why)) => {
                tracing::warn!(
                    ?provider,
                    ?why,
                    "a webhook was refused: it is not the payment provider's word"
                );
                fail(
                    StatusCode::UNAUTHORIZED,
                    STATUS_UNAUTHORIZED,
                    "the webhook's signature is missing, too old, or not of a secret that is set here",
                )
            }
            Err(Deaf::Unread(_)) => {
                tracing::error!(
                    ?provider,
                    "a signed webhook could not be read: it has another form than is documented"
                );
                invalid("the event has another form than is documented")
            }
            Err(Deaf::Store(error)) => broken(&error),
        }
    })
    .await
}
