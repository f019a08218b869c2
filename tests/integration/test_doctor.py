#!/usr/bin/env python3
"""varve doctor: each verdict is true, and says in words what it means and what to do."""

import contextlib
import datetime
import http.server
import json
import os
import socket
import threading

import s3servers
from fakes3client import fake
from varvetest import FAILURE, OK, RETRIABLE, USAGE, certificate, main, refused, run

SHAPE = ["name", "tried", "verdict", "kind", "weight", "found", "means", "do"]


def doctor(url, env=None, expect=OK):
    """Both forms of its answer, the second by the names of checks; they have to agree."""
    out, err = run("doctor", url, "--json", env=env, expect=expect)
    assert err == "", err
    answer = json.loads(out)
    assert list(answer) == ["url", "good", "complete", "exit", "problems", "checks"], answer
    assert answer["url"] == url and answer["exit"] == expect and answer["good"] == (expect == OK)
    for check in answer["checks"]:
        assert list(check) == SHAPE, check
        assert check["verdict"] in ("yes", "no", "unknown") and check["weight"] in ("good", "note", "problem")
    assert answer["problems"] == sum(c["weight"] == "problem" for c in answer["checks"])
    checks = {c["name"]: c for c in reversed(answer["checks"])}
    text = run("doctor", url, env=env, expect=expect)[0].decode()
    words = " ".join(text.split())
    for check in checks.values():
        assert "%s: %s" % (check["name"], check["tried"]) in words, (check, text)
        for part in ("means", "do"):
            assert not check[part] or check[part] in words, (check, text)
    if os.environ.get("SHOW"):
        print(text)
    return checks, text


def is_said(check, verdict, kind, found=(), means=(), do=()):
    assert (check["verdict"], check["kind"]) == (verdict, kind), check
    for part, words in (("found", found), ("means", means), ("do", do)):
        for word in [words] if isinstance(words, str) else words:
            assert word in (check[part] or ""), (word, check)


def only_problem(checks, *names):
    assert {n for n, c in checks.items() if c["weight"] == "problem"} == set(names), checks


def with_keys(env, **changes):
    return dict(env, **changes)


# ---- stores that are good ----

def test_a_directory_is_good(d):
    run("init", d + "/s", "--cold", "file://" + d + "/cold")
    before = sorted(os.listdir(d + "/cold"))
    checks, text = doctor("file://" + d + "/cold")
    is_said(checks["race"], "yes", "yes")
    is_said(checks["content"], "yes", "store", means="--adopt")
    assert "clock" not in checks and "credentials" not in checks and "good: it does all" in text
    assert sorted(set(os.listdir(d + "/cold"))) == before, "doctor left something behind"


def test_a_directory_that_is_none(d):
    checks, _ = doctor("file://" + d + "/nothing", expect=RETRIABLE)
    is_said(checks["reach"], "no", "no-directory", do="varve init STORE --cold URL")
    assert os.listdir(d) == []


def test_minio(_):
    s3 = s3servers.shared("minio")
    bucket = s3.bucket()
    checks, _ = doctor(s3.url(bucket, "a"), env=s3.env)
    for name in ("write", "if-absent", "if-match", "race", "ranges", "multipart", "conditional-complete", "sha256",
                 "crc32c", "list", "delete", "reach", "read"):
        is_said(checks[name], "yes", "yes")
    is_said(checks["list-uploads"], "no", "no", means="varve remembers its own", do="AbortIncompleteMultipartUpload")
    is_said(checks["clock"], "yes", "right")
    is_said(checks["versioning"], "no", "off")
    is_said(checks["object-lock"], "no", "off")
    is_said(checks["lifecycle"], "yes", "none")
    is_said(checks["endpoint"], "yes", "given", found=s3.endpoint)
    is_said(checks["addressing"], "yes", "path")
    is_said(checks["tls"], "no", "off-here")
    is_said(checks["credentials"], "yes", "some", found="environment")
    assert checks["latency"]["verdict"] == "yes" and " ms" in checks["latency"]["found"]
    assert s3.client().keys(bucket) == [], "doctor left objects behind"


def test_rgw(_):
    s3 = s3servers.shared("rgw")
    bucket = s3.bucket()
    checks, _ = doctor(s3.url(bucket, "a"), env=s3.env)
    for name in ("if-absent", "if-match", "race", "ranges", "multipart", "list-uploads", "sha256", "list", "delete"):
        is_said(checks[name], "yes", "yes")
    is_said(checks["if-match"], "yes", "yes", found="unquoted")
    is_said(checks["conditional-complete"], "no", "no", means="no harm")
    is_said(checks["crc32c"], "no", "no", means="no harm")
    assert s3.client().keys(bucket) == []


