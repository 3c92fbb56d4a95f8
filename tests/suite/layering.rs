//! The fences that the compiler cannot hold: who may name whom inside `src/` (ARCHITECTURE.md).
//!
//! Every rule is a function of one file's name and text, so that each is shown to catch what it is for.

use std::fs;
use std::path::{Path, PathBuf};

mod scan;

use scan::{Token, references, tokens};

/// Inside `anonymous`, imports go downwards: to the right in this list. The faces know nothing of one another.
const LAYERS: [&[&str]; 6] =
    [&["http"], &["openai", "ollama", "anthropic"], &["face"], &["emulate"], &["redeem"], &["transport"]];

/// The only rooms with a telephone.
const MAY_DIAL: [&str; 6] = [
    "src/identity/dial.rs",
    "src/anonymous/transport/loopback.rs",
    "src/backend/provider",
    "src/backend/oidc.rs",
    "src/tor/dial.rs",
    // Its test dials itself.
    "src/socket.rs",
];

/// Dials although it may not, for the tests that must see a leak; and so it has to be empty in every other build.
const LEAKS: &str = "src/anonymous/transport/leak.rs";

/// Types whose `Debug` would print a token, a prompt or a key.
const UNPRINTABLE: [&str; 8] = [
    "Secret",
    "RawValue",
    "Base64Bytes",
    "LlmMask",
    "TokenMessage",
    "BlindingSecret",
    "Signature",
    "SessionId",
];

const LONGEST_FILE: usize = 600;

/// Which fence stands around a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    Identity,
    Anonymous,
    Backend,
    /// The composition root, which alone may name both planes.
    Composition,
    /// The program around it: may name one plane in a file, not both.
    Program,
    /// What is said over the control socket: data of both planes' making, and neither plane.
    Control,
    /// The local page.
    Page,
    /// The tray.
    Desktop,
    /// The system's service manager.
    Service,
    /// Other programs' settings.
    Setup,
    /// What both planes stand on.
    Foundation,
}

/// Every module of the crate's root. One that is not here fails: whoever makes it says which fence is around it.
const ROOMS: [(&str, Room); 29] = [
    ("identity", Room::Identity),
    ("anonymous", Room::Anonymous),
    ("backend", Room::Backend),
    ("app", Room::Composition),
    ("cli", Room::Program),
    ("lib", Room::Program),
    ("main", Room::Program),
    ("supervisor", Room::Program),
    ("control", Room::Control),
    ("dashboard", Room::Page),
    ("desktop", Room::Desktop),
    ("service", Room::Service),
    ("setup", Room::Setup),
    ("backup", Room::Foundation),
    ("browse", Room::Foundation),
    ("blind", Room::Foundation),
    ("clock", Room::Foundation),
    ("config", Room::Foundation),
    ("datadir", Room::Foundation),
    ("draft", Room::Foundation),
    ("failpoint", Room::Foundation),
    ("keys", Room::Foundation),
    ("origin", Room::Foundation),
    ("passage", Room::Foundation),
    ("secret", Room::Foundation),
    ("socket", Room::Foundation),
    ("tor", Room::Foundation),
    ("vault", Room::Foundation),
    ("wire", Room::Foundation),
];

/// The module of the crate's root in which a file is.
fn root_of(file: &str) -> &str {
    let inner = file.trim_start_matches("src/");
    inner.split('/').next().unwrap_or(inner).trim_end_matches(".rs")
}

fn room_of(module: &str) -> Option<Room> {
    ROOMS.iter().find(|(name, _)| *name == module).map(|(_, room)| *room)
}

