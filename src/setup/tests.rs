#![cfg(unix)]

use std::fs;

use super::tools::{TOOLS, find};
use super::*;

const KEY: &str = "sk-llmtor-0123456789abcdefghij";

struct Room {
    place: tempfile::TempDir,
    machine: Machine,
    ledger: Ledger,
}

impl Room {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let home = place.path().join("user");
        fs::create_dir(&home).unwrap();
        let machine = Machine::new(System::Unix, &home, &[("SHELL", "/bin/bash")]);
        let ledger = Ledger::of(&place.path().join("llmtor"));
        Self { place, machine, ledger }
    }

    fn path(&self, rest: &str) -> PathBuf {
        self.place.path().join("user").join(rest)
    }

    fn write(&self, rest: &str, text: &str) -> PathBuf {
        let path = self.path(rest);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn prepare(&self, tool: &str, facts: &Facts) -> Prepared {
        prepare(find(tool).unwrap(), &self.machine, facts, None, &self.ledger).unwrap()
    }

    fn set_up(&self, tool: &str, facts: &Facts) {
        self.prepare(tool, facts).commit(&self.ledger).unwrap();
    }

    fn undo(&self, tool: &str) {
        let undo = prepare_undo(find(tool).unwrap(), &self.machine, None, &self.ledger).unwrap();
        undo.commit_undo(&self.ledger).unwrap();
    }

    /// Everything under the user's home, by its path; a directory is empty.
    fn files(&self) -> Vec<(PathBuf, String)> {
        fn walk(directory: &Path, into: &mut Vec<(PathBuf, String)>) {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    into.push((path.clone(), String::new()));
                    walk(&path, into);
                } else {
                    into.push((path.clone(), fs::read_to_string(&path).unwrap()));
                }
            }
        }
        let mut files = Vec::new();
        walk(&self.path(""), &mut files);
        files.sort();
        files
    }
}

fn facts(main: &str) -> Facts {
    let name = |text: &str| ModelName::new(text).unwrap();
    Facts {
        base_url: "http://127.0.0.1:8787/v1".into(),
        key: Secret::new(KEY.into()),
        key_file: "/home/somebody/.local/share/llmtor/api-key".into(),
        home: None,
        models: ["gpt-4.1", "gpt-4.1-mini", "o1"].map(name).to_vec(),
        choice: Choice { main: name(main), small: name("gpt-4.1-mini") },
        context: Some(62_500),
    }
}

#[test]
fn every_tool_that_is_written_comes_back_to_the_byte_and_a_second_time_changes_nothing() {
    for tool in TOOLS.iter().filter(|tool| tool.way == Way::Writes && tool.needs_file.is_none()) {
        let room = Room::new();
        let before = room.files();
        room.set_up(tool.id, &facts("gpt-4.1"));
        let after = room.files();
        assert_ne!(before, after, "{}", tool.id);
        assert!(is_set_up(tool, &room.ledger), "{}", tool.id);
        assert!(!room.prepare(tool.id, &facts("gpt-4.1")).is_needed(), "{}", tool.id);
        // Another model, and back again: nothing is left over of the first.
        room.set_up(tool.id, &facts("o1"));
        room.set_up(tool.id, &facts("gpt-4.1"));
        assert_eq!(room.files(), after, "{}", tool.id);
        room.undo(tool.id);
        assert_eq!(room.files(), before, "{}", tool.id);
        assert!(!is_set_up(tool, &room.ledger), "{}", tool.id);
    }
}

#[test]
fn a_file_that_was_there_comes_back_to_the_byte_with_its_mode() {
    let room = Room::new();
    let original = "# mine\nmodel = 'gpt-x'   # odd spaces\n[a]\nb=1";
    let path = room.write(".codex/config.toml", original);
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    room.set_up("codex", &facts("gpt-4.1"));
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(KEY) && text.contains("# mine") && text.contains("# odd spaces"), "{text}");
    let backup = room.path(".codex/config.toml.before-llmtor");
    assert_eq!(fs::read_to_string(&backup).unwrap(), original);
    let mode = |path: &Path| {
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).unwrap().permissions()) & 0o777
    };
    // The key is in it.
    assert_eq!((mode(&path), mode(&backup)), (0o600, 0o640));
    room.set_up("codex", &facts("o1"));
    assert_eq!((mode(&path), mode(&backup)), (0o600, 0o640));
    room.undo("codex");
    assert_eq!(fs::read_to_string(&path).unwrap(), original);
    assert_eq!(mode(&path), 0o640);
    assert!(!backup.exists());
}

#[test]
fn a_new_file_with_the_key_is_its_owners_alone() {
    let room = Room::new();
    for tool in ["codex", "opencode", "claude-code", "aider", "continue", "llm"] {
        room.set_up(tool, &facts("gpt-4.1"));
    }
    for (path, text) in room.files().into_iter().filter(|(path, _)| path.is_file()) {
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        assert!(!text.contains(KEY) || mode & 0o777 == 0o600, "{} is {mode:o}", path.display());
    }
}

