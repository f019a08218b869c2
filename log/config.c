#include "log/config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/text.h"
#include "record/codec.h"

enum option_kind { OPTION_COUNT, OPTION_BYTES, OPTION_MS, OPTION_WORD };

struct option_word {
    const char *word;
    int64_t value;
};

struct option {
    const char *name;
    enum option_kind kind;
    size_t field; /* offsetof the int64_t in struct log_config */
    int64_t fallback;
    int64_t min;
    int64_t max;
    const struct option_word *words;
    const char *refused; /* why a word that Kafka knows is not taken */
};

static const struct option_word compression_words[] = {
    {"producer", LOG_COMPRESSION_PRODUCER},
    {"none", VARVE_CODEC_NONE},
    {"uncompressed", VARVE_CODEC_NONE},
    {"gzip", VARVE_CODEC_GZIP},
    {"snappy", VARVE_CODEC_SNAPPY},
    {"lz4", VARVE_CODEC_LZ4},
    {"zstd", VARVE_CODEC_ZSTD},
    {NULL, 0},
};
static const struct option_word unuploaded_words[] = {
    {"keep", LOG_UNUPLOADED_KEEP},
    {"delete", LOG_UNUPLOADED_DELETE},
    {NULL, 0},
};
static const struct option_word cleanup_words[] = {{"delete", 0}, {NULL, 0}};
static const struct option_word timestamp_words[] = {{"CreateTime", 0}, {NULL, 0}};

#define FIELD(name) offsetof(struct log_config, name)
#define DAY_MS (24 * 60 * 60 * INT64_C(1000))

/* docs/configuration.md says what each means; a test compares the two. */
static const struct option options[] = {
    {"cleanup.policy", OPTION_WORD, FIELD(cleanup_policy), 0, 0, 0, cleanup_words,
     "an archive never rewrites its segments, so \"compact\" is not offered"},
    {"cold.block.bytes", OPTION_BYTES, FIELD(cold_block_bytes), 1024 * 1024, 4096, 64 * 1024 * 1024,
     NULL, NULL},
    {"cold.compression.level", OPTION_COUNT, FIELD(cold_compression_level), 3, 1, 19, NULL, NULL},
    {"compression.gzip.level", OPTION_COUNT, FIELD(gzip_level), 6, 1, 9, NULL, NULL},
    {"compression.lz4.level", OPTION_COUNT, FIELD(lz4_level), 1, 1, 12, NULL, NULL},
    {"compression.type", OPTION_WORD, FIELD(compression_type), LOG_COMPRESSION_PRODUCER, 0, 0,
     compression_words, NULL},
    {"compression.zstd.level", OPTION_COUNT, FIELD(zstd_level), 3, 1, 19, NULL, NULL},
    {"file.delete.delay.ms", OPTION_MS, FIELD(file_delete_delay_ms), 60000, 0, INT64_MAX, NULL,
     NULL},
    {"flush.ms", OPTION_MS, FIELD(flush_ms), 1000, -1, INT64_MAX, NULL, NULL},
    {"index.interval.bytes", OPTION_BYTES, FIELD(index_interval_bytes), 4096, 512, 64 * 1024 * 1024,
     NULL, NULL},
    {"local.retention.bytes", OPTION_BYTES, FIELD(local_retention_bytes), -2, -2, INT64_MAX, NULL,
     NULL},
    {"local.retention.ms", OPTION_MS, FIELD(local_retention_ms), -2, -2, INT64_MAX, NULL, NULL},
    {"max.message.bytes", OPTION_BYTES, FIELD(max_message_bytes), 0, 1024, HOT_SEGMENT_BYTES_MAX,
     NULL, NULL},
    {"message.timestamp.type", OPTION_WORD, FIELD(timestamp_type), 0, 0, 0, timestamp_words,
     "\"LogAppendTime\" would rewrite the producer's batch and its checksum"},
    {"retention.bytes", OPTION_BYTES, FIELD(retention_bytes), -1, -1, INT64_MAX, NULL, NULL},
    {"retention.ms", OPTION_MS, FIELD(retention_ms), -1, -1, INT64_MAX, NULL, NULL},
    {"retention.unuploaded", OPTION_WORD, FIELD(retention_unuploaded), LOG_UNUPLOADED_KEEP, 0, 0,
     unuploaded_words, NULL},
    {"segment.bytes", OPTION_BYTES, FIELD(segment_bytes), 64 * 1024 * 1024, HOT_SEGMENT_BYTES_MIN,
     HOT_SEGMENT_BYTES_MAX, NULL, NULL},
    {"segment.ms", OPTION_MS, FIELD(segment_ms), 60 * 60 * 1000, -1, INT64_MAX, NULL, NULL},
    {"upload.age.warn.ms", OPTION_MS, FIELD(upload_age_warn_ms), DAY_MS, -1, INT64_MAX, NULL, NULL},
};
#define OPTION_TOTAL (sizeof(options) / sizeof(options[0]))

