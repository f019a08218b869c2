/* The block cache: hits, eviction, scans, damage, restarts, threads. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cold/cache.h"
#include "tests/support/data.h"
#include "tests/support/env.h"
#include "tests/support/file.h"

#define SLOT 1024
#define SLOTS 400
#define ENTRY 48
#define TABLE 4096

static struct cold_cache *open_cache(struct support_env *e, uint64_t bytes)
{
    struct cold_cache *c;
    struct varve_error err;

    if (cold_cache_open(&e->env, support_tmpdir_path(e->dir, "cache"), "blocks", bytes, SLOT, &c,
                        &err) < 0)
        fail_msg("%s", err.msg);
    return c;
}

static const char *file_of(struct support_env *e)
{
    return support_tmpdir_path(e->dir, "cache/blocks-0");
}

static struct cold_cache_key key_of(uint32_t n)
{
    struct cold_cache_key key = {.index = n % 7};

    memcpy(key.id.bytes, &n, sizeof(n));
    key.id.bytes[15] = 1;
    return key;
}

static void fill(uint32_t n, uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(n * 31 + i * 7 + (i >> 8));
}

static void put(struct cold_cache *c, uint32_t n, size_t size)
{
    struct cold_cache_key key = key_of(n);
    uint8_t *data = malloc(size + 1);

    fill(n, data, size);
    cold_cache_put(c, &key, data, size);
    free(data);
}

/* True: a hit, with exactly the right bytes. */
static bool hit(struct cold_cache *c, uint32_t n, size_t size)
{
    struct cold_cache_key key = key_of(n);
    uint8_t *buf = malloc(size + 1), *want = malloc(size + 1);
    size_t got = 12345;
    struct varve_error err;
    int rc = cold_cache_get(c, &key, buf, size, &got, &err);

    if (rc == 0) {
        fill(n, want, size);
        assert_int_equal(got, size);
        assert_memory_equal(buf, want, size);
    } else {
        assert_int_equal(rc, VARVE_E_NOT_FOUND);
        assert_int_equal(got, 12345);
    }
    free(buf);
    free(want);
    return rc == 0;
}

static void a_value_of_any_size_comes_back(void **state)
{
    static const size_t sizes[] = {0, 1, SLOT - 1, SLOT, SLOT + 1, 5 * SLOT, 100 * SLOT};
    struct support_env *e = *state;
    struct cold_cache *c = open_cache(e, SLOTS * SLOT);
    struct cold_cache_stats stats;

    for (uint32_t i = 0; i < 7; i++) {
        struct cold_cache_key key = key_of(i);

        assert_false(hit(c, i, sizes[i]));
        assert_false(cold_cache_has(c, &key));
        put(c, i, sizes[i]);
        assert_true(cold_cache_has(c, &key));
    }
    for (uint32_t i = 0; i < 7; i++)
        assert_true(hit(c, i, sizes[i]));
    put(c, 7, 100 * SLOT + 1); /* above a quarter */
    assert_false(hit(c, 7, 100 * SLOT + 1));
    cold_cache_stats(c, &stats);
    assert_int_equal(stats.puts, 7);
    assert_int_equal(stats.hits, 7);
    assert_int_equal(stats.misses, 8);
    assert_int_equal(stats.bytes_total, SLOTS * SLOT);
    assert_int_equal(stats.bytes_used, (1 + 1 + 1 + 1 + 2 + 5 + 100) * SLOT);
    cold_cache_close(c);
}

static void a_small_buffer_is_told_the_size(void **state)
{
    struct support_env *e = *state;
    struct cold_cache *c = open_cache(e, SLOTS * SLOT);
    struct cold_cache_key key = key_of(1);
    uint8_t buf[10];
    size_t size = 0;
    struct varve_error err;

    put(c, 1, 3000);
    assert_int_equal(cold_cache_get(c, &key, buf, sizeof(buf), &size, &err), VARVE_E_TOO_LARGE);
    assert_int_equal(size, 3000);
    cold_cache_close(c);
}

static void a_dropped_or_replaced_value_does_not_return(void **state)
{
    struct support_env *e = *state;
    struct cold_cache *c = open_cache(e, SLOTS * SLOT);
    struct cold_cache_key key = key_of(1), other = key_of(2);
    uint8_t buf[4];
    size_t size;
    struct varve_error err;

    put(c, 1, 5000);
    cold_cache_drop(c, &key);
    cold_cache_drop(c, &key);
    assert_false(hit(c, 1, 5000));
    cold_cache_put(c, &other, "old", 3);
    cold_cache_put(c, &other, "new!", 4);
    for (int i = 0; i < 2; i++) {
        assert_false(hit(c, 1, 5000));
        assert_int_equal(cold_cache_get(c, &other, buf, 4, &size, &err), 0);
        assert_memory_equal(buf, "new!", 4);
        cold_cache_close(c);
        c = open_cache(e, SLOTS * SLOT);
    }
    cold_cache_close(c);
}

