"""Real S3 servers for tests: started on free ports, looked into behind varve's back, gone when the test is.

    with s3servers.minio(scratch) as s3:
        bucket = s3.bucket()
        run("init", store, "--cold", s3.url(bucket, "archive"), env=s3.env)
        assert s3.client().keys(bucket) == [...]

Where a server cannot be had, Skip is raised with its name and the reason. One that is there and does not start is a
failure. The processes die with the test, also when that is killed. shared() keeps one server for all the tests of a
script, since RGW takes a quarter of a minute to start.
"""

import atexit
import contextlib
import io
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile

import varvetest

sys.path.insert(0, os.path.join(varvetest.ROOT, "tools/servers"))

import s3minio  # noqa: E402
import s3process  # noqa: E402
import s3rgw  # noqa: E402
from s3client import Client  # noqa: E402

READ_ONLY_KEY, READ_ONLY_SECRET = "READONLYAK", "READONLYSK"


class S3:
    """A server that runs, and what a test wants of it."""

    def __init__(self, server):
        self.server = server
        self.name = server.name
        self.buckets_made = 0
        self.take(server.up())

    def take(self, description):
        self.description = description
        self.endpoint = description["S3_ENDPOINT"]
        self.tls_endpoint = description["S3_TLS_ENDPOINT"]
        self.ca_file = description["S3_CA_FILE"] or None
        self.vhost = description["S3_VHOST"]
        self.region = description["AWS_REGION"]
        # What a program needs in its environment to use this server.
        self.env = {k: v for k, v in description.items() if k.startswith("AWS_")}

    # Reaching it.

    def client(self, env=None, tls=False, vhost=False):
        """A client of its own for the bucket; `env`: other credentials than the administrator's."""
        keys = env or self.env
        return Client(self.tls_endpoint if tls else self.endpoint, keys["AWS_ACCESS_KEY_ID"],
                      keys["AWS_SECRET_ACCESS_KEY"], keys.get("AWS_SESSION_TOKEN"), self.region, self.ca_file,
                      self.vhost if vhost else None)

    def url(self, bucket, prefix="", tls=False, vhost=False, **more):
        """The URL of a cold tier; `more` are further parameters."""
        endpoint = self.tls_endpoint if tls else self.endpoint
        if vhost:
            endpoint = endpoint.replace("127.0.0.1", self.vhost)
        parameters = {"endpoint": endpoint, "region": self.region, "path_style": 0 if vhost else 1, **more}
        return "s3://%s%s?%s" % (bucket, "/" + prefix if prefix else "",
                                 "&".join("%s=%s" % p for p in parameters.items()))

    def bucket(self, versioned=False, object_lock=False):
        """Makes a bucket that nobody has used and returns its name."""
        self.buckets_made += 1
        name = "test-%d-%d" % (os.getpid(), self.buckets_made)
        client = self.client()
        client.create_bucket(name, object_lock=object_lock)
        if versioned:
            client.enable_versioning(name)
        return name

    def read_only(self):
        """Makes, once, a user who may list and read everything and write nothing; returns the environment for it."""
        raise NotImplementedError

    def request_counts(self):
        """Requests that the server has answered, by what they were; differences of two calls tell what happened in
        between. The names are the server's own."""
        raise NotImplementedError

    # Its life.

    def pids(self):
        return [pid for pid, _, _ in self.server.processes()]

    def is_running(self):
        return self.server.is_running()

    def stop(self):
        """Politely; it may be started again."""
        self.server.down()

    def kill(self):
        """As a power cut would."""
        self.signal(signal.SIGKILL)
        self.server.down()

    def start(self):
        """After stop() or kill(), on the same ports: clients find it where it was."""
        before = self.endpoint
        self.take(self.server.up())
        assert self.endpoint == before, "the port of %s was taken while it was away" % self.name

    def end_gateway(self, number=signal.SIGTERM):
        """Ends what listens, by that signal; the data survive it on every server. start_gateway() starts it again."""
        self.signal(number)
        self.stop()

    def start_gateway(self):
        self.start()

    def pause(self):
        """It keeps its connections and answers nothing, until resume()."""
        varvetest.halt(*self.pids())

    def resume(self):
        self.signal(signal.SIGCONT)

    def signal(self, number):
        for pid in self.pids():
            os.kill(pid, number)

    @contextlib.contextmanager
    def silent(self):
        """What listens takes connections and answers nothing, as long as that lasts."""
        pids = self.gateway_pids()
        varvetest.halt(*pids)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def gateway_pids(self):
        return self.pids()


