#include "fakes3/wire.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/clock.h"
#include "fakes3/text.h"

/* One turn of the event loop writes at most this for one connection, so that others get theirs. */
#define TURN_SIZE_MAX (1024 * 1024)
#define WRITE_SIZE (512 * 1024)
#define TLS_WRITE_SIZE (64 * 1024)
/* How far a pace may run ahead, and how often it is looked at. */
#define PACE_AHEAD_MS 50
#define PACE_MS 10

/* A token bucket, filled by the clock. */
struct pace {
    int64_t rate; /* bytes a second; 0: none */
    double tokens;
    int64_t filled_ns;
};

struct fakes3_wire {
    int fd;
    SSL *ssl;
    bool wants_read, reading; /* what is asked for; whether the event is in the loop */
    struct fakes3_wire_callbacks callbacks;
    struct fakes3_wire_counts counts;
    struct event *read_event, *write_event, *pace_event;
    struct evbuffer *out;
    bool sending; /* drained is owed */
    struct pace read_pace, write_pace;
};

/* How much may go now: all, or what one look at the clock lets through, or nothing. Never crumbs,
 * which would keep the processor busy instead of the wire. */
static size_t pace_room(struct pace *pace, size_t size)
{
    int64_t now = base_clock_system.mono_ns(base_clock_system.ctx);
    double most = (double)pace->rate * PACE_AHEAD_MS / 1000 + 1;
    double least = (double)pace->rate * PACE_MS / 1000;

    if (!pace->rate)
        return size;
    pace->tokens += (double)(now - pace->filled_ns) * 1e-9 * (double)pace->rate;
    pace->filled_ns = now;
    if (pace->tokens > most)
        pace->tokens = most;
    if (pace->tokens >= (double)size)
        return size;
    return pace->tokens < least ? 0 : (size_t)pace->tokens;
}

static void pace_take(struct pace *pace, size_t size)
{
    pace->tokens -= pace->rate ? (double)size : 0;
}

static void pace_set(struct pace *pace, int64_t rate)
{
    if (pace->rate != rate)
        *pace = (struct pace){.rate = rate,
                              .filled_ns = base_clock_system.mono_ns(base_clock_system.ctx)};
}

static void wait_for_pace(struct fakes3_wire *wire)
{
    static const struct timeval soon = {.tv_usec = PACE_MS * 1000};

    if (!event_pending(wire->pace_event, EV_TIMEOUT, NULL))
        event_add(wire->pace_event, &soon);
}

static void pause_reading(struct fakes3_wire *wire)
{
    if (wire->reading)
        event_del(wire->read_event);
    wire->reading = false;
}

static void on_read(evutil_socket_t fd, short what, void *arg)
{
    struct fakes3_wire *wire = arg;

    (void)fd;
    (void)what;
    /* The event is taken out only when it is in the way: most requests are read whole at once. */
    if (wire->wants_read)
        wire->callbacks.readable(wire->callbacks.arg);
    else
        pause_reading(wire);
}

/* What SSL says, as read and write would. */
static ssize_t tls_result(struct fakes3_wire *wire, int result)
{
    int why = SSL_get_error(wire->ssl, result);

    ERR_clear_error();
    if (why == SSL_ERROR_WANT_READ)
        return FAKES3_WIRE_AGAIN;
    if (why == SSL_ERROR_WANT_WRITE) {
        event_add(wire->write_event, NULL);
        return FAKES3_WIRE_AGAIN;
    }
    return why == SSL_ERROR_ZERO_RETURN ? 0 : FAKES3_WIRE_ERROR;
}

