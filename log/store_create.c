/*
 * Making a store. The settings file comes last, renamed from its draft: a directory without it is
 * no store, and a create that was cut short can be run again.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"
#include "cold/manifest.h"
#include "cold/probe.h"
#include "log/names.h"
#include "log/store.h"

/* What lies in the directory of a store to be made. */
struct occupied {
    bool draft;
    bool other;
};

static int occupied_visit(void *arg, const char *name, bool is_dir)
{
    struct occupied *o = arg;

    (void)is_dir;
    if (!strcmp(name, LOG_STORE_DRAFT))
        o->draft = true;
    else if (strcmp(name, LOG_STORE_DRAFT ".tmp") != 0) /* of base_file_replace */
        o->other = true;
    return 0;
}

static int draft_read_id(const struct base_env *env, const char *draft, struct base_id *ret,
                         struct varve_error *err)
{
    struct base_settings *settings = NULL;
    const char *text;
    void *data = NULL;
    size_t size;
    int r = base_file_read(env->io, draft, LOG_STORE_SETTINGS_MAX, &data, &size, err);

    if (r < 0)
        return r;
    r = base_settings_decode(data, size, LOG_STORE_MAGIC, LOG_STORE_VERSION, &settings, err);
    text = r == 0 ? base_settings_get(settings, "id") : NULL;
    if (r == 0 && (!text || !base_id_parse(text, strlen(text), ret)))
        r = base_fail(err, VARVE_E_CORRUPT, "it lacks an id");
    base_settings_free(settings);
    free(data);
    return r < 0 ? base_error_context(err, r, "%s", draft) : 0;
}

/*
 * Nothing may be there, but for what a create that was cut short has left: its draft names the id
 * it had claimed the cold tier with, and this one goes on with that.
 */
static int create_check_empty(const struct base_env *env, const char *path, const char *file,
                              const char *draft, struct base_id *id, struct varve_error *err)
{
    struct occupied occupied = {0};
    struct stat st;
    int r = env->io->stat(env->io->ctx, file, &st);

    if (r == 0)
        return base_fail(err, VARVE_E_EXISTS, "%s is a varve store already", path);
    if (r != -ENOENT && r != -ENOTDIR)
        return base_fail_errno(err, r, "look for %s", file);
    r = env->io->list(env->io->ctx, path, occupied_visit, &occupied);
    if (r == -ENOTDIR)
        return base_fail(err, VARVE_E_EXISTS, "%s is a file", path);
    if (r < 0 && r != -ENOENT)
        return base_fail_errno(err, r, "look into %s", path);
    if (occupied.draft)
        return draft_read_id(env, draft, id, err);
    if (occupied.other)
        return base_fail(err, VARVE_E_EXISTS, "%s is not empty and not a varve store", path);
    return 0;
}

/* The logs of an adopted cold tier get their (empty) directories, so that they are listed. */
static int create_adopt(const struct base_env *env, const char *path, struct cold_store *meta,
                        struct varve_error *err)
{
    struct log_names list = {0};
    int r = cold_store_list_all(meta, "logs/", log_names_visit_root, &list, err);

    if (r == 0 && list.failed)
        r = base_fail(err, VARVE_E_NO_MEMORY, "list the logs of %s: out of memory",
                      cold_store_url(meta));
    for (size_t i = 0; r == 0 && i < list.count; i++) {
        char *dir = NULL;
        if (index_log_name_check(list.names[i], strlen(list.names[i]), NULL) < 0 ||
            !log_names_in_bucket(meta, list.names[i]))
            continue;
        r = base_format(&dir, err, "%s/logs/%s/@", path, list.names[i]);
        if (r == 0)
            r = base_dir_create(env->io, dir, true, err);
        free(dir);
    }
    log_names_deinit(&list);
    return r;
}

/* What a store that is not a local directory can do, found out by doing it, once: opening later
 * costs no request for it. */
static int create_probe(const struct base_env *env, struct cold_store *cold,
                        char ret_caps[COLD_CAPS_TEXT_SIZE], struct varve_error *err)
{
    struct cold_probe probe;
    struct cold_caps caps;
    int r;

    ret_caps[0] = '\0';
    cold_store_caps(cold, &caps);
    if (!caps.probed)
        return 0;
    r = cold_probe_run(env, cold, &probe, err);
    if (r == 0)
        cold_caps_encode(&probe.caps, ret_caps);
    return r;
}

