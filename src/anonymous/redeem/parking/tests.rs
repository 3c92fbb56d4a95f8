//! Who shares with whom, and that every claim leaves the lot once.

use proptest::prelude::*;

use super::*;
use crate::anonymous::redeem::{RedeemErrorKind, TokenFate};

const DIGEST: RequestDigest = RequestDigest([1; 32]);

fn parking() -> Parking {
    Parking::new(ParkingRules::default())
}

fn first() -> Asking {
    Asking::new(Attempt::First)
}

fn retry() -> Asking {
    Asking::new(Attempt::Retry)
}

/// `B`egun, `J`oined, `E`nded, `U`ndecided.
fn board(parking: &Parking, asking: Asking, call: u128) -> char {
    match parking.board(DIGEST, asking, CallId(call)) {
        Boarding::Ended(..) => 'E',
        Boarding::Joined(..) => 'J',
        Boarding::Begun(..) => 'B',
        Boarding::Undecided(_) => 'U',
    }
}

fn landing(call: u128) -> Landing {
    let error = RedeemError::new(RedeemErrorKind::ConnectionLost, TokenFate::InDoubt);
    Landing { claim: Claim { call: CallId(call), digest: DIGEST, spent: None }, result: Err(error) }
}

#[test]
fn who_shares_a_running_call_depends_on_the_retry_and_on_its_token() {
    for (basis, by_retry, by_first) in
        [(Basis::Unknown, 'J', 'U'), (Basis::Fresh, 'J', 'B'), (Basis::Resumed, 'J', 'J')]
    {
        let parking = parking();
        assert_eq!(board(&parking, first(), 1), 'B');
        parking.decide(CallId(1), basis);
        assert_eq!(board(&parking, retry(), 2), by_retry);
        assert_eq!(board(&parking, first(), 3), by_first);
    }
}

#[test]
fn another_request_shares_nothing() {
    let parking = parking();
    assert_eq!(board(&parking, first(), 1), 'B');
    let other = parking.board(RequestDigest([2; 32]), retry(), CallId(2));
    assert!(matches!(other, Boarding::Begun(..)));
}

#[test]
fn the_answers_that_one_request_wants_are_never_shared_among_themselves() {
    let parking = parking();
    let asking = retry();
    assert_eq!([1, 2, 3].map(|call| board(&parking, asking, call)), ['B'; 3]);
    (1..=3).for_each(|call| parking.decide(CallId(call), Basis::Resumed));
    let again = retry();
    let calls = [4, 5, 6].map(|call| match parking.board(DIGEST, again, CallId(call)) {
        Boarding::Joined(call, ..) => call.0,
        _ => 0,
    });
    let mut calls = calls.to_vec();
    calls.sort_unstable();
    assert_eq!(calls, [1, 2, 3], "each retry of the three finds another one");
    assert_eq!(board(&parking, again, 7), 'B');
}

#[tokio::test]
async fn who_waits_for_the_basis_of_a_call_is_woken_when_it_is_known_or_the_call_is_over() {
    for end in [0, 1, 2] {
        let parking = parking();
        assert_eq!(board(&parking, first(), 1), 'B');
        let Boarding::Undecided(decided) = parking.board(DIGEST, first(), CallId(2)) else {
            panic!("decided already")
        };
        assert!(!decided.is_cancelled());
        match end {
            0 => parking.decide(CallId(1), Basis::Fresh),
            1 => drop(parking.land(landing(1))),
            _ => parking.forget(CallId(1)),
        }
        decided.cancelled().await;
    }
}

#[test]
fn a_call_without_callers_is_taken_over_by_any_identical_request() {
    let parking = parking();
    let Boarding::Begun(hand, _result) = parking.board(DIGEST, first(), CallId(1)) else { panic!("no seat") };
    parking.decide(CallId(1), Basis::Fresh);
    parking.leave(CallId(1), hand);
    assert_eq!(board(&parking, first(), 2), 'J');
    assert_eq!(board(&parking, first(), 3), 'B');
}

