"""Talking to agents over HTTP: ask them to pull, ask what they serve; many at once, each with its own deadline.

A request carries a token and a generation, nothing else. What an agent answers is parsed with the schemas of
`dagferry_schemas.endpoint`; what it cannot answer becomes its ``error``, and never an exception: one silent pod does
not hide the others.
"""

from __future__ import annotations

import json
import queue
import random
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import requests

from dagferry_schemas.endpoint import MAX_REPLY, AgentStatus, PullReply, PullRequest
from dagferry_schemas.errors import Malformed, NotConverged

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .access import Access

T = TypeVar("T")
Followed: TypeAlias = tuple[str, str]
"""The bundle and the channel that an agent has to follow."""
AT_ONCE: Final = 32
"""Agents that are asked side by side."""
WAIT: Final = 20.0
"""Seconds that one request lets an agent work before it is asked again."""
CONNECT: Final = 5.0
_PINNED: Final = "HTTP 409, pinned"
_FINAL: Final = frozenset({400, 401, 403, 404, 405, 413, 415, 422})
"""Answers that asking again does not change."""


@dataclass(frozen=True)
class Answer:
    """What one agent said last. ``seconds`` since it was first asked; ``error`` is None exactly if it is ``ok``.

    ``absent``: `acknowledgement.GONE` or `acknowledgement.SILENT` for an agent that nobody waits for, else None.
    """

    url: str
    ok: bool
    version: str | None = None
    generation: int | None = None
    seconds: float = 0.0
    error: str | None = None
    absent: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)


def pull(urls: Sequence[str], access: Access, followed: Followed, generation: int, timeout: float) -> list[Answer]:
    """Ask every agent to serve ``generation`` or a newer one, for ``timeout`` seconds at the most."""
    return _each(urls, lambda url: _pull_one(url, access, followed, generation, timeout))


def statuses(urls: Sequence[str], access: Access, timeout: float) -> list[tuple[Answer, AgentStatus | None]]:
    """What every agent says of itself."""
    return _each(urls, lambda url: _status_one(url, access, timeout))


def require(answers: Sequence[Answer], result: dict[str, Any]) -> None:
    """Raise `NotConverged`, with ``result`` as what there is to report, unless all ``answers`` are ok."""
    late = [answer for answer in answers if not answer.ok]
    if late:
        said = "; ".join(f"{answer.url}: {answer.error}" for answer in late)
        raise NotConverged(
            f"{len(late)} of {len(answers)} agents do not serve it: {said}", _advice(late), result=result
        )


def _advice(late: Sequence[Answer]) -> str:
    said = " ".join(answer.error or "" for answer in late)
    if "HTTP 401" in said or "HTTP 403" in said:
        return "look at --token-file, and at the entry's scopes in the agent's tokens file"
    if _PINNED in said:
        return (
            "`dagferry-agent activate --resume` in that pod follows the channel again; or look who pinned it, and why"
        )
    if "HTTP 422" in said or "follows channel" in said:
        return "waiting does not help: mend the cause; the agent's log and `dagferry status` say more"
    return "agents that poll follow by themselves once they can; `dagferry status` shows each and its last error"


def _each(urls: Sequence[str], work: Callable[[str], T]) -> list[T]:
    """``work`` for each URL, `AT_ONCE` at a time, in the order of the URLs.

    The threads are daemons: ^C ends the command at once, whatever an agent that never answers is doing.
    """
    found: dict[str, T] = {}
    waiting = list(reversed(urls))
    done: queue.SimpleQueue[tuple[str, T | BaseException]] = queue.SimpleQueue()

    def run() -> None:
        while waiting:
            with suppress(IndexError):  # another thread took the last one
                url = waiting.pop()
                try:
                    done.put((url, work(url)))
                except BaseException as error:  # noqa: BLE001 (raised below, in the thread that asked)
                    done.put((url, error))

    for _ in range(min(AT_ONCE, len(urls))):
        threading.Thread(target=run, daemon=True).start()
    while len(found) < len(urls):
        url, outcome = done.get()
        if isinstance(outcome, BaseException):
            raise outcome
        found[url] = outcome
    return [found[url] for url in urls]


