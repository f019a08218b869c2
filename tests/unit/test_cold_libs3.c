/*
 * The libs3 driver over a server of canned replies, on a loopback port, that cuts, lies and
 * refuses; and the loading of modules. What the driver does right is the conformance suite's to
 * show.
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cold/libs3/compat.h"
#include "cold/store.h"
#include "tests/support/env.h"
#include "tests/support/file.h"
#include "tests/support/retry.h"

#define TRIES 4 /* of the driver */
#define REQUEST_MAX 65536

struct canned {
    const char *request; /* what its first line must contain, all words; NULL ends the table */
    const char *and;     /* NULL: nothing more */
    const char *reply;
};

struct server {
    int fd;
    uint16_t port;
    pthread_t thread;
    const struct canned *table;
    atomic_uint requests;
};

static void send_all(int fd, const char *text)
{
    for (size_t left = strlen(text); left > 0;) {
        ssize_t n = send(fd, text, left, MSG_NOSIGNAL);

        if (n <= 0)
            return;
        text += n;
        left -= (size_t)n;
    }
}

/* Reads a request's head, and its body where there is one. */
static void read_request(int fd, char request[REQUEST_MAX])
{
    size_t size = 0, want = 0;

    for (;;) {
        const char *end, *length;
        ssize_t n = recv(fd, request + size, REQUEST_MAX - 1 - size, 0);

        if (n <= 0)
            break;
        size += (size_t)n;
        request[size] = '\0';
        end = strstr(request, "\r\n\r\n");
        if (!end)
            continue;
        length = strcasestr(request, "content-length:");
        if (want == 0 && strcasestr(request, "100-continue"))
            send_all(fd, "HTTP/1.1 100 Continue\r\n\r\n");
        want = (size_t)(end + 4 - request) + (length ? strtoul(length + 15, NULL, 10) : 0);
        if (size >= want)
            break;
    }
    request[size] = '\0';
    request[strcspn(request, "\r\n")] = '\0';
}

static void *serve(void *arg)
{
    struct server *s = arg;
    char *request = malloc(REQUEST_MAX);

    for (;;) {
        int fd = accept(s->fd, NULL, NULL);
        const struct canned *c = s->table;

        if (fd < 0)
            break;
        read_request(fd, request);
        atomic_fetch_add(&s->requests, 1);
        while (c->request && (!strstr(request, c->request) || (c->and &&!strstr(request, c->and))))
            c++;
        send_all(fd, c->request ? c->reply : "HTTP/1.1 400 Bad Request\r\n\r\n");
        shutdown(fd, SHUT_WR);
        close(fd);
    }
    free(request);
    return NULL;
}

static void server_start(struct server *s, const struct canned *table)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(a);

    *s = (struct server){.fd = socket(AF_INET, SOCK_STREAM, 0), .table = table};
    assert_int_equal(bind(s->fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(s->fd, 16), 0);
    assert_int_equal(getsockname(s->fd, (struct sockaddr *)&a, &size), 0);
    s->port = ntohs(a.sin_port);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void server_stop(struct server *s)
{
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->fd);
}

static int open_url(struct support_env *e, const char *url, struct cold_store **ret,
                    struct varve_error *err)
{
    const struct cold_store_options options = {0};

    return cold_store_open(&e->env, url, &options, ret, err);
}

static struct cold_store *open_at(struct support_env *e, const struct server *s)
{
    struct cold_store *store;
    struct varve_error err = {0};
    char url[256];

    snprintf(url, sizeof(url), "libs3://bucket/p?endpoint=http://127.0.0.1:%u&path_style=1",
             s->port);
    if (open_url(e, url, &store, &err) < 0)
        fail_msg("%s", err.msg);
    return store;
}

#define HEAD(status, length)                                                                       \
    "HTTP/1.1 " status "\r\nConnection: close\r\nETag: \"abc\"\r\n"                                \
    "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Length: " length "\r\n\r\n"
#define ERROR_XML(status, code)                                                                    \
    "HTTP/1.1 " status "\r\nConnection: close\r\nContent-Type: application/xml\r\n\r\n"            \
    "<?xml version=\"1.0\"?><Error><Code>" code "</Code><Message>so it is</Message></Error>"
