"""A store in a bucket of Google Cloud Storage.

* The token is the generation, a number that every write of an object changes. Create-only is ``ifGenerationMatch=0``,
  compare-and-swap ``ifGenerationMatch=<generation>``; the server decides.
* Google's client would repeat a conditional write after a lost reply and then report the refusal of the second one,
  although the first was stored. So it never repeats anything here (``retry=None``); reads are repeated by `retrying`,
  and a conditional write only after an answer which says that it was not done (429, or a rate limit's 403). The client
  alone renews refused credentials and asks again after 401, which says the same.
* A blob that has been read keeps its generation and would be read in that state for ever: each request makes its own.
* A read is one request: what exceeds the limit is not fetched, and the answer's header tells the generation. A stream
  is a look at size and generation and then a request for every 8 MiB of that generation. So it needs no more memory
  than that, and one request of it can be repeated. A file of more than 8 MiB is uploaded in parts of that size; the
  condition is the whole upload's.
* Readers of public buckets may get what a cache has kept for an hour, so every object says ``no-store``.
* One client, and with it one pool of connections, per store; it is made on first use and shared by all threads.
* An emulator (``STORAGE_EMULATOR_HOST``) is spoken to without credentials.
"""

from __future__ import annotations

import io
import os
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import google.auth
import google.auth.exceptions as unproven
import google.cloud.storage as storage
import urllib3.exceptions
from google.api_core import exceptions as refusals
from google.auth.credentials import AnonymousCredentials
from google.auth.transport.requests import AuthorizedSession, Request
from requests.adapters import HTTPAdapter

from dagferry_schemas.errors import BadData, DeliveryFailed, Forbidden

from .retrying import NotDone, Passing, attempt
from .store import SET_THE_CLOCK, Absent, Exists, Missing, Stored, Superseded, TooLarge

try:
    from google.cloud.storage.exceptions import DataCorruption
except ModuleNotFoundError:  # before 3.0
    from google.resumable_media import DataCorruption

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK: Final = 1024 * 1024
PART: Final = 8 * CHUNK
"""Of a stream or an upload, what one request carries; Google's client uploads no more than this in one piece."""
CONNECT_SECONDS: Final = 5
READ_SECONDS: Final = 30
CONNECTIONS: Final = 32
_CONTENT: Final = "application/octet-stream"
_SKEWED: Final = "Check your iat and exp values"
"""What Google's server of tokens answers, and says of nothing else, where a key's signature is not of this hour."""
_GENERATION: Final = re.compile(r"[1-9][0-9]{0,18}")


@dataclass(frozen=True)
class GcsAddress:
    """Where the store is: bucket, prefix (empty, or ending in ``/``), and an emulator's URL if it is not Google's."""

    bucket: str
    prefix: str = ""
    emulator: str | None = None


