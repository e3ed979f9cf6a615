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
use world::{Broken, alphabets, explore, wild};

/// Of sequences: enough for each bug that a world can find, and quick.
const LENGTH: usize = 4;
/// Of long sequences.
const SEEDS: u64 = 30;

#[test]
fn every_planted_bug_is_found() {
    let transcripts = script::transcripts();
    assert_eq!(by_transcripts(&transcripts), Vec::<&str>::new());
    let hook = panic::take_hook();
    // A kernel that panics is one way to find a bug.
    panic::set_hook(Box::new(|_| {}));
    let mut missed = Vec::new();
    println!(
        "{:36} {:52} {:34} of a small world",
        "bug", "transcripts", "of long sequences"
    );
    for bug in Bug::ALL {
        plant(Some(bug));
        let differing = by_transcripts(&transcripts);
        let by_seed = (1..=SEEDS).find_map(|seed| broken(|| wild::walk(seed)));
        let by_world = alphabets::ALL
            .iter()
            .find_map(|alphabet| broken(|| explore(alphabet, LENGTH).map(drop)));
        plant(None);
        let first = differing.first().unwrap_or(&"-");
        let transcripts = format!("{:3} {first}", differing.len());
        println!(
            "{:36} {transcripts:52} {:34.32} {:.60}",
            format!("{bug:?}"),
            by_seed.as_deref().unwrap_or("-"),
            by_world.as_deref().unwrap_or("-"),
        );
        if differing.is_empty() && by_seed.is_none() && by_world.is_none() {
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

/// The promise that was broken.
fn broken(explore: impl FnOnce() -> Result<(), Broken> + std::panic::UnwindSafe) -> Option<String> {
    match catch_unwind(explore) {
        Ok(Ok(())) => None,
        Ok(Err(broken)) => Some(broken.what),
        Err(_) => Some("the kernel panics".into()),
    }
}
