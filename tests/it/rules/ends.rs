//! **Ends and updates of memberships** that lack part of what they are about: whatever the order, an end ends what it is
//! about and an update is found by the membership's id.

use serde_json::{Value, json};

use super::{number, texts};
use crate::support::{
    organizations::{dissolved, ended, member, organization},
    people::user,
    world::{World, worlds},
};

/// What an end lacks, with `data` and envelope.
const LACKING: [(&str, &[&str]); 12] = [
    ("nothing", &[]),
    ("role", &["role"]),
    ("user", &["public_user_data"]),
    ("organization", &["organization"]),
    ("pair", &["organization", "public_user_data"]),
    ("data times", &["created_at", "updated_at"]),
    ("birth", &["created_at"]),
    ("all but the id", &["role", "organization", "public_user_data", "created_at", "updated_at", "permissions"]),
    ("all but the id, no time", &["role", "organization", "public_user_data", "created_at", "updated_at", "timestamp"]),
    ("id", &["id"]),
    ("id, data times", &["id", "role", "created_at", "updated_at"]),
    ("id, every time", &["id", "role", "created_at", "updated_at", "timestamp"]),
];

fn without(mut body: Value, lacks: &[&str]) -> Value {
    body["data"].as_object_mut().unwrap().retain(|name, _| !lacks.contains(&name.as_str()));
    if lacks.contains(&"timestamp") {
        body.as_object_mut().unwrap().remove("timestamp");
    }
    body
}

fn at(mut body: Value, ms: u64) -> Value {
    body["timestamp"] = json!(1_760_000_000_000_u64 + ms);
    body["data"]["updated_at"] = body["timestamp"].clone();
    body
}

/// The end at 9 of what began at 5.
fn end(name: &str, lacks: &[&str]) -> Value {
    without(at(ended(member("books", name, 5, "org:member")), 9), lacks)
}

fn updated(name: &str, ms: u64, role: &str, lacks: &[&str]) -> Value {
    let mut body = at(member("books", name, 5, role), ms);
    body["type"] = json!("organizationMembership.updated");
    without(body, lacks)
}

/// After everything else, the receipt of an end without any time too.
fn rejoined(name: &str) -> Value {
    let mut body = member("books", name, 700, "org:member");
    body["data"]["created_at"] = json!(4_000_000_000_000_u64);
    body["data"]["id"] = json!(format!("orgmem_{name}_again"));
    body
}

async fn deliver(world: &World, id: &str, body: &Value) -> String {
    world.deliver(id, body).await;
    world.drain().await;
    let row = world.inbox(id).await;
    format!("{} {}", row.state, row.outcome.unwrap_or_default())
}

async fn members(world: &World) -> Vec<String> {
    texts(world, "select u.clerk_id || ' ' || m.role as t from clerk_sync.organization_memberships m join clerk_sync.users u on u.id = m.user_id order by 1").await
}

async fn books(people: usize) -> Vec<World> {
    let worlds = worlds(&[]).await;
    for world in &worlds {
        world.deliver("msg_org", &organization("books", "nobody", 1)).await;
        for n in 0..people {
            world.deliver(&format!("msg_p{n}"), &user(&format!("p{n}"), 1)).await;
        }
        world.drain().await;
    }
    worlds
}

