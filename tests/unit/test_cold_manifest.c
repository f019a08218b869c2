/* Root and pages in the bucket: order, conditions, lost replies (I7), missing pages (I8). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "cold/manifest.h"
#include "tests/support/env.h"
#include "tests/support/file.h"

#define LOG "orders/0"
#define ROOT_KEY "logs/" LOG "/@/root"

enum fault {
    FAULT_NONE,
    FAULT_LOST_REPLY,   /* done, then the connection breaks */
    FAULT_LOST_REQUEST, /* not done, the connection breaks */
    FAULT_DONE_THEN_412 /* done, the reply lost, tried again inside the driver: 412 */
};

/* A driver around a store: faults on puts of one key, and the order of all puts. */
struct lossy {
    struct cold_store *under;
    enum fault fault;
    const char *key; /* of the puts that the fault is for */
    bool deaf;       /* reads fail */
    char puts[64][160];
    unsigned put_count;
};

static int lossy_put(void *self, const char *key, const struct iovec *body, int count,
                     const struct cold_put *how, struct cold_etag *ret_etag,
                     struct varve_error *err)
{
    struct lossy *l = self;
    struct cold_etag etag;
    int rc;

    assert_true(l->put_count < 64 && strlen(key) < 160);
    strcpy(l->puts[l->put_count++], key);
    assert_true(how->has_crc32c); /* I9 */
    assert_int_not_equal(how->condition, COLD_ALWAYS);
    if (l->fault == FAULT_NONE || strcmp(key, l->key) != 0)
        return cold_store_put(l->under, key, body, count, how, ret_etag, err);
    if (l->fault == FAULT_LOST_REQUEST)
        return base_fail_retriable(err, VARVE_E_STORE, "put %s: connection refused", key);
    rc = cold_store_put(l->under, key, body, count, how, &etag, err);
    if (rc < 0)
        return rc;
    if (l->fault == FAULT_DONE_THEN_412)
        return base_fail(err, VARVE_E_PRECONDITION, "put %s: 412", key);
    return base_fail_retriable(err, VARVE_E_STORE, "put %s: connection reset", key);
}

static int lossy_read(void *self, const char *key, size_t size_max, int64_t patience_ms, void **ret,
                      size_t *ret_size, struct cold_etag *ret_etag, struct varve_error *err)
{
    struct lossy *l = self;

    if (l->deaf)
        return base_fail_retriable(err, VARVE_E_STORE, "get %s: connection refused", key);
    return cold_store_read_within(l->under, key, size_max, patience_ms, ret, ret_size, ret_etag,
                                  err);
}

static void lossy_close(void *self)
{
    (void)self;
}

static const struct cold_store_ops lossy_ops = {
    .name = "lossy", .close = lossy_close, .put = lossy_put, .read = lossy_read};

struct fixture {
    struct support_env *e;
    struct lossy lossy;
    struct cold_store *store; /* lossy around dir */
    struct base_id log_id;
};

static int setup(void **state)
{
    const struct cold_store_options options = {.create = true};
    struct fixture *f = calloc(1, sizeof(*f));

    assert_int_equal(support_env_setup((void **)&f->e), 0);
    assert_int_equal(cold_store_open(&f->e->env, support_tmpdir_path(f->e->dir, "cold"), &options,
                                     &f->lossy.under, NULL),
                     0);
    assert_int_equal(
        cold_store_new(&f->e->env, "lossy:", &lossy_ops, &f->lossy, false, &f->store, NULL), 0);
    f->lossy.key = ROOT_KEY;
    f->log_id = base_id_new(&f->e->random.seam);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    int rc;

    cold_store_close(f->store);
    cold_store_close(f->lossy.under);
    rc = support_env_teardown((void **)&f->e);
    free(f);
    return rc;
}

/* ---- helpers ---- */

static void must(int rc, const struct varve_error *err)
{
    if (rc < 0)
        fail_msg("%s", err->msg);
}

