//! `llmtor setup`: what it lists, shows, asks, writes and takes back.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::bench::{Ended, llmtor, succeed};
use crate::support::program;

/// A user's home with two models' keys pinned; no backend is asked anything.
fn room() -> tempfile::TempDir {
    let room = tempfile::tempdir().unwrap();
    let key = |name: &str| {
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name)).unwrap()
    };
    let keys = json!({"gpt-4.1": key("rsa2048-a.pem"), "gemini-2.5-flash-lite": key("rsa2048-b.pem")});
    fs::write(room.path().join("keys.json"), keys.to_string()).unwrap();
    let init = ["init", "--home", "home", "--backend", "http://127.0.0.1:1", "--keys", "keys.json"];
    succeed(room.path(), &init, "");
    room
}

/// Nothing is started; see [`the_endpoint_is_started_with_the_first_tool`].
fn setup(room: &Path, arguments: &[&str]) -> Ended {
    let start: &[&str] =
        if arguments.iter().any(|word| !word.starts_with('-')) { &["--no-start"] } else { &[] };
    llmtor(
        room,
        &[("LLMTOR_HOME", "home"), ("PATH", "/usr/bin:/bin")],
        &[&["setup"], arguments, start].concat(),
        "",
    )
}

fn key(room: &Path) -> String {
    fs::read_to_string(room.join("home/api-key")).unwrap().trim().to_owned()
}

/// At a terminal, with `typed` on it; what stood there in the end.
fn at_a_terminal(room: &Path, words: &str, typed: &str) -> String {
    let mut command = Command::new("script");
    program::confine(&mut command, room);
    let line = format!("{} setup {words} --no-start", program::SHIPPED);
    command.args(["-qec", &line, "/dev/null"]).env("LLMTOR_HOME", "home").env("NO_COLOR", "1");
    String::from_utf8(program::finish(&mut command, typed).stdout).unwrap()
}

#[test]
fn the_list_tells_what_is_here_and_what_is_set_up_without_a_home() {
    let room = tempfile::tempdir().unwrap();
    fs::create_dir(room.path().join(".codex")).unwrap();
    let listed = setup(room.path(), &[]);
    assert_eq!(listed.code, Some(0), "{}", listed.all());
    for words in [
        "codex           yes    -",
        "writes ~/.codex/config.toml",
        "cursor",
        "its maker would see every prompt",
    ] {
        assert!(listed.stdout.contains(words), "no {words} in {}", listed.stdout);
    }
    assert!(!room.path().join("home").exists(), "a list makes no home");
    let rows = setup(room.path(), &["--json"]).json();
    let row = rows["tools"].as_array().unwrap().iter().find(|row| row["tool"] == "codex").unwrap();
    assert_eq!(
        (&row["installed"], &row["set_up"], &row["way"]),
        (&json!(true), &json!(false), &json!("writes"))
    );
}

#[test]
fn a_tool_is_set_up_shown_again_and_set_back() {
    let room = room();
    let path = room.path().join(".config/opencode/opencode.json");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "{\n  \"theme\": \"dark\" // mine\n}\n").unwrap();
    let done = setup(room.path(), &["opencode", "--yes"]);
    assert_eq!(done.code, Some(0), "{}", done.all());
    let key = key(room.path());
    assert!(done.stderr.contains("+  \"small_model\": \"llmtor/gemini-2.5-flash-lite\""), "{}", done.all());
    assert!(!done.all().contains(&key), "the key is shown");
    for words in
        ["model: gpt-4.1;", "does not run now", "to put everything back", "opencode.json.before-llmtor"]
    {
        assert!(done.stdout.contains(words), "no {words} in {}", done.stdout);
    }
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(&key) && text.contains("// mine"), "{text}");
    assert!(done.stdout.contains("only yours can"), "{}", done.stdout);

    let again = setup(room.path(), &["opencode"]);
    assert_eq!(again.code, Some(0), "{}", again.all());
    assert!(again.stdout.contains("set up already"), "{}", again.all());
    assert!(setup(room.path(), &[]).stdout.contains("opencode        yes    yes"));

    let back = setup(room.path(), &["opencode", "--undo", "--yes", "--json"]).json();
    assert_eq!(back["outcome"], "undone");
    assert_eq!(fs::read_to_string(&path).unwrap(), "{\n  \"theme\": \"dark\" // mine\n}\n");
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    setup(room.path(), &["opencode", "--undo", "--yes"]).refused(1, &["nothing to undo", "llmtor setup"]);
}

