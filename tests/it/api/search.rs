//! `/v1/search/users`: the question and the answer. What is found is the search seam's own matter.

use std::time::Duration;

use reqwest::Method;
use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::{
    meili::{Double, KEY},
    server::{READER, Server, answer, deletion, person},
    world::worlds,
};

const HANAKO: &str = "user_2cases000000000000000000018";

#[tokio::test]
async fn the_found_are_shown_as_they_are_now() {
    for server in Server::start_all(&[]).await {
        server.sync("msg_1", &person("user_ada", 1, json!({}))).await;
        server.sync("msg_2", &person("user_adb", 1, json!({}))).await;
        server.sync("msg_3", &person("user_bob", 1, json!({"first_name": "Zed", "last_name": "Zimmer"}))).await;
        server.caught_up("search:database").await;
        let found = server.read("/v1/search/users?q=user_ad").await;
        let names = |list: &serde_json::Value| {
            let users = list["data"].as_array().unwrap().iter();
            users.map(|user| user["clerk_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!((names(&found), &found["next_cursor"]), (vec!["user_ada".into(), "user_adb".into()], &json!(null)));
        assert_eq!(found.get("degraded"), None, "{}", server.name);
        assert_eq!(found["data"][0], server.read("/v1/users/user_ada").await);
        assert_eq!(names(&server.read("/v1/search/users?q=user_ad&limit=1").await).len(), 1);
        // The one that is meant first; one slip away is the other.
        assert_eq!(names(&server.read("/v1/search/users?q=%20USER_ADA%20").await)[0], "user_ada");
        assert_eq!(names(&server.read("/v1/search/users?q=zebra").await), [""; 0]);
        server.sync("msg_4", &deletion("user_ada")).await;
        server.caught_up("search:database").await;
        assert_eq!(names(&server.read("/v1/search/users?q=user_ad").await), ["user_adb"]);
    }
}

#[tokio::test]
async fn a_question_is_asked() {
    let server = Server::start(&[]).await;
    let (longest, longer) = ("é".repeat(256), "é".repeat(257));
    for query in ["", "q=", "q=%20%20", "q=%00", &format!("q={longer}"), "q=a&limit=0", "q=a&limit=101", "q=a&p=1"] {
        let answer = server.get(&format!("/v1/search/users?{query}"), READER).await;
        answer.is_problem(422, "invalid_request", query);
    }
    for query in [format!("q={longest}").as_str(), "q=%25", "q=%22%27*%20OR%201%3D1", "q=%FF%FE"] {
        assert_eq!(server.read(&format!("/v1/search/users?{query}")).await["data"], json!([]), "{query}");
    }
}

/// Without an index the database finds people by the beginnings of their names and addresses, and the response says so.
#[tokio::test]
async fn while_meilisearch_is_away_the_database_finds_by_prefix() {
    for server in Server::start_all(&[("meili.url", "http://127.0.0.1:1")]).await {
        let hanako: Value = serde_json::from_str(include_str!("../../cases/13-cjk-name.json")).unwrap();
        assert_eq!(server.deliver("msg_hanako", &hanako).await, 200);
        let named = |first: &str, last: &str, username: Value| json!({"first_name": first, "last_name": last, "username": username});
        let people = [
            ("user_ada", named("Ada", "Quill", json!("Quilly_1"))),
            ("user_lukasz", named("Łukasz", "Żółć", json!(null))),
            ("user_vincent", named("Vincent", "van der Berg", json!(null))),
            ("user_minsu", named("민수", "김", json!(null))),
            ("user_long", named(&"Long".repeat(125), &"Name".repeat(125), json!(null))),
        ];
        for (id, changes) in &people {
            server.deliver(&format!("msg_{id}"), &person(id, 1, changes.clone())).await;
        }
        server.settle().await;
        let cases: [(&str, &[&str]); 9] = [
            (HANAKO, &["佐藤花子", "花子佐藤", "佐藤 花子", "佐藤　花", "花子", "佐", "hanako@", "HANAKO@example.com"]),
            ("user_ada", &["ada", "ADA", "Qui", "ada quill", "Quill ada", "quill a", "quilly_", "user_ada@EX"]),
            ("user_lukasz", &["łukasz", "ŁUK", "Łukasz żół", "ŻÓŁĆ", "żółć łukasz"]),
            ("user_vincent", &["vincent van der", "VAN DER BERG vin", "van d"]),
            ("user_minsu", &["김민수", "민수 김", "김"]),
            ("user_long", &["longlong", "namename", &"long".repeat(60)]),
            ("", &["da", "quill bob", "a%", "a_a", "zoe", "藤", "花子 佐藤 x"]),
            ("", &["idn_1", "active"]),
            ("", &["'; drop table clerk_sync.users; --"]),
        ];
        for (found, queries) in cases {
            for q in queries {
                let request = server.request(Method::GET, "/v1/search/users", READER).query(&[("q", q)]);
                let answer = answer(request).await;
                assert_eq!(answer.status, 200, "{}: {q}: {}", server.name, answer.text);
                let body = answer.json();
                assert_eq!(body["degraded"], json!(true), "{}: {q}", server.name);
                let ids: Vec<_> =
                    body["data"].as_array().unwrap().iter().map(|user| user["clerk_id"].clone()).collect();
                let expected: Vec<_> = (!found.is_empty()).then(|| json!(found)).into_iter().collect();
                assert_eq!(ids, expected, "{}: {q}", server.name);
            }
        }
        // The whole name before its beginning, and no more than was asked for.
        server.sync("msg_adam", &person("user_adam", 1, named("Adam", "Ada Quillon", json!(null)))).await;
        let both = server.read("/v1/search/users?q=ada%20quill").await;
        assert_eq!(both["data"][0]["clerk_id"], "user_ada", "{}", server.name);
        assert_eq!(both["data"].as_array().unwrap().len(), 2, "{}", server.name);
        let one = server.read("/v1/search/users?q=ada&limit=1").await;
        assert_eq!(one["data"].as_array().unwrap().len(), 1, "{}", server.name);
        server.sync("msg_gone", &deletion("user_ada")).await;
        let left = server.read("/v1/search/users?q=quill").await;
        assert_eq!(left["data"], json!([]), "{}: the deleted are not found", server.name);
    }
}

/// Over the wire, from the signed delivery to the search, on the database's own index.
#[tokio::test]
async fn a_cjk_name_is_found_as_it_is_written() {
    for server in Server::start_all(&[]).await {
        let hanako: Value = serde_json::from_str(include_str!("../../cases/13-cjk-name.json")).unwrap();
        server.sync("msg_hanako", &hanako).await;
        server.caught_up("search:database").await;
        for q in ["佐藤花子", "花子佐藤", "佐藤　花子", "花子", "佐"] {
            let request = server.request(Method::GET, "/v1/search/users", READER).query(&[("q", q)]);
            let body = answer(request).await.json();
            assert_eq!(body["data"][0]["clerk_id"], HANAKO, "{}: {q}", server.name);
            assert_eq!(body.get("degraded"), None);
        }
    }
}

/// The same through Meilisearch, and what becomes of a search when it hangs.
#[tokio::test]
async fn a_meilisearch_that_hangs_is_not_waited_for() {
    let double = Double::start().await;
    let server = Server::start(&[("meili.url", double.url()), ("meili.master_key", KEY)]).await;
    let hanako: Value = serde_json::from_str(include_str!("../../cases/13-cjk-name.json")).unwrap();
    server.sync("msg_hanako", &hanako).await;
    server.caught_up("search:meilisearch").await;
    let find = async |q: &str| answer(server.request(Method::GET, "/v1/search/users", READER).query(&[("q", q)])).await;
    let found = find("佐藤花子").await.json();
    assert_eq!((&found["data"][0]["clerk_id"], found.get("degraded")), (&json!(HANAKO), None));
    double.fail(|faults| faults.hang = true);
    let found = find("佐藤花子").await.json();
    assert_eq!((&found["data"][0]["clerk_id"], &found["degraded"]), (&json!(HANAKO), &json!(true)));
}

/// An index of an older version's documents is rebuilt by itself, once.
#[tokio::test]
async fn an_index_of_an_older_version_is_rebuilt() {
    for world in worlds(&[]).await {
        let hanako: Value = serde_json::from_str(include_str!("../../cases/13-cjk-name.json")).unwrap();
        world.deliver("msg_hanako", &hanako).await;
        world.drain().await;
        let app = &world.app;
        let sink = &app.sinks.search;
        let relay = app.relay();
        while !relay.drain(sink).await.unwrap() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // What the version before this one wrote.
        let older = "update clerk_sync.search_users set document = '  花子  佐藤  hanako@example.com  '";
        app.db.write.execute_unprepared(older).await.unwrap();
        let search_index = app.upkeep(&CancellationToken::new()).search_index;
        assert!(sink.search.search("佐藤花子", 5).await.unwrap().is_empty(), "{}", world.name);
        assert!(search_index.round().await.unwrap(), "{}", world.name);
        assert_eq!(sink.search.search("佐藤花子", 5).await.unwrap().len(), 1, "{}", world.name);
        app.db.write.execute_unprepared(older).await.unwrap();
        assert!(search_index.round().await.unwrap());
        assert!(sink.search.search("佐藤花子", 5).await.unwrap().is_empty(), "{}: not again", world.name);
    }
}
