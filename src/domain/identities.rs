//! **Identities**: one that stands in the rows of two live persons is shown by the one whose row shows the higher
//! version. A function of rows, settled once a batch for the identities that the batch touched.

use std::{collections::BTreeSet, sync::Arc};

use crate::json::{Value, json};

use super::{Account, World, plan::Fold, user::Identity};

/// The accounts whose shown identities change, changed.
fn moved(world: &World, touched: &BTreeSet<Identity>) -> Vec<Account> {
    let mut changed: Vec<Account> = Vec::new();
    for identity in touched {
        let holders: Vec<&Arc<Account>> = world.holders_of_identity(identity).filter_map(|id| world.live(id)).collect();
        // Equal versions of two persons are all but impossible; the Clerk id makes the choice the same everywhere.
        let winner = holders.iter().max_by_key(|row| (&row.version, &row.clerk_id)).map(|row| row.clerk_id.clone());
        for holder in holders {
            let shown = winner.as_ref() == Some(&holder.clerk_id);
            if holder.identities.get(identity) == Some(&shown) {
                continue;
            }
            let index = changed.iter().position(|row| row.clerk_id == holder.clerk_id);
            let index = index.unwrap_or_else(|| {
                changed.push(Account::clone(holder));
                changed.len() - 1
            });
            if let Some(row) = changed.get_mut(index) {
                row.identities.insert(identity.clone(), shown);
            }
        }
    }
    changed
}

/// Settles the identities that the batch touched. A move is told and audited for both sides.
pub(super) fn settle(fold: &mut Fold<'_>) {
    for mut account in moved(&fold.world, &fold.identities) {
        let clerk_id = account.clerk_id.clone();
        let original = match fold.before.get(&clerk_id) {
            Some(before) => before.clone(),
            None => fold.world.account(&clerk_id).cloned(),
        };
        let shown = |row: &Account| row.shown_identities().cloned().collect::<Vec<_>>();
        let moved = original.as_deref().map(&shown).unwrap_or_default() != shown(&account);
        match fold.last_about(&clerk_id) {
            Some(message) => {
                if message.event == "user.updated" && moved && !message.changed.iter().any(|name| name == "identities")
                {
                    message.changed.push("identities".into());
                }
                fold.put(account);
            }
            None if moved => {
                account.updated_at = fold.now;
                let pair = json!([original.map(|row| shown_json(&row)), shown_json(&account)]);
                fold.put(account);
                let mut event = fold.echo_of(&clerk_id);
                event.event_type = "identity.moved".into();
                fold.audit(&event, &clerk_id, [("identities".to_owned(), pair)].into_iter().collect());
                fold.tell(&event, "user.updated", &clerk_id, vec!["identities".into()]);
            }
            None => fold.put(account),
        }
    }
}

fn shown_json(account: &Account) -> Value {
    account.shown_identities().map(Identity::to_json).collect()
}
