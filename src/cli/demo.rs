//! `llmtor demo`

use std::path::PathBuf;

use serde::Serialize;
use tokio::sync::watch;

use crate::app::demo::{Demo, DemoBackend, MODELS, Upstream};
use crate::datadir::Home;
use crate::supervisor::Signals as _;

use super::Context;
use super::arguments::{DemoOptions, EnvShell};
use super::env::{Pointers, text as env_text};
use super::exit::{Exit, Failure};
use super::operate::show;
use super::serve::{ended, signals};

/// The first line of standard output with `--json`.
#[derive(Serialize)]
struct Ready<'a> {
    event: &'static str,
    base_url: &'a str,
    api_key: &'a str,
    models: &'a [&'static str],
    home: String,
}

pub(super) async fn run(options: DemoOptions, context: &Context) -> Result<Exit, Failure> {
    let mut signals = signals()?;
    // A configuration error must not leave a directory behind.
    context.config(None, &[("--listen", "server.listen", &options.listen)])?;
    let (path, _temporary) = if let Some(path) = context.named_home() {
        (path, None)
    } else {
        let path = std::env::temp_dir().join(format!("llmtor-demo-{:016x}", rand::random::<u64>()));
        (path.clone(), Some(Temporary(path)))
    };
    let home = Home::open(&path)?;
    let lock = home.lock()?;

    let (progress, watched) = watch::channel(None);
    let bar = tokio::spawn(show(context.output, watched));
    let starting = async {
        let upstream = options.upstream.map(|url| Upstream {
            base_url: url.to_string().trim_end_matches('/').to_owned(),
            model: options.upstream_model,
            key_env: options.upstream_key_env,
        });
        context.output.remark("making the backend's keys and the first tokens …");
        let backend = DemoBackend::start(&home, upstream.as_ref()).await?;
        let url = backend.url();
        let config = context.config(
            Some(&home),
            &[
                ("--listen", "server.listen", &options.listen),
                ("the demo", "backend.identity_url", &url),
                ("the demo", "backend.anonymous_url", &url),
                ("the demo", "identity.transport", "direct"),
                // All that it has is minted at the start.
                ("the demo", "topup.enabled", "false"),
                // Play money is no business of the desktop's keyring.
                ("the demo", "vault.key_store", "file"),
            ],
        )?;
        let demo = Demo::start(backend, &home, lock, &config, options.credits, progress).await?;
        Ok::<_, Failure>(demo)
    };
    let demo = tokio::select! {
        demo = starting => demo?,
        signal = signals.next() => return Ok(signal.into()),
    };
    let _ = bar.await;

    let daemon = demo.daemon();
    let ready = Ready {
        event: "ready",
        base_url: daemon.base_url(),
        api_key: daemon.api_key().expose(),
        models: &MODELS,
        home: path.display().to_string(),
    };
    context.output.result(&ready, || lines(&ready));
    ended(demo.run(&mut signals).await?)
}

/// Removes the demo's home at the end, whatever the end is; a killed process leaves it to the system.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, "the demo's temporary home could not be removed");
        }
    }
}

/// Lines to paste.
fn lines(ready: &Ready<'_>) -> String {
    let Ready { base_url, api_key, home, models, .. } = ready;
    let model = models.last().copied().unwrap_or_default();
    let pointers = Pointers { base_url, api_key };
    let environment = env_text(&pointers, EnvShell::Sh);
    format!(
        r#"ready at {base_url}
key      {api_key}
models   {}
home     {home}

Environment variables:

{environment}
curl:

curl {base_url}/chat/completions -H "Authorization: Bearer {api_key}" \
  -H "Content-Type: application/json" \
  -d '{{"model":"{model}","messages":[{{"role":"user","content":"Say hello"}}]}}'

Python (pip install openai):

from openai import OpenAI
client = OpenAI(base_url="{base_url}", api_key="{api_key}")
hello = [{{"role": "user", "content": "Say hello"}}]
print(client.chat.completions.create(model="{model}", messages=hello).choices[0].message.content)
for chunk in client.chat.completions.create(model="{model}", messages=hello, stream=True):
    print(chunk.choices[0].delta.content or "", end="", flush=True)

Node (npm install openai), as a file ending in .mjs:

import OpenAI from "openai";
const client = new OpenAI({{ baseURL: "{base_url}", apiKey: "{api_key}" }});
const messages = [{{ role: "user", content: "Say hello" }}];
console.log((await client.chat.completions.create({{ model: "{model}", messages }})).choices[0].message.content);
for await (const chunk of await client.chat.completions.create({{ model: "{model}", messages, stream: true }}))
  process.stdout.write(chunk.choices[0]?.delta?.content ?? "");

Every call spends one token: llmtor --home {home} tokens
Ctrl-C stops the demo."#,
        models.join(", "),
    )
}
