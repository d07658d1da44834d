"""Google's roles and conditions on a server that enforces them: each part can do its job, and nothing else.

Which identity gets which role where is what the commands of the page say.
"""

from __future__ import annotations

import json
import re
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from dagferry_builder.lint.live import Others
from dagferry_storage.gcs import GcsAddress, GcsStore
from tests.e2e.harness import BUNDLE
from tests.policies.files import EVERY_PART, FOLDER, PAGE, PARTS, Place
from tests.policies.jobs import OTHER, Call, Identity, Site, check_refused
from tests.policies.neighbours import others
from tests.policies.rights import GET, PUT, REPLACED, RIGHTS
from tests.storage import servers
from tests.storage.gcs_rights import Rights

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.harness import Outcome

pytestmark = pytest.mark.policies
PREFIX = "team/dags"
CHANNEL = "prod"
PLACE = Place(servers.BUCKET, PREFIX, BUNDLE, CHANNEL)
GRANT = re.compile(r'^grant(?:_where)? "\$([A-Z]+)" dagferry([A-Z][a-z]+)(?: (\S+))?$', re.MULTILINE)

Bindings = list[dict[str, Any]]


def bindings_of(part: str, place: Place) -> Bindings:
    """What the page's commands give to the part."""
    found: Bindings = []
    for who, role, where in GRANT.findall(PAGE.read_text(encoding="utf-8")):
        if who.lower() == part:
            included = read(f"gcs-role-{role.lower()}.yaml", place)["includedPermissions"]
            found.append({"permissions": included, "condition": read(where, place)["expression"] if where else ""})
    return found


def read(name: str, place: Place) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(place.fill((FOLDER / name).read_text(encoding="utf-8")))
    return document


SPARED = [
    (part, number, permission)
    for part in PARTS
    for number, binding in enumerate(bindings_of(part, PLACE))
    for permission in binding["permissions"]
]


@dataclass(frozen=True)
class GuardedGcs:
    """The server, as somebody sees it who may do everything."""

    address: str

    def user(self, *bindings: Bindings) -> Identity:
        """Someone who has these bindings and no others: their port."""
        body = json.dumps([one for some in bindings for one in some]).encode()
        with urllib.request.urlopen(f"{self.address}/guarded", body, timeout=10) as reply:
            port = json.load(reply)["port"]
        return Identity({servers.EMULATOR: f"http://127.0.0.1:{port}"}, "a client without credentials")

    def part(self, part: str, place: Place) -> Identity:
        """Someone who has what the page gives to the part."""
        return self.user(bindings_of(part, place))

    def probes(self) -> list[str]:
        """The probe's objects that are still there."""
        store = GcsStore(GcsAddress(servers.BUCKET, f"{PREFIX}/", self.address))
        return list(store.names(f"{BUNDLE}/probe/"))


@pytest.fixture(scope="module")
def gcs() -> Iterator[GuardedGcs]:
    with servers.gcs() as address:
        yield GuardedGcs(address)


@pytest.fixture(scope="module")
def people(gcs: GuardedGcs) -> dict[str, Identity]:
    return {part: gcs.part(part, PLACE) for part in PARTS}


@pytest.fixture(scope="module")
def site(people: dict[str, Identity], tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The builder has published two versions, and the promoter has made the second one live."""
    site = Site(tmp_path_factory.mktemp("site"), f"gs://{servers.BUCKET}/{PREFIX}")
    published = site.do(people["builder"], [("dagferry", "publish", f"--rev={one}") for one in site.commits])
    site.versions += [one.document["version"] for one in published]
    site.do(people["promoter"], [("dagferry", "promote", version, f"--channel={CHANNEL}") for version in site.versions])
    return site


@pytest.fixture
def there(request: pytest.FixtureRequest) -> Place:
    """The bundle, and a channel that no other test uses."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")
    return Place(servers.BUCKET, PREFIX, BUNDLE, name[:60].strip("-"))