#[test]
fn nothing_is_written_without_a_yes() {
    let room = room();
    let file = room.path().join(".codex/config.toml");
    setup(room.path(), &["codex"]).refused(2, &["nobody to ask", "--yes"]);
    setup(room.path(), &["codex", "--json"]).refused_json("usage");
    for typed in ["n\n", "\n"] {
        let said = at_a_terminal(room.path(), "codex", typed);
        assert!(said.contains("Write this? [y/N]") && said.contains("nothing was written"), "{said}");
    }
    assert!(!file.exists() && !room.path().join("home/setup").exists());
    let said = at_a_terminal(room.path(), "codex", "y\n");
    assert!(said.contains("+model_provider = \"llmtor\"") && file.exists(), "{said}");
}

#[test]
fn what_is_printed_can_be_pasted_and_writes_nothing() {
    let room = room();
    let broken = room.path().join(".codex/config.toml");
    fs::create_dir_all(broken.parent().unwrap()).unwrap();
    fs::write(&broken, "this is = no\ntoml [\n").unwrap();
    setup(room.path(), &["codex", "--yes"]).refused(1, &["config.toml", "line 1", "--print"]);
    let printed =
        setup(room.path(), &["codex", "--print", "--model", "gemini-2.5-flash-lite", "--json"]).json();
    let text: toml::Table = printed["files"][0]["text"].as_str().unwrap().parse().unwrap();
    assert_eq!(text["model"].as_str(), Some("gemini-2.5-flash-lite"));
    assert_eq!(
        text["model_providers"]["llmtor"]["experimental_bearer_token"].as_str(),
        Some(&*key(room.path()))
    );
    for tool in ["vscode", "jetbrains", "cline", "open-webui", "ollama", "other"] {
        let said = setup(room.path(), &[tool]);
        assert_eq!(said.code, Some(0), "{}", said.all());
        assert!(
            said.stdout.contains("http://127.0.0.1:") || said.stdout.contains("http://localhost:"),
            "{}",
            said.all()
        );
    }
    assert_eq!(fs::read_to_string(&broken).unwrap(), "this is = no\ntoml [\n");
    assert!(!room.path().join("home/setup").exists());
}

#[test]
fn what_cannot_be_done_is_said_with_what_can() {
    let room = room();
    setup(room.path(), &["cursor", "--yes"])
        .refused(1, &["would see every prompt", "out of their reach", "opencode"]);
    setup(room.path(), &["opncode"])
        .refused(2, &["no tool is known as `opncode`", "`opencode`", "llmtor setup"]);
    setup(room.path(), &["codex", "--model", "gpt-9"]).refused(2, &["no model `gpt-9`", "gpt-4.1"]);
    setup(room.path(), &["librechat", "--yes"]).refused(2, &["librechat.yaml", "--file"]);
    setup(room.path(), &["codex", "--yes", "--file", "x"]).refused(2, &["--file"]);
    let empty = tempfile::tempdir().unwrap();
    setup(empty.path(), &["codex", "--yes"]).refused(1, &["no model is known", "llmtor init"]);
}

#[test]
fn the_endpoint_is_started_with_the_first_tool() {
    let room = room();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut config = fs::read_to_string(room.path().join("home/config.toml")).unwrap();
    config = format!("{config}\n[server]\nlisten = \"127.0.0.1:{port}\"\n");
    fs::write(room.path().join("home/config.toml"), config).unwrap();
    let done = llmtor(room.path(), &[("LLMTOR_HOME", "home")], &["setup", "codex", "--yes"], "");
    let status = llmtor(room.path(), &[("LLMTOR_HOME", "home")], &["status", "--json"], "").json();
    let pid = status["daemon"]["pid"].as_u64();
    if let Some(pid) = pid {
        assert!(Command::new("kill").arg(pid.to_string()).status().unwrap().success());
    }
    assert_eq!(done.code, Some(0), "{}", done.all());
    assert!(
        pid.is_some() && done.stdout.contains("started llmtor in the background"),
        "{}{status}",
        done.all()
    );
    let text = fs::read_to_string(room.path().join(".codex/config.toml")).unwrap();
    assert!(text.contains(&format!("http://127.0.0.1:{port}/v1")), "{text}");
}

