"""What a key is: the guard against keys that would leave a store, or name what is the store's own.

A key is relative and ``/``-separated, and no component of it is empty or begins with a dot.
"""

from __future__ import annotations


def is_key(text: str) -> bool:
    """Whether ``text`` could be a key of the layout."""
    return all(part and not part.startswith(".") for part in text.split("/"))


def require_key(key: str) -> None:
    """Raise `ValueError`, a bug of the caller, for anything else."""
    if not is_key(key):
        raise ValueError(f"{key!r} is not a key of the layout")


def require_prefix(prefix: str) -> None:
    """Raise `ValueError` for a prefix without its slash, which would find that folder's neighbours too."""
    if not prefix.endswith("/"):
        raise ValueError(f"a prefix ends in '/', this one does not: {prefix!r}")
