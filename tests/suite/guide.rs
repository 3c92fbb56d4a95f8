//! The guide (`docs/`, mdBook): its pages are all there, its links and pictures lead somewhere, and its commands do what
//! stands there.
//!
//! A block begun with `sh` is run: in the order of the pages in [`RUN`], by one user, in a home of its own, with the real
//! program before the real reference backend. What is not run says why: `sh norun: opens a browser`. A block of `text output`
//! right behind it is what it prints; `…` stands for anything. Of a block that is not run, each line of ours must be a
//! command that exists.
//!
//! Two things are put in the place of what is written: free ports, and the background for what serves until it is stopped.

mod commands;
mod pages;

use std::path::{Path, PathBuf};

/// The pages with commands that are run, in an order in which each has what it needs. The backend comes first.
const RUN: [&str; 6] = ["host.md", "sign-in.md", "tokens.md", "first-call.md", "daily.md", "backups.md"];

/// Chapters to look things up in. Their commands are run elsewhere, or take long; here they only have to exist.
const REFERENCE: [&str; 6] =
    ["packages.md", "tools.md", "clients.md", "compat.md", "linking-game.md", "chaos.md"];

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

fn page(name: &str) -> String {
    std::fs::read_to_string(docs().join(name)).unwrap_or_else(|error| panic!("docs/{name}: {error}"))
}

/// The pages that the table of contents names, in its order.
fn contents() -> Vec<String> {
    let summary = page("SUMMARY.md");
    let links = summary.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    links.map(|(target, _)| target.trim_start_matches("./").to_owned()).collect()
}

/// A fenced block.
struct Block {
    /// The page and the line, for messages.
    place: String,
    /// What stands behind the fence.
    info: String,
    text: String,
}

fn blocks(name: &str, markdown: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut open: Option<Block> = None;
    for (at, line) in markdown.lines().enumerate() {
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (None, Some(info)) => {
                let place = format!("{name}:{}", at + 1);
                open = Some(Block { place, info: info.trim().to_owned(), text: String::new() });
            }
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{name}: a block is not closed");
    found
}
