/*
 * The HTTP engine: I/O threads, each the only user of one curl_multi on an epoll.
 *
 * A request becomes a transfer, queued at the thread with the least to do. The thread's life:
 *
 *   take    queued transfers into libcurl's hands, lowest priority number first, while there are
 *           fewer than connections_max
 *   wait    on the epoll: sockets, the eventfd by which others wake it, libcurl's own timer
 *   drive   curl_multi_socket_action for each socket that is ready
 *   sweep   every SWEEP_MS: deadlines, cancellations, and those that still connect
 *   finish  what libcurl says is over: the reply is concluded, `done` called, the handle recycled
 *
 * A handle keeps nothing of the request before (curl_easy_reset, and see curl_init_once);
 * connections live in the multi.
 * There is no CURLSH: caches shared between threads have cost others their processes.
 *
 *   H1 A transfer belongs to its thread from the moment it is taken; the lock covers only the
 *      queue and the wish to cancel.
 *   H2 `done` is called once for each transfer that was queued, with no lock held; the transfer is
 *      freed after it has returned, so request->internal is valid until then.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "base/error.h"
#include "cold/s3/http_private.h"

#define THREADS_DEFAULT 2
#define THREADS_MAX 16
#define CONNECTIONS_DEFAULT 64
#define CONNECT_TIMEOUT_DEFAULT_MS 5000
#define FIRST_BYTE_TIMEOUT_DEFAULT_MS 20000
#define STALL_TIMEOUT_DEFAULT_MS 20000
#define SWEEP_MS 100
#define EVENTS_MAX 64
#define HANDLES_KEPT_MAX 64 /* idle easy handles of a thread; each holds two buffers */

struct s3_http_thread {
    struct s3_http *http;
    struct base_thread *thread;
    CURLM *multi;
    int epoll;
    int wake;             /* eventfd */
    int64_t curl_due_ns;  /* libcurl's timer; INT64_MAX: none */
    int64_t sweep_due_ns; /* INT64_MAX: nothing is active */
    struct s3_transfer *active;
    unsigned active_count;
    CURL *handles[HANDLES_KEPT_MAX];
    unsigned handle_count;

    struct base_mutex lock;    /* protects what follows, and `cancelled` of all transfers */
    struct s3_transfer *queue; /* by priority, then in order of coming */
    unsigned load;             /* queued and active */
    bool cancels;              /* a transfer has been cancelled: sweep at once */
    bool stopping;
};

struct s3_http {
    const struct base_env *env;
    struct s3_http_options options;
    char *ca_file;
    unsigned thread_count;
    struct s3_http_thread threads[THREADS_MAX];
};

/* ---- libcurl's side of the thread ---- */

static int64_t now_ns(const struct s3_http *http)
{
    return http->env->clock->mono_ns(http->env->clock->ctx);
}

/* Up to 8.1 libcurl closes a socket that was never connected first (when its request is cancelled,
 * when another address was faster) and says so then: the number may be another thread's by now. The
 * kernel does not find that in this epoll, and nothing happens; for TSan see
 * tests/tsan.suppressions. */
static void forget_socket(struct s3_http_thread *th, curl_socket_t fd)
{
    epoll_ctl(th->epoll, EPOLL_CTL_DEL, fd, NULL);
}

