"""A small S3 client of the standard library alone, to look at a bucket behind varve's back.

It shares no code with the driver that it checks. Each call is one request on a connection of its own, signed with
SigV4, never retried. Calls with a plain name raise S3Error unless they succeed; request() returns whatever came.
"""

import collections
import datetime
import hashlib
import hmac
import http.client
import ssl
import urllib.parse
import xml.etree.ElementTree

Object = collections.namedtuple("Object", "key size etag")
Upload = collections.namedtuple("Upload", "key id")
Version = collections.namedtuple("Version", "key id latest deleted")


class S3Error(Exception):
    """An answer that was not the wanted one; `status` of HTTP and `code` of S3 ("" where there was no body)."""

    def __init__(self, what, response):
        self.status = response.status
        self.code = response.text("Code")
        super().__init__("%s: %d %s %s" % (what, self.status, self.code, response.text("Message")))


class Response:
    """Status, headers by their lower-case names, body."""

    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    def xml(self):
        """The body as an element without namespaces; an empty element where it is no XML."""
        try:
            root = xml.etree.ElementTree.fromstring(self.body)
        except xml.etree.ElementTree.ParseError:
            return xml.etree.ElementTree.Element("none")
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
        return root

    def text(self, name):
        """The text of the first element of that name, wherever it stands."""
        return next((e.text or "" for e in self.xml().iter(name)), "")


def quote(text, safe=""):
    return urllib.parse.quote(text, safe=safe + "-._~")


