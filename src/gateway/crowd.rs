//! How many connections there may be of those who have not said who they are, and of each person.
//!
//! Invariants: sockets that never authenticate hold few of the places, and keep nobody out: at a full door the one that
//! has been waiting longest makes room, which somebody with a token at hand never is. What is counted is given back when
//! the value that stands for it is dropped.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use tokio_util::sync::CancellationToken;

/// Those who have not said yet who they are.
#[derive(Debug)]
pub(super) struct Door {
    size: usize,
    /// By number, so that the first has been waiting longest.
    waiting: Mutex<BTreeMap<u64, CancellationToken>>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Waiting {
    door: Arc<Door>,
    number: u64,
    dropped: CancellationToken,
}

impl Door {
    /// With room for so many.
    pub(super) fn new(size: usize) -> Arc<Self> {
        Arc::new(Self { size, waiting: Mutex::default() })
    }

    /// One more; where the door is full, the one that came first has to go.
    pub(super) fn wait(self: &Arc<Self>, number: u64) -> Waiting {
        let dropped = CancellationToken::new();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.insert(number, dropped.clone());
        if waiting.len() > self.size
            && let Some((_, first)) = waiting.pop_first()
        {
            first.cancel();
        }
        Waiting { door: self.clone(), number, dropped }
    }
}

impl Waiting {
    /// It has shown who it is, or is gone: nobody waits here any more.
    pub(super) fn is_known(&self) {
        self.door.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }

    /// Returns once it has to make room.
    pub(super) async fn crowded_out(&self) {
        self.dropped.cancelled().await;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.is_known();
    }
}

/// How often each person is here.
#[derive(Debug)]
pub(super) struct Crowd {
    most: usize,
    people: Mutex<HashMap<Arc<str>, usize>>,
}

/// That a person is here once.
#[derive(Debug)]
pub(super) struct Presence {
    crowd: Arc<Crowd>,
    clerk_id: Arc<str>,
}

impl Crowd {
    /// Where each person may be so often.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, people: Mutex::default() })
    }

    /// Once more; `None` where that would be too often.
    pub(super) fn enter(self: &Arc<Self>, clerk_id: &str) -> Option<Presence> {
        let clerk_id: Arc<str> = clerk_id.into();
        let mut people = self.people.lock().unwrap_or_else(PoisonError::into_inner);
        let count = people.get(&clerk_id).copied().unwrap_or(0);
        if count >= self.most {
            return None;
        }
        people.insert(clerk_id.clone(), count + 1);
        Some(Presence { crowd: self.clone(), clerk_id })
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut people = self.crowd.people.lock().unwrap_or_else(PoisonError::into_inner);
        match people.get_mut(&self.clerk_id) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(people.remove(&self.clerk_id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_a_full_door_the_first_makes_room() {
        let door = Door::new(2);
        let (one, two) = (door.wait(1), door.wait(2));
        drop(door.wait(3));
        assert!(one.dropped.is_cancelled() && !two.dropped.is_cancelled());
        // Who went by themselves has made room already.
        let four = door.wait(4);
        assert!(!two.dropped.is_cancelled() && !four.dropped.is_cancelled());
        two.is_known();
        let five = door.wait(5);
        assert!(!two.dropped.is_cancelled() && !four.dropped.is_cancelled(), "who is known is in nobody's way");
        drop((one, two, four, five));
        assert!(door.waiting.lock().unwrap().is_empty());
    }

    #[test]
    fn each_person_is_counted_for_themselves_and_nobody_is_kept() {
        let crowd = Crowd::new(2);
        let (first, second) = (crowd.enter("user_1").unwrap(), crowd.enter("user_1").unwrap());
        assert!(crowd.enter("user_1").is_none());
        let other = crowd.enter("user_2").unwrap();
        drop(first);
        let third = crowd.enter("user_1").unwrap();
        assert!(crowd.enter("user_1").is_none());
        drop((second, third, other));
        assert!(crowd.people.lock().unwrap().is_empty());
    }
}
