/*
 * The credentials chain with an environment, files and an HTTP of its own: s3_http_call is replaced
 * by the linker (-Wl,--wrap), and answers by a script. Each expected request is compared in method,
 * URL, headers and body; one that no script has is a failure of the test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <stdatomic.h>
#include <time.h>
#include <cmocka.h>

#include "base/error.h"
#include "base/thread.h"
#include "cold/s3/credentials.h"
#include "cold/s3/credentials_private.h"
#include "tests/support/env.h"
#include "tests/support/file.h"

#define VARIABLES_MAX 16
#define ANSWERS_MAX 16
#define HOUR_MS (INT64_C(3600) * 1000)

struct answer {
    /* What the request must be; `headers` and `body` are parts that must all be there. */
    const char *request;    /* "GET http://..." */
    const char *headers[4]; /* "name: value" (the beginning of it); "!name": must not be there */
    const char *bodies[6];
    /* What comes back. */
    enum s3_http_outcome outcome;
    int status;
    const char *reply;
};

static struct fixture {
    struct support_env *e;
    struct {
        const char *name, *value;
    } variables[VARIABLES_MAX];
    size_t variable_count;
    struct answer answers[ANSWERS_MAX];
    size_t answer_count;
    size_t asked;
    atomic_int held; /* 1: the next request waits until it is 0 */
    atomic_int waiting;
    struct s3_credentials_source *source;
} f;

int __wrap_s3_http_call(struct s3_http *http, struct s3_http_request *request,
                        struct s3_http_reply *ret, struct varve_error *err);
void __wrap_s3_http_reply_deinit(struct s3_http_reply *reply);

static void check_headers(const struct answer *a, const struct s3_http_request *r)
{
    for (size_t i = 0; i < 4 && a->headers[i]; i++) {
        bool wanted = a->headers[i][0] != '!', found = false;
        const char *text = a->headers[i] + !wanted;

        for (size_t k = 0; k < r->header_count; k++) {
            char line[1024];

            snprintf(line, sizeof(line), "%s: %s", r->headers[k].name, r->headers[k].value);
            found = found || strncmp(line, text, strlen(text)) == 0;
        }
        if (found != wanted)
            fail_msg("%s: header %s", a->request, a->headers[i]);
    }
}

static void check_body(const struct answer *a, const struct s3_http_request *r)
{
    char body[2048] = "";

    if (r->body_count > 0) {
        assert_int_equal(r->body_count, 1);
        assert_true(r->body->iov_len < sizeof(body));
        memcpy(body, r->body->iov_base, r->body->iov_len);
        body[r->body->iov_len] = '\0';
    }
    for (size_t i = 0; i < 6 && a->bodies[i]; i++) {
        if (!strstr(body, a->bodies[i]))
            fail_msg("%s: '%s' is not in: %s", a->request, a->bodies[i], body);
    }
}

static void *copy_of(const char *text, size_t *ret_size)
{
    *ret_size = text ? strlen(text) : 0;
    return text ? strdup(text) : NULL;
}

int __wrap_s3_http_call(struct s3_http *http, struct s3_http_request *request,
                        struct s3_http_reply *ret, struct varve_error *err)
{
    const struct answer *a;
    char line[512];