class MinioS3(S3):
    @property
    def data(self):
        """Where MinIO keeps a directory for each bucket."""
        return self.description["S3_DATA"]

    def uploads_on_disk(self):
        """How many unfinished multipart uploads it keeps, in all buckets. Its listings tell only of some of them (see
        Client.uploads)."""
        folder = os.path.join(self.data, ".minio.sys/multipart")
        return sum(len(os.listdir(os.path.join(folder, key))) for key in os.listdir(folder))

    def read_only(self):
        policy = {"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Resource": ["arn:aws:s3:::*"],
            "Action": ["s3:Get*", "s3:List*"]}]}
        # Adding a user takes a body encrypted with Argon2; the import of all users takes a plain archive.
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as z:
            for name, content in (
                    ("policies", {"test-read-only": policy}),
                    ("users", {READ_ONLY_KEY: {"secretKey": READ_ONLY_SECRET, "status": "enabled"}}),
                    ("user_mappings", {READ_ONLY_KEY: {"version": 1, "policy": "test-read-only"}})):
                z.writestr("iam-assets/%s.json" % name, json.dumps(content))
        answer = self.client().request("PUT", path="/minio/admin/v3/import-iam", body=archive.getvalue())
        assert answer.status == 200, (answer.status, answer.body)
        return dict(self.env, AWS_ACCESS_KEY_ID=READ_ONLY_KEY, AWS_SECRET_ACCESS_KEY=READ_ONLY_SECRET)

    def session(self, seconds=900):
        """Temporary credentials with a session token, as an environment; MinIO gives them for 15 minutes at least."""
        body = "Action=AssumeRole&Version=2011-06-15&DurationSeconds=%d" % seconds
        answer = self.client().request("POST", path="/", service="sts", body=body.encode(),
                                       headers={"content-type": "application/x-www-form-urlencoded"})
        assert answer.status == 200, (answer.status, answer.body)
        return dict(self.env, AWS_ACCESS_KEY_ID=answer.text("AccessKeyId"),
                    AWS_SECRET_ACCESS_KEY=answer.text("SecretAccessKey"), AWS_SESSION_TOKEN=answer.text("SessionToken"))

    def request_counts(self):
        text = self.metrics("/minio/metrics/v3/api/requests")
        found = re.findall(r'^minio_api_requests_total\{.*?name="(\w+)".*?\} (\S+)$', text, re.M)
        return {name: int(float(value)) for name, value in found}

    def metrics(self, path):
        context = s3process.ssl.create_default_context(cafile=self.ca_file) if self.ca_file else None
        with urllib.request.urlopen(self.endpoint + path, timeout=30, context=context) as answer:
            return answer.read().decode()


class RgwS3(S3):
    def gateway_pids(self):
        return [pid for pid, _, name in self.server.processes() if name == "client.rgw"]

    def end_gateway(self, number=signal.SIGTERM):
        self.server.end_gateway(number)

    def start_gateway(self):
        self.server.start_gateway()

    def admin(self, *args):
        """Runs radosgw-admin; returns its decoded answer."""
        return json.loads(self.server.admin(*args))

    def read_only(self):
        # A subuser acts on the buckets of its user, as far as its access goes.
        if not any(u["id"] == "test:readonly" for u in self.admin("user", "info", "--uid=test")["subusers"]):
            self.admin("subuser", "create", "--uid=test", "--subuser=test:readonly", "--access=read", "--key-type=s3",
                       "--access-key=" + READ_ONLY_KEY, "--secret=" + READ_ONLY_SECRET)
        return dict(self.env, AWS_ACCESS_KEY_ID=READ_ONLY_KEY, AWS_SECRET_ACCESS_KEY=READ_ONLY_SECRET)

    def request_counts(self):
        """By method, from the access log. A line may be written after its answer has gone out: so a request of our own
        is made first, and the log is read until it is there."""
        marker = "/?counted=" + os.urandom(8).hex()
        with contextlib.suppress(urllib.error.HTTPError):
            urllib.request.urlopen(self.endpoint + marker, timeout=30).close()
        deadline = time.monotonic() + 30
        while True:
            with open(self.server.log_path("client.rgw"), encoding="utf-8", errors="replace") as f:
                lines = f.readlines()
            if any(marker in line for line in lines):
                break
            assert time.monotonic() < deadline, "the access log of RGW lacks the request %s" % marker
            time.sleep(0.02)
        counts = {}
        for line in lines:
            match = re.search(r' beast: .*?"([A-Z]+) ([^"]*)HTTP/1\.[01]" ', line)
            if match and not match.group(2).startswith("/?counted="):
                counts[match.group(1)] = counts.get(match.group(1), 0) + 1
        return counts


@contextlib.contextmanager
def skipping(name):
    """What cannot be had here is a reason to skip."""
    try:
        yield
    except s3process.Unavailable as why:
        raise varvetest.Skip("%s: %s" % (name, why)) from None


def need(name):
    """Raises Skip where the server cannot be had."""
    with skipping(name):
        {"minio": s3minio.Minio(".", may_build=False), "rgw": s3rgw.Rgw(".")}[name].require()


@contextlib.contextmanager
def running(kind, server):
    try:
        with skipping(server.name):
            s3 = kind(server)
        yield s3
    except varvetest.Skip:
        raise
    except Exception:
        # The logs go with the test's directory.
        for name in sorted(server.children):
            print("the end of %s.log of %s:" % (name, server.name))
            print(server.log_tail(name), flush=True)
        raise
    finally:
        server.down()


def minio(directory, tls=False):
    """MinIO with its data in `directory`, which may have served one before. TLS replaces plain HTTP.

    A test does not build it, which would take minutes and downloads that nobody asked for."""
    server = s3minio.Minio(os.path.join(directory, "minio"), owned=True, tls=tls, may_build=False)
    return running(MinioS3, server)


def rgw(directory, memory=1 << 30):
    """Ceph RGW with HTTP and TLS, data in RAM; `memory` is what its store holds at most, in bytes."""
    return running(RgwS3, s3rgw.Rgw(os.path.join(directory, "rgw"), owned=True, memory=memory))


SERVERS = {"minio": minio, "rgw": rgw}
shared_stack = contextlib.ExitStack()
shared_servers = {}


def shared(name):
    """The one server of that name for all tests of this script, started when first asked for and stopped at its end.
    Tests keep apart by their buckets, and leave it running."""
    if name not in shared_servers:
        if not shared_servers:
            atexit.register(shared_stack.close)
        directory = tempfile.mkdtemp(prefix="varve-%s-" % name)
        shared_stack.callback(shutil.rmtree, directory, ignore_errors=True)
        shared_servers[name] = shared_stack.enter_context(SERVERS[name](directory))
    return shared_servers[name]
