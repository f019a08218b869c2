#!/usr/bin/env python3
"""Each operation of the s3 driver through each bad reply of varve-fakes3: see bad_replies.c for what must hold."""

import json
import os
import subprocess

import fakes3client
from varvetest import ROOT, main

BAD_REPLIES = os.environ.setdefault("BAD_REPLIES", os.path.join(ROOT, "build/tests/integration/bad_replies"))

CREDENTIALS = """[clean]
aws_access_key_id = clean
aws_secret_access_key = clean-secret
[spoilt]
aws_access_key_id = spoilt
aws_secret_access_key = spoilt-secret
"""


def test_bad_replies(scratch):
    rules = subprocess.run([BAD_REPLIES, "rules"], stdout=subprocess.PIPE, check=True).stdout
    script, credentials = os.path.join(scratch, "script"), os.path.join(scratch, "credentials")
    with open(script, "wb") as f:
        f.write(rules)
    with open(credentials, "w", encoding="ascii") as f:
        f.write(CREDENTIALS)
    env = dict(os.environ, AWS_SHARED_CREDENTIALS_FILE=credentials, AWS_CONFIG_FILE=os.devnull, no_proxy="*")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        env.pop(name, None)
    with fakes3client.Server("--script", script, "--key", "clean:clean-secret", "--key", "spoilt:spoilt-secret",
                             "--part-size-min", "1") as server:
        done = subprocess.run([BAD_REPLIES, "run", str(server.port)], env=env, check=False, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=900)
        text = done.stdout.decode(errors="replace")
        print(text.splitlines()[-1] if text else "")
        assert done.returncode == 0, text
        # The test would prove nothing where a rule found nothing to spoil.
        idle = [r["rule"] for r in json.loads(server.control("GET", "faults").body) if r["fired"] == 0]
        assert not idle, "\n".join(idle)


if __name__ == "__main__":
    main()
