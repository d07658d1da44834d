"""What somebody sees of other bundles, from a bundle of which there is nothing yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagferry_builder.lint.live_state import read_others
from dagferry_storage.stores import open_store

if TYPE_CHECKING:
    import pytest

    from dagferry_builder.lint.live import Others
    from tests.policies.jobs import Identity


def others(monkeypatch: pytest.MonkeyPatch, who: Identity, url: str, channel: str) -> Others:
    """The bundles in the store ``url`` that have something live on ``channel``, as ``who`` sees them."""
    with monkeypatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        for name, value in who.env.items():
            patch.setenv(name, str(value))
        return read_others(open_store(url), "newcomer", channel)
