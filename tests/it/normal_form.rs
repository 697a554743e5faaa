//! Two spellings of one mailbox are one address, and two mailboxes are two: in look-ups, clashes, decisions and returns.

use clerk_sync::db::{Pool, Stmt};
use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};

use crate::support::{
    cases::case,
    people::{address, deleted, user, with},
    server::{ADMIN, READER, Server, answer},
    steps,
    world::{World, worlds},
};

const STEP: &str = "m20261130_000023_normal_form";

/// Spellings of one mailbox.
const TWINS: [(&str, &str); 6] = [
    ("j\u{fc}rgen@example.com", "ju\u{308}rgen@example.com"),
    ("user@b\u{fc}cher.example", "user@xn--bcher-kva.example"),
    ("USER2@B\u{dc}CHER.example", "user2@bu\u{308}cher.EXAMPLE"),
    ("a@\u{ff45}\u{ff58}ample.com", "a@example.com"),
    ("b@example\u{3002}com", "b@example.com"),
    ("C\u{e9}@example.com", "c\u{e9}@Example.com"),
];

/// Mailboxes that are not one.
const OTHERS: [(&str, &str); 4] = [
    ("\u{212a}@example.com", "k@example.com"),
    ("\u{fb01}n@example.com", "fin@example.com"),
    ("\u{c4}@example.com", "\u{e4}@example.com"),
    ("\u{130}@example.com", "i@example.com"),
];

fn mail(name: &str, at: u64, spelled: &str) -> Value {
    with(user(name, at), "email_addresses", json!([address(spelled, &format!("idn_{name}"))]))
}

async fn texts(world: &World, sql: &str) -> Vec<String> {
    rows(&world.app.db.read, sql).await
}

async fn rows(db: &Pool, sql: &str) -> Vec<String> {
    let rows = Stmt::new(db, "").sql(sql).all(db).await.unwrap();
    rows.iter().map(|row| row.try_get("", "t").unwrap()).collect()
}

#[tokio::test]
async fn composed_and_decomposed_letters_are_one_mailbox() {
    for world in worlds(&[]).await {
        world.deliver("msg_nfc", &case("12a-nfc")).await;
        world.drain().await;
        world.deliver("msg_nfd", &case("12b-nfd")).await;
        world.drain().await;
        let row = world.inbox("msg_nfd").await;
        assert_eq!((row.state.as_str(), row.awaits.as_deref()), ("conflict", Some("user_2cases000000000000000000012")));
        assert_eq!(texts(&world, "select address as t from clerk_sync.conflicts").await, ["j\u{fc}rgen@example.com"]);
    }
}

#[tokio::test]
async fn twins_clash_and_others_do_not() {
    for world in worlds(&[]).await {
        for (index, (one, other)) in TWINS.iter().chain(&OTHERS).enumerate() {
            world.deliver(&format!("msg_a{index}"), &mail(&format!("a{index}"), 1, one)).await;
            world.drain().await;
            world.deliver(&format!("msg_b{index}"), &mail(&format!("b{index}"), 2, other)).await;
            world.drain().await;
            let expected = if index < TWINS.len() { "conflict" } else { "done" };
            let row = world.inbox(&format!("msg_b{index}")).await;
            assert_eq!(row.state, expected, "{}: {one} {other}: {:?}", world.name, row.reason);
        }
        // One user's two spellings are one address, verified if either is.
        let mut both = mail("z", 1, "z@b\u{fc}cher.example");
        both["data"]["email_addresses"][0]["verification"]["status"] = json!("unverified");
        both["data"]["email_addresses"].as_array_mut().unwrap().push(address("z@xn--bcher-kva.example", "idn_z2"));
        world.deliver("msg_z", &both).await;
        world.drain().await;
        let mine = "select e.normalised || case when e.verified then ' verified' else '' end as t
            from clerk_sync.email_addresses e join clerk_sync.users u on u.id = e.user_id where u.clerk_id = 'user_z'";
        assert_eq!(texts(&world, mine).await, ["z@xn--bcher-kva.example verified"], "{}", world.name);
    }
}

#[tokio::test]
async fn a_look_up_finds_the_mailbox_that_is_asked_for() {
    for server in Server::start_all(&[]).await {
        for (index, (one, other)) in TWINS.iter().chain(&OTHERS).enumerate() {
            let id = format!("user_l{index}");
            server.sync(&format!("msg_{index}"), &mail(&format!("l{index}"), 1, one)).await;
            for asked in [one, other] {
                let request = server.request(reqwest::Method::GET, "/v1/users", READER).query(&[("email", asked)]);
                let found = answer(request).await.json();
                let found: Vec<&str> =
                    found["data"].as_array().unwrap().iter().map(|row| row["clerk_id"].as_str().unwrap()).collect();
                let expected = if asked == one || index < TWINS.len() { vec![id.as_str()] } else { vec![] };
                assert_eq!(found, expected, "{}: {asked}", server.name);
            }
        }
        assert!(server.stop().await);
    }
}

