//! Files without a structure of ours: lines between markers, or all of a short file.

use super::{Edit, Fault, Trace, digest};

const BEGIN: &str = ">>> llmtor >>>";
const END: &str = "<<< llmtor <<<";

pub(super) fn apply(text: &str, edits: &[Edit]) -> Result<(String, Vec<Trace>), Fault> {
    let mut now = text.to_owned();
    let mut traces = Vec::new();
    for edit in edits {
        match edit {
            Edit::Block { comment, body } => {
                now = with_block(&now, comment, body)?;
                traces.push(Trace::Block { comment: comment.clone() });
            }
            Edit::Whole(whole) => {
                traces.push(Trace::Whole { ours: digest(whole), before: now.clone() });
                now.clone_from(whole);
            }
            Edit::Own { .. } | Edit::Shared { .. } | Edit::Absent { .. } | Edit::Item { .. } => {
                return Err(Fault::new("a setting cannot be written into a file of lines"));
            }
        }
    }
    Ok((now, traces))
}

pub(super) fn take_out(text: &str, traces: &[Trace]) -> Result<String, Fault> {
    let mut now = text.to_owned();
    for trace in traces.iter().rev() {
        match trace {
            Trace::Block { comment } => {
                if let Some((before, after)) = around_block(&now, comment)? {
                    // The blank line that was put before it.
                    let before = before.strip_suffix("\n\n").map_or(before, |_| &before[..before.len() - 1]);
                    now = format!("{before}{after}");
                }
            }
            Trace::Whole { ours, before } => {
                if digest(&now) == *ours {
                    now.clone_from(before);
                }
            }
            Trace::Own { .. } | Trace::Shared { .. } | Trace::Item { .. } | Trace::Made { .. } => {
                return Err(Fault::new("it was settings when they were written, and is lines now"));
            }
        }
    }
    Ok(now)
}

fn with_block(text: &str, comment: &str, body: &str) -> Result<String, Fault> {
    let block = format!("{comment} {BEGIN}\n{}\n{comment} {END}\n", body.trim_end_matches('\n'));
    Ok(match around_block(text, comment)? {
        Some((before, after)) => format!("{before}{block}{after}"),
        None if text.is_empty() => block,
        None if text.ends_with('\n') => format!("{text}\n{block}"),
        None => format!("{text}\n\n{block}"),
    })
}

/// What stands before and after the block, if there is one.
fn around_block<'a>(text: &'a str, comment: &str) -> Result<Option<(&'a str, &'a str)>, Fault> {
    let (first, last) = (format!("{comment} {BEGIN}"), format!("{comment} {END}"));
    let mut offset = 0;
    let mut begun = None;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let bare = line.trim_end();
        if bare == first {
            begun = Some((offset, number + 1));
        } else if bare == last {
            let Some((start, _)) = begun else {
                return Err(Fault::at(number + 1, "the end of the lines of llmtor has no beginning"));
            };
            return Ok(Some((&text[..start], &text[offset + line.len()..])));
        }
        offset += line.len();
    }
    match begun {
        Some((_, line)) => Err(Fault::at(line, "the lines of llmtor begin here and do not end")),
        None => Ok(None),
    }
}
