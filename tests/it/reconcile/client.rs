//! The client: what each failure of Clerk's, of a proxy's or of the network's is taken for.

use std::time::Duration;

use clerk_sync::{
    clerk::{
        api::ApiError,
        simulated::{Failure, RetryAfter},
    },
    clock::Clock,
};

use crate::support::{
    clerk::{Clerk, Kind, Simulated},
    world,
};

const PATIENCE: Duration = Duration::from_secs(1);

#[tokio::test]
async fn failures_are_told_apart_and_none_is_taken_for_an_answer() {
    let clerk = Simulated::of(Clerk::seeded(3, 0, 0, 1, Clock::system())).await;
    let world = world::sqlite(&clerk.keys(&[])).await;
    let id = clerk.clerk.nth(Kind::User, 0).unwrap();
    let limited = |seconds| ApiError::Limited { wait: Duration::from_secs(seconds) };
    let table = [
        (Failure::TooMany(RetryAfter::Seconds(3)), limited(3)),
        (Failure::TooMany(RetryAfter::Seconds(90_000)), limited(120)),
        (Failure::TooMany(RetryAfter::Text("soon".into())), limited(1)),
        (Failure::TooMany(RetryAfter::Nothing), limited(1)),
        (Failure::Internal, ApiError::Down { status: 500 }),
        (Failure::BadGateway, ApiError::Down { status: 502 }),
        (Failure::Unavailable, ApiError::Down { status: 503 }),
        // Whoever were deleted for a proxy's 404 would be deleted for nothing.
        (Failure::EmptyNotFound, ApiError::Unreadable("a 404 that is not Clerk's")),
        (Failure::Html, ApiError::Unreadable("not JSON")),
        (Failure::Truncated, ApiError::Unreadable("cut short")),
        (Failure::Reset, ApiError::Unreachable),
        (Failure::Hang(Duration::from_secs(3)), ApiError::Timeout),
    ];
    for (failure, expected) in table {
        // A client of its own: neither its limit's pause nor its breaker meets the next.
        let app = world.replica(&clerk.keys(&[])).await;
        clerk.modes.fail_next([failure.clone()]);
        let error = app.api.unwrap().user(&id, PATIENCE).await.unwrap_err();
        assert!(error.is_transient() && error == expected, "{failure:?}: {error:?}");
    }
    let api = world.app.api.clone().unwrap();
    assert!(api.user(&id, PATIENCE).await.unwrap().is_some());
    assert!(api.user("user_none", PATIENCE).await.unwrap().is_none());
    assert!(api.user("../users", PATIENCE).await.unwrap().is_none(), "an id is one segment of the path");
}

#[tokio::test]
async fn while_clerk_is_down_it_is_left_in_peace() {
    let clerk = Simulated::of(Clerk::seeded(3, 0, 0, 1, Clock::system())).await;
    let world = world::sqlite(&clerk.keys(&[])).await;
    let api = world.app.api.clone().unwrap();
    clerk.modes.fail_share(1.0, [Failure::Unavailable]);
    for _ in 0..50 {
        assert!(api.user("user_1", PATIENCE).await.unwrap_err().is_transient());
    }
    assert_eq!(clerk.modes.counts().total(), 5, "a breaker");
    clerk.modes.fail_share(0.0, []);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert!(api.user("user_1", PATIENCE).await.unwrap().is_none(), "one tries, and it is over");
}
