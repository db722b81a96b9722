//! `wasi:filesystem`: granted folders. wasmtime's implementation, which keeps every path inside the
//! folder, does the work; around it stands a quota on what one call may write, which WASI has not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use wasmtime::component::{HasData, Resource};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemCtxView, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::filesystem::types::{self, HostDescriptor as Inner};
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, FsError, FsResult, OutputStream, Pollable, ReaddirIterator,
    StreamError, StreamResult,
};

use crate::error::CallError;
use crate::limits::name;
use crate::sandbox::State;

/// What a new file, folder or link is charged with beside its content: about what it takes on a disk.
pub(crate) const ENTRY_BYTES: u64 = 4096;

/// Bytes that a call may still write into folders.
#[derive(Debug, Clone)]
pub(crate) struct WriteQuota {
    left: Arc<AtomicU64>,
    limit: u64,
}

impl WriteQuota {
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            left: Arc::new(AtomicU64::new(limit)),
            limit,
        }
    }

    fn take(&self, bytes: u64) -> Result<(), CallError> {
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(bytes)
            })
            .map(drop)
            .map_err(|_| CallError::limit(name::FOLDER_WRITE_BYTES, self.limit))
    }
}

/// Marker of the state that `wasi:filesystem/types` works on.
pub(crate) struct Folders;

impl HasData for Folders {
    type Data<'a> = FoldersView<'a>;
}

/// wasmtime's view of the folders, with the quota.
pub(crate) struct FoldersView<'a> {
    inner: WasiFilesystemCtxView<'a>,
    quota: WriteQuota,
}

/// The view of one store.
pub(crate) fn view(state: &mut State) -> FoldersView<'_> {
    let quota = state.write_quota.clone();
    FoldersView {
        inner: state.filesystem(),
        quota,
    }
}

impl FoldersView<'_> {
    fn charge(&self, bytes: u64) -> FsResult<()> {
        self.quota.take(bytes).map_err(FsError::trap)
    }

    fn metered(
        &mut self,
        stream: Resource<DynOutputStream>,
    ) -> FsResult<Resource<DynOutputStream>> {
        let inner = self.inner.table.delete(stream)?;
        let metered: DynOutputStream = Box::new(Metered {
            inner,
            quota: self.quota.clone(),
        });
        Ok(self.inner.table.push(metered)?)
    }
}

/// A stream into a file that charges the quota.
struct Metered {
    inner: DynOutputStream,
    quota: WriteQuota,
}

#[wasmtime_wasi::async_trait]
impl OutputStream for Metered {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.charge(&bytes)?;
        self.inner.write(bytes)
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.charge(&bytes)?;
        self.inner.blocking_write_and_flush(bytes).await
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.inner.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.inner.check_write()
    }

    /// When the guest drops the stream. What it was told is written is written: wasmtime's own stream forgets a
    /// write that no thread has taken up yet.
    async fn cancel(&mut self) {
        self.inner.ready().await;
        self.inner.cancel().await;
    }
}

impl Metered {
    fn charge(&self, bytes: &Bytes) -> StreamResult<()> {
        self.quota
            .take(bytes.len() as u64)
            .map_err(|error| StreamError::Trap(error.into()))
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Metered {
    async fn ready(&mut self) {
        self.inner.ready().await;
    }
}

impl types::Host for FoldersView<'_> {
    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<types::ErrorCode> {
        types::Host::convert_error_code(&mut self.inner, error)
    }

    fn filesystem_error_code(
        &mut self,
        error: Resource<wasmtime::Error>,
    ) -> wasmtime::Result<Option<types::ErrorCode>> {
        types::Host::filesystem_error_code(&mut self.inner, error)
    }
}

impl types::HostDescriptor for FoldersView<'_> {
    async fn write(
        &mut self,
        file: Resource<Descriptor>,
        bytes: Vec<u8>,
        offset: types::Filesize,
    ) -> FsResult<types::Filesize> {
        self.charge(bytes.len() as u64)?;
        Inner::write(&mut self.inner, file, bytes, offset).await
    }

