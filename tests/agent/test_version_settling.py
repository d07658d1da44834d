"""What Airflow misses of a new version, told from what its database says of each file's last parse."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from dagferry_agent.version_settling import LONGEST, Failure, Parse, Settling

SWITCHED = datetime(2026, 11, 23, 12, 0, 0, tzinfo=timezone.utc)
INTERVAL = timedelta(seconds=30)
NEW, OLD = "/bundles/etl/versions/v2", "/bundles/etl/versions/v1"


def at(seconds: float) -> datetime:
    return SWITCHED + timedelta(seconds=seconds)


def parse(folder: str, ended: float, written: float, file: str = "dag.py") -> Parse:
    return Parse(file, f"{folder}/{file}", at(ended), at(written))


def failure(folder: str, ended: float, file: str = "dag.py") -> Failure:
    told = f'Traceback (most recent call last):\n  File "{folder}/{file}", line 3, in <module>\nKeyError: 1\n'
    return Failure(file, f"{file}\n{told}", at(ended))


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
        pytest.param(failure(NEW, 6), 10, False, True, id="cannot be imported"),
        pytest.param(failure(OLD, -19), 10, False, False, id="could not be imported, and not parsed yet"),
        pytest.param(failure(OLD, 1), 10, True, False, id="could not be imported where it was before"),
        pytest.param(failure(NEW + ".old", 1), 10, True, False, id="not imported from a name that begins alike"),
        pytest.param(failure("/usr/lib/pandas", 1), 10, True, False, id="a traceback that names no version"),
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
    assert settling().look([fine, failure(OLD, 2, "b.py")], at(10)) == ({"b.py"}, False)


def test_what_fails_in_the_old_folder_is_shown_until_it_was_parsed_in_the_new_one() -> None:
    one = settling()
    assert one.look([failure(OLD, 1)], at(5)) == ({"dag.py"}, False)
    assert one.look([failure(OLD, 1)], at(8)) == (set(), False)
    assert one.look([failure(OLD, 9)], at(10)) == ({"dag.py"}, False)
    assert one.look([failure(NEW, 12)], at(15)) == (set(), True)


def test_a_traceback_that_names_no_version_is_doubted_once() -> None:
    one = settling()
    assert one.look([failure("/usr/lib/pandas", 1)], at(5)) == ({"dag.py"}, False)
    assert one.look([failure("/usr/lib/pandas", 1)], at(7)) == (set(), False)
    assert one.look([failure("/usr/lib/pandas", 9)], at(10)) == (set(), True)
    assert one.look([failure("/usr/lib/pandas", 40)], at(45)) == (set(), True)


def test_airflow_3_0_tells_the_whole_path_of_what_it_cannot_import() -> None:
    one = settling()
    far = Failure(f"{OLD}/team/dag.py", f"{OLD}/team/dag.py\nno such thing", at(1))
    assert one.look([far], at(5)) == ({"team/dag.py"}, False)
    near = Failure(f"{NEW}/team/dag.py", f"{NEW}/team/dag.py\nno such thing", at(9))
    assert one.look([near], at(10)) == (set(), True)
