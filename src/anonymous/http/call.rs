//! From a call to its answer: plan, redeem, hear.
//!
//! Each question is asked as often as answers are wanted, each time for a token of its own, all at once, if there are
//! tokens for all. Where one fails the call fails, and the answers to the others stay with their tokens: the identical request finds them.
//!
//! An answer that has not the form it should have is asked for once more, for a second token, if the
//! configuration allows it. The second answer counts if it is better; both were paid for, and both are counted.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::try_join_all;
use serde_json::value::RawValue;

use super::Endpoint;
use super::error::{ApiError, Failure};
use crate::anonymous::emulate::answer::{Conformity, Heard};
use crate::anonymous::emulate::ask::Ask;
use crate::anonymous::emulate::conversation::{Image, Part, RemoteImage, Turn};
use crate::anonymous::emulate::hearing::Reading;
use crate::anonymous::emulate::plan::{self, Plan};
use crate::anonymous::emulate::roles::NothingSaid;
use crate::anonymous::emulate::tokens::Family;
use crate::anonymous::face::Answer;
use crate::anonymous::face::error::RequestError;
use crate::anonymous::face::provider::{self, Completion};
use crate::anonymous::face::usage::{self, Question, Tally, Told};
use crate::anonymous::redeem::{Asking, Delivery, Prompt, RedeemError, RedeemErrorKind, TokenFate};
use crate::anonymous::transport::fetch::FetchError;
use crate::wire::ModelName;

/// Above this many bytes an answer is heard on a thread of its own: mending takes its time.
const HEARD_AT_ONCE: usize = 32 * 1024;

/// How many pictures of one request are fetched.
const MOST_PICTURES: usize = 8;

/// Whether an answer that has not the form it should have is asked for again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecondTry {
    /// It is handed over as it is.
    #[default]
    Never,
    /// Once, for a second token.
    Once,
}

/// Whether anybody wants to know what a call cost in the model's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cost {
    Told,
    Untold,
}

/// A call whose messages are made. No `Debug`: it holds the prompt.
pub(super) struct Planned {
    /// As the client spells it.
    pub(super) spelled: String,
    pub(super) model: ModelName,
    questions: Vec<Asked>,
    copies: usize,
}

struct Asked {
    messages: Arc<RawValue>,
    reading: Arc<Reading>,
}

/// One answer, what it cost, and what else came with it.
struct Got {
    heard: Heard,
    told: Told,
    id: Option<String>,
    created: Option<i64>,
    deliveries: Vec<Delivery>,
}

impl Planned {
    /// Plans what a face has read.
    pub(super) fn new(
        spelled: String,
        model: ModelName,
        asks: Vec<Ask>,
        copies: usize,
    ) -> Result<Self, RequestError> {
        let family = Family::of(&model);
        let ask = |ask| {
            let Plan { messages, reading } = plan::plan(ask, family)
                .map_err(|NothingSaid| RequestError::invalid_value("messages", "every message is empty"))?;
            Ok(Asked { messages: messages.into(), reading: Arc::new(reading) })
        };
        let questions = asks.into_iter().map(ask).collect::<Result<_, RequestError>>()?;
        Ok(Self { spelled, model, questions, copies })
    }

    /// How many tokens of the model's it asks with, about; pictures are not counted.
    pub(super) async fn prompt_tokens(&self) -> u64 {
        let family = Family::of(&self.model);
        let messages: Vec<_> = self.questions.iter().map(|asked| Arc::clone(&asked.messages)).collect();
        let count = move || messages.iter().map(|messages| usage::prompt_tokens(family, messages)).sum();
        // As many as none: counting cannot fail but by a fault of ours.
        tokio::task::spawn_blocking(count).await.unwrap_or_default()
    }

    /// Asks, and hears.
    pub(super) async fn answer(
        self,
        endpoint: &Endpoint,
        asking: Asking,
        cost: Cost,
    ) -> Result<(Answer, Vec<Delivery>), ApiError> {
        let asked: Vec<_> =
            self.questions.iter().flat_map(|asked| std::iter::repeat_n(asked, self.copies)).collect();
        if asked.len() > 1 {
            let messages: Vec<&RawValue> = asked.iter().map(|asked| &*asked.messages).collect();
            endpoint.redeemer.afford(&self.model, &messages, asking).await.map_err(Failure::Redeem)?;
        }
        let family = Family::of(&self.model);
        if asked.iter().any(|asked| asked.reading.most_tokens().is_some()) {
            // Whoever cuts needs the tokenizer, and it is built while the answer is waited for.
            drop(tokio::task::spawn_blocking(move || family.prepare()));
        }
        let got = try_join_all(asked.iter().map(|asked| ask(endpoint, asking, &self.model, asked))).await?;
        let (mut id, mut created) = (None, None);
        let (mut choices, mut told, mut deliveries) = (Vec::new(), Vec::new(), Vec::new());
        for mut got in got {
            id = id.or(got.id);
            created = created.or(got.created);
            choices.push(got.heard);
            told.push(got.told);
            deliveries.append(&mut got.deliveries);
        }
        let mut told = told.into_iter();
        let questions = self.questions.iter().map(|asked| Question {
            messages: Arc::clone(&asked.messages),
            answers: told.by_ref().take(self.copies).collect(),
        });
        let mut usage = Tally::new(family, questions.collect());
        if cost == Cost::Told && usage.has_to_count() {
            usage = tokio::task::spawn_blocking(|| usage.counted()).await.map_err(|_| Failure::Panicked)?;
        }
        let answer = Answer {
            id: id.unwrap_or_else(|| provider::new_id("chatcmpl-")),
            created: created.unwrap_or_else(|| endpoint.clock.now().unix()),
            model: self.spelled,
            choices,
            usage,
        };
        Ok((answer, deliveries))
    }
}

