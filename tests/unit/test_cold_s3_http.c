/* The HTTP engine against a server of a few lines that answers as its path says. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "cold/s3/http.h"

/* A request as it came. */
struct seen {
    char head[8192];
    char *body;
    size_t body_size;
};

struct server {
    int listener;
    int port;
    pthread_t thread;
    pthread_mutex_t lock;
    struct seen last; /* under the lock */
    _Atomic int connections;
    _Atomic int open; /* connections that are served */
    _Atomic int requests;
};

/* Reads a request; false: the client is gone. */
static bool server_read(int fd, struct seen *ret)
{
    size_t size = 0, want = 0;
    char *end = NULL;
    const char *length;

    while (!end) {
        ssize_t n = recv(fd, ret->head + size, sizeof(ret->head) - 1 - size, 0);

        if (n <= 0)
            return false;
        size += (size_t)n;
        ret->head[size] = '\0';
        end = strstr(ret->head, "\r\n\r\n");
    }
    length = strstr(ret->head, "Content-Length: ");
    if (length)
        want = strtoull(length + 16, NULL, 10);
    free(ret->body);
    ret->body = malloc(want + 1);
    ret->body_size = size - (size_t)(end + 4 - ret->head);
    memcpy(ret->body, end + 4, ret->body_size);
    end[2] = '\0';
    while (ret->body_size < want) {
        ssize_t n = recv(fd, ret->body + ret->body_size, want - ret->body_size, 0);

        if (n <= 0)
            return false;
        ret->body_size += (size_t)n;
    }
    return true;
}

/* For the test that asks what came; before the answer goes out. */
static void server_note(struct server *s, const struct seen *seen)
{
    pthread_mutex_lock(&s->lock);
    free(s->last.body);
    s->last = *seen;
    s->last.body = malloc(seen->body_size + 1);
    memcpy(s->last.body, seen->body, seen->body_size);
    s->requests++;
    pthread_mutex_unlock(&s->lock);
}

static void server_send(int fd, const char *text, size_t size)
{
    while (size > 0) {
        ssize_t n = send(fd, text, size, MSG_NOSIGNAL);

        if (n <= 0)
            return;
        text += n;
        size -= (size_t)n;
    }
}

static void server_say(int fd, const char *text)
{
    server_send(fd, text, strlen(text));
}

static void server_wait_for_the_end(int fd)
{
    char byte;

    while (recv(fd, &byte, 1, 0) > 0)
        ;
}

/* True: the connection stays open. */
static bool server_answer(const struct seen *seen, int fd)
{
    const char *path = strchr(seen->head, ' ') + 1;
    bool head = strncmp(seen->head, "HEAD", 4) == 0;

    if (strncmp(path, "/ok", 3) == 0) {
        server_say(fd, "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 10\r\n\r\n");
        if (!head)
            server_say(fd, "0123456789");
        return true;
    }
    if (strncmp(path, "/continue", 9) == 0) {
        server_say(fd, "HTTP/1.1 100 Continue\r\nETag: \"wrong\"\r\n\r\n"
                       "HTTP/1.1 204 No Content\r\neTaG:  \"right\" \r\n\r\n");
        return true;
    }
    if (strncmp(path, "/folded", 7) == 0) {
        server_say(fd, "HTTP/1.1 200 OK\r\n\tfolded: from where?\r\nContent-Length: 0\r\n\r\n");
        return true;
    }
    if (strncmp(path, "/half-head", 10) == 0) {
        server_say(fd, "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Le");
        return false;
    }
    if (strncmp(path, "/trailer", 8) == 0) {
        server_say(fd, "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nTransfer-Encoding: chunked\r\n\r\n"
                       "3\r\nabc\r\n0\r\nETag: \"trailer\"\r\n\r\n");
        return true;
    }
    if (strncmp(path, "/cut", 4) == 0) {
        server_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n012345");
        return false;
    }
    if (strncmp(path, "/silent", 7) == 0) {
        server_wait_for_the_end(fd);
        return false;
    }
    if (strncmp(path, "/stall", 6) == 0) {
        server_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n012345");
        server_wait_for_the_end(fd);
        return false;
    }
    if (strncmp(path, "/error", 6) == 0) {
        server_say(fd, "HTTP/1.1 503 Slow\r\nContent-Length: 5\r\n\r\nsorry");
        return true;
    }
    if (strncmp(path, "/endless", 8) == 0) {
        char page[4096];

        memset(page, 'x', sizeof(page));
        server_say(fd, path[8] == 'e' ? "HTTP/1.1 500 No\r\n\r\n" : "HTTP/1.1 200 OK\r\n\r\n");
        for (int i = 0; i < 100000; i++)
            if (send(fd, page, sizeof(page), MSG_NOSIGNAL) <= 0)
                break;
        return false;
    }
    if (strncmp(path, "/headers", 8) == 0) {
        server_say(fd, "HTTP/1.1 200 OK\r\n");
        for (int i = 0; i < 10000; i++)
            if (send(fd, "X-Filler: 0123456789012345678901234567890\r\n", 43, MSG_NOSIGNAL) <= 0)
                break;
        return false;
    }
    if (strncmp(path, "/redirect", 9) == 0) {
        server_say(fd, "HTTP/1.1 301 Moved\r\nLocation: /ok\r\nContent-Length: 0\r\n\r\n");
        return true;
    }
    return false; /* "/close": no answer at all */
}

