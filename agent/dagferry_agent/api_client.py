"""What an agent asks of Airflow's API: to parse files now, what it parsed, and its import errors.

* Airflow 3 (``/api/v2``): a token for user and password from ``/auth/token``, or one that is given. Airflow 2
  (``/api/v1``): basic authentication, and import errors alone, because nothing there can be told to parse.
* Replies are bounded in size and in pages, no redirect is followed, and nothing of the environment (proxies, .netrc)
  sees the credentials, which are read when they are needed and are in no message.
* Everything that goes wrong is `AirflowAway`: a pull never depends on it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from dagferry_schemas import fields as reading
from dagferry_schemas.errors import DeliveryFailed, Malformed

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import requests

CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 20.0
MAX_REPLY: Final = 8 * 1024 * 1024
"""Bytes of a reply: a hundred import errors with their tracebacks are far fewer."""
MAX_CREDENTIALS: Final = 64 * 1024
PAGE: Final = 100
"""Entries of a page; Airflow gives no more by default ([api] maximum_page_limit)."""
MAX_PAGES: Final = 200
_CREATED: Final = (200, 201)


class AirflowAway(DeliveryFailed):
    """Airflow's API could not be asked, or said no."""

    code = "airflow_away"


@dataclass(frozen=True)
class DagFile:
    """A file of which Airflow knows a DAG: its path in the bundle, the token for it, and when it was parsed last.

    ``version``: of a bundle with versions, the one that counts as parsed; ``place``: where the file was then.
    """

    path: str
    token: str
    parsed: str
    version: str | None = None
    place: str = ""


@dataclass(frozen=True)
class Broken:
    """A file that Airflow cannot import: its name as Airflow has it, since when, the traceback's last line, and all."""

    file: str
    since: str
    reason: str
    told: str


@dataclass(frozen=True)
class Credentials:
    """Who asks: a token, or a user and a password; nobody, where Airflow lets everybody in."""

    token: str | None = None
    user: str | None = None
    password: str | None = None


def read_credentials(path: Path | None) -> Credentials:
    """The credentials in a JSON file: ``{"token"}`` or ``{"username", "password"}``. Raises `AirflowAway`."""
    if path is None:
        return Credentials()
    try:
        with path.open("rb") as file:
            fields = reading.load(file.read(MAX_CREDENTIALS + 1), "Airflow's credentials", limit=MAX_CREDENTIALS)
        if fields.has("token"):
            found = Credentials(token=fields.text("token"))
        else:
            found = Credentials(user=fields.text("username"), password=fields.text("password"))
        fields.refuse_rest()
    except OSError as error:
        raise AirflowAway(f"{path} cannot be read: {error.strerror}", "look at --airflow-credentials-file") from None
    except Malformed as error:
        raise AirflowAway(error.message, 'write {"username": …, "password": …} or {"token": …}') from None
    return found