/// What those in a room may name beside their own module; `None` for those that are fenced in otherwise.
fn may_know(room: Room) -> Option<&'static [&'static str]> {
    Some(match room {
        Room::Anonymous => &[
            "blind",
            "clock",
            "failpoint",
            "keys",
            "origin",
            "passage",
            "secret",
            "socket",
            "tor",
            "vault",
            "wire",
        ],
        Room::Identity => &[
            "blind",
            "clock",
            "datadir",
            "failpoint",
            "keys",
            "origin",
            "passage",
            "secret",
            "socket",
            "tor",
            "vault",
            "wire",
        ],
        Room::Backend => &["wire", "blind", "secret", "clock", "tor", "socket"],
        Room::Control => &["backup", "passage", "secret", "vault", "wire"],
        Room::Page => &["blind", "control", "passage", "secret", "vault", "wire"],
        Room::Desktop => &["browse", "control", "datadir", "passage", "secret", "wire"],
        Room::Service => &["config"],
        Room::Setup => &["draft", "secret", "wire"],
        Room::Foundation | Room::Composition | Room::Program => return None,
    })
}

/// As a complaint has it.
fn called(room: Room) -> &'static str {
    match room {
        Room::Identity => "the identity plane",
        Room::Anonymous => "the anonymous plane",
        Room::Backend => "the backend",
        Room::Composition => "the composition root",
        Room::Program => "the program",
        Room::Control => "what is said over the control socket",
        Room::Page => "the local page",
        Room::Desktop => "the tray",
        Room::Service => "what is told to the service manager",
        Room::Setup => "what is done to other programs",
        Room::Foundation => "what both planes stand on",
    }
}

/// How far down, and its name.
fn layer_of(path: &[String]) -> Option<(usize, &str)> {
    match path {
        [root, plane, layer, ..] if root == "crate" && plane == "anonymous" => {
            let depth = LAYERS.iter().position(|names| names.contains(&layer.as_str()))?;
            Some((depth, layer))
        }
        _ => None,
    }
}

/// Everything in `file` that breaks a fence, one line each.
fn violations(file: &str, source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let module = root_of(file);
    let Some(room) = room_of(module) else {
        return vec![format!("{file}: `{module}` is not in ROOMS; say there which fence is around it")];
    };
    let mut complain = |what: String| found.push(format!("{file}: {what}"));
    let own_path = scan::module_of(file);
    let own_layer = layer_of(&own_path);
    let (mut names_identity, mut names_anonymous) = (false, false);

    for reference in references(file, source) {
        let path = &reference.path;
        let shown = path.join("::");
        if path.first().is_none_or(|first| first != "crate") {
            continue;
        }
        if path.len() == 1 || path[1] == "*" {
            complain(format!("`{shown}` brings in the whole crate, so nobody can see what is used"));
            continue;
        }
        let top = path[1].as_str();
        names_identity |= top == "identity";
        names_anonymous |= top == "anonymous";

        let fenced_off = match may_know(room) {
            // A test of the rooms around the planes may make up what they are given.
            Some(_) if reference.in_tests && matches!(room, Room::Page | Room::Desktop) => false,
            Some(known) => top != module && !known.contains(&top),
            None if room == Room::Foundation => room_of(top) != Some(Room::Foundation),
            None => false,
        };
        if fenced_off {
            complain(format!("`{shown}`: {} may not know of {top}", called(room)));
        }
        if room == Room::Page && top == "vault" && !reference.in_tests && path[2..] != ["Stock"] {
            complain(format!("`{shown}`: the local page sees how many tokens there are, never one"));
        }

        if top == "vault" && !reference.in_tests {
            let names = |word: &str| path[2..].iter().any(|part| part == word);
            let whole =
                names("Vault") || names("Census") || names("Backups") || names("backups") || names("*");
            if room == Room::Identity && (names("Withdrawals") || whole) {
                complain(format!("`{shown}`: the identity plane is given Deposits and nothing else"));
            }
            if room == Room::Anonymous && (names("Deposits") || whole) {
                complain(format!("`{shown}`: the anonymous plane is given Withdrawals and nothing else"));
            }
        }

        if let Some((own_depth, own)) = own_layer
            && top == "anonymous"
        {
            match layer_of(path) {
                Some((depth, layer)) if depth < own_depth => {
                    complain(format!("`{shown}`: {own} may not import {layer} above it"));
                }
                Some((depth, layer)) if depth == own_depth && layer != own => {
                    complain(format!("`{shown}`: {own} may not know of {layer} beside it"));
                }
                Some(_) => {}
                None => {
                    complain(format!("`{shown}`: a layer names layers, not what their parent re-exports"));
                }
            }
        }
    }

    if names_identity && names_anonymous && room != Room::Composition {
        complain("names both planes; only app.rs and what is under it may".to_owned());
    }
    for what in token_violations(file, &tokens(source)) {
        complain(what);
    }
    let lines = source.lines().count();
    if lines > LONGEST_FILE {
        complain(format!("{lines} lines; split it (at most {LONGEST_FILE})"));
    }
    found
}

