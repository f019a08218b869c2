/* The client over a script: each request takes the next line and is answered as that says. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "cold/s3/client.h"
#include "cold/s3/request.h"
#include "cold/s3/retry.h"
#include "cold/s3/verdict.h"

#define LINES_MAX 64

struct line {
    enum s3_http_outcome outcome;
    int status;
    const char *body; /* of an error, or of a 2xx; NULL: none */
    const char *headers[6];
    bool hold; /* until it is cancelled */
    bool fatal;
    int64_t length; /* of the Content-Length header; 0: there is none */
};

/* What a request looked like. */
struct seen {
    char method[8];
    char url[256];
    char headers[2048]; /* "name: value\n" */
    int64_t connect_ms, first_byte_ms;
};

struct pending {
    struct pending *next;
    struct s3_http_request *request;
    struct line line;
    bool cancelled;
};

static struct script {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    bool stop;
    struct line lines[LINES_MAX];
    int line_count, next, seen_count;
    struct seen seen[LINES_MAX];
    struct pending *queue;
    int in_flight, in_flight_max;
    /* keys */
    int keys_gets, keys_expired;
    int keys_rc;
    int64_t expires_ms;
} script;

static struct base_env env;
static struct s3_client *client;

static int script_start(void *ctx, struct s3_http_request *r, struct varve_error *err)
{
    struct pending *p = calloc(1, sizeof(*p)), **at = &script.queue;
    struct seen *seen;

    (void)ctx;
    (void)err;
    pthread_mutex_lock(&script.lock);
    assert_true(script.next < script.line_count);
    p->request = r;
    p->line = script.lines[script.next++];
    r->internal = p;
    seen = &script.seen[script.seen_count++];
    snprintf(seen->method, sizeof(seen->method), "%s", r->method);
    snprintf(seen->url, sizeof(seen->url), "%s", r->url);
    seen->headers[0] = '\0';
    seen->connect_ms = r->connect_timeout_ms;
    seen->first_byte_ms = r->first_byte_timeout_ms;
    for (size_t i = 0; i < r->header_count; i++) {
        size_t n = strlen(seen->headers);

        snprintf(seen->headers + n, sizeof(seen->headers) - n, "%s: %s\n", r->headers[i].name,
                 r->headers[i].value);
    }
    while (*at)
        at = &(*at)->next;
    *at = p;
    if (++script.in_flight > script.in_flight_max)
        script.in_flight_max = script.in_flight;
    pthread_cond_broadcast(&script.changed);
    pthread_mutex_unlock(&script.lock);
    return 0;
}

static void script_cancel(void *ctx, struct s3_http_request *r)
{
    (void)ctx;
    pthread_mutex_lock(&script.lock);
    ((struct pending *)r->internal)->cancelled = true;
    pthread_cond_broadcast(&script.changed);
    pthread_mutex_unlock(&script.lock);
}

static void script_answer(struct pending *p)
{
    struct s3_http_reply reply = {.outcome = p->line.outcome,
                                  .status = p->line.status,
                                  .retriable = !p->line.fatal,
                                  .content_length = p->line.length > 0 ? p->line.length : -1,
                                  .total_ns = 1000000000};
    const char *body = p->line.body ? p->line.body : "";
    struct s3_http_request *r = p->request;

    if (p->cancelled)
        reply.outcome = S3_HTTP_CANCELLED;
    snprintf(reply.message, sizeof(reply.message), "scripted failure");
    for (int i = 0; i < 6; i++)
        reply.headers[i] = p->line.headers[i] ? strdup(p->line.headers[i]) : NULL;
    if (reply.outcome == S3_HTTP_REPLY && reply.status / 100 == 2) {
        reply.size = strlen(body);
        if (r->room) {
            memcpy(r->room, body, reply.size < r->room_size ? reply.size : r->room_size);
        } else if (reply.size > 0) {
            r->body_memory = strdup(body);
            r->body_memory_size = reply.size;
        }
    } else if (reply.outcome == S3_HTTP_REPLY) {
        reply.error_body = strdup(body);
        reply.error_size = strlen(body);
    }
    r->done(r, &reply);
    s3_http_reply_deinit(&reply);
    free(p);
}

