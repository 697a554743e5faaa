//! What pages promise, and what they do not.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Instant,
};

use super::{super::Kind, *};

/// Everybody who is there all the time is seen once, whoever comes, goes and changes between the pages.
#[tokio::test]
async fn a_scan_by_cursor_sees_everybody_once() {
    for (seed, order, cursors) in [(1, "created_at", true), (2, "-created_at", true), (3, "%2Bcreated_at", false)] {
        let sim = Sim::new(700, 0, 0);
        sim.modes.deleted_cursors(cursors);
        for n in 0..50 {
            // Beside those who are seeded, many at one moment.
            sim.world.put_user(person(&format!("old{n}@example.com"), NOW - 86_400_000 * (30 + n % 3 * 200)));
        }
        let before = sim.world.ids(Kind::User, 0, 10_000);
        let (random, gone) = (Mutex::new(fastrand::Rng::with_seed(seed)), Arc::new(Mutex::new(Vec::new())));
        let (noted, time) = (gone.clone(), sim.time.clone());
        let mut came = 0;
        sim.modes.every_requests(1, move |world| {
            let mut random = random.lock().unwrap();
            for _ in 0..5 {
                time.fetch_add(1, Ordering::Relaxed);
                came += 1;
                world.put_user(person(&format!("new{came}@example.com"), time.load(Ordering::Relaxed)));
                let somebody = world.nth(Kind::User, random.u64(0..world.count(Kind::User))).unwrap();
                world.touch_user(&somebody, |user| user["first_name"] = "Changed".into());
                let other = world.nth(Kind::User, random.u64(0..world.count(Kind::User))).unwrap();
                if cursors {
                    world.delete_user(&other);
                    noted.lock().unwrap().push(other);
                }
            }
        });
        let mut seen: HashMap<String, usize> = HashMap::new();
        let mut cursor = String::new();
        loop {
            let page = sim.ids(&format!("/users?limit=50&order_by={order}{cursor}")).await;
            page.iter().for_each(|id| *seen.entry(id.clone()).or_default() += 1);
            if page.len() < 50 {
                break;
            }
            cursor = format!("&starting_after={}", page[49]);
        }
        let gone = gone.lock().unwrap();
        assert!(seen.values().all(|times| *times == 1), "nobody twice");
        assert!(before.iter().all(|id| seen.contains_key(id) || gone.contains(id)), "nobody left out");
        assert!(seen.len() > 600);
    }
}

#[tokio::test]
async fn a_scan_by_offset_skips_after_a_deletion() {
    let sim = Sim::new(100, 0, 0);
    let first = sim.ids("/users?limit=10&order_by=created_at").await;
    sim.world.delete_user(&first[3]);
    let second = sim.ids("/users?limit=10&offset=10&order_by=created_at").await;
    assert_eq!(second[0], sim.world.nth(Kind::User, 10).unwrap());
    let third = sim.world.ids(Kind::User, 9, 1);
    assert!(!first.contains(&third[0]) && !second.contains(&third[0]), "one was on neither page");
}

#[tokio::test]
async fn lists_are_newest_first_and_end_with_a_short_page() {
    let sim = Sim::new(25, 3, 40);
    let mut expected = sim.world.ids(Kind::User, 0, 100);
    expected.reverse();
    assert_eq!(sim.ids("/users?limit=500").await, expected);
    assert_eq!(sim.ids("/users").await, expected[..10]);
    assert_eq!(sim.ids("/users?limit=501").await.len(), 10, "as Clerk was seen to do");
    assert!(sim.ids("/users?offset=25").await.is_empty());
    assert_eq!(sim.get("/users/count").await.1, serde_json::json!({"object": "total_count", "total_count": 25}));
    for (path, total) in [("/organizations?limit=2", 3), ("/organization_memberships?limit=2", 40)] {
        let body = sim.get(path).await.1;
        assert_eq!((body["data"].as_array().unwrap().len(), &body["total_count"]), (2, &total.into()));
    }
}