#define LIST_BEGIN                                                                                 \
    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/xml\r\n\r\n"                \
    "<?xml version=\"1.0\"?><ListBucketResult><Name>bucket</Name>"                                 \
    "<IsTruncated>false</IsTruncated>"
#define LIST_KEY(key)                                                                              \
    "<Contents><Key>p/" key "</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"          \
    "<ETag>&quot;abc&quot;</ETag><Size>3</Size></Contents>"
#define LIST_END "</ListBucketResult>"

/* ---- bodies ---- */

static void a_body_that_breaks_off_is_no_success(void **state)
{
    static const struct canned table[] = {
        {"GET /bucket/p/k ", NULL, HEAD("206 Partial Content", "10") "01234"},
        {"GET /bucket/p/empty ", NULL, HEAD("200 OK", "10")},
        {NULL, NULL, NULL}};
    struct support_env *e = *state;
    struct server server;
    struct cold_store *s;
    struct varve_error err = {0};
    void *data = e;
    size_t size = 77;
    char buf[10];

    server_start(&server, table);
    s = open_at(e, &server);
    assert_int_equal(cold_store_get(s, "k", 0, 10, buf, &err), VARVE_E_STORE);
    assert_true(err.retriable);
    assert_non_null(strstr(err.msg, "get k in libs3://bucket/p"));
    assert_non_null(strstr(err.msg, "5 of 10 bytes"));
    assert_int_equal(atomic_load(&server.requests), TRIES);
    assert_int_equal(cold_store_read(s, "empty", 100, &data, &size, NULL, &err), VARVE_E_STORE);
    assert_true(err.retriable);
    assert_ptr_equal(data, e);
    assert_int_equal(size, 77);
    cold_store_close(s);
    server_stop(&server);
}

static void a_reply_of_another_length_than_the_range_is_told_apart(void **state)
{
    static const struct canned table[] = {
        {"GET /bucket/p/short ", NULL, HEAD("206 Partial Content", "5") "01234"},
        {"GET /bucket/p/all ", NULL, HEAD("200 OK", "20") "01234567890123456789"},
        {NULL, NULL, NULL}};
    struct support_env *e = *state;
    struct server server;
    struct cold_store *s;
    struct varve_error err = {0};
    char buf[11] = "..........";

    server_start(&server, table);
    s = open_at(e, &server);
    assert_int_equal(cold_store_get(s, "short", 0, 10, buf, &err), VARVE_E_CORRUPT);
    assert_false(err.retriable);
    assert_int_equal(atomic_load(&server.requests), 1);
    buf[5] = '!';
    assert_int_equal(cold_store_get(s, "all", 0, 5, buf, &err), VARVE_E_STORE);
    assert_int_equal(buf[5], '!'); /* not a byte beyond the room */
    cold_store_close(s);
    server_stop(&server);
}

static void a_store_that_holds_other_bytes_is_found_out(void **state)
{
#define ABC "900150983cd24fb0d6963f7d28e17f72" /* its MD5 */
    static const struct canned table[] = {
        {"PUT /bucket/p/", NULL,
         "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"},
        {"HEAD /bucket/p/md5 ", NULL,
         "HTTP/1.1 200 OK\r\nConnection: close\r\nETag: \"" ABC "\"\r\nContent-Length: 3\r\n\r\n"},
        {"HEAD /bucket/p/opaque ", NULL, HEAD("200 OK", "3")},
        {NULL, NULL, NULL}};
    struct support_env *e = *state;
    struct server server;
    struct cold_store *s;
    struct varve_error err = {0};
    struct cold_put how = {0};
    struct cold_etag etag;
    struct iovec abc[2] = {{(void *)(uintptr_t) "a", 1}, {(void *)(uintptr_t) "bc", 2}};
    struct iovec other = {(void *)(uintptr_t) "abd", 3}, longer = {(void *)(uintptr_t) "abcd", 4};

    server_start(&server, table);
    s = open_at(e, &server);
    assert_int_equal(cold_store_put(s, "md5", abc, 2, &how, &etag, &err), 0);
    assert_string_equal(etag.text, ABC);
    assert_int_equal(cold_store_put(s, "md5", &other, 1, &how, &etag, &err), VARVE_E_CORRUPT);
    assert_true(err.retriable);
    assert_int_equal(cold_store_put(s, "opaque", &other, 1, &how, &etag, &err), 0);
    assert_string_equal(etag.text, "abc");
    assert_int_equal(cold_store_put(s, "opaque", &longer, 1, &how, &etag, &err), VARVE_E_CORRUPT);
    cold_store_close(s);
    server_stop(&server);
#undef ABC
}

