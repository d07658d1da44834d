"""The parts of the probe that need no Airflow."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_builder.lint import probe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Plain:
    """An object with the attributes it is given, as a DAG and its tasks are looked at."""

    def __init__(self, **attributes: object) -> None:
        vars(self).update(attributes)


def task(name: str, upstream: tuple[str, ...] = (), **more: object) -> Plain:
    return Plain(task_id=name, upstream_task_ids=set(upstream), **more)


def dag(*tasks: Plain, **more: object) -> Plain:
    return Plain(dag_id="sales", tasks=list(tasks), **more)


# What two imports are compared by.


def definition(of: Plain) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(probe.definition_of(of, "/tmp/one/dags"))
    return found


def test_structure_is_ids_and_edges_in_order() -> None:
    found = probe.structure_of(dag(task("join", ("b", "a")), task("a"), task("b")))
    assert found == {"join": ["a", "b"], "a": [], "b": []}


class Rule(str, Enum):
    ALL = "all_success"


def test_id_that_is_a_member_of_an_enumeration_is_its_value() -> None:
    assert probe.structure_of(dag(Plain(task_id=Rule.ALL, upstream_task_ids={Rule.ALL, "a"}))) == {
        "all_success": ["a", "all_success"]
    }


def test_definition_has_plain_values_as_they_are_and_others_by_their_type() -> None:
    one = task("a", command="true", retries=2, every=timedelta(minutes=5), made=object(), queues={"b", "a"})
    found = definition(dag(one))["tasks"]["a"]
    assert found["command"] == "true"
    assert found["retries"] == 2
    assert found["every"] == "0:05:00"
    assert found["made"] == "object"
    assert found["queues"] == ["a", "b"]


def test_definition_leaves_out_what_differs_by_nature() -> None:
    found = definition(dag(task("a", dag=object(), _log=object()), fileloc="/somewhere/a.py"))
    assert "fileloc" not in found["dag"]
    assert found["tasks"]["a"].keys() == {"task_id", "upstream_task_ids"}


def test_definition_of_something_endless_ends() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert definition(dag(task("a", odd=endless)))["tasks"]["a"]["odd"] == [[[["list"]]]]


def test_keys_that_cannot_be_sorted_are_compared_all_the_same() -> None:
    texts = [probe.as_text({"a": {1: one, "b": 2}}, "/x") for one in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_text_is_the_same_in_two_folders() -> None:
    texts = [
        probe.as_text({"sql": f"{folder}/q.sql", "module": f"unusual_prefix_{letter * 40}_sales"}, folder)
        for folder, letter in (("/tmp/one/dags", "a"), ("/tmp/two/dags", "b"))
    ]
    assert texts[0] == texts[1]
    assert probe.as_text({"sql": "q.sql"}, "/tmp/one") != probe.as_text({"sql": "r.sql"}, "/tmp/one")


def test_text_does_not_depend_on_the_order_of_keys() -> None:
    assert probe.as_text({"a": 1, "b": 2}, "/x") == probe.as_text({"b": 2, "a": 1}, "/x")


# What the text of a file gives away.


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (b"from factory import build\nbuild('sales')\n", True),
        (b"import factory\nfor one in range(3):\n    globals()[one] = factory.build(one)\n", True),
        (b"import factory as f\nx = f.one().two()\n", True),
        (b"from . import factory\nfactory.build()\n", True),
        (b"from factory import build\n\ndef later():\n    build()\n", False),
        (b"from factory import build\n\nclass Later:\n    made = build()\n", False),
        (b"import os\nos.getcwd()\n", False),
        (b"print('hello')\n", False),
        (b"import factory\n", False),
        (b"def (\n", False),
        (b"\0", False),
    ],
)
def test_file_that_calls_what_it_imported_might_make_dags(source: bytes, expected: bool) -> None:
    assert probe.might_make_dags(source) is expected


DECORATED = b"@dag(schedule=None)\ndef sales():\n    pass\n"
FACTORY = b"def make():\n    return DAG('a')\n"
FORGOTTEN = b"def make():\n    with DAG('a'):\n        pass\n"


@pytest.mark.parametrize(
    ("source", "has_dags", "expected"),
    [
        (DECORATED, False, [("dag-not-found", "sales()", 2)]),
        (DECORATED, True, [("dag-not-found", "sales()", 2)]),
        (DECORATED + b"sales()\n", False, []),
        (DECORATED + b"one = sales\n", False, []),
        (b"@airflow.decorators.dag\ndef sales():\n    pass\n", False, []),
        (FACTORY, False, [("uncalled-factory", "make()", 1)]),
        (FACTORY, True, []),
        (FORGOTTEN, False, [("dag-not-found", "make()", 1)]),
        (FORGOTTEN + b"make()\n", False, []),
        (b"# DAG(\ndef make(:\n", False, []),
    ],
)
def test_function_that_would_make_a_dag_and_is_never_called(
    source: bytes, has_dags: bool, expected: list[tuple[str, str, int]]
) -> None:
    assert list(probe._never_called(source, has_dags)) == expected


# The tree.

FILES = {"a.py": b"A = 1\n", "common/b.py": b"B = 1\n"}


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[probe.Tree]:
    """A tree as a probe has it: its bytes come on descriptor 0."""
    (tmp_path / "bytes").write_bytes(b"".join(FILES.values()))
    with on_descriptor_0(tmp_path / "bytes"):
        found = probe.Tree([(path, len(body)) for path, body in FILES.items()], str(tmp_path / "dags"))
    yield found
    found._bytes.close()


class on_descriptor_0:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._kept = os.dup(0)
        with self._path.open("rb") as file:
            os.dup2(file.fileno(), 0)

    def __exit__(self, *_: object) -> None:
        os.dup2(self._kept, 0)
        os.close(self._kept)


def on_disk(tree: probe.Tree) -> dict[str, bytes]:
    found = {}
    for place, _, names in os.walk(tree.folder):
        for name in names:
            path = os.path.join(place, name)  # noqa: PTH118
            with open(path, "rb") as file:  # noqa: PTH123
                found[os.path.relpath(path, tree.folder)] = file.read()
    return found


def test_tree_is_what_was_sent(tree: probe.Tree) -> None:
    assert on_disk(tree) == FILES
    assert tree.is_whole()
    assert tree.holds(f"{tree.folder}/a.py")
    assert not tree.holds(f"{tree.folder}/c.py")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a probe ends here, and its files too
def test_tree_that_does_not_arrive_whole_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\0" * 100)
    with on_descriptor_0(tmp_path / "bytes"), pytest.raises(EOFError, match="did not arrive whole"):
        probe.Tree([("a.py", 1024)], str(tmp_path / "dags"))


@pytest.mark.parametrize("damage", ["removed", "changed", "replaced", "added"])
def test_damaged_tree_is_noticed_and_mended(tree: probe.Tree, tmp_path: Path, damage: str) -> None:
    file = tmp_path / "dags" / "common" / "b.py"
    if damage == "removed":
        file.unlink()
    elif damage == "changed":
        file.write_bytes(b"B = 22\n")
    elif damage == "replaced":
        other = file.with_name("c.py")
        other.write_bytes(FILES["common/b.py"])
        other.replace(file)
    else:
        file.with_name("c.py").write_bytes(b"")
    assert not tree.is_whole()
    assert tree.holds(str(file)) is (damage == "added")
    tree.mend()
    assert on_disk(tree) == FILES
    assert tree.is_whole()


def test_whole_tree_is_left_alone(tree: probe.Tree, tmp_path: Path) -> None:
    before = (tmp_path / "dags" / "a.py").stat().st_ino
    tree.mend()
    assert (tmp_path / "dags" / "a.py").stat().st_ino == before
