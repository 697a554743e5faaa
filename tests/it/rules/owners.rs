//! **Owners** where the database chooses the candidates: many members, one at a time, whatever its collation.

use super::{execute, number, texts};
use crate::support::{
    organizations::{dissolved, ended, member, organization},
    people::{deleted, user, with},
    world::{World, worlds},
};

async fn owner(world: &World) -> Vec<String> {
    texts(world, "select u.clerk_id as t from clerk_sync.organizations o join clerk_sync.users u on u.id = o.owner_id")
        .await
}

/// Administrators who were made in one millisecond are told apart by Clerk's id, byte by byte, in the statement that
/// loads them as in the rule that chooses: also in a database that sorts texts as people do.
#[tokio::test]
async fn ids_are_compared_byte_by_byte() {
    for world in worlds(&[("sync.batch", "1".into())]).await {
        if world.name == "postgres" {
            let icu = "select count(*) as n from pg_collation where collname = 'en-x-icu'";
            if number(&world, icu).await == 0 {
                continue;
            }
            let sorted =
                "alter table clerk_sync.organization_memberships alter column clerk_id type text collate \"en-x-icu\"";
            execute(&world, sorted).await;
        }
        world.deliver("msg_org", &organization("books", "nobody", 1)).await;
        // Sorted as people do: a, b, c, d, Z. By bytes: Z first.
        for name in ["a", "b", "c", "d", "Z"] {
            world.deliver(&format!("msg_{name}"), &user(name, 1)).await;
            world.deliver(&format!("msg_m{name}"), &member("books", name, 5, "org:admin")).await;
        }
        world.drain().await;
        assert_eq!(owner(&world).await, ["user_Z"], "{}", world.name);
        // Something that makes the owner be chosen anew, from what is loaded.
        world.deliver("msg_touch", &with(organization("books", "nobody", 9), "name", "Books".into())).await;
        world.drain().await;
        assert_eq!(owner(&world).await, ["user_Z"], "{}", world.name);
    }
}

/// Owner after owner goes, in small and in large batches: the next in line owns, and the count is right.
#[tokio::test]
async fn the_next_in_line_owns_however_many_go_at_once() {
    for batch in ["1", "7", "512"] {
        for world in worlds(&[("sync.batch", batch.into())]).await {
            world.deliver("msg_org", &organization("books", "p1", 1)).await;
            for n in 1..=40_u64 {
                // The creator first, then administrators of both names, then members.
                let role = ["org:admin", "admin", "org:member"][(n as usize - 1) / 14];
                world.deliver(&format!("msg_{n}"), &user(&format!("p{n}"), 1)).await;
                world.deliver(&format!("msg_m{n}"), &member("books", &format!("p{n}"), 100 - n, role)).await;
            }
            world.drain().await;
            assert_eq!(owner(&world).await, ["user_p1"], "{batch} {}", world.name);
            assert_eq!(number(&world, "select members_count as n from clerk_sync.organizations").await, 40);
            // The creator leaves; the most senior of the administrators is p28, then p27, …: of them three are deleted.
            world.deliver("msg_left", &ended(member("books", "p1", 99, "org:admin"))).await;
            for n in [28, 27, 26] {
                world.deliver(&format!("msg_gone{n}"), &deleted(&format!("p{n}"), 200 + n)).await;
            }
            world.drain().await;
            assert_eq!(owner(&world).await, ["user_p25"], "{batch} {}", world.name);
            // All administrators go: the most senior member is p40.
            for n in 2..=25_u64 {
                world.deliver(&format!("msg_gone{n}"), &deleted(&format!("p{n}"), 300 + n)).await;
            }
            world.drain().await;
            assert_eq!(owner(&world).await, ["user_p40"], "{batch} {}", world.name);
            assert_eq!(number(&world, "select members_count as n from clerk_sync.organizations").await, 12);
            assert_eq!(number(&world, "select count(*) as n from clerk_sync.organization_memberships").await, 12);
        }
    }
}