#[tokio::test]
async fn an_end_that_lacks_anything_but_what_it_is_about_ends_it() {
    for world in books(LACKING.len()).await {
        for (n, (lacks, members_of)) in LACKING.iter().enumerate() {
            let name = format!("p{n}");
            let what = format!("{}: without {lacks}", world.name);
            assert_eq!(
                deliver(&world, &format!("msg_{n}a"), &member("books", &name, 5, "org:member")).await,
                "done created"
            );
            let blank = |mut body: Value| {
                if body["data"].get("role").is_some() {
                    body["data"]["role"] = json!("  ");
                }
                body
            };
            let ending = blank(end(&name, members_of));
            assert_eq!(deliver(&world, &format!("msg_{n}b"), &ending).await, "done deleted", "{what}");
            assert!(members(&world).await.is_empty(), "{what}");
            let told = format!(
                "select event as t from clerk_sync.outbox where subject = 'org_books/user_{name}' order by seq"
            );
            assert_eq!(texts(&world, &told).await, ["membership.created", "membership.deleted"], "{what}");
            // What comes late does not bring it back; a rejoin does, and the end does not end that.
            let late = deliver(&world, &format!("msg_{n}c"), &updated(&name, 6, "org:admin", &[])).await;
            assert!(late.starts_with("skipped "), "{what}: {late}");
            assert!(members(&world).await.is_empty(), "{what}");
            assert_eq!(deliver(&world, &format!("msg_{n}d"), &rejoined(&name)).await, "done created", "{what}");
            deliver(&world, &format!("msg_{n}e"), &ending).await;
            assert_eq!(members(&world).await, [format!("user_{name} org:member")], "{what}");
            assert_eq!(number(&world, "select members_count as n from clerk_sync.organizations").await, 1, "{what}");
            let mut last = rejoined(&name);
            last["type"] = json!("organizationMembership.deleted");
            assert_eq!(deliver(&world, &format!("msg_{n}f"), &last).await, "done deleted", "{what}");
        }
    }
}

#[tokio::test]
async fn an_end_may_come_first() {
    for world in books(LACKING.len()).await {
        for (n, (lacks, members_of)) in LACKING.iter().enumerate() {
            let name = format!("p{n}");
            let what = format!("{}: without {lacks}", world.name);
            let first = deliver(&world, &format!("msg_{n}a"), &end(&name, members_of)).await;
            assert_eq!(first, "done unchanged", "{what}: an end never waits");
            let created = deliver(&world, &format!("msg_{n}b"), &member("books", &name, 5, "org:member")).await;
            let later = deliver(&world, &format!("msg_{n}c"), &updated(&name, 6, "org:admin", &[])).await;
            let unknown = members_of.contains(&"organization") || members_of.contains(&"public_user_data");
            let outcomes =
                if unknown { ["skipped tombstoned"; 2].as_slice() } else { &["skipped stale", "skipped tombstoned"] };
            for outcome in [created, later] {
                assert!(outcomes.contains(&outcome.as_str()), "{what}: {outcome}");
            }
            assert!(members(&world).await.is_empty(), "{what}");
            assert_eq!(deliver(&world, &format!("msg_{n}d"), &rejoined(&name)).await, "done created", "{what}");
            assert_eq!(deliver(&world, &format!("msg_{n}e"), &rejoined(&name)).await, "done unchanged", "{what}");
            let mut last = rejoined(&name);
            last["type"] = json!("organizationMembership.deleted");
            deliver(&world, &format!("msg_{n}f"), &last).await;
        }
    }
}

#[tokio::test]
async fn an_update_without_its_pair_is_found_by_the_id_and_waits_until_that_is_known() {
    let lacking: [&[&str]; 3] = [&["public_user_data"], &["organization"], &["organization", "public_user_data"]];
    for world in books(lacking.len() * 2).await {
        let mut expected = Vec::new();
        for (n, lacks) in lacking.into_iter().enumerate() {
            let what = format!("{}: without {lacks:?}", world.name);
            let (known, unknown) = (format!("p{}", 2 * n), format!("p{}", 2 * n + 1));
            deliver(&world, &format!("msg_{n}a"), &member("books", &known, 5, "org:member")).await;
            let update = updated(&known, 8, "org:admin", lacks);
            assert_eq!(deliver(&world, &format!("msg_{n}b"), &update).await, "done updated", "{what}");
            let early = updated(&unknown, 8, "org:admin", lacks);
            assert_eq!(deliver(&world, &format!("msg_{n}c"), &early).await, "waiting waiting", "{what}");
            let row = world.inbox(&format!("msg_{n}c")).await;
            let id = format!("orgmem_{unknown}_books");
            assert_eq!(
                (row.subject.as_deref(), row.awaits.as_deref()),
                (Some(id.as_str()), Some(id.as_str())),
                "{what}"
            );
            // Older than the update, whose version the pair takes over with the id.
            let created = member("books", &unknown, 5, "org:member");
            assert_eq!(deliver(&world, &format!("msg_{n}d"), &created).await, "skipped stale", "{what}");
            assert_eq!(world.inbox(&format!("msg_{n}c")).await.outcome.as_deref(), Some("created"), "{what}");
            expected.extend([format!("user_{known} org:admin"), format!("user_{unknown} org:admin")]);
        }
        assert_eq!(members(&world).await, expected, "{}", world.name);
        // Of an id that ended, and of an organisation that is gone, nothing waits.
        for (n, lacks) in lacking.into_iter().enumerate() {
            let late = updated("gone", 8, "org:admin", lacks);
            assert_eq!(deliver(&world, &format!("msg_{n}w"), &late).await, "waiting waiting", "{}", world.name);
        }
        deliver(&world, "msg_end", &end("gone", &["organization", "public_user_data"])).await;
        let waits = deliver(&world, "msg_other", &updated("other", 8, "org:admin", &["public_user_data"])).await;
        assert_eq!(waits, "waiting waiting");
        deliver(&world, "msg_dissolved", &dissolved("books", 900)).await;
        assert_eq!(
            number(&world, "select count(*) as n from clerk_sync.inbox where state = 'waiting'").await,
            0,
            "{}",
            world.name
        );
        let ends =
            "select outcome as t from clerk_sync.inbox where svix_id in ('msg_0w', 'msg_1w', 'msg_2w', 'msg_other')";
        assert_eq!(texts(&world, ends).await, ["tombstoned"; 4], "{}", world.name);
    }
}

