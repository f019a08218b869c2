/* The bytes of roots and pages: golden files, every flipped bit, and roots that are well formed but
 * wrong. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/error.h"
#include "index/fold.h"
#include "index/items.h"
#include "tests/support/data.h"
#include "tests/support/env.h"
#include "tests/support/manifest.h"

#define LOG "orders/0"

/* A root with two levels of references, inline entries, epochs, a cut, a configuration; and the
 * pages made with it. */
static struct index_edit *some_edit(struct support_env *env, const void **ret, size_t *ret_size,
                                    const struct index_edit_page **ret_pages, size_t *ret_count)
{
    struct base_id id = base_id_new(&env->random.seam), owner = base_id_new(&env->random.seam);
    struct index_fold fold = {3, 3, 2};
    uint8_t chain[32] = {0};
    struct index_edit *edit;

    assert_int_equal(index_edit_new_log(LOG, &id, &owner, 10, 1700000000000, &edit, NULL), 0);
    index_edit_set_fold(edit, &fold);
    for (int64_t i = 1; i <= 11; i++) {
        struct index_entry e =
            support_entry_new(&env->random, chain, i * 10, i * 10 + 10, 1000 + (i * 37) % 50);
        assert_int_equal(index_edit_add(edit, &e, NULL), 0);
    }
    assert_int_equal(index_edit_trim(edit, 25, 1700000001000, NULL), 0);
    assert_int_equal(index_edit_take_over(edit, &owner, NULL), 0);
    assert_int_equal(index_edit_config(edit, "retention.ms=-1\n", 16, NULL), 0);
    assert_int_equal(
        index_edit_finish(edit, &env->random.seam, ret, ret_size, ret_pages, ret_count, NULL), 0);
    return edit;
}

static void the_golden_files_are_what_is_encoded(void **state)
{
    const struct index_edit_page *pages;
    const void *root;
    size_t size, count;
    struct index_edit *edit = some_edit(*state, &root, &size, &pages, &count);
    struct index_root r;

    assert_true(support_data_equal("index/root-v1.bin", root, size));
    assert_int_equal(index_root_decode(root, size, &r, NULL), 0);
    assert_int_equal(count, 4);
    for (size_t i = 0; i < count; i++) {
        struct index_page p;
        const char *name =
            pages[i].ref.level == 0 ? "index/page-entries-v1.bin" : "index/page-references-v1.bin";
        if (i == 0 || pages[i].ref.level > 0)
            assert_true(support_data_equal(name, pages[i].data, pages[i].size));
        assert_int_equal(
            index_page_decode(pages[i].data, pages[i].size, &pages[i].ref, &r.log_id, &p, NULL), 0);
        assert_int_equal(p.count, pages[i].ref.count);
    }
    index_edit_free(edit);
}

static void a_golden_root_reads_as_it_was_written(void **state)
{
    size_t size;
    void *data = support_data_read("index/root-v1.bin", &size);
    struct index_root r;
    struct index_epoch epoch;
    struct index_cut cut;
    struct index_ref ref;
    struct index_entry entry;

    (void)state;
    assert_int_equal(index_root_decode(data, size, &r, NULL), 0);
    assert_int_equal(r.log_name_size, strlen(LOG));
    assert_memory_equal(r.log_name, LOG, strlen(LOG));
    assert_int_equal(r.generation, 1);
    assert_int_equal(r.epoch, 1);
    assert_false(r.tombstone);
    assert_int_equal(r.start_offset, 25);
    assert_int_equal(r.end_offset, 120);
    assert_int_equal(r.deleted_to, 10);
    assert_int_equal(r.segment_count, 11);
    assert_int_equal(r.epoch_count, 2);
    index_root_epoch(&r, 1, &epoch);
    assert_int_equal(epoch.epoch, 1);
    assert_int_equal(epoch.start_offset, 120);
    assert_int_equal(r.cut_count, 1);
    index_root_cut(&r, 0, &cut);
    assert_int_equal(cut.offset, 25);
    assert_int_equal(cut.time, 1700000001000);
    assert_int_equal(r.ref_count, 2);
    index_root_ref(&r, 0, &ref);
    assert_int_equal(ref.level, 1);
    assert_int_equal(ref.base_offset, 10);
    index_root_ref(&r, 1, &ref);
    assert_int_equal(ref.level, 0);
    assert_int_equal(r.entry_count, 2);
    index_root_entry(&r, 1, &entry);
    assert_int_equal(entry.end_offset, 120);
    assert_memory_equal(entry.chain_hash, r.chain_hash, 32);
    assert_int_equal(r.config_size, 16);
    free(data);
}