/// The order by last change is that of a sorted list, changed and new ones included.
#[tokio::test]
async fn the_last_changed_come_first() {
    let sim = Sim::new(200, 0, 0);
    for n in [3, 150, 77] {
        sim.pass(1000);
        let id = sim.world.nth(Kind::User, n).unwrap();
        assert!(sim.world.touch_user(&id, |user| user["username"] = format!("n{n}").into()));
    }
    let new = sim.world.put_user(person("new@example.com", NOW + 3_500));
    let listed = sim.list("/users?order_by=-updated_at&limit=500").await;
    let names: Vec<&str> = listed.iter().filter_map(|user| user["username"].as_str()).collect();
    assert_eq!((id(&listed[0]), names[0], names[1], names[2]), (new, "n77", "n150", "n3"));
    let times: Vec<i64> = listed.iter().map(|user| user["updated_at"].as_i64().unwrap()).collect();
    assert!(times.is_sorted_by(|a, b| a >= b) && times.len() == 201);
    let paged = sim.ids("/users?order_by=-updated_at&limit=50&offset=40").await;
    assert_eq!(paged, listed[40..90].iter().map(id).collect::<Vec<_>>());
    let ascending = sim.ids("/users?order_by=updated_at&limit=3").await;
    assert_eq!(ascending, listed.iter().rev().take(3).map(id).collect::<Vec<_>>());
}

/// Orders that are not by time are those of the member that they name.
#[tokio::test]
async fn other_orders_sort_by_their_member() {
    let sim = Sim::new(60, 12, 60);
    for (path, member) in [
        ("/users?limit=500&order_by=first_name", "/first_name"),
        ("/users?limit=500&order_by=email_address", "/email_addresses/0/email_address"),
        ("/organizations?limit=500&order_by=name", "/name"),
        ("/organization_memberships?limit=500&order_by=last_name", "/public_user_data/last_name"),
    ] {
        let listed = sim.list(path).await;
        let texts: Vec<&str> = listed.iter().map(|object| object.pointer(member).unwrap().as_str().unwrap()).collect();
        assert!(texts.is_sorted() && texts.len() >= 12, "{path}: {texts:?}");
    }
    sim.world.put_membership(super::super::objects::membership(
        &sim.world.nth(Kind::Organization, 7).unwrap(),
        &sim.world.nth(Kind::User, 0).unwrap(),
        "org:member",
        from_millis(NOW).unwrap(),
    ));
    let largest = &sim.list("/organizations?order_by=-members_count&include_members_count=true").await[0];
    assert_eq!((id(largest), &largest["members_count"]), (sim.world.nth(Kind::Organization, 7).unwrap(), &6.into()));
}

/// Twenty million people, sixty million memberships: there at once, and a page anywhere costs a page. Whatever looked
/// at all of them, even once, would take far longer than the limit.
#[tokio::test]
async fn millions_cost_nothing() {
    const PEOPLE: u64 = 20_000_000;
    let start = Instant::now();
    let sim = Sim::new(PEOPLE, 100_000, 3 * PEOPLE);
    assert!(start.elapsed().as_millis() < 1000, "{:?}", start.elapsed());
    for n in (0..PEOPLE).step_by(100_000) {
        let id = sim.world.nth(Kind::User, n - n / 100_000).unwrap();
        if n % 200_000 == 0 {
            sim.world.delete_user(&id)
        } else {
            sim.world.touch_user(&id, |_| {})
        };
    }
    for n in [0, PEOPLE / 4, PEOPLE - 1_000] {
        let cursor = sim.world.nth(Kind::User, n).unwrap();
        let page = sim.ids(&format!("/users?limit=500&order_by=created_at&starting_after={cursor}")).await;
        assert_eq!(page, sim.world.ids(Kind::User, n + 1, 500));
        let at = sim.world.user(&cursor).unwrap()["created_at"].as_i64().unwrap();
        let window = format!("/users?limit=500&created_at_after={at}&created_at_before={}", at + 86_400_000);
        assert!(sim.ids(&window).await.len() > 400);
        assert_eq!(sim.ids(&format!("/users?limit=500&order_by=-updated_at&offset={n}")).await.len(), 500);
        assert_eq!(sim.ids(&format!("/organization_memberships?limit=500&offset={}", 2 * n)).await.len(), 500);
    }
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}