static void what_is_over_is_evicted(void **state)
{
    struct support_env *e = *state;
    struct cold_cache *c = open_cache(e, SLOTS * SLOT);
    struct cold_cache_stats stats;
    uint32_t kept = 0;

    for (uint32_t i = 0; i < 3000; i++)
        put(c, i, i % 5000);
    for (uint32_t i = 0; i < 3000; i++)
        kept += hit(c, i, i % 5000);
    cold_cache_stats(c, &stats);
    assert_int_equal(kept + stats.evictions, stats.puts);
    assert_true(stats.bytes_used <= stats.bytes_total);
    assert_true(kept > 100);
    assert_int_equal(stats.damaged, 0);
    cold_cache_close(c);
}

/* I12: a scan of ten times the cache leaves what is used again. */
static void a_scan_does_not_wash_out_the_working_set(void **state)
{
    struct support_env *e = *state;
    struct cold_cache *c = open_cache(e, SLOTS * SLOT);
    uint32_t set = SLOTS * 6 / 10, left = 0;

    for (uint32_t i = 0; i < set; i++)
        put(c, i, SLOT);
    for (uint32_t i = 0; i < set; i++)
        assert_true(hit(c, i, SLOT));
    for (uint32_t i = 0; i < 10 * SLOTS; i++)
        put(c, 100000 + i, SLOT);
    for (uint32_t i = 0; i < set; i++)
        left += hit(c, i, SLOT);
    print_message("kept %u of %u\n", left, set);
    assert_true(left * 10 >= set * 9);
    /* A new working set takes over: nothing stays for ever. */
    for (int round = 0; round < 8; round++)
        for (uint32_t i = 0; i < set; i++)
            if (!hit(c, 500000 + i, SLOT))
                put(c, 500000 + i, SLOT);
    left = 0;
    for (uint32_t i = 0; i < set; i++)
        left += hit(c, 500000 + i, SLOT);
    assert_true(left * 10 >= set * 9);
    cold_cache_close(c);
}

static void the_content_survives_a_restart(void **state)
{
    struct support_env *e = *state;
    struct cold_cache *c = open_cache(e, SLOTS * SLOT);
    struct cold_cache_stats stats;
    bool had[2000];
    uint32_t kept = 0;

    for (uint32_t i = 0; i < 2000; i++)
        put(c, i, i % 3000);
    for (uint32_t i = 0; i < 2000; i++)
        kept += had[i] = hit(c, i, i % 3000);
    cold_cache_close(c);
    support_io_reset(e->io);
    c = open_cache(e, SLOTS * SLOT);
    assert_true(support_io_count(e->io, SUPPORT_IO_PREAD) <= 3); /* the table, no values */
    for (uint32_t i = 0; i < 2000; i++)
        if (had[i])
            assert_true(hit(c, i, i % 3000));
    cold_cache_stats(c, &stats);
    assert_int_equal(stats.damaged, 0);
    assert_true(kept > 50);
    cold_cache_close(c);
    c = open_cache(e, (SLOTS + 1) * SLOT); /* another size: emptied */
    assert_false(hit(c, 1999, 1999));
    assert_int_equal(support_logger_count(e->logger, BASE_LOG_WARNING, "emptied"), 1);
    cold_cache_close(c);
}

static void a_flipped_bit_in_a_value_is_a_miss_and_is_forgotten(void **state)
{
    struct support_env *e = *state;
    struct cold_cache *c = open_cache(e, SLOTS * SLOT);
    struct cold_cache_stats stats;
    int64_t data = (TABLE + SLOTS * ENTRY + 4095) / 4096 * 4096;

    for (uint32_t i = 0; i < 20; i++)
        put(c, i, 3000); /* three slots each, in order */
    for (uint32_t i = 0; i < 20; i++)
        support_file_flip(file_of(e), data + (int64_t)i * 3 * SLOT + (i * 149) % 3000,
                          (uint8_t)(1u << (i % 8)));
    for (uint32_t i = 0; i < 20; i++) {
        struct cold_cache_key key = key_of(i);

        assert_false(hit(c, i, 3000));
        assert_false(cold_cache_has(c, &key));
    }
    cold_cache_stats(c, &stats);
    assert_int_equal(stats.damaged, 20);
    put(c, 3, 3000);
    assert_true(hit(c, 3, 3000));
    cold_cache_close(c);
}