static void *script_run(void *arg)
{
    pthread_mutex_lock(&script.lock);
    while (!script.stop) {
        struct pending **at = &script.queue, *p;

        while (*at && (*at)->line.hold && !(*at)->cancelled)
            at = &(*at)->next;
        p = *at;
        if (!p) {
            pthread_cond_wait(&script.changed, &script.lock);
            continue;
        }
        *at = p->next;
        script.in_flight--;
        pthread_mutex_unlock(&script.lock);
        script_answer(p);
        pthread_mutex_lock(&script.lock);
    }
    pthread_mutex_unlock(&script.lock);
    return arg;
}

static int keys_get(void *ctx, struct s3_credentials *ret, struct varve_error *err)
{
    char key[32];

    (void)ctx;
    script.keys_gets++;
    if (script.keys_rc < 0)
        return base_fail(err, script.keys_rc, "no credentials anywhere");
    snprintf(key, sizeof(key), "KEY%d", script.keys_gets);
    *ret = (struct s3_credentials){.access_key = strdup(key),
                                   .secret_key = strdup("verysecret"),
                                   .session_token = strdup("token"),
                                   .expires_ms = script.expires_ms};
    return 0;
}

static void keys_expire(void *ctx, const char *access_key)
{
    (void)ctx;
    assert_string_equal(access_key, "KEY1");
    script.keys_expired++;
}

static void say(struct line line)
{
    script.lines[script.line_count++] = line;
}

static void answer(int status, const char *code)
{
    static char bodies[LINES_MAX][160];
    char *body = bodies[script.line_count];

    snprintf(body, sizeof(bodies[0]), "<Error><Code>%s</Code><Message>words</Message></Error>",
             code);
    say((struct line){.outcome = S3_HTTP_REPLY, .status = status, .body = body});
}

static void well(void)
{
    say((struct line){.outcome = S3_HTTP_REPLY, .status = 200, .headers = {"\"etag\""}});
}

static int setup_window(unsigned window)
{
    const struct s3_client_options options = {
        .transport = {.start = script_start, .cancel = script_cancel},
        .keys = {.get = keys_get, .expire = keys_expire},
        .endpoint = {.endpoint = "http://127.0.0.1:9", .bucket = "bucket", .style = S3_STYLE_PATH},
        .window = window,
        .delay_divisor = 100};
    struct varve_error err;

    base_env_init(&env);
    memset(&script, 0, sizeof(script));
    pthread_mutex_init(&script.lock, NULL);
    pthread_cond_init(&script.changed, NULL);
    script.expires_ms = INT64_MAX;
    if (pthread_create(&script.thread, NULL, script_run, NULL) != 0 ||
        s3_client_new(&env, &options, &client, &err) < 0)
        return -1;
    return 0;
}

static int setup(void **state)
{
    (void)state;
    return setup_window(0);
}

static int teardown(void **state)
{
    (void)state;
    client = s3_client_free(client);
    pthread_mutex_lock(&script.lock);
    script.stop = true;
    pthread_cond_broadcast(&script.changed);
    pthread_mutex_unlock(&script.lock);
    pthread_join(script.thread, NULL);
    assert_int_equal(script.next, script.line_count); /* the whole script was played */
    return 0;
}

static struct s3_call put_call(void)
{
    return (struct s3_call){.method = "PUT", .key = "some/key"};
}

static struct s3_call get_call(char *room, size_t size)
{
    return (struct s3_call){.method = "GET",
                            .key = "some/key",
                            .ranged = true,
                            .pos = 5,
                            .room = room,
                            .room_size = size};
}

static void part(const char *range, const char *body)
{
    say((struct line){
        .outcome = S3_HTTP_REPLY, .status = 206, .body = body, .headers = {"\"etag\"", range}});
}

static void a_request_is_signed_and_its_answer_taken(void **state)
{
    struct s3_call call = put_call();
    struct varve_error err;

    (void)state;
    call.query = "partNumber=1";
    s3_call_header(&call, "x-amz-meta-a", "b");
    well();
    assert_int_equal(s3_client_call(client, &call, &err), 0);
    assert_string_equal(call.etag, "\"etag\"");
    assert_int_equal(call.requests, 1);
    assert_false(call.uncertain);
    assert_string_equal(script.seen[0].url, "http://127.0.0.1:9/bucket/some/key?partNumber=1");
    assert_non_null(strstr(script.seen[0].headers, "host: 127.0.0.1:9\n"));
    assert_non_null(strstr(script.seen[0].headers, "x-amz-meta-a: b\n"));
    assert_non_null(strstr(script.seen[0].headers, "x-amz-security-token: token\n"));
    assert_non_null(strstr(script.seen[0].headers, "x-amz-content-sha256: e3b0c44298fc1c14"));
    assert_non_null(strstr(script.seen[0].headers, "Credential=KEY1/"));
    assert_null(strstr(script.seen[0].headers, "verysecret"));
}

