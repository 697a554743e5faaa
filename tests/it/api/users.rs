//! `/v1/users`.

use std::collections::BTreeSet;

use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::support::server::{READER, Server, answer, deletion, email, person};

fn ids(list: &Value) -> Vec<String> {
    list["data"].as_array().unwrap().iter().map(|user| user["clerk_id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_person_is_shown_by_either_id_and_only_while_live() {
    for server in Server::start_all(&[]).await {
        let changes = json!({"username": "ada", "public_metadata": {"plan": "pro"}, "private_metadata": {"k": "v"}});
        server.sync("msg_1", &person("user_ada", 1, changes)).await;
        let shown = server.read("/v1/users/user_ada").await;
        let id = shown["id"].as_str().unwrap();
        assert_eq!(server.read(&format!("/v1/users/{id}")).await, shown);
        assert_eq!(server.read(&format!("/v1/users/{}", id.to_uppercase())).await, shown);
        assert_eq!(shown["clerk_id"], "user_ada");
        assert_eq!(shown["email"], "user_ada@example.com");
        assert_eq!(shown["public_metadata"], json!({"plan": "pro"}));
        assert_eq!(shown["roles"], json!(["user"]));
        assert_eq!(shown["clerk_created_at"], "2023-11-14T22:13:20.000Z");
        assert_eq!(server.read("/v1/users").await, json!({"data": [shown], "next_cursor": null}));
        for hidden in ["version", "private_metadata"] {
            assert!(shown.get(hidden).is_none(), "{hidden} is shown");
        }
        // What names nobody.
        for other in [
            "user_bob",
            "019ab3f0-7e2c-7cc0-8f00-0123456789ab",
            "me",
            "org_1",
            "ada",
            "user_ada%20",
            "%FF",
            "%00",
            "%zz",
            "user_ada%00",
            "'",
            "..%2f..%2fetc",
            &"user_a".repeat(900),
            &id.replace('-', ""),
        ] {
            let answer = server.get(&format!("/v1/users/{other}"), READER).await;
            answer.is_problem(404, "not_found", other);
        }
        server.sync("msg_2", &deletion("user_ada")).await;
        server.cached("user_ada").await;
        for path in ["/v1/users/user_ada".to_owned(), format!("/v1/users/{id}")] {
            server.get(&path, READER).await.is_problem(404, "not_found", "a deleted person");
        }
        for path in ["/v1/users", "/v1/users?clerk_id=user_ada", "/v1/users?email=user_ada@example.com"] {
            assert_eq!(server.read(path).await, json!({"data": [], "next_cursor": null}), "{path}");
        }
    }
}

#[tokio::test]
async fn a_known_rev_is_not_sent_again() {
    for server in Server::start_all(&[]).await {
        server.sync("msg_1", &person("user_ada", 1, json!({}))).await;
        let ask = async |tag: &str| {
            let request = server.request(Method::GET, "/v1/users/user_ada", READER).header(header::IF_NONE_MATCH, tag);
            answer(request).await
        };
        let first = server.get("/v1/users/user_ada", READER).await;
        let tag = first.header("etag").to_owned();
        assert_eq!(tag, server.tag(&first.json()["rev"]));
        assert_eq!(first.header("cache-control"), "private, no-cache");
        assert_eq!(first.header("content-type"), "application/json");
        let again = ask(&tag).await;
        assert_eq!((again.status, again.text.as_str(), again.header("etag")), (304, "", tag.as_str()));
        assert_eq!(ask(&format!("\"none\", {tag}")).await.status, 304);
        assert_eq!(ask("W/\"0\"").await.status, 200);
        server.sync("msg_2", &person("user_ada", 2, json!({"first_name": "Grace"}))).await;
        server.cached("user_ada").await;
        let changed = ask(&tag).await;
        assert_eq!((changed.status, &changed.json()["first_name"]), (200, &json!("Grace")));
        assert_ne!(changed.header("etag"), tag);
        server.sync("msg_3", &deletion("user_ada")).await;
        server.cached("user_ada").await;
        assert_eq!(ask(changed.header("etag")).await.status, 404);
        // HEAD says the same and sends nothing.
        server.sync("msg_4", &person("user_bob", 1, json!({}))).await;
        let head = answer(server.request(Method::HEAD, "/v1/users/user_bob", READER)).await;
        assert_eq!((head.status, head.text.as_str()), (200, ""));
        assert!(head.header("etag").starts_with("W/"));
    }
}

#[tokio::test]
async fn people_are_found_by_verified_address_and_by_clerk_id() {
    for server in Server::start_all(&[]).await {
        let two = json!({"email_addresses": [email("idn_1", "Ada.Quill@Example.com", true), email("idn_2", "shared@example.com", false)]});
        server.sync("msg_1", &person("user_ada", 1, two)).await;
        let one = json!({"email_addresses": [email("idn_1", "shared@example.com", true)]});
        server.sync("msg_2", &person("user_bob", 1, one)).await;
        let tagged = json!({"email_addresses": [email("idn_1", "eve+test@example.com", true), email("idn_2", "claimed@example.com", false)]});
        server.sync("msg_3", &person("user_eve", 1, tagged)).await;
        for (query, found) in [
            ("email=ada.quill@example.com", vec!["user_ada"]),
            ("email=ADA.QUILL%40EXAMPLE.COM", vec!["user_ada"]),
            ("email=+ada.quill@example.com%20", vec!["user_ada"]),
            ("email=eve%2Btest@example.com", vec!["user_eve"]),
            ("email=eve+test@example.com", vec!["user_eve"]),
            ("email=EVE%20test%40example.com", vec!["user_eve"]),
            ("email=shared@example.com", vec!["user_bob"]),
            ("email=claimed@example.com", vec![]),
            ("email=nobody@example.com", vec![]),
            ("email=ada.quill", vec![]),
            ("email=%25", vec![]),
            ("clerk_id=user_eve", vec!["user_eve"]),
            ("clerk_id=user_none", vec![]),
            ("clerk_id=user_bob&email=shared@example.com", vec!["user_bob"]),
            ("clerk_id=user_ada&email=shared@example.com", vec![]),
            ("", vec!["user_ada", "user_bob", "user_eve"]),
        ] {
            assert_eq!(ids(&server.read(&format!("/v1/users?{query}")).await), found, "{}: {query}", server.name);
        }
    }
}

#[tokio::test]
async fn what_cannot_be_understood_is_refused() {
    let server = Server::start(&[]).await;
    let long = format!("email={}", "a".repeat(5000));
    for query in [
        "limit=0",
        "limit=201",
        "limit=-1",
        "limit=+5",
        "limit=ten",
        "limit=",
        "limit=1e2",
        "limit=99999999999999999999",
        "cursor=nonsense",
        "cursor=%FF",
        "cursor=ZXZlbnRzOjE",
        "email=",
        "clerk_id=",
        "email=a&email=b",
        "emial=ada@example.com",
        "email=%00",
        &long,
    ] {
        let answer = server.get(&format!("/v1/users?{query}"), READER).await;
        answer.is_problem(422, "invalid_request", query);
    }
    assert_eq!(server.read("/v1/users?limit=200&cursor=").await["data"], json!([]));
}

#[tokio::test]
async fn pages_show_everybody_once_whoever_comes_and_goes() {
    for server in Server::start_all(&[]).await {
        let all: Vec<String> = (0..250).map(|n| format!("user_page{n:03}")).collect();
        for some in all.chunks(50) {
            let deliveries = some.iter().map(|id| {
                let server = &server;
                async move { server.deliver(&format!("msg_{id}"), &person(id, 1, json!({}))).await }
            });
            assert!(futures_util::future::join_all(deliveries).await.iter().all(|status| *status == 200));
        }
        server.settle().await;
        assert_eq!(server.read("/v1/users").await["data"].as_array().unwrap().len(), 50, "the default");
        for limit in [7, 125, 200] {
            let (mut seen, mut pages, mut cursor) = (Vec::new(), 0, String::new());
            loop {
                let page = server.read(&format!("/v1/users?limit={limit}&cursor={cursor}")).await;
                seen.extend(page["data"].as_array().unwrap().clone());
                pages += 1;
                match page["next_cursor"].as_str() {
                    Some(next) => cursor = next.to_owned(),
                    None => break,
                }
                assert_eq!(page["data"].as_array().unwrap().len(), limit);
            }
            assert_eq!((seen.len(), pages), (250, 250_usize.div_ceil(limit)), "{}", server.name);
            let order: Vec<&str> = seen.iter().map(|user| user["id"].as_str().unwrap()).collect();
            assert!(order.is_sorted());
            let distinct: BTreeSet<&str> = seen.iter().map(|user| user["clerk_id"].as_str().unwrap()).collect();
            assert_eq!(distinct.len(), 250);
        }
        // The last person shown goes before the next page is asked for.
        let page = server.read("/v1/users?limit=100").await;
        let last = page["data"][99]["clerk_id"].as_str().unwrap();
        server.sync("msg_gone", &deletion(last)).await;
        let next = page["next_cursor"].as_str().unwrap();
        let rest = server.read(&format!("/v1/users?limit=200&cursor={next}")).await;
        assert_eq!((rest["data"].as_array().unwrap().len(), &rest["next_cursor"]), (150, &Value::Null));
        // Those who are gone take up no room on a page.
        assert_eq!(server.read("/v1/users?limit=100").await["data"].as_array().unwrap().len(), 100);
    }
}
