"""An API server as far as an agent asks one: Airflow's, of version 2 or 3, and whatever else may answer at its URL."""

from __future__ import annotations

import base64
import json
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

USER, PASSWORD = "agent", "the-password"


@dataclass
class FakeAirflow:
    """What it knows, and what it was asked. ``answer`` replaces every reply but that to a question for the version."""

    major: int = 3
    bundle: str = "dags-folder"
    dags: dict[str, str] = field(default_factory=dict)
    """When the file of that path was parsed last."""
    version: str | None = None
    """The version that counts as parsed, of a bundle that has some, and that in whose folder files were."""
    folder: str | None = None
    errors: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Since when a file cannot be imported, and its traceback."""
    answer: tuple[int, bytes, dict[str, str]] | None = None
    asked: Counter[str] = field(default_factory=Counter)
    parsed: list[str] = field(default_factory=list)
    tokens: int = 0
    url: str = ""

    def reply(self, method: str, path: str, query: dict[str, list[str]], headers: Any, body: bytes) -> tuple[int, Any]:  # noqa: ANN401
        """Status and document of one request."""
        self.asked[f"{method} {path.rpartition('/')[0] if 'parseDagFile' in path else path}"] += 1
        if path in ("/api/v2/version", "/api/v1/version"):
            return (200, {"version": "x"}) if path.startswith(f"/api/v{self.major - 1}/") else (404, {})
        if path == "/auth/token" and self.major == 3:
            if method == "POST" and json.loads(body) != {"username": USER, "password": PASSWORD}:
                return 401, {"detail": "no"}
            self.tokens += 1
            return 201, {"access_token": f"token-{self.tokens}"}
        if not self._lets_in(headers.get("Authorization", "")):
            return 401, {"detail": "no"}
        if path == f"/api/v{self.major - 1}/importErrors":
            name = "stack_trace"
            found = [
                {"filename": file, "timestamp": since, name: trace} for file, (since, trace) in self.errors.items()
            ]
            entries = [{**one, "bundle_name": self.bundle} if self.major == 3 else one for one in found]
            return 200, {"import_errors": self._page(entries, query), "total_entries": len(entries)}
        if path == "/api/v2/dags" and self.major == 3:
            return 200, {"dags": self._page(self._dags(), query), "total_entries": len(self.dags)}
        if path == "/api/v1/dags" and self.major == 2:
            entries = [{"dag_id": name, "fileloc": name} for name in self.dags]
            return 200, {"dags": self._page(entries, query), "total_entries": len(entries)}
        if path.startswith("/api/v2/parseDagFile/") and method == "PUT":
            self.parsed.append(unquote(path.rpartition("/")[2]))
            return 201, None
        return 404, {"detail": "not found"}

    def _dags(self) -> list[dict[str, Any]]:
        return [
            {
                "dag_id": path, "relative_fileloc": path, "file_token": f"token/of {path}", "last_parsed_time": parsed,
                "bundle_name": self.bundle, "bundle_version": self.version,
                "fileloc": f"/versions/{self.folder}/{path}",
            }
            for path, parsed in self.dags.items()
        ]  # fmt: skip

    def _lets_in(self, authorization: str) -> bool:
        if self.major == 2:
            return authorization == "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        return authorization in (f"Bearer token-{self.tokens}", "Bearer given")

    @staticmethod
    def _page(entries: list[dict[str, Any]], query: dict[str, list[str]]) -> list[dict[str, Any]]:
        first, count = int(query["offset"][0]), int(query["limit"][0])
        return entries[first : first + min(count, 100)]


@contextmanager
def serving(airflow: FakeAirflow) -> Iterator[FakeAirflow]:
    """It answers at ``airflow.url``."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, document = airflow.reply(self.command, parts.path, parse_qs(parts.query), self.headers, body)
            content = json.dumps(document).encode()
            headers: dict[str, str] = {}
            if airflow.answer is not None and not parts.path.endswith("/version"):
                status, content, headers = airflow.answer
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = _answer

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    airflow.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield airflow
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
