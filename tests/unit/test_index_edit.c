/* What an edit refuses, and what each change does to the root. Random histories are in
 * test_index_tree.c. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#include "index/fold.h"
#include "tests/support/env.h"
#include "tests/support/manifest.h"

#define LOG "orders/0"

struct fixture {
    struct support_env *env;
    struct index_edit *edit;
    uint8_t chain[32];
    struct base_id owner;
};

static void start(struct fixture *f, struct support_env *env, int64_t start_offset)
{
    struct base_id id = base_id_new(&env->random.seam);

    *f = (struct fixture){.env = env, .owner = base_id_new(&env->random.seam)};
    assert_int_equal(index_edit_new_log(LOG, &id, &f->owner, start_offset, 5, &f->edit, NULL), 0);
}

static struct index_entry entry(struct fixture *f, int64_t base, int64_t end)
{
    return support_entry_new(&f->env->random, f->chain, base, end, 1000 + base);
}

static void add(struct fixture *f, int64_t base, int64_t end)
{
    struct index_entry e = entry(f, base, end);
    struct varve_error err;

    if (index_edit_add(f->edit, &e, &err) < 0)
        fail_msg("%s", err.msg);
}

static struct index_root finish(struct fixture *f)
{
    const void *root;
    size_t size, count;
    const struct index_edit_page *pages;
    struct index_root r;

    assert_int_equal(
        index_edit_finish(f->edit, &f->env->random.seam, &root, &size, &pages, &count, NULL), 0);
    assert_int_equal(index_root_decode(root, size, &r, NULL), 0);
    return r;
}

static void assert_refused(int rc, const struct varve_error *err, const char *message)
{
    assert_int_equal(rc, VARVE_E_INVALID);
    if (strstr(err->msg, message) == NULL)
        fail_msg("'%s' does not say '%s'", err->msg, message);
}

static void a_new_log_begins_and_ends_at_its_start(void **state)
{
    struct fixture f;
    struct index_epoch epoch;

    start(&f, *state, 100);
    struct index_root r = finish(&f);
    assert_int_equal(r.start_offset, 100);
    assert_int_equal(r.end_offset, 100);
    assert_int_equal(r.deleted_to, 100);
    assert_int_equal(r.generation, 1);
    assert_int_equal(r.max_timestamp, -1);
    assert_int_equal(r.segment_count, 0);
    index_root_epoch(&r, 0, &epoch);
    assert_int_equal(epoch.epoch, 0);
    assert_int_equal(epoch.start_offset, 100);
    index_edit_free(f.edit);
}

static void a_new_log_needs_a_good_name_and_offset(void **state)
{
    struct base_id id = {{1}};
    struct index_edit *edit = NULL;
    struct varve_error err;

    (void)state;
    assert_refused(index_edit_new_log("a/../b", &id, &id, 0, 0, &edit, &err), &err, "'..'");
    assert_refused(index_edit_new_log("a", &id, &id, -1, 0, &edit, &err), &err, "negative");
    assert_null(edit);
}

static void segments_follow_without_a_hole_or_an_overlap(void **state)
{
    struct fixture f;
    struct varve_error err;
    uint8_t chain[32];

    start(&f, *state, 0);
    add(&f, 0, 10);
    memcpy(chain, f.chain, 32);
    struct index_entry hole = entry(&f, 11, 20);
    assert_refused(index_edit_add(f.edit, &hole, &err), &err,
                   "segment [11, 20) does not continue a log that ends at offset 10");
    memcpy(f.chain, chain, 32);
    struct index_entry overlap = entry(&f, 9, 20);
    assert_refused(index_edit_add(f.edit, &overlap, &err), &err, "does not continue");
    memcpy(f.chain, chain, 32);
    struct index_entry empty = entry(&f, 10, 10);
    assert_refused(index_edit_add(f.edit, &empty, &err), &err, "impossible range");
    memcpy(f.chain, chain, 32);
    add(&f, 10, 20); /* a refusal changed nothing */
    assert_int_equal(finish(&f).segment_count, 2);
    index_edit_free(f.edit);
}

static void the_first_segment_of_an_empty_log_takes_the_start_along(void **state)
{
    struct fixture f;

    start(&f, *state, 0);
    add(&f, 500, 510);
    struct index_root r = finish(&f);
    assert_int_equal(r.start_offset, 500);
    assert_int_equal(r.deleted_to, 500);
    assert_int_equal(r.end_offset, 510);
    index_edit_free(f.edit);
}

