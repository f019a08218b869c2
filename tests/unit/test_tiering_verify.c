/* Checking a log across both tiers: what is found, what it is called, what is mended and from
 * where. Bits flipped all over the files are tests/integration/test_damage_bits.py's. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/text.h"
#include "cold/manifest.h"
#include "tests/support/file.h"
#include "tests/support/support_tiering.h"

/* What one run found. */
struct findings {
    unsigned count[TIERING_FOUND_NOTE + 1];
    unsigned repaired;
    char where[256], text[256]; /* of the last one that is no orphan */
    int64_t offset;
};

static void take_finding(void *ctx, const struct tiering_finding *f)
{
    struct findings *all = ctx;

    all->count[f->kind]++;
    all->repaired += f->repaired;
    if (f->kind == TIERING_FOUND_ORPHAN)
        return;
    snprintf(all->where, sizeof(all->where), "%s", f->where);
    snprintf(all->text, sizeof(all->text), "%s", f->text);
    all->offset = f->offset;
}

static int verify_code(struct support_tiering *r, bool deep, bool repair, struct findings *ret,
                       struct tiering_verify *v, struct varve_error *err)
{
    *ret = (struct findings){.offset = -1};
    support_tiering_verify(r, v);
    v->deep = deep;
    v->repair = repair;
    v->found = take_finding;
    v->ctx = ret;
    return tiering_verify_run(&r->e->env, v, err);
}

/* The number of problems left. */
static unsigned verify_run(struct support_tiering *r, bool deep, bool repair, struct findings *ret)
{
    struct tiering_verify v;
    struct varve_error err = {0};
    int rc = verify_code(r, deep, repair, ret, &v, &err);

    if (rc < 0)
        print_error("%s\n", err.msg);
    assert_int_equal(rc, 0);
    return v.problems;
}

/* Four segments in both tiers, or (evicted) in the cold one. */
static void begin(struct support_tiering *r, struct support_env *e, bool evict)
{
    struct tiering_run run = {.seal = true, .evict = evict};

    support_tiering_init(r, e);
    r->policy.local_retention_bytes = -1;
    assert_int_equal(support_tiering_open(r, NULL), 0);
    support_tiering_fill(r, 4);
    assert_int_equal(tiering_log_run(r->t, &run, NULL), 0);
}

static char *object_file(struct support_tiering *r, int64_t offset)
{
    static char path[600];
    struct index_root root;
    struct index_entry e;
    char *key;

    support_tiering_root(r, &root);
    assert_int_equal(support_tiering_entry(r, offset, &e), 0);
    assert_int_equal(index_key_object(r->log_name, &root.log_id, &e, &key, NULL), 0);
    snprintf(path, sizeof(path), "%s", support_tmpdir_path(r->e->dir, "cold/%s", key));
    free(key);
    return path;
}

static const char *root_file(struct support_tiering *r)
{
    return support_tmpdir_path(r->e->dir, "cold/logs/%s/@/root", r->log_name);
}

static void a_log_in_both_tiers_is_clean(void **state)
{
    struct support_tiering r;
    struct findings f;
    struct tiering_verify v;

    begin(&r, *state, false);
    for (int deep = 0; deep < 2; deep++) {
        assert_int_equal(verify_code(&r, deep, false, &f, &v, NULL), 0);
        assert_int_equal(v.problems, 0);
        assert_int_equal(v.repaired, 0);
        assert_true(v.cold_segments >= 4);
        assert_int_equal(v.hot_segments, v.cold_segments);
        assert_int_equal(f.count[TIERING_FOUND_ORPHAN] + f.count[TIERING_FOUND_NOTE], 0);
    }
    support_tiering_deinit(&r);
}

static void a_damaged_object_is_uploaded_again_and_collected_later(void **state)
{
    struct support_tiering r;
    struct findings f;
    struct tiering_collect c = {.share_max = 1};
    unsigned orphans;

    begin(&r, *state, false);
    support_file_flip(object_file(&r, 0), 20, 1);
    assert_int_equal(verify_run(&r, false, false, &f), 0); /* nobody read those bytes */
    assert_int_equal(verify_run(&r, true, false, &f), 1);
    assert_int_equal(f.count[TIERING_FOUND_DAMAGE], 1);
    assert_non_null(strstr(object_file(&r, 0), f.where));
    assert_non_null(strstr(f.text, "block 0"));
    assert_int_equal(verify_run(&r, true, true, &f), 0);
    assert_int_equal(f.repaired, 1);
    assert_int_equal(verify_run(&r, true, false, &f), 0);
    assert_int_equal(f.count[TIERING_FOUND_ORPHAN], 1);
    assert_int_equal(tiering_log_collect(r.t, &c, NULL), 0);
    assert_int_equal(c.orphans, 1);
    support_tiering_objects(&r, &orphans);
    assert_int_equal(orphans, 0);
    support_tiering_check(&r);
    support_tiering_deinit(&r);
}

