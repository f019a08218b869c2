/*
 * append: records from files or standard input.
 *
 * A batch is handed to the log when it is full, when the input ends, and when the input has nothing
 * more at once and the linger time has passed. A record that does not fit into a batch of the usual
 * size goes alone into a larger one.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "log/config.h"
#include "tools/commands.h"
#include "tools/event_time.h"
#include "tools/input.h"
#include "tools/output.h"
#include "tools/record_json.h"
#include "tools/session.h"

#define BATCH_BYTES_DEFAULT (64 * 1024)
#define BATCH_PROBE_BYTES 17 /* of a batch, up to its magic byte */
#define BATCH_MAGIC 2
#define SEED_LINES_MAX 1000 /* looked through for the first time that can be parsed */

enum append_format { APPEND_LINES, APPEND_KV, APPEND_JSONL, APPEND_RAW, APPEND_ENVELOPE };

struct appending {
    struct tools_session session;
    struct tools_progress progress;
    struct tools_output out; /* offsets */
    struct tools_input in;
    struct tools_record_json record_json;
    enum append_format format;
    struct tools_event_time event_time;
    const char *separator;
    size_t separator_size;
    bool print_offsets;
    int64_t linger_ms;

    struct log_config config;
    size_t message_max;
    struct varve_batch *batch;
    struct varve_batch *large; /* made when first needed */
    int64_t deadline_ns;       /* when the batch must go, while it holds records */

    int64_t last_time; /* of the previous record, -1: there is none */
    uint64_t unparsed;
    uint64_t records; /* acknowledged */
    uint64_t bytes;   /* of input taken, finished files included */
    uint64_t bytes_total;
    uint64_t acknowledged_line;
    int64_t first_offset;
    int64_t last_offset;
};

static int64_t now_ns(void)
{
    return base_clock_system.mono_ns(base_clock_system.ctx);
}

static int64_t now_ms(void)
{
    return base_clock_system.wall_ms(base_clock_system.ctx);
}

/* `count` records from `base` on are in the log. */
static int acknowledged(struct appending *a, int64_t base, size_t count, struct varve_error *err)
{
    if (a->records == 0)
        a->first_offset = base;
    a->last_offset = base + (int64_t)count - 1;
    a->records += count;
    a->acknowledged_line = a->in.line;
    tools_progress_set(&a->progress, a->bytes + a->in.bytes, a->bytes_total);
    if (!a->print_offsets)
        return 0;
    for (int64_t offset = base; offset <= a->last_offset; offset++)
        tools_output_printf(&a->out, "%" PRId64 "\n", offset);
    tools_output_flush(&a->out);
    return tools_output_error(&a->out, err);
}

static int batch_flush(struct appending *a, struct varve_batch *batch, struct varve_error *err)
{
    size_t count = varve_batch_count(batch);
    int64_t base;
    int rc;

    if (count == 0)
        return 0;
    rc = varve_log_append(a->session.log, batch, &base, err);
    if (rc < 0)
        return rc;
    varve_batch_clear(batch);
    return acknowledged(a, base, count, err);
}

static int append_large(struct appending *a, const struct varve_record *record,
                        struct varve_error *err)
{
    int level, rc = 0;
    enum varve_codec codec = log_config_codec(&a->config, &level);

    if (!a->large)
        rc = varve_batch_new(codec, level, a->message_max, &a->large, err);
    if (rc == 0)
        rc = varve_batch_add(a->large, record, err);
    if (rc == VARVE_E_TOO_LARGE)
        return base_fail(err, VARVE_E_TOO_LARGE,
                         "%s: line %" PRIu64 " gives a record above max.message.bytes (%zu)",
                         a->in.name, a->in.line, a->message_max);
    return rc < 0 ? rc : batch_flush(a, a->large, err);
}

static int append_record(struct appending *a, const struct varve_record *record,
                         struct varve_error *err)
{
    int rc = varve_batch_add(a->batch, record, err);

