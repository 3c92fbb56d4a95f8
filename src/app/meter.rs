//! What `/metrics` says, in OpenMetrics' text format.
//!
//! | metric | labels | how exact, and why |
//! | --- | --- | --- |
//! | `llmtor_up` | | 1 |
//! | `llmtor_calls_total` | `outcome` | exact: who collects has the key, and so could count the calls itself |
//! | `llmtor_call_seconds` | `le` | four classes (5, 15, 60, 300 s); the sum is of whole classes, not of durations |
//! | `llmtor_tokens` | `state` | of all models together, rounded down to two digits |
//! | `llmtor_models_without_tokens` | | a count: enough for an alarm |
//! | `llmtor_tor_percent`, `llmtor_streams_warm` | | as `llmtor status` shows them |
//!
//! Collectors keep what they read, often on another machine. So no label names a model, a tool, an API, a prompt or the
//! account, and no number tells how much of one model was used, or how long one answer was.

use std::sync::{Arc, Weak};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::anonymous::http::{Meter, Reading};
use crate::anonymous::redeem::record::{CallLog, Counts, DURATION_CLASSES, Outcome};
use crate::control::message::StatusReport;
use crate::vault::Stock;

use super::Operations;

/// Reads the daemon's numbers.
pub(super) struct Gauges {
    /// Weak: the meter belongs to the endpoint, and the operations outlive it.
    operations: Weak<Operations>,
    log: Arc<CallLog>,
}

impl Gauges {
    pub(super) fn new(operations: &Arc<Operations>, log: Arc<CallLog>) -> Self {
        Self { operations: Arc::downgrade(operations), log }
    }
}

impl Meter for Gauges {
    fn read(&self) -> Reading<'_> {
        Box::pin(async {
            let status = match self.operations.upgrade() {
                Some(operations) => operations.status().await.ok(),
                None => None,
            };
            text(&self.log.counts(), status.as_ref())
        })
    }
}

/// What an answered call counts for that took longer than all classes.
const LONGEST_CLASS: u64 = 600;

fn text(counts: &Counts, status: Option<&StatusReport>) -> String {
    let mut registry = Registry::with_prefix("llmtor");
    registry.register_collector(Box::new(Numbers::of(counts, status)));
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = encode(&mut text, &registry);
    text
}

/// One reading.
#[derive(Debug)]
struct Numbers {
    calls: Vec<(&'static str, u64)>,
    durations: Vec<(f64, u64)>,
    duration_sum: f64,
    tokens: Vec<(&'static str, u64)>,
    models_without: Option<u64>,
    tor_percent: Option<u64>,
    warm: Option<u64>,
}

impl Numbers {
    fn of(counts: &Counts, status: Option<&StatusReport>) -> Self {
        let ends = DURATION_CLASSES.into_iter().chain([LONGEST_CLASS]);
        let classes: Vec<(u64, u64)> = ends.zip(counts.durations().iter().copied()).collect();
        let daemon = status.and_then(|status| status.daemon.as_ref());
        let stocks = || status.into_iter().flat_map(|status| status.models.values());
        let sum = |of: fn(&Stock) -> u64| coarse(stocks().map(of).sum());
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
                    ("in_use", sum(|stock| stock.reserved + stock.presented)),
                    ("in_doubt", sum(|stock| stock.in_doubt)),
                    ("set_aside", sum(|stock| stock.refused + stock.other_key)),
                ],
                None => Vec::new(),
            },
            models_without: status.map(|_| stocks().filter(|stock| stock.available == 0).count() as u64),
            tor_percent: daemon.and_then(|daemon| Some(daemon.tor.as_ref()?.percent.into())),
            warm: daemon.map(|daemon| daemon.warm as u64),
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
        gauge("streams_warm", "Streams through Tor that wait for a call", self.warm)?;
        let mut family = encoder.encode_descriptor(
            "tokens",
            "Tokens of all models together, rounded down to two digits",
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

/// Rounded down to two digits: 1237 is 1200.
fn coarse(number: u64) -> u64 {
    let mut unit = 1;
    while number / unit >= 100 {
        unit *= 10;
    }
    number / unit * unit
}

#[expect(clippy::cast_precision_loss, reason = "seconds of calls: far below 2^52")]
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::anonymous::redeem::record::{Api, CallRecord, Observer as _};
    use crate::clock::Timestamp;
    use crate::wire::ModelName;

    #[test]
    fn the_numbers_are_coarse_and_name_no_model() {
        let log = CallLog::default();
        for seconds in [1, 20, 9_999] {
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
        let text = text(&log.counts(), None);
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

    proptest! {
        #[test]
        fn a_coarse_number_is_a_little_smaller_and_has_two_digits(number in 0u64..10_000_000) {
            let seen = coarse(number);
            prop_assert!(seen <= number && number - seen <= number / 10);
            prop_assert!(seen.to_string().trim_end_matches('0').len() <= 2);
        }
    }
}