fn token_violations(file: &str, tokens: &[Token]) -> Vec<String> {
    let mut found = Vec::new();
    let word = |at: usize| match tokens.get(at) {
        Some(Token::Word(word)) => word.as_str(),
        _ => "",
    };
    let mark = |at: usize, mark: &str| matches!(tokens.get(at), Some(Token::Mark(seen)) if *seen == mark);
    let may_dial =
        MAY_DIAL.iter().any(|room| file.starts_with(room)) || (file == LEAKS && is_only_with_leak(tokens));
    for at in 0..tokens.len() {
        match word(at) {
            "disallowed_methods" | "disallowed_types" if !may_dial => {
                found.push("lifts the ban on dialling; only the rooms in MAY_DIAL may".to_owned());
            }
            "path" if mark(at + 1, "=") && at >= 2 && mark(at - 1, "[") && mark(at - 2, "#") => {
                found.push("`#[path]` would let a module stand elsewhere than its name says".to_owned());
            }
            "extern" if word(at + 1) == "crate" => {
                found.push("`extern crate` can give the crate another name".to_owned());
            }
            "crate" if word(at + 1) == "as" => {
                found.push("`crate as …` gives the crate another name".to_owned());
            }
            "derive" => {
                if let Some(what) = printable_secret(tokens, at) {
                    found.push(what);
                }
            }
            _ => {}
        }
    }
    found
}

/// Begins with `#![cfg(feature = "leak")]`, and refuses to be in a release.
fn is_only_with_leak(file: &[Token]) -> bool {
    let cfg = tokens("#![cfg(feature = \"leak\")]");
    let fuse = tokens("#[cfg(not(debug_assertions))] compile_error!");
    file.starts_with(&cfg) && file.windows(fuse.len()).any(|window| window == fuse)
}

/// `#[derive(… Debug …)]` before a struct or enum with a field of an unprintable type.
fn printable_secret(tokens: &[Token], derive: usize) -> Option<String> {
    let is_word = |token: &Token, text: &str| matches!(token, Token::Word(word) if word == text);
    let is_mark = |token: &Token, text: &str| matches!(token, Token::Mark(mark) if *mark == text);
    let list_end = derive + tokens[derive..].iter().position(|token| is_mark(token, "]"))?;
    if !tokens[derive..list_end].iter().any(|token| is_word(token, "Debug")) {
        return None;
    }
    let item = list_end
        + tokens[list_end..].iter().position(|token| is_word(token, "struct") || is_word(token, "enum"))?;
    let name = match tokens.get(item + 1) {
        Some(Token::Word(name)) => name.clone(),
        _ => return None,
    };
    // To the end of the item: a `;` outside braces, or the brace that closes the first one.
    let mut depth = 0usize;
    for token in &tokens[item..] {
        if is_mark(token, "{") {
            depth += 1;
        } else if is_mark(token, "}") {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                return None;
            }
        } else if depth == 0 && is_mark(token, ";") {
            return None;
        } else if let Token::Word(word) = token
            && UNPRINTABLE.contains(&word.as_str())
        {
            return Some(format!("`{name}` derives Debug and holds a {word}"));
        }
    }
    None
}

