//! Golden transcripts: `transcripts/<rule>/<name>.txt` has commands, each followed by what it did. A folder is a section
//! of the rules; those in `version_1` are of a kernel of version 1, the others of the latest. To write them anew:
//! `REWRITE_TRANSCRIPTS=1 cargo test -p openbourse-matching --test transcripts`, and read the difference.
//!
//! The language is that of `script`.

mod script;

use std::{env, fs};

#[test]
fn every_transcript_is_what_the_kernel_does() {
    let rewrites = env::var_os("REWRITE_TRANSCRIPTS").is_some();
    let mut differing = Vec::new();
    for transcript in script::transcripts() {
        let played = script::play(&transcript.recorded, transcript.version, |it| it);
        if rewrites {
            fs::write(&transcript.path, &played).unwrap();
        } else if let Some(difference) = script::first_difference(&transcript.recorded, &played) {
            differing.push(format!("{}: {difference}", transcript.name));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}
