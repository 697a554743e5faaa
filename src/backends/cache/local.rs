//! The cache in this process's memory, bounded by a count of entries.
//!
//! Invariant: whatever depends on what stands under a key happens inside one `and_compute_with` of that key, which moka
//! runs one at a time. Lifetimes go by the [`Clock`]; moka's own timers only free the memory.

use std::{fmt, time::Duration};

use chrono::TimeDelta;
use moka::{Entry as Found, Expiry, ops::compute::Op, sync};
use uuid::Uuid;

use super::{Entry, Json, LEASE, Lease, Lookup, MARKER};
use crate::{
    clock::{Clock, Time},
    config,
};

/// The cache in this process's memory.
#[derive(Clone)]
pub struct Local {
    slots: sync::Cache<String, Slot>,
    ttl: Duration,
    clock: Clock,
}

#[derive(Clone)]
struct Slot {
    held: Held,
    lives: Duration,
    until: Time,
}

#[derive(Clone)]
enum Held {
    Row {
        rev: i64,
        json: Json,
    },
    Gone {
        rev: i64,
    },
    /// `floor`: the highest rev offered by holders of replaced leases.
    Lease {
        token: Uuid,
        floor: i64,
    },
}

impl Local {
    pub(super) fn new(config: &config::Cache, clock: Clock) -> Self {
        let slots = sync::Cache::builder().max_capacity(config.capacity).expire_after(Lifetime).build();
        Self { slots, ttl: config.ttl, clock }
    }

    pub(super) fn get(&self, key: &str) -> Lookup {
        let now = self.clock.now();
        if let Some(answer) = self.slots.get(key).and_then(|slot| slot.live(now)).and_then(Held::answer) {
            return answer;
        }
        let token = self.clock.new_id();
        let slot = self.slots.entry_by_ref(key).and_compute_with(|found| match held(found, now) {
            // Somebody wrote it since we looked.
            Some(Held::Row { .. } | Held::Gone { .. }) => Op::Nop,
            Some(Held::Lease { floor, .. }) => Op::Put(slot(Held::Lease { token, floor }, LEASE, now)),
            None => Op::Put(slot(Held::Lease { token, floor: 0 }, LEASE, now)),
        });
        let answer = slot.into_entry().and_then(|found| found.into_value().held.answer());
        answer.unwrap_or_else(|| Lookup::Miss(Lease { key: key.to_owned(), token }))
    }

    pub(super) fn fill(&self, lease: &Lease, rev: i64, json: Option<Json>) -> bool {
        let now = self.clock.now();
        let mut taken = false;
        self.slots.entry_by_ref(&lease.key).and_compute_with(|found| {
            // What stays with a higher rev stays for as long as it was to.
            let until = found.as_ref().map_or(now, |found| found.value().until);
            match (held(found, now), json) {
                (Some(Held::Lease { token, .. }), None) => {
                    taken = token == lease.token;
                    Op::Remove
                }
                (Some(Held::Lease { token, floor }), Some(json)) if token == lease.token && rev >= floor => {
                    taken = true;
                    Op::Put(slot(Held::Row { rev, json }, self.ttl, now))
                }
                (Some(Held::Lease { token, floor }), Some(_)) if token != lease.token && rev > floor => {
                    Op::Put(Slot { held: Held::Lease { token, floor: rev }, lives: LEASE, until })
                }
                (Some(Held::Row { rev: stored, .. }), json) if rev >= stored => {
                    taken = true;
                    json.map_or(Op::Remove, |json| Op::Put(slot(Held::Row { rev, json }, self.ttl, now)))
                }
                (Some(Held::Gone { rev: stored }), Some(json)) if rev > stored => {
                    taken = true;
                    Op::Put(slot(Held::Row { rev, json }, self.ttl, now))
                }
                (Some(Held::Gone { rev: stored }), None) if rev > stored => {
                    Op::Put(Slot { held: Held::Gone { rev }, lives: MARKER, until })
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
            taken = match held(found, now) {
                Some(Held::Row { rev: stored, .. } | Held::Lease { floor: stored, .. }) => rev >= stored,
                Some(Held::Gone { rev: stored }) => rev > stored || rev == stored && entry.json.is_none(),
                None => true,
            };
            match &entry.json {
                _ if !taken => Op::Nop,
                Some(json) => Op::Put(slot(Held::Row { rev, json: json.clone() }, self.ttl, now)),
                None => Op::Put(slot(Held::Gone { rev }, MARKER, now)),
            }
        });
        taken
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
    let until = TimeDelta::from_std(lives).ok().and_then(|lives| now.checked_add_signed(lives));
    Slot { held, lives, until: until.unwrap_or(Time::MAX_UTC) }
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
    fn answer(self) -> Option<Lookup> {
        match self {
            Self::Row { rev, json } => Some(Lookup::Hit { rev, json }),
            Self::Gone { rev } => Some(Lookup::Gone { rev }),
            Self::Lease { .. } => None,
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
