/*
 * Checking one log across both tiers.
 *
 * In this order: the roots (bucket and local), the pages, every entry with its object, the hot
 * segments, what lies in the bucket beside them, the caches. Each check reports through one
 * function and goes on; only a failure to look at all (the store cannot be asked) ends the run.
 * Memory does not grow with the log, but for the list of page references (one in a thousand
 * segments).
 */
#include "tiering/verify.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "cold/object.h"

#define VERIFY_BLOCK_BYTES_MAX (256u * 1024 * 1024) /* of one block, stored or raw */
#define VERIFY_READ_BYTES (1024 * 1024)
#define VERIFY_HOLDS_MAX 16 /* times a list of segments that changes under us is taken up again */

struct verify {
    const struct base_env *env;
    struct tiering_verify *v;
    struct base_id log_id;
    int64_t start_offset, end_offset, deleted_to; /* of the local root */
    uint32_t epoch;
    uint64_t done, total; /* for the progress */
    /* the walk over the entries */
    bool any_entry;
    int64_t next_offset;
    bool chain_known;
    uint8_t chain[BASE_SHA256_SIZE];
    /* scratch of the deep check, kept between objects */
    struct cold_decompressor *decompressor;
    struct base_sha256 *sha;
    struct base_buffer stored, raw;
};

/* ---- reporting ---- */

static void found(struct verify *x, enum tiering_finding_kind kind, const char *where,
                  int64_t offset, bool repaired, const char *text)
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

static void progress(struct verify *x, uint64_t bytes)
{
    x->done += bytes;
    x->v->bytes_read += bytes;
    if (x->v->progress)
        x->v->progress(x->v->ctx, x->done < x->total ? x->done : x->total, x->total);
}

static bool can_repair(const struct verify *x)
{
    return x->v->repair && x->v->tiering;
}

/* A failure that says nothing of the thing checked: the store cannot be asked, memory is out. It
 * ends the run. */
static bool is_outage(int r)
{
    return r == VARVE_E_STORE || r == VARVE_E_NO_MEMORY || r == VARVE_E_DENIED;
}

/* ---- roots ---- */

static int store_again(struct cold_store *store, const char *key, const void *data, size_t size,
                       const struct cold_etag *etag, struct varve_error *err)
{
    const struct iovec body = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    const struct cold_put how = {
        .condition = etag ? COLD_IF_MATCH : COLD_ALWAYS,
        .etag = etag,
        .has_crc32c = true,
        .crc32c = base_crc32c(0, data, size),
    };

    return cold_store_put(store, key, &body, 1, &how, NULL, err);
}

static void compare_roots(struct verify *x, const char *key, const struct index_root *bucket,
                          const struct index_root *local)
{
    char text[160];

    if (!base_id_equal(&bucket->log_id, &local->log_id) || bucket->tombstone) {
        found(x, TIERING_FOUND_MISMATCH, key, -1, false, "the bucket's root is of another log");
        return;
    }
    if (bucket->generation == local->generation &&
        base_id_equal(&bucket->write_id, &local->write_id))
        return;
    if (bucket->generation > local->generation && !x->v->tiering) {
        found(x, TIERING_FOUND_NOTE, key, -1, false,
              "the bucket's root is newer than the local copy");
        return;
    }
    snprintf(text, sizeof(text),
             "the bucket's root (generation %" PRIu64 ", epoch %u) is not the local one (%" PRIu64
             ", %u)",
             bucket->generation, bucket->epoch, local->generation, local->epoch);
    found(x, TIERING_FOUND_MISMATCH, key, -1, false, text);
}

static int check_roots(struct verify *x, struct varve_error *err)
{
    struct index_root_pin *pin;
    const struct index_root *local;
    struct index_root bucket;
    struct cold_etag etag;
    struct varve_error what = {0};
    char *key = NULL;
    void *data = NULL;
    size_t size = 0;
    int r = index_manifest_pin(x->v->manifest, &pin, &local, err);

    if (r < 0)
        return r;
    x->log_id = local->log_id;
    x->start_offset = local->start_offset;
    x->end_offset = local->end_offset;
    x->deleted_to = local->deleted_to;
    x->epoch = local->epoch;
    x->total = x->v->deep ? local->object_bytes : 0;
    r = index_key_root(x->v->log_name, &key, err);
    if (r == 0)
        r = cold_manifest_read_root(x->v->meta, x->v->log_name, &data, &size, &etag, &what);
    if (r == 0) {
        r = index_root_decode(data, size, &bucket, &what);
        if (r == 0)
            compare_roots(x, key, &bucket, local);
    }
    if (r == VARVE_E_CORRUPT || r == VARVE_E_NOT_FOUND || r == VARVE_E_TOO_LARGE) {
        bool missing = r == VARVE_E_NOT_FOUND;
        bool repaired = can_repair(x) && store_again(x->v->meta, key, local->data, local->size,
                                                     missing ? NULL : &etag, NULL) == 0;
        found(x, missing ? TIERING_FOUND_MISSING : TIERING_FOUND_DAMAGE, key, -1, repaired,
              what.msg);
        r = 0;
    }
    if (r < 0 && what.code && err)
        *err = what;
    index_manifest_unpin(pin);
    free(data);
    free(key);
    return r;
}