/* ---- what is not there ---- */

static void what_is_missing_is_not_guessed(void **state)
{
    static const struct canned table[] = {
        {"GET /bucket/p/key ", NULL, ERROR_XML("404 Not Found", "NoSuchKey")},
        {"GET /bucket/p/bucket ", NULL, ERROR_XML("404 Not Found", "NoSuchBucket")},
        {"GET /bucket/p/proxy ", NULL,
         "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"},
        {"GET /bucket/p/denied ", NULL, ERROR_XML("403 Forbidden", "AccessDenied")},
        {"GET /bucket/p/date ", NULL, ERROR_XML("403 Forbidden", "RequestTimeTooSkewed")},
        {"GET /bucket/p/slow ", NULL, ERROR_XML("503 Slow Down", "SlowDown")},
        {"GET /bucket/p/range ", NULL, ERROR_XML("416 Range Not Satisfiable", "InvalidRange")},
        {NULL, NULL, NULL}};
    static const struct {
        const char *key;
        int code;
        bool retriable;
    } expected[] = {
        {"key", VARVE_E_NOT_FOUND, false}, {"bucket", VARVE_E_STORE, false},
        {"proxy", VARVE_E_STORE, true},    {"denied", VARVE_E_DENIED, false},
        {"slow", VARVE_E_STORE, true},     {"range", VARVE_E_CORRUPT, false},
        {"date", VARVE_E_DENIED, true}, /* another thread's, mixed up by gmtime() */
    };
    struct support_env *e = *state;
    struct server server;
    struct cold_store *s;
    char buf[10];

    server_start(&server, table);
    s = open_at(e, &server);
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        struct varve_error err = {0};

        assert_int_equal(cold_store_get(s, expected[i].key, 0, 10, buf, &err), expected[i].code);
        assert_int_equal(err.retriable, expected[i].retriable);
        assert_null(strstr(err.msg, "SECRET"));
    }
    cold_store_close(s);
    server_stop(&server);
}

/* libs3 sends it as a '+', which is another key. */
static void a_key_with_a_space_is_refused(void **state)
{
    static const struct canned none[] = {{NULL, NULL, NULL}};
    struct support_env *e = *state;
    struct server server;
    struct cold_store *s;
    struct varve_error err = {0};
    struct cold_meta meta;

    server_start(&server, none);
    s = open_at(e, &server);
    assert_int_equal(cold_store_head(s, "a b", &meta, &err), VARVE_E_UNSUPPORTED);
    assert_int_equal(atomic_load(&server.requests), 0);
    cold_store_close(s);
    server_stop(&server);
}

static void a_head_without_a_body_asks_for_the_bucket(void **state)
{
    static const char missing[] = "HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n";
    static const struct canned well[] = {{"HEAD /bucket/p/k ", NULL, missing},
                                         {"GET /bucket", NULL, LIST_BEGIN LIST_END},
                                         {NULL, NULL, NULL}};
    static const struct canned gone[] = {
        {"HEAD /bucket/p/k ", NULL, missing},
        {"GET /bucket", NULL, ERROR_XML("404 Not Found", "NoSuchBucket")},
        {NULL, NULL, NULL}};
    struct support_env *e = *state;
    struct server server;
    struct cold_store *s;
    struct cold_meta meta;
    struct varve_error err = {0};

    server_start(&server, well);
    s = open_at(e, &server);
    assert_int_equal(cold_store_head(s, "k", &meta, &err), VARVE_E_NOT_FOUND);
    assert_int_equal(atomic_load(&server.requests), 2);
    cold_store_close(s);
    server_stop(&server);
    server_start(&server, gone);
    s = open_at(e, &server);
    assert_int_equal(cold_store_head(s, "k", &meta, &err), VARVE_E_STORE);
    assert_non_null(strstr(err.msg, "NoSuchBucket"));
    cold_store_close(s);
    server_stop(&server);
}

