//! The order of depmod's tables: SuperFastHash, by Paul Hsieh (<http://www.azillionmonkeys.com/qed/hash.html>).
//!
//! `modules.symbols`, and the modules that modules.order does not name, are in the order of a table of 2048 (512) rows; a row is in
//! the order of the names. Seen in kmod 30 and 34 by sorting their files; whoever relies on it checks that the file at hand is so.

/// The hash of `text`, of ASCII letters.
pub fn superfast(text: &[u8]) -> u32 {
    let pair = |bytes: &[u8]| u32::from(bytes[0]) | u32::from(bytes[1]) << 8;
    let mut hash = u32::try_from(text.len()).unwrap_or(u32::MAX);
    let mut groups = text.chunks_exact(4);
    for group in &mut groups {
        hash = hash.wrapping_add(pair(group));
        hash = (hash << 16) ^ (pair(&group[2..]) << 11) ^ hash;
        hash = hash.wrapping_add(hash >> 11);
    }
    match groups.remainder() {
        [a] => {
            hash = hash.wrapping_add(u32::from(*a));
            hash ^= hash << 10;
            hash = hash.wrapping_add(hash >> 1);
        }
        rest @ [_, _] => {
            hash = hash.wrapping_add(pair(rest));
            hash ^= hash << 11;
            hash = hash.wrapping_add(hash >> 17);
        }
        rest @ [_, _, last] => {
            hash = hash.wrapping_add(pair(rest));
            hash ^= hash << 16;
            hash ^= u32::from(*last) << 18;
            hash = hash.wrapping_add(hash >> 11);
        }
        _ => {}
    }
    hash ^= hash << 3;
    hash = hash.wrapping_add(hash >> 5);
    hash ^= hash << 4;
    hash = hash.wrapping_add(hash >> 17);
    hash ^= hash << 25;
    hash.wrapping_add(hash >> 6)
}
