//! Emacs with gptel: a file of ours, and the line that loads it. The key is read from its file.

use super::{Edit, Format, Plan, Planned, Tool, Way};
use crate::setup::{Machine, Step};

pub(super) const TOOL: Tool = Tool {
    id: "gptel",
    aliases: &["emacs"],
    name: "Emacs: gptel",
    about: "Writes `llmtor.el` into Emacs's directory, which makes a gptel backend with every model and reads the key from its file, and \
            prints the one line that loads it.",
    way: Way::Writes,
    needs_file: None,
    is_here: |machine| {
        let elpa = |place: &str| Machine::has_entry(&directory(machine).join(place), "gptel");
        elpa("elpa") || elpa("straight/repos") || elpa(".local/straight/repos")
    },
    place: |machine, _| directory(machine).join("llmtor.el"),
    plan: |_, facts, place| {
        let (protocol, host) = facts.origin().split_once("://").unwrap_or(("http", facts.origin()));
        let body = format!(
            r#";; Points gptel at llmtor.
(with-eval-after-load 'gptel
  (setq gptel-backend
        (gptel-make-openai "llmtor"
          :protocol {protocol}
          :host {host}
          :endpoint "/v1/chat/completions"
          :stream t
          :key (lambda ()
                 (with-temp-buffer
                   (insert-file-contents {key_file})
                   (string-trim (buffer-string))))
          :models (mapcar #'intern '({models})))
        gptel-model (intern {main})))
"#,
            protocol = text(protocol),
            host = text(host),
            key_file = text(&facts.key_file.display().to_string()),
            models = facts.models.iter().map(|model| text(model.as_str())).collect::<Vec<_>>().join(" "),
            main = text(facts.choice.main.as_str()),
        );
        let edits = vec![Edit::Block { comment: ";;".to_owned(), body }];
        let file = Planned { path: place.to_owned(), format: Format::Text, edits, has_key: false };
        let line = "(load (locate-user-emacs-file \"llmtor.el\") t)";
        let steps = vec![Step::paste("in your init.el, anywhere:", line)];
        Plan { files: vec![file], steps }
    },
};

/// Emacs takes the first of these that is there.
fn directory(machine: &Machine) -> std::path::PathBuf {
    let old = machine.home(".emacs.d");
    let new = machine.config("emacs");
    if !old.is_dir() && new.is_dir() { new } else { old }
}

/// A text in Emacs Lisp.
fn text(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}
