"""The client of object stores, held against every store that can run here, and against a proxy that fails."""

from __future__ import annotations

import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

import pytest
from bucket.servers import AZURE_KEYS, Bucket

from mlv.bucket.store import Creation, open_store
from mlv.errors import BucketDenied, BucketError, BucketMissing, BucketUnreachable, NoSuchObject

obstore = pytest.importorskip("obstore")

KEYS = [
    "a b/c#d", "x%41y", "ü/é", "a=b/c@d", "q?x", "a*b", "c:d", ".mlv/news/x", "log.d/0/1.jsonl.gz", "a+b", "a&b", "x'y", "~t",
    "[x]{y}", "日本", "a^b`c|d",
]  # fmt: skip
"""What names of experiments, streams and files may hold."""


@pytest.fixture
def store(any_bucket):
    return open_store(f"{urlsplit(any_bucket)._replace(query='').geturl()}/root?{urlsplit(any_bucket).query}".rstrip("?"))


@pytest.fixture
def far_store(far, cloud_variables):
    """A store behind the proxy."""
    return open_store(cloud_variables(far.bucket()))


def ignores_conditions(store) -> bool:
    return store.url.startswith("s3") and store.create("probe/x", b"1") is store.create("probe/x", b"2")


@pytest.mark.parametrize("any_bucket", ["file", "moto", "azurite"], indirect=True)
def test_an_object_is_made_once(store):
    """A second object of the same key is told from the first one, which stays."""
    assert store.create("a/b", b"one") is Creation.MADE
    assert store.create("a/b", b"one") is Creation.SAME
    assert store.create("a/b", b"two") is Creation.DIFFERENT
    assert store.create("a/b", b"three") is Creation.DIFFERENT
    assert store.get("a/b") == b"one"


@pytest.mark.parametrize("any_bucket", ["rclone"], indirect=True)
def test_a_store_that_ignores_conditions(store):
    """It replaces an object, and does not say so: callers choose keys whose content follows from the key."""
    assert store.create("a/b", b"one") is Creation.MADE
    assert store.create("a/b", b"two") is Creation.MADE
    assert store.get("a/b") == b"two"


def test_a_large_file_is_made_once_of_parts(store, tmp_path):
    """A file larger than a part arrives whole; made again with other bytes of the same length it is different."""
    path, other = tmp_path / "large.bin", tmp_path / "other.bin"
    path.write_bytes(os.urandom(1 << 20) * 17)
    other.write_bytes(os.urandom(1 << 20) * 17)

    assert store.create("files/large.bin", path) is Creation.MADE
    assert b"".join(store.chunks("files/large.bin")) == path.read_bytes()
    assert store.get_range("files/large.bin", 5, 25) == path.read_bytes()[5:25]
    assert store.head("files/large.bin").size == 17 << 20
    if not ignores_conditions(store):
        assert store.create("files/large.bin", path) is Creation.SAME
        assert store.create("files/large.bin", other) is Creation.DIFFERENT


def test_ranges(store):
    """A range is cut at the end of the object, and of an object that is not there it says so."""
    store.create("a", bytes(range(100)))

    assert store.get_range("a", 0, 1) == b"\x00"
    assert store.get_range("a", 97, 100) == bytes([97, 98, 99])
    assert store.get_range("a", 97, 1000) == bytes([97, 98, 99])
    assert store.get_range("a", 5, 5) == b""
    with pytest.raises(NoSuchObject):
        store.get_range("b", 0, 1)


def test_empty_objects(store, tmp_path):
    """An object may be empty, from bytes and from a file."""
    (tmp_path / "empty").touch()
    store.create("a", b"")
    store.create("b", tmp_path / "empty")

    assert store.get("a") == store.get("b") == b"".join(store.chunks("a")) == b""


def test_keys_are_what_they_are(store):
    """Whatever a name of an experiment may hold reads back, and a listing is in the order of the keys."""
    for key in KEYS:
        store.create(f"k/{key}", key.encode())
    keys = sorted((f"k/{key}" for key in KEYS), key=str.encode)

    assert [stored.key for stored in store.objects("k")] == keys
    assert [store.get(f"k/{key}") for key in KEYS] == [key.encode() for key in KEYS]
    assert store.folders("k") == sorted({f"k/{key.partition('/')[0]}" for key in KEYS if "/" in key})
    for key in KEYS:
        store.delete(f"k/{key}")
    assert list(store.objects("k")) == []


