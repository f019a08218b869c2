/* From a URL to the driver that serves it: the only file of this folder that knows them all. */
#include <string.h>

#include "base/error.h"
#include "cold/dir.h"
#include "cold/faulty.h"
#include "cold/plugin.h"
#include "cold/s3.h"
#include "cold/store.h"
#include "cold/url.h"

/* The driver's object is the store's from now on; without one it is closed. */
static int store_make(const struct base_env *env, const char *text,
                      const struct cold_store_ops *ops, void *self,
                      const struct cold_store_options *options, struct cold_store **ret,
                      struct varve_error *err)
{
    int rc = cold_store_new(env, text, ops, self, options->read_only, ret, err);

    if (rc < 0)
        ops->close(self);
    return rc;
}

static int open_file(const struct base_env *env, const char *text, const struct cold_url *url,
                     const struct cold_store_options *options, struct cold_store **ret,
                     struct varve_error *err)
{
    static const char *const names[] = {NULL};
    struct cold_dir *dir;
    int rc = cold_url_check_query(url, names, err);

    if (rc < 0)
        return rc;
    if (url->host[0] && strcmp(url->host, "localhost") != 0)
        return base_fail(err, VARVE_E_INVALID,
                         "store URL '%s' names a host: a file URL has three slashes, as in "
                         "file:///var/lib/archive",
                         text);
    if (!url->path[0])
        return base_fail(err, VARVE_E_INVALID, "store URL '%s' has no path", text);
    rc = cold_dir_open(env, url->path, text, options, &dir, err);
    return rc < 0 ? rc : store_make(env, text, &cold_dir_ops, dir, options, ret, err);
}

static int open_s3(const struct base_env *env, const char *text, const struct cold_url *url,
                   const struct cold_store_options *options, struct cold_store **ret,
                   struct varve_error *err)
{
    struct cold_s3 *s3;
    int rc = cold_s3_open(env, url, options, &s3, err);

    if (rc < 0)
        return rc;
    return store_make(env, text, &cold_s3_ops, s3, options, ret, err);
}

static int open_faulty(const struct base_env *env, const char *text,
                       const struct cold_store_options *options, struct cold_store **ret,
                       struct varve_error *err)
{
    struct cold_store *under = NULL;
    struct cold_faulty_url url;
    int rc = cold_faulty_url_parse(env, text, &url, err);

    if (rc < 0)
        return rc;
    rc = cold_store_open(env, url.under, options, &under, err);
    if (rc == 0)
        rc = cold_faulty_new(env, text, under, url.script, url.seed, NULL, options->read_only, ret,
                             err);
    if (rc < 0)
        cold_store_close(under);
    cold_faulty_url_free(&url);
    return rc;
}

int cold_store_open(const struct base_env *env, const char *url,
                    const struct cold_store_options *options, struct cold_store **ret,
                    struct varve_error *err)
{
    struct cold_url *u;
    int rc;

    if (env->cold)
        return env->cold->open(env->cold->ctx, env, url, options, ret, err);
    if (cold_faulty_is_url(url))
        return open_faulty(env, url, options, ret, err);
    rc = cold_url_parse(url, &u, err);
    if (rc < 0)
        return rc;
    if (cold_url_query(u, "fencing") && strcmp(cold_url_query(u, "fencing"), "none") != 0) {
        rc = base_fail(err, VARVE_E_INVALID, "store URL: fencing=%s; it is none or not given",
                       cold_url_query(u, "fencing"));
        cold_url_free(u);
        return rc;
    }
    if (strcmp(u->scheme, "file") == 0)
        rc = open_file(env, url, u, options, ret, err);
    else if (strcmp(u->scheme, "libs3") == 0)
        rc = cold_plugin_open(env, u, url, options, ret, err);
    else if (strcmp(u->scheme, "s3") == 0)
        rc = open_s3(env, url, u, options, ret, err);
    else
        rc = base_fail(err, VARVE_E_INVALID,
                       "store URL: unknown scheme '%s' (known: file, s3, libs3)", u->scheme);
    if (rc == 0 && cold_url_query(u, "fencing"))
        cold_store_set_unfenced(*ret);
    cold_url_free(u);
    return rc;
}