/* ---- pages ---- */

static void local_damage(void *arg, const char *file, const struct varve_error *what)
{
    struct verify *x = arg;

    found(x, TIERING_FOUND_DAMAGE, file, -1, x->v->repair, what->msg);
}

/* Stores a page of the bucket again from the local copy: its key names its content, so this changes
 * nothing that was right. */
static bool repair_page(struct verify *x, const char *key, const struct index_ref *ref)
{
    const char *name = strrchr(key, '/');
    struct index_page page;
    char *path = NULL;
    void *data = NULL;
    size_t size = 0;
    bool ok = false;

    if (!can_repair(x) || !x->v->manifest_dir || !name ||
        base_format(&path, NULL, "%s/%s", x->v->manifest_dir, name + 1) < 0)
        return false;
    if (base_file_read(x->env->io, path, ref->page_size, &data, &size, NULL) == 0 &&
        index_page_decode(data, size, ref, &x->log_id, &page, NULL) == 0)
        ok = store_again(x->v->meta, key, data, size, NULL, NULL) == 0;
    free(data);
    free(path);
    return ok;
}

static int check_page(void *arg, const struct index_ref *ref, struct varve_error *err)
{
    struct verify *x = arg;
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
    if (r < 0 && is_outage(r)) {
        if (err)
            *err = what;
    } else if (r < 0) {
        found(x, r == VARVE_E_NOT_FOUND ? TIERING_FOUND_MISSING : TIERING_FOUND_DAMAGE, key,
              ref->base_offset, repair_page(x, key, ref), what.msg);
        r = 0;
    }
    free(data);
    free(key);
    return r;
}

static int check_manifest(struct verify *x, struct varve_error *err)
{
    int r = 0;

    if (x->v->manifest_dir)
        r = index_manifest_check(x->v->manifest, x->v->repair, local_damage, x, err);
    return r < 0 ? r : index_manifest_each_ref(x->v->manifest, check_page, x, err);
}

/* ---- objects ---- */

static int buffer_room(struct base_buffer *b, size_t size, struct varve_error *err)
{
    base_buffer_clear(b);
    if (size > VERIFY_BLOCK_BYTES_MAX)
        return base_fail(err, VARVE_E_CORRUPT, "a block of %zu bytes", size);
    if (size && !base_buffer_extend(b, size))
        return base_fail(err, VARVE_E_NO_MEMORY, "verify: out of memory for %zu bytes", size);
    return 0;
}

/* Walks the batches of one decompressed block: CRCs and dense offsets. */
static int check_batches(const uint8_t *raw, size_t size, int64_t *offset, struct varve_error *err)
{
    size_t pos = 0;

    while (pos < size) {
        struct record_batch b;
        int r = record_batch_check(raw + pos, size - pos, &b, err);
        if (r < 0)
            return r;
        if (b.base_offset != *offset)
            return base_fail(err, VARVE_E_CORRUPT, "offset %" PRId64 " where %" PRId64 " belongs",
                             b.base_offset, *offset);
        *offset = b.last_offset + 1;
        pos += b.size;
    }
    return 0;
}

static int check_block(struct verify *x, const char *key, const struct cold_block_info *block,
                       int64_t *offset, uint32_t *crc, struct varve_error *err)
{
    int r = buffer_room(&x->stored, block->stored_size, err);

    if (r == 0)
        r = buffer_room(&x->raw, block->raw_size, err);
    if (r == 0)
        r = cold_store_get(x->v->segments, key, block->pos, block->stored_size, x->stored.data,
                           err);
    if (r < 0)
        return r;
    *crc = base_crc32c(*crc, x->stored.data, block->stored_size);
    r = cold_block_decompress(x->decompressor, block, x->stored.data, x->raw.data, err);
    if (r == 0) {
        base_sha256_update(x->sha, x->raw.data, block->raw_size);
        r = check_batches(x->raw.data, block->raw_size, offset, err);
    }
    progress(x, block->stored_size);
    return r;
}