def test_rgw_with_a_versioned_bucket(d):
    s3 = s3servers.shared("rgw")
    url = s3.url(s3.bucket(versioned=True), "a")
    checks, _ = doctor(url, env=s3.env, expect=FAILURE)
    is_said(checks["versioning"], "yes", "on", means="old version")
    is_said(checks["if-absent"], "no", "no-versioned", found="the condition is ignored",
            means=["this bucket is versioned", "all win"], do=["--cold-meta", "cold.meta", "not versioned"])
    only_problem(checks, "if-absent", "if-match")
    # What it says is true: init refuses it for roots, and takes it for segments.
    refused(FAILURE, "init", d + "/s", "--cold", url, env=s3.env, naming="conditional writes")
    run("init", d + "/t", "--cold", url, "--cold-meta", s3.url(s3.bucket(), "roots"), env=s3.env)
    run("append", d + "/t", "log", stdin=b"a\n", env=s3.env)
    run("tier", d + "/t", "--seal", "--evict", env=s3.env)
    assert run("read", d + "/t", "log", env=s3.env)[0] == b"a\n"


def test_the_fake_is_good_and_says_what_it_does_not_know(_):
    with fake() as (_, url, env):
        checks, _ = doctor(url, env=env)
        is_said(checks["race"], "yes", "yes")
        assert checks["lifecycle"]["verdict"] == "unknown"


# ---- stores that are not ----

def test_a_server_that_ignores_conditions(d):
    with fake("--fault", "ignore=conditions") as (_, url, env):
        checks, _ = doctor(url, env=env, expect=FAILURE)
        is_said(checks["if-absent"], "no", "no", found="ignored",
                means=["no conditional writes", "two writers could both believe they own a log", "init refuses"],
                do="fencing=none in the URL and then run only one writer")
        refused(FAILURE, "init", d + "/s", "--cold", url, env=env, naming="conditional writes")
        run("init", d + "/s", "--cold", url + "&fencing=none", env=env)


def test_a_server_that_ignores_checksums(_):
    with fake("--fault", "ignore=checksums") as (_, url, env):
        checks, _ = doctor(url, env=env, expect=FAILURE)
        is_said(checks["sha256"], "no", "unguarded", means="SHA-256 nor CRC32C", do="https")
        only_problem(checks, "sha256")


def test_ranges_that_are_ignored(_):
    with fake("--fault", "op=GetObject range=ignore") as (_, url, env):
        checks, _ = doctor(url, env=env, expect=FAILURE)
        is_said(checks["ranges"], "no", "no", means="cold reads would fail")


# ---- who asks ----

def each_server():
    """Of every kind of server one, as (name, URL, environment)."""
    with fake() as (_, url, env):
        yield "fake", url, env
    for name in ("minio", "rgw"):
        with contextlib.suppress(s3servers.varvetest.Skip):
            s3 = s3servers.shared(name)
            yield name, s3.url(s3.bucket(), "a"), s3.env


def test_a_wrong_access_key(_):
    for name, url, env in each_server():
        checks, text = doctor(url, env=with_keys(env, AWS_ACCESS_KEY_ID="NOSUCHKEY0123456"), expect=FAILURE)
        assert "NOSUC" not in text and "the rest could not be tried" in text
        if name == "rgw":  # it does not tell a wrong key from a missing permission
            is_said(checks["reach"], "no", "denied", found="AccessDenied", means="access key or its secret be wrong",
                    do="check both keys")
            continue
        is_said(checks["reach"], "no", "key", found="InvalidAccessKeyId", means="does not know this access key",
                do="check the access key")
        is_said(checks["credentials"], "yes", "some", found="environment, access key NOSU...")


def test_a_wrong_secret_key(_):
    for name, url, env in each_server():
        checks, _ = doctor(url, env=with_keys(env, AWS_SECRET_ACCESS_KEY="wrong-secret-key"), expect=FAILURE)
        if name == "rgw":
            is_said(checks["reach"], "no", "denied", means="access key or its secret be wrong")
            continue
        is_said(checks["reach"], "no", "secret", found="SignatureDoesNotMatch",
                means="secret key does not belong to the access key", do="where the line credentials says")


def test_no_keys(d):
    with fake() as (_, url, _env):
        env = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_DISABLED": "true", "HOME": d,
               "AWS_PROFILE": ""}
        checks, _ = doctor(url, env=env, expect=FAILURE)
        is_said(checks["credentials"], "no", "none", do=["AWS_ACCESS_KEY_ID", "never belong into the URL"])


