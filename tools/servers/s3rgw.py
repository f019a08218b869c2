"""Ceph's RADOS gateway on one node: a monitor, one OSD whose data is in RAM, and radosgw with HTTP and HTTPS.

Nothing of it outlives its stop: the OSD's memory is the data. No manager daemon is needed for this.
"""

import os
import shutil
import signal
import subprocess
import time
import uuid

from s3process import REGION, VHOST, Server, Unavailable, Failed, http_status, make_certificates

PROGRAMS = {"radosgw": "radosgw", "radosgw-admin": "radosgw", "ceph-mon": "ceph-mon", "ceph-osd": "ceph-osd",
            "ceph": "ceph-common", "ceph-authtool": "ceph-common", "monmaptool": "ceph-common", "openssl": "openssl"}
MEMORY_DEFAULT = 4 << 30
ACCESS_KEY, SECRET_KEY = "TESTAK", "TESTSK"

CONFIG = """\
[global]
fsid = {fsid}
mon host = v2:127.0.0.1:{mon}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
keyring = {dir}/keyring
run dir = {dir}/run
admin socket = {dir}/run/$name.$pid.asok
log file = {dir}/log/$name.log
# Clients must prove who they are: radosgw does not come up without cephx.
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
auth allow insecure global id reclaim = false
# One OSD, one copy, few placement groups.
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
# However full the disk is: what matters is not on it.
mon data avail warn = 1
mon data avail crit = 1
[mon]
mon data = {dir}/mon
[osd]
osd data = {dir}/osd
osd objectstore = memstore
memstore device bytes = {memory}
[client.rgw]
# Without tcp_nodelay a small GET waits 40 ms for an acknowledgement. The path of the certificate is one from where
# radosgw is started: this line is split at spaces, which {dir} may hold.
rgw frontends = beast endpoint=127.0.0.1:{http} ssl_endpoint=127.0.0.1:{https} ssl_certificate=tls/server.pem tcp_nodelay=1
rgw dns name = {vhost}
rgw data = {dir}/rgw
rgw thread pool size = 64
# Lifecycle and garbage collection at the pace of a test.
rgw lc debug interval = 10
rgw gc obj min wait = 10
rgw gc processor period = 10
rgw crypt require ssl = false
rgw sts key = abcdefghijklmnop
rgw s3 auth use sts = true
"""


