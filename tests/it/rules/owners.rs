//! **Owners** where the database chooses the candidates: many members, one at a time, whatever its collation.

use super::{execute, number, texts};
use crate::support::{
    organizations::{ended, member, organization},
    people::{deleted, user, with},
    world::{World, worlds},
};

async fn owner(world: &World) -> Vec<String> {
    texts(world, "select u.clerk_id as t from organizations o join users u on u.id = o.owner_id").await
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
            let sorted = "alter table organization_memberships alter column clerk_id type text collate \"en-x-icu\"";
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
            assert_eq!(number(&world, "select members_count as n from organizations").await, 40);
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
            assert_eq!(number(&world, "select members_count as n from organizations").await, 12);
            assert_eq!(number(&world, "select count(*) as n from organization_memberships").await, 12);
        }
    }
}
