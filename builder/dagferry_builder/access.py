"""Who is to be asked, and with what: the agents' URLs, the token and the CA file, as a user names them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dagferry_schemas.errors import Usage

if TYPE_CHECKING:
    from pathlib import Path


class Access(NamedTuple):
    """How to reach agents: the bearer token, and the CA file for https (None: the system's)."""

    token: str | None = None
    ca_file: Path | None = None


def parse_urls(text: str) -> tuple[str, ...]:
    """The agents' base URLs in a comma-separated list. Raises `Usage`."""
    urls = tuple(dict.fromkeys(part.strip().rstrip("/") for part in text.split(",") if part.strip()))
    for url in urls:
        if not _is_base(url):
            raise Usage(
                f"{url!r} is not an agent's URL", "write http://HOST:PORT or https://HOST:PORT, comma-separated"
            )
    if not urls:
        raise Usage(
            "no agent is named",
            "give --agents http://HOST:PORT[,http://HOST:PORT…]; or --wait, where agents acknowledge",
        )
    return urls


def _is_base(url: str) -> bool:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        right = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number, or half a pair of brackets
        return False
    return bool(right) and not parts.path and not parts.query


def check_ca_file(path: Path | None) -> Path | None:
    """``path``, if certificates can be read from it. Raises `Usage`."""
    if path is None:
        return None
    from ssl import SSLError, create_default_context

    try:
        create_default_context(cafile=path)
    except (OSError, SSLError) as error:
        raise Usage(
            f"the CA file {path} cannot be used: {error.strerror or error}", "give --ca-file a file of PEM certificates"
        ) from None
    return path


def read_token(path: Path | None) -> str | None:
    """The token in a file, without the line end. Raises `Usage`."""
    if path is None:
        return None
    try:
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Usage(
            f"the token file {path} cannot be read: {error}", "give --token-file a file that holds one token"
        ) from None
    if not token or not token.isascii() or any(character.isspace() for character in token):
        raise Usage(f"the token file {path} does not hold one token", "put the token alone into it, on one line")
    return token