static void a_listing_that_breaks_off_is_gone_on_with(void **state)
{
    static const struct canned table[] = {
        {"GET /bucket", "marker=p/c", LIST_BEGIN LIST_END},
        {"GET /bucket", "marker=p/a", LIST_BEGIN LIST_KEY("b") LIST_KEY("c") LIST_END},
        {"GET /bucket", "prefix=p/", LIST_BEGIN LIST_KEY("a") "<Contents><Key>p/b</Key><LastModif"},
        {NULL, NULL, NULL}};
    struct support_env *e = *state;
    struct support_keys keys = {0};
    struct server server;
    struct cold_store *s;
    struct varve_error err = {0};

    server_start(&server, table);
    s = open_at(e, &server);
    if (support_retry_list_all(s, "", &keys, &err) != 0)
        fail_msg("%s", err.msg);
    assert_int_equal(keys.count, 3);
    assert_string_equal(keys.text[0], "a");
    assert_string_equal(keys.text[1], "b");
    assert_string_equal(keys.text[2], "c");
    support_keys_deinit(&keys);
    cold_store_close(s);
    server_stop(&server);
}

static void a_server_that_is_away_is_retriable(void **state)
{
    static const struct canned none[] = {{NULL, NULL, NULL}};
    struct support_env *e = *state;
    struct server server;
    struct cold_store *s;
    struct varve_error err = {0};
    struct cold_meta meta;

    server_start(&server, none);
    s = open_at(e, &server);
    server_stop(&server);
    assert_int_equal(cold_store_head(s, "k", &meta, &err), VARVE_E_STORE);
    assert_true(err.retriable);
    cold_store_close(s);
}

/* ---- opening ---- */

static void wrong_urls_are_refused_in_words(void **state)
{
    static const struct {
        const char *url;
        const char *word;
    } wrong[] = {
        {"libs3://bucket/p", "endpoint"},
        {"libs3://bucket/a%20b?endpoint=http://127.0.0.1:1", "space"},
        {"libs3:///p?endpoint=http://127.0.0.1:1", "bucket"},
        {"libs3://bucket/p?endpoint=127.0.0.1:1", "endpoint"},
        {"libs3://bucket/p?endpoint=http://127.0.0.1:1/x", "host"},
        {"libs3://bucket/p?endpoint=http://127.0.0.1:1&path_style=yes", "path_style"},
        {"libs3://bucket/p?endpoint=http://127.0.0.1:1&fences=none", "fences"},
        {"libs3://bucket/p?endpoint=http://127.0.0.1:1&fencing=some", "fencing"},
    };
    struct support_env *e = *state;
    struct cold_store *s;
    struct varve_error err = {0};

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(open_url(e, wrong[i].url, &s, &err), VARVE_E_INVALID);
        assert_non_null(strstr(err.msg, wrong[i].word));
    }
    if (!LIBS3_CHECKS_CERTIFICATES)
        assert_int_equal(open_url(e, "libs3://bucket/p?endpoint=https://127.0.0.1:1", &s, &err),
                         VARVE_E_UNSUPPORTED);
    unsetenv("AWS_SECRET_ACCESS_KEY");
    assert_int_equal(open_url(e, "libs3://bucket/p?endpoint=http://127.0.0.1:1", &s, &err),
                     VARVE_E_DENIED);
    setenv("AWS_SECRET_ACCESS_KEY", "SECRET", 1);
}

