/* A log's options: each by its table, the text they are stored as, and what the documentation says
 * of them. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "log/config.h"
#include "log/settings.h"
#include "tests/support/data.h"
#include "tests/support/support_log.h"

#define DOCUMENT "../../docs/configuration.md"

struct lookup {
    const char *name;
    char value[64];
    bool is_default;
    bool found;
};

static int lookup_visit(void *ctx, const char *name, const char *value, bool is_default)
{
    struct lookup *l = ctx;

    if (strcmp(name, l->name))
        return 0;
    snprintf(l->value, sizeof(l->value), "%s", value);
    l->is_default = is_default;
    l->found = true;
    return 1;
}

static const char *value_of(const struct log_config *c, const char *name, bool *ret_default)
{
    static struct lookup l;

    l = (struct lookup){.name = name};
    log_config_each(c, lookup_visit, &l);
    if (!l.found)
        return NULL;
    if (ret_default)
        *ret_default = l.is_default;
    return l.value;
}

static int set(struct log_config *c, const char *name, const char *value, struct varve_error *err)
{
    return log_config_set(c, name, value, err);
}

/* A value that is refused names the option and changes nothing. */
static void refused(const char *name, const char *value)
{
    struct log_config c, before;
    struct varve_error err;

    log_config_init(&c);
    before = c;
    if (set(&c, name, value, &err) != VARVE_E_INVALID)
        fail_msg("%s=%s was taken", name, value);
    assert_non_null(strstr(err.msg, name));
    assert_memory_equal(&c, &before, sizeof(c));
}

static void taken(const char *name, const char *value, const char *shown)
{
    struct log_config c;
    struct varve_error err;

    log_config_init(&c);
    if (set(&c, name, value, &err) != 0)
        fail_msg("%s=%s: %s", name, value, err.msg);
    assert_string_equal(value_of(&c, name, NULL), shown);
}

/* ---- the documentation is the table that the options are held against ---- */

struct row {
    char name[64];
    char fallback[64];
    char bounds[256];
};

/* Reads "| `name` | `default` | bounds | ...". */
static bool row_parse(const char *line, struct row *ret)
{
    return sscanf(line, "| `%63[a-z0-9.]` | `%63[^`]` | %255[^|]", ret->name, ret->fallback,
                  ret->bounds) == 3;
}

static size_t rows_read(struct row rows[64])
{
    size_t size, count = 0;
    char *text = support_data_read(DOCUMENT, &size);
    char *copy = strndup(text, size), *save = NULL;

    for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        if (!strcmp(line, "## Settings of a store"))
            break;
        if (count < 64 && row_parse(line, &rows[count]))
            count++;
    }
    free(copy);
    free(text);
    return count;
}

static int count_visit(void *ctx, const char *name, const char *value, bool is_default)
{
    (void)name;
    (void)value;
    assert_true(is_default);
    ++*(size_t *)ctx;
    return 0;
}

static void the_documentation_names_every_option_and_its_default(void **state)
{
    struct row rows[64];
    struct log_config c;
    size_t count = rows_read(rows), options = 0;

    (void)state;
    log_config_init(&c);
    log_config_each(&c, count_visit, &options);
    assert_int_equal(count, options);
    for (size_t i = 0; i < count; i++) {
        bool is_default = false;
        const char *value = value_of(&c, rows[i].name, &is_default);
        if (!value)
            fail_msg("docs/configuration.md: there is no option %s", rows[i].name);
        if (strcmp(value, rows[i].fallback))
            fail_msg("docs/configuration.md: the default of %s is %s, not %s", rows[i].name, value,
                     rows[i].fallback);
        assert_true(is_default);
    }
}