static void no_flipped_byte_of_header_or_table_makes_a_wrong_hit(void **state)
{
    struct support_env *e = *state;
    struct cold_cache *c = open_cache(e, SLOTS * SLOT);

    for (uint32_t i = 0; i < 4; i++)
        put(c, i, 2000);
    cold_cache_close(c);
    for (int64_t pos = TABLE; pos < TABLE + 8 * ENTRY; pos++) {
        uint32_t hits = 0;

        support_file_flip(file_of(e), pos, 0x10);
        c = open_cache(e, SLOTS * SLOT);
        for (uint32_t i = 0; i < 4; i++)
            hits += hit(c, i, 2000);
        assert_int_equal(hits, 3);
        assert_int_equal(support_logger_count(e->logger, BASE_LOG_WARNING, "1 damaged entries"), 1);
        support_logger_clear(e->logger);
        cold_cache_close(c);
        support_file_flip(file_of(e), pos, 0x10);
    }
    for (int64_t pos = 0; pos < 64; pos++) {
        void *whole;
        size_t size;

        whole = support_file_read(file_of(e), &size);
        support_file_flip(file_of(e), pos, 1);
        c = open_cache(e, SLOTS * SLOT);
        for (uint32_t i = 0; i < 4; i++)
            assert_false(hit(c, i, 2000));
        cold_cache_close(c);
        support_file_write(file_of(e), whole, size);
        free(whole);
    }
}

struct reports {
    unsigned count;
    uint64_t slots[64];
};

static void report(void *arg, const char *file, uint64_t slot)
{
    struct reports *r = arg;

    assert_non_null(strstr(file, "blocks-0"));
    r->slots[r->count++ % 64] = slot;
}

static void a_check_names_damage_and_repairs_it(void **state)
{
    struct support_env *e = *state;
    struct cold_cache *c = open_cache(e, SLOTS * SLOT);
    struct reports r = {0};
    struct varve_error err;
    int64_t data = (TABLE + SLOTS * ENTRY + 4095) / 4096 * 4096;

    for (uint32_t i = 0; i < 10; i++)
        put(c, i, 2000); /* slots 2i and 2i+1 */
    assert_int_equal(cold_cache_check(c, false, report, &r, &err), 0);
    assert_int_equal(r.count, 0);
    support_file_flip(file_of(e), data + 6 * SLOT + 1500, 1); /* the value in slot 6 */
    support_file_flip(file_of(e), TABLE + 9 * ENTRY + 3, 1);  /* an entry of the one in slot 8 */
    support_file_flip(file_of(e), TABLE + 300 * ENTRY, 1);    /* a free slot's entry */
    assert_int_equal(cold_cache_check(c, false, report, &r, &err), 0);
    assert_int_equal(r.count, 3);
    assert_int_equal(r.slots[0], 6);
    assert_int_equal(r.slots[1], 8);
    assert_int_equal(r.slots[2], 300);
    r.count = 0;
    assert_int_equal(cold_cache_check(c, true, report, &r, &err), 0);
    assert_int_equal(r.count, 3);
    r.count = 0;
    assert_int_equal(cold_cache_check(c, false, report, &r, &err), 0);
    assert_int_equal(r.count, 0);
    assert_false(hit(c, 3, 2000));
    assert_false(hit(c, 4, 2000));
    assert_true(hit(c, 5, 2000));
    cold_cache_close(c);
}

static void each_process_has_a_file_of_its_own(void **state)
{
    struct support_env *e = *state;
    struct cold_cache *a = open_cache(e, SLOTS * SLOT), *b;
    int status;
    pid_t pid;

    put(a, 1, 100);
    pid = fork();
    if (pid == 0) {
        b = open_cache(e, SLOTS * SLOT);
        put(b, 2, 100);
        _exit(hit(b, 2, 100) && !hit(b, 1, 100) ? 0 : 1);
    }
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    assert_true(support_file_exists(support_tmpdir_path(e->dir, "cache/blocks-1")));
    b = open_cache(e, SLOTS * SLOT);
    assert_true(hit(b, 2, 100));
    assert_true(hit(a, 1, 100));
    assert_false(hit(a, 2, 100));
    cold_cache_close(a);
    cold_cache_close(b);
}

static void a_cache_that_cannot_be_made_is_empty_and_no_error(void **state)
{
    static const struct support_io_fault faults[] = {
        {.call = SUPPORT_IO_FALLOCATE, .nth = 1, .sys_errno = ENOSPC},
        {.call = SUPPORT_IO_OPEN, .path = "blocks", .nth = 1, .sys_errno = EACCES},
        {.call = SUPPORT_IO_PWRITEV, .nth = 1, .sys_errno = EIO},
        {.call = SUPPORT_IO_FSTAT, .nth = 1, .sys_errno = EIO},
        {.call = SUPPORT_IO_FLOCK, .nth = 1, .sys_errno = ENOLCK},
    };
    struct support_env *e = *state;
    struct cold_cache_key key = key_of(1);
    struct cold_cache_stats stats;
    struct reports r = {0};
    struct cold_cache *c;

    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        support_io_fail(e->io, &faults[i]);
        c = open_cache(e, SLOTS * SLOT);
        support_io_fail(e->io, NULL);
        put(c, 1, 100);
        assert_false(hit(c, 1, 100));
        assert_false(cold_cache_has(c, &key));
        cold_cache_drop(c, &key);
        assert_int_equal(cold_cache_check(c, true, report, &r, NULL), 0);
        cold_cache_stats(c, &stats);
        assert_int_equal(stats.bytes_total, 0);
        cold_cache_close(c);
    }
    c = open_cache(e, 0);
    put(c, 1, 100);
    assert_false(hit(c, 1, 100));
    cold_cache_close(c);
}

