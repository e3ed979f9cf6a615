//! What the transcripts cannot show: checkpoints, windows, and what is in the hash.

#[allow(
    dead_code,
    reason = "commands are written in the language of the transcripts"
)]
mod script;

use openbourse_matching::command::{Body, Checkpoint, Command, DefineAsset};
use openbourse_matching::event::{EventBody, Outcome};
use openbourse_matching::names::AssetName;
use openbourse_matching::refusal::Refusal;
use openbourse_matching::{Diverged, Effects, Kernel, Stamp, Version, Windows};

/// Steps with an id made of a number.
fn step(kernel: &mut Kernel, id: u8, body: Body) -> Result<Effects, Diverged> {
    let stamp = Stamp {
        seq: kernel.seq() + 1,
        epoch: 3,
        time_us: 5,
    };
    let mut effects = Effects::new();
    let command = Command {
        id: Some([id; 16]),
        body,
    };
    kernel.step(stamp, &command, &mut effects)?;
    Ok(effects)
}

fn asset(name: &str) -> Body {
    let asset = AssetName::asset(name).unwrap();
    Body::DefineAsset(DefineAsset { asset, scale: 2 })
}

fn checkpoint(previous: Option<(u64, [u8; 32])>) -> Body {
    Body::Checkpoint(Checkpoint { previous })
}

#[test]
fn a_checkpoint_tells_the_hash_of_the_state_after_it() {
    let mut kernel = Kernel::new("main");
    step(&mut kernel, 1, asset("BTC")).unwrap();
    let effects = step(&mut kernel, 2, checkpoint(None)).unwrap();
    let told: Vec<_> = effects.events().map(|(event, _)| &event.body).collect();
    let state_hash = kernel.state_hash();
    assert_eq!(told, [&EventBody::EngineCheckpoint { state_hash }]);
    assert_eq!(kernel.last_checkpoint(), Some((2, state_hash)));
    let next = step(&mut kernel, 3, checkpoint(Some((2, state_hash))));
    assert_eq!(next.unwrap().reply.unwrap().outcome, Outcome::Done);
}

#[test]
fn a_checkpoint_of_another_state_stops_the_kernel_and_changes_nothing() {
    let mut kernel = Kernel::new("main");
    step(&mut kernel, 1, checkpoint(None)).unwrap();
    let (_, own) = kernel.last_checkpoint().unwrap();
    let before = kernel.state_hash();
    for (seq, recorded, computed) in [(1, [7; 32], Some(own)), (9, own, None)] {
        let diverged = step(&mut kernel, 2, checkpoint(Some((seq, recorded)))).unwrap_err();
        assert_eq!(
            diverged,
            Diverged {
                seq,
                recorded,
                computed
            }
        );
        assert_eq!((kernel.seq(), kernel.state_hash()), (1, before));
    }
    let fresh = step(&mut Kernel::new("main"), 1, checkpoint(Some((1, own))));
    assert_eq!(fresh.unwrap_err().computed, None);
}

#[test]
fn a_resent_checkpoint_is_not_compared_again() {
    let mut kernel = Kernel::new("main");
    step(&mut kernel, 1, checkpoint(None)).unwrap();
    let own = kernel.last_checkpoint();
    step(&mut kernel, 2, checkpoint(own)).unwrap();
    let again = step(&mut kernel, 2, checkpoint(own)).unwrap();
    assert_eq!(again.reply.unwrap().stamp.seq, 2);
    assert_eq!(kernel.seq(), 3);
}

#[test]
fn an_id_is_forgotten_when_the_window_is_full() {
    let windows = Windows {
        commands: 2,
        closed_orders: 2,
        closed_client_order_ids: 2,
    };
    let mut kernel = Kernel::at_version(Version::LATEST, "main", windows);
    step(&mut kernel, 1, asset("A")).unwrap();
    step(&mut kernel, 2, asset("B")).unwrap();
    let remembered = step(&mut kernel, 1, asset("X")).unwrap();
    assert_eq!(remembered.reply.unwrap().stamp.seq, 1);
    step(&mut kernel, 3, asset("C")).unwrap();
    let forgotten = step(&mut kernel, 1, asset("X")).unwrap();
    assert_eq!(forgotten.events().count(), 1);
    assert_eq!(forgotten.reply.unwrap().stamp.seq, 5);
}

#[test]
fn closed_client_order_ids_make_room_for_newer_ones_and_are_counted() {
    let windows = Windows {
        closed_client_order_ids: 2,
        ..Windows::default()
    };
    let mut kernel = Kernel::at_version(Version::LATEST, "main", windows);
    let mut carry_out = |text: &str| {
        let id = u8::try_from(kernel.seq() + 1).unwrap();
        let effects = step(&mut kernel, id, script::parse::command(text)).unwrap();
        let forgotten = kernel.client_order_ids_forgotten_early();
        (effects.reply.unwrap().outcome, forgotten)
    };
    for text in [
        "asset BTC 0",
        "asset USDT 0",
        "symbol BTCUSDT BTC USDT",
        "credit 1000 USDT 100",
    ] {
        carry_out(text);
    }
    for (id, forgotten) in [("a", 0), ("b", 0), ("c", 1)] {
        carry_out(&format!("place 1000 BTCUSDT buy gtc 1 1 {id}"));
        let canceled = carry_out(&format!("cancel 1000 BTCUSDT {id}"));
        assert_eq!(canceled.1, forgotten);
    }
    for (id, is_recent) in [("b", true), ("c", true), ("a", false)] {
        let (outcome, _) = carry_out(&format!("place 1000 BTCUSDT buy gtc 1 1 {id}"));
        let recent = matches!(outcome, Outcome::Refused(Refusal::RecentClientOrderId(_)));
        assert_eq!(recent, is_recent, "{id}: {outcome:?}");
    }
}

#[test]
fn the_hash_is_of_all_that_can_make_a_difference_later() {
    let hash = |shard, windows, bodies: &[(u8, Body)]| {
        let mut kernel = Kernel::at_version(Version::LATEST, shard, windows);
        for (id, body) in bodies {
            step(&mut kernel, *id, body.clone()).unwrap();
        }
        kernel.state_hash()
    };
    let windows = Windows::default();
    let smaller = Windows {
        commands: 9,
        ..windows
    };
    let two = [(1, asset("A")), (2, asset("B"))];
    let hashes = [
        hash("main", windows, &two),
        hash("hot", windows, &two),
        hash("main", smaller, &two),
        hash("main", windows, &two[..1]),
        hash("main", windows, &[(1, asset("A")), (3, asset("B"))]),
        hash(
            "main",
            windows,
            &[(1, asset("A")), (2, asset("B")), (3, asset("B"))],
        ),
        hash("main", windows, &[]),
    ];
    for (at, one) in hashes.iter().enumerate() {
        assert!(
            !hashes[at + 1..].contains(one),
            "state {at} has the hash of another"
        );
    }
}

#[test]
fn a_command_without_an_id_is_refused_and_not_remembered() {
    let mut kernel = Kernel::new("main");
    let before = kernel.state_hash();
    let stamp = Stamp {
        seq: 1,
        epoch: 1,
        time_us: 0,
    };
    let mut effects = Effects::new();
    let body = asset("BTC");
    kernel
        .step(stamp, &Command { id: None, body }, &mut effects)
        .unwrap();
    let refused = Outcome::Refused(Refusal::Invalid("command_id: must be 16 bytes"));
    assert_eq!(effects.reply.unwrap().outcome, refused);
    assert_eq!((kernel.seq(), kernel.state_hash()), (1, before));
}
