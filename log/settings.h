/* The settings of a store that its user may choose; docs/configuration.md lists them. */
#ifndef LOG_SETTINGS_H
#define LOG_SETTINGS_H

#include <varve/store.h>

#include "base/text.h"

struct log_settings {
    int64_t cache_bytes;
    int64_t owner_check_ms;
    int64_t lease_ms;                /* 0: no lease mode */
    int64_t upload_bytes_per_second; /* 0: no limit */
};

/* The values in force; what the file does not name has its default, what it names wrongly is
 * VARVE_E_CORRUPT: only varve writes it. */
int log_settings_read(const struct base_settings *file, struct log_settings *ret,
                      struct varve_error *err);

/* Checks one and puts it into the file's settings in its plain form. VARVE_E_INVALID says which and
 * why. */
int log_settings_set(struct base_settings *file, const struct varve_option *option,
                     struct varve_error *err);

/* Does a setting of this name exist? */
bool log_settings_known(const char *name);

/* Calls visit for each by name; a non-zero return ends it and is returned. */
int log_settings_each(const struct log_settings *s,
                      int (*visit)(void *ctx, const char *name, const char *value, bool is_default),
                      void *ctx);

#endif
