//! Wiring: from a connection to the API server to an operator that works.

use crate::certificates;
use crate::connection::Connection;
use crate::controller::Operator;
use crate::custom_metrics;
use crate::error::Error;
use crate::leader::Candidate;
use crate::metrics::Metrics;
use crate::pool::HostSettings;
use crate::pulse::Pulse;
use crate::term::Term;
use crate::watch;
use crate::write::Writer;

/// Name of the Lease over which operators elect their leader.
pub const LEADER_LEASE: &str = "ringfence-operator";

/// How an operator is run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The namespace of the leader's Lease, the hosts and their Leases.
    pub namespace: String,
    /// What tells this operator from others: the name of its Pod.
    pub identity: String,
    /// What hosts of pools are run with. Without it the operator runs none, whatever pools ask for.
    pub hosts: Option<HostSettings>,
    /// How certificates of hosts are signed.
    pub certificates: certificates::Settings,
    /// How metrics of hosts are served to the API server; they are not without.
    pub custom_metrics: Option<custom_metrics::Settings>,
}

/// Watches at once, so that taking over is quick; works as soon as it leads; ends when `stop` does, and
/// lets another lead at once.
///
/// # Errors
/// [`Error::Deposed`] where another operator leads, [`Error::NotRenewed`] where another might soon. The process
/// should end, and start anew.
pub async fn run(
    connection: impl Into<Connection>,
    settings: Settings,
    metrics: Metrics,
    stop: impl Future<Output = ()>,
) -> Result<(), Error> {
    let Connection {
        work: client,
        lease,
    } = connection.into();
    let term = Term::default();
    let mut operator = Operator::new(
        Writer::new(client.clone(), metrics.clone(), term.clone()),
        &settings.identity,
        &settings.namespace,
    );
    if let Some(hosts) = settings.hosts {
        operator = operator.with_hosts(&settings.namespace, hosts);
    }
    let _serving = match &settings.custom_metrics {
        Some(custom_metrics) => Some(
            custom_metrics::serve(
                &client,
                &settings.namespace,
                custom_metrics,
                &settings.certificates,
                operator.loads(),
                metrics.clone(),
            )
            .map_err(Error::Listener)?,
        ),
        None => None,
    };
    let seen = watch::start(&client, &settings.namespace);
    let pulse = Pulse::default();
    let mut listed = operator.listen(seen, &pulse);
    let mut candidate = Candidate::new(
        lease,
        &settings.namespace,
        LEADER_LEASE,
        &settings.identity,
        term.clone(),
        pulse,
    );
    tokio::pin!(stop);
    let leading = async {
        // Fails only when the intake ended, which ends with the process.
        let _ = listed.wait_for(|listed| *listed).await;
        candidate.lead().await;
    };
    tokio::select! {
        () = leading => {}
        () = &mut stop => return Ok(()),
    }
    tracing::info!(identity = settings.identity, "leading");
    metrics.leading(true);
    let mut work = operator.work();
    let writer = Writer::new(client, metrics.clone(), term);
    if let Some(custom_metrics) = &settings.custom_metrics {
        work.spawn(custom_metrics::keep_api_service(
            writer.clone(),
            settings.namespace.clone(),
            custom_metrics.look,
        ));
    }
    work.spawn(certificates::run(
        writer,
        settings.namespace,
        settings.certificates,
    ));
    let ended = tokio::select! {
        error = candidate.hold() => Err(error),
        () = &mut stop => Ok(()),
    };
    // Nothing may be written any more before another is told that it may.
    work.shutdown().await;
    metrics.leading(false);
    if ended.is_ok() {
        candidate.resign().await;
    }
    ended
}
