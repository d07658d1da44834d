"""Bad input: each is answered by the documented exit code and a message with a next step, and what is live stays.

The tests of damage and disks look into a local store's directory: below "local" nothing runs on another store.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.harness import Agent, Content, Operator, Pod, Repository, content_of, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.e2e.conftest import Team

    Damage = Callable[[bytes], bytes]

# --- wrong usage


WRONG_USAGE: dict[str, tuple[tuple[str, ...], str]] = {
    "no_such_command": (("promte",), "promote"),
    "no_command": ((), ""),
    "no_such_option": (("publish", "--revision", "HEAD"), "--revision"),
    "argument_missing": (("promote",), "VERSION"),
    "no_channel": (("log",), "--channel"),
    "channel_with_a_slash": (("log", "--channel", "../prod"), "../prod"),
    "channel_that_is_empty": (("log", "--channel", ""), "channel"),
    "channel_without_a_record": (("log", "--channel", "prdo"), "prdo"),
    "rollback_of_a_channel_without_a_record": (("rollback", "--channel", "prdo"), "prdo"),
    "hold_of_a_channel_without_a_record": (("hold", "--channel", "prdo"), "prdo"),
    "status_of_a_channel_without_a_record": (("status", "--channel", "prdo"), "prdo"),
    "verify_of_a_channel_without_a_record": (("verify", "--channel", "prdo"), "prdo"),
    "diff_of_a_channel_without_a_record": (("diff", "channel:prdo", "channel:prdo"), "prdo"),
    "verify_of_nothing": (("verify",), "VERSION"),
    "version_with_a_slash": (("show", "../x"), "../x"),
    "version_that_does_not_exist": (("show", "v9.9"), "v9.9"),
    "commit_that_does_not_exist": (("show", "0" * 40), "0" * 40),
    "revision_that_does_not_exist": (("publish", "--rev", "no-such-branch"), "no-such-branch"),
    "revision_that_is_an_option": (("publish", "--rev", "--all"), "--all"),
    "bundle_that_the_config_lacks": (("publish", "--bundle", "elt"), "etl"),
    "bundle_with_a_slash": (("publish", "--bundle", "a/b"), "a/b"),
    "root_outside_the_repository": (("publish", "--root", "../.."), "../.."),
    "agents_without_a_scheme": (("notify", "--channel", "x", "--agents", "pod:8470"), "pod:8470"),
    "agents_with_a_path": (("notify", "--channel", "x", "--agents", "http://pod:8470/v1/pull"), "http://pod:8470/v1"),
    "agents_with_a_port_that_is_none": (("notify", "--channel", "x", "--agents", "http://pod:port"), "http://pod:port"),
    "agents_that_are_none": (("notify", "--channel", "x", "--agents", ","), "agent"),
    "token_file_that_is_missing": (
        ("notify", "--channel", "x", "--agents", "http://127.0.0.1:9", "--token-file", "no-such-token"),
        "no-such-token",
    ),
    "timeout_that_is_no_number": (("status", "--channel", "x", "--timeout", "soon"), "soon"),
}


@pytest.mark.parametrize("name", WRONG_USAGE)
def test_wrong_usage_ends_with_2_and_says_what_is_wrong(name: str, team: Team) -> None:
    arguments, named = WRONG_USAGE[name]
    refused = team.operator.fail(2, *arguments)
    assert named in refused["message"] + refused["hint"]


@pytest.mark.parametrize(
    "url", ["s3:/bucket", "ftp://host/x", "file://relative/x", "file:///", "/", "https://user:secret@host/x", " "]
)
def test_malformed_store_url_ends_with_2(url: str, team: Team) -> None:
    outcome = team.operator.outcome("versions", "--store", url, expect=2)
    assert outcome.error
    assert "secret" not in outcome.stdout + outcome.stderr


def test_store_that_does_not_exist_is_an_outage_for_readers(team: Team, tmp_path: Path) -> None:
    for command in (("versions",), ("log", "--channel", "prod"), ("promote", team.first, "--channel", "prod")):
        refused = team.operator.fail(4, *command, "--store", str(tmp_path / "not-mounted"))
        assert "not-mounted" in refused["message"]
    assert not (tmp_path / "not-mounted").exists()


def test_outside_a_repository_the_message_says_so(tmp_path: Path, store_url: str) -> None:
    elsewhere = Operator(tmp_path, store_url, {"DAGFERRY_BUNDLE": "etl"})
    assert str(tmp_path) in elsewhere.fail(2, "publish")["message"]
    elsewhere.fail(2, "publish", env={"DAGFERRY_BUNDLE": None})


def test_repository_without_a_commit_is_a_wrong_usage(tmp_path: Path, store_url: str) -> None:
    repository = Repository(tmp_path / "clone")
    refused = Operator(repository.path, store_url).fail(2, "publish")
    assert "commit" in refused["hint"]


CONFIGS: dict[str, tuple[str | bytes, tuple[str, ...]]] = {
    "unknown_key": ('[bundles.etl]\nroot = "dags"\n[chanel]\n', ("chanel", "channel")),
    "unknown_key_of_a_bundle": ('[bundles.etl]\nrot = "dags"\n', ("bundles.etl.rot", "'root'")),
    "unknown_key_like_no_other": ("zzz = 1\n", ("zzz", "known")),
    "wrong_type": ("channel = 7\n", ("channel", "str")),
    "wrong_type_in_a_bundle": ("[bundles.etl]\nroot = 7\n", ("bundles.etl.root", "str")),
    "bundles_is_no_table": ("bundles = 7\n", ("bundles",)),
    "bundle_is_no_table": ("[bundles]\netl = 7\n", ("bundles.etl",)),
    "agents_of_numbers": ("agents = [1, 2]\n[bundles.etl]\n", ("agents",)),
    "bundle_with_a_space": ('[bundles."e t l"]\n', ("e t l",)),
    "root_outside": ('[bundles.etl]\nroot = "../x"\n', ("../x",)),
    "absolute_root": ('[bundles.etl]\nroot = "/etc"\n', ("/etc",)),
    "not_toml": ("= 1\n", ("dagferry.toml",)),
    "not_utf8": (b"# \xff\n", ("dagferry.toml", "UTF-8")),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_bad_config_file_ends_with_2_and_names_the_place(name: str, tmp_path: Path) -> None:
    content, named = CONFIGS[name]
    repository = Repository(tmp_path / "clone", config="")
    repository.write("dagferry.toml", content)
    repository.commit()
    refused = run("dagferry", "version", cwd=repository.path, expect=2).error
    for word in (*named, "dagferry.toml"):
        assert word in refused["message"] + refused["hint"], word


def test_bad_config_in_pyproject_ends_with_2(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "clone", config="")
    for content in ("tool = 1\n", "[tool]\ndagferry = 1\n", "[tool.dagferry]\nchanel = 1\n"):
        repository.write("pyproject.toml", content)
        run("dagferry", "version", cwd=repository.path, expect=2)


def test_bad_value_in_the_environment_names_the_variable(team: Team) -> None:
    refused = team.operator.fail(2, "status", env={"DAGFERRY_TIMEOUT": "soon"})
    assert "DAGFERRY_TIMEOUT" in refused["message"] + refused["hint"] or "--timeout" in refused["message"]


@pytest.mark.parametrize("name", ["store", "bundle", "channel"])
def test_place_that_is_empty_never_stands_for_another_one(name: str, tmp_path: Path) -> None:
    """As from a secret that CI does not hand out: the default store would take it, and nobody would see it."""
    config = 'channel = "prod"\n[bundles.etl]\nroot = "dags"\n'
    repository = Repository(tmp_path / "clone", config=config)
    repository.change({"dags/a.py": "x = 1\n"})
    for arguments, env, named in (
        ([f"--{name}", ""], {}, f"--{name}"),
        ([f"--{name}="], {}, f"--{name}"),
        ([], {f"DAGFERRY_{name.upper()}": ""}, f"DAGFERRY_{name.upper()}"),
    ):
        refused = run("dagferry", "ship", *arguments, cwd=repository.path, env=env, expect=2).error
        assert f"{named} is empty" in refused["message"]
    assert not (repository.path / ".dagferry").exists()


@pytest.mark.parametrize("name", ["store", "keyring", "signer"])
def test_what_is_empty_in_the_config_file_is_said(name: str, tmp_path: Path) -> None:
    repository = Repository(tmp_path / "clone", config=f'{name} = ""\n[bundles.etl]\n')
    repository.change({"a.py": "x = 1\n"})
    unsigned = {"DAGFERRY_KEYRING": None, "DAGFERRY_SIGNER": None}
    refused = run("dagferry", "publish", cwd=repository.path, expect=2, env=unsigned).error
    assert refused["message"] == f"{name} in the config file is empty"


@pytest.mark.parametrize("empty", ["", " "])
@pytest.mark.parametrize("name", ["keyring", "signer"])
def test_keys_that_are_empty_never_switch_signatures_off(name: str, empty: str, tmp_path: Path) -> None:
    repository = Repository(tmp_path / "clone")
    repository.change({"dags/a.py": "x = 1\n"})
    variable = f"DAGFERRY_{name.upper()}"
    publish = ("publish", "--store", str(tmp_path / "store"))
    refused = run("dagferry", *publish, cwd=repository.path, env={variable: empty}, expect=2).error
    assert f"{variable} is empty" in refused["message"]
    refused = run("dagferry", *publish, f"--{name}=", cwd=repository.path, expect=2).error
    assert f"--{name} is empty" in refused["message"]
    assert not (tmp_path / "store").exists()


def test_option_wins_over_an_empty_variable(team: Team, store_url: str) -> None:
    team.operator.run("versions", "--store", store_url, env={"DAGFERRY_STORE": ""})


AGENT_USAGE: dict[str, tuple[tuple[str, ...], str]] = {
    "no_such_command": (("pul",), "pul"),
    "bundle_with_a_slash": (("pull", "--bundle", "../etl"), "../etl"),
    "channel_without_a_record": (("pull", "--channel", "prdo"), "prdo"),
    "version_that_does_not_exist": (("pull", "--version", "v9.9"), "v9.9"),
    "version_with_a_slash": (("pull", "--version", "../x"), "../x"),
    "listen_without_a_port": (("serve", "--listen", "localhost"), "localhost"),
    "poll_seconds_below_zero": (("serve", "--poll-seconds", "-1"), "--poll-seconds"),
    "label_without_a_value": (("serve", "--label", "zone"), "zone"),
    "durability_that_is_unknown": (("pull", "--durability", "hope"), "hope"),
    "store_of_an_unknown_kind": (("pull", "--store", "ftp://host/x"), "ftp"),
    "scope_that_is_unknown": (("tokens", "generate", "--scope", "everything"), "everything"),
}


@pytest.mark.parametrize("name", AGENT_USAGE)
def test_wrong_usage_of_the_agent_ends_with_2(name: str, store_url: str, team: Team, tmp_path: Path) -> None:
    (command, *arguments), named = AGENT_USAGE[name]
    options = Pod(tmp_path / "pod", store_url, "x").options if command in ("pull", "serve") else ()
    refused = run("dagferry-agent", command, *options, *arguments, cwd=tmp_path, expect=2).error
    assert named in refused["message"] + refused["hint"]
    assert not (tmp_path / "pod/current").exists()


def test_port_in_use_ends_with_5(store_url: str, team: Team, tmp_path: Path) -> None:
    pod = Pod(tmp_path / "pod", store_url, "x")
    agent = Agent(pod)
    try:
        port = agent.url.rpartition(":")[2]
        refused = run(
            "dagferry-agent", "serve", *pod.options, f"--listen=127.0.0.1:{port}", cwd=tmp_path, expect=5
        ).error
        assert port in refused["message"]
    finally:
        agent.stop()


@pytest.mark.parametrize("tokens", ["", '[{"id": "a", "token": "dft_x"}]'])
def test_unusable_tokens_file_lets_nobody_in(tokens: str, store_url: str, team: Team, tmp_path: Path) -> None:
    (tmp_path / "tokens.json").write_text(tokens)
    agent = Agent(Pod(tmp_path / "pod", store_url, "x"), tokens_file=tmp_path / "tokens.json")
    try:
        assert agent.post().status_code == 503
    finally:
        agent.stop()


# --- local: damage in the store


@dataclass(frozen=True)
class Scene:
    """A store with three versions, whose channel went from the first to the second, and a pod that has the first."""

    repository: Repository
    store: Path
    pod: Pod
    first: str
    second: str

    @property
    def operator(self) -> Operator:
        """Someone who moves the channel."""
        return Operator(self.repository.path, str(self.store)).on("prod")

    def object(self, kind: str) -> Path:
        """Where an object of the second version, or of its channel, lies."""
        return self._place(kind, self.second, "prod", "log/1.json")

    def other(self, kind: str) -> bytes:
        """A valid object of the same kind that belongs elsewhere."""
        return self._place(kind, self.first, "other", "../prod/head.json").read_bytes()

    def _place(self, kind: str, version: str, channel: str, log: str) -> Path:
        bundle = self.store / "etl"
        document = bundle / f"versions/{version}.json"
        if kind == "version":
            return document
        if kind in ("head", "log"):
            return bundle / "channels" / channel / ("head.json" if kind == "head" else log)
        tree = str(json.loads(document.read_bytes())["tree"]).removeprefix("sha256:")
        return bundle / "trees" / tree / {"tarball": "dags.tar.zst", "files": "files.zst"}[kind]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """The scene that every test gets a copy of."""
    folder = tmp_path_factory.mktemp("scene")
    repository = Repository(folder / "clone")
    store = folder / "store"
    pod = Pod(folder / "pod", str(store), "prod")
    operator = Operator(repository.path, str(store)).on("prod")
    repository.change({"dags/a.py": "A = 1\n", "dags/same.py": "SAME = True\n"})
    first = operator.ship()["version"]
    operator.run("promote", first, "--channel", "other")
    pod.pull()
    repository.change({"dags/a.py": "A = 2\n", "dags/more.bin": os.urandom(20_000)})
    second = operator.ship()["version"]
    return Scene(repository, store, pod, first, second)


@pytest.fixture
def scene(prepared: Scene, tmp_path: Path) -> Scene:
    """A copy of the scene, to be spoiled."""
    for name in ("store", "pod"):
        subprocess.run(["cp", "-a", str(prepared.store.with_name(name)), str(tmp_path / name)], check=True)
    store = tmp_path / "store"
    return Scene(prepared.repository, store, Pod(tmp_path / "pod", str(store), "prod"), prepared.first, prepared.second)


def flip(content: bytes) -> bytes:
    """One bit is wrong; in a text it is one that no text may have."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0x80]) + content[middle + 1 :]


