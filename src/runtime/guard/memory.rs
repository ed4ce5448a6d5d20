//! The memory of this process.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Reads the resident memory.
pub(super) struct Resident {
    /// Kept open, so that it can be read when no descriptor is left.
    statm: File,
    page: u64,
}

impl Resident {
    /// # Errors
    /// If the system does not report it.
    pub(super) fn open() -> io::Result<Resident> {
        let page = rustix::param::page_size() as u64;
        Ok(Resident { statm: File::open("/proc/self/statm")?, page })
    }

    /// In bytes.
    ///
    /// # Errors
    /// If the system does not report it.
    pub(super) fn bytes(&self) -> io::Result<u64> {
        let mut text = [0; 128];
        let length = self.statm.read_at(&mut text, 0)?;
        let text = String::from_utf8_lossy(&text[..length]);
        let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
        Ok(pages.ok_or(io::ErrorKind::InvalidData)? * self.page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_with_what_is_written() {
        let resident = Resident::open().expect("Linux has it");
        let before = resident.bytes().expect("Linux has it");
        // Without it the compiler leaves out what nobody reads.
        let written = std::hint::black_box(vec![1_u8; 64 << 20]);
        let after = resident.bytes().expect("Linux has it");
        assert!(after > before + (32 << 20), "{before} {after}");
        drop(written);
    }
}