    (void)http;
    (void)err;
    snprintf(line, sizeof(line), "%s %s", request->method, request->url);
    if (f.asked == f.answer_count)
        fail_msg("not expected: %s", line);
    a = &f.answers[f.asked++];
    assert_string_equal(line, a->request);
    check_headers(a, request);
    check_body(a, request);
    assert_true(request->size_max > 0 && request->size_max <= 1024 * 1024);
    /* What only this machine can reach is never asked by a proxy, and not waited for long. */
    if (strcmp(request->method, "POST") != 0 &&
        (strstr(line, "//169.254.") || strstr(line, "//127.")))
        assert_true(request->direct && request->connect_timeout_ms > 0 &&
                    request->connect_timeout_ms <= 5000);
    while (atomic_load(&f.held)) {
        atomic_store(&f.waiting, 1);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    *ret = (struct s3_http_reply){.outcome = a->outcome, .status = a->status, .retriable = true};
    if (a->outcome != S3_HTTP_REPLY) {
        ret->status = 0;
        snprintf(ret->message, sizeof(ret->message), "connection refused");
    } else if (a->status / 100 == 2) {
        request->body_memory = copy_of(a->reply, &request->body_memory_size);
    } else {
        ret->error_body = copy_of(a->reply, &ret->error_size);
    }
    return 0;
}

void __wrap_s3_http_reply_deinit(struct s3_http_reply *reply)
{
    free(reply->error_body);
    reply->error_body = NULL;
}

static const char *look_up(void *ctx, const char *name)
{
    assert_ptr_equal(ctx, &f);
    for (size_t i = f.variable_count; i-- > 0;) {
        if (strcmp(f.variables[i].name, name) == 0)
            return f.variables[i].value;
    }
    return NULL;
}

static void set(const char *name, const char *value)
{
    assert_true(f.variable_count < VARIABLES_MAX);
    f.variables[f.variable_count].name = name;
    f.variables[f.variable_count++].value = value;
}

static void answer(struct answer a)
{
    assert_true(f.answer_count < ANSWERS_MAX);
    f.answers[f.answer_count++] = a;
}

static const char *write_file(const char *name, const char *text)
{
    const char *path = support_tmpdir_path(f.e->dir, "%s", name);

    support_file_write(path, text, strlen(text));
    return path;
}

static void open_with(const char *profile)
{
    const struct s3_credentials_options options = {
        .profile = profile, .region = "eu-west-1", .getenv = look_up, .getenv_ctx = &f};
    struct varve_error err = {0};

    f.source = s3_credentials_source_free(f.source);
    if (s3_credentials_source_new(&f.e->env, &options, &f.source, &err) < 0)
        fail_msg("%s", err.msg);
}

/* Asks for credentials, which must be these; `token` NULL: none. */
static void expect(const char *access_key, const char *secret_key, const char *token)
{
    struct varve_error err = {0};
    struct s3_credentials c;

    if (!f.source)
        open_with(NULL);
    if (s3_credentials_source_get(f.source, &c, &err) < 0)
        fail_msg("%s", err.msg);
    assert_string_equal(c.access_key, access_key);
    assert_string_equal(c.secret_key, secret_key);
    if (token)
        assert_string_equal(c.session_token, token);
    else
        assert_null(c.session_token);
    assert_int_equal(f.asked, f.answer_count);
    s3_credentials_clear(&c);
}

/* No message ever holds what all secrets of these tests begin with. */
static void expect_failure(int code, const char *part)
{
    struct varve_error err = {0};
    struct s3_credentials c = {.expires_ms = 77};
    int rc;

    if (!f.source)
        open_with(NULL);
    rc = s3_credentials_source_get(f.source, &c, &err);
    if (rc != code || !strstr(err.msg, part))
        fail_msg("%d: %s", rc, err.msg);
    assert_int_equal(err.code, code);
    assert_true(c.expires_ms == 77);
    assert_null(strstr(err.msg, "SECRET"));
    assert_int_equal(f.asked, f.answer_count);
}

static int setup(void **state)
{
    memset(&f, 0, sizeof(f));
    if (support_env_setup(state) != 0)
        return -1;
    f.e = *state;
    set("HOME", support_tmpdir_root(f.e->dir));
    set("AWS_EC2_METADATA_DISABLED", "true");
    return 0;
}

static int teardown(void **state)
{
    f.source = s3_credentials_source_free(f.source);
    return support_env_teardown(state);
}

static void files_of_aws(const char *config, const char *credentials)
{
    if (config)
        set("AWS_CONFIG_FILE", write_file("config", config));
    if (credentials)
        set("AWS_SHARED_CREDENTIALS_FILE", write_file("credentials", credentials));
}

#define GRANT_OF(action, key)                                                                      \
    "<" action "Response><" action "Result><Credentials><AccessKeyId>" key "</AccessKeyId>"        \
    "<SecretAccessKey>SECRET-" key "</SecretAccessKey><SessionToken>SECRET-T</SessionToken>"       \
    "<Expiration>2023-11-14T23:13:20Z</Expiration></Credentials></" action "Result></" action      \
    "Response>"
#define GRANT(key) GRANT_OF("AssumeRole", key)
#define STS "POST https://sts.eu-west-1.amazonaws.com/"

/* --- Environment --- */

static void the_environment_comes_first(void **state)
{
    (void)state;
    files_of_aws(NULL, "[default]\naws_access_key_id = F\naws_secret_access_key = SECRET-F\n");
    set("AWS_ACCESS_KEY_ID", "E");
    set("AWS_SECRET_ACCESS_KEY", "SECRET-E");
    expect("E", "SECRET-E", NULL);
    set("AWS_SESSION_TOKEN", "SECRET-T");
    open_with(NULL);
    expect("E", "SECRET-E", "SECRET-T");
    set("AWS_PROFILE", "default"); /* does not go before it */
    open_with(NULL);
    expect("E", "SECRET-E", "SECRET-T");
    open_with("default"); /* does */
    expect("F", "SECRET-F", NULL);
}

static void half_a_key_is_a_mistake_and_not_skipped(void **state)
{
    (void)state;
    files_of_aws(NULL, "[default]\naws_access_key_id = F\naws_secret_access_key = SECRET-F\n"
                       "[half]\naws_secret_access_key = SECRET-H\n");
    set("AWS_ACCESS_KEY_ID", "E");
    expect_failure(VARVE_E_DENIED, "the environment: there is an access key, but no secret key");
    open_with("half");
    expect_failure(VARVE_E_DENIED, "profile 'half': there is a secret key, but no access key");
    set("AWS_SECRET_ACCESS_KEY", "SECRET-E");
    set("AWS_SESSION_TOKEN", "SECRET\r\nx-evil: 1");
    open_with(NULL);
    expect_failure(VARVE_E_DENIED, "no plain text");
}

static void who_has_none_is_told_where_was_looked(void **state)
{
    (void)state;
    expect_failure(VARVE_E_DENIED, "none in the environment (AWS_ACCESS_KEY_ID), in profile "
                                   "'default', by web identity, at a container's endpoint, nor in "
                                   "instance metadata (disabled)");
    set("HOME", "/dev/null"); /* of some services */
    open_with(NULL);
    expect_failure(VARVE_E_DENIED, "none in the environment");
    set("HOME", "");
    open_with(NULL);
    expect_failure(VARVE_E_DENIED, "none in the environment");
}

/* --- Profiles --- */

static void a_profile_has_keys_in_either_file(void **state)
{
    (void)state;
    files_of_aws("[default]\nregion = eu-north-1\naws_access_key_id = C\n"
                 "aws_secret_access_key = SECRET-C\n"
                 "[profile x]\naws_access_key_id = X\naws_secret_access_key = SECRET-X\n"
                 "aws_session_token = SECRET-XT\n",
                 "[default]\naws_access_key_id = D\naws_secret_access_key = SECRET-D\n");
    expect("D", "SECRET-D", NULL);
    assert_string_equal(s3_credentials_source_region(f.source), "eu-north-1");
    set("AWS_PROFILE", "x");
    open_with(NULL);
    expect("X", "SECRET-X", "SECRET-XT");
    assert_null(s3_credentials_source_region(f.source));
    set("AWS_DEFAULT_REGION", "d");
    open_with(NULL);
    assert_string_equal(s3_credentials_source_region(f.source), "d");
    set("AWS_REGION", "r");
    open_with(NULL);
    assert_string_equal(s3_credentials_source_region(f.source), "r");
}

static void the_files_lie_below_home(void **state)
{
    (void)state;
    assert_int_equal(
        base_dir_create(f.e->env.io, support_tmpdir_path(f.e->dir, ".aws"), false, NULL), 0);
    write_file(".aws/credentials",
               "[default]\naws_access_key_id=A\naws_secret_access_key=SECRET-A\n");
    expect("A", "SECRET-A", NULL);
    write_file("other", "[default]\naws_access_key_id=B\naws_secret_access_key=SECRET-B\n");
    set("AWS_SHARED_CREDENTIALS_FILE", "~/other");
    open_with(NULL);
    expect("B", "SECRET-B", NULL);
}

static void a_named_profile_must_exist_and_its_file_make_sense(void **state)
{
    (void)state;
    files_of_aws("[profile x]\nregion = r\n", NULL);
    set("AWS_PROFILE", "y");
    expect_failure(VARVE_E_DENIED, "there is no profile 'y' in ");
    open_with("z");
    expect_failure(VARVE_E_DENIED, "there is no profile 'z' in ");
    open_with("x"); /* there, but without credentials: the chain goes on */
    expect_failure(VARVE_E_DENIED, "in profile 'x'");
    files_of_aws("[profile x]\nSECRET\n", NULL);
    open_with("x");
    expect_failure(VARVE_E_INVALID, "line 2");
}

static void keys_of_the_two_files_are_not_mixed(void **state)
{
    (void)state;
    files_of_aws("[default]\naws_access_key_id=C\naws_secret_access_key=SECRET-C\n"
                 "aws_session_token=SECRET-CT\n",
                 "[default]\naws_access_key_id=D\naws_secret_access_key=SECRET-D\n");
    expect("D", "SECRET-D", NULL);
}

static void what_needs_a_person_is_refused_with_advice(void **state)
{
    (void)state;
    files_of_aws("[profile sso]\nsso_session = s\n"
                 "[profile mfa]\nrole_arn = arn:r\nmfa_serial = m\nsource_profile = mfa\n",
                 NULL);
    open_with("sso");
    expect_failure(VARVE_E_UNSUPPORTED, "aws configure export-credentials --profile sso");
    open_with("mfa");
    expect_failure(VARVE_E_UNSUPPORTED, "mfa_serial");
}

static void endpoints_come_from_environment_and_profile(void **state)
{
    (void)state;
    files_of_aws("[default]\nendpoint_url = http://all\n"
                 "[profile s]\nservices = local\nendpoint_url = http://all\n"
                 "[services local]\ns3 =\n  endpoint_url = http://s3\n"
                 "[profile n]\ns3 =\n  endpoint_url = http://nested\n",
                 NULL);
    open_with(NULL);
    assert_string_equal(s3_credentials_source_endpoint_url(f.source), "http://all");
    open_with("s");
    assert_string_equal(s3_credentials_source_endpoint_url(f.source), "http://s3");
    open_with("n");
    assert_string_equal(s3_credentials_source_endpoint_url(f.source), "http://nested");
    set("AWS_ENDPOINT_URL", "http://env");
    open_with("n");
    assert_string_equal(s3_credentials_source_endpoint_url(f.source), "http://env");
    set("AWS_ENDPOINT_URL_S3", "http://env-s3");
    open_with("n");
    assert_string_equal(s3_credentials_source_endpoint_url(f.source), "http://env-s3");
    set("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true");
    open_with("n");
    assert_null(s3_credentials_source_endpoint_url(f.source));
}

/* --- Roles --- */

static void a_role_is_assumed_with_the_keys_of_another_profile(void **state)
{
    (void)state;
    files_of_aws("[profile role]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = base\n"
                 "external_id = SECRET id\nrole_session_name = me@h\nduration_seconds = 900\n",
                 "[base]\naws_access_key_id = B\naws_secret_access_key = SECRET-B\n"
                 "aws_session_token = SECRET-BT\n");
    answer((struct answer){
        .request = STS,
        .headers = {"host: sts.eu-west-1.amazonaws.com", "x-amz-security-token: SECRET-BT",
                    "x-amz-date: 20231114T221320Z",
                    "authorization: AWS4-HMAC-SHA256 Credential=B/20231114/eu-west-1/sts/"
                    "aws4_request, SignedHeaders=content-type;host;x-amz-content-sha256;"
                    "x-amz-date;x-amz-security-token, Signature="},
        .bodies = {"Action=AssumeRole&", "DurationSeconds=900&", "ExternalId=SECRET%20id&",
                   "RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr&RoleSessionName=me%40h",
                   "&Version=2011-06-15"},
        .status = 200,
        .reply = GRANT("R")});
    open_with("role");
    expect("R", "SECRET-R", "SECRET-T");
    expect("R", "SECRET-R", "SECRET-T"); /* kept: nobody is asked again */
}

static void roles_follow_each_other(void **state)
{
    (void)state;
    files_of_aws("[profile a]\nrole_arn = arn:a\nsource_profile = b\n"
                 "[profile b]\nrole_arn = arn:b\nsource_profile = b\n"
                 "aws_access_key_id = B\naws_secret_access_key = SECRET-B\n",
                 NULL);
    answer((struct answer){
        .request = STS,
        .headers = {"authorization: AWS4-HMAC-SHA256 Credential=B/", "!x-amz-security-token"},
        .bodies = {"RoleArn=arn%3Ab&RoleSessionName=varve-"},
        .status = 200,
        .reply = GRANT("RB")});
    answer((struct answer){.request = STS,
                           .headers = {"authorization: AWS4-HMAC-SHA256 Credential=RB/"},
                           .bodies = {"RoleArn=arn%3Aa&"},
                           .status = 200,
                           .reply = GRANT("RA")});
    open_with("a");
    expect("RA", "SECRET-RA", "SECRET-T");
}

static void profiles_that_go_in_circles_or_on_for_ever_are_seen(void **state)
{
    char chain[4096] = "[profile a]\nrole_arn=arn:a\nsource_profile=b\n"
                       "[profile b]\nrole_arn=arn:b\nsource_profile=a\n";
    size_t n = strlen(chain);

    (void)state;
    for (int i = 0; i < 20; i++)
        n += (size_t)snprintf(chain + n, sizeof(chain) - n,
                              "[profile p%d]\nrole_arn=arn:p\nsource_profile=p%d\n", i, i + 1);
    files_of_aws(chain, NULL);
    open_with("a");
    expect_failure(VARVE_E_INVALID, "profile 'a': source_profile leads back to itself");
    open_with("p0");
    expect_failure(VARVE_E_INVALID, "profiles name each other");
}

static void a_role_without_a_source_is_a_mistake(void **state)
{
    (void)state;
    files_of_aws("[profile none]\nrole_arn=arn:a\n"
                 "[profile both]\nrole_arn=arn:a\nsource_profile=x\ncredential_source=Environment\n"
                 "[profile odd]\nrole_arn=arn:a\ncredential_source=Elsewhere\n"
                 "[profile env]\nrole_arn=arn:a\ncredential_source=Environment\n"
                 "[profile gone]\nrole_arn=arn:a\nsource_profile=nobody\n",
                 NULL);
    open_with("none");
    expect_failure(VARVE_E_INVALID, "needs one of");
    open_with("both");
    expect_failure(VARVE_E_INVALID, "needs one of");
    open_with("odd");
    expect_failure(VARVE_E_INVALID, "'Elsewhere' is none");
    open_with("env");
    expect_failure(VARVE_E_DENIED, "credential_source 'Environment' has no credentials");
    open_with("gone");
    expect_failure(VARVE_E_DENIED, "source_profile 'nobody' has no credentials");
}

static void a_role_may_be_assumed_with_what_the_environment_has(void **state)
{
    (void)state;
    files_of_aws("[profile env]\nrole_arn=arn:a\ncredential_source=Environment\n", NULL);
    set("AWS_ACCESS_KEY_ID", "E");
    set("AWS_SECRET_ACCESS_KEY", "SECRET-E");
    set("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9000/");
    answer((struct answer){.request = "POST http://127.0.0.1:9000/",
                           .headers = {"host: 127.0.0.1:9000"},
                           .status = 200,
                           .reply = GRANT("R")});
    open_with("env");
    expect("R", "SECRET-R", "SECRET-T");
}

static void what_sts_refuses_is_told_and_what_may_pass_is_retriable(void **state)
{
    struct varve_error err = {0};
    struct s3_credentials c;

    (void)state;
    files_of_aws("[profile r]\nrole_arn=arn:a\nsource_profile=r\naws_access_key_id = B\n"
                 "aws_secret_access_key = SECRET-B\n",
                 NULL);
    open_with("r");
    answer((struct answer){.request = STS,
                           .status = 403,
                           .reply = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not "
                                    "you</Message></Error></ErrorResponse>"});
    expect_failure(VARVE_E_DENIED, "profile 'r': AssumeRole: status 403 AccessDenied: not you");
    answer((struct answer){.request = STS, .status = 503, .reply = "<html/>"});
    expect_failure(VARVE_E_STORE, "status 503");
    answer((struct answer){.request = STS, .status = 200, .reply = "<html/>"});
    expect_failure(VARVE_E_CORRUPT, "AssumeRole");
    answer((struct answer){.request = STS, .outcome = S3_HTTP_NOT_SENT});
    assert_int_equal(s3_credentials_source_get(f.source, &c, &err), VARVE_E_STORE);
    assert_true(err.retriable);
    assert_non_null(strstr(err.msg, "connection refused"));
    answer((struct answer){.request = STS, .status = 200, .reply = GRANT("R")});
    expect("R", "SECRET-R", "SECRET-T");
}

static void a_web_identity_is_taken_from_its_file(void **state)
{
    const char *path = write_file("token", "SECRET.jwt\n");
    const struct answer a = {.request = STS,
                             .headers = {"!authorization", "!x-amz-security-token"},
                             .bodies = {"Action=AssumeRoleWithWebIdentity&", "RoleArn=arn%3Aw&",
                                        "RoleSessionName=pod&", "&WebIdentityToken=SECRET.jwt"},
                             .status = 200,
                             .reply = GRANT_OF("AssumeRoleWithWebIdentity", "W")};

    (void)state;
    set("AWS_WEB_IDENTITY_TOKEN_FILE", path);
    expect_failure(VARVE_E_DENIED, "AWS_ROLE_ARN");
    set("AWS_ROLE_ARN", "arn:w");
    set("AWS_ROLE_SESSION_NAME", "pod");
    answer(a);
    open_with(NULL);
    expect("W", "SECRET-W", "SECRET-T");
    /* The same from a profile. */
    {
        char config[256];

        snprintf(config, sizeof(config),
                 "[profile w]\nrole_arn=arn:w\nrole_session_name=pod\n"
                 "web_identity_token_file=%s\n",
                 path);
        files_of_aws(config, NULL);
    }
    answer(a);
    open_with("w");
    expect("W", "SECRET-W", "SECRET-T");
    write_file("token", "\n");
    open_with("w");
    expect_failure(VARVE_E_DENIED, "is empty");
    set("AWS_WEB_IDENTITY_TOKEN_FILE", "/nonexistent/token");
    open_with(NULL);
    expect_failure(VARVE_E_DENIED, "there is no token in /nonexistent/token");
}

/* --- credential_process --- */

static void a_program_prints_credentials(void **state)
{
    (void)state;
    files_of_aws(
        "[profile p]\ncredential_process = printf '{\"Version\": 1, \"AccessKeyId\": "
        "\"P\", \"SecretAccessKey\": \"SECRET\\\\u002dP\", \"SessionToken\": \"SECRET-T\", "
        "\"Expiration\": \"2023-11-15T00:00:00Z\"}'\n"
        "[profile long]\ncredential_process = printf "
        "'{\"Version\":1,\"AccessKeyId\":\"L\",\"SecretAccessKey\":\"SECRET-L\"}'\n"
        "[profile version]\ncredential_process = echo '{\"Version\": 2}'\n"
        "[profile part]\ncredential_process = echo "
        "'{\"Version\": 1, \"AccessKeyId\": \"P\", \"Secret\": \"SECRET\"}'\n"
        "[profile fails]\ncredential_process = echo SECRET; exit 3\n",
        NULL);
    open_with("p");
    expect("P", "SECRET-P", "SECRET-T");
    open_with("long");
    expect("L", "SECRET-L", NULL);
    open_with("version");
    expect_failure(VARVE_E_CORRUPT, "Version 1");
    open_with("part");
    expect_failure(VARVE_E_CORRUPT, "profile 'part': credential_process: there is no valid "
                                    "'SecretAccessKey'");
    open_with("fails");
    expect_failure(VARVE_E_FAILED, "profile 'fails': credential_process: a program ended with "
                                   "status 3");
}

#define KEYS "\"AccessKeyId\": \"K\", \"SecretAccessKey\": \"SECRET\""

static void a_grant_with_a_bad_member_is_refused_by_its_name(void **state)
{
    static const struct {
        const char *text, *part;
    } bad[] = {
        {"[{" KEYS "}]", "not a JSON object"},
        {"{" KEYS, "not a JSON object"},
        {"{\"AccessKeyId\": 7, \"SecretAccessKey\": \"SECRET\"}", "no valid 'AccessKeyId'"},
        {"{\"AccessKeyId\": \"\", \"SecretAccessKey\": \"SECRET\"}", "no valid 'AccessKeyId'"},
        {"{\"AccessKeyId\": \"a\\u0000b\", \"SecretAccessKey\": \"SECRET\"}",
         "'AccessKeyId' is no text"},
        {"{\"AccessKeyId\": \"K\", \"SecretAccessKey\": \"SECRET\\u000a\"}",
         "no valid 'SecretAccessKey'"},
        {"{\"AccessKeyId\": \"K\", \"SecretAccessKey\": \"SECRET\\ud800\"}", "'SecretAccessKey'"},
        {"{" KEYS ", \"Token\": \"SECRET\\u000d\\u000ahost: evil\"}", "no valid 'Token'"},
        {"{" KEYS ", \"Token\": \"SECRET\\u0000\"}", "'Token' is no text"},
        {"{" KEYS ", \"Expiration\": \"tomorrow\"}", "no valid 'Expiration'"},
        {"{" KEYS ", \"Expiration\": \"\\u0000\"}", "'Expiration' is no text"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct s3_credentials c = {.expires_ms = 77};
        struct varve_error err = {0};

        assert_int_equal(s3_provider_json(bad[i].text, strlen(bad[i].text), "Token", &c, &err),
                         VARVE_E_CORRUPT);
        if (!strstr(err.msg, bad[i].part) || strstr(err.msg, "SECRET"))
            fail_msg("%s: %s", bad[i].text, err.msg);
        assert_true(c.expires_ms == 77);
        assert_null(c.access_key);
    }
}

static void in_a_grant_null_and_empty_stand_for_none(void **state)
{
    static const char *const good[] = {
        "{" KEYS "}",
        "{" KEYS ", \"Token\": null, \"Expiration\": null}",
        "{" KEYS ", \"Token\": \"\", \"Expiration\": \"\"}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct s3_credentials c = {0};
        struct varve_error err = {0};

        if (s3_provider_json(good[i], strlen(good[i]), "Token", &c, &err) != 0)
            fail_msg("%s: %s", good[i], err.msg);
        assert_string_equal(c.access_key, "K");
        assert_string_equal(c.secret_key, "SECRET");
        assert_null(c.session_token);
        assert_true(c.expires_ms == INT64_MAX);
        s3_credentials_clear(&c);
    }
}

#undef KEYS

/* --- Containers --- */

#define KEYS_OF(key)                                                                               \
    "{\"Code\": \"Success\", \"AccessKeyId\": \"" key "\", \"SecretAccessKey\": \"SECRET-" key     \
    "\", \"Token\": \"SECRET-T\", \"Expiration\": \"2023-11-14T23:13:20Z\"}"

static void a_container_asks_its_endpoint(void **state)
{
    (void)state;
    set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/x?id=1");
    answer((struct answer){.request = "GET http://169.254.170.2/v2/credentials/x?id=1",
                           .headers = {"!authorization"},
                           .status = 200,
                           .reply = KEYS_OF("C")});
    expect("C", "SECRET-C", "SECRET-T");
    set("AWS_CONTAINER_AUTHORIZATION_TOKEN", "SECRET-a");
    answer((struct answer){.request = "GET http://169.254.170.2/v2/credentials/x?id=1",
                           .headers = {"authorization: SECRET-a"},
                           .status = 200,
                           .reply = KEYS_OF("C2")});
    open_with(NULL);
    expect("C2", "SECRET-C2", "SECRET-T");
    /* One that is set up and fails is not skipped. */
    answer((struct answer){.request = "GET http://169.254.170.2/v2/credentials/x?id=1",
                           .status = 404,
                           .reply = "{\"message\": \"no\"}"});
    open_with(NULL);
    expect_failure(VARVE_E_DENIED, "container credentials: status 404");
    set("AWS_CONTAINER_AUTHORIZATION_TOKEN", "SECRET\r\nhost: evil");
    open_with(NULL);
    expect_failure(VARVE_E_INVALID, "not one line");
    set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "@evil.example.org/");
    open_with(NULL);
    expect_failure(VARVE_E_INVALID, "does not begin with '/'");
}

static void a_full_uri_is_asked_in_clear_text_only_where_that_is_safe(void **state)
{
    static const char *const good[] = {"http://127.0.0.1:8080/c", "http://127.9.9.9/c",
                                       "http://[::1]:8080/c",     "http://localhost/c",
                                       "http://169.254.170.23/c", "http://169.254.170.2:80/c",
                                       "http://[fd00:ec2::23]/c", "https://example.org/c?x"};
    static const char *const bad[] = {"http://example.org/c",
                                      "http://169.254.169.254/c",
                                      "http://127.0.0.1.example.org/c",
                                      "http://localhost.example.org/c",
                                      "http://127.0.0.1@example.org/c",
                                      "http://10.0.0.1/127.0.0.1",
                                      "http://128.0.0.1/",
                                      "ftp://127.0.0.1/",
                                      "/relative"};

    (void)state;
    set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", write_file("t", "SECRET-file\n"));
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        char request[128];

        f.variable_count = 3;
        f.asked = f.answer_count = 0;
        set("AWS_CONTAINER_CREDENTIALS_FULL_URI", good[i]);
        snprintf(request, sizeof(request), "GET %s", good[i]);
        answer((struct answer){.request = request,
                               .headers = {"authorization: SECRET-file"},
                               .status = 200,
                               .reply = KEYS_OF("C")});
        open_with(NULL);
        expect("C", "SECRET-C", "SECRET-T");
    }
    f.asked = f.answer_count = 0;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        f.variable_count = 3;
        set("AWS_CONTAINER_CREDENTIALS_FULL_URI", bad[i]);
        open_with(NULL);
        expect_failure(VARVE_E_INVALID, "AWS_CONTAINER_CREDENTIALS_FULL_URI");
    }
}

