#!/usr/bin/env python3
"""Prints a log file, the same in every run: make_log.py apache|jsonl LINES [SEED]"""

import json
import random
import sys
import time

PATHS = ["/", "/robots.txt", "/favicon.ico", "/presentations/logstash/images/kibana.png", "/blog/tags/puppet"]
AGENTS = [
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/32.0 Safari/537.36",
    "Googlebot/2.1 (+http://www.google.com/bot.html)",
    "curl/7.88.1",
]
START = 1431857103  # 2015-05-17T10:05:03Z


def apache(lines, rng):
    """Access log lines; times mostly ascend, some are late."""
    now = START
    for i in range(lines):
        now += rng.randrange(0, 5)
        at = now - (rng.randrange(0, 60) if rng.random() < 0.05 else 0)
        stamp = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(at))
        yield '%d.%d.%d.%d - - [%s] "GET %s?n=%d HTTP/1.1" %d %d "-" "%s"' % (
            rng.randrange(1, 255), rng.randrange(256), rng.randrange(256), rng.randrange(256), stamp,
            rng.choice(PATHS), i, rng.choice([200, 200, 200, 304, 404]), rng.randrange(100, 200000),
            rng.choice(AGENTS))


def jsonl(lines, rng):
    """One object a line with the time in `timestamp`, ms."""
    now = START * 1000
    for i in range(lines):
        now += rng.randrange(1, 2000)
        yield json.dumps({"version": 6, "load_timestamp": START * 1000, "timestamp": now, "pid": 64857,
                          "zones": {"h%d" % k: {"requests": rng.randrange(10**6), "sent": rng.randrange(10**9)}
                                    for k in range(rng.randrange(1, 12))},
                          "text": "line %d \u00e9" % i})


def make(kind, lines, seed=1):
    """The whole file as bytes."""
    rows = {"apache": apache, "jsonl": jsonl}[kind](lines, random.Random(seed))
    return "".join(row + "\n" for row in rows).encode()


if __name__ == "__main__":
    sys.stdout.buffer.write(make(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1))
