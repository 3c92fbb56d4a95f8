//! Buying, as part of a home. Nothing here mints: the schedule is told that there are credits, and keeps its own time.

use url::Url;

use crate::control::message::{
    AccountReport, CheckoutReport, OfferReport, OffersReport, SecretLink, SecretText, VoucherReport,
};
use crate::identity::purchase::LINK_SECONDS;
use crate::identity::{Account, Checkout, Offer, purchase};
use crate::secret::Secret;
use crate::wire::voucher::VoucherCode;

use super::{AppError, Operations, Unready, supply};

impl Operations {
    /// What is sold. No session is needed, and none is sent.
    pub(super) async fn offers(&self) -> Result<OffersReport, AppError> {
        let _turn = self.turn.lock().await;
        let url = self.identity_url()?;
        let (route, deadlines) = self.way.route(&url, Unready::Fails).await?;
        let offers = purchase::offers(url, route, &deadlines, self.gate.clone(), self.way.witness()).await?;
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
        self.sweep_slips_later();
        let Checkout { offer: bought, link, account } = identity.checkout(package, redirect.as_ref()).await?;
        Ok(CheckoutReport {
            package: offer(bought),
            link: SecretLink(Secret::new(link.expose().to_owned())),
            seconds: LINK_SECONDS,
            before: self.told(account)?,
        })
    }

    /// An account, to be told.
    pub(super) fn told(&self, account: Account) -> Result<AccountReport, AppError> {
        Ok(AccountReport {
            backend: self.identity_url()?.to_string(),
            name: account.name,
            email: account.email,
            credits: account.active,
            used: account.used,
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

fn offer(offer: Offer) -> OfferReport {
    OfferReport {
        id: offer.id,
        model: offer.model,
        credits: offer.credits,
        price: offer.price,
        popular: offer.is_popular,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_file_that_leads_a_browser_to_a_purchase_is_there_as_long_as_its_link_is_good() {
        assert!(crate::browse::LIFE >= Duration::from_secs(LINK_SECONDS.into()));
    }
}
