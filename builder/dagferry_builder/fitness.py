"""Is a store fit for a bundle, and this machine for the store? What `init-store` and `doctor` see, and how that ends.

* A broken promise is bad data (``unfit_store``), and so is a clock that is off (``clock_skew``). A store that could not
  be asked is a failed delivery, whose own code and hint are kept.
* ``store.json`` is the verdict on the promises alone: this machine's clock and credentials are not the store's fault.
  No verdict is written where the store could not be asked to the end.
* The doctor leaves nothing behind. It makes no store either, but reads first: a directory that is not there may be a
  volume that is not mounted.
* A reader cannot tell how far apart the clocks are, because it only sees when others wrote (`not_behind`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dagferry_schemas import fields, layout
from dagferry_schemas.errors import BadData, DeliveryFailed
from dagferry_storage.probe import PROMISES, Check, Failed, examine, not_behind, trying
from dagferry_storage.store import SET_THE_CLOCK, Exists, Missing

from . import catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dagferry_storage.store import Store


def init_store(store: Store, bundle: str, now: str, nonce: str, clock: Callable[[], float]) -> tuple[Check, ...]:
    """Probe the store and leave the verdict in ``store.json``; what was found is returned, not raised.

    ``now`` is the time that is written down. Raises `DeliveryFailed` if the verdict cannot be stored.
    """
    with trying(store, f"{bundle}/", nonce, clock) as steps:
        checks = examine({"credentials": store.identity, **steps})
    if not any(map(_was_prevented, checks)):
        _write_verdict(store, bundle, now, [check for check in checks if check.name in PROMISES])
    return checks


def _write_verdict(store: Store, bundle: str, now: str, promises: list[Check]) -> None:
    document = fields.dump(
        {
            "format": 1,
            "bundle": bundle,
            "checked": now,
            "ok": all(check.ok for check in promises),
            "checks": [check.to_dict() for check in promises],
        }
    )
    key = layout.store_json(bundle)
    try:
        store.create(key, document)
    except Exists:
        store.replace(key, document, store.read(key, limit=layout.MAX_DOCUMENT).token)


def diagnose(store: Store, bundle: str, nonce: str, clock: Callable[[], float]) -> tuple[Check, ...]:
    """Try all that a builder needs of the store, and what its verdict says. Raises nothing that is foreseen."""
    with trying(store, f"{bundle}/", nonce, clock) as steps:
        reading = {"credentials": store.identity, "read": lambda: _read(store, bundle)}
        checks = examine({**reading, **steps, "verdict": lambda: _verdict(store, bundle)})
    for check in checks:
        if check.name in PROMISES and check.error is not None and check.error.code in ("forbidden", "machine"):
            check.error.hint += "; if this identity is to read only: dagferry doctor --read-only"
    return checks


def diagnose_reading(store: Store, bundle: str, clock: Callable[[], float]) -> tuple[Check, ...]:
    """Try all that an agent needs of the store, as far as that shows without writing. Raises nothing foreseen."""
    return examine(
        {
            "credentials": store.identity,
            "read": lambda: _read(store, bundle),
            "clock": lambda: not_behind(store, layout.store_json(bundle), clock),
            "verdict": lambda: _verdict(store, bundle),
        }
    )


def _read(store: Store, bundle: str) -> str:
    key = layout.store_json(bundle)
    try:
        return f"{key} was read, {len(store.read(key, limit=layout.MAX_DOCUMENT).body)} bytes"
    except Missing:
        return f"the store answered; there is no {key} yet"


def _verdict(store: Store, bundle: str) -> str:
    found = catalog.verdict(store, bundle)
    if found is None:
        return "there is none yet: the first publication writes one, and so does `dagferry init-store`"
    if not found.ok:
        raise Failed(f"probed at {found.checked}, and broken: {', '.join(found.broken)}")
    return f"probed at {found.checked}, and all promises were kept"


def require_fit(store: Store, checks: Sequence[Check], result: Mapping[str, Any]) -> None:
    """Raise what the checks amount to, with ``result`` for its document; nothing if all is well."""
    failed = [check for check in checks if check.tried and not check.ok]
    if not failed:
        return
    for check in failed:
        if check.error is not None and _was_prevented(check):
            check.error.result = dict(result)
            raise check.error
    if [check.name for check in failed] == ["clock"]:
        raise BadData(f"{store.url}: {failed[0].detail}", SET_THE_CLOCK, code="clock_skew", result=result)
    said = "; ".join(f"{check.name}: {check.detail}" for check in failed)
    raise BadData(
        f"{store.url} does not keep its promises: {said}",
        "a channel is only as safe as the store under it: use another store, or mend it and run `dagferry init-store`",
        code="unfit_store",
        result=result,
    )


def _was_prevented(check: Check) -> bool:
    """Whether the check could not be made. Other errors of a promise (a right token that is refused) are its answer."""
    if check.error is None:
        return False
    return isinstance(check.error, DeliveryFailed) or check.name not in PROMISES