static void what_may_pass_is_tried_again_and_remembered_as_uncertain(void **state)
{
    static const char *const codes[] = {"InternalError", "ServiceUnavailable", "SlowDown",
                                        "ConditionalRequestConflict"};
    static const int statuses[] = {500, 503, 503, 409};
    struct varve_error err;

    (void)state;
    well();
    {
        struct s3_call first = put_call(); /* the store has answered once */

        assert_int_equal(s3_client_call(client, &first, &err), 0);
    }
    for (int i = 0; i < 4; i++) {
        struct s3_call call = put_call();

        answer(statuses[i], codes[i]);
        well();
        assert_int_equal(s3_client_call(client, &call, &err), 0);
        assert_int_equal(call.requests, 2);
        assert_true(call.uncertain);
    }
    for (int i = 0; i < 2; i++) {
        struct s3_call call = put_call();

        s3_call_header(&call, "if-none-match", "*");
        say((struct line){.outcome = i ? S3_HTTP_TRUNCATED : S3_HTTP_UNKNOWN});
        answer(412, "PreconditionFailed");
        assert_int_equal(s3_client_call(client, &call, &err), VARVE_E_PRECONDITION);
        assert_true(call.uncertain);
        assert_false(err.retriable);
    }
    {
        struct s3_call call = put_call();

        say((struct line){.outcome = S3_HTTP_NOT_SENT});
        well();
        assert_int_equal(s3_client_call(client, &call, &err), 0);
        assert_false(call.uncertain); /* the store has seen nothing */
    }
}

struct said {
    pthread_mutex_t lock;
    pthread_cond_t more;
    int level, count;
    char text[400];
};

static void on_message(void *ctx, int level, const char *text)
{
    struct said *said = ctx;

    pthread_mutex_lock(&said->lock);
    said->level = level;
    snprintf(said->text, sizeof(said->text), "%s", text);
    said->count++;
    pthread_cond_signal(&said->more);
    pthread_mutex_unlock(&said->lock);
}

/* Or a call that takes half a minute looks as if it hung. */
static void whoever_listens_hears_that_a_request_is_made_again_and_why(void **state)
{
    struct said said = {.lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};
    struct s3_call call = put_call();
    struct varve_error err;

    (void)state;
    env.logger = (struct base_logger){on_message, &said};
    answer(503, "SlowDown");
    well();
    assert_int_equal(s3_client_call(client, &call, &err), 0);
    pthread_mutex_lock(&said.lock);
    while (said.count == 0)
        pthread_cond_wait(&said.more, &said.lock);
    pthread_mutex_unlock(&said.lock);
    client = s3_client_free(client); /* nothing is said any more */
    env.logger = (struct base_logger){0};
    assert_int_equal(said.count, 1);
    assert_int_equal(said.level, BASE_LOG_INFO);
    assert_non_null(strstr(said.text, "PUT "));
    assert_non_null(strstr(said.text, "SlowDown"));
    assert_non_null(strstr(said.text, "request 2 in "));
}