/* --- Instance metadata --- */

#define IMDS "http://169.254.169.254/latest/"
#define ROLES IMDS "meta-data/iam/security-credentials/"

static void give_token(const char *token)
{
    answer((struct answer){.request = "PUT " IMDS "api/token",
                           .headers = {"x-aws-ec2-metadata-token-ttl-seconds: 21600"},
                           .status = 200,
                           .reply = token});
}

static void give_keys(const char *keys)
{
    give_token("SECRET-session");
    answer((struct answer){.request = "GET " ROLES,
                           .headers = {"x-aws-ec2-metadata-token: SECRET-session"},
                           .status = 200,
                           .reply = "my role\nother\n"});
    answer((struct answer){.request = "GET " ROLES "my%20role",
                           .headers = {"x-aws-ec2-metadata-token: SECRET-session"},
                           .status = 200,
                           .reply = keys});
}

static void an_instance_asks_its_metadata(void **state)
{
    (void)state;
    set("AWS_EC2_METADATA_DISABLED", "");
    give_keys(KEYS_OF("I"));
    expect("I", "SECRET-I", "SECRET-T");
    give_keys("{\"Code\": \"AssumeRoleUnauthorizedAccess\"}");
    open_with(NULL);
    expect_failure(VARVE_E_STORE, "not ready");
    give_keys("SECRET");
    open_with(NULL);
    expect_failure(VARVE_E_CORRUPT, "instance metadata: not a JSON object");
}

