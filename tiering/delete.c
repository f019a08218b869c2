/*
 * Deleting a log: the tombstone first, then, past the grace period for readers (I5), its objects
 * and pages, then its unfinished uploads. Whatever cuts this short behind the tombstone is gone on
 * with by tiering_log_delete_rest.
 */
#include <stdlib.h>

#include "base/error.h"
#include "tiering/state.h"

static int change_tombstone(struct index_edit *edit, const void *arg, struct varve_error *err)
{
    (void)arg;
    return index_edit_tombstone(edit, err);
}

static int visit_abort(void *arg, const char *key, const struct cold_upload *upload,
                       int64_t started)
{
    (void)started;
    (void)cold_store_upload_abort(arg, key, upload, NULL);
    return 0;
}

static int visit_any(void *arg, const char *key, const struct cold_meta *meta)
{
    (void)key;
    (void)meta;
    *(bool *)arg = true;
    return 1;
}

static int objects_delete(const struct base_env *env, const struct tiering_log_options *of,
                          const struct base_id *log_id, int64_t delay_ms, struct varve_error *err)
{
    uint64_t deleted = 0;

    if (delay_ms > 0)
        env->clock->sleep_ns(env->clock->ctx,
                             delay_ms <= INT64_MAX / 1000000 ? delay_ms * 1000000 : INT64_MAX);
    return tiering_delete_prefix(of->segments, of->meta, of->log_name, log_id, &deleted, err);
}

int tiering_log_delete(struct tiering_log *t, struct varve_error *err)
{
    int64_t delay = tiering_policy_now(t).delete_delay_ms;
    char *prefix;
    int rc;

    base_mutex_lock(&t->step_lock);
    rc = tiering_root_change(t, change_tombstone, NULL, err);
    if (rc == 0) {
        base_mutex_lock(&t->lock);
        base_fail(&t->status.last_error, VARVE_E_FENCED, "log %s was deleted", t->log_name);
        base_mutex_unlock(&t->lock);
        atomic_store_explicit(&t->fenced, true, memory_order_relaxed);
        rc = objects_delete(t->env, &t->o, &t->log_id, delay, err);
    }
    if (rc == 0)
        (void)tiering_upload_abort_left(t, NULL, NULL, NULL, NULL);
    if (rc == 0 && index_key_prefix(t->log_name, &t->log_id, &prefix, NULL) == 0) {
        (void)cold_store_upload_list(t->o.segments, prefix, visit_abort, t->o.segments, NULL);
        free(prefix);
    }
    base_mutex_unlock(&t->step_lock);
    if (rc < 0)
        return base_error_context(err, rc, "delete log %s", t->log_name);
    return 0;
}

int tiering_log_delete_rest(const struct base_env *env, const struct tiering_log_options *options,
                            const struct base_id *log_id, bool *ret_any, struct varve_error *err)
{
    struct cold_store *const stores[] = {options->segments, options->meta};
    bool any = false, more;
    char *prefix;
    int rc = index_key_prefix(options->log_name, log_id, &prefix, err);

    if (rc < 0)
        return rc;
    for (int i = 0; i < 2 && rc >= 0 && !any; i++)
        rc = cold_store_list(stores[i], prefix, NULL, 1, visit_any, &any, &more, err);
    if (rc >= 0)
        rc = objects_delete(env, options, log_id, any ? options->policy.delete_delay_ms : 0, err);
    if (rc == 0)
        rc = tiering_upload_abort_journal(env, options->journal_path, options->segments, err);
    if (rc == 0) {
        (void)cold_store_upload_list(options->segments, prefix, visit_abort, options->segments,
                                     NULL);
        *ret_any = any;
    }
    free(prefix);
    return rc;
}