static void a_segment_that_does_not_continue_the_chain_is_refused(void **state)
{
    struct fixture f;
    struct varve_error err;

    start(&f, *state, 0);
    struct index_entry e = entry(&f, 0, 10);
    e.chain_hash[31] ^= 1;
    assert_refused(index_edit_add(f.edit, &e, &err), &err,
                   "its chain hash does not continue the log's");
    e.chain_hash[31] ^= 1;
    e.epoch = 1;
    assert_refused(index_edit_add(f.edit, &e, &err), &err, "is of epoch 1, the log of 0");
    e.epoch = 0;
    e.index_pos = e.object_size;
    assert_refused(index_edit_add(f.edit, &e, &err), &err, "is not inside the object");
    index_edit_free(f.edit);
}

static void a_trim_beyond_the_end_takes_the_end_along(void **state)
{
    struct fixture f;
    struct index_cut cut;

    start(&f, *state, 0);
    add(&f, 0, 10);
    assert_int_equal(index_edit_trim(f.edit, 25, 99, NULL), 0);
    struct index_root r = finish(&f);
    assert_int_equal(r.start_offset, 25);
    assert_int_equal(r.end_offset, 25); /* I1 */
    assert_memory_equal(r.chain_hash, f.chain, 32);
    assert_int_equal(r.cut_count, 1);
    index_root_cut(&r, 0, &cut);
    assert_int_equal(cut.offset, 25);
    assert_int_equal(cut.time, 99);

    /* The segment it went into is uploaded whole, from below the start. */
    add(&f, 20, 30);
    r = finish(&f);
    assert_int_equal(r.start_offset, 25);
    assert_int_equal(r.end_offset, 30);
    assert_int_equal(r.segment_count, 2);
    index_edit_free(f.edit);
}

static void a_trim_never_goes_back(void **state)
{
    struct fixture f;

    start(&f, *state, 0);
    add(&f, 0, 10);
    assert_int_equal(index_edit_trim(f.edit, 5, 1, NULL), 0);
    assert_int_equal(index_edit_trim(f.edit, 5, 2, NULL), 0);
    assert_int_equal(index_edit_trim(f.edit, 4, 3, NULL), 0);
    struct index_root r = finish(&f);
    assert_int_equal(r.start_offset, 5);
    assert_int_equal(r.cut_count, 1);
    index_edit_free(f.edit);
}

static void a_trim_of_a_log_without_segments_leaves_nothing_to_delete(void **state)
{
    struct fixture f;

    start(&f, *state, 0);
    assert_int_equal(index_edit_trim(f.edit, 50, 1, NULL), 0);
    struct index_root r = finish(&f);
    assert_int_equal(r.start_offset, 50);
    assert_int_equal(r.deleted_to, 50);
    assert_int_equal(r.cut_count, 0);
    index_edit_free(f.edit);
}

static void what_is_deleted_leaves_the_manifest(void **state)
{
    struct fixture f;
    struct varve_error err;
    struct index_entry first;

    start(&f, *state, 0);
    for (int64_t i = 0; i < 10; i++)
        add(&f, i * 10, i * 10 + 10);
    assert_int_equal(index_edit_trim(f.edit, 20, 1, NULL), 0);
    assert_int_equal(index_edit_trim(f.edit, 35, 2, NULL), 0);
    assert_refused(index_edit_deleted_to(f.edit, 36, &err), &err,
                   "objects up to offset 36 cannot be deleted: the log starts at 35");
    assert_int_equal(index_edit_deleted_to(f.edit, 20, NULL), 0);
    struct index_root r = finish(&f);
    assert_int_equal(r.deleted_to, 20);
    assert_int_equal(r.segment_count, 8);
    assert_int_equal(r.cut_count, 1);
    assert_int_equal(index_edit_deleted_to(f.edit, 35, NULL), 0);
    assert_int_equal(index_edit_deleted_to(f.edit, 10, NULL), 0); /* never back */
    r = finish(&f);
    assert_int_equal(r.deleted_to, 35);
    assert_int_equal(r.segment_count, 7); /* [30, 40) is still needed */
    assert_int_equal(r.cut_count, 0);
    index_root_entry(&r, 0, &first);
    assert_int_equal(first.base_offset, 30);
    index_edit_free(f.edit);
}