def test_listings_of_more_than_a_page(store):
    """All of 1,100 keys are listed, and those behind a key alone; neighbours whose name begins alike are left out."""
    if store.url.startswith("s3"):
        make_quickly(store, 1_100)
    else:
        for number in range(1_100):
            store.create(f"n/{number:05}", b"")
    store.create("n-/x", b"")
    store.create("nn/x", b"")

    assert [stored.key for stored in store.objects("n")] == [f"n/{number:05}" for number in range(1_100)]
    assert [stored.key for stored in store.objects("n", after="n/01089")] == [f"n/{n:05}" for n in range(1_090, 1_100)]
    assert list(store.objects("n", after="n/99999")) == []


def make_quickly(store, count):
    """Make many objects at once, over connections of their own."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: store.create(f"n/{number:05}", b""), range(count)))


def test_what_is_not_there(store):
    """Reading what is not there says so; looking for it, listing and deleting it does not."""
    store.create("a", b"")
    with pytest.raises(NoSuchObject, match="no object 'x/y'"):
        store.get("x/y")
    with pytest.raises(NoSuchObject):
        b"".join(store.chunks("x/y"))
    assert store.head("x/y") is None
    assert list(store.objects("x")) == []
    assert store.folders("x") == []
    store.delete("x/y")
    store.delete("a")
    assert store.head("a") is None


def test_times_are_those_of_the_store(store):
    """An object's time is the moment of its making."""
    store.create("a", b"x")

    assert abs(store.head("a").modified - time.time()) < 60


@pytest.mark.parametrize("server", ["moto", "azurite", "rclone"])
def test_a_bucket_that_is_not_there(request, server):
    """It is named, with what to do."""
    store = open_store(request.getfixturevalue(server).reach("no-such-bucket").url)

    for call in (lambda: store.get("a"), lambda: store.create("a", b""), lambda: list(store.objects()), store.folders):
        with pytest.raises(BucketMissing, match=r"no-such-bucket.*no such bucket; make it"):
            call()


@pytest.mark.parametrize("server", ["azurite", "rclone"])
def test_wrong_credentials(request, monkeypatch, server):
    """The store's own code is told; moto looks at none."""
    bucket = request.getfixturevalue(server).bucket()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-wrong-wrong")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "d3Jvbmc=")
    store = open_store(bucket.url)

    for call in (lambda: store.get("a"), lambda: store.create("a", b""), lambda: list(store.objects()), store.folders):
        with pytest.raises(BucketDenied, match=r"SignatureDoesNotMatch|AuthorizationFailure|AuthenticationFailed"):
            call()
    with pytest.raises(BucketDenied):
        store.head("a")


def test_no_credentials_at_all(moto, monkeypatch):
    """Where neither variables, files nor the machine hold any, that is said, soon."""
    bucket = moto.bucket()
    for name in moto.variables:
        monkeypatch.delenv(name)
    began = time.monotonic()

    with pytest.raises(BucketDenied, match="AWS_ACCESS_KEY_ID"):
        open_store(bucket.url).get("a")
    assert time.monotonic() - began < 60


def test_an_expired_token_is_replaced_by_a_fresh_one(far, far_store):
    """A refusal that ends with new credentials costs a request, not the call."""
    far_store.create("a", b"x")
    far.set(fault="expired", times=1)

    assert far_store.get("a") == b"x"


@pytest.mark.parametrize("source", ["variables", "file"])
def test_fresh_credentials_are_read_again(rclone, monkeypatch, source):
    """Credentials that somebody replaced, in variables or in the file of AWS, serve the next call."""
    store = open_store(rclone.bucket().url)
    good = rclone.variables
    if source == "file":
        pytest.importorskip("boto3")
        for name in good:
            monkeypatch.delenv(name)
    enter_credentials(source, monkeypatch, "expired-key", "expired-secret")
    store = open_store(store.url)
    with pytest.raises(BucketDenied):
        store.create("a", b"x")

    enter_credentials(source, monkeypatch, good["AWS_ACCESS_KEY_ID"], good["AWS_SECRET_ACCESS_KEY"])

    assert store.create("a", b"x") is Creation.MADE