static void bounds_check(const struct row *row)
{
    int64_t min, max = INT64_MAX;
    char text[32];
    int n = sscanf(row->bounds, "%" SCNd64 "..%" SCNd64, &min, &max);

    if (n < 1)
        fail_msg("docs/configuration.md: bounds of %s: %s", row->name, row->bounds);
    snprintf(text, sizeof(text), "%" PRId64, min);
    taken(row->name, text, text);
    snprintf(text, sizeof(text), "%" PRId64, max);
    taken(row->name, text, text);
    snprintf(text, sizeof(text), "%" PRId64, min - 1);
    refused(row->name, text);
    if (n == 2) {
        snprintf(text, sizeof(text), "%" PRId64, max + 1);
        refused(row->name, text);
    }
    refused(row->name, "9223372036854775808");
    refused(row->name, "");
    refused(row->name, "many");
    refused(row->name, "1x");
    refused(row->name, " 5000");
}

static void words_check(const struct row *row)
{
    char copy[256], *save = NULL;

    snprintf(copy, sizeof(copy), "%s", row->bounds);
    for (char *word = strtok_r(copy, "`, ", &save); word; word = strtok_r(NULL, "`, ", &save))
        taken(row->name, word, strcmp(word, "uncompressed") ? word : "none");
    refused(row->name, "");
    refused(row->name, "1");
    refused(row->name, "Producer");
}

static void every_option_takes_its_bounds_and_nothing_beyond_them(void **state)
{
    struct row rows[64];
    size_t count = rows_read(rows);

    (void)state;
    assert_true(count > 0);
    for (size_t i = 0; i < count; i++) {
        if (rows[i].bounds[0] == '`')
            words_check(&rows[i]);
        else
            bounds_check(&rows[i]);
    }
}

/* ---- single cases ---- */

static void sizes_and_durations_have_units(void **state)
{
    (void)state;
    taken("segment.bytes", "64k", "65536");
    taken("segment.bytes", "1GiB", "1073741824");
    taken("retention.ms", "7d", "604800000");
    taken("flush.ms", "30s", "30000");
    refused("segment.bytes", "7d");
    refused("retention.ms", "64k");
    refused("cold.compression.level", "3k");
}

static void messages_say_what_would_be_right(void **state)
{
    struct log_config c;
    struct varve_error err;

    (void)state;
    log_config_init(&c);
    support_fails(set(&c, "segment.byte", "1", &err), &err, VARVE_E_INVALID,
                  "option segment.byte: there is none of that name");
    support_fails(set(&c, "segment.bytes", "12", &err), &err, VARVE_E_INVALID,
                  "must lie between 4096 and 2147483647");
    support_fails(set(&c, "segment.bytes", "big", &err), &err, VARVE_E_INVALID, "number of bytes");
    support_fails(set(&c, "flush.ms", "soon", &err), &err, VARVE_E_INVALID, "duration");
    support_fails(set(&c, "cold.compression.level", "x", &err), &err, VARVE_E_INVALID,
                  "whole number");
    support_fails(set(&c, "cleanup.policy", "compact", &err), &err, VARVE_E_INVALID,
                  "never rewrites its segments");
    support_fails(set(&c, "message.timestamp.type", "LogAppendTime", &err), &err, VARVE_E_INVALID,
                  "checksum");
    support_fails(set(&c, "compression.type", "brotli", &err), &err, VARVE_E_INVALID, "zstd");
}

