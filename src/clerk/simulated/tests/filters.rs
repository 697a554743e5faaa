//! Filters give what looking at everybody gives.

use super::{super::Kind, *};

/// Everybody whom `fits` fits, as ids, newest first.
fn whoever(sim: &Sim, fits: impl Fn(&Value) -> bool) -> Vec<String> {
    let mut ids = sim.world.ids(Kind::User, 0, u64::MAX);
    ids.retain(|id| fits(&sim.world.user(id).unwrap()));
    ids.reverse();
    ids
}

#[tokio::test]
async fn by_id_up_to_a_hundred_at_once() {
    let sim = Sim::new(300, 0, 0);
    let put = sim.world.put_user(person("put@example.com", NOW));
    let gone = sim.world.nth(Kind::User, 5).unwrap();
    sim.world.delete_user(&gone);
    let mut asked = sim.world.ids(Kind::User, 10, 97);
    asked.extend([put, gone, "user_nobody".to_owned()]);
    let query = |ids: &[String]| ids.iter().map(|id| format!("user_id={id}")).collect::<Vec<_>>().join("&");
    let expected = whoever(&sim, |user| asked.contains(&id(user)));
    assert_eq!(expected.len(), 98, "who is not there is ignored");
    assert_eq!(sim.ids(&format!("/users?limit=500&{}", query(&asked))).await, expected);
    assert_eq!(sim.ids(&format!("/users?{}", query(&asked))).await, expected[..10], "the limit holds here too");
    assert_eq!(sim.get(&format!("/users/count?{}", query(&asked))).await.1["total_count"], 98);
    assert_eq!(sim.modes.counts().most_ids, 100);
    let signs = format!("/users?user_id=%2B{}&user_id=-{}&user_id={}", asked[0], asked[1], asked[1]);
    assert_eq!(sim.ids(&signs).await, [asked[0].clone()]);
    let without = sim.ids(&format!("/users?limit=500&user_id=-{}", asked[0])).await;
    assert_eq!(without, whoever(&sim, |user| id(user) != asked[0]));
}

#[tokio::test]
async fn by_what_they_are_called() {
    let sim = Sim::new(200, 0, 0);
    let seeded = sim.world.nth(Kind::User, 40).unwrap();
    let moved = sim.world.nth(Kind::User, 41).unwrap();
    let old = sim.world.user(&moved).unwrap()["email_addresses"][0]["email_address"].as_str().unwrap().to_owned();
    sim.world.touch_user(&moved, |user| {
        user["email_addresses"][0]["email_address"] = "Moved@Example.com".into();
        user["external_id"] = "crm-1".into();
        user["username"] = "moved".into();
    });
    let email = sim.world.user(&seeded).unwrap()["email_addresses"][0]["email_address"].as_str().unwrap().to_owned();
    assert_eq!(sim.ids(&format!("/users?email_address={}", email.to_uppercase())).await, [seeded.as_str()]);
    assert_eq!(sim.ids("/users?email_address=moved%40example.com").await, [moved.as_str()]);
    assert!(sim.ids(&format!("/users?email_address={old}")).await.is_empty());
    assert_eq!(sim.ids(&format!("/users?email_address={email}&email_address=moved@example.com")).await.len(), 2);
    assert_eq!(sim.ids("/users?external_id=crm-1&external_id=crm-2").await, [moved.as_str()]);
    assert_eq!(sim.get("/users/count?external_id=-crm-1").await.1["total_count"], 199);
    assert_eq!(sim.ids("/users?username=moved").await, [moved.as_str()]);
    assert_eq!(sim.ids("/users?query=OVED%40").await, [moved.as_str()]);
    assert_eq!(sim.ids(&format!("/users?query={seeded}")).await, [seeded]);
    let named = |user: &Value| user["last_name"].as_str().unwrap().to_lowercase().contains("ross");
    assert_eq!(sim.ids("/users?name_query=ross&limit=500").await, whoever(&sim, named));
    let google = whoever(&sim, |user| !user["external_accounts"].as_array().unwrap().is_empty());
    let subject = sim.world.user(&google[0]).unwrap()["external_accounts"][0]["provider_user_id"].clone();
    let path = format!("/users?provider=oauth_google&provider_user_id={}", subject.as_str().unwrap());
    assert_eq!(sim.ids(&path).await, [google[0].clone()]);
}

