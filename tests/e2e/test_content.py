"""What is delivered is what was committed: every path, byte and x bit, wherever and by whomever it is built."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.harness import NO_LINT, Operator, Pod, Repository, content_of, environment, object_ids, run

if TYPE_CHECKING:
    from pathlib import Path

SUBMODULE = "1234567890123456789012345678901234567890"
LONG = "d" * 60 + "/" + "f" * 36 + ".py"  # 100 bytes
LFS_POINTER = "version https://lfs.example/spec/v1\noid sha256:" + "0" * 64 + "\nsize 12345\n"


@dataclass(frozen=True)
class Built:
    """A built artifact: what the command said, and the files that it wrote."""

    said: dict[str, Any]
    tarball: Path

    @property
    def plain_digest(self) -> str:
        """The digest of the plain tar."""
        plain = subprocess.run(["zstd", "-dc", str(self.tarball)], capture_output=True, check=True).stdout
        return hashlib.sha256(plain).hexdigest()


def build(folder: Path, out: Path, *arguments: str, **settings: Any) -> Built:  # noqa: ANN401
    """Build HEAD of the clone in ``folder``."""
    said = run("dagferry", "build", "--out", str(out), *arguments, cwd=folder, **settings).document
    return Built(said, folder / said["tarball"]["path"])


def unpack(tarball: Path, folder: Path) -> Path:
    """Unpack with the system's own tar."""
    folder.mkdir()
    subprocess.run(["tar", "--zstd", "-xf", str(tarball), "-C", str(folder)], check=True)
    return folder