    if (rc == VARVE_E_FULL) {
        /* This line is not in the batch that is acknowledged now. */
        a->in.line--;
        rc = batch_flush(a, a->batch, err);
        a->in.line++;
        if (rc == 0)
            rc = varve_batch_add(a->batch, record, err);
    }
    if (rc == VARVE_E_TOO_LARGE) {
        rc = batch_flush(a, a->batch, err);
        return rc < 0 ? rc : append_large(a, record, err);
    }
    if (rc == 0 && varve_batch_count(a->batch) == 1)
        a->deadline_ns = now_ns() + a->linger_ms * 1000000;
    return rc;
}

/* The first time that the lines in the buffer hold: what records before it take. */
static int64_t seed_time(const struct appending *a)
{
    const char *p = a->in.data + a->in.start, *end = a->in.data + a->in.end;
    int64_t ms;

    for (int i = 0; i < SEED_LINES_MAX && p < end; i++) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        const char *line_end = newline ? newline : end;

        if (tools_event_time_find(&a->event_time, p, (size_t)(line_end - p), &ms))
            return ms;
        p = newline ? newline + 1 : end;
    }
    return now_ms();
}

static int64_t time_of(struct appending *a, const char *line, size_t size)
{
    int64_t ms;

    if (a->event_time.kind == TOOLS_TIME_NONE)
        return now_ms();
    if (tools_event_time_find(&a->event_time, line, size, &ms)) {
        a->last_time = ms;
    } else {
        a->unparsed++;
        if (a->last_time < 0)
            a->last_time = seed_time(a);
    }
    return a->last_time;
}

static void split_key(const struct appending *a, struct varve_record *record)
{
    const char *line = record->value;
    const char *at = memmem(line, record->value_size, a->separator, a->separator_size);

    if (!at)
        return;
    record->key = line;
    record->key_size = (size_t)(at - line);
    record->value = at + a->separator_size;
    record->value_size -= record->key_size + a->separator_size;
}

static int append_line(struct appending *a, const char *line, size_t size, struct varve_error *err)
{
    struct varve_record record = {.value = line, .value_size = size};
    const char *why;

    if (a->format == APPEND_ENVELOPE) {
        if (!tools_record_json_parse(&a->record_json, line, size, &record, &why))
            return base_fail(err, VARVE_E_UNSUPPORTED,
                             "%s: line %" PRIu64 " is no record as read --json prints it: %s",
                             a->in.name, a->in.line, why);
        return append_record(a, &record, err);
    }
    record.timestamp = time_of(a, line, size);
    if (a->format == APPEND_KV)
        split_key(a, &record);
    return append_record(a, &record, err);
}

/* Before input is waited for: what is in the batch goes, at the latest when its time has come. */
static int before_waiting(struct appending *a, struct varve_error *err)
{
    int64_t left_ms;

    if (varve_batch_count(a->batch) == 0 || tools_input_has_line(&a->in))
        return 0;
    left_ms = (a->deadline_ns - now_ns() + 999999) / 1000000;
    if (left_ms < 0)
        left_ms = 0;
    if (tools_input_wait(&a->in, left_ms < INT_MAX ? (int)left_ms : INT_MAX))
        return 0;
    return batch_flush(a, a->batch, err);
}

static int append_lines(struct appending *a, struct varve_error *err)
{
    const char *line;
    size_t size;
    int rc;

    for (;;) {
        rc = before_waiting(a, err);
        if (rc == 0)
            rc = tools_input_line(&a->in, &line, &size, err);
        if (rc == 0)
            rc = append_line(a, line, size, err);
        if (rc == 0 && a->linger_ms > 0 && now_ns() >= a->deadline_ns)
            rc = batch_flush(a, a->batch, err);
        if (rc < 0)
            return rc == VARVE_E_END ? 0 : rc;
    }
}