async fn ask(endpoint: &Endpoint, asking: Asking, model: &ModelName, asked: &Asked) -> Result<Got, ApiError> {
    let (completion, delivery) = redeem(endpoint, asking, model, asked.messages.as_ref().to_owned()).await?;
    let said = completion.given.text.clone();
    let got = hear(&asked.reading, completion, vec![delivery]).await?;
    if endpoint.conduct.second_try == SecondTry::Never {
        return Ok(got);
    }
    let Some(turns) = said.and_then(|said| asked.reading.second_try(&said, &got.heard)) else {
        return Ok(got);
    };
    let Ok(messages) = plan::continued(&asked.messages, turns) else { return Ok(got) };
    // The first answer is paid for: if there is no second, or one that is no better, it counts.
    let Ok((completion, delivery)) = redeem(endpoint, asking, model, messages).await else { return Ok(got) };
    let second = hear(&asked.reading, completion, vec![delivery]).await?;
    let is_better = second.heard.conformity == Conformity::Kept
        && (got.heard.calls.is_empty() || !second.heard.calls.is_empty());
    let (counts, paid) = if is_better { (second, got) } else { (got, second) };
    let deliveries = counts.deliveries.into_iter().chain(paid.deliveries).collect();
    Ok(Got { told: counts.told.and(paid.told), deliveries, ..counts })
}

/// Spends a token.
async fn redeem(
    endpoint: &Endpoint,
    asking: Asking,
    model: &ModelName,
    messages: Box<RawValue>,
) -> Result<(Completion, Delivery), ApiError> {
    let prompt = Prompt { model: model.clone(), messages };
    let delivery = endpoint.redeemer.redeem(prompt, asking).await.map_err(Failure::Redeem)?;
    if let Ok(completion) = provider::read(&delivery.answer().body) {
        return Ok((completion, delivery));
    }
    // Kept, it would be found again by every repeat of the request: it counts as delivered.
    delivery.delivered();
    Err(Failure::NotACompletion.into())
}

async fn hear(
    reading: &Arc<Reading>,
    completion: Completion,
    deliveries: Vec<Delivery>,
) -> Result<Got, ApiError> {
    let Completion { id, created, given, usage } = completion;
    let most = reading.most_tokens();
    let length = given.text.as_ref().map_or(0, String::len);
    let is_counted = most.is_some_and(|most| most < length as u64);
    let hear = {
        let reading = Arc::clone(reading);
        move || {
            // What was cut is not handed over, and not counted.
            let told = if let Some(usage) = usage {
                Told::Given(usage.at_most(most))
            } else {
                let mut text = given.text.clone().unwrap_or_default();
                if let Some(end) = most.and_then(|most| reading.family().cut(&text, most)) {
                    text.truncate(end);
                }
                Told::Text(text)
            };
            (reading.hear(given), told)
        }
    };
    // Counting takes its time too, and may have to wait for the tokenizer.
    let (heard, told) = if is_counted || length > HEARD_AT_ONCE {
        tokio::task::spawn_blocking(hear).await.map_err(|_| Failure::Panicked)?
    } else {
        hear()
    };
    Ok(Got { heard, told, id, created, deliveries })
}

/// Fetches the pictures that `asks` only point to. Each that cannot be had fails the request: a prompt without its picture
/// would be answered, and paid for, all the same.
pub(super) async fn fetch_pictures(endpoint: &Endpoint, asks: &mut [Ask]) -> Result<(), ApiError> {
    let parts = asks.iter_mut().flat_map(|ask| &mut ask.turns).flat_map(Turn::parts_mut);
    let remote: Vec<_> = parts.filter(|part| matches!(part, Part::Remote(_))).collect();
    if remote.len() > MOST_PICTURES {
        return Err(Failure::Request(RequestError::invalid_value(
            "messages",
            format!("at most {MOST_PICTURES} pictures of one request are fetched"),
        ))
        .into());
    }
    try_join_all(remote.into_iter().map(|part| fetch_picture(endpoint, part))).await?;
    Ok(())
}

async fn fetch_picture(endpoint: &Endpoint, part: &mut Part) -> Result<(), ApiError> {
    let Part::Remote(RemoteImage { url, detail, place }) = part else { return Ok(()) };
    let refused = |error: FetchError| match error {
        FetchError::Paused => Failure::Redeem(RedeemError::new(RedeemErrorKind::Paused, TokenFate::Unspent)),
        error => Failure::Request(RequestError::parameter(
            format!("Invalid image at '{place}': {error}. Send the picture itself, as a data: URL."),
            place.clone(),
            "invalid_image_url",
        )),
    };
    let fetcher = endpoint.pictures.as_ref().ok_or_else(|| refused(FetchError::NoTor))?;
    let picture = fetcher.fetch(url, endpoint.limits.picture_bytes).await.map_err(refused)?;
    let url = format!("data:image/{};base64,{}", picture.kind, STANDARD.encode(&picture.bytes));
    *part = Part::Image(Image { url, detail: *detail });
    Ok(())
}

/// What of an answer is not as it was asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shortcomings {
    /// It has not the form of its schema.
    pub(super) schema: bool,
    /// It calls no tool where it has to, or calls one in a way that the tool does not take.
    pub(super) tools: bool,
}

impl Shortcomings {
    pub(super) fn of(answer: &Answer) -> Self {
        let any = |is: fn(&Conformity) -> bool| answer.choices.iter().any(|heard| is(&heard.conformity));
        Self {
            schema: any(|conformity| matches!(conformity, Conformity::Violated(_))),
            tools: any(|conformity| matches!(conformity, Conformity::Miscalled(_))),
        }
    }
}