/* The cold tier says whose it is: a prefix in use is refused unless it is adopted. */
static int create_claim_cold(const struct base_env *env, const char *path, const char *url,
                             const struct varve_store_options *o, const struct base_id *id,
                             char ret_caps[COLD_CAPS_TEXT_SIZE], struct varve_error *err)
{
    struct cold_store *meta = NULL;
    struct base_id other;
    const struct cold_store_options options = {.create = true, .create_bucket = o->create_bucket};
    int r = cold_store_open(env, url, &options, &meta, err);

    if (r < 0)
        return r;
    r = create_probe(env, meta, ret_caps, err);
    if (r == 0)
        r = cold_store_check_fencing(meta, err);
    if (r == 0)
        r = cold_identity_create(meta, id, env->clock->wall_ms(env->clock->ctx), err);
    if (r == VARVE_E_EXISTS) {
        r = cold_identity_read(meta, &other, err);
        if (r == 0 && !base_id_equal(&other, id))
            r = o->adopt ? create_adopt(env, path, meta, err)
                         : base_fail(err, VARVE_E_EXISTS,
                                     "cold tier %s belongs to another store; give --adopt to use "
                                     "it with this one",
                                     cold_store_url(meta));
    }
    cold_store_close(meta);
    return r;
}

/* Where roots lie elsewhere the segments' place is only made. */
static int create_segments(const struct base_env *env, const char *url,
                           const struct varve_store_options *o, char ret_caps[COLD_CAPS_TEXT_SIZE],
                           struct varve_error *err)
{
    struct cold_store *segments = NULL;
    const struct cold_store_options options = {.create = true, .create_bucket = o->create_bucket};
    int r = cold_store_open(env, url, &options, &segments, err);

    if (r == 0)
        r = create_probe(env, segments, ret_caps, err);
    cold_store_close(segments);
    return r;
}

static int create_settings(const struct base_env *env, const struct varve_store_options *o,
                           const struct base_id *id, const char *caps, const char *meta_caps,
                           char **ret, size_t *ret_size, struct varve_error *err)
{
    char text[BASE_ID_TEXT_SIZE];
    char number[24];
    struct base_settings *s = base_settings_new();
    int r;

    if (!s)
        return base_fail(err, VARVE_E_NO_MEMORY, "out of memory");
    base_id_format(id, text);
    r = base_settings_set(s, "id", text, err);
    if (r == 0) {
        snprintf(number, sizeof(number), "%" PRId64, env->clock->wall_ms(env->clock->ctx));
        r = base_settings_set(s, "created", number, err);
    }
    if (r == 0)
        r = base_settings_set(s, "cold", o->cold_url ? o->cold_url : "cold", err);
    if (r == 0 && o->cold_meta_url)
        r = base_settings_set(s, "cold.meta", o->cold_meta_url, err);
    if (r == 0 && caps[0])
        r = base_settings_set(s, LOG_STORE_CAPS, caps, err);
    if (r == 0 && meta_caps[0])
        r = base_settings_set(s, LOG_STORE_META_CAPS, meta_caps, err);
    if (r == 0) {
        snprintf(number, sizeof(number), "%" PRId64,
                 o->cache_bytes ? o->cache_bytes : LOG_CACHE_BYTES_DEFAULT);
        r = base_settings_set(s, "cache.bytes", number, err);
    }
    for (size_t i = 0; r == 0 && i < o->setting_count; i++)
        r = log_settings_set(s, &o->settings[i], err);
    if (r == 0)
        r = base_settings_encode(s, LOG_STORE_MAGIC, LOG_STORE_VERSION, ret, ret_size, err);
    base_settings_free(s);
    return r;
}

/* Relative directories given by a user are meant from where he stands, not from inside the store.
 */
static int create_absolute_url(const char *url, char **ret, struct varve_error *err)
{
    char cwd[4096];

    if (strstr(url, "://") || url[0] == '/')
        return base_format(ret, err, "%s", url);
    if (!getcwd(cwd, sizeof(cwd)))
        return base_fail_errno(err, errno, "find the current directory");
    return base_format(ret, err, "%s/%s", cwd, url);
}

static int create_draft(const struct base_env *env, const char *draft,
                        const struct varve_store_options *o, const struct base_id *id,
                        const char *caps, const char *meta_caps, struct varve_error *err)
{
    char *text = NULL;
    size_t size = 0;
    int r = create_settings(env, o, id, caps, meta_caps, &text, &size, err);

    if (r == 0)
        r = base_file_replace(env->io, draft, text, size, true, err);
    free(text);
    return r;
}

/* Claims the places in the cold tier, and writes into the draft what they were found to do. */
static int create_cold(const struct base_env *env, const char *path, const char *draft,
                       const struct varve_store_options *o, const struct base_id *id,
                       struct varve_error *err)
{
    char caps[COLD_CAPS_TEXT_SIZE] = "", meta_caps[COLD_CAPS_TEXT_SIZE] = "";
    char *url = NULL, *meta = NULL;
    int r = log_store_resolve_url(path, o->cold_url ? o->cold_url : "cold", &url, err);

