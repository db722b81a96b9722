//! Who leads, for how long, and what it is told when it does not any more.

use std::time::{Duration, Instant};

use ringfence_operator::leader::{LEASE, LOOK, STEP_DOWN};

use crate::fixture::{Running, SYSTEM, own_cluster};
use crate::interrupt::Cut;

const PATCH: [&str; 6] = [
    "patch",
    "lease/ringfence-operator",
    "-n",
    SYSTEM,
    "--type=merge",
    "-p",
];

#[tokio::test]
async fn a_leader_whose_work_hangs_keeps_its_lease() {
    const RENEWALS: usize = 8;
    let cluster = own_cluster().await;
    let (work, lease) = (Cut::never(), Cut::never());
    let leader = Running::start_behind_both(cluster, "leader", work.clone(), lease.clone());
    leader.leads().await;
    let other = Running::start(cluster, "other");
    // Whatever it reads and writes hangs for longer than a Lease lasts.
    work.close();
    let [reads, writes] = lease.requests();
    let before = Instant::now();
    while lease.requests()[1] < writes + RENEWALS {
        assert!(leader.is_leading() && !other.is_leading());
        assert!(before.elapsed() < LEASE * 4, "it renews too seldom");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(before.elapsed() > LEASE, "it renews too often");
    assert_eq!(lease.requests()[0], reads, "a renewal is one write");
    work.open();
    leader.stop();
    let before = Instant::now();
    other.leads().await;
    assert!(before.elapsed() < LEASE / 2, "it was given back");
    // Who is killed gives nothing back.
    let third = Running::start(cluster, "third");
    tokio::time::sleep(LOOK * 4).await;
    let before = Instant::now();
    other.kill();
    third.leads().await;
    let took = before.elapsed();
    println!("took over {took:?} after a death");
    // Less than one renewal may have passed before.
    assert!(took > LEASE - Duration::from_secs(2), "{took:?}");
    assert!(took < LEASE + LOOK * 4, "{took:?}");
    third.stop();
}

#[tokio::test]
async fn who_leads_no_longer_is_told_why() {
    let cluster = own_cluster().await;
    let leader = Running::start(cluster, "leader");
    leader.leads().await;
    let usurped = [&PATCH[..], &[r#"{"spec": {"holderIdentity": "usurper"}}"#]].concat();
    cluster.kubectl(&usurped).await.unwrap();
    let told = leader.gives_up().await;
    assert_eq!(told, "lost the lease ringfence-operator: usurper leads now");
    leader.stop();
    // Somebody has had it meanwhile, and given it back: what this one knows may be older than what that one did.
    let leader = Running::start(cluster, "leader");
    leader.leads().await;
    let returned = [&PATCH[..], &[r#"{"spec": {"holderIdentity": null}}"#]].concat();
    cluster.kubectl(&returned).await.unwrap();
    let told = leader.gives_up().await;
    assert_eq!(
        told,
        "lost the lease ringfence-operator: another operator leads now"
    );
    leader.stop();
    // Nobody has taken it, but it cannot be renewed.
    let leader = Running::start(cluster, "leader");
    leader.leads().await;
    cluster.stop_api_server().await.unwrap();
    let before = Instant::now();
    let told = leader.gives_up().await;
    assert!(before.elapsed() < STEP_DOWN + Duration::from_secs(1));
    assert!(
        told.starts_with("gave up the lease ringfence-operator: it could not be renewed for 4s"),
        "{told}"
    );
    leader.stop();
}
