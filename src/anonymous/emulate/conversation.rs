//! What was said, by whom: the domain form of a request's `messages`, independent of any API's spelling.
//!
//! Deliberately absent: `Debug`, because every value here is a prompt.

pub use super::answer::CallKind;

/// One message of the client's conversation.
pub enum Turn {
    /// Instructions: OpenAI's `system` and `developer`.
    System(Said),
    /// The person, or the program acting for one.
    User(Said),
    /// The model's earlier answer, and the tool calls it made.
    Assistant {
        /// What it said beside the calls; may be empty.
        said: Said,
        /// In the order in which they were made.
        calls: Vec<ToolCall>,
    },
    /// What a tool answered: OpenAI's `tool` and `function`.
    ToolResult(ToolResult),
}

impl Turn {
    /// What it consists of, calls apart.
    pub fn parts_mut(&mut self) -> &mut Vec<Part> {
        match self {
            Self::System(said) | Self::User(said) | Self::Assistant { said, .. } => &mut said.parts,
            Self::ToolResult(result) => &mut result.parts,
        }
    }

    /// Whether there is anything in it for a model to read.
    pub fn says_something(&self) -> bool {
        let spoken =
            |parts: &[Part]| parts.iter().any(|part| !matches!(part, Part::Text(text) if text.is_empty()));
        match self {
            Self::System(said) | Self::User(said) => spoken(&said.parts),
            Self::Assistant { said, calls } => !calls.is_empty() || spoken(&said.parts),
            Self::ToolResult(_) => true,
        }
    }
}

/// The content of a turn. `parts` is empty when nothing was said.
#[derive(Default)]
pub struct Said {
    /// The participant's name, if the client gave one.
    pub name: Option<String>,
    /// In order.
    pub parts: Vec<Part>,
}

/// A piece of content.
pub enum Part {
    /// Plain text.
    Text(String),
    /// A picture.
    Image(Image),
    /// A picture somewhere on the web, to be fetched before the call is planned; what was not fetched is told as its
    /// address.
    Remote(RemoteImage),
}

/// A picture inside the message; the backend's moderation reads no other form (protocol.md §4).
pub struct Image {
    /// `data:image/<type>;base64,…`, checked by the reader.
    pub url: String,
    /// How closely to look, if the client said so.
    pub detail: Option<Detail>,
}

/// A picture somewhere on the web.
pub struct RemoteImage {
    /// Where.
    pub url: String,
    /// How closely to look, if the client said so.
    pub detail: Option<Detail>,
    /// Where in the request it stands, for complaints.
    pub place: String,
}

/// OpenAI's `detail` of an image, without its default.
#[derive(Clone, Copy)]
pub enum Detail {
    /// Few tokens.
    Low,
    /// Many tokens.
    High,
}

/// A call the model made earlier.
pub struct ToolCall {
    /// By which its result refers to it.
    pub id: Option<String>,
    /// Of the tool.
    pub name: String,
    /// What kind of tool.
    pub kind: CallKind,
    /// As the model wrote them: usually a JSON object, but nobody promises that. A custom tool's input.
    pub arguments: String,
}

/// A tool's answer.
pub struct ToolResult {
    /// Of the call.
    pub id: Option<String>,
    /// Of the tool.
    pub name: Option<String>,
    /// Usually one text; tools that look at the screen add pictures.
    pub parts: Vec<Part>,
}
