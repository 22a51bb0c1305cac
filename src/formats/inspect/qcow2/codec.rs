//! Decompression of clusters.

use zstd::zstd_safe::find_frame_compressed_size;

/// The compression type of an image (header, byte 104).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    /// Raw deflate (RFC 1951).
    Zlib,
    /// One zstd frame.
    Zstd,
}

impl Codec {
    /// Unpacks a cluster of `cluster_size` bytes. `packed` ends at a sector's end, so other data may follow.
    pub(super) fn unpack(self, packed: &[u8], cluster_size: usize) -> Result<Vec<u8>, String> {
        let mut bytes = vec![0; cluster_size];
        let len = match self {
            Codec::Zlib => {
                let mut inflate = flate2::Decompress::new(false);
                inflate.decompress(packed, &mut bytes, flate2::FlushDecompress::Finish).map_err(|e| e.to_string())?;
                inflate.total_out() as usize
            }
            Codec::Zstd => {
                let frame = find_frame_compressed_size(packed).map_err(|code| zstd::zstd_safe::get_error_name(code).to_owned())?;
                zstd::bulk::decompress_to_buffer(&packed[..frame], &mut bytes).map_err(|e| e.to_string())?
            }
        };
        if len != cluster_size {
            return Err(format!("expected {cluster_size} bytes, found {len}"));
        }
        Ok(bytes)
    }
}
