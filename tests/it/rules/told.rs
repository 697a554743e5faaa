//! What ended sessions and changed profiles tell, and to whom.

use serde_json::{Value, json};

use super::{number, texts};
use crate::support::{
    organizations::{member, organization, session},
    people::{user, with},
    tables::read,
    world::{World, worlds},
};

async fn feed(world: &World, event: &str, after: i64) -> Vec<entity::outbox::Model> {
    use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder};
    let find = entity::outbox::Entity::find().order_by_asc(entity::outbox::Column::Seq);
    let find = find.filter(entity::outbox::Column::Event.eq(event)).filter(entity::outbox::Column::Seq.gt(after));
    find.all(&world.app.db.read).await.unwrap()
}

async fn head(world: &World) -> i64 {
    number(world, "select coalesce(max(seq), 0) as n from clerk_sync.outbox").await
}

#[tokio::test]
async fn an_ended_session_is_refused_for_a_day_and_told_inside_only() {
    for world in worlds(&[]).await {
        world.deliver("msg_ada", &user("ada", 1)).await;
        world.drain().await;
        let ada = texts(&world, "select cast(id as text) as t from clerk_sync.users").await;
        for what in ["ended", "removed", "revoked"] {
            world.deliver(&format!("msg_{what}"), &session(what, "ada", what)).await;
        }
        // Of somebody who is not here, too: their tokens may be in use.
        world.deliver("msg_stranger", &session("stranger", "nobody", "ended")).await;
        for what in ["created", "pending"] {
            world.deliver(&format!("msg_{what}"), &session(what, "ada", what)).await;
        }
        world.drain().await;
        // A second word about one session is no second row.
        world.deliver("msg_again", &session("ended", "ada", "revoked")).await;
        world.drain().await;
        let rows = entity_sessions(&world).await;
        let names: Vec<&str> = rows.iter().map(|row| row.session_id.as_str()).collect();
        assert_eq!(names, ["sess_ended", "sess_removed", "sess_revoked", "sess_stranger"], "{}", world.name);
        for row in &rows {
            let stays = row.expires_at - row.revoked_at;
            let day = chrono::Duration::hours(24);
            assert!(stays >= day && stays < day + chrono::Duration::minutes(1), "{}: {stays}", world.name);
        }
        let told = feed(&world, "session.revoked", 0).await;
        assert_eq!(told.len(), 5, "{}: each is told", world.name);
        for row in &told {
            assert_eq!(row.topic, "internal", "{}", world.name);
            let stranger = row.subject == "user_nobody";
            let routing = if stranger { json!([]) } else { json!([format!("user:{}", ada[0])]) };
            assert_eq!(row.routing, routing, "{}", world.name);
            let payload = read(&row.payload);
            let members: Vec<&String> = payload.as_object().unwrap().keys().collect();
            assert_eq!(members, ["clerk_id", "session_id"], "{}", world.name);
        }
        assert_eq!(
            number(
                &world,
                "select count(*) as n from clerk_sync.inbox where event_type like 'session.%' and body is not null"
            )
            .await,
            0
        );
        let others = [world.inbox("msg_created").await, world.inbox("msg_pending").await];
        assert!(others.iter().all(|row| row.outcome.as_deref() == Some("ignored")), "{}", world.name);
    }
}

async fn entity_sessions(world: &World) -> Vec<entity::revoked_sessions::Model> {
    use sea_orm::{EntityTrait, QueryOrder};
    let find = entity::revoked_sessions::Entity::find().order_by_asc(entity::revoked_sessions::Column::SessionId);
    find.all(&world.app.db.read).await.unwrap()
}