static int append_raw(struct appending *a, struct varve_error *err)
{
    for (;;) {
        const char *data;
        size_t size;
        int64_t base;
        struct record_batch batch;
        int rc = tools_input_peek(&a->in, BATCH_PROBE_BYTES, &data, err);

        if (rc < 0)
            return rc == VARVE_E_END ? 0 : rc;
        size = record_batch_size(data);
        if (size == 0 || data[BATCH_PROBE_BYTES - 1] != BATCH_MAGIC)
            return base_fail(err, VARVE_E_CORRUPT, "%s: byte %" PRIu64 ": not a record batch v2",
                             a->in.name, a->in.bytes);
        if (size > a->message_max)
            return base_fail(err, VARVE_E_TOO_LARGE,
                             "%s: byte %" PRIu64 ": a batch of %zu bytes is above "
                             "max.message.bytes (%zu)",
                             a->in.name, a->in.bytes, size, a->message_max);
        rc = tools_input_peek(&a->in, size, &data, err);
        if (rc == 0)
            rc = record_batch_decode(data, size, &batch, err);
        if (rc == 0)
            rc = varve_log_append_encoded(a->session.log, data, size, &base, err);
        if (rc < 0)
            return base_error_context(err, rc, "%s: byte %" PRIu64, a->in.name, a->in.bytes);
        tools_input_skip(&a->in, size);
        rc = acknowledged(a, base, (size_t)batch.record_count, err);
        if (rc < 0)
            return rc;
    }
}

static int append_file(struct appending *a, const char *path, struct varve_error *err)
{
    int rc = tools_input_open(&a->in, path, a->message_max, err);
    struct varve_error flush_err;

    if (rc < 0)
        return rc;
    a->acknowledged_line = 0;
    rc = a->format == APPEND_RAW ? append_raw(a, err) : append_lines(a, err);
    /* Lines before one that was refused are appended: nothing that was read is lost. After a
     * failure of the log itself this fails again and changes nothing. */
    if (rc == 0 || rc == VARVE_E_TOO_LARGE || rc == VARVE_E_UNSUPPORTED ||
        rc == VARVE_E_CANCELLED) {
        int flush_rc = batch_flush(a, a->batch, &flush_err);

        if (flush_rc < 0) {
            rc = flush_rc;
            *err = flush_err;
        }
    }
    if (rc < 0 && rc != VARVE_E_CANCELLED && a->format != APPEND_RAW)
        tools_note(a->session.args, "appended %" PRIu64 " records; of %s up to line %" PRIu64,
                   a->records, a->in.name, a->acknowledged_line);
    a->bytes += a->in.bytes;
    tools_input_close(&a->in);
    return rc;
}

static int take_option(void *ctx, const char *name, const char *value, bool is_default)
{
    struct appending *a = ctx;

    /* What this version does not know does not concern batches. */
    if (!is_default)
        log_config_set(&a->config, name, value, NULL);
    return 0;
}

static bool same_value(const char *a, const char *b)
{
    int64_t x, y;

    if (strcmp(a, b) == 0)
        return true;
    return (base_parse_size(a, &x) && base_parse_size(b, &y) && x == y) ||
           (base_parse_duration_ms(a, &x) && base_parse_duration_ms(b, &y) && x == y);
}

struct compare {
    const struct varve_option *wanted;
    const char *found; /* the value in force when it differs */
    char text[128];
};

static int compare_option(void *ctx, const char *name, const char *value, bool is_default)
{
    struct compare *c = ctx;

    (void)is_default;
    if (strcmp(name, c->wanted->name) != 0)
        return 0;
    c->found = "";
    if (!same_value(value, c->wanted->value)) {
        snprintf(c->text, sizeof(c->text), "%s", value);
        c->found = c->text;
    }
    return 1;
}

