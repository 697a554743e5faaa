//! `/v1/search/users`: the question and the answer. What is found is the search seam's own matter.

use serde_json::json;

use crate::support::server::{READER, Server, deletion, person};

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