class GcsStore:
    """The `Store` protocol on GCS. Credentials come from where Google's client looks for them."""

    def __init__(self, address: GcsAddress) -> None:
        self._address = address
        self._made = threading.Lock()
        self._client_made: Any = None
        self._credentials: Any = None

    @property
    def url(self) -> str:
        """``gs://bucket/prefix``."""
        return f"gs://{self._address.bucket}/{self._address.prefix}".rstrip("/")

    def identity(self) -> str:
        """The account, and where Google's client found it. Raises `Forbidden` if it gets no token."""
        attempt(self._get_token, again_after=Passing)
        if isinstance(self._credentials, AnonymousCredentials):
            return f"{self._who}, as emulators are spoken to"
        ask: Any = getattr(self._credentials, "get_cred_info", None)  # since google-auth 2.35
        told = (ask() if ask else None) or {}
        source = [told[name] for name in ("credential_type", "credential_source") if told.get(name)]
        return f"{self._who} ({', '.join(source) or type(self._credentials).__module__})"

    def _get_token(self) -> None:
        with self._telling("find", "credentials"):
            if self._client and not self._credentials.valid:
                self._credentials.refresh(Request())

    def read(self, key: str, *, limit: int) -> Stored:
        """The object's bytes, at most ``limit`` of them. Raises `Missing`, `TooLarge`."""
        return attempt(lambda: self._get(key, limit), again_after=Passing)

    def read_if_changed(self, key: str, token: str, *, limit: int) -> Stored | None:
        """None if the object is still in the state ``token``, else as `read`."""
        condition = {"if_generation_not_match": int(token)} if _GENERATION.fullmatch(token) else {}
        try:
            return attempt(lambda: self._get(key, limit, **condition), again_after=Passing)
        except _Unchanged:
            return None

    def _get(self, key: str, limit: int, **condition: int) -> Stored:
        body = _Limited(limit)
        try:
            token = self._download(key, body, checksum="crc32c", **condition)
        except _Overflow:
            raise TooLarge(
                f"store {self.url}: {key} has more than the {limit} bytes allowed here",
                "objects of dagferry are smaller than that; look at who wrote it",
            ) from None
        return Stored(body.getvalue(), token)

    def _download(self, key: str, body: _Limited, **options: Any) -> str:  # noqa: ANN401 (Google's options)
        with self._telling("read", key):
            blob = self._blob(key)
            blob.download_to_file(body, raw_download=True, retry=None, timeout=_timeout(), **options)
            return self._token(blob)

    def modified(self, key: str) -> float:
        """When the object's present state was written, by the server's clock. Raises `Missing`."""
        return attempt(lambda: self._modified(key), again_after=Passing)

    def _modified(self, key: str) -> float:
        with self._telling("read", key):
            blob = self._blob(key)
            blob.reload(retry=None, timeout=_timeout())
        if blob.updated is None:
            raise DeliveryFailed(f"store {self.url}: the server tells no times", "that server is none for a store")
        return float(blob.updated.timestamp())

    @contextmanager
    def stream(self, key: str) -> Iterator[Iterator[bytes]]:
        """The object in chunks of at most 1 MiB. Raises `Missing` on entering."""
        size, token = attempt(lambda: self._look(key), again_after=Passing)
        yield self._chunks(key, size, int(token))

    def _look(self, key: str) -> tuple[int, str]:
        with self._telling("read", key):
            blob = self._blob(key)
            blob.reload(retry=None, timeout=_timeout())
            return int(blob.size), self._token(blob)

    def _chunks(self, key: str, size: int, generation: int) -> Iterator[bytes]:
        for start in range(0, size, PART):
            part = attempt(partial(self._part, key, start, min(PART, size - start), generation), again_after=Passing)
            yield from (part[at : at + CHUNK] for at in range(0, len(part), CHUNK))

    def _part(self, key: str, start: int, size: int, generation: int) -> bytes:
        body, what = _Limited(size), f"store {self.url}: cannot read {key}"
        options = {"start": start, "end": start + size - 1, "if_generation_match": generation, "checksum": None}
        try:
            self._download(key, body, **options)
        except _Refused:
            raise DeliveryFailed(f"{what}: it was replaced meanwhile", "try again; find out who writes there") from None
        except _Overflow:
            raise DeliveryFailed(f"{what}: the server ignores ranges", "that server is none for a store") from None
        if body.tell() != size:
            raise Passing(f"{what}: {body.tell()} of {size} bytes came", "try again; look at the network")
        return body.getvalue()

    def create(self, key: str, body: bytes | BinaryIO) -> str:
        """Store a new object and return its token. Raises `Exists`."""
        content = _Rest(io.BytesIO(body) if isinstance(body, bytes) else body)
        try:
            return attempt(lambda: self._put(key, content, 0), again_after=NotDone)
        except _Refused:
            raise self._exists(key) from None
        except Forbidden as error:
            # To replace takes a right that publishers have not, and Google may look at it before the condition.
            if "storage.objects.delete" in error.message and self._is_there(key):
                raise self._exists(key) from None
            raise

    def _is_there(self, key: str) -> bool:
        try:
            attempt(lambda: self._look(key), again_after=Passing)
        except (Missing, DeliveryFailed):
            return False
        return True

    def _exists(self, key: str) -> Exists:
        return Exists(f"store {self.url}: {key} is there already", "it was not touched")

    def replace(self, key: str, body: bytes, token: str) -> str:
        """Replace the object if it is still in the state ``token``. Raises `Superseded`."""
        try:
            # No generation is 0, and as a condition 0 would create.
            if not _GENERATION.fullmatch(token):
                raise _Refused
            return attempt(lambda: self._put(key, _Rest(io.BytesIO(body)), int(token)), again_after=NotDone)
        except (_Refused, Missing):
            raise Superseded(f"store {self.url}: {key} was changed by somebody else", "read it again") from None

    def _put(self, key: str, content: _Rest, generation: int) -> str:
        content.rewind()
        with self._telling("write", key):
            blob = self._blob(key, chunk_size=PART)
            blob.cache_control = "no-store"
            blob.upload_from_file(
                content,
                size=content.size,
                content_type=_CONTENT,
                if_generation_match=generation,
                checksum="crc32c",
                retry=None,
                timeout=_timeout(),
            )
            return self._token(blob)

    def names(self, prefix: str) -> Iterator[str]:
        """The keys that begin with ``prefix``."""
        if not prefix.endswith("/"):
            raise ValueError(f"the prefix {prefix!r} does not end in /")
        page, after = attempt(lambda: self._page(prefix, None), again_after=Passing)
        yield from page
        while after is not None:
            page, after = attempt(partial(self._page, prefix, after), again_after=Passing)
            yield from page

    def _page(self, prefix: str, after: str | None) -> tuple[list[str], str | None]:
        cut = len(self._address.prefix)
        with self._telling("list", prefix):
            found = self._client.list_blobs(
                self._address.bucket,
                prefix=self._address.prefix + prefix,
                page_token=after,
                fields="items(name),nextPageToken",
                retry=None,
                timeout=_timeout(),
            )
            names = [blob.name[cut:] for blob in next(found.pages, ())]
            # What Google's console calls a folder is an empty object whose name ends in a slash.
            return [name for name in names if not name.endswith("/")], found.next_page_token

    def delete(self, key: str) -> None:
        """Remove the object; no error if there is none."""
        attempt(lambda: self._delete(key), again_after=Passing)

    def _delete(self, key: str) -> None:
        try:
            with self._telling("delete", key):
                self._blob(key).delete(retry=None, timeout=_timeout())
        except Missing:
            return

    def _blob(self, key: str, **options: int) -> Any:  # noqa: ANN401 (Google's client has no types)
        if not key or any(not part or part.startswith(".") for part in key.split("/")):
            raise ValueError(f"{key!r} is not a key of the layout")
        return self._client.bucket(self._address.bucket).blob(self._address.prefix + key, **options)

    def _token(self, blob: Any) -> str:  # noqa: ANN401
        if blob.generation is None:
            hint = "without generations nothing can be compared and swapped: use another server"
            raise BadData(f"store {self.url}: the server tells no generation", hint, code="unfit_store")
        return str(blob.generation)

    @property
    def _client(self) -> Any:  # noqa: ANN401
        with self._made:
            if self._client_made is None:
                self._client_made = self._make_client()
            return self._client_made

    def _make_client(self) -> Any:  # noqa: ANN401
        # Else a thread of Google's client (3.17) asks for the bucket's metadata, which agents may not read.
        os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
        emulator = self._address.emulator or os.environ.get("STORAGE_EMULATOR_HOST")
        if emulator:
            self._credentials = AnonymousCredentials()  # type: ignore[no-untyped-call]
        else:
            self._credentials, _ = google.auth.default(scopes=storage.Client.SCOPE)
        # What cannot be renewed is not tried: the session would lose the connection on the way to its error.
        renewing = {"refresh_status_codes": ()} if emulator else {}
        session = AuthorizedSession(self._credentials, **renewing)  # type: ignore[no-untyped-call]
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(pool_maxsize=CONNECTIONS))
        options = {"api_endpoint": emulator} if emulator else None
        return storage.Client(project=None, credentials=self._credentials, client_options=options, _http=session)

    @property
    def _who(self) -> str:
        """Who the server was told that this is; a machine's own account is known only after it was used."""
        credentials = self._credentials
        if credentials is None or isinstance(credentials, AnonymousCredentials):
            return "a client without credentials"
        email = getattr(credentials, "service_account_email", None) or getattr(credentials, "account", None)
        return str(email or f"the identity of {type(credentials).__module__}")

    @contextmanager
    def _telling(self, action: str, key: str) -> Iterator[None]:
        """Turn what Google's client raises into the errors that callers know."""
        what = f"store {self.url}: cannot {action} {key}"
        try:
            yield
        except refusals.NotModified:
            raise _Unchanged from None
        except refusals.PreconditionFailed:
            raise _Refused from None
        except refusals.GoogleAPICallError as error:
            raise self._refused(error, what) from error
        except unproven.GoogleAuthError as error:
            raise self._unproven(error, what) from error
        except DataCorruption as error:
            raise Passing(f"{what}: the bytes were damaged on the way", "try again; look at the network") from error
        except (OSError, urllib3.exceptions.HTTPError) as error:
            raise Passing(f"{what}: {error}", "look at the network, then try again") from error

    def _refused(self, error: refusals.GoogleAPICallError, what: str) -> DeliveryFailed | Missing:
        status, said = int(error.code or 0), _words(error)
        if status == 404:
            if "No such object" in said:
                return Missing(
                    f"{what}: there is no such object", "check the name, and that the store is the right one"
                )
            told = f"there is no such bucket ({said}; asked as {self._who})"
            return Absent(f"{what}: {told}", "check --store, or create the bucket")
        # A limit of so many requests in a time has had its answers under both numbers.
        if status == 429 or (status == 403 and "ratelimitexceeded" in _text(error).lower()):
            return NotDone(f"{what}: the server is busy with it ({said})", "try again in a moment")
        if status == 401:
            return self._not_accepted(what, said)
        if status == 403:
            rights = "give it the rights that docs/policies.md lists for its part"
            return Forbidden(f"{what}: {self._who} may not ({said})", rights)
        kind = Passing if status >= 500 or status == 408 else DeliveryFailed
        return kind(f"{what}: HTTP {status} {said}".rstrip(), "try again; look at the server's state")

    def _unproven(self, error: unproven.GoogleAuthError, what: str) -> DeliveryFailed:
        if self._credentials is None:
            said = str(error).partition("\n")[0]
            hint = "give this process Google credentials: workload identity, GOOGLE_APPLICATION_CREDENTIALS or gcloud"
            return Forbidden(f"{what}: {said}", hint, code="no_credentials")
        if isinstance(error, unproven.TransportError):
            return Passing(f"{what}: the credentials' server: {error}", "look at the network, then try again")
        if _SKEWED in str(error):
            said = f"this machine's clock is too far from Google's, who refuses a token to {self._who}"
            return DeliveryFailed(f"{what}: {said} ({error})", SET_THE_CLOCK, code="clock_skew")
        return self._not_accepted(what, str(error))

    def _not_accepted(self, what: str, said: str) -> Forbidden:
        return Forbidden(
            f"{what}: the credentials of {self._who} are not accepted ({said})",
            "renew them, or check which ones this process finds",
            code="no_credentials" if isinstance(self._credentials, AnonymousCredentials) else "expired_credentials",
        )


