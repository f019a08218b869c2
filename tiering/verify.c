/*
 * Checking one log across both tiers.
 *
 * In this order: the roots (bucket and local), the pages, every entry with its object, the hot
 * segments, what lies in the bucket beside them, the caches. Each check reports through one
 * function and goes on; only a failure to look at all (the store cannot be asked) ends the run.
 * Memory does not grow with the log, but for the list of page references (one in a thousand
 * segments).
 *
 * A writer may be at work beside it. What changes under the check is looked at again with the
 * newest root before anything is called a problem: a root is durable before what it drops goes
 * (I3, I5), so what is missing in the newest root's eyes is missing.
 *
 * INVARIANTS
 *   V1  Nothing is given up for a copy that this run has not read wholly and found good.
 *   V2  What is put in place of something damaged is decoded, and compared with what names it,
 *       first.
 */
#include "tiering/verify.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "cold/manifest.h"
#include "tiering/verify_private.h"

#define VERIFY_ROOT_READS 3
#define VERIFY_BLOCK_BYTES_MAX (256u * 1024 * 1024) /* of one block, stored or raw */

/* ---- reporting ---- */

void tiering_verify_found(struct tiering_verify_state *x, enum tiering_finding_kind kind,
                          const char *where, int64_t offset, bool repaired, const char *text)
{
    const struct tiering_finding f = {
        .kind = kind, .where = where, .text = text, .offset = offset, .repaired = repaired};

    if (repaired)
        x->v->repaired++;
    else if (kind != TIERING_FOUND_NOTE && kind != TIERING_FOUND_ORPHAN)
        x->v->problems++;
    if (x->v->found)
        x->v->found(x->v->ctx, &f);
}

void tiering_verify_progress(struct tiering_verify_state *x, uint64_t bytes)
{
    x->done += bytes;
    x->v->bytes_read += bytes;
    if (x->v->progress)
        x->v->progress(x->v->ctx, x->done < x->total ? x->done : x->total, x->total);
}

bool tiering_verify_can_repair(const struct tiering_verify_state *x)
{
    return x->v->repair && x->v->tiering;
}

bool tiering_verify_is_outage(int rc)
{
    return rc == VARVE_E_STORE || rc == VARVE_E_NO_MEMORY || rc == VARVE_E_DENIED;
}

int tiering_verify_room(struct base_buffer *b, size_t size, struct varve_error *err)
{
    base_buffer_clear(b);
    if (size > VERIFY_BLOCK_BYTES_MAX)
        return base_fail(err, VARVE_E_CORRUPT, "a block of %zu bytes", size);
    if (size && !base_buffer_extend(b, size))
        return base_fail(err, VARVE_E_NO_MEMORY, "verify: out of memory for %zu bytes", size);
    return 0;
}

/* ---- roots ---- */

static int note_root(struct tiering_verify_state *x, struct varve_error *err)
{
    struct index_root_pin *pin;
    const struct index_root *root;
    int r = index_manifest_pin(x->v->manifest, &pin, &root, err);

    if (r < 0)
        return r;
    x->log_id = root->log_id;
    x->start_offset = root->start_offset;
    x->end_offset = root->end_offset;
    x->deleted_to = root->deleted_to;
    x->epoch = root->epoch;
    if (x->v->deep)
        x->total = root->object_bytes;
    index_manifest_unpin(pin);
    return 0;
}

/* The bucket's root into the manifest. A writer's is never behind it. */
static int take_bucket_root(struct tiering_verify_state *x, struct varve_error *err)
{
    struct index_root root;
    struct cold_etag etag;
    void *data = NULL;
    size_t size = 0;
    int r = cold_manifest_read_root(x->v->meta, x->v->log_name, &data, &size, &etag, err);

    if (r == 0)
        r = index_root_decode(data, size, &root, err);
    if (r == 0 && !root.tombstone)
        r = index_manifest_install(x->v->manifest, data, size, NULL, 0, true, err);
    free(data);
    return r == VARVE_E_PRECONDITION ? 0 : r; /* older than ours */
}

int tiering_verify_refresh(struct tiering_verify_state *x, struct varve_error *err)
{
    int r = x->v->tiering ? 0 : take_bucket_root(x, err);

    if (r < 0 && tiering_verify_is_outage(r))
        return r;
    return note_root(x, err); /* a damaged one has been reported, and ours is as good */
}

static int store_again(struct cold_store *store, const char *key, const void *data, size_t size,
                       struct varve_error *err)
{
    const struct iovec body = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    const struct cold_put how = {
        .condition = COLD_ALWAYS,
        .has_crc32c = true,
        .crc32c = base_crc32c(0, data, size),
    };

    return cold_store_put(store, key, &body, 1, &how, NULL, err);
}

