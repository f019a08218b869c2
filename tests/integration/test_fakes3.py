#!/usr/bin/env python3
"""varve-fakes3: each operation as AWS documents it, and who may do it."""

import datetime
import hashlib
import json
import os
import subprocess
import threading
import time

from fakes3client import FAKES3, Client, Server, b64
from varvetest import crc32c, main, need

MIB = 1024 * 1024


def xml_parts(*parts):
    """The body of CompleteMultipartUpload from (number, etag)."""
    return ("<CompleteMultipartUpload>%s</CompleteMultipartUpload>" % "".join(
        "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>" % p for p in parts)).encode()


def crc(data):
    return b64(crc32c(data).to_bytes(4, "big"))


def sha(data):
    return b64(hashlib.sha256(data).digest())


def test_aws_published_signatures_hold(d):
    key, secret = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    empty = hashlib.sha256(b"").hexdigest()
    body = b"Welcome to Amazon S3."
    vectors = [
        ("PUT", "/test%24file.text", body, 200,
         {"date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
         "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
         "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"),
        ("GET", "/test.txt", b"", 404, {"range": "bytes=0-9"}, "host;range;x-amz-content-sha256;x-amz-date",
         "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
        ("GET", "/?lifecycle", b"", 501, {}, "host;x-amz-content-sha256;x-amz-date",
         "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ("GET", "/?max-keys=2&prefix=J", b"", 200, {}, "host;x-amz-content-sha256;x-amz-date",
         "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ]
    with Server("--key", key + ":" + secret, "--bucket", "examplebucket", "--clock", "2013-05-24T00:00:00Z") as s:
        for method, target, data, status, more, signed, signature in vectors:
            for good in (True, False):
                headers = {"host": "examplebucket.s3.amazonaws.com", **more,
                           "x-amz-content-sha256": hashlib.sha256(data).hexdigest() if data else empty,
                           "x-amz-date": "20130524T000000Z"}
                if not good:
                    signature = signature[:-1] + ("0" if signature[-1] != "0" else "1")
                headers["authorization"] = (
                    "AWS4-HMAC-SHA256 Credential=%s/20130524/us-east-1/s3/aws4_request,SignedHeaders=%s,Signature=%s"
                    % (key, signed, signature))
                c = Client(s.port)
                head = "%s %s HTTP/1.1\r\n%scontent-length: %d\r\n\r\n" % (
                    method, target, "".join("%s: %s\r\n" % h for h in headers.items()), len(data))
                c.send(head.encode() + data)
                r = c.receive(method)
                c.close()
                assert r.status == (status if good else 403), (target, good, r)
                assert good or r.code == "SignatureDoesNotMatch", r


def test_signatures_are_checked_strictly(d):
    with Server("--bucket", "bkt") as s:
        c = s.client()
        assert c.put("bkt", "k", b"v").status == 200
        # Keys and queries that signers get wrong, and headers of which one prefixes another.
        for key in ("a b", "a+b", "a=b&c", "ü/é", "a//b", "a/./b/../c", "~-._", "!*'()", "%41", "?#", "tab\tkey"):
            r = c.put("bkt", key, key.encode(), x_amz_meta_a="1", x_amz_meta_a_b="two  spaces")
            assert r.status == 200, (key, r)
            assert c.get("bkt", key).body == key.encode()
            assert c.list("bkt", prefix=key, encoding_type="url").one("KeyCount") == "1", key
            assert c.delete("bkt", key).status == 204

        def code(client, **how):
            r = client.request("GET", "/bkt/k", **how)
            return r.status, r.code
        assert code(s.client(secret="wrong")) == (403, "SignatureDoesNotMatch")
        assert code(s.client(key="nobody")) == (403, "InvalidAccessKeyId")
        assert code(s.client(), sign_it=False) == (403, "AccessDenied")
        assert code(s.client(skew=16 * 60)) == (403, "RequestTimeTooSkewed")
        assert code(s.client(skew=-16 * 60)) == (403, "RequestTimeTooSkewed")
        assert code(s.client(skew=14 * 60)) == (200, None)
        assert code(s.client(token="unasked")) == (400, "InvalidToken")
        r = s.client(region="eu-west-1").get("bkt", "k")
        assert (r.status, r.code, r.one("Region")) == (400, "AuthorizationHeaderMalformed", "us-east-1")
        assert r.headers["x-amz-bucket-region"] == "us-east-1"
        assert code(c, change=lambda h: h.update({"x-amz-meta-late": "x"})) == (403, "AccessDenied")
        assert code(c, change=lambda h: h.update({"authorization": "AWS varve:abc"})) == (400, "InvalidRequest")
        assert code(c, change=lambda h: h.update({"authorization": "AWS4-HMAC-SHA256 nonsense"})) == (
            400, "AuthorizationHeaderMalformed")
        assert code(c, change=lambda h: h.pop("x-amz-content-sha256")) == (400, "InvalidRequest")
        assert code(c, change=lambda h: h.pop("x-amz-date")) == (403, "AccessDenied")
        assert code(c, change=lambda h: h.update({"host": "elsewhere"})) == (403, "SignatureDoesNotMatch")
        assert code(c, payload_hash="STREAMING-AWS4-HMAC-SHA256-PAYLOAD") == (501, "NotImplemented")
        assert code(c, payload_hash="UNSIGNED-PAYLOAD") == (200, None)
        r = s.client(secret="wrong").get("bkt", "k")
        assert r.one("StringToSign").startswith("AWS4-HMAC-SHA256") and "/bkt/k" in r.one("CanonicalRequest")
        assert s.control("PUT", "clock?skew=1h").status == 200
        assert code(c) == (403, "RequestTimeTooSkewed")
        assert code(s.client(skew=3600)) == (200, None)


def test_keys_have_accounts_and_permissions(d):
    with Server("--key", "rw:s1", "--key", "ro:s2:ro", "--key", "other:s3:account=them", "--bucket", "ours",
                "--bucket", "theirs:account=them", "--bucket", "far:region=eu-west-1") as s:
        rw, ro, other = (s.client(key=k, secret=v) for k, v in (("rw", "s1"), ("ro", "s2"), ("other", "s3")))
        assert rw.put("ours", "k", b"v").status == 200
        assert ro.get("ours", "k").body == b"v"
        for r in (ro.put("ours", "k", b"w"), ro.delete("ours", "k"), other.get("ours", "k"), rw.get("theirs", "k"),
                  ro.request("POST", "/ours/k", {"uploads": ""})):
            assert (r.status, r.code) == (403, "AccessDenied"), r
        assert other.get("theirs", "k").code == "NoSuchKey"
        assert rw.request("PUT", "/theirs").code == "BucketAlreadyExists"
        assert rw.request("PUT", "/ours").code == "BucketAlreadyOwnedByYou"
        assert rw.request("GET", "/").all("Name") == ["far", "ours"]
        assert rw.get("far", "k").code == "AuthorizationHeaderMalformed"
        assert rw.request("HEAD", "/far").headers["x-amz-bucket-region"] == "eu-west-1"
        eu = s.client(key="rw", secret="s1", region="eu-west-1")
        assert eu.request("GET", "/far", {"location": ""}).text.endswith(">eu-west-1</LocationConstraint>")
    with Server("--anonymous", "--bucket", "bkt") as s:
        assert s.client().request("PUT", "/bkt/k", body=b"v", sign_it=False).status == 200
        assert s.client(secret="wrong").get("bkt", "k").status == 403


def test_buckets(d):
    with Server() as s:
        c = s.client()
        assert c.get("none", "k").code == "NoSuchBucket"
        assert c.request("HEAD", "/none").status == 404
        assert c.request("PUT", "/No_Name").code == "InvalidBucketName"
        assert c.request("PUT", "/bkt").status == 200
        assert c.request("HEAD", "/bkt").status == 200
        assert c.request("GET", "/bkt", {"location": ""}).text.endswith("/\"></LocationConstraint>")
        assert "<Status>" not in c.request("GET", "/bkt", {"versioning": ""}).text
        assert c.request("GET", "/bkt", {"object-lock": ""}).code == "ObjectLockConfigurationNotFoundError"
        assert c.request("GET", "/bkt", {"acl": ""}).code == "NotImplemented"
        assert c.put("bkt", "k").status == 200
        assert c.request("DELETE", "/bkt").code == "BucketNotEmpty"
        assert c.delete("bkt", "k").status == 204
        assert c.request("DELETE", "/bkt").status == 204
        assert c.request("DELETE", "/bkt").code == "NoSuchBucket"
        body = b"<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>"
        assert c.request("PUT", "/eub", body=body).status == 200
        assert s.client(region="eu-west-1").request("HEAD", "/eub").status == 200
        assert c.request("PUT", "/bad", body=b"<CreateBucket").code == "MalformedXML"


def test_objects_ranges_and_metadata(d):
    data = bytes(range(256)) * 40
    with Server("--bucket", "bkt") as s:
        c = s.client()
        r = c.put("bkt", "k", data, content_type="text/x", x_amz_meta_id="42", cache_control="no-cache")
        etag = '"%s"' % hashlib.md5(data).hexdigest()
        assert r.headers["etag"] == etag
        for r in (c.get("bkt", "k"), c.head("bkt", "k")):
            assert r.status == 200 and r.headers["content-length"] == str(len(data)), r
            assert r.headers["etag"] == etag and r.headers["x-amz-meta-id"] == "42"
            assert r.headers["content-type"] == "text/x" and r.headers["cache-control"] == "no-cache"
            assert r.headers["last-modified"].endswith("GMT") and r.headers["accept-ranges"] == "bytes"
        assert c.get("bkt", "k").body == data
        for asked, told, body in (
                ("bytes=0-0", "0-0", data[:1]), ("bytes=5-99", "5-99", data[5:100]),
                ("bytes=10000-", "10000-10239", data[10000:]), ("bytes=-7", "10233-10239", data[-7:]),
                ("bytes=-99999", "0-10239", data), ("bytes=10239-99999", "10239-10239", data[-1:])):
            r = c.get("bkt", "k", range=asked)
            assert (r.status, r.body) == (206, body), (asked, r)
            assert r.headers["content-range"] == "bytes %s/10240" % told, r
            assert c.head("bkt", "k", range=asked).headers["content-length"] == str(len(body))
        for asked in ("bytes=10240-", "bytes=-0"):
            r = c.get("bkt", "k", range=asked)
            assert (r.status, r.code, r.headers["content-range"]) == (416, "InvalidRange", "bytes */10240"), r
        for asked in ("bytes=9-5", "lines=1-2", "bytes=0-1,3-4", "bytes=x-y"):
            assert c.get("bkt", "k", range=asked).body == data, asked
        assert c.get("bkt", "none").code == "NoSuchKey"
        assert c.head("bkt", "none").status == 404
        assert c.put("bkt", "empty").status == 200 and c.get("bkt", "empty").body == b""
        assert c.put("bkt", "k" * 1025, b"").code == "KeyTooLongError"
        assert c.put("bkt", "m", b"", x_amz_meta_big="x" * 2100).code == "MetadataTooLarge"
        assert c.put("bkt", "m", b"", x_amz_storage_class="ICE").code == "InvalidArgument"
        for header in ("x-amz-object-lock-mode", "x-amz-server-side-encryption", "x-amz-tagging"):
            r = c.request("PUT", "/bkt/m", headers={header: "x"}, body=b"x")
            assert (r.code, r.one("Header")) == ("NotImplemented", header), r
        assert c.request("PUT", "/bkt/m", body=b"", length=False).code == "MissingContentLength"
        # Virtual hosts.
        for host in ("bkt.localhost:%d" % s.port, "bkt.s3.us-east-1.amazonaws.com"):
            assert c.request("GET", "/k", host=host).body == data
        # Copies share bytes, not names.
        r = c.put("bkt", "copy", x_amz_copy_source="/bkt/k")
        assert r.one("ETag") == etag and c.get("bkt", "copy").body == data
        assert c.head("bkt", "copy").headers["x-amz-meta-id"] == "42"
        assert c.put("bkt", "c2", x_amz_copy_source="bkt/none").code == "NoSuchKey"
        assert c.delete("bkt", "k").status == 204 and c.delete("bkt", "k").status == 204
        assert c.get("bkt", "copy").body == data


def test_conditions(d):
    with Server("--bucket", "bkt") as s:
        c = s.client()
        assert c.put("bkt", "k", b"1", if_match='"abc"').code == "NoSuchKey"
        etag = c.put("bkt", "k", b"1", if_none_match="*").headers["etag"]
        r = c.put("bkt", "k", b"2", if_none_match="*")
        assert (r.status, r.code, r.one("Condition")) == (412, "PreconditionFailed", "If-None-Match"), r
        assert c.put("bkt", "k", b"2", if_match='"abc"').status == 412
        assert c.put("bkt", "k", b"2", if_none_match='"abc"').code == "NotImplemented"
        assert c.get("bkt", "k").body == b"1"
        assert c.put("bkt", "k", b"2", if_match=etag).status == 200
        new = c.put("bkt", "k", b"3", if_match=hashlib.md5(b"2").hexdigest()).headers["etag"]  # unquoted is taken, too
        assert c.get("bkt", "k", if_match=new).body == b"3"
        assert c.get("bkt", "k", if_match=etag).status == 412
        assert c.get("bkt", "k", if_none_match=new).status == 304
        assert c.head("bkt", "k", if_none_match=new).status == 304
        assert c.request("DELETE", "/bkt/k", headers={"If-Match": etag}).status == 412
        assert c.request("DELETE", "/bkt/k", headers={"If-Match": new}).status == 204
        # Of many who create at once exactly one wins.
        won = []

        def race(n):
            r = s.client().put("bkt", "race", b"%d" % n, if_none_match="*")
            won.append((r.status, n))
        threads = [threading.Thread(target=race, args=(n,)) for n in range(16)]
        [t.start() for t in threads], [t.join() for t in threads]
        winners = [n for status, n in won if status == 200]
        assert len(winners) == 1 and sorted(w[0] for w in won)[1:] == [412] * 15, won
        assert c.get("bkt", "race").body == b"%d" % winners[0]


def test_checksums(d):
    with Server("--bucket", "bkt") as s:
        c = s.client()
        data = b"123456789"
        assert crc(data) == "4waSgw=="
        md5 = b64(hashlib.md5(data).digest())
        r = c.put("bkt", "k", data, content_md5=md5, x_amz_checksum_crc32c=crc(data), x_amz_checksum_sha256=sha(data))
        assert r.headers["x-amz-checksum-crc32c"] == crc(data) and r.headers["x-amz-checksum-sha256"] == sha(data), r
        r = c.get("bkt", "k", x_amz_checksum_mode="ENABLED")
        assert r.headers["x-amz-checksum-crc32c"] == crc(data) and r.headers["x-amz-checksum-type"] == "FULL_OBJECT"
        assert "x-amz-checksum-crc32c" not in c.get("bkt", "k").headers
        for code, headers in (("BadDigest", {"content-md5": b64(b"0" * 16)}), ("InvalidDigest", {"content-md5": "zz"}),
                              ("BadDigest", {"x-amz-checksum-crc32c": crc(b"other")}),
                              ("BadDigest", {"x-amz-checksum-sha256": sha(b"other")}),
                              ("InvalidRequest", {"x-amz-checksum-crc32c": "AAAA"}),
                              ("NotImplemented", {"x-amz-checksum-crc64nvme": "AAAAAAAAAAA="})):
            r = c.request("PUT", "/bkt/bad", headers=headers, body=data)
            assert r.code == code, (headers, r)
        r = c.request("PUT", "/bkt/bad", body=data, payload_hash=hashlib.sha256(b"other").hexdigest())
        assert (r.status, r.code) == (400, "XAmzContentSHA256Mismatch"), r
        assert c.get("bkt", "bad").code == "NoSuchKey"


def test_multipart(d):
    with Server("--bucket", "bkt") as s:
        c = s.client()

        def create(key, **headers):
            return c.request("POST", "/bkt/" + key, {"uploads": ""},
                             {k.replace("_", "-"): v for k, v in headers.items()}).one("UploadId")

        def part(key, upload, n, body, **headers):
            return c.request("PUT", "/bkt/" + key, {"partNumber": str(n), "uploadId": upload},
                             {k.replace("_", "-"): v for k, v in headers.items()}, body)

        def complete(key, upload, *parts, **headers):
            return c.request("POST", "/bkt/" + key, {"uploadId": upload},
                             {k.replace("_", "-"): v for k, v in headers.items()}, xml_parts(*parts))
        a, b = os.urandom(5 * MIB), b"the end"
        upload = create("k", x_amz_meta_id="7", content_type="x/y")
        assert "/" in upload and "+" in upload  # to be encoded in queries
        e2 = part("k", upload, 7, b).headers["etag"]
        part("k", upload, 2, b"replaced")
        e1 = part("k", upload, 2, a).headers["etag"]
        assert e1 == '"%s"' % hashlib.md5(a).hexdigest()
        r = c.request("GET", "/bkt/k", {"uploadId": upload, "max-parts": "1"})
        assert (r.all("PartNumber"), r.one("IsTruncated"), r.one("NextPartNumberMarker")) == (["2"], "true", "2"), r
        r = c.request("GET", "/bkt/k", {"uploadId": upload, "part-number-marker": "2"})
        assert (r.all("PartNumber"), r.all("Size"), r.one("IsTruncated")) == (["7"], ["7"], "false"), r
        assert complete("k", upload, (7, e2), (2, e1)).code == "InvalidPartOrder"
        assert complete("k", upload, (2, e2), (7, e2)).code == "InvalidPart"
        assert complete("k", upload, (2, e1), (8, e2)).code == "InvalidPart"
        assert complete("k", upload).code == "MalformedXML"
        assert c.get("bkt", "k").code == "NoSuchKey"
        r = complete("k", upload, (2, e1), (7, e2))
        whole = hashlib.md5(hashlib.md5(a).digest() + hashlib.md5(b).digest()).hexdigest()
        assert r.status == 200 and r.one("ETag") == '"%s-2"' % whole, r
        r = c.get("bkt", "k")
        assert r.body == a + b and r.headers["x-amz-meta-id"] == "7" and r.headers["content-type"] == "x/y"
        edge = c.get("bkt", "k", range="bytes=%d-%d" % (len(a) - 3, len(a) + 2))
        assert edge.body == a[-3:] + b[:3]
        assert complete("k", upload, (2, e1), (7, e2)).code == "NoSuchUpload"
        # Conditions, small parts, unknown uploads, abort.
        upload = create("k")
        e = part("k", upload, 1, b"x").headers["etag"]
        assert complete("k", upload, (1, e), if_none_match="*").status == 412
        assert complete("k", upload, (1, e), if_match='"nope"').status == 412
        f = part("k", upload, 2, b"y").headers["etag"]
        assert complete("k", upload, (1, e), (2, f)).code == "EntityTooSmall"
        assert complete("k", upload, (1, e), if_match='"%s-2"' % whole).status == 200
        assert c.get("bkt", "k").body == b"x"
        assert part("k", "unknown", 1, b"x").code == "NoSuchUpload"
        upload = create("gone")
        assert part("gone", upload, 0, b"x").code == "InvalidArgument"
        assert part("gone", upload, 10001, b"x").code == "InvalidArgument"
        assert c.request("DELETE", "/bkt/gone", {"uploadId": upload}).status == 204
        assert c.request("DELETE", "/bkt/gone", {"uploadId": upload}).code == "NoSuchUpload"
        assert s.stats()["uploads"] == 0 and s.stats()["stored_bytes"] == 1
        # Checksums: of checksums, or of the whole.
        for kind in ("COMPOSITE", "FULL_OBJECT"):
            upload = create("sum", x_amz_checksum_algorithm="CRC32C", x_amz_checksum_type=kind)
            assert part("sum", upload, 1, b"x").code == "InvalidRequest"
            assert part("sum", upload, 1, b"x", x_amz_checksum_crc32c=crc(b"y")).code == "BadDigest"
            r = part("sum", upload, 1, b"abc", x_amz_checksum_crc32c=crc(b"abc"))
            assert r.headers["x-amz-checksum-crc32c"] == crc(b"abc"), r
            r = complete("sum", upload, (1, r.headers["etag"]))
            expected = crc(b"abc") if kind == "FULL_OBJECT" else crc(crc32c(b"abc").to_bytes(4, "big")) + "-1"
            assert r.one("ChecksumCRC32C") == expected, (kind, r)
            assert c.get("bkt", "sum", x_amz_checksum_mode="enabled").headers["x-amz-checksum-type"] == kind


def test_listing_of_uploads_is_paged(d):
    with Server("--bucket", "bkt") as s:
        c = s.client()
        made = []
        for key in ("a", "b/1", "b/2", "b/2", "c"):
            made.append((key, c.request("POST", "/bkt/" + key, {"uploads": ""}).one("UploadId")))
        found, query = [], {"uploads": "", "max-uploads": "2"}
        while True:
            r = c.request("GET", "/bkt", query)
            found += zip(r.all("Key"), r.all("UploadId"))
            if r.one("IsTruncated") == "false":
                break
            query["key-marker"], query["upload-id-marker"] = r.one("NextKeyMarker"), r.one("NextUploadIdMarker")
        assert found == sorted(made), found
        r = c.request("GET", "/bkt", {"uploads": "", "prefix": "b/"})
        assert r.all("Key") == ["b/1", "b/2", "b/2"], r
        assert c.request("GET", "/bkt", {"uploads": "", "key-marker": "b/1"}).all("Key") == ["b/2", "b/2", "c"]


def test_listings(d):
    keys = ["a", "b/1", "b/2", "b/3/x", "b/3/y", "b0", "c d", "d&<e>", "é"]
    with Server("--bucket", "bkt") as s:
        c = s.client()
        for k in keys:
            assert c.put("bkt", k, k.encode()).status == 200
        assert c.list("bkt").all("Key") == sorted(keys, key=str.encode)
        r = c.list("bkt", encoding_type="url", prefix="c")
        assert r.all("Key") == ["c%20d"] and r.one("EncodingType") == "url", r
        r = c.list("bkt", delimiter="/")
        assert r.all("Key") == [k for k in keys if "/" not in k] and r.all("Prefix")[1:] == ["b/"], r
        assert r.one("KeyCount") == str(len(r.all("Key")) + 1)
        r = c.list("bkt", delimiter="/", prefix="b/")
        assert (r.all("Key"), r.all("Prefix")[1:]) == (["b/1", "b/2"], ["b/3/"]), r
        assert c.list("bkt", start_after="b/2").all("Key")[0] == "b/3/x"
        assert c.list("bkt", start_after="b/1", delimiter="/").all("Prefix")[1:] == ["b/"]
        assert c.list("bkt", max_keys=0).all("Key") == []
        assert c.list("bkt", max_keys="x").code == "InvalidArgument"
        assert c.list("bkt", continuation_token="x").code == "InvalidArgument"
        for delimiter in ("", "/"):
            for page in (1, 2, 3):
                found, groups, query = [], [], {"max_keys": page, "delimiter": delimiter}
                while True:
                    r = c.list("bkt", **query)
                    found, groups = found + r.all("Key"), groups + r.all("Prefix")[1:]
                    assert int(r.one("KeyCount")) == len(r.all("Key")) + len(r.all("Prefix")) - 1 <= page
                    query["continuation_token"] = r.one("NextContinuationToken")
                    if r.one("IsTruncated") == "false":
                        break
                    assert "+" in query["continuation_token"]  # whoever does not encode it gets nowhere
                assert found == [k for k in keys if not delimiter or "/" not in k], (delimiter, page, found)
                assert groups == (["b/"] if delimiter else []), (delimiter, page, groups)
        # The first version, which libs3 speaks.
        found, groups, marker = [], [], ""
        while True:
            r = c.request("GET", "/bkt", {"delimiter": "/", "max-keys": "2", "marker": marker})
            found, groups, marker = found + r.all("Key"), groups + r.all("Prefix")[1:], r.one("NextMarker")
            if r.one("IsTruncated") == "false":
                break
        assert found == [k for k in keys if "/" not in k] and groups == ["b/"], (found, groups)


def test_deletion_of_many(d):
    with Server("--bucket", "bkt") as s:
        c = s.client()
        for k in ("a", "b&", "c"):
            c.put("bkt", k, b"x")

        def delete(body, md5=True):
            headers = {"content-md5": b64(hashlib.md5(body).digest())} if md5 else {}
            return c.request("POST", "/bkt", {"delete": ""}, headers, body)
        body = (b'<?xml version="1.0"?><Delete xmlns="x"><!-- c --><Object><Key>a</Key></Object>'
                b"<Object><Key>b&amp;</Key></Object><Object><Key>none</Key></Object></Delete>")
        assert delete(body, md5=False).code == "InvalidRequest"
        r = delete(body)
        assert r.all("Key") == ["a", "b&", "none"] and "<Error>" not in r.text, r
        assert c.list("bkt").all("Key") == ["c"]
        assert "<Key>" not in delete(b"<Delete><Quiet>true</Quiet><Object><Key>c</Key></Object></Delete>").text
        for bad in (b"<Delete>", b"<Delete></Delete>", b"<Delete><Object></Object></Delete>", b"junk",
                    b"<Delete>" + b"<Object><Key>k</Key></Object>" * 1001 + b"</Delete>", b"<a>" * 50 + b"</a>" * 50):
            assert delete(bad).code == "MalformedXML", bad[:40]


def test_archived_objects_need_a_restore(d):
    with Server("--bucket", "bkt", "--restore-delay", "300ms", "--day", "600ms") as s:
        c = s.client()
        c.put("bkt", "k", b"cold", x_amz_storage_class="GLACIER")
        c.put("bkt", "warm", b"warm")
        r = c.get("bkt", "k")
        assert (r.status, r.code, r.one("StorageClass")) == (403, "InvalidObjectState", "GLACIER"), r
        assert c.head("bkt", "k").headers["x-amz-storage-class"] == "GLACIER"

        def restore(key, body=b"<RestoreRequest><Days>1</Days></RestoreRequest>"):
            return c.request("POST", "/bkt/" + key, {"restore": ""}, body=body)
        assert restore("warm").code == "InvalidObjectState"
        assert restore("none").code == "NoSuchKey"
        assert restore("k", b"<RestoreRequest/>").code == "MalformedXML"
        assert restore("k").status == 202
        assert restore("k").code == "RestoreAlreadyInProgress"
        assert c.head("bkt", "k").headers["x-amz-restore"] == 'ongoing-request="true"'
        assert c.get("bkt", "k").status == 403
        deadline = time.monotonic() + 10
        while c.get("bkt", "k").status == 403 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert c.get("bkt", "k").body == b"cold"
        assert 'ongoing-request="false", expiry-date="' in c.head("bkt", "k").headers["x-amz-restore"]
        assert restore("k").status == 200
        while c.get("bkt", "k").status == 200 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert c.get("bkt", "k").code == "InvalidObjectState"
        assert s.control("POST", "archive?bucket=bkt&key=w*&class=DEEP_ARCHIVE").text == '{"archived":1}\n'
        assert c.get("bkt", "warm").one("StorageClass") == "DEEP_ARCHIVE"


def test_sts_hands_out_credentials_that_expire(d):
    form = "Action=%s&Version=2011-06-15&RoleArn=arn%%3Aaws%%3Aiam%%3A%%3A1%%3Arole%%2Fr&RoleSessionName=s"
    kind = {"content-type": "application/x-www-form-urlencoded"}
    with Server("--bucket", "bkt", "--web-identity-token", "tok") as s:
        def ask(body, **how):
            return s.client(**how).request("POST", "/", headers=kind, body=body.encode(), service="sts")
        r = ask(form % "AssumeRole")
        assert r.status == 200 and r.one("SessionToken"), r
        c = s.client(key=r.one("AccessKeyId"), secret=r.one("SecretAccessKey"), token=r.one("SessionToken"))
        assert len(r.one("SessionToken")) > 1024 and c.put("bkt", "k", b"v").status == 200
        assert s.client(key=c.key, secret=c.secret).get("bkt", "k").code == "InvalidToken"
        life = datetime.datetime.strptime(r.one("Expiration"), "%Y-%m-%dT%H:%M:%SZ") - datetime.datetime.utcnow()
        assert 3500 < life.total_seconds() < 3700
        assert s.control("POST", "expire").text == '{"expired":1}\n'
        r = c.get("bkt", "k")
        assert (r.status, r.code) == (400, "ExpiredToken"), r
        assert ask(form % "AssumeRole", secret="wrong").code == "SignatureDoesNotMatch"
        assert ask(form % "AssumeRole", key="nobody").code == "InvalidClientTokenId"
        assert ask(form % "GetNothing").code == "InvalidAction"

        def web(token):
            body = (form % "AssumeRoleWithWebIdentity" + "&WebIdentityToken=" + token).encode()
            return s.client().request("POST", "/", headers=kind, body=body, sign_it=False)
        r = web("tok")
        c = s.client(key=r.one("AccessKeyId"), secret=r.one("SecretAccessKey"), token=r.one("SessionToken"))
        assert c.get("bkt", "k").body == b"v"
        r = web("other")
        assert r.code == "InvalidIdentityToken" and r.text.startswith('<?xml') and "<ErrorResponse" in r.text, r
        assert s.client().request("POST", "/", headers=kind, body=(form % "AssumeRole").encode(),
                                  sign_it=False).code == "AccessDenied"
        # A scripted life.
        s.faults("op=AssumeRole expires=-1s")
        r = ask(form % "AssumeRole")
        c = s.client(key=r.one("AccessKeyId"), secret=r.one("SecretAccessKey"), token=r.one("SessionToken"))
        assert c.get("bkt", "k").code == "ExpiredToken"


def test_containers_and_instances_get_credentials(d):
    with Server("--bucket", "bkt", "--container-token", "Bearer x") as s:
        def plain(method, path, **headers):
            return s.client().request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()},
                                      sign_it=False)

        def works(r):
            got = json.loads(r.body)
            c = s.client(key=got["AccessKeyId"], secret=got["SecretAccessKey"], token=got["Token"])
            return c.list("bkt").status == 200
        assert plain("GET", "/v2/credentials/abc").status == 401
        assert works(plain("GET", "/v2/credentials/abc", authorization="Bearer x"))
        roles = "/latest/meta-data/iam/security-credentials/"
        assert plain("GET", roles).status == 401
        assert plain("PUT", "/latest/api/token").status == 400
        token = plain("PUT", "/latest/api/token", x_aws_ec2_metadata_token_ttl_seconds="60").text
        role = plain("GET", roles, x_aws_ec2_metadata_token=token).text
        r = plain("GET", roles + role, x_aws_ec2_metadata_token=token)
        assert works(r) and json.loads(r.body)["Code"] == "Success"
        assert plain("GET", roles + "nobody", x_aws_ec2_metadata_token=token).status == 404
        assert plain("GET", roles + role, x_aws_ec2_metadata_token=token[:-3] + ("1==" if token[-3] == "0" else "0==")).status == 401
        s.control("PUT", "clock?skew=61s")
        assert plain("GET", roles, x_aws_ec2_metadata_token=token).status == 401


def test_a_directory_outlives_the_server(d):
    where = os.path.join(d, "dir")
    with Server("--bucket", "bkt", "--dir", where) as s:
        c = s.client()
        c.put("bkt", "a/é b", b"one", x_amz_meta_id="ü=1", x_amz_checksum_crc32c=crc(b"one"))
        c.put("bkt", "twice", b"old")
        c.put("bkt", "twice", b"new")
        c.put("bkt", "gone", b"x")
        c.delete("bkt", "gone")
        c.put("bkt", "empty")
        c.request("PUT", "/more")
        upload = c.request("POST", "/bkt/mp", {"uploads": ""}).one("UploadId")
        etags = [c.request("PUT", "/bkt/mp", {"partNumber": str(n), "uploadId": upload}, body=b"p%d" % n * 2 * MIB * 2)
                 .headers["etag"] for n in (1, 2)]
        s.control("PUT", "faults", "op=CompleteMultipartUpload latency=1ms")
        r = c.request("POST", "/bkt/mp", {"uploadId": upload}, body=xml_parts((1, etags[0]), (2, etags[1])))
        assert r.status == 200, r
        c.request("PUT", "/bkt/half", {"partNumber": "1", "uploadId": c.request(
            "POST", "/bkt/half", {"uploads": ""}).one("UploadId")}, body=b"unfinished")
        s.process.kill()  # as rude as it gets
        s.process.wait()
        s.stop = lambda: None
    with Server("--dir", where) as s:
        c = s.client()
        assert c.list("bkt").all("Key") == ["a/é b", "empty", "mp", "twice"]
        r = c.get("bkt", "a/é b", x_amz_checksum_mode="ENABLED")
        assert r.body == b"one" and r.headers["x-amz-checksum-crc32c"] == crc(b"one"), r
        assert c.get("bkt", "twice").body == b"new" and c.get("bkt", "empty").body == b""
        assert c.get("bkt", "mp").body == b"p1" * 4 * MIB + b"p2" * 4 * MIB
        assert c.request("HEAD", "/more").status == 200
        assert len(os.listdir(os.path.join(where, "blobs"))) == 4  # nothing of what was replaced, deleted, unfinished
        assert c.put("bkt", "again", b"x").status == 200 and c.get("bkt", "twice").body == b"new"


def test_bodies_are_bounded(d):
    with Server("--bucket", "bkt", "--memory", "1M") as s:
        c = s.client()
        assert c.put("bkt", "a", b"x" * 700000).status == 200
        r = c.put("bkt", "b", b"x" * 700000)
        assert (r.status, r.code) == (507, "StorageFull"), r
        assert c.put("bkt", "c", b"x" * 300000).status == 200  # the connection is still good
        c.delete("bkt", "a")
        assert c.put("bkt", "b", b"x" * 700000).status == 200
        assert s.control("POST", "reset?what=objects").status == 200
        assert s.stats()["stored_bytes"] == 0 and s.stats()["objects"] == 0


def test_http_of_all_sorts(d):
    with Server("--bucket", "bkt") as s:
        c = s.client()
        # Two requests in one packet, one in single bytes.
        c.send(c.build("PUT", "/bkt/k", body=b"body") + c.build("GET", "/bkt/k"))
        assert c.receive("PUT").status == 200 and c.receive().body == b"body"
        for byte in c.build("GET", "/bkt/k"):
            c.send(bytes([byte]))
        assert c.receive().body == b"body"
        # Expect: the body comes when it is asked for, and not at all after an error.
        request = c.build("PUT", "/bkt/e", headers={"expect": "100-continue"}, body=b"late")
        c.send(request[:-4])
        assert c.stream.readline() == b"HTTP/1.1 100 Continue\r\n" and c.stream.readline() == b"\r\n"
        c.send(b"late")
        assert c.receive("PUT").status == 200
        wrong = s.client(secret="wrong")
        wrong.send(wrong.build("PUT", "/bkt/e", headers={"expect": "100-continue"}, body=b"late")[:-4])
        r = wrong.receive("PUT")
        assert r.status == 403 and r.headers["connection"] == "close", r
        for raw, status in ((b"junk\r\n\r\n", 400), (b"GET / HTTP/2.0\r\n\r\n", 505), (b"GET /%zz HTTP/1.1\r\n\r\n", 400),
                            (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400), (b"GET /a%00b HTTP/1.1\r\n\r\n", 400),
                            (b"GET / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", 400),
                            (b"GET / HTTP/1.1\r\n" + b"x: %s\r\n" % (b"y" * 70000), 431),
                            (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 300 + b"\r\n", 431)):
            c = s.client()
            c.send(raw)
            assert c.receive().status == status, raw[:60]
        c = s.client()
        c.send(c.build("PUT", "/bkt/e", headers={"transfer-encoding": "chunked"}, body=b"0\r\n\r\n", length=False))
        assert c.receive("PUT").code == "NotImplemented"
        # A client that leaves in the middle of its body leaves nothing behind.
        c = s.client()
        c.send(c.build("PUT", "/bkt/half", body=b"x" * 1000)[:-500])
        c.close()
        deadline = time.monotonic() + 10
        while s.stats()["in_flight"] and time.monotonic() < deadline:
            time.sleep(0.01)
        assert s.client().get("bkt", "half").code == "NoSuchKey" and s.stats()["in_flight"] == 0


def test_tls(d):
    need("openssl")
    cert, key = os.path.join(d, "cert.pem"), os.path.join(d, "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
                   check=True, capture_output=True)
    with Server("--bucket", "bkt", "--tls-cert", cert, "--tls-key", key) as s:
        assert s.tls
        c = s.client(tls=cert)
        data = os.urandom(3 * MIB + 17)
        assert c.put("bkt", "k", data).status == 200 and c.get("bkt", "k").body == data
        assert c.get("bkt", "k", range="bytes=1000000-2000000").body == data[1000000:2000001]
        assert s.control("PUT", "faults", "op=GetObject cut=1000 end=rst", tls=cert).status == 200
        assert not c.get("bkt", "k").complete
        c.close()


def test_counts_log_and_reset(d):
    with Server("--bucket", "bkt") as s:
        c = s.client()
        c.put("bkt", "k", b"x" * 1000)
        c.get("bkt", "k", range="bytes=0-9")
        c.get("bkt", "k")
        c.get("bkt", "none")
        stats = s.stats()
        get = stats["operations"]["GetObject"]
        assert (get["requests"], get["errors"], stats["operations"]["PutObject"]["bytes_in"]) == (3, 1, 1000), stats
        assert get["bytes_out"] > 1010 and stats["bytes_in"] > 1000 and stats["requests"] == 4
        assert stats["keys"]["bkt/k"] == {"gets": 2, "ranges": ["bytes=0-9", ""]}, stats
        line = s.log(3)[0]
        assert (line["op"], line["key"], line["range"], line["status"]) == ("GetObject", "k", "bytes=0-9", 206), line
        assert s.log(1)[0]["code"] == "NoSuchKey" and len(s.log()) == 4
        assert "varve-secret" not in s.control("GET", "log").text
        # How many are there at once.
        s.faults("op=GetObject latency=300ms")
        threads = [threading.Thread(target=lambda: s.client().get("bkt", "k")) for _ in range(8)]
        [t.start() for t in threads], [t.join() for t in threads]
        assert s.stats()["operations"]["GetObject"]["in_flight_max"] == 8, s.stats()
        assert s.control("GET", "reset").status == 405
        assert s.control("POST", "reset?what=stats,faults").status == 200
        stats = s.stats()
        assert stats["requests"] == 0 and stats["keys"] == {} and stats["faults"] == [] and s.log() == []
        assert s.control("GET", "nothing").status == 404


def run(*args):
    return subprocess.run([FAKES3, *args], capture_output=True, timeout=20, text=True)


def test_a_time_beyond_64_bits_is_refused(_):
    for args in (("--fault", "skew=9e8d"), ("--fault", "skew=nan"), ("--clock-skew", "-9e8d"), ("--day", "101000d")):
        done = run(*args)
        assert done.returncode == 2 and args[1] in done.stderr, (args, done)


def test_command_line(d):
    text = run("--help").stdout
    page = open(os.path.join(os.environ["SOURCE_ROOT"], "docs/man/varve-fakes3.1")).read().replace("\\-", "-")
    for option in set(w.strip("[]=,") for w in text.split() if w.strip("[").startswith("--")):
        assert option in page, option
    effects = text.partition("Effects:")[2].partition("Operations:")[0]
    for line in effects.strip().splitlines():
        name = line.strip().partition("=")[0].partition(" ")[0].partition("[")[0]
        assert name in page, name
    assert run("--version").stdout.startswith("varve-fakes3 ")
    for args, word in ((("--port", "x"), "number"), (("--fault", "op=Nothing status=500"), "op=Nothing"),
                       (("--fault", "op=GetObject"), "no effect"), (("--fault", "latency=soon"), "latency=soon"),
                       (("--fault", "colour=blue"), "colour"), (("--script", "/none"), "/none"), (("--key", "x"), "AK:SK"),
                       (("--tls-cert", "x"), "--tls-key"), (("stray",), "stray"), (("--clock", "noon"), "noon"),
                       (("--unknown",), "--help")):
        done = run(*args)
        assert done.returncode == 2 and word in done.stderr, (args, done)
    assert run("--tls-cert", "/none", "--tls-key", "/none").returncode == 1
    assert run("--bucket", "X").returncode == 1
    script = os.path.join(d, "script")
    with open(script, "w") as f:
        f.write("# comment\n\nop=GetObject status=500   # why\nop=PutObject latency=1ms\r\n")
    port_file = os.path.join(d, "port")
    with Server("--script", script, "--port-file", port_file) as s:
        assert int(open(port_file).read()) == s.port
        assert [f["rule"].strip() for f in s.stats()["faults"]] == ["op=GetObject status=500", "op=PutObject latency=1ms"]
    # It goes with whoever holds its standard input.
    process = subprocess.Popen([FAKES3, "--exit-with-parent"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdout.readline()
    process.stdin.close()
    assert process.wait(20) == 0
    process.stdout.close()


if __name__ == "__main__":
    main()
