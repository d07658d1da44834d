"""S3 policies on a server that enforces them: each part can do its job, and nothing else."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from dagferry_builder.lint.live import Others
from dagferry_schemas import layout
from tests.e2e.harness import BUNDLE
from tests.policies.files import PARTS, Place, listed, without
from tests.policies.guarded_s3 import GuardedS3, guarded_s3
from tests.policies.jobs import OTHER, Call, Site, check_refused
from tests.policies.neighbours import others
from tests.policies.rights import GET, PUT
from tests.storage import servers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.harness import Outcome
    from tests.policies.jobs import Identity

pytestmark = pytest.mark.policies
PREFIX = "team/dags"
CHANNEL = "prod"
PLACE = Place(servers.BUCKET, PREFIX, BUNDLE, CHANNEL)
ACTIONS = [(part, one["Sid"], action) for part in PARTS for one in PLACE.s3(part)["Statement"]
           for action in listed(one["Action"])]  # fmt: skip
FOR_UPLOADS_IN_PARTS = "s3:AbortMultipartUpload"


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedS3]:
    with guarded_s3(PLACE.s3("bucket"), tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="module")
def people(s3: GuardedS3) -> dict[str, Identity]:
    """One user for each part, with exactly the part's policy."""
    return {part: s3.user(PLACE.s3(part)) for part in PARTS}