static void what_will_not_pass_is_said_at_once(void **state)
{
    static const struct {
        int status;
        const char *code;
        int rc;
        const char *word;
    } cases[] = {
        {404, "NoSuchKey", VARVE_E_NOT_FOUND, "no such object"},
        {404, "NoSuchUpload", VARVE_E_NOT_FOUND, "no such upload"},
        {404, "NoSuchBucket", VARVE_E_STORE, "--create-bucket"},
        {412, "PreconditionFailed", VARVE_E_PRECONDITION, "condition"},
        {403, "InvalidAccessKeyId", VARVE_E_DENIED, "access key"},
        {403, "SignatureDoesNotMatch", VARVE_E_DENIED, "secret key"},
        {403, "AccessDenied", VARVE_E_DENIED, "refuses"},
        {403, "InvalidObjectState", VARVE_E_STORE, "restored"},
        {501, "NotImplemented", VARVE_E_UNSUPPORTED, "cannot"},
        {400, "InvalidRequest", VARVE_E_STORE, "InvalidRequest"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct s3_call call = put_call();
        struct varve_error err;

        s3_call_header(&call, "if-match", "etag");
        answer(cases[i].status, cases[i].code);
        assert_int_equal(s3_client_call(client, &call, &err), cases[i].rc);
        assert_int_equal(call.requests, 1);
        assert_false(err.retriable);
        assert_non_null(strstr(err.msg, cases[i].word));
        assert_null(strstr(err.msg, "verysecret"));
    }
}

/* MinIO, under deletes in the same directory. */
static void a_change_denied_in_passing_is_tried_again(void **state)
{
    struct s3_call call = put_call();
    struct varve_error err;

    (void)state;
    answer(403, "AccessDenied"); /* the first word of the store: no key of ours may */
    assert_int_equal(s3_client_call(client, &call, &err), VARVE_E_DENIED);
    assert_int_equal(call.requests, 1);
    well();
    assert_int_equal(s3_client_call(client, &call, &err), 0);
    answer(403, "AccessDenied");
    well();
    assert_int_equal(s3_client_call(client, &call, &err), 0);
    for (int i = 0; i < 3; i++)
        answer(403, "AccessDenied");
    assert_int_equal(s3_client_call(client, &call, &err), VARVE_E_DENIED);
}

/* The prober waited seconds for a store to change its mind about bodies made wrong for it. */
static void a_body_refused_for_its_checksum_is_sent_again_unless_it_was_made_wrong(void **state)
{
    struct s3_call call = put_call(), wrong = put_call();
    struct varve_error err;

    (void)state;
    answer(400, "BadDigest");
    well();
    assert_int_equal(s3_client_call(client, &call, &err), 0);
    assert_int_equal(call.requests, 2);
    wrong.is_damaged = true;
    answer(400, "BadDigest");
    assert_int_equal(s3_client_call(client, &wrong, &err), VARVE_E_CORRUPT);
    assert_int_equal(wrong.requests, 1);
    assert_true(wrong.answered);
}

static void a_refused_certificate_is_no_matter_of_patience(void **state)
{
    struct s3_call call = put_call();
    struct varve_error err;

    (void)state;
    say((struct line){.outcome = S3_HTTP_NOT_SENT, .fatal = true});
    assert_int_equal(s3_client_call(client, &call, &err), VARVE_E_STORE);
    assert_false(err.retriable);
    assert_int_equal(call.requests, 1);
}

static void a_store_never_reached_is_given_up_soon_and_one_known_later(void **state)
{
    struct s3_call call = put_call();
    struct varve_error err;
    struct s3_client_stats stats;

    (void)state;
    for (int i = 0; i < S3_RETRY_UNPROVEN_ATTEMPTS; i++)
        say((struct line){.outcome = S3_HTTP_NOT_SENT});
    assert_int_equal(s3_client_call(client, &call, &err), VARVE_E_STORE);
    assert_true(err.retriable);
    assert_int_equal(call.requests, S3_RETRY_UNPROVEN_ATTEMPTS);
    assert_non_null(strstr(err.msg, "after 3 requests: scripted failure"));
    well();
    assert_int_equal(s3_client_call(client, &call, &err), 0);
    for (int i = 0; i < 5; i++)
        say((struct line){.outcome = S3_HTTP_NOT_SENT});
    well();
    assert_int_equal(s3_client_call(client, &call, &err), 0);
    assert_int_equal(call.requests, 6);
    s3_client_stats(client, &stats);
    assert_int_equal(stats.requests, 3 + 1 + 6);
    assert_int_equal(stats.retries, 2 + 5);
}

static void a_call_with_little_patience_waits_no_longer_and_tries_no_later(void **state)
{
    struct s3_call call = put_call();
    struct varve_error err;

    (void)state;
    answer(503, "SlowDown");
    well();
    assert_int_equal(s3_client_call(client, &call, &err), 0);
    assert_int_equal(script.seen[0].first_byte_ms, 0); /* as usual */
    call.patience_ms = 60000;
    answer(503, "SlowDown");
    well();
    assert_int_equal(s3_client_call(client, &call, &err), 0);
    assert_in_range(script.seen[2].first_byte_ms, 1, 60000);
    assert_in_range(script.seen[3].first_byte_ms, 1, script.seen[2].first_byte_ms - 1);
    assert_int_equal(script.seen[3].connect_ms, script.seen[3].first_byte_ms);
    call.patience_ms = 1; /* over before many requests */
    for (int i = 0; i < 20; i++)
        answer(503, "SlowDown");
    assert_int_equal(s3_client_call(client, &call, &err), VARVE_E_STORE);
    assert_true(err.retriable);
    assert_in_range(call.requests, 1, 5);
    script.line_count = script.next;
}

static void the_clock_is_corrected_once(void **state)
{
    static const char date[] = "Tue, 15 Nov 2044 08:12:31 GMT";
    struct s3_call call = put_call();
    struct varve_error err;

    (void)state;
    assert_int_equal(s3_verdict_date("Thu, 01 Jan 1970 00:00:01 GMT"), 1000);
    assert_int_equal(s3_verdict_date("yesterday"), -1);
    assert_int_equal(s3_verdict_date("Thu, 01 Jan 0970 00:00:01 GMT"), -1);
    assert_int_equal(s3_verdict_date("Thu, 41 Jan 2020 00:00:01 GMT"), -1);
    assert_int_equal(s3_verdict_date("Thu, 01 Jan 2020 -1:00:01 GMT"), -1);
    assert_int_equal(s3_verdict_date("Thu, 01 Jan 2020 00:61:01 GMT"), -1);
    answer(403, "RequestTimeTooSkewed");
    script.lines[0].headers[S3_REPLY_DATE] = date;
    well();
    assert_int_equal(s3_client_call(client, &call, &err), 0);
    assert_null(strstr(script.seen[0].headers, "x-amz-date: 20441115T"));
    assert_non_null(strstr(script.seen[1].headers, "x-amz-date: 20441115T0812"));
    for (int i = 0; i < 2; i++) {
        answer(403, "RequestTimeTooSkewed");
        script.lines[2 + i].headers[S3_REPLY_DATE] = date;
    }
    assert_int_equal(s3_client_call(client, &call, &err), VARVE_E_STORE);
    assert_non_null(strstr(err.msg, "clocks"));
    assert_int_equal(call.requests, 2);
}

/* A HEAD's refusal does not say why. */
static void a_refused_head_with_another_time_is_a_matter_of_the_clock(void **state)
{
    struct s3_call call = {.method = "HEAD", .key = "some/key"};
    struct varve_error err;

    (void)state;
    for (int i = 0; i < 2; i++) { /* corrected at first; refused at the right time: denied */
        say((struct line){.outcome = S3_HTTP_REPLY, .status = 403});
        script.lines[i].headers[S3_REPLY_DATE] = "Tue, 15 Nov 2044 08:12:31 GMT";
    }
    assert_int_equal(s3_client_call(client, &call, &err), VARVE_E_DENIED);
    assert_int_equal(call.requests, 2);
    assert_non_null(strstr(script.seen[1].headers, "x-amz-date: 20441115T0812"));
}

static void expired_credentials_are_fetched_anew_once(void **state)
{
    struct s3_call call = put_call();
    struct varve_error err;

    (void)state;
    answer(400, "ExpiredToken");
    well();
    assert_int_equal(s3_client_call(client, &call, &err), 0);
    assert_int_equal(script.keys_expired, 1);
    assert_int_equal(script.keys_gets, 2);
    assert_non_null(strstr(script.seen[1].headers, "Credential=KEY2/"));
}

static void credentials_that_cannot_be_had_fail_the_call_with_their_own_words(void **state)
{
    struct s3_call call = put_call();
    struct varve_error err;

    (void)state;
    script.keys_rc = VARVE_E_DENIED;
    assert_int_equal(s3_client_call(client, &call, &err), VARVE_E_DENIED);
    assert_non_null(strstr(err.msg, "no credentials anywhere"));
    script.keys_rc = 0;
    script.expires_ms = 1; /* long ago: nothing to sign with, and no endless asking */
    assert_int_equal(s3_client_call(client, &call, &err), VARVE_E_DENIED);
    assert_int_equal(script.keys_gets, 2);
    assert_int_equal(call.requests, 0);
}

static void the_region_is_corrected_once(void **state)
{
    struct s3_call call = put_call();
    struct varve_error err;

    (void)state;
    answer(301, "PermanentRedirect");
    script.lines[0].headers[S3_REPLY_REGION] = "eu-west-9";
    well();
    assert_int_equal(s3_client_call(client, &call, &err), 0);
    assert_non_null(strstr(script.seen[0].headers, "/us-east-1/s3/"));
    assert_non_null(strstr(script.seen[1].headers, "/eu-west-9/s3/"));
    well(); /* kept for the next call */
    assert_int_equal(s3_client_call(client, &call, &err), 0);
    assert_non_null(strstr(script.seen[2].headers, "/eu-west-9/s3/"));
}

static void a_range_is_what_was_asked_for_or_an_error(void **state)
{
    char room[4];
    struct s3_call call = get_call(room, 4);
    struct varve_error err;

    (void)state;
    part("bytes 5-8/100", "abcd");
    assert_int_equal(s3_client_call(client, &call, &err), 0);
    assert_memory_equal(room, "abcd", 4);
    assert_non_null(strstr(script.seen[0].headers, "range: bytes=5-8\n"));
    part("bytes 5-6/7", "ab"); /* the object ends there: no second request */
    assert_int_equal(s3_client_call(client, &call, &err), VARVE_E_CORRUPT);
    assert_int_equal(call.requests, 1);
    answer(416, "InvalidRange");
    assert_int_equal(s3_client_call(client, &call, &err), VARVE_E_CORRUPT);
    say((struct line){.outcome = S3_HTTP_REPLY, .status = 200, .body = "abcd"});
    assert_int_equal(s3_client_call(client, &call, &err), VARVE_E_STORE);
    assert_non_null(strstr(err.msg, "does not honour ranges"));
    part("bytes 6-9/100", "abcd"); /* another range: the server may do better the next time */
    part("bytes 5-8/100", "efgh");
    assert_int_equal(s3_client_call(client, &call, &err), 0);
    assert_memory_equal(room, "efgh", 4);
    part("bytes 5-8/100", "abc"); /* the headers are right, and the body is short */
    part("bytes 5-8/100", "ijkl");
    assert_int_equal(s3_client_call(client, &call, &err), 0);
    assert_int_equal(call.requests, 2);
    assert_memory_equal(room, "ijkl", 4);
    for (int i = 0; i < 4; i++)
        part("bytes 6-9/100", "abcd");
    assert_int_equal(s3_client_call(client, &call, &err), VARVE_E_CORRUPT);
}

static void a_range_in_numbers_that_are_none_is_not_taken_for_the_right_one(void **state)
{
    static const char *const wrong[] = {"bytes 5--18446744073709551608/100",
                                        "bytes +5-8/100",
                                        "bytes 5-18446744073709551624/100",
                                        "bytes 5-8",
                                        "bytes 5-8 of 100",
                                        "bytes  5-8/100",
                                        "bytes 5-/100",
                                        "5-8/100"};
    char room[4];
    struct s3_call call = get_call(room, 4);
    struct varve_error err;

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        for (int k = 0; k < 4; k++)
            part(wrong[i], "abcd");
        assert_int_equal(s3_client_call(client, &call, &err), VARVE_E_CORRUPT);
        assert_int_equal(call.requests, 4);
    }
}

