//! What an author uses: `ringfence new` scaffolds a project, `ringfence build` turns a project
//! folder into a component. Neither needs a host, and `build` needs nothing but the tools of the
//! project's own language; what else it takes is inside this binary or comes from the language's
//! package registry, at a pinned version, into the cache folder.

pub mod build;
pub mod contract;
pub mod error;
pub mod new;
pub mod project;
