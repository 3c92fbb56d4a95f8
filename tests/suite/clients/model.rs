//! The model behind the provider: reads what it is shown as a model would, and answers the few questions of the drivers
//! in `tests/clients`.
//!
//! | asked | tools shown | says |
//! | --- | --- | --- |
//! | `Say exactly: "…"` | | that |
//! | the temperature in cities | `get_temperature`, no results yet | a call for each city |
//! | the same | results | what they tell: as text, as a `final_result`, or as the JSON that is asked for |
//! | who Ada Lovelace was | one for a person | a call of it |
//! | the same | none | JSON in a fence, with a sentence before it |
//! | what `llm_version` says | `llm_version` | a call, then its result |
//! | `Create the file … with the text …` | one that writes files or runs commands | a call of it, then that it is done |
//! | to change `hello`, by SEARCH/REPLACE | | such a block |
//! | `Fail with …`, `Fail late with …` | | an error, at once or when streams have begun |
//! | anything else | | a short title: agents ask for one |

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::provider::{Said, Shown};

/// How long a late failure takes: longer than the heartbeat that the stage's daemon is given.
pub const LATE: Duration = Duration::from_secs(3);

const CITIES: [&str; 2] = ["Paris", "Oslo"];

/// What one request comes to in the eyes of a model.
struct Scene {
    /// Everything by the system.
    system: String,
    /// Everything by the user that is no result.
    asked: String,
    /// The last of it.
    question: String,
    /// The results that came after the last question.
    results: Vec<String>,
}

/// What the model says.
pub fn answer(shown: &Shown) -> Said {
    let scene = Scene::of(shown);
    if let Some(failure) = failure(&scene.question) {
        return failure;
    }
    let rules = [repeated, temperature, person, version, file, edit];
    Said::Text(rules.iter().find_map(|rule| rule(&scene)).unwrap_or_else(|| "A short title".to_owned()))
}

impl Scene {
    fn of(shown: &Shown) -> Self {
        let mut scene = Self {
            system: String::new(),
            asked: String::new(),
            question: String::new(),
            results: Vec::new(),
        };
        for (role, text) in shown.messages() {
            match role.as_str() {
                "system" => scene.system.extend([text.as_str(), "\n"]),
                "user" => {
                    let (said, results) = split_results(&text);
                    if !said.trim().is_empty() {
                        scene.asked.extend([said.as_str(), "\n"]);
                        scene.question = said;
                        scene.results.clear();
                    }
                    scene.results.extend(results);
                }
                _ => {}
            }
        }
        scene
    }

    /// The line that describes a tool.
    fn tool(&self, name: &str) -> Option<&str> {
        let needle = format!("\"name\":\"{name}\"");
        self.system.lines().find(|line| line.contains(&needle))
    }

    /// The first tool with `part` in its name.
    fn tool_like(&self, part: &str) -> Option<&str> {
        let names =
            self.system.lines().filter_map(|line| line.split_once("\"name\":\"")?.1.split('"').next());
        names.into_iter().find(|name| name.contains(part) && self.tool(name).is_some())
    }
}

/// What a user said, and what tools said in the same message.
fn split_results(text: &str) -> (String, Vec<String>) {
    let (mut said, mut results, mut rest) = (String::new(), Vec::new(), text);
    while let Some((before, after)) = rest.split_once("<tool_response") {
        let Some((inside, behind)) = after.split_once("</tool_response>") else { break };
        said.push_str(before);
        results.push(inside.split_once('>').unwrap_or(("", inside)).1.trim().to_owned());
        rest = behind;
    }
    (said + rest, results)
}

fn call(name: &str, arguments: &Value) -> String {
    format!("<tool_call>\n{}\n</tool_call>", json!({"name": name, "arguments": arguments}))
}

/// As models hand JSON over.
fn fenced(value: &Value) -> String {
    format!("Here it is:\n\n```json\n{value:#}\n```")
}

fn failure(question: &str) -> Option<Said> {
    let (late, name) = match question.split_once("Fail with ") {
        Some((_, name)) => (false, name),
        None => (true, question.split_once("Fail late with ")?.1),
    };
    let (kind, code) = match name.split_whitespace().next()? {
        "rate" => ("requests", "rate_limit_exceeded"),
        "context" => ("invalid_request_error", "context_length_exceeded"),
        _ => ("server_error", "server_error"),
    };
    let error = Said::Error { kind, code };
    Some(if late { Said::Late(LATE, Box::new(error)) } else { error })
}

fn repeated(scene: &Scene) -> Option<String> {
    let (_, after) = scene.question.split_once("Say exactly: \"")?;
    Some(after.split('"').next()?.to_owned())
}

fn temperature(scene: &Scene) -> Option<String> {
    let (_, cities) = scene.question.split_once("temperature in ")?;
    let cities = CITIES.iter().filter(|city| cities.contains(*city));
    if scene.results.is_empty() {
        scene.tool("get_temperature")?;
        let calls = cities.map(|city| call("get_temperature", &json!({"city": city})));
        return Some(calls.collect::<Vec<_>>().join("\n"));
    }
    let told = scene.results.join("; ");
    let number = told.split(|c: char| !c.is_ascii_digit()).find_map(|word| word.parse::<u32>().ok());
    let report = json!({"city": cities.into_iter().next()?, "celsius": number});
    Some(match scene.tool("final_result") {
        Some(_) => call("final_result", &report),
        None if scene.system.contains("celsius") => fenced(&report),
        None => format!("It is {told}."),
    })
}

fn person(scene: &Scene) -> Option<String> {
    scene.question.contains("Ada Lovelace").then(|| {
        let ada = json!({"name": "Ada Lovelace", "born": 1815});
        match scene.tool_like("Person").or_else(|| scene.tool_like("final_result")) {
            Some(name) => call(name, &ada),
            None => fenced(&ada),
        }
    })
}

fn version(scene: &Scene) -> Option<String> {
    scene.question.contains("llm_version").then(|| match scene.results.first() {
        None => call("llm_version", &json!({})),
        Some(result) => format!("It says {result}."),
    })
}

fn file(scene: &Scene) -> Option<String> {
    let (_, task) = scene.asked.split_once("Create the file ")?;
    let (file, rest) = task.split_once(" with the text ")?;
    let word: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
    if !scene.results.is_empty() {
        return Some("The file is there.".to_owned());
    }
    let content = format!("{word}\n");
    if scene.tool("exec_command").is_some() {
        return Some(call("exec_command", &json!({"cmd": format!("echo {word} >{file}")})));
    }
    let (name, description) = ["write", "Write"].iter().find_map(|name| Some((*name, scene.tool(name)?)))?;
    let place = ["file_path", "filePath", "filepath"].into_iter().find(|name| description.contains(name))?;
    if !scene.system.contains("<parameter name=") {
        return Some(call(name, &json!({place: file, "content": content})));
    }
    // The raw form, where it is offered.
    let head = json!({"name": name, "arguments": {place: file}});
    Some(format!("<tool_call>\n{head}\n<parameter name=\"content\">\n{content}</parameter>\n</tool_call>"))
}

fn edit(scene: &Scene) -> Option<String> {
    let rules =
        scene.system.contains("SEARCH/REPLACE") || scene.asked.contains("SEARCH/REPLACE block* Rules");
    (rules && scene.asked.contains("Print kumquat instead of hello")).then(|| {
        "I change the word.\n\ngreet.py\n```python\n<<<<<<< SEARCH\nprint(\"hello\")\n=======\n\
         print(\"kumquat\")\n>>>>>>> REPLACE\n```\n"
            .to_owned()
    })
}
