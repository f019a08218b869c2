"""MinIO: one process, one drive, data in a directory."""

import contextlib
import fcntl
import functools
import os
import re
import secrets
import shutil
import subprocess
import tempfile
import time

from s3process import REGION, VHOST, Server, Unavailable, http_status, make_certificates, say

# MinIO comes as source only. The first commits that keep the conditions of a PUT when the read quorum is lost are of
# 2025-10-23; this is the last one upstream.
MINIO_MODULE = "github.com/minio/minio"
MINIO_VERSION = "v0.0.0-20260212201848-7aac2a2c5b7c"
GO_MIN = (1, 24)
BUILD_SECONDS_MAX = 3600
SCRATCH_PREFIX = "build-minio-"


def cache_directory():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(base, "varve", "bin")


def built_path():
    return os.path.join(cache_directory(), "minio-" + MINIO_VERSION)


def minio_present():
    """Returns the path of a binary that is there already, or None."""
    on_path = shutil.which("minio")
    if on_path:
        return on_path
    return built_path() if os.access(built_path(), os.X_OK) else None


@functools.lru_cache(maxsize=None)
def defect(program):
    """Returns why a program is no MinIO that runs here, or None."""
    try:
        done = subprocess.run([program, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              errors="replace", timeout=60)
    except (OSError, subprocess.SubprocessError) as e:
        return "%s does not run: %s" % (program, getattr(e, "strerror", None) or e)
    if "MinIO" not in done.stdout:
        return "%s is not MinIO: --version says %r" % (program, (done.stdout + done.stderr).strip()[:60])
    return None


def minio_obstacle():
    """Returns why MinIO can neither be found nor built here, or None."""
    on_path = shutil.which("minio")
    if on_path:
        return defect(on_path)
    if minio_present():
        return None
    go = shutil.which("go")
    if not go:
        return "no minio on PATH, and no go to build it with"
    try:
        done = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError) as e:
        return "no minio on PATH, and %s does not run: %s" % (go, e)
    match = re.match(r"go(\d+)\.(\d+)", done.stdout.strip())
    if not match or tuple(map(int, match.groups())) < GO_MIN:
        return "no minio on PATH, and %s is %s where %d.%d is needed to build it" % (
            go, done.stdout.strip() or "of unknown version", *GO_MIN)
    return None


def minio_binary():
    """Returns the path of a MinIO binary, and builds it first when there is none."""
    obstacle = minio_obstacle()
    if obstacle:
        raise Unavailable(obstacle)
    return minio_present() or build()


def build():
    cache = cache_directory()
    os.makedirs(cache, exist_ok=True)
    with open(os.path.join(cache, "minio.lock"), "a", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Another process may have built it while this one waited.
        if os.access(built_path(), os.X_OK):
            return built_path()
        for left in os.listdir(cache):
            # What a build that was killed has left; none runs, for this one holds the lock.
            if left.startswith(SCRATCH_PREFIX):
                shutil.rmtree(os.path.join(cache, left), ignore_errors=True)
        # The modules and objects of the build are of no use to anybody afterwards, and they are more than a GB: they
        # do not go to the caches of the user's own work.
        with tempfile.TemporaryDirectory(prefix=SCRATCH_PREFIX, dir=cache) as scratch:
            return build_in(scratch)


def build_in(scratch):
    module = "%s@%s" % (MINIO_MODULE, MINIO_VERSION)
    say("minio: none on PATH; building it once, into %s:\n"
        "minio:   go install %s\n"
        "minio: this downloads its modules, takes minutes and for that time 3 GB of disk" % (built_path(), module))
    env = dict(os.environ, GOBIN=os.path.join(scratch, "bin"), GOMODCACHE=os.path.join(scratch, "mod"),
               GOCACHE=os.path.join(scratch, "cache"), GOFLAGS="-modcacherw", CGO_ENABLED="0")
    start = time.monotonic()
    log = os.path.join(cache_directory(), "minio-build.log")
    with open(log, "wb") as output:
        done = subprocess.run(["go", "install", "-p", "2", "-trimpath", "-ldflags=-s -w", module], env=env,
                              cwd=scratch, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                              timeout=BUILD_SECONDS_MAX)
    if done.returncode != 0:
        with open(log, encoding="utf-8", errors="replace") as f:
            last = [line for line in f.read().splitlines() if not line.startswith("go: downloading")][-3:]
        raise Unavailable("go install %s failed, see %s: %s" % (module, log, " / ".join(last)))
    os.rename(os.path.join(scratch, "bin", "minio"), built_path())
    say("minio: built in %d s; removing what that took" % (time.monotonic() - start))
    return built_path()


class Minio(Server):
    name = "minio"
    port_names = ("s3", "console")

    def __init__(self, directory, owned=False, tls=False, may_build=True):
        """`tls`: it speaks HTTPS instead of HTTP; MinIO does not do both. `may_build`: a build of minutes and a
        download are welcome where there is no binary."""
        super().__init__(directory, owned)
        self.tls = tls
        self.may_build = may_build
        self.binary = None

    def require(self):
        self.binary = minio_binary() if self.may_build else minio_present()
        if not self.binary:
            raise Unavailable(minio_obstacle() or "not built yet; tools/servers/minio-up --binary does it once")

    def credentials(self):
        """Name and password of its administrator, chosen once for each directory: others may be on this machine."""
        path = self.path("credentials")
        with contextlib.suppress(FileNotFoundError):
            with open(path, encoding="ascii") as f:
                return f.read().split()
        words = ["varve", secrets.token_hex(16)]
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as f:
            f.write(" ".join(words))
        return words

    def launch(self):
        user, password = self.credentials()
        certificates = self.path("certs")
        os.makedirs(certificates, exist_ok=True)
        os.makedirs(self.path("data"), exist_ok=True)
        ca_file = ""
        if self.tls:
            ca_file, cert, key = make_certificates(self.path("tls"))
            shutil.copy(cert, os.path.join(certificates, "public.crt"))
            shutil.copy(key, os.path.join(certificates, "private.key"))
        env = {k: v for k, v in os.environ.items() if not k.startswith(("MINIO_", "CONSOLE_")) and k != "CI"}
        env.update(MINIO_ROOT_USER=user, MINIO_ROOT_PASSWORD=password, MINIO_SITE_REGION=REGION, MINIO_DOMAIN=VHOST,
                   MINIO_UPDATE="off",  # it would ask the Internet for a newer version
                   MINIO_PROMETHEUS_AUTH_TYPE="public", HOME=self.directory)
        address = "127.0.0.1:%d" % self.ports["s3"]
        console = "127.0.0.1:%d" % self.ports["console"]
        self.spawn("minio", [self.binary, "server", "--address", address, "--console-address", console,
                             "--certs-dir", certificates, self.path("data")], env)
        scheme = "https://" if self.tls else "http://"
        self.wait_until(lambda: http_status(scheme + address + "/minio/health/cluster", ca_file or None) == 200,
                        60, "minio", "is not healthy")
        return {"S3_SERVER": "minio", "S3_ENDPOINT": scheme + address,
                "S3_TLS_ENDPOINT": scheme + address if self.tls else "", "S3_CA_FILE": ca_file, "S3_VHOST": VHOST,
                "S3_CONSOLE": scheme + console, "S3_DATA": self.path("data"),
                "AWS_ACCESS_KEY_ID": user, "AWS_SECRET_ACCESS_KEY": password, "AWS_REGION": REGION}
