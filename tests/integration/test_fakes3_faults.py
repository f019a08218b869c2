#!/usr/bin/env python3
"""varve-fakes3: each word of the fault script, seen from the client's end of the wire."""

import datetime
import hashlib
import os
import threading
import time
from email.utils import parsedate_to_datetime

from fakes3client import Server, b64
from varvetest import main

MIB = 1024 * 1024
DATA = bytes(range(256)) * 4


def served(*args):
    """A server with bucket `bkt` and the object `k`."""
    s = Server("--bucket", "bkt", *args)
    r = s.client().put("bkt", "k", DATA)
    assert r.status == 200, r
    return s


def fails(client, *args, **kwargs):
    """What becomes of a request without an answer."""
    try:
        return client.request(*args, **kwargs)
    except ConnectionResetError:
        return "reset"
    except ConnectionError:
        return "closed"
    except TimeoutError:
        return "timeout"


def until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def statuses(s, count, key="k"):
    c = s.client()
    return [c.get("bkt", key).status for _ in range(count)]


def test_rules_select(d):
    with served() as s:
        c = s.client()
        for rule, expected in (
                ("op=GetObject nth=3 status=503", [200, 200, 503, 200, 200, 200]),
                ("op=read nth=2-3 status=503", [200, 503, 503, 200, 200, 200]),
                ("op=Get* nth=5- status=503", [200, 200, 200, 200, 503, 503]),
                ("every=2 status=503", [200, 503, 200, 503, 200, 503]),
                ("op=PutObject,GetObject times=2 status=503", [503, 503, 200, 200, 200, 200]),
                ("op=write status=503", [200] * 6), ("key=z* status=503", [200] * 6),
                ("bucket=b?t key=? status=503", [503] * 6), ("method=HEAD status=503", [200] * 6),
                ("with=range status=503", [200] * 6), ("access-key=varve status=503", [503] * 6),
                ("access-key=x* status=503", [200] * 6), ("from=1h status=503", [200] * 6),
                ("to=1h status=503", [503] * 6), ("p=0 status=503", [200] * 6), ("p=1 status=503", [503] * 6)):
            s.faults(rule)
            assert statuses(s, 6) == expected, rule
        s.faults("with=range status=503")
        assert c.get("bkt", "k", range="bytes=0-1").status == 503
        s.faults("to=200ms status=503")
        assert statuses(s, 1) == [503]
        until(lambda: statuses(s, 1) == [200])
        # The earlier rule counts, the others add what it does not say.
        s.faults("key=k code=SlowDown", "status=500 retry-after=7")
        r = c.get("bkt", "k")
        assert (r.status, r.code, r.headers["retry-after"]) == (500, "SlowDown", "7"), r
        # Rules count what they see and do.
        s.faults("every=3 status=500")
        statuses(s, 7)
        assert s.stats()["faults"] == [{"rule": "every=3 status=500", "matched": 7, "fired": 2}]
        assert s.log(1)[0]["faults"] == "" and s.log(2)[0]["faults"] == "status"
        assert s.control("POST", "faults", "key=other status=500").text.count('"rule"') == 2
        r = s.control("PUT", "faults", "key=other status=500\nop=Nonsense status=1")
        assert r.status == 400 and "Nonsense" in r.text and s.control("GET", "faults").text.count('"rule"') == 2
        assert s.control("DELETE", "faults").text == "[]\n"


def test_the_dice_are_the_seeds(d):
    def draw(*args, rules=("p=0.4 status=503",)):
        with served(*args) as s:
            s.faults(*rules)
            return statuses(s, 40)
    one = draw("--seed", "7")
    assert one == draw("--seed", "7") and one != draw("--seed", "8")
    assert 4 <= one.count(503) <= 30
    # What one rule draws is not moved by another that fires for other requests.
    assert one == draw("--seed", "7", rules=("p=0.4 status=503", "op=PutObject p=0.5 status=500"))


