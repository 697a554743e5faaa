//! People who share an organisation, as they see each other over HTTP; and what is not sent again.

use reqwest::{Method, header};
use serde_json::{Value, json};

use super::bed::{Bed, Org};
use crate::support::server::{ADMIN, Answer, READER, answer, deletion};

async fn with_tag(bed: &Bed, path: &str, token: &str, tag: &str) -> Answer {
    answer(bed.server.request(Method::GET, path, token).header(header::IF_NONE_MATCH, tag)).await
}

/// That somebody is not there for this caller: byte for byte as nobody is.
async fn is_nobody(bed: &Bed, path: &str, token: &str) {
    let (found, nobody) = (bed.server.get(path, token).await, bed.server.get("/v1/users/user_nobody", token).await);
    found.is_problem(404, "not_found", &format!("{}: {path}", bed.server.name));
    assert_eq!(found.text, nobody.text, "{path}");
    let names = |answer: &Answer| -> Vec<String> {
        let mut headers: Vec<_> = answer.headers.iter().filter(|(name, _)| *name != header::DATE).collect();
        headers.sort_by_key(|(name, _)| name.as_str());
        headers.iter().map(|(name, value)| format!("{name}: {value:?}")).collect()
    };
    assert_eq!(names(&found), names(&nobody), "{path}");
}

fn place(org: &Org, role: &str) -> Value {
    json!({"id": org.id, "clerk_id": org.clerk_id, "role": role})
}

#[tokio::test]
async fn who_shares_an_organisation_is_seen_as_a_public_profile() {
    for bed in Bed::each(&[]).await {
        let picture = json!({"image_url": "https://img.example.com/eve.png", "public_metadata": {"plan": "pro"}});
        let (eve, _) = (bed.person("eve", 1, picture).await, bed.person("ada", 1, json!({})).await);
        let (one, two) = (bed.organization("one").await, bed.organization("two").await);
        let token = bed.token("ada");
        let paths = [format!("/v1/users/{eve}"), "/v1/users/user_eve".to_owned()];
        bed.join(&one, "eve").await;
        for path in &paths {
            // A service has them read, so that a cache has them.
            assert_eq!(bed.server.get(path, READER).await.status, 200);
            is_nobody(&bed, path, &token).await;
        }
        bed.join(&one, "ada").await;
        bed.server
            .sql("update clerk_sync.organization_memberships set role = 'org:admin' where clerk_id = 'orgmem_3'")
            .await;
        for path in &paths {
            let shown = bed.server.get(path, &token).await;
            let expected = json!({
                "id": eve, "clerk_id": "user_eve", "display_name": "Ada Quill",
                "image_url": "https://img.example.com/eve.png", "role": "org:admin",
                "organizations": [place(&one, "org:admin")],
            });
            assert_eq!((shown.status, shown.json()), (200, expected), "{}: {path}", bed.server.name);
            assert_eq!(shown.header("cache-control"), "private, no-cache");
            assert_eq!(shown.header("vary"), "authorization, origin");
        }
        // In two: no role is the one.
        bed.join(&two, "eve").await;
        bed.join(&two, "ada").await;
        let mut places = [(one.id, place(&one, "org:admin")), (two.id, place(&two, "org:member"))];
        places.sort_by_key(|(id, _)| *id);
        let shown = bed.server.get(&paths[0], &token).await.json();
        assert_eq!(shown["role"], Value::Null, "{}", bed.server.name);
        assert_eq!(shown["organizations"], json!(places.map(|(_, place)| place)));
        // Where else they are, and everything else about them, is theirs.
        is_nobody(&bed, "/v1/users/user_eve/organizations", &token).await;
        assert_eq!(bed.server.get("/v1/users/user_ada/organizations", &token).await.status, 200);
        // Oneself one sees whole.
        assert_eq!(bed.server.get("/v1/users/user_ada", &token).await.json()["email"], "user_ada@example.com");
        // Somebody whose row is not here yet shares nothing.
        is_nobody(&bed, &paths[0], &bed.token("zoe")).await;
    }
}

#[tokio::test]
async fn a_profile_goes_with_what_was_shared() {
    for bed in Bed::each(&[]).await {
        for name in ["ada", "eve", "bob", "cyd"] {
            bed.person(name, 1, json!({})).await;
        }
        let (one, two) = (bed.organization("one").await, bed.organization("two").await);
        for name in ["ada", "eve", "cyd"] {
            bed.join(&one, name).await;
        }
        bed.join(&two, "ada").await;
        bed.join(&two, "bob").await;
        let token = bed.token("ada");
        let sees = async |name: &str| bed.server.get(&format!("/v1/users/user_{name}"), &token).await.status == 200;
        assert!(sees("eve").await && sees("bob").await && sees("cyd").await, "{}", bed.server.name);
        bed.leave(&one, "eve").await;
        is_nobody(&bed, "/v1/users/user_eve", &token).await;
        bed.dissolve(&two).await;
        is_nobody(&bed, "/v1/users/user_bob", &token).await;
        bed.deliver(&deletion("user_cyd")).await;
        is_nobody(&bed, "/v1/users/user_cyd", &token).await;
        // The caller's own part goes likewise.
        bed.join(&one, "eve").await;
        assert!(sees("eve").await);
        bed.leave(&one, "ada").await;
        is_nobody(&bed, "/v1/users/user_eve", &token).await;
    }
}