static void contradictions_are_refused(void **state)
{
    struct log_config c;
    struct varve_error err;

    (void)state;
    log_config_init(&c);
    assert_int_equal(log_config_check(&c, &err), 0);
    assert_int_equal(set(&c, "max.message.bytes", "65537", &err), 0);
    assert_int_equal(set(&c, "segment.bytes", "65536", &err), 0);
    support_fails(log_config_check(&c, &err), &err, VARVE_E_INVALID, "max.message.bytes=65537");
    assert_int_equal(set(&c, "max.message.bytes", "65536", &err), 0);
    assert_int_equal(log_config_check(&c, &err), 0);

    log_config_init(&c);
    assert_int_equal(set(&c, "local.retention.ms", "2000", &err), 0);
    assert_int_equal(log_config_check(&c, &err), 0);
    assert_int_equal(set(&c, "retention.ms", "1999", &err), 0);
    support_fails(log_config_check(&c, &err), &err, VARVE_E_INVALID, "local.retention.ms=2000");
    assert_int_equal(set(&c, "retention.ms", "2000", &err), 0);
    assert_int_equal(log_config_check(&c, &err), 0);

    log_config_init(&c);
    assert_int_equal(set(&c, "local.retention.bytes", "2000", &err), 0);
    assert_int_equal(set(&c, "retention.bytes", "0", &err), 0);
    support_fails(log_config_check(&c, &err), &err, VARVE_E_INVALID, "local.retention.bytes=2000");
}

static void a_batch_is_bounded_by_the_segment_too(void **state)
{
    struct log_config c;
    struct varve_error err;

    (void)state;
    log_config_init(&c);
    assert_int_equal(log_config_batch_bytes_max(&c), LOG_MAX_MESSAGE_BYTES_DEFAULT);
    assert_int_equal(set(&c, "segment.bytes", "4096", &err), 0);
    assert_int_equal(log_config_batch_bytes_max(&c), 4096);
    assert_string_equal(value_of(&c, "max.message.bytes", NULL), "4096");
    assert_int_equal(set(&c, "max.message.bytes", "2000", &err), 0);
    assert_int_equal(log_config_batch_bytes_max(&c), 2000);
}

static void codecs_have_the_level_of_their_option(void **state)
{
    static const struct {
        const char *word;
        enum varve_codec codec;
        int level;
    } cases[] = {
        {"producer", VARVE_CODEC_NONE, 0}, {"none", VARVE_CODEC_NONE, 0},
        {"gzip", VARVE_CODEC_GZIP, 2},     {"snappy", VARVE_CODEC_SNAPPY, 0},
        {"lz4", VARVE_CODEC_LZ4, 9},       {"zstd", VARVE_CODEC_ZSTD, 11},
    };
    struct log_config c;
    struct varve_error err;
    int level;

    (void)state;
    log_config_init(&c);
    assert_int_equal(set(&c, "compression.gzip.level", "2", &err), 0);
    assert_int_equal(set(&c, "compression.lz4.level", "9", &err), 0);
    assert_int_equal(set(&c, "compression.zstd.level", "11", &err), 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(set(&c, "compression.type", cases[i].word, &err), 0);
        level = -1;
        assert_int_equal(log_config_codec(&c, &level), cases[i].codec);
        assert_int_equal(level, cases[i].level);
    }
}

/* ---- the stored text ---- */

static void only_what_differs_is_stored_and_it_comes_back(void **state)
{
    struct log_config c, back;
    struct varve_error err;
    char *text = NULL;
    size_t size = 99;

    (void)state;
    log_config_init(&c);
    assert_int_equal(log_config_encode(&c, &text, &size, &err), 0);
    assert_int_equal(size, 0);
    free(text);
    assert_int_equal(set(&c, "segment.bytes", "64k", &err), 0);
    assert_int_equal(set(&c, "max.message.bytes", "1048588", &err), 0);
    assert_int_equal(set(&c, "compression.type", "zstd", &err), 0);
    assert_int_equal(set(&c, "retention.unuploaded", "delete", &err), 0);
    assert_int_equal(log_config_encode(&c, &text, &size, &err), 0);
    assert_string_equal(text, "compression.type=zstd\nmax.message.bytes=1048588\n"
                              "retention.unuploaded=delete\nsegment.bytes=65536\n");
    assert_int_equal(size, strlen(text));
    memset(&back, 0xee, sizeof(back));
    assert_int_equal(log_config_decode(&back, text, size, &err), 0);
    assert_memory_equal(&back, &c, sizeof(c));
    free(text);
}

