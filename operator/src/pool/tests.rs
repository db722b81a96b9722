//! What pools become.

use kube::core::DynamicObject;
use ringfence_api::{AutoscalingSpec, HostPool, HostPoolSpec, HostResources, HostsSpec};
use serde_json::{Value, json};

use super::{HostSettings, Live, Part, Plan, deployed, plan};
use crate::host_account::HOST_ACCOUNT;

fn settings() -> HostSettings {
    HostSettings {
        image: "registry.test/ringfence:1".to_owned(),
        pull_policy: "IfNotPresent".to_owned(),
    }
}

fn pool(hosts: Option<HostsSpec>) -> HostPool {
    let spec = HostPoolSpec {
        hosts,
        ..HostPoolSpec::default()
    };
    let mut pool = HostPool::new("red", spec);
    pool.metadata.uid = Some("uid-of-red".to_owned());
    pool
}

fn plan_of(pool: &HostPool, live: &Live) -> Plan {
    plan(pool, "ringfence-system", &settings(), live)
}

/// What there is after a plan was followed, with what an API server adds.
fn followed(plan: Plan) -> Live {
    let objects = plan.apply.into_iter().map(|(part, mut object)| {
        object["metadata"]["uid"] = json!(format!("{part:?}"));
        object["metadata"]["resourceVersion"] = "1".into();
        object["metadata"]["generation"] = 3.into();
        object["spec"]["addedByTheServer"] = true.into();
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        ((part, object.metadata.name.clone().unwrap()), object)
    });
    objects.collect()
}

fn parts(plan: &Plan) -> Vec<Part> {
    plan.apply.iter().map(|(part, _)| *part).collect()
}

fn find(plan: &Plan, part: Part) -> &Value {
    let found = plan.apply.iter().find(|(of, _)| *of == part);
    &found.unwrap().1
}

fn autoscaling() -> HostsSpec {
    HostsSpec {
        autoscaling: Some(AutoscalingSpec {
            min_replicas: 2,
            max_replicas: 8,
            sandboxes_percent: 70,
        }),
        sandboxes: Some(100),
        ..HostsSpec::default()
    }
}

#[test]
fn hosts_that_somebody_else_runs_are_left_alone() {
    assert_eq!(plan_of(&pool(None), &Live::new()), Plan::default());
    assert_eq!(deployed(&pool(None), &Live::new()), None);
}

#[test]
fn a_pool_becomes_its_objects_and_then_nothing_is_left_to_do() {
    for (hosts, expected) in [
        (HostsSpec::default(), &Part::ALL[..4]),
        (autoscaling(), &Part::ALL[..]),
    ] {
        let pool = pool(Some(hosts));
        let first = plan_of(&pool, &Live::new());
        assert_eq!(parts(&first), expected);
        for (_, object) in &first.apply {
            let owner = &object["metadata"]["ownerReferences"][0];
            assert_eq!(
                (&owner["kind"], &owner["uid"]),
                (&json!("HostPool"), &json!("uid-of-red"))
            );
            assert_eq!(object["metadata"]["labels"]["ringfence.dev/pool"], "red");
        }
        assert_eq!(plan_of(&pool, &followed(first)), Plan::default());
    }
}

#[test]
fn what_differs_is_applied_and_nothing_else() {
    let pool_before = pool(Some(HostsSpec::default()));
    let live = followed(plan_of(&pool_before, &Live::new()));

    let wider = HostsSpec {
        replicas: Some(3),
        ..HostsSpec::default()
    };
    assert_eq!(
        parts(&plan_of(&pool(Some(wider)), &live)),
        [Part::Deployment]
    );

    // Somebody has opened the door.
    let mut edited = live.clone();
    let policy = edited.get_mut(&(Part::NetworkPolicy, "ringfence-red".to_owned()));
    policy.unwrap().data["spec"]["ingress"] = json!([{}]);
    assert_eq!(
        parts(&plan_of(&pool_before, &edited)),
        [Part::NetworkPolicy]
    );

    // An operator of another version has applied something that this one would not.
    let mut other = live.clone();
    let service = other.get_mut(&(Part::Service, "ringfence-red".to_owned()));
    let annotations = service.unwrap().metadata.annotations.as_mut();
    annotations
        .unwrap()
        .insert("ringfence.dev/applied".to_owned(), "0".to_owned());
    assert_eq!(parts(&plan_of(&pool_before, &other)), [Part::Service]);

    // What is being deleted is made again when it is gone.
    let mut leaving = live;
    let service = leaving.get_mut(&(Part::Service, "ringfence-red".to_owned()));
    service.unwrap().metadata.deletion_timestamp =
        Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
    assert_eq!(plan_of(&pool_before, &leaving), Plan::default());
    leaving.remove(&(Part::Service, "ringfence-red".to_owned()));
    assert_eq!(parts(&plan_of(&pool_before, &leaving)), [Part::Service]);
}

#[test]
fn what_is_not_wanted_any_more_is_deleted() {
    let live = followed(plan_of(&pool(Some(autoscaling())), &Live::new()));
    let fixed = HostsSpec {
        autoscaling: None,
        ..autoscaling()
    };
    let narrower = plan_of(&pool(Some(fixed)), &live);
    let name = "ringfence-red".to_owned();
    let uid = Some("Autoscaler".to_owned());
    assert_eq!(narrower.delete, [(Part::Autoscaler, name, uid)]);
    assert_eq!(
        parts(&narrower),
        [Part::Deployment],
        "it says how many again"
    );
    assert_eq!(plan_of(&pool(None), &live).delete.len(), Part::ALL.len());
}

