"""Starts varve-fakes3, and speaks S3 to it: a SigV4 signer and an HTTP client with nothing hidden.

    with Server("--bucket", "b") as s:
        s.client().put("b", "key", b"bytes")
"""

import base64
import contextlib
import datetime
import hashlib
import hmac
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import urllib.parse

ROOT = os.environ.setdefault("SOURCE_ROOT", os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
FAKES3 = os.environ.setdefault("FAKES3", os.path.join(ROOT, "build/fakes3/varve-fakes3"))
UNRESERVED = "-._~"


class Reply:
    def __init__(self, status, headers, body, complete=True):
        self.status, self.headers, self.body, self.complete = status, headers, body, complete

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")

    def all(self, element):
        """The texts of all elements of that name."""
        found = re.findall("<%s>(.*?)</%s>" % (element, element), self.text, re.S)
        return [t.replace("&quot;", '"').replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") for t in found]

    def one(self, element):
        found = self.all(element)
        return found[0] if found else None

    @property
    def code(self):
        return self.one("Code")

    def __repr__(self):
        return "Reply(%s, %s, %r)" % (self.status, self.headers, self.body[:600])


def hmac256(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def canonical_query(query):
    pairs = [(urllib.parse.quote(k, safe=UNRESERVED), urllib.parse.quote(v, safe=UNRESERVED)) for k, v in query]
    return "&".join("%s=%s" % pair for pair in sorted(pairs))


def sign(method, path, query, headers, payload_hash, key, secret, region, service, amz_date):
    """The value of Authorization; `headers` (lower-case names) are all signed."""
    names = sorted(headers)
    canonical = "\n".join([
        method, urllib.parse.quote(path, safe="/" + UNRESERVED), canonical_query(query),
        "".join("%s:%s\n" % (n, re.sub(" +", " ", headers[n].strip())) for n in names), ";".join(names), payload_hash])
    scope = "/".join([amz_date[:8], region, service, "aws4_request"])
    text = "\n".join(["AWS4-HMAC-SHA256", amz_date, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    derived = ("AWS4" + secret).encode()
    for word in scope.split("/"):
        derived = hmac256(derived, word)
    return "AWS4-HMAC-SHA256 Credential=%s/%s,SignedHeaders=%s,Signature=%s" % (
        key, scope, ";".join(names), hmac256(derived, text).hex())


def read_head(stream):
    status_line = stream.readline()
    if not status_line:
        raise ConnectionError("closed before an answer")
    headers, names = {}, []
    while True:
        line = stream.readline()
        if line in (b"\r\n", b"\n"):
            return int(status_line.split()[1]), headers
        if not line:
            raise ConnectionError("closed within the head")
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()


def read_chunks(stream):
    body = b""
    while True:
        size = int(stream.readline() or b"0", 16)
        chunk = stream.read(size)
        stream.readline()
        body += chunk
        if size == 0:
            return body


class Client:
    def __init__(self, port, key="varve", secret="varve-secret", region="us-east-1", token=None, tls=None, skew=0,
                 timeout=20):
        self.port, self.key, self.secret, self.region, self.token = port, key, secret, region, token
        self.tls, self.skew, self.timeout = tls, skew, timeout
        self.stream = self.socket = None

    def close(self):
        if self.socket:
            self.stream.close()
            self.socket.close()
        self.stream = self.socket = None

    def connect(self):
        if not self.socket:
            self.socket = socket.create_connection(("127.0.0.1", self.port), self.timeout)
            if self.tls:
                context = ssl.create_default_context(cafile=self.tls)
                self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
            self.stream = self.socket.makefile("rb")

    def build(self, method, path, query=(), headers=None, body=b"", host=None, sign_it=True, service="s3",
              payload_hash=None, change=None, length=True):
        """The bytes of a request."""
        query = sorted(query.items()) if isinstance(query, dict) else list(query)
        now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=self.skew)
        all_headers = {"host": host or "127.0.0.1:%d" % self.port}
        all_headers.update({k.lower(): v for k, v in (headers or {}).items()})
        if payload_hash is None:
            payload_hash = hashlib.sha256(body).hexdigest()
        if sign_it:
            all_headers["x-amz-date"] = now.strftime("%Y%m%dT%H%M%SZ")
            if service == "s3":
                all_headers["x-amz-content-sha256"] = payload_hash
            if self.token:
                all_headers["x-amz-security-token"] = self.token
            all_headers["authorization"] = sign(
                method, path, query, all_headers, payload_hash, self.key, self.secret, self.region, service,
                all_headers["x-amz-date"])
        if change:
            change(all_headers)
        if length and (body or method in ("PUT", "POST")):
            all_headers.setdefault("content-length", str(len(body)))
        target = urllib.parse.quote(path, safe="/" + UNRESERVED)
        if query:
            target += "?" + canonical_query(query)
        head = "%s %s HTTP/1.1\r\n%s\r\n" % (method, target, "".join("%s: %s\r\n" % h for h in all_headers.items()))
        return head.encode() + body

    def send(self, data):
        self.connect()
        self.socket.sendall(data)

    def receive(self, method="GET"):
        status, headers = read_head(self.stream)
        while status == 100:
            status, headers = read_head(self.stream)
        complete = True
        if method == "HEAD" or status in (204, 304):
            body = b""
        elif headers.get("transfer-encoding") == "chunked":
            body = read_chunks(self.stream)
        elif "content-length" in headers:
            try:
                body = b""
                size = int(headers["content-length"])
                while len(body) < size:
                    more = self.stream.read1(size - len(body))
                    if not more:
                        break
                    body += more
            except ConnectionResetError:
                headers["reset"] = "yes"
            complete = len(body) == size
        else:
            body = self.stream.read()
        if headers.get("connection") == "close" or not complete:
            self.close()
        return Reply(status, headers, body, complete)

    def request(self, method, path, query=(), headers=None, body=b"", **more):
        try:
            self.send(self.build(method, path, query, headers, body, **more))
            return self.receive(method)
        except OSError:
            self.close()
            raise

    # Shorter, for what is said most.
    def get(self, bucket, key, **headers):
        return self.request("GET", "/%s/%s" % (bucket, key), headers={k.replace("_", "-"): v for k, v in headers.items()})

    def head(self, bucket, key, **headers):
        return self.request("HEAD", "/%s/%s" % (bucket, key), headers={k.replace("_", "-"): v for k, v in headers.items()})

    def put(self, bucket, key, body=b"", **headers):
        return self.request("PUT", "/%s/%s" % (bucket, key), headers={k.replace("_", "-"): v for k, v in headers.items()},
                            body=body)

    def delete(self, bucket, key):
        return self.request("DELETE", "/%s/%s" % (bucket, key))

    def list(self, bucket, **query):
        query = {k.replace("_", "-"): str(v) for k, v in query.items()}
        return self.request("GET", "/" + bucket, {"list-type": "2", **query})


class Server:
    def __init__(self, *args):
        self.process = subprocess.Popen([FAKES3, "--exit-with-parent", *map(str, args)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        line = self.process.stdout.readline().decode()
        match = re.fullmatch(r"listening on (https?)://127\.0\.0\.1:(\d+)\n", line)
        if not match:
            raise AssertionError("%r %s" % (line, self.process.stderr.read().decode()))
        self.tls, self.port = match.group(1) == "https", int(match.group(2))

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.stop()

    def stop(self):
        """Ends it by SIGTERM; a sanitizer's word, or a word at all on standard error, is a failure."""
        self.process.send_signal(signal.SIGTERM)
        _, err = self.process.communicate(timeout=20)
        assert self.process.returncode == 0 and err == b"", (self.process.returncode, err.decode())

    def client(self, **how):
        return Client(self.port, **how)

    def control(self, method, path, body="", tls=None):
        client = Client(self.port, tls=tls)
        reply = client.request(method, "/-/" + path.partition("?")[0],
                               urllib.parse.parse_qsl(path.partition("?")[2]), body=body.encode(), sign_it=False)
        client.close()
        return reply

    def faults(self, *rules):
        reply = self.control("PUT", "faults", "\n".join(rules))
        assert reply.status == 200, reply

    def stats(self):
        return json.loads(self.control("GET", "stats").body)

    def log(self, n=100):
        return [json.loads(line) for line in self.control("GET", "log?n=%d" % n).text.splitlines()]


def b64(data):
    return base64.b64encode(data).decode()


@contextlib.contextmanager
def fake(*args, **env):
    """varve-fakes3 with a bucket `doc`; yields the server, the URL and the environment for it."""
    with Server("--bucket", "doc", *args) as server:
        keys = server.client()
        url = "s3://doc/doc?endpoint=%s://127.0.0.1:%d&region=us-east-1&path_style=1" % (
            "https" if server.tls else "http", server.port)
        yield server, url, {"AWS_ACCESS_KEY_ID": keys.key, "AWS_SECRET_ACCESS_KEY": keys.secret,
                            "AWS_SESSION_TOKEN": "", **env}
