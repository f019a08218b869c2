/*
 * The URL of a store, taken apart: "file:///absolute/dir", "s3://bucket/prefix?name=value&...", or
 * a bare path, which is a file URL. Which names a query may hold is the driver's to say.
 */
#ifndef COLD_URL_H
#define COLD_URL_H

#include <stddef.h>

#include <varve/error.h>

#define COLD_URL_MAX 4096
#define COLD_URL_QUERY_MAX 32

struct cold_url_pair {
    char *name;
    char *value; /* decoded; "" where there was no '=' */
};

struct cold_url {
    char *scheme; /* lower case */
    char *host;   /* between "//" and the next '/': a bucket; "" for file */
    char *path;   /* decoded; a bare path as it was given */
    struct cold_url_pair query[COLD_URL_QUERY_MAX];
    size_t query_count;
};

/*
 * Plain text in, fresh memory out. VARVE_E_INVALID: empty, too long, control characters, a bad
 * escape, a fragment, credentials (which are never taken from a URL, nor repeated in the message),
 * a query name given twice.
 */
int cold_url_parse(const char *text, struct cold_url **ret, struct varve_error *err);
struct cold_url *cold_url_free(struct cold_url *url);

/* The value of a query name; NULL: not given. */
const char *cold_url_query(const struct cold_url *url, const char *name);

/* VARVE_E_INVALID naming the first query name that is not in the NULL-terminated list. */
int cold_url_check_query(const struct cold_url *url, const char *const *allowed,
                         struct varve_error *err);

#endif
