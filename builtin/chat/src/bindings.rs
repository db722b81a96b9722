//! The guest contract, generated from `wit/`.

#![allow(missing_docs)] // the generator carries over what the WIT has

wit_bindgen::generate!({
    path: "../../wit",
    world: "agent",
    additional_derives: [PartialEq],
    pub_export_macro: true,
});
