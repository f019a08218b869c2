"""The commands around the servers: arguments, messages, exit codes.

Standard output carries the description and nothing else, so that a shell can `eval` it. Exit codes: 0 ok, 1 failure, 2
wrong use, 77 when the server cannot be had on this machine (a test is then skipped).
"""

import argparse
import os
import shlex
import signal
import subprocess
import tempfile

from s3process import Failed, Unavailable, format_description, say


def end_with_signal(number, _):
    raise SystemExit(128 + number)


def guarded(name, function):
    """Does a command's work; its exceptions become a message and an exit code."""
    # A server that is being started is taken down again by the handlers on the way out.
    signal.signal(signal.SIGTERM, end_with_signal)
    signal.signal(signal.SIGHUP, end_with_signal)
    try:
        return function()
    except Unavailable as e:
        say("%s: cannot be had here: %s" % (name, e))
        return 77
    except (Failed, OSError, subprocess.SubprocessError) as e:
        say(str(e) if str(e).startswith(name + ":") else "%s: %s" % (name, e))
        return 1
    except KeyboardInterrupt:
        return 130


def up_parser(name, what):
    parser = argparse.ArgumentParser(
        prog=name + "-up", description=what,
        epilog="Prints KEY=VALUE lines for a shell: endpoint, keys, region, files. Stop it with %s-down DIR." % name)
    parser.add_argument("dir", nargs="?", metavar="DIR", help="where it lives (default: a new directory in $TMPDIR)")
    parser.add_argument("--export", action="store_true", help="print `export KEY=VALUE`, for eval \"$(...)\"")
    return parser


def up(name, arguments, make):
    """Starts make(DIR) and prints its description."""
    def work():
        server = make(arguments.dir or tempfile.mkdtemp(prefix="%s-" % name))
        description = server.up()
        print(format_description(description, "export " if arguments.export else ""), end="", flush=True)
        here = os.path.dirname(os.path.abspath(__file__))
        near = os.path.relpath(here)
        say("%s: %s, stop it with: %s %s" % (name, description["S3_ENDPOINT"], os.path.join(
            here if near.startswith("..") else near, name + "-down"), shlex.quote(server.directory)))
        return 0
    return guarded(name, work)


def down(name, make):
    parser = argparse.ArgumentParser(prog=name + "-down", description="Stops the server that %s-up started in DIR; "
                                     "does nothing when it is not running." % name)
    parser.add_argument("dir", metavar="DIR")
    arguments = parser.parse_args()
    return guarded(name, lambda: make(arguments.dir).down() or 0)
