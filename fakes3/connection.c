/*
 * The life of a connection is a row of states:
 *
 *   DELAY    accepted; a rule for Connect lets it wait
 *   HEAD     reading until the empty line
 *   BODY     reading Content-Length bytes, into a blob, or nowhere when the answer is settled
 * already WAIT     the request has been served; the answer waits out its latency SEND     the
 * answer goes out; then HEAD again, or the end LINGER   closed by us; what the peer still sends is
 * read and dropped until it closes, too, so that no RST overtakes the answer HUNG     open and
 * silent, until the peer gives up RESET    a RST follows as soon as the peer has what was sent
 * before
 */
#include "fakes3/connection.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "fakes3/call.h"
#include "fakes3/send.h"
#include "fakes3/service.h"
#include "fakes3/spoil.h"
#include "fakes3/text.h"
#include "fakes3/wire.h"

#define OBJECT_SIZE_MAX (INT64_C(5) * 1024 * 1024 * 1024) /* of a single PUT, as S3 has it */
#define READ_SIZE (256 * 1024)
#define TURN_SIZE_MAX (2 * 1024 * 1024) /* read at once from one connection */
#define LINGER_MS 2000
#define RESET_POLL_MS 2
#define RESET_POLLS_MAX 1000

enum state { DELAY, HEAD, BODY, WAIT, SEND, LINGER, HUNG, RESET };

struct fakes3_connection {
    struct fakes3_server *server;
    struct fakes3_connection *previous, *next;
    uint64_t number;
    struct fakes3_wire *wire;
    struct event *timer;
    enum state state;
    struct evbuffer *in; /* read, and not looked at: a head, or what follows one */
    struct fakes3_call *call;
    bool settled; /* the reply is made: the body is only read past */
    int64_t body_left;
    size_t body_filled;
    uint64_t body_sent;
    int64_t began_ns;
    unsigned polls;
};

static int64_t mono_ns(void)
{
    return base_clock_system.mono_ns(base_clock_system.ctx);
}

static void start_timer(struct fakes3_connection *c, int64_t us)
{
    struct timeval delay = {.tv_sec = us / 1000000, .tv_usec = us % 1000000};

    evtimer_add(c->timer, &delay);
}

/* Writes the line for /-/log, and counts. */
static void account(struct fakes3_connection *c)
{
    struct fakes3_call *call = c->call;
    const struct fakes3_request *request = call->request;
    struct evbuffer *line = evbuffer_new();
    const char *range = fakes3_request_header(request, "range");
    char time[FAKES3_DATE_SIZE];
    bool answered =
        call->reply.status && !call->effects.before && !call->effects.drop && !call->effects.lose;
    int64_t received = request->content_length > 0 ? request->content_length - c->body_left : 0;

    fakes3_stats_end(&c->server->stats, request->op, answered ? call->reply.status : 0,
                     (uint64_t)received, c->body_sent);
    fakes3_text_iso_date(call->now_ms, time);
    evbuffer_add_printf(line,
                        "{\"n\":%" PRIu64 ",\"time\":\"%s\",\"connection\":%" PRIu64
                        ",\"op\":\"%s\",\"method\":\"%s\",\"target\":",
                        call->number, time, c->number, fakes3_operation_name(request->op),
                        request->method);
    fakes3_text_json(line, request->target);
    evbuffer_add_printf(line, ",\"bucket\":");
    fakes3_text_json(line, request->bucket ? request->bucket : "");
    evbuffer_add_printf(line, ",\"key\":");
    fakes3_text_json(line, request->key ? request->key : "");
    evbuffer_add_printf(line, ",\"range\":");
    fakes3_text_json(line, range ? range : "");
    evbuffer_add_printf(line, ",\"access_key\":");
    fakes3_text_json(line, call->access_key ? call->access_key : "");
    evbuffer_add_printf(line, ",\"status\":%d,\"code\":\"%s\",\"faults\":\"",
                        answered ? call->reply.status : 0, fakes3_reply_code(&call->reply));
    fakes3_faults_names(&call->effects, line);
    evbuffer_add_printf(line,
                        "\",\"bytes_in\":%" PRId64 ",\"bytes_out\":%" PRIu64 ",\"us\":%" PRId64 "}",
                        received, c->body_sent, (mono_ns() - c->began_ns) / 1000);
    fakes3_stats_log(&c->server->stats, fakes3_text_of_buffer(line));
}

