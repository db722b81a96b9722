//! How busy the Pods are that are asked for. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use kube::core::SelectorExt as _;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::answer::{MetricValue, MetricValueList, Refusal};
use super::loads::Loads;
use super::request::{ALL, Values};

/// Pods of hosts: their names and labels. Cheap to clone; all clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Pods(Arc<Mutex<BTreeMap<String, Labels>>>);

type Labels = BTreeMap<String, String>;

impl Pods {
    pub(super) fn put(&self, name: String, labels: Labels) {
        self.0.lock().insert(name, labels);
    }

    pub(super) fn remove(&self, name: &str) {
        self.0.lock().remove(name);
    }

    /// There are these and no others.
    pub(super) fn replace(&self, all: BTreeMap<String, Labels>) {
        *self.0.lock() = all;
    }

    fn selected(&self, asked: &Values) -> Vec<String> {
        let pods = self.0.lock();
        let selected = pods.iter().filter(|(name, labels)| {
            (asked.name == ALL || asked.name == **name) && asked.selector.matches(labels)
        });
        selected.map(|(name, _)| name.clone()).collect()
    }
}

/// The values of the Pods that are asked for, of those that are in `namespace`. A Pod that says nothing, or has not
/// said anything for a while, has none: what is not known is not made up.
pub(super) fn values(
    asked: &Values,
    namespace: &str,
    pods: &Pods,
    loads: &Loads,
    now: (Instant, Timestamp),
) -> Result<MetricValueList, Refusal> {
    let selected = match asked.namespace == namespace {
        true => pods.selected(asked),
        false => Vec::new(),
    };
    let value = |name: &String| {
        let (used, age) = loads.of(&name.parse().ok()?, now.0)?;
        Some(MetricValue::of_pod(namespace, name, used, age, now.1))
    };
    let values: Vec<_> = selected.iter().filter_map(value).collect();
    if asked.name != ALL && values.is_empty() {
        return Err(Refusal::not_found(format!(
            "nothing is known of how busy the Pod {} is: is it a host, and does it renew its Lease?",
            asked.name
        )));
    }
    Ok(MetricValueList::new(values))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ringfence_api::{Name, PoolUsed};
    use serde_json::Value;

    use super::*;
    use crate::custom_metrics::selector;

    const LASTS: Duration = Duration::from_secs(10);

    struct World {
        pods: Pods,
        loads: Loads,
        start: Instant,
    }

    impl World {
        fn new() -> Self {
            let world = Self {
                pods: Pods::default(),
                loads: Loads::default(),
                start: Instant::now(),
            };
            for (pod, pool) in [("red-1", "red"), ("red-2", "red"), ("blue-1", "blue")] {
                let labels = BTreeMap::from([("pool".to_owned(), pool.to_owned())]);
                world.pods.put(pod.to_owned(), labels);
            }
            world
        }

        fn says(&self, host: &str, thousandths: u32, after: Duration) {
            let used = Some(PoolUsed::from_thousandths(thousandths));
            let host: Name = host.parse().unwrap();
            self.loads.said(&host, used, LASTS, self.start + after);
        }

        /// Names and values, or the status of the refusal.
        fn get(
            &self,
            namespace: &str,
            name: &str,
            labels: &str,
            after: Duration,
        ) -> Result<String, u16> {
            let asked = Values {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                selector: selector::parse(labels).unwrap(),
            };
            let now = (self.start + after, Timestamp::now());
            let list = values(&asked, "system", &self.pods, &self.loads, now);
            let list = serde_json::to_value(list.map_err(|refusal| refusal.code().as_u16())?);
            let list: Value = list.unwrap();
            let items = list["items"].as_array().unwrap().iter();
            let items = items.map(|item| {
                let name = item["describedObject"]["name"].as_str().unwrap();
                format!("{name}={}", item["value"].as_str().unwrap())
            });
            Ok(items.collect::<Vec<_>>().join(" "))
        }
    }

    #[test]
    fn those_that_are_selected_are_told_of() {
        let world = World::new();
        for (host, used) in [
            ("red-1", 1_000),
            ("red-2", 0),
            ("blue-1", 3_000),
            ("no-pod", 4_000),
        ] {
            world.says(host, used, Duration::ZERO);
        }
        let now = Duration::ZERO;
        let get = |name, labels| world.get("system", name, labels, now).unwrap();
        assert_eq!(get("*", "pool=red"), "red-1=1000m red-2=0m");
        assert_eq!(get("*", ""), "blue-1=3000m red-1=1000m red-2=0m");
        assert_eq!(get("*", "pool=green"), "");
        assert_eq!(get("blue-1", ""), "blue-1=3000m");
        assert_eq!(world.get("system", "no-pod", "", now), Err(404));
        // Pods of another namespace may have the same names.
        assert_eq!(world.get("default", "*", "", now).unwrap(), "");
        assert_eq!(world.get("default", "red-1", "", now), Err(404));
    }

    #[test]
    fn what_is_not_known_is_left_out_and_never_nought() {
        let world = World::new();
        world.says("red-1", 1_000, Duration::ZERO);
        let soon = Duration::from_secs(6);
        assert_eq!(
            world.get("system", "*", "pool=red", soon).unwrap(),
            "red-1=1000m"
        );
        assert_eq!(world.get("system", "red-2", "", soon), Err(404));
        world.says("red-2", 2_000, soon);
        assert_eq!(
            world.get("system", "*", "pool=red", LASTS).unwrap(),
            "red-2=2000m"
        );
        assert_eq!(world.get("system", "red-1", "", LASTS), Err(404));
        // Its Lease may outlive a Pod.
        world.pods.remove("red-2");
        assert_eq!(world.get("system", "*", "", LASTS).unwrap(), "");
        world
            .pods
            .replace(BTreeMap::from([("red-2".to_owned(), Labels::new())]));
        assert_eq!(world.get("system", "*", "", LASTS).unwrap(), "red-2=2000m");
    }
}