def test_statuses_and_codes(d):
    with served() as s:
        c = s.client()
        for rule, status, code in (
                ("status=503 retry-after=1", 503, "SlowDown"), ("status=500", 500, "InternalError"),
                ("status=429", 429, "TooManyRequests"), ("code=RequestTimeout", 400, "RequestTimeout"),
                ("code=ConditionalRequestConflict", 409, "ConditionalRequestConflict"),
                ("code=OperationAborted", 409, "OperationAborted"), ("code=ExpiredToken", 400, "ExpiredToken"),
                ("code=NotImplemented", 501, "NotImplemented"), ("status=502", 502, "BadGateway"), ("status=408", 408, "RequestTimeout"),
                
                ("code=Novel status=418", 418, "Novel"), ("code=InvalidObjectState", 403, "InvalidObjectState")):
            s.faults("op=PutObject " + rule)
            r = c.put("bkt", "n", b"x")
            assert (r.status, r.code) == (status, code), (rule, r)
            s.faults()
            assert c.get("bkt", "n").code == "NoSuchKey", rule
        # With `late` it has happened all the same.
        s.faults("op=PutObject status=500 late")
        assert c.put("bkt", "n", b"x").status == 500 and c.get("bkt", "n").body == b"x"
        s.faults("op=CopyObject error-body")
        r = c.put("bkt", "copy", x_amz_copy_source="/bkt/k")
        assert (r.status, r.code) == (200, "InternalError") and c.get("bkt", "copy").status == 404, r
        s.faults("op=CompleteMultipartUpload error-body=SlowDown late")
        upload = c.request("POST", "/bkt/mp", {"uploads": ""}).one("UploadId")
        etag = c.request("PUT", "/bkt/mp", {"partNumber": "1", "uploadId": upload}, body=b"x").headers["etag"]
        r = c.request("POST", "/bkt/mp", {"uploadId": upload}, body=(
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>%s</ETag></Part></CompleteMultipartUpload>"
            % etag).encode())
        assert (r.status, r.code) == (200, "SlowDown") and c.get("bkt", "mp").body == b"x", r


def test_regions_and_redirects(d):
    with served() as s:
        c = s.client()
        s.faults("region=eu-west-1")
        r = c.get("bkt", "k")
        assert (r.code, r.one("Region")) == ("AuthorizationHeaderMalformed", "eu-west-1"), r
        assert r.headers["x-amz-bucket-region"] == "eu-west-1"
        assert s.client(region="eu-west-1").get("bkt", "k").body == DATA
        s.faults("redirect=301 region=eu-west-1 location=bkt.s3.eu-west-1.amazonaws.com")
        r = c.get("bkt", "k")
        assert (r.status, r.code, r.one("Endpoint")) == (
            301, "PermanentRedirect", "bkt.s3.eu-west-1.amazonaws.com"), r
        assert r.headers["x-amz-bucket-region"] == "eu-west-1" and "location" not in r.headers
        s.faults("redirect=307 location=127.0.0.1:1")
        r = c.get("bkt", "k")
        assert (r.status, r.code, r.headers["location"]) == (307, "TemporaryRedirect", "http://127.0.0.1:1/bkt/k"), r


def test_clocks(d):
    with served() as s:
        c = s.client()
        s.faults("nth=1 skew=1h")
        r = c.get("bkt", "k")
        assert r.code == "RequestTimeTooSkewed" and r.one("MaxAllowedSkewMilliseconds") == "900000", r
        ahead = parsedate_to_datetime(r.headers["date"]) - datetime.datetime.now(datetime.timezone.utc)
        assert 3500 < ahead.total_seconds() < 3700, r
        assert c.get("bkt", "k").status == 200


def test_connections_that_end(d):
    with served() as s:
        c = s.client(timeout=1)
        for way, seen in (("rst", "reset"), ("fin", "closed"), ("hang", "timeout")):
            for moment, happened in (("before", False), ("drop", False), ("lose", True)):
                key = way + moment
                s.faults("op=PutObject %s=%s" % (moment, way))
                # `before`: a body that is not read makes a FIN a reset when the client is quick.
                found = fails(c, "PUT", "/bkt/" + key, body=b"x" * 100000)
                assert found == seen, (way, moment, found)
                c.close()
                assert (c.get("bkt", key).status == 200) == happened, (way, moment)
            s.faults("op=Connect times=1 drop=" + way)
            c.close()
            assert fails(c, "GET", "/bkt/k") in (seen, "reset" if way != "hang" else seen), way
            c.close()
            assert c.get("bkt", "k").status == 200
        s.faults("op=Connect latency=300ms")
        c.close()
        start = time.monotonic()
        assert c.get("bkt", "k").status == 200 and time.monotonic() - start >= 0.3
        # Clients that gave up are forgotten.
        c.close()
        until(lambda: s.stats()["connections_open"] == 1)


def test_bodies_that_end_early(d):
    big = os.urandom(3 * MIB)
    with served() as s:
        c = s.client(timeout=1)
        c.put("bkt", "big", big)
        for way in ("fin", "rst"):
            for size in (0, 1, 100, 2 * MIB + 5):
                s.faults("op=GetObject cut=%d end=%s" % (size, way))
                r = c.get("bkt", "big")
                assert not r.complete and r.body == big[:size] and r.headers["content-length"] == str(len(big)), (way, size)
                assert (r.headers.get("reset") == "yes") == (way == "rst"), (way, size, r.headers)
        s.faults("cut=-1")
        assert c.get("bkt", "k").body == DATA[:-1]
        s.faults("cut=100M")
        assert c.get("bkt", "k").body == DATA
        s.faults("cut=10 end=hang")
        assert fails(c, "GET", "/bkt/k") == "timeout"
        c.close()