def enter_credentials(source, monkeypatch, key, secret):
    if source == "variables":
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    else:
        with open(os.environ["AWS_SHARED_CREDENTIALS_FILE"], "w") as file:
            file.write(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")


@pytest.mark.parametrize(
    ("fault", "error", "text"),
    [
        ("expired", BucketDenied, r"ExpiredToken: The provided token has expired"),
        ("denied", BucketDenied, r"AccessDenied: Access Denied"),
        ("skewed", BucketDenied, r"RequestTimeTooSkewed.*clock"),
        ("503", BucketUnreachable, r"SlowDown: Please reduce|503"),
        ("full", BucketUnreachable, r"InsufficientStorage: There is no space left|507"),
    ],
)
def test_refusals_say_what_the_store_said(far, far_store, fault, error, text):
    """Each answer of the store becomes an error of ours with its code and message; afterwards all is well again."""
    far_store.create("a", b"x")
    far.set(fault=fault)

    for call in (lambda: far_store.get("a"), lambda: far_store.create("b", b""), lambda: list(far_store.objects())):
        with pytest.raises(error, match=text):
            call()
    far.set()
    assert far_store.get("a") == b"x"


@pytest.mark.parametrize("fault", ["denied", "expired", "skewed"])
def test_a_refusal_without_a_reason(far, far_store, fault):
    """An answer to HEAD has no content: the error names the status alone, and the command that gets the reason."""
    far.set(fault=fault)

    with pytest.raises(BucketDenied, match=r"refuses access to 'a': 403 Forbidden\. Look .*`mlv doctor s3://"):
        far_store.head("a")


def test_an_object_that_is_too_large(far, far_store):
    """That another try changes nothing is told by the kind of the error."""
    far.set(fault="large", kinds=["PUT"])

    with pytest.raises(BucketError, match=r"takes no object as large as 'a': EntityTooLarge") as told:
        far_store.create("a", b"x")
    assert type(told.value) is BucketError


def test_no_right_to_list(far, far_store):
    """Where listing alone is refused, reading and making objects go on."""
    far.set(fault="denied", kinds=["LIST"])

    assert far_store.create("a", b"x") is Creation.MADE
    assert far_store.get("a") == b"x"
    with pytest.raises(BucketDenied, match=r"refuses access to the root.*AccessDenied"):
        list(far_store.objects())


class AzureBatch(BaseHTTPRequestHandler):
    """Azure's answer to the deletion of several objects in one request: one within it for each. Azurite has no refusals."""

    refusal = ""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        head = "Content-Type: application/http\r\nContent-ID: 0\r\n\r\n"
        content = f"--batch\r\n{head}HTTP/1.1 {self.refusal}\r\n\r\n\r\n--batch--\r\n".encode()
        self.send_response(202)
        self.send_header("Content-Type", "multipart/mixed; boundary=batch")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.mark.parametrize(
    "refusal",
    [
        "403 This request is not authorized to perform this operation using this permission.",
        "409 This operation is not permitted as the blob is immutable due to a policy.",
    ],
)
def test_no_right_to_delete_on_azure(cloud_variables, refusal):
    """It is told apart from a store that is away: nobody waits for it."""
    answering = type("Answering", (AzureBatch,), {"refusal": refusal})
    with ThreadingHTTPServer(("127.0.0.1", 0), answering) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"az://lab?endpoint=http://127.0.0.1:{server.server_port}/devstoreaccount1"
        store = open_store(cloud_variables(Bucket(url, AZURE_KEYS)))

        with pytest.raises(BucketDenied, match=f"refuses access to 'a/b'.*{refusal[4:]}"):
            store.delete("a/b")
        server.shutdown()


def test_a_few_faults_are_passed_over(far, far_store):
    """One answer of 503, one lost answer and one cut connection cost no error."""
    for fault in ("503", "lost", "reset"):
        far.set(fault=fault, times=1)
        assert far_store.create(f"of-{fault}", b"x") in (Creation.MADE, Creation.SAME)
        far.set(fault=fault, times=1)
        assert far_store.get(f"of-{fault}") == b"x"


def test_a_connection_cut_in_the_middle_of_a_read(far, far_store, tmp_path):
    """The bytes are whole, or there is an error: never half of them."""
    content = os.urandom(1 << 20)
    far_store.create("a", content)
    far.set(fault="cut", kinds=["GET"], times=1)
    assert far_store.get("a") == content

    far.set(fault="cut", kinds=["GET"])
    with pytest.raises(BucketUnreachable):
        far_store.get("a")
    with pytest.raises(BucketUnreachable):
        b"".join(far_store.chunks("a"))


def test_a_store_that_never_answers(far, cloud_variables):
    """A call ends at its deadline."""
    store = open_store(cloud_variables(far.bucket()), timeout_s=0.5)
    store.create("a", b"x")
    far.set(fault="hole")

    for call in (
        lambda: store.get("a"),
        lambda: store.create("b", b""),
        lambda: list(store.objects()),
        lambda: store.head("a"),
    ):
        began = time.monotonic()
        with pytest.raises(BucketUnreachable, match=r"no answer within 0\.5 s"):
            call()
        assert time.monotonic() - began < 30


def test_a_slow_store(far, cloud_variables):
    """Bytes that trickle arrive whole; where they take longer than a request may, the call fails at its deadline."""
    content = os.urandom(100_000)
    store = open_store(cloud_variables(far.bucket()), timeout_s=1)
    far.set(bytes_per_s=1_000_000.0)
    assert store.create("a", content) is Creation.MADE
    assert store.get("a") == content

    far.set(bytes_per_s=10_000.0)
    began = time.monotonic()
    with pytest.raises(BucketUnreachable):
        store.get("a")
    assert time.monotonic() - began < 60


def test_a_store_that_is_gone(moto, free_port_of_nobody):
    """A port on which nobody listens is told at once."""
    store = open_store(moto.reach("b", free_port_of_nobody).url)

    with pytest.raises(BucketUnreachable, match=r"127\.0\.0\.1"):
        store.get("a")


@pytest.fixture
def free_port_of_nobody():
    from bucket.servers import free_port

    return free_port()


def test_an_object_of_another_length_needs_no_read(far, far_store):
    """Whether bytes are the same is told by their number where that differs."""
    far_store.create("a", b"one")
    far.requests(reset=True)

    assert far_store.create("a", b"three") is Creation.DIFFERENT
    assert far.requests().get("GET", 0) == 0


def test_listings_ask_for_what_is_new(far, far_store):
    """A listing behind a key is one request, however many come before it."""
    for number in range(30):
        far_store.create(f"n/{number:02}", b"")
    far.requests(reset=True)

    assert len(list(far_store.objects("n", after="n/24"))) == 5
    assert far.requests()["LIST"] == 1


@pytest.fixture
def locked(far):
    """A bucket whose objects may neither be replaced nor deleted for a day."""
    boto3 = pytest.importorskip("boto3")
    # Moto wants a header that S3 itself does without, and that its clients do not sign.
    far.set(headers={"x-amz-sdk-checksum-algorithm": "SHA256"})
    name = "lab-locked"
    bucket = far.server.reach(name, far.port)
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{far.server.port}")
    client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}
    client.put_object_lock_configuration(Bucket=name, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule})
    return bucket