/* A new log's root over `segments` segments, with the pages it needs. */
struct made {
    struct index_edit *edit;
    const void *root;
    size_t root_size;
    const struct index_edit_page *pages;
    size_t page_count;
};

static struct made make(struct fixture *f, int segments)
{
    struct base_id owner = base_id_new(&f->e->random.seam);
    uint8_t chain[BASE_SHA256_SIZE] = {0};
    struct made m;
    struct varve_error err;

    must(index_edit_new_log(LOG, &f->log_id, &owner, 0, 1000, &m.edit, &err), &err);
    for (int i = 0; i < segments; i++) {
        struct index_entry entry = {.base_offset = i * 10,
                                    .end_offset = i * 10 + 10,
                                    .max_timestamp = i,
                                    .segment_size = 4096,
                                    .object_size = 2048,
                                    .index_pos = 1500,
                                    .table_size = 300,
                                    .index_size = 400};
        entry.attempt = base_id_new(&f->e->random.seam);
        must(index_chain_hash(chain, entry.segment_sha256, entry.base_offset, entry.end_offset,
                              chain),
             &err);
        memcpy(entry.chain_hash, chain, sizeof(chain));
        must(index_edit_add(m.edit, &entry, &err), &err);
    }
    must(index_edit_finish(m.edit, &f->e->random.seam, &m.root, &m.root_size, &m.pages,
                           &m.page_count, &err),
         &err);
    return m;
}

static int write_made(struct fixture *f, const struct made *m, const struct cold_etag *etag,
                      struct cold_etag *ret_etag, struct varve_error *err)
{
    return cold_manifest_write(f->store, LOG, &f->log_id, m->root, m->root_size, m->pages,
                               m->page_count, etag, ret_etag, err);
}

static void must_lie_there(struct fixture *f, const struct made *m, const struct cold_etag *etag)
{
    struct cold_etag there;
    struct varve_error err;
    void *root;
    size_t size;

    must(cold_manifest_read_root(f->store, LOG, &root, &size, &there, &err), &err);
    assert_int_equal(size, m->root_size);
    assert_memory_equal(root, m->root, size);
    assert_string_equal(there.text, etag->text);
    free(root);
}

/* ---- writing ---- */

static void pages_are_stored_before_the_root(void **state)
{
    struct fixture *f = *state;
    struct made m = make(f, 3500);
    struct cold_etag etag;
    struct varve_error err;

    assert_true(m.page_count >= 2);
    must(write_made(f, &m, NULL, &etag, &err), &err);
    assert_int_equal(f->lossy.put_count, m.page_count + 1);
    assert_string_equal(f->lossy.puts[m.page_count], ROOT_KEY);
    for (size_t i = 0; i < m.page_count; i++)
        assert_non_null(strstr(f->lossy.puts[i], "/page-"));
    must_lie_there(f, &m, &etag);
    index_edit_free(m.edit);
}

static void a_root_is_not_written_when_a_page_is_not_stored(void **state)
{
    struct fixture *f = *state;
    struct made m = make(f, 3500);
    struct cold_etag etag = {"untouched"};
    struct varve_error err;
    char *key;

    must(index_key_page(LOG, &f->log_id, &m.pages[m.page_count - 1].ref, &key, &err), &err);
    f->lossy.key = key;
    f->lossy.fault = FAULT_LOST_REPLY;
    assert_int_equal(write_made(f, &m, NULL, &etag, &err), VARVE_E_STORE);
    assert_true(err.retriable);
    assert_string_equal(etag.text, "untouched");
    assert_string_equal(f->lossy.puts[f->lossy.put_count - 1], key);
    f->lossy.fault = FAULT_NONE; /* again: the pages are there, with the same bytes */
    must(write_made(f, &m, NULL, &etag, &err), &err);
    must_lie_there(f, &m, &etag);
    free(key);
    index_edit_free(m.edit);
}