static void *server_connection(void *arg)
{
    struct server *s = ((void **)arg)[0];
    int fd = (int)(intptr_t)((void **)arg)[1];
    struct seen seen = {.body = NULL};

    free(arg);
    while (server_read(fd, &seen)) {
        server_note(s, &seen);
        if (!server_answer(&seen, fd))
            break;
    }
    free(seen.body);
    close(fd);
    s->open--;
    return NULL;
}

static void *server_run(void *arg)
{
    struct server *s = arg;
    int fd;

    while ((fd = accept(s->listener, NULL, NULL)) >= 0) {
        void **pair = malloc(2 * sizeof(*pair));
        pthread_t thread;

        pair[0] = s;
        pair[1] = (void *)(intptr_t)fd;
        s->connections++;
        s->open++;
        pthread_create(&thread, NULL, server_connection, pair);
        pthread_detach(thread);
    }
    return NULL;
}

static struct base_env env;
static struct server server = {.lock = PTHREAD_MUTEX_INITIALIZER};
static struct s3_http *http;

static int group_setup(void **state)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(a);

    (void)state;
    setenv("no_proxy", "*", 1);
    base_env_init(&env);
    server.listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(server.listener, (struct sockaddr *)&a, size), 0);
    assert_int_equal(listen(server.listener, 64), 0);
    assert_int_equal(getsockname(server.listener, (struct sockaddr *)&a, &size), 0);
    server.port = ntohs(a.sin_port);
    return pthread_create(&server.thread, NULL, server_run, &server);
}

static int group_teardown(void **state)
{
    (void)state;
    shutdown(server.listener, SHUT_RDWR);
    pthread_join(server.thread, NULL);
    close(server.listener);
    free(server.last.body);
    return 0;
}

/*
 * What the test before had under way may come to the server late: a connection that is answered was
 * accepted behind all of them, and then each is served to its end.
 */
static void server_settle(void)
{
    static const char text[] = "GET /ok HTTP/1.1\r\nHost: settle\r\n\r\n";
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)server.port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    char reply[16];

    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    server_send(fd, text, sizeof(text) - 1);
    assert_true(recv(fd, reply, sizeof(reply), 0) > 0);
    close(fd);
    for (int i = 0; i < 10000 && server.open > 0; i++)
        usleep(1000);
    assert_int_equal(server.open, 0);
}

static int setup(void **state)
{
    const struct s3_http_options options = {
        .connections_max = 4, .first_byte_timeout_ms = 300, .stall_timeout_ms = 300};
    struct varve_error err;

    (void)state;
    server_settle();
    server.connections = server.requests = 0;
    if (s3_http_new(&env, &options, &http, &err) < 0)
        fail_msg("%s", err.msg);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    http = s3_http_free(http);
    return 0;
}