/* Everything behind the blocks: the index frame's sections and the seek table. */
static int check_tail(struct verify *x, const char *key, const struct index_entry *e, uint32_t *crc,
                      struct varve_error *err)
{
    struct cold_index_view view;
    size_t size = (size_t)(e->object_size - e->index_pos);
    int r = buffer_room(&x->stored, size, err);

    if (r == 0)
        r = cold_store_get(x->v->segments, key, e->index_pos, size, x->stored.data, err);
    if (r < 0)
        return r;
    *crc = base_crc32c(*crc, x->stored.data, size);
    progress(x, size);
    return cold_index_decode(x->stored.data, e->index_size < size ? e->index_size : size, &view,
                             err);
}

static int check_object_deep(struct verify *x, const char *key, const struct index_entry *e,
                             const struct cold_table_view *table, struct varve_error *err)
{
    uint8_t sha[BASE_SHA256_SIZE];
    int64_t offset = e->base_offset;
    uint32_t crc = 0;
    int r = 0;

    base_sha256_reset(x->sha);
    for (size_t i = 0; r == 0 && i < table->block_count; i++) {
        struct cold_block_info block;
        cold_table_block(table, i, &block);
        r = check_block(x, key, &block, &offset, &crc, err);
        if (r < 0)
            r = base_error_context(err, r, "block %zu", i);
    }
    if (r == 0)
        r = check_tail(x, key, e, &crc, err);
    if (r < 0)
        return r;
    base_sha256_final(x->sha, sha);
    if (offset != e->end_offset)
        return base_fail(err, VARVE_E_CORRUPT, "ends at offset %" PRId64 " instead of %" PRId64,
                         offset, e->end_offset);
    if (memcmp(sha, e->segment_sha256, sizeof(sha)) != 0)
        return base_fail(err, VARVE_E_CORRUPT, "SHA-256 of its content is not the manifest's");
    if (crc != e->object_crc32c)
        return base_fail(err, VARVE_E_CORRUPT, "CRC32C %08x instead of %08x", crc,
                         e->object_crc32c);
    return 0;
}

static int check_identity(const struct index_entry *e, const struct cold_object_info *info,
                          struct varve_error *err)
{
    if (info->base_offset != e->base_offset || info->end_offset != e->end_offset ||
        !base_id_equal(&info->attempt, &e->attempt) || info->segment_size != e->segment_size ||
        memcmp(info->segment_sha256, e->segment_sha256, BASE_SHA256_SIZE) != 0 ||
        memcmp(info->chain_hash, e->chain_hash, BASE_SHA256_SIZE) != 0)
        return base_fail(err, VARVE_E_CORRUPT, "its index describes another segment");
    return 0;
}

static int check_object(struct verify *x, const char *key, const struct index_entry *e,
                        struct varve_error *err)
{
    struct cold_meta meta;
    struct cold_table_view table;
    void *data = NULL;
    int r = cold_store_head(x->v->segments, key, &meta, err);

    if (r < 0)
        return r;
    if (meta.size != e->object_size)
        return base_fail(err, VARVE_E_CORRUPT, "%" PRIu64 " bytes instead of %" PRIu64, meta.size,
                         e->object_size);
    if (e->table_size > e->index_size || e->index_pos + e->index_size > e->object_size)
        return base_fail(err, VARVE_E_CORRUPT, "the manifest puts its index outside the object");
    data = malloc(e->table_size ? e->table_size : 1);
    if (!data)
        return base_fail(err, VARVE_E_NO_MEMORY, "verify: out of memory");
    r = cold_store_get(x->v->segments, key, e->index_pos, e->table_size, data, err);
    if (r == 0)
        r = cold_table_decode(data, e->table_size, &table, err);
    if (r == 0)
        r = check_identity(e, &table.info, err);
    if (r == 0 && !x->any_entry) { /* the chain before the first entry is what its object says */
        memcpy(x->chain, table.info.previous_chain_hash, sizeof(x->chain));
        x->chain_known = true;
    }
    if (r == 0 && x->v->deep)
        r = check_object_deep(x, key, e, &table, err);
    free(data);
    return r;
}

