/*
 * The root of a log's manifest, in the bucket and here.
 *
 * The bucket's root is the truth; the local copy is installed only after it. While `confirmed`,
 * both are the same and we hold its ETag. Whatever makes that doubtful (a lost reply, a lost
 * condition, a local write that failed) clears the flag, and the next change begins by reading the
 * bucket's root:
 *
 *   same write id                   nothing had happened
 *   ours, a higher generation       our own write whose reply was lost (I7): install it, go on
 *   another owner, a higher epoch,  fenced, for good (I6)
 *   a tombstone, another log id
 *   older, gone or damaged          the bucket lost what it had confirmed: VARVE_E_CORRUPT, uploads
 *                                   stall (I4) until it is repaired
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "tiering/state.h"

/* How long opening waits for a store that accepts connections and says nothing, where it can do
 * without: records are to be appended, and an upload asks again. */
#define OPEN_PATIENCE_MS 5000

int tiering_root_get(struct tiering_log *t, struct index_root *ret, struct varve_error *err)
{
    struct index_root_pin *pin;
    const struct index_root *root;
    int rc = index_manifest_pin(t->o.manifest, &pin, &root, err);

    if (rc < 0)
        return rc;
    *ret = *root;
    index_manifest_unpin(pin);
    return 0;
}

static int root_install(struct tiering_log *t, const void *data, size_t size,
                        struct varve_error *err)
{
    int rc = index_manifest_install(t->o.manifest, data, size, NULL, 0, true, err);

    if (rc < 0)
        return base_error_context(err, rc, "log %s: keep the root", t->log_name);
    return 0;
}

/* The bucket's root is the local one, and has this ETag; NULL: not known any more. */
static void root_know(struct tiering_log *t, const struct cold_etag *etag)
{
    t->confirmed = etag != NULL;
    if (etag)
        t->etag = *etag;
    base_mutex_lock(&t->lock); /* for those who look without root_lock */
    t->look_known = etag != NULL;
    if (etag)
        t->look_etag = *etag;
    base_mutex_unlock(&t->lock);
}

void tiering_root_doubt(struct tiering_log *t)
{
    root_know(t, NULL);
}

/* The chain hash that the bucket's root gives for the offset `end`, if it lists it inline. */
static bool root_chain_at(const struct index_root *r, int64_t end, uint8_t ret[BASE_SHA256_SIZE])
{
    if (r->end_offset == end) {
        memcpy(ret, r->chain_hash, BASE_SHA256_SIZE);
        return true;
    }
    for (size_t i = 0; i < r->entry_count; i++) {
        struct index_entry e;

        index_root_entry(r, i, &e);
        if (e.end_offset == end) {
            memcpy(ret, e.chain_hash, BASE_SHA256_SIZE);
            return true;
        }
    }
    return false;
}

/* Both are roots of the same log. *ret_newer: the bucket's is to be installed. */
static int root_compare(struct tiering_log *t, const struct index_root *bucket,
                        const struct index_root *local, bool *ret_newer, struct varve_error *err)
{
    uint8_t chain[BASE_SHA256_SIZE];

    if (bucket->generation < local->generation)
        return base_fail(err, VARVE_E_CORRUPT,
                         "log %s: the root in %s is of generation %llu, the local copy of %llu: "
                         "the bucket has lost writes that it had confirmed",
                         t->log_name, cold_store_url(t->o.meta),
                         (unsigned long long)bucket->generation,
                         (unsigned long long)local->generation);
    if (bucket->generation == local->generation) {
        if (!base_id_equal(&bucket->write_id, &local->write_id))
            return base_fail(err, VARVE_E_CORRUPT,
                             "log %s: the root in %s and the local copy differ, and both are of "
                             "generation %llu",
                             t->log_name, cold_store_url(t->o.meta),
                             (unsigned long long)local->generation);
        *ret_newer = false;
        return 0;
    }
    /* I13: the history we know must be part of the history there. */
    if (root_chain_at(bucket, local->end_offset, chain) &&
        memcmp(chain, local->chain_hash, BASE_SHA256_SIZE) != 0)
        return base_fail(err, VARVE_E_CORRUPT,
                         "log %s: the root in %s and the local copy have different histories below "
                         "offset %lld",
                         t->log_name, cold_store_url(t->o.meta), (long long)local->end_offset);
    *ret_newer = true;
    return 0;
}