def test_keys_of_a_profile_and_of_a_program(d):
    with fake() as (_, url, env):
        os.mkdir(d + "/.aws")
        answer = {"Version": 1, "AccessKeyId": env["AWS_ACCESS_KEY_ID"], "SecretAccessKey": env["AWS_SECRET_ACCESS_KEY"]}
        with open(d + "/answer", "w") as f:
            json.dump(answer, f)
        with open(d + "/.aws/config", "w") as f:
            f.write("[profile lasting]\naws_access_key_id = %s\naws_secret_access_key = %s\n"
                    "[profile made]\ncredential_process = cat %s/answer\n" %
                    (answer["AccessKeyId"], answer["SecretAccessKey"], d))
        for profile, source in (("lasting", "profile"), ("made", "credential_process")):
            checks, _ = doctor(url + "&profile=" + profile, env=dict(env, HOME=d))
            is_said(checks["credentials"], "yes", "some", found="%s (profile '%s')" % (source, profile))


def test_a_read_only_key(_):
    with fake("--key", "varve:varve-secret", "--key", "reader:read-secret:ro") as (_, url, env):
        servers = [(url, with_keys(env, AWS_ACCESS_KEY_ID="reader", AWS_SECRET_ACCESS_KEY="read-secret"))]
        for name in ("minio", "rgw"):
            with contextlib.suppress(s3servers.varvetest.Skip):
                s3 = s3servers.shared(name)
                servers.append((s3.url(s3.bucket(), "a"), s3.read_only()))
        for where, who in servers:
            checks, _ = doctor(where, env=who, expect=FAILURE)
            is_said(checks["reach"], "yes", "yes")
            is_said(checks["read"], "yes", "yes")
            is_said(checks["write"], "no", "denied", found="AccessDenied", means="may read and list, not write",
                    do=["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"])
            only_problem(checks, "write")


# ---- region, clock, bucket ----

def test_a_wrong_region(_):
    with fake() as (server, url, env):
        server.faults("region=eu-west-1")
        checks, _ = doctor(url, env=env, expect=FAILURE)
        is_said(checks["region"], "no", "another", found=["the bucket is in eu-west-1", "signed for us-east-1"],
                means="corrects it by itself", do="region=")
        only_problem(checks, "region")
        doctor(url.replace("us-east-1", "eu-west-1"), env=env)


def test_a_wrong_region_on_minio(_):
    s3 = s3servers.shared("minio")
    url = s3.url(s3.bucket(), "a", region="ap-south-1")
    checks, _ = doctor(url, env=s3.env, expect=FAILURE)
    is_said(checks["region"], "no", "another", found="the bucket is in " + s3.region)


def test_a_clock_an_hour_off(_):
    for skew, kind, words in (("1h", "behind", "1 h 0 min behind the store's"), ("-1h", "ahead", "ahead of the store's")):
        with fake("--clock-skew", skew) as (_, url, env):
            checks, _ = doctor(url, env=env, expect=FAILURE)
            is_said(checks["clock"], "no", kind, found=words, means=["corrects", "times of records"],
                    do="set the clock")
            only_problem(checks, "clock")
            assert checks["race"]["verdict"] == "yes", "requests are corrected, so all else was tried"


def test_a_clock_a_little_off_is_measured_though_no_request_is_refused(_):
    with fake("--clock-skew", "3m") as (_, url, env):
        checks, _ = doctor(url, env=env, expect=FAILURE)
        is_said(checks["clock"], "no", "behind", found="behind")
    with fake("--clock-skew", "-20s") as (_, url, env):
        checks, _ = doctor(url, env=env)
        is_said(checks["clock"], "yes", "drifting", found="ahead of")


def test_a_missing_bucket(_):
    for _, url, env in each_server():
        checks, _ = doctor(url.replace("s3://", "s3://no-such-"), env=env, expect=FAILURE)
        is_said(checks["reach"], "no", "bucket", means="no bucket of this name", do="--create-bucket")


# ---- who answers ----

def test_nobody_listens(_):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))  # bound, not listening: refused, and nobody else's
        url = "s3://doc/a?endpoint=http://127.0.0.1:%d&path_style=1" % s.getsockname()[1]
        env = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
        checks, _ = doctor(url, env=env, expect=RETRIABLE)
        is_said(checks["reach"], "no", "dead", means="nobody answers there", do="is the store running")


