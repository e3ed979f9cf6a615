//! The language of the transcripts.
//!
//! | line | is |
//! |---|---|
//! | `# words` | kept as it is |
//! | `= version 1` | first in a file: the version that the kernel begins with |
//! | `= market charge=quote` | assets BTC and USDT of scale 0, symbol BTCUSDT with what is said behind it, and 1,000,000 of both for the accounts 1000, 1001 and 1002: nine commands, of which nothing is shown |
//! | `@ 12000` | the time of the commands from here on, in ms; before the first such line a command's is its number |
//! | `> asset BTC 4` | a command, as `parse` reads it; its id is its number in the file, its seq too |
//! | `> again 7` | a resend of command 7; `> again 7 of second` of that of another shard |
//! | `> import 1 main` | ImportSymbol of what that shard froze last under that move, part by part |
//! | `= shard second` | what follows is of another shard, which has a numbering of its own; the first is `main` |
//! | `? balances` | a question, as `answers` reads it |
//! | anything else | what was answered; an event's movements follow it as `[account asset available hold]` |

mod answers;
mod definitions;
pub mod parse;
mod print;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use openbourse_matching::command::{Body, Command, ImportSymbol, MoveId};
use openbourse_matching::names::ShardName;
use openbourse_matching::record::SymbolRecord;
use openbourse_matching::{Effects, Kernel, Stamp, Version, Windows};

pub struct Transcript {
    pub path: PathBuf,
    /// `<rule>/<name>`.
    pub name: String,
    pub recorded: String,
    pub version: Version,
}

/// All that there are, by name.
pub fn transcripts() -> Vec<Transcript> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut found = Vec::new();
    for rule in entries(&root) {
        for path in entries(&rule) {
            let inside = path.strip_prefix(&root).unwrap().with_extension("");
            found.push(Transcript {
                recorded: fs::read_to_string(&path).unwrap(),
                version: if rule.ends_with("version_1") {
                    Version::One
                } else {
                    Version::LATEST
                },
                name: inside.display().to_string(),
                path,
            });
        }
    }
    assert!(!found.is_empty());
    found
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let read = fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = read.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

pub fn first_difference(recorded: &str, played: &str) -> Option<String> {
    if recorded == played {
        return None;
    }
    let (mut recorded, mut played) = (recorded.lines(), played.lines());
    let mut line = 0;
    loop {
        line += 1;
        let (before, now) = (recorded.next(), played.next());
        if before != now || before.is_none() {
            return Some(format!(
                "line {line}\n  recorded {before:?}\n  now      {now:?}"
            ));
        }
    }
}

/// The same commands and questions, with what they do now. The kernel goes through `between` before each.
pub fn play(transcript: &str, version: Version, between: fn(Kernel) -> Kernel) -> String {
    let mut stage = Stage {
        version,
        kernel: Kernel::at_version(version, "main", Windows::default()),
        effects: Effects::new(),
        commands: Vec::new(),
        others: BTreeMap::new(),
        records: BTreeMap::new(),
        time_ms: None,
        out: String::new(),
    };
    for line in transcript.lines() {
        stage.kernel = between(stage.kernel);
        if let Some(command) = line.strip_prefix("> ") {
            stage.say(line);
            stage.command(command);
        } else if let Some(question) = line.strip_prefix("? ") {
            stage.say(line);
            stage.question(question);
        } else if let Some(setting) = line.strip_prefix("= ") {
            stage.say(line);
            stage.set(setting);
        } else if let Some(time_ms) = line.strip_prefix("@ ") {
            stage.say(line);
            stage.time_ms = Some(time_ms.parse().unwrap());
        } else if line.starts_with('#') || line.is_empty() {
            stage.say(line);
        }
    }
    stage.out
}

struct Stage {
    version: Version,
    kernel: Kernel,
    effects: Effects,
    commands: Vec<Command>,
    /// The shards that wait for their turn, by name.
    others: BTreeMap<String, (Kernel, Vec<Command>)>,
    /// What was frozen, by move.
    records: BTreeMap<MoveId, (SymbolRecord, [u8; 32])>,
    /// None: nothing was said yet.
    time_ms: Option<i64>,
    out: String,
}

impl Stage {
    fn say(&mut self, line: &str) {
        writeln!(self.out, "{line}").unwrap();
    }