static void a_disk_that_fails_costs_hits_only(void **state)
{
    struct support_env *e = *state;
    struct cold_cache *c = open_cache(e, SLOTS * SLOT);
    struct support_io_fault fault = {.call = SUPPORT_IO_PWRITEV, .nth = 1, .sys_errno = ENOSPC};

    support_io_fail(e->io, &fault);
    put(c, 1, 3000);
    assert_false(hit(c, 1, 3000));
    fault.nth = 2; /* the entry, after the bytes */
    support_io_fail(e->io, &fault);
    put(c, 1, 3000);
    assert_false(hit(c, 1, 3000));
    support_io_fail(e->io, NULL);
    put(c, 1, 3000);
    fault = (struct support_io_fault){.call = SUPPORT_IO_PREAD, .nth = 1, .sys_errno = EIO};
    support_io_fail(e->io, &fault);
    assert_false(hit(c, 1, 3000));
    support_io_fail(e->io, NULL);
    put(c, 1, 3000);
    assert_true(hit(c, 1, 3000));
    cold_cache_close(c);
}

struct user {
    struct cold_cache *cache;
    uint32_t seed;
    uint32_t hits;
};

static void *use(void *arg)
{
    struct user *u = arg;
    uint32_t x = u->seed;

    for (int i = 0; i < 3000; i++) {
        uint32_t n;

        x = x * 1664525 + 1013904223;
        n = (x >> 16) % 300;
        if (hit(u->cache, n, n * 37 % 9000))
            u->hits++;
        else
            put(u->cache, n, n * 37 % 9000);
        if (i % 100 == 99) {
            struct cold_cache_key key = key_of(n);

            cold_cache_drop(u->cache, &key);
        }
    }
    return NULL;
}

static void threads_get_right_bytes_or_none(void **state)
{
    struct support_env *e = *state;
    struct cold_cache *c = open_cache(e, SLOTS * SLOT);
    struct user users[6];
    pthread_t threads[6];
    struct cold_cache_stats stats;
    uint32_t hits = 0;

    support_io_set_tracing(e->io, false);
    for (uint32_t i = 0; i < 6; i++) {
        users[i] = (struct user){c, i + 1, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, use, &users[i]), 0);
    }
    for (uint32_t i = 0; i < 6; i++) {
        pthread_join(threads[i], NULL);
        hits += users[i].hits;
    }
    cold_cache_stats(c, &stats);
    assert_int_equal(stats.hits, hits);
    assert_int_equal(stats.damaged, 0);
    assert_true(hits > 1000);
    cold_cache_close(c);
}

static void the_format_is_the_golden_one(void **state)
{
    struct support_env *e = *state;
    struct cold_cache *c = open_cache(e, 8 * SLOT);
    uint8_t *data;
    size_t size;

    put(c, 1, 1500);
    put(c, 2, 10);
    cold_cache_close(c);
    data = support_file_read(file_of(e), &size);
    assert_int_equal(size, 2 * 4096 + 8 * SLOT);
    assert_true(support_data_equal("cold/cache-header-v1.bin", data, 64));
    assert_true(support_data_equal("cold/cache-table-v1.bin", data + TABLE, 8 * ENTRY));
    free(data);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, support_env_setup, support_env_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_value_of_any_size_comes_back),
        CASE(a_small_buffer_is_told_the_size),
        CASE(a_dropped_or_replaced_value_does_not_return),
        CASE(what_is_over_is_evicted),
        CASE(a_scan_does_not_wash_out_the_working_set),
        CASE(the_content_survives_a_restart),
        CASE(a_flipped_bit_in_a_value_is_a_miss_and_is_forgotten),
        CASE(no_flipped_byte_of_header_or_table_makes_a_wrong_hit),
        CASE(a_check_names_damage_and_repairs_it),
        CASE(each_process_has_a_file_of_its_own),
        CASE(a_cache_that_cannot_be_made_is_empty_and_no_error),
        CASE(a_disk_that_fails_costs_hits_only),
        CASE(threads_get_right_bytes_or_none),
        CASE(the_format_is_the_golden_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
