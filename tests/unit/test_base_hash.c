#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/random.h"
#include "tests/support/random.h"

static void crc32c_is_castagnolis(void **state)
{
    uint8_t b[32];

    (void)state;
    assert_true(base_crc32c(0, "123456789", 9) == 0xe3069283);
    assert_true(base_crc32c(0, "", 0) == 0);
    assert_true(base_crc32c(0, NULL, 0) == 0);
    /* RFC 3720, B.4 */
    memset(b, 0, sizeof(b));
    assert_true(base_crc32c(0, b, sizeof(b)) == 0x8a9136aa);
    memset(b, 0xff, sizeof(b));
    assert_true(base_crc32c(0, b, sizeof(b)) == 0x62a8ab43);
    for (size_t i = 0; i < sizeof(b); i++)
        b[i] = (uint8_t)i;
    assert_true(base_crc32c(0, b, sizeof(b)) == 0x46dd794e);
}

static uint32_t crc32c_by_bits(const uint8_t *data, size_t size)
{
    uint32_t crc = UINT32_MAX;

    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ UINT32_C(0x82f63b78) : crc >> 1;
    }
    return ~crc;
}

/* The bytes end at a page that nobody may read, so that a fast loop that looks ahead dies here. */
static void crc32c_of_every_size_and_alignment_stays_within_the_bytes(void **state)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct support_random random;
    uint8_t *b;

    (void)state;
    b = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(b != MAP_FAILED);
    assert_int_equal(mprotect(b + page, page, PROT_NONE), 0);
    support_random_init(&random, 1);
    random.seam.fill(&random, b, page);
    for (size_t size = 0; size <= 600; size++) {
        uint32_t crc = crc32c_by_bits(b + page - size, size);

        assert_true(base_crc32c(0, b + page - size, size) == crc);
        assert_true(base_crc32c(base_crc32c(0, b + page - size, size / 3),
                                b + page - size + size / 3, size - size / 3) == crc);
    }
    munmap(b, 2 * page);
}

static void crc32c_of_two_parts_combines(void **state)
{
    static const size_t sizes[] = {0, 1, 2, 3, 7, 8, 9, 255, 256, 65535, 65536, 1000003};
    size_t size_max = sizes[sizeof(sizes) / sizeof(sizes[0]) - 1];
    uint8_t *b = malloc(100 + size_max);
    struct support_random random;

    (void)state;
    assert_non_null(b);
    support_random_init(&random, 2);
    random.seam.fill(&random, b, 100 + size_max);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint32_t crc_a = base_crc32c(0, b, 100);
        uint32_t crc_b = base_crc32c(0, b + 100, sizes[i]);

        assert_true(base_crc32c_combine(crc_a, crc_b, sizes[i]) ==
                    base_crc32c(0, b, 100 + sizes[i]));
    }
    free(b);
}

/* No memory holds so much, but combining twice is combining once. */
static void crc32c_combines_over_sizes_beyond_memory(void **state)
{
    uint32_t a = 0x12345678;

    (void)state;
    for (unsigned k = 0; k < 63; k++) {
        uint64_t size = UINT64_C(1) << k;
        uint32_t twice = base_crc32c_combine(base_crc32c_combine(a, 0, size), 0, size);

        assert_true(base_crc32c_combine(a, 0, 2 * size) == twice);
    }
}

static void assert_sha256(struct base_sha256 *h, const char *hex)
{
    uint8_t hash[BASE_SHA256_SIZE];
    char text[2 * BASE_SHA256_SIZE + 1];

    base_sha256_final(h, hash);
    for (size_t i = 0; i < sizeof(hash); i++)
        snprintf(text + 2 * i, 3, "%02x", hash[i]);
    assert_string_equal(text, hex);
}

static void sha256_is_the_standards_and_can_be_used_again(void **state)
{
    struct base_sha256 *h = base_sha256_new();

    (void)state;
    assert_non_null(h);
    base_sha256_update(h, "abc", 3);
    assert_sha256(h, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    base_sha256_reset(h);
    base_sha256_update(h, NULL, 0);
    assert_sha256(h, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    base_sha256_reset(h);
    base_sha256_update(h, "abcdbcdecdefdefgefgh", 20);
    base_sha256_update(h, "fghighijhijkijkljklmklmnlmnomnopnopq", 36);
    assert_sha256(h, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    /* A reset in the middle forgets what was there. */
    base_sha256_reset(h);
    base_sha256_update(h, "x", 1);
    base_sha256_reset(h);
    base_sha256_update(h, "abc", 3);
    assert_sha256(h, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_null(base_sha256_free(h));
    assert_null(base_sha256_free(NULL));
}

static void ids_are_random_and_read_back(void **state)
{
    static const struct base_id zero;
    struct base_id a = base_id_new(&base_random_system);
    struct base_id b = base_id_new(&base_random_system);
    struct base_id back;
    char text[BASE_ID_TEXT_SIZE];

    (void)state;
    assert_false(base_id_equal(&a, &b));
    assert_false(base_id_is_zero(&a));
    assert_true(base_id_is_zero(&zero));
    assert_true(base_random_u64(&base_random_system) != base_random_u64(&base_random_system));
    base_id_format(&a, text);
    assert_int_equal(strlen(text), 32);
    assert_true(base_id_parse(text, 32, &back));
    assert_true(base_id_equal(&a, &back));
}

static void what_is_no_id_is_refused_and_leaves_the_result_alone(void **state)
{
    static const char *const bad[] = {"", "0", "000102030405060708090a0b0c0d0e0g",
                                      "000102030405060708090a0b0c0d0e0",
                                      "000102030405060708090a0b0c0d0e0f0"};
    struct base_id id = {{7}};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(base_id_parse(bad[i], strlen(bad[i]), &id));
    assert_int_equal(id.bytes[0], 7);
    assert_true(base_id_parse("000102030405060708090A0b0c0d0e0f trailing", 32, &id));
    assert_int_equal(id.bytes[10], 10);
    assert_int_equal(id.bytes[15], 15);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc32c_is_castagnolis),
        cmocka_unit_test(crc32c_of_every_size_and_alignment_stays_within_the_bytes),
        cmocka_unit_test(crc32c_of_two_parts_combines),
        cmocka_unit_test(crc32c_combines_over_sizes_beyond_memory),
        cmocka_unit_test(sha256_is_the_standards_and_can_be_used_again),
        cmocka_unit_test(ids_are_random_and_read_back),
        cmocka_unit_test(what_is_no_id_is_refused_and_leaves_the_result_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
