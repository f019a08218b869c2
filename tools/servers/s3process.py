"""What the servers here have in common: free ports, processes known by pid and start time, waiting with a limit.

A server lives in a directory:

    server.env   its description, KEY=VALUE lines that a shell can source; holds the secret key, so mode 0600
    pids         one line for each process, in the order of their start: PID STARTTIME NAME
    log/         what each process printed or logged
    s3server     says which server the directory is for; locked while that is started or stopped

A process is one of ours only while both its pid and its start time are what `pids` says: a pid alone may have been
given to a stranger since.
"""

import contextlib
import ctypes
import fcntl
import os
import random
import re
import select
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

REGION = "us-east-1"
VHOST = "s3.localhost"  # names below .localhost are loopback, by RFC 6761; curl knows that without asking a resolver

# The first ports that are never given out as the local end of somebody's connection.
PORT_MIN = 15000
PORT_TAKEN = re.compile(r"address (is )?already in use|unable to bind|port is already|EADDRINUSE", re.I)
PR_SET_PDEATHSIG = 1


class Unavailable(Exception):
    """Why a server cannot be had on this machine. Nothing is broken."""


class Failed(Exception):
    """Why a server that is installed did not start."""


class PortTaken(Failed):
    """Somebody took a port between its choice and its use; other ports may do."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def port_is_free(port):
    with socket.socket() as s:
        # As the servers do: connections of an earlier server that are still in TIME_WAIT do not count.
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_ports(count):
    """Chooses ports below the range of ephemeral ones.

    A port that bind(0) hands out can become the local end of any connection as soon as it is released: a server that
    comes back after an outage would find it taken, and a client that keeps trying a closed one may at last connect to
    itself.
    """
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as f:
        end = max(int(f.read().split()[0]), PORT_MIN + 1000)
    found = []
    for _ in range(1000):
        port = random.randrange(PORT_MIN, end)
        if port not in found and port_is_free(port):
            found.append(port)
            if len(found) == count:
                return found
    raise Failed("no %d free ports between %d and %d on 127.0.0.1" % (count, PORT_MIN, end))


def process_start(pid):
    """Returns the start time of a process in clock ticks since boot, or None when it is gone or a zombie."""
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as f:
            fields = f.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def process_end(pid, start, how, patience):
    """Sends `how`, after `patience` seconds SIGKILL, and waits for the end. Does nothing to other processes."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return
    try:
        # Asked after the pidfd was opened: whoever has this start time is the one that the pidfd names.
        if process_start(pid) != start:
            return
        for number, seconds in ((how, patience), (signal.SIGKILL, 10)):
            # SIGSTOP may be on it; only SIGKILL gets through that.
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(fd, number)
                if number != signal.SIGKILL:
                    signal.pidfd_send_signal(fd, signal.SIGCONT)
            if select.select([fd], [], [], seconds)[0]:
                return
        raise Failed("process %d does not end" % pid)
    finally:
        os.close(fd)


