"""The server as a process: what only sockets and signals can show."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from .fake import write_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass
class Process:
    """A running `serve_fake`, and what it wrote to stderr so far."""

    popen: subprocess.Popen[str]
    token: str = ""
    lines: list[str] = field(default_factory=list)
    port: int = 0

    def wait_for_line(self, part: str) -> str:
        """The first line on stderr that holds ``part``, once it is there."""
        until = time.monotonic() + 15
        while time.monotonic() < until:
            for line in self.lines:
                if part in line:
                    return line
            assert self.popen.poll() is None or part in "".join(self.lines), self.lines
            time.sleep(0.01)
        raise AssertionError(f"{part!r} is not in {self.lines}")

    def wait_until_it_listens(self) -> None:
        self.port = int(self.wait_for_line("listening on http://127.0.0.1:").rpartition(":")[2])

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def send(self, request: bytes) -> bytes:
        """Everything that comes back after ``request``, until the server closes."""
        with self.connect() as connection:
            connection.sendall(request)
            return read_all(connection)

    def request(self, method: str, path: str, body: bytes = b"", *extra: bytes) -> bytes:
        """The bytes of a request that is in order."""
        lines = [
            f"{method} {path} HTTP/1.1".encode(),
            b"Host: agent",
            b"Authorization: Bearer " + self.token.encode(),
            b"Content-Type: application/json",
            b"Content-Length: %d" % len(body),
            *extra,
        ]
        return b"\r\n".join(lines) + b"\r\n\r\n" + body

    def end(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """Send the signal; the exit code and how many seconds it took."""
        before = time.monotonic()
        self.popen.send_signal(number)
        return self.popen.wait(timeout=15), time.monotonic() - before


def read_all(connection: socket.socket) -> bytes:
    found = b""
    try:
        while piece := connection.recv(65536):
            found += piece
    except (ConnectionResetError, TimeoutError):
        pass
    return found


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


@contextmanager
def started(**options: object) -> Iterator[Process]:
    """`serve_fake` with these options; ends with the block, whatever happens."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    popen = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "tests.agent.serve_fake", json.dumps(options)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    process = Process(popen)
    assert popen.stderr is not None
    reader = threading.Thread(target=process.lines.extend, args=[popen.stderr])
    reader.start()
    try:
        yield process
    finally:
        if popen.poll() is None:
            popen.kill()
        popen.wait()
        reader.join()
        popen.stderr.close()


@contextmanager
def listening(folder: Path, **options: object) -> Iterator[Process]:
    path = folder / "tokens.json"
    (token,) = write_tokens(path, ["pull", "status"])
    with started(tokens_file=str(path), **options) as process:
        process.token = token
        process.wait_until_it_listens()
        yield process


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with listening(tmp_path_factory.mktemp("server")) as process:
        yield process
        process.send(process.request("GET", f"/v1/status?token={process.token}"))
        assert process.end()[0] == 0
        assert process.token not in "".join(process.lines)
        assert not [line for line in process.lines if line.startswith(("ERROR", "Traceback", "CRITICAL"))]


def test_it_answers_as_json_without_naming_its_server(server: Process) -> None:
    answer = server.send(server.request("POST", "/v1/pull", b'{"expect_generation": 1}'))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert status_of(answer) == 200
    assert json.loads(body)["version"] == "v1"
    assert b"server:" not in head.lower()
    assert b"content-type: application/json" in head.lower()


def test_401_comes_at_once_for_a_body_that_is_announced_and_never_sent(server: Process) -> None:
    before = time.monotonic()
    answer = server.send(b"POST /v1/pull HTTP/1.1\r\nHost: agent\r\nContent-Length: 10485760\r\n\r\n")
    assert status_of(answer) == 401
    assert time.monotonic() - before < 2
    assert b"www-authenticate: bearer" in answer.lower()


def test_413_comes_at_once_for_a_body_that_is_announced_too_long(server: Process) -> None:
    request = server.request("POST", "/v1/pull").replace(b"Length: 0", b"Length: 4097")
    before = time.monotonic()
    assert status_of(server.send(request)) == 413
    assert time.monotonic() - before < 2