def test_every_file_is_granted_by_the_page() -> None:
    granted = {f"gcs-role-{role.lower()}.yaml" for _, role, _ in GRANT.findall(PAGE.read_text(encoding="utf-8"))}
    granted |= {where for _, _, where in GRANT.findall(PAGE.read_text(encoding="utf-8")) if where}
    assert granted == {file.name for file in FOLDER.glob("gcs-*")}


def test_roles_and_conditions_have_what_google_asks_for() -> None:
    for file in FOLDER.glob("gcs-*"):
        document = read(file.name, PLACE)
        if file.name.startswith("gcs-role-"):
            assert document.keys() == {"title", "description", "stage", "includedPermissions"}, file.name
            assert document["stage"] == "GA"
        else:
            assert document.keys() == {"title", "expression"}, file.name
        assert len(document["title"]) <= 100, "the longest title that Google takes"


@pytest.mark.parametrize("part", EVERY_PART)
def test_each_part_may_do_with_a_key_what_the_table_says(part: str) -> None:
    has = Rights.from_json(bindings_of(part, PLACE))
    for key, rights in RIGHTS:
        of_part = rights.get(part, set())
        expected = {
            "storage.objects.get": GET in of_part,
            "storage.objects.create": PUT in of_part,
            "storage.objects.delete": key in REPLACED[part],
        }
        assert {one: has.may(one, servers.BUCKET, f"{PREFIX}/{key}") for one in expected} == expected, key
    assert has.may("storage.objects.list", servers.BUCKET) is (part in ("builder", "promoter"))


def test_what_is_not_known_in_a_condition_is_no_silent_yes() -> None:
    rights = Rights.from_json([{"permissions": ["p"], "condition": 'resource.type == "x"'}])
    with pytest.raises(ValueError, match="not known here"):
        rights.may("p", "bucket", "name")


def test_the_builder_publishes_and_leaves_no_probe_behind(
    gcs: GuardedGcs, people: dict[str, Identity], site: Site
) -> None:
    first, again, *_ = site.do(people["builder"], site.job("builder", CHANNEL))
    assert (first.document["created"], again.document["created"]) == (True, False)
    assert gcs.probes() == []


def test_the_builder_adopts_a_tree_that_it_may_not_replace(people: dict[str, Identity], site: Site) -> None:
    """Another commit with the same content: the tree is there already."""
    commit = site.repository.change({"README.md": "Not below the root.\n"})
    before, after = site.do(
        people["builder"], [("dagferry", "publish", f"--rev={one}") for one in (f"{commit}~1", commit)]
    )
    assert (after.document["created"], after.document["tree"]) == (True, before.document["tree"])


def test_the_promoter_moves_a_channel_that_is_new(gcs: GuardedGcs, site: Site, there: Place) -> None:
    *_, log, verified, _ = site.do(gcs.part("promoter", there), site.job("promoter", there.channel))
    assert [one["action"] for one in log.document["records"]] == ["hold", "resume", "rollback", "promote", "promote"]
    assert verified.document["ok"]
    assert "delta" in [check["name"] for check in verified.document["checks"]]


def test_the_agent_pulls_what_is_live_and_a_version_by_its_name(people: dict[str, Identity], site: Site) -> None:
    live, named, doctor = site.do(people["agent"], site.job("agent", CHANNEL))
    assert doctor.document["ok"]
    assert live.document["version"] == named.document["version"] == site.versions[1]