class _Limited(io.BytesIO):
    """Where a download goes; it ends with the first bytes beyond the limit."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def write(self, data: Any, /) -> int:  # noqa: ANN401 (a buffer)
        if self.tell() + len(data) > self._limit:
            raise _Overflow
        return super().write(data)


class _Rest:
    """A file from its present position to its end, as a file that begins there: Google's client wants to stand at 0."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._start = file.tell()
        self.size = file.seek(0, os.SEEK_END) - self._start

    def rewind(self) -> None:
        """Go to the beginning."""
        self._file.seek(self._start)

    def tell(self) -> int:
        """The position."""
        return self._file.tell() - self._start

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes."""
        return self._file.read(size)


def _timeout() -> tuple[int, int]:
    return CONNECT_SECONDS, READ_SECONDS


def _words(error: refusals.GoogleAPICallError) -> str:
    """What the server said: the message of its JSON answer, else the beginning of whatever it answered."""
    try:
        return str(error.response.json()["error"]["message"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return (_text(error) or str(error.message or "")).strip()[:300]


def _text(error: refusals.GoogleAPICallError) -> str:
    return str(getattr(error.response, "text", ""))


class _Unchanged(Exception):
    """304: the object is still in the state of the token."""


class _Refused(Exception):
    """412: the condition does not hold."""


class _Overflow(Exception):
    """More came than the limit allows."""
