"""Replication of a shard's log and leadership over it, decided in values: no socket, file, clock, task or chance.

docs/replication.md has the rules and the test of each. This is how shells drive it.

**Who calls what.** One task of the engine owns one `Member` and hands it one input after the other,
`member, effects = step(member, event)`, and carries out the effects, in the order of their fields, before the next.

| what happens | input | who says so |
|---|---|---|
| the process starts | `boot(...)` in place of an input | the log's recovery: its History, the promise file |
| the engine made a batch | `Propose(last seq)` | the loop; only while `accepts(member)` |
| the journal synced | `LogIsDurable`, `CutIsDurable` | the writer thread's bell, in the order of the effects |
| the promise file is synced | `PromiseIsDurable` | its writer |
| bytes of a link | `Received(place, message)` | the link's reader, behind the handshake (cluster, shard, version) |
| a link is made, a link ends | `Linked`, `Unlinked` | the link's task; a new link to a place ends the older one first |
| silence, a closed link, health | `Suspect`, `Trust` | `detection`, fed by heartbeats and ticks |
| the record was read | `Seen` | the arbiter: a Lease, a file, PostgreSQL |
| the record was written | `Succeeded`, `Conflicted`, `Unsettled` | the same |
| the record's watch fired, nobody leads | `Look` | the watch, and a slow timer while the state is unknown or sealed |
| nothing to send, but the commit index moved or a follower joined | `Beat` | a timer of some ms on the leader |
| a switchover is asked for, or the process is to end; it took too long | `HandOver`, `LeadOn` | the stop, the request |
| a person recovers, or founds, the shard | `Seal`, `Found` | the command's server, audited |

**What must be durable before what.** Nothing within one `Effects` waits for anything else in it: what has to wait comes
as the effect of the notice. So a shell starts all of them and needs no order of its own, but for one: the journal gets
cuts and writes in the order given. A Joined or an Ack is only ever the effect of a durable notice. An Append goes out
while the leader's own disk is still at it, and its commit index counts that disk too.

**Payloads** are the shell's: an Append names indexes, whoever sends it puts the records of that range behind it, out of
memory or out of segments; where the segments no longer go back that far, a snapshot taken at a committed index whose
(epoch, index) pair the receiver's `History` would have, installed as a cut to nothing and one write, durable at once. A
receiver compares the chain value of the log at `Joined.matched` with the leader's: pairs that agree and chains that do
not are a damaged log, and a reason to stop. What a standby steps and what a leader releases is through
`Effects.commit`; the kernel of a standby is never ahead of it, so a cut never reaches what was stepped.

**The record.** `ask` replaces whatever was asked before: the answer of an older Read is dropped, an older write may be
abandoned, and its success may still be handed in, however late. Time-outs are Unsettled, never Conflicted. Reads are
linearizable. After a failure the shell waits before the next ask. A session that is left (state unknown, candidate,
stopped) has its link closed, so that the other side offers anew. A leader that stands down closes its clients' sessions
and drops what it has not released.

**A planned switchover** is `HandOver`: the leader gives no more seqs (`accepts` is false), and once all that it gave is
committed it sends its successor a Release, which is a suspicion that brings the record along. So nobody leads but by a
compare-and-set, and what the shell adds is a time-out: then `LeadOn`. While it lasts the shell keeps what comes in.

**Refused downstream** (`sessions.admit`): a session of an older epoch; never an old record.
"""

from openbourse.engine.replication.effects import Effects
from openbourse.engine.replication.inputs import Input
from openbourse.engine.replication.leading import accepts
from openbourse.engine.replication.member import Member, Settings, State, state
from openbourse.engine.replication.protocol import boot, step

__all__ = ["Effects", "Input", "Member", "Settings", "State", "accepts", "boot", "state", "step"]