class AirflowClient:
    """Airflow at ``url``, whose bundle is called ``bundle`` there. To be used by one thread."""

    def __init__(self, url: str, credentials: Path | None, bundle: str, stopped: threading.Event) -> None:
        self._url = url.rstrip("/")
        self._file = credentials
        self._bundle = bundle
        self._stopped = stopped
        self._session: requests.Session | None = None
        self._major = 0

    def version(self) -> int:
        """2 or 3. Raises `AirflowAway`."""
        if not self._major:
            status, _ = self._send("GET", "/api/v2/version", authorized=False)
            if status == 404:
                status, _ = self._send("GET", "/api/v1/version", authorized=False)
                self._require(status, "GET", "/api/v1/version")
                self._major = 2
            else:
                self._require(status, "GET", "/api/v2/version")
                self._major = 3
        return self._major

    def import_errors(self) -> dict[str, Broken]:
        """The files of the bundle that Airflow cannot import, by their names. Raises `AirflowAway`."""
        api = f"/api/v{self.version() - 1}/importErrors"
        found: dict[str, Broken] = {}
        for one in self._pages(api, "import_errors"):
            if one.get("bundle_name") not in (None, self._bundle):
                continue
            trace = str(one.get("stack_trace") or one.get("stacktrace") or "").strip()
            name = str(one.get("filename"))
            found[name] = Broken(name, str(one.get("timestamp")), trace.rpartition("\n")[2].strip()[:500], trace)
        return found

    def dag_files(self) -> list[DagFile]:
        """The files of the bundle of which Airflow 3 knows DAGs. Raises `AirflowAway`."""
        found: dict[str, DagFile] = {}
        for one in self._pages("/api/v2/dags", "dags", exclude_stale="false"):
            path, token, parsed = one.get("relative_fileloc"), one.get("file_token"), one.get("last_parsed_time")
            if one.get("bundle_name") in (None, self._bundle) and isinstance(path, str) and isinstance(token, str):
                version, place = one.get("bundle_version"), str(one.get("fileloc") or "")
                found[path] = DagFile(path, token, str(parsed or ""), version, place)
        return list(found.values())

    def dag_count(self) -> int:
        """How many DAGs of the bundle Airflow has; of Airflow 2, how many there are. Raises `AirflowAway`."""
        if self.version() < 3:
            return sum(1 for _ in self._pages("/api/v1/dags", "dags", only_active="true"))
        entries = self._pages("/api/v2/dags", "dags", exclude_stale="true")
        return sum(1 for one in entries if one.get("bundle_name") in (None, self._bundle))

    def parse(self, file: DagFile) -> None:
        """Have Airflow 3 parse that file now, and look at its bundle before. Raises `AirflowAway`."""
        self._content("PUT", f"/api/v2/parseDagFile/{quote(file.token, safe='')}", {})

    def _pages(self, path: str, name: str, **parameters: str) -> Iterator[Mapping[str, Any]]:
        for page in range(MAX_PAGES):
            reply = self._ask("GET", path, limit=str(PAGE), offset=str(page * PAGE), **parameters)
            entries = reply.get(name)
            if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
                raise AirflowAway(f"{self._url}{path} has no list of {name}", "is that the URL of Airflow?")
            yield from entries
            if len(entries) < PAGE:
                return

    def _ask(self, method: str, path: str, **parameters: str) -> Mapping[str, Any]:
        """The document of a reply that is a success."""
        content = self._content(method, path, parameters)
        try:
            found = json.loads(content)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise AirflowAway(f"{method} {self._url}{path}: no JSON object", "is that the URL of Airflow?")
        return found

    def _content(self, method: str, path: str, parameters: Mapping[str, str]) -> bytes:
        """The body of a reply that is a success; a token that is over is replaced once."""
        status, content = self._send(method, path, parameters)
        if status == 401:
            self._close()
            status, content = self._send(method, path, parameters)
        self._require(status, method, path)
        return content

    def _require(self, status: int, method: str, path: str) -> None:
        if status not in _CREATED:
            hint = "look at --airflow-credentials-file, and at the user's rights" if status in (401, 403) else ""
            raise AirflowAway(f"{method} {self._url}{path}: HTTP {status}", hint or "is that the URL of Airflow?")

    def _send(
        self, method: str, path: str, parameters: Mapping[str, str] | None = None, *, authorized: bool = True
    ) -> tuple[int, bytes]:
        import requests

        if self._stopped.is_set():
            raise AirflowAway("the agent is ending")
        session = self._signed_in() if authorized else requests.Session()
        session.trust_env = False
        try:
            return _exchange(session, method, f"{self._url}{path}", params=dict(parameters or {}))
        except requests.RequestException as error:
            raise AirflowAway(f"{self._url} cannot be asked: {_words(error)}", "look at --airflow-url") from None

    def _signed_in(self) -> requests.Session:
        if self._session is not None:
            return self._session
        import requests

        major, who, session = self.version(), read_credentials(self._file), requests.Session()
        session.trust_env = False
        if who.token is not None:
            session.headers["Authorization"] = f"Bearer {who.token}"
        elif who.user is not None and major == 2:
            session.auth = (who.user, who.password or "")
        elif major == 3:
            session.headers["Authorization"] = f"Bearer {self._new_token(session, who)}"
        self._session = session
        return session

    def _new_token(self, session: requests.Session, who: Credentials) -> str:
        """A token for user and password; without them, that of everybody, where Airflow has one."""
        import requests

        address = f"{self._url}/auth/token"
        method, body = ("POST", {"username": who.user, "password": who.password}) if who.user else ("GET", None)
        try:
            status, content = _exchange(session, method, address, json=body)
        except requests.RequestException as error:
            raise AirflowAway(f"{self._url} cannot be asked: {_words(error)}", "look at --airflow-url") from None
        self._require(status, method, "/auth/token")
        try:
            return reading.load(content, "token", limit=MAX_REPLY).text("access_token", most=64 * 1024)
        except Malformed:
            raise AirflowAway(f"{address} gave no access_token", "is that the URL of Airflow 3?") from None

    def _close(self) -> None:
        if self._session is not None:
            self._session.close()
        self._session = None


def _exchange(session: requests.Session, method: str, address: str, **what: Any) -> tuple[int, bytes]:  # noqa: ANN401
    """Status and body of one request. Raises `requests.RequestException`, `AirflowAway` for too large a reply."""
    patience = (CONNECT_SECONDS, ANSWER_SECONDS)
    with session.request(method, address, timeout=patience, allow_redirects=False, stream=True, **what) as reply:
        content = b""
        for chunk in reply.iter_content(65536):
            content += chunk
            if len(content) > MAX_REPLY:
                raise AirflowAway(f"{address}: a reply of more than {MAX_REPLY} bytes", "is that the URL of Airflow?")
        return reply.status_code, content


def _words(error: Exception) -> str:
    """What happened, without the URL and whatever else the library puts in."""
    import requests

    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not trusted, or it speaks no TLS"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    return "no connection" if isinstance(error, requests.ConnectionError) else type(error).__name__