/// An operator's decision, and the hash of a deleted user's address, hold for every spelling.
#[tokio::test]
async fn decisions_and_returns_hold_for_every_spelling() {
    for server in Server::start_all(&[]).await {
        server.sync("msg_1", &mail("ada", 1, "shared@b\u{fc}cher.example")).await;
        server.sync("msg_2", &mail("ben", 2, "shared@xn--bcher-kva.example")).await;
        let open = server.admin("/v1/admin/conflicts?state=open").await;
        let path = format!("/v1/admin/conflicts/{}/resolve", open["data"][0]["id"].as_str().unwrap());
        let decide = server.request(reqwest::Method::POST, &path, ADMIN).json(&json!({"decision": "take_over"}));
        assert_eq!(answer(decide).await.status, 200, "{}", server.name);
        server.settle().await;
        let db = &server.app.db.read;
        let holders =
            "select u.clerk_id as t from clerk_sync.email_addresses e join clerk_sync.users u on u.id = e.user_id";
        assert_eq!(rows(db, holders).await, ["user_ben"], "{}", server.name);
        server.sync("msg_3", &deleted("ben", 9)).await;
        server.sync("msg_4", &mail("ben2", 10, "SHARED@Bu\u{308}cher.example")).await;
        let kinds = rows(db, "select kind as t from clerk_sync.alerts where kind = 'return.noticed'").await;
        assert_eq!(kinds, ["return.noticed"], "{}", server.name);
        assert!(server.stop().await);
    }
}