static void a_replacement_must_be_of_the_same_bytes_and_range(void **state)
{
    struct fixture f;
    struct varve_error err;
    struct index_root r;
    struct index_entry got;

    start(&f, *state, 0);
    struct index_entry e = entry(&f, 0, 10);
    assert_int_equal(index_edit_add(f.edit, &e, NULL), 0);
    e.attempt = base_id_new(&f.env->random.seam);
    e.object_size++;
    assert_int_equal(index_edit_replace(f.edit, &e, NULL), 0);
    r = finish(&f);
    index_root_entry(&r, 0, &got);
    assert_true(base_id_equal(&got.attempt, &e.attempt));
    assert_int_equal(r.object_bytes, e.object_size);

    struct index_entry other = e;
    other.end_offset = 9;
    assert_int_equal(index_edit_replace(f.edit, &other, &err), VARVE_E_NOT_FOUND);
    assert_string_equal(err.msg, "no segment [0, 9) in the manifest");
    other.end_offset = 20;
    assert_int_equal(index_edit_replace(f.edit, &other, &err), VARVE_E_NOT_FOUND);
    other = e;
    other.segment_sha256[0] ^= 1;
    assert_refused(index_edit_replace(f.edit, &other, &err), &err, "holds other bytes");
    index_edit_free(f.edit);
}

static void a_takeover_raises_the_epoch_from_the_end_on(void **state)
{
    struct fixture f;
    struct base_id owner;
    struct index_epoch epoch;

    start(&f, *state, 0);
    add(&f, 0, 10);
    owner = base_id_new(&f.env->random.seam);
    assert_int_equal(index_edit_take_over(f.edit, &owner, NULL), 0);
    struct index_root r = finish(&f);
    assert_int_equal(r.epoch, 1);
    assert_true(base_id_equal(&r.owner, &owner));
    assert_int_equal(r.epoch_count, 2);
    index_root_epoch(&r, 1, &epoch);
    assert_int_equal(epoch.start_offset, 10);
    index_edit_free(f.edit);
}

static void a_deleted_log_takes_no_segments(void **state)
{
    struct fixture f;
    struct varve_error err;

    start(&f, *state, 0);
    add(&f, 0, 10);
    assert_int_equal(index_edit_tombstone(f.edit, NULL), 0);
    assert_true(finish(&f).tombstone);
    struct index_entry e = entry(&f, 10, 20);
    assert_int_equal(index_edit_add(f.edit, &e, &err), VARVE_E_NOT_FOUND);
    assert_string_equal(err.msg, "the log was deleted");
    assert_int_equal(index_edit_trim(f.edit, 10, 0, NULL), 0);
    assert_int_equal(index_edit_deleted_to(f.edit, 10, NULL), 0);
    assert_int_equal(finish(&f).segment_count, 0);
    index_edit_free(f.edit);
}

static void finishing_again_makes_another_root_of_the_same_generation(void **state)
{
    struct fixture f;
    struct index_fold fold = {4, 4, 2};

    start(&f, *state, 0);
    index_edit_set_fold(f.edit, &fold);
    for (int64_t i = 0; i < 30; i++)
        add(&f, i * 10, i * 10 + 10);
    struct index_root a = finish(&f);
    struct base_id first = a.write_id;
    assert_int_equal(a.generation, 1);
    struct index_root b = finish(&f);
    assert_int_equal(b.generation, 1);
    assert_int_equal(b.segment_count, 30);
    assert_false(base_id_equal(&b.write_id, &first));
    /* Pages made by the first are still this edit's, and may be rewritten. */
    assert_int_equal(index_edit_trim(f.edit, 95, 1, NULL), 0);
    assert_int_equal(index_edit_deleted_to(f.edit, 95, NULL), 0);
    assert_int_equal(finish(&f).segment_count, 21);
    index_edit_free(f.edit);
}

static void an_edit_needs_a_loaded_manifest(void **state)
{
    struct support_env *env = *state;
    struct index_manifest *m;
    struct index_edit *edit = NULL;
    struct varve_error err;

    assert_int_equal(
        index_manifest_open(&env->env, support_tmpdir_root(env->dir), LOG, NULL, &m, NULL), 0);
    assert_int_equal(index_edit_new(m, &edit, &err), VARVE_E_NOT_FOUND);
    assert_null(edit);
    index_manifest_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_env_test(a_new_log_begins_and_ends_at_its_start),
        support_env_test(a_new_log_needs_a_good_name_and_offset),
        support_env_test(segments_follow_without_a_hole_or_an_overlap),
        support_env_test(the_first_segment_of_an_empty_log_takes_the_start_along),
        support_env_test(a_segment_that_does_not_continue_the_chain_is_refused),
        support_env_test(a_trim_beyond_the_end_takes_the_end_along),
        support_env_test(a_trim_never_goes_back),
        support_env_test(a_trim_of_a_log_without_segments_leaves_nothing_to_delete),
        support_env_test(what_is_deleted_leaves_the_manifest),
        support_env_test(a_replacement_must_be_of_the_same_bytes_and_range),
        support_env_test(a_takeover_raises_the_epoch_from_the_end_on),
        support_env_test(a_deleted_log_takes_no_segments),
        support_env_test(finishing_again_makes_another_root_of_the_same_generation),
        support_env_test(an_edit_needs_a_loaded_manifest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
