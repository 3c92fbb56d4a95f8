//! One lock per key, for as long as somebody holds or awaits it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

type Held<K> = Mutex<HashMap<K, Arc<tokio::sync::Mutex<()>>>>;

/// Locks by key. Holders of the same key wait for one another, in the order in which they came.
pub(super) struct KeyedLocks<K: Eq + Hash + Clone>(Arc<Held<K>>);

/// Holds one key until dropped.
pub(super) struct KeyGuard<K: Eq + Hash + Clone> {
    locks: Arc<Held<K>>,
    key: K,
    guard: Option<OwnedMutexGuard<()>>,
}

impl<K: Eq + Hash + Clone> KeyedLocks<K> {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(HashMap::new())))
    }

    /// Waits for `key`.
    pub(super) async fn lock(&self, key: K) -> KeyGuard<K> {
        let lock = Arc::clone(entries(&self.0).entry(key.clone()).or_default());
        // Built before the wait, so that a caller who gives up while waiting cleans up all the same.
        let mut waiting = KeyGuard { locks: Arc::clone(&self.0), key, guard: None };
        waiting.guard = Some(lock.lock_owned().await);
        waiting
    }
}

fn entries<K: Eq + Hash + Clone>(held: &Held<K>) -> MutexGuard<'_, HashMap<K, Arc<tokio::sync::Mutex<()>>>> {
    // The map is consistent between any two operations, so a panic elsewhere does not spoil it.
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K: Eq + Hash + Clone> Drop for KeyGuard<K> {
    fn drop(&mut self) {
        let mut entries = entries(&self.locks);
        drop(self.guard.take());
        // Only the map's own reference is left: nobody holds or awaits the key. New ones need the map.
        if entries.get(&self.key).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            entries.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn holders_of_one_key_take_turns_and_leave_nothing_behind() {
        let locks = Arc::new(KeyedLocks::<u8>::new());
        let first = locks.lock(1).await;
        let _other = locks.lock(2).await;
        let waiter = tokio::spawn({
            let locks = Arc::clone(&locks);
            async move { drop(locks.lock(1).await) }
        });
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        drop(first);
        waiter.await.unwrap();
        assert_eq!(entries(&locks.0).keys().copied().collect::<Vec<_>>(), [2]);
    }

    #[tokio::test]
    async fn a_waiter_that_gives_up_leaves_nothing_behind() {
        let locks = KeyedLocks::<u8>::new();
        let first = locks.lock(1).await;
        let mut second = Box::pin(locks.lock(1));
        assert!(futures_util::poll!(second.as_mut()).is_pending());
        drop(first);
        drop(second);
        assert!(entries(&locks.0).is_empty());
    }
}
