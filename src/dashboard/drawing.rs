//! Drawings, as SVG in the page: no request of their own, and the page's own colours.

use maud::{Markup, PreEscaped, html};

/// For the browser's tab.
pub(super) const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E\
    %3Crect width='32' height='32' rx='8' fill='%23553399'/%3E%3Cg fill='none' stroke='%23fff' stroke-width='2.4'%3E\
    %3Cpath d='M16 5c-7 7-9 10-9 14a9 8 0 0 0 18 0c0-4-2-7-9-14z'/%3E%3Cpath d='M16 12c-3 4-4 5-4 8a4 4 0 0 0 8 0c0-3-1-4-4-8z'/%3E\
    %3C/g%3E%3C/svg%3E";

/// The mark: an onion, cut.
pub(super) fn mark() -> Markup {
    PreEscaped(
        "<svg class=\"mark\" viewBox=\"0 0 32 32\" aria-hidden=\"true\" focusable=\"false\">\
         <g fill=\"none\" stroke=\"currentColor\" stroke-width=\"2.2\" stroke-linejoin=\"round\">\
         <path d=\"M16 3c-8 8-11 11-11 16.500a11 9.500 0 0 0 22 0c0-5.500-3-8.500-11-16.500z\"/>\
         <path d=\"M16 11c-4 4.500-5.500 6-5.500 9a5.500 5 0 0 0 11 0c0-3-1.500-4.500-5.500-9z\"/></g></svg>"
            .to_owned(),
    )
}

/// Who sees what: the two planes.
pub(super) fn planes() -> Markup {
    let person = "<circle cx=\"0\" cy=\"-13\" r=\"7\"/><path d=\"M-13 12a13 13 0 0 1 26 0z\"/>";
    let drawing = format!(
        "<svg class=\"drawing\" viewBox=\"0 0 760 340\" role=\"img\" aria-labelledby=\"planes-t planes-d\">\
         <title id=\"planes-t\">Who sees what</title>\
         <desc id=\"planes-d\">Two separate paths from your machine to the backend. On the upper one, where tokens are signed, \
         the backend knows your account and sees only a blinded token. On the lower one, where prompts go through three Tor \
         relays, it sees a token and a prompt, and neither your account nor your address. What would connect the two, the \
         blinding factor, never leaves your machine.</desc>\
         <rect class=\"room\" x=\"12\" y=\"40\" width=\"168\" height=\"264\" rx=\"16\"/>\
         <text class=\"label\" x=\"96\" y=\"28\">your machine</text>\
         <g class=\"ink\" transform=\"translate(96 104)\">{person}</g>\
         <rect class=\"secret\" x=\"24\" y=\"150\" width=\"144\" height=\"62\" rx=\"10\"/>\
         <text class=\"strong\" x=\"96\" y=\"176\">blinding factor</text>\
         <text class=\"small\" x=\"96\" y=\"196\">never leaves</text>\
         <rect class=\"room\" x=\"580\" y=\"40\" width=\"168\" height=\"264\" rx=\"16\"/>\
         <text class=\"label\" x=\"664\" y=\"28\">the backend</text>\
         <path class=\"known\" d=\"M186 96H570\"/><path class=\"tip known-tip\" d=\"M570 90l10 6-10 6z\"/>\
         <text class=\"strong\" x=\"380\" y=\"66\">paying</text>\
         <text class=\"small\" x=\"380\" y=\"86\">your account + a blinded token</text>\
         <text class=\"strong\" x=\"664\" y=\"84\">signs</text>\
         <text class=\"small\" x=\"664\" y=\"104\">knows: who you are</text>\
         <text class=\"small\" x=\"664\" y=\"122\">sees: a random number</text>\
         <path class=\"wall\" d=\"M600 170H728\"/><text class=\"small\" x=\"664\" y=\"190\">nothing in common</text>\
         <path class=\"anonymous\" d=\"M186 256H570\"/><path class=\"tip anonymous-tip\" d=\"M570 250l10 6-10 6z\"/>\
         <g class=\"relay\"><circle cx=\"280\" cy=\"256\" r=\"15\"/><circle cx=\"380\" cy=\"256\" r=\"15\"/>\
         <circle cx=\"480\" cy=\"256\" r=\"15\"/></g>\
         <text class=\"small\" x=\"280\" y=\"292\">guard</text><text class=\"small\" x=\"380\" y=\"292\">middle</text>\
         <text class=\"small\" x=\"480\" y=\"292\">exit</text>\
         <text class=\"strong\" x=\"380\" y=\"206\">prompting</text>\
         <text class=\"small\" x=\"380\" y=\"226\">a token + your prompt, through Tor</text>\
         <text class=\"strong\" x=\"664\" y=\"238\">answers</text>\
         <text class=\"small\" x=\"664\" y=\"258\">knows: the token is good</text>\
         <text class=\"small\" x=\"664\" y=\"276\">sees: prompt, no sender</text>\
         </svg>"
    );
    html! { figure.scroll role="region" aria-label="A drawing of who sees what" tabindex="0" { (PreEscaped(drawing)) } }
}

/// A small drawing beside a step of the protocol, by its number from 1.
pub(super) fn step(number: usize) -> Markup {
    let inner = match number {
        // A note.
        1 => {
            "<rect x=\"12\" y=\"8\" width=\"40\" height=\"48\" rx=\"5\"/><path d=\"M20 22h24M20 32h24M20 42h14\"/>"
        }
        // An envelope around it.
        2 => "<rect x=\"6\" y=\"16\" width=\"52\" height=\"36\" rx=\"5\"/><path d=\"M6 20l26 18 26-18\"/>",
        // Signed from outside.
        3 => {
            "<rect x=\"6\" y=\"16\" width=\"52\" height=\"36\" rx=\"5\"/><path d=\"M6 20l26 18 26-18\"/>\
             <circle class=\"fill\" cx=\"47\" cy=\"47\" r=\"11\"/>"
        }
        // Out of the envelope; the signature is on the note.
        4 => {
            "<rect x=\"12\" y=\"8\" width=\"40\" height=\"48\" rx=\"5\"/><path d=\"M20 20h24M20 30h24\"/>\
             <circle class=\"fill\" cx=\"42\" cy=\"45\" r=\"9\"/>"
        }
        // Looked at.
        5 => "<circle cx=\"28\" cy=\"28\" r=\"18\"/><path d=\"M42 42l14 14M20 28l6 6 11-12\"/>",
        // Crossed off.
        6 => {
            "<rect x=\"8\" y=\"10\" width=\"48\" height=\"44\" rx=\"5\"/><path d=\"M16 24h32M16 42h32M14 34l36-6\"/>"
        }
        // Not twice.
        _ => "<circle cx=\"32\" cy=\"32\" r=\"24\"/><path d=\"M15 49L49 15\"/>",
    };
    let drawing = format!(
        "<svg class=\"step\" viewBox=\"0 0 64 64\" aria-hidden=\"true\" focusable=\"false\">{inner}</svg>"
    );
    PreEscaped(drawing)
}
