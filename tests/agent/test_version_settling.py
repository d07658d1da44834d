"""What Airflow misses of a new version, told from what its database says of each file's last parse."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from dagferry_agent.version_settling import LONGEST, Parse, Settling

SWITCHED = datetime(2026, 11, 23, 12, 0, 0, tzinfo=timezone.utc)
INTERVAL = timedelta(seconds=30)
NEW, OLD = "/bundles/etl/versions/v2", "/bundles/etl/versions/v1"


def at(seconds: float) -> datetime:
    return SWITCHED + timedelta(seconds=seconds)


def parse(folder: str, ended: float, written: float, file: str = "dag.py") -> Parse:
    return Parse(file, f"{folder}/{file}", at(ended), at(written))


def settling() -> Settling:
    return Settling(NEW, SWITCHED, INTERVAL)


@pytest.mark.parametrize(
    ("last", "now", "shown", "settled"),
    [
        pytest.param(parse(NEW, 6, 6.1), 10, False, True, id="parsed and written since"),
        pytest.param(parse(NEW, 6, -200), 10, False, True, id="parsed since and unchanged"),
        pytest.param(parse(OLD, -19, -19), 10, False, False, id="not parsed yet"),
        pytest.param(parse(OLD, 1, 1.1), 10, True, False, id="parsed where it was before"),
        pytest.param(parse(NEW + ".old", 1, 1.1), 10, True, False, id="a name that begins alike"),
        pytest.param(parse(NEW, 6, -10), 10, False, False, id="too soon, and still"),
        pytest.param(parse(NEW, 6, -10), 20, True, False, id="too soon, and no longer"),
        pytest.param(parse(NEW, 36, -10), 40, False, True, id="taken in the end"),
        pytest.param(parse(OLD, -19, -19), LONGEST.total_seconds() + 1, False, True, id="never"),
    ],
)
def test_one_file(last: Parse, now: float, shown: bool, settled: bool) -> None:
    assert settling().look([last], at(now)) == ({"dag.py"} if shown else set(), settled)


def test_a_file_is_shown_once_for_each_of_its_parses() -> None:
    one = settling()
    late = parse(OLD, 1, 1.1)
    assert one.look([late], at(5))[0] == {"dag.py"}
    assert one.look([late], at(10)) == (set(), False)
    again = parse(NEW, 12, 1.1)
    assert one.look([again], at(15)) == (set(), False)
    assert one.look([again], at(32)) == ({"dag.py"}, False)
    assert one.look([parse(NEW, 34, 34.1)], at(40)) == (set(), True)


def test_all_files_have_to_be_settled() -> None:
    fine, late = parse(NEW, 6, 6.1, "fine.py"), parse(OLD, 1, 1.1, "late.py")
    assert settling().look([fine, late, fine], at(10)) == ({"late.py"}, False)
    assert settling().look([], at(10)) == (set(), True)