static const char *const want[] = {"etag", NULL};

/* Requests that are under way at the same time have URLs of their own. */
static char urls[64][128];
static unsigned urls_used;

static struct s3_http_request request(const char *method, const char *path)
{
    char *url = urls[urls_used++ % 64];

    snprintf(url, sizeof(urls[0]), "http://127.0.0.1:%d%s", server.port, path);
    return (struct s3_http_request){
        .method = method, .url = url, .want_headers = want, .size_max = 4096};
}

static void call(struct s3_http_request *r, struct s3_http_reply *reply)
{
    struct varve_error err;

    if (s3_http_call(http, r, reply, &err) < 0)
        fail_msg("%s", err.msg);
}

static enum s3_http_outcome outcome_of(struct s3_http_request *r)
{
    struct s3_http_reply reply;
    enum s3_http_outcome outcome;

    call(r, &reply);
    outcome = reply.outcome;
    free(r->body_memory);
    s3_http_reply_deinit(&reply);
    return outcome;
}

static void a_direct_request_passes_the_proxy_by(void **state)
{
    struct s3_http_request r = request("GET", "/ok");

    (void)state;
    setenv("no_proxy", "", 1);
    setenv("http_proxy", "http://127.0.0.1:1", 1); /* nobody is there */
    assert_int_equal(outcome_of(&r), S3_HTTP_NOT_SENT);
    r.direct = true;
    assert_int_equal(outcome_of(&r), S3_HTTP_REPLY);
    r.direct = false;
    assert_int_equal(outcome_of(&r), S3_HTTP_NOT_SENT);
    unsetenv("http_proxy");
    setenv("no_proxy", "*", 1);
}

/* A listener that accepts nobody and whose queue is full: a connection is never made. */
static void a_request_may_connect_in_less_time_than_others(void **state)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fds[4], listener = socket(AF_INET, SOCK_STREAM, 0);
    struct s3_http_request r = request("GET", "/ok");
    socklen_t size = sizeof(a);
    struct s3_http_reply reply;
    char unanswered[64];

    (void)state;
    assert_int_equal(bind(listener, (struct sockaddr *)&a, size), 0);
    assert_int_equal(listen(listener, 0), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &size), 0);
    for (int i = 0; i < 4; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(fds[i], (struct sockaddr *)&a, size);
    }
    snprintf(unanswered, sizeof(unanswered), "http://127.0.0.1:%d/", ntohs(a.sin_port));
    r.url = unanswered;
    r.connect_timeout_ms = 200;
    call(&r, &reply);
    assert_int_equal(reply.outcome, S3_HTTP_NOT_SENT);
    assert_true(reply.retriable);
    assert_true(reply.total_ns < INT64_C(4000000000)); /* the usual deadline is 5 s */
    s3_http_reply_deinit(&reply);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    close(listener);
}

static void a_body_comes_into_the_room_or_into_fresh_memory(void **state)
{
    struct s3_http_request r = request("GET", "/ok");
    struct s3_http_reply reply;
    char room[11] = "";

    (void)state;
    call(&r, &reply);
    assert_int_equal(reply.outcome, S3_HTTP_REPLY);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.headers[0], "\"e\"");
    assert_int_equal(r.body_memory_size, 10);
    assert_memory_equal(r.body_memory, "0123456789", 10);
    free(r.body_memory);
    s3_http_reply_deinit(&reply);
    r.room = room;
    r.room_size = 10;
    call(&r, &reply);
    assert_int_equal(reply.outcome, S3_HTTP_REPLY);
    assert_string_equal(room, "0123456789");
    assert_null(r.body_memory);
    s3_http_reply_deinit(&reply);
    assert_int_equal(server.connections, 1); /* kept */
}