static void a_machine_without_metadata_has_none(void **state)
{
    (void)state;
    set("AWS_EC2_METADATA_DISABLED", "");
    answer((struct answer){.request = "PUT " IMDS "api/token", .outcome = S3_HTTP_NOT_SENT});
    expect_failure(VARVE_E_DENIED, "(nobody answers)");
    answer((struct answer){.request = "PUT " IMDS "api/token", .outcome = S3_HTTP_UNKNOWN});
    expect_failure(VARVE_E_DENIED, "(nobody answers)");
    answer((struct answer){.request = "PUT " IMDS "api/token", .status = 404});
    expect_failure(VARVE_E_DENIED, "(it gives no token of IMDSv2)");
    give_token("");
    expect_failure(VARVE_E_DENIED, "(it gives no token of IMDSv2)");
    answer((struct answer){.request = "PUT " IMDS "api/token", .status = 503});
    expect_failure(VARVE_E_STORE, "status 503");
    give_token("SECRET-t");
    answer((struct answer){.request = "GET " ROLES, .status = 404});
    expect_failure(VARVE_E_DENIED, "(the instance has no role)");
}

static void metadata_may_be_elsewhere(void **state)
{
    (void)state;
    set("AWS_EC2_METADATA_DISABLED", "false");
    set("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "IPv6");
    answer((struct answer){.request = "PUT http://[fd00:ec2::254]/latest/api/token",
                           .outcome = S3_HTTP_NOT_SENT});
    expect_failure(VARVE_E_DENIED, "nobody answers");
    set("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1338/");
    answer((struct answer){.request = "PUT http://127.0.0.1:1338/latest/api/token",
                           .outcome = S3_HTTP_NOT_SENT});
    expect_failure(VARVE_E_DENIED, "nobody answers");
    set("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://me:SECRET@h/");
    expect_failure(VARVE_E_INVALID, "no credentials");
}

/* --- Refreshing --- */

static void open_on_an_instance(void)
{
    set("AWS_EC2_METADATA_DISABLED", "");
    give_keys(KEYS_OF("I")); /* for an hour from now */
    expect("I", "SECRET-I", "SECRET-T");
}

static void credentials_are_refreshed_five_minutes_ahead(void **state)
{
    (void)state;
    open_on_an_instance();
    support_clock_advance_ms(&f.e->clock, HOUR_MS - S3_CREDENTIALS_EARLY_MS - 1);
    expect("I", "SECRET-I", "SECRET-T");
    support_clock_advance_ms(&f.e->clock, 1);
    give_keys(KEYS_OF("J"));
    expect("J", "SECRET-J", "SECRET-T");
}

static void a_refresh_that_fails_in_time_is_a_warning(void **state)
{
    (void)state;
    open_on_an_instance();
    support_clock_advance_ms(&f.e->clock, HOUR_MS - S3_CREDENTIALS_EARLY_MS);
    answer((struct answer){.request = "PUT " IMDS "api/token", .outcome = S3_HTTP_NOT_SENT});
    expect("I", "SECRET-I", "SECRET-T");
    assert_int_equal(support_logger_count(f.e->logger, BASE_LOG_WARNING, "not refreshed"), 1);
    assert_int_equal(support_logger_count(f.e->logger, -1, "SECRET"), 0);
    expect("I", "SECRET-I", "SECRET-T"); /* not asked again at once */
    support_clock_advance_ms(&f.e->clock, 30 * 1000);
    answer((struct answer){.request = "PUT " IMDS "api/token", .outcome = S3_HTTP_NOT_SENT});
    expect("I", "SECRET-I", "SECRET-T");
    /* Once they have expired it is a failure. */
    support_clock_advance_ms(&f.e->clock, S3_CREDENTIALS_EARLY_MS);
    answer((struct answer){.request = "PUT " IMDS "api/token", .outcome = S3_HTTP_NOT_SENT});
    expect_failure(VARVE_E_DENIED, "nobody answers");
    give_keys(KEYS_OF("J"));
    expect("J", "SECRET-J", "SECRET-T");
}

static void what_the_store_calls_expired_is_fetched_anew(void **state)
{
    (void)state;
    open_on_an_instance();
    s3_credentials_source_expire(f.source, "another");
    expect("I", "SECRET-I", "SECRET-T");
    s3_credentials_source_expire(f.source, "I");
    give_keys(KEYS_OF("J"));
    expect("J", "SECRET-J", "SECRET-T");
    s3_credentials_source_expire(f.source, "I"); /* somebody was late */
    expect("J", "SECRET-J", "SECRET-T");
}

static void keys_changed_in_a_file_are_seen_after_the_store_refused_the_old(void **state)
{
    (void)state;
    files_of_aws(NULL, "[default]\naws_access_key_id=A\naws_secret_access_key=SECRET-A\n");
    expect("A", "SECRET-A", NULL);
    files_of_aws(NULL, "[default]\naws_access_key_id=B\naws_secret_access_key=SECRET-B\n");
    expect("A", "SECRET-A", NULL);
    s3_credentials_source_expire(f.source, "A");
    expect("B", "SECRET-B", NULL);
}

/* Our clock may be wrong: what has just come is used, and not asked for again with each request. */
static void fresh_credentials_are_used_whatever_our_clock_says(void **state)
{
    (void)state;
    set("AWS_EC2_METADATA_DISABLED", "");
    support_clock_advance_ms(&f.e->clock, 2 * HOUR_MS);
    give_keys(KEYS_OF("I"));
    expect("I", "SECRET-I", "SECRET-T");
    expect("I", "SECRET-I", "SECRET-T");
    support_clock_advance_ms(&f.e->clock, 30 * 1000);
    give_keys(KEYS_OF("J"));
    expect("J", "SECRET-J", "SECRET-T");
}

struct caller {
    struct base_thread *thread;
    char key[16];
    int rc;
};

static void call(void *arg)
{
    struct caller *caller = arg;
    struct s3_credentials c;

    caller->rc = s3_credentials_source_get(f.source, &c, NULL);
    if (caller->rc == 0) {
        snprintf(caller->key, sizeof(caller->key), "%s", c.access_key);
        s3_credentials_clear(&c);
    }
}

static void start_callers(struct caller *callers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_int_equal(base_thread_start(&callers[i].thread, "caller", call, &callers[i], NULL),
                         0);
    while (!atomic_load(&f.waiting))
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static void join_callers(struct caller *callers, size_t count, int rc, const char *key)
{
    atomic_store(&f.held, 0);
    for (size_t i = 0; i < count; i++) {
        base_thread_join(callers[i].thread);
        assert_int_equal(callers[i].rc, rc);
        assert_string_equal(callers[i].key, key);
    }
    assert_int_equal(f.asked, f.answer_count);
}

/* The script has one fetch: a second would fail the test. */
static void callers_with_nothing_share_one_fetch(void **state)
{
    struct caller callers[8] = {0};

    (void)state;
    set("AWS_EC2_METADATA_DISABLED", "");
    open_with(NULL);
    give_keys(KEYS_OF("I"));
    atomic_store(&f.held, 1);
    start_callers(callers, 8);
    join_callers(callers, 8, 0, "I");
}

static void callers_with_something_do_not_wait_for_the_refresh(void **state)
{
    struct caller one = {0};
    size_t asked;

    (void)state;
    open_on_an_instance();
    support_clock_advance_ms(&f.e->clock, HOUR_MS - S3_CREDENTIALS_EARLY_MS);
    give_keys(KEYS_OF("J"));
    atomic_store(&f.held, 1);
    start_callers(&one, 1);
    asked = f.asked;
    for (int i = 0; i < 3; i++) {
        struct s3_credentials c;

        assert_int_equal(s3_credentials_source_get(f.source, &c, NULL), 0);
        assert_string_equal(c.access_key, "I");
        s3_credentials_clear(&c);
    }
    assert_int_equal(f.asked, asked);
    join_callers(&one, 1, 0, "J");
}

#define chain_test(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        chain_test(the_environment_comes_first),
        chain_test(half_a_key_is_a_mistake_and_not_skipped),
        chain_test(who_has_none_is_told_where_was_looked),
        chain_test(a_profile_has_keys_in_either_file),
        chain_test(the_files_lie_below_home),
        chain_test(a_named_profile_must_exist_and_its_file_make_sense),
        chain_test(keys_of_the_two_files_are_not_mixed),
        chain_test(what_needs_a_person_is_refused_with_advice),
        chain_test(endpoints_come_from_environment_and_profile),
        chain_test(a_role_is_assumed_with_the_keys_of_another_profile),
        chain_test(roles_follow_each_other),
        chain_test(profiles_that_go_in_circles_or_on_for_ever_are_seen),
        chain_test(a_role_without_a_source_is_a_mistake),
        chain_test(a_role_may_be_assumed_with_what_the_environment_has),
        chain_test(what_sts_refuses_is_told_and_what_may_pass_is_retriable),
        chain_test(a_web_identity_is_taken_from_its_file),
        chain_test(a_program_prints_credentials),
        chain_test(a_grant_with_a_bad_member_is_refused_by_its_name),
        chain_test(in_a_grant_null_and_empty_stand_for_none),
        chain_test(a_container_asks_its_endpoint),
        chain_test(a_full_uri_is_asked_in_clear_text_only_where_that_is_safe),
        chain_test(an_instance_asks_its_metadata),
        chain_test(a_machine_without_metadata_has_none),
        chain_test(metadata_may_be_elsewhere),
        chain_test(credentials_are_refreshed_five_minutes_ahead),
        chain_test(a_refresh_that_fails_in_time_is_a_warning),
        chain_test(what_the_store_calls_expired_is_fetched_anew),
        chain_test(keys_changed_in_a_file_are_seen_after_the_store_refused_the_old),
        chain_test(fresh_credentials_are_used_whatever_our_clock_says),
        chain_test(callers_with_nothing_share_one_fetch),
        chain_test(callers_with_something_do_not_wait_for_the_refresh),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
