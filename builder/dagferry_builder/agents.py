"""Talking to agents over HTTP: ask them to pull, ask what they serve; many at once, each with its own deadline.

A request carries a token and a generation, nothing else. What an agent answers is parsed with the schemas of
`dagferry_schemas.endpoint`; what it cannot answer becomes its ``error``, and never an exception: one silent pod does
not hide the others.
"""

from __future__ import annotations

import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import requests

from dagferry_schemas.endpoint import MAX_REPLY, AgentStatus, PullReply, PullRequest
from dagferry_schemas.errors import Malformed, NotConverged

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .access import Access

AT_ONCE: Final = 32
"""Agents that are asked side by side."""
WAIT: Final = 20.0
"""Seconds that one request lets an agent work before it is asked again."""
CONNECT: Final = 5.0
_FINAL: Final = frozenset({400, 401, 403, 404, 405, 413, 415, 422})
"""Answers that asking again does not change."""


@dataclass(frozen=True)
class Answer:
    """What one agent said last. ``seconds`` since it was first asked; ``error`` is None exactly if it is ``ok``."""

    url: str
    ok: bool
    version: str | None = None
    generation: int | None = None
    seconds: float = 0.0
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)


def pull(urls: Sequence[str], access: Access, channel: str, generation: int, timeout: float) -> list[Answer]:
    """Ask every agent to serve ``generation`` of ``channel`` or a newer one, for ``timeout`` seconds at the most."""
    return _each(urls, lambda url: _pull_one(url, access, channel, generation, timeout))


def statuses(urls: Sequence[str], access: Access, timeout: float) -> list[tuple[Answer, AgentStatus | None]]:
    """What every agent says of itself."""
    return _each(urls, lambda url: _status_one(url, access, timeout))


def require(answers: Sequence[Answer], result: dict[str, Any]) -> None:
    """Raise `NotConverged`, with ``result`` as what there is to report, unless all ``answers`` are ok."""
    late = [answer for answer in answers if not answer.ok]
    if late:
        said = "; ".join(f"{answer.url}: {answer.error}" for answer in late)
        raise NotConverged(
            f"{len(late)} of {len(answers)} agents do not serve it: {said}",
            "agents that poll will follow by themselves; `dagferry status` shows each",
            result=result,
        )


def _each(urls: Sequence[str], work: Callable[[str], Any]) -> list[Any]:
    with ThreadPoolExecutor(min(AT_ONCE, len(urls))) as pool:
        return list(pool.map(work, urls))


def _pull_one(url: str, access: Access, channel: str, generation: int, timeout: float) -> Answer:
    began = time.monotonic()
    pause = 0.2
    with _session(access) as session:
        while True:
            left = max(0.0, timeout - (time.monotonic() - began))
            answer, final = _ask(session, url, channel, generation, min(WAIT, left))
            spent = time.monotonic() - began
            if answer.ok or final or spent + pause >= timeout:
                return Answer(**{**asdict(answer), "seconds": round(spent, 3)})
            time.sleep(random.uniform(pause / 2, pause))
            pause = min(2.0, pause * 2)


def _ask(session: requests.Session, url: str, channel: str, generation: int, wait: float) -> tuple[Answer, bool]:
    """One request, and whether its answer is final."""
    body = PullRequest(generation, round(wait, 3)).to_bytes()
    try:
        with session.post(
            f"{url}/v1/pull", data=body, timeout=(CONNECT, wait + CONNECT), stream=True, allow_redirects=False
        ) as reply:
            status, content = reply.status_code, _read(reply)
        if status != 200:
            return Answer(url, False, error=_problem(status, content)), status in _FINAL
        pulled = PullReply.from_bytes(content)
    except (requests.RequestException, Malformed) as error:
        return Answer(url, False, error=_short(error)), False
    if pulled.channel != channel:  # its generations count something else
        other = f"follows channel {pulled.channel!r}, not {channel!r}"
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
    if isinstance(error, requests.ConnectionError):
        return "cannot be reached: " + ("timed out" if isinstance(error, requests.Timeout) else "no connection")
    if isinstance(error, requests.Timeout):
        return "did not answer in time"
    return str(error)[:300]
