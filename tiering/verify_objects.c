/*
 * Every entry of the manifest and its object: that it is there, that its index describes what the
 * entry says, and with `deep` every byte of it; that entries touch (I1), and that each chain hash
 * follows from the one before.
 */
#include "tiering/verify_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

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

static int check_block(struct tiering_verify_state *x, const char *key,
                       const struct cold_block_info *block, int64_t *offset, uint32_t *crc,
                       struct varve_error *err)
{
    int r = tiering_verify_room(&x->stored, block->stored_size, err);

    if (r == 0)
        r = tiering_verify_room(&x->raw, block->raw_size, err);
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
    tiering_verify_progress(x, block->stored_size);
    return r;
}

/* Everything behind the blocks: the index frame's sections and the seek table. */
static int check_tail(struct tiering_verify_state *x, const char *key, const struct index_entry *e,
                      uint32_t *crc, struct varve_error *err)
{
    struct cold_index_view view;
    size_t size = (size_t)(e->object_size - e->index_pos);
    int r = tiering_verify_room(&x->stored, size, err);

    if (r == 0)
        r = cold_store_get(x->v->segments, key, e->index_pos, size, x->stored.data, err);
    if (r < 0)
        return r;
    *crc = base_crc32c(*crc, x->stored.data, size);
    tiering_verify_progress(x, size);
    return cold_tail_decode(x->stored.data, size, &view, err);
}

static int check_object_deep(struct tiering_verify_state *x, const char *key,
                             const struct index_entry *e, const struct cold_table_view *table,
                             struct varve_error *err)
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

/* `ret_previous` may be NULL: the chain hash in front of the segment, as the object gives it. */
static int check_object(struct tiering_verify_state *x, const char *key,
                        const struct index_entry *e, bool deep,
                        uint8_t ret_previous[BASE_SHA256_SIZE], struct varve_error *err)
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
    if (r == 0 && ret_previous)
        memcpy(ret_previous, table.info.previous_chain_hash, BASE_SHA256_SIZE);
    if (r == 0 && deep)
        r = check_object_deep(x, key, e, &table, err);
    free(data);
    return r;
}

static void check_chain(struct tiering_verify_state *x, const char *key,
                        const struct index_entry *e)
{
    uint8_t chain[BASE_SHA256_SIZE];

    if (x->chain_known &&
        index_chain_hash(x->chain, e->segment_sha256, e->base_offset, e->end_offset, chain) == 0 &&
        memcmp(chain, e->chain_hash, sizeof(chain)) != 0)
        tiering_verify_found(
            x, TIERING_FOUND_MISMATCH, key, e->base_offset, false,
            "the chain hash does not follow from the one before: history was altered here");
    memcpy(x->chain, e->chain_hash, sizeof(x->chain));
    x->chain_known = true;
}

/* Below the log start nothing needs to be there: a trim beyond n leaves a hole there (I1). */
static int64_t expected_offset(const struct tiering_verify_state *x)
{
    return x->any_entry && x->next_offset > x->start_offset ? x->next_offset : x->start_offset;
}

static void check_follows(struct tiering_verify_state *x, const char *key,
                          const struct index_entry *e)
{
    char text[VERIFY_TEXT_MAX];
    int64_t expected = expected_offset(x);

    if (e->base_offset > expected) {
        snprintf(text, sizeof(text),
                 "begins at %" PRId64 ", nothing holds the offsets from %" PRId64 " up to there",
                 e->base_offset, expected);
        tiering_verify_found(x, TIERING_FOUND_GAP, key, expected, false, text);
    } else if (x->any_entry && e->base_offset < x->next_offset) {
        snprintf(text, sizeof(text), "begins at %" PRId64 " behind a segment that ends at %" PRId64,
                 e->base_offset, x->next_offset);
        tiering_verify_found(x, TIERING_FOUND_OVERLAP, key, e->base_offset, false, text);
    }
    x->next_offset = e->end_offset;
}

/*
 * Does the newest root still name this object? Not when it was trimmed, or replaced, since the walk
 * began; it may be gone then. An outage of the store is told as such.
 */
static int still_named(struct tiering_verify_state *x, const struct index_entry *e, bool *ret,
                       struct varve_error *err)
{
    struct index_entry now;
    int64_t offset = e->base_offset;
    int r = tiering_verify_refresh(x, err);

    if (r < 0)
        return r;
    if (offset < x->start_offset)
        offset = x->start_offset;
    if (offset >= e->end_offset) {
        *ret = false;
        return 0;
    }
    r = index_manifest_find_offset(x->v->manifest, offset, &now, NULL);
    *ret = r < 0 || base_id_equal(&now.attempt, &e->attempt);
    return 0;
}