#[tokio::test]
async fn what_names_neither_the_id_nor_the_pair_is_refused() {
    for world in books(1).await {
        let lacks = [
            &["id", "organization"] as &[&str],
            &["id", "public_user_data"],
            &["id", "organization", "public_user_data"],
        ];
        for (n, lacks) in lacks.into_iter().enumerate() {
            let id = format!("msg_{n}");
            assert_eq!(deliver(&world, &id, &end("p0", lacks)).await, "rejected rejected");
            let reason = world.inbox(&id).await.reason.unwrap();
            assert_eq!(reason, "malformed: data names neither the membership's id nor its organisation and user");
        }
        assert_eq!(
            number(&world, "select count(*) as n from clerk_sync.subjects where kind like 'membership%'").await,
            0
        );
    }
}

#[tokio::test]
async fn the_ends_of_one_batch_see_what_the_batch_says() {
    for world in books(2).await {
        // Update, creation and end in one batch, in the order in which the end finds nothing yet.
        world.deliver("msg_1", &updated("p0", 8, "org:admin", &["organization"])).await;
        world.deliver("msg_2", &end("p0", &["organization", "public_user_data", "created_at"])).await;
        world.deliver("msg_3", &member("books", "p0", 5, "org:member")).await;
        world.deliver("msg_4", &member("books", "p1", 5, "org:member")).await;
        world.deliver("msg_5", &end("p1", &["public_user_data"])).await;
        world.drain().await;
        assert!(members(&world).await.is_empty(), "{}", world.name);
        assert_eq!(
            number(&world, "select members_count as n from clerk_sync.organizations").await,
            0,
            "{}",
            world.name
        );
        assert_eq!(
            number(&world, "select count(*) as n from clerk_sync.inbox where state not in ('done', 'skipped')").await,
            0
        );
    }
}

#[tokio::test]
async fn the_bodies_that_were_refused_once() {
    let body = |name: &str| {
        let path = format!("{}/tests/cases/{name}.json", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_slice::<Value>(&std::fs::read(path).unwrap()).unwrap()
    };
    for end in ["06d-ended-without-role", "06f-ended-without-public_user_data"] {
        for organization in ["06b-organization", "02f-organization"] {
            for world in worlds(&[]).await {
                for setup in ["06a-user", organization, "06c-membership"] {
                    assert_eq!(deliver(&world, setup, &body(setup)).await, "done created", "{}: {setup}", world.name);
                }
                // Its user is not here: no end is needed for it to show nothing.
                assert_eq!(deliver(&world, "02g", &body("02g-membership")).await, "waiting waiting", "{}", world.name);
                assert_eq!(deliver(&world, end, &body(end)).await, "done deleted", "{}: {end}", world.name);
                assert!(members(&world).await.is_empty(), "{}: {end}", world.name);
            }
        }
    }
}