static void a_missing_object_without_a_hot_copy_stays_a_problem(void **state)
{
    struct support_tiering r;
    struct findings f;

    begin(&r, *state, true);
    assert_int_equal(base_tree_remove(&base_io_posix, object_file(&r, 0), NULL), 0);
    assert_int_equal(verify_run(&r, false, true, &f), 1);
    assert_int_equal(f.count[TIERING_FOUND_MISSING], 1);
    assert_int_equal(f.repaired, 0);
    assert_int_equal(f.offset, 0);
    support_tiering_deinit(&r);
}

/* A root, right in itself, whose entry `i` has another chain hash, in both places. */
static void alter_history(struct support_tiering *r, size_t i, bool here_too)
{
    struct index_root root, altered;
    struct index_entry e;
    size_t size;
    char local[600];
    uint8_t *data = support_file_read(root_file(r), &size);
    uint8_t *raw;

    assert_int_equal(index_root_decode(data, size, &root, NULL), 0);
    assert_true(i + 1 < root.entry_count);
    raw = data + (root.entries - data) + i * INDEX_ENTRY_SIZE;
    index_entry_decode(raw, &e);
    e.chain_hash[3] ^= 1;
    index_entry_encode(&e, raw);
    base_put_le32(data + size - 4, base_crc32c(0, data, size - 4));
    assert_int_equal(index_root_decode(data, size, &altered, NULL), 0);
    snprintf(local, sizeof(local), "%s/manifest/root", r->local_path);
    support_tiering_close(r);
    support_file_write(root_file(r), data, size);
    if (here_too)
        support_file_write(local, data, size);
    free(data);
    assert_int_equal(support_tiering_open(r, NULL), 0);
}

static void altered_history_breaks_the_chain(void **state)
{
    struct support_tiering r;
    struct findings f;

    begin(&r, *state, true);
    alter_history(&r, 1, true);
    /* The entry does not follow, the next does not follow from it, and its object says otherwise.
     */
    assert_int_equal(verify_run(&r, false, true, &f), 3);
    assert_int_equal(f.count[TIERING_FOUND_MISMATCH], 2);
    assert_non_null(strstr(f.text, "history was altered here"));
    assert_int_equal(f.repaired, 0);
    support_tiering_deinit(&r);
}

static void a_root_of_one_write_in_two_wordings_is_a_mismatch(void **state)
{
    struct support_tiering r;
    struct findings f;

    begin(&r, *state, true);
    alter_history(&r, 1, false);
    assert_int_equal(verify_run(&r, false, true, &f), 1);
    assert_int_equal(f.count[TIERING_FOUND_MISMATCH], 1);
    assert_string_equal(f.where, "logs/orders/0/@/root");
    support_tiering_deinit(&r);
}

static void a_trim_beyond_the_end_is_no_gap(void **state)
{
    struct support_tiering r;
    struct findings f;
    struct tiering_run run = {.seal = true};

    begin(&r, *state, false);
    r.policy.delete_delay_ms = 1000000;
    tiering_log_set_policy(r.t, &r.policy);
    support_tiering_fill(&r, 2);
    assert_int_equal(tiering_log_trim(r.t, r.end, NULL), 0);
    assert_int_equal(verify_run(&r, true, false, &f), 0);
    support_tiering_fill(&r, 1);
    assert_int_equal(tiering_log_run(r.t, &run, NULL), 0);
    assert_int_equal(verify_run(&r, true, false, &f), 0);
    support_tiering_deinit(&r);
}

static void a_lost_root_is_stored_again(void **state)
{
    struct support_tiering r;
    struct findings f;

    begin(&r, *state, false);
    for (int missing = 0; missing < 2; missing++) {
        if (missing)
            assert_int_equal(base_tree_remove(&base_io_posix, root_file(&r), NULL), 0);
        else
            support_file_flip(root_file(&r), 50, 8);
        assert_int_equal(verify_run(&r, false, false, &f), 1);
        assert_string_equal(f.where, "logs/orders/0/@/root");
        assert_int_equal(verify_run(&r, false, true, &f), 0);
        assert_int_equal(f.repaired, 1);
        assert_int_equal(verify_run(&r, false, false, &f), 0);
    }
    support_tiering_check(&r);
    support_tiering_deinit(&r);
}

static int reply_is_damaged(void *ctx, enum cold_op op, const char *key, bool after)
{
    int *left = ctx;

    return !after && op == COLD_OP_GET && strstr(key, "/@/root") && (*left)-- > 0 ? VARVE_E_CORRUPT
                                                                                  : 0;
}