static int64_t *option_field(struct log_config *c, const struct option *o)
{
    return (int64_t *)(void *)((char *)c + o->field);
}

static int64_t option_value(const struct log_config *c, const struct option *o)
{
    int64_t v;
    memcpy(&v, (const char *)c + o->field, sizeof(v));
    return v;
}

static const struct option *option_find(const char *name)
{
    for (size_t i = 0; i < OPTION_TOTAL; i++)
        if (!strcmp(options[i].name, name))
            return &options[i];
    return NULL;
}

static const char *option_word_of(const struct option *o, int64_t value)
{
    for (const struct option_word *w = o->words; w->word; w++)
        if (w->value == value)
            return w->word;
    return "?";
}

void log_config_init(struct log_config *c)
{
    *c = (struct log_config){0};
    for (size_t i = 0; i < OPTION_TOTAL; i++)
        *option_field(c, &options[i]) = options[i].fallback;
}

static int word_set(struct log_config *c, const struct option *o, const char *value,
                    struct varve_error *err)
{
    char known[128] = "";
    size_t used = 0;

    for (const struct option_word *w = o->words; w->word; w++) {
        if (!strcmp(w->word, value)) {
            *option_field(c, o) = w->value;
            return 0;
        }
        used +=
            (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", used ? ", " : "", w->word);
    }
    return base_fail(err, VARVE_E_INVALID, "option %s=%.40s: it can be %s%s%s", o->name, value,
                     known, o->refused ? "; " : "", o->refused ? o->refused : "");
}

int log_config_set(struct log_config *c, const char *name, const char *value,
                   struct varve_error *err)
{
    const struct option *o = option_find(name);
    int64_t v;
    bool ok;

    if (!o)
        return base_fail(err, VARVE_E_INVALID,
                         "option %.60s: there is none of that name (see `varve config --help`)",
                         name);
    if (o->kind == OPTION_WORD)
        return word_set(c, o, value, err);
    if (o->kind == OPTION_BYTES)
        ok = base_parse_size(value, &v);
    else if (o->kind == OPTION_MS)
        ok = base_parse_duration_ms(value, &v);
    else
        ok = base_parse_i64(value, &v);
    if (!ok)
        return base_fail(err, VARVE_E_INVALID, "option %s=%.40s: not a %s", o->name, value,
                         o->kind == OPTION_BYTES ? "number of bytes (1048576, 64M, 1GiB)"
                         : o->kind == OPTION_MS  ? "duration (60000, 10m, 7d)"
                                                 : "whole number");
    if (v < o->min || v > o->max)
        return base_fail(err, VARVE_E_INVALID,
                         "option %s=%.40s: it must lie between %" PRId64 " and %" PRId64, o->name,
                         value, o->min, o->max);
    *option_field(c, o) = v;
    return 0;
}

int log_config_check(const struct log_config *c, struct varve_error *err)
{
    if (c->max_message_bytes > c->segment_bytes)
        return base_fail(err, VARVE_E_INVALID,
                         "option max.message.bytes=%" PRId64 ": above segment.bytes=%" PRId64
                         ", no segment could hold such a batch",
                         c->max_message_bytes, c->segment_bytes);
    if (c->retention_ms >= 0 && c->local_retention_ms > c->retention_ms)
        return base_fail(err, VARVE_E_INVALID,
                         "option local.retention.ms=%" PRId64 ": above retention.ms=%" PRId64,
                         c->local_retention_ms, c->retention_ms);
    if (c->retention_bytes >= 0 && c->local_retention_bytes > c->retention_bytes)
        return base_fail(err, VARVE_E_INVALID,
                         "option local.retention.bytes=%" PRId64 ": above retention.bytes=%" PRId64,
                         c->local_retention_bytes, c->retention_bytes);
    return 0;
}

/* Writes the value as text; `buf` holds at least 24 bytes. */
static const char *option_text(const struct log_config *c, const struct option *o, char buf[24])
{
    int64_t v = option_value(c, o);

    if (o->kind == OPTION_WORD)
        return option_word_of(o, v);
    if (o->field == FIELD(max_message_bytes) && v == 0)
        v = (int64_t)log_config_batch_bytes_max(c);
    snprintf(buf, 24, "%" PRId64, v);
    return buf;
}

int log_config_each(const struct log_config *c,
                    int (*visit)(void *ctx, const char *name, const char *value, bool is_default),
                    void *ctx)
{
    for (size_t i = 0; i < OPTION_TOTAL; i++) {
        char buf[24];
        const struct option *o = &options[i];
        int r = visit(ctx, o->name, option_text(c, o, buf), option_value(c, o) == o->fallback);
        if (r)
            return r;
    }
    return 0;
}

static int encode_one(void *ctx, const char *name, const char *value, bool is_default)
{
    struct base_buffer *b = ctx;

    if (is_default)
        return 0;
    base_buffer_add(b, name, strlen(name));
    base_buffer_u8(b, '=');
    base_buffer_add(b, value, strlen(value));
    base_buffer_u8(b, '\n');
    return 0;
}

int log_config_encode(const struct log_config *c, char **ret, size_t *ret_size,
                      struct varve_error *err)
{
    struct base_buffer b;