def die_with_parent():
    """For a child, between fork and exec: it is killed when the thread that started it ends."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def http_status(url, ca_file=None):
    """Returns the status of a GET, or None when nobody answers."""
    context = ssl.create_default_context(cafile=ca_file) if url.startswith("https:") else None
    # No proxy: the servers are on loopback, and a proxy from the environment is not.
    handlers = [urllib.request.ProxyHandler({})]
    if context:
        handlers.append(urllib.request.HTTPSHandler(context=context))
    try:
        with urllib.request.build_opener(*handlers).open(url, timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as e:
        return e.code
    except OSError:
        return None


def make_certificates(directory):
    """Makes a CA and a server's certificate signed by it; returns (CA file, certificate, key)."""
    os.makedirs(directory, exist_ok=True)
    ca, ca_key, cert, key = (os.path.join(directory, n) for n in ("ca.crt", "ca.key", "public.crt", "private.key"))
    if os.path.exists(cert):
        return ca, cert, key
    if not shutil.which("openssl"):
        raise Unavailable("openssl is not installed")
    request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
               "-days", "3650"]
    names = "subjectAltName=DNS:%s,DNS:*.%s,DNS:localhost,IP:127.0.0.1" % (VHOST, VHOST)
    for args in (["-keyout", ca_key, "-out", ca, "-subj", "/CN=varve test CA"],
                 ["-keyout", key, "-out", cert, "-subj", "/CN=" + VHOST, "-CA", ca, "-CAkey", ca_key,
                  "-addext", names, "-addext", "basicConstraints=critical,CA:FALSE"]):
        done = subprocess.run(request + args, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise Failed("openssl: " + done.stderr.strip())
    return ca, cert, key


class Server:
    """One server in one directory; subclasses say what is started and how it is known to be ready."""

    name = None
    port_names = ()
    stop_signal = signal.SIGTERM
    stop_patience = 10  # seconds before SIGKILL

    def __init__(self, directory, owned=False):
        """`owned`: its processes die with the calling one, even when that is killed; for tests."""
        # preexec runs in a thread of the caller, and the death signal follows that thread.
        assert not owned or threading.current_thread() is threading.main_thread()
        self.directory = os.path.abspath(directory)
        self.owned = owned
        self.children = {}  # name: Popen, of those started by this object
        self.ports = {}

    # To be defined by a server.

    def require(self):
        """Raises Unavailable where this server cannot be had."""
        raise NotImplementedError

    def launch(self):
        """Starts all processes on self.ports and returns the description once the server answers."""
        raise NotImplementedError

    # For their use.

    def path(self, *parts):
        return os.path.join(self.directory, *parts)

    def log_path(self, name):
        return self.path("log", name + ".log")

    def spawn(self, name, argv, env=None):
        """Starts one process, with its output in log/NAME.log, and writes its pid down."""
        os.makedirs(self.path("log"), exist_ok=True)
        with open(self.log_path(name), "ab") as log:
            child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env,
                                     cwd=self.directory, start_new_session=True,
                                     preexec_fn=die_with_parent if self.owned else None)
        self.children[name] = child
        start = process_start(child.pid)
        if start is not None:
            with open(self.path("pids"), "a", encoding="utf-8") as f:
                f.write("%d %d %s\n" % (child.pid, start, name))

    def end_process(self, name, number):
        """Ends one process that this object has started, by that signal."""
        child = self.children.pop(name)
        child.send_signal(number)
        child.wait(timeout=30)
        others = ["%d %d %s\n" % p for p in self.processes() if p[2] != name]
        with open(self.path("pids"), "w", encoding="utf-8") as f:
            f.writelines(others)

    def check_children(self):
        """Raises when a process that should be running has ended."""
        for name, child in self.children.items():
            if child.poll() is not None:
                self.raise_from_log(name, "%s ended with status %d" % (name, child.returncode))

    def log_tail(self, name):
        try:
            with open(self.log_path(name), encoding="utf-8", errors="replace") as f:
                return f.read()[-3000:]
        except OSError:
            return ""

    def raise_from_log(self, name, what):
        tail = self.log_tail(name)
        kind = PortTaken if PORT_TAKEN.search(tail) else Failed
        raise kind("%s: %s; the end of %s:\n%s" % (self.name, what, self.log_path(name), tail))

    def wait_until(self, ready, seconds, name, what):
        """Asks ready() until it is true; raises when `seconds` have passed or a process has ended."""
        deadline = time.monotonic() + seconds
        while not ready():
            self.check_children()
            if time.monotonic() > deadline:
                self.raise_from_log(name, "%s within %d s" % (what, seconds))
            time.sleep(0.05)
        # Whoever answered must have been this server and not a stranger on its port.
        self.check_children()

    # For everybody.

    def processes(self):
        """What `pids` says, as (pid, start time, name) in the order of the start; they may have ended since."""
        try:
            with open(self.path("pids"), encoding="utf-8") as f:
                lines = [line.split() for line in f]
        except FileNotFoundError:
            return []
        return [(int(pid), int(start), name) for pid, start, name in lines]

    def is_running(self):
        """Whether all of its processes are there."""
        known = self.processes()
        return bool(known) and all(process_start(pid) == start for pid, start, _ in known)

    def description(self):
        """What server.env says, as a dict; None when there is no such file."""
        try:
            with open(self.path("server.env"), encoding="utf-8") as f:
                return dict(word.split("=", 1) for line in f for word in shlex.split(line))
        except FileNotFoundError:
            return None

    def up(self):
        """Starts the server unless it is running; returns its description."""
        self.require()
        self.adopt_directory()
        with self.locked():
            known = self.description()
            if known and self.is_running():
                return known
            # What may be left of one that lost a process.
            self.end_processes()
            self.choose_ports(known)
            for attempt in range(3):
                try:
                    description = self.launch()
                    break
                except PortTaken:
                    self.end_processes()
                    if attempt == 2:
                        raise
                    self.ports = dict(zip(self.port_names, free_ports(len(self.port_names))))
                except BaseException:
                    self.end_processes()
                    raise
            self.write_description(description)
            return description

    def down(self):
        """Stops what is running of it; is content when nothing is."""
        if self.owner() is not None:
            with self.locked():
                self.end_processes()

    def choose_ports(self, known):
        """Takes the ports it had the last time, since whoever used it may have kept them; else free ones."""
        last = dict(p.split(":") for p in (known or {}).get("S3_PORTS", "").split())
        last = {name: int(last[name]) for name in self.port_names if name in last}
        if len(last) == len(self.port_names) and all(map(port_is_free, last.values())):
            self.ports = last
            return
        if last:
            say("%s: the ports it had are taken, others are used" % self.name)
        self.ports = dict(zip(self.port_names, free_ports(len(self.port_names))))

    def write_description(self, description):
        description["S3_DIR"] = self.directory
        description["S3_PID_FILE"] = self.path("pids")
        description["S3_PORTS"] = " ".join("%s:%d" % p for p in self.ports.items())
        new = self.path("server.env.new")
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as f:
            f.write(format_description(description))
        os.rename(new, self.path("server.env"))

    def end_processes(self):
        for pid, start, _ in reversed(self.processes()):
            process_end(pid, start, self.stop_signal, self.stop_patience)
        for child in self.children.values():
            child.wait(timeout=10)
        self.children = {}
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path("pids"))

    def owner(self):
        """Returns the name in `s3server`, or None where there is none; raises when it is another server's."""
        try:
            with open(self.path("s3server"), encoding="utf-8") as f:
                name = f.read().strip()
        except (FileNotFoundError, NotADirectoryError):
            return None
        if name != self.name:
            raise Failed("%s: %s is the directory of a server %r" % (self.name, self.directory, name))
        return name

    def adopt_directory(self):
        """Takes a new or an empty directory: a server removes what its predecessor has left there, and must not do so
        to anything else."""
        os.makedirs(self.directory, exist_ok=True)
        if self.owner() is None:
            if os.listdir(self.directory):
                raise Failed("%s: %s is not empty, and no server was started there before" % (
                    self.name, self.directory))
            # Exclusively: a file that another `up` holds locked must not be replaced.
            with contextlib.suppress(FileExistsError):
                with open(self.path("s3server"), "x", encoding="utf-8") as f:
                    f.write(self.name + "\n")

    @contextlib.contextmanager
    def locked(self):
        with open(self.path("s3server"), encoding="utf-8") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            yield


def format_description(description, prefix=""):
    return "".join("%s%s=%s\n" % (prefix, k, shlex.quote(str(v))) for k, v in description.items())
