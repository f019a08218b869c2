#!/usr/bin/env python3
"""Operations of the s3 driver over true replies changed by chance: see mutate_replies.c for what must hold.

VARVE_MUTATIONS is how many cases (default 300), VARVE_MUTATIONS_SEED the first one's seed, VARVE_MUTATIONS_WORKERS how many
at once; VARVE_MUTATIONS_SHOWN=1 shows each, and how much memory was held at most."""

import os
import subprocess
import sys

import fakes3client
from test_bad_replies import CREDENTIALS
from varvetest import ROOT, main

MUTATE_REPLIES = os.environ.setdefault("MUTATE_REPLIES", os.path.join(ROOT, "build/tests/integration/mutate_replies"))

COUNT = "100" if os.environ.get("VARVE_QUICK") else "300"


def test_mutate_replies(scratch):
    credentials = os.path.join(scratch, "credentials")
    with open(credentials, "w", encoding="ascii") as f:
        f.write(CREDENTIALS)
    env = dict(os.environ, AWS_SHARED_CREDENTIALS_FILE=credentials, AWS_CONFIG_FILE=os.devnull, no_proxy="*")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        env.pop(name, None)
    with fakes3client.Server("--bucket", "mutated", "--key", "clean:clean-secret", "--key", "spoilt:spoilt-secret",
                             "--part-size-min", "1") as server:
        done = subprocess.run([MUTATE_REPLIES, str(server.port), os.environ.get("VARVE_MUTATIONS_SEED", "1"),
                               os.environ.get("VARVE_MUTATIONS", COUNT)] + os.environ.get("VARVE_MUTATIONS_WORKERS", "").split(),
                              env=env, check=False, stderr=subprocess.PIPE)
        sys.stdout.write(done.stderr.decode(errors="replace"))
        assert done.returncode == 0, done.returncode


if __name__ == "__main__":
    main()
