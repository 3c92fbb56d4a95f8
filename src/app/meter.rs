//! What `/metrics` says, in OpenMetrics' text format.
//!
//! | metric | labels | how exact, and why |
//! | --- | --- | --- |
//! | `llmtor_up` | | 1, at once |
//! | `llmtor_tor_percent` | | as `llmtor status` shows it, at once |
//! | `llmtor_calls_total` | `outcome` | exact counts, by the quarter of an hour |
//! | `llmtor_call_seconds` | `le` | four classes (5, 15, 60, 300 s), by the quarter; the sum is of whole classes, not of durations |
//! | `llmtor_tokens_level` | `state` | of all models together, by the quarter: 0 none, 1 fewer than twenty, 2 more |
//! | `llmtor_models_without_tokens` | | a count, by the quarter: enough for an alarm |
//!
//! Collectors keep what they read, often on another machine, and at an interval of their own choice. So no label names a
//! model, a tool, an API, a prompt or the account; no number tells how long one answer was; and what changes with a call or
//! with an issuance changes four times an hour at most, because a minting and a call, each to the second and side by side,
//! are the very pair that blind signatures keep apart.
//!
//! Deliberately absent: the stock as a number, and what changes with each call (tokens in use, warm streams).

use std::sync::{Arc, Mutex, PoisonError, Weak};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::anonymous::http::{Meter, Reading};
use crate::anonymous::redeem::record::{CallLog, Counts, DURATION_CLASSES, Outcome};
use crate::clock::{SharedClock, Timestamp};
use crate::control::message::StatusReport;
use crate::vault::Stock;

use super::Operations;

/// Reads the daemon's numbers.
pub(super) struct Gauges {
    /// Weak: the meter belongs to the endpoint, and the operations outlive it.
    operations: Weak<Operations>,
    log: Arc<CallLog>,
    clock: SharedClock,
    told: Told,
}

impl Gauges {
    pub(super) fn new(operations: &Arc<Operations>, log: Arc<CallLog>) -> Self {
        let clock = operations.clock();
        Self { operations: Arc::downgrade(operations), log, clock, told: Told::default() }
    }
}

impl Meter for Gauges {
    fn read(&self) -> Reading<'_> {
        Box::pin(async {
            let status = match self.operations.upgrade() {
                Some(operations) => operations.status().await.ok(),
                None => None,
            };
            text(self.told.numbers(Numbers::of(&self.log.counts(), status.as_ref()), self.clock.now()))
        })
    }
}

/// What an answered call counts for that took longer than all classes.
const LONGEST_CLASS: u64 = 600;

/// Seconds for which the same is said.
const QUARTER: i64 = 15 * 60;

/// What was said last, and in which quarter of an hour.
#[derive(Default)]
struct Told(Mutex<Option<(i64, Numbers)>>);

impl Told {
    /// What may be said `now`: what was said before in the same quarter, but for what is no consequence of calls.
    fn numbers(&self, fresh: Numbers, now: Timestamp) -> Numbers {
        let quarter = now.unix().div_euclid(QUARTER);
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match told.as_ref() {
            Some((then, numbers)) if *then == quarter => {
                Numbers { tor_percent: fresh.tor_percent, ..numbers.clone() }
            }
            _ => told.insert((quarter, fresh)).1.clone(),
        }
    }
}

fn text(numbers: Numbers) -> String {
    let mut registry = Registry::with_prefix("llmtor");
    registry.register_collector(Box::new(numbers));
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = encode(&mut text, &registry);
    text
}

