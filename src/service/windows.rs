//! Windows: a task of the user's, started at the log-on and again when it fails.
//!
//! Deliberately absent: a Windows service. That would be the machine's, with another profile than the user's.

use std::path::PathBuf;

use super::{Activity, Found, MARK, Service, ServiceError, ask, remove, tell, write};

const NAME: &str = "llmtor";
const SCHTASKS: &str = "schtasks";

pub(super) fn install(service: &Service) -> Result<(), ServiceError> {
    let path = path(service);
    write(&path, &encoded(&task(service)?))?;
    tell(SCHTASKS, &["/Create", "/F", "/TN", NAME, "/XML", &path.to_string_lossy()])
}

pub(super) fn uninstall(service: &Service) -> Result<(), ServiceError> {
    let path = path(service);
    if path.exists() {
        // It may not run.
        let _ = tell(SCHTASKS, &["/End", "/TN", NAME]);
        tell(SCHTASKS, &["/Delete", "/F", "/TN", NAME])?;
    }
    remove(&path)
}

pub(super) fn start() -> Result<(), ServiceError> {
    tell(SCHTASKS, &["/Run", "/TN", NAME])
}

pub(super) fn stop() -> Result<(), ServiceError> {
    tell(SCHTASKS, &["/End", "/TN", NAME])
}

pub(super) fn activity() -> Result<Activity, ServiceError> {
    let output = ask(SCHTASKS, &["/Query", "/TN", NAME, "/FO", "CSV", "/NH"])?;
    Ok(state(&String::from_utf8_lossy(&output.stdout)))
}

pub(super) fn home(service: &Service) -> Option<Found> {
    let bytes = std::fs::read(path(service)).ok()?;
    let text = String::from_utf8_lossy(&bytes).replace('\0', "");
    let named = text.split_once("--home &quot;").and_then(|(_, rest)| rest.split_once("&quot;"));
    Some(named.map_or(Found::Default, |(home, _)| Found::Named(unescaped(home).into())))
}

pub(super) fn path(service: &Service) -> PathBuf {
    service.home.join("task.xml")
}

fn state(queried: &str) -> Activity {
    if queried.contains("\"Running\"") { Activity::Running } else { Activity::Stopped }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn unescaped(text: &str) -> String {
    text.replace("&quot;", "\"").replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&")
}

/// As `schtasks` wants it: UTF-16 with a mark of its order.
fn encoded(text: &str) -> Vec<u8> {
    std::iter::once(0xFEFF).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
}

fn task(service: &Service) -> Result<String, ServiceError> {
    let arguments = service.arguments()?;
    let (program, rest) = arguments.split_first().ok_or(ServiceError::NoPlace)?;
    let quoted = rest.iter().map(|word| match word.as_str() {
        "serve" | "--home" => word.clone(),
        path => format!("\"{path}\""),
    });
    let rest = escaped(&quoted.collect::<Vec<_>>().join(" "));
    let program = escaped(program);
    Ok(format!(
        r#"<?xml version="1.0" encoding="UTF-16"?>
<!-- {MARK}. -->
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo>
    <Description>llmtor: private calls to language models</Description>
  </RegistrationInfo>
  <Triggers>
    <LogonTrigger>
      <Enabled>true</Enabled>
    </LogonTrigger>
  </Triggers>
  <Principals>
    <Principal id="Author">
      <LogonType>InteractiveToken</LogonType>
      <RunLevel>LeastPrivilege</RunLevel>
    </Principal>
  </Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <Hidden>true</Hidden>
    <RestartOnFailure>
      <Interval>PT1M</Interval>
      <Count>3</Count>
    </RestartOnFailure>
  </Settings>
  <Actions Context="Author">
    <Exec>
      <Command>{program}</Command>
      <Arguments>{rest}</Arguments>
    </Exec>
  </Actions>
</Task>
"#
    ))
}

#[cfg(test)]
mod tests {
    use super::super::{Place, UserDirectories};
    use super::*;

    #[test]
    fn the_task_names_the_program_and_its_home_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let user = UserDirectories { home: dir.path().to_owned(), config: dir.path().to_owned() };
        let place = (dir.path().to_owned(), Place::Named);
        let service =
            Service::new("/apps/llmtor.exe".into(), place, "localhost:8787".parse().unwrap(), 10, user);
        let bytes = encoded(&task(&service).unwrap());
        assert_eq!(bytes[..2], [0xFF, 0xFE]);
        // What schtasks reads by is what the text says of itself.
        assert!(task(&service).unwrap().starts_with("<?xml version=\"1.0\" encoding=\"UTF-16\"?>"));
        write(&path(&service), &bytes).unwrap();
        assert!(matches!(home(&service), Some(Found::Named(found)) if found == dir.path()));
        // Ours, so it may be replaced and removed.
        write(&path(&service), &bytes).unwrap();
        remove(&path(&service)).unwrap();
        assert!(home(&service).is_none());
    }

    #[test]
    fn what_schtasks_prints_tells_whether_it_runs() {
        assert_eq!(state("\"\\llmtor\",\"N/A\",\"Running\"\r\n"), Activity::Running);
        assert_eq!(state("\"\\llmtor\",\"N/A\",\"Ready\"\r\n"), Activity::Stopped);
    }

    #[test]
    fn xml_in_a_path_stays_a_path() {
        assert_eq!(unescaped(&escaped("C:\\a & <b>")), "C:\\a & <b>");
    }
}
