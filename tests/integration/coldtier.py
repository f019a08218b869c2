"""The cold tier of a test's stores: a directory, or, after use(), a bucket of a real S3 server.

    cold = coldtier.init(store)         # the store, and a view of its cold tier
    two = coldtier.new(d)               # a cold tier that nobody has used
    run("init", other, "--cold", two.url)

A test that looks into the cold tier does so by the view, behind varve's back, and so runs on each of them unchanged.
VARVE_TEST_COLD_URL=s3://... (with the keys in the environment) does what use() does, for a store that is there already.
"""

import contextlib
import os
import random
import shutil
import urllib.parse

import s3client
import varvetest

server = None  # what use() was told


def use(s3):
    """From now on cold tiers are buckets of this server (s3servers.S3)."""
    global server
    server = s3
    # Every varve that a test starts finds its keys there.
    os.environ.update(s3.env)


def on_server():
    return bool(server or os.environ.get("VARVE_TEST_COLD_URL"))


class Directory:
    """A cold tier of the dir driver."""

    def __init__(self, path):
        self.path = os.path.abspath(path)
        self.url = "file://" + self.path

    def keys(self, suffix=""):
        """The keys of all objects that end so, in their order."""
        found = []
        for folder, folders, names in os.walk(self.path):
            if folder == self.path and ".varve" in folders:
                folders.remove(".varve")  # the driver's own
            found += [os.path.relpath(os.path.join(folder, n), self.path) for n in names if n.endswith(suffix)]
        return sorted(found)

    def get(self, key):
        with open(os.path.join(self.path, key), "rb") as f:
            return f.read()

    def put(self, key, data):
        with open(os.path.join(self.path, key), "wb") as f:
            f.write(data)

    def uploads(self):
        """What stands for each unfinished multipart upload, in an order that stays."""
        folder = os.path.join(self.path, ".varve", "uploads")
        return sorted(n for _, _, names in os.walk(folder) for n in names if n.endswith(".key"))

    def abort_all(self):
        """Ends all unfinished multipart uploads."""
        folder = os.path.join(self.path, ".varve", "uploads")
        for name in os.listdir(folder):
            os.unlink(os.path.join(folder, name))

    @contextlib.contextmanager
    def away(self):
        """Nobody reaches it, as long as that lasts."""
        shutil.move(self.path, self.path + ".away")
        try:
            yield
        finally:
            shutil.move(self.path + ".away", self.path)

    def silent(self):
        raise varvetest.Skip("a directory is there or it is not")


class Bucket:
    """A cold tier below a prefix of a bucket; `s3` is None where the server is somebody else's."""

    def __init__(self, client, bucket, prefix, url, s3=None):
        self.client, self.bucket, self.prefix, self.url, self.s3 = client, bucket, prefix, url, s3

    def keys(self, suffix=""):
        found = self.client().keys(self.bucket, self.prefix + "/")
        return [k[len(self.prefix) + 1:] for k in found if k.endswith(suffix)]

    def get(self, key):
        return self.client().get(self.bucket, self.prefix + "/" + key)

    def put(self, key, data):
        self.client().put(self.bucket, self.prefix + "/" + key, data)

    def uploads(self):
        # Without a prefix MinIO tells of all that were begun since it was started.
        found = sorted(u for u in self.client().uploads(self.bucket) if u.key.startswith(self.prefix + "/"))
        if not found and self.s3 and self.s3.name == "minio":
            assert self.s3.uploads_on_disk() == 0, "MinIO keeps unfinished uploads that it does not list"
        return found

    def abort_all(self):
        for upload in self.uploads():
            self.client().abort_upload(self.bucket, upload.key, upload.id)

    @contextlib.contextmanager
    def away(self):
        if not self.s3:
            raise varvetest.Skip("the server is not ours to stop")
        self.s3.end_gateway()
        try:
            yield
        finally:
            self.s3.start_gateway()

    def silent(self):
        """It takes connections and answers nothing, as long as that lasts."""
        if not self.s3:
            raise varvetest.Skip("the server is not ours to stop")
        return self.s3.silent()


def new(d):
    """A cold tier that nobody has used; as a directory it lies in `d`."""
    name = "%s-%016x" % (os.path.basename(d), random.SystemRandom().getrandbits(64))
    if server:
        bucket = server.bucket()
        return Bucket(server.client, bucket, name, server.url(bucket, name), server)
    if os.environ.get("VARVE_TEST_COLD_URL"):
        return bucket_of_url(os.environ["VARVE_TEST_COLD_URL"], name)
    return Directory(os.path.join(d, name))


def bucket_of_url(base, name):
    parts = urllib.parse.urlsplit(base)
    query = dict(urllib.parse.parse_qsl(parts.query))
    keys = os.environ

    def client():
        return s3client.Client(query["endpoint"], keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"],
                               keys.get("AWS_SESSION_TOKEN"), query.get("region", keys.get("AWS_REGION", "us-east-1")))

    prefix = (parts.path.strip("/") + "/" + name).lstrip("/")
    return Bucket(client, parts.netloc, prefix, urllib.parse.urlunsplit(parts._replace(path="/" + prefix)))


def init(store, *options):
    """Makes a store on a new cold tier, silently; in directories that is the one every store has in itself."""
    if not on_server():
        varvetest.silent("init", store, *options)
        return Directory(os.path.join(store, "cold"))
    cold = new(os.path.dirname(store))
    varvetest.silent("init", store, "--cold", cold.url, *options)
    return cold


def gets():
    """How many GETs the server has answered; None where there is none that counts them."""
    if not server:
        return None
    counts = server.request_counts()
    return counts.get("GetObject", 0) if server.name == "minio" else counts.get("GET", 0)


def faulty(cold, faults, seed):
    """The URL of the same cold tier behind a driver that makes requests fail (cold/faulty.h)."""
    return "faulty+%s%sfaults=%s&seed=%d" % (cold.url, "&" if "?" in cold.url else "?", faults, seed)
