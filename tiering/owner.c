/*
 * Who owns a log (I6): the refusal of a foreign owner, taking over, and the look at the bucket's
 * root by which a writer that uploads nothing learns that it was replaced.
 *
 * A take-over, in this order; each step can be the last one of this process:
 *
 *   O1  The old owner's lease, if it holds one, is watched until it has run out (lease.c). One that
 *       is renewed meanwhile belongs to a live writer: refused, nothing was changed.
 *   O2  The root is written with our id and the next epoch, if-match what was read. Lost to an
 *       ordinary write of the old owner: read again, try again. Lost to another owner: refused.
 *   O3  The old owner's lease is broken, so that it can never be renewed, and is waited out where
 * it is not the one that was watched: a process of the old owner may have claimed it between O1 and
 * O2. One that claims it after O2 reads our root afterwards. O4  Only now the local root is
 * installed: while that names the old owner, opening again knows that O3 may be missing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "tiering/lease.h"
#include "tiering/state.h"

/* When the owner last wrote the root, by the store's clock; "" when that cannot be asked. */
static void owner_last_write(struct tiering_log *t, char *buf, size_t size)
{
    char time[BASE_TIME_TEXT_SIZE];
    struct cold_meta meta;
    char *key;

    buf[0] = '\0';
    if (index_key_root(t->log_name, &key, NULL) < 0)
        return;
    if (cold_store_head(t->o.meta, key, &meta, NULL) == 0 && meta.modified > 0) {
        base_format_time(meta.modified, time);
        snprintf(buf, size, ", which last wrote to it at %s", time);
    }
    free(key);
}

int tiering_owner_check(struct tiering_log *t, const struct index_root *root, bool allow,
                        struct varve_error *err)
{
    char owner[BASE_ID_TEXT_SIZE], when[80];

    if (base_id_equal(&root->owner, &t->o.store_id) || allow)
        return 0;
    base_id_format(&root->owner, owner);
    owner_last_write(t, when, sizeof(when));
    return base_fail(
        err, VARVE_E_FENCED,
        "log %s is owned by another store, %s (epoch %u)%s: end its writer, then take it over",
        t->log_name, owner, root->epoch, when); /* I6 */
}

int tiering_owner_judge(struct tiering_log *t, const struct index_root *bucket,
                        struct varve_error *err)
{
    char owner[BASE_ID_TEXT_SIZE];

    if (!base_id_equal(&bucket->log_id, &t->log_id) || bucket->tombstone)
        return tiering_fence(t, err, "log %s: it was deleted in %s", t->log_name,
                             cold_store_url(t->o.meta));
    if (base_id_equal(&bucket->owner, &t->o.store_id) && bucket->epoch <= t->epoch) /* I6 */
        return 0;
    base_id_format(&bucket->owner, owner);
    return tiering_fence(t, err, "log %s: store %s has taken it over (epoch %u; ours was %u)",
                         t->log_name, owner, bucket->epoch, t->epoch);
}

/* ---- the look ---- */

/* Is the root the one that we know to be the current one? One request without a body. */
static int look_same(struct tiering_log *t, const char *key, bool *ret, struct varve_error *err)
{
    struct cold_etag known;
    struct cold_meta meta;
    bool has;
    int rc;

    base_mutex_lock(&t->lock);
    known = t->look_etag;
    has = t->look_known;
    base_mutex_unlock(&t->lock);
    *ret = false;
    if (!has)
        return 0;
    rc = cold_store_head(t->o.meta, key, &meta, err);
    if (rc == 0)
        *ret = strcmp(meta.etag.text, known.text) == 0;
    return rc;
}

static int look_read(struct tiering_log *t, struct varve_error *err)
{
    struct index_root bucket;
    struct cold_etag etag;
    void *data;
    size_t size;
    int rc = cold_manifest_read_root(t->o.meta, t->log_name, &data, &size, &etag, err);

    if (rc < 0)
        return rc;
    rc = index_root_decode(data, size, &bucket, err);
    if (rc == 0)
        rc = tiering_owner_judge(t, &bucket, err);
    free(data);
    return rc;
}

int tiering_log_look(struct tiering_log *t, bool hard, struct varve_error *err)
{
    struct hot_range range;
    char *key;
    bool same = false, due;
    int rc = tiering_check_fenced(t, err);

    if (rc < 0)
        return rc;
    hot_set_range(t->hot, &range);
    base_mutex_lock(&t->lock);
    due = hard || range.end != t->looked_end;
    base_mutex_unlock(&t->lock);
    if (!due)
        return 0;
    rc = index_key_root(t->log_name, &key, err);
    if (rc < 0)
        return rc;
    rc = look_same(t, key, &same, err);
    free(key);
    if (rc == 0 && !same)
        rc = look_read(t, err);
    if (rc < 0) /* away, gone or damaged: no defeat (I8); the next look asks again */
        return rc;
    base_mutex_lock(&t->lock);
    t->looked_end = range.end;
    base_mutex_unlock(&t->lock);
    return 0;
}