static void a_body_beyond_the_room_is_truncated_and_nothing_is_written_there(void **state)
{
    struct s3_http_request r = request("GET", "/ok");
    struct s3_http_reply reply;
    char room[10] = "abcdefghi";

    (void)state;
    r.room = room;
    r.room_size = 9;
    call(&r, &reply);
    assert_int_equal(reply.outcome, S3_HTTP_TRUNCATED);
    assert_true(reply.size > 9);
    assert_int_equal(room[9], '\0');
    s3_http_reply_deinit(&reply);
}

static void a_head_has_a_length_and_no_body(void **state)
{
    struct s3_http_request r = request("HEAD", "/ok");
    struct s3_http_reply reply;

    (void)state;
    call(&r, &reply);
    assert_int_equal(reply.outcome, S3_HTTP_REPLY);
    assert_int_equal(reply.content_length, 10);
    assert_int_equal(reply.size, 0);
    s3_http_reply_deinit(&reply);
}

static void a_put_of_any_pieces_arrives_whole(void **state)
{
    size_t large = 3 << 20;
    char *data = malloc(large);
    struct iovec pieces[4];
    struct s3_http_reply reply;

    (void)state;
    for (size_t i = 0; i < large; i++)
        data[i] = (char)(i * 31 + i / 1000);
    for (int kind = 0; kind < 4; kind++) {
        struct s3_http_request r = request("PUT", "/ok");
        size_t size = kind == 0 ? 0 : kind == 1 ? 1000 : large;

        pieces[0] = (struct iovec){data, size / 3};
        pieces[1] = (struct iovec){NULL, 0};
        pieces[2] = (struct iovec){data + size / 3, 1 < size ? 1 : size};
        pieces[3] = (struct iovec){data + size / 3 + pieces[2].iov_len,
                                   size - size / 3 - pieces[2].iov_len};
        if (kind == 3)
            pieces[0] = (struct iovec){data, size};
        r.body = pieces;
        r.body_count = kind == 3 ? 1 : 4;
        call(&r, &reply);
        assert_int_equal(reply.outcome, S3_HTTP_REPLY);
        pthread_mutex_lock(&server.lock);
        assert_int_equal(server.last.body_size, size);
        assert_memory_equal(server.last.body, data, size);
        assert_null(strstr(server.last.head, "Expect"));
        assert_null(strstr(server.last.head, "urlencoded"));
        pthread_mutex_unlock(&server.lock);
        free(r.body_memory);
        s3_http_reply_deinit(&reply);
    }
    free(data);
}

static void headers_are_those_of_the_last_reply_whatever_their_case(void **state)
{
    struct s3_http_request r = request("PUT", "/continue");
    struct s3_http_reply reply;

    (void)state;
    call(&r, &reply);
    assert_int_equal(reply.status, 204);
    assert_string_equal(reply.headers[0], "\"right\"");
    s3_http_reply_deinit(&reply);
}

/* libcurl before 8.1.1 writes into the headers of the reply before, which are freed: under ASan
 * that shows. */
static void a_first_header_that_goes_on_from_none_is_not_written_into_the_reply_before(void **state)
{
    char room[10];

    (void)state;
    for (int i = 0; i < 4; i++) {
        struct s3_http_request r = request("GET", i % 2 == 0 ? "/ok" : "/folded");
        struct s3_http_reply reply;

        r.room = room;
        r.room_size = sizeof(room);
        call(&r, &reply);
        if (i % 2 == 0)
            assert_int_equal(reply.outcome, S3_HTTP_REPLY);
        s3_http_reply_deinit(&reply);
    }
}

static void an_error_keeps_its_body_and_a_redirect_is_not_followed(void **state)
{
    struct s3_http_request r = request("GET", "/error");
    struct s3_http_reply reply;

    (void)state;
    call(&r, &reply);
    assert_int_equal(reply.outcome, S3_HTTP_REPLY);
    assert_int_equal(reply.status, 503);
    assert_int_equal(reply.error_size, 5);
    assert_memory_equal(reply.error_body, "sorry", 5);
    s3_http_reply_deinit(&reply);
    r = request("GET", "/redirect");
    call(&r, &reply);
    assert_int_equal(reply.status, 301);
    assert_int_equal(server.requests, 2);
    s3_http_reply_deinit(&reply);
}