/* The call is over, however it went. */
static void forget_call(struct fakes3_connection *c)
{
    if (!c->call)
        return;
    if (c->call->request && !c->call->request->control)
        account(c);
    fakes3_reply_deinit(&c->call->reply);
    fakes3_request_free(c->call->request);
    free(c->call->access_key);
    free(c->call->account);
    free(c->call);
    c->call = NULL;
    c->settled = false;
    c->body_left = 0;
    c->body_filled = 0;
    c->body_sent = 0;
}

static void connection_free(struct fakes3_connection *c, bool reset)
{
    forget_call(c);
    c->server->stats.connections_open--;
    if (c->previous)
        c->previous->next = c->next;
    else
        c->server->connections = c->next;
    if (c->next)
        c->next->previous = c->previous;
    fakes3_wire_free(c->wire, reset);
    event_free(c->timer);
    evbuffer_free(c->in);
    free(c);
}

/* Ends it in one of the ways. The connection is kept until it is really over. */
static void end_connection(struct fakes3_connection *c, enum fakes3_end end)
{
    forget_call(c);
    fakes3_wire_set_rates(c->wire, 0, 0);
    if (end == FAKES3_END_RST) {
        c->state = RESET;
        c->polls = 0;
        start_timer(c, 0);
        return;
    }
    c->state = end == FAKES3_END_HANG ? HUNG : LINGER;
    if (c->state == LINGER) {
        fakes3_wire_shutdown(c->wire);
        start_timer(c, LINGER_MS * 1000);
    }
    evbuffer_drain(c->in, evbuffer_get_length(c->in));
    fakes3_wire_want_read(c->wire, true);
    fakes3_wire_read_soon(c->wire);
}

static void send_reply(struct fakes3_connection *c)
{
    c->state = SEND;
    c->body_sent = fakes3_send_reply(c->call, fakes3_wire_out(c->wire));
    fakes3_wire_flush(c->wire);
}

/* The reply is made. It goes out after its latency. */
static void finish_reply(struct fakes3_connection *c)
{
    struct fakes3_call *call = c->call;
    char id[17];
    int64_t us;

    evutil_snprintf(id, sizeof(id), "%016" PRIX64, call->number);
    fakes3_reply_finish(&call->reply, call->request, id);
    fakes3_spoil_wire(call);
    us = fakes3_distribution_draw(&call->effects.latency, &c->server->random);
    c->state = WAIT;
    fakes3_wire_want_read(c->wire, false);
    if (us > 0)
        start_timer(c, us);
    else
        send_reply(c);
}

/* The request is read: what it asks for is done, unless a rule is against it. */
static void serve(struct fakes3_connection *c)
{
    struct fakes3_call *call = c->call;

    if (call->effects.drop) {
        end_connection(c, call->effects.drop);
        return;
    }
    if (!c->settled) {
        fakes3_digest_final(&call->request->digest);
        fakes3_service_run(call);
        fakes3_spoil_result(call);
    }
    if (call->effects.lose)
        end_connection(c, call->effects.lose);
    else
        finish_reply(c);
}

/* Answers a head that cannot be a request. */
static void refuse_head(struct fakes3_connection *c, int status)
{
    struct fakes3_call *call = c->call = fakes3_text_alloc(sizeof(*call));

    call->server = c->server;
    call->now_ms = fakes3_server_wall_ms(c->server);
    fakes3_reply_init(&call->reply);
    fakes3_reply_error(&call->reply, fakes3_reply_code_of_status(status), "Bad request");
    call->reply.status = status;
    call->reply.close = true;
    finish_reply(c);
}

/* Makes room for the body. False with the error in the reply. */
static bool prepare_body(struct fakes3_connection *c)
{
    struct fakes3_call *call = c->call;
    struct fakes3_request *request = call->request;
    bool must = request->op == FAKES3_PUT_OBJECT || request->op == FAKES3_UPLOAD_PART;

    if (request->transfer_encoding) {
        fakes3_reply_error(&call->reply, "NotImplemented",
                           "A header you provided implies functionality that is not implemented");
        fakes3_reply_detail(&call->reply, "Header", "Transfer-Encoding");
        call->reply.close = true;
        return false;
    }
    if (request->content_length < 0 && must) {
        fakes3_reply_error(&call->reply, "MissingContentLength",
                           "You must provide the Content-Length HTTP header.");
        return false;
    }
    if (request->content_length > OBJECT_SIZE_MAX) {
        fakes3_reply_error(&call->reply, "EntityTooLarge",
                           "Your proposed upload exceeds the maximum allowed object size.");
        return false;
    }
    if (request->content_length <= 0)
        return true;
    request->body = fakes3_blob_new(&c->server->store.blobs, (size_t)request->content_length);
    if (!request->body)
        fakes3_reply_error(&call->reply, "StorageFull", "The storage of this server is full.");
    return request->body != NULL;
}