#[tokio::test]
async fn by_time_and_state() {
    let sim = Sim::new(2_000, 0, 0);
    let time = |n| sim.world.user(&sim.world.nth(Kind::User, n).unwrap()).unwrap()["created_at"].as_i64().unwrap();
    // 60 to 63 were made at one moment.
    assert_eq!((time(60), time(59) <= time(60)), (time(63), true));
    let within = |member: &'static str, after: i64, before: i64| {
        whoever(&sim, move |user| user[member].as_i64().is_some_and(|at| at > after && at < before))
    };
    let (after, before) = (time(60), time(200));
    let expected = within("created_at", after, before);
    assert_eq!(
        sim.ids(&format!("/users?limit=500&created_at_after={after}&created_at_before={before}")).await,
        expected
    );
    let cursor = &expected[20];
    let path = format!("/users?limit=5&created_at_after={after}&created_at_before={before}&starting_after={cursor}");
    assert_eq!(sim.ids(&path).await, expected[21..26]);
    let signed = within("last_sign_in_at", after, before);
    let path = format!("/users?limit=500&last_sign_in_at_after={after}&last_sign_in_at_before={before}");
    assert_eq!(sim.ids(&path).await, signed);
    let banned = whoever(&sim, |user| user["banned"] == true);
    assert_eq!((sim.ids("/users?banned=true").await, banned.len()), (banned, 2));
    assert_eq!(sim.get("/users/count?banned=false").await.1["total_count"], 1_998);
    let path = format!("/users/count?created_at_after={after}&created_at_before={before}");
    assert_eq!(sim.get(&path).await.1["total_count"], expected.len());
}

#[tokio::test]
async fn by_organization_and_by_member() {
    let sim = Sim::new(60, 10, 130);
    let [first, second] = [0, 1].map(|n| sim.world.nth(Kind::Organization, n).unwrap());
    let user = sim.world.nth(Kind::User, 30).unwrap();
    let members = |organization: &str| {
        let ids = sim.world.memberships_of_organization(organization);
        let user = |id: &String| sim.world.membership(id).unwrap()["public_user_data"]["user_id"].clone();
        ids.iter().map(user).collect::<Vec<_>>()
    };
    let (of_first, of_second) = (members(&first), members(&second));
    assert!(of_first.len() > 5 && of_first != of_second);
    let path = format!("/users?limit=500&organization_id={first}&organization_id=-{second}");
    let expected = whoever(&sim, |user| of_first.contains(&user["id"]) && !of_second.contains(&user["id"]));
    assert_eq!(sim.ids(&path).await, expected);
    let body = sim.get(&format!("/organizations?user_id={user}")).await.1;
    assert_eq!(body["total_count"], sim.world.memberships_of_user(&user).len());
    assert_eq!(
        sim.ids(&format!("/organizations?organization_id={second}&organization_id=org_no")).await,
        [second.as_str()]
    );
    assert_eq!(sim.ids(&format!("/organizations?limit=500&organization_id=-{second}")).await.len(), 9);
    let name = sim.world.organization(&second).unwrap()["slug"].as_str().unwrap().to_owned();
    assert_eq!(sim.ids(&format!("/organizations?query={name}")).await, [second.as_str()]);
    let member = of_first[0].as_str().unwrap();
    let one = sim.list(&format!("/organizations/{first}/memberships?user_id={member}&user_id=user_no")).await;
    assert_eq!((one.len(), &one[0]["public_user_data"]["user_id"]), (1, &of_first[0]));
    let all = sim.list(&format!("/organizations/{first}/memberships?limit=500")).await;
    assert_eq!(all.len(), of_first.len());
    let admins = sim.list(&format!("/organizations/{first}/memberships?role=org:admin")).await;
    assert_eq!((admins.len(), &admins[0]["public_user_data"]["user_id"]), (1, &all[0]["organization"]["created_by"]));
}
