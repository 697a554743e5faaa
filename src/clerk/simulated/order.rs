//! The orders that lists can be asked for in, and the texts that people are found and sorted by.

use serde_json::Value;

use super::{ids::Kind, query::Order, shelf::By, state::State};

/// What a person is called in one respect.
pub(super) fn texts(user: &Value, what: &str) -> Vec<String> {
    let list = |list: &str, member: &str| -> Vec<String> {
        let items = user[list].as_array().into_iter().flatten();
        items.filter_map(|item| item[member].as_str()).map(str::to_owned).collect()
    };
    let own = |member: &str| user[member].as_str().map(str::to_owned).into_iter().collect::<Vec<_>>();
    match what {
        "email_address" => list("email_addresses", "email_address"),
        "phone_number" => list("phone_numbers", "phone_number"),
        "web3_wallet" => list("web3_wallets", "web3_wallet"),
        "username" => own("username"),
        "name" => [own("first_name"), own("last_name")].concat(),
        _ => ["email_address", "phone_number", "web3_wallet", "username", "name"]
            .into_iter()
            .flat_map(|what| texts(user, what))
            .chain(own("id"))
            .collect(),
    }
}

/// Sorts ranks by any of the fields that lists can be ordered by; nothing comes last.
pub(super) fn sort(state: &State, kind: Kind, ranks: &mut [u64], order: Order) {
    let shelf = state.shelf(kind);
    let by = if order.field == "updated_at" { By::Updated } else { By::Created };
    if ["created_at", "updated_at"].contains(&order.field) {
        ranks.sort_by_key(|rank| shelf.place(by, *rank));
    } else {
        ranks.sort_by_cached_key(|rank| {
            let (text, number) = key(state, kind, *rank, order.field);
            (text.is_none() && number.is_none(), number, text, shelf.place(By::Created, *rank))
        });
    }
    if order.descending {
        ranks.reverse();
    }
}

fn key(state: &State, kind: Kind, rank: u64, field: &str) -> (Option<String>, Option<i64>) {
    let object = match kind {
        Kind::Membership => {
            let user = state.rank(Kind::User, &state.member(rank));
            user.map(|rank| state.value(Kind::User, rank)).unwrap_or_default()
        }
        _ => state.value(kind, rank),
    };
    match field {
        "members_count" => {
            let id = state.id(Kind::Organization, rank);
            (None, i64::try_from(state.of_organization(&id).len()).ok())
        }
        "email_address" | "phone_number" => (texts(&object, field).into_iter().next(), None),
        "web3wallet" => (texts(&object, "web3_wallet").into_iter().next(), None),
        _ => (object[field].as_str().map(str::to_owned), object[field].as_i64()),
    }
}