#[test]
fn the_autoscaler_alone_says_how_many_hosts_there_are() {
    let scaled = pool(Some(autoscaling()));
    let first = plan_of(&scaled, &Live::new());
    assert_eq!(find(&first, Part::Deployment)["spec"]["replicas"], 2);
    let metric = &find(&first, Part::Autoscaler)["spec"]["metrics"][0]["pods"];
    assert_eq!(metric["target"]["averageValue"], "70");

    let mut live = followed(first);
    let of_deployment = (Part::Deployment, "ringfence-red".to_owned());
    live.get_mut(&of_deployment).unwrap().data["spec"]["replicas"] = 5.into();
    assert_eq!(plan_of(&scaled, &live), Plan::default());

    // What else changes is applied with as many as there are.
    let mut other = scaled.clone();
    other.spec.hosts.as_mut().unwrap().image = Some("registry.test/ringfence:2".to_owned());
    let other = plan_of(&other, &live);
    assert_eq!(find(&other, Part::Deployment)["spec"]["replicas"], 5);
}

#[test]
fn a_pool_that_becomes_autoscaled_keeps_its_hosts() {
    for (before, after) in [(5, 5), (1, 2), (9, 8)] {
        let fixed = HostsSpec {
            replicas: Some(before),
            autoscaling: None,
            ..autoscaling()
        };
        let live = followed(plan_of(&pool(Some(fixed)), &Live::new()));
        let plan = plan_of(&pool(Some(autoscaling())), &live);
        let replicas = &find(&plan, Part::Deployment)["spec"]["replicas"];
        assert_eq!(*replicas, after, "of {before}");
    }
}

#[test]
fn a_host_has_time_to_leave_and_leaves_when_another_is_ready() {
    let hosts = HostsSpec {
        resources: HostResources {
            memory_bytes: 4_000_000_000,
            cpu_millis: 1_500,
            ..HostResources::default()
        },
        insecure_registries: vec!["registry.test:5000".to_owned()],
        private_registries: vec!["registry.test:443".to_owned()],
        authorities_config_map: Some("authorities".to_owned()),
        ..HostsSpec::default()
    };
    let plan = plan_of(&pool(Some(hosts)), &Live::new());
    let spec = &find(&plan, Part::Deployment)["spec"];
    assert_eq!(spec["strategy"]["rollingUpdate"]["maxUnavailable"], 0);
    let pod = &spec["template"]["spec"];
    assert_eq!(pod["terminationGracePeriodSeconds"], 75);
    assert_eq!(pod["serviceAccountName"], HOST_ACCOUNT);
    let container = &pod["containers"][0];
    assert_eq!(container["resources"]["limits"], json!({"memory": "4G"}));
    assert_eq!(container["resources"]["requests"]["cpu"], "1500m");
    let arguments = container["args"].as_array().unwrap();
    for argument in [
        "--pool=red",
        "--memory-bytes=3000000000",
        "--cpu-millis=1500",
        "--insecure-registry=registry.test:5000",
        "--private-registry=registry.test:443",
        "--ca-file=/etc/ringfence/authorities/ca.crt",
    ] {
        assert!(
            arguments.contains(&argument.into()),
            "{argument}: {arguments:?}"
        );
    }
    let mounted =
        json!({"name": "authorities", "mountPath": "/etc/ringfence/authorities", "readOnly": true});
    assert!(
        container["volumeMounts"]
            .as_array()
            .unwrap()
            .contains(&mounted)
    );
    let volume = json!({"name": "authorities", "configMap": {"name": "authorities", "items": [{"key": "ca.crt", "path": "ca.crt"}]}});
    assert!(pod["volumes"].as_array().unwrap().contains(&volume));
}

#[test]
fn the_condition_follows_the_deployment() {
    let pool = pool(Some(HostsSpec::default()));
    let reason = |live: &Live| {
        let verdict = deployed(&pool, live)?;
        Some((verdict.holds, verdict.reason.into_owned()))
    };
    assert_eq!(
        reason(&Live::new()),
        Some((Some(false), "Progressing".to_owned()))
    );
    let key = (Part::Deployment, "ringfence-red".to_owned());
    let with = |status: Value| {
        let mut live = followed(plan_of(&pool, &Live::new()));
        live.get_mut(&key).unwrap().data["status"] = status;
        live
    };
    let counts = |seen: i64, updated: u32, available: u32, all: u32| {
        with(json!({
            "observedGeneration": seen, "replicas": all,
            "updatedReplicas": updated, "availableReplicas": available,
        }))
    };
    assert_eq!(
        reason(&counts(3, 2, 2, 2)),
        Some((Some(true), "Deployed".to_owned()))
    );
    assert_eq!(
        reason(&counts(2, 2, 2, 2)),
        Some((Some(false), "Progressing".to_owned())),
        "of an earlier spec"
    );
    assert_eq!(
        reason(&counts(3, 1, 2, 3)),
        Some((Some(false), "Progressing".to_owned())),
        "in a rollout"
    );
    let failed = |kind: &str, status: &str| {
        with(json!({"conditions": [{"type": kind, "status": status, "message": "because"}]}))
    };
    assert_eq!(
        reason(&failed("ReplicaFailure", "True")),
        Some((Some(false), "PodsRefused".to_owned()))
    );
    assert_eq!(
        reason(&failed("Progressing", "False")),
        Some((Some(false), "NotProgressing".to_owned()))
    );
}

#[test]
fn quantities_are_as_the_api_server_writes_them() {
    use super::pod::quantity;
    for (number, text) in [
        (0, "0"),
        (70, "70"),
        (1_000, "1k"),
        (1_500, "1500"),
        (2 << 30, "2147483648"),
        (4_000_000_000, "4G"),
    ] {
        assert_eq!(quantity(number), text);
    }
}