/// An upgrade: rows in the former form come into the present one, twins of one user become one row, and what is parked
/// for a clash that is none is let in.
#[tokio::test]
async fn rows_from_before_are_put_into_the_present_form() {
    for world in worlds(&[]).await {
        let db = &world.app.db.write;
        for (at, name) in [(1, "ada"), (2, "ben"), (3, "cy")] {
            world.deliver(&format!("msg_{name}"), &user(name, at)).await;
        }
        world.drain().await;
        steps::take_back(&world.app.db, STEP).await;
        let addresses =
            "insert into clerk_sync.email_addresses (user_id, normalised, email_address, verified, \"primary\")
            select id, lower(a), b, v, p from clerk_sync.users join (";
        let rows = [
            ("ada", "u@b\u{fc}cher.example", "U@B\u{fc}cher.example", false, true),
            ("ada", "u@xn--bcher-kva.example", "u@xn--bcher-kva.example", true, false),
            ("ada", "ju\u{308}@x.example", "ju\u{308}@x.example", true, false),
            ("ada", "j\u{fc}@x.example", "j\u{fc}@x.example", false, false),
            ("ben", "k@x.example", "\u{212a}@x.example", true, true),
            ("ben", "\u{e4}@x.example", "\u{c4}@x.example", true, false),
        ];
        let select: Vec<String> = rows
            .iter()
            .map(|(user, a, b, v, p)| format!("select 'user_{user}' as u, '{a}' as a, '{b}' as b, {v} as v, {p} as p"))
            .collect();
        db.execute_unprepared(
            "delete from clerk_sync.email_addresses where email_address in ('ada@example.com', 'ben@example.com')",
        )
        .await
        .unwrap();
        db.execute_unprepared(&format!("{addresses}{}) x on clerk_id = u", select.join(" union all "))).await.unwrap();
        // Parked for a clash with the Kelvin sign; and decisions and conflicts that become one.
        world.deliver("msg_dee", &mail("dee", 4, "k@x.example")).await;
        db.execute_unprepared(&format!(
            "update clerk_sync.inbox set state = 'conflict', outcome = 'conflict', awaits = 'user_ben' where svix_id = 'msg_dee';
            insert into clerk_sync.conflicts (id, clerk_id, address, other_clerk_id, svix_id, state, opened_at) values
                ({}, 'user_dee', 'k@x.example', 'user_ben', 'msg_dee', 'open', '2026-01-01T00:00:00.000+00:00'),
                ({}, 'user_eve', 'u@b\u{fc}cher.example', 'user_ada', null, 'open', '2026-01-01T00:00:00.000+00:00'),
                ({}, 'user_eve', 'u@xn--bcher-kva.example', 'user_ada', null, 'open', '2026-01-02T00:00:00.000+00:00'),
                ({}, 'user_eve', 'u@b\u{fc}cher.example', 'user_ada', null, 'resolved', '2025-01-02T00:00:00.000+00:00');
            insert into clerk_sync.conflict_decisions (id, newcomer, older, address, decision, actor, decided_at) values
                ({}, 'user_eve', 'user_ben', '\u{e4}@x.example', 'keep_existing', 'a', '2026-01-01T00:00:00.000+00:00'),
                ({}, 'user_eve', 'user_ada', 'u@b\u{fc}cher.example', 'keep_existing', 'a', '2026-01-02T00:00:00.000+00:00'),
                ({}, 'user_eve', 'user_ada', 'u@xn--bcher-kva.example', 'take_over', 'a', '2026-01-01T00:00:00.000+00:00')",
            id(1), id(2), id(3), id(4), id(5), id(6), id(7)
        ))
        .await
        .unwrap();
        let all = async || tables(&world).await;
        steps::apply(&world.app.db).await;
        let present = [
            vec![
                "user_ada j\u{fc}@x.example j\u{fc}@x.example verified",
                "user_ada u@xn--bcher-kva.example U@B\u{fc}cher.example verified primary",
                "user_ben \u{c4}@x.example \u{c4}@x.example verified",
                "user_ben \u{212a}@x.example \u{212a}@x.example verified primary",
                "user_cy cy@example.com cy@example.com verified primary",
            ],
            vec![
                "user_dee k@x.example open",
                "user_eve u@xn--bcher-kva.example resolved",
                "user_eve u@xn--bcher-kva.example open",
            ],
            vec!["user_ada u@xn--bcher-kva.example keep_existing", "user_ben \u{c4}@x.example keep_existing"],
        ];
        assert_eq!(all().await, present, "{}", world.name);
        world.drain().await;
        assert_eq!(world.inbox("msg_dee").await.state, "done", "{}", world.name);
        let dee = "select state as t from clerk_sync.conflicts where clerk_id = 'user_dee'";
        assert_eq!(texts(&world, dee).await, ["resolved"], "{}", world.name);
        // Back and up again, and a second time changes nothing.
        let before = all().await;
        steps::take_back(&world.app.db, STEP).await;
        assert!(
            texts(&world, "select normalised as t from clerk_sync.email_addresses")
                .await
                .contains(&"\u{e4}@x.example".to_owned())
        );
        steps::apply(&world.app.db).await;
        assert_eq!(all().await, before, "{}", world.name);
    }
}

fn id(n: u8) -> String {
    format!("'00000000-0000-7000-8000-00000000000{n}'")
}

/// Addresses, conflicts and decisions.
async fn tables(world: &World) -> [Vec<String>; 3] {
    let mut addresses = texts(
        world,
        "select u.clerk_id || ' ' || e.normalised || ' ' || e.email_address
            || case when e.verified then ' verified' else '' end || case when e.\"primary\" then ' primary' else '' end as t
            from clerk_sync.email_addresses e join clerk_sync.users u on u.id = e.user_id",
    )
    .await;
    addresses.sort();
    let conflicts =
        "select clerk_id || ' ' || address || ' ' || state as t from clerk_sync.conflicts order by clerk_id, opened_at";
    let decisions =
        "select older || ' ' || address || ' ' || decision as t from clerk_sync.conflict_decisions order by older";
    [addresses, texts(world, conflicts).await, texts(world, decisions).await]
}

/// More rows than one chunk, of many users.
#[tokio::test]
async fn every_row_is_rewritten_however_many() {
    for world in worlds(&[]).await {
        let db = &world.app.db.write;
        steps::take_back(&world.app.db, STEP).await;
        let (id, series) = if world.name == "postgres" {
            ("gen_random_uuid()", "select n from generate_series(1, 1300) n")
        } else {
            (
                "'00000000-0000-7000-8000-' || printf('%012d', n)",
                "with recursive s (n) as (select 1 union all select n + 1 from s where n < 1300) select n from s",
            )
        };
        db.execute_unprepared(&format!(
            "insert into clerk_sync.users (id, clerk_id, status, created_at, updated_at)
                select {id}, 'user_' || n, 'active', '2026-01-01T00:00:00.000+00:00', '2026-01-01T00:00:00.000+00:00' from ({series}) x;
            insert into clerk_sync.email_addresses (user_id, normalised, email_address, verified, \"primary\")
                select id, clerk_id || '@b\u{fc}cher.example', clerk_id || '@b\u{fc}cher.example', true, true from clerk_sync.users"
        ))
        .await
        .unwrap();
        steps::apply(&world.app.db).await;
        let count = "select cast(count(*) as text) as t from clerk_sync.email_addresses where normalised like '%@xn--bcher-kva.example'";
        assert_eq!(texts(&world, count).await, ["1300"], "{}", world.name);
    }
}