static void an_error_inside_a_200_is_an_error(void **state)
{
    struct s3_call call = put_call();
    struct varve_error err;

    (void)state;
    call.size_max = 4096;
    say((struct line){.outcome = S3_HTTP_REPLY,
                      .status = 200,
                      .body = "<Error><Code>InternalError</Code></Error>"});
    say((struct line){.outcome = S3_HTTP_REPLY, .status = 200, .body = "<Fine/>"});
    assert_int_equal(s3_client_call(client, &call, &err), 0);
    assert_int_equal(call.requests, 2);
    assert_true(call.uncertain);
    assert_string_equal((char *)call.body_memory, "<Fine/>");
    free(call.body_memory);
}

/* A proxy's page, or a store that did nothing: a put without its ETag may not have happened. */
static void a_put_whose_answer_has_no_etag_is_not_done(void **state)
{
    static char long_etag[S3_ETAG_SIZE + 1];
    struct s3_call call = put_call();
    struct varve_error err;

    (void)state;
    memset(long_etag, 'e', S3_ETAG_SIZE);
    call.wants_etag = true;
    well();
    assert_int_equal(s3_client_call(client, &call, &err), 0);
    say((struct line){.outcome = S3_HTTP_REPLY, .status = 200});
    say((struct line){.outcome = S3_HTTP_REPLY, .status = 200, .headers = {long_etag}});
    well();
    assert_int_equal(s3_client_call(client, &call, &err), 0);
    assert_int_equal(call.requests, 3);
    assert_true(call.uncertain);
    for (int i = 0; i < 4; i++)
        say((struct line){.outcome = S3_HTTP_REPLY, .status = 200});
    assert_int_equal(s3_client_call(client, &call, &err), VARVE_E_STORE);
    assert_string_equal(err.msg, "after 4 requests: the store's answer (200) has no ETag");
}

