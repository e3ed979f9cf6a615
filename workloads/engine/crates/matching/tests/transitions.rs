//! The diagram of symbol states in the documentation is the table of transitions in the code. To draw it anew:
//! `REWRITE_TRANSCRIPTS=1 cargo test -p openbourse-matching --test transitions`.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use openbourse_matching::symbol_state::{Cause, SymbolState, TRANSITIONS};

#[test]
fn the_documented_diagram_is_the_table_of_transitions() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../docs/symbol-states.md");
    let written = fs::read_to_string(&page).unwrap();
    let (before, rest) = written.split_once("```mermaid\n").unwrap();
    let (_, after) = rest.split_once("```").unwrap();
    let drawn = format!("{before}```mermaid\n{}```{after}", diagram());
    if env::var_os("REWRITE_TRANSCRIPTS").is_some() {
        fs::write(&page, drawn).unwrap();
    } else {
        assert!(
            written == drawn,
            "draw it anew with REWRITE_TRANSCRIPTS=1: {}",
            page.display()
        );
    }
}

fn diagram() -> String {
    let mut drawn = String::from("stateDiagram-v2\n    [*] --> TRADING: listed\n");
    for from in SymbolState::ALL {
        for to in SymbolState::ALL {
            let causes: Vec<_> = (TRANSITIONS.iter())
                .filter(|(before, _, after)| (*before, *after) == (from, to))
                .map(|(_, cause, _)| words(*cause))
                .collect();
            if !causes.is_empty() {
                let causes = causes.join(", ");
                writeln!(drawn, "    {from} --> {to}: {causes}").unwrap();
            }
        }
    }
    drawn
}

fn words(cause: Cause) -> &'static str {
    match cause {
        Cause::Restricted => "halt or safety level",
        Cause::Released => "lifted",
        Cause::Asked => "asked for",
        Cause::Volatility => "volatility",
        Cause::Ended => "time over",
        Cause::Uncrossed => "uncrossed",
    }
}