#[test]
fn a_result_is_delivered_once_and_let_go_by_the_last_hand_only() {
    let parking = parking();
    let Boarding::Begun(one, _first) = parking.board(DIGEST, first(), CallId(1)) else { panic!("no seat") };
    let Boarding::Joined(_, two, _second) = parking.board(DIGEST, retry(), CallId(2)) else {
        panic!("not shared")
    };
    assert!(matches!(parking.land(landing(1)), Landed::Wanted(callers, _) if callers.len() == 2));
    // A retry that comes while it is handed over has it at once.
    let Boarding::Ended(_, three, _) = parking.board(DIGEST, retry(), CallId(3)) else {
        panic!("not handed over")
    };
    assert!(parking.let_go(CallId(1), one).is_none());
    assert!(parking.let_go(CallId(1), three).is_none());
    assert!(parking.deliver(CallId(1)).is_some());
    assert!(parking.deliver(CallId(1)).is_none(), "settled twice");
    assert!(parking.let_go(CallId(1), two).is_none(), "settled and left");
    assert_eq!(board(&parking, retry(), 4), 'B');
}

proptest! {
    /// Whatever comes and goes in whatever order: a claim is given out once, and never while somebody
    /// still holds the result and nobody has had it.
    #[test]
    fn every_claim_leaves_the_lot_exactly_once(
        events in proptest::collection::vec((0u8..6, any::<bool>(), any::<prop::sample::Index>()), 1..80),
    ) {
        let parking = parking();
        let mut waiting: Vec<(CallId, Hand)> = Vec::new();
        let mut holding: Vec<(CallId, Hand)> = Vec::new();
        let mut running: Vec<CallId> = Vec::new();
        let mut gone: HashMap<u128, u32> = HashMap::new();
        for (number, (event, is_retry, which)) in (1u128..).zip(events) {
            let pick = |len: usize| if len == 0 { None } else { Some(which.index(len)) };
            match event {
                0 | 1 => {
                    let asking = if is_retry { retry() } else { first() };
                    match parking.board(DIGEST, asking, CallId(number)) {
                        Boarding::Begun(hand, _) => {
                            running.push(CallId(number));
                            waiting.push((CallId(number), hand));
                        }
                        Boarding::Joined(call, hand, _) => waiting.push((call, hand)),
                        Boarding::Ended(call, hand, _) => holding.push((call, hand)),
                        Boarding::Undecided(_) => {}
                    }
                }
                2 => if let Some(at) = pick(running.len()) {
                    let basis = if is_retry { Basis::Fresh } else { Basis::Resumed };
                    parking.decide(running[at], basis);
                },
                3 => if let Some(at) = pick(running.len()) {
                    let call = running.swap_remove(at);
                    match parking.land(landing(call.0)) {
                        Landed::Wanted(..) => {
                            let (now, rest) = waiting.iter().partition(|(of, _)| *of == call);
                            let now: Vec<_> = now;
                            waiting = rest;
                            holding.extend(now);
                        }
                        Landed::Unclaimed(Left::Unwanted(left)) => {
                            prop_assert!(waiting.iter().all(|(of, _)| *of != call));
                            *gone.entry(left.claim.call.0).or_default() += 1;
                        }
                        Landed::Unclaimed(Left::Parked(_)) => prop_assert!(false, "nothing was spent"),
                    }
                },
                4 => if let Some(at) = pick(waiting.len()) {
                    let (call, hand) = waiting.swap_remove(at);
                    parking.leave(call, hand);
                },
                _ => if let Some(at) = pick(holding.len()) {
                    let (call, hand) = holding.swap_remove(at);
                    let given = if is_retry {
                        parking.deliver(call).map(|claim| claim.call.0)
                    } else {
                        match parking.let_go(call, hand) {
                            Some(Left::Unwanted(left)) => {
                                prop_assert!(holding.iter().all(|(of, _)| *of != call), "others hold it");
                                Some(left.claim.call.0)
                            }
                            _ => None,
                        }
                    };
                    if let Some(call) = given {
                        *gone.entry(call).or_default() += 1;
                    }
                },
            }
        }
        prop_assert!(gone.values().all(|times| *times == 1));
    }
}
