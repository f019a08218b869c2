/*
 * read: prints records from wherever they lie.
 *
 * Output is gathered in one large buffer and written when it is full, when following has caught up,
 * and at the end.
 */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "tools/commands.h"
#include "tools/output.h"
#include "tools/session.h"

/* While following, how often a signal and a closed output are looked for. */
#define FOLLOW_WAIT_MS 200

enum read_format { READ_LINES, READ_KV, READ_RAW, READ_ENVELOPE };

struct reading {
    struct tools_session session;
    struct tools_output out;
    struct varve_reader *reader;
    enum read_format format;
    const char *separator;
    size_t separator_size;
    bool follow;
    int64_t stop_offset; /* first offset not printed; INT64_MAX: none */
    int64_t left;        /* records still wanted */
};

static void print_record(struct reading *r, const struct varve_record *record)
{
    if (r->format == READ_ENVELOPE) {
        tools_output_json_record(&r->out, record);
    } else {
        if (r->format == READ_KV && record->key) {
            tools_output_add(&r->out, record->key, record->key_size);
            tools_output_add(&r->out, r->separator, r->separator_size);
        }
        tools_output_add(&r->out, record->value, record->value_size);
    }
    tools_output_char(&r->out, '\n');
}

/* Prints what the reader has next: a record, or with raw a whole batch. */
static int print_next(struct reading *r, int64_t timeout_ms, struct varve_error *err)
{
    struct varve_batch_view batch;
    struct varve_record record;
    int rc;

    if (r->format == READ_RAW) {
        rc = varve_reader_next_batch(r->reader, timeout_ms, &batch, err);
        if (rc < 0)
            return rc;
        if (batch.base_offset >= r->stop_offset)
            r->left = 0;
        if (r->left == 0)
            return 0;
        tools_output_add(&r->out, batch.data, batch.size);
        r->left -= (int64_t)batch.record_count < r->left ? (int64_t)batch.record_count : r->left;
        return 0;
    }
    rc = varve_reader_next(r->reader, timeout_ms, &record, err);
    if (rc < 0)
        return rc;
    if (record.offset >= r->stop_offset) {
        r->left = 0;
        return 0;
    }
    print_record(r, &record);
    r->left--;
    return 0;
}

/* Caught up: hands on what is there, and waits. */
static int wait_for_more(struct reading *r, struct varve_error *err)
{
    int rc = VARVE_E_END;

    tools_output_flush(&r->out);
    while (rc == VARVE_E_END && !tools_signal && !tools_output_probe(&r->out) &&
           !tools_output_ended(&r->out))
        rc = print_next(r, FOLLOW_WAIT_MS, err);
    return rc;
}

static int print_all(struct reading *r, struct varve_error *err)
{
    int rc = 0;

    while (rc == 0 && r->left > 0 && !tools_signal && !tools_output_ended(&r->out) &&
           varve_reader_offset(r->reader) < r->stop_offset) {
        rc = print_next(r, 0, err);
        if (rc == VARVE_E_END && r->follow)
            rc = wait_for_more(r, err);
    }
    tools_output_flush(&r->out);
    if (rc == VARVE_E_END)
        rc = 0;
    return rc < 0 ? rc : tools_output_error(&r->out, err);
}

static int reader_open(struct reading *r, struct varve_error *err)
{
    struct tools_args *args = r->session.args;
    struct varve_reader_options o = {.size = sizeof(o)};
    const char *from = tools_text(args, "from"), *to = tools_text(args, "to");
    struct tools_place place;
    int rc = 0;

    r->stop_offset = INT64_MAX;
    if (to && tools_place_parse(to, &place))
        rc = tools_place_resolve(r->session.log, &place, &r->stop_offset, err);
    else if (!r->follow)
        rc = tools_place_resolve(r->session.log, &(struct tools_place){.from = VARVE_FROM_END},
                                 &r->stop_offset, err);
    if (rc < 0)
        return rc;
    if (from && tools_place_parse(from, &place)) {
        o.from = place.from;
        o.offset = place.offset;
        o.timestamp = place.timestamp;
    }
    return varve_reader_open(r->session.log, &o, &r->reader, err);
}

static enum read_format format_of(const struct tools_args *args)
{
    const char *format = tools_text(args, "format");

    if (format && strcmp(format, "raw") == 0)
        return READ_RAW;
    if (tools_flag(args, "json") || (format && strcmp(format, "envelope") == 0))
        return READ_ENVELOPE;
    return format && strcmp(format, "kv") == 0 ? READ_KV : READ_LINES;
}

static int reading_run(struct reading *r)
{
    struct varve_error err;
    int rc = reader_open(r, &err);

    if (rc == 0)
        rc = tools_output_init(&r->out, STDOUT_FILENO, &err);
    if (rc == 0)
        rc = print_all(r, &err);
    tools_output_deinit(&r->out);
    r->reader = varve_reader_close(r->reader);
    return rc < 0 ? tools_fail(r->session.args, &err) : TOOLS_OK;
}

int tools_read(struct tools_args *args)
{
    struct varve_store_options o = {.read_only = true, .no_background = true};
    struct reading r = {.format = format_of(args), .follow = tools_flag(args, "follow")};
    int rc;

    if (tools_flag(args, "json") && r.format == READ_RAW)
        return tools_usage(args, "--json and --format raw exclude each other");
    r.separator = tools_text(args, "key-separator") ? tools_text(args, "key-separator") : "\t";
    r.separator_size = strlen(r.separator);
    r.left = tools_text(args, "count") ? tools_number(args, "count", 0) : INT64_MAX;
    o.cache_bytes = tools_flag(args, "no-cache") ? -1 : 0;
    tools_signals_catch();
    rc = tools_session_open(&r.session, args, &o);
    if (rc == TOOLS_OK)
        rc = tools_session_log(&r.session, tools_operand(args, 1), VARVE_DURABILITY_OS);
    if (rc == TOOLS_OK)
        rc = reading_run(&r);
    tools_session_stats(&r.session);
    tools_session_close(&r.session);
    if (rc == TOOLS_OK && tools_signal && !r.follow)
        return tools_signal_exit();
    return rc;
}
