//! **Identities**: one that stands in the rows of two live persons is shown by the one whose row shows the higher
//! version. A function of rows, settled once a batch for the identities that the batch touched.

use std::collections::BTreeSet;

use super::{Account, World, user::Identity};

/// The accounts whose shown identities change, changed.
pub fn settle(world: &World, touched: &BTreeSet<Identity>) -> Vec<Account> {
    let mut changed: Vec<Account> = Vec::new();
    for identity in touched {
        let holders: Vec<&Account> = world
            .holders_of_identity(identity)
            .filter_map(|id| world.account(id))
            .filter(|row| row.is_live())
            .collect();
        // Equal versions of two persons are all but impossible; the Clerk id makes the choice the same everywhere.
        let winner = holders.iter().max_by_key(|row| (&row.version, &row.clerk_id)).map(|row| row.clerk_id.clone());
        for holder in holders {
            let shown = winner.as_ref() == Some(&holder.clerk_id);
            if holder.identities.get(identity) == Some(&shown) {
                continue;
            }
            let index = changed.iter().position(|row| row.clerk_id == holder.clerk_id);
            let index = index.unwrap_or_else(|| {
                changed.push(holder.clone());
                changed.len() - 1
            });
            if let Some(row) = changed.get_mut(index) {
                row.identities.insert(identity.clone(), shown);
            }
        }
    }
    changed
}
