//! One cluster compressed: the same bytes for the same contents, always.
//!
//! The zstd library is part of the build and each cluster is one frame made by one thread, so neither the host nor the
//! number of threads can change a byte.

use zstd::zstd_safe::{CParameter, compress_bound};

use crate::disk::cluster::{CLUSTER, Cluster};
use crate::error::{Error, Result};

/// The zstd level. Part of every image's bytes: to change it is to change the image format.
///
/// On a gigabyte of a Debian system (programs, libraries, documents), with level 3 as 100: level 1 takes 76 of its time for
/// 104 of its size, 2 takes 87 for 102, 4 takes 116 for 99, 5 over 200 for 97. Own table sizes gained nothing.
/// Level 2 made the etcd image 0.2 percent larger than `qemu-img convert -c` makes the same tree at its level 3 (tests/bench/run).
pub const LEVEL: i32 = 3;

/// A cluster's stored form.
#[derive(Debug, PartialEq, Eq)]
pub enum Compressed<'a> {
    /// A zstd frame, shorter than a cluster.
    Frame(&'a [u8]),
    /// No shorter: to be stored as it is.
    Plain,
}

/// A compressor to be used again and again: its tables are large, and to set them up anew for each cluster would cost
/// more than the work itself.
pub struct Codec {
    context: zstd::bulk::Compressor<'static>,
    frame: Vec<u8>,
}

impl Codec {
    /// A compressor.
    ///
    /// # Errors
    /// When zstd gets no memory.
    pub fn new() -> Result<Self> {
        let mut context = zstd::bulk::Compressor::new(LEVEL).map_err(|e| failed(&e))?;
        // QEMU needs neither; the size lets a reader refuse a wrong frame early, and a checksum would only cost bytes.
        for parameter in [CParameter::ContentSizeFlag(true), CParameter::ChecksumFlag(false), CParameter::DictIdFlag(false)] {
            context.set_parameter(parameter).map_err(|e| failed(&e))?;
        }
        Ok(Codec { context, frame: vec![0; compress_bound(CLUSTER)] })
    }

    /// Compresses `cluster`: a pure function of its bytes, whatever was compressed before.
    ///
    /// # Errors
    /// When zstd fails, which it has no reason to.
    pub fn compress(&mut self, cluster: &Cluster) -> Result<Compressed<'_>> {
        // The buffer holds the worst case, so that "does not shrink" is our decision and no error of zstd's.
        let len = self.context.compress_to_buffer(cluster, &mut self.frame[..]).map_err(|e| failed(&e))?;
        Ok(if len < CLUSTER { Compressed::Frame(&self.frame[..len]) } else { Compressed::Plain })
    }
}

fn failed(e: &std::io::Error) -> Error {
    Error::internal(format!("cannot compress with zstd: {e}"))
}
