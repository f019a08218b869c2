#!/usr/bin/env python3
"""Runs a program beside a real S3 server and a new bucket: with_s3.py minio|rgw PROGRAM [ARGUMENT...]

The program finds in its environment S3_ENDPOINT, S3_TLS_ENDPOINT, S3_CA_FILE, S3_VHOST, S3_BUCKET, S3_URL (the bucket
as a cold tier), S3_VERSIONED_BUCKET, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION, and VARVE_TEST_COLD_URL,
by which the conformance suite is told its store. The exit code is the program's; 77 where the server cannot be had.
"""

import os
import subprocess
import sys
import tempfile

import s3servers
import varvetest


def main():
    if len(sys.argv) < 3 or sys.argv[1] not in s3servers.SERVERS:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory(prefix="varve-") as scratch:
        try:
            with s3servers.SERVERS[sys.argv[1]](scratch) as s3:
                bucket = s3.bucket()
                env = dict(os.environ, **s3.description, S3_BUCKET=bucket, S3_URL=s3.url(bucket),
                           S3_VERSIONED_BUCKET=s3.bucket(versioned=True),
                           VARVE_TEST_COLD_URL=s3.url(bucket, "test"))
                return subprocess.run(sys.argv[2:], env=env, check=False).returncode
        except varvetest.Skip as why:
            print("skipped:", why)
            return 77


if __name__ == "__main__":
    code = main()
    # A program that a signal ended has failed as well.
    sys.exit(code if code >= 0 else 128 - code)