static void replies_that_never_end_are_cut_off(void **state)
{
    static const struct {
        const char *path;
        enum s3_http_outcome outcome;
    } cases[] = {{"/endless", S3_HTTP_TRUNCATED},
                 {"/endlesserror", S3_HTTP_REPLY},
                 {"/headers", S3_HTTP_UNKNOWN}};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct s3_http_request r = request("GET", cases[i].path);
        struct s3_http_reply reply;

        call(&r, &reply);
        assert_int_equal(reply.outcome, cases[i].outcome);
        assert_true(reply.error_size <= S3_HTTP_ERROR_BODY_MAX);
        assert_null(r.body_memory);
        s3_http_reply_deinit(&reply);
    }
}

static void a_cut_body_is_truncated(void **state)
{
    struct s3_http_request r = request("GET", "/cut");
    struct s3_http_reply reply;

    (void)state;
    call(&r, &reply);
    assert_int_equal(reply.outcome, S3_HTTP_TRUNCATED);
    assert_true(reply.retriable);
    assert_int_equal(reply.size, 6);
    s3_http_reply_deinit(&reply);
}

static void a_connection_that_ends_among_the_headers_is_no_empty_object(void **state)
{
    static const char *const methods[] = {"GET", "HEAD", "PUT", "DELETE"};

    (void)state;
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        struct s3_http_request r = request(methods[i], "/half-head");
        struct s3_http_reply reply;

        call(&r, &reply);
        assert_int_equal(reply.outcome, S3_HTTP_UNKNOWN);
        assert_true(reply.retriable);
        assert_string_equal(reply.message, "the reply ended among its headers");
        s3_http_reply_deinit(&reply);
    }
}

static void a_trailer_is_no_header(void **state)
{
    struct s3_http_request r = request("GET", "/trailer");
    struct s3_http_reply reply;

    (void)state;
    call(&r, &reply);
    assert_int_equal(reply.outcome, S3_HTTP_REPLY);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.headers[0], "\"e\"");
    assert_int_equal(r.body_memory_size, 3);
    free(r.body_memory);
    s3_http_reply_deinit(&reply);
}

static void silence_and_stalls_have_their_own_deadlines(void **state)
{
    static const char *const paths[] = {"/silent", "/stall"};
    static const char *const words[] = {"first byte", "stalled"};

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct s3_http_request r = request("GET", paths[i]);
        struct s3_http_reply reply;

        call(&r, &reply);
        assert_int_equal(reply.outcome, S3_HTTP_UNKNOWN);
        assert_non_null(strstr(reply.message, words[i]));
        assert_true(reply.total_ns >= 300000000);
        s3_http_reply_deinit(&reply);
    }
}

static void nobody_there_means_nothing_was_sent(void **state)
{
    struct s3_http_request r = request("PUT", "/ok");
    struct s3_http_reply reply;

    (void)state;
    r.url = "http://127.0.0.1:1/x?secret=query";
    call(&r, &reply);
    assert_int_equal(reply.outcome, S3_HTTP_NOT_SENT);
    assert_true(reply.retriable);
    assert_null(strstr(reply.message, "secret"));
    s3_http_reply_deinit(&reply);
}

/* X2: libcurl would send it a second time by itself. */
static void a_change_over_a_dead_connection_is_not_sent_twice(void **state)
{
    struct s3_http_request r = request("PUT", "/ok");
    struct s3_http_reply reply;

    (void)state;
    call(&r, &reply);
    free(r.body_memory);
    s3_http_reply_deinit(&reply);
    r = request("PUT", "/close");
    call(&r, &reply);
    assert_int_equal(reply.outcome, S3_HTTP_UNKNOWN);
    assert_true(reply.retriable);
    assert_int_equal(server.requests, 2);
    s3_http_reply_deinit(&reply);
}

