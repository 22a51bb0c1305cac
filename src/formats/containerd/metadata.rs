//! The metadata store `meta.db`: images, contents and snapshots by namespace
//! ([`buckets.go`](https://github.com/containerd/containerd/blob/v2.3.4/core/metadata/buckets.go)).

use super::encode::signed;
use super::image::{Chain, Image, Snapshot};
use super::schema::{key, name, put_labels, put_times};
use super::{NAMESPACE, SNAPSHOTTER};
use crate::common::value::{Epoch, Sha256, civil};
use crate::formats::bolt::Bucket;
use crate::formats::oci::Descriptor;

/// The labels of an image that the CRI plugin manages
/// ([`labels.go`](https://github.com/containerd/containerd/blob/v2.3.4/internal/cri/labels/labels.go)), and of one that the
/// kubelet must not remove.
const LABELS: [(&str, &str); 2] = [("io.cri-containerd.image", "managed"), ("io.cri-containerd.pinned", "pinned")];
/// `dbVersion` of containerd 1 ([`db.go`](https://github.com/containerd/containerd/blob/v1.7.0/metadata/db.go)). containerd 2
/// has version 4; its migration at the first start finds nothing to change.
const VERSION: u64 = 3;
/// The label of the roots of garbage collection
/// ([garbage-collection.md](https://github.com/containerd/containerd/blob/v2.3.4/docs/garbage-collection.md)).
const ROOT: &str = "containerd.io/gc.root";

/// The database.
pub(super) fn database(images: &[Image], chains: &[Chain], snapshots: &[Snapshot], epoch: Epoch) -> Bucket {
    let mut root = Bucket::new();
    let version = root.bucket("v1");
    version.put("version", signed(VERSION));
    let namespace = version.bucket(NAMESPACE);
    for (image, chain) in images.iter().zip(chains) {
        for name in names(image, chain) {
            put_image(namespace.bucket("images").bucket(name), image.target(), epoch);
        }
        put_contents(namespace.bucket("content").bucket("blob"), image, chain, epoch);
    }
    put_snapshots(namespace.bucket("snapshots").bucket(SNAPSHOTTER), snapshots, epoch);
    root
}

/// The names by which the CRI plugin finds an image: tag, digest, and image id.
fn names(image: &Image, chain: &Chain) -> [String; 3] {
    let reference = &image.reference;
    let digest = format!("{}/{}@sha256:{}", reference.registry(), reference.repository(), image.target().digest);
    [reference.to_string(), digest, format!("sha256:{}", chain.config.digest)]
}

fn put_image(bucket: &mut Bucket, target: Descriptor, epoch: Epoch) {
    put_times(bucket, epoch);
    put_labels(bucket, LABELS.map(|(key, value)| (key.to_owned(), value.to_owned())));
    let written = bucket.bucket("target");
    written.put("digest", format!("sha256:{}", target.digest));
    written.put("mediatype", target.media_type.as_str());
    written.put("size", signed(target.size));
}

/// Writes the documents, each labelled with its references: the configuration refers to the image's uppermost snapshot.
fn put_contents(blobs: &mut Bucket, image: &Image, chain: &Chain, epoch: Epoch) {
    let content = |digest: Sha256| format!("sha256:{digest}");
    let snapshot = chain.links.last().map(|link| content(link.id)).unwrap_or_default();
    let manifest = image.manifest.0;
    let mut labels = vec![
        (manifest, ("containerd.io/gc.ref.content.config".to_owned(), content(chain.config.digest))),
        (chain.config, (format!("containerd.io/gc.ref.snapshot.{SNAPSHOTTER}"), snapshot)),
        (image.target(), (ROOT.to_owned(), civil(epoch).to_string())),
    ];
    labels
        .extend(image.index.as_ref().map(|(index, _)| (*index, ("containerd.io/gc.ref.content.m.0".to_owned(), content(manifest.digest)))));
    for (descriptor, label) in labels {
        let blob = blobs.bucket(content(descriptor.digest));
        put_times(blob, epoch);
        blob.put("size", signed(descriptor.size));
        put_labels(blob, [label]);
    }
}

fn put_snapshots(bucket: &mut Bucket, snapshots: &[Snapshot], epoch: Epoch) {
    bucket.set_sequence(snapshots.len() as u64);
    for (number, Snapshot { link, .. }) in (1..).zip(snapshots) {
        let snapshot = bucket.bucket(key(link.id));
        snapshot.put("name", name(number, link.id));
        put_times(snapshot, epoch);
        put_labels(snapshot, [("containerd.io/snapshot.ref".to_owned(), key(link.id))]);
        if let Some(parent) = link.parent {
            snapshot.put("parent", key(parent));
            bucket.bucket(key(parent)).bucket("children").put(key(link.id), "");
        }
    }
}