/// Of a deleted organisation every membership goes, also those that nobody had to look at; of others none.
#[tokio::test]
async fn a_deleted_organisation_keeps_no_member() {
    for world in worlds(&[]).await {
        world.deliver("msg_books", &organization("books", "p1", 1)).await;
        world.deliver("msg_press", &organization("press", "p1", 1)).await;
        for n in 1..=20_u64 {
            let person = format!("p{n}");
            world.deliver(&format!("msg_{n}"), &user(&person, 1)).await;
            world.deliver(&format!("msg_b{n}"), &member("books", &person, n, "org:member")).await;
            world.deliver(&format!("msg_p{n}"), &member("press", &person, n, "org:member")).await;
        }
        world.drain().await;
        world.deliver("msg_gone", &dissolved("books", 50)).await;
        world.drain().await;
        let left = "select o.clerk_id || ' ' || o.status || ' ' || o.members_count || ' ' || count(m.id) as t
            from clerk_sync.organizations o left join clerk_sync.organization_memberships m on m.organization_id = o.id
            group by o.clerk_id, o.status, o.members_count order by 1";
        let left = texts(&world, left).await;
        assert_eq!(left, ["org_books deleted 0 0", "org_press active 20 20"], "{}", world.name);
    }
}

/// An event of a member who stands so far down that nobody would choose them is judged by their row all the same.
#[tokio::test]
async fn members_far_down_are_known() {
    for world in worlds(&[]).await {
        world.deliver("msg_org", &organization("books", "nobody", 1)).await;
        for n in 1..=20_u64 {
            world.deliver(&format!("msg_{n}"), &user(&format!("p{n}"), 1)).await;
            world.deliver(&format!("msg_m{n}"), &member("books", &format!("p{n}"), n, "org:member")).await;
        }
        world.drain().await;
        assert_eq!(owner(&world).await, ["user_p1"], "{}", world.name);
        // Each in a batch of its own: another role, a new creator, an end.
        let at = |n: u64| 1_760_000_000_000 + n;
        let role = with(member("books", "p20", 20, "org:viewer"), "updated_at", at(50).into());
        world.deliver("msg_role", &role).await;
        world.drain().await;
        assert_eq!(world.inbox("msg_role").await.outcome.as_deref(), Some("updated"), "{}", world.name);
        let newest = "select count(*) as n from clerk_sync.organization_memberships m
            join clerk_sync.subjects s on s.key = 'org_books/user_p20' and s.version = m.version";
        assert_eq!(number(&world, newest).await, 1, "{}: the row says which version it shows", world.name);
        let count = "select members_count as n from clerk_sync.organizations";
        assert_eq!(number(&world, count).await, 20, "{}: nobody is counted twice", world.name);
        world.deliver("msg_made", &organization("books", "p19", 60)).await;
        world.drain().await;
        assert_eq!(owner(&world).await, ["user_p19"], "{}: whoever the snapshot names", world.name);
        let told = "select max(seq) as n from clerk_sync.outbox where subject = 'org_books'";
        let rev = number(&world, "select rev as n from clerk_sync.organizations").await;
        assert_eq!(rev, number(&world, told).await, "{}: the row is as new as what was told", world.name);
        world.deliver("msg_end", &ended(member("books", "p18", 18, "org:member"))).await;
        world.drain().await;
        assert_eq!(world.inbox("msg_end").await.outcome.as_deref(), Some("deleted"), "{}", world.name);
        assert_eq!(number(&world, count).await, 19, "{}", world.name);
        assert_eq!(
            number(&world, "select count(*) as n from clerk_sync.organization_memberships").await,
            19,
            "{}",
            world.name
        );
    }
}

/// One organisation loses all who would follow, in a batch in which another loses one.
#[tokio::test]
async fn as_many_are_looked_at_as_the_hardest_hit_needs() {
    for world in worlds(&[]).await {
        for name in ["a", "z"] {
            world.deliver(&format!("msg_{name}"), &organization(name, "nobody", 1)).await;
            for n in 1..=8_u64 {
                let person = format!("{name}{n}");
                world.deliver(&format!("msg_{person}"), &user(&person, 1)).await;
                world.deliver(&format!("msg_m{person}"), &member(name, &person, n, "org:admin")).await;
            }
        }
        world.drain().await;
        for person in ["a1", "z1", "z2", "z3", "z4", "z5"] {
            world.deliver(&format!("msg_gone_{person}"), &deleted(person, 50)).await;
        }
        world.drain().await;
        let mut owners = owner(&world).await;
        owners.sort();
        assert_eq!(owners, ["user_a2", "user_z6"], "{}", world.name);
    }
}
