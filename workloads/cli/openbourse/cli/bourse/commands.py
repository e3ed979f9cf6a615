"""The commands of `kubectl bourse`: what each does, and where it is. To read this table takes none of them."""

from openbourse.cli.entries import Entry

_HERE = "openbourse.cli.bourse"

COMMANDS = {
    "status": Entry("Shards, leaders, lag, symbols, halts, the last failover: one screen.", f"{_HERE}.status:status"),
    "halt": Entry(
        "Stop trading, and wait until every shard has acknowledged it, with its epoch and its place in its order.",
        f"{_HERE}.halts:halt",
    ),
    "lift": Entry("Lift halts before their time.", f"{_HERE}.halts:lift"),
    "plan": Entry("Show what the operator would do next and why, and do nothing.", f"{_HERE}.plan:plan"),
    "switchover": Entry("Let a standby that is in sync lead.", f"{_HERE}.switchover:switchover"),
    "move-symbol": Entry(
        "Move a symbol to another shard, with its open orders and the funds behind them, while the exchange runs.",
        f"{_HERE}.move_symbol:move_symbol",
    ),
    "certificates": Entry(
        "List certificates: whose they are, until when, of which authority.", f"{_HERE}.certificates:certificates"
    ),
    "rotate-authority": Entry(
        "Replace the exchange's certificate authority, and every certificate by it.",
        f"{_HERE}.certificates:rotate_authority",
    ),
    "recover": Entry(
        "Name a leader after the leadership record was lost or edited, or every member of the in-sync set is gone.",
        f"{_HERE}.recover:recover",
    ),
    "bundle": Entry(
        "Pack what helps to find a fault: objects, events, logs, status pages, versions, and the operator's next plan.",
        f"{_HERE}.bundle:bundle",
    ),
    "cancel-all": Entry(
        "Cancel open orders: of an account, of a market, of an account in a market, or of a shard.",
        f"{_HERE}.switches:cancel_all",
    ),
    "kill-account": Entry(
        "Cancel all orders of an account and refuse new ones until it is revived.", f"{_HERE}.switches:kill_account"
    ),
    "revive-account": Entry(
        "Let a killed account trade again; what was cancelled stays so.", f"{_HERE}.switches:revive_account"
    ),
    "account": Entry(
        "Show an account's kill switch, orders, countdowns, and what it used.", f"{_HERE}.switches:account"
    ),
    "version": Entry(
        "Show which version this is, and those of the API server and of the exchanges.", f"{_HERE}.versions:version"
    ),
    "rehearse": Entry("Break a shard on purpose, under load, and see what holds.", f"{_HERE}.rehearse:rehearse"),
    "limit": Entry("Set, show and remove limits of traders.", f"{_HERE}.limit:app"),
    "report": Entry("Reports of rehearsals.", f"{_HERE}.report:app"),
    "wal": Entry("Look at an engine's write-ahead log.", "openbourse.cli.wal:app"),
}
