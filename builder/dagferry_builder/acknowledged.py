"""What agents say of themselves in the store, for who cannot reach them: looked at, and waited for.

1. Everything here is a claim that nobody signed. It is shown as such, and moves nothing.
2. Waited for is every agent that is heard of: whose acknowledgement is at most three times its ``every`` old, or came
   while we waited, whatever the clocks say. Agents that turn up meanwhile are waited for, too.
3. An agent that said goodbye is not waited for. One that was silent before is not either, but is told; one that falls
   silent while it is waited for has not followed, as far as anybody knows.
4. If nobody is heard of at all, that is an error: silence must not pass for success.
5. A look is one list, and one conditional read for each agent that has not followed yet, a few at a time. What cannot
   be read is that agent's error, and does not hide the others.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from dagferry_schemas import layout
from dagferry_schemas.acknowledgement import GONE, MISSED, SILENT, Acknowledgement, read_own
from dagferry_schemas.errors import BadData, DagferryError, DeliveryFailed, Forbidden, NotConverged
from dagferry_storage.published import side_by_side
from dagferry_storage.store import Missing

from .agents import Answer
from .agents import pull as ask_to_pull

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence
    from typing import Any

    from dagferry_schemas.endpoint import AgentStatus
    from dagferry_storage.store import Store

    from .access import Access
    from .agents import Followed

PAUSES: Final = (1.0, 2.0)
"""Seconds between two looks: drawn from this range, so that jobs spread out."""
FIRST_SECONDS: Final = 30.0
"""For the first agent to be heard of: agents that begin with a new channel need a poll for it."""
NAMED: Final = 5
"""Agents that a message names at the most."""


@dataclass(frozen=True)
class _Heard:
    """One agent's object: its state, what it says or why that cannot be read, and when it came (None: before us)."""

    token: str
    said: Acknowledgement | None
    problem: str = ""
    came: float | None = None

    def absence(self, now: float) -> str | None:
        """Why nobody waits for this agent at ``now`` (seconds since 1970), if so."""
        if self.said is None:
            return None
        if self.said.gone:
            return GONE
        every = self.said.every
        lately = self.came is not None and time.monotonic() - self.came <= MISSED * every
        return SILENT if self.said.is_silent(now) and not lately else None


