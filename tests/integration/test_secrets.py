#!/usr/bin/env python3
"""Keys are for signatures: whatever is said, stored or shown of a cold tier on S3, no secret is in it."""

import base64
import os
import time
import urllib.parse

from fakes3client import fake
from varvetest import certificate, main, run, start

SECRET = "pl4nted/Secr3t+K3y=9"
TOKEN = "pl4nted.Sess1on.T0ken/with+signs=="
ID = "AKPLANTED"
KEY = "%s:%s:token=%s" % (ID, SECRET, TOKEN)
KEYS = {"AWS_ACCESS_KEY_ID": ID, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": TOKEN}

# What gives a secret away: itself as it may be written, the head of what is derived from it, a signature.
FORMS = {form for s in (SECRET, TOKEN) for form in (
    s, urllib.parse.quote(s), urllib.parse.quote(s, safe=""), base64.b64encode(s.encode()).decode(),
    s.encode().hex(), "AWS4" + s)} | {"Signature=", "X-Amz-Signature", "X-Amz-Security-Token"}


def clean(text, what):
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    for form in FORMS:
        assert form.lower() not in text.lower(), "%s shows %s:\n%s" % (what, form, text[:2000])


def said(*args, env, expect=None):
    """Runs, and looks at all that is printed; returns it."""
    if args[0] == "init":  # a cache that is read through in no time
        args += "-o", "cache.bytes=4194304"
    out, err = run(*args, env=env, expect=expect, stdin=b"one\ntwo\n")
    clean(out, args)
    clean(err, args)
    return out.decode(errors="replace") + err


def clean_files(directory):
    seen = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            clean(name, folder)
            clean(open(os.path.join(folder, name), "rb").read(), os.path.join(folder, name))
            seen += 1
    return seen


def every_command(store, url, env):
    """All that speaks to the cold tier, in words and for programs."""
    texts = [said("append", store, "a", "--verbose", env=env), said("tier", store, "a", "--seal", "--evict", "-v", env=env)]
    for more in [], ["--json"]:
        texts += [said("doctor", url, *more, env=env), said("ls", store, *more, env=env),
                  said("ls", store, "a", *more, env=env), said("verify", store, "--deep", *more, env=env),
                  said("config", store, *more, env=env), said("config", store, "a", *more, env=env)]
    texts += [said("read", store, "a", "--stats", env=env), said("read", url, "a", "--stats", "--json", env=env)]
    return texts


def some_commands(store, url, env):
    for command in (["tier", store, "a", "--seal", "-v"], ["doctor", url, "--json"], ["verify", store, "--json"],
                    ["read", url, "a"]):
        said(*command, env=env)


def test_commands_that_work_tell_no_secret_and_store_none(d):
    with fake("--key", KEY) as (server, url, env):
        env.update(KEYS)
        said("init", d + "/s", "--cold", url, "--verbose", env=env, expect=0)
        texts = every_command(d + "/s", url, env)
        assert any("credentials: where the keys come from" in t for t in texts)  # where the keys come from is said
        assert clean_files(d) > 5
        client = server.client(key=ID, secret=SECRET, token=TOKEN)
        keys = client.list("doc").all("Key")
        assert len(keys) > 2
        for key in keys:
            clean(key, "a listing")
            clean(client.get("doc", key).body, key)
            clean(str(client.head("doc", key).headers), "the headers of " + key)


def test_commands_that_fail_tell_no_secret(d):
    echo = "message=denied-for-AWS4-HMAC-SHA256-Credential"
    # What is tried again for half a minute goes on beside the rest, under a key of its own.
    patient = "access-key=AKPATIENT status=500 code=InternalError " + echo
    with fake("--key", KEY, "--key", KEY.replace(ID, "AKPATIENT"), "--fault", patient) as (server, url, env):
        env.update(KEYS)
        long = [start(*command, env=dict(os.environ, **dict(env, AWS_ACCESS_KEY_ID="AKPATIENT"))) for command in (
            ["doctor", url], ["read", url, "a"], ["init", d + "/u", "--cold", url])]
        said("init", d + "/s", "--cold", url, env=env, expect=0)
        for fault in ("status=403 code=SignatureDoesNotMatch " + echo, "status=400 code=ExpiredToken", "drop=rst",
                      "xml=garbage", "redirect=307 location=127.0.0.1:1"):
            server.faults(patient, fault)
            some_commands(d + "/s", url, env)
            assert "varve: " in said("init", d + "/t", "--cold", url, env=env), fault
        server.faults(patient)
        for wrong in ({"AWS_ACCESS_KEY_ID": "AKOTHER"}, {"AWS_SECRET_ACCESS_KEY": SECRET + "x"},
                      {"AWS_SESSION_TOKEN": TOKEN + "x"}, {"AWS_REGION": "nowhere-1"}):
            some_commands(d + "/s", url, dict(env, **wrong))
        for process in long:
            out, err = process.communicate(timeout=200)
            assert process.returncode not in (0, None), process.args
            clean(out, process.args)
            clean(err, process.args)
        assert clean_files(d) > 3


def test_keys_in_a_url_are_refused_and_not_repeated(d):
    host = "127.0.0.1:1"
    for url in ("s3://%s:%s@bucket/p?endpoint=http://%s" % (ID, urllib.parse.quote(SECRET, safe=""), host),
                "s3://bucket/p?endpoint=http://%s:%s@%s" % (ID, urllib.parse.quote(SECRET, safe=""), host),
                "s3://bucket/p?secret=%s" % SECRET, "s3://bucket/p?X-Amz-Security-Token=%s" % urllib.parse.quote(TOKEN)):
        for command in (["init", d + "/s", "--cold", url], ["doctor", url], ["read", url, "a"], ["bench", "--cold", url]):
            out, err = run(*command, expect=None)
            # The name of a query may be said; what it was set to may not.
            for text in (out.decode(), err):
                for form in (SECRET, TOKEN, urllib.parse.quote(SECRET, safe=""), urllib.parse.quote(TOKEN)):
                    assert form not in text, (command, text)
    assert os.listdir(d) == []  # nor is anything made, a draft with the URL in it least of all


def test_a_running_command_shows_no_secret_to_ps(d):
    with fake("--key", KEY) as (server, url, env):
        env.update(KEYS)
        said("init", d + "/s", "--cold", url, env=env, expect=0)
        said("append", d + "/s", "a", env=env, expect=0)
        server.faults("op=PutObject latency=1s")
        process = start("tier", d + "/s", "a", "--seal", env=dict(os.environ, **env))
        looked = 0
        while process.poll() is None:
            try:
                proc = "/proc/%d" % process.pid
                clean(open(proc + "/cmdline", "rb").read(), "its command line")
                for task in os.listdir(proc + "/task"):
                    clean(open("%s/task/%s/comm" % (proc, task)).read(), "a thread's name")
                looked += 1
            except OSError:
                pass  # it has just ended
            time.sleep(0.01)
        out, err = process.communicate()
        assert process.returncode == 0 and looked > 1, (process.returncode, looked, err)
        clean(out, "tier")
        clean(err, "tier")


def test_keys_of_a_program_and_of_a_profile_stay_where_they_are(d):
    with open(d + "/keys.json", "w") as f:
        f.write('{"Version":1,"AccessKeyId":"%s","SecretAccessKey":"%s","SessionToken":"%s"}' % (ID, SECRET, TOKEN))
    with open(d + "/broken.json", "w") as f:
        f.write('{"Version":1,"AccessKeyId":"%s","SecretAccessKey":"%s' % (ID, SECRET))
    with open(d + "/config", "w") as f:
        f.write("[profile program]\ncredential_process = cat %s/keys.json\n"
                "[profile broken]\ncredential_process = cat %s/broken.json\n"
                "[profile failing]\ncredential_process = false\n" % (d, d))
    with open(d + "/credentials", "w") as f:
        f.write("[static]\naws_access_key_id = %s\naws_secret_access_key = %s\naws_session_token = %s\n"
                "[half]\naws_secret_access_key = %s\n" % (ID, SECRET, TOKEN, SECRET))
    with fake("--key", KEY) as (_, url, _):
        url = url.replace("s3://doc/doc", "s3://doc/%s")
        env = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": "",
               "AWS_CONFIG_FILE": d + "/config", "AWS_SHARED_CREDENTIALS_FILE": d + "/credentials"}
        for profile, code in (("program", 0), ("static", 0), ("broken", None), ("failing", None), ("half", None)):
            text = said("init", d + "/" + profile, "--cold", url % profile + "&profile=" + profile, env=env, expect=code)
            assert code == 0 or "varve: " in text, (profile, text)
            said("doctor", url % profile + "&profile=" + profile, "--json", env=env)


def test_a_self_signed_server_is_refused_before_it_is_sent_anything(d):
    with fake("--key", KEY, *certificate(d)) as (server, url, env):
        env.update(KEYS)
        text = said("init", d + "/s", "--cold", url, env=env)
        assert "self-signed" in text and not os.path.exists(d + "/s/varve-store"), text
        said("init", d + "/s", "--cold", url + "&ca=" + d + "/cert.pem", env=env, expect=0)
        said("append", d + "/s", "a", env=env, expect=0)
        said("tier", d + "/s", "a", "--seal", "--evict", env=env, expect=0)
        assert said("read", d + "/s", "a", env=env, expect=0) == "one\ntwo\n"
        assert run("read", url, "a", env=env, expect=None)[0] == b""  # attached without the CA


main()