int tiering_root_read(struct tiering_log *t, int64_t patience_ms, void **ret_data,
                      struct index_root *ret, struct cold_etag *ret_etag, struct varve_error *err)
{
    void *data;
    size_t size;
    int rc = cold_manifest_read_root_within(t->o.meta, t->log_name, patience_ms, &data, &size,
                                            ret_etag, err);

    if (rc < 0)
        return rc;
    rc = index_root_decode(data, size, ret, err);
    if (rc < 0) {
        free(data);
        return base_error_context(err, rc, "log %s: the root in %s", t->log_name,
                                  cold_store_url(t->o.meta));
    }
    *ret_data = data;
    return 0;
}

/* The root was read while the log is open. */
static int root_judge(struct tiering_log *t, const struct index_root *bucket,
                      struct varve_error *err)
{
    struct index_root_pin *pin;
    const struct index_root *local;
    struct hot_range range;
    bool newer = false;
    int rc;

    rc = tiering_owner_judge(t, bucket, err);
    if (rc < 0)
        return rc;
    rc = index_manifest_pin(t->o.manifest, &pin, &local, err);
    if (rc < 0)
        return rc;
    rc = root_compare(t, bucket, local, &newer, err);
    index_manifest_unpin(pin);
    if (rc < 0 || !newer)
        return rc;
    if (t->hot) {
        hot_set_range(t->hot, &range);
        /* I13: we opened without the bucket, and it holds more than the local disk does: what was
         * appended since has offsets that are taken. Opening again sorts it out. */
        if (range.end < bucket->end_offset)
            return tiering_fence(t, err,
                                 "log %s: the bucket holds it up to offset %lld, the local disk up "
                                 "to %lld: open it again",
                                 t->log_name, (long long)bucket->end_offset, (long long)range.end);
    }
    return root_install(t, bucket->data, bucket->size, err); /* I7: our own write */
}

int tiering_root_confirm(struct tiering_log *t, struct varve_error *err)
{
    struct index_root bucket;
    struct cold_etag etag;
    void *data;
    int rc = tiering_check_fenced(t, err);

    if (rc < 0 || t->confirmed)
        return rc;
    rc = tiering_root_read(t, 0, &data, &bucket, &etag, err);
    if (rc == VARVE_E_NOT_FOUND)
        return base_fail(err, VARVE_E_CORRUPT, "log %s: its root is missing in %s", t->log_name,
                         cold_store_url(t->o.meta));
    if (rc < 0)
        return rc;
    rc = root_judge(t, &bucket, err);
    free(data);
    if (rc < 0)
        return rc;
    root_know(t, &etag);
    if (t->hot && tiering_root_get(t, &bucket, NULL) == 0)
        hot_set_publish_root(t->hot, bucket.generation);
    return 0;
}

int tiering_attempt_hold(struct tiering_log *t, const struct base_id *attempt,
                         struct varve_error *err)
{
    struct base_id *more;

    base_mutex_lock(&t->lock);
    more = realloc(t->held, (t->held_count + 1) * sizeof(*more));
    if (more) {
        t->held = more;
        more[t->held_count++] = *attempt;
    }
    base_mutex_unlock(&t->lock);
    return more ? 0 : base_fail(err, VARVE_E_NO_MEMORY, "log %s: out of memory", t->log_name);
}

/* After a root write that succeeded no earlier one can land any more: its condition is void. */
static void attempts_release(struct tiering_log *t)
{
    base_mutex_lock(&t->lock);
    free(t->held);
    t->held = NULL;
    t->held_count = 0;
    base_mutex_unlock(&t->lock);
}

int tiering_root_keep(struct tiering_log *t, const void *data, size_t size,
                      const struct index_edit_page *pages, size_t count,
                      const struct cold_etag *etag, struct varve_error *err)
{
    struct index_root root;
    int rc;

    root_know(t, etag);
    t->root_written = true;
    attempts_release(t);
    /* Only the durable local root lets anything local go (I3); if this fails the bucket's root is
     * installed when it is next confirmed. */
    rc = index_manifest_install(t->o.manifest, data, size, pages, count, true, err);
    if (rc < 0) {
        root_know(t, NULL);
        return base_error_context(err, rc, "log %s: keep the root", t->log_name);
    }
    if (t->hot && index_root_view(data, size, &root, NULL) == 0)
        hot_set_publish_root(t->hot, root.generation);
    return 0;
}

/* Writes a root over the one with this ETag, NULL: where there is none. */
static int root_put(struct tiering_log *t, struct index_edit *edit, const struct cold_etag *over,
                    struct varve_error *err)
{
    const struct index_edit_page *pages;
    struct cold_etag etag;
    const void *data;
    size_t size, count;
    int rc = index_edit_finish(edit, t->env->random, &data, &size, &pages, &count, err);