static void check_chain(struct verify *x, const char *key, const struct index_entry *e)
{
    uint8_t chain[BASE_SHA256_SIZE];

    if (x->chain_known &&
        index_chain_hash(x->chain, e->segment_sha256, e->base_offset, e->end_offset, chain) == 0 &&
        memcmp(chain, e->chain_hash, sizeof(chain)) != 0)
        found(x, TIERING_FOUND_MISMATCH, key, e->base_offset, false,
              "the chain hash does not follow from the one before: history was altered here");
    memcpy(x->chain, e->chain_hash, sizeof(x->chain));
    x->chain_known = true;
}

static void check_follows(struct verify *x, const char *key, const struct index_entry *e)
{
    char text[120];

    if (!x->any_entry && e->base_offset > x->start_offset) {
        snprintf(text, sizeof(text), "the log starts at %" PRId64 ", its first segment at %" PRId64,
                 x->start_offset, e->base_offset);
        found(x, TIERING_FOUND_GAP, key, x->start_offset, false, text);
    } else if (x->any_entry && e->base_offset != x->next_offset &&
               (e->base_offset < x->next_offset || e->base_offset > x->start_offset)) {
        /* A hole that a trim beyond n left lies wholly below the start. */
        snprintf(text, sizeof(text), "begins at %" PRId64 " behind a segment that ends at %" PRId64,
                 e->base_offset, x->next_offset);
        found(x, e->base_offset > x->next_offset ? TIERING_FOUND_GAP : TIERING_FOUND_OVERLAP, key,
              e->base_offset, false, text);
    }
    x->next_offset = e->end_offset;
}

static int check_entry(void *arg, const struct index_entry *e, struct varve_error *err)
{
    struct verify *x = arg;
    struct varve_error what = {0};
    char *key = NULL;
    int r = index_key_object(x->v->log_name, &x->log_id, e, &key, err);

    if (r < 0)
        return r;
    check_follows(x, key, e);
    r = check_object(x, key, e, &what);
    if (r < 0 && is_outage(r)) {
        if (err)
            *err = what;
        free(key);
        return r;
    }
    if (r < 0 && e->end_offset > x->start_offset) {
        bool repaired =
            can_repair(x) && tiering_log_replace(x->v->tiering, e->base_offset, NULL) == 0;
        found(x, r == VARVE_E_NOT_FOUND ? TIERING_FOUND_MISSING : TIERING_FOUND_DAMAGE, key,
              e->base_offset, repaired, what.msg);
    }
    check_chain(x, key, e);
    x->any_entry = true;
    x->v->cold_segments++;
    free(key);
    return 0;
}

static int check_entries(struct verify *x, struct varve_error *err)
{
    struct index_root_pin *pin;
    const struct index_root *root;
    int r;

    x->decompressor = cold_decompressor_new();
    x->sha = base_sha256_new();
    if (!x->decompressor || !x->sha)
        return base_fail(err, VARVE_E_NO_MEMORY, "verify: out of memory");
    r = index_manifest_each(x->v->manifest, x->deleted_to, check_entry, x, err);
    if (r < 0)
        return r;
    /* After a trim beyond n the entries end below it, and all of that lies below the start. */
    if (x->any_entry && x->next_offset < x->end_offset && x->start_offset < x->end_offset)
        found(x, TIERING_FOUND_GAP, x->v->log_name, x->next_offset, false,
              "the last entry ends below the committed end");
    r = index_manifest_pin(x->v->manifest, &pin, &root, err);
    if (r == 0) {
        if (x->any_entry && root->end_offset == x->next_offset &&
            memcmp(x->chain, root->chain_hash, sizeof(x->chain)) != 0)
            found(x, TIERING_FOUND_MISMATCH, x->v->log_name, -1, false,
                  "the root's chain hash is not that of its last entry");
        index_manifest_unpin(pin);
    }
    return r;
}

/* ---- hot segments ---- */

