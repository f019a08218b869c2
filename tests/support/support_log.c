#include "tests/support/support_log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/tiny.h"

#define OPTIONS_MAX 16

void support_succeeds(int rc, const struct varve_error *err)
{
    if (rc != 0)
        fail_msg("%s: %s", varve_error_name(rc), err->msg);
}

void support_fails(int rc, const struct varve_error *err, int code, const char *part)
{
    if (rc != code)
        fail_msg("%s instead of %s: %s", rc ? varve_error_name(rc) : "success",
                 varve_error_name(code), rc ? err->msg : "");
    if (err->code != code)
        fail_msg("returned %s, filled in %s", varve_error_name(code), varve_error_name(err->code));
    if (part && !strstr(err->msg, part))
        fail_msg("\"%s\" is not in \"%s\"", part, err->msg);
}

struct varve_store_options support_store_options(struct support_env *e)
{
    struct base_logger logger = support_logger_seam(e->logger);

    return (struct varve_store_options){
        .size = sizeof(struct varve_store_options),
        .message = logger.message,
        .callback_ctx = logger.ctx,
        .threads = 1,
        .no_background = true,
        .cache_bytes = 1024 * 1024,
        .reserve_bytes = 256 * 1024,
    };
}

const char *support_store_path(struct support_env *e, const char *part)
{
    return part ? support_tmpdir_path(e->dir, "store/%s", part)
                : support_tmpdir_path(e->dir, "store");
}

struct varve_store *support_store_open(struct support_env *e,
                                       const struct varve_store_options *options)
{
    struct varve_store_options defaults = support_store_options(e);
    const char *path = support_store_path(e, NULL);
    struct varve_store *store = NULL;
    struct varve_error err = {0};
    int rc;

    if (!options)
        options = &defaults;
    rc = log_store_open_env(&e->env, path, options, &store, &err);
    if (rc == VARVE_E_NOT_FOUND) {
        support_succeeds(log_store_create_env(&e->env, path, options, &err), &err);
        rc = log_store_open_env(&e->env, path, options, &store, &err);
    }
    support_succeeds(rc, &err);
    return store;
}

struct varve_store *support_store_open_faulty(struct support_env *e, const char *faults)
{
    struct varve_store_options options = support_store_options(e);
    char url[4200];

    snprintf(url, sizeof(url), "faulty+file://%s?seed=1&faults=%s", support_store_path(e, "cold"),
             faults);
    options.cold_url = url;
    return support_store_open(e, &options);
}

/* Splits "a=b c=d" in place. */
static size_t options_split(char *text, struct varve_option *ret)
{
    size_t count = 0;

    for (char *save = NULL, *word = strtok_r(text, " ", &save); word;
         word = strtok_r(NULL, " ", &save)) {
        char *eq = strchr(word, '=');
        assert_non_null(eq);
        assert_true(count < OPTIONS_MAX);
        *eq = '\0';
        ret[count++] = (struct varve_option){word, eq + 1};
    }
    return count;
}

/* What a log of the tiny run has where its test has not chosen. */
static const struct varve_option tiny_options[] = {
    {"segment.bytes", "4096"},
    {"cold.block.bytes", "4096"},
    {"index.interval.bytes", "512"},
    {"local.retention.bytes", "0"},
};

static size_t options_add_tiny(struct varve_option *options, size_t count)
{
    size_t chosen = count;

    for (size_t i = 0; i < sizeof(tiny_options) / sizeof(tiny_options[0]); i++) {
        size_t k = 0;
        while (k < chosen && strcmp(options[k].name, tiny_options[i].name) != 0)
            k++;
        assert_true(count < OPTIONS_MAX);
        if (k == chosen)
            options[count++] = tiny_options[i];
    }
    return count;
}

static size_t options_of(const char *config, char **ret_text, struct varve_option *ret)
{
    const char *fallback = support_tiny() ? "flush.ms=-1" : "segment.bytes=65536 flush.ms=-1";
    size_t count;

    *ret_text = strdup(config ? config : fallback);
    assert_non_null(*ret_text);
    count = options_split(*ret_text, ret);
    return support_tiny() ? options_add_tiny(ret, count) : count;
}

struct varve_log *support_log_open(struct varve_store *store, const char *name, const char *config)
{
    struct varve_option options[OPTIONS_MAX];
    struct varve_log *log = NULL;
    struct varve_error err = {0};
    int rc = varve_log_open(store, name, NULL, &log, &err);

