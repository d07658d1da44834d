"""Planted bugs in what tells webhooks: its tests find each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.planting import FAILED, Bug, copy_of_source, outcome

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.planted
TESTS: Final = (
    "tests/schemas/test_events.py",
    "tests/storage/test_webhook.py",
    "tests/builder/test_following.py",
    "tests/builder/test_announcing.py",
    "tests/agent/test_spool.py",
    "tests/agent/test_reporting.py",
)

BUGS: Final = {
    "a record is remembered before it was told": Bug(
        "retelling",
        "    for one in told:\n        _tell(webhook, one, seconds)\n    memory.write(news.position)\n",
        "    memory.write(news.position)\n    for one in told:\n        _tell(webhook, one, seconds)\n",
        "once_it_was_told",
        "builder",
    ),
    "a head whose log could not be read counts as seen": Bug(
        "following",
        "        news = self._since(self._accept(stored))\n        self._token = stored.token",
        "        self._token = stored.token\n        news = self._since(self._accept(stored))",
        "what_could_not_be_read",
        "builder",
    ),
    "another log is taken for the same": Bug(
        "following", "if head.record.epoch == at.epoch:", "if False:", "another_history", "builder"
    ),
    "a head that is gone is taken for quiet": Bug(
        "following", "if self.position is None:\n                return None\n", "return None\n", "gone", "builder"
    ),
    "a command waits for its webhooks while it works": Bug(
        "announcing",
        "        self._events.put((event.id, event.to_bytes()))\n",
        "        self._events.put((event.id, event.to_bytes()))\n        self._thread.join(1)\n",
        "telling_waits_for_nobody",
        "builder",
    ),
    "a command waits for its webhooks without end": Bug(
        "announcing",
        "self._thread.join(max(0.0, self._until - time.monotonic()))",
        "self._thread.join(20)",
        "telling_waits_for_nobody",
        "builder",
    ),
    "ids are new each time": Bug(
        "events",
        "unique = id_of(source, name, record.epoch, record.generation, record.nonce, nonce)",
        "unique = id_of(id({}), object(), nonce)",
        "same_bytes",
        "schemas",
    ),
    "the id is not signed": Bug(
        "events", 'f"{event_id}.{timestamp}.".encode()', 'f"{timestamp}.".encode()', "reference_libraries", "schemas"
    ),
    "a bad secret is quoted": Bug(
        "events",
        'f"a webhook\'s secrets are 1 to',
        'f"{text} a webhook\'s secrets are 1 to',
        "not_quoted",
        "schemas",
    ),
    "redirects are followed": Bug(
        "webhook", "allow_redirects=False", "allow_redirects=True", "no_redirect_is_followed", "storage"
    ),
    "the environment's proxies are used": Bug(
        "webhook", "session.trust_env = False", "session.trust_env = True", "proxies_and_netrc", "storage"
    ),
    "any answer is a yes": Bug("webhook", "if not 200 <= status < 300:", "if False:", "nothing_else_does", "storage"),
    "messages have the whole URL": Bug("webhook", "{self.name}: {_words", "{self.url}: {_words", "neither", "storage"),
    "the answer is read": Bug(
        "webhook", "allow_redirects=False, stream=True", "allow_redirects=False", "without_end", "storage"
    ),
    "the first secret is kept for ever": Bug(
        "webhook",
        "    def secrets(self) -> tuple[bytes, ...]:\n",
        "    @__import__('functools').lru_cache\n    def secrets(self) -> tuple[bytes, ...]:\n",
        "that_is_replaced",
        "storage",
    ),
    "an event goes before it is taken": Bug(
        "reporting",
        "        self._webhook.send(event_id, entry.body)\n        self._spool.taken(entry)\n",
        "        self._spool.taken(entry)\n        self._webhook.send(event_id, entry.body)\n",
        "next_process",
    ),
    "what happened is remembered before it is on the disk": Bug(
        "reporting",
        "        now = utc_now()\n        for happened",
        "        now = utc_now()\n        self._remember(told)\n        for happened",
        "remembered_after",
    ),
    "a pull waits for the receiver": Bug(
        "reporting",
        "        self._outcomes.append(outcome)\n",
        "        self._outcomes.append(outcome)\n        self._settings.webhooks[0].send('x', b'{}')\n",
        "noting_an_outcome",
    ),
    "the log has the secret": Bug(
        "reporting",
        "is told again until it is: %s\", plain(said))",
        "is told again until it is: %s\", self._webhook.secret_file.read_text())",
        "no_secret",
    ),
    "ids of two roots are the same": Bug("reporting", "events.Told(disk.unique())", 'events.Told("")', "two_roots"),
    "what is dropped is not said": Bug(
        "spool", "            if self._lost:\n", "            if False:\n", "that_is_told_first"
    ),
    "one that was dropped takes another with it": Bug(
        "spool", "elif self._waiting and self._waiting[0][0] == entry.name:", "elif self._waiting:", "no_other_with_it"
    ),
    "there is no bound": Bug("spool", "return len(self._waiting) < self._most and", "return True or", "the_bound"),
    "the order is that of the folder": Bug(
        "spool", "sorted(self._folder.iterdir())", "sorted(self._folder.iterdir(), reverse=True)", "in_their_order"
    ),
    "every failure is told": Bug(
        "events",
        "if told.failing is not None:\n            return",
        "if False:\n            return",
        "at_their_beginning",
    ),
}  # fmt: skip


def test_all_is_found_right_without_a_planted_bug(tmp_path: Path) -> None:
    assert outcome(copy_of_source(tmp_path), TESTS, {bug.test for bug in BUGS.values()}) == 0


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_planted_bug_is_found(bug: Bug, tmp_path: Path) -> None:
    source = copy_of_source(tmp_path)
    bug.plant(source)
    assert outcome(source, TESTS, [bug.test]) == FAILED
