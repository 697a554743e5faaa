//! `/v1/organizations` and what hangs on it.

use serde_json::{Value, json};

use crate::support::server::{READER, Server, person};

const AT: u64 = 1_700_000_000_000;

fn organization(id: &str) -> Value {
    json!({"type": "organization.created", "object": "event", "timestamp": AT + 10, "data": {"id": id, "name": format!("Name of {id}"),
        "slug": null, "created_by": "user_a", "private_metadata": {"k": "hidden-1"}, "created_at": AT, "updated_at": AT}})
}

fn member(organization: &str, user: &str, role: &str) -> Value {
    json!({"type": "organizationMembership.created", "object": "event", "timestamp": AT + 20,
        "data": {"id": format!("orgmem_{organization}_{user}"), "role": role, "permissions": ["org:sys:read"],
            "organization": {"id": organization}, "public_user_data": {"user_id": user}, "created_at": AT, "updated_at": AT}})
}

async fn story(server: &Server) {
    for user in ["user_a", "user_b", "user_c"] {
        server
            .sync(&format!("msg_{user}"), &person(user, 1, json!({"image_url": "https://img.example.com/1.png"})))
            .await;
    }
    for id in ["org_1", "org_2"] {
        server.sync(&format!("msg_{id}"), &organization(id)).await;
        server.sync(&format!("msg_{id}_a"), &member(id, "user_a", "org:admin")).await;
    }
    server.sync("msg_b", &member("org_1", "user_b", "org:member")).await;
    server.sync("msg_c", &member("org_1", "user_c", "basic_member")).await;
}

#[tokio::test]
async fn organizations_and_their_members_are_read() {
    for server in Server::start_all(&[]).await {
        story(&server).await;
        let list = server.read("/v1/organizations").await;
        assert_eq!(list["data"].as_array().unwrap().len(), 2, "{}", server.name);
        let one = server.read("/v1/organizations/org_1").await;
        assert_eq!(list["data"][0], one);
        let ada = server.read("/v1/users/user_a").await["id"].clone();
        assert_eq!((&one["name"], &one["members_count"], &one["owner_id"]), (&json!("Name of org_1"), &json!(3), &ada));
        assert!(one.get("private_metadata").is_none() && one.get("version").is_none(), "{one}");
        assert_eq!(server.read(&format!("/v1/organizations/{}", one["id"].as_str().unwrap())).await, one);

        let members = server.read("/v1/organizations/org_1/members").await;
        let names: Vec<&String> = members["data"][0].as_object().unwrap().keys().collect();
        assert_eq!(names, ["clerk_id", "display_name", "id", "image_url", "role"], "a public profile");
        assert_eq!(members["data"].as_array().unwrap().len(), 3);
        // A page at a time.
        let first = server.read("/v1/organizations/org_1/members?limit=2").await;
        let cursor = first["next_cursor"].as_str().unwrap();
        let second = server.read(&format!("/v1/organizations/org_1/members?limit=2&cursor={cursor}")).await;
        assert_eq!((second["data"].as_array().unwrap().len(), &second["next_cursor"]), (1, &Value::Null));

        let mine = server.read("/v1/users/user_a/organizations").await;
        let roles: Vec<(&Value, &Value)> =
            mine["data"].as_array().unwrap().iter().map(|row| (&row["clerk_id"], &row["role"])).collect();
        assert_eq!(roles, [(&json!("org_1"), &json!("org:admin")), (&json!("org_2"), &json!("org:admin"))]);
        assert_eq!(mine["data"][0]["permissions"], json!(["org:sys:read"]));

        for path in ["/v1/organizations/org_9", "/v1/organizations/nobody/members", "/v1/users/user_9/organizations"] {
            server.get(path, READER).await.is_problem(404, "not_found", path);
            server.get(path, "wrong").await.is_problem(401, "unauthenticated", path);
        }
        server.get("/v1/organizations?name=x", READER).await.is_problem(422, "invalid_request", server.name);
        let gone = json!({"type": "organization.deleted", "object": "event", "timestamp": AT + 90, "data": {"id": "org_1", "deleted": true}});
        server.sync("msg_gone", &gone).await;
        server.get("/v1/organizations/org_1", READER).await.is_problem(404, "not_found", server.name);
        assert_eq!(server.read("/v1/users/user_b/organizations").await["data"], json!([]));
        assert!(server.stop().await);
    }
}
