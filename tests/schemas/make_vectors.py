"""Makes the golden vectors in ``vectors/`` from the text of ``schemas/FORMAT.md`` alone.

It and the two modules that it reads from import nothing of dagferry, so that a mistake there cannot hide in the vectors
too. Running it again gives the same bytes (`test_vectors`); a changed vector is a changed format. ``index.json`` says
what each vector is and what a reader has to make of it; all other files are the bytes themselves.
Run: ``python -m tests.schemas.make_vectors``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .vector_documents import (
    ACCEPTED_ENVELOPES,
    ACCEPTED_RECORDS,
    ACCEPTED_REQUESTS,
    ACCEPTED_VERSIONS,
    FLOORS,
    REFUSED_ENVELOPES,
    REFUSED_RECORDS,
    REFUSED_REQUESTS,
    REFUSED_VERSIONS,
    envelope,
    one_line,
)
from .vector_trees import (
    HEADERS,
    REFUSED_FILE_LISTS,
    REFUSED_TREES,
    TREES,
    file_list,
    header,
    plain_tar,
    sha256,
    tree_digest,
)

HERE = Path(__file__).resolve().parent / "vectors"

_FOLDERS_AND_SUFFIXES = {
    "accepted_envelopes": "json",
    "refused_envelopes": "json",
    "accepted_versions": "json",
    "refused_versions": "json",
    "accepted_requests": "json",
    "refused_requests": "json",
    "refused_file_lists": "files",
}


def _trees(made: dict[str, bytes]) -> dict[str, Any]:
    found = {}
    for name, files in TREES.items():
        plain = made[f"trees/{name}.tar"] = plain_tar(files)
        made[f"trees/{name}.files"] = file_list(files)
        found[name] = {
            "tree": tree_digest(files),
            "plain_sha256": sha256(plain),
            "plain_size": len(plain),
            "files": [[file.path, file.executable, file.content.decode()] for file in files],
        }
    return found


def _records(made: dict[str, bytes]) -> dict[str, Any]:
    expected: dict[str, str | None] = dict.fromkeys(ACCEPTED_RECORDS)
    expected |= {name: code for name, (_, code) in REFUSED_RECORDS.items()}
    for name in expected:
        payload = one_line(ACCEPTED_RECORDS[name] if name in ACCEPTED_RECORDS else REFUSED_RECORDS[name][0])
        made[f"records/{name}.payload.json"] = payload
        made[f"records/{name}.stored.json"] = one_line(envelope(payload))
    return expected


def _raw(made: dict[str, bytes], folder: str, vectors: dict[str, bytes]) -> None:
    for name, raw in vectors.items():
        made[f"{folder}/{name}.{_FOLDERS_AND_SUFFIXES[folder]}"] = raw


def _refused(made: dict[str, bytes], folder: str, vectors: dict[str, tuple[bytes, str, str]]) -> dict[str, Any]:
    _raw(made, folder, {name: vector[0] for name, vector in vectors.items()})
    return {name: {"code": code, "says": says} for name, (_, code, says) in vectors.items()}


def build() -> dict[str, bytes]:
    """Every vector by its path below ``vectors/``, with ``index.json``."""
    made: dict[str, bytes] = {}
    index: dict[str, Any] = {
        "trees": _trees(made),
        "headers": {
            name: {
                "path": path,
                "executable": executable,
                "size": size,
                "sha256": sha256(header(path, executable, size)),
            }
            for name, (path, executable, size) in HEADERS.items()
        },
        "refused_trees": {name: {"paths": paths, "says": says} for name, (paths, says) in REFUSED_TREES.items()},
        "refused_file_lists": {name: says for name, (_, says) in REFUSED_FILE_LISTS.items()},
        "records": _records(made),
        "floors": {name: {"floor": floor, "code": code} for name, (floor, code) in FLOORS.items()},
        "accepted_envelopes": sorted(ACCEPTED_ENVELOPES),
        "refused_envelopes": _refused(made, "refused_envelopes", REFUSED_ENVELOPES),
        "accepted_versions": sorted(ACCEPTED_VERSIONS),
        "refused_versions": _refused(made, "refused_versions", REFUSED_VERSIONS),
        "accepted_requests": {
            name: {"expect_generation": generation, "wait_seconds": wait}
            for name, (_, generation, wait) in ACCEPTED_REQUESTS.items()
        },
        "refused_requests": _refused(made, "refused_requests", REFUSED_REQUESTS),
    }
    _raw(made, "refused_file_lists", {name: raw for name, (raw, _) in REFUSED_FILE_LISTS.items()})
    _raw(made, "accepted_envelopes", ACCEPTED_ENVELOPES)
    _raw(made, "accepted_versions", ACCEPTED_VERSIONS)
    _raw(made, "accepted_requests", {name: raw for name, (raw, _, _) in ACCEPTED_REQUESTS.items()})
    made[".gitattributes"] = b"* -text\n"  # the bytes are the point: nobody may convert line ends
    made["index.json"] = json.dumps(index, indent=1, sort_keys=True).encode() + b"\n"
    return made


def main() -> None:
    """Write the vectors; files that are no longer made are removed."""
    made = build()
    for path in HERE.rglob("*"):
        if path.is_file() and path.relative_to(HERE).as_posix() not in made:
            path.unlink()
    for name, content in made.items():
        (HERE / name).parent.mkdir(parents=True, exist_ok=True)
        (HERE / name).write_bytes(content)


if __name__ == "__main__":
    main()
