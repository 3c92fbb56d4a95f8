//! `llmtor setup`

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;

use crate::app;
use crate::config::Config;
use crate::control::message::StatusReport;
use crate::control::{Operation, Report};
use crate::datadir::Home;
use crate::setup::tools::{self, TOOLS};
use crate::setup::{
    self, Choice, Direction, Facts, Ledger, Machine, Model, Prepared, SetupError, Shell, Step, Tool, Way,
};

use super::Context;
use super::arguments::SetupOptions;
use super::exit::{Exit, Failure};
use super::operate::{mismatch, operate_in};

/// A line of the list.
#[derive(Serialize)]
struct Row {
    tool: &'static str,
    name: &'static str,
    installed: bool,
    set_up: bool,
    way: Way,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
}

/// What was done.
#[derive(Serialize)]
struct Done {
    tool: &'static str,
    outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<Models>,
    files: Vec<FileDone>,
    steps: Vec<Step>,
}

/// Which models the tool is pointed at.
#[derive(Serialize)]
struct Models {
    main: String,
    small: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Written,
    Unchanged,
    Undone,
    Printed,
}

#[derive(Serialize)]
struct FileDone {
    path: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    backup: Option<PathBuf>,
    /// Of a file that is only printed.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

pub(super) async fn run(options: SetupOptions, context: &Context) -> Result<Exit, Failure> {
    let machine = Machine::this().ok_or_else(|| {
        Failure::new(Exit::Failed, "this system names no home directory").advise("set the variable HOME")
    })?;
    let Some(word) = &options.tool else {
        let ledger = Ledger::of(&context.home_path()?);
        list(context, &machine, &ledger);
        return Ok(Exit::Done);
    };
    let tool = tools::find(word).map_err(|nearest| {
        Failure::new(Exit::Usage, format!("no tool is known as `{word}`; the nearest is `{nearest}`")).advise(
            "`llmtor setup` lists those that are known; `llmtor setup other` prints what any program needs",
        )
    })?;
    if tool.way == Way::Never {
        return Err(Failure::new(Exit::Failed, tool.about).advise("for instance: llmtor setup opencode"));
    }
    if options.undo {
        return undo(&options, context, &machine, tool);
    }
    let (home, config) = context.open(&[])?;
    let ledger = Ledger::of(home.root());
    let (facts, status) = facts(&options, context, &home, &config, &ledger, tool).await?;
    let file = options.file.as_deref();
    if options.print || tool.way == Way::Prints {
        print(context, &machine, &facts, tool, file)?;
        return Ok(Exit::Done);
    }
    let prepared = setup::prepare(tool, &machine, &facts, file, &ledger)?;
    let outcome = if prepared.is_needed() {
        if !consent(&options, context, &prepared, &machine, Some(&facts))? {
            context.output.remark("nothing was written");
            return Ok(Exit::Failed);
        }
        prepared.commit(&ledger)?;
        Outcome::Written
    } else {
        Outcome::Unchanged
    };
    let files = prepared.changes.iter().map(|change| FileDone {
        path: change.path.clone(),
        backup: change.backup.clone(),
        text: None,
    });
    let Choice { main, small } = &facts.choice;
    let done = Done {
        tool: tool.id,
        outcome,
        model: Some(Models { main: main.to_string(), small: small.to_string() }),
        files: files.collect(),
        steps: prepared
            .steps
            .iter()
            .cloned()
            .chain(after_setup(&options, context, (&home, &config), &status).await)
            .collect(),
    };
    context.output.result(&done, || written(&done, &prepared, &machine, tool, context));
    Ok(Exit::Done)
}

/// Before the tool's first call the endpoint has to run, so it is started; and there have to be tokens. What stands in the way is
/// something to know: the tool is set up all the same.
async fn after_setup(
    options: &SetupOptions,
    context: &Context,
    (home, config): (&Home, &Config),
    status: &StatusReport,
) -> Vec<Step> {
    let mut steps = Vec::new();
    let by_hand = context.command("serve");
    if options.no_start {
        if status.daemon.is_none() {
            steps.push(Step::say(format!("the endpoint does not run now; start it: {by_hand}")));
        }
    } else {
        match app::launch::ensure_running(home, config, &context.sets).await {
            Ok((launched, _)) => steps.extend(launched.remark().map(Step::say)),
            Err(error) => {
                let why = Failure::from(error);
                let advice = why.advice.unwrap_or_else(|| format!("start it yourself: {by_hand}"));
                steps.push(Step::say(format!("the endpoint does not run yet: {}; {advice}", why.message)));
            }
        }
    }
    if status.models.values().all(|stock| stock.available == 0) {
        steps.push(Step::say("there is no token to use yet; `llmtor tokens` says when the next ones are"));
    }
    steps
}

async fn facts(
    options: &SetupOptions,
    context: &Context,
    home: &Home,
    config: &Config,
    ledger: &Ledger,
    tool: &Tool,
) -> Result<(Facts, StatusReport), Failure> {
    let Report::Status(status) = operate_in(context.output, home, config, Operation::Status).await? else {
        return Err(mismatch());
    };
    let models: Vec<Model> = status
        .models
        .iter()
        .map(|(name, stock)| Model { name: name.clone(), held: stock.available + stock.maturing })
        .collect();
    if let Some(wanted) = &options.model
        && !models.iter().any(|model| model.name == *wanted)
    {
        let known: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
        return Err(Failure::new(Exit::Usage, format!("there is no model `{wanted}` here"))
            .advise(format!("known: {}", known.join(", "))));
    }
    let earlier = setup::earlier_choice(tool, ledger);
    let choice = setup::choose(&models, options.model.as_ref(), earlier.as_ref()).ok_or_else(|| {
        Failure::new(Exit::Failed, "no model is known here yet, so there is nothing to point a tool at")
            .advise("first `llmtor login` (or `llmtor init`) with your backend; where it is set, `llmtor keys import FILE`")
    })?;
    let facts = Facts {
        base_url: app::base_url(home, config).await?,
        key: app::read_api_key(home)?,
        key_file: absolute(home.api_key_path()),
        home: context.named_home().map(absolute),
        models: models.into_iter().map(|model| model.name).collect(),
        choice,
        context: app::daemon::context_length(config),
    };
    Ok((facts, status))
}

/// Other programs are started elsewhere.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

fn undo(
    options: &SetupOptions,
    context: &Context,
    machine: &Machine,
    tool: &'static Tool,
) -> Result<Exit, Failure> {
    let home = context.home_path()?;
    let ledger = Ledger::of(&home);
    let prepared = setup::prepare_undo(tool, machine, options.file.as_deref(), &ledger)?;
    if !consent(options, context, &prepared, machine, None)? {
        context.output.remark("nothing was written");
        return Ok(Exit::Failed);
    }
    prepared.commit_undo(&ledger)?;
    let files = prepared.changes.iter().map(|change| FileDone {
        path: change.path.clone(),
        backup: None,
        text: None,
    });
    let done = Done {
        tool: tool.id,
        outcome: Outcome::Undone,
        model: None,
        files: files.collect(),
        steps: Vec::new(),
    };
    context.output.result(&done, || {
        let mut text = String::new();
        for change in &prepared.changes {
            let what = match (&change.after, change.direction) {
                (None, _) => "is gone, as it was before",
                (Some(_), Direction::TakingOut) => "has what was added no more; what you changed since stays",
                (Some(_), _) => "is as it was",
            };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{} {what}", machine.shown(&change.path));
        }
        text
    });
    Ok(Exit::Done)
}

/// Shows what would change, and asks.
fn consent(
    options: &SetupOptions,
    context: &Context,
    prepared: &Prepared,
    machine: &Machine,
    facts: Option<&Facts>,
) -> Result<bool, Failure> {
    let own = facts.is_none().then(|| own_key(context)).flatten();
    let key = facts.map(|facts| &facts.key).or(own.as_ref());
    for change in prepared.changes.iter().filter(|change| change.is_needed()) {
        let diff = change.diff(key, &machine.shown(&change.path));
        context.output.remark(&coloured(&diff));
    }
    if options.yes {
        return Ok(true);
    }
    let undo = if options.undo { "--undo --yes" } else { "--yes" };
    if context.output.is_json() || !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Failure::new(
            Exit::Usage,
            "there is nobody to ask at this terminal; nothing was written",
        )
        .advise(format!("to write it without asking: llmtor setup {} {undo}", prepared.tool.id)));
    }
    let mut out = std::io::stderr().lock();
    let _ = write!(out, "Write this? [y/N] ");
    let _ = out.flush();
    drop(out);
    let mut answer = String::new();
    let _ = std::io::stdin().read_line(&mut answer);
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// The key of the home, if there is one; none is made for an undo.
fn own_key(context: &Context) -> Option<crate::secret::Secret<String>> {
    let path = context.home_path().ok().filter(|path| path.join("api-key").exists())?;
    app::read_api_key(&Home::open(&path).ok()?).ok()
}