#[test]
fn what_the_user_changed_since_stays_and_only_ours_is_taken_out() {
    let room = Room::new();
    let path = room.write(".config/opencode/opencode.json", "{\n  // mine\n  \"theme\": \"dark\"\n}\n");
    room.set_up("opencode", &facts("gpt-4.1"));
    let text = fs::read_to_string(&path).unwrap().replace("\"dark\"", "\"light\"");
    fs::write(&path, text).unwrap();
    assert!(is_set_up(find("opencode").unwrap(), &room.ledger));
    // Setting it up again keeps the change, and makes it part of what comes back.
    room.set_up("opencode", &facts("o1"));
    room.undo("opencode");
    assert_eq!(fs::read_to_string(&path).unwrap(), "{\n  // mine\n  \"theme\": \"light\"\n}\n");
}

#[test]
fn a_link_of_a_dotfiles_manager_is_written_through() {
    let room = Room::new();
    let real = room.write("dotfiles/aider.yml", "dark-mode: true\n");
    let link = room.path(".aider.conf.yml");
    std::os::unix::fs::symlink("dotfiles/aider.yml", &link).unwrap();
    room.set_up("aider", &facts("gpt-4.1"));
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(fs::read_to_string(&real).unwrap().contains("openai/gpt-4.1"));
    room.undo("aider");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&real).unwrap(), "dark-mode: true\n");
}

#[test]
fn a_file_that_does_not_parse_is_named_with_its_line_and_left_alone() {
    let room = Room::new();
    let path = room.write(".codex/config.toml", "a = 1\nb = [\"sk-secret\n");
    let error =
        prepare(find("codex").unwrap(), &room.machine, &facts("o1"), None, &room.ledger).err().unwrap();
    let said = error.to_string();
    assert!(said.contains("config.toml") && said.contains("line 2") && !said.contains("secret"), "{said}");
    assert!(error.advice().unwrap().contains("--print"));
    assert_eq!(fs::read_to_string(&path).unwrap(), "a = 1\nb = [\"sk-secret\n");
}

#[test]
fn a_file_that_changed_after_it_was_shown_is_left_alone() {
    let room = Room::new();
    let path = room.write(".codex/config.toml", "a = 1\n");
    let prepared = room.prepare("codex", &facts("gpt-4.1"));
    fs::write(&path, "a = 2\n").unwrap();
    assert!(matches!(prepared.commit(&room.ledger), Err(SetupError::Changed { .. })));
    assert_eq!(fs::read_to_string(&path).unwrap(), "a = 2\n");
}

#[test]
fn a_crash_before_the_file_was_written_leaves_nothing_to_undo_but_the_ledger() {
    let room = Room::new();
    let path = room.write(".codex/config.toml", "model = \"mine\"\n");
    room.set_up("codex", &facts("gpt-4.1"));
    fs::write(&path, "model = \"mine\"\n").unwrap();
    room.undo("codex");
    assert_eq!(fs::read_to_string(&path).unwrap(), "model = \"mine\"\n");
}

#[test]
fn what_is_shown_does_not_show_the_key() {
    let room = Room::new();
    let facts = facts("gpt-4.1");
    for tool in ["codex", "aider", "opencode"] {
        let prepared = room.prepare(tool, &facts);
        let diff = prepared.changes[0].diff(Some(&facts.key), "~/file");
        assert!(
            diff.contains("+++ ~/file") && diff.contains("sk-llmtor-****") && !diff.contains(KEY),
            "{diff}"
        );
    }
}

#[test]
fn two_vaults_are_undone_one_by_one_or_together() {
    let room = Room::new();
    let tool = find("obsidian").unwrap();
    let vaults = ["One", "Two"].map(|name| room.path(name));
    for vault in &vaults {
        fs::create_dir_all(vault.join(".obsidian/plugins/copilot")).unwrap();
        let prepared = prepare(tool, &room.machine, &facts("o1"), Some(vault), &room.ledger).unwrap();
        prepared.commit(&room.ledger).unwrap();
    }
    let settings = |vault: &PathBuf| vault.join(".obsidian/plugins/copilot/data.json").exists();
    let undo = prepare_undo(tool, &room.machine, Some(&vaults[0]), &room.ledger).unwrap();
    undo.commit_undo(&room.ledger).unwrap();
    assert_eq!(vaults.each_ref().map(settings), [false, true]);
    room.undo("obsidian");
    assert_eq!(vaults.each_ref().map(settings), [false, false]);
    assert!(matches!(
        prepare_undo(tool, &room.machine, None, &room.ledger),
        Err(SetupError::NotSetUp { .. })
    ));
}

#[test]
fn a_tool_whose_place_only_the_user_knows_asks_for_it() {
    let room = Room::new();
    let wanting = prepare(find("librechat").unwrap(), &room.machine, &facts("o1"), None, &room.ledger);
    assert!(matches!(wanting, Err(SetupError::NeedsFile { .. })));
    let file = Some(Path::new("x"));
    let wrong = prepare(find("codex").unwrap(), &room.machine, &facts("o1"), file, &room.ledger);
    assert!(matches!(wrong, Err(SetupError::NoFile { .. })));
}