/* ---- taking over ---- */

#define TAKE_OVER_TRIES 32 /* writes of a live owner that may come in between */

static int take_over_write(struct tiering_log *t, struct index_edit *edit,
                           const struct base_id *old_owner,
                           const struct tiering_lease_watch *watched, struct varve_error *err)
{
    const struct index_edit_page *pages;
    struct cold_etag etag;
    const void *data;
    size_t size, count;
    int rc = index_edit_take_over(edit, &t->o.store_id, err);

    if (rc == 0)
        rc = index_edit_finish(edit, t->env->random, &data, &size, &pages, &count, err);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = tiering_attempt_hold(t, &pages[i].ref.attempt, err);
    if (rc == 0) /* O2 */
        rc = cold_manifest_write(t->o.meta, t->log_name, &t->log_id, data, size, pages, count,
                                 &t->etag, &etag, err);
    if (rc == 0) /* O3 */
        rc = tiering_lease_end(t->env, t->o.meta, old_owner, &t->o.store_id, watched, err);
    if (rc < 0)
        return rc;
    return tiering_root_keep(t, data, size, pages, count, &etag, err); /* O4 */
}

static int take_over_once(struct tiering_log *t, const struct base_id *old_owner,
                          const struct tiering_lease_watch *watched, struct varve_error *err)
{
    struct index_edit *edit;
    int rc = index_edit_new(t->o.manifest, &edit, err);

    if (rc < 0)
        return rc;
    rc = take_over_write(t, edit, old_owner, watched, err);
    index_edit_free(edit);
    return rc;
}

int tiering_owner_finish(struct tiering_log *t, const struct base_id *old_owner,
                         struct varve_error *err)
{
    const struct tiering_lease_watch none = {0};
    int rc = tiering_lease_end(t->env, t->o.meta, old_owner, &t->o.store_id, &none, err);

    return rc < 0 ? base_error_context(err, rc, "end the take-over of log %s", t->log_name) : 0;
}

/* Somebody's write came in between. The old owner's own makes us try again from it. */
static int take_over_reread(struct tiering_log *t, const struct index_root *seen,
                            struct varve_error *err)
{
    char owner[BASE_ID_TEXT_SIZE];
    struct index_root bucket;
    void *data = NULL;
    int rc = tiering_root_read(t, 0, &data, &bucket, &t->etag, err);

    if (rc < 0)
        return rc;
    if (bucket.tombstone || !base_id_equal(&bucket.log_id, &seen->log_id)) {
        rc = base_fail(err, VARVE_E_NOT_FOUND, "no log %s: it was deleted", t->log_name);
    } else if (bucket.epoch != seen->epoch || !base_id_equal(&bucket.owner, &seen->owner)) {
        base_id_format(&bucket.owner, owner);
        rc = base_fail(err, VARVE_E_FENCED,
                       "log %s: store %s took it over at the same time and was first (epoch %u)",
                       t->log_name, owner, bucket.epoch);
    } else {
        rc = index_manifest_install(t->o.manifest, data, bucket.size, NULL, 0, true, err);
    }
    free(data);
    return rc;
}

int tiering_owner_take_over(struct tiering_log *t, struct varve_error *err)
{
    char owner[BASE_ID_TEXT_SIZE];
    struct tiering_lease_watch watched;
    struct index_root seen;
    int rc = tiering_root_get(t, &seen, err);

    if (rc == 0) /* O1 */
        rc = tiering_lease_watch(t->env, t->o.meta, &seen.owner, &watched, err);
    if (rc < 0)
        return base_error_context(err, rc, "take over log %s", t->log_name);
    rc = VARVE_E_PRECONDITION;
    for (unsigned i = 0; rc == VARVE_E_PRECONDITION && i < TAKE_OVER_TRIES; i++) {
        rc = i > 0 ? take_over_reread(t, &seen, err) : 0;
        if (rc == 0)
            rc = take_over_once(t, &seen.owner, &watched, err);
    }
    if (rc == VARVE_E_PRECONDITION)
        return base_fail_retriable(err, VARVE_E_BUSY,
                                   "take over: log %s is written to all the time by its owner: end "
                                   "that writer first",
                                   t->log_name);
    if (rc < 0)
        return base_error_context(err, rc, "take over");
    base_id_format(&seen.owner, owner);
    base_log(&t->env->logger, BASE_LOG_WARNING,
             "log %s: taken over from another store (%s), with epoch %u", t->log_name, owner,
             seen.epoch + 1);
    return 0;
}
