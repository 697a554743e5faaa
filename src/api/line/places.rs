//! Connection limits: a number of connections in all, a reserve beyond it for deliveries, and, where it is set, a number for
//! each address.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config;

/// The room for connections of one listener. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Places {
    all: Arc<Semaphore>,
    reserve: Arc<Semaphore>,
    addresses: Option<Arc<Addresses>>,
}

#[derive(Debug)]
struct Addresses {
    most: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// Room for one connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    /// Whether it is one of the reserve.
    pub(super) for_deliveries: bool,
    _permit: OwnedSemaphorePermit,
    _counted: Option<Counted>,
}

/// One connection of an address.
#[derive(Debug)]
struct Counted {
    addresses: Arc<Addresses>,
    address: IpAddr,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.addresses.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

impl Places {
    /// As `server.max_connections` and its neighbours say; without the reserve where no deliveries are taken.
    pub fn new(config: &config::Server, takes_deliveries: bool) -> Self {
        let most = config.max_connections_per_address;
        let reserve = if takes_deliveries { config.max_receipt_connections } else { 0 };
        Self {
            all: Arc::new(Semaphore::new(config.max_connections)),
            reserve: Arc::new(Semaphore::new(reserve)),
            addresses: (most > 0).then(|| Arc::new(Addresses { most, open: Mutex::default() })),
        }
    }

    /// Room for one more connection of this address, if there is some.
    pub(super) fn take(&self, address: IpAddr) -> Option<Place> {
        let counted = match &self.addresses {
            Some(addresses) => Some(count(addresses, address)?),
            None => None,
        };
        let (permit, for_deliveries) = match self.all.clone().try_acquire_owned() {
            Ok(permit) => (permit, false),
            Err(_) => (self.reserve.clone().try_acquire_owned().ok()?, true),
        };
        Some(Place { for_deliveries, _permit: permit, _counted: counted })
    }
}

fn count(addresses: &Arc<Addresses>, address: IpAddr) -> Option<Counted> {
    let address = address.to_canonical();
    let mut open = addresses.open.lock().unwrap_or_else(PoisonError::into_inner);
    let count = open.entry(address).or_default();
    if *count >= addresses.most {
        return None;
    }
    *count += 1;
    Some(Counted { addresses: addresses.clone(), address })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_for_deliveries_and_addresses_are_counted_apart() {
        let mut config = config::load(None, HashMap::new()).unwrap().server;
        (config.max_connections, config.max_receipt_connections, config.max_connections_per_address) = (2, 1, 2);
        let (one, two): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "::ffff:192.0.2.1".parse().unwrap());
        let other: IpAddr = "192.0.2.2".parse().unwrap();
        let places = Places::new(&config, true);
        let first = places.take(one).unwrap();
        let second = places.take(two).unwrap();
        assert!(!first.for_deliveries && !second.for_deliveries);
        assert!(places.take(one).is_none(), "one address, however it is written");
        let third = places.take(other).unwrap();
        assert!(third.for_deliveries);
        assert!(places.take(other).is_none(), "nothing is left");
        drop(first);
        assert!(places.take(other).is_some_and(|place| !place.for_deliveries));
        drop((second, third));
        assert_eq!(places.addresses.as_ref().unwrap().open.lock().unwrap().len(), 0);
        let without = Places::new(&config, false);
        let _both = (without.take(one).unwrap(), without.take(other).unwrap());
        assert!(without.take(other).is_none());
    }
}
