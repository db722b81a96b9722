//! Properties of effective grants, checked against what requests they let through.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::subsequence;

use super::*;
use crate::{
    AddressScope, AgentGrant, CeilingSpec, EnvGrant, FolderAccess, FolderBound, HttpBound,
    HttpScheme, ModelGrant, ToolGrant,
};

const NAMES: [&str; 4] = ["a", "ab", "abc", "b"];
const PATTERNS: [&str; 5] = ["*", "a*", "ab", "b", "abc"];
const HOSTS: [&str; 5] = [
    "x.org",
    "a.x.org",
    "b.a.x.org",
    "203.0.113.1",
    "2001:db8::1",
];
const GRANTED_HOSTS: [&str; 6] = [
    "x.org",
    "*.x.org",
    "*.a.x.org",
    "a.x.org",
    "203.0.113.1",
    "2001:db8:0::1",
];
const METHODS: [&str; 3] = ["GET", "HEAD", "POST"];
const PATHS: [&str; 4] = ["/", "/v1", "/v1/a", "/v10"];
const PORTS: [u16; 2] = [443, 8443];

/// One request, or any other use of a capability, as small as it can be told.
type Use = String;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// Everything that grants let through, out of a small world, spelled out one by one with rules that
/// are written down a second time, in the plainest way.
fn uses(grants: &Grants) -> BTreeSet<Use> {
    let mut uses = BTreeSet::new();
    uses.extend(grants.tools.iter().map(|g| format!("tool {}", g.name)));
    uses.extend(grants.agents.iter().map(|g| format!("agent {}", g.name)));
    uses.extend(grants.models.iter().map(|g| format!("model {}", g.name)));
    uses.extend(grants.env.iter().map(|g| format!("env {}", g.name)));
    for grant in &grants.folders {
        uses.insert(format!("read {}", grant.name));
        if grant.access == FolderAccess::ReadWrite {
            uses.insert(format!("write {}", grant.name));
        }
    }
    for (given, name) in [
        (grants.clocks, "clocks"),
        (grants.session, "session"),
        (grants.output, "output"),
    ] {
        if given {
            uses.insert(name.to_owned());
        }
    }
    for grant in &grants.http {
        for request in requests() {
            let default = request.port == 443 && grant.scheme == HttpScheme::Https
                || request.port == 80 && grant.scheme == HttpScheme::Http;
            let methods = grant.methods.clone();
            let methods = methods.unwrap_or_else(|| vec!["GET".into(), "HEAD".into()]);
            if host_matches(&grant.host, request.host)
                && grant.scheme == request.scheme
                && grant.port.map_or(default, |port| port == request.port)
                && methods.iter().any(|method| method == request.method)
                && path_matches(grant.path.as_deref(), request.path)
                && (grant.addresses == AddressScope::Private || !request.private)
            {
                uses.insert(format!("{request:?}"));
            }
        }
    }
    uses
}

/// Everything that a ceiling allows, in the same world.
fn allowed(allow: &Allowance) -> BTreeSet<Use> {
    let mut uses = BTreeSet::new();
    for (kind, patterns) in [
        ("tool", &allow.tools),
        ("agent", &allow.agents),
        ("model", &allow.models),
    ] {
        for text in NAMES {
            if patterns.iter().any(|pattern| pattern.matches(&name(text))) {
                uses.insert(format!("{kind} {text}"));
            }
        }
    }
    for text in NAMES {
        for bound in allow.folders.iter().filter(|b| b.name.matches(&name(text))) {
            uses.insert(format!("read {text}"));
            if bound.access == FolderAccess::ReadWrite {
                uses.insert(format!("write {text}"));
            }
        }
        if allow.env {
            uses.insert(format!("env {text}"));
        }
    }
    for (given, name) in [
        (allow.clocks, "clocks"),
        (allow.session, "session"),
        (allow.output, "output"),
    ] {
        if given {
            uses.insert(name.to_owned());
        }
    }
    for bound in &allow.http {
        for request in requests() {
            if (bound.host == "*" || host_matches(&bound.host, request.host))
                && bound.scheme.is_none_or(|scheme| scheme == request.scheme)
                && bound
                    .ports
                    .as_ref()
                    .is_none_or(|p| p.contains(&request.port))
                && bound
                    .methods
                    .as_ref()
                    .is_none_or(|m| m.iter().any(|m| m == request.method))
                && path_matches(bound.path.as_deref(), request.path)
                && (bound.addresses == AddressScope::Private || !request.private)
            {
                uses.insert(format!("{request:?}"));
            }
        }
    }
    uses
}

