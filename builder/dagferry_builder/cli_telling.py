"""What commands tell webhooks, and how their results say whether it arrived.

A command that moves a channel has its `Announcer` in click's context: the channel's records and the agents' answers are
told from wherever they come up, and `report` adds ``webhooks`` to the result. A webhook that fails is a warning on
stderr, and never changes the exit code; one that cannot be used at all (its URL, its secret) is wrong usage, said
before anything is done.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import click

from dagferry_schemas.commandline import emit, plain
from dagferry_schemas.errors import DagferryError

from .site import now

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from dagferry_schemas.record import Record

    from .agents import Answer
    from .announcing import Announcer

log = logging.getLogger(__name__)
_ANNOUNCER: Final = "dagferry_builder.announcer"


@contextmanager
def telling(urls: Sequence[str], secret_file: Path | None, ca_file: Path | None) -> Iterator[None]:
    """Tell the webhooks at ``urls`` what is done inside. Raises `Usage` before that, if one of them cannot be used."""
    if not urls:
        yield
        return
    from dagferry_storage.webhook import open_webhooks

    from .announcing import Announcer

    webhooks = open_webhooks(urls, secret_file, ca_file)
    for one in webhooks:
        one.secrets()
    click.get_current_context().meta[_ANNOUNCER] = Announcer(webhooks)
    try:
        yield
    except DagferryError as error:
        error.result = {**error.result, **_facts()}
        raise


def record_written(record: Record, before: Record | None) -> None:
    """Tell what a new record says."""
    announcer = _announcer()
    if announcer is not None:
        from dagferry_schemas import events

        for event in events.of_record(record, before):
            announcer.tell(event)


def agents_answered(record: Record, answers: Sequence[Answer]) -> None:
    """Tell whether all agents serve the generation of ``record``."""
    announcer = _announcer()
    if announcer is not None:
        import secrets

        from dagferry_schemas import events

        said = [answer.to_dict() for answer in answers]
        announcer.tell(events.converged(record, said, now=now(), nonce=secrets.token_hex(8)))


def report(result: Mapping[str, Any], output: str, text: str) -> None:
    """As `commandline.emit`, with ``webhooks`` added, what each was told: they are waited for, as `Announcer` does."""
    emit({**result, **_facts()}, output, text)


def _announcer() -> Announcer | None:
    context = click.get_current_context(silent=True)
    return None if context is None else context.meta.get(_ANNOUNCER)


def _facts() -> dict[str, Any]:
    announcer = _announcer()
    told = announcer.finish() if announcer is not None else []
    for one in told:
        if one.error is not None:
            missing = f"{one.told} of {one.events} events were told"
            log.warning("webhook %s: %s: %s; `dagferry events` makes up for it", one.url, missing, plain(one.error))
    return {"webhooks": [one.to_dict() for one in told]}