/// One reading.
#[derive(Clone, Debug, PartialEq)]
struct Numbers {
    calls: Vec<(&'static str, u64)>,
    durations: Vec<(f64, u64)>,
    duration_sum: f64,
    tokens: Vec<(&'static str, u64)>,
    models_without: Option<u64>,
    tor_percent: Option<u64>,
}

impl Numbers {
    fn of(counts: &Counts, status: Option<&StatusReport>) -> Self {
        let ends = DURATION_CLASSES.into_iter().chain([LONGEST_CLASS]);
        let classes: Vec<(u64, u64)> = ends.zip(counts.durations().iter().copied()).collect();
        let daemon = status.and_then(|status| status.daemon.as_ref());
        let stocks = || status.into_iter().flat_map(|status| status.models.values());
        let sum = |of: fn(&Stock) -> u64| level(stocks().map(of).sum());
        Self {
            calls: Outcome::ALL.map(|outcome| (word(outcome), counts.of(outcome))).into(),
            duration_sum: classes.iter().map(|(end, count)| float(end * count)).sum(),
            durations: classes
                .into_iter()
                .map(|(end, count)| (if end == LONGEST_CLASS { f64::INFINITY } else { float(end) }, count))
                .collect(),
            tokens: match status {
                Some(_) => vec![
                    ("available", sum(|stock| stock.available)),
                    ("maturing", sum(|stock| stock.maturing)),
                    ("in_doubt", sum(|stock| stock.in_doubt)),
                    ("set_aside", sum(|stock| stock.refused + stock.other_key)),
                ],
                None => Vec::new(),
            },
            models_without: status.map(|_| stocks().filter(|stock| stock.available == 0).count() as u64),
            tor_percent: daemon.and_then(|daemon| Some(daemon.tor.as_ref()?.percent.into())),
        }
    }
}

impl Collector for Numbers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut gauge = |name, help, value: Option<u64>| match value {
            Some(value) => ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
                .encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?),
            None => Ok(()),
        };
        gauge("up", "The daemon answers", Some(1))?;
        gauge("models_without_tokens", "Models with a pinned key and no usable token", self.models_without)?;
        gauge("tor_percent", "How far the built-in Tor client has started", self.tor_percent)?;
        let mut family = encoder.encode_descriptor(
            "tokens_level",
            "Tokens of all models together: 0 none, 1 fewer than twenty, 2 more",
            None,
            MetricType::Gauge,
        )?;
        for (state, count) in &self.tokens {
            let gauge = ConstGauge::new(i64::try_from(*count).unwrap_or(i64::MAX));
            gauge.encode(family.encode_family(&[("state", *state)])?)?;
        }
        let mut family =
            encoder.encode_descriptor("calls", "Calls that have ended", None, MetricType::Counter)?;
        for (outcome, count) in &self.calls {
            ConstCounter::new(*count).encode(family.encode_family(&[("outcome", *outcome)])?)?;
        }
        let count = self.durations.iter().map(|(_, count)| count).sum();
        let mut histogram = encoder.encode_descriptor(
            "call_seconds",
            "Answered calls by class of duration; the sum is of classes",
            None,
            MetricType::Histogram,
        )?;
        histogram.encode_histogram::<NoLabelSet>(self.duration_sum, count, &self.durations, None)
    }
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Answered => "answered",
        Outcome::Shared => "shared",
        Outcome::Blocked => "blocked",
        Outcome::ProviderFailed => "provider_failed",
        Outcome::InDoubt => "in_doubt",
        Outcome::NoToken => "no_token",
        Outcome::NoWayOut => "no_way_out",
        Outcome::Refused => "refused",
    }
}

/// Enough for an alarm.
fn level(tokens: u64) -> u64 {
    match tokens {
        0 => 0,
        1..20 => 1,
        _ => 2,
    }
}

#[expect(clippy::cast_precision_loss, reason = "seconds of calls: far below 2^52")]
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::anonymous::redeem::record::{Api, CallRecord, Observer as _};
    use crate::clock::Timestamp;
    use crate::wire::ModelName;

    fn answered(log: &CallLog, seconds: u64) {
        log.ended(CallRecord {
            ended: Timestamp::from_unix(0),
            api: Api::Chat,
            model: ModelName::new("canary-model").unwrap(),
            took: Duration::from_secs(seconds),
            outcome: Outcome::Answered,
            attempts: 1,
            sendings: Vec::new(),
        });
    }

    #[test]
    fn the_numbers_are_coarse_and_name_no_model() {
        let log = CallLog::default();
        for seconds in [1, 20, 9_999] {
            answered(&log, seconds);
        }
        let text = text(Numbers::of(&log.counts(), None));
        for line in [
            "llmtor_up 1",
            "llmtor_calls_total{outcome=\"answered\"} 3",
            "llmtor_calls_total{outcome=\"in_doubt\"} 0",
            "llmtor_call_seconds_count 3",
            "llmtor_call_seconds_bucket{le=\"5.0\"} 1",
            "llmtor_call_seconds_bucket{le=\"60.0\"} 2",
            "llmtor_call_seconds_bucket{le=\"+Inf\"} 3",
            "# EOF",
        ] {
            assert!(text.lines().any(|seen| seen == line), "{line} is missing:\n{text}");
        }
        assert!(!text.contains("canary"), "{text}");
    }

    #[test]
    fn a_call_is_not_told_before_the_quarter_of_an_hour_is_over_and_tor_s_progress_is() {
        let (log, told) = (CallLog::default(), Told::default());
        let read = |unix, percent| {
            let fresh = Numbers { tor_percent: Some(percent), ..Numbers::of(&log.counts(), None) };
            let numbers = told.numbers(fresh, Timestamp::from_unix(unix));
            (numbers.calls[0].1, numbers.tor_percent)
        };
        assert_eq!(read(900, 10), (0, Some(10)));
        answered(&log, 1);
        for now in [901, 1_200, 1_799] {
            assert_eq!(read(now, 50), (0, Some(50)), "{now}");
        }
        assert_eq!(read(1_800, 100), (1, Some(100)));
        answered(&log, 1);
        // A clock that was set back tells what is so then.
        assert_eq!(read(1_801, 100).0, 1);
        assert_eq!(read(1_700, 100).0, 2);
    }

    #[test]
    fn a_level_tells_no_single_token() {
        assert_eq!([0, 1, 19, 20, 10_000].map(level), [0, 1, 1, 2, 2]);
    }
}
