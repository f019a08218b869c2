#include "fakes3/stats.h"

#include <inttypes.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "fakes3/text.h"

struct key_stats {
    char *name; /* "bucket/key" */
    uint64_t gets;
    char *ranges[FAKES3_STATS_RANGES_COUNT_MAX]; /* the first; "" a GET of the whole */
    size_t ranges_count;
};

static int compare_names(const void *a, const void *b)
{
    const struct key_stats *left = a, *right = b;

    return strcmp(left->name, right->name);
}

static void key_free(void *item)
{
    struct key_stats *key = item;

    for (size_t i = 0; i < key->ranges_count; i++)
        free(key->ranges[i]);
    free(key->name);
    free(key);
}

void fakes3_stats_begin(struct fakes3_stats *stats, enum fakes3_operation op)
{
    struct fakes3_stats_operation *o = &stats->operations[op];

    stats->requests++;
    o->requests++;
    if (++stats->in_flight > stats->in_flight_max)
        stats->in_flight_max = stats->in_flight;
    if (++o->in_flight > o->in_flight_max)
        o->in_flight_max = o->in_flight;
}

void fakes3_stats_end(struct fakes3_stats *stats, enum fakes3_operation op, int status,
                      uint64_t bytes_in, uint64_t bytes_out)
{
    struct fakes3_stats_operation *o = &stats->operations[op];

    stats->in_flight--;
    o->in_flight--;
    o->errors += status == 0 || status >= 400;
    o->bytes_in += bytes_in;
    o->bytes_out += bytes_out;
}

void fakes3_stats_get(struct fakes3_stats *stats, const char *bucket, const char *key,
                      const char *range)
{
    struct key_stats *item = fakes3_text_alloc(sizeof(*item));
    struct key_stats **found;

    item->name = fakes3_text_format("%s/%s", bucket, key);
    found = tfind(item, &stats->keys, compare_names);
    if (!found && stats->keys_count < FAKES3_STATS_KEYS_COUNT_MAX) {
        found = tsearch(item, &stats->keys, compare_names);
        stats->keys_count += found != NULL;
    }
    if (!found || *found != item)
        key_free(item);
    if (!found)
        return;
    (*found)->gets++;
    if ((*found)->ranges_count < FAKES3_STATS_RANGES_COUNT_MAX)
        (*found)->ranges[(*found)->ranges_count++] = fakes3_text_copy(range ? range : "");
}

void fakes3_stats_log(struct fakes3_stats *stats, char *line)
{
    size_t at = stats->lines_count++ % FAKES3_STATS_LINES_COUNT_MAX;

    free(stats->lines[at]);
    stats->lines[at] = line;
}

void fakes3_stats_deinit(struct fakes3_stats *stats)
{
    tdestroy(stats->keys, key_free);
    for (size_t i = 0; i < FAKES3_STATS_LINES_COUNT_MAX; i++)
        free(stats->lines[i]);
}

void fakes3_stats_reset(struct fakes3_stats *stats)
{
    uint64_t open = stats->connections_open, in_flight = stats->in_flight;
    uint64_t each[FAKES3_OPERATIONS_COUNT];

    for (size_t i = 0; i < FAKES3_OPERATIONS_COUNT; i++)
        each[i] = stats->operations[i].in_flight;
    fakes3_stats_deinit(stats);
    *stats = (struct fakes3_stats){.connections_open = open,
                                   .connections_open_max = open,
                                   .in_flight = in_flight,
                                   .in_flight_max = in_flight};
    for (size_t i = 0; i < FAKES3_OPERATIONS_COUNT; i++)
        stats->operations[i].in_flight = stats->operations[i].in_flight_max = each[i];
}

static void add_operation(const struct fakes3_stats_operation *o, const char *name, bool first,
                          struct evbuffer *out)
{
    evbuffer_add_printf(out,
                        "%s\"%s\":{\"requests\":%" PRIu64 ",\"errors\":%" PRIu64
                        ",\"bytes_in\":%" PRIu64 ",\"bytes_out\":%" PRIu64 ",\"in_flight\":%" PRIu64
                        ",\"in_flight_max\":%" PRIu64 "}",
                        first ? "" : ",", name, o->requests, o->errors, o->bytes_in, o->bytes_out,
                        o->in_flight, o->in_flight_max);
}

struct key_walk {
    struct evbuffer *out;
    bool more;
};

static void add_key(const void *node, VISIT which, void *arg)
{
    const struct key_stats *key = *(struct key_stats *const *)node;
    struct key_walk *walk = arg;

    if (which != postorder && which != leaf)
        return;
    if (walk->more)
        evbuffer_add(walk->out, ",", 1);
    walk->more = true;
    fakes3_text_json(walk->out, key->name);
    evbuffer_add_printf(walk->out, ":{\"gets\":%" PRIu64 ",\"ranges\":[", key->gets);
    for (size_t i = 0; i < key->ranges_count; i++) {
        if (i)
            evbuffer_add(walk->out, ",", 1);
        fakes3_text_json(walk->out, key->ranges[i]);
    }
    evbuffer_add_printf(walk->out, "]}");
}

void fakes3_stats_json(const struct fakes3_stats *stats, struct evbuffer *out)
{
    struct key_walk walk = {.out = out};
    bool first = true;

    evbuffer_add_printf(out,
                        "\"requests\":%" PRIu64 ",\"bytes_in\":%" PRIu64 ",\"bytes_out\":%" PRIu64
                        ",\"connections\":%" PRIu64 ",\"connections_open\":%" PRIu64
                        ",\"connections_open_max\":%" PRIu64 ",\"in_flight\":%" PRIu64
                        ",\"in_flight_max\":%" PRIu64 ",\"operations\":{",
                        stats->requests, stats->bytes_in, stats->bytes_out, stats->connections,
                        stats->connections_open, stats->connections_open_max, stats->in_flight,
                        stats->in_flight_max);
    for (int op = 0; op < FAKES3_OPERATIONS_COUNT; op++) {
        if (stats->operations[op].requests == 0)
            continue;
        add_operation(&stats->operations[op], fakes3_operation_name((enum fakes3_operation)op),
                      first, out);
        first = false;
    }
    evbuffer_add_printf(out, "},\"keys\":{");
    twalk_r(stats->keys, add_key, &walk);
    evbuffer_add_printf(out, "}");
}

void fakes3_stats_lines(const struct fakes3_stats *stats, uint64_t count, struct evbuffer *out)
{
    uint64_t kept = stats->lines_count < FAKES3_STATS_LINES_COUNT_MAX
                        ? stats->lines_count
                        : FAKES3_STATS_LINES_COUNT_MAX;

    for (uint64_t i = stats->lines_count - (count < kept ? count : kept); i < stats->lines_count;
         i++)
        evbuffer_add_printf(out, "%s\n", stats->lines[i % FAKES3_STATS_LINES_COUNT_MAX]);
}