def test_bodies_that_lie(d):
    with served() as s:
        c = s.client()
        s.faults("op=GetObject flip=3")
        body = c.get("bkt", "k").body
        flipped = sum(bin(a ^ b).count("1") for a, b in zip(body, DATA))
        assert len(body) == len(DATA) and flipped in (1, 3), flipped
        s.faults()
        assert c.get("bkt", "k").body == DATA  # the object itself is whole
        s.faults("length=+10")
        r = c.get("bkt", "k")
        assert not r.complete and r.body == DATA and r.headers["content-length"] == str(len(DATA) + 10), r
        s.faults("length=-10")
        r = c.get("bkt", "k")
        assert r.body == DATA[:-10] and c.stream.read() == DATA[-10:]
        c.close()
        s.faults("length=none")
        r = c.get("bkt", "k")
        assert r.body == DATA and "content-length" not in r.headers
        s.faults("chunked")
        r = c.get("bkt", "k")
        assert r.body == DATA and r.headers["transfer-encoding"] == "chunked"
        assert c.list("bkt").all("Key") == ["k"]
        s.faults("close")
        assert c.get("bkt", "k").headers["connection"] == "close"
        for word, etag in (("wrong", None), ("unquoted", hashlib.md5(DATA).hexdigest()),
                           ("weak", 'W/"%s"' % hashlib.md5(DATA).hexdigest()), ("none", "")):
            s.faults("etag=" + word)
            found = c.head("bkt", "k").headers.get("etag", "")
            assert found == etag or (etag is None and found and hashlib.md5(DATA).hexdigest() not in found), (word, found)


def test_ranges_that_lie(d):
    with served() as s:
        c = s.client()

        def get(fault):
            s.faults("range=" + fault)
            r = c.get("bkt", "k", range="bytes=10-19")
            return r.status, r.headers.get("content-range"), r.body
        assert get("ignore") == (200, None, DATA)
        assert get("wrong") == (206, "bytes 11-20/1024", DATA[10:20])
        assert get("none") == (206, None, DATA[10:20])
        assert get("short") == (206, "bytes 10-14/1024", DATA[10:15])
        assert get("shift") == (206, "bytes 10-19/1024", DATA[11:21])
        s.faults("range=shift")
        assert c.get("bkt", "k", range="bytes=-4").body == DATA[-5:-1]
        assert c.get("bkt", "k").body == DATA


def test_floods(d):
    with served() as s:
        for fault in ("endless=body", "endless=chunked", "endless=headers", "headers=10M"):
            s.faults("op=GetObject " + fault)
            c = s.client()
            c.send(c.build("GET", "/bkt/k"))
            got = 0
            while got < 10 * MIB:
                block = c.socket.recv(MIB)
                assert block, fault
                got += len(block)
            c.close()
        s.faults("headers=10000")
        r = s.client().get("bkt", "k")
        assert r.body == DATA and sum(len(v) for n, v in r.headers.items() if n.startswith("x-padding")) >= 10000
        until(lambda: s.stats()["connections_open"] == 1)


