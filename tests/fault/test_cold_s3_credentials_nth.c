/*
 * Each source of credentials, from its making to the keys, with its Nth allocation failing, for
 * every N; then with the Nth and all behind it; then a refresh likewise. Files, programs and a
 * varve-fakes3 are true. What fails are the allocations of varve's own code, in whatever thread:
 * libcurl, OpenSSL and expat have theirs always (tests/support/alloc.h).
 *
 * Whatever fails: it is VARVE_E_NO_MEMORY and says so, never "there are none", never other keys
 * than those meant; and the same source has the keys as soon as there is memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/env.h"
#include "cold/s3/credentials.h"
#include "tests/support/alloc.h"
#include "tests/support/fakes3.h"
#include "tests/support/file.h"
#include "tests/support/tmpdir.h"

#define NTH_MAX 2000 /* more than there are allocations */
#define VARIABLES_MAX 6
#define NOBODY "http://127.0.0.1:1" /* refuses at once */

static struct support_fakes3 *server;
static struct support_tmpdir *dir;
static struct base_env env;
static struct s3_http *http;
static char endpoint[64], container[96], config[256], credentials_file[256], token_file[256];

struct variable {
    const char *name;
    const char *value;
};

struct from {
    const char *name;
    struct variable variables[VARIABLES_MAX];
    const char *profile;
    const char *imds;                                     /* NULL: nobody is there */
    const char *rules;                                    /* what the server does; NULL: nothing */
    int expected;                                         /* without a failing allocation */
    const char *source, *access_key, *secret_key, *token; /* NULL: some, made by the server */
};

#define FILES                                                                                      \
    {"AWS_CONFIG_FILE", config},                                                                   \
    {                                                                                              \
        "AWS_SHARED_CREDENTIALS_FILE", credentials_file                                            \
    }

