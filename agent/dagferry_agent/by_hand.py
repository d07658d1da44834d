"""A release that somebody makes live here by hand: it is on this disk, and named as it was when it was live.

It stays live, pinned, until the channel names another tree than it did then.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from dagferry_schemas.errors import Conflict, Corrupt, Unknown, Untrusted
from dagferry_schemas.names import short_tree
from dagferry_schemas.trust import still_vouch

from .drift import find_drift
from .staging import Work
from .state import Pin, Wanted

if TYPE_CHECKING:
    from collections.abc import Collection

    from dagferry_schemas.endpoint import PullReply
    from dagferry_schemas.trust import Policy

    from .activation import Activation
    from .providing import Provider
    from .root import Root
    from .state import Served, State

_COMMIT: Final = re.compile(r"[0-9a-f]{7,64}")
_SHA_IN_VERSION: Final = re.compile(r"-g([0-9a-f]{12,64})(?:\+local)?$")


class ByHand:
    """Pins releases of ``root``. The caller holds its lock."""

    def __init__(self, root: Root, provider: Provider, activation: Activation) -> None:
        self._root = root
        self._provider = provider
        self._activation = activation

    def activate(self, text: str, policy: Policy) -> PullReply:
        """Make the release that ``text`` names live.

        Raises `Unknown`, `Conflict`, `Untrusted`, `Corrupt`, `MachineFault`.
        """
        state = self._activation.state()
        wanted = find_here(state, self._root.names(), text)
        check_still_vouched(wanted, state, policy)
        release = self._root.find(short_tree(wanted.tree))
        wrong = find_drift(release) if release is not None else ("its file list",)
        if release is None or wrong:
            raise Corrupt(
                f"the release of {wanted.version} on this disk is damaged at {', '.join(wrong[:5])}",
                "nothing was changed: activate another one; `status` lists what is here",
            )
        live = self._root.live()
        stamp = self._activation.stamp(state)
        before = self._root.find(live) if live else None
        work = Work() if live == release.folder.name else self._provider.awaken(release, before, stamp)
        pinned = replace(state, pin=Pin(wanted.version, wanted.tree, state.channel_tree))
        again = Wanted(wanted.tree, wanted.version, signers=wanted.signers)
        return self._activation.switch(state, pinned, again, work, stamp)

    def keep(self, state: State, heard: State) -> PullReply:
        """What is pinned stays live; a switch to it that was not finished is."""
        assert heard.pin is not None
        short = short_tree(heard.pin.tree)
        release = self._root.find(short)
        if self._root.live() == short or release is None or find_drift(release):
            if heard != state:
                self._activation.save(heard)
            return self._activation.unchanged(heard)
        known = state.last_of(short)
        pinned = Wanted(heard.pin.tree, heard.pin.version, signers=known.signers if known else ())
        return self._activation.switch(state, heard, pinned, Work(), self._activation.stamp(state))

    def resume(self) -> PullReply:
        """Let the channel say again what is live. Raises `Unknown` if nothing is pinned."""
        state = self._activation.state()
        if state.pin is None:
            raise Unknown("nothing is pinned here", "`activate VERSION` pins a release", code="not_pinned")
        resumed = replace(state, pin=None)
        self._activation.save(resumed)
        return self._activation.unchanged(resumed)


def find_here(state: State, names: Collection[str], text: str) -> Served:
    """The activation of a release that ``text`` names: its version, or a full or abbreviated commit id.

    ``names`` are the release folders on the disk. Raises `Unknown`, `Conflict`.
    """
    here = [one for one in state.history if any(one.tree.startswith(f"sha256:{name}") for name in names)]
    by_version = {one.version: one for one in here}  # the newest of each
    if text in by_version:
        return by_version[text]
    matches = [version for version in by_version if _is_of_commit(version, text)]
    if len(matches) > 1:
        raise Conflict(
            f"{text!r} names several versions: {', '.join(matches)}", "give the whole version", code="ambiguous"
        )
    if matches:
        return by_version[matches[0]]
    near = difflib.get_close_matches(text, list(by_version), n=3, cutoff=0.4) or list(by_version)[-3:]
    hint = f"on this disk: {', '.join(near)}" if near else "nothing was ever activated here"
    raise Unknown(
        f"no release of version {text!r} is on this disk", f"{hint}; `status` lists all", code="unknown_version"
    )


def check_still_vouched(wanted: Served, state: State, policy: Policy) -> None:
    """Refuse a release whose keys would not be enough today: it came unsigned, or a key was taken away.

    Raises `Untrusted`.
    """
    if not still_vouch(wanted.signers, bundle=state.bundle, channel=state.channel, policy=policy):
        raise Untrusted(
            f"too few keys of the keyring vouch for the release of {wanted.version} on this disk",
            "nothing was changed. It came before the agent had a keyring, or a key is gone or over; "
            f"`dagferry-agent pull --version {wanted.version}` asks the store for its statement",
            code="unsigned",
        )


def _is_of_commit(version: str, text: str) -> bool:
    found = _SHA_IN_VERSION.search(version)
    return bool(found and _COMMIT.fullmatch(text) and (found[1].startswith(text) or text.startswith(found[1])))
