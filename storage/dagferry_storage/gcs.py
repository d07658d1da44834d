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
* What Google's client raises is turned into the errors of a `Store` by `gcs_refusals`.
"""

from __future__ import annotations

import io
import re
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from dagferry_schemas.errors import BadData, DeliveryFailed, Forbidden

from . import bucket
from .gcs_connection import Connection
from .gcs_refusals import Refusals
from .keys import require_key, require_prefix
from .retrying import NotDone, Passing, attempt
from .section import Section
from .store import CHUNK, TOP, Missing, Stored, too_large

if TYPE_CHECKING:
    from collections.abc import Iterator

PART: Final = 8 * CHUNK
"""Of a stream or an upload, what one request carries; Google's client uploads no more than this in one piece."""
_CONTENT: Final = "application/octet-stream"
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
        self._connection = Connection(address.emulator)
        self._telling = Refusals(self.url, self._connection).telling

    @property
    def url(self) -> str:
        """``gs://bucket/prefix``."""
        return f"gs://{self._address.bucket}/{self._address.prefix}".rstrip("/")

    def identity(self) -> str:
        """The account, and where Google's client found it. Raises `Forbidden` if it gets no token."""
        attempt(self._prove, again_after=Passing)
        found = self._connection
        return f"{found.who}, as emulators are spoken to" if found.is_anonymous else f"{found.who} ({found.source})"

    def _prove(self) -> None:
        with self._telling("find", "credentials"):
            self._connection.prove()

    def read(self, key: str, *, limit: int) -> Stored:
        """The object's bytes, at most ``limit`` of them. Raises `Missing`, `TooLarge`."""
        return attempt(lambda: self._get(key, limit), again_after=Passing)

    def read_if_changed(self, key: str, token: str, *, limit: int) -> Stored | None:
        """None if the object is still in the state ``token``, else as `read`."""
        condition = {"if_generation_not_match": int(token)} if _GENERATION.fullmatch(token) else {}
        try:
            return attempt(lambda: self._get(key, limit, **condition), again_after=Passing)
        except bucket.Unchanged:
            return None

    def _get(self, key: str, limit: int, **condition: int) -> Stored:
        body = _Limited(limit)
        try:
            token = self._download(key, body, checksum="crc32c", **condition)
        except _Overflow:
            raise too_large(self.url, key, limit) from None
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
        except bucket.Unmet:
            raise DeliveryFailed(f"{what}: it was replaced meanwhile", "try again; find out who writes there") from None
        except _Overflow:
            raise DeliveryFailed(f"{what}: the server ignores ranges", "that server is none for a store") from None
        if body.tell() != size:
            raise Passing(f"{what}: {body.tell()} of {size} bytes came", "try again; look at the network")
        return body.getvalue()

    def create(self, key: str, body: bytes | BinaryIO) -> str:
        """Store a new object and return its token. Raises `Exists`."""
        content = Section.rest_of(io.BytesIO(body) if isinstance(body, bytes) else body)
        try:
            return attempt(lambda: self._put(key, content, 0), again_after=NotDone)
        except bucket.Unmet:
            raise bucket.exists(self.url, key) from None
        except Forbidden as error:
            # To replace takes a right that publishers have not, and Google may look at it before the condition.
            if "storage.objects.delete" in error.message and self._is_there(key):
                raise bucket.exists(self.url, key) from None
            raise

    def _is_there(self, key: str) -> bool:
        try:
            attempt(lambda: self._look(key), again_after=Passing)
        except (Missing, DeliveryFailed):
            return False
        return True

    def replace(self, key: str, body: bytes, token: str) -> str:
        """Replace the object if it is still in the state ``token``. Raises `Superseded`."""
        try:
            # No generation is 0, and as a condition 0 would create.
            if not _GENERATION.fullmatch(token):
                raise bucket.Unmet
            content = Section.rest_of(io.BytesIO(body))
            return attempt(lambda: self._put(key, content, int(token)), again_after=NotDone)
        except (bucket.Unmet, Missing):
            raise bucket.superseded(self.url, key) from None

    def _put(self, key: str, content: Section, generation: int) -> str:
        content.seek(0)
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
        require_prefix(prefix)
        cut = len(self._address.prefix)
        for names, _ in self._listed(prefix, fields="items(name),nextPageToken"):
            yield from bucket.without_folders(name[cut:] for name in names)

    def folders(self, prefix: str) -> Iterator[str]:
        """What stands between ``prefix`` and the next ``/``."""
        if prefix:
            require_prefix(prefix)
        for _, folders in self._listed(prefix, fields="prefixes,nextPageToken", delimiter="/"):
            yield from bucket.last_parts(folders)

    def _listed(self, prefix: str, **options: str) -> Iterator[tuple[list[str], set[str]]]:
        """The names of objects and the common prefixes, page by page."""
        after: str | None = None
        while True:
            names, folders, after = attempt(partial(self._page, prefix, after, options), again_after=Passing)
            yield names, folders
            if after is None:
                return

    def _page(self, prefix: str, after: str | None, options: dict[str, str]) -> tuple[list[str], set[str], str | None]:
        with self._telling("list", prefix or TOP):
            found = self._client.list_blobs(
                self._address.bucket,
                prefix=self._address.prefix + prefix,
                page_token=after,
                retry=None,
                timeout=_timeout(),
                **options,
            )
            names = [blob.name for blob in next(found.pages, ())]
            return names, set(found.prefixes), found.next_page_token

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
        require_key(key)
        return self._client.bucket(self._address.bucket).blob(self._address.prefix + key, **options)

    def _token(self, blob: Any) -> str:  # noqa: ANN401
        if blob.generation is None:
            hint = "without generations nothing can be compared and swapped: use another server"
            raise BadData(f"store {self.url}: the server tells no generation", hint, code="unfit_store")
        return str(blob.generation)

    @property
    def _client(self) -> Any:  # noqa: ANN401
        return self._connection.client


class _Limited(io.BytesIO):
    """Where a download goes; it ends with the first bytes beyond the limit."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def write(self, data: Any, /) -> int:  # noqa: ANN401 (a buffer)
        if self.tell() + len(data) > self._limit:
            raise _Overflow
        return super().write(data)


def _timeout() -> tuple[int, int]:
    return bucket.CONNECT_SECONDS, bucket.READ_SECONDS


class _Overflow(Exception):
    """More came than the limit allows."""
