"""What the agent's HTTP endpoint takes and gives (``POST /v1/pull``, ``GET /v1/status``, errors), as JSON.

A request may hold nothing but the fields named here: it can never name a URL, a bucket, a path or a version.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final

from . import fields as reading
from .errors import Malformed
from .names import NAME, VERSION

MAX_REQUEST: Final = 4096
"""Bytes of the largest request body that is read."""
MAX_REPLY: Final = 4 * 1024 * 1024
"""Bytes of the largest reply that a client reads."""
MAX_WAIT: Final = 300.0
"""Seconds that a request may ask the agent to wait at the most."""
DEFAULT_WAIT: Final = 30.0
"""Seconds that the agent waits when a request does not say."""


@dataclass(frozen=True)
class PullRequest:
    """Pull now; answer once a generation of at least ``expect_generation`` is served, or after ``wait_seconds``."""

    expect_generation: int | None = None
    wait_seconds: float = DEFAULT_WAIT

    @classmethod
    def from_bytes(cls, raw: bytes) -> PullRequest:
        """The request in a body; an empty body asks for the defaults. Raises `Malformed` (``malformed`` if it is not
        a JSON object, ``invalid_field`` if a field is unknown or not what it has to be).
        """
        if not raw:
            return cls()
        fields = reading.load(raw, "request", limit=MAX_REQUEST)
        try:
            expected = reading.optional(fields, "expect_generation", lambda name: fields.integer(name, least=1))
            wait = fields.number("wait_seconds") if fields.has("wait_seconds") else DEFAULT_WAIT
            fields.refuse_rest()
        except Malformed as error:
            raise Malformed(error.message, code="invalid_field") from None
        return cls(expected, min(wait, MAX_WAIT))

    def to_bytes(self) -> bytes:
        """The request body."""
        return reading.dump({name: value for name, value in asdict(self).items() if value is not None})


@dataclass(frozen=True)
class PullReply:
    """What a pull found and did. ``changed``: what Airflow reads was switched. ``previous``: the version before.

    ``files_linked`` are shared with the release before; ``files_copied`` could not be, though they are the same.
    ``pinned``: the version that somebody activated here by hand, which is served whatever the channel says.
    ``bytes_fetched`` are bodies read from the store, ``requests`` the reads it took, ``seconds`` the whole pull.
    """

    bundle: str
    channel: str | None
    generation: int | None
    version: str
    tree: str
    previous: str | None
    changed: bool
    files_written: int
    files_linked: int
    bytes_fetched: int
    requests: int
    seconds: float
    files_copied: int = 0
    pinned: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)

    @classmethod
    def from_bytes(cls, raw: bytes) -> PullReply:
        """The reply in a body. Raises `Malformed`."""
        fields = reading.load(raw, "pull reply", limit=MAX_REPLY)
        return cls(
            bundle=fields.text("bundle", NAME),
            channel=reading.optional(fields, "channel", lambda name: fields.text(name, NAME)),
            generation=reading.optional(fields, "generation", fields.integer),
            version=fields.text("version", VERSION),
            tree=fields.digest("tree"),
            previous=reading.optional(fields, "previous", lambda name: fields.text(name, VERSION)),
            changed=fields.flag("changed"),
            files_written=fields.integer("files_written"),
            files_linked=fields.integer("files_linked"),
            bytes_fetched=fields.integer("bytes_fetched"),
            requests=fields.integer("requests"),
            seconds=fields.number("seconds"),
            files_copied=fields.integer("files_copied") if fields.has("files_copied") else 0,
            pinned=reading.optional(fields, "pinned", lambda name: fields.text(name, VERSION)),
        )


NOT_VERIFYING: Final = "not_verifying"
EXPIRES_SOON: Final = "expires_soon"
EXPIRED: Final = "expired"
KEYS_END_SOON: Final = "keys_end_soon"
ALARMS: Final = (NOT_VERIFYING, EXPIRES_SOON, EXPIRED, KEYS_END_SOON)
"""No signature is demanded; the channel's record expires within three days; it has expired; within three days too few
of the keys that signed it count."""


@dataclass(frozen=True)
class AgentStatus:
    """What one agent serves, from its disk, and how its last look at the store went.

    ``since``: when the live release was activated; ``pinned``: the version that a local ``activate`` holds, if any;
    ``verifying``: whether records must be signed; ``last_error``: ``{code, message}`` of the last pull if it failed;
    ``drift``: paths of the live release that are not what the file list says; ``releases``: the trees on this disk,
    each ``{tree, versions, live}``; ``role``: ``active``, or ``standby`` beside another agent of the same root;
    ``watching``: how edits by hand are noticed, ``inotify`` or ``sweep``; ``disk``: what the releases take and what is
    left, ``{used_bytes, used_inodes, free_bytes, free_inodes}``. The last three are null where no agent runs.
    ``signed_by``: the keys that vouch for the live release, by name, or by id where the keyring has no such key;
    ``expires``: when the channel's newest accepted record does; ``alarms``: of `ALARMS`, what is not as it should be.
    ``airflow``: what Airflow made of the last switch of which it was told, ``{version, told, parsed, import_errors
    {before, after, new[] {file, reason}}, dags {before, after}}``, where the numbers of DAGs may be null; null where
    it is not told. ``tells_airflow``: whether this agent does; null where none runs.
    ``labels``: ``KEY=VALUE``, by which a candidate's targets may name it. ``candidate``: what the newest accepted
    record has as its candidate, ``{version, tree, state, error?}``, with the state ``served``, ``ready`` (it is on the
    disk, verified), ``failed`` or ``pending``; null without one.
    """

    agent_id: str
    bundle: str
    channel: str
    generation: int | None
    version: str | None
    tree: str | None
    since: str | None
    previous: str | None
    pinned: str | None
    verifying: bool
    last_check: str | None
    last_error: dict[str, str] | None
    drift: tuple[str, ...] = ()
    releases: tuple[dict[str, Any], ...] = field(default=())
    role: str | None = None
    watching: str | None = None
    disk: dict[str, int | None] | None = None
    signed_by: tuple[str, ...] = ()
    expires: str | None = None
    alarms: tuple[str, ...] = ()
    airflow: dict[str, Any] | None = None
    tells_airflow: bool | None = None
    labels: tuple[str, ...] = ()
    candidate: dict[str, str] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        lists = {name: list(getattr(self, name)) for name in ("drift", "releases", "signed_by", "alarms", "labels")}
        return asdict(self) | lists

    @classmethod
    def from_bytes(cls, raw: bytes) -> AgentStatus:
        """The status in a reply's body. Raises `Malformed`."""
        fields = reading.load(raw, "status", limit=MAX_REPLY)

        def maybe(name: str) -> str | None:
            return reading.optional(fields, name, fields.text)  # type: ignore[no-any-return]

        return cls(
            agent_id=fields.text("agent_id"),
            bundle=fields.text("bundle", NAME),
            channel=fields.text("channel", NAME),
            generation=reading.optional(fields, "generation", fields.integer),
            version=maybe("version"),
            tree=maybe("tree"),
            since=maybe("since"),
            previous=maybe("previous"),
            pinned=maybe("pinned"),
            verifying=fields.flag("verifying"),
            last_check=maybe("last_check"),
            last_error=fields.mapping("last_error") if fields.has("last_error") else None,
            drift=fields.texts("drift"),
            releases=tuple(child.rest() for child in fields.children("releases")),
            role=maybe("role"),
            watching=maybe("watching"),
            disk=_read_disk(fields.child("disk")) if fields.has("disk") else None,
            signed_by=fields.texts("signed_by") if fields.has("signed_by") else (),
            expires=maybe("expires"),
            alarms=fields.texts("alarms") if fields.has("alarms") else (),
            airflow=_read_airflow(fields.child("airflow")) if fields.has("airflow") else None,
            tells_airflow=reading.optional(fields, "tells_airflow", fields.flag),
            labels=fields.texts("labels") if fields.has("labels") else (),
            candidate=read_candidate(fields.child("candidate")) if fields.has("candidate") else None,
        )


