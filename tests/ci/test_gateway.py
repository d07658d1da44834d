"""nginx with the configuration of the component ``tls``, in front of an agent."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import requests
import trustme

from tests.ci.manifests import KUBERNETES
from tests.ci.tools import content_with, tool
from tests.e2e.harness import Agent, Operator, Pod, Repository
from tests.storage.processes import free_port, listens, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.manifests


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    repository = Repository(tmp_path / "clone")
    repository.change({"dags/daily.py": "NUMBER = 1\n"})
    operator = Operator(repository.path, f"file://{tmp_path}/store").on("prod")
    operator.ship()
    found = Agent(Pod(tmp_path / "pod", f"file://{tmp_path}/store", "prod"))
    yield found
    found.process.kill()
    found.process.wait()


@pytest.fixture
def gateway(agent: Agent, tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """The port of nginx with the component's configuration, in front of an agent; and whom its certificate is from."""
    authority = trustme.CA()
    made = authority.issue_cert("localhost", "127.0.0.1")
    folder = tmp_path / "nginx"
    folder.mkdir()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    made.private_key_pem.write_to_path(folder / "tls.key")
    for part in made.cert_chain_pems:
        part.write_to_path(folder / "tls.crt", append=True)
    port = free_port()
    text = (KUBERNETES / "tls/nginx.conf").read_text(encoding="utf-8")
    placed = {
        "/etc/dagferry/tls/": f"{folder}/",
        "/tmp/": f"{folder}/",
        "listen 8443": f"listen 127.0.0.1:{port}",
        "dag-processor.dags.example.com": "localhost",
        "airflow-dag-processor:8470": agent.url.removeprefix("http://"),
        "/dev/stdout": str(folder / "access.log"),
    }
    assert [one for one in placed if one not in text] == []
    text = re.sub("|".join(map(re.escape, placed)), lambda found: placed[found[0]], text)
    (folder / "nginx.conf").write_text(text)
    nginx = [tool("nginx"), "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    assert "test is successful" in content_with(*nginx, "-t")
    alone = "daemon off; master_process off;"  # one process, so that none outlives its end
    with running([*nginx, "-g", alone], folder, lambda: listens(port)):
        yield port, folder


def asked(gateway: tuple[int, Path], path: str, *, host: str = "localhost", token: str = "") -> int:
    """The status that comes back to who asks for a path by https, with or without a token."""
    port, folder = gateway
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    reply = requests.get(f"https://{host}:{port}{path}", headers=headers, verify=str(folder / "ca.pem"), timeout=30)
    return reply.status_code


def test_nginx_lets_the_endpoint_through_and_nothing_else(gateway: tuple[int, Path], agent: Agent) -> None:
    agent.wait_until_ready()
    assert asked(gateway, "/v1/status", token=agent.token) == 200
    assert asked(gateway, "/v1/status") == 401
    assert asked(gateway, "/healthz") == 200
    for path in ("/metrics", "/readyz", "/openapi.json", "/v1/", "/v1/status/x", "/"):
        assert asked(gateway, path, token=agent.token) == 404, path
    assert asked(gateway, "/v1/status", host="127.0.0.1", token=agent.token) == 404  # no name that the map has
    log = (gateway[1] / "access.log").read_text()
    assert '"GET /v1/status" 200' in log
    assert agent.token not in log


def test_ci_ships_through_nginx(gateway: tuple[int, Path], agent: Agent, tmp_path: Path) -> None:
    port, folder = gateway
    operator = Operator(tmp_path / "clone", agent.pod.store_url).on("prod")
    (tmp_path / "clone/dags/daily.py").write_text("NUMBER = 2\n")
    commit = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com", "commit", "--quiet", "--all", "--message=two"]
    content_with("git", *commit, cwd=tmp_path / "clone")
    told = (f"--agents=https://localhost:{port}", f"--ca-file={folder}/ca.pem", f"--token-file={agent.token_file}")
    assert operator.ship("HEAD", *told)["generation"] == 2
    assert (agent.pod.current / "daily.py").read_text() == "NUMBER = 2\n"


def test_nginx_counts_guesses(gateway: tuple[int, Path], agent: Agent) -> None:
    statuses = [asked(gateway, "/v1/status") for _ in range(60)]
    assert set(statuses) == {401, 429}
    assert statuses.count(429) > 5
    assert requests.get(f"{agent.url}/healthz", timeout=10).ok
