#!/bin/bash
# Guess: the crates that decompress modules say when something stands behind the compressed data, or none does: all are read
# through std::io::Read to the end of the file. Two streams in one file, as xz, gzip and zstd themselves read, are read by
# all.
# flate2 1.1.11, liblzma 0.4.9, bzip2 0.6.1: GzDecoder, XzDecoder and BzDecoder stop at the end of the first stream, with
# success: a module that was signed after compression (of which kmod says that it is broken) reads well, and of two streams
# the second is missing. zstd 0.14.4 reads both streams, and fails at the signature, after it has given all bytes. So: for gz,
# xz and bz2 look whether the reader below is at its end, or take the Multi decoder where several streams are meant.
. "$(dirname "$0")/lib.sh"
crate_trial 'flate2 = "=1.1.11"' \
	'liblzma = { version = "=0.4.9", features = ["static"] }' \
	'zstd = { version = "=0.14.4", default-features = false }' \
	'bzip2 = "=0.6.1"' <<'C'
use std::io::{Cursor, Read, Write};
const MARK: &[u8] = b"signature~Module signature appended~\n";
fn read(what: &str, stream: &[u8], open: impl Fn(Cursor<Vec<u8>>) -> Box<dyn Read>) {
    let cut = &stream[..stream.len() - 1];
    for (form, bytes) in [("signed", [stream, MARK].concat()), ("twice", [stream, stream].concat()), ("cut", cut.to_vec())] {
        let mut out = Vec::new();
        let end = match open(Cursor::new(bytes)).read_to_end(&mut out) { Ok(_) => "ok", Err(_) => "error" };
        print!("{what} {form} {end} {}; ", out.len());
    }
    println!();
}
fn main() {
    let module = [7u8; 1000];
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), Default::default());
    gz.write_all(&module).unwrap();
    read("gz", &gz.finish().unwrap(), |c| Box::new(flate2::read::GzDecoder::new(c)));
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 6);
    xz.write_all(&module).unwrap();
    read("xz", &xz.finish().unwrap(), |c| Box::new(liblzma::read::XzDecoder::new(c)));
    let mut bz = bzip2::write::BzEncoder::new(Vec::new(), Default::default());
    bz.write_all(&module).unwrap();
    read("bz2", &bz.finish().unwrap(), |c| Box::new(bzip2::read::BzDecoder::new(c)));
    read("zst", &zstd::encode_all(&module[..], 3).unwrap(), |c| Box::new(zstd::Decoder::new(c).unwrap()));
}
C
said=$(cd "$T/trial" && cargo run --quiet)
for kind in gz xz bz2; do
	same "$kind: how it ends, and how many bytes" "$kind signed ok 1000; $kind twice ok 1000; $kind cut error 1000; " "$(grep "^$kind" <<<"$said")"
done
same 'zst' 'zst signed error 1000; zst twice ok 2000; zst cut error 0; ' "$(grep '^zst' <<<"$said")"