/* One commit whose root could not be kept here. */
static void commit_unkept(struct support_tiering *r)
{
    struct tiering_run run = {.seal = true};

    support_tiering_fill(r, 1);
    support_io_fail(
        r->e->io,
        &(struct support_io_fault){
            .call = SUPPORT_IO_ANY, .path = "root.tmp", .nth = 1, .sys_errno = EIO, .keep = true});
    assert_int_equal(tiering_log_run(r->t, &run, NULL), VARVE_E_IO);
    support_io_fail(r->e->io, NULL);
}

/* It was: with the local one, which was older. */
static void a_root_whose_reply_was_damaged_is_not_written_over(void **state)
{
    struct support_tiering r;
    struct findings f;
    int left = 2;
    char before[600];

    begin(&r, *state, false);
    commit_unkept(&r);
    snprintf(before, sizeof(before), "%s", support_tmpdir_path(r.e->dir, "before"));
    assert_int_equal(link(root_file(&r), before), 0);
    r.faulty.fault = reply_is_damaged;
    r.faulty.ctx = &left;
    verify_run(&r, false, true, &f);
    r.faulty.fault = NULL;
    assert_true(left <= 0);
    assert_int_equal(f.repaired, 0);
    assert_true(support_file_equal(root_file(&r), before));
    support_tiering_deinit(&r);
}

/* The store is away from the moment on when it has a new root, before it could say so. */
static int root_reply_is_lost(void *ctx, enum cold_op op, const char *key, bool after)
{
    bool *away = ctx;
    size_t size = strlen(key);

    *away = *away || (op == COLD_OP_PUT && after && strcmp(key + size - 5, "/root") == 0);
    return *away ? VARVE_E_STORE : 0;
}

/* The bucket's root was called another's than the local one, and a damaged segment that it held
 * already was left damaged (323663 of the simulation). */
static void a_root_whose_reply_was_lost_is_no_mismatch(void **state)
{
    struct support_tiering r;
    struct tiering_run run = {.seal = true};
    struct findings f;
    bool away = false;

    begin(&r, *state, false);
    support_tiering_fill(&r, 2);
    r.faulty.fault = root_reply_is_lost;
    r.faulty.ctx = &away;
    assert_int_equal(tiering_log_run(r.t, &run, NULL), VARVE_E_STORE);
    r.faulty.fault = NULL;
    assert_int_equal(verify_run(&r, true, false, &f), 0);
    assert_int_equal(f.count[TIERING_FOUND_MISMATCH], 0);
    support_tiering_deinit(&r);
}

/* Its generation was the older one's, and who had seen the lost one took it for going back. */
static void a_root_in_place_of_a_damaged_one_is_newer_than_that(void **state)
{
    struct support_tiering r;
    struct findings f;
    struct tiering_run run = {.seal = true};
    struct index_root root, lost;
    struct cold_etag etag;
    void *data, *now;
    size_t size;

    begin(&r, *state, false);
    support_tiering_root(&r, &root);
    commit_unkept(&r);
    assert_int_equal(cold_manifest_read_root(r.store, r.log_name, &data, &size, &etag, NULL), 0);
    assert_int_equal(index_root_decode(data, size, &lost, NULL), 0);
    assert_int_equal(lost.generation, root.generation + 1);
    support_file_flip(root_file(&r), 50, 8);
    assert_int_equal(verify_run(&r, false, true, &f), 0);
    assert_int_equal(f.repaired, 1);
    assert_int_equal(cold_manifest_read_root(r.store, r.log_name, &now, &size, &etag, NULL), 0);
    assert_int_equal(index_root_decode(now, size, &root, NULL), 0);
    assert_true(root.generation > lost.generation);
    assert_true(root.end_offset < lost.end_offset);
    free(data);
    free(now);
    assert_int_equal(tiering_log_run(r.t, &run, NULL), 0); /* what only the lost one named */
    support_tiering_root(&r, &root);
    assert_int_equal(root.end_offset, r.end);
    support_tiering_check(&r);
    support_tiering_deinit(&r);
}

static void a_root_is_not_put_back_over_a_newer_epoch(void **state)
{
    struct support_tiering r;
    struct index_root root;
    struct findings f;
    struct index_entry e = {.base_offset = 900, .end_offset = 903, .epoch = 7};
    struct iovec body = {.iov_base = "another store's", .iov_len = 15};
    struct cold_put how = {.condition = COLD_IF_ABSENT};
    char *key;

    begin(&r, *state, false);
    support_tiering_root(&r, &root);
    e.attempt = base_id_new(&r.e->random.seam);
    assert_int_equal(index_key_object(r.log_name, &root.log_id, &e, &key, NULL), 0);
    assert_int_equal(cold_store_put(r.faulty.under, key, &body, 1, &how, NULL, NULL), 0);
    free(key);
    support_file_flip(root_file(&r), 50, 8);
    assert_int_equal(verify_run(&r, false, true, &f), 1); /* I6 */
    assert_int_equal(f.repaired, 0);
    support_file_flip(root_file(&r), 50, 8);
    assert_int_equal(verify_run(&r, false, true, &f), 0);
    support_tiering_deinit(&r);
}

