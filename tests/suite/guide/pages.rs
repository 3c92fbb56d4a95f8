//! What can be said of the pages without running anything.

use std::collections::BTreeSet;
use std::path::Path;

use super::{blocks, contents, docs, page};

/// The anchor that both mdBook and the forges make of a heading.
fn anchor(heading: &str) -> String {
    let heading = heading.to_lowercase();
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Its headings, those of code left out.
fn anchors(markdown: &str) -> BTreeSet<String> {
    let mut in_block = false;
    let mut found = BTreeSet::new();
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if let Some(heading) = line.strip_prefix('#').filter(|_| !in_block) {
            found.insert(anchor(heading.trim_start_matches('#').trim()));
        }
    }
    found
}

/// Where the links and pictures of a page lead, code left out.
fn links(markdown: &str) -> Vec<String> {
    let mut in_block = false;
    let mut found = Vec::new();
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        }
        if in_block {
            continue;
        }
        // Every second part stands between backquotes.
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("``");
        found.extend(
            prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(to, _)| to.to_owned()),
        );
    }
    found
}

/// The link, if it leads nowhere.
fn broken(from: &str, text: &str, link: &str) -> Option<String> {
    if link.starts_with("https://") || link.starts_with("http://") || link.starts_with("mailto:") {
        return None;
    }
    let (file, fragment) = link.split_once('#').map_or((link, None), |(file, part)| (file, Some(part)));
    let path = docs().join(Path::new(from).parent().unwrap_or(Path::new(""))).join(file);
    if !file.is_empty() && !path.exists() {
        return Some(format!("{from}: {link} is not there"));
    }
    let fragment = fragment?;
    let target = if file.is_empty() { text.to_owned() } else { std::fs::read_to_string(&path).ok()? };
    (!anchors(&target).contains(fragment)).then(|| format!("{from}: {link} has no such heading"))
}

#[test]
fn every_page_of_the_guide_is_in_the_table_of_contents_and_there() {
    let contents = contents();
    assert!(contents.len() > 12, "{contents:?}");
    for name in &contents {
        assert!(page(name).starts_with("# "), "{name} has no title");
    }
    let entries =
        std::fs::read_dir(docs()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    for name in entries.filter(|name| {
        std::path::Path::new(name).extension().is_some_and(|kind| kind == "md") && name != "SUMMARY.md"
    }) {
        assert!(contents.contains(&name), "docs/{name} is in no place of SUMMARY.md");
    }
}

#[test]
fn every_link_and_every_picture_of_the_guide_leads_somewhere() {
    let mut seen = 0;
    let mut wrong = Vec::new();
    for name in contents().iter().map(String::as_str).chain(["SUMMARY.md"]) {
        let text = page(name);
        let links = links(&text);
        seen += links.len();
        wrong.extend(links.iter().filter_map(|link| broken(name, &text, link)));
    }
    assert!(seen > 60, "only {seen} links were found");
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(broken("faq.md", "", "no-such.md").is_some());
    assert!(broken("faq.md", "# One two\n", "#one-two").is_none());
    assert!(broken("faq.md", "# One two\n", "#three").is_some());
}

#[test]
fn every_picture_is_used_and_made_by_the_script() {
    let directory = docs().join("pictures");
    let script = docs().join("../scripts/pictures/pictures.mjs");
    let script = std::fs::read_to_string(script).unwrap();
    let text: String = contents().iter().map(|name| page(name)).collect();
    let mut seen = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let picture = format!("{stem}.png");
        assert!(text.contains(&format!("pictures/{picture}")), "no page shows docs/pictures/{picture}");
        assert!(script.contains(&format!("\"{stem}\"")), "scripts/pictures does not make {picture}");
        // Its words are beside it, by which CI sees that it has gone stale; the tray's menu is nobody's to read out.
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("png") => {
                seen += 1;
                let has_words = path.with_extension("txt").is_file();
                assert!(has_words || stem == "tray", "docs/pictures has no words of {picture}");
            }
            Some("txt") => assert!(path.with_extension("png").is_file(), "words of no picture: {stem}.txt"),
            _ => panic!("what is docs/pictures/{} for?", path.display()),
        }
    }
    assert!(seen > 0, "there are no pictures");
}

#[test]
fn a_block_that_is_not_run_says_why() {
    for name in contents() {
        for block in blocks(&name, &page(&name)) {
            let reason = block.info.strip_prefix("sh norun");
            if let Some(reason) = reason {
                let reason = reason.strip_prefix(':').map(str::trim).unwrap_or_default();
                assert!(reason.len() > 5, "{}: `sh norun: WHY`", block.place);
            }
        }
    }
}

/// Every code that an error object of the local endpoint can have.
fn codes() -> BTreeSet<String> {
    let read = |name: &str| std::fs::read_to_string(docs().join("..").join(name)).unwrap();
    let source = read("src/anonymous/http/error.rs");
    let source = source.split("\n#[cfg(test)]").next().unwrap();
    let kinds = ["invalid_request_error", "permission_error", "server_error", "api_error", "requests"];
    let texts = source.split('"').skip(1).step_by(2);
    let is_code = |text: &str| text.contains('_') && text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    texts.filter(|text| is_code(text) && !kinds.contains(text)).map(str::to_owned).collect()
}

#[test]
fn every_code_of_the_endpoint_is_explained_under_trouble() {
    let text = page("trouble.md");
    let codes = codes();
    assert!(codes.len() > 25 && codes.contains("tor_not_ready"), "{codes:?}");
    let missing: Vec<_> = codes.iter().filter(|code| !text.contains(&format!("| `{code}` |"))).collect();
    assert!(missing.is_empty(), "docs/trouble.md has no row for {missing:?}");
}

#[test]
fn every_exit_code_is_explained_under_trouble() {
    let text = page("trouble.md");
    let room = tempfile::tempdir().unwrap();
    let help = crate::support::program::run(room.path(), &["--help"], "");
    let help = String::from_utf8(help.stdout).unwrap();
    let lines = help.split("Exit codes:").nth(1).unwrap().lines().skip(1);
    let codes: Vec<_> = lines.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(codes.len() >= 9, "{codes:?}");
    for code in codes {
        assert!(text.contains(&format!("| {code} |")), "docs/trouble.md has no row for the exit code {code}");
    }
}

#[test]
fn every_figure_on_speed_is_one_that_was_measured() {
    let text = page("speed.md");
    let measured = std::fs::read_to_string(docs().join("../BENCHMARKS.md")).unwrap();
    let figures: Vec<_> =
        text.split("**").skip(1).step_by(2).filter(|bold| bold.parse::<f64>().is_ok()).collect();
    assert!(figures.len() >= 8, "{figures:?}");
    for figure in figures {
        assert!(measured.contains(&format!(" {figure} ")), "{figure} is not in BENCHMARKS.md");
    }
}