def _pull_one(url: str, access: Access, followed: Followed, generation: int, timeout: float) -> Answer:
    began = time.monotonic()
    pause = 0.2
    with _session(access) as session:
        while True:
            left = max(0.0, timeout - (time.monotonic() - began))
            answer, final = _ask(session, url, followed, generation, min(WAIT, left))
            spent = time.monotonic() - began
            if answer.ok or final or spent + pause >= timeout:
                return Answer(**{**asdict(answer), "seconds": round(spent, 3)})
            time.sleep(random.uniform(pause / 2, pause))
            pause = min(2.0, pause * 2)


def _ask(session: requests.Session, url: str, followed: Followed, generation: int, wait: float) -> tuple[Answer, bool]:
    """One request, and whether its answer is final."""
    body = PullRequest(generation, round(wait, 3)).to_bytes()
    try:
        with session.post(
            f"{url}/v1/pull", data=body, timeout=(CONNECT, wait + CONNECT), stream=True, allow_redirects=False
        ) as reply:
            status, content = reply.status_code, _read(reply)
        if status != 200:
            said = _problem(status, content)
            return Answer(url, False, error=said), status in _FINAL or _PINNED in said
        pulled = PullReply.from_bytes(content)
    except (requests.RequestException, Malformed) as error:
        return Answer(url, False, error=_short(error)), False
    if (pulled.bundle, pulled.channel) != followed:  # its generations count something else
        other = (
            f"follows channel {pulled.channel!r} of bundle {pulled.bundle!r}, not {followed[1]!r} of {followed[0]!r}"
        )
        return Answer(url, False, pulled.version, pulled.generation, error=other), True
    reached = pulled.generation is not None and pulled.generation >= generation
    problem = None if reached else f"serves generation {pulled.generation}"
    return Answer(url, reached, pulled.version, pulled.generation, error=problem), False


def _status_one(url: str, access: Access, timeout: float) -> tuple[Answer, AgentStatus | None]:
    began = time.monotonic()
    try:
        with (
            _session(access) as session,
            session.get(f"{url}/v1/status", timeout=timeout, stream=True, allow_redirects=False) as reply,
        ):
            code, content = reply.status_code, _read(reply)
        spent = round(time.monotonic() - began, 3)
        if code != 200:
            return Answer(url, False, seconds=spent, error=_problem(code, content)), None
        status = AgentStatus.from_bytes(content)
    except (requests.RequestException, Malformed) as error:
        return Answer(url, False, seconds=round(time.monotonic() - began, 3), error=_short(error)), None
    return Answer(url, True, status.version, status.generation, spent), status


def _session(access: Access) -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # a proxy or .netrc of the machine must not see the token
    session.headers["Content-Type"] = "application/json"
    session.verify = str(access.ca_file) if access.ca_file else True
    if access.token:
        session.headers["Authorization"] = f"Bearer {access.token}"
    return session


def _read(reply: requests.Response) -> bytes:
    found = b""
    for chunk in reply.iter_content(65536):
        found += chunk
        if len(found) > MAX_REPLY:
            raise Malformed(f"the reply is larger than {MAX_REPLY} bytes")
    return found


def _problem(status: int, content: bytes) -> str:
    try:
        error = json.loads(content)["error"]
        return f"HTTP {status}, {error['code']}: {error['message']}"[:500]
    except (ValueError, KeyError, TypeError):
        return "still working on it" if status == 202 else f"HTTP {status}"


def _short(error: Exception) -> str:
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not trusted, or it speaks no TLS: look at the URL and at --ca-file"
    if isinstance(error, requests.ConnectionError):
        return "cannot be reached: " + ("timed out" if isinstance(error, requests.Timeout) else "no connection")
    if isinstance(error, requests.Timeout):
        return "did not answer in time"
    return str(error)[:300]