static void a_success_of_another_kind_is_none(void **state)
{
    static const int statuses[] = {204, 202, 299};
    struct s3_call call = put_call();
    struct varve_error err;

    (void)state;
    well();
    assert_int_equal(s3_client_call(client, &call, &err), 0);
    for (int i = 0; i < 3; i++)
        say((struct line){
            .outcome = S3_HTTP_REPLY, .status = statuses[i], .headers = {"\"etag\""}});
    well();
    assert_int_equal(s3_client_call(client, &call, &err), 0);
    assert_int_equal(call.requests, 4);
    call.method = "DELETE";
    say((struct line){.outcome = S3_HTTP_REPLY, .status = 204});
    assert_int_equal(s3_client_call(client, &call, &err), 0);
}

static void a_head_without_a_length_is_no_object_of_no_bytes(void **state)
{
    struct s3_call call = {.method = "HEAD", .key = "some/key", .wants_etag = true};
    struct varve_error err;

    (void)state;
    for (int i = 0; i < 3; i++)
        say((struct line){.outcome = S3_HTTP_REPLY,
                          .status = 200,
                          .headers = {"\"etag\""},
                          .length = i == 2 ? 77 : 0});
    assert_int_equal(s3_client_call(client, &call, &err), 0);
    assert_int_equal(call.requests, 3);
    assert_int_equal(call.object_size, 77);
}