static int decode(struct log_config *c, const char *text, struct varve_error *err)
{
    return log_config_decode(c, text, strlen(text), err);
}

static void a_stored_text_is_read_with_care(void **state)
{
    struct log_config c, before;
    struct varve_error err;
    char line[400];

    (void)state;
    log_config_init(&c);
    assert_int_equal(decode(&c, "future.option=7\nsegment.ms=5\nlast.line=x", &err), 0);
    assert_int_equal(c.segment_ms, 5);
    before = c;
    support_fails(decode(&c, "segment.ms=6\nnothing\n", &err), &err, VARVE_E_CORRUPT, "no '='");
    support_fails(decode(&c, "segment.ms=6\nflush.ms=never\n", &err), &err, VARVE_E_INVALID,
                  "stored configuration: option flush.ms");
    memset(line, 'x', sizeof(line) - 1);
    line[sizeof(line) - 1] = '\0';
    support_fails(decode(&c, line, &err), &err, VARVE_E_CORRUPT, "a line of 399 bytes");
    assert_memory_equal(&c, &before, sizeof(c));
    assert_int_equal(decode(&c, "", &err), 0);
    assert_int_equal(c.segment_ms, 60 * 60 * 1000);
}

static void policy_and_hot_options_follow_the_configuration(void **state)
{
    struct log_config c;
    struct tiering_policy policy;
    struct hot_set_options hot = {0};
    struct varve_error err;

    (void)state;
    log_config_init(&c);
    assert_int_equal(set(&c, "retention.ms", "11", &err), 0);
    assert_int_equal(set(&c, "retention.bytes", "12", &err), 0);
    assert_int_equal(set(&c, "local.retention.ms", "3", &err), 0);
    assert_int_equal(set(&c, "local.retention.bytes", "4", &err), 0);
    assert_int_equal(set(&c, "file.delete.delay.ms", "15", &err), 0);
    assert_int_equal(set(&c, "retention.unuploaded", "delete", &err), 0);
    assert_int_equal(set(&c, "cold.block.bytes", "8192", &err), 0);
    assert_int_equal(set(&c, "cold.compression.level", "7", &err), 0);
    assert_int_equal(set(&c, "index.interval.bytes", "1024", &err), 0);
    assert_int_equal(set(&c, "upload.age.warn.ms", "16", &err), 0);
    assert_int_equal(set(&c, "segment.bytes", "9000", &err), 0);
    assert_int_equal(set(&c, "segment.ms", "17", &err), 0);
    assert_int_equal(set(&c, "flush.ms", "18", &err), 0);
    log_config_policy(&c, &policy);
    assert_int_equal(policy.retention_ms, 11);
    assert_int_equal(policy.retention_bytes, 12);
    assert_int_equal(policy.local_retention_ms, 3);
    assert_int_equal(policy.local_retention_bytes, 4);
    assert_int_equal(policy.delete_delay_ms, 15);
    assert_true(policy.retention_wins);
    assert_int_equal(policy.block_bytes, 8192);
    assert_int_equal(policy.compression_level, 7);
    assert_int_equal(policy.index_interval_bytes, 1024);
    assert_int_equal(policy.upload_age_warn_ms, 16);
    log_config_hot(&c, &hot);
    assert_int_equal(hot.segment_bytes, 9000);
    assert_int_equal(hot.segment_ms, 17);
    assert_int_equal(hot.flush_ms, 18);
    assert_int_equal(hot.index_interval_bytes, 1024);
}

/* ---- settings of a store ---- */