static void a_page_with_other_bytes_is_corrupt(void **state)
{
    struct fixture *f = *state;
    struct made m = make(f, 3500);
    struct varve_error err;
    char *key;

    must(write_made(f, &m, NULL, NULL, &err), &err);
    must(index_key_page(LOG, &f->log_id, &m.pages[0].ref, &key, &err), &err);
    support_file_flip(support_tmpdir_path(f->e->dir, "cold/%s", key), 100, 1);
    assert_int_equal(write_made(f, &m, NULL, NULL, &err), VARVE_E_CORRUPT);
    assert_non_null(strstr(err.msg, "with other bytes"));
    free(key);
    index_edit_free(m.edit);
}

static void a_lost_reply_is_not_a_defeat(void **state)
{
    static const enum fault faults[] = {FAULT_LOST_REPLY, FAULT_DONE_THEN_412};
    struct fixture *f = *state;
    struct cold_etag etag;
    struct varve_error err;
    bool first = true;

    for (size_t i = 0; i < 2; i++) {
        for (int round = 0; round < 2; round++) { /* if-absent, then if-match */
            struct made m = make(f, round + 1);

            f->lossy.fault = faults[i];
            must(write_made(f, &m, first ? NULL : &etag, &etag, &err), &err);
            first = false;
            must_lie_there(f, &m, &etag);
            index_edit_free(m.edit);
        }
    }
}

static void a_lost_request_is_a_retriable_failure(void **state)
{
    struct fixture *f = *state;
    struct made m = make(f, 1);
    struct cold_etag etag = {"untouched"};
    struct varve_error err;
    void *root;
    size_t size;

    f->lossy.fault = FAULT_LOST_REQUEST;
    assert_int_equal(write_made(f, &m, NULL, &etag, &err), VARVE_E_STORE);
    assert_true(err.retriable);
    assert_non_null(strstr(err.msg, "manifest of " LOG));
    assert_string_equal(etag.text, "untouched");
    assert_int_equal(cold_manifest_read_root(f->store, LOG, &root, &size, &etag, &err),
                     VARVE_E_NOT_FOUND);
    f->lossy.fault = FAULT_NONE;
    must(write_made(f, &m, NULL, &etag, &err), &err);
    index_edit_free(m.edit);
}

static void anothers_root_is_a_lost_condition(void **state)
{
    struct fixture *f = *state;
    struct made theirs = make(f, 1), ours = make(f, 2);
    struct cold_etag etag, stale, mine = {"untouched"};
    struct varve_error err;

    must(write_made(f, &theirs, NULL, &stale, &err), &err);
    assert_int_equal(write_made(f, &ours, NULL, &mine, &err), VARVE_E_PRECONDITION);
    must_lie_there(f, &theirs, &stale);
    must(write_made(f, &ours, &stale, &etag, &err), &err);
    assert_int_equal(write_made(f, &theirs, &stale, &mine, &err), VARVE_E_PRECONDITION);
    assert_string_equal(mine.text, "untouched");
    must_lie_there(f, &ours, &etag);
    f->lossy.deaf = true; /* lost or won? not known before it has been read */
    assert_int_equal(write_made(f, &theirs, &stale, &mine, &err), VARVE_E_STORE);
    assert_true(err.retriable);
    index_edit_free(theirs.edit);
    index_edit_free(ours.edit);
}

static void a_root_above_its_limit_is_refused(void **state)
{
    struct fixture *f = *state;
    struct varve_error err;
    static const uint8_t large[INDEX_ROOT_SIZE_MAX + 1];

    assert_int_equal(cold_manifest_write(f->store, LOG, &f->log_id, large, sizeof(large), NULL, 0,
                                         NULL, NULL, &err),
                     VARVE_E_TOO_LARGE);
    assert_int_equal(f->lossy.put_count, 0);
}

/* ---- loading ---- */

