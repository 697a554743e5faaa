//! `clerk-sync simulate`: a Clerk of any size on this machine, to rehearse a backfill or a comparison against before the
//! real one is asked, with deliveries of what changes there meanwhile.

use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Args as ClapArgs;
use serde_json::Value;

use crate::{
    clerk::simulated::{Change, Kind, World, objects},
    clock::Clock,
    config::Config,
    lifecycle,
};

use super::{
    send::{Delivery, Sender, new_id},
    simulated::Simulated,
};

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// People
    #[arg(long, default_value_t = 10_000)]
    users: u64,
    /// Organisations
    #[arg(long, default_value_t = 250)]
    organizations: u64,
    /// Memberships
    #[arg(long, default_value_t = 15_000)]
    memberships: u64,
    /// Requests that it answers in ten seconds; 0: any number (Clerk's: 1000 in production, 100 in development)
    #[arg(long, default_value_t = 0)]
    rate_limit: u32,
    /// Port of its API; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Where deliveries go
    #[arg(long, value_name = "URL", requires = "changes")]
    to: Option<String>,
    /// The signing secret [default: the configured one]
    #[arg(long, value_name = "whsec_…")]
    secret: Option<String>,
    /// Changes a second, each delivered
    #[arg(long, value_name = "N", requires = "to")]
    changes: Option<u32>,
    /// How many changes in all
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    changes_in_all: u32,
    /// How often the same world comes out
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(super) async fn run(args: Args, config: Config) -> anyhow::Result<bool> {
    let clock = Clock::system();
    let world = World::seeded(args.users, args.organizations, args.memberships, args.seed, clock.clone());
    let rate = (args.rate_limit > 0).then_some(args.rate_limit);
    let clerk = Simulated::of(world.clone(), args.port, rate).await?;
    println!("CLERK_API_URL={}\nCLERK_SECRET_KEY={}", clerk.url, clerk.key);
    let changing = async {
        let (Some(to), Some(changes)) = (&args.to, args.changes) else { return Ok(()) };
        let secret = args.secret.clone().unwrap_or_else(|| config.clerk.signing_secret.expose().to_owned());
        let sender = Sender::new(to, &secret, clock.clone())?;
        change(&world, &sender, &clock, changes, args.changes_in_all).await?;
        println!("{} changes were delivered", args.changes_in_all);
        anyhow::Ok(())
    };
    tokio::select! {
        ended = lifecycle::signal() => ended?,
        changed = changing => {
            changed?;
            lifecycle::signal().await?;
        }
    }
    Ok(true)
}

/// Changes the world at this rate, and delivers what changed until it is taken, as Svix would.
async fn change(world: &World, sender: &Sender, clock: &Clock, per_second: u32, all: u32) -> anyhow::Result<()> {
    let started = Instant::now();
    for n in 0..all {
        let due = started + Duration::from_secs_f64(f64::from(n) / f64::from(per_second.max(1)));
        tokio::time::sleep_until(due.into()).await;
        let Some(body) = one(world, clock, n) else { continue };
        let delivery = Delivery { name: String::new(), id: new_id(), body: body.to_string().into_bytes() };
        let mut tries = 0;
        while !matches!(sender.post(&delivery).await, Ok((200, _))) {
            tries += 1;
            if tries > 100 {
                bail!("a delivery was not taken a hundred times: does the server run, with this signing secret?");
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
    Ok(())
}

/// One change, and the delivery that tells of it.
fn one(world: &World, clock: &Clock, n: u32) -> Option<Value> {
    let pick = |kind: Kind| world.nth(kind, fastrand::u64(0..world.count(kind).max(1)));
    let text = format!("Changed {n}");
    match fastrand::u8(0..20) {
        0 | 1 => {
            let id = pick(Kind::User)?;
            world.delete_user(&id);
            world.event(Kind::User, Change::Deleted, &id)
        }
        2 | 3 => {
            let address = format!("newcomer{n}-{}@example.com", fastrand::u32(..));
            let id = world.put_user(objects::user("New", "Comer", &address, clock.now()));
            world.event(Kind::User, Change::Created, &id)
        }
        4 => {
            let id = pick(Kind::Membership)?;
            world.delete_membership(&id);
            world.event(Kind::Membership, Change::Deleted, &id)
        }
        5 | 6 => {
            let id = pick(Kind::Organization)?;
            world.touch_organization(&id, |organization| organization["name"] = text.into());
            world.event(Kind::Organization, Change::Updated, &id)
        }
        7 | 8 => {
            let id = pick(Kind::Membership)?;
            world.touch_membership(&id, |membership| membership["role"] = "org:changed".into());
            world.event(Kind::Membership, Change::Updated, &id)
        }
        _ => {
            let id = pick(Kind::User)?;
            world.touch_user(&id, |user| user["first_name"] = text.into());
            world.event(Kind::User, Change::Updated, &id)
        }
    }
}
