/* Every allocation of building, wrapping, validating and iterating fails once. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#include "record/batch.h"
#include "record/builder.h"
#include "record/iterator.h"
#include "tests/support/alloc.h"

#define RECORD_COUNT 100
#define SIZE_BOUND 65536

static const struct varve_header one_header = {.name = "h", .name_size = 1};

static struct varve_record numbered_record(int i, char text[32])
{
    snprintf(text, 32, "record number %d", i);
    return (struct varve_record){.timestamp = i,
                                 .value = text,
                                 .value_size = strlen(text),
                                 .headers = &one_header,
                                 .header_count = 1};
}

/* Adds what is missing of RECORD_COUNT records: after a failure it goes on where it stopped. */
static int fill(struct varve_batch *batch, struct varve_error *err)
{
    char text[32];

    while (varve_batch_count(batch) < RECORD_COUNT) {
        struct varve_record r = numbered_record((int)varve_batch_count(batch), text);
        int rc = varve_batch_add(batch, &r, err);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

static int build(struct varve_batch **batch, enum varve_codec codec, const void **ret_data,
                 size_t *ret_size, struct varve_error *err)
{
    int rc = 0;

    if (*batch == NULL) {
        rc = varve_batch_new(codec, 0, SIZE_BOUND, batch, err);
    }
    if (rc == 0) {
        rc = fill(*batch, err);
    }
    return rc < 0 ? rc : record_builder_encode(*batch, ret_data, ret_size, err);
}

static void building_goes_on_after_an_allocation_failed(void **state)
{
    (void)state;
    for (int c = VARVE_CODEC_NONE; c <= VARVE_CODEC_ZSTD; c++) {
        bool hit = true;
        for (uint64_t nth = 1; hit; nth++) {
            struct varve_batch *batch = NULL;
            struct varve_error err = {0};
            struct record_batch header;
            const void *data = NULL;
            size_t size = 0;

            support_alloc_fail(nth, false);
            int rc = build(&batch, (enum varve_codec)c, &data, &size, &err);
            hit = support_alloc_stop() >= nth;
            if (hit) {
                assert_int_equal(rc, VARVE_E_NO_MEMORY);
                assert_non_null(strstr(err.msg, "memory"));
                assert_null(data);
                /* R1: what was added before is there, and the rest can follow. */
                rc = build(&batch, (enum varve_codec)c, &data, &size, &err);
            }
            assert_int_equal(rc, 0);
            assert_int_equal(record_batch_validate(data, size, SIZE_BOUND, &header, NULL), 0);
            assert_int_equal(header.record_count, RECORD_COUNT);
            varve_batch_free(batch);
        }
    }
}

/* Wraps, validates and iterates. */
static int read_back(const void *data, size_t size, int *ret_count, struct varve_error *err)
{
    struct varve_batch *wrapper = NULL;
    struct record_iterator *it = NULL;
    struct record_batch header;
    struct varve_record record;
    int rc, count = 0;

    if ((rc = record_batch_validate(data, size, SIZE_BOUND, &header, err)) < 0 ||
        (rc = varve_batch_new(VARVE_CODEC_NONE, 0, SIZE_BOUND, &wrapper, err)) < 0 ||
        (rc = record_builder_wrap(wrapper, data, size, err)) < 0 ||
        (rc = record_iterator_new(&it, err)) < 0 ||
        (rc = record_iterator_start(it, data, &header, SIZE_BOUND, err)) < 0) {
        goto end;
    }
    while ((rc = record_iterator_next(it, &record, err)) == 0) {
        count++;
    }
    if (rc == VARVE_E_END) {
        rc = 0;
        *ret_count = count;
    }
end:
    record_iterator_free(it);
    varve_batch_free(wrapper);
    return rc;
}

static void reading_reports_each_allocation_that_fails(void **state)
{
    (void)state;
    for (int c = VARVE_CODEC_NONE; c <= VARVE_CODEC_ZSTD; c++) {
        struct varve_batch *batch = NULL;
        const void *data;
        size_t size;
        bool hit = true;

        assert_int_equal(build(&batch, (enum varve_codec)c, &data, &size, NULL), 0);
        for (uint64_t nth = 1; hit; nth++) {
            struct varve_error err = {0};
            int count = -1;

            support_alloc_fail(nth, false);
            int rc = read_back(data, size, &count, &err);
            hit = support_alloc_stop() >= nth;
            assert_int_equal(rc, hit ? VARVE_E_NO_MEMORY : 0);
            assert_int_equal(count, hit ? -1 : RECORD_COUNT);
        }
        varve_batch_free(batch);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(building_goes_on_after_an_allocation_failed),
        cmocka_unit_test(reading_reports_each_allocation_that_fails),
    };
    return cmocka_run_group_tests_name("record memory", tests, NULL, NULL);
}