    base_buffer_init(&b);
    log_config_each(c, encode_one, &b);
    size_t size = b.size;
    base_buffer_u8(&b, 0);
    if (b.failed) {
        base_buffer_deinit(&b);
        return base_fail(err, VARVE_E_NO_MEMORY, "encode the configuration: out of memory");
    }
    *ret = (char *)b.data;
    *ret_size = size;
    return 0;
}

int log_config_decode(struct log_config *c, const char *text, size_t size, struct varve_error *err)
{
    struct log_config fresh;
    const char *end = text + size;

    log_config_init(&fresh);
    while (text < end) {
        char line[256];
        const char *nl = memchr(text, '\n', (size_t)(end - text));
        size_t n = nl ? (size_t)(nl - text) : (size_t)(end - text);

        if (n >= sizeof(line))
            return base_fail(err, VARVE_E_CORRUPT, "configuration: a line of %zu bytes", n);
        memcpy(line, text, n);
        line[n] = '\0';
        text += n + (nl != NULL);
        char *eq = strchr(line, '=');
        if (!eq)
            return base_fail(err, VARVE_E_CORRUPT, "configuration: \"%.60s\" has no '='", line);
        *eq = '\0';
        if (!option_find(line))
            continue; /* written by a newer varve */
        int r = log_config_set(&fresh, line, eq + 1, err);
        if (r < 0)
            return base_error_context(err, r, "stored configuration");
    }
    *c = fresh;
    return 0;
}

size_t log_config_batch_bytes_max(const struct log_config *c)
{
    int64_t v = c->max_message_bytes ? c->max_message_bytes : LOG_MAX_MESSAGE_BYTES_DEFAULT;

    return (size_t)(v < c->segment_bytes ? v : c->segment_bytes);
}

enum varve_codec log_config_codec(const struct log_config *c, int *ret_level)
{
    switch (c->compression_type) {
    case VARVE_CODEC_GZIP:
        *ret_level = (int)c->gzip_level;
        return VARVE_CODEC_GZIP;
    case VARVE_CODEC_LZ4:
        *ret_level = (int)c->lz4_level;
        return VARVE_CODEC_LZ4;
    case VARVE_CODEC_ZSTD:
        *ret_level = (int)c->zstd_level;
        return VARVE_CODEC_ZSTD;
    case VARVE_CODEC_SNAPPY:
        *ret_level = 0;
        return VARVE_CODEC_SNAPPY;
    default:
        *ret_level = 0;
        return VARVE_CODEC_NONE;
    }
}

void log_config_policy(const struct log_config *c, struct tiering_policy *ret)
{
    *ret = (struct tiering_policy){
        .retention_ms = c->retention_ms,
        .retention_bytes = c->retention_bytes,
        .local_retention_ms = c->local_retention_ms,
        .local_retention_bytes = c->local_retention_bytes,
        .delete_delay_ms = c->file_delete_delay_ms,
        .retention_wins = c->retention_unuploaded == LOG_UNUPLOADED_DELETE,
        .block_bytes = c->cold_block_bytes,
        .compression_level = (int)c->cold_compression_level,
        .index_interval_bytes = c->index_interval_bytes,
        .upload_age_warn_ms = c->upload_age_warn_ms,
    };
}

void log_config_hot(const struct log_config *c, struct hot_set_options *ret)
{
    ret->segment_bytes = c->segment_bytes;
    ret->segment_ms = c->segment_ms;
    ret->flush_ms = c->flush_ms;
    ret->index_interval_bytes = c->index_interval_bytes;
}
