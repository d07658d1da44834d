"""Secrets are made when the tests run, from pieces: none that looks like one stands in this repository."""

from __future__ import annotations

import base64
import json
import os
import random
import re
import shutil
import string
import subprocess
import sys
import textwrap
import zlib
from typing import TYPE_CHECKING

import pytest

from dagferry_builder.lint import secrets
from dagferry_builder.lint.finding import Severity
from dagferry_builder.lint.settings import Settings
from tests.lint.trees import tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dagferry_builder.lint.finding import Finding

LETTERS = string.ascii_letters + string.digits
BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kingfisher")


def text(length: int, letters: str = LETTERS) -> str:
    return "".join(random.Random(f"{length}{letters}").choices(letters, k=length))


def with_checksum(prefix: str) -> str:
    body = text(30)
    number, digits = zlib.crc32(body.encode()), ""
    while number:
        number, digit = divmod(number, 62)
        digits = BASE62[digit] + digits
    return prefix + body + digits.rjust(6, "0")


def private_key(kind: str) -> str:
    """The shape of a key, of no use: its body is random."""
    body = base64.b64encode(random.Random(kind).randbytes(1200)).decode()
    dashes = "-" * 5
    name = f"{kind} PRIVATE KEY".strip()
    return "\n".join([f"{dashes}BEGIN {name}{dashes}", *textwrap.wrap(body, 64), f"{dashes}END {name}{dashes}", ""])


def service_account() -> str:
    account = {
        "type": "service_account",
        "project_id": "analytics",
        "private_key_id": text(40, "0123456789abcdef"),
        "private_key": private_key(""),
        "client_email": "etl@analytics.iam.gserviceaccount.com",
    }
    return json.dumps(account, indent=2)


def aws_pair() -> str:
    identity = "AKIA" + text(16, string.ascii_uppercase + "234567")
    return f'AWS_ACCESS_KEY_ID = "{identity}"\nAWS_SECRET_ACCESS_KEY = "{text(40, LETTERS + "/+")}"\n'


SECRETS: dict[str, Callable[[], str]] = {
    "aws": aws_pair,
    "azure": lambda: (
        "DefaultEndpointsProtocol=https;AccountName=lake;AccountKey="
        + base64.b64encode(random.Random(1).randbytes(64)).decode()
        + ";EndpointSuffix=core.windows.net"
    ),
    "databricks": lambda: f'TOKEN = "{"da" + "pi"}{text(32, "0123456789abcdef")}"',
    "ec": lambda: private_key("EC"),
    "github": lambda: f'TOKEN = "{with_checksum("gh" + "p_")}"',
    "gitlab": lambda: f'TOKEN = "{"gl" + "pat-"}{text(20)}"',
    "google": lambda: f'KEY = "{"AI" + "za"}{text(35)}"',
    "google_account": service_account,
    "npm": lambda: f'TOKEN = "{with_checksum("np" + "m_")}"',
    "openssh": lambda: private_key("OPENSSH"),
    "pkcs8": lambda: private_key(""),
    "pypi": lambda: f'TOKEN = "{"py" + "pi-"}AgEIcHlwaS5vcmc{text(150)}"',
    "rsa": lambda: private_key("RSA"),
    "slack": lambda: f'TOKEN = "{"xo" + "xb-"}{text(12, string.digits)}-{text(13, string.digits)}-{text(24)}"',
    "url": lambda: f'URI = "{"postgres" + "ql://"}etl:{text(16)}@db.example.internal:5432/dwh"',
}
FINE = {
    "environment": 'password = os.environ["WAREHOUSE_PASSWORD"]\nuri = f"postgresql://etl:{password}@db/dwh"\n',
    "connection": 'hook = PostgresHook(postgres_conn_id="warehouse")\n',
    "template": 'bash_command="curl -H \\"Authorization: Bearer {{ var.value.token }}\\" https://example.com"\n',
    "url_example": "# postgresql" + '://airflow:airflow@postgres:5432/airflow and mysql://user:password@localhost\n"""',
    "public_key": "ssh-ed25519 " + "AAAAC3NzaC1lZDI1NTE5AAAAI" + text(43) + " ada@example.com\n",
    "digest": f'SHA256 = "{text(64, "0123456789abcdef")}"\nCOMMIT = "{text(40, "0123456789abcdef")}"\n',
    "uuid": 'JOB = "7c0e8f1c-6f2c-4f0e-9d43-2c6bb1e2a1de"\n',
    "aws_example": 'KEY = "AKIA' + 'IOSFODNN7EXAMPLE"\n',
}


def found(tmp_path: Path, cache: Path, files: dict[str, bytes]) -> list[Finding]:
    return secrets.check(tree(tmp_path, files), Settings(), cache=cache)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> dict[str, list[Finding]]:
    """The findings by path in a tree of all secrets and all that is fine."""
    files = {f"secret/{kind}.py": f'"""ETL."""\n\n{make()}\n'.encode() for kind, make in SECRETS.items()}
    files |= {f"fine/{kind}.py": content.encode() for kind, content in FINE.items()}
    findings: dict[str, list[Finding]] = {path: [] for path in files}
    for finding in found(tmp_path_factory.mktemp("tree"), cache, files):
        findings[finding.path].append(finding)
    return findings