def test_a_sent_body_is_not_read_before_401(server: Process) -> None:
    with server.connect() as connection:
        connection.sendall(b"POST /v1/pull HTTP/1.1\r\nHost: agent\r\nContent-Length: 100000000\r\n\r\n")
        sent = 0
        try:
            for _ in range(1000):
                sent += connection.send(b"x" * 100_000)
        except OSError:
            pass
    assert sent < 50_000_000


def test_requests_behind_a_request_are_ignored(server: Process) -> None:
    answer = server.send(server.request("GET", "/v1/status") + server.request("GET", "/healthz"))
    assert answer.count(b"HTTP/1.1 ") == 1


POST = b"POST /v1/pull HTTP/1.1\r\nHost: a\r\n"
GET = b"GET /healthz HTTP/1.1\r\n"
SMUGGLED = {
    "length_and_chunked": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked": POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "xchunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "two_lengths": POST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\n12345",
    "signed_length": POST + b"Content-Length: +4\r\n\r\n1234",
    "negative_length": POST + b"Content-Length: -1\r\n\r\n",
    "space_before_colon": GET + b"Host : a\r\n\r\n",
    "no_host": GET + b"\r\n",
    "two_hosts": GET + b"Host: a\r\nHost: b\r\n\r\n",
    "no_http": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "nul": GET + b"Host: a\r\nX: a\x00b\r\n\r\n",
}


@pytest.mark.parametrize("name", SMUGGLED)
def test_a_request_whose_end_is_in_doubt_is_refused_and_the_connection_closed(server: Process, name: str) -> None:
    answer = server.send(SMUGGLED[name])
    assert status_of(answer) in {400, 501}
    assert answer.count(b"HTTP/1.1 ") == 1


def test_a_long_head_is_431_in_one_piece_or_in_many(server: Process) -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20_000
    assert status_of(server.send(head + b"\r\n\r\n")) == 431
    with server.connect() as connection:
        for start in range(0, len(head), 5000):
            connection.sendall(head[start : start + 5000])
            time.sleep(0.02)
        assert status_of(read_all(connection)) == 431


def test_http_2_gets_nothing(server: Process) -> None:
    settings = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    # HEADERS of stream 1, complete: GET http / of the host "a", by HPACK's static table (RFC 7541, appendix A)
    headers = b"\x00\x00\x06\x01\x05\x00\x00\x00\x01" + b"\x82\x86\x84\x41\x01a"
    answer = server.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + headers)
    assert answer, "the settings, and that it goes away"
    assert not any(kind == HEADERS for kind in frame_kinds(answer)), "no response"
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
    with server.connect() as connection:
        connection.sendall(GET + b"Host: a\r\n" + upgrade)
        connection.settimeout(0.5)
        answer = read_all(connection)
    assert b"http_version" in answer
    assert b'"ok"' not in answer


HEADERS = 1


def frame_kinds(answer: bytes) -> list[int]:
    """The types of the HTTP/2 frames in ``answer``."""
    kinds = []
    while len(answer) >= 9:
        kinds.append(answer[3])
        answer = answer[9 + int.from_bytes(answer[:3], "big") :]
    return kinds


