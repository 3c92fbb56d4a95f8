//! Whether several calls could be paid for, asked before the first of them is.
//!
//! Nothing is kept for them: another call may be faster.

use std::collections::HashMap;

use super::asking::Asking;
use super::call::{key, note, vault_error};
use super::error::{RedeemError, TokenFate};
use super::shared::{Pins, Shared};
use crate::vault::{CallId, RequestDigest};
use crate::wire::ModelName;

/// Draws as many tokens as are `wanted` and not paid for yet, and puts them back: whether they are there. The vault tells
/// it best, since it knows which of them may be drawn.
pub(super) async fn afford(
    shared: &Shared,
    pins: &Pins,
    model: &ModelName,
    wanted: HashMap<RequestDigest, usize>,
    asking: Asking,
) -> Result<(), RedeemError> {
    let key = key(pins, model)?;
    let mut count = 0;
    for (digest, wanted) in wanted {
        let doubts = shared.withdrawals.doubts(digest).await;
        let doubts = doubts.map_err(|error| vault_error(error, TokenFate::Unspent))?;
        count += wanted.saturating_sub(shared.parking.open_to(digest, asking) + doubts);
    }
    let mut drawn = Vec::with_capacity(count);
    let mut result = Ok(());
    while result.is_ok() && drawn.len() < count {
        let call = CallId(rand::random());
        match shared.withdrawals.reserve(call, model, key, pins.abuse).await {
            Ok(reserved) => drawn.push(reserved),
            Err(error) => result = Err(vault_error(error, TokenFate::Unspent)),
        }
    }
    for reserved in drawn {
        note(shared.withdrawals.release(reserved).await);
    }
    result
}
