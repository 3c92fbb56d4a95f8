//! `llmtor service …`

use crate::app;
use crate::service::{Activity, Installation, ServiceError, ServiceReport};

use super::Context;
use super::arguments::ServiceCommand;
use super::exit::{Exit, Failure};

pub(super) async fn run(command: ServiceCommand, context: &Context) -> Result<Exit, Failure> {
    let (home, config) = context.open(&[])?;
    if matches!(command, ServiceCommand::Install | ServiceCommand::Start) {
        app::launch::check_sets(&context.sets)?;
    }
    let service = app::launch::service(&home, &config)?;
    let work = move || match command {
        ServiceCommand::Install => service.install(),
        ServiceCommand::Uninstall => service.uninstall(),
        ServiceCommand::Start => service.start(),
        ServiceCommand::Stop => service.stop(),
        ServiceCommand::Status => service.status(),
    };
    let done = tokio::task::spawn_blocking(work).await.map_err(|_| app::AppError::Internal)?;
    let report = done?;
    context.output.result(&report, || text(&report));
    Ok(Exit::Done)
}

fn text(report: &ServiceReport) -> String {
    let mut text = match (&report.installation, report.activity) {
        (Installation::Absent, _) => {
            "no service is installed; `llmtor service install` installs one".to_owned()
        }
        (Installation::OfAnotherHome, _) => "the service that is installed is of another home".to_owned(),
        (Installation::Present, Activity::Running) => "installed, and llmtor runs".to_owned(),
        (Installation::Present, Activity::Listening) => {
            "installed: the first call starts llmtor (or `llmtor service start`)".to_owned()
        }
        (Installation::Present, Activity::Stopped) => {
            "installed, and stopped until `llmtor service start` or the next log-in".to_owned()
        }
        (Installation::Present, Activity::Failed) => {
            "installed, but the last start failed; `llmtor serve` in a terminal shows why".to_owned()
        }
    };
    for file in &report.files {
        text.push_str("\n  ");
        text.push_str(&file.display().to_string());
    }
    text
}

impl From<ServiceError> for Failure {
    fn from(error: ServiceError) -> Self {
        app::AppError::from(error).into()
    }
}
