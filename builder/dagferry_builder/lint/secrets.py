"""Private keys, tokens and passwords in the files, found by Kingfisher.

1. What a secret looks like is the business of MongoDB's Kingfisher, in this process: nothing is written to disk but
   its compiled rules in its cache, and nothing is sent anywhere. Its validation, which would ask the service behind a
   secret, is another class, and not used.
2. A finding never holds the secret: at most the first four characters of a long one, which tell its kind.
3. Kingfisher's own comments (``kingfisher:ignore``) suppress nothing. Lint has its own, which a policy can forbid.
4. A password in a URL that is as simple as ``airflow`` or ``password`` (under 3 bits of entropy a character) is an
   example, and no finding.
5. All files are looked into, binary ones too; what is larger than `MOST_BYTES` is not, and a note says so.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

from dagferry_schemas.errors import MachineFault

from .finding import Finding, Rule, Severity, found

if TYPE_CHECKING:
    from pathlib import Path

    from .checkout import Checkout
    from .settings import Settings

SECRET: Final = Rule(
    "secret",
    "files",
    Severity.ERROR,
    title="a secret stands in a file",
    explanation=(
        "A private key, a token or a password is in the bundle. It would be stored with every version, lie on the disk "
        "of every pod, and show in Airflow's code view. It is in the history of git already: whoever can read the "
        "repository has it."
    ),
    hint="revoke it, then keep its successor in a Connection, a Variable or a secrets backend",
)
NOT_SEARCHED: Final = Rule(
    "secret-not-searched",
    "files",
    Severity.NOTE,
    title="a file is too large to be searched for secrets",
    explanation="Files are looked at as a whole, in memory. This one is too large for that, and may hold anything.",
    hint="keep data in object storage and read it in a task",
)
RULES: Final = (SECRET, NOT_SEARCHED)

MOST_BYTES: Final = 64 * 2**20
_SIMPLE: Final = 3.0
"""Bits of entropy a character: ``password`` has 2.75, ``airflow`` 2.81, eight different characters have 3."""
_SHOWN: Final = 4
_LONG: Final = 16


def check(
    checkout: Checkout, settings: Settings, *, cache: Path | None = None, clean: set[str] | None = None
) -> list[Finding]:
    """The secrets in all files. Raises `MachineFault` if Kingfisher is not installed.

    ``cache``: the folder for Kingfisher's compiled rules; its own choice without one. ``clean`` are contents that were
    found without a secret before; those that are so now are added.
    """
    clean = set() if clean is None else clean
    if all(settings.severity_of(SECRET, file.origin) is Severity.OFF for file in checkout.files.values()):
        return []
    scanner = None
    findings = []
    for file in checkout.files.values():
        if file.content in clean:
            continue
        if file.size > MOST_BYTES:
            findings.append(found(NOT_SEARCHED, file.path, f"the file has {file.size} bytes: nobody looked into it"))
            continue
        scanner = scanner or _scanner(cache)
        content = checkout.read(file.path)
        secrets = [_finding(one, file.path, content) for one in scanner.scan(content) if _counts(one)]
        findings += secrets
        if not secrets:
            clean.add(file.content)
    return findings


def detector_version() -> str:
    """The version of Kingfisher: what it calls clean is so by its rules."""
    return metadata.version("kingfisher-secret-scanner")


def _scanner(cache: Path | None) -> Any:  # noqa: ANN401 (a class of Kingfisher, imported only where it is used)
    try:
        from kingfisher_sdk import DetectionPolicy, Rules, Scanner  # type: ignore[import-untyped, unused-ignore]
    except ImportError as error:
        raise MachineFault(
            f"Kingfisher, which looks for secrets, cannot be imported: {error}",
            "pip install 'dagferry[builder]', or turn the rule off: lint.severity.secret = \"off\"",
        ) from error
    policy = DetectionPolicy(inline_ignores=False, markup_context=False)
    return Scanner(Rules(cache_dir=cache), policy=policy)


def _counts(one: Any) -> bool:  # noqa: ANN401 (a finding of Kingfisher)
    """Whether it is a secret by itself: not a part of a composite one, and no example."""
    is_example = one.rule_id.endswith("generic-credential-uri") and one.entropy < _SIMPLE
    return bool(one.visible) and not is_example


def _finding(one: Any, path: str, content: bytes) -> Finding:  # noqa: ANN401 (a finding of Kingfisher)
    at = one.location
    kind = one.rule_id.rpartition("/")[2].rpartition(".")[2]
    encoded = ", encoded in Base64" if one.is_base64_encoded else ""
    message = f"this looks like a secret ({kind}{encoded}){_beginning(one.secret)}"
    finding = found(SECRET, path, message, line=at["line"])
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):  # UTF-16: the offsets are those of what it was converted to
        return replace(finding, end_line=at["end_line"])
    return replace(
        finding,
        column=_column(content, at["start_offset"]),
        end_line=at["end_line"],
        end_column=_column(content, at["end_offset"]),
    )


def _beginning(secret: str) -> str:
    if len(secret) < _LONG or secret.startswith("-"):
        return ""
    return f"; it begins with {secret[:_SHOWN]!r}"


def _column(content: bytes, offset: int) -> int:
    """The column of the byte at ``offset``, in characters from 1."""
    start = content.rfind(b"\n", 0, offset) + 1
    return len(content[start:offset].decode("utf-8", "replace")) + 1