static void the_loader_gives_pages_and_names_what_is_missing(void **state)
{
    struct fixture *f = *state;
    struct made m = make(f, 3500);
    struct cold_manifest_loader l;
    struct varve_error err;
    void *page = f;
    size_t size = 7;
    char *key;
    const char *path;

    must(write_made(f, &m, NULL, NULL, &err), &err);
    cold_manifest_loader_init(&l, f->store, LOG, &f->log_id);
    must(l.loader.load_page(l.loader.ctx, &m.pages[0].ref, &page, &size, &err), &err);
    assert_int_equal(size, m.pages[0].size);
    assert_memory_equal(page, m.pages[0].data, size);
    free(page);
    page = f;
    must(index_key_page(LOG, &f->log_id, &m.pages[0].ref, &key, &err), &err);
    path = support_tmpdir_path(f->e->dir, "cold/%s", key);
    f->lossy.deaf = true;
    assert_int_equal(l.loader.load_page(l.loader.ctx, &m.pages[0].ref, &page, &size, &err),
                     VARVE_E_STORE);
    assert_true(err.retriable);
    f->lossy.deaf = false;
    support_file_truncate(path, (int64_t)m.pages[0].size - 1);
    assert_int_equal(l.loader.load_page(l.loader.ctx, &m.pages[0].ref, &page, &size, &err),
                     VARVE_E_CORRUPT);
    support_file_truncate(path, (int64_t)m.pages[0].size + 1);
    assert_int_equal(l.loader.load_page(l.loader.ctx, &m.pages[0].ref, &page, &size, &err),
                     VARVE_E_CORRUPT);
    must(cold_store_delete(f->lossy.under, (const char *const *)&key, 1, &err), &err);
    assert_int_equal(l.loader.load_page(l.loader.ctx, &m.pages[0].ref, &page, &size, &err),
                     VARVE_E_CORRUPT);
    assert_non_null(strstr(err.msg, "page-0-"));
    assert_ptr_equal(page, f);
    free(key);
    index_edit_free(m.edit);
}

/* ---- identity ---- */

static void the_identity_is_made_once(void **state)
{
    struct fixture *f = *state;
    struct base_id ours = base_id_new(&f->e->random.seam), theirs = ours, there;
    struct varve_error err;

    theirs.bytes[0] ^= 1;
    assert_int_equal(cold_identity_read(f->store, &there, &err), VARVE_E_NOT_FOUND);
    f->lossy.key = COLD_IDENTITY_KEY;
    f->lossy.fault = FAULT_LOST_REQUEST;
    assert_int_equal(cold_identity_create(f->store, &ours, 1000, &err), VARVE_E_STORE);
    f->lossy.fault = FAULT_LOST_REPLY;
    must(cold_identity_create(f->store, &ours, 1000, &err), &err);
    must(cold_identity_read(f->store, &there, &err), &err);
    assert_true(base_id_equal(&there, &ours));
    f->lossy.fault = FAULT_NONE;
    must(cold_identity_create(f->store, &ours, 1000, &err), &err); /* the same one again */
    assert_int_equal(cold_identity_create(f->store, &theirs, 1000, &err), VARVE_E_EXISTS);
    support_file_flip(support_tmpdir_path(f->e->dir, "cold/" COLD_IDENTITY_KEY), 20, 1);
    assert_int_equal(cold_identity_read(f->store, &there, &err), VARVE_E_CORRUPT);
    assert_non_null(strstr(err.msg, COLD_IDENTITY_KEY));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(pages_are_stored_before_the_root),
        CASE(a_root_is_not_written_when_a_page_is_not_stored),
        CASE(a_page_with_other_bytes_is_corrupt),
        CASE(a_lost_reply_is_not_a_defeat),
        CASE(a_lost_request_is_a_retriable_failure),
        CASE(anothers_root_is_a_lost_condition),
        CASE(a_root_above_its_limit_is_refused),
        CASE(the_loader_gives_pages_and_names_what_is_missing),
        CASE(the_identity_is_made_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
