//! Keys and values that `meta.db` and `metadata.db` share.

use super::NAMESPACE;
use super::encode::time;
use crate::common::value::{Epoch, Sha256};
use crate::formats::bolt::Bucket;

/// The key of a snapshot in `meta.db`.
pub(super) fn key(id: Sha256) -> String {
    format!("sha256:{id}")
}

/// The name of a snapshot in the snapshotter: `createKey` of
/// [`snapshot.go`](https://github.com/containerd/containerd/blob/v2.3.4/core/metadata/snapshot.go).
pub(super) fn name(number: u64, id: Sha256) -> String {
    format!("{NAMESPACE}/{number}/{}", key(id))
}

/// Writes the times of creation and of the last change.
pub(super) fn put_times(bucket: &mut Bucket, epoch: Epoch) {
    bucket.put("createdat", time(epoch));
    bucket.put("updatedat", time(epoch));
}

/// Adds labels to those of the bucket.
pub(super) fn put_labels(bucket: &mut Bucket, labels: impl IntoIterator<Item = (String, String)>) {
    let written = bucket.bucket("labels");
    labels.into_iter().for_each(|(key, value)| written.put(key, value));
}
