#include "log/settings.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "log/store.h"

enum setting_kind { SETTING_BYTES, SETTING_MS };

struct setting {
    const char *name;
    enum setting_kind kind;
    size_t field;     /* offsetof the int64_t in struct log_settings */
    int64_t fallback; /* allowed also where it lies below `min` */
    int64_t min;
    int64_t max;
};

#define FIELD(name) offsetof(struct log_settings, name)
#define DAY_MS (24 * 60 * 60 * INT64_C(1000))

static const struct setting settings[] = {
    {"cache.bytes", SETTING_BYTES, FIELD(cache_bytes), LOG_CACHE_BYTES_DEFAULT, -1, INT64_MAX},
    {"lease.ms", SETTING_MS, FIELD(lease_ms), 0, 500, COLD_LEASE_MS_MAX},
    {"owner.check.ms", SETTING_MS, FIELD(owner_check_ms), TIERING_OWNER_CHECK_MS_DEFAULT, 100,
     DAY_MS},
    /* A step of pacing never waits longer than a second. */
    {"upload.bytes.per.second", SETTING_BYTES, FIELD(upload_bytes_per_second), 0, TIERING_RATE_MIN,
     INT64_MAX},
};
#define SETTING_TOTAL (sizeof(settings) / sizeof(settings[0]))

static const struct setting *setting_find(const char *name)
{
    for (size_t i = 0; i < SETTING_TOTAL; i++)
        if (strcmp(settings[i].name, name) == 0)
            return &settings[i];
    return NULL;
}

bool log_settings_known(const char *name)
{
    return setting_find(name) != NULL;
}

static bool setting_parse(const struct setting *s, const char *text, int64_t *ret)
{
    if (s->kind == SETTING_MS)
        return base_parse_duration_ms(text, ret);
    return base_parse_size(text, ret) || base_parse_i64(text, ret);
}

static bool setting_allowed(const struct setting *s, int64_t value)
{
    return value == s->fallback || (value >= s->min && value <= s->max);
}

int log_settings_read(const struct base_settings *file, struct log_settings *ret,
                      struct varve_error *err)
{
    for (size_t i = 0; i < SETTING_TOTAL; i++) {
        const struct setting *s = &settings[i];
        const char *text = base_settings_get(file, s->name);
        int64_t value = s->fallback;

        if (text && (!base_parse_i64(text, &value) || !setting_allowed(s, value)))
            return base_fail(err, VARVE_E_CORRUPT, "setting %s is \"%.40s\"", s->name, text);
        memcpy((char *)ret + s->field, &value, sizeof(value));
    }
    return 0;
}

int log_settings_set(struct base_settings *file, const struct varve_option *option,
                     struct varve_error *err)
{
    const struct setting *s = setting_find(option->name);
    char number[24];
    int64_t value;

    if (!s)
        return base_fail(err, VARVE_E_INVALID, "a store has no setting %.80s that can be changed",
                         option->name);
    if (!setting_parse(s, option->value, &value))
        return base_fail(err, VARVE_E_INVALID, "setting %s=%.40s: not a %s", s->name, option->value,
                         s->kind == SETTING_MS ? "time (500, 30s, 10m)" : "size (4096, 256MiB)");
    if (!setting_allowed(s, value))
        return base_fail(err, VARVE_E_INVALID,
                         "setting %s=%.40s: it can be from %" PRId64 " to %" PRId64 "%s", s->name,
                         option->value, s->min, s->max, s->fallback < s->min ? ", or 0" : "");
    snprintf(number, sizeof(number), "%" PRId64, value);
    return base_settings_set(file, s->name, number, err);
}

int log_settings_each(const struct log_settings *s,
                      int (*visit)(void *ctx, const char *name, const char *value, bool is_default),
                      void *ctx)
{
    for (size_t i = 0; i < SETTING_TOTAL; i++) {
        char number[24];
        int64_t value;
        int r;

        memcpy(&value, (const char *)s + settings[i].field, sizeof(value));
        snprintf(number, sizeof(number), "%" PRId64, value);
        r = visit(ctx, settings[i].name, number, value == settings[i].fallback);
        if (r != 0)
            return r;
    }
    return 0;
}
