//! `llmtor compat`

use std::fmt::Write as _;

use serde::Serialize;

use crate::anonymous::face::fields::{Field, Table};
use crate::anonymous::http;

use super::Context;
use super::arguments::CompatOptions;
use super::exit::{Exit, Failure};

/// One row.
#[derive(Serialize)]
struct Row {
    endpoint: &'static str,
    field: &'static str,
    treatment: &'static str,
    note: &'static str,
}

pub(super) fn run(options: &CompatOptions, context: &Context) -> Result<Exit, Failure> {
    let wanted = options.endpoint.as_deref().unwrap_or_default();
    let tables: Vec<_> = http::tables().into_iter().filter(|table| table.endpoint.contains(wanted)).collect();
    if tables.is_empty() {
        let known: Vec<_> = http::tables().iter().map(|table| table.endpoint).collect();
        return Err(Failure::new(Exit::Usage, format!("no endpoint has `{wanted}` in its name"))
            .advise(format!("there are: {}", known.join(", "))));
    }
    let rows: Vec<_> =
        tables.iter().flat_map(|table| table.fields.iter().map(|field| row(table, field))).collect();
    let text = || if options.markdown { markdown(&tables) } else { plain(&tables) };
    context.output.result(&rows, text);
    Ok(Exit::Done)
}

fn row(table: &Table, field: &Field) -> Row {
    Row { endpoint: table.endpoint, field: field.name, treatment: field.treatment.word(), note: field.note }
}

fn plain(tables: &[&Table]) -> String {
    let fields = || tables.iter().flat_map(|table| table.fields);
    let name = fields().map(|field| field.name.len()).max().unwrap_or_default();
    let word = fields().map(|field| field.treatment.word().len()).max().unwrap_or_default();
    let mut text = String::new();
    // Writing to a String cannot fail.
    for table in tables {
        let _ = writeln!(text, "{}", table.endpoint);
        for field in table.fields {
            let _ =
                writeln!(text, "  {:name$}  {:word$}  {}", field.name, field.treatment.word(), field.note);
        }
        text.push('\n');
    }
    text
}

fn markdown(tables: &[&Table]) -> String {
    let mut text = String::from(
        "# What becomes of each parameter\n\nPrinted by `llmtor compat --markdown`.\n\n\
         - **carried**: the backend is told, in its own form.\n\
         - **emulated**: the backend is not told; it is done on this machine.\n\
         - **ignored**: it has no effect, and the response header `x-llmtor-ignored` says so; with `strict = true` in the\n  \
         configuration it is refused.\n\
         - **refused**: it cannot be done, and the request gets a 400 that names it.\n",
    );
    for table in tables {
        let _ = write!(text, "\n## {}\n\n| parameter | | |\n| --- | --- | --- |\n", table.endpoint);
        for field in table.fields {
            let _ = writeln!(text, "| `{}` | {} | {} |", field.name, field.treatment.word(), field.note);
        }
    }
    text
}