    fn set(&mut self, setting: &str) {
        if let Some(number) = setting.strip_prefix("version ") {
            assert!(self.commands.is_empty(), "a version is for a whole file");
            let version = Version::of_number(number.parse().unwrap()).unwrap();
            self.version = version;
            self.kernel = Kernel::at_version(version, "main", Windows::default());
            return;
        }
        if let Some(shard) = setting.strip_prefix("shard ") {
            let (kernel, commands) = self.others.remove(shard).unwrap_or_else(|| {
                let kernel = Kernel::at_version(self.version, shard, Windows::default());
                (kernel, Vec::new())
            });
            let before = std::mem::replace(&mut self.kernel, kernel);
            let commands = std::mem::replace(&mut self.commands, commands);
            let name = before.shard().to_string();
            self.others.insert(name, (before, commands));
            return;
        }
        let options = setting.strip_prefix("market").expect("no such setting");
        self.step("asset BTC 0");
        self.step("asset USDT 0");
        self.step(&format!("symbol BTCUSDT BTC USDT{options}"));
        for account in [1000, 1001, 1002] {
            for asset in ["BTC", "USDT"] {
                self.step(&format!("credit {account} {asset} 1000000"));
            }
        }
    }

    fn command(&mut self, text: &str) {
        if let Some(import) = text.strip_prefix("import ") {
            let (of, from_shard) = import.split_once(' ').unwrap();
            for part in self.parts(parse::move_id(of), from_shard) {
                self.carry_out(Body::ImportSymbol(Box::new(part)));
                self.tell();
            }
            return;
        }
        self.step(text);
        self.tell();
        if let Some(of) = text.strip_prefix("freeze ") {
            let move_id = parse::move_id(of.split(' ').next().unwrap());
            let mut record = SymbolRecord::default();
            for part in 0.. {
                let Ok(of) = self.kernel.record_of(move_id, part) else {
                    break;
                };
                record.append(of.record);
                self.records
                    .insert(move_id, (record.clone(), of.record_sha256));
            }
        }
    }

    fn parts(&self, move_id: MoveId, from_shard: &str) -> Vec<ImportSymbol> {
        let (record, record_sha256) = &self.records[&move_id];
        let parts = u32::try_from(record.parts()).unwrap();
        let part = |part: u32| ImportSymbol {
            move_id,
            from_shard: ShardName::shard(from_shard).unwrap(),
            part,
            parts,
            record_sha256: *record_sha256,
            record: record.part(part as usize).unwrap(),
        };
        (0..parts).map(part).collect()
    }

    fn tell(&mut self) {
        let reply = print::reply(&self.kernel, self.effects.reply.as_ref().unwrap());
        self.say(&format!("  {reply}"));
        let events: Vec<_> = (self.effects.events())
            .map(|(event, moved)| print::event(&self.kernel, event, moved))
            .collect();
        for event in events {
            self.say(&format!("    {event}"));
        }
    }

    fn step(&mut self, text: &str) {
        let number = |earlier: &str| earlier.parse::<usize>().unwrap() - 1;
        let command = match text.strip_prefix("again ").map(|of| of.split_once(" of ")) {
            Some(Some((earlier, shard))) => self.others[shard].1[number(earlier)].clone(),
            Some(None) => self.commands[number(&text["again ".len()..])].clone(),
            None => return self.carry_out(parse::command(text)),
        };
        self.send(command);
    }

    fn carry_out(&mut self, body: Body) {
        // Of two shards no two commands have one id.
        let shard = u128::from(self.kernel.shard() != "main") << 64;
        let id = shard + self.commands.len() as u128 + 1;
        self.send(Command {
            id: Some(id.to_be_bytes()),
            body,
        });
    }

    fn send(&mut self, command: Command) {
        let number = self.commands.len() as u64 + 1;
        let stamp = Stamp {
            seq: number,
            epoch: 1,
            time_us: (self.time_ms.unwrap_or(number.cast_signed())) * 1000,
        };
        (self.kernel)
            .step(stamp, &command, &mut self.effects)
            .unwrap();
        self.commands.push(command);
    }

    fn question(&mut self, text: &str) {
        for line in answers::answer(&mut self.kernel, text) {
            self.say(&format!("  {line}"));
        }
    }
}