/*
 * The resolver of this program, libcurl's included: the name of a host that has three addresses,
 * of which two have nobody; or those of any other name, which are numbers here.
 */
#define EXPORTED __attribute__((visibility("default")))

struct answer {
    struct addrinfo info; /* first */
    struct sockaddr_in address;
};

static const char *const dead[] = {"127.0.0.2", "127.0.0.3"};

EXPORTED void freeaddrinfo(struct addrinfo *list)
{
    while (list) {
        struct addrinfo *next = list->ai_next;

        free(list);
        list = next;
    }
}

EXPORTED int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                         struct addrinfo **ret)
{
    bool three = strcmp(name, "three.example") == 0;
    const char *addresses[] = {three ? dead[0] : name, dead[1], "127.0.0.1"};

    (void)hints;
    *ret = NULL;
    for (int i = three ? 2 : 0; i >= 0; i--) {
        struct answer *a = calloc(1, sizeof(*a));

        a->address.sin_family = AF_INET;
        a->address.sin_port = htons((uint16_t)(service ? atoi(service) : 0));
        if (inet_pton(AF_INET, addresses[i], &a->address.sin_addr) != 1) {
            free(a);
            return EAI_NONAME;
        }
        a->info = (struct addrinfo){.ai_family = AF_INET,
                                    .ai_socktype = SOCK_STREAM,
                                    .ai_addrlen = sizeof(a->address),
                                    .ai_addr = (struct sockaddr *)&a->address,
                                    .ai_next = *ret};
        *ret = &a->info;
    }
    return 0;
}

/* A listener of whom the kernel takes no more connections: who knocks hears nothing. */
static void make_silent(const char *address, int fds[4])
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)server.port)};

    inet_pton(AF_INET, address, &a.sin_addr);
    fds[0] = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fds[0], (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fds[0], 0), 0);
    for (int i = 1; i < 4; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(fds[i], (struct sockaddr *)&a, sizeof(a));
    }
}

static int64_t seconds_to_the_third(int connect_timeout_ms)
{
    const struct s3_http_options options = {.connect_timeout_ms = connect_timeout_ms};
    int64_t from = env.clock->mono_ns(env.clock->ctx);
    struct s3_http_request r = request("GET", "/ok");
    struct varve_error err;
    char url[100];

    http = s3_http_free(http);
    assert_int_equal(s3_http_new(&env, &options, &http, &err), 0);
    snprintf(url, sizeof(url), "http://three.example:%d/ok", server.port);
    r.url = url;
    assert_int_equal(outcome_of(&r), S3_HTTP_REPLY);
    return (env.clock->mono_ns(env.clock->ctx) - from) / 1000000000;
}

static void the_next_address_is_tried_when_one_refuses(void **state)
{
    (void)state;
    assert_in_range(seconds_to_the_third(60000), 0, 9);
}

static void the_next_address_is_tried_when_one_is_silent(void **state)
{
    int fds[4];

    (void)state;
    make_silent(dead[0], fds);
    seconds_to_the_third(5000);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
}

static void no_child_inherits_a_connection(void **state)
{
    struct s3_http_request r = request("GET", "/ok");
    struct sockaddr_in a;
    int found = 0;

    (void)state;
    assert_int_equal(outcome_of(&r), S3_HTTP_REPLY);
    for (int fd = 0; fd < 256; fd++) {
        socklen_t size = sizeof(a);

        if (getpeername(fd, (struct sockaddr *)&a, &size) < 0 || a.sin_family != AF_INET ||
            a.sin_port != htons((uint16_t)server.port))
            continue;
        found++;
        assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    }
    assert_int_equal(found, 1);
}

struct ends {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int count;
    enum s3_http_outcome outcome[16];
    int order[16];
};

static void ends_done(struct s3_http_request *r, struct s3_http_reply *reply)
{
    struct ends *e = r->ctx;

    pthread_mutex_lock(&e->lock);
    e->outcome[e->count] = reply->outcome;
    e->order[e->count++] = r->priority;
    pthread_cond_signal(&e->changed);
    pthread_mutex_unlock(&e->lock);
    free(r->body_memory);
}