#[tokio::test]
async fn a_changed_profile_reaches_each_of_the_persons_organisations() {
    for world in worlds(&[]).await {
        let ada = with(user("ada", 1), "image_url", json!("https://img.example.com/1.png"));
        for (id, body) in [
            ("msg_ada", ada.clone()),
            ("msg_ben", user("ben", 1)),
            ("msg_o1", organization("books", "ada", 1)),
            ("msg_o2", organization("press", "ada", 1)),
            ("msg_o3", organization("club", "ben", 1)),
            ("msg_m1", member("books", "ada", 2, "org:admin")),
            ("msg_m2", member("press", "ada", 3, "org:member")),
            ("msg_m3", member("books", "ben", 4, "org:member")),
            ("msg_m4", member("club", "ben", 4, "org:member")),
        ] {
            world.deliver(id, &body).await;
        }
        world.drain().await;
        let step = async |id: &str, body: Value| {
            let before = head(&world).await;
            world.deliver(id, &body).await;
            world.drain().await;
            feed(&world, "membership.updated", before).await
        };
        let at = |n: u64| 1_760_000_000_000 + n;
        // Fields that no member sees of another tell nobody in the organisations.
        let quiet = with(with(ada.clone(), "updated_at", json!(at(10))), "public_metadata", json!({"plan": "pro"}));
        let quiet = with(quiet, "external_id", json!("crm-1"));
        assert_eq!(step("msg_1", quiet.clone()).await, [], "{}", world.name);
        let banned = with(with(quiet.clone(), "updated_at", json!(at(11))), "banned", json!(true));
        assert_eq!(step("msg_2", banned.clone()).await, [], "{}", world.name);
        let named = with(with(banned, "updated_at", json!(at(12))), "first_name", json!("Adah"));
        let told = step("msg_3", named.clone()).await;
        let subjects: Vec<&str> = told.iter().map(|row| row.subject.as_str()).collect();
        assert_eq!(subjects, ["org_books/user_ada", "org_press/user_ada"], "{}", world.name);
        for row in &told {
            assert_eq!(row.changed, json!(["display_name"]), "{}", world.name);
            assert_eq!(row.topic, "organizations");
            let payload = read(&row.payload);
            assert_eq!(payload["user"]["display_name"], "Adah Tester");
            let organization = payload["organization_id"].as_str().unwrap();
            let routing = row.routing.as_array().unwrap();
            assert!(routing.contains(&json!(format!("org:{organization}"))), "{}: {routing:?}", world.name);
            // What readers find in the row is no older than what they were told.
            let rev = format!("select rev as n from clerk_sync.organization_memberships where rev = {}", row.seq);
            assert_eq!(number(&world, &rev).await, row.seq, "{}", world.name);
            assert_eq!(payload["rev"], json!(row.seq));
        }
        let pictured =
            with(with(named.clone(), "updated_at", json!(at(13))), "image_url", json!("https://img.example.com/2.png"));
        let both = with(pictured, "last_name", json!("Quill"));
        let told = step("msg_4", both.clone()).await;
        assert!(told.iter().all(|row| row.changed == json!(["display_name", "image_url"])), "{}: {told:?}", world.name);
        assert_eq!(told.len(), 2);
        // In one batch with a new role, once, with both; and whoever has just joined was told whole.
        let before = head(&world).await;
        let promoted = with(member("press", "ada", 3, "org:admin"), "updated_at", json!(at(20)));
        world.deliver("msg_5", &promoted).await;
        world.deliver("msg_6", &member("club", "ada", 21, "org:member")).await;
        world.deliver("msg_7", &with(with(both, "updated_at", json!(at(22))), "first_name", json!("Ada"))).await;
        world.drain().await;
        let told = feed(&world, "membership.updated", before).await;
        let told: Vec<(&str, &Value)> = told.iter().map(|row| (row.subject.as_str(), &row.changed)).collect();
        let expected = [
            ("org_press/user_ada", &json!(["role", "display_name"])),
            ("org_books/user_ada", &json!(["display_name"])),
        ];
        assert_eq!(told, expected, "{}", world.name);
        assert_eq!(feed(&world, "membership.created", before).await.len(), 1, "{}", world.name);
    }
}

/// Whoever joins and is given another role in one batch sees the organisation from the joining on.
#[tokio::test]
async fn the_joining_is_the_first_thing_that_a_member_sees() {
    for world in worlds(&[]).await {
        world.deliver("msg_ada", &user("ada", 1)).await;
        world.deliver("msg_o", &organization("books", "ada", 1)).await;
        world.drain().await;
        world.deliver("msg_m1", &member("books", "ada", 2, "org:member")).await;
        world
            .deliver(
                "msg_m2",
                &with(member("books", "ada", 2, "org:admin"), "updated_at", json!(1_760_000_000_009_u64)),
            )
            .await;
        world.drain().await;
        let joined = feed(&world, "membership.created", 0).await[0].seq;
        assert_eq!(
            number(&world, "select joined_seq as n from clerk_sync.organization_memberships").await,
            joined,
            "{}",
            world.name
        );
        let revised = feed(&world, "membership.updated", 0).await[0].seq;
        assert_eq!(
            number(&world, "select rev as n from clerk_sync.organization_memberships").await,
            revised,
            "{}",
            world.name
        );
        // They left and came back, and the end is still under way: what came between is not theirs to see.
        let again = with(member("books", "ada", 30, "org:member"), "id", "orgmem_again".into());
        world.deliver("msg_m3", &again).await;
        world.drain().await;
        let rejoined = feed(&world, "membership.updated", revised).await[0].seq;
        let joined = number(&world, "select joined_seq as n from clerk_sync.organization_memberships").await;
        assert_eq!(joined, rejoined, "{}: a rejoin", world.name);
    }
}