def test_a_web_server_is_not_s3(_):
    class Page(http.server.BaseHTTPRequestHandler):
        status = 200

        def do_GET(self):
            body = b"<!DOCTYPE html><html><body><p>Welcome<br>to the console</body></html>"
            self.send_response(self.status)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = "s3://doc/a?endpoint=http://127.0.0.1:%d&path_style=1" % server.server_port
    try:
        for status in (200, 403, 404):
            Page.status = status
            checks, _ = doctor(url, env={"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}, expect=FAILURE)
            is_said(checks["reach"], "no", "not-s3", means="does not speak S3", do="check host, port")
    finally:
        server.shutdown()
        server.server_close()


def test_a_store_that_fails_itself(_):
    with fake("--fault", "status=503") as (_, url, env):
        checks, _ = doctor(url, env=env, expect=RETRIABLE)
        is_said(checks["reach"], "no", "failing", do="health")


def test_a_self_signed_server(d):
    with fake(*certificate(d)) as (_, url, env):
        checks, _ = doctor(url, env=env, expect=FAILURE)
        is_said(checks["reach"], "no", "untrusted", means=["self-signed", "nothing was sent"], do="ca=FILE")
        checks, _ = doctor(url + "&ca=" + d + "/cert.pem", env=env)
        is_said(checks["tls"], "yes", "on", found="host name checked")
        checks, _ = doctor(url + "&ca=" + d + "/none.pem", env=env, expect=FAILURE)
        is_said(checks["reach"], "no", "ca-file", do="PEM file")
        checks, _ = doctor(url.replace("https:", "http:"), env=env, expect=RETRIABLE)
        is_said(checks["reach"], "no", "broken", do="http:// to a TLS port")


def test_tls_to_a_port_without(_):
    s3 = s3servers.shared("minio")
    checks, _ = doctor(s3.url(s3.bucket(), "a").replace("http:", "https:"), env=s3.env, expect=RETRIABLE)
    is_said(checks["reach"], "no", "tls", do="http:// in endpoint=")


def test_a_certificate_of_another_host(d):
    with fake(*certificate(d, "store.example")) as (_, url, env):
        checks, _ = doctor(url + "&ca=" + d + "/cert.pem", env=env, expect=FAILURE)
        is_said(checks["reach"], "no", "another-host", found="another host's", means="nothing was sent")


# ---- how the bucket is set up ----

def lifecycle(s3, bucket, rules):
    import base64
    import hashlib
    body = ("<LifecycleConfiguration>%s</LifecycleConfiguration>" % rules).encode()
    answer = s3.client().request("PUT", bucket=bucket, query={"lifecycle": ""}, body=body, headers={
        "content-md5": base64.b64encode(hashlib.md5(body).digest()).decode()})
    assert answer.status == 200, (answer.status, answer.body)


RULE = "<Rule><ID>%s</ID><Status>Enabled</Status><Filter><Prefix>%s</Prefix></Filter>%s</Rule>"


def test_a_lifecycle_that_deletes_is_a_problem_where_it_reaches(_):
    s3 = s3servers.shared("rgw")
    bucket = s3.bucket()
    lifecycle(s3, bucket, RULE % ("r", "logs/", "<Expiration><Days>30</Days></Expiration>"))
    checks, _ = doctor(s3.url(bucket, "logs/archive"), env=s3.env, expect=FAILURE)
    is_said(checks["lifecycle"], "yes", "expires", found=["deletes objects after 30 days", "'logs/'"],
            means="segments that logs still name", do="remove that rule")
    checks, _ = doctor(s3.url(bucket, "other"), env=s3.env)
    is_said(checks["lifecycle"], "yes", "none")


def test_unfinished_uploads_are_counted(_):
    s3 = s3servers.shared("rgw")
    bucket = s3.bucket()
    answer = s3.client().request("POST", bucket=bucket, key="a/left-behind", query={"uploads": ""})
    assert answer.status == 200, answer.body
    checks, _ = doctor(s3.url(bucket, "a"), env=s3.env)
    year = str(datetime.datetime.now(datetime.timezone.utc).year)
    is_said(checks["uploads"], "yes", "some", found=["1, the oldest begun " + year], do="AbortIncompleteMultipartUpload")


def test_object_lock(_):
    s3 = s3servers.shared("minio")
    checks, _ = doctor(s3.url(s3.bucket(object_lock=True), "a"), env=s3.env)
    is_said(checks["object-lock"], "yes", "on")
    is_said(checks["versioning"], "yes", "on")
    is_said(checks["race"], "yes", "yes")


# ---- other drivers, wrong use ----

def test_faults_reach_the_trials_only(d):
    run("init", d + "/s", "--cold", "file://" + d + "/cold")
    checks, _ = doctor("faulty+file://%s/cold?seed=1&faults=put:error=denied" % d, expect=FAILURE)
    is_said(checks["driver"], "yes", "faulty")
    is_said(checks["write"], "no", "denied", do="s3:PutObject")


def test_wrong_use(_):
    refused(USAGE, "doctor", "ftp://x/y", naming="unknown scheme")
    refused(USAGE, "doctor", naming="URL")


if __name__ == "__main__":
    main()