static int watch_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
    struct s3_http_thread *th = arg;
    struct epoll_event event = {.data.fd = fd};

    (void)easy;
    (void)known;
    if (what == CURL_POLL_REMOVE) {
        forget_socket(th, fd);
        return 0;
    }
    if (what & CURL_POLL_IN)
        event.events |= EPOLLIN;
    if (what & CURL_POLL_OUT)
        event.events |= EPOLLOUT;
    /* A number may come back for another socket; the kernel knows which of the two it is. */
    if (epoll_ctl(th->epoll, EPOLL_CTL_MOD, fd, &event) < 0 &&
        epoll_ctl(th->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        return -1;
    return 0;
}

static int watch_timer(CURLM *multi, long timeout_ms, void *arg)
{
    struct s3_http_thread *th = arg;

    (void)multi;
    th->curl_due_ns = timeout_ms < 0 ? INT64_MAX : now_ns(th->http) + (int64_t)timeout_ms * 1000000;
    return 0;
}

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_ready = CURLE_FAILED_INIT;
static bool curl_forgets_headers;

/* Up to 8.1.0 (curl's pull request 11103) a handle remembers the last header of the reply before,
 * which is freed by then; a reply whose first header begins with a space, as if it went on from
 * another, is written there. */
static void curl_init_once(void)
{
    curl_ready = curl_global_init(CURL_GLOBAL_DEFAULT);
    curl_forgets_headers = curl_version_info(CURLVERSION_NOW)->version_num >= 0x080101;
}

static CURL *handle_take(struct s3_http_thread *th)
{
    return th->handle_count > 0 ? th->handles[--th->handle_count] : curl_easy_init();
}

static void handle_give(struct s3_http_thread *th, CURL *easy)
{
    if (!curl_forgets_headers || th->handle_count == HANDLES_KEPT_MAX) {
        curl_easy_cleanup(easy);
        return;
    }
    curl_easy_reset(easy);
    th->handles[th->handle_count++] = easy;
}

/* ---- the life of a transfer ---- */

/* The end: H2. The transfer is on no list any more. */
static void transfer_finish(struct s3_http_thread *th, struct s3_transfer *t, CURLcode code)
{
    struct s3_http_request *request = t->request;

    s3_transfer_conclude(t, code, now_ns(th->http));
    if (t->easy)
        handle_give(th, t->easy);
    base_mutex_lock(&th->lock);
    th->load--;
    base_mutex_unlock(&th->lock);
    request->done(request, &t->reply);
    s3_transfer_free(t);
}

static void active_remove(struct s3_http_thread *th, struct s3_transfer *t)
{
    struct s3_transfer **at = &th->active;

    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    th->active_count--;
    curl_multi_remove_handle(th->multi, t->easy);
}

static void transfer_begin(struct s3_http_thread *th, struct s3_transfer *t)
{
    t->easy = handle_take(th);
    if (!t->easy || !s3_transfer_prepare(t, &th->http->options) ||
        curl_multi_add_handle(th->multi, t->easy) != CURLM_OK) {
        t->stop = S3_STOP_NO_MEMORY;
        transfer_finish(th, t, CURLE_OUT_OF_MEMORY);
        return;
    }
    t->next = th->active;
    th->active = t;
    th->active_count++;
}

/* The next of the queue; NULL: none, or no connection is free for it. */
static struct s3_transfer *queue_take(struct s3_http_thread *th)
{
    struct s3_transfer *t = NULL;

    base_mutex_lock(&th->lock);
    if (th->queue && (th->active_count < th->http->options.connections_max || th->stopping)) {
        t = th->queue;
        th->queue = t->next;
        if (t->cancelled || th->stopping)
            t->stop = S3_STOP_CANCELLED;
    }
    base_mutex_unlock(&th->lock);
    return t;
}

static void take_queued(struct s3_http_thread *th)
{
    struct s3_transfer *t;

    while ((t = queue_take(th))) {
        if (t->stop == S3_STOP_CANCELLED)
            transfer_finish(th, t, CURLE_OK);
        else
            transfer_begin(th, t);
    }
}

/* Takes cancelled transfers out of the queue, where they wait for a connection. */
static struct s3_transfer *queue_take_cancelled(struct s3_http_thread *th)
{
    struct s3_transfer *taken = NULL;

    base_mutex_lock(&th->lock);
    for (struct s3_transfer **at = &th->queue; *at;) {
        struct s3_transfer *t = *at;

        if (t->cancelled) {
            *at = t->next;
            t->next = taken;
            taken = t;
        } else {
            at = &t->next;
        }
    }
    base_mutex_unlock(&th->lock);
    return taken;
}

static bool is_cancelled(struct s3_http_thread *th, const struct s3_transfer *t)
{
    bool cancelled;

    base_mutex_lock(&th->lock);
    cancelled = t->cancelled || th->stopping;
    base_mutex_unlock(&th->lock);
    return cancelled;
}

static void sweep(struct s3_http_thread *th)
{
    struct s3_transfer *queued = queue_take_cancelled(th);
    int64_t now = now_ns(th->http);

    while (queued) {
        struct s3_transfer *t = queued;

        queued = t->next;
        t->stop = S3_STOP_CANCELLED;
        transfer_finish(th, t, CURLE_OK);
    }
    for (struct s3_transfer *t = th->active, *next; t; t = next) {
        next = t->next;
        if (is_cancelled(th, t))
            t->stop = S3_STOP_CANCELLED;
        if (t->stop != S3_STOP_NONE || !s3_transfer_check(t, &th->http->options, now)) {
            active_remove(th, t);
            transfer_finish(th, t, CURLE_OK);
        }
    }
}

/*
 * After an address that refused or said nothing, libcurl 7.88 opens no socket to the name's next
 * one until it is asked to look again, and sets a timer for that which is far off, or none: one
 * dead host among several would use up half of connect_timeout_ms, or all of it.
 */
static void look_at_connecting(struct s3_http_thread *th)
{
    bool connecting = false;
    int running;

    for (const struct s3_transfer *t = th->active; t; t = t->next)
        connecting = connecting || t->sends == 0;
    if (!connecting)
        return;
    /* Deprecated because it looks at all of them; no other does and says what to watch. */
    CURL_IGNORE_DEPRECATION(curl_multi_socket_all(th->multi, &running);)
}

static void finish_ended(struct s3_http_thread *th)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(th->multi, &left))) {
        struct s3_transfer *t = NULL;
        CURLcode code = message->data.result;

        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&t);
        active_remove(th, t);
        transfer_finish(th, t, code);
    }
}