/* Content of a hot segment against the SHA-256 of the committed one with the same offsets. */
static int compare_tiers(struct verify *x, struct hot_segment *segment,
                         const struct hot_segment_info *info, struct varve_error *err)
{
    struct index_entry e;
    uint8_t sha[BASE_SHA256_SIZE];
    uint64_t pos = 0;
    int r = index_manifest_find_offset(x->v->manifest, info->base_offset, &e, NULL);

    if (r < 0 || e.base_offset != info->base_offset || e.end_offset != info->end_offset)
        return 0; /* not committed, or the log starts inside it */
    r = buffer_room(&x->raw, VERIFY_READ_BYTES, err);
    base_sha256_reset(x->sha);
    while (r == 0 && pos < info->size) {
        size_t n = 0;
        r = hot_segment_read(segment, x->raw.data, VERIFY_READ_BYTES, pos, &n, err);
        if (r == 0 && n == 0)
            break;
        base_sha256_update(x->sha, x->raw.data, n);
        pos += n;
    }
    if (r < 0)
        return r;
    base_sha256_final(x->sha, sha);
    if (memcmp(sha, e.segment_sha256, sizeof(sha)) != 0)
        return base_fail(err, VARVE_E_CORRUPT, "%s: not what the cold tier holds for these offsets",
                         hot_segment_path(segment));
    return 0;
}

/* What the manifest knows of a segment so damaged that it does not tell its own borders. */
static void info_of_entry(const struct verify *x, int64_t offset, struct hot_segment_info *info)
{
    struct index_entry e;

    if (index_manifest_find_offset(x->v->manifest, offset, &e, NULL) < 0)
        return;
    *info = (struct hot_segment_info){.base_offset = e.base_offset,
                                      .end_offset = e.end_offset,
                                      .size = e.segment_size,
                                      .sealed = true};
}

static void repair_hot(struct verify *x, const struct hot_segment_info *info, const char *path,
                       const struct varve_error *what)
{
    bool repaired = false;

    /* I3: the cold copy, which has been checked by now, is committed. */
    if (can_repair(x) && info->sealed && info->end_offset <= x->end_offset)
        repaired = hot_segment_discard(x->v->hot, info->base_offset, NULL) == 0;
    found(x, TIERING_FOUND_DAMAGE, path, info->base_offset, repaired, what->msg);
}

static int check_hot_segment(struct verify *x, int64_t *offset, struct varve_error *err)
{
    struct hot_segment *segment = NULL;
    struct hot_segment_info info = {0};
    struct varve_error what = {0};
    char *path = NULL;
    int r = hot_segment_find(x->v->hot, *offset, false, &segment, err);

    if (r < 0)
        return r;
    r = base_format(&path, err, "%s", hot_segment_path(segment));
    if (r == 0)
        r = hot_segment_info(segment, &info, &what);
    if (r == VARVE_E_CORRUPT || r == VARVE_E_IO)
        info_of_entry(x, *offset, &info);
    if (r == 0 && info.end_offset > info.base_offset) {
        /* The index is only a cache of the batches: a writer has rebuilt it by now. */
        if (hot_segment_check_index(segment, &what) == VARVE_E_CORRUPT)
            found(x, TIERING_FOUND_DAMAGE, path, info.base_offset, x->v->tiering != NULL, what.msg);
        if (x->v->deep) {
            r = hot_segment_verify(segment, &what);
            if (r == 0 && info.sealed)
                r = compare_tiers(x, segment, &info, &what);
            progress(x, info.size);
        }
    }
    segment = hot_segment_unref(segment);
    if (r == VARVE_E_CORRUPT || r == VARVE_E_IO || r == VARVE_E_NOT_FOUND) {
        repair_hot(x, &info, path, &what);
        r = 0;
    } else if (r < 0 && what.code && err) {
        *err = what;
    }
    if (r == 0) {
        x->v->hot_segments += info.end_offset > info.base_offset;
        *offset = info.end_offset > *offset ? info.end_offset : INT64_MAX;
    }
    free(path);
    return r;
}

static int check_hot(struct verify *x, struct varve_error *err)
{
    struct hot_range range;
    unsigned again = 0;
    int64_t offset;
    int r = 0;

    if (!x->v->hot)
        return 0;
    hot_set_range(x->v->hot, &range);
    if (range.segments && range.floor > x->end_offset) {
        char text[120];
        snprintf(text, sizeof(text),
                 "the hot tier begins at %" PRId64 ", the cold one ends at %" PRId64, range.floor,
                 x->end_offset);
        found(x, TIERING_FOUND_GAP, x->v->log_name, x->end_offset, false, text);
    }
    offset = range.floor;
    while (r == 0 && offset < range.end) {
        r = check_hot_segment(x, &offset, err);
        if (r == VARVE_E_OUT_OF_RANGE && again++ < VERIFY_HOLDS_MAX) { /* evicted meanwhile */
            hot_set_refresh(x->v->hot, NULL);
            hot_set_range(x->v->hot, &range);
            if (range.floor > offset)
                offset = range.floor;
            r = 0;
        }
    }
    return r;
}

