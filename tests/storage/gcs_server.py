"""A small server of GCS's JSON interface that keeps its conditions: ``python -m tests.storage.gcs_server`` serves.

It prints its port; a number of seconds as argument sets its clock ahead. One lock is held around check and write; an
upload in parts is checked when it begins and again when it ends. The words of its 404 and 403 answers are Google's,
because a client can tell a bucket from an object by them only. ``POST /guarded`` with a list of bindings opens another
port on the same buckets, for somebody who has only those rights (`gcs_rights`), and answers with its number.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
import secrets
import sys
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import google_crc32c

from tests.storage.gcs_rights import Denied, Rights

PAGE = 100
_NO_BUCKET = "The specified bucket does not exist."


def _up_to(delimiter: str | None, name: str, start: int) -> str:
    """``name`` up to and with the first delimiter at or after ``start``: what a list with a delimiter shows of it."""
    found = name.find(delimiter, start) if delimiter else -1
    return name if found < 0 else name[: found + 1]


@dataclass(frozen=True)
class _Object:
    body: bytes
    generation: int
    metadata: dict[str, Any]
    md5: str
    crc32c: str
    updated: str


@dataclass
class _Upload:
    """An upload in parts that is under way."""

    bucket: str
    metadata: dict[str, Any]
    query: dict[str, str]
    received: bytearray


class _Refusal(Exception):
    def __init__(self, status: int, words: str = "") -> None:
        super().__init__(words)
        self.status = status


class Buckets:
    """What is stored."""

    def __init__(self, ahead: float = 0.0) -> None:
        self._ahead = timedelta(seconds=ahead)
        self.lock = threading.RLock()
        self.uploads: dict[str, _Upload] = {}
        self._buckets: dict[str, dict[str, _Object]] = {}
        self._generations = itertools.count(1_700_000_000_000_000)

    def make(self, bucket: str) -> None:
        with self.lock:
            self._buckets.setdefault(bucket, {})

    def objects(self, bucket: str) -> dict[str, _Object]:
        if bucket not in self._buckets:
            raise _Refusal(404, _NO_BUCKET)
        return self._buckets[bucket]

    def has(self, bucket: str, name: str) -> bool:
        return name in self._buckets.get(bucket, ())

    def find(self, bucket: str, name: str) -> _Object:
        found = self.objects(bucket).get(name)
        if found is None:
            raise _Refusal(404, f"No such object: {bucket}/{name}")
        return found

    def check(self, bucket: str, name: str, query: dict[str, str], *, reading: bool = False) -> None:
        """The conditions of a request; an object that is not there has the generation 0."""
        there = self.objects(bucket).get(name)
        generation = str(there.generation if there else 0)
        if query.get("ifGenerationMatch", generation) != generation:
            raise _Refusal(412, "At least one of the pre-conditions you specified did not hold.")
        if query.get("ifGenerationNotMatch") == generation:
            raise _Refusal(304 if reading else 412)

    def put(self, bucket: str, metadata: dict[str, Any], body: bytes, query: dict[str, str]) -> dict[str, Any]:
        name = metadata["name"]
        md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
        crc32c = base64.b64encode(google_crc32c.value(body).to_bytes(4, "big")).decode()
        if metadata.get("crc32c", crc32c) != crc32c:
            raise _Refusal(400, f"Provided CRC32C doesn't match calculated CRC32C {crc32c}.")
        with self.lock:
            self.check(bucket, name, query)
            updated = (datetime.now(timezone.utc) + self._ahead).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            self.objects(bucket)[name] = _Object(body, next(self._generations), metadata, md5, crc32c, updated)
            return self.described(bucket, name)

    def described(self, bucket: str, name: str) -> dict[str, Any]:
        found = self.find(bucket, name)
        described = {"bucket": bucket, "size": str(len(found.body)), "generation": str(found.generation)}
        described["updated"] = found.updated
        return found.metadata | described | {"metageneration": "1", "md5Hash": found.md5, "crc32c": found.crc32c}


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    buckets: Buckets
    rights: Rights | None

    def answer(self) -> None:
        """Any request: find out what it is about, and say what came of it."""
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        at = re.fullmatch(r"(/upload|/download)?/storage/v1/b(?:/([^/]+)(/o(?:/([^/]+))?)?)?", parts.path)
        try:
            if parts.path == "/guarded" and self.rights is None:
                self._guard(json.loads(body))
                return
            if at is None:
                raise _Refusal(404, "Not Found")
            bucket, name = unquote(at[2] or ""), unquote(at[4] or "")
            if at[1] == "/upload":
                self._upload(bucket, query, body)
            elif self.command == "POST":
                self._require("storage.buckets.create", json.loads(body)["name"])
                self.buckets.make(json.loads(body)["name"])
                self._say({"name": json.loads(body)["name"]})
            elif self.command == "DELETE":
                self._delete(bucket, name, query)
            elif name:
                self._get(bucket, name, query, media=at[1] == "/download" or query.get("alt") == "media")
            else:
                self._require("storage.objects.list" if at[3] else "storage.buckets.get", bucket)
                self._say(self._listed(bucket, query) if at[3] else {"name": bucket, "found": len(self._all(bucket))})
        except Denied as denied:
            error = {"message": str(denied), "domain": "global", "reason": "forbidden"}
            self._send(403, json.dumps({"error": {"code": 403, "message": str(denied), "errors": [error]}}).encode())
        except _Refusal as refusal:
            words = {"error": {"code": refusal.status, "message": str(refusal)}}
            self._send(refusal.status, b"" if refusal.status == 304 else json.dumps(words).encode())

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def _guard(self, bindings: list[dict[str, Any]]) -> None:
        server = Server(self.buckets, Rights.from_json(bindings))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self._say({"port": server.server_port})

    def _require(self, permission: str, bucket: str, name: str = "") -> None:
        if self.rights is not None:
            self.rights.require(permission, bucket, name)

    def _require_to_write(self, bucket: str, name: str) -> None:
        if self.rights is not None:
            self.rights.to_write(bucket, name, there=self.buckets.has(bucket, name))

    def _upload(self, bucket: str, query: dict[str, str], body: bytes) -> None:
        if query["uploadType"] == "multipart":
            # The content may contain the boundary; the first two and the last are the envelope's.
            boundary = re.search(r"boundary=\"?([^\";]+)", self.headers["Content-Type"] or "")
            assert boundary is not None
            line = b"--" + boundary[1].encode().strip(b"'")
            _, metadata, content = body.split(line, 2)
            content = content.partition(b"\r\n\r\n")[2]
            content = content[: content.rindex(b"\r\n" + line)]
            described = json.loads(metadata.partition(b"\r\n\r\n")[2])
            self._require_to_write(bucket, described["name"])
            self._say(self.buckets.put(bucket, described, content, query))
        elif self.command == "POST":
            self._require_to_write(bucket, json.loads(body)["name"])
            with self.buckets.lock:
                self.buckets.check(bucket, json.loads(body)["name"], query)
            number = secrets.token_hex(8)
            self.buckets.uploads[number] = _Upload(bucket, json.loads(body), query, bytearray())
            there = f"http://{self.headers['Host']}{urlsplit(self.path).path}?uploadType=resumable&upload_id={number}"
            self._send(200, b"", {"Location": there})
        else:
            self._receive(self.buckets.uploads[query["upload_id"]], body)

    def _receive(self, upload: _Upload, body: bytes) -> None:
        start, total = re.findall(r"(?:bytes (\d+|\*)|/(\d+|\*))", self.headers["Content-Range"])
        if body and int(start[0]) != len(upload.received):
            raise _Refusal(400, "the part does not begin where the last one ended")
        upload.received += body
        if total[1] != str(len(upload.received)):
            self._send(308, b"", {"Range": f"bytes=0-{len(upload.received) - 1}"})
            return
        hashed = re.search(r"crc32c=([^,\s]+)", self.headers.get("X-Goog-Hash") or "")
        metadata = upload.metadata | ({"crc32c": hashed[1]} if hashed else {})
        self._say(self.buckets.put(upload.bucket, metadata, bytes(upload.received), upload.query))

    def _get(self, bucket: str, name: str, query: dict[str, str], *, media: bool) -> None:
        if self.rights is not None:
            self.rights.to_read(bucket, name, there=self.buckets.has(bucket, name))
        with self.buckets.lock:
            found = self.buckets.find(bucket, name)
            self.buckets.check(bucket, name, query, reading=True)
        if query.get("generation", str(found.generation)) != str(found.generation):
            raise _Refusal(404, f"No such object: {bucket}/{name}")
        if not media:
            self._say(self.buckets.described(bucket, name))
            return
        headers = {"X-Goog-Generation": str(found.generation), "X-Goog-Hash": f"crc32c={found.crc32c},md5={found.md5}"}
        headers["Cache-Control"] = found.metadata.get("cacheControl", "")
        part = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if part is None:
            self._send(200, found.body, headers)
            return
        start, end = int(part[1]), min(int(part[2] or len(found.body)), len(found.body) - 1)
        if start > end:
            raise _Refusal(416, "The requested range cannot be satisfied.")
        headers["Content-Range"] = f"bytes {start}-{end}/{len(found.body)}"
        self._send(206, found.body[start : end + 1], headers)

    def _delete(self, bucket: str, name: str, query: dict[str, str]) -> None:
        self._require("storage.objects.delete", bucket, name)
        with self.buckets.lock:
            self.buckets.find(bucket, name)
            self.buckets.check(bucket, name, query)
            del self.buckets.objects(bucket)[name]
        self._send(204, b"")

    def _all(self, bucket: str) -> list[str]:
        with self.buckets.lock:
            return sorted(self.buckets.objects(bucket))

    def _listed(self, bucket: str, query: dict[str, str]) -> dict[str, Any]:
        prefix, after, delimiter = query.get("prefix", ""), query.get("pageToken", ""), query.get("delimiter")
        below = [name for name in self._all(bucket) if name.startswith(prefix)]
        entries = sorted({_up_to(delimiter, name, len(prefix)) for name in below})
        rest = [entry for entry in entries if entry > after]
        page = rest[:PAGE]
        folders = [entry for entry in page if delimiter and entry.endswith(delimiter)]
        listed: dict[str, Any] = {
            "kind": "storage#objects",
            "items": [{"name": entry} for entry in page if entry not in folders],
            "prefixes": folders,
        }
        return listed | ({"nextPageToken": page[-1]} if len(rest) > PAGE else {})

    def _say(self, words: dict[str, Any]) -> None:
        self._send(200, json.dumps(words).encode())

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json"} | (headers or {})).items():
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """The server on a free port of this machine; without rights that it looks at, everybody may do everything."""

    request_queue_size = 128
    daemon_threads = True

    def __init__(self, buckets: Buckets | None = None, rights: Rights | None = None, ahead: float = 0.0) -> None:
        self.buckets = buckets or Buckets(ahead)
        bound = {"buckets": self.buckets, "rights": rights}
        super().__init__(("127.0.0.1", 0), type("BoundHandler", (Handler,), bound))


def main() -> None:
    server = Server(ahead=float(sys.argv[1]) if len(sys.argv) > 1 else 0.0)
    print(server.server_port, flush=True)  # noqa: T201 (this is how the port is told)
    server.serve_forever()


if __name__ == "__main__":
    main()
