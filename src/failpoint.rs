//! Named moments at which tests end the process: one before and one after every commit of a state transition, and between
//! the steps of a call and of an issuance.
//!
//! A point is passed by [`at`], which does nothing at all unless the crate `fail` was built with its feature `failpoints`.
//! Only the development dependencies switch that on, so `cargo build` and `cargo install` never do, and [`arm`], which
//! reads the variable `FAILPOINTS`, is not there in a release build even of the tests. Its grammar is that crate's; the
//! action `return` sends SIGKILL to the process, and what counts is which pass: `FAILPOINTS=vault.settle.written=2*off->return`.
//!
//! | name | the process is between |
//! | --- | --- |
//! | `vault.VERB.written` | the row's change and the commit: rolled back |
//! | `vault.VERB.committed` | the commit and whoever asked for it |
//! | `redeem.…`, `issuance.…`, `recovery.…` | two steps of the plane of that name |
//!
//! One more is no moment: `FAILPOINTS=clock=return(-3600)` shifts the machine's clock by so many seconds, for a program that
//! is a process of its own and cannot be handed another clock.
//!
//! Deliberately absent: points that make an operation fail. What fails and how is the business of the chaos proxy, which
//! stands outside.

macro_rules! points {
    ($($(#[$doc:meta])* $point:ident = $name:literal,)*) => {
        /// Every moment that has a name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Point {
            $($(#[$doc])* $point,)*
        }

        impl Point {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$point),*];

            /// What `FAILPOINTS` calls it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)*
                }
            }
        }
    };
}

points! {
    /// Available → Reserved, in the transaction.
    ReserveWritten = "vault.reserve.written",
    /// Reserved.
    ReserveCommitted = "vault.reserve.committed",
    /// Reserved → Presented, in the transaction.
    PresentWritten = "vault.present.written",
    /// Presented; the first byte may leave.
    PresentCommitted = "vault.present.committed",
    /// InDoubt → Presented, in the transaction.
    ResumeWritten = "vault.resume.written",
    /// Presented again.
    ResumeCommitted = "vault.resume.committed",
    /// Reserved → Available, in the transaction.
    ReleaseWritten = "vault.release.written",
    /// Available again; nothing was sent.
    ReleaseCommitted = "vault.release.committed",
    /// Presented → Available, in the transaction.
    ReturnWritten = "vault.return.written",
    /// Available again; the backend said so.
    ReturnCommitted = "vault.return.committed",
    /// Presented → InDoubt, in the transaction.
    DoubtWritten = "vault.doubt.written",
    /// InDoubt.
    DoubtCommitted = "vault.doubt.committed",
    /// Presented → Refused, in the transaction.
    SetAsideWritten = "vault.set_aside.written",
    /// Refused.
    SetAsideCommitted = "vault.set_aside.committed",
    /// Presented → wiped, in the transaction.
    SettleWritten = "vault.settle.written",
    /// Wiped.
    SettleCommitted = "vault.settle.committed",
    /// What an earlier run left is put right, in the transaction.
    RecoverWritten = "vault.recover.written",
    /// Put right.
    RecoverCommitted = "vault.recover.committed",
    /// Doubts past their term are ended, in the transaction.
    LapseWritten = "vault.lapse.written",
    /// → Blinded, in the transaction.
    BeginWritten = "vault.begin.written",
    /// Blinded; the request may leave.
    BeginCommitted = "vault.begin.committed",
    /// Blinded → Blinded under another RequestID, in the transaction.
    RenewWritten = "vault.renew.written",
    /// Blinded under another RequestID.
    RenewCommitted = "vault.renew.committed",
    /// Blinded → Available, in the transaction.
    FinalizeWritten = "vault.finalize.written",
    /// Available.
    FinalizeCommitted = "vault.finalize.committed",
    /// Blinded → wiped, in the transaction.
    AbandonWritten = "vault.abandon.written",
    /// Wiped; the backend refused.
    AbandonCommitted = "vault.abandon.committed",
    /// Blinded → wiped and written down as lost, in the transaction.
    WriteOffWritten = "vault.write_off.written",
    /// Written down as lost.
    WriteOffCommitted = "vault.write_off.committed",
    /// An abuse token → Blinded, in the transaction.
    BeginAbuseWritten = "vault.begin_abuse.written",
    /// An abuse token is Blinded.
    BeginAbuseCommitted = "vault.begin_abuse.committed",
    /// An abuse token → held, in the transaction.
    FinalizeAbuseWritten = "vault.finalize_abuse.written",
    /// An abuse token is held.
    FinalizeAbuseCommitted = "vault.finalize_abuse.committed",
    /// A stream is open; the token is not presented yet.
    StreamOpened = "redeem.opened",
    /// An answer is here, or the reason why there is none; nothing is made of it yet.
    Answered = "redeem.answered",
    /// Nothing usable came; the same bytes are about to leave again.
    Repeating = "redeem.repeating",
    /// The call has its result, which is not handed over yet.
    Landing = "redeem.landing",
    /// The client has the whole answer; the token is not settled yet.
    Delivered = "redeem.delivered",
    /// The ledger's state is noted; nothing is begun.
    LedgerMarked = "issuance.marked",
    /// Tokens are blinded, in memory.
    Blinded = "issuance.blinded",
    /// The backend's answer is here, not looked at.
    Signed = "issuance.signed",
    /// The signature verifies and is not stored yet.
    Verified = "issuance.verified",
    /// The ledger said what became of old issuances; nothing is done about it.
    Judged = "recovery.judged",
}

/// Passes `point`.
#[inline]
pub fn at(point: Point) {
    // Where the macro is empty.
    let _ = point;
    fail::fail_point!(point.name(), |_| {
        let pid = std::process::id().to_string();
        // Not `abort`: nothing may run on the way out, and nothing may be written. Whoever waits here dies.
        drop(std::process::Command::new("kill").args(["-KILL", &pid]).status());
    });
}

/// How far the machine's clock is to be shifted, seconds.
#[inline]
pub fn clock_shift() -> i64 {
    fail::fail_point!("clock", |seconds: Option<String>| {
        seconds.and_then(|seconds| seconds.parse().ok()).unwrap_or(0)
    });
    0
}

/// Reads `FAILPOINTS`, until dropped. In debug builds only.
#[cfg(debug_assertions)]
pub fn arm() -> fail::FailScenario<'static> {
    fail::FailScenario::setup()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_has_a_name_of_its_own() {
        let mut names: Vec<_> = Point::ALL.iter().map(|point| point.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Point::ALL.len());
        assert!(fail::has_failpoints(), "the development dependencies switch them on");
    }
}
