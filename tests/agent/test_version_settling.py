"""What Airflow misses of a new version, told from what its database says of each file's last parse."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from dagferry_agent.version_settling import LONGEST, Parse, Settling

SWITCHED = datetime(2026, 11, 23, 12, 0, 0, tzinfo=timezone.utc)
INTERVAL = timedelta(seconds=30)


def at(seconds: float) -> datetime:
    return SWITCHED + timedelta(seconds=seconds)


def parse(began: float, ended: float, written: float, file: str = "dag.py") -> Parse:
    return Parse(file, at(began), at(ended), at(written))


@pytest.mark.parametrize(
    ("last", "now", "shown", "settled"),
    [
        pytest.param(parse(5, 6, 6.1), 10, False, True, id="parsed and written since"),
        pytest.param(parse(5, 6, -200), 10, False, True, id="parsed since and unchanged"),
        pytest.param(parse(-20, -19, -19), 10, False, False, id="not parsed yet"),
        pytest.param(parse(-1, 1, 1.1), 10, True, False, id="under way when it changed"),
        pytest.param(parse(1, 3, 3.1), 10, True, False, id="perhaps under way"),
        pytest.param(parse(5, 6, -10), 10, False, False, id="too soon, and still"),
        pytest.param(parse(5, 6, -10), 20, True, False, id="too soon, and no longer"),
        pytest.param(parse(35, 36, -10), 40, False, True, id="taken in the end"),
        pytest.param(parse(-20, -19, -19), LONGEST.total_seconds() + 1, False, True, id="never"),
    ],
)
def test_one_file(last: Parse, now: float, shown: bool, settled: bool) -> None:
    assert Settling(SWITCHED, INTERVAL).look([last], at(now)) == ({"dag.py"} if shown else set(), settled)


def test_a_file_is_shown_once_for_each_of_its_parses() -> None:
    settling = Settling(SWITCHED, INTERVAL)
    late = parse(-1, 1, 1.1)
    assert settling.look([late], at(5))[0] == {"dag.py"}
    assert settling.look([late], at(10)) == (set(), False)
    again = parse(11, 12, 1.1)
    assert settling.look([again], at(15)) == (set(), False)
    assert settling.look([again], at(32)) == ({"dag.py"}, False)
    assert settling.look([parse(33, 34, 34.1)], at(40)) == (set(), True)


def test_all_files_have_to_be_settled() -> None:
    fine, late = parse(5, 6, 6.1, "fine.py"), parse(-1, 1, 1.1, "late.py")
    assert Settling(SWITCHED, INTERVAL).look([fine, late, fine], at(10)) == ({"late.py"}, False)
    assert Settling(SWITCHED, INTERVAL).look([], at(10)) == (set(), True)