#[derive(Debug)]
struct Outgoing {
    scheme: HttpScheme,
    host: &'static str,
    port: u16,
    method: &'static str,
    path: &'static str,
    private: bool,
}

fn requests() -> impl Iterator<Item = Outgoing> {
    let schemes = [HttpScheme::Http, HttpScheme::Https];
    let count = schemes.len() * HOSTS.len() * 3 * METHODS.len() * PATHS.len() * 2;
    (0..count).map(move |mut n| {
        let mut pick = |of: usize| {
            let chosen = n % of;
            n /= of;
            chosen
        };
        Outgoing {
            scheme: schemes[pick(2)],
            host: HOSTS[pick(HOSTS.len())],
            port: [80, 443, 8443][pick(3)],
            method: METHODS[pick(METHODS.len())],
            path: PATHS[pick(PATHS.len())],
            private: pick(2) == 1,
        }
    })
}

fn host_matches(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*") {
        Some(suffix) => host.ends_with(suffix) && host.len() > suffix.len(),
        None => {
            pattern == host
                || matches!(
                    (pattern.parse::<std::net::IpAddr>(), host.parse::<std::net::IpAddr>()),
                    (Ok(a), Ok(b)) if a == b
                )
        }
    }
}

fn path_matches(prefix: Option<&str>, path: &str) -> bool {
    let prefix = prefix.unwrap_or("/").trim_end_matches('/');
    path == prefix || path.starts_with(&format!("{prefix}/"))
}