    async fn set_size(
        &mut self,
        file: Resource<Descriptor>,
        size: types::Filesize,
    ) -> FsResult<()> {
        let now = Inner::stat(&mut self.inner, Resource::new_borrow(file.rep()))
            .await?
            .size;
        self.charge(size.saturating_sub(now))?;
        Inner::set_size(&mut self.inner, file, size).await
    }

    fn write_via_stream(
        &mut self,
        file: Resource<Descriptor>,
        offset: types::Filesize,
    ) -> FsResult<Resource<DynOutputStream>> {
        let stream = Inner::write_via_stream(&mut self.inner, file, offset)?;
        self.metered(stream)
    }

    fn append_via_stream(
        &mut self,
        file: Resource<Descriptor>,
    ) -> FsResult<Resource<DynOutputStream>> {
        let stream = Inner::append_via_stream(&mut self.inner, file)?;
        self.metered(stream)
    }

    async fn open_at(
        &mut self,
        folder: Resource<Descriptor>,
        path_flags: types::PathFlags,
        path: String,
        open_flags: types::OpenFlags,
        flags: types::DescriptorFlags,
    ) -> FsResult<Resource<Descriptor>> {
        if open_flags.contains(types::OpenFlags::CREATE) {
            self.charge(ENTRY_BYTES)?;
        }
        Inner::open_at(&mut self.inner, folder, path_flags, path, open_flags, flags).await
    }

    async fn create_directory_at(
        &mut self,
        folder: Resource<Descriptor>,
        path: String,
    ) -> FsResult<()> {
        self.charge(ENTRY_BYTES)?;
        Inner::create_directory_at(&mut self.inner, folder, path).await
    }

    async fn link_at(
        &mut self,
        folder: Resource<Descriptor>,
        flags: types::PathFlags,
        old: String,
        new_folder: Resource<Descriptor>,
        new: String,
    ) -> FsResult<()> {
        self.charge(ENTRY_BYTES)?;
        Inner::link_at(&mut self.inner, folder, flags, old, new_folder, new).await
    }

    async fn symlink_at(
        &mut self,
        folder: Resource<Descriptor>,
        target: String,
        path: String,
    ) -> FsResult<()> {
        self.charge(ENTRY_BYTES)?;
        Inner::symlink_at(&mut self.inner, folder, target, path).await
    }

    // From here on nothing takes room: handed on as it is.

    async fn advise(
        &mut self,
        file: Resource<Descriptor>,
        offset: types::Filesize,
        length: types::Filesize,
        advice: types::Advice,
    ) -> FsResult<()> {
        Inner::advise(&mut self.inner, file, offset, length, advice).await
    }

    async fn sync_data(&mut self, file: Resource<Descriptor>) -> FsResult<()> {
        Inner::sync_data(&mut self.inner, file).await
    }

    async fn get_flags(&mut self, file: Resource<Descriptor>) -> FsResult<types::DescriptorFlags> {
        Inner::get_flags(&mut self.inner, file).await
    }

    async fn get_type(&mut self, file: Resource<Descriptor>) -> FsResult<types::DescriptorType> {
        Inner::get_type(&mut self.inner, file).await
    }

    async fn set_times(
        &mut self,
        file: Resource<Descriptor>,
        accessed: types::NewTimestamp,
        modified: types::NewTimestamp,
    ) -> FsResult<()> {
        Inner::set_times(&mut self.inner, file, accessed, modified).await
    }

    async fn read(
        &mut self,
        file: Resource<Descriptor>,
        length: types::Filesize,
        offset: types::Filesize,
    ) -> FsResult<(Vec<u8>, bool)> {
        Inner::read(&mut self.inner, file, length, offset).await
    }

