//! Plugins that a lock holds.

use super::*;

fn held() -> Problem {
    Problem::Held("it is held".to_owned())
}

#[tokio::test(start_paused = true)]
async fn what_is_held_is_tried_again_when_the_lock_changes_and_the_old_version_goes_on() {
    let mut lab = Lab::running().await;
    lab.changes();
    lab.holds(&[("echo", 2)]);
    lab.look().await;
    lab.look().await;
    lab.load().fails(held());
    for _ in 0..20 {
        lab.look().await;
        lab.no_load();
    }
    assert_eq!(lab.changes(), ["refused"]);
    assert_eq!((lab.manager.count(), lab.ended()), ([1, 0, 1], vec![]));

    lab.host.set_pins(Pins::Pinned(Lock::default()));
    lab.look().await;
    // Held again, for the same reason: it is reported once.
    lab.load().fails(held());
    lab.look().await;
    assert!(lab.changes().is_empty());
    lab.host.set_pins(Pins::Absent);
    lab.look().await;
    lab.load().succeeds();
    lab.look().await;
    assert_eq!(lab.changes(), ["replaced"]);
    // What runs is not tried again by another lock.
    lab.host.set_pins(Pins::Pinned(Lock::default()));
    lab.look().await;
    lab.no_load();
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_changes_while_a_plugin_loads_counts_for_it() {
    let mut lab = Lab::of(&[("echo", 1)]);
    lab.host.set_pins(Pins::Pinned(Lock::default()));
    lab.look().await;
    let load = lab.load();
    lab.host.set_pins(Pins::Absent);
    lab.look().await;
    load.fails(held());
    lab.look().await;
    lab.load().succeeds();
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_cannot_be_read_holds_what_does_not_run() {
    let mut lab = Lab::running().await;
    lab.changes();
    lab.host.set_pins(Pins::Unreadable("broken".to_owned()));
    lab.holds(&[("echo", 2), ("other", 1)]);
    for _ in 0..20 {
        lab.look().await;
        lab.no_load();
    }
    assert_eq!((lab.changes(), lab.ended()), (vec![], vec![]));
    assert_eq!(lab.manager.count(), [1, 0, 2]);
    lab.host.set_pins(Pins::Absent);
    lab.look().await;
    let mut loads = [lab.load().version, lab.load().version];
    loads.sort();
    assert_eq!(loads, ["1", "2"]);
}
