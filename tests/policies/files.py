"""The policies of ``ci/policies`` as a user gets them: read, with the placeholders replaced."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

TOP: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = TOP / "ci/policies"
PAGE: Final = TOP / "docs/policies.md"
PARTS: Final = ("builder", "promoter", "agent")
EVERY_PART: Final = (*PARTS, "acknowledger")
"""Also the addition to the agent's rights for one that acknowledges."""
PLACEHOLDERS: Final = ("BUCKET", "PREFIX", "BUNDLE", "CHANNEL")

Policy = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """What the placeholders stand for."""

    bucket: str
    prefix: str
    bundle: str
    channel: str

    def fill(self, text: str) -> str:
        """``text`` with every placeholder replaced, as the page's sed command does it."""
        values = (self.bucket, self.prefix, self.bundle, self.channel)
        for name, value in zip(PLACEHOLDERS, values, strict=True):
            text = text.replace(name, value)
        return text

    def s3(self, name: str) -> Policy:
        """The policy in ``s3-<name>.json``."""
        policy: Policy = json.loads(self.fill((FOLDER / f"s3-{name}.json").read_text(encoding="utf-8")))
        return policy


def listed(value: str | list[str]) -> list[str]:
    """What a policy may write as one string or as a list of them."""
    return [value] if isinstance(value, str) else value


def without(policy: Policy, sid: str, action: str) -> list[Policy]:
    """``policy`` less one action of one statement, as one policy or none: one without statements is not accepted."""
    statements = []
    for one in policy["Statement"]:
        left = [name for name in listed(one["Action"]) if (one["Sid"], name) != (sid, action)]
        statements += [{**one, "Action": left}] if left else []
    return [{**policy, "Statement": statements}] if statements else []