    async fn read_directory(
        &mut self,
        folder: Resource<Descriptor>,
    ) -> FsResult<Resource<ReaddirIterator>> {
        Inner::read_directory(&mut self.inner, folder).await
    }

    async fn sync(&mut self, file: Resource<Descriptor>) -> FsResult<()> {
        Inner::sync(&mut self.inner, file).await
    }

    async fn stat(&mut self, file: Resource<Descriptor>) -> FsResult<types::DescriptorStat> {
        Inner::stat(&mut self.inner, file).await
    }

    async fn stat_at(
        &mut self,
        folder: Resource<Descriptor>,
        flags: types::PathFlags,
        path: String,
    ) -> FsResult<types::DescriptorStat> {
        Inner::stat_at(&mut self.inner, folder, flags, path).await
    }

    async fn set_times_at(
        &mut self,
        folder: Resource<Descriptor>,
        flags: types::PathFlags,
        path: String,
        accessed: types::NewTimestamp,
        modified: types::NewTimestamp,
    ) -> FsResult<()> {
        Inner::set_times_at(&mut self.inner, folder, flags, path, accessed, modified).await
    }

    fn drop(&mut self, file: Resource<Descriptor>) -> wasmtime::Result<()> {
        Inner::drop(&mut self.inner, file)
    }

    async fn readlink_at(
        &mut self,
        folder: Resource<Descriptor>,
        path: String,
    ) -> FsResult<String> {
        Inner::readlink_at(&mut self.inner, folder, path).await
    }

    async fn remove_directory_at(
        &mut self,
        folder: Resource<Descriptor>,
        path: String,
    ) -> FsResult<()> {
        Inner::remove_directory_at(&mut self.inner, folder, path).await
    }

    async fn rename_at(
        &mut self,
        folder: Resource<Descriptor>,
        old: String,
        new_folder: Resource<Descriptor>,
        new: String,
    ) -> FsResult<()> {
        Inner::rename_at(&mut self.inner, folder, old, new_folder, new).await
    }

    async fn unlink_file_at(&mut self, folder: Resource<Descriptor>, path: String) -> FsResult<()> {
        Inner::unlink_file_at(&mut self.inner, folder, path).await
    }

    fn read_via_stream(
        &mut self,
        file: Resource<Descriptor>,
        offset: types::Filesize,
    ) -> FsResult<Resource<DynInputStream>> {
        Inner::read_via_stream(&mut self.inner, file, offset)
    }

    async fn is_same_object(
        &mut self,
        a: Resource<Descriptor>,
        b: Resource<Descriptor>,
    ) -> wasmtime::Result<bool> {
        Inner::is_same_object(&mut self.inner, a, b).await
    }

    async fn metadata_hash(
        &mut self,
        file: Resource<Descriptor>,
    ) -> FsResult<types::MetadataHashValue> {
        Inner::metadata_hash(&mut self.inner, file).await
    }

    async fn metadata_hash_at(
        &mut self,
        folder: Resource<Descriptor>,
        flags: types::PathFlags,
        path: String,
    ) -> FsResult<types::MetadataHashValue> {
        Inner::metadata_hash_at(&mut self.inner, folder, flags, path).await
    }
}

impl types::HostDirectoryEntryStream for FoldersView<'_> {
    async fn read_directory_entry(
        &mut self,
        stream: Resource<ReaddirIterator>,
    ) -> FsResult<Option<types::DirectoryEntry>> {
        types::HostDirectoryEntryStream::read_directory_entry(&mut self.inner, stream).await
    }

    fn drop(&mut self, stream: Resource<ReaddirIterator>) -> wasmtime::Result<()> {
        types::HostDirectoryEntryStream::drop(&mut self.inner, stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quota_runs_out_once() {
        let quota = WriteQuota::new(10);
        assert_eq!(quota.take(6), Ok(()));
        assert_eq!(
            quota.clone().take(6),
            Err(CallError::limit("folder-write-bytes", 10))
        );
        assert_eq!(quota.take(4), Ok(()));
    }
}