def read_candidate(fields: reading.Fields) -> dict[str, str]:
    """The ``candidate`` of a status. Raises `Malformed`."""
    found = {
        "version": fields.text("version", VERSION),
        "tree": fields.digest("tree"),
        "state": fields.text("state", most=32),
    }
    return found | ({"error": fields.text("error")} if fields.has("error") else {})


def _read_disk(fields: reading.Fields) -> dict[str, int | None]:
    left = reading.optional(fields, "free_inodes", fields.integer)
    return {name: fields.integer(name) for name in ("used_bytes", "used_inodes", "free_bytes")} | {"free_inodes": left}


def _read_airflow(fields: reading.Fields) -> dict[str, Any]:
    errors = fields.child("import_errors")
    dags = fields.child("dags") if fields.has("dags") else None
    new = [{"file": one.text("file"), "reason": one.text("reason")} for one in errors.children("new")]
    return {
        "version": fields.text("version"),
        "told": fields.text("told"),
        "parsed": fields.flag("parsed"),
        "import_errors": {name: errors.integer(name) for name in ("before", "after")} | {"new": new},
        "dags": {
            name: reading.optional(dags, name, dags.integer) if dags is not None else None
            for name in ("before", "after")
        },
    }


def error_body(code: str, message: str, hint: str = "") -> bytes:
    """The body of every reply that is not a success: ``{"error": {"code", "message", "hint"}}``."""
    return reading.dump({"error": {"code": code, "message": message, "hint": hint}})