@pytest.fixture(autouse=True)
def without_lint(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is packed, not what is in it."""
    monkeypatch.setenv(NO_LINT, "1")


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A commit with everything that may be in one: names, modes, sizes, attributes, a submodule."""
    repository = Repository(tmp_path_factory.mktemp("rich") / "clone")
    for path, content in {
        "empty.py": b"",
        "crlf.py": b"a = 1\r\nb = 2\r\n",
        "no_line_end.py": b"a = 1",
        "binary.bin": bytes(range(256)) * 3,
        "ident.py": b"# $Id$\n",
        "export.py": b"# $Format:%H$\n",
        "utf16.sql": "SELECT 1\n".encode("utf-16"),
        "with space.py": b"",
        "größe/ä.py": b"umlaut = True\n",
        "日本.py": b"",
        "🦆.py": b"",
        "a.b": b"sorts before a/b",
        "a/b": b"sorts after a.b",
        "-rf": b"an option?",
        "quote'\".py": b"",
        LONG: b"100 bytes\n",
        LONG[:-3] + "1.py": b"101 bytes\n",
        "/".join(["x" * 120] * 4): b"long path\n",
        "/".join(f"d{level}" for level in range(30)) + "/deep.py": b"deep\n",
        "large.bin": b"0123456789abcdef" * (6 * 65536),  # 6 MiB
        "__pycache__/kept.py": b"committed is committed\n",
        ".hidden": b"",
        ".airflowignore": b"nothing\n",
    }.items():
        repository.write(f"dags/{path}", content)
    repository.write("dags/run.sh", "#!/bin/sh\n", executable=True)
    repository.write("dags/empty.sh", "", executable=True)
    repository.commit("all but attributes")
    attributes = "crlf.py text eol=lf\n*.py text\nident.py ident\nexport.py export-subst\n"
    repository.write("dags/.gitattributes", attributes + "utf16.sql working-tree-encoding=UTF-16\n")
    repository.git("add", "dags/.gitattributes")
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{SUBMODULE},dags/vendored")
    repository.git("commit", "--quiet", "--message=attributes and a submodule")
    repository.git("tag", "v2.0")
    return repository


@pytest.fixture(scope="module")
def built(rich: Repository, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """`rich`, built once."""
    return build(rich.path, tmp_path_factory.mktemp("built"))


def check_delivered(folder: Path, repository: Repository, left_out: set[str], rev: str = "HEAD") -> None:
    """``folder`` holds exactly what git says that ``dags`` holds, but for what is left out."""
    entries = repository.entries(rev)
    expected = {path: entry for path, entry in entries.items() if path not in left_out}
    delivered = content_of(folder)
    assert set(delivered) == set(expected)
    paths = sorted(expected)
    assert object_ids(folder, paths) == [expected[path][1] for path in paths]
    assert {path for path in paths if delivered[path][0]} == {path for path in paths if expected[path][0] == "100755"}


# --- the delivered tree


def test_every_delivered_file_is_the_committed_blob(rich: Repository, store_url: str, tmp_path: Path) -> None:
    operator = Operator(rich.path, store_url, {"DAGFERRY_CHANNEL": "rich"})
    operator.ship()
    pod = Pod(tmp_path / "pod", store_url, "rich")
    pod.pull()
    check_delivered(pod.current, rich, {"vendored"})


def test_exported_tree_is_the_committed_one(rich: Repository, store_url: str, tmp_path: Path) -> None:
    operator = Operator(rich.path, store_url)
    version = operator.publish()
    said = operator.run("export", version, "--to", str(tmp_path / "tree"))
    check_delivered(tmp_path / "tree", rich, {"vendored"})
    assert said["files"] == len(rich.entries()) - 1


def test_tarball_unpacks_to_the_same_with_plain_tar(built: Built, rich: Repository, tmp_path: Path) -> None:
    check_delivered(unpack(built.tarball, tmp_path / "tree"), rich, {"vendored"})


def test_tarball_holds_files_only_sorted_and_without_traces_of_the_machine(built: Built, rich: Repository) -> None:
    options = "--zstd --numeric-owner --quoting-style=literal --utc --full-time -tvf"
    command = ["tar", *options.split(), str(built.tarball)]
    listing = subprocess.run(command, capture_output=True, check=True, env=environment())
    lines = [line.split(None, 5) for line in listing.stdout.decode().splitlines()]
    assert {line[0] for line in lines} == {"-rw-r--r--", "-rwxr-xr-x"}
    assert {(line[1], line[3], line[4]) for line in lines} == {("0/0", "1970-01-01", "00:00:00")}
    paths = [line[5].encode() for line in lines]
    assert paths == sorted(path.encode() for path in rich.entries() if path != "vendored")


def test_submodule_is_left_out_and_reported(built: Built) -> None:
    assert [one["path"] for one in built.said["left_out"]] == ["vendored"]
    assert "submodule" in str(built.said["left_out"][0])


def test_build_says_what_it_wrote(built: Built, rich: Repository) -> None:
    said, tarball = built.said, built.tarball
    assert tarball.name == f"etl-{said['version']}.tar.zst"
    assert (said["commit"], said["files"]) == (rich.git("rev-parse", "HEAD"), len(rich.entries()) - 1)
    assert said["tarball"]["size"] == tarball.stat().st_size
    assert said["tarball"]["sha256"] == "sha256:" + hashlib.sha256(tarball.read_bytes()).hexdigest()
    stem = tarball.name.removesuffix(".tar.zst")
    ends = {path.name.removeprefix(stem) for path in tarball.parent.iterdir()}
    assert ends == {".tar.zst", ".files", ".json"}


def test_paths_whose_attributes_ask_for_a_conversion_are_warned_about(rich: Repository, store_url: str) -> None:
    operator = Operator(rich.path, store_url)
    outcome = operator.outcome("publish")
    report = operator.run("show", outcome.document["version"])["report"]
    for path in ("crlf.py", "ident.py", "export.py", "utf16.sql"):
        assert path in str(report), f"{path} is not in the report"
        assert path in outcome.stderr, f"{path} is not warned about"


def test_version_is_what_git_describe_says(rich: Repository, tmp_path: Path) -> None:
    described = rich.git("describe", "--tags", "--long", "--abbrev=12", "--match", "v[0-9]*")
    said = run("dagferry", "version", cwd=rich.path).document
    assert (said["version"], said["tag"], said["distance"]) == (described, "v2.0", 0)
    untagged = Repository(tmp_path / "clone")
    commit = untagged.change({"dags/a.py": ""})
    assert run("dagferry", "version", cwd=untagged.path).document["version"] == f"0.0.0-1-g{commit[:12]}"
    untagged.git("tag", "nightly-7")
    assert run("dagferry", "version", cwd=untagged.path).document["tag"] is None


# --- the same bytes everywhere


def test_two_clones_give_the_same_plain_bytes_and_tree(built: Built, rich: Repository, tmp_path: Path) -> None:
    clone = tmp_path / "in another folder" / "ünder another name"
    clone.parent.mkdir()
    rich.git("clone", "--quiet", "--no-recurse-submodules", str(rich.path), str(clone))
    config = "[core]\n\tautocrlf = true\n\teol = crlf\n\tquotepath = true\n\tfileMode = false\n\tabbrev = 40\n"
    config += "\tprecomposeunicode = true\n\tignoreCase = true\n\tsymlinks = false\n[tar]\n\tumask = user\n"
    config += "[log]\n\tdate = relative\n\tshowSignature = true\n[color]\n\tui = always\n[diff]\n\tnoprefix = true\n"
    (tmp_path / "gitconfig").write_text(config + "[i18n]\n\tlogOutputEncoding = UTF-16\n[core]\n\tpager = false\n")
    env = {"TZ": "Asia/Kathmandu", "LC_ALL": "tr_TR.UTF-8", "GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig")}
    (clone / "dags/crlf.py").write_text("an uncommitted change\n")
    other = build(clone, tmp_path / "out", umask=0o077, env=env)
    for name in ("version", "tree", "commit", "files", "left_out"):
        assert other.said[name] == built.said[name]
    assert other.plain_digest == built.plain_digest
    for end in (".files", ".json"):
        ours, theirs = (one.tarball.with_name(one.tarball.name.replace(".tar.zst", end)) for one in (built, other))
        assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize(
    "locale", [{"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, {"TZ": "America/New_York"}], ids=str
)
def test_locale_and_time_zone_change_nothing(
    built: Built, rich: Repository, tmp_path: Path, locale: dict[str, str]
) -> None:
    other = build(rich.path, tmp_path / "out", env={"LANG": None, **locale})
    assert other.said["tree"] == built.said["tree"]
    assert other.plain_digest == built.plain_digest


def test_uncommitted_files_and_config_are_not_built(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "clone")
    repository.change({"dags/a.py": "A = 1\n"})
    before = build(repository.path, tmp_path / "before").said
    repository.write("dags/untracked.py", "")
    repository.write("dags/a.py", "A = 'edited'\n")
    repository.write("dagferry.toml", '[bundles.etl]\nroot = "elsewhere"\n')
    after = build(repository.path, tmp_path / "after").said
    assert (after["tree"], after["version"]) == (before["tree"], before["version"])


def test_x_bit_alone_makes_another_tree(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "clone")
    repository.change({"dags/a.sh": "#!/bin/sh\n"})
    before = build(repository.path, tmp_path / "out").said["tree"]
    (repository.path / "dags/a.sh").chmod(0o755)
    repository.commit()
    assert build(repository.path, tmp_path / "out").said["tree"] != before


def test_root_may_be_the_top_of_the_repository(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "clone", config="[bundles.etl]\n")
    repository.change({"a.py": "A = 1\n", "sub/b.py": "B = 1\n"})
    tree = unpack(build(repository.path, tmp_path / "out").tarball, tmp_path / "tree")
    assert set(content_of(tree)) == {"a.py", "sub/b.py", "dagferry.toml"}


# --- links


def test_links_are_packed_as_what_they_lead_to(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "clone")
    repository.write("dags/real.py", "REAL = 1\n")
    repository.write("dags/run.sh", "#!/bin/sh\n", executable=True)
    repository.write("shared/lib/__init__.py", "LIB = 1\n")
    repository.write("shared/lib/deep/er.py", "DEEPER = 1\n")
    repository.link("shared/lib/deep/up.py", "../__init__.py")
    repository.link("dags/link.py", "real.py")
    repository.link("dags/chain.py", "./sub/../chain2.py")
    repository.write("dags/sub/here.py", "")
    repository.link("dags/chain2.py", "link.py")
    repository.link("dags/run_link.sh", "run.sh")
    repository.link("dags/sub/out_of_root.py", "../../shared/lib/__init__.py")
    repository.link("dags/lib", "../shared/lib")
    repository.link("dags/lib_again", "lib")
    repository.link("dags/through.py", "lib/deep/er.py")
    repository.commit()
    lib = ("__init__.py", "deep/er.py", "deep/up.py")
    paths = ["real.py", "run.sh", "link.py", "chain.py", "chain2.py", "run_link.sh", "sub/here.py", "through.py"]
    paths += ["sub/out_of_root.py", *(f"{folder}/{path}" for folder in ("lib", "lib_again") for path in lib)]
    places = {path: repository.path / "dags" / path for path in paths}
    expected = {path: (bool(place.stat().st_mode & 0o100), place.read_bytes()) for path, place in places.items()}
    built = build(repository.path, tmp_path / "out")
    assert content_of(unpack(built.tarball, tmp_path / "tree")) == expected
    assert built.said["files"] == len(expected)


LINKS = {
    "dangling": "no_such_file.py",
    "loop": "loop",
    "absolute": "/etc/passwd",
    "out_of_commit": "../../../etc/passwd",
    "through_a_file": "real.py/x",
    "into_the_folder_that_holds_it": "..",
    "into_git": "../.git/config",
}


@pytest.mark.parametrize("name", LINKS)
def test_link_that_leads_nowhere_is_refused(name: str, tmp_path: Path) -> None:
    repository = Repository(tmp_path / "clone")
    repository.write("dags/real.py", "")
    repository.link(f"dags/{name}", LINKS[name])
    repository.commit()
    refused = run("dagferry", "build", "--out", str(tmp_path / "out"), cwd=repository.path, expect=1).error
    assert name in refused["message"]
    assert LINKS[name] in refused["message"]
    assert not leftovers(tmp_path / "out")


def leftovers(folder: Path) -> list[Path]:
    """Files in a folder that may be absent."""
    return list(folder.rglob("*")) if folder.exists() else []


# --- refused content


def test_all_problems_of_a_commit_are_shown_at_once_and_nothing_is_written(store_url: str, tmp_path: Path) -> None:
    repository = Repository(tmp_path / "clone", config='[bundles.refused]\nroot = "dags"\n')
    for path in ("Case.py", "case.py", "back\\slash.py", "control\x07.py", "nfd-a\u0308.py", "fine.py"):
        repository.write(f"dags/{path}", "")
    repository.write("dags/model.bin", LFS_POINTER)
    repository.link("dags/dangling.py", "gone.py")
    repository.write("dags/" + "/".join(["d"] * 33), "too deep")
    blob = repository.git("hash-object", "-w", "--stdin", content=b"")
    repository.git("add", "--all")
    index = f"100644 {blob}\tdags/".encode() + b"not-utf8-\xff.py\0"
    repository.git("update-index", "-z", "--index-info", content=index)
    repository.git("commit", "--quiet", "--message=bad")
    operator = Operator(repository.path, store_url)
    outcome = operator.outcome("publish", expect=1)
    message = outcome.error["message"]
    for name in ("Case.py", "case.py", "slash.py", "control", "nfd-a", "dangling.py", "d/d/d", "not-utf8", "model.bin"):
        assert name in message, name
    assert "fine.py" not in message
    assert "\x07" not in outcome.stdout + outcome.stderr
    refused = operator.outcome("build", "--out", str(tmp_path / "out"), expect=1).error
    assert refused["message"] == message
    assert not leftovers(tmp_path / "out")
    assert operator.run("versions")["versions"] == []


def test_name_that_is_not_utf8_is_a_problem_beside_links_too(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "clone")
    repository.write("shared/x.py", "")
    repository.write("dags/\u00e9.py", "")
    repository.link("dags/\u00fc", "../shared")
    blob = repository.git("hash-object", "-w", "--stdin", content=b"")
    repository.git("add", "--all")
    repository.git("update-index", "-z", "--index-info", content=f"100644 {blob}\tdags/".encode() + b"\x80.py\0")
    repository.git("commit", "--quiet", "--message=bad")
    refused = run("dagferry", "build", "--out", str(tmp_path / "out"), cwd=repository.path, expect=1).error
    assert refused["code"] == "cannot_pack"
    assert "1 problem(s)" in refused["message"]


def test_git_lfs_pointer_is_refused(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "clone")
    repository.change({"dags/model.bin": LFS_POINTER, "dags/talks_about_lfs.py": f"TEXT = '''{LFS_POINTER}'''\n"})
    refused = run("dagferry", "build", "--out", str(tmp_path / "out"), cwd=repository.path, expect=1).error
    assert "model.bin" in refused["message"]
    assert "LFS" in refused["message"]
    assert "talks_about_lfs.py" not in refused["message"]
    assert not leftovers(tmp_path / "out")


@pytest.mark.parametrize("root", ["dags/only_links_to_nothing", "no/such/folder", "dags/a.py"])
def test_root_without_files_is_a_wrong_configuration(root: str, tmp_path: Path) -> None:
    repository = Repository(tmp_path / "clone", config=f'[bundles.etl]\nroot = "{root}"\n')
    repository.change({"dags/a.py": ""})
    refused = run("dagferry", "build", "--out", str(tmp_path / "out"), cwd=repository.path, expect=2).error
    assert root in refused["message"]
    assert not leftovers(tmp_path / "out")


def test_file_and_folder_of_one_name_after_links_were_followed_are_refused(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "clone")
    repository.write("dags/lib/a.py", "")
    repository.link("dags/LIB", "lib")
    repository.commit()
    refused = run("dagferry", "build", cwd=repository.path, expect=1).error
    assert "LIB" in refused["message"]


def test_export_into_a_folder_with_files_is_refused(rich: Repository, store_url: str, tmp_path: Path) -> None:
    operator = Operator(rich.path, store_url)
    version = operator.publish()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/precious.txt").write_text("keep me")
    refused = operator.fail(3, "export", version, "--to", str(tmp_path / "mine"))
    assert "mine" in refused["message"]
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["precious.txt"]