#[test]
fn the_backup_of_a_file_that_was_deleted_since_goes_with_the_undo_and_not_before() {
    let room = Room::new();
    let path = room.write(".codex/config.toml", "model = \"mine\"\n");
    room.set_up("codex", &facts("gpt-4.1"));
    fs::remove_file(&path).unwrap();
    room.set_up("codex", &facts("gpt-4.1"));
    let backup = room.path(".codex/config.toml.before-llmtor");
    assert_eq!(fs::read_to_string(&backup).unwrap(), "model = \"mine\"\n");
    room.undo("codex");
    assert!(!path.exists() && !backup.exists());
}

#[test]
fn a_directory_in_which_the_user_has_put_something_stays() {
    let room = Room::new();
    room.set_up("codex", &facts("gpt-4.1"));
    let own = room.write(".codex/notes.md", "mine");
    room.undo("codex");
    assert!(own.exists() && !room.path(".codex/config.toml").exists());
}

#[test]
fn a_home_behind_a_link_is_one_home_before_and_after_the_directories_are_made() {
    let mut room = Room::new();
    let link = room.place.path().join("link");
    std::os::unix::fs::symlink(room.path(""), &link).unwrap();
    room.machine = Machine::new(System::Unix, &link, &[]);
    room.set_up("codex", &facts("gpt-4.1"));
    room.set_up("codex", &facts("o1"));
    room.undo("codex");
    assert_eq!(room.files(), []);
}

#[test]
fn what_is_shown_has_no_key_of_the_users_own_on_either_way() {
    let room = Room::new();
    room.write(".aider.conf.yml", "openai-api-key: my-own-key-1\nanthropic-api-key: sk-ant-abcdefgh\n");
    let key = Secret::new(KEY.to_owned());
    let there = room.prepare("aider", &facts("gpt-4.1"));
    there.commit(&room.ledger).unwrap();
    let back = prepare_undo(find("aider").unwrap(), &room.machine, None, &room.ledger).unwrap();
    for prepared in [there, back] {
        let diff = prepared.changes[0].diff(Some(&key), "~/file");
        assert!(!diff.contains("my-own-key-1") && !diff.contains("sk-ant"), "{diff}");
        assert!(diff.contains("openai-api-key: ****") && diff.contains("sk-llmtor-****"), "{diff}");
    }
}

#[test]
fn a_key_for_anthropic_is_put_aside_and_comes_back() {
    let room = Room::new();
    let original = "{\"env\": {\"ANTHROPIC_API_KEY\": \"sk-ant-mine\"}}";
    let path = room.write(".claude/settings.json", original);
    room.set_up("claude-code", &facts("gpt-4.1"));
    let written: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(written["env"]["ANTHROPIC_API_KEY"], "");
    // The user's own change makes it taken out, not copied back.
    let text = fs::read_to_string(&path).unwrap().replacen('{', "{\n  \"theme\": \"dark\",", 1);
    fs::write(&path, text).unwrap();
    let back = prepare_undo(find("claude-code").unwrap(), &room.machine, None, &room.ledger).unwrap();
    assert_eq!(back.changes[0].direction, Direction::TakingOut);
    back.commit_undo(&room.ledger).unwrap();
    let left: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(left, serde_json::json!({"theme": "dark", "env": {"ANTHROPIC_API_KEY": "sk-ant-mine"}}));
}

#[test]
fn a_mistyped_place_and_a_link_to_nowhere_are_refused() {
    let room = Room::new();
    let refused = |tool: &str, file: Option<&Path>| {
        let error =
            prepare(find(tool).unwrap(), &room.machine, &facts("o1"), file, &room.ledger).err().unwrap();
        assert!(matches!(error, SetupError::NoDirectory { .. }), "{tool}: {error}");
    };
    refused("obsidian", Some(&room.path("")));
    refused("librechat", Some(&room.path("nowhere/librechat.yaml")));
    fs::create_dir(room.path(".codex")).unwrap();
    std::os::unix::fs::symlink(room.path("gone/config.toml"), room.path(".codex/config.toml")).unwrap();
    refused("codex", None);
    assert!(!room.path("gone").exists() && !room.path("nowhere").exists());
}

#[test]
fn a_file_that_broke_meanwhile_is_undone_by_hand_and_the_copy_is_named() {
    let room = Room::new();
    let path = room.write(".codex/config.toml", "a = 1\n");
    room.set_up("codex", &facts("gpt-4.1"));
    fs::write(&path, "a = [\n").unwrap();
    let undo = prepare_undo(find("codex").unwrap(), &room.machine, None, &room.ledger);
    let advice = undo.err().unwrap().advice().unwrap();
    assert!(advice.contains("out by hand") && advice.contains("config.toml.before-llmtor"), "{advice}");
}
