//! Reading the log files again: the last lines, and those that come.
//!
//! Files are named by their days, so the order of names is that of time. A line that begins with no time belongs to the
//! one before it. What cannot be read as a line of ours is passed on as it is: an unreadable log is no reason to show none.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{PREFIX, SUFFIX};
use crate::config::Level;

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// RFC 3339; absent on what belongs to the line before.
    pub time: Option<String>,
    /// How important it is; as that of the line before, where it has none of its own.
    pub level: Level,
    /// What was said, and by which part.
    pub text: String,
}

impl Line {
    /// Reads one; `before` is the level of the line before it.
    fn read(raw: &str, before: Level) -> Self {
        let parsed = raw.split_once(' ').and_then(|(time, rest)| {
            let dated = time.len() == 20 && time.as_bytes()[10] == b'T' && time.ends_with('Z');
            let (word, text) = rest.trim_start().split_once(' ')?;
            dated.then_some((time, level(word)?, text))
        });
        match parsed {
            Some((time, level, text)) => {
                Self { time: Some(time.to_owned()), level, text: text.trim_start().to_owned() }
            }
            None => Self { time: None, level: before, text: raw.to_owned() },
        }
    }

    /// As it stands in the file.
    pub fn raw(&self) -> String {
        match &self.time {
            Some(time) => {
                format!("{time} {:>5} {}", format!("{:?}", self.level).to_uppercase(), self.text)
            }
            None => self.text.clone(),
        }
    }
}

/// The last `count` lines in `directory` that are at least as important as `least`, the oldest first. None where there is
/// no directory yet.
pub fn last(directory: &Path, count: usize, least: Level) -> io::Result<Vec<Line>> {
    let mut found: Vec<Line> = Vec::new();
    for path in files(directory)?.into_iter().rev() {
        let missing = count - found.len();
        if missing == 0 {
            break;
        }
        let mut kept = VecDeque::new();
        let mut level = Level::Info;
        for raw in BufReader::new(File::open(path)?).split(b'\n') {
            let line = Line::read(&String::from_utf8_lossy(&raw?), level);
            level = line.level;
            if level <= least {
                kept.push_back(line);
            }
            if kept.len() > missing {
                kept.pop_front();
            }
        }
        kept.extend(found);
        found = kept.into();
    }
    Ok(found)
}

/// The lines that come from now on.
pub struct Tail {
    directory: PathBuf,
    least: Level,
    file: Option<PathBuf>,
    offset: u64,
    /// The beginning of a line whose end is not written yet.
    begun: Vec<u8>,
    level: Level,
}

impl Tail {
    /// Begins behind what is there now.
    pub fn begin(directory: &Path, least: Level) -> io::Result<Self> {
        let file = files(directory)?.pop();
        let offset = file.as_ref().map_or(Ok(0), |path| fs::metadata(path).map(|found| found.len()))?;
        let directory = directory.to_owned();
        Ok(Self { directory, least, file, offset, begun: Vec::new(), level: Level::Info })
    }

    /// What was added since.
    pub fn more(&mut self) -> io::Result<Vec<Line>> {
        let mut lines = Vec::new();
        for path in files(&self.directory)? {
            match &self.file {
                Some(current) if path < *current => continue,
                Some(current) if path == *current => {}
                _ => {
                    self.file = Some(path.clone());
                    self.offset = 0;
                }
            }
            let mut file = File::open(&path)?;
            file.seek(SeekFrom::Start(self.offset))?;
            let before = self.begun.len();
            file.read_to_end(&mut self.begun)?;
            self.offset += (self.begun.len() - before) as u64;
            self.take_whole(&mut lines);
        }
        Ok(lines)
    }

    fn take_whole(&mut self, lines: &mut Vec<Line>) {
        let whole = self.begun.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let text: Vec<u8> = self.begun.drain(..whole).collect();
        for raw in String::from_utf8_lossy(&text).lines() {
            let line = Line::read(raw, self.level);
            self.level = line.level;
            if line.level <= self.least {
                lines.push(line);
            }
        }
    }
}

/// The files, the oldest first.
fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let ours = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX)).is_some()
    };
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
    files.retain(ours);
    files.sort();
    Ok(files)
}

fn level(word: &str) -> Option<Level> {
    Some(match word {
        "ERROR" => Level::Error,
        "WARN" => Level::Warn,
        "INFO" => Level::Info,
        "DEBUG" => Level::Debug,
        "TRACE" => Level::Trace,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn write(directory: &Path, day: u8, text: &str) {
        let path = directory.join(format!("llmtor.2026-11-{day:02}.log"));
        let mut file = File::options().create(true).append(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn texts(lines: &[Line]) -> Vec<&str> {
        lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn the_last_lines_are_those_of_several_days_in_their_order() {
        let room = tempfile::tempdir().unwrap();
        write(
            room.path(),
            1,
            "2026-11-01T00:00:00Z  INFO llmtor: one\n2026-11-01T00:00:01Z  WARN llmtor: two\n",
        );
        write(room.path(), 2, "2026-11-02T00:00:00Z ERROR llmtor: three\n  its second line\n");
        fs::write(room.path().join("other.txt"), "2026-11-03T00:00:00Z ERROR not ours\n").unwrap();
        let all = last(room.path(), 10, Level::Trace).unwrap();
        assert_eq!(texts(&all), ["llmtor: one", "llmtor: two", "llmtor: three", "  its second line"]);
        assert_eq!(all[1].raw(), "2026-11-01T00:00:01Z  WARN llmtor: two");
        let few = last(room.path(), 3, Level::Trace).unwrap();
        assert_eq!(texts(&few), ["llmtor: two", "llmtor: three", "  its second line"]);
        let grave = last(room.path(), 10, Level::Error).unwrap();
        assert_eq!(texts(&grave), ["llmtor: three", "  its second line"]);
        assert_eq!(last(&room.path().join("none"), 10, Level::Trace).unwrap(), []);
    }

    #[test]
    fn whoever_follows_gets_each_line_once_over_a_midnight_and_none_by_halves() {
        let room = tempfile::tempdir().unwrap();
        write(room.path(), 1, "2026-11-01T00:00:00Z  INFO llmtor: before\n");
        let mut tail = Tail::begin(room.path(), Level::Info).unwrap();
        assert_eq!(tail.more().unwrap(), []);
        write(room.path(), 1, "2026-11-01T00:00:01Z  INFO llmtor: one\n2026-11-01T00:00:02Z  INFO llm");
        assert_eq!(texts(&tail.more().unwrap()), ["llmtor: one"]);
        write(room.path(), 1, "tor: two\n2026-11-01T00:00:03Z DEBUG llmtor: detail\n");
        write(room.path(), 2, "2026-11-02T00:00:00Z  WARN llmtor: three\n");
        assert_eq!(texts(&tail.more().unwrap()), ["llmtor: two", "llmtor: three"]);
        assert_eq!(tail.more().unwrap(), []);
    }

    proptest! {
        #[test]
        fn no_text_is_lost_and_none_is_too_strange(raw in "\\PC{0,60}") {
            let line = Line::read(&raw, Level::Warn);
            if line.time.is_none() {
                prop_assert_eq!(line.raw(), raw);
                prop_assert_eq!(line.level, Level::Warn);
            }
        }
    }
}