    if (rc < 0)
        return rc;
    /* A collection must not take the pages for garbage while the root that names them may still
     * arrive. */
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = tiering_attempt_hold(t, &pages[i].ref.attempt, err);
    if (rc < 0)
        return rc;
    rc = cold_manifest_write(t->o.meta, t->log_name, &t->log_id, data, size, pages, count, over,
                             &etag, err);
    if (rc == 0)
        return tiering_root_keep(t, data, size, pages, count, &etag, err);
    root_know(t, NULL);
    return rc;
}

int tiering_root_write(struct tiering_log *t, struct index_edit *edit, struct varve_error *err)
{
    int rc = root_put(t, edit, &t->etag, err);

    if (rc != VARVE_E_PRECONDITION)
        return rc;
    rc = tiering_root_confirm(t, err); /* whose is it? */
    if (rc < 0)
        return rc;
    return base_fail_retriable(err, VARVE_E_PRECONDITION,
                               "log %s: an earlier write of the root came in between", t->log_name);
}

/*
 * The local root is of another log of this name, which was deleted; so are all segments here, and
 * only that root says so. They go before it is replaced (I13): whatever cuts this short, the next
 * opening finds that root again and goes on. Where the local root is a tombstone this store has
 * deleted the log itself, and they are garbage.
 */
static int root_clear_local(struct tiering_log *t, const struct index_root *local,
                            struct varve_error *err)
{
    char id[BASE_ID_TEXT_SIZE];
    char *aside = NULL;
    unsigned count = 0;
    int rc = 0;

    base_id_format(&local->log_id, id);
    if (!local->tombstone) /* a name that stays the same while they go */
        rc = base_format(&aside, err, "%s/%020d-%u-%s", t->o.divergent_dir, 0, local->epoch, id);
    if (rc == 0)
        rc = hot_set_clear(t->env, t->o.hot_dir, aside, &count, err);
    if (rc < 0)
        base_error_context(err, rc, "log %s: the files of the one that it replaces", t->log_name);
    else if (count > 0)
        base_log(&t->env->logger, BASE_LOG_WARNING,
                 "log %s: it was deleted and made again; %u segments of the old one (%s) were "
                 "moved to %s, not part of the log",
                 t->log_name, count, id, aside);
    free(aside);
    return rc;
}

/* The bucket's root beside the local one. *ret_newer: the bucket's is to be installed.
 * *ret_begun_from: the owner that a take-over of ours, cut short, has replaced; zero: there was
 * none. */
static int root_meet_local(struct tiering_log *t, const struct index_root *bucket, bool *ret_newer,
                           struct base_id *ret_begun_from, struct varve_error *err)
{
    struct index_root_pin *pin;
    const struct index_root *local;
    int rc = index_manifest_pin(t->o.manifest, &pin, &local, err);

    if (rc < 0)
        return rc;
    if (base_id_equal(&local->log_id, &bucket->log_id)) {
        rc = root_compare(t, bucket, local, ret_newer, err);
        if (base_id_equal(&bucket->owner, &t->o.store_id) &&
            !base_id_equal(&local->owner, &t->o.store_id))
            *ret_begun_from = local->owner;
    } else {
        t->ends_other = true;
        rc = root_clear_local(t, local, err);
    }
    index_manifest_unpin(pin);
    return rc;
}

/* The bucket's root is there and decodes: makes it the local one. */
static int root_adopt(struct tiering_log *t, const struct index_root *bucket, bool take_over,
                      struct varve_error *err)
{
    struct base_id begun_from = {0};
    bool newer = true;
    int rc;

    if (bucket->tombstone)
        return base_fail(err, VARVE_E_NOT_FOUND, "no log %s: it was deleted", t->log_name);
    rc = tiering_owner_check(t, bucket, take_over || t->o.set_aside, err);
    if (rc == 0 && index_manifest_loaded(t->o.manifest))
        rc = root_meet_local(t, bucket, &newer, &begun_from, err);
    if (rc == 0 && !base_id_is_zero(&begun_from)) { /* O4 */
        t->taking_over = true;
        rc = tiering_owner_finish(t, &begun_from, err);
    }
    if (rc == 0 && newer)
        rc = root_install(t, bucket->data, bucket->size, err);
    return rc;
}