static void a_log_needs_fencing_or_the_word_none(void **state)
{
    struct support_env *e = *state;
    struct cold_store *s;
    struct varve_error err = {0};

    assert_int_equal(open_url(e, "libs3://bucket/p?endpoint=http://127.0.0.1:1", &s, &err), 0);
    assert_int_equal(cold_store_check_fencing(s, &err), VARVE_E_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "fencing=none"));
    cold_store_close(s);
    assert_int_equal(
        open_url(e, "libs3://bucket/p?endpoint=http://127.0.0.1:1&fencing=none", &s, &err), 0);
    assert_int_equal(cold_store_check_fencing(s, &err), 0);
    cold_store_close(s);
}

/* A module, copied, with the version in it changed. */
static void copy_as_another_version(const char *from, const char *to)
{
    static const char version[] = VARVE_TEST_VERSION;
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    static char data[8 << 20];
    size_t size, changed = 0;

    assert_non_null(in);
    assert_non_null(out);
    size = fread(data, 1, sizeof(data), in);
    assert_true(size > 0 && size < sizeof(data));
    for (size_t i = 0; i + sizeof(version) <= size; i++)
        if (memcmp(data + i, version, sizeof(version)) == 0) {
            data[i] = '9';
            changed++;
        }
    assert_true(changed > 0);
    assert_int_equal(fwrite(data, 1, size, out), size);
    fclose(in);
    fclose(out);
}

static void modules_are_taken_from_one_place_and_one_build(void **state)
{
    static const char url[] = "libs3://bucket/p?endpoint=http://127.0.0.1:1";
    struct support_env *e = *state;
    char *dir = strdup(getenv("VARVE_PLUGIN_DIR"));
    const char *other_dir = support_tmpdir_path(e->dir, "other");
    const char *path = support_tmpdir_path(e->dir, "varve-libs3.so");
    const char *other_path = support_tmpdir_path(e->dir, "other/varve-libs3.so");
    char *module;
    struct cold_store *s;
    struct varve_error err = {0};
    Dl_info cmocka;

    assert_true(asprintf(&module, "%s/varve-libs3.so", dir) > 0);
    setenv("VARVE_PLUGIN_DIR", ".", 1);
    assert_int_equal(open_url(e, url, &s, &err), VARVE_E_INVALID);
    setenv("VARVE_PLUGIN_DIR", support_tmpdir_root(e->dir), 1);
    assert_int_equal(open_url(e, url, &s, &err), VARVE_E_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "cannot be loaded"));

    assert_int_not_equal(dladdr((void *)(uintptr_t)_cmocka_run_group_tests, &cmocka), 0);
    assert_int_equal(symlink(cmocka.dli_fname, path), 0);
    assert_int_equal(open_url(e, url, &s, &err), VARVE_E_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "no driver of varve"));

    assert_int_equal(mkdir(other_dir, 0700), 0);
    copy_as_another_version(module, other_path);
    setenv("VARVE_PLUGIN_DIR", other_dir, 1);
    assert_int_equal(open_url(e, url, &s, &err), VARVE_E_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "another build"));

    setenv("VARVE_PLUGIN_DIR", dir, 1);
    assert_int_equal(open_url(e, url, &s, &err), 0);
    cold_store_close(s);
    free(module);
    free(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_env_test(a_body_that_breaks_off_is_no_success),
        support_env_test(a_reply_of_another_length_than_the_range_is_told_apart),
        support_env_test(a_store_that_holds_other_bytes_is_found_out),
        support_env_test(what_is_missing_is_not_guessed),
        support_env_test(a_key_with_a_space_is_refused),
        support_env_test(a_head_without_a_body_asks_for_the_bucket),
        support_env_test(a_listing_that_breaks_off_is_gone_on_with),
        support_env_test(a_server_that_is_away_is_retriable),
        support_env_test(wrong_urls_are_refused_in_words),
        support_env_test(a_log_needs_fencing_or_the_word_none),
        support_env_test(modules_are_taken_from_one_place_and_one_build),
    };

    setenv("AWS_ACCESS_KEY_ID", "AK", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "SECRET", 1);
    unsetenv("AWS_SESSION_TOKEN");
    unsetenv("http_proxy");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