#[test]
fn modules_for_neovim_are_lua_that_it_reads() {
    let room = room();
    // As the plugins would: only what they call is made up.
    let check = r#"
        package.preload["codecompanion.adapters"] = function()
          return { extend = function(name, with) with.extends = name; return with end }
        end
        local c, a = dofile("lua/llmtor/codecompanion.lua"), dofile("lua/llmtor/avante.lua")
        local made = c.adapters.http.llmtor()
        local provider = a.providers[a.provider]
        print(vim.fn.json_encode({ made.extends, made.env.url, made.env.api_key, made.schema.model.default,
          provider.endpoint, vim.trim(vim.fn.system(provider.api_key_name)),
          vim.fn.system({ "env" }):find(made.env.api_key, 1, true) == nil }))
    "#;
    for tool in ["codecompanion", "avante"] {
        assert_eq!(setup(room.path(), &[tool, "--yes"]).code, Some(0));
    }
    let directory = room.path().join(".config/nvim");
    fs::write(directory.join("check.lua"), check).unwrap();
    let mut command = Command::new("nvim");
    program::confine(&mut command, room.path());
    command
        .args(["--headless", "-u", "NONE", "-c", "luafile check.lua", "-c", "quitall!"])
        .current_dir(&directory);
    let Ok(output) = command.output() else {
        assert!(std::env::var_os("CI").is_none(), "nvim is missing");
        eprintln!("SKIPPED: nvim is not installed");
        return;
    };
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    let read: Value = serde_json::from_str(said.trim()).unwrap_or_else(|_| panic!("{said}"));
    let url = "http://127.0.0.1:8787";
    let key = key(room.path());
    assert_eq!(read, json!(["openai_compatible", url, key, "gpt-4.1", format!("{url}/v1"), key, true]));
}

#[test]
fn a_home_with_quotes_and_spaces_breaks_no_shell() {
    let room = room();
    let odd = "it's; touch broken; '$(touch broken) \"`";
    fs::rename(room.path().join("home"), room.path().join(odd)).unwrap();
    fs::create_dir_all(room.path().join(".config/fish")).unwrap();
    let words = ["--home", odd, "setup", "env", "--yes", "--no-start"];
    let done = llmtor(room.path(), &[("PATH", "/usr/bin:/bin"), ("SHELL", "/bin/bash")], &words, "");
    assert_eq!(done.code, Some(0), "{}", done.all());
    let key = fs::read_to_string(room.path().join(odd).join("api-key")).unwrap();
    let programs = Path::new(program::SHIPPED).parent().unwrap().display();
    for (shell, file) in [("sh", ".bashrc"), ("bash", ".bashrc"), ("fish", ".config/fish/conf.d/llmtor.fish")]
    {
        let mut command = Command::new(shell);
        program::confine(&mut command, room.path());
        command
            .args(["-c", &format!(". ./{file}; printf '%s' \"$OPENAI_API_KEY\"")])
            .env("PATH", format!("{programs}:/usr/bin:/bin"))
            .current_dir(room.path());
        let Ok(said) = command.output() else {
            assert!(std::env::var_os("CI").is_none(), "{shell} is missing");
            continue;
        };
        assert_eq!(String::from_utf8_lossy(&said.stdout), key.trim(), "{shell}: {said:?}");
    }
    assert!(!room.path().join("broken").exists());

    let broken = ["--home", "two\nlines", "setup", "env", "--yes", "--no-start"];
    fs::rename(room.path().join(odd), room.path().join("two\nlines")).unwrap();
    llmtor(room.path(), &[], &broken, "").refused(1, &["line break", "--home DIR"]);
}
