/* The names of a store's logs, found in its directory or in its bucket. */
#ifndef LOG_NAMES_H
#define LOG_NAMES_H

#include "log/store.h"

/* A growing list; `failed`: memory was out, and it is not whole. */
struct log_names {
    char **names;
    size_t count;
    size_t capacity;
    bool failed;
};

void log_names_add(struct log_names *l, const char *name, size_t size);
void log_names_deinit(struct log_names *l);

/* A visitor for cold_store_list_all over "logs/", its argument a list: the roots of a listing name
 * the logs. */
int log_names_visit_root(void *arg, const char *key, const struct cold_meta *meta);

/* Is this log in the bucket, and not only its tombstone? When the bucket cannot be asked, or its
 * root is damaged, the log is named: opening it tells what is wrong. */
bool log_names_in_bucket(struct cold_store *meta, const char *name);

/* A visitor for base_io's list, its argument a bool: true as soon as there is any entry. */
int log_names_visit_any(void *arg, const char *name, bool is_dir);

#endif
