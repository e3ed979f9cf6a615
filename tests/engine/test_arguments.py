"""What the command line of an engine says to members that cannot be meant."""

import pytest

from openbourse.engine.__main__ import main

REST = ["--shard=main", "--wal=x", "--listen=127.0.0.1:1", "--status=127.0.0.1:2", "--tls=x", "--listings=x"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--place=a:7002"], "--place goes together with --record DIR or --record-lease NS/NAME"),
        (["--record=x"], "--place goes together with --record DIR or --record-lease NS/NAME"),
        (["--record-lease=ns/x"], "--place goes together with --record DIR or --record-lease NS/NAME"),
        (["--peer=b:7002"], "--peer and --links go together with --place"),
        (["--place=a:7002", "--record=x", "--record-lease=ns/x"], "not allowed with argument --record"),
        (["--place=a:7002", "--record-lease=x"], "is not a namespace and a name such as trading/demo-engine-main"),
        (["--place=a:7002", "--record-lease=ns/x", "--links=0.0.0.0:1"], "must have the port of the place, 7002"),
        (["--place=a:7002", "--record-lease=ns/x", "--found"], "--found is not for a Lease"),
        (["--place=a:7002", "--record=x", "--peer=a:7002", "--min-in-sync=2"], "--min-in-sync must be from 1 to 1"),
        (["--reader=marketdata-0"], "is neither a component nor one of its replicas, such as marketdata-1"),
        (["--reader=demo-1"], "'demo-1' is neither a component nor one of its replicas"),
    ],
)
def test_members_that_cannot_be_meant_are_refused_with_what_is_allowed(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["engine", *REST, *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
