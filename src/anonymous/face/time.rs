//! Moments as APIs other than OpenAI's write them.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::clock::Timestamp;

/// `2026-11-25T12:00:00Z`. What has no such form is the beginning of time.
pub fn rfc3339(at: Timestamp) -> String {
    OffsetDateTime::from_unix_timestamp(at.unix())
        .ok()
        .and_then(|at| at.format(&Rfc3339).ok())
        .unwrap_or_else(|| "1970-01-01T00:00:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_in_universal_time() {
        assert_eq!(rfc3339(Timestamp::from_unix(1_790_000_000)), "2026-09-21T14:13:20Z");
        assert_eq!(rfc3339(Timestamp::from_unix(i64::MAX)), "1970-01-01T00:00:00Z");
    }
}
