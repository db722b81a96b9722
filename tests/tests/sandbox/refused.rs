//! Components that are refused at upload, and leave nothing behind.

use ringfence_test_guests as guests;
use ringfence_tests::TestHost;

async fn refused(host: &TestHost, guest: &'static [u8], words: &[&str]) {
    let reason = host.refused(guest).await;
    for word in words {
        assert!(reason.contains(word), "{word:?} is not in {reason:?}");
    }
    assert!(!reason.contains("/tmp"), "{reason:?}");
}

pub(crate) async fn private_import(host: TestHost) {
    refused(&host, guests::PRIVATE_IMPORT, &["acme:private/thing@1.0.0"]).await;
}

pub(crate) async fn wasi_p3(host: TestHost) {
    refused(&host, guests::WASI_P3, &["wasi:random/random@0.3.0"]).await;
}

pub(crate) async fn resource_export(host: TestHost) {
    refused(&host, guests::RESOURCE_EXPORT, &["resource"]).await;
}

pub(crate) async fn core_module(host: TestHost) {
    refused(&host, guests::CORE_MODULE, &["module"]).await;
}

pub(crate) async fn memory_minimum(host: TestHost) {
    refused(&host, guests::MEMORY_MINIMUM, &["memory"]).await;
}

pub(crate) async fn table_minimum(host: TestHost) {
    refused(&host, guests::TABLE_MINIMUM, &["table"]).await;
}

pub(crate) async fn instances(host: TestHost) {
    refused(&host, guests::INSTANCES, &["instances", "80", "64"]).await;
}
