"""A channel's history is a stack: any sequence of commands does what a plain list does."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dagferry_builder import history
from dagferry_schemas.errors import Conflict, Held, Unknown
from dagferry_storage.local import LocalStore
from tests.builder import writers
from tests.builder.checks import check_log

VERSIONS = [f"v{number}" for number in range(1, 6)]
ANY_VERSION = st.sampled_from(VERSIONS)


class Commands(RuleBasedStateMachine):
    """The commands of an operator beside a model: a list of versions, what holds the channel, a counter."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.store = LocalStore(Path(self._folder.name) / "store")
        writers.publish_documents(self.store, writers.commits(len(VERSIONS)))
        self.channel = writers.channel(self.store)
        self.stack: list[str] = []
        self.held: str | None = None
        self.generation = 0

    def teardown(self) -> None:
        self._folder.cleanup()

    @initialize(version=ANY_VERSION)
    def first(self, version: str) -> None:
        self.promote(version)
        assert self.generation == 1

    @rule(version=ANY_VERSION)
    def promote(self, version: str) -> None:
        self._promote(version, allow_older=False)

    @rule(version=ANY_VERSION)
    def promote_older(self, version: str) -> None:
        self._promote(version, allow_older=True)

    def _promote(self, version: str, *, allow_older: bool) -> None:
        live = self.stack[-1] if self.stack else None
        if version == live:
            change = writers.promote(self.store, version, allow_older=allow_older)
            assert (change.changed, change.record.generation) == (False, self.generation)
        elif self.held:
            with pytest.raises(Held):
                writers.promote(self.store, version, allow_older=allow_older)
        elif live is not None and version < live and not allow_older:
            with pytest.raises(Conflict):
                writers.promote(self.store, version)
        else:
            change = writers.promote(self.store, version, allow_older=allow_older)
            assert (change.changed, change.previous) == (True, live)
            self.stack.append(version)
            self.generation += 1

    # What a hold of another kind means for a rollback without --to is left open by the contract.
    @precondition(lambda self: self.held != "hold")
    @rule(hold=st.booleans())
    def rollback(self, hold: bool) -> None:
        if self.held == "rollback":
            with pytest.raises(Held) as refused:
                self.channel.rollback(hold=hold)
            said = refused.value.message + refused.value.hint
            assert all(version in said for version in self.stack[:-1])
        elif len(self.stack) < 2:
            with pytest.raises(Unknown):
                self.channel.rollback(hold=hold)
        else:
            live = self.stack.pop()
            change = self.channel.rollback(hold=hold)
            assert (change.changed, change.previous, change.record.live.version) == (True, live, self.stack[-1])
            self._moved_back(hold)

    @rule(version=ANY_VERSION, hold=st.booleans())
    def rollback_to(self, version: str, hold: bool) -> None:
        if version == self.stack[-1]:
            return  # what a rollback to the live version does is left open by the contract
        if version not in self.stack:
            with pytest.raises(Unknown):
                self.channel.rollback(to=version, hold=hold)
            return
        while self.stack[-1] != version:
            self.stack.pop()
        assert self.channel.rollback(to=version, hold=hold).record.live.version == version
        self._moved_back(hold)

    def _moved_back(self, hold: bool) -> None:
        self.generation += 1
        if hold:
            self.held = "rollback"

    @rule(version=ANY_VERSION)
    def rollback_from_another(self, version: str) -> None:
        if version != self.stack[-1]:
            with pytest.raises(Conflict):
                self.channel.rollback(from_version=version)

    @rule()
    def hold(self) -> None:
        change = self.channel.hold("freeze")
        assert change.changed is False
        self.held = "hold"
        self.generation += 1

    @precondition(lambda self: self.held is not None)
    @rule()
    def resume(self) -> None:
        assert self.channel.resume().record.hold is None
        self.held = None
        self.generation += 1

    @invariant()
    def says_what_the_list_says(self) -> None:
        if not self.stack:
            return
        records = self.channel.records()
        live = records[-1]
        assert (live.generation, live.live.version) == (self.generation, self.stack[-1])
        assert (live.hold is not None) == (self.held is not None)
        assert [one.version for one in history.stack(records)] == self.stack

    @invariant()
    def the_log_is_whole(self) -> None:
        if self.stack:
            check_log(self.store)


TestCommands = Commands.TestCase
TestCommands.settings = settings(max_examples=20, stateful_step_count=20, deadline=None, database=None)