@pytest.fixture(scope="module")
def site(s3: GuardedS3, people: dict[str, Identity], tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The builder has published two versions, and the promoter has made the second one live."""
    site = Site(tmp_path_factory.mktemp("site"), f"s3://{servers.BUCKET}/{PREFIX}?endpoint={s3.endpoint}")
    published = site.do(people["builder"], [("dagferry", "publish", f"--rev={one}") for one in site.commits])
    site.versions += [one.document["version"] for one in published]
    site.do(people["promoter"], [("dagferry", "promote", version, f"--channel={CHANNEL}") for version in site.versions])
    return site


def channel_of(request: pytest.FixtureRequest) -> str:
    return re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:60].strip("-")


@pytest.fixture
def there(request: pytest.FixtureRequest) -> Place:
    """The bundle, and a channel that no other test uses."""
    return Place(servers.BUCKET, PREFIX, BUNDLE, channel_of(request))


def probes(s3: GuardedS3) -> list[str]:
    return s3.keys(f"{PREFIX}/{BUNDLE}/probe/")


def test_the_builder_publishes_and_leaves_no_probe_behind(
    s3: GuardedS3, people: dict[str, Identity], site: Site
) -> None:
    first, again, *_ = site.do(people["builder"], site.job("builder", CHANNEL))
    assert (first.document["created"], again.document["created"]) == (True, False)
    assert probes(s3) == []


def test_a_linter_looks_into_other_bundles_and_a_builder_may_not(
    s3: GuardedS3, people: dict[str, Identity], site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    linter, version = s3.user(PLACE.s3("linter")), site.versions[1]
    seen = others(monkeypatch, linter, site.store_url, CHANNEL)
    assert seen.unseen == () or f"bundle {BUNDLE!r} ({version} has no list of its DAGs" in seen.unseen[0]
    assert len(seen.owned) + len(seen.unseen) == 1
    for part in PARTS:
        (refused,) = others(monkeypatch, people[part], site.store_url, CHANNEL).unseen
        assert "the bundles cannot be listed" in refused
        assert people[part].name in refused


def test_a_bundle_without_the_channel_is_no_refusal_to_a_linter(
    s3: GuardedS3, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    linter = s3.user(Place(servers.BUCKET, PREFIX, BUNDLE, "no-such-channel").s3("linter"))
    assert others(monkeypatch, linter, site.store_url, "no-such-channel") == Others()


def test_the_promoter_moves_a_channel_that_is_new(s3: GuardedS3, site: Site, there: Place) -> None:
    promoter = s3.user(there.s3("promoter"))
    *_, log, verified, channels = site.do(promoter, site.job("promoter", there.channel))
    assert [one["action"] for one in log.document["records"]] == ["hold", "resume", "rollback", "promote", "promote"]
    assert verified.document["ok"]
    assert "delta" in [check["name"] for check in verified.document["checks"]]
    assert there.channel in [one["channel"] for one in channels.document["channels"]]


def test_the_agent_pulls_what_is_live_and_a_version_by_its_name(people: dict[str, Identity], site: Site) -> None:
    live, named, doctor = site.do(people["agent"], site.job("agent", CHANNEL))
    assert doctor.document["ok"]
    assert live.document["version"] == named.document["version"] == site.versions[1]


def test_an_agent_may_not_know_whether_its_channel_has_a_record(s3: GuardedS3, site: Site, there: Place) -> None:
    """It may not list, so what is missing is forbidden; with the first promotion the same agent can pull."""
    agent, promoter = s3.user(there.s3("agent")), s3.user(there.s3("promoter"))
    pull = ("dagferry-agent", "pull", f"--channel={there.channel}")
    check_refused(site.call(agent, pull), agent)
    site.do(promoter, [("dagferry", "promote", site.versions[0], f"--channel={there.channel}")])
    site.do(agent, [pull])


def says(site: Site, who: Identity, channel: str, agent: str = "pod-1") -> list[Outcome]:
    """Two pulls of one agent that acknowledges: the first creates its object, the second replaces it."""
    call = ("dagferry-agent", "pull", f"--channel={channel}", "--acknowledge", f"--agent-id={agent}")
    return site.do(who, [call, call])


def test_an_agent_acknowledges_with_that_right_and_pulls_without_it(
    s3: GuardedS3, people: dict[str, Identity], site: Site
) -> None:
    both = s3.user(PLACE.s3("agent"), PLACE.s3("acknowledger"))
    assert [one.stderr for one in says(site, both, CHANNEL) if "does not acknowledge" in one.stderr] == []
    status = ("dagferry", "status", f"--channel={CHANNEL}")
    (seen,) = site.do(people["promoter"], [status])
    assert [(one["url"], one["absent"]) for one in seen.document["agents"]] == [("store:pod-1", "gone")]
    for one in says(site, people["agent"], CHANNEL):
        assert one.document["version"] == site.versions[1]
        assert one.stderr.count("this agent does not acknowledge") == 1


@pytest.mark.planted
@pytest.mark.parametrize("action", [GET, PUT])
def test_no_action_of_the_acknowledger_can_be_spared(action: str, s3: GuardedS3, site: Site) -> None:
    weak = s3.user(PLACE.s3("agent"), *without(PLACE.s3("acknowledger"), "SayWhatIsServed", action))
    said = [one.stderr for one in says(site, weak, CHANNEL, action[3:])]
    assert any("this agent does not acknowledge" in one for one in said)


def test_ship_is_builder_and_promoter_together(s3: GuardedS3, site: Site, there: Place) -> None:
    both = s3.user(there.s3("builder"), there.s3("promoter"))
    (shipped,) = site.do(both, [("dagferry", "ship", f"--rev={site.commit()}", f"--channel={there.channel}")])
    assert shipped.document["generation"] == 1


PUBLISH = ("dagferry", "publish")
PROMOTE = ("dagferry", "promote", "{version}", f"--channel={CHANNEL}")
ROLLBACK = ("dagferry", "rollback", f"--channel={CHANNEL}")
PULL = ("dagferry-agent", "pull", f"--channel={CHANNEL}")


@pytest.mark.parametrize(
    ("part", "call", "bundle"),
    [
        ("agent", PUBLISH, BUNDLE),
        ("agent", (*PROMOTE, "--allow-older"), BUNDLE),
        ("agent", (*PULL[:2], "--channel=staging"), BUNDLE),
        ("builder", PROMOTE, BUNDLE),
        ("builder", ROLLBACK, BUNDLE),
        ("promoter", PUBLISH, BUNDLE),
        ("promoter", ("dagferry", "promote", "{version}", "--channel=staging"), BUNDLE),
        ("builder", PUBLISH, OTHER),
        ("promoter", PROMOTE, OTHER),
        ("agent", PULL, OTHER),
    ],
)
def test_what_is_not_its_job_is_refused_and_the_message_names_the_key(
    part: str, call: Call, bundle: str, people: dict[str, Identity], site: Site
) -> None:
    site.commit()
    call = tuple(word.format(version=site.versions[0]) for word in call)
    check_refused(site.call(people[part], call, bundle=bundle), people[part])


def allowed(action: Callable[[], object]) -> bool:
    """Whether a request was permitted, whatever else became of it."""
    try:
        action()
    except ClientError as error:
        return int(error.response["ResponseMetadata"]["HTTPStatusCode"]) != 403
    return True


@pytest.mark.parametrize("key", ["{head}", "{log}", "{version}", "{report}", "{tarball}", "{files}", "{store}"])
def test_the_server_lets_nobody_write_beyond_their_part(
    key: str, s3: GuardedS3, people: dict[str, Identity], site: Site
) -> None:
    """Without our commands: someone who has the key and a client. What is written here is there already."""
    tree = "sha256:" + "0" * 64
    key = key.format(
        head=layout.head(BUNDLE, CHANNEL), log=layout.log(BUNDLE, CHANNEL, 1), version=layout.version(BUNDLE, "v1"),
        report=layout.report(BUNDLE, "v1"), tarball=layout.tarball(BUNDLE, tree), files=layout.files(BUNDLE, tree),
        store=layout.store_json(BUNDLE),
    )  # fmt: skip
    writer = "promoter" if "/channels/" in key else "builder"
    for part in PARTS:
        client, name = s3.client(people[part]), {"Bucket": servers.BUCKET, "Key": f"{PREFIX}/{key}"}
        assert allowed(lambda: client.put_object(**name, Body=b"", IfNoneMatch="*")) is (part == writer), part  # noqa: B023
        assert not allowed(lambda: client.put_object(**name, Body=b"")), part  # noqa: B023 (the bucket's policy)
        assert not allowed(lambda: client.delete_object(**name)), part  # noqa: B023


def test_what_is_published_cannot_be_replaced_and_a_head_only_by_comparison(
    s3: GuardedS3, people: dict[str, Identity], site: Site
) -> None:
    head = {"Bucket": servers.BUCKET, "Key": f"{PREFIX}/{layout.head(BUNDLE, CHANNEL)}"}
    document = {"Bucket": servers.BUCKET, "Key": f"{PREFIX}/{layout.version(BUNDLE, site.versions[0])}"}
    body, tag = s3.bucket.get_object(**head)["Body"].read(), s3.bucket.get_object(**head)["ETag"]
    assert allowed(lambda: s3.client(people["promoter"]).put_object(**head, Body=body, IfMatch=tag))
    for who in (s3.client(people["builder"]), s3.bucket):
        tag = s3.bucket.get_object(**document)["ETag"]
        assert not allowed(lambda: who.put_object(**document, Body=b"{}", IfMatch=tag))  # noqa: B023
        assert not allowed(lambda: who.put_object(**document, Body=b"{}"))  # noqa: B023
        assert not allowed(lambda: who.delete_object(**document))  # noqa: B023


def test_an_upload_in_parts_is_conditional_at_its_end_and_can_be_given_up(
    s3: GuardedS3, people: dict[str, Identity]
) -> None:
    client = s3.client(people["builder"])
    name = {"Bucket": servers.BUCKET, "Key": f"{PREFIX}/{BUNDLE}/trees/{'1' * 64}/dags.tar.zst"}
    upload = {**name, "UploadId": client.create_multipart_upload(**name)["UploadId"]}
    tag = client.upload_part(**upload, PartNumber=1, Body=io.BytesIO(b"part"))["ETag"]
    parts = {"MultipartUpload": {"Parts": [{"ETag": tag, "PartNumber": 1}]}}
    assert not allowed(lambda: client.complete_multipart_upload(**upload, **parts))
    client.complete_multipart_upload(**upload, **parts, IfNoneMatch="*")
    given_up = {**name, "UploadId": client.create_multipart_upload(**name)["UploadId"]}
    client.abort_multipart_upload(**given_up)


@pytest.mark.planted
@pytest.mark.parametrize(("part", "sid", "action"), ACTIONS)
def test_no_action_can_be_spared(
    part: str, sid: str, action: str, s3: GuardedS3, people: dict[str, Identity], site: Site, there: Place
) -> None:
    place = Place(servers.BUCKET, PREFIX, BUNDLE, CHANNEL if part == "agent" else there.channel)
    weak = s3.user(*without(place.s3(part), sid, action))
    if action == FOR_UPLOADS_IN_PARTS:
        name = {"Bucket": servers.BUCKET, "Key": f"{PREFIX}/{BUNDLE}/trees/{'2' * 64}/dags.tar.zst"}
        upload = {**name, "UploadId": s3.client(weak).create_multipart_upload(**name)["UploadId"]}
        assert not allowed(lambda: s3.client(weak).abort_multipart_upload(**upload))
        return
    if sid == "SayWhatChanged":  # the commands go on without it, and say so
        fresh = ("dagferry", "publish", f"--rev={site.commit()}")
        (published,) = site.do(people["builder"], [fresh])
        promote = ("dagferry", "promote", f"--channel={place.channel}")
        *_, last = site.do(weak, [*site.job(part, place.channel), ("dagferry", "resume", f"--channel={place.channel}"),
                                  (*promote, published.document["version"])])  # fmt: skip
        assert "no delta was made" in last.stderr
        return
    refusal = site.refusal(weak, site.job(part, place.channel))
    if action == "s3:DeleteObject":  # the commands go on without it, and leave something behind
        assert refusal is None
        assert probes(s3) != []
        return
    check_refused(refusal, weak)