def test_a_bucket_with_object_lock(locked):
    """Objects are made and read, and making one again changes nothing."""
    store = open_store(locked.url)

    assert store.create("a", b"x") is Creation.MADE
    assert store.create("a", b"y") is Creation.DIFFERENT
    assert store.get("a") == b"x"


def test_a_policy_that_refuses_to_replace_and_delete(far, far_store):
    """A store that refuses deletion says so, and the object stays."""
    far_store.create("a", b"x")
    far.set(fault="denied", kinds=["DELETE"])

    with pytest.raises(BucketDenied, match="AccessDenied"):
        far_store.delete("a")
    assert far_store.create("a", b"y") is Creation.DIFFERENT
    assert far_store.get("a") == b"x"


def test_azure_by_the_variables_of_the_emulator(azurite, monkeypatch):
    """What Azure's own clients are told of the emulator serves here, too."""
    url = azurite.bucket().url.partition("?")[0]
    monkeypatch.setenv("AZURE_STORAGE_USE_EMULATOR", "true")
    monkeypatch.setenv("AZURITE_BLOB_STORAGE_URL", f"http://127.0.0.1:{azurite.port}")
    store = open_store(f"{url}/root")

    assert store.create("a", b"x") is Creation.MADE
    assert store.get("a") == b"x"


def test_s3_by_the_variables_of_aws(moto, monkeypatch):
    """The endpoint may stand in AWS_ENDPOINT_URL, as for the tools of AWS."""
    url = moto.bucket().url.partition("?")[0]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{moto.port}")
    store = open_store(f"{url}/root")

    assert store.create("a", b"x") is Creation.MADE
    assert store.get("a") == b"x"


def test_s3_by_a_profile(rclone, monkeypatch):
    """Keys, region and endpoint of a profile of AWS serve, where `boto3` is installed."""
    pytest.importorskip("boto3")
    url = rclone.bucket().url.partition("?")[0]
    for name in rclone.variables:
        monkeypatch.delenv(name)
    keys = rclone.variables
    with open(os.environ["AWS_SHARED_CREDENTIALS_FILE"], "w") as file:
        file.write(
            f"[lab]\naws_access_key_id={keys['AWS_ACCESS_KEY_ID']}\naws_secret_access_key={keys['AWS_SECRET_ACCESS_KEY']}\n"
        )
    with open(os.environ["AWS_CONFIG_FILE"], "w") as file:
        file.write(f"[profile lab]\nregion = eu-west-1\nendpoint_url = http://127.0.0.1:{rclone.port}\n")
    monkeypatch.setenv("AWS_PROFILE", "lab")

    store = open_store(f"{url}/root")

    assert store.create("a", b"x") is Creation.MADE
    assert store.get("a") == b"x"


def test_a_service_account_of_google(tmp_path, monkeypatch, cloud_variables):
    """The file that GOOGLE_APPLICATION_CREDENTIALS names is read; one that is none is an error with its name."""
    path = tmp_path / "account.json"
    path.write_text(json.dumps({"type": "nonsense"}))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))

    with pytest.raises(BucketError, match=r"gs://lab.*cannot be opened"):
        open_store("gs://lab/x")