class Rgw(Server):
    name = "rgw"
    port_names = ("http", "https", "mon")
    # There is nothing to be saved, and a memstore that is asked politely writes all its data to the disk.
    stop_signal = signal.SIGKILL

    def __init__(self, directory, owned=False, memory=MEMORY_DEFAULT):
        super().__init__(directory, owned)
        self.memory = memory

    def require(self):
        missing = sorted({package for program, package in PROGRAMS.items() if not shutil.which(program)})
        if missing:
            raise Unavailable("not installed: " + " ".join(missing))

    def environment(self):
        return {k: v for k, v in os.environ.items() if not k.startswith("CEPH_")}

    def command(self, seconds, program, *args):
        """Runs a program to its end, as long as the daemons live; returns its standard output."""
        child = subprocess.Popen([program, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True, env=self.environment(), cwd=self.directory)
        deadline = time.monotonic() + seconds
        try:
            while True:
                try:
                    out, err = child.communicate(timeout=0.2)
                    break
                except subprocess.TimeoutExpired:
                    self.check_children()
                    if time.monotonic() > deadline:
                        raise Failed("rgw: %s did not end within %d s" % (program, seconds)) from None
        finally:
            if child.poll() is None:
                child.kill()
                child.communicate()
        if child.returncode != 0:
            raise Failed("rgw: %s %s: %s" % (program, " ".join(args), err.strip()[-2000:]))
        return out

    def admin(self, *args):
        """Runs radosgw-admin on this server; returns its standard output."""
        return self.command(60, "radosgw-admin", "-c", self.path("ceph.conf"), "-n", "client.rgw", *args)

    def launch(self):
        for name in ("mon", "osd", "rgw", "run", "log", "keyring", "monmap"):
            path = self.path(name)
            if os.path.isdir(path):
                shutil.rmtree(path)
            elif os.path.exists(path):
                os.unlink(path)
        for name in ("mon", "osd", "rgw", "run", "log"):
            os.makedirs(self.path(name))
        ca_file, cert, key = make_certificates(self.path("tls"))
        with open(self.path("tls", "server.pem"), "w", encoding="ascii") as f:
            for part in (cert, key):
                with open(part, encoding="ascii") as source:
                    f.write(source.read())
        config, keyring = self.path("ceph.conf"), self.path("keyring")
        fsid, osd_id = str(uuid.uuid4()), str(uuid.uuid4())
        with open(config, "w", encoding="utf-8") as f:
            f.write(CONFIG.format(fsid=fsid, dir=self.directory, memory=self.memory, vhost=VHOST, **self.ports))
        self.start_mon(config, keyring, fsid)
        self.start_osd(config, keyring, osd_id)
        self.start_gateway()
        http, https = ("%s://127.0.0.1:%d" % (s, self.ports[s]) for s in ("http", "https"))
        self.wait_until(lambda: http_status(https + "/", ca_file) == 200, 10, "client.rgw", "does not answer on TLS")
        self.admin("user", "create", "--uid=test", "--display-name=test", "--access-key=" + ACCESS_KEY,
                   "--secret=" + SECRET_KEY)
        return {"S3_SERVER": "rgw", "S3_ENDPOINT": http, "S3_TLS_ENDPOINT": https, "S3_CA_FILE": ca_file,
                "S3_VHOST": VHOST, "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
                "AWS_REGION": REGION}

    def start_mon(self, config, keyring, fsid):
        everything = ["--cap", "mon", "allow *", "--cap", "osd", "allow *"]
        self.command(30, "ceph-authtool", "--create-keyring", keyring, "--gen-key", "-n", "mon.", *everything[:3])
        for client in ("client.admin", "client.rgw"):
            self.command(30, "ceph-authtool", keyring, "--gen-key", "-n", client, *everything)
        self.command(30, "monmaptool", "--create", "--clobber", "--fsid", fsid, "--addv", "a",
                     "[v2:127.0.0.1:%d]" % self.ports["mon"], self.path("monmap"))
        self.command(60, "ceph-mon", "-c", config, "-i", "a", "--mkfs", "--monmap", self.path("monmap"),
                     "--keyring", keyring)
        self.spawn("mon.a", ["ceph-mon", "-f", "-c", config, "-i", "a", "--keyring", keyring], self.environment())

    def start_osd(self, config, keyring, osd_id):
        # The first command that asks the monitor; it waits until that answers.
        self.command(60, "ceph", "-c", config, "osd", "new", osd_id, "0")
        key = self.command(30, "ceph", "-c", config, "auth", "get-or-create", "osd.0", "mon", "allow profile osd",
                           "osd", "allow *")
        with open(self.path("osd", "keyring"), "w", encoding="ascii") as f:
            f.write(key)
        osd = ["-c", config, "-i", "0", "--keyring", self.path("osd", "keyring")]
        self.command(60, "ceph-osd", "--mkfs", "--osd-uuid", osd_id, *osd)
        self.spawn("osd.0", ["ceph-osd", "-f", *osd], self.environment())

    def start_gateway(self):
        self.spawn("client.rgw", ["radosgw", "-f", "-c", self.path("ceph.conf"), "-n", "client.rgw"],
                   self.environment())
        # Without credentials / is the list of nobody's buckets: 200 says that the pools behind it answer.
        ready = "http://127.0.0.1:%d/" % self.ports["http"]
        self.wait_until(lambda: http_status(ready) == 200, 90, "client.rgw", "does not answer")

    def end_gateway(self, number):
        """Ends the gateway alone; the data stay where they are, in the RAM of the OSD. The next one starts at once after
        SIGTERM; after SIGKILL it waits half a minute for what the dead one held."""
        self.end_process("client.rgw", number)