/* -o given for a log that is there already must not be dropped in silence. */
static int options_check(struct appending *a)
{
    size_t count;
    const struct varve_option *pairs = tools_pairs(a->session.args, &count);

    for (size_t i = 0; i < count; i++) {
        struct compare c = {.wanted = &pairs[i]};

        varve_log_each_option(a->session.log, compare_option, &c, NULL);
        if (!c.found)
            return tools_usage(a->session.args, "option %s: there is none of that name",
                               pairs[i].name);
        if (c.found[0] != '\0')
            return tools_usage(a->session.args,
                               "the log is there already, and its %s is %s, not %s; "
                               "varve config changes it",
                               pairs[i].name, c.found, pairs[i].value);
    }
    return TOOLS_OK;
}

/* Opens the log, which is made when it is not there. */
static int log_open(struct appending *a)
{
    struct tools_args *args = a->session.args;
    const char *durability = tools_text(args, "durability"), *name = tools_operand(args, 1);
    struct varve_log_options o = {.size = sizeof(o)};
    const struct varve_option *pairs;
    struct varve_error err;
    size_t count;
    int rc;

    if (durability && strcmp(durability, "fsync") == 0)
        o.durability = VARVE_DURABILITY_FSYNC;
    rc = varve_log_open(a->session.store, name, &o, &a->session.log, &err);
    if (rc == 0)
        return options_check(a);
    if (rc == VARVE_E_NOT_FOUND) {
        pairs = tools_pairs(args, &count);
        rc = varve_log_create(a->session.store, name, pairs, count, &err);
        if (rc == 0 ||
            rc == VARVE_E_EXISTS) /* another store was first: opening tells whose it is */
            rc = varve_log_open(a->session.store, name, &o, &a->session.log, &err);
    }
    return rc < 0 ? tools_fail(args, &err) : TOOLS_OK;
}

static int batch_open(struct appending *a, struct varve_error *err)
{
    int64_t bytes = BATCH_BYTES_DEFAULT;
    enum varve_codec codec;
    int level;

    log_config_init(&a->config);
    if (varve_log_each_option(a->session.log, take_option, a, err) < 0)
        return err->code;
    a->message_max = log_config_batch_bytes_max(&a->config);
    if (bytes > a->config.segment_bytes / 4)
        bytes = a->config.segment_bytes / 4;
    if ((uint64_t)bytes > a->message_max)
        bytes = (int64_t)a->message_max;
    bytes = tools_number(a->session.args, "batch", bytes);
    if ((uint64_t)bytes > a->message_max)
        return base_fail(err, VARVE_E_INVALID, "--batch %" PRId64 ": max.message.bytes allows %zu",
                         bytes, a->message_max);
    codec = log_config_codec(&a->config, &level);
    return varve_batch_new(codec, level, (size_t)bytes, &a->batch, err);
}

static void print_summary(const struct appending *a)
{
    if (a->unparsed > 0)
        tools_note(a->session.args,
                   "%" PRIu64 " of %" PRIu64 " records had no time that could be parsed; each took "
                   "that of the record before",
                   a->unparsed, a->records);
    if (tools_flag(a->session.args, "json")) {
        printf("{\"records\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"unparsed_times\":%" PRIu64,
               a->records, a->bytes, a->unparsed);
        if (a->records > 0)
            printf(",\"first_offset\":%" PRId64 ",\"last_offset\":%" PRId64, a->first_offset,
                   a->last_offset);
        puts("}");
    } else if (tools_flag(a->session.args, "verbose") && a->records > 0) {
        tools_note(a->session.args, "%" PRIu64 " records, offsets %" PRId64 " to %" PRId64,
                   a->records, a->first_offset, a->last_offset);
    }
}