def test_a_linter_looks_into_other_bundles_and_a_builder_may_not(
    gcs: GuardedGcs, people: dict[str, Identity], site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    linter, version = gcs.part("linter", PLACE), site.versions[1]
    seen = others(monkeypatch, linter, site.store_url, CHANNEL)
    assert seen.unseen == () or f"bundle {BUNDLE!r} ({version} has no list of its DAGs" in seen.unseen[0]
    assert len(seen.owned) + len(seen.unseen) == 1
    (refused,) = others(monkeypatch, people["builder"], site.store_url, CHANNEL).unseen
    assert refused.startswith(f"bundle {BUNDLE!r} (")
    (refused,) = others(monkeypatch, people["agent"], site.store_url, CHANNEL).unseen
    assert "the bundles cannot be listed" in refused


def test_a_bundle_without_the_channel_is_no_refusal_to_a_linter(
    gcs: GuardedGcs, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    linter = gcs.part("linter", Place(servers.BUCKET, PREFIX, BUNDLE, "no-such-channel"))
    assert others(monkeypatch, linter, site.store_url, "no-such-channel") == Others()


def says(site: Site, who: Identity, channel: str, agent: str = "pod-1") -> list[Outcome]:
    """Two pulls of one agent that acknowledges: the first creates its object, the second replaces it."""
    call = ("dagferry-agent", "pull", f"--channel={channel}", "--acknowledge", f"--agent-id={agent}")
    return site.do(who, [call, call])


def test_an_agent_acknowledges_with_that_right_and_pulls_without_it(
    gcs: GuardedGcs, people: dict[str, Identity], site: Site
) -> None:
    both = gcs.user(bindings_of("agent", PLACE), bindings_of("acknowledger", PLACE))
    assert [one.stderr for one in says(site, both, CHANNEL) if "does not acknowledge" in one.stderr] == []
    status = ("dagferry", "status", f"--channel={CHANNEL}")
    (seen,) = site.do(people["promoter"], [status])
    assert [(one["url"], one["absent"]) for one in seen.document["agents"]] == [("store:pod-1", "gone")]
    for one in says(site, people["agent"], CHANNEL):
        assert one.document["version"] == site.versions[1]
        assert one.stderr.count("this agent does not acknowledge") == 1


@pytest.mark.planted
@pytest.mark.parametrize("number", range(3))
def test_no_permission_of_the_acknowledger_can_be_spared(number: int, gcs: GuardedGcs, site: Site) -> None:
    bindings = bindings_of("acknowledger", PLACE)
    assert len(bindings) == 3
    spared = bindings.pop(number)["permissions"][0]
    weak = gcs.user(bindings_of("agent", PLACE), bindings)
    said = [one.stderr for one in says(site, weak, CHANNEL, spared)]
    assert any("this agent does not acknowledge" in one for one in said)


def test_ship_is_builder_and_promoter_together(gcs: GuardedGcs, site: Site, there: Place) -> None:
    both = gcs.user(bindings_of("builder", there), bindings_of("promoter", there))
    (shipped,) = site.do(both, [("dagferry", "ship", f"--rev={site.commit()}", f"--channel={there.channel}")])
    assert shipped.document["generation"] == 1


PUBLISH = ("dagferry", "publish")
PROMOTE = ("dagferry", "promote", "{version}", f"--channel={CHANNEL}")


@pytest.mark.parametrize(
    ("part", "call", "bundle"),
    [
        ("agent", PUBLISH, BUNDLE),
        ("builder", PROMOTE, BUNDLE),
        ("promoter", PUBLISH, BUNDLE),
        ("promoter", ("dagferry", "promote", "{version}", "--channel=staging"), BUNDLE),
        ("builder", PUBLISH, OTHER),
        ("agent", ("dagferry-agent", "pull", f"--channel={CHANNEL}"), OTHER),
    ],
)
def test_what_is_not_its_job_is_refused(
    part: str, call: Call, bundle: str, people: dict[str, Identity], site: Site
) -> None:
    site.commit()
    call = tuple(word.format(version=site.versions[0]) for word in call)
    check_refused(site.call(people[part], call, bundle=bundle), people[part])


@pytest.mark.planted
@pytest.mark.parametrize(("part", "number", "permission"), SPARED)
def test_no_permission_can_be_spared(
    part: str, number: int, permission: str, gcs: GuardedGcs, site: Site, there: Place
) -> None:
    place = PLACE if part == "agent" else there
    bindings = bindings_of(part, place)
    bindings[number] = {
        **bindings[number],
        "permissions": [one for one in bindings[number]["permissions"] if one != permission],
    }
    weak = gcs.user(bindings)
    refusal = site.refusal(weak, site.job(part, place.channel))
    if (part, permission) == ("builder", "storage.objects.delete"):  # it publishes, and cannot probe a second time
        assert refusal is not None
        assert refusal.arguments[1] == "init-store"
    check_refused(refusal, weak)
