"""The statement that vouches for one version: an in-toto Statement v1 with SLSA provenance v1 as its predicate.

Its first subject is the version's document, whose digest settles everything else; the second is the tarball, for tools
that verify files. The predicate tells where the content comes from and what built it: it is for people and policies,
and no rule of ours depends on it.

Formats: the in-toto Attestation Framework's Statement v1, and https://slsa.dev/spec/v1.0/provenance
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from . import fields as reading
from .errors import Malformed
from .layout import MAX_DOCUMENT
from .names import HEX_DIGEST, hex_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .pins import Pin
    from .version import Version

TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE: Final = "https://slsa.dev/provenance/v1"
BUILD_TYPE: Final = "urn:dagferry:build:1"
"""What a build of dagferry is: the files of one commit that the selection names, packed canonically."""


@dataclass(frozen=True)
class Origin:
    """Where a version was built: the repository's URL, who built it with what, and when."""

    repository: str | None
    builder: str
    release: str
    started: str
    finished: str
    run: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """SLSA's ``runDetails``."""
        metadata = {"startedOn": self.started, "finishedOn": self.finished}
        if self.run is not None:
            metadata["invocationId"] = self.run
        return {"builder": {"id": self.builder, "version": {"dagferry": self.release}}, "metadata": metadata}


def subject_of(bundle: str, version: str) -> str:
    """The name under which a statement speaks of a version's document."""
    return f"{bundle}/versions/{version}.json"


def write(version: Version, document: Pin, origin: Origin) -> bytes:
    """The payload of the statement about ``version``, whose stored document has the pin ``document``."""
    source = {"uri": f"git+{origin.repository or 'unknown:'}", "digest": {"gitCommit": version.commit}}
    subjects = {
        subject_of(version.bundle, version.version): document.sha256,
        f"{version.bundle}-{version.version}.tar.zst": version.content.tarball.sha256,
    }
    return reading.dump(
        {
            "_type": TYPE,
            "subject": [{"name": name, "digest": {"sha256": hex_of(digest)}} for name, digest in subjects.items()],
            "predicateType": PREDICATE,
            "predicate": {
                "buildDefinition": {
                    "buildType": BUILD_TYPE,
                    "externalParameters": {"bundle": version.bundle, "selection": dict(version.selection)},
                    "internalParameters": {"version": version.version, "tree": version.content.tree},
                    "resolvedDependencies": [source],
                },
                "runDetails": origin.to_dict(),
            },
        }
    )


def read_subjects(payload: bytes, what: str) -> Mapping[str, str]:
    """The subjects of a statement: ``sha256:<hex>`` by name. Raises `Malformed`."""
    fields = reading.load(payload, what, limit=MAX_DOCUMENT)
    for name, expected in (("_type", TYPE), ("predicateType", PREDICATE)):
        if fields.text(name) != expected:
            fields.refuse(name, f"{fields.text(name)[:80]!r} instead of {expected!r}")
    found: dict[str, str] = {}
    for subject in fields.children("subject"):
        name = subject.text("name")
        if name in found:
            raise Malformed(f"{what}: two subjects are {name[:80]!r}")
        found[name] = "sha256:" + subject.child("digest").text("sha256", HEX_DIGEST)
    return found