static void a_setting_that_cannot_be_is_refused_with_what_would_be_right(void **state)
{
    static const struct {
        const char *name, *value, *part;
    } bad[] = {
        {"id", "1", "a store has no setting id that can be changed"},
        {"lease.ms", "soon", "setting lease.ms=soon: not a time (500, 30s, 10m)"},
        {"cache.bytes", "much", "setting cache.bytes=much: not a size (4096, 256MiB)"},
        {"lease.ms", "499", "it can be from 500 to 3600000, or 0"},
        {"lease.ms", "3600001", "it can be from 500 to 3600000, or 0"},
        {"owner.check.ms", "99", "it can be from 100 to 86400000"},
        {"upload.bytes.per.second", "65535", "it can be from 65536 to"},
        {"cache.bytes", "-2", "it can be from -1 to"},
    };
    struct base_settings *file = base_settings_new();
    struct log_settings s;

    (void)state;
    assert_non_null(file);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct varve_option option = {bad[i].name, bad[i].value};
        struct varve_error err = {0};

        support_fails(log_settings_set(file, &option, &err), &err, VARVE_E_INVALID, bad[i].part);
        assert_null(base_settings_get(file, bad[i].name));
        assert_int_equal(log_settings_known(bad[i].name), i > 0);
    }
    /* What varve has not written itself is damage, by the same bounds. */
    for (size_t i = 1; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct varve_error err = {0};
        char part[80];

        s = (struct log_settings){.lease_ms = 77};
        assert_int_equal(base_settings_set(file, bad[i].name, bad[i].value, NULL), 0);
        snprintf(part, sizeof(part), "setting %s is \"%s\"", bad[i].name, bad[i].value);
        support_fails(log_settings_read(file, &s, &err), &err, VARVE_E_CORRUPT, part);
        base_settings_free(file);
        file = base_settings_new();
        assert_non_null(file);
    }
    base_settings_free(file);
}

static int second_setting(void *ctx, const char *name, const char *value, bool is_default)
{
    ++*(int *)ctx;
    if (*(int *)ctx < 2)
        return 0;
    assert_string_equal(name, "lease.ms");
    assert_string_equal(value, "1500");
    assert_false(is_default);
    return 9;
}

static void settings_are_kept_in_their_plain_form(void **state)
{
    static const struct varve_option good[] = {
        {"cache.bytes", "1MiB"}, {"lease.ms", "1500ms"}, {"upload.bytes.per.second", "0"}};
    struct base_settings *file = base_settings_new();
    struct log_settings s;
    struct varve_error err = {0};
    int visited = 0;

    (void)state;
    assert_non_null(file);
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        support_succeeds(log_settings_set(file, &good[i], &err), &err);
    assert_string_equal(base_settings_get(file, "cache.bytes"), "1048576");
    assert_string_equal(base_settings_get(file, "lease.ms"), "1500");
    support_succeeds(log_settings_read(file, &s, &err), &err);
    assert_int_equal(s.cache_bytes, 1048576);
    assert_int_equal(s.lease_ms, 1500);
    assert_int_equal(s.upload_bytes_per_second, 0);
    assert_int_equal(s.owner_check_ms, 60000);
    assert_int_equal(log_settings_each(&s, second_setting, &visited), 9);
    assert_int_equal(visited, 2);
    base_settings_free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_documentation_names_every_option_and_its_default),
        cmocka_unit_test(every_option_takes_its_bounds_and_nothing_beyond_them),
        cmocka_unit_test(sizes_and_durations_have_units),
        cmocka_unit_test(messages_say_what_would_be_right),
        cmocka_unit_test(contradictions_are_refused),
        cmocka_unit_test(a_batch_is_bounded_by_the_segment_too),
        cmocka_unit_test(codecs_have_the_level_of_their_option),
        cmocka_unit_test(only_what_differs_is_stored_and_it_comes_back),
        cmocka_unit_test(a_stored_text_is_read_with_care),
        cmocka_unit_test(policy_and_hot_options_follow_the_configuration),
        cmocka_unit_test(a_setting_that_cannot_be_is_refused_with_what_would_be_right),
        cmocka_unit_test(settings_are_kept_in_their_plain_form),
    };

    return cmocka_run_group_tests_name("log_config", tests, NULL, NULL);
}