def truncate(content: bytes) -> bytes:
    return content[: len(content) // 2]


def append(content: bytes) -> bytes:
    return content + b"\0"


def empty(_content: bytes) -> bytes:
    return b""


DAMAGES: dict[str, Damage] = {"flipped": flip, "truncated": truncate, "appended": append, "emptied": empty}


def damage(scene: Scene, kind: str, how: str) -> None:
    """Spoil one object behind everybody's back."""
    path = scene.object(kind)
    if how == "removed":
        path.unlink()
        return
    spoiled = scene.other(kind) if how == "replaced" else DAMAGES[how](path.read_bytes())
    assert spoiled != path.read_bytes()
    path.unlink()
    path.write_bytes(spoiled)


HOW = (*DAMAGES, "replaced", "removed")


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("kind", ["tarball", "files"])
def test_damaged_content_is_refused_and_the_live_release_stays(kind: str, how: str, scene: Scene) -> None:
    before = scene.pod.live()
    damage(scene, kind, how)
    refused = scene.pod.fail_to_pull(1)
    assert scene.second in refused["message"] or scene.object(kind).parent.name in refused["message"]
    assert scene.pod.live() == before
    assert content_of(scene.pod.root / "staging") == {}
    verified = run("dagferry", "verify", scene.second, "--store", str(scene.store), cwd=scene.repository.path, expect=1)
    assert [one["name"] for one in verified.document["checks"] if not one["ok"]] == [kind]


def test_version_can_be_verified_where_a_channel_is_configured(scene: Scene) -> None:
    assert scene.operator.run("verify", scene.second)["ok"] is True
    assert scene.operator.run("verify", "--channel", "prod")["ok"] is True


@pytest.mark.parametrize("how", HOW)
def test_damaged_head_is_refused_and_the_live_release_stays(how: str, scene: Scene) -> None:
    before, head = scene.pod.live(), scene.object("head")
    damage(scene, "head", how)
    scene.pod.fail_to_pull(2 if how == "removed" else 1)
    assert scene.pod.live() == before
    scene.operator.fail(1, "verify", "--channel", "prod")
    if how != "removed":
        spoiled = head.read_bytes()
        scene.operator.fail(1, "promote", scene.first, "--allow-older")
        assert head.read_bytes() == spoiled


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("kind", ["version", "log"])
def test_damaged_document_is_found_by_verify_and_does_not_stop_the_delivery(kind: str, how: str, scene: Scene) -> None:
    damage(scene, kind, how)
    checks = scene.operator.outcome("verify", "--channel", "prod", expect=1).document["checks"]
    assert kind in [one["name"] for one in checks if not one["ok"]]
    if how == "flipped":
        assert scene.pod.pull()["version"] == scene.second


@pytest.mark.parametrize("how", HOW)
def test_damaged_log_record_stops_a_rollback(how: str, scene: Scene) -> None:
    head = scene.object("head").read_bytes()
    damage(scene, "log", how)
    scene.operator.fail(1, "rollback")
    scene.operator.fail(1, "log")
    assert scene.object("head").read_bytes() == head


def test_damaged_version_is_not_promoted(scene: Scene) -> None:
    damage(scene, "version", "flipped")
    refused = scene.operator.fail(1, "promote", scene.second, "--channel", "fresh")
    assert scene.second in refused["message"]
    assert [one["channel"] for one in scene.operator.run("channels")["channels"]] == ["other", "prod"]


def test_one_damaged_object_does_not_hide_the_others(scene: Scene) -> None:
    damage(scene, "version", "truncated")
    listed = scene.operator.run("versions")["versions"]
    assert scene.first in [one["version"] for one in listed]


def test_publisher_does_not_adopt_spoiled_content(scene: Scene) -> None:
    damage(scene, "tarball", "flipped")
    scene.repository.git("tag", "--force", "v7")
    try:
        refused = scene.operator.fail(1, "publish")
    finally:
        scene.repository.git("tag", "--delete", "v7")
    assert "dags.tar.zst" in refused["message"]


def test_agent_that_runs_reports_damage_and_recovers_when_it_is_mended(scene: Scene) -> None:
    before, path = scene.pod.live(), scene.object("tarball")
    good = path.read_bytes()
    damage(scene, "tarball", "truncated")
    agent = Agent(scene.pod)
    try:
        agent.wait_until_ready()
        reply = agent.post()
        assert (reply.status_code, reply.json()["error"]["code"]) == (422, "wrong_size")
        assert agent.status()["last_error"]["code"] == "wrong_size"
        assert scene.pod.live() == before
        path.write_bytes(good)
        assert agent.pull()["version"] == scene.second
        assert agent.status()["last_error"] is None
    finally:
        agent.stop()


# --- local: heads that nobody should have written


def rewrite_head(scene: Scene, change: Callable[[dict[str, Any]], None]) -> None:
    """Put a head of our own making into the store."""
    head = scene.object("head")
    envelope = json.loads(head.read_bytes())
    record = json.loads(base64.b64decode(envelope["payload"]))
    change(record)
    envelope["payload"] = base64.b64encode(json.dumps(record).encode()).decode()
    head.write_text(json.dumps(envelope))


def set_generation(record: dict[str, Any], generation: int) -> None:
    record["generation"] = generation
    record["previous"] = {"generation": generation - 1, "sha256": "sha256:" + "0" * 64} if generation > 1 else None


def other_nonce(record: dict[str, Any]) -> None:
    record["nonce"] = "another"


FORGED: dict[str, Callable[[dict[str, Any]], None]] = {
    "unknown_critical_field": lambda record: record.update(critical=["canary"], canary={"percent": 5}),
    "newer_format": lambda record: record.update(format=2),
    "other_channel": lambda record: record.update(channel="staging"),
    "other_bundle": lambda record: record.update(bundle="sales"),
    "size_that_is_wrong": lambda record: record["live"]["tarball"].update(size=1),
    "plain_size_that_is_wrong": lambda record: record["live"]["tarball"].update(plain_size=1 << 50),
    "count_that_is_wrong": lambda record: record["live"]["files"].update(count=1),
    "other_tree": lambda record: record["live"].update(tree="sha256:" + "0" * 64),
    "tree_that_is_a_path": lambda record: record["live"].update(tree="sha256:../../../../etc"),
    "version_that_is_a_path": lambda record: record["live"].update(version="../../etc"),
    "generation_without_its_previous": lambda record: record.update(generation=9),
    "no_live_release": lambda record: record.pop("live"),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_head_keeps_the_live_release(name: str, scene: Scene) -> None:
    before, link = scene.pod.live(), scene.pod.current.readlink()
    rewrite_head(scene, FORGED[name])
    refused = scene.pod.fail_to_pull(1)
    if name == "unknown_critical_field":
        assert "canary" in refused["message"]
        assert "upgrade" in refused["hint"]
    assert scene.pod.live() == before
    assert scene.pod.current.readlink() == link


@pytest.mark.parametrize("name", ["unknown_critical_field", "newer_format"])
def test_builder_does_not_write_over_a_head_that_it_does_not_understand(name: str, scene: Scene) -> None:
    rewrite_head(scene, FORGED[name])
    head = scene.object("head").read_bytes()
    for command in (("promote", scene.first, "--allow-older"), ("rollback",), ("hold",), ("resume",)):
        scene.operator.fail(1, *command)
    assert scene.object("head").read_bytes() == head


def test_unknown_uncritical_field_is_kept(scene: Scene) -> None:
    rewrite_head(scene, lambda record: record.update(ticket="OPS-7"))
    assert scene.pod.pull()["version"] == scene.second
    scene.operator.run("hold")
    envelope = json.loads(scene.object("head").read_bytes())
    assert json.loads(base64.b64decode(envelope["payload"]))["ticket"] == "OPS-7"


def test_head_that_went_back_is_refused(scene: Scene) -> None:
    scene.pod.pull()
    before = scene.pod.live()
    head = scene.object("head")
    head.unlink()
    shutil.copyfile(scene.object("log"), head)
    refused = scene.pod.fail_to_pull(1)
    assert "generation 2 to 1" in refused["message"]
    assert scene.pod.live() == before


def test_other_head_of_the_same_generation_is_an_alarm(scene: Scene) -> None:
    scene.pod.pull()
    before = scene.pod.live()
    rewrite_head(scene, other_nonce)
    scene.pod.fail_to_pull(1)
    assert scene.pod.live() == before


def test_newer_store_format_is_refused(scene: Scene) -> None:
    path = scene.store / "etl/store.json"
    document = json.loads(path.read_bytes())
    path.write_text(json.dumps({**document, "format": 2}))
    scene.repository.git("tag", "--force", "v8")
    try:
        scene.operator.fail(1, "publish")
    finally:
        scene.repository.git("tag", "--delete", "v8")
    scene.operator.fail(1, "promote", scene.second)


# --- local: disks


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[None]:
    """A file system of its own at ``folder``; needs the right to mount."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"this user may not mount: {mounted.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Operator, str, str, Content]:
    """Two versions in a store, the second too large for a small disk and with many files; the first's content."""
    folder = tmp_path_factory.mktemp("heavy")
    repository = Repository(folder / "clone")
    small = repository.change({"dags/a.py": "A = 1\n"})
    repository.change({f"dags/{number}.bin": os.urandom(20_000) for number in range(80)})
    operator = Operator(repository.path, str(folder / "store"))
    return operator, operator.publish(small), operator.publish(), repository.content(small)


@pytest.mark.parametrize("limit", ["size=600k", "size=2500k", "nr_inodes=60"])
def test_full_disk_ends_with_5_and_keeps_the_release(
    limit: str, heavy: tuple[Operator, str, str, Content], tmp_path: Path
) -> None:
    operator, small, large, content = heavy
    channel = limit.replace("=", "-")
    disk = tmp_path / "disk"
    pod = Pod(disk / "pod", operator.store_url or "", channel)
    with small_disk(disk, limit):
        operator.run("promote", small, "--channel", channel)
        pod.pull()
        operator.run("promote", large, "--channel", channel)
        refused = pod.fail_to_pull(5)
        assert "no room" in refused["message"]
        assert pod.live() == content
        remount(disk, "size=100m,nr_inodes=10000")
        assert pod.pull()["version"] == large
        assert list((pod.root / "staging").iterdir()) == []


def test_full_disk_leaves_nothing_in_staging(heavy: tuple[Operator, str, str, Content], tmp_path: Path) -> None:
    operator, small, large, content = heavy
    disk = tmp_path / "disk"
    pod = Pod(disk / "pod", operator.store_url or "", "staging-is-clean")
    with small_disk(disk, "size=2500k"):
        operator.run("promote", small, "--channel", pod.channel)
        pod.pull()
        operator.run("promote", large, "--channel", pod.channel)
        agent = Agent(pod)
        try:
            agent.wait_until_ready()
            assert agent.post().status_code == 503
            assert agent.status()["version"] == small
            left = [path.name for path in (pod.root / "staging").iterdir()]
            assert [name for name in left if not name.startswith("next-")] == [], "but for what is prepared meanwhile"
        finally:
            agent.stop()
        assert pod.live() == content


def test_read_only_root_ends_with_5(heavy: tuple[Operator, str, str, Content], tmp_path: Path) -> None:
    operator, small, large, content = heavy
    disk = tmp_path / "disk"
    pod = Pod(disk / "pod", operator.store_url or "", "read-only")
    outside = Pod(disk / "fresh", pod.store_url, pod.channel)
    with small_disk(disk, "size=10m"):
        operator.run("promote", small, "--channel", pod.channel)
        pod.pull()
        operator.run("promote", large, "--channel", pod.channel)
        remount(disk, "ro")
        for one in (pod, outside):
            options = one.options
            refused = run("dagferry-agent", "pull", *options, cwd=tmp_path, expect=5).error
            assert str(one.root) in refused["message"]
        assert pod.live() == content
        assert run("dagferry-agent", "status", *pod.options, cwd=tmp_path).document["version"] == small


def test_staging_on_another_file_system_ends_with_5(heavy: tuple[Operator, str, str, Content], tmp_path: Path) -> None:
    operator, small, large, content = heavy
    pod = Pod(tmp_path / "pod", operator.store_url or "", "mounted-inside")
    operator.run("promote", small, "--channel", pod.channel)
    pod.pull()
    operator.run("promote", large, "--channel", pod.channel)
    (pod.root / "staging").rmdir()
    with small_disk(pod.root / "staging", "size=10m"):
        refused = pod.fail_to_pull(5)
        assert "file system" in refused["message"] + refused["hint"]
        assert pod.live() == content


def test_full_store_ends_with_5_and_publishes_nothing(
    heavy: tuple[Operator, str, str, Content], tmp_path: Path
) -> None:
    operator, _, large, _ = heavy
    disk = tmp_path / "disk"
    with small_disk(disk, "size=200k"):
        there = Operator(operator.folder, str(disk / "store"))
        there.fail(5, "publish")
        assert there.run("versions")["versions"] == []
        remount(disk, "size=100m")
        assert there.publish() == large
        assert there.run("verify", large)["ok"] is True


def test_root_that_is_a_file_is_refused(team: Team, store_url: str, tmp_path: Path) -> None:
    (tmp_path / "pod").write_text("precious")
    refused = Pod(tmp_path / "pod", store_url, "x").fail_to_pull(5)
    assert str(tmp_path / "pod") in refused["message"]
    assert (tmp_path / "pod").read_text() == "precious"


def test_current_that_is_a_folder_of_somebody_else_is_not_touched(team: Team, store_url: str, tmp_path: Path) -> None:
    pod = Pod(tmp_path / "pod", store_url, "somebody-elses")
    team.operator.run("promote", team.first, "--channel", pod.channel)
    pod.current.mkdir(parents=True)
    (pod.current / "precious.py").write_text("KEEP = True\n")
    refused = pod.fail_to_pull(5)
    assert "current" in refused["message"]
    assert (pod.current / "precious.py").read_text() == "KEEP = True\n"


def test_unreadable_state_of_the_agent_is_said(team: Team, store_url: str, tmp_path: Path) -> None:
    pod = Pod(tmp_path / "pod", store_url, "spoiled-state")
    team.operator.run("promote", team.first, "--channel", pod.channel)
    pod.pull()
    before = pod.live()
    team.operator.run("promote", team.second, "--channel", pod.channel)
    (pod.root / "state.json").write_text("{")
    outcome = run("dagferry-agent", "pull", *pod.options, cwd=tmp_path, expect=1)
    assert "state.json" in outcome.error["message"]
    assert pod.live() == before


def test_pod_may_be_told_to_follow_another_channel(team: Team, store_url: str, tmp_path: Path) -> None:
    pod = Pod(tmp_path / "pod", store_url, "one-channel")
    other = Pod(tmp_path / "pod", store_url, "other-channel")
    for version in (team.first, team.second):
        team.operator.run("promote", version, "--channel", pod.channel)
    team.operator.run("promote", team.third, "--channel", other.channel)
    pod.pull()
    assert other.pull()["generation"] == 1
    assert other.live() == team.repository.content(team.commits[2])