fn sources() -> Vec<(String, String)> {
    fn walk(directory: &Path, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, into);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                into.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    walk(&root.join("src"), &mut paths);
    paths.sort();
    let name = |path: &Path| path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
    paths.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn no_file_reaches_over_a_fence() {
    let found: Vec<String> = sources().iter().flat_map(|(file, source)| violations(file, source)).collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn the_scan_sees_the_house() {
    let sources = sources();
    for plane in ["identity", "anonymous", "backend"] {
        let prefix = format!("src/{plane}");
        assert!(sources.iter().any(|(file, _)| file.starts_with(&prefix)), "nothing read of {plane}");
    }
    // Downward imports exist; were they not seen, upward ones would not be either.
    let downward =
        sources.iter().filter(|(file, _)| file.starts_with("src/anonymous/http")).any(|(file, source)| {
            references(file, source)
                .iter()
                .any(|reference| layer_of(&reference.path).is_some_and(|(_, layer)| layer == "redeem"))
        });
    assert!(downward, "http is built on redeem, yet no such import was seen");
}

#[test]
fn every_room_that_is_fenced_is_there() {
    let sources = sources();
    for (name, _) in ROOMS {
        assert!(
            sources.iter().any(|(file, _)| root_of(file) == name),
            "no {name} in src; take it out of ROOMS"
        );
    }
}

#[test]
fn no_module_root_is_called_mod_rs() {
    assert!(sources().iter().all(|(file, _)| !file.ends_with("/mod.rs")));
}

#[test]
fn no_table_of_the_vault_can_name_an_account() {
    let mut tables = 0;
    for (file, source) in sources() {
        if !file.starts_with("src/vault") {
            continue;
        }
        for token in tokens(&source) {
            let Token::Text(text) = token else { continue };
            let text = text.to_lowercase();
            if !text.contains("create table") {
                continue;
            }
            tables += 1;
            for word in
                ["account", "session", "cookie", "email", "user_id", "address", "spent_at", "settled_at"]
            {
                assert!(!text.contains(word), "{file}: a table has a column that says {word}");
            }
        }
    }
    assert!(tables > 0, "no CREATE TABLE was found in the vault");
}

#[test]
fn every_fence_catches_what_it_is_for() {
    let bad = [
        ("src/anonymous/redeem.rs", "use crate::anonymous::http::Endpoint;", "above it"),
        ("src/anonymous/ollama/chat.rs", "use crate::anonymous::openai::tools;", "beside it"),
        ("src/anonymous/face/json.rs", "use crate::anonymous::openai::tools;", "above it"),
        ("src/anonymous/redeem/exchange.rs", "use super::super::openai::{chat::Chat, models};", "above it"),
        ("src/anonymous/transport/loopback.rs", "fn f() { crate::anonymous::redeem::x(); }", "above it"),
        ("src/anonymous/emulate/stream.rs", "use crate::{anonymous::{openai::Chunk}};", "above it"),
        ("src/anonymous/redeem.rs", "use super::*;", "re-exports"),
        ("src/anonymous/redeem.rs", "use crate::anonymous::Endpoint;", "re-exports"),
        ("src/anonymous/redeem.rs", "use crate::identity::Session;", "may not know of identity"),
        ("src/identity/account.rs", "use crate::anonymous;", "may not know of anonymous"),
        ("src/identity/issuance.rs", "use crate::vault::{Deposits, Withdrawals};", "Deposits and nothing"),
        ("src/identity/issuance.rs", "use crate::vault::*;", "Deposits and nothing"),
        ("src/identity/backup.rs", "use crate::vault::backups::AbuseTokens;", "Deposits and nothing"),
        ("src/anonymous/redeem.rs", "fn f(v: &crate::vault::Vault) {}", "Withdrawals and nothing"),
        ("src/vault/draw.rs", "use crate::identity::Account;", "stand on"),
        ("src/backend/issuer.rs", "use crate::vault::Deposits;", "the backend may not know of vault"),
        ("src/setup/tools/codex.rs", "use crate::config::Config;", "other programs may not know of"),
        ("src/setup.rs", "use crate::vault::Vault;", "other programs may not know of"),
        (
            "src/identity/account.rs",
            "use crate::dashboard::desk::Call;",
            "identity plane may not know of dashboard",
        ),
        ("src/anonymous/redeem.rs", "use crate::control::message::AccountReport;", "may not know of control"),
        ("src/vault/draw.rs", "use crate::desktop::watch;", "stand on may not know of desktop"),
        ("src/control/message.rs", "use crate::identity::Session;", "socket may not know of identity"),
        ("src/dashboard/desk.rs", "use crate::anonymous::redeem::A;", "page may not know of anonymous"),
        ("src/dashboard/desk.rs", "use crate::vault::{Stock, Deposits};", "never one"),
        ("src/desktop/watch.rs", "use crate::vault::Vault;", "tray may not know of vault"),
        ("src/service.rs", "use crate::datadir::Home;", "manager may not know of datadir"),
        ("src/new_room/inner.rs", "", "not in ROOMS"),
        ("src/cli/serve.rs", "use crate::identity::A; use crate::anonymous::B;", "both planes"),
        ("src/config.rs", "use crate::*;", "whole crate"),
        ("src/config.rs", "use crate as everything;", "another name"),
        ("src/config.rs", "extern crate self as everything;", "another name"),
        ("src/config.rs", "#[path = \"identity/x.rs\"] mod x;", "#[path]"),
        ("src/keys.rs", "#[expect(clippy::disallowed_methods, reason = \"\")] fn f() {}", "dialling"),
        (LEAKS, "#[expect(clippy::disallowed_methods, reason = \"\")] fn f() {}", "dialling"),
        (LEAKS, "#![cfg(feature = \"leak\")] #[expect(clippy::disallowed_methods)] fn f() {}", "dialling"),
        ("src/keys.rs", "#[derive(Clone, Debug)] pub struct Prompt { m: Box<RawValue> }", "derives Debug"),
        ("src/keys.rs", "#[derive(Debug)] struct Key(Secret<[u8; 32]>);", "derives Debug"),
        ("src/keys.rs", &"//\n".repeat(LONGEST_FILE + 1), "split it"),
    ];
    for (file, source, expected) in bad {
        let found = violations(file, source);
        assert!(found.iter().any(|line| line.contains(expected)), "{source:.80}: {found:?}");
    }
}

#[test]
fn what_is_allowed_passes() {
    let good = [
        ("src/anonymous/http/chat.rs", "use crate::anonymous::redeem::{Delivery, RedeemErrorKind};"),
        (
            "src/anonymous/redeem.rs",
            "use super::transport::Transport; use crate::vault::{Withdrawals, Presented};",
        ),
        ("src/anonymous/redeem.rs", "mod tests { use super::*; use crate::vault::Vault; }"),
        ("src/identity/dial.rs", "#[expect(clippy::disallowed_methods, reason = \"here\")] fn f() {}"),
        (
            LEAKS,
            "#![cfg(feature = \"leak\")] #[cfg(not(debug_assertions))] compile_error!(\"\"); \
             #[expect(clippy::disallowed_methods)] fn f() {}",
        ),
        ("src/app.rs", "use crate::identity::A; use crate::anonymous::B;"),
        ("src/keys.rs", "#[derive(Debug)] struct A { n: u8 } struct B(Secret<u8>);"),
        ("src/backend/http.rs", "use crate::wire::Envelope; use super::issuer::Issuer;"),
        ("src/dashboard/overview.rs", "use crate::vault::Stock; use crate::control::Refusal;"),
        (
            "src/desktop/view.rs",
            "use crate::control::message::State; mod tests { use crate::vault::Custody; }",
        ),
    ];
    for (file, source) in good {
        assert_eq!(violations(file, source), Vec::<String>::new(), "{source}");
    }
}
