"""Changes of valid bytes and valid documents, as strategies of Hypothesis."""

from __future__ import annotations

import copy
import json
from typing import Any, Final

from hypothesis import strategies as st


@st.composite
def changed_bytes(draw: st.DrawFn, raw: bytes) -> bytes:
    """Some bytes of ``raw`` flipped, cut, doubled, swapped or filled up."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(raw)))
        end = min(len(raw), start + draw(st.sampled_from([0, 1, 2, 8, 64, 512])))
        piece = raw[start:end]
        other = draw(
            st.one_of(
                st.sampled_from([b"", 2 * piece, piece[::-1], bytes(len(piece)), piece.swapcase(), b"\xff", b"\n"]),
                st.binary(max_size=12),
            )
        )
        raw = raw[:start] + other + raw[end:]
    return raw


VALUES: Final = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 1, 2**31, 2**53 - 1, 2**53, 2**63, 2**64, -(2**53), 10**400]),
    st.floats(),
    st.text(max_size=8),
    st.text(st.sampled_from("\ud800\udfff\u0000\u2028\x1b\U0010ffffa/.:-"), max_size=8),
    st.sampled_from(["sha256:" + 64 * "0", "2026-02-31T24:00:00Z", "2026-11-22T10:00:60.999999999Z", "..", 5000 * "a"]),
    st.sampled_from(["[]", "{}", "[[]]", "[null]", '{"": {}}', "[{}]", 9 * "[" + 9 * "]"]).map(json.loads),
)


def places(document: Any) -> list[tuple[Any, Any]]:  # noqa: ANN401 (JSON is dynamic)
    """All places of a document at which something stands: an object or a list, and a key or an index of it."""
    keys = document if isinstance(document, dict) else range(len(document)) if isinstance(document, list) else ()
    found = [(document, key) for key in keys]
    return found + [place for _, key in tuple(found) for place in places(document[key])]


@st.composite
def changed_documents(draw: st.DrawFn, document: Any) -> Any:  # noqa: ANN401 (JSON is dynamic)
    """A document of which some values are others, gone, doubled or in another place."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        there = places(document)
        if not there:
            break
        holder, key = draw(st.sampled_from(there))
        match draw(st.sampled_from(["value", "value", "other", "gone", "new"])):
            case "value":
                holder[key] = draw(VALUES)
            case "other":
                from_holder, from_key = draw(st.sampled_from(there))
                holder[key] = copy.deepcopy(from_holder[from_key])
            case "gone":
                del holder[key]
            case "new" if isinstance(holder, dict):
                holder[draw(st.sampled_from([*holder, "new", ""]) | st.text(max_size=4))] = draw(VALUES)
            case "new":
                holder.append(copy.deepcopy(holder[key]))
    return document
