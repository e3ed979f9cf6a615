//! Bugs that are planted on purpose, one after the other: each must be found by a transcript or in a small world.
//!
//! `cargo test -p openbourse-matching --features planted-bugs --test planted -- --nocapture` shows which found it.

#[allow(dead_code, reason = "it writes no transcripts")]
mod script;
#[allow(dead_code, reason = "nobody asks how many states there are")]
mod world;

use std::panic::{self, catch_unwind};

use openbourse_matching::planted::{Bug, plant};
use script::Transcript;
use world::{alphabets, explore};

/// Of sequences: enough for each bug that a world can find, and quick.
const LENGTH: usize = 4;

#[test]
fn every_planted_bug_is_found() {
    let transcripts = script::transcripts();
    assert_eq!(by_transcripts(&transcripts), Vec::<&str>::new());
    let hook = panic::take_hook();
    // A kernel that panics is one way to find a bug.
    panic::set_hook(Box::new(|_| {}));
    let mut missed = Vec::new();
    println!("{:36} {:28} of a small world", "bug", "transcripts");
    for bug in Bug::ALL {
        plant(Some(bug));
        let differing = by_transcripts(&transcripts);
        let promise = by_worlds();
        plant(None);
        let first = differing.first().unwrap_or(&"-");
        let transcripts = format!("{:3} {first}", differing.len());
        let broken = promise.as_deref().unwrap_or("-");
        println!("{:36} {transcripts:28} {broken}", format!("{bug:?}"));
        if differing.is_empty() && promise.is_none() {
            missed.push(bug);
        }
    }
    panic::set_hook(hook);
    assert!(missed.is_empty(), "nothing finds {missed:?}");
}

/// The names of those that differ.
fn by_transcripts(transcripts: &[Transcript]) -> Vec<&str> {
    let differs = |transcript: &&Transcript| {
        let played =
            catch_unwind(|| script::play(&transcript.recorded, transcript.version, |it| it));
        played.map_or(true, |played| played != transcript.recorded)
    };
    let differing = transcripts.iter().filter(differs);
    differing
        .map(|transcript| transcript.name.as_str())
        .collect()
}

/// The first promise that is broken.
fn by_worlds() -> Option<String> {
    alphabets::ALL.iter().find_map(|alphabet| {
        let what = match catch_unwind(|| explore(alphabet, LENGTH)) {
            Ok(Ok(_)) => return None,
            Ok(Err(broken)) => broken.what,
            Err(_) => "the kernel panics".into(),
        };
        Some(format!("{}: {what:.90}", alphabet.name))
    })
}
