//! The cache in this process's memory, bounded by a count of entries.
//!
//! Invariant: whatever depends on what stands under a key happens inside one `and_compute_with` of that key, which moka
//! runs one at a time. Lifetimes go by the [`Clock`]; moka's own timers only free the memory.

use std::{fmt, time::Duration};

use moka::{Entry as Found, Expiry, ops::compute::Op, policy::EvictionPolicy, sync};
use uuid::Uuid;

use super::{Entry, Json, LEASE, Lease, Lookup, MARKER, Watermarks, row_life, through::Flights};
use crate::{
    clock::{Clock, Time, later},
    config,
};

/// The cache in this process's memory.
#[derive(Clone)]
pub struct Local {
    slots: sync::Cache<String, Slot>,
    ttl: Duration,
    clock: Clock,
    pub(super) flights: Flights,
    pub(super) watermarks: Watermarks,
}

#[derive(Clone)]
struct Slot {
    held: Held,
    lives: Duration,
    until: Time,
}

#[derive(Clone)]
enum Held {
    /// `as_of`: the seq as of which it is known to be current; not below `rev`.
    Row {
        rev: i64,
        as_of: i64,
        json: Json,
    },
    Gone {
        rev: i64,
        as_of: i64,
    },
    /// `floor`: the highest rev that was offered and is not stored.
    Lease {
        token: Uuid,
        floor: i64,
    },
}

impl Local {
    pub(super) fn new(config: &config::Cache, clock: Clock) -> Self {
        // By moka's own policy a full cache turns away what was not asked for before: the lease of nearly every newcomer.
        let slots = sync::Cache::builder()
            .max_capacity(config.capacity)
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(Lifetime)
            .build();
        let (flights, watermarks) = (Flights::default(), Watermarks::default());
        Self { slots, ttl: row_life(config), clock, flights, watermarks }
    }

    pub(super) fn get(&self, key: &str) -> Lookup {
        let now = self.clock.now();
        if let Some(held) = self.slots.get(key).and_then(|slot| slot.live(now)) {
            return self.answer(key, held);
        }
        let lease = Held::Lease { token: self.clock.new_id(), floor: 0 };
        let slot = self.slots.entry_by_ref(key).and_compute_with(|found| match held(found, now) {
            // Somebody wrote it since we looked.
            Some(_) => Op::Nop,
            None => Op::Put(slot(lease.clone(), LEASE, now)),
        });
        self.answer(key, slot.into_entry().map_or(lease, |found| found.into_value().held))
    }

    fn answer(&self, key: &str, held: Held) -> Lookup {
        let required = self.watermarks.required(key);
        let lease = |token| Lease::new(key, token, &self.clock, &self.watermarks);
        match held {
            Held::Row { as_of, .. } if as_of < required => Lookup::Stale(lease(Uuid::nil())),
            Held::Gone { as_of, .. } if as_of < required => Lookup::Miss(lease(Uuid::nil())),
            Held::Row { rev, json, .. } => Lookup::Hit { rev, json },
            Held::Gone { rev, .. } => Lookup::Gone { rev },
            Held::Lease { token, .. } => Lookup::Miss(lease(token)),
        }
    }

    pub(super) fn fill(&self, lease: &Lease, rev: i64, json: Option<Json>) -> bool {
        let now = self.clock.now();
        let as_of = lease.as_of.max(rev);
        let mut taken = false;
        self.slots.entry_by_ref(&lease.key).and_compute_with(|found| {
            // What stays with a higher rev stays for as long as it was to.
            let until = found.as_ref().map_or(now, |found| found.value().until);
            let Some(held) = held(found, now) else { return Op::Nop };
            taken = match held {
                Held::Row { rev: stored, .. } => rev >= stored,
                Held::Gone { rev: stored, .. } => rev > stored || rev == stored && json.is_none(),
                Held::Lease { token, floor } => token == lease.token && rev >= floor,
            };
            match (held, json) {
                (held, Some(json)) if taken => {
                    let row = Held::Row { rev, as_of: held.known_as_of(rev, as_of), json };
                    Op::Put(slot(row, lease.left(self.ttl, now), now))
                }
                (Held::Row { .. }, None) if taken => Op::Remove,
                // Not stored, but nothing older is from now on.
                (Held::Lease { token, floor }, _) if rev > floor => {
                    Op::Put(Slot { held: Held::Lease { token, floor: rev }, lives: LEASE, until })
                }
                (held @ Held::Gone { .. }, None) if taken => {
                    let as_of = held.known_as_of(rev, as_of);
                    Op::Put(Slot { held: Held::Gone { rev, as_of }, lives: MARKER, until })
                }
                _ => Op::Nop,
            }
        });
        taken
    }

    pub(super) fn write(&self, entry: &Entry) -> bool {
        let now = self.clock.now();
        let rev = entry.rev;
        let mut taken = false;
        self.slots.entry_by_ref(&entry.key).and_compute_with(|found| {
            let held = held(found, now);
            taken = match &held {
                Some(Held::Row { rev: stored, .. } | Held::Lease { floor: stored, .. }) => rev >= *stored,
                Some(Held::Gone { rev: stored, .. }) => rev > *stored || rev == *stored && entry.json.is_none(),
                None => true,
            };
            let as_of = held.map_or(rev, |held| held.known_as_of(rev, rev));
            match &entry.json {
                _ if !taken => Op::Nop,
                Some(json) => Op::Put(slot(Held::Row { rev, as_of, json: json.clone() }, self.ttl, now)),
                None => Op::Put(slot(Held::Gone { rev, as_of }, MARKER, now)),
            }
        });
        taken
    }

    pub(super) fn holds(&self, key: &str) -> bool {
        self.slots.contains_key(key)
    }

    pub(super) fn evict(&self, key: &str) {
        self.slots.invalidate(key);
    }

    pub(super) fn clear(&self) {
        self.slots.invalidate_all();
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("entries", &self.slots.entry_count()).finish_non_exhaustive()
    }
}

fn slot(held: Held, lives: Duration, now: Time) -> Slot {
    Slot { held, lives, until: later(now, lives) }
}

fn held(found: Option<Found<String, Slot>>, now: Time) -> Option<Held> {
    found.and_then(|found| found.into_value().live(now))
}

impl Slot {
    fn live(self, now: Time) -> Option<Held> {
        (now < self.until).then_some(self.held)
    }
}

impl Held {
    /// The seq as of which the state `rev` is known to be current, if it is as of `as_of`: what stands here may know more
    /// of the same state.
    fn known_as_of(&self, rev: i64, as_of: i64) -> i64 {
        match self {
            Self::Row { rev: stored, as_of: known, .. } | Self::Gone { rev: stored, as_of: known }
                if *stored == rev =>
            {
                as_of.max(*known)
            }
            _ => as_of,
        }
    }
}

/// Each slot lives as long as its kind says, counted from its last write.
struct Lifetime;

impl Expiry<String, Slot> for Lifetime {
    fn expire_after_create(&self, _: &String, slot: &Slot, _: std::time::Instant) -> Option<Duration> {
        Some(slot.lives)
    }

    fn expire_after_update(
        &self,
        _: &String,
        slot: &Slot,
        _: std::time::Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(slot.lives)
    }
}
