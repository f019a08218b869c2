/* Requests in, the server's replies out, changed. See the header. */
#include "tests/integration/reply_proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/thread.h"
#include "tests/integration/reply_mutation.h"

#define CONNECTIONS_MAX 64
#define REQUEST_MAX (1 << 20)
#define REPLY_MAX (16 << 20)

struct connection {
    struct reply_proxy *proxy;
    struct base_thread *thread;
    int fd;
};

struct reply_proxy {
    struct reply_proxy_options options;
    char port[8];
    int listener, stop; /* stop: an eventfd that is readable once all shall end */
    struct base_thread *thread;
    struct connection connections[CONNECTIONS_MAX];
    size_t connection_count;

    struct base_mutex lock; /* protects what follows */
    unsigned replies;
    bool lost;
    char story[4096];
};

static void die(const char *what)
{
    perror(what);
    abort();
}

/* ---- waiting, which the end of the proxy interrupts ---- */

static bool wait_for(const struct reply_proxy *p, int fd, short events)
{
    struct pollfd fds[] = {{.fd = fd, .events = events}, {.fd = p->stop, .events = POLLIN}};

    while (poll(fds, 2, -1) < 0)
        if (errno != EINTR)
            die("poll");
    return !fds[1].revents;
}

static ssize_t receive(const struct reply_proxy *p, int fd, char *data, size_t size)
{
    return wait_for(p, fd, POLLIN) ? recv(fd, data, size, 0) : -1;
}

static bool send_all(const struct reply_proxy *p, int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n;

        if (!wait_for(p, fd, POLLOUT))
            return false;
        n = send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN)
            return false;
        if (n > 0) {
            data += n;
            size -= (size_t)n;
        }
    }
    return true;
}

/* ---- a request ---- */

struct text {
    char *data;
    size_t size;
};

static bool text_receive(const struct reply_proxy *p, int fd, struct text *t, size_t max)
{
    char buf[16384];
    ssize_t n = receive(p, fd, buf, sizeof(buf));

    if (n <= 0 || t->size + (size_t)n > max)
        return false;
    t->data = realloc(t->data, t->size + (size_t)n + 1);
    if (!t->data)
        die("realloc");
    memcpy(t->data + t->size, buf, (size_t)n);
    t->size += (size_t)n;
    t->data[t->size] = '\0';
    return true;
}

static size_t content_length(const char *head)
{
    const char *at = strcasestr(head, "\r\ncontent-length:");

    return at ? strtoul(at + 17, NULL, 10) : 0;
}

/* One whole request; false: the connection has ended. */
static bool request_receive(const struct reply_proxy *p, int fd, struct text *t)
{
    const char *end = NULL;

    while (!(end = t->data ? strstr(t->data, "\r\n\r\n") : NULL))
        if (!text_receive(p, fd, t, REQUEST_MAX))
            return false;
    for (size_t size = (size_t)(end + 4 - t->data) + content_length(t->data); t->size < size;)
        if (!text_receive(p, fd, t, REQUEST_MAX))
            return false;
    return true;
}

static int server_connect(const struct reply_proxy *p)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)atoi(p->options.server_port)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
        die("connect");
    return fd;
}

/* What the server says to it, up to the end of a connection made for that. Every connection to the
 * server ends after one reply: the request says so in front of its first header. */
static bool server_ask(const struct reply_proxy *p, const struct text *request, struct text *reply)
{
    static const char once[] = "Connection: close\r\n";
    size_t line = (size_t)(strstr(request->data, "\r\n") + 2 - request->data);
    int fd = server_connect(p);
    bool sent = send_all(p, fd, request->data, line) && send_all(p, fd, once, sizeof(once) - 1) &&
                send_all(p, fd, request->data + line, request->size - line);

    while (sent && text_receive(p, fd, reply, REPLY_MAX))
        ;
    close(fd);
    return reply->size > 0;
}

/* As the operations of s3_trial.c are named, as far as is needed. */
static bool is_operation(const char *request, const char *name)
{
    size_t line = strcspn(request, "\r");

    if (strcmp(name, "PutObject") == 0)
        return strncmp(request, "PUT ", 4) == 0 && !memchr(request, '?', line);
    if (strcmp(name, "CompleteMultipartUpload") == 0)
        return strncmp(request, "POST ", 5) == 0 && memmem(request, line, "uploadId=", 9);
    return false;
}

/* ---- a reply ---- */

static bool filler_send(const struct reply_proxy *p, int fd, const struct mutated *m)
{
    size_t n = strlen(m->filler), copies = 65536 / n;
    char *many = malloc(n * copies);
    bool good = many != NULL;

    for (size_t i = 0; many && i < copies; i++)
        memcpy(many + i * n, m->filler, n);
    for (uint64_t left = m->filler_total; good && left > 0;) {
        size_t size = left < n * copies ? (size_t)left : n * copies;

        good = send_all(p, fd, many, size);
        left -= size;
    }
    free(many);
    return good;
}

static bool send_up_to(const struct reply_proxy *p, int fd, const char *data, size_t size,
                       size_t *left)
{
    if (size > *left)
        size = *left;
    *left -= size;
    return send_all(p, fd, data, size);
}