/* ---- the thread ---- */

static int wait_ms(struct s3_http_thread *th)
{
    int64_t due = th->curl_due_ns < th->sweep_due_ns ? th->curl_due_ns : th->sweep_due_ns;
    int64_t left;

    if (due == INT64_MAX)
        return -1;
    left = due - now_ns(th->http);
    return left <= 0 ? 0 : (int)((left + 999999) / 1000000);
}

static void wait_and_drive(struct s3_http_thread *th)
{
    struct epoll_event events[EVENTS_MAX];
    int running, n = epoll_wait(th->epoll, events, EVENTS_MAX, wait_ms(th));

    for (int i = 0; i < n; i++) {
        int flags = 0;
        eventfd_t count;

        if (events[i].data.fd == th->wake) {
            eventfd_read(th->wake, &count);
            continue;
        }
        if (events[i].events & EPOLLIN)
            flags |= CURL_CSELECT_IN;
        if (events[i].events & EPOLLOUT)
            flags |= CURL_CSELECT_OUT;
        if (events[i].events & (EPOLLERR | EPOLLHUP))
            flags |= CURL_CSELECT_ERR;
        curl_multi_socket_action(th->multi, events[i].data.fd, flags, &running);
    }
    if (th->curl_due_ns <= now_ns(th->http)) {
        th->curl_due_ns = INT64_MAX; /* libcurl sets the next from inside */
        curl_multi_socket_action(th->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }
}

static bool has_work(struct s3_http_thread *th, bool *ret_sweep)
{
    bool work;

    base_mutex_lock(&th->lock);
    work = !th->stopping || th->queue || th->active;
    *ret_sweep = th->cancels || th->stopping;
    th->cancels = false;
    base_mutex_unlock(&th->lock);
    return work;
}

static void thread_run(void *arg)
{
    struct s3_http_thread *th = arg;
    bool sweep_now;

    while (has_work(th, &sweep_now)) {
        if (sweep_now || th->sweep_due_ns <= now_ns(th->http)) {
            sweep(th);
            look_at_connecting(th);
            finish_ended(th);
            th->sweep_due_ns = INT64_MAX;
        }
        take_queued(th); /* behind the sweep, which makes room */
        if (th->active && th->sweep_due_ns == INT64_MAX)
            th->sweep_due_ns = now_ns(th->http) + SWEEP_MS * INT64_C(1000000);
        if (sweep_now && !th->active)
            continue; /* what has just ended may have been the last */
        wait_and_drive(th);
        finish_ended(th);
    }
}

static void thread_wake(struct s3_http_thread *th)
{
    eventfd_write(th->wake, 1);
}

/* ---- making and freeing ---- */

static int thread_watch(struct s3_http_thread *th, struct varve_error *err)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = 0};

    th->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (th->epoll < 0)
        return base_fail_errno(err, errno, "HTTP: epoll_create1");
    th->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (th->wake < 0)
        return base_fail_errno(err, errno, "HTTP: eventfd");
    event.data.fd = th->wake;
    if (epoll_ctl(th->epoll, EPOLL_CTL_ADD, th->wake, &event) < 0)
        return base_fail_errno(err, errno, "HTTP: epoll_ctl");
    return 0;
}

