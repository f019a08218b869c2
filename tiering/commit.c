/*
 * Committing: one root write names all that has been stored, and moves n over it (I2).
 *
 * Before the write the hot files are synced up to the new n, and so is the name of the file that
 * begins there. The bucket then never holds more than the local disk does after a power loss, so
 * that a writer that opens without the bucket cannot give out offsets again that are taken (I13),
 * nor go on writing in a segment that is committed, which would never continue n (I4).
 */
#include <string.h>

#include "base/error.h"
#include "tiering/state.h"

/* Whether the engine is done with it: commits come while other uploads are still being sent. */
static bool upload_is_over(const struct tiering_upload *u)
{
    return atomic_load_explicit(&u->over, memory_order_acquire);
}

bool tiering_upload_follows(const struct tiering_upload *u, int64_t n,
                            const uint8_t chain[BASE_SHA256_SIZE])
{
    uint8_t expected[BASE_SHA256_SIZE];

    return u->entry.base_offset <= n &&
           index_chain_hash(chain, u->entry.segment_sha256, u->entry.base_offset,
                            u->entry.end_offset, expected) == 0 &&
           memcmp(expected, u->entry.chain_hash, BASE_SHA256_SIZE) == 0;
}

/* Adds what is stored to the edit; *ret_end is the new n, *ret_count how many. */
static int uploads_add(struct tiering_log *t, struct index_edit *edit,
                       const struct index_root *root, int64_t *ret_end, unsigned *ret_count,
                       struct varve_error *err)
{
    uint8_t chain[BASE_SHA256_SIZE];
    int64_t n = root->end_offset;
    unsigned count = 0;

    memcpy(chain, root->chain_hash, BASE_SHA256_SIZE);
    for (const struct tiering_upload *u = t->uploads; u; u = u->next) {
        int rc;

        if (u->entry.end_offset <= n) /* I1: trimmed meanwhile; discarded, not committed */
            continue;
        /* I4: nothing is skipped */
        if (!upload_is_over(u) || !u->stored || !tiering_upload_follows(u, n, chain))
            break;
        rc = index_edit_add(edit, &u->entry, err);
        if (rc < 0)
            return rc;
        n = u->entry.end_offset;
        memcpy(chain, u->entry.chain_hash, BASE_SHA256_SIZE);
        count++;
    }
    *ret_end = n;
    *ret_count = count;
    return 0;
}

/* Whether an upload that is still in the table can ever be committed. Those beyond the first that
 * does not follow stay: it may be the one that failed. */
static bool upload_is_dead(const struct tiering_upload *u, const struct index_root *root)
{
    return u->entry.end_offset <= root->end_offset ||
           (u->entry.base_offset <= root->end_offset &&
            !tiering_upload_follows(u, root->end_offset, root->chain_hash));
}

static int visit_first(void *arg, const struct index_entry *e, struct varve_error *err)
{
    (void)err;
    *(struct index_entry *)arg = *e;
    return 1;
}

/* Whether the root names this upload, those below the log start included. A failure: nobody knows,
 * the page that would say it cannot be read. */
static int upload_is_named(struct tiering_log *t, const struct tiering_upload *u, bool *ret)
{
    struct index_entry e;
    int rc = index_manifest_each(t->o.manifest, u->entry.base_offset, visit_first, &e, NULL);

    if (rc < 0)
        return rc;
    *ret = rc == 1 && base_id_equal(&e.attempt, &u->attempt);
    return 0;
}

static void upload_tell(struct tiering_log *t, const struct tiering_upload *u)
{
    base_mutex_lock(&t->lock);
    t->status.uploaded_segments++;
    t->status.uploaded_bytes += u->entry.segment_size;
    t->status.stored_bytes += u->entry.object_size;
    base_mutex_unlock(&t->lock);
    if (t->run) {
        t->run->uploaded_segments++;
        t->run->uploaded_bytes += u->entry.segment_size;
        t->run->stored_bytes += u->entry.object_size;
    }
    tiering_event_add(t, TIERING_UPLOADED, u->entry.base_offset, u->entry.end_offset,
                      u->entry.object_size);
}