static void choose_effects(struct fakes3_connection *c)
{
    const struct fakes3_request *request = c->call->request;
    struct fakes3_moment moment = {.op = request->op,
                                   .bucket = request->bucket,
                                   .key = request->key,
                                   .request = request,
                                   .mono_ms = fakes3_server_mono_ms()};

    c->call->effects = fakes3_faults_choose(&c->server->faults, &moment);
    fakes3_wire_set_rates(c->wire, c->call->effects.upload_bandwidth, c->call->effects.bandwidth);
}

static void count_request(struct fakes3_connection *c)
{
    const struct fakes3_request *request = c->call->request;

    c->call->number = ++c->server->last_request;
    fakes3_stats_begin(&c->server->stats, request->op);
    if (request->op == FAKES3_GET_OBJECT)
        fakes3_stats_get(&c->server->stats, request->bucket, request->key,
                         fakes3_request_header(request, "range"));
}

/* A head was read: the rules speak first, then the service looks at signature and permissions. */
static void begin_request(struct fakes3_connection *c, struct fakes3_request *request)
{
    struct fakes3_call *call = c->call = fakes3_text_alloc(sizeof(*call));

    call->server = c->server;
    call->request = request;
    call->effects.cut = FAKES3_CUT_NOT;
    fakes3_reply_init(&call->reply);
    c->began_ns = mono_ns();
    c->state = BODY;
    c->body_left = request->content_length > 0 ? request->content_length : 0;
    if (!request->control) {
        count_request(c);
        choose_effects(c);
    }
    call->now_ms = fakes3_server_wall_ms(c->server) + call->effects.skew_us / 1000;
    if (call->effects.before) {
        end_connection(c, call->effects.before);
        return;
    }
    c->settled = fakes3_spoil_instead(call) || !fakes3_service_check(call) || !prepare_body(c);
    if (!c->settled)
        fakes3_service_want_digests(call);
    if (c->settled && (request->expects_continue || request->transfer_encoding)) {
        call->reply.close = true;
        serve(c);
        return;
    }
    if (request->expects_continue && c->body_left > 0) {
        evbuffer_add_printf(fakes3_wire_out(c->wire), "HTTP/1.1 100 Continue\r\n\r\n");
        fakes3_wire_flush(c->wire);
    }
    if (c->body_left == 0)
        serve(c);
}

/* Looks for the empty line in what was read. False: more is needed. */
static bool take_head(struct fakes3_connection *c)
{
    struct evbuffer_ptr end;
    struct fakes3_request *request;
    size_t size, start = 0;
    char *head;
    int status;

    /* Empty lines before a request are let pass, as RFC 9112 advises. */
    while (evbuffer_get_length(c->in) >= 2 && memcmp(evbuffer_pullup(c->in, 2), "\r\n", 2) == 0)
        evbuffer_drain(c->in, 2);
    end = evbuffer_search(c->in, "\r\n\r\n", 4, NULL);
    if (end.pos < 0) {
        if (evbuffer_get_length(c->in) <= FAKES3_HEAD_SIZE_MAX)
            return false;
        refuse_head(c, 431);
        return true;
    }
    size = (size_t)end.pos + 4 - start;
    head = fakes3_text_alloc(size + 1);
    evbuffer_remove(c->in, head, size);
    request = fakes3_request_parse(head, size, c->server->options.domain, &status);
    free(head);
    if (request)
        begin_request(c, request);
    else
        refuse_head(c, status);
    return true;
}

static void take_body(struct fakes3_connection *c, const uint8_t *data, size_t size)
{
    if (!c->settled)
        fakes3_digest_update(&c->call->request->digest, data, size);
    c->body_filled += size;
    c->body_left -= (int64_t)size;
}

/* Where the next bytes of the body go: their place in the blob, or a place where they are
 * forgotten. */
static uint8_t *body_place(struct fakes3_connection *c, size_t *ret_size)
{
    static uint8_t nowhere[READ_SIZE];
    struct fakes3_blob *body = c->settled ? NULL : c->call->request->body;

    *ret_size = c->body_left < READ_SIZE ? (size_t)c->body_left : READ_SIZE;
    return body ? body->data + c->body_filled : nowhere;
}