class Acknowledgements:
    """What the agents of one channel say in ``store``. For one thread; ``clock`` gives seconds since 1970."""

    def __init__(
        self, store: Store, bundle: str, channel: str, *, clock: Callable[[], float] = time.time,
        pauses: tuple[float, float] = PAUSES, first_seconds: float = FIRST_SECONDS,
    ) -> None:  # fmt: skip
        self._store = store
        self._bundle = bundle
        self._channel = channel
        self._clock = clock
        self._pauses = pauses
        self._first_seconds = first_seconds
        self._heard: dict[str, _Heard] = {}
        self._looked = False

    def statuses(self, timeout: float = 0.0) -> list[tuple[Answer, AgentStatus | None]]:
        """What every agent said last, by name; a status exactly if that can be relied on to be said now.

        Raises `DeliveryFailed` if the store cannot be asked; ``timeout`` is its own.
        """
        self._look()
        return [self._status(agent, heard) for agent, heard in sorted(self._heard.items())]

    def pull(
        self,
        followed: Followed,
        generation: int,
        timeout: float,
        told: Callable[[Answer], None] = lambda _answer: None,
    ) -> list[Answer]:
        """Wait until every agent that is heard of serves ``generation`` or a newer one, for ``timeout`` seconds.

        ``told`` gets each agent's answer once it is final, and those that nobody waits for because they are silent.
        Raises `NotConverged` if nobody is heard of (``no_acknowledgements``), and `DeliveryFailed`.
        """
        assert followed == (self._bundle, self._channel)
        began = time.monotonic()
        awaited: dict[str, Answer] = {}
        final: set[str] = set()
        anybody = False
        while True:
            failure = self._try_to_look({agent for agent, answer in awaited.items() if answer.ok})
            spent = time.monotonic() - began
            self._judge(generation, round(spent, 3), awaited)
            anybody = anybody or bool(awaited)
            for agent, answer in [*awaited.items(), *self._silent(awaited)]:
                if agent not in final and (answer.ok or answer.absent):
                    final.add(agent)
                    told(answer)
            if awaited and all(answer.ok or answer.absent for answer in awaited.values()):
                break
            patience = timeout if anybody else min(timeout, self._first_seconds)
            pause = random.uniform(*self._pauses)
            if spent + pause > patience:
                break
            time.sleep(pause)
        if awaited:
            return [awaited[agent] for agent in sorted(awaited)]
        raise failure or self._nobody()

    def _try_to_look(self, settled: Container[str]) -> DeliveryFailed | None:
        """Look; the failure that may pass, if it was one."""
        try:
            self._look(settled)
        except Forbidden:
            raise
        except DeliveryFailed as error:
            return error
        return None

    def _judge(self, generation: int, spent: float, awaited: dict[str, Answer]) -> None:
        """Bring ``awaited`` up to what was heard; an answer that is ok stays as it is."""
        for agent in [agent for agent in awaited if agent not in self._heard]:
            del awaited[agent]  # somebody has cleaned up
        for agent, heard in self._heard.items():
            absence = heard.absence(self._clock())
            if absence == GONE or (absence == SILENT and agent not in awaited):
                awaited.pop(agent, None)
            elif agent not in awaited or not awaited[agent].ok:
                awaited[agent] = replace(self._followed(agent, heard, generation), seconds=spent)

    def _silent(self, awaited: Container[str]) -> list[tuple[str, Answer]]:
        """The agents that were silent before anybody waited for them."""
        told = [(agent, self._status(agent, heard)[0]) for agent, heard in sorted(self._heard.items())]
        return [(agent, answer) for agent, answer in told if answer.absent == SILENT and agent not in awaited]

    def _followed(self, agent: str, heard: _Heard, generation: int) -> Answer:
        """What is to be said of an agent that has to serve ``generation``."""
        answer, status = self._status(agent, heard)
        if status is None or heard.said is None or (status.generation or 0) >= generation:
            return answer
        problem = f"serves generation {status.generation}" if status.generation else "serves nothing yet"
        problem += f", and {status.pinned} is pinned there" if status.pinned else ""
        if status.last_error:
            problem += f"; its last pull failed: {status.last_error['code']}: {status.last_error['message']}"
        return replace(answer, ok=False, error=f"{problem} (said at {heard.said.when})")

    def _status(self, agent: str, heard: _Heard) -> tuple[Answer, AgentStatus | None]:
        url = f"store:{agent}"
        if heard.said is None:
            return Answer(url, False, error=heard.problem), None
        said, status = heard.said, heard.said.status
        answer = Answer(url, False, status.version, status.generation, absent=heard.absence(self._clock()))
        if answer.absent == GONE:
            return replace(answer, error=f"ended at {said.when}"), None
        if answer.absent == SILENT:
            problem = f"silent since {said.when}, when it served {_served(status)}; something was due every"
            return replace(answer, error=f"{problem} {said.every:g} s"), None
        if said.disputed:
            problem = f"two agents call themselves {agent}: each needs an --agent-id of its own"
            return replace(answer, error=problem), None
        return replace(answer, ok=True), status

    def _look(self, settled: Container[str] = ()) -> None:
        """Read what is new, but for the agents that are ``settled``. Raises `DeliveryFailed`."""
        prefix = layout.acknowledgements(self._bundle, self._channel)
        names = [agent for key in self._store.names(prefix) if (agent := layout.agent_of(key))]
        asked = [agent for agent in names if agent not in settled]
        found = dict(zip(asked, side_by_side(self._read, asked), strict=True))
        kept = {agent: self._heard[agent] for agent in names if agent in settled}
        self._heard = kept | {agent: heard for agent, heard in found.items() if heard is not None}
        self._looked = True

    def _read(self, agent: str) -> _Heard | None:
        """What is heard of that agent; None if the object has just been removed."""
        key, before = layout.acknowledgement(self._bundle, self._channel, agent), self._heard.get(agent)
        try:
            if before is None or not before.token:
                stored = self._store.read(key, limit=layout.MAX_DOCUMENT)
            else:
                changed = self._store.read_if_changed(key, before.token, limit=layout.MAX_DOCUMENT)
                if changed is None:
                    return before
                stored = changed
        except Missing:
            return None
        except BadData as error:
            return _Heard("", None, error.message)
        came = time.monotonic() if self._looked else None
        try:
            said = read_own(stored.body, key, bundle=self._bundle, channel=self._channel, agent=agent)
        except BadData as error:
            return _Heard(stored.token, None, f"what it says cannot be read: {error.message}", came)
        return _Heard(stored.token, said, came=came)

    def _nobody(self) -> NotConverged:
        """The error of rule 4."""
        there = [self._status(agent, heard)[0] for agent, heard in sorted(self._heard.items())]
        if not there:
            return NotConverged(
                f"no agent acknowledges channel {self._channel!r} in {self._store.url}: nobody knows who serves it",
                "start agents with --acknowledge, and the right to write below channels/*/agents/ (docs/poll-only.md); "
                "or leave out --wait",
                code="no_acknowledgements",
            )
        some = "; ".join(f"{answer.url} {answer.error}" for answer in there[:NAMED])
        more = f"; and {len(there) - NAMED} more" if len(there) > NAMED else ""
        return NotConverged(
            f"no agent that acknowledges channel {self._channel!r} is heard of any more: {some}{more}",
            "look whether agents run, whether they may write to the store, and at the clocks, theirs and this one",
            code="no_acknowledgements",
        )


def reach(
    result: dict[str, Any], urls: Sequence[str], access: Access, acknowledged: Acknowledgements | None,
    followed: Followed, timeout: float, told: Callable[[Answer], None],
) -> list[Answer]:  # fmt: skip
    """Ask the agents at ``urls``, then wait for those that acknowledge, if they are ``acknowledged``; their answers.

    All take ``timeout`` seconds together. ``result["generation"]`` is what they have to serve; their answers go into
    ``result["agents"]``, and ``result`` into whatever is raised.
    """
    until = time.monotonic() + timeout
    answers = ask_to_pull(urls, access, followed, result["generation"], timeout) if urls else []
    result["agents"] = [answer.to_dict() for answer in answers]
    if acknowledged is not None:
        try:
            answers += acknowledged.pull(followed, result["generation"], max(0.0, until - time.monotonic()), told)
        except DagferryError as error:
            error.result = {**result, **error.result}
            raise
    result["agents"] = [answer.to_dict() for answer in answers]
    return answers


def _served(status: AgentStatus) -> str:
    return f"{status.version} (generation {status.generation})" if status.version else "nothing yet"
