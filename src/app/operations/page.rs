//! The local page's link.

use std::time::{Duration, SystemTime};

use crate::browse;
use crate::control::message::PageReport;
use crate::secret::Secret;

use super::super::AppError;
use super::Operations;

/// Between a link's making and its being written down.
const SLACK: Duration = Duration::from_secs(10);

/// Makes links that open the page.
pub(in crate::app) type PageLinks = Box<dyn Fn() -> Secret<String> + Send + Sync>;

impl Operations {
    /// The daemon has a page.
    #[cfg_attr(not(feature = "desktop"), expect(dead_code, reason = "only a program with a page calls it"))]
    pub(in crate::app) fn show_page(&self, links: PageLinks) {
        // There is one daemon, and it has one page.
        drop(self.page_links.set(links));
    }

    pub(super) fn open_page(&self) -> Result<PageReport, AppError> {
        if !self.is_daemon() {
            return Err(AppError::NoDaemonToShow);
        }
        let links = self.page_links.get().ok_or(AppError::NoPage)?;
        self.sweep_slips_later();
        Ok(PageReport { link: links().expose().clone() })
    }

    /// Browsers are given links in files, which are deleted when the links are dead: by this, if it still runs then.
    pub(super) fn sweep_slips_later(&self) {
        let home = self.home().clone();
        tokio::spawn(async move {
            tokio::time::sleep(browse::LIFE + SLACK).await;
            browse::sweep(&home, SystemTime::now());
        });
    }
}