static ssize_t read_some(struct fakes3_wire *wire, void *data, size_t size)
{
    ssize_t n;

    if (wire->ssl) {
        int got = SSL_read(wire->ssl, data, (int)(size < INT32_MAX ? size : INT32_MAX));
        return got > 0 ? got : tls_result(wire, got);
    }
    do
        n = recv(wire->fd, data, size, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? FAKES3_WIRE_AGAIN : FAKES3_WIRE_ERROR;
    return n;
}

ssize_t fakes3_wire_read(struct fakes3_wire *wire, void *data, size_t size)
{
    size_t room = pace_room(&wire->read_pace, size);
    ssize_t n;

    if (room == 0) {
        pause_reading(wire);
        wait_for_pace(wire);
        return FAKES3_WIRE_AGAIN;
    }
    n = read_some(wire, data, room);
    if (n > 0) {
        *wire->counts.in += (uint64_t)n;
        pace_take(&wire->read_pace, (size_t)n);
    }
    return n;
}

static ssize_t write_some(struct fakes3_wire *wire, size_t size)
{
    struct evbuffer_iovec extent;
    ssize_t n;
    int sent;

    if (!wire->ssl) {
        n = evbuffer_write_atmost(wire->out, wire->fd, (ev_ssize_t)size);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR ? FAKES3_WIRE_AGAIN : FAKES3_WIRE_ERROR;
        return n;
    }
    evbuffer_peek(wire->out, -1, NULL, &extent, 1);
    if (extent.iov_len > size)
        extent.iov_len = size;
    if (extent.iov_len > TLS_WRITE_SIZE)
        extent.iov_len = TLS_WRITE_SIZE;
    sent = SSL_write(wire->ssl, extent.iov_base, (int)extent.iov_len);
    if (sent <= 0)
        return tls_result(wire, sent);
    evbuffer_drain(wire->out, (size_t)sent);
    return sent;
}

/* Writes a turn's worth. False: the peer is gone. */
static bool write_turn(struct fakes3_wire *wire)
{
    size_t turn = 0;

    while (evbuffer_get_length(wire->out) > 0) {
        size_t left = evbuffer_get_length(wire->out);
        size_t room = pace_room(&wire->write_pace, left < WRITE_SIZE ? left : WRITE_SIZE);
        ssize_t n;

        if (room == 0) {
            wait_for_pace(wire);
            return true;
        }
        if (turn >= TURN_SIZE_MAX) {
            event_add(wire->write_event, NULL);
            return true;
        }
        n = write_some(wire, room);
        if (n == FAKES3_WIRE_AGAIN) {
            event_add(wire->write_event, NULL);
            return true;
        }
        if (n <= 0)
            return false;
        *wire->counts.out += (uint64_t)n;
        pace_take(&wire->write_pace, (size_t)n);
        turn += (size_t)n;
    }
    return true;
}

static void on_write(evutil_socket_t fd, short what, void *arg)
{
    struct fakes3_wire *wire = arg;

    (void)fd;
    (void)what;
    if (!wire->sending) {
        /* TLS wanted to write in order to read. */
        if (wire->wants_read)
            fakes3_wire_read_soon(wire);
    } else if (!write_turn(wire)) {
        wire->callbacks.broken(wire->callbacks.arg);
    } else if (evbuffer_get_length(wire->out) == 0) {
        wire->sending = false;
        wire->callbacks.drained(wire->callbacks.arg);
    }
}

static void on_pace(evutil_socket_t fd, short what, void *arg)
{
    struct fakes3_wire *wire = arg;

    (void)fd;
    (void)what;
    if (wire->wants_read)
        fakes3_wire_want_read(wire, true);
    if (wire->sending)
        event_active(wire->write_event, EV_WRITE, 0);
    if (wire->wants_read)
        fakes3_wire_read_soon(wire);
}

struct fakes3_wire *fakes3_wire_new(struct event_base *base, int fd, struct ssl_ctx_st *tls,
                                    const struct fakes3_wire_callbacks *callbacks,
                                    struct fakes3_wire_counts counts)
{
    struct fakes3_wire *wire = fakes3_text_alloc(sizeof(*wire));
    int yes = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    wire->fd = fd;
    wire->callbacks = *callbacks;
    wire->counts = counts;
    wire->out = evbuffer_new();
    wire->read_event = event_new(base, fd, EV_READ | EV_PERSIST, on_read, wire);
    wire->write_event = event_new(base, fd, EV_WRITE, on_write, wire);
    wire->pace_event = evtimer_new(base, on_pace, wire);
    if (tls) {
        wire->ssl = SSL_new(tls);
        SSL_set_fd(wire->ssl, fd);
        SSL_set_accept_state(wire->ssl);
        SSL_set_mode(wire->ssl,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    }
    return wire;
}

struct fakes3_wire *fakes3_wire_free(struct fakes3_wire *wire, bool reset)
{
    static const struct linger none = {.l_onoff = 1, .l_linger = 0};

    if (!wire)
        return NULL;
    event_free(wire->read_event);
    event_free(wire->write_event);
    event_free(wire->pace_event);
    if (reset)
        setsockopt(wire->fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
    if (wire->ssl && !reset)
        SSL_shutdown(wire->ssl);
    SSL_free(wire->ssl);
    ERR_clear_error();
    close(wire->fd);
    evbuffer_free(wire->out);
    free(wire);
    return NULL;
}

void fakes3_wire_want_read(struct fakes3_wire *wire, bool want)
{
    wire->wants_read = want;
    if (want && !wire->reading) {
        event_add(wire->read_event, NULL);
        wire->reading = true;
    }
}

void fakes3_wire_read_soon(struct fakes3_wire *wire)
{
    event_active(wire->read_event, EV_READ, 0);
}

struct evbuffer *fakes3_wire_out(struct fakes3_wire *wire)
{
    return wire->out;
}

void fakes3_wire_flush(struct fakes3_wire *wire)
{
    wire->sending = true;
    event_active(wire->write_event, EV_WRITE, 0);
}

void fakes3_wire_set_rates(struct fakes3_wire *wire, int64_t read_rate, int64_t write_rate)
{
    pace_set(&wire->read_pace, read_rate);
    pace_set(&wire->write_pace, write_rate);
}

void fakes3_wire_shutdown(struct fakes3_wire *wire)
{
    if (wire->ssl)
        SSL_shutdown(wire->ssl);
    ERR_clear_error();
    shutdown(wire->fd, SHUT_WR);
}

size_t fakes3_wire_unacknowledged(const struct fakes3_wire *wire)
{
    int bytes = 0;

    return ioctl(wire->fd, SIOCOUTQ, &bytes) == 0 && bytes > 0 ? (size_t)bytes : 0;
}
