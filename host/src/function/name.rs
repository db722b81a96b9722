//! Names of functions for callers.
//!
//! A function of the world keeps its name; a function of an interface is `iface_func`, and where two
//! are called the same, `pkg_iface_func`, then `ns_pkg_iface_func`. All that collide get the longer
//! name, so that names do not depend on the order of exports.

use std::collections::HashMap;

use ringfence_api::FunctionName;

use super::table::ExportPath;
use super::walk::WalkError;

/// The parts of an interface's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InterfaceName<'a> {
    /// `ns:pkg`, where it is not an inline interface.
    pub(super) package: Option<(&'a str, &'a str)>,
    /// The interface itself.
    pub(super) interface: &'a str,
    /// Version of the package.
    pub(super) version: Option<&'a str>,
}

impl<'a> InterfaceName<'a> {
    pub(super) fn parse(name: &'a str) -> Self {
        let (path, version) = match name.split_once('@') {
            Some((path, version)) => (path, Some(version)),
            None => (name, None),
        };
        let package_and_interface = path.rsplit_once('/');
        let (package, interface) = match package_and_interface {
            Some((package, interface)) => (package.split_once(':'), interface),
            None => (None, path),
        };
        Self {
            package,
            interface,
            version,
        }
    }
}

fn candidate(path: &ExportPath, level: usize) -> String {
    let Some(interface) = &path.interface else {
        return path.function.replace('-', "_");
    };
    let name = InterfaceName::parse(interface);
    let parts = match (name.package, level) {
        (None, _) | (_, 0) => vec![name.interface],
        (Some((_, package)), 1) => vec![package, name.interface],
        (Some((namespace, package)), _) => vec![namespace, package, name.interface],
    };
    let parts = parts.into_iter().chain([path.function.as_str()]);
    let joined: Vec<_> = parts
        .map(|part| part.replace(['-', ':', '/'], "_"))
        .collect();
    joined.join("_")
}

/// Longest level that a path has a name for.
fn last_level(path: &ExportPath) -> usize {
    match &path.interface {
        Some(interface) if InterfaceName::parse(interface).package.is_some() => 2,
        _ => 0,
    }
}

/// A name for each of `paths`, in their order.
///
/// # Errors
/// A name that is too long, or two functions that no rule keeps apart.
pub(super) fn assign(paths: &[ExportPath]) -> Result<Vec<FunctionName>, WalkError> {
    let mut levels = vec![0; paths.len()];
    loop {
        let names: Vec<_> = paths
            .iter()
            .zip(&levels)
            .map(|(path, level)| candidate(path, *level))
            .collect();
        let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, name) in names.iter().enumerate() {
            by_name.entry(name).or_default().push(index);
        }
        let mut settled = true;
        for (index, name) in names.iter().enumerate() {
            let same = &by_name[name.as_str()];
            if same.len() == 1 {
                continue;
            }
            settled = false;
            if same
                .iter()
                .all(|other| levels[*other] == last_level(&paths[*other]))
            {
                let other = same.iter().find(|other| **other != index).unwrap_or(&index);
                return Err(WalkError::SameName {
                    name: name.clone(),
                    first: paths[index].to_string(),
                    second: paths[*other].to_string(),
                });
            }
        }
        if settled {
            let parse = |(name, path): (String, &ExportPath)| {
                name.parse().map_err(|_| WalkError::LongName {
                    name,
                    export: path.to_string(),
                })
            };
            return names.into_iter().zip(paths).map(parse).collect();
        }
        for (index, name) in names.iter().enumerate() {
            if by_name[name.as_str()].len() > 1 && levels[index] < last_level(&paths[index]) {
                levels[index] += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(interface: &str, function: &str) -> ExportPath {
        ExportPath {
            interface: (!interface.is_empty()).then(|| interface.into()),
            function: function.to_owned(),
        }
    }

    fn names(paths: &[(&str, &str)]) -> Vec<String> {
        let paths: Vec<_> = paths.iter().map(|(i, f)| path(i, f)).collect();
        assign(&paths)
            .unwrap()
            .into_iter()
            .map(String::from)
            .collect()
    }

    #[test]
    fn interfaces_prefix_their_functions() {
        assert_eq!(
            names(&[
                ("", "word-count"),
                ("a:b/text-search@1.0.0", "find-all"),
                ("inline", "x")
            ]),
            ["word_count", "text_search_find_all", "inline_x"]
        );
    }

    #[test]
    fn colliding_names_get_package_then_namespace() {
        assert_eq!(
            names(&[("a:b/i", "f"), ("a:c/i", "f"), ("", "i-g"), ("a:b/i", "g")]),
            ["b_i_f", "c_i_f", "i_g", "b_i_g"]
        );
        assert_eq!(
            names(&[("a:p/i", "f"), ("b:p/i", "f"), ("b:p/j", "f")]),
            ["a_p_i_f", "b_p_i_f", "j_f"]
        );
    }

    #[test]
    fn names_do_not_depend_on_order() {
        let mut one = names(&[("a:b/i", "f"), ("a:c/i", "f"), ("", "b-i-f")]);
        let mut two = names(&[("", "b-i-f"), ("a:c/i", "f"), ("a:b/i", "f")]);
        one.sort();
        two.sort();
        assert_eq!(one, two);
        assert_eq!(one, ["a_b_i_f", "b_i_f", "c_i_f"]);
    }

    #[test]
    fn two_versions_of_one_interface_and_long_names_are_refused() {
        let error = assign(&[path("a:b/i@1.0.0", "f"), path("a:b/i@2.0.0", "f")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a:b/i@1.0.0#f and a:b/i@2.0.0#f would both be called \"a_b_i_f\"; export one of them, or rename it"
        );
        let long = "x".repeat(65);
        assert!(matches!(
            assign(&[path("", &long)]),
            Err(WalkError::LongName { .. })
        ));
        assert!(assign(&[path("", &long[..64])]).is_ok());
    }
}
