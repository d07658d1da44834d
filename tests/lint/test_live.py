"""What a tree would do to what is live: each rule fires, and its twin does not. The store is a real one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dagferry_builder.lint import live
from dagferry_builder.lint.finding import Severity
from dagferry_builder.lint.live import Live, NothingLive, Others, Owned, check
from dagferry_builder.lint.live_state import read_live, read_others
from dagferry_builder.lint.settings import Settings
from dagferry_schemas import layout
from dagferry_schemas.errors import DeliveryFailed, Forbidden, Unknown
from dagferry_schemas.inventory import DagFacts
from dagferry_storage.local import LocalStore
from tests.lint import releases

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from dagferry_builder.lint.finding import Finding
    from dagferry_storage.store import Stored


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def dags(*names: str) -> tuple[DagFacts, ...]:
    return tuple(DagFacts(name, f"{name}.py") for name in names)


def findings(
    ours: Sequence[DagFacts],
    before: Sequence[DagFacts],
    *owned: Owned,
    settings: Settings | None = None,
    allow_removal: bool = False,
) -> list[Finding]:
    was = Live("prod", "v1", tuple(before))
    return check(ours, was, Others(owned), settings or Settings(), allow_removal=allow_removal)


def test_the_same_dags_are_nothing_to_tell() -> None:
    assert findings(dags("a", "b"), dags("a", "b")) == []


def test_a_new_dag_is_nothing_to_tell() -> None:
    assert findings(dags("a", "b"), dags("a")) == []


def test_a_dag_in_another_file_moved() -> None:
    was = Live("prod", "v1", dags("a"))
    (one,) = check(
        [DagFacts("a", "new/a.py")], was, Others(), Settings(), allow_removal=False, line_of=lambda dag: len(dag.file)
    )
    assert (one.rule, one.path, one.line, one.severity) == ("dag-moved", "new/a.py", 8, Severity.WARNING)
    assert "'a' is in a.py in v1 (live on channel 'prod')" in one.message


def test_a_dag_that_is_defined_twice_but_also_where_it_was_did_not_move() -> None:
    assert findings([*dags("a"), DagFacts("a", "copy.py")], dags("a")) == []


def test_a_dag_that_is_gone_is_noted_at_its_file_if_that_is_still_there() -> None:
    ours = [DagFacts("a", "a.py"), DagFacts("b", "b.py"), DagFacts("c", "shared.py")]
    gone, gone_with_file = findings(ours, [*ours, DagFacts("d", "shared.py"), DagFacts("e", "e.py")])
    assert (gone.rule, gone.path, gone.severity) == ("dag-removed", "shared.py", Severity.NOTE)
    assert (gone_with_file.path, "'e' of e.py" in gone_with_file.message) == ("", True)


NUMBERED = [f"dag{number:02}" for number in range(20)]


def test_more_than_the_share_gone_is_an_error_that_says_how_to_proceed() -> None:
    (one,) = findings(dags(*NUMBERED[:9]), dags(*NUMBERED))
    assert (one.rule, one.path, one.severity) == ("dags-vanished", "", Severity.ERROR)
    assert "11 of the 20 DAGs in v1" in one.message
    assert "dag09" in one.message
    assert one.message.endswith("dag18 and 1 more")
    assert "--allow-removal" in one.hint


def test_exactly_the_share_gone_is_noted_only() -> None:
    assert {one.rule for one in findings(dags(*NUMBERED[:10]), dags(*NUMBERED))} == {"dag-removed"}


def test_the_share_is_configured() -> None:
    rules = {
        one.rule
        for one in findings(dags("a", "b", "c"), dags("a", "b", "c", "d"), settings=Settings(vanished_share=0.2))
    }
    assert rules == {"dags-vanished"}


def test_all_dags_gone_is_an_error_whatever_the_share() -> None:
    (one,) = findings((), dags("a"), settings=Settings(vanished_share=1.0))
    assert one.rule == "dags-vanished"


@pytest.mark.parametrize("way", ["allow_removal", "rule is off"])
def test_a_removal_that_is_meant_is_noted_only(way: str) -> None:
    settings = Settings(severity={"dags-vanished": Severity.OFF} if way == "rule is off" else {})
    told = findings((), dags("a", "b"), settings=settings, allow_removal=way == "allow_removal")
    assert [one.rule for one in told] == ["dag-removed", "dag-removed"]


def test_nothing_was_live_so_nothing_vanished() -> None:
    assert findings((), ()) == []


def test_an_id_that_another_bundle_has_live_is_an_error() -> None:
    theirs = Owned("shop", "prod", "v7", frozenset({"a"}))
    (one,) = findings(dags("a", "b"), dags("a", "b"), theirs)
    assert (one.rule, one.path, one.severity) == ("dag-owned-elsewhere", "a.py", Severity.ERROR)
    assert "bundle 'shop' (v7 on its channel 'prod')" in one.message


def test_a_first_release_is_still_compared_with_other_bundles() -> None:
    theirs = Others((Owned("shop", "prod", "v7", frozenset({"a"})),))
    told = check(dags("a"), NothingLive("no record", first=True), theirs, Settings(), allow_removal=False)
    assert [one.rule for one in told] == ["dag-owned-elsewhere", "nothing-live"]


def test_what_is_live_is_read_from_head_and_report(store: LocalStore) -> None:
    releases.release(store, "etl", "prod", ["a", "b"])
    assert read_live(store, "etl", "channel:prod") == Live("prod", "v1", dags("a", "b"))


def test_a_version_may_be_compared_with_too(store: LocalStore) -> None:
    releases.release(store, "etl", "prod", ["a"])
    assert read_live(store, "etl", "v1") == Live("", "v1", dags("a"))
    with pytest.raises(Unknown):
        read_live(store, "etl", "v2")


@pytest.mark.parametrize("made", [False, True], ids=["no store yet", "another channel only"])
def test_a_channel_without_a_record_is_a_first_release(store: LocalStore, made: bool) -> None:
    if made:
        releases.release(store, "etl", "staging", ["a"])
    found = read_live(store, "etl", "channel:prod")
    assert isinstance(found, NothingLive)
    assert found.first
    assert "first release" in found.reason


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (None, "no report that can be read"),
        (b"{", "no report that can be read"),
        (b'{"format": 1, "dags": null}', "no Airflow imported them"),
        (b'{"format": 1, "dags": [{"id": 7}]}', "cannot be read"),
    ],
)
def test_a_live_version_without_an_inventory_is_told_and_is_no_first_release(
    store: LocalStore, report: bytes | None, words: str
) -> None:
    releases.promote(store, releases.publish_report(store, "etl", "v1", report), "prod")
    found = read_live(store, "etl", "channel:prod")
    assert isinstance(found, NothingLive)
    assert not found.first
    assert "version v1" in found.reason
    assert words in found.reason
    assert [one.message for one in check((), found, Others(), Settings(), allow_removal=False)] == [found.reason]


def test_others_are_the_bundles_with_a_channel_of_the_same_name(store: LocalStore) -> None:
    releases.release(store, "etl", "prod", ["mine"])
    releases.release(store, "shop", "prod", ["a", "b"], "v3")
    releases.release(store, "lab", "staging", ["c"])
    store.create("Not a bundle/object", b"x")
    assert read_others(store, "etl", "prod") == Others((Owned("shop", "prod", "v3", frozenset({"a", "b"})),))
    assert read_others(store, "etl", "staging").owned == (Owned("lab", "staging", "v1", frozenset({"c"})),)


def test_a_store_that_nobody_made_yet_has_no_others(store: LocalStore) -> None:
    assert read_others(store, "etl", "prod") == Others()


class Guarded(LocalStore):
    """Lets its reader see one bundle only, and list what is below it, as the policies do."""

    def read(self, key: str, *, limit: int) -> Stored:
        if not key.startswith("etl/"):
            raise Forbidden(f"{key}: you may not")
        return super().read(key, limit=limit)

    def folders(self, prefix: str) -> Iterator[str]:
        if not prefix.startswith("etl/"):
            raise Forbidden(f"listing {prefix!r}: you may not")
        return super().folders(prefix)


class Listing(Guarded):
    """Google's right to list is the whole bucket's."""

    def folders(self, prefix: str) -> Iterator[str]:
        return LocalStore.folders(self, prefix)


@pytest.mark.parametrize(("kind", "words"), [(Guarded, "cannot be listed"), (Listing, "bundle 'shop' (")])
def test_bundles_that_may_not_be_seen_are_a_note(tmp_path: Path, kind: type[LocalStore], words: str) -> None:
    releases.release(LocalStore(tmp_path), "etl", "prod", ["a"])
    releases.release(LocalStore(tmp_path), "shop", "prod", ["a"])
    others = read_others(kind(tmp_path), "etl", "prod")
    (one,) = check(dags("a"), Live("prod", "v1", dags("a")), others, Settings(), allow_removal=False)
    assert (one.rule, one.severity) == ("others-not-visible", Severity.NOTE)
    assert words in one.message
    assert "you may not" in one.message


def test_a_neighbour_that_is_damaged_or_without_inventory_is_named_and_hides_no_other(store: LocalStore) -> None:
    releases.release(store, "good", "prod", ["a"])
    store.create(layout.head("torn", "prod"), b"{")
    releases.promote(store, releases.publish(store, "blind", "v5", None), "prod")
    others = read_others(store, "etl", "prod")
    assert [one.bundle for one in others.owned] == ["good"]
    assert [one.partition(" (")[0] for one in others.unseen] == ["bundle 'blind'", "bundle 'torn'"]


def test_a_store_that_is_away_is_a_failure(tmp_path: Path) -> None:
    class Away(LocalStore):
        def read(self, key: str, *, limit: int) -> Stored:
            raise DeliveryFailed("no route to the store")

    releases.release(LocalStore(tmp_path), "shop", "prod", ["a"])
    with pytest.raises(DeliveryFailed, match="no route"):
        read_others(Away(tmp_path), "etl", "prod")


def test_every_rule_explains_itself() -> None:
    assert {rule.source for rule in live.RULES} == {"live"}
    assert all(rule.title and rule.explanation and rule.hint for rule in live.RULES)
