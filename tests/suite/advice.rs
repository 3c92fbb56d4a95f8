//! Every error that a user can cause says what to do next: read off the sources, so that a new one cannot be forgotten.
//!
//! | where a message is made | what must stand there |
//! | --- | --- |
//! | `Failure::new(…)`, `Refusal::new(…)` | `.advise(…)` right behind it |
//! | `#[error("…")]` of what reaches a user as it is | a word that tells to do something |
//! | an error object of the local endpoint | the same |
//!
//! `AppError` and `BackendError` have a match without a wildcard instead.

use std::path::Path;

/// Whose messages are shown as they are.
const SHOWN: [&str; 9] = [
    "src/anonymous/redeem/error.rs",
    "src/backup.rs",
    "src/control.rs",
    "src/datadir.rs",
    "src/identity/error.rs",
    "src/keys/import.rs",
    "src/keys/store.rs",
    "src/vault/error.rs",
    "src/anonymous/transport/target.rs",
];

/// What tells somebody to do something. `expected`, `wants` and `supported` tell what would be right.
const STEPS: [&str; 61] = [
    "add",
    "ask",
    "asks",
    "build",
    "change",
    "check",
    "choose",
    "close",
    "compare",
    "correct",
    "expected",
    "get",
    "give",
    "import",
    "install",
    "keep",
    "leave",
    "look",
    "make",
    "mint",
    "missing",
    "move",
    "name",
    "next",
    "only",
    "open",
    "point",
    "put",
    "raise",
    "remedy",
    "remove",
    "restart",
    "restore",
    "resumes",
    "run",
    "say",
    "send",
    "set",
    "shorten",
    "start",
    "stop",
    "supported",
    "take",
    "tell",
    "tells",
    "try",
    "unlock",
    "update",
    "use",
    "wait",
    "wants",
    "buy",
    "report",
    "lists",
    "lift",
    "expects",
    "accepts",
    "find",
    "asked",
    "best",
    "--force",
];

/// Messages that are parts of others, or other errors' own.
const PARTS: [&str; 8] = [
    "{kind}",
    "{message}",
    // Names `llmtor resume`.
    "{PAUSED}",
    "{0}",
    "{error}",
    "{} cannot be read ({}); {}",
    "the vault failed: {message}",
    // The endpoint adds what fits the provider's reason.
    "the model's provider answered with an error: {message}",
];

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

fn sources(directory: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(directory)).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{directory}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            sources(&name, found);
        } else if Path::new(&name).extension().is_some_and(|extension| extension == "rs") {
            found.push(name);
        }
    }
}

/// Without the tests at its end.
fn shipped(source: &str) -> &str {
    source.split("\n#[cfg(test)]").next().unwrap()
}

/// The end of the parenthesis that begins at `open`, texts in it left aside.
fn closing(source: &str, open: usize) -> usize {
    let (mut depth, mut in_text, mut escaped) = (0, false, false);
    for (at, byte) in source.bytes().enumerate().skip(open) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'(' if !in_text => depth += 1,
            b')' if !in_text => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    panic!("a parenthesis is not closed");
}

/// The lines on which a failure is made that says nothing more.
fn unadvised(source: &str) -> Vec<usize> {
    let source = shipped(source);
    let mut lines = Vec::new();
    for maker in ["Failure::new(", "Refusal::new("] {
        for (at, _) in source.match_indices(maker) {
            let behind = source[closing(source, at + maker.len() - 1)..].trim_start();
            if !behind.starts_with(".advise(") {
                lines.push(source[..at].lines().count());
            }
        }
    }
    lines
}

/// The first text of each `maker(…)` in `source`, its lines joined.
fn texts(source: &str, maker: &str) -> Vec<String> {
    let source = shipped(source);
    let mut found = Vec::new();
    for (at, _) in source.match_indices(maker) {
        let open = at + maker.len() - 1;
        let inside = &source[open + 1..closing(source, open) - 1];
        found.extend(literals(inside).into_iter().next());
    }
    found
}

/// Every text in `source`, its lines joined. Comments must have no quotation marks in them.
fn literals(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Option<String> = None;
    let mut escaped = false;
    for c in source.chars() {
        match (&mut open, c) {
            (Some(text), c) if escaped => {
                escaped = false;
                text.push(c);
            }
            (Some(_), '\\') => escaped = true,
            (Some(text), '"') => {
                found.push(text.split_whitespace().collect::<Vec<_>>().join(" "));
                open = None;
            }
            (Some(text), c) => text.push(c),
            (None, '"') => open = Some(String::new()),
            (None, _) => {}
        }
    }
    found
}

fn says_what_to_do(text: &str) -> bool {
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphanumeric() && c != '-');
    lower.contains('`') || words.into_iter().any(|word| STEPS.contains(&word))
}

#[test]
fn every_failure_is_made_with_advice() {
    let mut files = Vec::new();
    sources("src", &mut files);
    let mut wrong = Vec::new();
    for file in files {
        wrong.extend(unadvised(&read(&file)).into_iter().map(|line| format!("{file}:{line}")));
    }
    assert!(wrong.is_empty(), "these say not what to do: {wrong:#?}");
}

#[test]
fn every_message_that_is_shown_as_it_is_says_what_to_do() {
    let mut seen = 0;
    let mut wrong = Vec::new();
    for file in SHOWN {
        let source = read(file);
        // `{}` alone: a function makes the text; its own tests look at that.
        for text in texts(&source, "#[error(").into_iter().filter(|text| text != "{}") {
            seen += 1;
            if !PARTS.contains(&text.as_str()) && !says_what_to_do(&text) {
                wrong.push(format!("{file}: {text}"));
            }
        }
    }
    assert!(seen > 100, "only {seen} messages were found");
    assert!(wrong.is_empty(), "these say not what to do: {wrong:#?}");
}

#[test]
fn every_error_of_the_endpoint_says_what_to_do() {
    let source = read("src/anonymous/http/error.rs");
    let sentences: Vec<_> = literals(shipped(&source))
        .into_iter()
        .filter(|text| text.contains(' ') && text.starts_with(|c: char| c.is_uppercase()))
        .filter(|text| !text.starts_with("Bearer realm"))
        .collect();
    assert!(sentences.len() > 12, "only {sentences:?} were found");
    let wrong: Vec<_> = sentences.iter().filter(|text| !says_what_to_do(text)).collect();
    assert!(wrong.is_empty(), "these say not what to do: {wrong:#?}");
}

#[test]
fn the_checks_above_find_what_they_are_for() {
    assert_eq!(unadvised("\nlet a = Failure::new(Exit::Usage, \"(\");\n"), [2]);
    assert!(unadvised("Err(Failure::new(Exit::Usage, format!(\"{x})\"))\n    .advise(\"y\"))").is_empty());
    assert_eq!(texts("#[error(\n    \"a \\\n     b {x}\"\n)]", "#[error("), ["a b {x}"]);
    assert!(!says_what_to_do("the disk is gone"));
    assert!(says_what_to_do("the disk is gone; check the cable"));
}