/* ---- what else lies in the bucket ---- */

struct refs {
    struct verify *x;
    struct index_ref *items;
    size_t count, capacity;
};

static int keep_ref(void *arg, const struct index_ref *ref, struct varve_error *err)
{
    struct refs *refs = arg;

    if (refs->count == refs->capacity) {
        size_t capacity = refs->capacity ? refs->capacity * 2 : 64;
        struct index_ref *items = realloc(refs->items, capacity * sizeof(*items));
        if (!items)
            return base_fail(err, VARVE_E_NO_MEMORY, "verify: out of memory");
        refs->items = items;
        refs->capacity = capacity;
    }
    refs->items[refs->count++] = *ref;
    return 0;
}

static bool is_referenced(const struct refs *refs, const struct index_key_parts *parts)
{
    struct verify *x = refs->x;
    struct index_entry e;

    if (parts->page) {
        for (size_t i = 0; i < refs->count; i++)
            if (base_id_equal(&refs->items[i].attempt, &parts->attempt))
                return true;
        return false;
    }
    if (parts->end_offset <= x->start_offset)
        return parts->end_offset > x->deleted_to; /* cut off; its deletion is due later */
    return index_manifest_find_offset(x->v->manifest,
                                      parts->base_offset > x->start_offset ? parts->base_offset
                                                                           : x->start_offset,
                                      &e, NULL) == 0 &&
           base_id_equal(&e.attempt, &parts->attempt);
}

static int check_key(void *arg, const char *key, const struct cold_meta *meta)
{
    struct refs *refs = arg;
    struct verify *x = refs->x;
    struct index_key_parts parts;
    char text[100];

    if (!index_key_parse(key, &parts)) {
        found(x, TIERING_FOUND_ORPHAN, key, -1, false, "not one of varve's objects");
        return 0;
    }
    if (is_referenced(refs, &parts))
        return 0;
    if (!parts.page && parts.epoch == x->epoch && x->v->hot && hot_set_has_writer(x->v->hot) &&
        parts.base_offset >= x->end_offset) {
        found(x, TIERING_FOUND_NOTE, key, parts.base_offset, false, "an upload in progress");
        return 0;
    }
    snprintf(text, sizeof(text), "nothing refers to it (%" PRIu64 " bytes)", meta->size);
    found(x, TIERING_FOUND_ORPHAN, key, parts.base_offset, false, text);
    return 0;
}

static int check_orphans(struct verify *x, struct varve_error *err)
{
    struct refs refs = {.x = x};
    char *prefix = NULL;
    int r = index_key_prefix(x->v->log_name, &x->log_id, &prefix, err);

    if (r == 0)
        r = index_manifest_each_ref(x->v->manifest, keep_ref, &refs, err);
    if (r == 0)
        r = cold_store_list_all(x->v->segments, prefix, check_key, &refs, err);
    if (r == 0 && x->v->meta != x->v->segments)
        r = cold_store_list_all(x->v->meta, prefix, check_key, &refs, err);
    free(refs.items);
    free(prefix);
    return r;
}

/* ---- caches ---- */

static void cache_damage(void *arg, const char *file, uint64_t slot)
{
    struct verify *x = arg;
    char text[80];

    snprintf(text, sizeof(text), "slot %" PRIu64 " is damaged (never served: it counts as a miss)",
             slot);
    found(x, TIERING_FOUND_DAMAGE, file, -1, x->v->repair, text);
}

static int check_caches(struct verify *x, struct varve_error *err)
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
    struct verify x = {.env = env, .v = v};
    struct hot_range range = {0};
    int r;

    v->hot_segments = v->cold_segments = v->bytes_read = 0;
    v->problems = v->repaired = 0;
    base_buffer_init(&x.stored);
    base_buffer_init(&x.raw);
    r = check_roots(&x, err);
    if (v->hot && v->deep) {
        hot_set_range(v->hot, &range);
        x.total += range.bytes;
    }
    if (r == 0)
        r = check_manifest(&x, err);
    if (r == 0)
        r = check_entries(&x, err);
    if (r == 0)
        r = check_hot(&x, err);
    if (r == 0)
        r = check_orphans(&x, err);
    if (r == 0)
        r = check_caches(&x, err);
    cold_decompressor_free(x.decompressor);
    base_sha256_free(x.sha);
    base_buffer_deinit(&x.stored);
    base_buffer_deinit(&x.raw);
    return r < 0 ? base_error_context(err, r, "verify %s", v->log_name) : 0;
}