def digest(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


class Client:
    """`vhost`: the name below which buckets are hosts of their own; None for path style."""

    def __init__(self, endpoint, access_key, secret_key, token=None, region="us-east-1", ca_file=None, vhost=None):
        self.endpoint = urllib.parse.urlsplit(endpoint)
        self.access_key, self.secret_key, self.token = access_key, secret_key, token
        self.region = region
        self.vhost = vhost
        self.context = ssl.create_default_context(cafile=ca_file) if self.endpoint.scheme == "https" else None

    # Requests.

    def request(self, method, bucket="", key="", query=None, headers=None, body=b"", service="s3", path=None,
                timeout=60):
        """Signs and sends one request. `query` is a dict; a sub-resource has the value "". `path` replaces bucket and
        key, for what is not S3."""
        host = self.endpoint.netloc
        if path is None:
            path = "/" + quote(key, "/")
            if bucket and self.vhost:
                host = "%s.%s:%d" % (bucket, self.vhost, self.endpoint.port)
            elif bucket:
                path = "/" + quote(bucket) + path
        line = "&".join("%s=%s" % (quote(k), quote(str(v))) for k, v in sorted((query or {}).items()))
        signed = self.sign(method, path, line, dict(headers or {}, host=host), body, service)
        connection = http.client.HTTPConnection if not self.context else http.client.HTTPSConnection
        extra = {"context": self.context} if self.context else {}
        # The name of a virtual host is for the Host header; the connection goes where the endpoint says.
        connection = connection(self.endpoint.hostname, self.endpoint.port, timeout=timeout, **extra)
        try:
            connection.request(method, path + ("?" + line if line else ""), body=body, headers=signed)
            answer = connection.getresponse()
            return Response(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def sign(self, method, path, query, headers, body, service):
        """Returns the headers with those of the signature."""
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        body_hash = hashlib.sha256(body).hexdigest()
        headers = {k.lower(): " ".join(str(v).split()) for k, v in headers.items()}
        headers.update({"x-amz-date": now, "x-amz-content-sha256": body_hash})
        if self.token:
            headers["x-amz-security-token"] = self.token
        names = ";".join(sorted(headers))
        canonical = "\n".join([method, path, query, *("%s:%s" % h for h in sorted(headers.items())), "", names,
                               body_hash])
        scope = "%s/%s/%s/aws4_request" % (now[:8], self.region, service)
        to_sign = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        secret = ("AWS4" + self.secret_key).encode()
        for part in scope.split("/"):
            secret = digest(secret, part)
        headers["authorization"] = "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s" % (
            self.access_key, scope, names, digest(secret, to_sign).hex())
        return headers

    def must(self, method, bucket, key="", *args, **kwargs):
        response = self.request(method, bucket, key, *args, **kwargs)
        if not 200 <= response.status < 300:
            raise S3Error("%s %s/%s" % (method, bucket, key), response)
        return response

    def pages(self, bucket, query, item_names, next_names, key=""):
        """Yields the items of a listing, page after page. `next_names`: of the answer's element, of the parameter."""
        query = dict(query)
        while True:
            root = self.must("GET", bucket, key, query=query).xml()
            for element in root:
                if element.tag in item_names:
                    yield element
            if root.findtext("IsTruncated") != "true":
                return
            for name, parameter in next_names:
                query[parameter] = root.findtext(name) or ""

    # Buckets.

    def create_bucket(self, bucket, object_lock=False):
        """With object lock a bucket is versioned as well."""
        self.must("PUT", bucket, headers={"x-amz-bucket-object-lock-enabled": "true"} if object_lock else None)

    def delete_bucket(self, bucket):
        """It must be empty."""
        self.must("DELETE", bucket)

    def buckets(self):
        return [e.findtext("Name") for e in self.must("GET", "").xml().iter("Bucket")]

    def enable_versioning(self, bucket):
        self.must("PUT", bucket, query={"versioning": ""}, body=b"<VersioningConfiguration><Status>Enabled</Status>"
                                                                b"</VersioningConfiguration>")

    def versioning(self, bucket):
        """Returns "Enabled", "Suspended" or ""."""
        return self.must("GET", bucket, query={"versioning": ""}).text("Status")

    # Objects.

    def list(self, bucket, prefix="", page_size=1000):
        """Returns all objects below the prefix, in the order of the listing."""
        query = {"list-type": 2, "prefix": prefix, "max-keys": page_size}
        return [Object(e.findtext("Key"), int(e.findtext("Size")), e.findtext("ETag"))
                for e in self.pages(bucket, query, ["Contents"], [("NextContinuationToken", "continuation-token")])]

    def keys(self, bucket, prefix=""):
        return [o.key for o in self.list(bucket, prefix)]

    def versions(self, bucket, prefix=""):
        """Returns all versions and delete markers."""
        items = self.pages(bucket, {"versions": "", "prefix": prefix}, ["Version", "DeleteMarker"],
                           [("NextKeyMarker", "key-marker"), ("NextVersionIdMarker", "version-id-marker")])
        return [Version(e.findtext("Key"), e.findtext("VersionId"), e.findtext("IsLatest") == "true",
                        e.tag == "DeleteMarker") for e in items]

    def get(self, bucket, key, first=None, last=None):
        """Returns the bytes from `first` to `last`, both included, or all."""
        headers = None if first is None else {"range": "bytes=%d-%s" % (first, "" if last is None else last)}
        return self.must("GET", bucket, key, headers=headers).body

    def head(self, bucket, key):
        """Returns the headers, or None when there is no such object."""
        response = self.request("HEAD", bucket, key)
        if response.status == 404:
            return None
        if response.status != 200:
            raise S3Error("HEAD %s/%s" % (bucket, key), response)
        return response.headers

    def put(self, bucket, key, data, headers=None):
        """Returns the ETag as it came, with its quotes."""
        return self.must("PUT", bucket, key, headers=headers, body=data).headers["etag"]

    def delete(self, bucket, key, version=None):
        self.must("DELETE", bucket, key, query={"versionId": version} if version else None)

    def empty(self, bucket):
        """Removes every object, version, delete marker and unfinished upload."""
        for upload in self.uploads(bucket):
            self.abort_upload(bucket, upload.key, upload.id)
        for version in self.versions(bucket):
            self.delete(bucket, version.key, version.id)

    # Multipart uploads.

    def uploads(self, bucket, prefix=""):
        """Returns the unfinished ones that the server tells of. MinIO does so for a prefix that is a whole key, and for
        none, then only those begun since it was started; any other prefix gives an empty list."""
        items = self.pages(bucket, {"uploads": "", "prefix": prefix}, ["Upload"],
                           [("NextKeyMarker", "key-marker"), ("NextUploadIdMarker", "upload-id-marker")])
        return [Upload(e.findtext("Key"), e.findtext("UploadId")) for e in items]

    def create_upload(self, bucket, key):
        return self.must("POST", bucket, key, query={"uploads": ""}).text("UploadId")

    def upload_part(self, bucket, key, upload, number, data):
        query = {"partNumber": number, "uploadId": upload}
        return self.must("PUT", bucket, key, query=query, body=data).headers["etag"]

    def parts(self, bucket, key, upload):
        """Returns (part number, size) of what has arrived."""
        items = self.pages(bucket, {"uploadId": upload}, ["Part"], [("NextPartNumberMarker", "part-number-marker")],
                           key)
        return [(int(e.findtext("PartNumber")), int(e.findtext("Size"))) for e in items]

    def abort_upload(self, bucket, key, upload):
        self.must("DELETE", bucket, key, query={"uploadId": upload})
