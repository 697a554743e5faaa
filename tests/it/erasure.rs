//! Erasing people: afterwards nothing personal stands anywhere, and nobody else has lost anything.

use std::collections::BTreeSet;

use clerk_sync::erasure::{EraseError, Store};
use serde_json::{Value, json};

use crate::support::{
    dump::{naming, number},
    server::{ADMIN, Server, answer, deletion, email, person},
};

/// Texts that are Ada's and nobody else's.
const HERS: [&str; 6] = ["Adalovelace", "Countessname", "hers@example.com", "+4479000000", "her-secret", "her-note"];

fn ada(at: u64) -> Value {
    person(
        "user_ada",
        at,
        json!({
            "first_name": "Adalovelace", "last_name": "Countessname", "private_metadata": {"k": "her-secret"},
            "public_metadata": {"note": "her-note"}, "phone_numbers": [{"id": "idn_9", "phone_number": "+4479000000", "verification": {"status": "verified"}}],
            "email_addresses": [email("idn_1", "hers@example.com", true)],
        }),
    )
}

fn member(organization: &str, at: u64) -> Value {
    let ms = 1_700_000_000_000_u64 + at;
    json!({"type": "organizationMembership.created", "object": "event", "timestamp": ms, "data": {"id": format!("orgmem_{organization}"),
        "role": "org:member", "permissions": [], "organization": {"id": organization, "name": "One"}, "created_at": ms, "updated_at": ms,
        "public_user_data": {"user_id": "user_ada", "first_name": "Adalovelace", "last_name": "Countessname", "identifier": "hers@example.com"}}})
}

/// A life: created, renamed, in an organisation, in a clash, waited for, deleted.
async fn life(server: &Server) {
    let organization = json!({"type": "organization.created", "object": "event", "timestamp": 1_700_000_000_500_u64,
        "data": {"id": "org_1", "name": "One", "created_by": "user_ada", "created_at": 1_700_000_000_400_u64, "updated_at": 1_700_000_000_400_u64}});
    server.sync("msg_1", &ada(1)).await;
    server.sync("msg_2", &organization).await;
    server.sync("msg_3", &member("org_1", 5_000)).await;
    server.sync("msg_4", &ada(2)).await;
    // Bob claims her address, and tells of her.
    let bob = person(
        "user_bob",
        1,
        json!({"email_addresses": [email("idn_2", "hers@example.com", true)], "first_name": "Bobby"}),
    );
    server.sync("msg_5", &bob).await;
    let refused = json!({"first_name": null, "last_name": null, "public_metadata": {"friend": {"user_id": "user_ada", "name": "Adalovelace"}, "own": "keep"}});
    server.sync("msg_6", &person("user_cleo", 1, refused)).await;
    // A late one of an organisation that never came.
    server.sync("msg_7", &member("org_never", 6_000)).await;
}

#[tokio::test]
async fn nothing_personal_is_left_anywhere() {
    for server in Server::start_all(&[("smtp.folder", "/nowhere/at/all")]).await {
        life(&server).await;
        server.read("/v1/users/user_ada").await;
        let eraser = server.app.eraser();
        let who = BTreeSet::from(["user_ada".to_owned()]);
        let live = eraser.erase(&who).await;
        assert!(matches!(live, Err(EraseError::Live(_))), "{}: somebody live is not erased", server.name);
        for text in HERS {
            assert!(!naming(&server.app.db, text).await.is_empty(), "{}: {text} is there before", server.name);
        }
        let gone = deletion("user_ada");
        server.sync("msg_8", &gone).await;
        server.sync("msg_9", &gone).await;
        // Bob has the address now: it is his, and stays.
        assert_eq!(
            number(
                &server.app.db,
                "select count(*) as n from clerk_sync.email_addresses where normalised = 'hers@example.com'"
            )
            .await,
            1
        );
        let bob = person(
            "user_bob",
            9,
            json!({"email_addresses": [email("idn_2", "bob@example.com", true)], "first_name": "Bobby"}),
        );
        server.sync("msg_10", &bob).await;
        server.caught_up("search:database").await;

        let left = eraser.left(&who).await.unwrap();
        assert_eq!(left[&Store::Rows], 0, "a deletion leaves no rows");
        assert!(left[&Store::Bodies] > 0 && left[&Store::Feed] > 0 && left[&Store::Audit] > 0, "{left:?}");
        let removed = eraser.erase(&who).await.unwrap();
        assert!(removed[&Store::Bodies] >= 5 && removed[&Store::Conflicts] == 1, "{}: {removed:?}", server.name);
        let left = eraser.left(&who).await.unwrap();
        assert!(left.values().all(|count| *count == 0), "{}: {left:?}", server.name);
        for text in HERS.iter().filter(|text| **text != "hers@example.com") {
            assert_eq!(naming(&server.app.db, text).await, [""; 0], "{}: {text} is left", server.name);
        }
        // What is left of the address is Bob's own past.
        for line in naming(&server.app.db, "hers@example.com").await {
            assert!(line.contains("user_bob") || line.contains("msg_5"), "{}: {line}", server.name);
        }
        // The others have lost nothing: Cleo enters with what was kept for her.
        server.sync("msg_11", &person("user_cleo", 0, json!({"first_name": "Cleo"}))).await;
        let cleo = server.read("/v1/users?clerk_id=user_cleo").await["data"][0].clone();
        assert_eq!(
            cleo["public_metadata"],
            json!({"friend": {"user_id": "user_ada"}, "own": "keep"}),
            "{}",
            server.name
        );
        // A late delivery brings nothing back, not even its body.
        server.sync("msg_12", &ada(99)).await;
        server.sync("msg_13", &member("org_1", 99_000)).await;
        assert_eq!(naming(&server.app.db, "Adalovelace").await, [""; 0], "{}", server.name);
        assert_eq!(server.admin("/v1/admin/events/msg_12").await["outcome"], "tombstoned");
        // Who is erased cannot be linked to any more.
        let relink = server.request(reqwest::Method::POST, "/v1/admin/relink", ADMIN);
        let relink = answer(relink.json(&json!({"from": "user_ada", "to": "user_bob"}))).await;
        relink.is_problem(409, "conflict_condition", server.name);
        assert!(server.stop().await);
    }
}

#[tokio::test]
async fn who_is_not_known_is_not_erased() {
    for server in Server::start_all(&[]).await {
        let nobody = server.app.eraser().erase(&BTreeSet::from(["user_nobody".to_owned()])).await;
        assert!(matches!(nobody, Err(EraseError::Unknown(_))), "{}", server.name);
        assert!(server.stop().await);
    }
}
