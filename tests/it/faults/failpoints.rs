//! Failpoints: each place between two effects, with each failure. Whatever happens there, everything acknowledged ends,
//! once.

use std::{path::Path, time::Duration};

use clerk_sync::failpoint::Failpoint;

use super::bed::{Bed, LIVENESS};

/// What happens at a failpoint.
const ACTIONS: [&str; 3] = ["error", "delay 400", "kill"];

fn arm(folder: &Path, failpoint: Failpoint, action: &str) {
    // Whole at once: the server reads it at any time.
    let aside = folder.join("aside");
    std::fs::write(&aside, action).unwrap();
    std::fs::rename(aside, folder.join(failpoint.as_str())).unwrap();
}

async fn fails_at(bed: &mut Bed, folder: &Path, failpoint: Failpoint, action: &str) {
    let what = format!("{action} at {}", failpoint.as_str());
    arm(folder, failpoint, action);
    bed.burst(5).await;
    bed.burst(3).await;
    let reached = tokio::time::timeout(LIVENESS, async {
        while folder.join(failpoint.as_str()).exists() {
            bed.burst(1).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(reached.await.is_ok(), "{what}: is not reached");
    // What ends the process is followed by another one, as under any supervisor.
    let ends = matches!(action, "kill" | "panic");
    let patience = if ends { Duration::from_secs(2) } else { Duration::ZERO };
    match bed.process.ended(patience).await {
        Some(code) => {
            assert!(ends, "{what}: ended with {code}\n{}", bed.log());
            assert_ne!(code, 0, "{what}");
            bed.crash().await;
        }
        None => assert_ne!(action, "kill", "{what}: goes on"),
    }
    bed.recovers(&what).await;
    bed.whole(&what).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_p2_whatever_fails_between_two_effects_each_happens_once() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().display().to_string();
    // A relay that was killed keeps its lease as long as this.
    let mut bed = Bed::start_with(&[("FAILPOINTS", &text), ("CLERK_SYNC__RELAY__LEASE", "1s")], None).await;
    bed.accepted(4).await;
    for failpoint in Failpoint::ALL {
        for action in ACTIONS {
            fails_at(&mut bed, folder.path(), failpoint, action).await;
        }
    }
}