static int append_all(struct appending *a)
{
    struct tools_args *args = a->session.args;
    int count = tools_operand_count(args), rc;
    struct varve_error err;

    rc = tools_output_init(&a->out, STDOUT_FILENO, &err);
    if (rc == 0)
        rc = batch_open(a, &err);
    for (int i = 2; rc == 0 && (i < count || i == 2); i++)
        rc = append_file(a, i < count ? tools_operand(args, i) : "-", &err);
    tools_progress_end(&a->progress);
    print_summary(a);
    a->batch = varve_batch_free(a->batch);
    a->large = varve_batch_free(a->large);
    tools_output_deinit(&a->out);
    if (rc == VARVE_E_CANCELLED)
        return tools_signal_exit();
    return rc < 0 ? tools_fail(args, &err) : TOOLS_OK;
}

/* Before anything is appended: is every file there? Adds up their sizes for the bar. */
static int files_check(struct appending *a)
{
    struct tools_args *args = a->session.args;
    bool known = tools_operand_count(args) > 2;
    struct varve_error err;
    struct stat st;

    for (int i = 2; i < tools_operand_count(args); i++) {
        const char *path = tools_operand(args, i);

        if (strcmp(path, "-") == 0) {
            known = false;
        } else if (stat(path, &st) < 0 || access(path, R_OK) < 0) {
            base_fail_errno(&err, errno, "read %s", path);
            return tools_fail(args, &err);
        } else if (S_ISDIR(st.st_mode)) {
            base_fail_errno(&err, EISDIR, "read %s", path);
            return tools_fail(args, &err);
        } else {
            known = known && S_ISREG(st.st_mode);
            a->bytes_total += (uint64_t)st.st_size;
        }
    }
    if (!known)
        a->bytes_total = 0;
    return TOOLS_OK;
}

static enum append_format format_of(const char *name)
{
    if (!name || strcmp(name, "lines") == 0)
        return APPEND_LINES;
    if (strcmp(name, "kv") == 0)
        return APPEND_KV;
    if (strcmp(name, "jsonl") == 0)
        return APPEND_JSONL;
    return strcmp(name, "raw") == 0 ? APPEND_RAW : APPEND_ENVELOPE;
}

/* Options that contradict each other are refused before anything is opened. */
static int options_read(struct appending *a)
{
    struct tools_args *args = a->session.args;
    const char *format = tools_text(args, "time-format"), *field = tools_text(args, "time-field");

    a->format = format_of(tools_text(args, "format"));
    if (field && a->format != APPEND_JSONL)
        return tools_usage(args, "--time-field is for --format jsonl");
    if (format && (a->format == APPEND_RAW || a->format == APPEND_ENVELOPE))
        return tools_usage(args, "--time-format: with this format the times come with the records");
    if (a->format == APPEND_JSONL && !field)
        field = "timestamp";
    if (!tools_event_time_init(&a->event_time, format, field))
        return tools_usage(args,
                           "--time-format: \"%s\" is none of apache, iso8601, epoch_ms, epoch_s, "
                           "and no strptime pattern",
                           format);
    a->separator = tools_text(args, "key-separator") ? tools_text(args, "key-separator") : "\t";
    a->separator_size = strlen(a->separator);
    a->print_offsets = tools_flag(args, "print-offsets");
    a->linger_ms = tools_number(args, "linger", 0);
    if (a->linger_ms > INT_MAX)
        return tools_usage(args, "--linger: more than %d ms", INT_MAX);
    return TOOLS_OK;
}

int tools_append(struct tools_args *args)
{
    struct appending a = {.session = {.args = args}, .last_time = -1};
    struct varve_store_options o = {0};
    int rc = options_read(&a);

    if (rc == TOOLS_OK)
        rc = files_check(&a);
    if (rc != TOOLS_OK)
        return rc;
    tools_progress_init(&a.progress, args, "append");
    tools_signals_catch();
    o.take_over = tools_flag(args, "take-over");
    rc = tools_session_open(&a.session, args, &o);
    if (rc == TOOLS_OK)
        rc = log_open(&a);
    if (rc == TOOLS_OK)
        rc = append_all(&a);
    tools_session_stats(&a.session);
    tools_record_json_deinit(&a.record_json);
    tools_session_close(&a.session);
    return rc;
}