static int object_bad(struct tiering_verify_state *x, const char *key, const struct index_entry *e,
                      int code, const struct varve_error *what, struct varve_error *err)
{
    bool named = false, repaired;
    int r = still_named(x, e, &named, err);

    if (r < 0 || !named)
        return r;
    repaired = tiering_verify_can_repair(x) &&
               tiering_log_replace(x->v->tiering, e->base_offset, NULL) == 0;
    if (!repaired && e->base_offset < x->cold_bad)
        x->cold_bad = e->base_offset;
    tiering_verify_found(x,
                         code == VARVE_E_NOT_FOUND ? TIERING_FOUND_MISSING : TIERING_FOUND_DAMAGE,
                         key, e->base_offset, repaired, what->msg);
    return 0;
}

static int check_entry(void *arg, const struct index_entry *e, struct varve_error *err)
{
    struct tiering_verify_state *x = arg;
    struct varve_error what = {0};
    uint8_t previous[BASE_SHA256_SIZE];
    char *key = NULL;
    int r = index_key_object(x->v->log_name, &x->log_id, e, &key, err);

    if (r < 0)
        return r;
    check_follows(x, key, e);
    r = check_object(x, key, e, x->v->deep, previous, &what);
    if (r == 0 &&
        !x->any_entry) { /* what lies before the first entry is known to its object only */
        memcpy(x->chain, previous, sizeof(x->chain));
        x->chain_known = true;
    }
    if (r < 0 && tiering_verify_is_outage(r)) {
        if (err)
            *err = what;
    } else if (r < 0) {
        r = object_bad(x, key, e, r, &what, err);
    }
    if (r == 0) {
        check_chain(x, key, e);
        x->any_entry = true;
        x->v->cold_segments++;
    }
    free(key);
    return r;
}

struct holding {
    struct tiering_verify_state *x;
    int64_t from, to;
    int64_t next; /* good from `from` up to here */
};

static int visit_holding(void *arg, const struct index_entry *e, struct varve_error *err)
{
    struct holding *h = arg;
    char *key = NULL;
    int r;

    if (e->base_offset > h->next || h->next >= h->to)
        return 1;
    r = index_key_object(h->x->v->log_name, &h->x->log_id, e, &key, err);
    if (r == 0)
        r = check_object(h->x, key, e, true, NULL, err);
    free(key);
    if (r == 0)
        h->next = e->end_offset;
    return r;
}

bool tiering_verify_objects_hold(struct tiering_verify_state *x, int64_t from, int64_t to)
{
    struct holding h = {.x = x, .from = from, .to = to, .next = from};

    if (from < x->start_offset) /* trimmed: nobody reads it any more */
        h.next = h.from = x->start_offset;
    if (to > x->end_offset || x->cold_bad < to)
        return false;
    if (x->v->deep || h.next >= to) /* read wholly by this run, and none was bad */
        return true;
    return index_manifest_each(x->v->manifest, h.from, visit_holding, &h, NULL) >= 0 &&
           h.next >= to;
}

/* What the walk found behind the last entry, in the eyes of the root it began with or a newer one.
 */
static void check_end(struct tiering_verify_state *x, const struct index_root *root)
{
    if (!x->any_entry || root->end_offset != x->next_offset)
        return; /* nothing to compare, or it has grown meanwhile */
    if (memcmp(x->chain, root->chain_hash, sizeof(x->chain)) != 0)
        tiering_verify_found(x, TIERING_FOUND_MISMATCH, x->v->log_name, -1, false,
                             "the root's chain hash is not that of its last entry");
}

int tiering_verify_objects(struct tiering_verify_state *x, struct varve_error *err)
{
    struct index_root_pin *pin;
    const struct index_root *root;
    int64_t end = x->end_offset;
    int r;

    x->decompressor = cold_decompressor_new();
    x->sha = base_sha256_new();
    if (!x->decompressor || !x->sha)
        return base_fail(err, VARVE_E_NO_MEMORY, "verify: out of memory");
    r = index_manifest_each(x->v->manifest, x->deleted_to, check_entry, x, err);
    if (r < 0)
        return r;
    if (expected_offset(x) < end)
        tiering_verify_found(x, TIERING_FOUND_GAP, x->v->log_name, expected_offset(x), false,
                             "the last entry ends below the committed end");
    r = index_manifest_pin(x->v->manifest, &pin, &root, err);
    if (r == 0) {
        check_end(x, root);
        index_manifest_unpin(pin);
    }
    return r;
}
