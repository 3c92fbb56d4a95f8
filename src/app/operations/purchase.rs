//! Buying, as part of a home. Nothing here mints: the schedule is told that there are credits, and keeps its own time.

use url::Url;

use crate::control::message::{
    AccountReport, CheckoutReport, OfferReport, OffersReport, SecretLink, SecretText, VoucherReport,
};
use crate::identity::purchase::LINK_SECONDS;
use crate::identity::{Account, Checkout, IdentityUrl, Offer, purchase};
use crate::secret::Secret;
use crate::wire::voucher::VoucherCode;

use super::{AppError, Operations, Unready, supply};

impl Operations {
    /// What is sold. No session is needed, and none is sent.
    pub(super) async fn offers(&self) -> Result<OffersReport, AppError> {
        let _turn = self.turn.lock().await;
        let url = self.config.backend.identity_url().ok_or(AppError::NoBackend)?;
        let url = IdentityUrl::parse(url.as_str())?;
        let (route, deadlines) = self.way.route(&url, Unready::Fails).await?;
        let offers = purchase::offers(url, route, &deadlines).await?;
        Ok(OffersReport { packages: offers.into_iter().map(offer).collect() })
    }

    pub(super) async fn checkout(
        &self,
        package: &str,
        redirect: Option<&str>,
    ) -> Result<CheckoutReport, AppError> {
        let redirect = redirect.and_then(|text| Url::parse(text).ok());
        let _turn = self.turn.lock().await;
        let identity = self.identity(Unready::Fails).await?;
        let Checkout { offer: bought, link, account } = identity.checkout(package, redirect.as_ref()).await?;
        Ok(CheckoutReport {
            package: offer(bought),
            link: SecretLink(Secret::new(link.expose().to_owned())),
            seconds: LINK_SECONDS,
            before: report(account),
        })
    }

    pub(super) async fn redeem_voucher(&self, code: &SecretText) -> Result<VoucherReport, AppError> {
        let code = VoucherCode::parse(code.0.expose())?;
        let granted = {
            let _turn = self.turn.lock().await;
            let identity = self.identity(Unready::Fails).await?;
            let granted = identity.redeem_voucher(&code).await?;
            supply::noted(self.schedule.credits_seen(&granted).await);
            granted
        };
        Ok(VoucherReport { granted, supply: self.supply().await? })
    }
}

/// An account, to be told.
pub(super) fn report(account: Account) -> AccountReport {
    AccountReport { name: account.name, email: account.email, credits: account.active, used: account.used }
}

fn offer(offer: Offer) -> OfferReport {
    OfferReport {
        id: offer.id,
        model: offer.model,
        credits: offer.credits,
        price: offer.price,
        popular: offer.is_popular,
    }
}
