"""What Airflow's configuration may say of our bundle, and what it may not: the kwargs of an entry, judged at once.

They come from JSON that people write by hand, and Airflow hands them on as they are: a number in quotes would break it
much later, and elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dagferry_schemas.errors import Usage
from dagferry_schemas.names import NAME

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

TEXTS: Final = ("store", "bundle", "channel", "keyring", "agent_root", "view_url_template")
SECONDS: Final = ("refresh_interval", "wait_seconds", "keep_days")


def check(bundle: str, airflows: Collection[str], kwargs: Mapping[str, object]) -> None:
    """Refuse what is of another kind than it has to be, but for ``airflows``: what a bundle of Airflow takes.

    Raises `Usage` that names the key.
    """
    for key, value in kwargs.items():
        if key in TEXTS:
            if value is not None and (not isinstance(value, str) or not value.strip()):
                raise _refusal(bundle, key, value, "a text that is not empty; leave it out otherwise")
        elif key in SECONDS:
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
                raise _refusal(bundle, key, value, "a number without quotes, 0 or more")
        elif key not in airflows:
            known = ", ".join(sorted((*TEXTS, *SECONDS)))
            raise Usage(f"the kwargs of {bundle} have a key {key!r} that is not known", f"there are: {known}")
    for key in ("bundle", "channel"):
        value = kwargs.get(key)
        if isinstance(value, str) and not NAME.fullmatch(value):
            raise _refusal(
                bundle, key, value, "a name of letters, digits and ._- that begins with one of the first two"
            )


def _refusal(bundle: str, key: str, value: object, wanted: str) -> Usage:
    return Usage(f"{key} {value!r} is not allowed", f"say `{key}` in the kwargs of {bundle}: {wanted}")