#[tokio::test]
async fn a_profile_that_is_known_is_not_sent_again() {
    for bed in Bed::each(&[]).await {
        bed.person("ada", 1, json!({})).await;
        bed.person("eve", 1, json!({})).await;
        let (one, two) = (bed.organization("one").await, bed.organization("two").await);
        bed.join(&one, "ada").await;
        bed.join(&one, "eve").await;
        let (path, token) = ("/v1/users/user_eve", bed.token("ada"));
        let tag = bed.server.get(path, &token).await.header("etag").to_owned();
        assert!(tag.starts_with("W/\"") && tag.ends_with('"'), "{tag}");
        for known in [tag.clone(), format!("\"a\", {tag}"), tag.replace("W/", ""), "*".to_owned()] {
            let again = with_tag(&bed, path, &token, &known).await;
            assert_eq!((again.status, again.text.as_str(), again.header("etag")), (304, "", tag.as_str()), "{known}");
            assert_eq!(again.header("cache-control"), "private, no-cache");
            assert_eq!(again.header("vary"), "authorization, origin");
        }
        // The tag of the whole object is of another audience, and the other way round.
        let whole = bed.server.get(path, READER).await.header("etag").to_owned();
        assert_eq!(with_tag(&bed, path, &token, &whole).await.status, 200);
        assert_eq!(with_tag(&bed, path, READER, &tag).await.status, 200);
        // Nothing of these is in the person's own row.
        let changed = async |tag: &str| {
            let answer = with_tag(&bed, path, &token, tag).await;
            assert_eq!(answer.status, 200, "{}: {}", bed.server.name, answer.text);
            answer.header("etag").to_owned()
        };
        bed.server.sql("update clerk_sync.organization_memberships set role = 'org:admin'").await;
        let tag = changed(&tag).await;
        bed.join(&two, "eve").await;
        assert_eq!(with_tag(&bed, path, &token, &tag).await.status, 304, "not shared: {}", bed.server.name);
        bed.join(&two, "ada").await;
        let tag = changed(&tag).await;
        bed.person("eve", 2, json!({"first_name": "Eva"})).await;
        let tag = changed(&tag).await;
        // Of who is not there any more nothing is known, whatever the caller brings.
        bed.leave(&one, "eve").await;
        for tag in [tag.as_str(), "*"] {
            let gone = with_tag(&bed, path, &token, tag).await;
            gone.is_problem(404, "not_found", bed.server.name);
            assert_eq!(gone.header("etag"), "");
        }
    }
}

#[tokio::test]
async fn an_organisation_that_is_known_is_not_sent_again() {
    for bed in Bed::each(&[]).await {
        bed.person("ada", 1, json!({})).await;
        bed.person("eve", 1, json!({})).await;
        let one = bed.organization("one").await;
        bed.join(&one, "ada").await;
        let token = bed.token("ada");
        let (sixth, seventh) = (bed.server.tag(&6), bed.server.tag(&7));
        for path in ["/v1/organizations/org_one".to_owned(), format!("/v1/organizations/{}", one.id)] {
            bed.server.sql("update clerk_sync.organizations set rev = 7").await;
            for token in [token.as_str(), READER, ADMIN] {
                let shown = bed.server.get(&path, token).await;
                assert_eq!((shown.status, shown.header("etag")), (200, seventh.as_str()), "{path}");
                assert_eq!(shown.header("content-type"), "application/json");
                let again = with_tag(&bed, &path, token, &format!("{sixth}, {seventh}")).await;
                assert_eq!((again.status, again.text.as_str(), again.header("etag")), (304, "", seventh.as_str()));
                assert_eq!(again.header("cache-control"), "private, no-cache");
            }
            // Whoever may not see it does not learn that it is there.
            for tag in [seventh.as_str(), "*"] {
                let refused = with_tag(&bed, &path, &bed.token("eve"), tag).await;
                refused.is_problem(404, "not_found", &path);
                assert_eq!(refused.header("etag"), "");
            }
            bed.server.sql("update clerk_sync.organizations set rev = 8").await;
            assert_eq!(with_tag(&bed, &path, &token, &seventh).await.status, 200, "{path}");
        }
        bed.leave(&one, "ada").await;
        with_tag(&bed, "/v1/organizations/org_one", &token, "*").await.is_problem(404, "not_found", "left");
    }
}
