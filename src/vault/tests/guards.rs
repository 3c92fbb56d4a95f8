//! Every verb on a token in every state: the right ones go through, all others change nothing.

use super::*;
use crate::vault::withdrawals::Grip;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Available,
    Reserved,
    Presented,
    InDoubt,
    Resumed,
    Refused,
    Wiped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Release,
    Present,
    ReturnUnspent,
    SetAside,
    Doubt,
    Settle,
}

const STATES: [State; 7] = [
    State::Available,
    State::Reserved,
    State::Presented,
    State::InDoubt,
    State::Resumed,
    State::Refused,
    State::Wiped,
];
const VERBS: [Verb; 6] =
    [Verb::Release, Verb::Present, Verb::ReturnUnspent, Verb::SetAside, Verb::Doubt, Verb::Settle];

const CALL: CallId = CallId(7);
const DIGEST: RequestDigest = RequestDigest([9; 32]);

/// Brings one token from Available to `state`, in the hands of [`CALL`] where that has a meaning.
fn bring_to(books: &mut Books, state: State) -> Result<Grip, VaultError> {
    let (id, ..) = books.reserve(CALL, &model(), key(), AbuseRule::Omitted, Trust::Any)?;
    let grip = Grip { id, model: model(), call: CALL };
    if state == State::Available {
        books.release(&grip)?;
    }
    if matches!(state, State::Available | State::Reserved) {
        return Ok(grip);
    }
    books.present(&grip, AbuseRule::Omitted, DIGEST)?;
    match state {
        State::InDoubt => books.doubt(&grip, Doubt::Unknown)?,
        State::Resumed => {
            books.doubt(&grip, Doubt::Unknown)?;
            assert!(books.resume(CALL, DIGEST)?.is_some());
        }
        State::Refused => books.set_aside(&grip)?,
        State::Wiped => books.settle(&grip)?,
        _ => {}
    }
    Ok(grip)
}

fn perform(books: &mut Books, verb: Verb, grip: &Grip) -> Result<(), VaultError> {
    match verb {
        Verb::Release => books.release(grip),
        Verb::Present => books.present(grip, AbuseRule::Omitted, DIGEST).map(|_| ()),
        Verb::ReturnUnspent => books.return_unspent(grip),
        Verb::SetAside => books.set_aside(grip),
        Verb::Doubt => books.doubt(grip, Doubt::Unknown),
        Verb::Settle => books.settle(grip),
    }
}

/// Where `verb` leads from `state`; None if it must be refused.
fn legal(state: State, verb: Verb) -> Option<Stock> {
    let none = Stock::default();
    match (state, verb) {
        (State::Reserved, Verb::Release) | (State::Presented, Verb::ReturnUnspent) => {
            Some(Stock { available: 1, ..none })
        }
        (State::Reserved, Verb::Present) => Some(Stock { presented: 1, ..none }),
        // An earlier attempt is still unanswered: what this one was told does not settle it.
        (State::Resumed, Verb::ReturnUnspent) | (State::Presented | State::Resumed, Verb::Doubt) => {
            Some(Stock { in_doubt: 1, ..none })
        }
        (State::Presented | State::Resumed, Verb::SetAside) => Some(Stock { refused: 1, ..none }),
        (State::Presented | State::Resumed, Verb::Settle) => Some(Stock { spent: 1, ..none }),
        _ => None,
    }
}

#[tokio::test]
async fn each_verb_works_in_its_states_and_changes_nothing_in_any_other() {
    for state in STATES {
        for verb in VERBS {
            let scene = Scene::with_tokens(1).await;
            let grip = scene.inside(move |books| bring_to(books, state)).await.unwrap();
            let before = scene.stock().await;
            let done = scene.inside(move |books| perform(books, verb, &grip)).await;
            let after = scene.stock().await;
            match legal(state, verb) {
                Some(expected) => assert_eq!((done, after), (Ok(()), expected), "{verb:?} from {state:?}"),
                None => {
                    assert_eq!((done, after), (Err(VaultError::LostRace), before), "{verb:?} from {state:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn no_verb_works_for_a_call_that_is_not_the_owner() {
    for state in [State::Reserved, State::Presented, State::Resumed] {
        for verb in VERBS {
            let scene = Scene::with_tokens(1).await;
            let mut grip = scene.inside(move |books| bring_to(books, state)).await.unwrap();
            grip.call = CallId(8);
            let before = scene.stock().await;
            let done = scene.inside(move |books| perform(books, verb, &grip)).await;
            assert_eq!(done, Err(VaultError::LostRace), "{verb:?} from {state:?}");
            assert_eq!(scene.stock().await, before);
        }
    }
}

#[tokio::test]
async fn only_a_token_in_doubt_is_resumed_and_only_by_its_own_digest() {
    for state in STATES {
        let scene = Scene::with_tokens(1).await;
        scene.inside(move |books| bring_to(books, state)).await.unwrap();
        let resumed =
            scene.inside(|books| Ok(books.resume(CallId(8), RequestDigest([8; 32]))?.is_some())).await;
        assert_eq!(resumed, Ok(false), "another digest, {state:?}");
        let resumed = scene.inside(|books| Ok(books.resume(CallId(8), DIGEST)?.is_some())).await;
        assert_eq!(resumed, Ok(state == State::InDoubt), "{state:?}");
    }
}

#[tokio::test]
async fn a_damaged_record_is_set_aside_and_the_next_one_drawn() {
    let scene = Scene::with_tokens(1).await;
    scene
        .inside(|books| {
            books.conn.execute("UPDATE tokens SET sealed = zeroblob(length(sealed))", [])?;
            Ok(())
        })
        .await
        .unwrap();
    let withdrawals = scene.vault.withdrawals();
    let reserved = withdrawals.reserve(CALL, &model(), key(), AbuseRule::Omitted).await.unwrap();
    let presented = withdrawals.present(reserved, DIGEST).await;
    assert_eq!(presented.err(), Some(VaultError::DamagedRecord));
    assert_eq!(scene.stock().await, Stock { refused: 1, ..Stock::default() });
}