fn some_of<const N: usize>(all: [&'static str; N]) -> impl Strategy<Value = Vec<&'static str>> {
    subsequence(all.to_vec(), 0..=N)
}

fn pick<T: Clone + std::fmt::Debug + 'static>(all: Vec<T>) -> impl Strategy<Value = T> {
    proptest::sample::select(all)
}

fn scope() -> impl Strategy<Value = AddressScope> {
    pick(vec![AddressScope::Public, AddressScope::Private])
}

fn access() -> impl Strategy<Value = FolderAccess> {
    pick(vec![FolderAccess::ReadOnly, FolderAccess::ReadWrite])
}

fn scheme() -> impl Strategy<Value = HttpScheme> {
    pick(vec![HttpScheme::Http, HttpScheme::Https])
}

fn methods() -> impl Strategy<Value = Option<Vec<String>>> {
    proptest::option::of(subsequence(METHODS.map(str::to_owned).to_vec(), 1..=3))
}

fn path() -> impl Strategy<Value = Option<String>> {
    proptest::option::of(pick(PATHS.map(str::to_owned).to_vec()))
}

prop_compose! {
    fn http_grant()(
        scheme in scheme(),
        host in pick(GRANTED_HOSTS.to_vec()),
        port in proptest::option::of(pick(PORTS.to_vec())),
        methods in methods(),
        path in path(),
        addresses in scope(),
    ) -> HttpGrant {
        HttpGrant { scheme, host: host.into(), port, methods, path, addresses, headers: Vec::new() }
    }
}

prop_compose! {
    fn http_bound()(
        scheme in proptest::option::of(scheme()),
        host in pick([&GRANTED_HOSTS[..], &["*"]].concat()),
        ports in proptest::option::of(subsequence(vec![80, 443, 8443], 1..=3)),
        methods in methods(),
        path in path(),
        addresses in scope(),
    ) -> HttpBound {
        HttpBound { scheme, host: host.into(), ports, methods, path, addresses }
    }
}

prop_compose! {
    fn grants()(
        tools in some_of(NAMES),
        agents in some_of(NAMES),
        models in some_of(NAMES),
        http in proptest::collection::vec(http_grant(), 0..4),
        folders in proptest::collection::vec((pick(NAMES.to_vec()), access()), 0..3),
        env in some_of(NAMES),
        flags in any::<[bool; 3]>(),
    ) -> Grants {
        Grants {
            tools: tools.iter().map(|n| ToolGrant { name: name(n), functions: None }).collect(),
            agents: agents.iter().map(|n| AgentGrant { name: name(n) }).collect(),
            models: models.iter().map(|n| ModelGrant { name: name(n) }).collect(),
            http,
            folders: folders
                .into_iter()
                .map(|(n, access)| FolderGrant { name: name(n), mount: "/m".into(), access })
                .collect(),
            env: env.iter().map(|n| EnvGrant { name: (*n).into(), value: "v".into() }).collect(),
            clocks: flags[0],
            session: flags[1],
            output: flags[2],
        }
    }
}

prop_compose! {
    fn ceiling()(
        tools in some_of(PATTERNS),
        agents in some_of(PATTERNS),
        models in some_of(PATTERNS),
        http in proptest::collection::vec(http_bound(), 0..5),
        folders in proptest::collection::vec((pick(PATTERNS.to_vec()), access()), 0..3),
        flags in any::<[bool; 4]>(),
    ) -> CeilingSpec {
        let patterns = |texts: Vec<&str>| texts.iter().map(|p| p.parse().unwrap()).collect();
        CeilingSpec {
            tenants: Default::default(),
            allow: Allowance {
                tools: patterns(tools),
                agents: patterns(agents),
                models: patterns(models),
                http,
                folders: folders
                    .into_iter()
                    .map(|(p, access)| FolderBound { name: p.parse().unwrap(), access })
                    .collect(),
                env: flags[0],
                clocks: flags[1],
                session: flags[2],
                output: flags[3],
            },
            limits: Default::default(),
            placement: Default::default(),
        }
    }
}

fn asked() -> impl Strategy<Value = BTreeSet<Capability>> {
    subsequence(Capability::ALL.to_vec(), 0..=9).prop_map(|all| all.into_iter().collect())
}

fn effective(
    asked: &BTreeSet<Capability>,
    granted: &Grants,
    ceilings: &[CeilingSpec],
) -> EffectiveGrants {
    let names: Vec<Name> = (0..ceilings.len())
        .map(|index| format!("c{index}").parse().unwrap())
        .collect();
    let named: Vec<NamedCeiling<'_>> = names
        .iter()
        .zip(ceilings)
        .map(|(name, spec)| NamedCeiling { name, spec })
        .collect();
    effective_grants(asked, granted, &named)
}

fn all() -> BTreeSet<Capability> {
    Capability::ALL.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Exactly what all three allow: no more, and no less.
    #[test]
    fn the_result_is_the_intersection(
        asked in asked(),
        granted in grants(),
        ceilings in proptest::collection::vec(ceiling(), 0..3),
    ) {
        let result = effective(&asked, &granted, &ceilings);
        let mut expected = uses(&granted);
        for ceiling in &ceilings {
            let allowed = allowed(&ceiling.allow);
            expected.retain(|one| allowed.contains(one));
        }
        let mut asked_for = granted.clone();
        for capability in Capability::ALL {
            if !asked.contains(&capability) {
                withdraw(&mut asked_for, capability);
            }
        }
        let asked_for = uses(&asked_for);
        expected.retain(|one| asked_for.contains(one));
        prop_assert_eq!(uses(&result.grants), expected);
    }

    #[test]
    fn the_order_of_ceilings_does_not_matter(
        granted in grants(),
        ceilings in proptest::collection::vec(ceiling(), 2..4),
    ) {
        let forwards = effective(&all(), &granted, &ceilings);
        let reversed: Vec<_> = ceilings.into_iter().rev().collect();
        let backwards = effective(&all(), &granted, &reversed);
        prop_assert_eq!(forwards.grants, backwards.grants);
    }

    #[test]
    fn computing_it_twice_changes_nothing(granted in grants(), ceiling in ceiling()) {
        let ceilings = [ceiling];
        let once = effective(&all(), &granted, &ceilings).grants;
        prop_assert_eq!(&effective(&all(), &once, &ceilings).grants, &once);
    }

    /// A further ceiling, a grant less or a capability not asked for never add anything.
    #[test]
    fn narrowing_never_widens(
        asked in asked(),
        granted in grants(),
        less in grants(),
        ceilings in proptest::collection::vec(ceiling(), 1..3),
    ) {
        let fewer = &ceilings[1..];
        let wide = uses(&effective(&all(), &granted, fewer).grants);
        for narrow in [
            effective(&asked, &granted, fewer),
            effective(&all(), &granted, &ceilings),
        ] {
            prop_assert!(uses(&narrow.grants).is_subset(&wide));
        }
        let mut more = granted.clone();
        more.http.extend(less.http);
        more.clocks |= less.clocks;
        let wider = uses(&effective(&all(), &more, fewer).grants);
        prop_assert!(wide.is_subset(&wider));
    }

    /// What a ceiling takes away is told, and nothing else is.
    #[test]
    fn a_ceiling_that_takes_something_is_named(granted in grants(), ceiling in ceiling()) {
        let result = effective(&granted.capabilities(), &granted, &[ceiling]);
        prop_assert_eq!(result.refused.is_empty(), result.grants == granted);
    }
}

#[test]
fn a_grant_is_cut_to_what_is_allowed() {
    let granted = Grants {
        http: vec![HttpGrant {
            scheme: HttpScheme::Https,
            host: "*.example.org".into(),
            port: None,
            methods: Some(vec!["GET".into(), "DELETE".into()]),
            path: None,
            addresses: AddressScope::Private,
            headers: Vec::new(),
        }],
        ..Grants::default()
    };
    let ceiling: CeilingSpec = serde_json::from_value(serde_json::json!({
        "allow": {"http": [
            {"host": "api.example.org", "methods": ["GET"], "path": "/v1"},
            {"host": "*.com"}
        ]}
    }))
    .unwrap();
    let result = effective(&all(), &granted, &[ceiling]);
    let piece = HttpGrant {
        host: "api.example.org".into(),
        methods: Some(vec!["GET".into()]),
        path: Some("/v1".into()),
        addresses: AddressScope::Public,
        ..granted.http[0].clone()
    };
    assert_eq!(result.grants.http, [piece]);
    assert!(result.refused.contains(&Refusal {
        capability: Capability::Http,
        target: Some("https://*.example.org/".into()),
        ceiling: Some(name("c0")),
    }));
}

#[test]
fn what_is_asked_and_not_granted_is_told() {
    let asked = BTreeSet::from([Capability::Clocks, Capability::Http]);
    let granted = Grants {
        clocks: true,
        session: true,
        ..Grants::default()
    };
    let result = effective(&asked, &granted, &[]);
    assert!(result.grants.clocks);
    assert!(!result.grants.session, "it was not asked for");
    assert_eq!(
        result.refused,
        [Refusal {
            capability: Capability::Http,
            target: None,
            ceiling: None
        }]
    );
}

#[test]
fn ceilings_lower_limits_and_say_so() {
    let ceiling = |limits: serde_json::Value| -> CeilingSpec {
        serde_json::from_value(serde_json::json!({"allow": {}, "limits": limits})).unwrap()
    };
    let (first, second) = (
        ceiling(serde_json::json!({"memoryBytes": 100, "cpuMs": 5})),
        ceiling(serde_json::json!({"memoryBytes": 50})),
    );
    let names = [name("a"), name("b")];
    let named = [
        NamedCeiling {
            name: &names[0],
            spec: &first,
        },
        NamedCeiling {
            name: &names[1],
            spec: &second,
        },
    ];
    let asked = crate::LimitsSpec {
        memory_bytes: Some(80),
        ..Default::default()
    };
    let (maximum, refused) = effective_limits(&asked, &named);
    assert_eq!(maximum.memory_bytes, Some(50));
    assert_eq!(maximum.cpu_ms, Some(5));
    assert_eq!(refused.len(), 1);
    assert_eq!((refused[0].given, &refused[0].ceiling), (50, &names[1]));
}

#[test]
fn placement_takes_the_strictest_ceiling() {
    let ceiling = |placement: serde_json::Value| -> CeilingSpec {
        serde_json::from_value(serde_json::json!({"allow": {}, "placement": placement})).unwrap()
    };
    let specs = [
        ceiling(serde_json::json!({"isolation": "dedicated"})),
        ceiling(serde_json::json!({"trustClass": "low", "pools": ["small-*"]})),
        ceiling(serde_json::json!({"trustClass": "high"})),
    ];
    let names = [name("a"), name("b"), name("c")];
    let named: Vec<_> = names
        .iter()
        .zip(&specs)
        .map(|(name, spec)| NamedCeiling { name, spec })
        .collect();
    let in_pool = |pool: &str| crate::PlacementSpec {
        pool: Some(name(pool)),
        priority: Some(3),
        ..Default::default()
    };
    let placed = effective_placement(&in_pool("small-1"), &named[..2]).unwrap();
    assert_eq!(placed.isolation, crate::Isolation::Dedicated);
    assert_eq!(placed.trust_class, name("low"));
    assert!(matches!(
        effective_placement(&in_pool("big"), &named[..2]),
        Err(PlacementConflict::Pool { .. })
    ));
    assert!(matches!(
        effective_placement(&in_pool("small-1"), &named),
        Err(PlacementConflict::TrustClass { .. })
    ));
}