/// A difference in the colours of a terminal.
fn coloured(diff: &str) -> String {
    if !std::io::stderr().is_terminal() || std::env::var_os("NO_COLOR").is_some() {
        return diff.to_owned();
    }
    let lines = diff.lines().map(|line| match line.as_bytes().first() {
        Some(b'+') => format!("\x1b[32m{line}\x1b[0m"),
        Some(b'-') => format!("\x1b[31m{line}\x1b[0m"),
        Some(b'@') => format!("\x1b[36m{line}\x1b[0m"),
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn print(
    context: &Context,
    machine: &Machine,
    facts: &Facts,
    tool: &'static Tool,
    file: Option<&Path>,
) -> Result<(), SetupError> {
    let (texts, steps) = setup::to_paste(tool, machine, facts, file)?;
    let Choice { main, small } = &facts.choice;
    let files =
        texts.into_iter().map(|file| FileDone { path: file.path, backup: None, text: Some(file.text) });
    let done = Done {
        tool: tool.id,
        outcome: Outcome::Printed,
        model: Some(Models { main: main.to_string(), small: small.to_string() }),
        files: files.collect(),
        steps,
    };
    context.output.result(&done, || {
        let mut text = String::new();
        for file in &done.files {
            let body = file.text.as_deref().unwrap_or_default();
            // Writing to a String cannot fail.
            let _ = writeln!(text, "In {}:\n\n{}", machine.shown(&file.path), indented(body));
        }
        text + &numbered(&done.steps)
    });
    Ok(())
}

fn list(context: &Context, machine: &Machine, ledger: &Ledger) {
    let row = |tool: &'static Tool| Row {
        tool: tool.id,
        name: tool.name,
        installed: (tool.is_here)(machine),
        set_up: setup::is_set_up(tool, ledger),
        way: tool.way,
        file: (tool.way == Way::Writes && tool.id != "env" && tool.needs_file.is_none())
            .then(|| (tool.place)(machine, None)),
    };
    let rows: Vec<Row> = TOOLS.iter().map(row).collect();
    context.output.result(&json!({ "tools": rows }), || {
        let mut text = String::from("TOOL            HERE   SET UP   HOW\n");
        for row in &rows {
            let how = match (row.way, &row.file) {
                (Way::Never, _) => "cannot be used: its maker would see every prompt".to_owned(),
                (Way::Prints, _) => format!("{}: prints what to do", row.name),
                (Way::Writes, Some(file)) => format!("{}: writes {}", row.name, machine.shown(file)),
                (Way::Writes, None) if row.tool != "env" => format!("{}: writes where you say with --file", row.name),
                (Way::Writes, None) => format!("{}: writes the files of your shells", row.name),
            };
            let here = if row.installed { "yes" } else { "-" };
            let set_up = if row.set_up { "yes" } else { "-" };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{:<15} {here:<6} {set_up:<8} {how}", row.tool);
        }
        text + "\nto set one up: llmtor setup TOOL; to see it first: llmtor setup TOOL --print; back: llmtor setup TOOL --undo"
    });
}

fn written(done: &Done, prepared: &Prepared, machine: &Machine, tool: &Tool, context: &Context) -> String {
    let mut text = String::new();
    if done.outcome == Outcome::Unchanged {
        text.push_str("everything is set up already; nothing was written\n");
    }
    for change in &prepared.changes {
        if prepared.has_key(change) && change.is_open_to_others() {
            // Writing to a String cannot fail, here and below.
            let _ = writeln!(
                text,
                "note: other accounts of this machine can read the key in it: chmod 600 {}",
                Shell::Posix.quoted(&change.path.display().to_string())
            );
        }
        if !change.is_needed() {
            continue;
        }
        let _ = write!(text, "wrote {}", machine.shown(&change.path));
        let _ = match &change.backup {
            Some(backup) => writeln!(text, "; as it was: {}", machine.shown(backup)),
            None => writeln!(text, ", which is new"),
        };
        if change.is_closed() {
            text.push_str(
                "other accounts of this machine could read it; as long as the key is in it, only yours can
",
            );
        }
    }
    if let Some(model) = &done.model {
        let _ = writeln!(
            text,
            "model: {}; wherever it asks for another one for titles and other small calls: {}",
            model.main, model.small
        );
    }
    let undo = context.command(&format!("setup {} --undo", tool.id));
    let _ = writeln!(text, "to put everything back: {undo}");
    text + &numbered(&done.steps)
}

fn numbered(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "- {}", step.text);
        if let Some(paste) = &step.paste {
            let _ = writeln!(text, "\n{}", indented(paste));
        }
    }
    text
}

fn indented(text: &str) -> String {
    text.lines().fold(String::new(), |mut all, line| {
        let line = if line.is_empty() { String::new() } else { format!("    {line}") };
        all.push_str(&line);
        all.push('\n');
        all
    })
}

impl From<SetupError> for Failure {
    fn from(error: SetupError) -> Self {
        let exit = match error {
            SetupError::NeedsFile { .. } | SetupError::NoFile { .. } | SetupError::NoDirectory { .. } => {
                Exit::Usage
            }
            _ => Exit::Failed,
        };
        let failure = Self::new(exit, error.to_string());
        match error.advice() {
            Some(advice) => failure.advise(advice),
            None => failure,
        }
    }
}