    if (r == 0 && o->cold_meta_url)
        r = log_store_resolve_url(path, o->cold_meta_url, &meta, err);
    if (r == 0)
        r = meta ? create_claim_cold(env, path, meta, o, id, meta_caps, err)
                 : create_claim_cold(env, path, url, o, id, caps, err);
    if (r == 0 && meta)
        r = create_segments(env, url, o, caps, err);
    if (r == 0 && (caps[0] || meta_caps[0]))
        r = create_draft(env, draft, o, id, caps, meta_caps, err);
    free(url);
    free(meta);
    return r;
}

/*
 * In this order: the draft of the settings, which makes the id durable; the cold tier, claimed with
 * that id; the draft again, with what the cold tier can do, where that was asked; the settings'
 * name, last: a directory without it is no store. Whatever cuts this short, create can be run
 * again.
 */
static int create_write(const struct base_env *env, const char *path, const char *file,
                        const char *draft, const struct varve_store_options *o,
                        const struct base_id *id, struct varve_error *err)
{
    char *logs = NULL;
    int r = base_dir_create(env->io, path, true, err);

    if (r == 0)
        r = create_draft(env, draft, o, id, "", "", err);
    if (r == 0)
        r = base_format(&logs, err, "%s/logs", path);
    if (r == 0)
        r = base_dir_create(env->io, logs, true, err);
    if (r == 0)
        r = create_cold(env, path, draft, o, id, err);
    if (r == 0) {
        r = env->io->rename(env->io->ctx, draft, file);
        if (r < 0)
            r = base_fail_errno(err, r, "rename %s to %s", draft, file);
    }
    if (r == 0)
        r = base_dir_sync(env->io, path, err);
    free(logs);
    return r;
}

/* Before anything is made. */
static int create_check_settings(const struct varve_store_options *o, struct varve_error *err)
{
    struct base_settings *s = base_settings_new();
    int r = s ? 0 : base_fail(err, VARVE_E_NO_MEMORY, "out of memory");

    for (size_t i = 0; r == 0 && i < o->setting_count; i++)
        r = log_settings_set(s, &o->settings[i], err);
    base_settings_free(s);
    return r;
}

/* Likewise: opening asks nothing of a store, and refuses a URL that is none. One that holds keys
 * must not even come into the draft. That nothing is there yet is no news. */
static int create_check_url(const struct base_env *env, const char *url, struct varve_error *err)
{
    struct cold_store_options options = {.read_only = true};
    struct cold_store *store = NULL;
    struct base_env silent = *env;
    int r;

    silent.logger = (struct base_logger){0};
    r = url ? cold_store_open(&silent, url, &options, &store, err) : 0;

    cold_store_close(store);
    return r;
}

int log_store_create_env(const struct base_env *given, const char *path,
                         const struct varve_store_options *options, struct varve_error *err)
{
    struct varve_store_options o;
    struct base_env heard = *given;
    const struct base_env *env = &heard;
    struct base_id id = base_id_new(env->random);
    char *cold = NULL, *meta = NULL, *file = NULL, *draft = NULL;
    int r;

    log_options_copy(&o, sizeof(o), options);
    heard.logger = (struct base_logger){o.message, o.callback_ctx};
    if (!path || !path[0])
        return base_fail(err, VARVE_E_INVALID, "a store needs a directory");
    if (strstr(path, "://"))
        return base_fail(err, VARVE_E_INVALID,
                         "create store %s: a store is a directory of this machine; the URL is its "
                         "cold tier's (--cold)",
                         path);
    r = create_check_settings(&o, err);
    if (r == 0)
        r = base_format(&file, err, "%s/%s", path, LOG_STORE_FILE);
    if (r == 0)
        r = base_format(&draft, err, "%s/%s", path, LOG_STORE_DRAFT);
    if (r == 0)
        r = create_check_empty(env, path, file, draft, &id, err);
    if (r == 0 && o.cold_url) {
        r = create_absolute_url(o.cold_url, &cold, err);
        o.cold_url = cold;
    }
    if (r == 0 && o.cold_meta_url) {
        r = create_absolute_url(o.cold_meta_url, &meta, err);
        o.cold_meta_url = meta;
    }
    if (r == 0)
        r = create_check_url(env, o.cold_url, err);
    if (r == 0)
        r = create_check_url(env, o.cold_meta_url, err);
    if (r == 0)
        r = create_write(env, path, file, draft, &o, &id, err);
    free(cold);
    free(meta);
    free(file);
    free(draft);
    return r == 0 ? 0 : base_error_context(err, r, "create store %s", path);
}

int varve_store_create(const char *path, const struct varve_store_options *options,
                       struct varve_error *err)
{
    struct base_env env;

    base_env_init(&env);
    return log_store_create_env(&env, path, options, err);
}