static void ends_wait(struct ends *e, int count)
{
    pthread_mutex_lock(&e->lock);
    while (e->count < count)
        pthread_cond_wait(&e->changed, &e->lock);
    pthread_mutex_unlock(&e->lock);
}

static void requests_are_cancelled_one_by_one_and_all_when_freed(void **state)
{
    const struct s3_http_options options = {.connections_max = 2, .threads = 1};
    struct ends e = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    struct s3_http_request r[6];
    struct s3_http *own;
    struct varve_error err;

    (void)state;
    assert_int_equal(s3_http_new(&env, &options, &own, &err), 0);
    for (int i = 0; i < 6; i++) { /* two in flight, four queued */
        r[i] = request("GET", "/silent");
        r[i].done = ends_done;
        r[i].ctx = &e;
        r[i].priority = i;
        assert_int_equal(s3_http_start(own, &r[i], &err), 0);
    }
    s3_http_cancel(own, &r[5]);
    ends_wait(&e, 1);
    assert_int_equal(e.order[0], 5);
    s3_http_cancel(own, &r[0]);
    ends_wait(&e, 2);
    assert_int_equal(e.order[1], 0);
    s3_http_free(own);
    assert_int_equal(e.count, 6);
    for (int i = 0; i < 6; i++)
        assert_int_equal(e.outcome[i], S3_HTTP_CANCELLED);
}

static void connections_are_capped_and_the_lower_priority_number_goes_first(void **state)
{
    const struct s3_http_options options = {
        .connections_max = 1, .threads = 1, .first_byte_timeout_ms = 200};
    struct ends e = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    struct s3_http_request r[8];
    struct s3_http *own;
    struct varve_error err;

    (void)state;
    assert_int_equal(s3_http_new(&env, &options, &own, &err), 0);
    for (int i = 0; i < 8; i++) { /* the first holds the only connection */
        r[i] = request("GET", i == 0 ? "/silent" : "/ok");
        r[i].done = ends_done;
        r[i].ctx = &e;
        r[i].priority = i == 0 ? 0 : 9 - i;
        assert_int_equal(s3_http_start(own, &r[i], &err), 0);
        while (i == 0 && server.requests == 0)
            usleep(1000); /* until it is there */
    }
    ends_wait(&e, 8);
    for (int i = 1; i < 8; i++)
        assert_int_equal(e.order[i], 1 + i);
    assert_int_equal(server.connections, 2);
    s3_http_free(own);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_body_comes_into_the_room_or_into_fresh_memory),
        CASE(a_body_beyond_the_room_is_truncated_and_nothing_is_written_there),
        CASE(a_head_has_a_length_and_no_body),
        CASE(a_put_of_any_pieces_arrives_whole),
        CASE(headers_are_those_of_the_last_reply_whatever_their_case),
        CASE(a_first_header_that_goes_on_from_none_is_not_written_into_the_reply_before),
        CASE(an_error_keeps_its_body_and_a_redirect_is_not_followed),
        CASE(replies_that_never_end_are_cut_off),
        CASE(a_cut_body_is_truncated),
        CASE(a_connection_that_ends_among_the_headers_is_no_empty_object),
        CASE(a_trailer_is_no_header),
        CASE(silence_and_stalls_have_their_own_deadlines),
        CASE(nobody_there_means_nothing_was_sent),
        CASE(a_direct_request_passes_the_proxy_by),
        CASE(a_request_may_connect_in_less_time_than_others),
        CASE(a_change_over_a_dead_connection_is_not_sent_twice),
        CASE(the_next_address_is_tried_when_one_refuses),
        CASE(the_next_address_is_tried_when_one_is_silent),
        CASE(no_child_inherits_a_connection),
        CASE(requests_are_cancelled_one_by_one_and_all_when_freed),
        CASE(connections_are_capped_and_the_lower_priority_number_goes_first),
    };

    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
