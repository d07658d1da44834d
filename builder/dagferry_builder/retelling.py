"""Telling a webhook the records of a log, one after the other: each until it is taken, and only then remembered."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from dagferry_schemas import events
from dagferry_schemas.commandline import plain
from dagferry_schemas.errors import DeliveryFailed, Usage
from dagferry_storage.webhook import pause_after

if TYPE_CHECKING:
    from dagferry_storage.webhook import Webhook

    from .following import News, StateFile

log = logging.getLogger(__name__)


def retell(webhook: Webhook, news: News, memory: StateFile, seconds: float | None) -> list[dict[str, Any]]:
    """Tell the events of one record, and remember that it was told: `StateFile` is written last. What was told.

    Each event is sent again until it is taken, or for so many ``seconds``: `NotTaken`, `Usage` (the secret) after them.
    Raises `MachineFault` where the state cannot be written.
    """
    told = events.of_record(news.record, news.before)
    for one in told:
        _tell(webhook, one, seconds)
    memory.write(news.position)
    facts = {"generation": news.record.generation, "version": news.record.live.version}
    return [{"id": one.id, "type": one.type, "time": one.time, **facts} for one in told]


def _tell(webhook: Webhook, event: events.Event, seconds: float | None) -> None:
    body, began, failures = event.to_bytes(), time.monotonic(), 0
    while True:
        try:
            webhook.send(event.id, body)
        except (DeliveryFailed, Usage) as error:  # Usage: the secret file, which may be mended meanwhile
            failures += 1
            pause = pause_after(failures)
            if seconds is not None and time.monotonic() - began + pause > seconds:
                raise
            if failures == 1:
                log.warning("%s; %s is told again until it is taken", plain(error.message), event.type)
            time.sleep(pause)
        else:
            if failures:
                log.warning("%s took %s at last", webhook.name, event.type)
            return