static void compare_roots(struct tiering_verify_state *x, const char *key,
                          const struct index_root *bucket, const struct index_root *local)
{
    char text[160];

    if (!base_id_equal(&bucket->log_id, &local->log_id) || bucket->tombstone) {
        tiering_verify_found(x, TIERING_FOUND_MISMATCH, key, -1, false,
                             "the bucket's root is of another log");
        return;
    }
    if (bucket->generation == local->generation &&
        base_id_equal(&bucket->write_id, &local->write_id)) {
        if (bucket->size != local->size || memcmp(bucket->data, local->data, local->size) != 0)
            tiering_verify_found(x, TIERING_FOUND_MISMATCH, key, -1, false,
                                 "the bucket's root and the local one are of the same write, but "
                                 "differ: one was altered");
        return;
    }
    if (bucket->generation > local->generation && !x->v->tiering) {
        tiering_verify_found(x, TIERING_FOUND_NOTE, key, -1, false,
                             "the bucket's root is newer than the local copy");
        return;
    }
    snprintf(text, sizeof(text),
             "the bucket's root (generation %" PRIu64 ", epoch %u) is not the local one (%" PRIu64
             ", %u)",
             bucket->generation, bucket->epoch, local->generation, local->epoch);
    tiering_verify_found(x, TIERING_FOUND_MISMATCH, key, -1, false, text);
}

struct newer {
    uint32_t epoch;
    bool found;
};

static int visit_newer(void *arg, const char *key, const struct cold_meta *meta)
{
    struct newer *n = arg;
    struct index_key_parts parts;

    (void)meta;
    n->found = n->found || (index_key_parse(key, &parts) && parts.epoch > n->epoch);
    return 0;
}

/*
 * Puts the local root in the place of the bucket's damaged or missing one: if-match the damaged
 * one, or if-absent, so that a root that another writer stores meanwhile is not overwritten. Not
 * when objects of a higher epoch lie there: then the lost root was another store's, and ours is the
 * history of a writer that was fenced (I6).
 */
static bool repair_root(struct tiering_verify_state *x, const struct index_root *local,
                        const struct cold_etag *etag)
{
    struct newer newer = {.epoch = local->epoch};
    struct cold_store *const stores[] = {x->v->meta, x->v->segments};
    char *prefix = NULL;
    int r;

    if (!tiering_verify_can_repair(x) ||
        index_key_prefix(x->v->log_name, &local->log_id, &prefix, NULL) < 0)
        return false;
    r = cold_store_list_all(stores[0], prefix, visit_newer, &newer, NULL);
    if (r == 0 && stores[1] != stores[0])
        r = cold_store_list_all(stores[1], prefix, visit_newer, &newer, NULL);
    free(prefix);
    return r == 0 && !newer.found && tiering_log_restore_root(x->v->tiering, etag, NULL) == 0;
}

/* Damage is damage if it is there each time: a reply's is not the root's. *ret_read: *ret_etag is
 * what it has. */
static int read_bucket_root(struct tiering_verify_state *x, void **ret_data, struct index_root *ret,
                            struct cold_etag *ret_etag, bool *ret_read, struct varve_error *err)
{
    size_t size = 0;
    int r = 0;

    for (int tries = 0; tries < VERIFY_ROOT_READS; tries++) {
        free(*ret_data);
        *ret_data = NULL;
        r = cold_manifest_read_root(x->v->meta, x->v->log_name, ret_data, &size, ret_etag, err);
        *ret_read = r == 0;
        if (r == 0)
            r = index_root_decode(*ret_data, size, ret, err);
        if (r != VARVE_E_CORRUPT)
            break;
    }
    return r;
}

/* The bucket's root against the local one. */
static int check_bucket_root(struct tiering_verify_state *x, const char *key,
                             const struct index_root *local, struct varve_error *err)
{
    struct index_root bucket;
    struct cold_etag etag;
    struct varve_error what = {0};
    void *data = NULL;
    bool read = false;
    int r = read_bucket_root(x, &data, &bucket, &etag, &read, &what);

    if (r == 0) {
        compare_roots(x, key, &bucket, local);
    } else if (r == VARVE_E_CORRUPT || r == VARVE_E_NOT_FOUND) {
        tiering_verify_found(x,
                             r == VARVE_E_NOT_FOUND ? TIERING_FOUND_MISSING : TIERING_FOUND_DAMAGE,
                             key, -1, repair_root(x, local, read ? &etag : NULL), what.msg);
        r = 0;
    } else if (err) {
        *err = what;
    }
    free(data);
    return r;
}

static int check_roots(struct tiering_verify_state *x, struct varve_error *err)
{
    struct index_root_pin *pin;
    const struct index_root *local;
    char *key = NULL;
    int r;

    if (x->v->tiering) /* or the writer's own last root is another's; what is wrong is said below */
        (void)tiering_log_settle(x->v->tiering, NULL);
    r = index_manifest_pin(x->v->manifest, &pin, &local, err);
    if (r < 0)
        return r;
    x->log_id = local->log_id;
    r = index_key_root(x->v->log_name, &key, err);
    if (r == 0)
        r = check_bucket_root(x, key, local, err);
    index_manifest_unpin(pin);
    free(key);
    return r < 0 ? r : tiering_verify_refresh(x, err);
}

/* ---- pages ---- */

