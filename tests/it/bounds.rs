//! Every value that reaches an index is bounded: the longest fits, and one byte more is left out with a reason.

use std::collections::BTreeMap;

use clerk_sync::db::{Pool, Stmt};
use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};

use crate::support::{
    cases::{case, noise},
    organizations::{member, organization, session},
    people::{address, user, with},
    server::{ADMIN, Server, answer},
    world::{postgres, worlds},
};

async fn texts(db: &Pool, sql: &str) -> Vec<String> {
    let rows = Stmt::new(db, "").sql(sql).all(db).await.unwrap();
    rows.iter().map(|row| row.try_get("", "t").unwrap()).collect()
}

/// State and reason of a delivery.
async fn end(server: &Server, svix_id: &str) -> String {
    let row = server.admin(&format!("/v1/admin/events/{svix_id}")).await;
    format!("{} {}", row["state"].as_str().unwrap(), row["reason"].as_str().unwrap_or_default())
}

/// An address of 320 bytes whose normal form is thrice as long.
fn longest_address() -> String {
    format!("xx{}@x", "\u{1d160}\u{1d161}\u{1d162}\u{1d163}\u{1d164}".repeat(16).chars().take(79).collect::<String>())
}

fn account(provider: &str, connection: Option<&str>, subject: &str) -> Value {
    json!([{"provider": provider, "enterprise_connection_id": connection, "provider_user_id": subject}])
}

/// What stands in an index of text, and its bound; `None` where the words are ours.
fn bounds() -> BTreeMap<&'static str, Option<i64>> {
    let address = Some(2 + 79 * 12 + 2);
    let (id, key, pair) = (Some(255), Some(512), Some(511));
    [
        ("users.clerk_id", id),
        ("users.external_id", key),
        ("users.username", key),
        ("users.email", Some(320)),
        ("email_addresses.normalised", address),
        ("federated_identities.provider", key),
        ("federated_identities.connection", key),
        ("federated_identities.provider_subject_id", key),
        ("roles.name", id),
        ("user_roles.source", None),
        ("organizations.clerk_id", id),
        ("organizations.slug", key),
        ("organization_memberships.clerk_id", id),
        ("organization_memberships.role", id),
        ("subjects.kind", None),
        ("subjects.key", pair),
        ("inbox.svix_id", id),
        ("inbox.subject", pair),
        ("inbox.awaits", id),
        ("inbox.awaits_too", id),
        ("inbox.state", None),
        ("outbox.subject", pair),
        ("audit_log.subject", pair),
        ("alerts.key", Some("return.noticed:".len() as i64 + 255)),
        ("conflicts.clerk_id", id),
        ("conflicts.other_clerk_id", id),
        ("conflicts.address", address),
        ("conflict_decisions.newcomer", id),
        ("conflict_decisions.older", id),
        ("conflict_decisions.address", address),
        // Ids of held deletions, which stand in `inbox.subject`.
        ("deletion_decisions.kind", None),
        ("deletion_decisions.subject", None),
        ("revoked_sessions.session_id", id),
        // The ids of parents, which stand in `inbox.awaits` too; written where thousands wait.
        ("wakes.parent", None),
        ("tombstone_addresses.digest", None),
        ("dead_letters.sink", None),
        ("sink_cursors.sink", None),
        ("leases.name", None),
        ("meta.key", None),
        ("seaql_migrations.version", None),
    ]
    .into()
}

