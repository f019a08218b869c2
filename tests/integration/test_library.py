#!/usr/bin/env python3
"""The library as others get it: what it exports, its headers, the example program."""

import re

from varvetest import *

ROOT = os.environ["SOURCE_ROOT"]
INCLUDE = os.path.join(ROOT, "include")
HEADERS = sorted("varve/" + n for n in os.listdir(os.path.join(INCLUDE, "varve")))


def public_functions():
    """Names of the functions that the headers mark VARVE_API, each with the text in front of it."""
    found = {}
    for header in HEADERS:
        text = open(os.path.join(INCLUDE, header)).read()
        for m in re.finditer(r"^VARVE_API\s[^(;]*?\b(varve_\w+)\(", text, re.M):
            found[m.group(1)] = text[:m.start()].rstrip()
    return found


def test_only_public_functions_are_exported(d):
    need("nm")
    out = subprocess.run(["nm", "-D", "--defined-only", os.environ["LIBVARVE"]], check=True, capture_output=True,
                         text=True).stdout
    exported = {l.split()[-1].split("@")[0] for l in out.splitlines()}
    # Sanitizers add symbols of their own.
    exported = {n for n in exported if not n.startswith(("__", "_init", "_fini"))}
    assert exported == set(public_functions()), exported ^ set(public_functions())


def test_every_public_function_has_a_docstring_and_a_use_in_the_tests(d):
    used = ""
    for base, _, names in os.walk(os.path.join(ROOT, "tests")):
        used += "".join(open(os.path.join(base, n)).read() for n in names if n.endswith(".c"))
    for name, before in public_functions().items():
        assert before.endswith("*/"), "%s has no comment" % name
        assert re.search(r"\b%s\(" % name, used), "%s is used by no test" % name


def compiles(compiler, *options):
    need(compiler[0])
    for header in HEADERS:
        done = subprocess.run([*compiler, *options, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only",
                               "-I", INCLUDE, "-"], input="#include <%s>\ntypedef int something;\n" % header, capture_output=True, text=True)
        assert done.returncode == 0, "%s: %s" % (header, done.stderr)


def test_public_headers_compile_as_c99(d):
    compiles(["cc"], "-std=c99", "-x", "c")


def test_public_headers_compile_as_cpp(d):
    compiles(["c++"], "-std=c++11", "-x", "c++")


def test_the_example_embeds_a_log_in_less_than_60_lines(d):
    assert len(open(os.path.join(ROOT, "docs/example.c")).readlines()) < 60
    store = os.path.join(d, "store")
    for _ in range(2):
        done = subprocess.run([os.environ["EXAMPLE"], store], capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"0 sand in spring\n1 clay in winter\n2 sand again\n3 sand in spring\n")
    assert ls(store, "lake/0")["hot_bytes"] == 0
    assert read(store, "lake/0") == b"sand in spring\nclay in winter\nsand again\n" * 2


main()
