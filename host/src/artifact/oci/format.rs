//! The Wasm artifact format: which manifest and which config belong to a component.

use std::collections::BTreeMap;

use oci_client::manifest::{OciDescriptor, OciImageManifest};
use ringfence_api::Digest;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub(super) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const CONFIG_TYPE: &str = "application/vnd.wasm.config.v0+json";
pub(super) const LAYER_TYPE: &str = "application/wasm";
const ARCHITECTURE: &str = "wasm";
const OS: &str = "wasip2";

/// The config of a Wasm artifact. The order of the fields is the specification's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WasmConfig {
    created: String,
    author: Option<String>,
    architecture: String,
    os: String,
    layer_digests: Vec<String>,
    component: Option<ComponentInfo>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ComponentInfo {
    exports: Vec<String>,
    imports: Vec<String>,
    target: Option<String>,
}

/// Everything that is pushed beside the component itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::artifact) struct Pushed {
    pub config: Vec<u8>,
    pub config_digest: Digest,
    pub manifest: Vec<u8>,
    pub manifest_digest: Digest,
}

/// The documents for a component. The same component gives the same documents, so that pushing it
/// twice changes nothing.
pub(in crate::artifact) fn document(
    digest: &Digest,
    size: u64,
    created_ms: u64,
    exports: Vec<String>,
    imports: Vec<String>,
) -> Result<Pushed, serde_json::Error> {
    let seconds = i64::try_from(created_ms / 1000).unwrap_or(0);
    let created = OffsetDateTime::from_unix_timestamp(seconds)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
        .format(&Rfc3339)
        .unwrap_or_else(|_| "1970-01-01T00:00:00Z".into());
    let config = serde_json::to_vec(&WasmConfig {
        created,
        author: None,
        architecture: ARCHITECTURE.into(),
        os: OS.into(),
        layer_digests: vec![digest.to_string()],
        component: Some(ComponentInfo {
            exports,
            imports,
            target: None,
        }),
    })?;
    let config_digest = Digest::of(&config);
    let descriptor = |media_type: &str, digest: &Digest, size: u64| OciDescriptor {
        media_type: media_type.into(),
        digest: digest.to_string(),
        size: i64::try_from(size).unwrap_or(i64::MAX),
        urls: None,
        annotations: None,
        artifact_type: None,
    };
    let manifest = serde_json::to_vec(&OciImageManifest {
        schema_version: 2,
        media_type: Some(MANIFEST_TYPE.into()),
        config: descriptor(CONFIG_TYPE, &config_digest, config.len() as u64),
        layers: vec![descriptor(LAYER_TYPE, digest, size)],
        subject: None,
        artifact_type: None,
        annotations: None::<BTreeMap<String, String>>,
    })?;
    let manifest_digest = Digest::of(&manifest);
    Ok(Pushed {
        config,
        config_digest,
        manifest,
        manifest_digest,
    })
}

/// What a manifest says is to be pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub config: (Digest, u64),
    pub layer: (Digest, u64),
}

/// Finds the component in a manifest.
pub(super) fn wanted(manifest: &[u8]) -> Result<Wanted, String> {
    let manifest: OciImageManifest = serde_json::from_slice(manifest)
        .map_err(|_| "its manifest is not an OCI image manifest (an index, perhaps)".to_owned())?;
    let media_type = manifest.media_type.as_deref().unwrap_or(MANIFEST_TYPE);
    if media_type != MANIFEST_TYPE {
        return Err(format!("its manifest is of type {media_type}"));
    }
    if manifest.config.media_type != CONFIG_TYPE {
        return Err(format!(
            "its config is of type {}, not {CONFIG_TYPE}",
            manifest.config.media_type
        ));
    }
    let [layer] = manifest.layers.as_slice() else {
        return Err(format!("it has {} layers, not one", manifest.layers.len()));
    };
    if layer.media_type != LAYER_TYPE {
        return Err(format!(
            "its layer is of type {}, not {LAYER_TYPE}",
            layer.media_type
        ));
    }
    let read = |descriptor: &OciDescriptor| {
        let digest = descriptor
            .digest
            .parse()
            .map_err(|e| format!("its manifest: {e}"))?;
        let size = u64::try_from(descriptor.size).map_err(|_| "a size is negative".to_owned())?;
        Ok::<_, String>((digest, size))
    };
    Ok(Wanted {
        config: read(&manifest.config)?,
        layer: read(layer)?,
    })
}

/// Whether a config describes a component. It is the pusher's claim; the bytes are inspected anyway.
pub(super) fn check_config(config: &[u8]) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Claim {
        os: String,
    }
    let claim: Claim = serde_json::from_slice(config).map_err(|e| format!("its config: {e}"))?;
    match claim.os.as_str() {
        OS => Ok(()),
        "wasip1" => Err("it is a core module (os wasip1); turn it into a component first".into()),
        other => Err(format!("it is for {other}, not {OS}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Pushed {
        let (exports, imports) = (
            vec!["a:b/c@1.0.0".into()],
            vec!["wasi:io/poll@0.2.0".into()],
        );
        document(&Digest::of(b"x"), 1, 1_700_000_000_123, exports, imports).unwrap()
    }

    #[test]
    fn documents_are_those_of_the_specification_to_the_byte() {
        let pushed = sample();
        let layer = "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
        assert_eq!(
            String::from_utf8(pushed.config.clone()).unwrap(),
            format!(
                r#"{{"created":"2023-11-14T22:13:20Z","author":null,"architecture":"wasm","os":"wasip2","layerDigests":["{layer}"],"component":{{"exports":["a:b/c@1.0.0"],"imports":["wasi:io/poll@0.2.0"],"target":null}}}}"#
            )
        );
        assert_eq!(
            String::from_utf8(pushed.manifest.clone()).unwrap(),
            format!(
                r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.wasm.config.v0+json","digest":"{}","size":{}}},"layers":[{{"mediaType":"application/wasm","digest":"{layer}","size":1}}]}}"#,
                pushed.config_digest,
                pushed.config.len()
            )
        );
        assert_eq!(pushed.manifest_digest, Digest::of(&pushed.manifest));
    }

    #[test]
    fn what_is_pushed_can_be_pulled() {
        let pushed = sample();
        let found = wanted(&pushed.manifest).unwrap();
        assert_eq!(
            found.config,
            (pushed.config_digest, pushed.config.len() as u64)
        );
        assert_eq!(found.layer, (Digest::of(b"x"), 1));
        assert_eq!(check_config(&pushed.config), Ok(()));
    }

    #[test]
    fn other_images_are_refused_with_the_reason() {
        let text = String::from_utf8(sample().manifest).unwrap();
        for (from, to, reason) in [
            ("application/wasm\"", "application/tar\"", "application/tar"),
            (
                CONFIG_TYPE,
                "application/vnd.oci.image.config.v1+json",
                "its config is of type",
            ),
            (
                MANIFEST_TYPE,
                "application/vnd.oci.image.index.v1+json",
                "image.index",
            ),
            ("\"size\":1}", "\"size\":-1}", "negative"),
            ("\"layers\":[", "\"layers\":[],\"x\":[", "0 layers"),
            ("sha256:2d", "sha512:2d", "not a digest"),
        ] {
            assert!(text.contains(from), "{from}");
            let error = wanted(text.replace(from, to).as_bytes()).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        assert!(wanted(b"{}").is_err());
        assert!(
            check_config(br#"{"os":"wasip1"}"#)
                .unwrap_err()
                .contains("core module")
        );
        assert!(
            check_config(br#"{"os":"linux"}"#)
                .unwrap_err()
                .contains("linux")
        );
    }
}