def test_a_websocket_is_refused(server: Process) -> None:
    answer = server.send(
        b"GET /v1/pull HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert status_of(answer) == 403


def test_silent_and_dripping_connections_are_closed_and_keep_nobody_out(server: Process) -> None:
    before = time.monotonic()
    silent = [server.connect() for _ in range(200)]
    dripping = server.connect()
    try:
        assert status_of(server.send(server.request("GET", "/v1/status"))) == 200
        gone = False
        while not gone and time.monotonic() - before < 9:
            try:
                dripping.sendall(b"G" if time.monotonic() - before < 0.2 else b"E")
                time.sleep(0.2)
            except OSError:
                gone = True
        assert gone
        assert time.monotonic() - before < 8
        assert all(read_all(connection) == b"" for connection in silent)
        assert time.monotonic() - before < 9
    finally:
        for connection in [*silent, dripping]:
            connection.close()


def test_sigterm_ends_it_with_0_and_waiting_requests_with_503(tmp_path: Path) -> None:
    with listening(tmp_path) as process, process.connect() as waiting, process.connect() as unfinished:
        waiting.sendall(process.request("POST", "/v1/pull", b'{"expect_generation": 9, "wait_seconds": 60}'))
        unfinished.sendall(process.request("POST", "/v1/pull", b"{}")[:-1])
        silent = process.connect()
        time.sleep(0.3)
        code, seconds = process.end()
        assert (code, seconds < 3) == (0, True), seconds
        assert status_of(read_all(waiting)) == status_of(read_all(unfinished)) == 503
        silent.close()
        with pytest.raises(ConnectionRefusedError):
            process.connect()
    assert not [line for line in process.lines if "Traceback" in line or "Error" in line]


@pytest.mark.parametrize("_again", range(4))  # it is a matter of luck which connection comes at the moment
def test_requests_that_come_with_the_sigterm_leave_no_error_in_the_log(tmp_path: Path, _again: int) -> None:
    with listening(tmp_path) as process, ThreadPoolExecutor(8) as pool:
        request = process.request("POST", "/v1/pull", b'{"expect_generation": 9, "wait_seconds": 20}')

        def ask(_number: int) -> None:
            with suppress(OSError), process.connect() as connection:  # the port is being closed
                connection.sendall(request)
                read_all(connection)

        asking = [pool.submit(ask, number) for number in range(400)]
        process.popen.send_signal(signal.SIGTERM)
        assert process.popen.wait(timeout=15) == 0
        for asked in asking:
            asked.result()
    # asyncio itself drops sockets that it accepted too late, with a ResourceWarning: that is not of the log.
    assert not [line for line in process.lines if line.startswith("ERROR")], "".join(process.lines)


def test_sigterm_ends_it_in_time_when_store_and_disk_do_not_answer(tmp_path: Path) -> None:
    with listening(tmp_path, pull_seconds=60.0, status_seconds=60.0) as process, process.connect() as waiting:
        waiting.sendall(process.request("GET", "/v1/status"))
        time.sleep(0.3)
        code, seconds = process.end()
        assert (code, seconds < 5) == (0, True), seconds
        process.wait_for_line("the running pull was cut off")


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with listening(tmp_path, pull_seconds=60.0) as process:
        process.popen.send_signal(signal.SIGTERM)
        process.wait_for_line("SIGTERM: ending")
        code, seconds = process.end()
        assert (code, seconds < 1) == (128 + signal.SIGTERM, True)


def test_sigint_ends_it_with_130(tmp_path: Path) -> None:
    with listening(tmp_path) as process:
        code, seconds = process.end(signal.SIGINT)
        assert (code, seconds < 5) == (130, True)


def test_sigterm_while_it_prepares_ends_it_with_0() -> None:
    with started(prepare_seconds=30.0) as process:
        process.wait_for_line("preparing")
        code, seconds = process.end()
        assert (code, seconds < 2) == (0, True)


def test_a_port_in_use_is_said_and_ends_it_with_5_before_it_touches_the_disk() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with started(port=port) as process:
            assert process.popen.wait(timeout=15) == 5
        text = "".join(process.lines)
        assert f"cannot listen on 127.0.0.1:{port}: the port is in use" in text
        assert "preparing" not in text
        assert "Traceback" not in text


def test_an_unusable_root_ends_it_with_5() -> None:
    with started(unusable=True) as process:
        assert process.popen.wait(timeout=15) == 5
    assert "the root is read-only" in "".join(process.lines)


@pytest.mark.parametrize("content", [None, "["])
def test_without_usable_tokens_it_warns_polls_and_answers_503_until_there_are_some(
    tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "tokens.json"
    if content is not None:
        path.write_text(content)
    with started(tokens_file=str(path), poll_seconds=0.05) as process:
        process.wait_until_it_listens()
        process.wait_for_line("now serving v1")
        assert any(line.startswith("WARNING") and "503" in line for line in process.lines)
        assert b"no_tokens" in process.send(process.request("GET", "/v1/status"))
        assert status_of(process.send(process.request("GET", "/readyz"))) == 200
        (process.token,) = write_tokens(path, ["status"])
        assert status_of(process.send(process.request("GET", "/v1/status"))) == 200