static const struct from sources[] = {
    {"environment",
     {{"AWS_ACCESS_KEY_ID", "varve"},
      {"AWS_SECRET_ACCESS_KEY", "varve-secret"},
      {"AWS_SESSION_TOKEN", "some"}},
     .source = "environment",
     .access_key = "varve",
     .secret_key = "varve-secret",
     .token = "some"},
    {"half of the environment", {{"AWS_ACCESS_KEY_ID", "varve"}}, .expected = VARVE_E_DENIED},
    {"credentials file",
     {FILES},
     .source = "profile",
     .access_key = "varve",
     .secret_key = "varve-secret",
     .token = ""},
    {"profile by its name",
     {{"AWS_ACCESS_KEY_ID", "another"}, {"AWS_SECRET_ACCESS_KEY", "another"}, FILES},
     .profile = "base",
     .source = "profile",
     .access_key = "varve",
     .secret_key = "varve-secret",
     .token = "of base"},
    {"profile that is none", {FILES}, .profile = "none", .expected = VARVE_E_DENIED},
    {"credential_process",
     {FILES},
     .profile = "process",
     .source = "credential_process",
     .access_key = "P",
     .secret_key = "S",
     .token = "T"},
    {"credential_process that fails", {FILES}, .profile = "fails", .expected = VARVE_E_FAILED},
    {"role by keys", {FILES}, .profile = "role", .source = "assumed role"},
    {"role by instance metadata",
     {FILES},
     .profile = "role-of-instance",
     .imds = endpoint,
     .source = "assumed role"},
    {"role that is refused",
     {FILES},
     .profile = "role",
     .rules = "op=AssumeRole status=403 code=AccessDenied",
     .expected = VARVE_E_DENIED},
    {"role, busy",
     {FILES},
     .profile = "role",
     .rules = "op=AssumeRole status=400 code=Throttling",
     .expected = VARVE_E_STORE},
    {"web identity",
     {{"AWS_WEB_IDENTITY_TOKEN_FILE", token_file}, {"AWS_ROLE_ARN", "arn:aws:iam::1:role/r"}},
     .source = "web identity"},
    {"web identity of a profile", {FILES}, .profile = "web", .source = "web identity"},
    {"container",
     {{"AWS_CONTAINER_CREDENTIALS_FULL_URI", container},
      {"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token_file}},
     .source = "container endpoint"},
    {"container that refuses",
     {{"AWS_CONTAINER_CREDENTIALS_FULL_URI", container}},
     .rules = "op=provider status=403 code=AccessDenied",
     .expected = VARVE_E_DENIED},
    {"instance metadata", .imds = endpoint, .source = "instance metadata"},
    {"instance metadata, busy", .imds = endpoint, .rules = "op=provider status=503",
     .expected = VARVE_E_STORE},
    {"instance without a role", .imds = endpoint,
     .rules = "op=provider method=GET status=404 code=NoSuchKey", .expected = VARVE_E_DENIED},
    {"nothing at all", .expected = VARVE_E_DENIED},
};

#define SOURCES (sizeof(sources) / sizeof(sources[0]))

static const char *look_up(void *ctx, const char *name)
{
    const struct from *from = ctx;

    for (size_t i = 0; i < VARIABLES_MAX && from->variables[i].name; i++)
        if (strcmp(from->variables[i].name, name) == 0)
            return from->variables[i].value;
    return NULL;
}

static int make(const struct from *from, struct s3_credentials_source **ret,
                struct varve_error *err)
{
    const struct s3_credentials_options options = {
        .http = http,
        .profile = from->profile,
        .getenv = look_up,
        .getenv_ctx = (void *)(uintptr_t)from,
        .imds_endpoint = from->imds ? from->imds : NOBODY,
        .sts_endpoint = endpoint,
    };

    return s3_credentials_source_new(&env, &options, ret, err);
}

static bool is(const char *text, const char *expected)
{
    if (!expected)
        return text && strlen(text) >= 4;
    return expected[0] ? text && strcmp(text, expected) == 0 : !text;
}

/* What a call has brought, whether or not an allocation failed in it. */
static void judge(const struct from *from, uint64_t nth, bool hit, int rc, struct s3_credentials *c,
                  const struct varve_error *err)
{
    if (rc == 0) {
        if (from->expected != 0 || strcmp(c->source, from->source) != 0 ||
            !is(c->access_key, from->access_key) || !is(c->secret_key, from->secret_key) ||
            !is(c->session_token, from->token))
            fail_msg("%s, allocation %llu: other keys, from '%s'", from->name,
                     (unsigned long long)nth, c->source);
        s3_credentials_clear(c);
        return;
    }
    if (err->code != rc || !err->msg[0] ||
        (rc != from->expected && (!hit || rc != VARVE_E_NO_MEMORY || !strstr(err->msg, "memory"))))
        fail_msg("%s, allocation %llu: %s: %s", from->name, (unsigned long long)nth,
                 varve_error_name(rc), err->msg);
}

/* False: there were fewer allocations than nth. */
static bool fetch_without_memory(const struct from *from, uint64_t nth, bool keep)
{
    struct s3_credentials_source *source = NULL;
    struct s3_credentials c = {0};
    struct varve_error err = {0};
    bool hit;
    int rc;

    support_alloc_fail(nth, keep);
    rc = make(from, &source, &err);
    if (rc == 0)
        rc = s3_credentials_source_get(source, &c, &err);
    hit = support_alloc_stop() >= nth;
    judge(from, nth, hit, rc, &c, &err);
    if (!source && make(from, &source, &err) < 0)
        fail_msg("%s: %s", from->name, err.msg);
    rc = s3_credentials_source_get(source, &c, &err);
    judge(from, nth, false, rc, &c, &err);
    s3_credentials_source_free(source);
    return hit;
}

/* The store has called the keys at hand expired. */
static bool refresh_without_memory(const struct from *from, struct s3_credentials_source *source,
                                   uint64_t nth)
{
    struct s3_credentials c = {0};
    struct varve_error err = {0};
    bool hit;
    int rc = s3_credentials_source_get(source, &c, &err);

    if (rc == 0)
        s3_credentials_source_expire(source, c.access_key);
    judge(from, nth, false, rc, &c, &err);
    support_alloc_fail(nth, false);
    rc = s3_credentials_source_get(source, &c, &err);
    hit = support_alloc_stop() >= nth;
    judge(from, nth, hit, rc, &c, &err);
    return hit;
}

static void any_allocation_may_fail_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < SOURCES; i++) {
        uint64_t nth = 1;

        support_fakes3_rules(server, sources[i].rules ? sources[i].rules : "");
        while (fetch_without_memory(&sources[i], nth, false))
            assert_true(++nth < NTH_MAX);
        assert_true(nth > 5);
    }
}

