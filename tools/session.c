#include "tools/session.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"

volatile sig_atomic_t tools_signal;

static void on_signal(int number)
{
    tools_signal = number;
}

void tools_signals_catch(void)
{
    struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART: read(2) must return */

    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

int tools_signal_exit(void)
{
    return 128 + (int)tools_signal;
}

/* Any thread of the library; one fprintf is one line. */
static void on_message(void *ctx, int level, const char *text)
{
    bool verbose = *(const bool *)ctx;

    if (level <= VARVE_LOG_WARNING || (verbose && level <= VARVE_LOG_INFO))
        fprintf(stderr, "varve: %s%s\n", level <= VARVE_LOG_ERROR ? "error: " : "", text);
}

void tools_session_listen(const struct tools_args *args, struct varve_store_options *options)
{
    static bool verbose; /* outlives the store, whose threads read it */

    verbose = tools_flag(args, "verbose");
    options->message = on_message;
    options->callback_ctx = &verbose;
}

int tools_session_open(struct tools_session *s, struct tools_args *args,
                       const struct varve_store_options *options)
{
    struct varve_store_options o = *options;
    struct varve_error err;

    *s = (struct tools_session){.args = args};
    o.size = sizeof(o);
    tools_session_listen(args, &o);
    if (varve_store_open(tools_operand(args, 0), &o, &s->store, &err) < 0)
        return tools_fail(args, &err);
    return TOOLS_OK;
}

int tools_session_log(struct tools_session *s, const char *name, enum varve_durability durability)
{
    struct varve_log_options o = {.size = sizeof(o), .durability = durability};
    struct varve_error err;

    if (varve_log_open(s->store, name, &o, &s->log, &err) < 0)
        return tools_fail(s->args, &err);
    return TOOLS_OK;
}

void tools_session_close(struct tools_session *s)
{
    s->log = varve_log_close(s->log);
    s->store = varve_store_close(s->store);
}

struct name_list {
    char **names;
    size_t count;
    bool failed;
};

static int collect_name(void *ctx, const char *name)
{
    struct name_list *list = ctx;
    char **more = realloc(list->names, (list->count + 1) * sizeof(*more));

    if (more)
        list->names = more;
    if (!more || !(list->names[list->count] = strdup(name))) {
        list->failed = true;
        return 1;
    }
    list->count++;
    return 0;
}

static int each_one(struct tools_session *s, const char *name, bool named,
                    int (*one)(struct tools_session *s, const char *name, void *ctx), void *ctx)
{
    int rc = tools_session_log(s, name, VARVE_DURABILITY_OS);

    if (rc == TOOLS_OK)
        rc = one(s, name, ctx);
    else if (rc == TOOLS_NOT_FOUND && !named)
        /* Deleted since, or by a command that was interrupted: said, and the others are there. */
        rc = TOOLS_OK;
    s->log = varve_log_close(s->log);
    return rc;
}

int tools_session_each(struct tools_session *s,
                       int (*one)(struct tools_session *s, const char *name, void *ctx), void *ctx)
{
    const char *name = tools_operand(s->args, 1);
    struct name_list list = {0};
    struct varve_error err;
    int rc = TOOLS_OK;

    if (name)
        return each_one(s, name, true, one, ctx);
    if (varve_store_each_log(s->store, collect_name, &list, &err) < 0)
        rc = tools_fail(s->args, &err);
    if (list.failed) {
        tools_note(s->args, "out of memory");
        rc = TOOLS_FAILURE;
    }
    for (size_t i = 0; i < list.count; i++) {
        if (rc == TOOLS_OK)
            rc = each_one(s, list.names[i], false, one, ctx);
        free(list.names[i]);
    }
    free(list.names);
    return rc;
}

struct counter {
    const char *name;
    uint64_t value;
};

static void stats_json(const struct counter *counters, size_t count)
{
    for (size_t i = 0; i < count; i++)
        fprintf(stderr, "%s\"%s\":%" PRIu64, i > 0 ? "," : "{", counters[i].name,
                counters[i].value);
    fputs("}\n", stderr);
}

static void stats_text(const struct varve_store_stats *st)
{
    char sent[16], received[16], hot[16], cold[16], appended[16], cache[16];

    base_format_size(st->cold_bytes_sent, sent);
    base_format_size(st->cold_bytes_received, received);
    base_format_size(st->hot_bytes_read, hot);
    base_format_size(st->cold_bytes_read, cold);
    base_format_size(st->bytes_appended, appended);
    base_format_size(st->block_cache_bytes, cache);
    fprintf(stderr,
            "hot    read %" PRIu64 " batches, %s; appended %" PRIu64 " batches, %s\n"
            "cold   read %" PRIu64 " batches, %s\n",
            st->hot_batches_read, hot, st->batches_appended, appended, st->cold_batches_read, cold);
    fprintf(stderr,
            "store  put %" PRIu64 ", get %" PRIu64 ", head %" PRIu64 ", list %" PRIu64
            ", delete %" PRIu64 ", failed %" PRIu64 "; sent %s, received %s\n",
            st->cold_put_requests, st->cold_get_requests, st->cold_head_requests,
            st->cold_list_requests, st->cold_delete_requests, st->cold_failures, sent, received);
    fprintf(stderr,
            "cache  blocks: %" PRIu64 " hits, %" PRIu64 " misses, %s; tables: %" PRIu64
            " hits, %" PRIu64 " misses\n",
            st->block_cache_hits, st->block_cache_misses, cache, st->table_hits, st->table_misses);
}

void tools_session_stats(const struct tools_session *s)
{
    struct varve_store_stats st = {.size = sizeof(st)};

    if (!s->store || !tools_flag(s->args, "stats"))
        return;
    varve_store_stats(s->store, &st);
    if (!tools_flag(s->args, "json")) {
        stats_text(&st);
        return;
    }
    stats_json(
        (const struct counter[]){
            {"cold_put_requests", st.cold_put_requests},
            {"cold_get_requests", st.cold_get_requests},
            {"cold_head_requests", st.cold_head_requests},
            {"cold_list_requests", st.cold_list_requests},
            {"cold_delete_requests", st.cold_delete_requests},
            {"cold_failures", st.cold_failures},
            {"cold_bytes_sent", st.cold_bytes_sent},
            {"cold_bytes_received", st.cold_bytes_received},
            {"block_cache_hits", st.block_cache_hits},
            {"block_cache_misses", st.block_cache_misses},
            {"block_cache_bytes", st.block_cache_bytes},
            {"table_hits", st.table_hits},
            {"table_misses", st.table_misses},
            {"hot_batches_read", st.hot_batches_read},
            {"hot_bytes_read", st.hot_bytes_read},
            {"cold_batches_read", st.cold_batches_read},
            {"cold_bytes_read", st.cold_bytes_read},
            {"batches_appended", st.batches_appended},
            {"bytes_appended", st.bytes_appended},
        },
        19);
}

#define PROGRESS_EVERY_NS INT64_C(100000000)
#define PROGRESS_CELLS 30

void tools_progress_init(struct tools_progress *p, const struct tools_args *args, const char *what)
{
    *p = (struct tools_progress){.what = what};
    p->enabled = isatty(STDERR_FILENO) && !tools_flag(args, "quiet");
}

void tools_progress_set(void *progress, uint64_t done_bytes, uint64_t total_bytes)
{
    struct tools_progress *p = progress;
    char done[16], total[16], bar[PROGRESS_CELLS + 1];
    unsigned percent, cells;
    int64_t now;

    if (!p->enabled || total_bytes == 0)
        return;
    now = base_clock_system.mono_ns(base_clock_system.ctx);
    if (now < p->next_ns)
        return;
    p->next_ns = now + PROGRESS_EVERY_NS;
    if (done_bytes > total_bytes)
        done_bytes = total_bytes;
    percent = (unsigned)((double)done_bytes * 100 / (double)total_bytes);
    cells = percent * PROGRESS_CELLS / 100;
    for (unsigned i = 0; i < PROGRESS_CELLS; i++)
        bar[i] = i < cells ? '#' : '.';
    bar[PROGRESS_CELLS] = '\0';
    base_format_size(done_bytes, done);
    base_format_size(total_bytes, total);
    fprintf(stderr, "\r%-12.12s [%s] %3u%%  %s of %s\033[K", p->what, bar, percent, done, total);
    p->shown = true;
}

void tools_progress_end(struct tools_progress *p)
{
    if (p->shown)
        fputs("\r\033[K", stderr);
    p->shown = false;
}