static void a_damaged_hot_segment_is_given_up_only_for_good_objects(void **state)
{
    struct support_tiering r;
    struct findings f;
    struct index_entry e;
    struct hot_range range;
    char path[600];

    begin(&r, *state, false);
    assert_int_equal(support_tiering_entry(&r, 0, &e), 0);
    assert_int_equal(support_tiering_entry(&r, e.end_offset, &e), 0);
    snprintf(path, sizeof(path), "%s/hot/%020lld.log", r.local_path, (long long)e.base_offset);
    support_file_flip(path, 100, 1);
    support_file_flip(object_file(&r, e.base_offset), 20, 1);
    assert_int_equal(verify_run(&r, true, true, &f), 2); /* V1: neither copy mends the other */
    assert_true(support_file_exists(path));
    /* Without `deep` too the object is read before anything goes for it. What this process has
     * written itself it does not look at then. */
    support_tiering_close(&r);
    assert_int_equal(support_tiering_open(&r, NULL), 0);
    assert_int_equal(verify_run(&r, false, true, &f), 1);
    assert_true(support_file_exists(path));
    support_file_flip(object_file(&r, e.base_offset), 20, 1);
    assert_int_equal(verify_run(&r, false, true, &f), 0);
    assert_int_equal(f.repaired, 1);
    assert_false(support_file_exists(path));
    hot_set_range(r.hot, &range);
    assert_int_equal(range.floor, e.end_offset);
    assert_int_equal(verify_run(&r, true, false, &f), 0);
    support_tiering_deinit(&r);
}

static int store_is_away(void *ctx, enum cold_op op, const char *key, bool after)
{
    (void)ctx;
    (void)op;
    (void)key;
    return after ? 0 : VARVE_E_STORE;
}

static void a_store_that_is_away_is_no_finding(void **state)
{
    struct support_tiering r;
    struct findings f;
    struct tiering_verify v;
    struct varve_error err = {0};

    begin(&r, *state, false);
    r.faulty.fault = store_is_away;
    assert_int_equal(verify_code(&r, true, true, &f, &v, &err), VARVE_E_STORE);
    assert_non_null(strstr(err.msg, "verify orders/0"));
    assert_int_equal(v.problems, 0);
    r.faulty.fault = NULL;
    assert_int_equal(verify_run(&r, true, false, &f), 0);
    support_tiering_deinit(&r);
}

/* The batch's CRC32C leaves the leader epoch out: a flipped bit made the tail look divergent. */
static void a_flipped_leader_epoch_does_not_move_the_tail_aside(void **state)
{
    struct support_tiering r;
    struct findings f;
    struct varve_error err = {0};
    char path[600];
    int64_t base;

    begin(&r, *state, false);
    base = r.end;
    assert_int_equal(support_tiering_append(&r, 500, 1, false, NULL), 0);
    snprintf(path, sizeof(path), "%s/hot/%020lld.log", r.local_path, (long long)base);
    support_file_flip(path, 15, 4);
    assert_int_equal(verify_run(&r, true, true, &f), 1);
    assert_non_null(strstr(f.text, "leader epoch"));
    support_tiering_close(&r);
    assert_int_equal(support_tiering_open(&r, &err), VARVE_E_CORRUPT);
    assert_non_null(strstr(err.msg, "leader epoch"));
    assert_true(support_file_exists(path));
    support_file_flip(path, 15, 4);
    assert_int_equal(support_tiering_open(&r, NULL), 0);
    support_tiering_check(&r);
    support_tiering_deinit(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_env_test(a_log_in_both_tiers_is_clean),
        support_env_test(a_damaged_object_is_uploaded_again_and_collected_later),
        support_env_test(a_missing_object_without_a_hot_copy_stays_a_problem),
        support_env_test(altered_history_breaks_the_chain),
        support_env_test(a_root_of_one_write_in_two_wordings_is_a_mismatch),
        support_env_test(a_trim_beyond_the_end_is_no_gap),
        support_env_test(a_lost_root_is_stored_again),
        support_env_test(a_root_whose_reply_was_lost_is_no_mismatch),
        support_env_test(a_root_whose_reply_was_damaged_is_not_written_over),
        support_env_test(a_root_in_place_of_a_damaged_one_is_newer_than_that),
        support_env_test(a_root_is_not_put_back_over_a_newer_epoch),
        support_env_test(a_damaged_hot_segment_is_given_up_only_for_good_objects),
        support_env_test(a_store_that_is_away_is_no_finding),
        support_env_test(a_flipped_leader_epoch_does_not_move_the_tail_aside),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