static void a_304_without_a_condition_is_no_lost_condition(void **state)
{
    struct s3_call call = put_call();
    struct varve_error err;

    (void)state;
    say((struct line){.outcome = S3_HTTP_REPLY, .status = 304});
    assert_int_equal(s3_client_call(client, &call, &err), VARVE_E_STORE);
    s3_call_header(&call, "if-none-match", "*");
    say((struct line){.outcome = S3_HTTP_REPLY, .status = 304});
    assert_int_equal(s3_client_call(client, &call, &err), VARVE_E_PRECONDITION);
}

struct many {
    struct s3_call calls[8];
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int ended;
    int order[8];
};

static void many_done(struct s3_call *call)
{
    struct many *m = call->ctx;

    pthread_mutex_lock(&m->lock);
    m->order[m->ended++] = (int)(call - m->calls);
    pthread_cond_signal(&m->changed);
    pthread_mutex_unlock(&m->lock);
}

static void many_init(struct many *m)
{
    memset(m, 0, sizeof(*m));
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->changed, NULL);
    for (int i = 0; i < 8; i++) {
        m->calls[i] = put_call();
        m->calls[i].done = many_done;
        m->calls[i].ctx = m;
    }
}

static void many_wait(struct many *m, int count)
{
    pthread_mutex_lock(&m->lock);
    while (m->ended < count)
        pthread_cond_wait(&m->changed, &m->lock);
    pthread_mutex_unlock(&m->lock);
}

static void the_window_limits_and_slow_down_shrinks_it(void **state)
{
    struct many m;
    struct s3_client_stats stats;
    struct varve_error err;

    (void)state;
    teardown(NULL);
    assert_int_equal(setup_window(4), 0);
    many_init(&m);
    answer(503, "SlowDown");
    for (int i = 0; i < 8; i++)
        well();
    for (int i = 0; i < 8; i++)
        assert_int_equal(s3_client_start(client, &m.calls[i], &err), 0);
    many_wait(&m, 8);
    for (int i = 0; i < 8; i++)
        assert_int_equal(m.calls[i].rc, 0);
    assert_true(script.in_flight_max <= 4);
    s3_client_stats(client, &stats);
    assert_int_equal(stats.window, 2);
    assert_int_equal(stats.slow_downs, 1);
}