#[tokio::test]
async fn the_longest_values_fit_into_every_index() {
    let role = noise(255, 1);
    for server in Server::start_all(&[("roles.path", "public_metadata.role"), ("roles.grantable", &role)]).await {
        let person = |salt| noise(250, salt);
        let (ada, ben, org) = (person(1), person(2), noise(251, 3));
        let full = |name: &str, at| {
            let mut body = user(name, at);
            let data = &mut body["data"];
            data["external_id"] = json!(noise(512, 4));
            data["username"] = json!(noise(512, 5));
            data["public_metadata"] = json!({"role": role});
            data["email_addresses"] = json!([address(&longest_address(), &format!("idn_{name}"))]);
            data["enterprise_accounts"] = account(&noise(512, 6).to_lowercase(), Some(&noise(512, 7)), &noise(512, 8));
            body
        };
        let mut svix = 100;
        let mut id = || {
            svix += 1;
            noise(255, svix)
        };
        server.sync(&id(), &full(&ada, 1)).await;
        server.sync(&id(), &full(&ben, 2)).await;
        // Decided, so that the newcomer enters; the identity is theirs then.
        let open = server.admin("/v1/admin/conflicts?state=open").await;
        let path = format!("/v1/admin/conflicts/{}/resolve", open["data"][0]["id"].as_str().unwrap());
        let decide = server.request(reqwest::Method::POST, &path, ADMIN).json(&json!({"decision": "take_over"}));
        assert_eq!(answer(decide).await.status, 200, "{}", server.name);
        server.settle().await;
        let mut body = organization(&org, &ada, 3);
        body["data"]["slug"] = json!(noise(512, 9));
        server.sync(&id(), &body).await;
        let longest =
            |name: &str, role: &str, salt| with(member(&org, name, salt, role), "id", json!(noise(255, salt)));
        server.sync(&id(), &longest(&ada, &role, 10)).await;
        let mut waits = member(&org, &person(11), 11, "org:member");
        waits["data"]["id"] = json!(noise(255, 17));
        waits["data"]["organization"]["id"] = json!(noise(255, 12));
        server.sync(&id(), &waits).await;
        let mut over = session("x", &ada, "ended");
        over["data"]["id"] = json!(noise(255, 13));
        server.sync(&id(), &over).await;
        server.sync(&id(), &json!({"type": noise(255, 14), "data": {"id": noise(255, 15)}})).await;
        // Gone, and back under another id: an alert about the longest id.
        server
            .sync(&id(), &json!({"type": "user.deleted", "data": {"id": format!("user_{ben}"), "deleted": true}}))
            .await;
        server.sync(&id(), &full(&person(16), 20)).await;
        let db = &server.app.db.read;
        let states =
            texts(db, "select state || ' ' || coalesce(reason, '') as t from clerk_sync.inbox order by seq").await;
        assert!(
            states.iter().all(|state| ["done ", "waiting", "skipped"].iter().any(|end| state.starts_with(end))),
            "{states:?}"
        );
        if server.name == "postgres" {
            check_indexes(db).await;
        }
        assert!(server.stop().await);
    }
}

/// That the values above stand in the indexes, and that no index has a text without a bound.
async fn check_indexes(db: &Pool) {
    let indexed = texts(
        db,
        "select distinct c.relname || '.' || a.attname as t from pg_index i
            join pg_class c on c.oid = i.indrelid join pg_class x on x.oid = i.indexrelid join pg_am m on m.oid = x.relam
            join pg_attribute a on a.attrelid = c.oid and a.attnum = any (i.indkey::int2[])
            where c.relnamespace = 'clerk_sync'::regnamespace and m.amname = 'btree'
                and a.atttypid in ('text'::regtype, 'varchar'::regtype) order by 1",
    )
    .await;
    let bounds = bounds();
    let known: Vec<String> = bounds.keys().map(|column| (*column).to_owned()).collect();
    assert_eq!(indexed, known, "every indexed text has a bound");
    for (column, bound) in bounds {
        let Some(bound) = bound else { continue };
        let (table, name) = column.split_once('.').unwrap();
        let longest = format!("select cast(max(octet_length({name})) as text) as t from clerk_sync.{table}");
        assert_eq!(texts(db, &longest).await, [bound.to_string()], "{column}");
    }
}

