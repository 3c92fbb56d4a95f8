//! The local page, as part of the daemon: its listener, its doorman, and what lies on its desk.

mod file;

use std::sync::{Arc, Weak};
use std::time::Instant;

use crate::anonymous::redeem::record::{self, Api, CallLog, CallRecord, Outcome};
use crate::anonymous::transport::{Company, Way};
use crate::config::Config;
use crate::control::message::StatusReport;
use crate::control::{Operation, Perform as _, Refusal, Report};
use crate::dashboard::desk::{self, AccountWay, Answer, Call, Ending, Errand, Setting};
use crate::dashboard::{Desk, Doorman, Gate, Page, Visitor};
use crate::identity::record::{self as errands, RequestLog};
use crate::passage::Passage;
use crate::supervisor::Supervisor;

use super::{AppError, Operations, listen};
use file::Settings;

/// Makes the page a part of the daemon, if it is wanted. Without a place to listen there is none: calls matter more.
pub(super) fn start(
    supervisor: &mut Supervisor,
    config: &Config,
    operations: &Arc<Operations>,
    log: Arc<CallLog>,
) {
    if !config.page.enabled {
        return;
    }
    let (listeners, address) = match listen::bind_addresses(config.page.listen) {
        Ok(bound) => bound,
        Err(error) => {
            tracing::warn!(%error, "there is no local page: change `page.listen` and start again");
            return;
        }
    };
    let gate = Arc::new(Gate::new(address, &mut rand::rng()));
    let links = Arc::clone(&gate);
    operations.show_page(Box::new(move || links.link(Instant::now(), &mut rand::rng())));
    let settings = Settings::new(operations.home().clone(), config);
    let errands = operations.identity_way().log();
    let desk = Arc::new(OperationsDesk { operations: Arc::downgrade(operations), log, errands, settings });
    for listener in listeners {
        let page = Page::new(Arc::clone(&desk) as Arc<dyn Desk>, Arc::clone(&gate), doorman(operations));
        let stop = supervisor.stop();
        supervisor.part("the local page", async move {
            page.serve(listener, stop).await;
            Ok::<_, AppError>(())
        });
    }
}

/// As at the control socket: the home's owner, and root. Who is not known to be one of them is none.
#[cfg(target_os = "linux")]
fn doorman(operations: &Operations) -> Doorman {
    use super::holder::{Owner, owners_of_connections};
    use std::os::unix::fs::MetadataExt as _;

    let owner = std::fs::metadata(operations.home().root()).map(|home| home.uid()).ok();
    let visitor = move |of| match of {
        Owner::User(uid) if uid == 0 || Some(uid) == owner => Visitor::Ours,
        Owner::User(_) | Owner::Nobody => Visitor::Stranger,
        Owner::Untold => Visitor::Untold,
    };
    Box::new(move |all| {
        let all: Vec<_> = all.iter().map(|ends| (ends.from, ends.to)).collect();
        owners_of_connections(&all).into_iter().map(visitor).collect()
    })
}

/// Other systems do not tell without a program of root's; the link and the cookie are what counts there.
#[cfg(not(target_os = "linux"))]
fn doorman(_operations: &Operations) -> Doorman {
    Box::new(|all| vec![Visitor::Untold; all.len()])
}

/// What the page reads.
struct OperationsDesk {
    /// Weak: the page must not keep the vault open.
    operations: Weak<Operations>,
    log: Arc<CallLog>,
    errands: Arc<RequestLog>,
    settings: Settings,
}

impl OperationsDesk {
    async fn perform(&self, operation: Operation) -> Result<Report, Refusal> {
        let operations = self.operations.upgrade().ok_or_else(|| AppError::NoDaemonToShow.refusal())?;
        operations.perform(operation, tokio::sync::watch::channel(None).0).await
    }
}

impl Desk for OperationsDesk {
    fn status(&self) -> Answer<'_, StatusReport> {
        Box::pin(async {
            match self.perform(Operation::Status).await? {
                Report::Status(status) => Ok(status),
                _ => Err(AppError::Internal.refusal()),
            }
        })
    }

    fn calls(&self) -> Vec<Call> {
        self.log.latest().into_iter().map(call).collect()
    }

    fn errands(&self) -> Vec<Errand> {
        self.errands.latest().into_iter().map(|(ended, sent)| errand(ended.unix(), sent)).collect()
    }

    fn settings(&self) -> Vec<Setting> {
        self.settings.all()
    }

    fn change(&self, changes: &[(String, String)]) -> Result<(), Refusal> {
        self.settings.change(changes).map_err(AppError::refusal)
    }

    fn set_passage(&self, wanted: Passage) -> Answer<'_, ()> {
        let operation = match wanted {
            Passage::Paused => Operation::Pause,
            Passage::Open => Operation::Resume,
        };
        Box::pin(async { self.perform(operation).await.map(drop) })
    }

    fn new_identity(&self) -> Answer<'_, ()> {
        Box::pin(async { self.perform(Operation::NewIdentity).await.map(drop) })
    }
}

fn call(record: CallRecord) -> Call {
    let CallRecord { ended, api, model, took, outcome, attempts, sendings } = record;
    Call {
        ended: ended.unix(),
        api: match api {
            Api::Chat => "OpenAI chat",
            Api::Completions => "OpenAI completions",
            Api::Responses => "OpenAI responses",
            Api::Messages => "Anthropic",
            Api::Ollama => "Ollama",
        },
        model: model.as_str().to_owned(),
        took,
        ending: match outcome {
            Outcome::Answered => Ending::Answered,
            Outcome::Shared => Ending::Shared,
            Outcome::Blocked => Ending::Blocked,
            Outcome::ProviderFailed => Ending::ProviderFailed,
            Outcome::InDoubt => Ending::InDoubt,
            Outcome::NoToken => Ending::NoToken,
            Outcome::NoWayOut => Ending::NoWayOut,
            Outcome::Refused => Ending::Refused,
        },
        attempts,
        sendings: sendings.into_iter().map(sending).collect(),
    }
}

fn sending(sent: record::Sending) -> desk::Sending {
    desk::Sending {
        head: sent.head,
        body: sent.body,
        way: match sent.departure.way {
            Way::Tor => desk::Way::Tor,
            Way::Socks => desk::Way::Socks,
            Way::Loopback => desk::Way::Loopback,
        },
        company: match sent.departure.company {
            Company::Nobody => desk::Company::Nobody,
            Company::Conversation => desk::Company::Conversation,
            Company::Anybody => desk::Company::Anybody,
        },
    }
}

fn errand(ended: i64, sent: errands::Sent) -> Errand {
    Errand {
        ended,
        method: sent.method,
        path: sent.path,
        body: sent.body,
        way: match sent.way {
            errands::Way::Direct => AccountWay::Direct,
            errands::Way::Tor => AccountWay::Tor,
            errands::Way::Loopback => AccountWay::Loopback,
        },
        bearing: match sent.bearing {
            errands::Bearing::Account => desk::Bearing::Account,
            errands::Bearing::Nobody => desk::Bearing::Nobody,
        },
    }
}
