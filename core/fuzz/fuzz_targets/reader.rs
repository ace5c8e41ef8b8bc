//! `core/fuzz/run.sh` (or `cargo +nightly fuzz run reader` in core/): whatever the bytes, the reader unpacks inside or
//! refuses and leaves nothing. `core/src/archive/hostile.rs` does the same with a fixed seed in every test run.
#![no_main]

use dkms_core::archive::{layout, links, reader};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(place) = tempfile::tempdir_in("/dev/shm") else {
        return;
    };
    let (archive, beside) = (place.path().join("a"), place.path().join("beside"));
    if std::fs::write(&archive, bytes).is_err() || std::fs::create_dir(&beside).is_err() {
        return;
    }
    let limits = reader::Limits {
        total_bytes: 8 << 20,
        file_bytes: 4 << 20,
        entries: 500,
        ..reader::Limits::default()
    };
    if let Ok(unpacked) = reader::unpack(&archive, &beside, &limits) {
        assert!(matches!(links::first_stray(unpacked.path()), Ok(None)));
        let _ = layout::understand(unpacked.path());
    }
    assert_eq!(
        std::fs::read_dir(&beside).map(Iterator::count).unwrap_or(0),
        0
    );
    assert_eq!(
        std::fs::read_dir(place.path())
            .map(Iterator::count)
            .unwrap_or(0),
        2
    );
});