#[tokio::test]
async fn one_byte_more_is_left_out_and_named() {
    for server in Server::start_all(&[]).await {
        let mut ada = user("ada", 1);
        let data = &mut ada["data"];
        data["external_id"] = json!(noise(513, 1));
        data["username"] = json!(noise(513, 2));
        data["web3_wallets"] = json!([{"web3_wallet": noise(256, 3)}, {"web3_wallet": "0x1"}]);
        data["email_addresses"].as_array_mut().unwrap().push(address(&format!("{}@x", noise(319, 4)), "idn_2"));
        data["external_accounts"] = account(&format!("oauth_{}", noise(513, 5)), None, "1");
        data["enterprise_accounts"] = account("saml_custom", Some(&noise(513, 6)), "1");
        data["saml_accounts"] = account("saml_custom", None, &noise(513, 7));
        server.sync("msg_ada", &ada).await;
        assert_eq!(
            end(&server, "msg_ada").await,
            "done field.invalid: left empty: email_addresses, enterprise_accounts, external_accounts, external_id, \
             saml_accounts, username, web3_wallets",
            "{}",
            server.name
        );
        let row = server.read("/v1/users?clerk_id=user_ada").await["data"][0].clone();
        assert_eq!(
            (&row["identities"], &row["username"], &row["profile"]["web3_wallets"]),
            (&json!([]), &Value::Null, &json!(["0x1"])),
            "{}",
            server.name
        );
        let mut org = organization("books", "ada", 2);
        org["data"]["slug"] = json!(noise(513, 8));
        org["data"]["created_by"] = json!(noise(256, 9));
        server.sync("msg_org", &org).await;
        assert_eq!(
            end(&server, "msg_org").await,
            "done field.invalid: left empty: created_by, slug",
            "{}",
            server.name
        );
        let alerts = texts(&server.app.db.read, "select key as t from clerk_sync.alerts order by key").await;
        assert_eq!(alerts, ["field.invalid:org_books", "field.invalid:user_ada"], "{}", server.name);

        let long = || json!(noise(256, 10));
        let set = |mut body: Value, pointer: &str, value: Value| {
            *body.pointer_mut(pointer).unwrap() = value;
            body
        };
        let joins = || member("books", "ada", 3, "org:member");
        for (id, body, reason) in [
            ("msg_u", set(user("x", 1), "/data/id", long()), "data.id is longer than 255 bytes"),
            ("msg_d", json!({"type": "user.deleted", "data": {"id": long()}}), "data.id is longer than 255 bytes"),
            ("msg_o", set(organization("x", "ada", 1), "/data/id", long()), "data.id is longer than 255 bytes"),
            ("msg_m", set(joins(), "/data/id", long()), "data.id is longer than 255 bytes"),
            ("msg_mo", set(joins(), "/data/organization/id", long()), "data.organization.id is longer than 255 bytes"),
            (
                "msg_mu",
                set(joins(), "/data/public_user_data/user_id", long()),
                "data.public_user_data.user_id is longer than 255 bytes",
            ),
            ("msg_r", set(joins(), "/data/role", long()), "data.role is longer than 255 bytes"),
            (
                "msg_s",
                set(session("x", "ada", "ended"), "/data/id", long()),
                "data has no id, or one longer than 255 bytes",
            ),
        ] {
            server.sync(id, &body).await;
            assert_eq!(end(&server, id).await, format!("rejected malformed: {reason}"), "{}: {id}", server.name);
        }
        assert_eq!(server.deliver(&noise(256, 11), &user("ben", 1)).await, 400, "{}: svix-id", server.name);
        server.sync("msg_ben", &user("ben", 1)).await;
        assert_eq!(end(&server, "msg_ben").await, "done ", "{}: others go on", server.name);
        assert!(server.stop().await);
    }
}

#[tokio::test]
async fn a_subject_of_three_thousand_letters_stops_nobody() {
    for world in worlds(&[]).await {
        world.deliver("msg_long", &case("01-identity-subject-of-3000")).await;
        world.deliver("msg_ada", &user("ada", 1)).await;
        world.drain().await;
        let long = world.inbox("msg_long").await;
        assert_eq!(
            (long.state.as_str(), long.reason.as_deref()),
            ("done", Some("field.invalid: left empty: external_accounts")),
            "{}",
            world.name
        );
        assert_eq!(world.inbox("msg_ada").await.state, "done", "{}", world.name);
    }
}

/// An instance id that is too long is another instance's all the same.
#[tokio::test]
async fn an_instance_id_that_is_too_long_is_not_the_configured_one() {
    for world in worlds(&[("clerk.instance_id", "ins_tests".into())]).await {
        let mut body = user("ada", 1);
        body["instance_id"] = json!(noise(300, 1));
        world.deliver("msg_ada", &body).await;
        world.drain().await;
        assert_eq!(world.inbox("msg_ada").await.reason.as_deref(), Some("wrong instance"), "{}", world.name);
    }
}

/// Whatever outgrows an index all the same is an error of the data: the event is alone with it and ends `dead`.
#[tokio::test]
async fn a_value_that_outgrows_an_index_is_the_events_own_fault() {
    let Some(world) = postgres(&[("sync.max_attempts", "1".into())]).await else { return };
    let db = &world.app.db;
    db.write.execute_unprepared("create index by_image on clerk_sync.users (image_url)").await.unwrap();
    let picture = format!("https://img.example.com/{}", noise(4000, 1));
    world.deliver("msg_ada", &user("ada", 1)).await;
    world.deliver("msg_ben", &with(user("ben", 1), "image_url", json!(picture))).await;
    world.deliver("msg_cy", &user("cy", 1)).await;
    world.drain().await;
    for (id, state) in [("msg_ada", "done"), ("msg_ben", "dead"), ("msg_cy", "done")] {
        assert_eq!(world.inbox(id).await.state, state, "{id}");
    }
}