    if (rc == VARVE_E_NOT_FOUND) {
        char *text;
        size_t count = options_of(config, &text, options);
        support_succeeds(varve_log_create(store, name, options, count, &err), &err);
        free(text);
        rc = varve_log_open(store, name, NULL, &log, &err);
    }
    support_succeeds(rc, &err);
    return log;
}

void support_log_record(int64_t number, struct support_log_record *buf, struct varve_record *ret)
{
    int used = snprintf(buf->value, sizeof(buf->value), "record %lld ", (long long)number);
    size_t size = 60 + (size_t)((uint64_t)number * 37 % 90);

    for (size_t i = (size_t)used; i < size; i++)
        buf->value[i] = (char)('a' + (number * 7 + (int64_t)i * (number % 5 + 1)) % 26);
    *ret = (struct varve_record){
        .offset = number,
        .timestamp = SUPPORT_LOG_TIME + number,
        .value = buf->value,
        .value_size = size,
    };
    if (number % 3) {
        ret->key = buf->key;
        ret->key_size = (size_t)snprintf(buf->key, sizeof(buf->key), "key %lld", (long long)number);
    }
}

bool support_log_record_is(const struct varve_record *record, int64_t number)
{
    struct support_log_record buf;
    struct varve_record want;

    support_log_record(number, &buf, &want);
    return record->offset == number && record->timestamp == want.timestamp &&
           record->value_size == want.value_size &&
           !memcmp(record->value, want.value, want.value_size) && !record->key == !want.key &&
           record->key_size == want.key_size &&
           (!want.key || !memcmp(record->key, want.key, want.key_size)) &&
           record->header_count == 0;
}

static int find_at_once(void *ctx, const char *name, const char *value, bool is_default)
{
    (void)is_default;
    if (!strcmp(name, "local.retention.bytes"))
        *(bool *)ctx = !strcmp(value, "0");
    return 0;
}

static bool evicts_at_once(struct varve_log *log)
{
    struct varve_error err = {0};
    bool at_once = false;

    support_succeeds(varve_log_each_option(log, find_at_once, &at_once, &err), &err);
    return at_once;
}

int64_t support_log_append(struct varve_log *log, int batches, int count)
{
    struct varve_log_info info = support_log_info(log);
    struct varve_batch *batch = NULL;
    struct varve_error err = {0};
    int64_t next = info.end_offset, base = -1;

    support_succeeds(varve_batch_new(VARVE_CODEC_NONE, 0, 1 << 26, &batch, &err), &err);
    for (int i = 0; i < batches; i++) {
        varve_batch_clear(batch);
        for (int k = 0; k < count; k++) {
            struct support_log_record buf;
            struct varve_record record;
            support_log_record(next + k, &buf, &record);
            support_succeeds(varve_batch_add(batch, &record, &err), &err);
        }
        support_succeeds(varve_log_append(log, batch, &base, &err), &err);
        assert_int_equal(base, next);
        next += count;
    }
    varve_batch_free(batch);
    if (support_tiny() && evicts_at_once(log))
        support_log_tier(log, false, false);
    return next;
}

void support_log_tier(struct varve_log *log, bool seal, bool evict)
{
    struct varve_tier_options options = {.size = sizeof(options), .seal = seal, .evict = evict};
    struct varve_error err = {0};

    support_succeeds(varve_log_tier(log, &options, &err), &err);
}

int64_t support_log_read(struct varve_log *log, int64_t from)
{
    struct varve_reader_options options = {
        .size = sizeof(options), .from = VARVE_FROM_OFFSET, .offset = from};
    struct varve_reader *reader = NULL;
    struct varve_record record;
    struct varve_error err = {0};
    int64_t next = from;
    int rc;

    support_succeeds(varve_reader_open(log, &options, &reader, &err), &err);
    while ((rc = varve_reader_next(reader, 0, &record, &err)) == 0) {
        if (!support_log_record_is(&record, next))
            fail_msg("offset %lld holds something else: offset %lld", (long long)next,
                     (long long)record.offset);
        next++;
        assert_int_equal(varve_reader_offset(reader), next);
    }
    support_fails(rc, &err, VARVE_E_END, NULL);
    varve_reader_close(reader);
    return next;
}

struct varve_log_info support_log_info(struct varve_log *log)
{
    struct varve_log_info info = {.size = sizeof(info)};
    struct varve_error err = {0};

    support_succeeds(varve_log_info(log, &info, &err), &err);
    return info;
}

struct varve_store_stats support_store_stats(struct varve_store *store)
{
    struct varve_store_stats stats = {.size = sizeof(stats)};

    varve_store_stats(store, &stats);
    return stats;
}
