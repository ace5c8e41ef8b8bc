//! How much an archive may hold.

/// The size of a tar header and the unit of everything else.
pub(super) const BLOCK: usize = 512;

/// How much an archive may hold. The defaults leave room for the largest known packages
/// (nvidia-open: 100 MB, 5,000 files) many times over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes after decompression, headers included. Default: 4 GiB.
    pub total_bytes: u64,
    /// Bytes of one file. Default: 1 GiB.
    pub file_bytes: u64,
    /// Entries, headers of long names included. Default: 200,000.
    pub entries: u64,
    /// Directories, those that names only imply included: each is made and synced. Default: 20,000.
    pub directories: usize,
    /// Components of a name. Default: 64.
    pub depth: usize,
    /// Bytes out for one byte in. Default: 200.
    pub ratio: u64,
    /// Bytes out before the ratio counts. Default: 16 MiB.
    pub ratio_after: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            total_bytes: 4 << 30,
            file_bytes: 1 << 30,
            entries: 200_000,
            directories: 20_000,
            depth: 64,
            ratio: 200,
            ratio_after: 16 << 20,
        }
    }
}