@pytest.mark.parametrize("kind", SECRETS)
def test_a_secret_is_found_where_it_stands_and_never_shown(searched: dict[str, list[Finding]], kind: str) -> None:
    secret = SECRETS[kind]()
    (finding,) = searched[f"secret/{kind}.py"]
    assert (finding.rule, finding.severity) == ("secret", Severity.ERROR)
    assert 3 <= finding.line <= 3 + secret.count("\n")
    shown = finding.message + finding.hint
    assert not any(piece[:5] in shown for piece in re.findall(r"[A-Za-z0-9]{16,}", secret))


@pytest.mark.parametrize("kind", FINE)
def test_what_is_no_secret_is_fine(searched: dict[str, list[Finding]], kind: str) -> None:
    assert searched[f"fine/{kind}.py"] == []


def test_the_place_is_exact_to_the_character(tmp_path: Path, cache: Path) -> None:
    token = with_checksum("gh" + "p_")
    (finding,) = found(tmp_path, cache, {"a.py": f"# Käse\nx = 'é', '{token}'\n".encode()})
    assert (finding.line, finding.column, finding.end_line) == (2, 11, 2)
    assert finding.end_column - finding.column == len(token)
    assert finding.message == "this looks like a secret (github-pat); it begins with 'ghp_'"


def test_binary_files_and_other_encodings_are_looked_into(tmp_path: Path, cache: Path) -> None:
    token = with_checksum("gh" + "p_")
    files = {
        "a.pyc": os.urandom(512) + b"\0\n" + token.encode() + b"\n\0" + os.urandom(512),
        "b.csv": f"first\nx = {token}\n".encode("utf-16"),
    }
    assert {(one.path, one.rule) for one in found(tmp_path, cache, files)} == {("a.pyc", "secret"), ("b.csv", "secret")}


def test_a_file_above_the_limit_is_named_and_not_searched(tmp_path: Path, cache: Path) -> None:
    size = secrets.MOST_BYTES + 1
    (finding,) = found(tmp_path, cache, {"big.csv": b"x" * size})
    assert (finding.rule, finding.severity, finding.path) == ("secret-not-searched", Severity.NOTE, "big.csv")
    assert str(size) in finding.message


@pytest.mark.parametrize("comment", ["kingfisher:ignore", "betterleaks:allow", "gitleaks:allow"])
def test_comments_for_other_tools_suppress_nothing(tmp_path: Path, cache: Path, comment: str) -> None:
    line = f'TOKEN = "{with_checksum("gh" + "p_")}"  # {comment}\n'
    assert len(found(tmp_path, cache, {"a.py": line.encode()})) == 1


def test_a_rule_that_is_off_starts_nothing(tmp_path: Path) -> None:
    checkout = tree(tmp_path, {"id_rsa": private_key("RSA").encode()})
    cache = tmp_path / "cache"
    assert secrets.check(checkout, Settings(severity={"secret": Severity.OFF}), cache=cache) == []
    assert not cache.exists()


def test_without_kingfisher_it_is_said_how_to_get_it(tmp_path: Path) -> None:
    """In another process, where a package of that name cannot be imported."""
    broken = tmp_path / "site" / "kingfisher_sdk"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text('raise ImportError("no shared library for this machine")\n')
    program = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        sys.path.insert(0, sys.argv[1])
        from dagferry_builder.lint import secrets
        from dagferry_builder.lint.settings import Settings
        from dagferry_schemas.errors import MachineFault
        from tests.lint.trees import tree
        try:
            secrets.check(tree(Path(sys.argv[2]), {"a.py": b""}), Settings())
        except MachineFault as fault:
            print(fault.message, "|", fault.hint)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(broken.parent), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "no shared library for this machine" in done.stdout
    assert "pip install 'dagferry[builder]'" in done.stdout


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_nothing_is_sent_anywhere(tmp_path: Path, cache: Path) -> None:
    """Not a socket is opened while a live-looking token is looked at."""
    program = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from dagferry_builder.lint import secrets
        from dagferry_builder.lint.settings import Settings
        from tests.lint.trees import tree
        content = sys.stdin.buffer.read()
        print(len(secrets.check(tree(Path(sys.argv[1]), {"a.py": content}), Settings(), cache=Path(sys.argv[2]))))
        """
    )
    log = tmp_path / "strace"
    done = subprocess.run(
        ["strace", "-f", "-e", "trace=socket,connect", "-o", str(log), sys.executable, "-c", program, tmp_path, cache],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        input=f'TOKEN = "{with_checksum("gh" + "p_")}"\n'.encode(),
        capture_output=True,
        check=True,
    )
    assert done.stdout.strip() == b"1"
    assert log.stat().st_size
    assert "socket(" not in log.read_text()