/* Reads what there is for the state. Returns bytes, or as fakes3_wire_read. */
static ssize_t read_for_state(struct fakes3_connection *c)
{
    static uint8_t block[16 * 1024];
    uint8_t *place;
    size_t size;
    ssize_t n;

    if (c->state == BODY) {
        place = body_place(c, &size);
        if (evbuffer_get_length(c->in) > 0)
            n = evbuffer_remove(c->in, place, size);
        else
            n = fakes3_wire_read(c->wire, place, size);
        if (n > 0)
            take_body(c, place, (size_t)n);
        return n;
    }
    n = fakes3_wire_read(c->wire, block, sizeof(block));
    if (n > 0 && c->state == HEAD)
        evbuffer_add(c->in, block, (size_t)n);
    return n;
}

static void on_readable(void *arg)
{
    struct fakes3_connection *c = arg;
    size_t turn = 0;

    while (c->state == HEAD || c->state == BODY || c->state == LINGER || c->state == HUNG) {
        ssize_t n;

        if (c->state == HEAD && evbuffer_get_length(c->in) > 0 && take_head(c))
            continue;
        if (turn >= TURN_SIZE_MAX) {
            fakes3_wire_read_soon(c->wire);
            return;
        }
        n = read_for_state(c);
        if (n == FAKES3_WIRE_AGAIN)
            return;
        if (n <= 0) {
            connection_free(c, false);
            return;
        }
        turn += (size_t)n;
        if (c->state == BODY && c->body_left == 0)
            serve(c);
    }
    if (c->state != RESET)
        fakes3_wire_want_read(c->wire, false);
}

static void next_request(struct fakes3_connection *c)
{
    forget_call(c);
    fakes3_wire_set_rates(c->wire, 0, 0);
    c->state = HEAD;
    fakes3_wire_want_read(c->wire, true);
    if (evbuffer_get_length(c->in) > 0)
        fakes3_wire_read_soon(c->wire);
}

static void on_drained(void *arg)
{
    struct fakes3_connection *c = arg;

    if (c->state != SEND)
        return;
    if (fakes3_send_more(&c->call->reply, fakes3_wire_out(c->wire)))
        fakes3_wire_flush(c->wire);
    else if (c->call->reply.end)
        end_connection(c, c->call->reply.end);
    else if (fakes3_send_keeps_alive(c->call))
        next_request(c);
    else
        end_connection(c, FAKES3_END_FIN);
}

static void on_broken(void *arg)
{
    connection_free(arg, false);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct fakes3_connection *c = arg;

    (void)fd;
    (void)what;
    if (c->state == DELAY) {
        next_request(c);
    } else if (c->state == WAIT) {
        send_reply(c);
    } else if (c->state == LINGER) {
        connection_free(c, false);
    } else if (c->state == RESET) {
        if (fakes3_wire_unacknowledged(c->wire) > 0 && c->polls++ < RESET_POLLS_MAX)
            start_timer(c, RESET_POLL_MS * 1000);
        else
            connection_free(c, true);
    }
}

static struct fakes3_connection *connection_new(struct fakes3_server *server, int fd)
{
    struct fakes3_connection *c = fakes3_text_alloc(sizeof(*c));
    struct fakes3_stats *stats = &server->stats;
    struct fakes3_wire_callbacks callbacks = {
        .readable = on_readable, .drained = on_drained, .broken = on_broken, .arg = c};

    c->server = server;
    c->next = server->connections;
    if (c->next)
        c->next->previous = c;
    server->connections = c;
    c->number = ++stats->connections;
    if (++stats->connections_open > stats->connections_open_max)
        stats->connections_open_max = stats->connections_open;
    c->in = evbuffer_new();
    c->timer = evtimer_new(server->base, on_timer, c);
    c->wire = fakes3_wire_new(server->base, fd, server->tls, &callbacks,
                              (struct fakes3_wire_counts){&stats->bytes_in, &stats->bytes_out});
    return c;
}

void fakes3_connection_accept(struct fakes3_server *server, int fd)
{
    struct fakes3_connection *c = connection_new(server, fd);
    struct fakes3_moment moment = {.op = FAKES3_CONNECT, .mono_ms = fakes3_server_mono_ms()};
    struct fakes3_effects effects = fakes3_faults_choose(&server->faults, &moment);
    enum fakes3_end end = effects.before ? effects.before
                          : effects.drop ? effects.drop
                          : effects.lose ? effects.lose
                                         : effects.end;
    int64_t us = fakes3_distribution_draw(&effects.latency, &server->random);

    if (end == FAKES3_END_RST) {
        connection_free(c, true);
    } else if (end) {
        end_connection(c, end);
    } else if (us > 0) {
        c->state = DELAY;
        start_timer(c, us);
    } else {
        next_request(c);
    }
}

void fakes3_connection_end_all(struct fakes3_server *server)
{
    while (server->connections)
        connection_free(server->connections, false);
}