static int thread_init(struct s3_http *http, struct s3_http_thread *th, struct varve_error *err)
{
    int rc;

    th->http = http;
    th->epoll = th->wake = -1;
    th->curl_due_ns = th->sweep_due_ns = INT64_MAX;
    base_mutex_init(&th->lock);
    rc = thread_watch(th, err);
    if (rc < 0)
        return rc;
    th->multi = curl_multi_init();
    if (!th->multi)
        return base_fail(err, VARVE_E_NO_MEMORY, "HTTP: out of memory");
    curl_multi_setopt(th->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
    curl_multi_setopt(th->multi, CURLMOPT_SOCKETDATA, th);
    curl_multi_setopt(th->multi, CURLMOPT_TIMERFUNCTION, watch_timer);
    curl_multi_setopt(th->multi, CURLMOPT_TIMERDATA, th);
    curl_multi_setopt(th->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    /* What is kept idle; what is in use, queue_take limits. */
    curl_multi_setopt(th->multi, CURLMOPT_MAXCONNECTS, (long)http->options.connections_max);
    return base_thread_start(&th->thread, "varve-http", thread_run, th, err);
}

static void thread_deinit(struct s3_http_thread *th)
{
    const struct base_io *io = th->http->env->io;

    if (th->thread) {
        base_mutex_lock(&th->lock);
        th->stopping = true;
        base_mutex_unlock(&th->lock);
        thread_wake(th);
        base_thread_join(th->thread);
    }
    while (th->handle_count > 0)
        curl_easy_cleanup(th->handles[--th->handle_count]);
    curl_multi_cleanup(th->multi);
    if (th->wake >= 0)
        io->close(io->ctx, th->wake);
    if (th->epoll >= 0)
        io->close(io->ctx, th->epoll);
    base_mutex_deinit(&th->lock);
}

static void options_complete(struct s3_http_options *o)
{
    if (o->threads == 0)
        o->threads = THREADS_DEFAULT;
    if (o->threads > THREADS_MAX)
        o->threads = THREADS_MAX;
    if (o->connections_max == 0)
        o->connections_max = CONNECTIONS_DEFAULT;
    if (o->connect_timeout_ms == 0)
        o->connect_timeout_ms = CONNECT_TIMEOUT_DEFAULT_MS;
    if (o->first_byte_timeout_ms == 0)
        o->first_byte_timeout_ms = FIRST_BYTE_TIMEOUT_DEFAULT_MS;
    if (o->stall_timeout_ms == 0)
        o->stall_timeout_ms = STALL_TIMEOUT_DEFAULT_MS;
}

int s3_http_new(const struct base_env *env, const struct s3_http_options *options,
                struct s3_http **ret, struct varve_error *err)
{
    struct s3_http *http;
    int rc = 0;

    pthread_once(&curl_once, curl_init_once);
    if (curl_ready != CURLE_OK)
        return base_fail(err, VARVE_E_FAILED, "HTTP: libcurl does not start: %s",
                         curl_easy_strerror(curl_ready));
    http = calloc(1, sizeof(*http));
    if (!http)
        return base_fail(err, VARVE_E_NO_MEMORY, "HTTP: out of memory");
    http->env = env;
    http->options = *options;
    options_complete(&http->options);
    if (options->ca_file) {
        http->ca_file = strdup(options->ca_file);
        http->options.ca_file = http->ca_file;
        if (!http->ca_file)
            rc = base_fail(err, VARVE_E_NO_MEMORY, "HTTP: out of memory");
    }
    while (rc == 0 && http->thread_count < http->options.threads)
        rc = thread_init(http, &http->threads[http->thread_count++], err);
    if (rc < 0) {
        s3_http_free(http);
        return rc;
    }
    *ret = http;
    return 0;
}

struct s3_http *s3_http_free(struct s3_http *http)
{
    if (!http)
        return NULL;
    for (unsigned i = 0; i < http->thread_count; i++)
        thread_deinit(&http->threads[i]);
    free(http->ca_file);
    free(http);
    return NULL;
}

/* ---- requests ---- */

/* The first thread with the least to do, so that few requests share few connections. */
static struct s3_http_thread *thread_choose(struct s3_http *http)
{
    struct s3_http_thread *best = NULL;
    unsigned best_load = 0;

    for (unsigned i = 0; i < http->thread_count; i++) {
        struct s3_http_thread *th = &http->threads[i];
        unsigned load;

        base_mutex_lock(&th->lock);
        load = th->load;
        base_mutex_unlock(&th->lock);
        if (!best || load < best_load) {
            best = th;
            best_load = load;
        }
    }
    return best;
}

static bool queue_put(struct s3_http_thread *th, struct s3_transfer *t)
{
    struct s3_transfer **at = &th->queue;
    bool stopping;

    base_mutex_lock(&th->lock);
    stopping = th->stopping;
    if (!stopping) {
        while (*at && (*at)->request->priority <= t->request->priority)
            at = &(*at)->next;
        t->next = *at;
        *at = t;
        th->load++;
    }
    base_mutex_unlock(&th->lock);
    return !stopping;
}

int s3_http_start(struct s3_http *http, struct s3_http_request *request, struct varve_error *err)
{
    struct s3_transfer *t = calloc(1, sizeof(*t));

    if (!t)
        return base_fail(err, VARVE_E_NO_MEMORY, "HTTP: out of memory");
    t->request = request;
    t->thread = thread_choose(http);
    t->started_ns = now_ns(http);
    request->internal = t;
    request->body_memory = NULL; /* also when it is cancelled before it begins */
    request->body_memory_size = 0;
    if (!queue_put(t->thread, t)) {
        free(t);
        return base_fail(err, VARVE_E_CANCELLED, "HTTP: closing");
    }
    thread_wake(t->thread);
    return 0;
}

void s3_http_cancel(struct s3_http *http, struct s3_http_request *request)
{
    struct s3_transfer *t = request->internal;
    struct s3_http_thread *th = t->thread;

    (void)http;
    base_mutex_lock(&th->lock);
    t->cancelled = true;
    th->cancels = true;
    base_mutex_unlock(&th->lock);
    thread_wake(th);
}

void s3_http_reply_deinit(struct s3_http_reply *reply)
{
    for (size_t i = 0; i < S3_HTTP_WANT_MAX; i++) {
        free(reply->headers[i]);
        reply->headers[i] = NULL;
    }
    free(reply->error_body);
    reply->error_body = NULL;
    reply->error_size = 0;
}

struct call {
    struct base_mutex lock;
    struct base_cond ended;
    bool done;
    struct s3_http_reply *reply;
};

static void call_done(struct s3_http_request *request, struct s3_http_reply *reply)
{
    struct call *call = request->ctx;

    base_mutex_lock(&call->lock);
    *call->reply = *reply;
    memset(reply, 0, sizeof(*reply)); /* its memory has moved */
    call->done = true;
    base_cond_signal(&call->ended);
    base_mutex_unlock(&call->lock);
}

int s3_http_call(struct s3_http *http, struct s3_http_request *request, struct s3_http_reply *ret,
                 struct varve_error *err)
{
    struct s3_http_reply reply;
    struct call call = {.reply = &reply};
    int rc;

    request->done = call_done;
    request->ctx = &call;
    base_mutex_init(&call.lock);
    base_cond_init(&call.ended);
    rc = s3_http_start(http, request, err);
    if (rc == 0) {
        base_mutex_lock(&call.lock);
        while (!call.done)
            base_cond_wait(&call.ended, &call.lock);
        base_mutex_unlock(&call.lock);
        *ret = reply;
    }
    base_cond_deinit(&call.ended);
    base_mutex_deinit(&call.lock);
    return rc;
}
