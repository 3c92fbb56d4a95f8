//! An answer on its way to the client, and the moment at which its token is settled.

use std::sync::Arc;

/// The provider's answer, whole: `proxy_response` as it came (protocol.md §4). JSON, and not an error body.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// UTF-8 JSON, normally a chat completion.
    pub body: Vec<u8>,
}

/// How a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The client has the whole answer.
    Delivered,
    /// The client went away first.
    Abandoned,
}

type OnEnd = Box<dyn FnOnce(Arc<Answer>, Ending) + Send>;

/// An answer not yet handed over. The token is settled when the client has it ([`Delivery::delivered`]),
/// and kept for the same request when this is dropped first. Neither blocks nor awaits, so both may happen
/// inside a body's poll.
pub struct Delivery {
    /// Shared with the other callers of the same call.
    answer: Arc<Answer>,
    on_end: Option<OnEnd>,
}

impl Delivery {
    /// `on_end` runs once, when the delivery ends, and is given the answer back. It must not block.
    pub fn new(
        answer: impl Into<Arc<Answer>>,
        on_end: impl FnOnce(Arc<Answer>, Ending) + Send + 'static,
    ) -> Self {
        Self { answer: answer.into(), on_end: Some(Box::new(on_end)) }
    }

    /// What to hand over.
    pub fn answer(&self) -> &Answer {
        &self.answer
    }

    /// The client has all of it: the token is settled, in the background.
    pub fn delivered(mut self) {
        self.end(Ending::Delivered);
    }

    fn end(&mut self, ending: Ending) {
        if let Some(on_end) = self.on_end.take() {
            on_end(Arc::clone(&self.answer), ending);
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.end(Ending::Abandoned);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn a_delivery_ends_once_and_gives_the_answer_back() {
        for (deliver, expected) in [(true, Ending::Delivered), (false, Ending::Abandoned)] {
            let seen = Arc::new(Mutex::new(Vec::new()));
            let log = Arc::clone(&seen);
            let delivery = Delivery::new(Answer { body: b"{}".to_vec() }, move |answer, ending| {
                log.lock().unwrap().push((answer.body.clone(), ending));
            });
            if deliver {
                delivery.delivered();
            } else {
                drop(delivery);
            }
            assert_eq!(*seen.lock().unwrap(), vec![(b"{}".to_vec(), expected)]);
        }
    }
}