/* Takes out of the table what the durable root names, and what it has passed by. Objects of the
 * latter are deleted at once, or by a collection if that fails, or if nobody knows which it is. */
static void table_settle(struct tiering_log *t, const struct index_root *root)
{
    struct tiering_upload *out = NULL, **at = &t->uploads, **last = &out;

    base_mutex_lock(&t->lock);
    while (*at) {
        struct tiering_upload *u = *at;

        if (!upload_is_over(u) || !upload_is_dead(u, root)) {
            at = &u->next;
            continue;
        }
        *at = u->next;
        u->next = NULL;
        *last = u;
        last = &u->next;
    }
    base_mutex_unlock(&t->lock);
    while (out) {
        struct tiering_upload *u = out;
        const char *key = u->key;
        bool named;
        int rc = upload_is_named(t, u, &named);

        out = u->next;
        if (rc == 0 && named)
            upload_tell(t, u);
        else if (rc == 0)
            (void)cold_store_delete(t->o.segments, &key, 1, NULL);
        tiering_upload_free(u);
    }
}

void tiering_commit_drop_stranded(struct tiering_log *t)
{
    struct tiering_upload **at = &t->uploads, *out;
    struct index_root root;
    int64_t end;

    (void)tiering_upload_abort_left(t, NULL, NULL, NULL, NULL); /* parts take room too */
    if (tiering_root_get(t, &root, NULL) < 0)
        return;
    end = root.end_offset;
    base_mutex_lock(&t->lock);
    while (*at && (*at)->entry.base_offset <= end) {
        if ((*at)->entry.end_offset > end)
            end = (*at)->entry.end_offset;
        at = &(*at)->next;
    }
    out = *at;
    *at = NULL;
    base_mutex_unlock(&t->lock);
    while (out) {
        struct tiering_upload *u = out;
        const char *key = u->key;

        out = u->next;
        (void)cold_store_delete(t->o.segments, &key, 1, NULL); /* or a collection does */
        tiering_upload_free(u);
    }
}

/* T2, I4, I13: see above. Where just the end is synced, the next file's name may not be yet. */
static int hot_sync(struct tiering_log *t, int64_t end, struct varve_error *err)
{
    struct hot_range range;

    hot_set_range(t->hot, &range);
    return range.synced > end ? 0 : hot_set_sync(t->hot, err);
}

/* With root_lock held and the root confirmed. */
static int commit_write(struct tiering_log *t, const struct index_root *root, unsigned *ret_count,
                        struct varve_error *err)
{
    struct index_edit *edit;
    int64_t end = 0;
    unsigned count = 0;
    int rc = index_edit_new(t->o.manifest, &edit, err);

    if (rc < 0)
        return rc;
    rc = uploads_add(t, edit, root, &end, &count, err);
    if (rc == 0 && count > 0) {
        rc = hot_sync(t, end, err);
        if (rc == 0)
            rc = tiering_root_write(t, edit, err);
    }
    index_edit_free(edit);
    if (rc == 0)
        *ret_count = count;
    return rc;
}

int tiering_commit_uploads(struct tiering_log *t, unsigned *ret_count, struct varve_error *err)
{
    struct index_root root;
    unsigned count = 0;
    int rc;

    if (!t->uploads) {
        *ret_count = 0;
        return 0;
    }
    base_mutex_lock(&t->root_lock);
    rc = tiering_root_confirm(t, err); /* may find that an earlier commit had arrived (I7) */
    if (rc == 0)
        rc = tiering_root_get(t, &root, err);
    if (rc == 0)
        rc = commit_write(t, &root, &count, err);
    if (rc == 0)
        rc = tiering_root_get(t, &root, err);
    if (rc == 0)
        table_settle(t, &root);
    base_mutex_unlock(&t->root_lock);
    if (rc < 0)
        return base_error_context(err, rc, "commit");
    *ret_count = count;
    return 0;
}