static void memory_may_be_out_from_any_allocation_on(void **state)
{
    (void)state;
    for (size_t i = 0; i < SOURCES; i++) {
        uint64_t nth = 1;

        support_fakes3_rules(server, sources[i].rules ? sources[i].rules : "");
        while (fetch_without_memory(&sources[i], nth, true))
            assert_true((nth += 3) < NTH_MAX);
    }
}

static void any_allocation_of_a_refresh_may_fail(void **state)
{
    (void)state;
    for (size_t i = 0; i < SOURCES; i++) {
        struct s3_credentials_source *source;
        struct varve_error err;
        uint64_t nth = 1;

        support_fakes3_rules(server, sources[i].rules ? sources[i].rules : "");
        if (make(&sources[i], &source, &err) < 0)
            fail_msg("%s: %s", sources[i].name, err.msg);
        while (refresh_without_memory(&sources[i], source, nth))
            assert_true(++nth < NTH_MAX);
        s3_credentials_source_free(source);
    }
}

static void write_file(char *place, size_t size, const char *name, const char *text)
{
    snprintf(place, size, "%s", support_tmpdir_path(dir, "%s", name));
    support_file_write(place, text, strlen(text));
}

static int group_setup(void **state)
{
    static const char *const args[] = {"--bucket", "nth", NULL};
    static const char of_config[] =
        "[default]\nregion = eu-north-1\nservices = here\n"
        "[services here]\ns3 =\n  endpoint_url = http://127.0.0.1:1\n"
        "[profile base]\naws_access_key_id = varve\naws_secret_access_key = varve-secret\n"
        "aws_session_token = of base\n"
        "[profile keys]\naws_access_key_id = varve\naws_secret_access_key = varve-secret\n"
        "[profile process]\ncredential_process = echo '{\"Version\": 1, \"AccessKeyId\": \"P\", "
        "\"SecretAccessKey\": \"S\", \"SessionToken\": \"T\"}'\n"
        "[profile fails]\ncredential_process = exit 3\n"
        "[profile role]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = keys\n"
        "external_id = e\nduration_seconds = 900\n"
        "[profile role-of-instance]\nrole_arn = arn:aws:iam::1:role/r\n"
        "credential_source = Ec2InstanceMetadata\n";
    static const char of_credentials[] =
        "# a comment\n[default]\naws_access_key_id = varve\naws_secret_access_key = varve-secret\n";
    char text[2048];
    struct varve_error err;

    (void)state;
    base_env_init(&env);
    server = support_fakes3_start(FAKES3_PROGRAM, args);
    dir = support_tmpdir_new("nth");
    snprintf(endpoint, sizeof(endpoint), "http://127.0.0.1:%u", support_fakes3_port(server));
    snprintf(container, sizeof(container), "%s/v2/credentials/x", endpoint);
    write_file(token_file, sizeof(token_file), "token", "secret-token\n");
    snprintf(text, sizeof(text),
             "%s[profile web]\nrole_arn = arn:aws:iam::1:role/r\nweb_identity_token_file = %s\n",
             of_config, token_file);
    write_file(config, sizeof(config), "config", text);
    write_file(credentials_file, sizeof(credentials_file), "credentials", of_credentials);
    return s3_http_new(&env, &(struct s3_http_options){.threads = 1}, &http, &err);
}

static int group_teardown(void **state)
{
    (void)state;
    http = s3_http_free(http);
    server = support_fakes3_stop(server);
    dir = support_tmpdir_free(dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_allocation_may_fail_once),
        cmocka_unit_test(memory_may_be_out_from_any_allocation_on),
        cmocka_unit_test(any_allocation_of_a_refresh_may_fail),
    };

    return cmocka_run_group_tests_name("cold_s3_credentials_nth", tests, group_setup,
                                       group_teardown);
}