def test_xml_that_nobody_should_read(d):
    with served() as s:
        c = s.client()
        good = c.list("bkt").body

        def body(fault):
            s.faults("op=ListObjectsV2 xml=" + fault)
            r = c.list("bkt")
            assert r.status == 200 and r.complete
            return r.body
        assert b"<!ENTITY e10" in body("bomb")
        assert body("deep") == b"<a>" * 100000 + b"</a>" * 100000
        assert body("truncated") == good[:len(good) // 2]
        assert len(body("garbage")) == 4096 and body("empty") == b""
        assert len(body("huge")) > 64 * MIB and body("html").startswith(b"<html>")
        s.faults("op=GetObject code=NoSuchKey xml=garbage")
        assert c.get("bkt", "k").status == 200


def test_latency_and_bandwidth(d):
    with served() as s:
        c = s.client()

        def seconds(fault, work, *args):
            s.faults(fault)
            start = time.monotonic()
            assert work(*args).status == 200
            return time.monotonic() - start
        assert 0.1 <= seconds("latency=100ms", c.get, "bkt", "k") < 1
        for fault in ("latency=50ms..100ms", "latency=lognormal:80ms:0.01"):
            assert 0.05 <= seconds(fault, c.get, "bkt", "k") < 1, fault
        s.faults("latency=exp:10ms")
        start = time.monotonic()
        for _ in range(40):
            c.get("bkt", "k")
        assert 0.1 < (time.monotonic() - start) < 2
        # Many wait at once, and hold nobody up.
        s.faults("op=GetObject latency=500ms")
        start = time.monotonic()
        threads = [threading.Thread(target=lambda: s.client().get("bkt", "k")) for _ in range(32)]
        [t.start() for t in threads]
        assert s.client().head("bkt", "k").status == 200 and time.monotonic() - start < 0.5
        [t.join() for t in threads]
        assert 0.5 <= time.monotonic() - start < 3
        big = b"x" * (2 * MIB)
        assert 0.6 < seconds("upload-bandwidth=2M", c.put, "bkt", "big", big) < 4
        assert 0.6 < seconds("bandwidth=2M", c.get, "bkt", "big") < 4
        assert seconds("latency=1ms", c.get, "bkt", "big") < 0.6


def test_stale_listings(d):
    with served() as s:
        c = s.client()

        def listed():
            return c.list("bkt").all("Key")
        # As old as a number of requests: this one, and the two before it.
        s.faults("op=ListObjectsV2 stale=3")
        for _ in range(4):
            c.head("bkt", "k")
        c.put("bkt", "new", b"x")
        assert listed() == ["k"]
        assert c.get("bkt", "new").body == b"x"
        assert listed() == ["k", "new"]
        c.delete("bkt", "k")
        assert listed() == ["k", "new"]
        assert listed() == ["k", "new"]
        assert listed() == ["new"]
        # As old as a time; an overwritten object shows its old size.
        c.put("bkt", "new", b"longer")
        s.faults("op=ListObjectsV2 stale=1h")
        assert listed() == []
        s.faults("op=ListObjectsV2 stale=400ms")
        until(lambda: c.list("bkt").all("Size") == ["6"])
        c.put("bkt", "new", b"longest")
        c.put("bkt", "more", b"")
        assert c.list("bkt").all("Size") == ["6"]
        until(lambda: c.list("bkt").all("Size") == ["0", "7"])


def test_servers_that_ignore(d):
    with served() as s:
        c = s.client()
        s.faults("ignore=conditions")
        assert c.put("bkt", "k", b"overwritten", if_none_match="*").status == 200
        assert c.put("bkt", "k", b"again", if_match='"x"').status == 200
        assert c.get("bkt", "k", if_match='"x"').body == b"again"
        s.faults("ignore=checksums")
        assert c.put("bkt", "k", b"x", content_md5=b64(b"0" * 16), x_amz_checksum_crc32c="AAAAAA==").status == 200
        assert c.request("PUT", "/bkt/k", body=b"y", payload_hash="0" * 64).status == 200
        s.faults("ignore=signature,conditions")
        assert s.client(secret="wrong").put("bkt", "k", b"z", if_none_match="*").status == 200
        s.faults("with=if-none-match code=ConditionalRequestConflict times=1")
        assert c.put("bkt", "k", b"z").status == 200
        assert c.put("bkt", "n", b"z", if_none_match="*").status == 409
        assert c.put("bkt", "n", b"z", if_none_match="*").status == 200


def test_some_keys_of_a_deletion_fail(d):
    with served() as s:
        c = s.client()
        for k in ("a1", "a2", "b1"):
            c.put("bkt", k, b"x")
        s.faults("op=DeleteKey key=a* nth=2 code=InternalError", "op=DeleteKey key=b* code=SlowDown late")
        body = ("<Delete>%s</Delete>" % "".join("<Object><Key>%s</Key></Object>" % k for k in ("a1", "a2", "b1", "k"))).encode()
        r = c.request("POST", "/bkt", {"delete": ""}, {"content-md5": b64(hashlib.md5(body).digest())}, body)
        assert r.status == 200 and r.all("Code") == ["InternalError", "SlowDown"], r
        assert "<Error><Key>a2</Key>" in r.text and "<Deleted><Key>k</Key>" in r.text
        assert c.list("bkt").all("Key") == ["a2"]


def test_scripted_archives(d):
    with served() as s:
        c = s.client()
        s.faults("key=k archived times=1", "op=RestoreObject restore-delay=0ms")
        assert c.get("bkt", "k").code == "InvalidObjectState"
        assert c.get("bkt", "k").body == DATA
        c.put("bkt", "cold", b"x", x_amz_storage_class="DEEP_ARCHIVE")
        assert c.get("bkt", "cold").code == "InvalidObjectState"
        assert c.request("POST", "/bkt/cold", {"restore": ""}, body=b"<RestoreRequest><Days>1</Days></RestoreRequest>"
                         ).status == 202


def test_opaque_etags(d):
    with served("--opaque-etags") as s:
        c = s.client()
        first = c.put("bkt", "k", b"same").headers["etag"]
        second = c.put("bkt", "k", b"same").headers["etag"]
        assert first != second and hashlib.md5(b"same").hexdigest() not in first
        assert c.put("bkt", "k", b"x", if_match=first).status == 412
        assert c.put("bkt", "k", b"x", if_match=second).status == 200


if __name__ == "__main__":
    main()