/* False: the connection is to be closed. */
static bool mutated_send(const struct reply_proxy *p, int fd, const struct mutated *m)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    size_t left = m->cut;
    bool good = true;

    if (!m->silent) {
        good = send_up_to(p, fd, m->head, m->head_size, &left);
        if (good && m->filler && m->filler_in_head && left > 0)
            good = filler_send(p, fd, m) && send_up_to(p, fd, "\r\n\r\n", 4, &left);
        good = good && send_up_to(p, fd, m->body, m->body_size, &left);
        if (good && m->filler && !m->filler_in_head && left > 0)
            good = filler_send(p, fd, m);
    }
    if (m->stalls && good) { /* until the other side has had enough */
        char byte;

        receive(p, fd, &byte, 1);
        return false;
    }
    if (m->resets)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    return good && !m->closes && !m->resets;
}

enum fate { LEFT, CHANGED, LOST };

static enum fate fate_draw(struct reply_proxy *p, const char *request, unsigned *ret_number)
{
    enum fate fate;

    base_mutex_lock(&p->lock);
    if (p->options.loses && !p->lost && is_operation(request, p->options.loses)) {
        p->lost = true;
        fate = LOST;
    } else {
        *ret_number = p->replies++;
        fate = *ret_number < p->options.spoilt ? CHANGED : LEFT;
    }
    base_mutex_unlock(&p->lock);
    return fate;
}

static void story_add(struct reply_proxy *p, const char *request, const char *what)
{
    size_t used;

    base_mutex_lock(&p->lock);
    used = strlen(p->story);
    snprintf(p->story + used, sizeof(p->story) - used, "  %.*s: %s\n",
             (int)strcspn(request, " \r\n"), request, what);
    base_mutex_unlock(&p->lock);
}

/* False: the connection is to be closed. */
static bool answer(struct reply_proxy *p, int fd, const struct text *request,
                   const struct text *reply)
{
    bool head_only = strncmp(request->data, "HEAD ", 5) == 0, good;
    struct mutated m = {.silent = true, .resets = true};
    unsigned number = 0;

    switch (fate_draw(p, request->data, &number)) {
    case LEFT:
        send_all(p, fd, reply->data, reply->size);
        return false; /* the server has said that it closes, and has */
    case LOST:
        story_add(p, request->data, "lost");
        return mutated_send(p, fd, &m);
    case CHANGED:
        break;
    }
    if (!mutate(reply->data, reply->size, head_only, p->options.seed + number * 1000003, &m))
        die("the server's reply");
    atomic_fetch_or(p->options.lies, m.lies);
    story_add(p, request->data, m.what);
    good = mutated_send(p, fd, &m);
    mutated_deinit(&m);
    return good;
}

static void connection_run(void *arg)
{
    struct connection *c = arg;
    bool good = true;

    while (good) {
        struct text request = {0}, reply = {0};

        good = request_receive(c->proxy, c->fd, &request) &&
               server_ask(c->proxy, &request, &reply) && answer(c->proxy, c->fd, &request, &reply);
        free(request.data);
        free(reply.data);
    }
    shutdown(c->fd, SHUT_RDWR);
    close(c->fd);
}

/* ---- the whole ---- */

static void accept_run(void *arg)
{
    struct reply_proxy *p = arg;
    struct varve_error err;

    while (wait_for(p, p->listener, POLLIN)) {
        struct connection *c = &p->connections[p->connection_count];
        int fd = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC);

        if (fd < 0)
            continue;
        if (p->connection_count == CONNECTIONS_MAX)
            die("too many connections");
        *c = (struct connection){.proxy = p, .fd = fd};
        if (base_thread_start(&c->thread, "connection", connection_run, c, &err) < 0)
            die(err.msg);
        p->connection_count++;
    }
}

struct reply_proxy *reply_proxy_start(const struct reply_proxy_options *options)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct reply_proxy *p = calloc(1, sizeof(*p));
    socklen_t size = sizeof(at);
    struct varve_error err;

    if (!p)
        die("calloc");
    p->options = *options;
    base_mutex_init(&p->lock);
    p->stop = eventfd(0, EFD_CLOEXEC);
    p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (p->stop < 0 || p->listener < 0 || bind(p->listener, (struct sockaddr *)&at, size) < 0 ||
        listen(p->listener, 64) < 0 || getsockname(p->listener, (struct sockaddr *)&at, &size) < 0)
        die("listen");
    snprintf(p->port, sizeof(p->port), "%u", ntohs(at.sin_port));
    if (base_thread_start(&p->thread, "proxy", accept_run, p, &err) < 0)
        die(err.msg);
    return p;
}

const char *reply_proxy_port(const struct reply_proxy *proxy)
{
    return proxy->port;
}

const char *reply_proxy_story(const struct reply_proxy *proxy)
{
    return proxy->story;
}

void reply_proxy_stop(struct reply_proxy *p)
{
    eventfd_write(p->stop, 1);
    base_thread_join(p->thread);
    for (size_t i = 0; i < p->connection_count; i++)
        base_thread_join(p->connections[i].thread);
    close(p->listener);
    close(p->stop);
}

void reply_proxy_free(struct reply_proxy *p)
{
    base_mutex_deinit(&p->lock);
    free(p);
}
