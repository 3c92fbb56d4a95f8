//! Which tokens may be drawn, by model and issuing key: an index in memory over the rows in state `available`.
//!
//! Drawing is uniform among the matured ones and takes constant time. The home's lock keeps every other
//! process away from the file, so the index and the file agree; if a commit fails, the index is built
//! anew from the file ([`DrawIndex::clear`], then [`DrawIndex::put`] for each row).
//!
//! A token that was seen as matured stays so, even if the clock is turned back afterwards.
//!
//! Public for `examples/linking_game.rs`, which draws as the vault does.

use std::collections::{BTreeMap, HashMap};

use rand::{CryptoRng, RngExt as _};

use super::Shortage;
use crate::blind::Fingerprint;
use crate::clock::Timestamp;
use crate::wire::ModelName;

/// The tokens that are in state `available`.
#[derive(Default)]
pub struct DrawIndex {
    shelves: HashMap<ModelName, HashMap<Fingerprint, Shelf>>,
}

#[derive(Default)]
struct Shelf {
    matured: Vec<i64>,
    maturing: BTreeMap<Timestamp, Vec<i64>>,
}

impl DrawIndex {
    /// Forgets every row.
    pub fn clear(&mut self) {
        self.shelves.clear();
    }

    /// Row `id`, signed by `key`, is available from `not_before` on.
    pub fn put(&mut self, model: &ModelName, key: Fingerprint, id: i64, not_before: Timestamp) {
        if !self.shelves.contains_key(model) {
            self.shelves.insert(model.clone(), HashMap::new());
        }
        if let Some(shelves) = self.shelves.get_mut(model) {
            shelves.entry(key).or_default().maturing.entry(not_before).or_default().push(id);
        }
    }

    /// Takes row `id` out, if it is there.
    pub fn take(&mut self, model: &ModelName, key: Fingerprint, id: i64) {
        if let Some(shelf) = self.shelves.get_mut(model).and_then(|shelves| shelves.get_mut(&key)) {
            shelf.matured.retain(|other| *other != id);
            shelf.maturing.values_mut().for_each(|ids| ids.retain(|other| *other != id));
            shelf.maturing.retain(|_, ids| !ids.is_empty());
        }
    }

    /// Takes one matured row of `key` out, each with the same probability.
    pub fn draw<R: CryptoRng + ?Sized>(
        &mut self,
        rng: &mut R,
        model: &ModelName,
        key: Fingerprint,
        now: Timestamp,
    ) -> Result<i64, Shortage> {
        let shelves = self.shelves.get_mut(model).ok_or(Shortage::Empty)?;
        let stock = shelves.get_mut(&key).ok_or(Shortage::Empty)?;
        while let Some(first) = stock.maturing.first_entry().filter(|first| *first.key() <= now) {
            stock.matured.append(&mut first.remove());
        }
        if stock.matured.is_empty() {
            return Err(match stock.maturing.first_key_value() {
                Some((next, _)) => Shortage::Maturing { next: *next },
                None => Shortage::Empty,
            });
        }
        let at = rng.random_range(0..stock.matured.len());
        Ok(stock.matured.swap_remove(at))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn key() -> Fingerprint {
        Fingerprint::from_bytes([0; 32])
    }

    fn model() -> ModelName {
        ModelName::new("gpt-4.1").unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(seconds)
    }

    #[test]
    fn every_token_is_drawn_once_and_then_there_is_none() {
        let mut index = DrawIndex::default();
        (0..100).for_each(|id| index.put(&model(), key(), id, at(0)));
        let drawn: HashSet<i64> =
            (0..100).map(|_| index.draw(&mut rand::rng(), &model(), key(), at(0)).unwrap()).collect();
        assert_eq!(drawn.len(), 100);
        assert_eq!(index.draw(&mut rand::rng(), &model(), key(), at(0)), Err(Shortage::Empty));
    }

    #[test]
    fn a_maturing_token_is_announced_and_not_drawn_before_its_time() {
        let mut index = DrawIndex::default();
        index.put(&model(), key(), 1, at(20));
        index.put(&model(), key(), 2, at(10));
        let shortage = Shortage::Maturing { next: at(10) };
        assert_eq!(index.draw(&mut rand::rng(), &model(), key(), at(9)), Err(shortage));
        assert_eq!(index.draw(&mut rand::rng(), &model(), key(), at(10)), Ok(2));
        assert_eq!(index.draw(&mut rand::rng(), &model(), key(), at(21)), Ok(1));
    }

    #[test]
    fn a_token_of_another_key_is_not_drawn() {
        let mut index = DrawIndex::default();
        let other = Fingerprint::from_bytes([1; 32]);
        index.put(&model(), other, 1, at(0));
        assert_eq!(index.draw(&mut rand::rng(), &model(), key(), at(0)), Err(Shortage::Empty));
        assert_eq!(index.draw(&mut rand::rng(), &model(), other, at(0)), Ok(1));
    }

    #[test]
    fn the_first_draw_favours_no_token() {
        // 8 tokens, 8,000 first draws: 1,000 expected each; ±200 is over six standard deviations.
        let mut counts = [0i32; 8];
        for _ in 0..8_000 {
            let mut index = DrawIndex::default();
            (0..8).for_each(|id| index.put(&model(), key(), id, at(0)));
            let id = index.draw(&mut rand::rng(), &model(), key(), at(0)).unwrap();
            counts[usize::try_from(id).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (800..=1200).contains(count)), "{counts:?}");
    }
}
