//! `llmtor env`

use serde::Serialize;

use crate::app;

use super::Context;
use super::arguments::{EnvOptions, EnvShell};
use super::exit::{Exit, Failure};

/// What a client needs to know.
#[derive(Serialize)]
pub(super) struct Pointers<'a> {
    pub(super) base_url: &'a str,
    pub(super) api_key: &'a str,
}

pub(super) async fn run(options: &EnvOptions, context: &Context) -> Result<Exit, Failure> {
    let (home, config) = context.open(&[])?;
    let base_url = app::base_url(&home, &config).await?;
    let key = app::read_api_key(&home)?;
    let pointers = Pointers { base_url: &base_url, api_key: key.expose() };
    context.output.result(&pointers, || text(&pointers, options.shell));
    Ok(Exit::Done)
}

/// Assignments of the two variables that OpenAI's clients read. Neither value contains a quote.
pub(super) fn text(pointers: &Pointers<'_>, shell: EnvShell) -> String {
    let assign = |name: &str, value: &str| match shell {
        EnvShell::Sh => format!("export {name}='{value}'\n"),
        EnvShell::Fish => format!("set -gx {name} '{value}'\n"),
        EnvShell::Powershell => format!("$env:{name} = '{value}'\n"),
    };
    assign("OPENAI_BASE_URL", pointers.base_url) + &assign("OPENAI_API_KEY", pointers.api_key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shell_has_its_syntax() {
        let pointers = Pointers { base_url: "http://127.0.0.1:1/v1", api_key: "sk-x" };
        assert_eq!(
            text(&pointers, EnvShell::Sh),
            "export OPENAI_BASE_URL='http://127.0.0.1:1/v1'\nexport OPENAI_API_KEY='sk-x'\n"
        );
        assert!(text(&pointers, EnvShell::Fish).starts_with("set -gx OPENAI_BASE_URL 'http"));
        assert!(text(&pointers, EnvShell::Powershell).starts_with("$env:OPENAI_BASE_URL = 'http"));
    }
}