/* Would a local root do, where the bucket cannot tell? */
static bool root_is_here(struct tiering_log *t, bool take_over, struct index_root *ret)
{
    return !take_over && !t->o.set_aside && !t->o.confirmed_only && !t->taking_over &&
           !t->ends_other && index_manifest_loaded(t->o.manifest) &&
           tiering_root_get(t, ret, NULL) == 0 && !ret->tombstone;
}

/* The bucket cannot tell; a local root of our own lets us open all the same. */
static int root_open_alone(struct tiering_log *t, bool take_over, int failed,
                           struct varve_error *why, struct varve_error *err)
{
    struct index_root local;

    if (failed == VARVE_E_NO_MEMORY || failed == VARVE_E_VERSION ||
        !root_is_here(t, take_over, &local)) {
        if (failed == VARVE_E_NOT_FOUND)
            return base_fail(err, VARVE_E_NOT_FOUND, "no log %s in %s", t->log_name,
                             cold_store_url(t->o.meta));
        if (err)
            *err = *why;
        return failed;
    }
    failed = tiering_owner_check(t, &local, false, err);
    if (failed < 0)
        return failed;
    base_log(&t->env->logger, BASE_LOG_WARNING,
             "log %s: opened by its local manifest alone, nothing is uploaded until the bucket's "
             "root can be compared: %s",
             t->log_name, why->msg);
    return 0;
}

int tiering_root_open(struct tiering_log *t, bool take_over, struct varve_error *err)
{
    struct index_root root;
    struct varve_error why = {0};
    struct cold_etag etag;
    void *data = NULL;
    int64_t patience_ms = root_is_here(t, take_over, &root) ? OPEN_PATIENCE_MS : 0;
    int rc = tiering_root_read(t, patience_ms, &data, &root, &etag, &why);

    if (rc == 0) {
        rc = root_adopt(t, &root, take_over, &why);
        if (rc == 0)
            root_know(t, &etag);
        else if (rc == VARVE_E_NOT_FOUND || rc == VARVE_E_FENCED) {
            if (err)
                *err = why;
            free(data);
            return rc;
        }
    }
    free(data);
    if (rc < 0)
        rc = root_open_alone(t, take_over, rc, &why, err);
    if (rc < 0)
        return rc;
    rc = tiering_root_get(t, &root, err);
    if (rc < 0)
        return rc;
    t->log_id = root.log_id;
    t->epoch = root.epoch;
    if (base_id_equal(&root.owner, &t->o.store_id))
        return 0;
    if (t->o.set_aside) { /* nothing is written for this log, in the bucket or here */
        atomic_store_explicit(&t->fenced, true, memory_order_relaxed);
        return 0;
    }
    rc = tiering_owner_take_over(t, err); /* checked above: only when asked to */
    if (rc == 0)
        rc = tiering_root_get(t, &root, err);
    if (rc == 0)
        t->epoch = root.epoch;
    return rc;
}

int tiering_root_change(struct tiering_log *t,
                        int (*change)(struct index_edit *edit, const void *arg,
                                      struct varve_error *err),
                        const void *arg, struct varve_error *err)
{
    struct index_edit *edit = NULL;
    int rc;

    base_mutex_lock(&t->root_lock);
    rc = tiering_root_confirm(t, err); /* T1 */
    if (rc == 0)
        rc = index_edit_new(t->o.manifest, &edit, err);
    if (rc == 0)
        rc = change(edit, arg, err);
    if (rc == 0)
        rc = tiering_root_write(t, edit, err);
    index_edit_free(edit);
    base_mutex_unlock(&t->root_lock);
    return rc;
}

int tiering_log_settle(struct tiering_log *t, struct varve_error *err)
{
    base_mutex_lock(&t->root_lock);
    int rc = tiering_root_confirm(t, err);
    base_mutex_unlock(&t->root_lock);
    return rc;
}

/*
 * What cannot be read may be newer than the local root by one write, not by more: each begins with
 * the last one installed here (T1). So the new root overtakes it, and readers that know the lost
 * one go on. What only that one said had not been confirmed to anybody, and its segments are still
 * here (I3): they are uploaded again.
 */
int tiering_log_restore_root(struct tiering_log *t, const struct cold_etag *etag,
                             struct varve_error *err)
{
    struct index_edit *edit = NULL;
    int rc;

    base_mutex_lock(&t->root_lock);
    rc = tiering_check_fenced(t, err); /* I6 */
    if (rc == 0)
        rc = index_edit_new(t->o.manifest, &edit, err);
    if (rc == 0) {
        index_edit_overtake(edit);
        rc = root_put(t, edit, etag, err);
    }
    index_edit_free(edit);
    base_mutex_unlock(&t->root_lock);
    return rc;
}
