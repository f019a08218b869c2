/* Entries, references, keys and log names. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#include "index/entry.h"
#include "tests/support/manifest.h"

static struct base_id id_of(uint8_t first)
{
    struct base_id id;

    for (size_t i = 0; i < BASE_ID_SIZE; i++)
        id.bytes[i] = (uint8_t)(first + i);
    return id;
}

static void an_entry_survives_its_encoding(void **state)
{
    struct support_random random;
    uint8_t chain[32] = {0}, a[INDEX_ENTRY_SIZE], b[INDEX_ENTRY_SIZE];
    struct index_entry d;

    (void)state;
    support_random_init(&random, 1);
    struct index_entry e = support_entry_new(&random, chain, 1, INT64_MAX, -1);
    e.flags = INDEX_ENTRY_ABORTED | INDEX_ENTRY_ENCRYPTED;
    e.epoch = UINT32_MAX;
    index_entry_encode(&e, a);
    index_entry_decode(a, &d);
    index_entry_encode(&d, b);
    assert_memory_equal(a, b, sizeof(a));
    assert_int_equal(d.end_offset, INT64_MAX);
    assert_int_equal(d.max_timestamp, -1);
    assert_int_equal(d.flags, e.flags);
    assert_int_equal(d.epoch, UINT32_MAX);
    assert_memory_equal(d.chain_hash, chain, 32);
}

static void the_chain_hash_is_that_of_its_parts(void **state)
{
    uint8_t previous[32] = {0}, sha[32], got[32], want[32], parts[80] = {0};
    struct base_sha256 *h = base_sha256_new();

    (void)state;
    memset(sha, 0x11, sizeof(sha));
    memset(parts + 32, 0x11, 32);
    parts[64] = 1;
    parts[72] = 10;
    base_sha256_update(h, parts, sizeof(parts));
    base_sha256_final(h, want);
    base_sha256_free(h);
    assert_int_equal(index_chain_hash(previous, sha, 1, 10, got), 0);
    assert_memory_equal(got, want, 32);
}

static void keys_are_built_and_taken_apart(void **state)
{
    struct base_id log_id = id_of(0x10);
    struct index_entry e = {
        .base_offset = 42, .end_offset = 1000, .epoch = 7, .attempt = id_of(0xa0)};
    struct index_ref r = {.level = 2, .base_offset = 0, .end_offset = 9, .attempt = id_of(1)};
    struct index_key_parts parts;
    char *key;

    (void)state;
    assert_int_equal(index_key_object("orders/0", &log_id, &e, &key, NULL), 0);
    assert_string_equal(key, "logs/orders/0/@/101112131415161718191a1b1c1d1e1f/"
                             "00000000000000000042-00000000000000001000-7-"
                             "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf.zst");
    assert_true(index_key_parse(key, &parts));
    assert_false(parts.page);
    assert_false(parts.encrypted);
    assert_int_equal(parts.base_offset, 42);
    assert_int_equal(parts.end_offset, 1000);
    assert_int_equal(parts.epoch, 7);
    assert_true(base_id_equal(&parts.attempt, &e.attempt));
    free(key);

    e.flags = INDEX_ENTRY_ENCRYPTED;
    assert_int_equal(index_key_object("orders/0", &log_id, &e, &key, NULL), 0);
    assert_true(index_key_parse(key, &parts));
    assert_true(parts.encrypted);
    free(key);

    assert_int_equal(index_key_page("orders/0", &log_id, &r, &key, NULL), 0);
    assert_string_equal(key, "logs/orders/0/@/101112131415161718191a1b1c1d1e1f/"
                             "page-2-00000000000000000000-00000000000000000009-0-"
                             "0102030405060708090a0b0c0d0e0f10");
    assert_true(index_key_parse(key, &parts));
    assert_true(parts.page);
    assert_int_equal(parts.level, 2);
    free(key);

    assert_int_equal(index_key_root("orders/0", &key, NULL), 0);
    assert_string_equal(key, "logs/orders/0/@/root");
    assert_false(index_key_parse(key, &parts));
    free(key);
    assert_int_equal(index_key_prefix("orders/0", &log_id, &key, NULL), 0);
    assert_string_equal(key, "logs/orders/0/@/101112131415161718191a1b1c1d1e1f/");
    free(key);
}

#define ATTEMPT "0102030405060708090a0b0c0d0e0f10"
#define RANGE "00000000000000000000-00000000000000000009-0-"

static void what_is_no_key_is_refused(void **state)
{
    static const char *const wrong[] = {
        "",
        "/",
        "page-",
        RANGE,
        RANGE ATTEMPT,
        RANGE ATTEMPT ".zs",
        RANGE ATTEMPT ".zst.en",
        RANGE ATTEMPT ".zst.encx",
        RANGE ATTEMPT ".tmp",
        RANGE "0102030405060708090a0b0c0d0e0f1.zst",
        RANGE "0102030405060708090A0B0C0D0E0F10.zst",
        "0000000000000000000-00000000000000000009-0-" ATTEMPT ".zst",
        "00000000000000000009-00000000000000000009-0-" ATTEMPT ".zst",
        "00000000000000000000-99999999999999999999-0-" ATTEMPT ".zst",
        "00000000000000000000-00000000000000000009-00-" ATTEMPT ".zst",
        "00000000000000000000-00000000000000000009-4294967296-" ATTEMPT ".zst",
        "00000000000000000000-00000000000000000009--" ATTEMPT ".zst",
        "page-" RANGE ATTEMPT,
        "page-1-" RANGE ATTEMPT ".zst",
        "page-01-" RANGE ATTEMPT,
    };
    struct index_key_parts parts;

    (void)state;
    assert_true(index_key_parse(RANGE ATTEMPT ".zst", &parts));
    assert_true(index_key_parse("page-0-" RANGE ATTEMPT, &parts));
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        parts.level = 77;
        if (index_key_parse(wrong[i], &parts))
            fail_msg("taken: %s", wrong[i]);
        assert_int_equal(parts.level, 77);
    }
}

static void log_names_are_checked(void **state)
{
    static const struct {
        const char *name;
        size_t size;
        const char *message; /* NULL: good */
    } cases[] = {
        {"orders", 6, NULL},
        {"orders/0", 8, NULL},
        {"a.b/.c/c.", 9, NULL},
        {"stra\xc3\x9f"
         "e",
         7, NULL},
        {"\xf0\x9f\xaa\xb5", 4, NULL},
        {"", 0, "log name is empty"},
        {"/a", 2, "a part is empty"},
        {"a/", 2, "a part is empty"},
        {"a//b", 4, "a part is empty"},
        {".", 1, "a part is '.'"},
        {"a/../b", 6, "holds '..'"},
        {"a..b", 4, "holds '..'"},
        {"a/@/b", 5, "'@' is not allowed"},
        {"a\\b", 3, "'\\' is not allowed"},
        {"a\0b", 3, "byte 2 is NUL"},
        {"a\nb", 3, "byte 2 is a control character (0x0a)"},
        {"a\x7f", 2, "control character"},
        {"a\xc2\x85", 3, "control character (0x85)"},
        {"a\xff", 2, "byte 2 is not UTF-8"},
        {"\xc0\x80", 2, "not UTF-8"},
        {"\xed\xa0\x80", 3, "not UTF-8"},
        {"\xe2\x82", 2, "not UTF-8"},
        {"\xf4\x90\x80\x80", 4, "not UTF-8"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct varve_error err = {0};
        int rc = index_log_name_check(cases[i].name, cases[i].size, &err);
        assert_int_equal(rc, cases[i].message == NULL ? 0 : VARVE_E_INVALID);
        if (cases[i].message != NULL && strstr(err.msg, cases[i].message) == NULL)
            fail_msg("'%s' does not say '%s'", err.msg, cases[i].message);
    }
}

static void a_log_name_has_a_longest_size(void **state)
{
    char name[INDEX_LOG_NAME_MAX + 1];
    struct varve_error err;

    (void)state;
    memset(name, 'x', sizeof(name));
    assert_int_equal(index_log_name_check(name, INDEX_LOG_NAME_MAX, NULL), 0);
    assert_int_equal(index_log_name_check(name, INDEX_LOG_NAME_MAX + 1, &err), VARVE_E_TOO_LARGE);
    assert_string_equal(err.msg, "log name of 250 bytes is too long: at most 249");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_survives_its_encoding),
        cmocka_unit_test(the_chain_hash_is_that_of_its_parts),
        cmocka_unit_test(keys_are_built_and_taken_apart),
        cmocka_unit_test(what_is_no_key_is_refused),
        cmocka_unit_test(log_names_are_checked),
        cmocka_unit_test(a_log_name_has_a_longest_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
