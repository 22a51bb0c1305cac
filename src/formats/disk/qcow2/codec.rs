//! Deterministic compression of one cluster.
//!
//! The zstd library is part of the build, and each cluster is one frame made by one thread, so neither the host nor the
//! number of threads can change a byte.

use zstd::zstd_safe::{CParameter, compress_bound};

use crate::common::error::{Error, Result};
use crate::formats::disk::cluster::{CLUSTER, Cluster};

/// The zstd level. Part of every image's bytes: changing it changes the image format.
///
/// On a gigabyte of a Debian system (programs, libraries, documents), with level 3 as 100: level 1 takes 76 of the time
/// for 104 of the size, level 2 takes 87 for 102, 4 takes 116 for 99, 5 over 200 for 97. Custom table sizes gained
/// nothing. Level 2 made the etcd image 0.2 percent larger than `qemu-img convert -c` makes the same tree at its level
/// 3 (tests/bench/run).
pub(crate) const LEVEL: i32 = 3;

/// A cluster's stored form.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Compressed<'a> {
    /// A zstd frame, shorter than a cluster.
    Frame(&'a [u8]),
    /// The frame would not be shorter: store the cluster uncompressed.
    Plain,
}

/// A reusable compressor: setting up its large tables for each cluster would cost more than the compression.
pub(crate) struct Codec {
    context: zstd::bulk::Compressor<'static>,
    frame: Vec<u8>,
}

impl Codec {
    /// Sets up a compressor.
    ///
    /// # Errors
    /// A lack of memory in zstd.
    pub(crate) fn new() -> Result<Self> {
        let mut context = zstd::bulk::Compressor::new(LEVEL).map_err(|e| failed(&e))?;
        // QEMU needs neither; the size lets a reader reject a wrong frame early, and a checksum would only cost bytes.
        for parameter in [CParameter::ContentSizeFlag(true), CParameter::ChecksumFlag(false), CParameter::DictIdFlag(false)] {
            context.set_parameter(parameter).map_err(|e| failed(&e))?;
        }
        Ok(Codec { context, frame: vec![0; compress_bound(CLUSTER)] })
    }

    /// Compresses `cluster`: a pure function of its bytes, independent of earlier calls.
    ///
    /// # Errors
    /// An internal error of zstd.
    pub(crate) fn compress(&mut self, cluster: &Cluster) -> Result<Compressed<'_>> {
        // The buffer fits the worst case, so that a cluster that does not shrink is no error of zstd.
        let len = self.context.compress_to_buffer(cluster, &mut self.frame[..]).map_err(|e| failed(&e))?;
        Ok(if len < CLUSTER { Compressed::Frame(&self.frame[..len]) } else { Compressed::Plain })
    }
}

fn failed(e: &std::io::Error) -> Error {
    Error::internal(format!("cannot compress with zstd: {e}"))
}
