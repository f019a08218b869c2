/*
 * Making a log: its first root goes into the bucket, then here. A crash between the two leaves a
 * log that opening finds in the bucket; creating it again says VARVE_E_EXISTS.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "tiering/state.h"

/* What stands in the way: VARVE_E_EXISTS, or nothing; a tombstone is to be replaced by its ETag. */
static int create_look(struct cold_store *meta, const char *log_name, bool *ret_tombstone,
                       struct base_id *ret_old_id, struct cold_etag *ret_etag,
                       struct varve_error *err)
{
    struct index_root root;
    void *data;
    size_t size;
    int rc = cold_manifest_read_root(meta, log_name, &data, &size, ret_etag, err);

    *ret_tombstone = false;
    if (rc == VARVE_E_NOT_FOUND)
        return 0;
    if (rc < 0)
        return rc;
    rc = index_root_decode(data, size, &root, err);
    if (rc == 0 && !root.tombstone)
        rc = base_fail(err, VARVE_E_EXISTS, "a log of that name is in %s", cold_store_url(meta));
    if (rc == 0) {
        *ret_tombstone = true;
        *ret_old_id = root.log_id;
    }
    free(data);
    return rc;
}

int tiering_log_create(const struct base_env *env, struct cold_store *meta,
                       struct index_manifest *manifest, const char *log_name,
                       const struct base_id *log_id, const struct base_id *owner,
                       const char *config, size_t config_size, struct varve_error *err)
{
    const struct index_edit_page *pages;
    struct cold_etag etag, new_etag;
    struct base_id old_id;
    struct index_edit *edit = NULL;
    const void *root;
    size_t size, count;
    uint64_t deleted;
    bool tombstone = false;
    int rc = index_log_name_check(log_name, strlen(log_name), err);

    if (rc == 0)
        rc = create_look(meta, log_name, &tombstone, &old_id, &etag, err);
    /* A deletion that was interrupted ends here: the tombstone vouches for it. */
    if (rc == 0 && tombstone)
        rc = tiering_delete_prefix(NULL, meta, log_name, &old_id, &deleted, err);
    if (rc == 0)
        rc = index_edit_new_log(log_name, log_id, owner, 0, env->clock->wall_ms(env->clock->ctx),
                                &edit, err);
    if (rc == 0)
        rc = index_edit_config(edit, config, config_size, err);
    if (rc == 0)
        rc = index_edit_finish(edit, env->random, &root, &size, &pages, &count, err);
    if (rc == 0) {
        rc = cold_manifest_write(meta, log_name, log_id, root, size, pages, count,
                                 tombstone ? &etag : NULL, &new_etag, err);
        if (rc == VARVE_E_PRECONDITION)
            rc = base_fail(err, VARVE_E_EXISTS, "a log of that name has just been made in %s",
                           cold_store_url(meta));
    }
    /* Beside a root of the log before lie files of it, too: opening sees to both (I13). */
    if (rc == 0 && !index_manifest_loaded(manifest))
        rc = index_manifest_install(manifest, root, size, pages, count, true, err);
    index_edit_free(edit);
    if (rc < 0)
        return base_error_context(err, rc, "create log %s", log_name);
    return 0;
}
