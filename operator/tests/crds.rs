//! `deploy/crds` is what the types say.
#![allow(clippy::unwrap_used)] // tests fail by panicking

use std::collections::BTreeMap;
use std::path::Path;

#[test]
fn the_definitions_are_up_to_date() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/crds");
    let files: BTreeMap<String, String> = ringfence_operator::crds::files()
        .unwrap()
        .into_iter()
        .collect();
    // `make crds`.
    if std::env::var_os("RINGFENCE_WRITE_CRDS").is_some() {
        std::fs::create_dir_all(&folder).unwrap();
        for (name, yaml) in &files {
            std::fs::write(folder.join(name), yaml).unwrap();
        }
    }
    let there: BTreeMap<String, String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read_to_string(entry.path()).unwrap())
        })
        .collect();
    let names = |map: &BTreeMap<String, String>| map.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&there), names(&files), "run 'make crds'");
    for (name, yaml) in &files {
        assert!(
            there[name] == *yaml,
            "{name} is out of date: run 'make crds'"
        );
    }
}