static void calls_are_cancelled_in_flight_waiting_and_at_the_end(void **state)
{
    struct many m;
    struct varve_error err;

    (void)state;
    teardown(NULL);
    assert_int_equal(setup_window(2), 0);
    many_init(&m);
    say((struct line){.hold = true});
    say((struct line){.hold = true});
    say((struct line){.hold = true});
    for (int i = 0; i < 5; i++)
        assert_int_equal(s3_client_start(client, &m.calls[i], &err), 0);
    pthread_mutex_lock(&script.lock);
    while (script.in_flight < 2)
        pthread_cond_wait(&script.changed, &script.lock);
    pthread_mutex_unlock(&script.lock);
    s3_client_cancel(client, &m.calls[4]); /* queued */
    many_wait(&m, 1);
    assert_int_equal(m.order[0], 4);
    s3_client_cancel(client, &m.calls[0]); /* in flight: the next takes its place */
    many_wait(&m, 2);
    assert_int_equal(m.order[1], 0);
    pthread_mutex_lock(&script.lock);
    while (script.in_flight < 2)
        pthread_cond_wait(&script.changed, &script.lock);
    pthread_mutex_unlock(&script.lock);
    client = s3_client_free(client);
    assert_int_equal(m.ended, 5);
    for (int i = 0; i < 5; i++)
        assert_int_equal(m.calls[i].rc, VARVE_E_CANCELLED);
}

static void a_slow_get_is_overtaken_by_its_hedge(void **state)
{
    char room[4];
    struct s3_call call = get_call(room, 4);
    struct s3_client_stats stats;
    struct varve_error err;

    (void)state;
    call.may_hedge = true;
    for (int i = 0; i < S3_HEDGE_SAMPLES; i++) {
        script.line_count = script.next = script.seen_count = 0;
        part("bytes 5-8/100", "abcd");
        assert_int_equal(s3_client_call(client, &call, &err), 0);
    }
    s3_client_stats(client, &stats);
    assert_int_equal(stats.hedges, 0);
    script.line_count = script.next = script.seen_count = 0;
    say((struct line){.hold = true});
    part("bytes 5-8/100", "hedg");
    memset(room, 0, sizeof(room));
    assert_int_equal(s3_client_call(client, &call, &err), 0);
    assert_memory_equal(room, "hedg", 4);
    assert_int_equal(call.requests, 2);
    s3_client_stats(client, &stats);
    assert_int_equal(stats.hedges, 1);
    assert_int_equal(script.in_flight, 0); /* the loser was cancelled before the call ended */
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_request_is_signed_and_its_answer_taken),
        CASE(what_may_pass_is_tried_again_and_remembered_as_uncertain),
        CASE(whoever_listens_hears_that_a_request_is_made_again_and_why),
        CASE(what_will_not_pass_is_said_at_once),
        CASE(a_change_denied_in_passing_is_tried_again),
        CASE(a_body_refused_for_its_checksum_is_sent_again_unless_it_was_made_wrong),
        CASE(a_refused_certificate_is_no_matter_of_patience),
        CASE(a_store_never_reached_is_given_up_soon_and_one_known_later),
        CASE(a_call_with_little_patience_waits_no_longer_and_tries_no_later),
        CASE(the_clock_is_corrected_once),
        CASE(a_refused_head_with_another_time_is_a_matter_of_the_clock),
        CASE(expired_credentials_are_fetched_anew_once),
        CASE(credentials_that_cannot_be_had_fail_the_call_with_their_own_words),
        CASE(the_region_is_corrected_once),
        CASE(a_range_is_what_was_asked_for_or_an_error),
        CASE(a_range_in_numbers_that_are_none_is_not_taken_for_the_right_one),
        CASE(an_error_inside_a_200_is_an_error),
        CASE(a_put_whose_answer_has_no_etag_is_not_done),
        CASE(a_success_of_another_kind_is_none),
        CASE(a_head_without_a_length_is_no_object_of_no_bytes),
        CASE(a_304_without_a_condition_is_no_lost_condition),
        CASE(the_window_limits_and_slow_down_shrinks_it),
        CASE(calls_are_cancelled_in_flight_waiting_and_at_the_end),
        CASE(a_slow_get_is_overtaken_by_its_hedge),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