static void every_flipped_bit_of_a_root_is_corrupt(void **state)
{
    size_t size;
    uint8_t *data = support_data_read("index/root-v1.bin", &size);
    struct index_root r = {.epoch = 77};

    (void)state;
    for (size_t bit = 0; bit < size * 8; bit++) {
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(index_root_decode(data, size, &r, NULL), VARVE_E_CORRUPT);
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t cut = 0; cut < size; cut++)
        assert_int_equal(index_root_decode(data, cut, &r, NULL), VARVE_E_CORRUPT);
    assert_int_equal(r.epoch, 77);
    free(data);
}

static void every_flipped_bit_of_a_page_is_corrupt(void **state)
{
    const struct index_edit_page *pages;
    const void *root;
    size_t size, count;
    struct index_edit *edit = some_edit(*state, &root, &size, &pages, &count);
    struct index_root r;
    struct index_page p;

    assert_int_equal(index_root_decode(root, size, &r, NULL), 0);
    for (size_t i = 0; i < count; i++) {
        uint8_t *data = malloc(pages[i].size);
        memcpy(data, pages[i].data, pages[i].size);
        for (size_t bit = 0; bit < pages[i].size * 8; bit++) {
            data[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_int_equal(
                index_page_decode(data, pages[i].size, &pages[i].ref, &r.log_id, &p, NULL),
                VARVE_E_CORRUPT);
            data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        for (size_t cut = 0; cut < pages[i].size; cut++)
            assert_int_equal(index_page_decode(data, cut, &pages[i].ref, &r.log_id, &p, NULL),
                             VARVE_E_CORRUPT);
        free(data);
    }
    index_edit_free(edit);
}

static void a_page_that_its_reference_does_not_describe_is_refused(void **state)
{
    const struct index_edit_page *pages;
    const void *root;
    size_t size, count;
    struct index_edit *edit = some_edit(*state, &root, &size, &pages, &count);
    struct index_root r;
    struct index_page p;
    struct index_ref ref;
    struct varve_error err;

    assert_int_equal(index_root_decode(root, size, &r, NULL), 0);
    /* Another page in its place. */
    assert_int_equal(
        index_page_decode(pages[1].data, pages[1].size, &pages[0].ref, &r.log_id, &p, &err),
        VARVE_E_CORRUPT);
    assert_non_null(strstr(err.msg, "not the page that its reference names"));
    assert_int_equal(
        index_page_decode(pages[0].data, pages[0].size, &pages[0].ref, &r.owner, &p, &err),
        VARVE_E_CORRUPT);
    assert_non_null(strstr(err.msg, "page of another log"));
    ref = pages[0].ref;
    ref.max_timestamp++;
    assert_int_equal(index_page_decode(pages[0].data, pages[0].size, &ref, &r.log_id, &p, &err),
                     VARVE_E_CORRUPT);
    assert_non_null(strstr(err.msg, "sums differ"));
    index_edit_free(edit);
}

/* Changes the golden root at `pos`, makes its checksum right again, and decodes. */
static int decode_changed(size_t pos, uint64_t value, size_t width, struct varve_error *err)
{
    size_t size;
    uint8_t *data = support_data_read("index/root-v1.bin", &size), le[8];
    struct index_root r;

    base_put_le64(le, value);
    memcpy(data + pos, le, width);
    base_put_le32(data + size - 4, base_crc32c(0, data, size - 4));
    int rc = index_root_decode(data, size, &r, err);
    free(data);
    return rc;
}

static void roots_that_cannot_be_are_corrupt_though_their_checksum_holds(void **state)
{
    static const struct {
        size_t pos, width;
        uint64_t value;
        int code;
        const char *message;
    } cases[] = {
        {8, 2, 2, VARVE_E_VERSION, "version 2, this library knows 1"},
        {16, 4, 4, VARVE_E_VERSION, "unknown features 0x4"},
        {10, 2, 232, VARVE_E_CORRUPT, "do not fill"},
        {24, 8, 5, VARVE_E_CORRUPT, "its header says 5"},
        {96, 8, 9, VARVE_E_CORRUPT, "impossible offsets"},
        {96, 8, 121, VARVE_E_CORRUPT, "impossible offsets"},
        {104, 8, 119, VARVE_E_CORRUPT, "epoch 1 is impossible"},
        {104, 8, 121, VARVE_E_CORRUPT, "items end at 120, the log at 121"},
        {112, 8, 20, VARVE_E_CORRUPT, NULL},
        {112, 8, UINT64_MAX, VARVE_E_CORRUPT, "impossible offsets"},
        {152, 8, 12, VARVE_E_CORRUPT, "sums differ"},
        {176, 8, 12, VARVE_E_CORRUPT, "sums differ"},
        {184, 4, 2, VARVE_E_CORRUPT, "its history says 1"},
        {188, 4, 250, VARVE_E_CORRUPT, "above its limit"},
        {204, 4, UINT32_MAX, VARVE_E_CORRUPT, "above its limit"},
        {208, 4, 3, VARVE_E_CORRUPT, "do not fill"},
        {224, 1, '@', VARVE_E_CORRUPT, "'@' is not allowed"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct varve_error err = {0};
        int rc = decode_changed(cases[i].pos, cases[i].value, cases[i].width, &err);
        if (cases[i].pos == 112 && cases[i].value == 20) {
            assert_int_equal(rc, 0); /* deleted to inside the first page */
            continue;
        }
        if (rc != cases[i].code || err.code != rc || strstr(err.msg, cases[i].message) == NULL)
            fail_msg("case %zu: %d '%s'", i, rc, err.msg);
    }
}

static void a_root_with_everything_at_its_limit_is_below_one_mebibyte(void **state)
{
    struct support_env *env = *state;
    struct index_edit *edit;
    struct base_id id = base_id_new(&env->random.seam);
    uint8_t chain[32] = {0};
    char name[INDEX_LOG_NAME_MAX + 1], *config = calloc(1, INDEX_ROOT_CONFIG_MAX + 1);
    struct index_root r;
    const void *root;
    size_t size, count;
    const struct index_edit_page *pages;
    struct index_fold fold = {INDEX_ROOT_ENTRIES_MAX, 1, INDEX_PAGE_REFS};

    /* Pages of one entry fill two levels to the brim: 255 * 257 entries and 1000 more. */
    memset(name, 'n', INDEX_LOG_NAME_MAX);
    name[INDEX_LOG_NAME_MAX] = '\0';
    assert_int_equal(index_edit_new_log(name, &id, &id, 0, 0, &edit, NULL), 0);
    index_edit_set_fold(edit, &fold);
    int64_t n = 255 * 257 + 1000;
    for (int64_t i = 0; i < n; i++) {
        struct index_entry e = support_entry_new(&env->random, chain, i, i + 1, i);
        assert_int_equal(index_edit_add(edit, &e, NULL), 0);
    }
    for (int64_t i = 1; i <= 100; i++)
        assert_int_equal(index_edit_trim(edit, i, i, NULL), 0);
    for (int i = 0; i < 1100; i++)
        assert_int_equal(index_edit_take_over(edit, &id, NULL), 0);
    assert_int_equal(index_edit_config(edit, config, INDEX_ROOT_CONFIG_MAX + 1, NULL),
                     VARVE_E_TOO_LARGE);
    assert_int_equal(index_edit_config(edit, config, INDEX_ROOT_CONFIG_MAX, NULL), 0);
    assert_int_equal(index_edit_finish(edit, &env->random.seam, &root, &size, &pages, &count, NULL),
                     0);
    assert_int_equal(index_root_decode(root, size, &r, NULL), 0);
    assert_int_equal(r.ref_count, 2 * 255);
    assert_int_equal(r.entry_count, 1000);
    assert_int_equal(r.cut_count, INDEX_ROOT_CUTS_MAX);
    assert_int_equal(r.epoch_count, INDEX_ROOT_EPOCHS_MAX);
    /* Six levels more of 255 references would fit as well. */
    assert_true(size + 6 * 255 * (INDEX_REF_SIZE + 1) < INDEX_ROOT_SIZE_MAX);

    struct index_cut cut;
    index_root_cut(&r, INDEX_ROOT_CUTS_MAX - 1, &cut);
    assert_int_equal(cut.offset, 100); /* the newest grew */
    struct index_epoch epoch;
    index_root_epoch(&r, 0, &epoch);
    assert_int_equal(epoch.epoch, 1100 - INDEX_ROOT_EPOCHS_MAX + 1);
    assert_int_equal(epoch.start_offset, 0); /* the oldest were merged */
    index_edit_free(edit);
    free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_env_test(the_golden_files_are_what_is_encoded),
        support_env_test(a_golden_root_reads_as_it_was_written),
        support_env_test(every_flipped_bit_of_a_root_is_corrupt),
        support_env_test(every_flipped_bit_of_a_page_is_corrupt),
        support_env_test(a_page_that_its_reference_does_not_describe_is_refused),
        support_env_test(roots_that_cannot_be_are_corrupt_though_their_checksum_holds),
        support_env_test(a_root_with_everything_at_its_limit_is_below_one_mebibyte),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
