"""The steps of a rollout: who is in each, and what keeps the next one from beginning. No I/O."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagferry_builder.agents import Answer
from dagferry_builder.wave_gate import judge
from dagferry_builder.waves import Share, split
from dagferry_schemas.endpoint import AgentStatus
from dagferry_schemas.errors import Usage

TREE = "sha256:" + "a" * 64
EIGHT: dict[str, tuple[str, ...]] = {f"pod-{number}": (f"zone={'ab'[number % 2]}",) for number in range(8)}


@pytest.mark.parametrize(
    ("canary", "batch", "sizes"),
    [
        ("1", None, [1]),
        ("1", "25%", [1, 3, 5, 7]),
        ("10%", "50%", [1, 5]),
        ("2", "3", [2, 5]),
        ("8", "1", [8]),
        ("100", None, [8]),
        ("zone=b", "2", [4, 6]),
    ],
)
def test_steps_grow_by_the_batch(canary: str, batch: str | None, sizes: list[int]) -> None:
    found = split(EIGHT, Share.parse(canary, "--canary", labels=True), Share.parse(batch, "--batch") if batch else None)
    assert [len(one) for one in found] == sizes


@given(st.integers(1, 60), st.integers(1, 100), st.integers(1, 100))
def test_each_step_has_those_of_the_step_before_and_somebody_is_left_for_the_last(
    agents: int, canary: int, batch: int
) -> None:
    found = split({f"a{number}": () for number in range(agents)}, Share(percent=canary), Share(percent=batch))
    assert all(set(one) < set(other) for one, other in pairwise(found))
    assert found[0]
    assert all(len(one) < agents for one in found[1:])


def test_label_of_nobody_is_an_error_that_names_those_there_are() -> None:
    with pytest.raises(Usage) as refused:
        split(EIGHT, Share.parse("zone=c", "--canary", labels=True), None)
    assert (refused.value.code, refused.value.hint) == ("no_canary", "there is: zone=a, zone=b")


@pytest.mark.parametrize("text", ["0", "-1", "101%", "0%", "half", "", "1.5", "%", "=x", "zone=a b"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(Usage, match="is no share of the agents"):
        Share.parse(text, "--canary", labels=True)


def test_label_is_no_batch() -> None:
    with pytest.raises(Usage, match="--batch 'zone=a'"):
        Share.parse("zone=a", "--batch")


def status(agent: str = "pod-0", **changes: Any) -> AgentStatus:  # noqa: ANN401 (any field)
    said = AgentStatus(
        agent, "etl", "prod", 7, "v2", TREE, None, None, None, verifying=False, last_check=None, last_error=None
    )
    return replace(said, **{"tells_airflow": False, **changes})


def report(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 (any field)
    errors = {"before": 1, "after": 1, "new": []}
    return {
        "version": "v2",
        "told": "",
        "parsed": True,
        "import_errors": errors,
        "dags": {"before": 10, "after": 10},
    } | changes


def errors(before: int, after: int, *new: str) -> dict[str, Any]:
    return {"before": before, "after": after, "new": [{"file": one, "reason": "KeyError"} for one in new]}


GOOD: dict[str, tuple[AgentStatus | None, Share | None]] = {
    "it serves it": (status(), None),
    "Airflow is content": (status(tells_airflow=True, airflow=report()), None),
    "there are fewer errors than before": (
        status(tells_airflow=True, airflow=report(import_errors=errors(2, 1, "a.py"))),
        None,
    ),
    "there are as many DAGs as are asked for": (status(tells_airflow=True, airflow=report()), Share(number=10)),
    "there are enough of those before": (
        status(tells_airflow=True, airflow=report(dags={"before": 10, "after": 9})),
        Share(percent=90),
    ),
    "the number of DAGs is not known": (
        status(tells_airflow=True, airflow=report(dags={"before": None, "after": None})),
        Share(number=5),
    ),
}
BAD: dict[str, tuple[AgentStatus | None, Share | None, str, bool]] = {
    "it does not answer": (None, None, "does not answer", True),
    "it serves another": (status(version="v1"), None, "it serves v1", True),
    "it serves another and says why": (
        status(version="v1", last_error={"code": "disk_full", "message": "no room"}),
        None,
        "disk_full: no room",
        True,
    ),
    "it was pinned": (status(version="v1", pinned="v1"), None, "pinned that in the pod by hand", True),
    "a file was edited": (status(drift=("a.py",)), None, "1 files were edited, for example a.py", False),
    "Airflow has not said anything": (status(tells_airflow=True), None, "has not said", True),
    "Airflow spoke of another": (status(tells_airflow=True, airflow=report(version="v1")), None, "has not said", True),
    "there is one error more": (
        status(tells_airflow=True, airflow=report(import_errors=errors(1, 2, "a.py"))),
        None,
        "2 import errors, before 1: a.py: KeyError",
        False,
    ),
    "there are too few DAGs": (
        status(tells_airflow=True, airflow=report(dags={"before": 10, "after": 8})),
        Share(percent=90),
        "Airflow has 8 DAGs, at least 9 are asked for",
        False,
    ),
}


@pytest.mark.parametrize("case", GOOD)
def test_gate_holds(case: str) -> None:
    said, least = GOOD[case]
    assert judge("v2", ["pod-0"], [(Answer("u", True), said)], least).findings == ()


@pytest.mark.parametrize("case", BAD)
def test_gate_does_not_hold(case: str) -> None:
    said, least, words, waits = BAD[case]
    answer = Answer("u", said is not None, error=None if said else "no connection")
    [finding] = judge("v2", ["pod-0"], [(answer, said)], least).findings
    assert words in str(finding)
    assert str(finding).startswith("pod-0: ")
    assert finding.waits == waits


def test_who_is_no_target_says_nothing_of_the_gate() -> None:
    seen = [(Answer("u", True), status()), (Answer("w", False, error="gone"), None)]
    seen += [(Answer("x", True), status("pod-1", version="v1", drift=("a.py",)))]
    assert not judge("v2", ["pod-0"], seen, None).findings


def test_what_was_not_asked_is_noted() -> None:
    [note] = judge("v2", ["pod-0"], [(Answer("u", True), status())], None).notes
    assert "Airflow was not asked" in note
    late = status(tells_airflow=True, airflow=report(parsed=False))
    [note] = judge("v2", ["pod-0"], [(Answer("u", True), late)], None).notes
    assert "was not seen to parse" in note
