/* What lies in the bucket beside what the manifest names, and whose the bucket is. */
#include "tiering/verify_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "cold/manifest.h"

struct verify_refs {
    struct tiering_verify_state *x;
    struct index_ref *items;
    size_t count, capacity;
};

static int keep_ref(void *arg, const struct index_ref *ref, struct varve_error *err)
{
    struct verify_refs *refs = arg;

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

static bool is_referenced(const struct verify_refs *refs, const struct index_key_parts *parts)
{
    struct tiering_verify_state *x = refs->x;
    struct index_entry e;

    if (parts->page) {
        for (size_t i = 0; i < refs->count; i++)
            if (base_id_equal(&refs->items[i].attempt, &parts->attempt) &&
                refs->items[i].base_offset == parts->base_offset &&
                refs->items[i].end_offset == parts->end_offset)
                return true;
        return false;
    }
    if (parts->end_offset <= x->start_offset)
        return parts->end_offset > x->deleted_to; /* cut off; its deletion is due later */
    return index_manifest_find_offset(x->v->manifest,
                                      parts->base_offset > x->start_offset ? parts->base_offset
                                                                           : x->start_offset,
                                      &e, NULL) == 0 &&
           base_id_equal(&e.attempt, &parts->attempt) && e.base_offset == parts->base_offset &&
           e.end_offset == parts->end_offset;
}

static int check_key(void *arg, const char *key, const struct cold_meta *meta)
{
    struct verify_refs *refs = arg;
    struct tiering_verify_state *x = refs->x;
    struct index_key_parts parts;
    char text[100];

    if (!index_key_parse(key, &parts)) {
        tiering_verify_found(x, TIERING_FOUND_ORPHAN, key, -1, false, "not one of varve's objects");
        return 0;
    }
    if (is_referenced(refs, &parts))
        return 0;
    if (!parts.page && parts.epoch == x->epoch && x->v->hot && hot_set_has_writer(x->v->hot) &&
        parts.base_offset >= x->end_offset) {
        tiering_verify_found(x, TIERING_FOUND_NOTE, key, parts.base_offset, false,
                             "an upload in progress");
        return 0;
    }
    snprintf(text, sizeof(text), "nothing refers to it (%" PRIu64 " bytes)", meta->size);
    tiering_verify_found(x, TIERING_FOUND_ORPHAN, key, parts.base_offset, false, text);
    return 0;
}

/* The object that says whose the bucket is: only `init` asks it, so it may be away for a moment. */
static int check_identity(struct tiering_verify_state *x, struct varve_error *err)
{
    struct varve_error what = {0};
    struct base_id id;
    bool repaired = false;
    int r = cold_identity_read(x->v->meta, &id, &what);

    if (r == 0) {
        if (!base_id_equal(&id, x->v->store_id)) /* adopted; the roots say who owns a log (I6) */
            tiering_verify_found(x, TIERING_FOUND_NOTE, COLD_IDENTITY_KEY, -1, false,
                                 "the cold tier was made by another store");
        return 0;
    }
    if (r != VARVE_E_CORRUPT && r != VARVE_E_NOT_FOUND) {
        if (err)
            *err = what;
        return r;
    }
    if (tiering_verify_can_repair(x)) {
        const struct base_clock *clock = x->env->clock;
        if (r == VARVE_E_CORRUPT)
            cold_store_delete(x->v->meta, (const char *const[]){COLD_IDENTITY_KEY}, 1, NULL);
        repaired =
            cold_identity_create(x->v->meta, x->v->store_id, clock->wall_ms(clock->ctx), NULL) == 0;
    }
    tiering_verify_found(x, r == VARVE_E_NOT_FOUND ? TIERING_FOUND_MISSING : TIERING_FOUND_DAMAGE,
                         COLD_IDENTITY_KEY, -1, repaired, what.msg);
    return 0;
}

static int check_orphans(struct tiering_verify_state *x, struct varve_error *err)
{
    struct verify_refs refs = {.x = x};
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

/*
 * What a killed process has stored and no root names is deleted when told to repair, a large share
 * of the log only when told that as well (I10). The daily collection of a process that stays open
 * does the same; where only short commands run this is the one.
 */
static int collect_orphans(struct tiering_verify_state *x, struct varve_error *err)
{
    struct tiering_collect c = {.share_max = TIERING_COLLECT_SHARE_MAX, .force = x->v->all_orphans};
    struct varve_error what = {0};
    char text[VERIFY_TEXT_MAX];
    int r = tiering_log_collect(x->v->tiering, &c, &what);

    if (tiering_verify_is_outage(r)) {
        if (err)
            *err = what;
        return r;
    }
    if (r < 0) {
        tiering_verify_found(x, TIERING_FOUND_NOTE, x->v->log_name, -1, false, what.msg);
        return 0;
    }
    if (c.orphans + c.uploads == 0)
        return 0;
    snprintf(text, sizeof(text),
             "%u objects (%" PRIu64 " bytes) and %u unfinished uploads that nothing referred to "
             "were deleted",
             c.orphans, c.orphan_bytes, c.uploads);
    tiering_verify_found(x, TIERING_FOUND_ORPHAN, x->v->log_name, -1, true, text);
    return 0;
}

int tiering_verify_bucket(struct tiering_verify_state *x, struct varve_error *err)
{
    int r = x->v->store_id ? check_identity(x, err) : 0;

    /* Where anything was wrong, an object that nothing names may be what is left of the truth. */
    if (r == 0 && tiering_verify_can_repair(x) && x->v->problems == 0 && x->v->repaired == 0)
        r = collect_orphans(x, err);
    return r < 0 ? r : check_orphans(x, err);
}