static void local_damage(void *arg, const char *file, const struct varve_error *what)
{
    struct tiering_verify_state *x = arg;
    char *path = NULL;

    /* Damaged files are removed; pages are fetched again when they are needed, the root is below.
     */
    if (base_format(&path, NULL, "%s/%s", x->v->manifest_dir, file) < 0)
        path = NULL;
    tiering_verify_found(x, TIERING_FOUND_DAMAGE, path ? path : file, -1,
                         tiering_verify_can_repair(x), what->msg);
    free(path);
}

/* Stores a page of the bucket again from the local copy: its key names its content, so this changes
 * nothing that was right. */
static bool repair_page(struct tiering_verify_state *x, const char *key,
                        const struct index_ref *ref)
{
    const char *name = strrchr(key, '/');
    struct index_page page;
    char *path = NULL;
    void *data = NULL;
    size_t size = 0;
    bool ok = false;

    if (!tiering_verify_can_repair(x) || !x->v->manifest_dir || !name ||
        base_format(&path, NULL, "%s/%s", x->v->manifest_dir, name + 1) < 0)
        return false;
    if (base_file_read(x->env->io, path, ref->page_size, &data, &size, NULL) == 0 &&
        index_page_decode(data, size, ref, &x->log_id, &page, NULL) == 0)
        ok = store_again(x->v->meta, key, data, size, NULL) == 0;
    free(data);
    free(path);
    return ok;
}

static int check_page(void *arg, const struct index_ref *ref, struct varve_error *err)
{
    struct tiering_verify_state *x = arg;
    struct varve_error what = {0};
    struct index_page page;
    char *key = NULL;
    void *data = NULL;
    size_t size = 0;
    int r = index_key_page(x->v->log_name, &x->log_id, ref, &key, err);

    if (r < 0)
        return r;
    r = cold_store_read(x->v->meta, key, ref->page_size, &data, &size, NULL, &what);
    if (r == 0)
        r = index_page_decode(data, size, ref, &x->log_id, &page, &what);
    if (r < 0 && tiering_verify_is_outage(r)) {
        if (err)
            *err = what;
    } else if (r < 0) {
        tiering_verify_found(x,
                             r == VARVE_E_NOT_FOUND ? TIERING_FOUND_MISSING : TIERING_FOUND_DAMAGE,
                             key, ref->base_offset, repair_page(x, key, ref), what.msg);
        r = 0;
    }
    free(data);
    free(key);
    return r;
}

static int check_manifest(struct tiering_verify_state *x, struct varve_error *err)
{
    int r = 0;

    if (x->v->manifest_dir)
        r = index_manifest_check(x->v->manifest, tiering_verify_can_repair(x), local_damage, x,
                                 err);
    if (r == 0 && !index_manifest_loaded(x->v->manifest))
        r = take_bucket_root(x, err);
    return r < 0 ? r : index_manifest_each_ref(x->v->manifest, check_page, x, err);
}

/* ---- caches ---- */

static void cache_damage(void *arg, const char *file, uint64_t slot)
{
    struct tiering_verify_state *x = arg;
    char text[80];

    snprintf(text, sizeof(text), "slot %" PRIu64 " is damaged (never served: it counts as a miss)",
             slot);
    tiering_verify_found(x, TIERING_FOUND_DAMAGE, file, -1, x->v->repair, text);
}

static int check_caches(struct tiering_verify_state *x, struct varve_error *err)
{
    int r = 0;

    for (size_t i = 0; r == 0 && x->v->deep && i < 2; i++)
        if (x->v->caches[i])
            r = cold_cache_check(x->v->caches[i], x->v->repair, cache_damage, x, err);
    return r;
}

int tiering_verify_run(const struct base_env *env, struct tiering_verify *v,
                       struct varve_error *err)
{
    struct tiering_verify_state x = {
        .env = env, .v = v, .hot_floor = INT64_MAX, .cold_bad = INT64_MAX};
    struct hot_range range = {0};
    int r;

    v->hot_segments = v->cold_segments = v->bytes_read = 0;
    v->problems = v->repaired = 0;
    base_buffer_init(&x.stored);
    base_buffer_init(&x.raw);
    if (v->hot) { /* before the root: h is never above an n that was durable before (I1) */
        hot_set_range(v->hot, &range);
        if (range.segments)
            x.hot_floor = range.floor;
    }
    r = check_roots(&x, err);
    if (v->deep)
        x.total += range.bytes;
    if (r == 0)
        r = check_manifest(&x, err);
    if (r == 0)
        r = tiering_verify_objects(&x, err);
    if (r == 0)
        r = tiering_verify_hot(&x, err);
    if (r == 0)
        r = tiering_verify_bucket(&x, err);
    if (r == 0)
        r = check_caches(&x, err);
    cold_decompressor_free(x.decompressor);
    base_sha256_free(x.sha);
    base_buffer_deinit(&x.stored);
    base_buffer_deinit(&x.raw);
    return r < 0 ? base_error_context(err, r, "verify %s", v->log_name) : 0;
}
