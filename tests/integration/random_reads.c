/*
 * random_reads STORE LOG OTHER_STORE OTHER_LOG COUNT: reads COUNT random records by offset and
 * finds COUNT random times in both logs, which must hold the same records in different tiers, and
 * compares.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <varve/varve.h>

struct side {
    struct varve_store *store;
    struct varve_log *log;
    struct varve_reader *reader;
};

static void die(const char *what, const struct varve_error *err)
{
    fprintf(stderr, "random_reads: %s: %s\n", what, err->msg);
    exit(1);
}

static void side_open(struct side *s, const char *store, const char *log)
{
    struct varve_store_options o = {.size = sizeof(o), .read_only = true};
    struct varve_reader_options from = {.size = sizeof(from)};
    struct varve_error err;

    if (varve_store_open(store, &o, &s->store, &err) < 0 ||
        varve_log_open(s->store, log, NULL, &s->log, &err) < 0 ||
        varve_reader_open(s->log, &from, &s->reader, &err) < 0)
        die(store, &err);
}

static void side_close(struct side *s)
{
    varve_reader_close(s->reader);
    varve_log_close(s->log);
    varve_store_close(s->store);
}

static void record_at(struct side *s, int64_t offset, struct varve_record *ret)
{
    struct varve_error err;

    if (varve_reader_seek(s->reader, offset, &err) < 0 ||
        varve_reader_next(s->reader, 0, ret, &err) < 0)
        die("read", &err);
}

static bool same(const struct varve_record *a, const struct varve_record *b)
{
    return a->offset == b->offset && a->timestamp == b->timestamp &&
           a->value_size == b->value_size && memcmp(a->value, b->value, a->value_size) == 0;
}

static uint64_t state = 88172645463325252u;
static uint64_t next_random(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

static void compare_offset(struct side *a, struct side *b, int64_t offset)
{
    struct varve_record x, y;

    record_at(a, offset, &x);
    record_at(b, offset, &y);
    if (!same(&x, &y) || x.offset != offset) {
        fprintf(stderr, "random_reads: offset %" PRId64 ": %" PRId64 " and %" PRId64 " differ\n",
                offset, x.offset, y.offset);
        exit(1);
    }
}

static void compare_time(struct side *a, struct side *b, int64_t time)
{
    int64_t found_a = -1, found_b = -1, time_a = -1, time_b = -1;
    struct varve_error err;
    int rc_a = varve_log_find_time(a->log, time, &found_a, &time_a, &err);
    int rc_b = varve_log_find_time(b->log, time, &found_b, &time_b, &err);

    if (rc_a != rc_b || found_a != found_b || time_a != time_b ||
        (rc_a < 0 && rc_a != VARVE_E_NOT_FOUND)) {
        fprintf(stderr,
                "random_reads: time %" PRId64 ": %d %" PRId64 " %" PRId64 " and %d %" PRId64
                " %" PRId64 "\n",
                time, rc_a, found_a, time_a, rc_b, found_b, time_b);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    struct varve_log_info info = {.size = sizeof(info)};
    struct varve_record first, last;
    struct varve_error err;
    struct side a, b;
    int64_t low, span;
    int count, rc;

    if (argc != 6)
        return 2;
    count = atoi(argv[5]);
    side_open(&a, argv[1], argv[2]);
    side_open(&b, argv[3], argv[4]);
    if (varve_log_info(a.log, &info, &err) < 0)
        die("info", &err);
    record_at(&a, info.start_offset, &first);
    low = first.timestamp - 100000;
    record_at(&a, info.end_offset - 1, &last);
    span = last.timestamp + 100000 - low;
    for (int i = 0; i < count; i++) {
        uint64_t records = (uint64_t)(info.end_offset - info.start_offset);

        compare_offset(&a, &b, info.start_offset + (int64_t)(next_random() % records));
        compare_time(&a, &b, low + (int64_t)(next_random() % (uint64_t)span));
    }
    /* Far ahead, where only single outliers are. */
    for (int i = 0; i < count / 10; i++)
        compare_time(&a, &b, low + span + (int64_t)(next_random() % (uint64_t)(20 * span)));
    /* What was read of a batch already may still come; then it ends instead of waiting. */
    varve_reader_interrupt(a.reader);
    while ((rc = varve_reader_next(a.reader, -1, &first, &err)) == 0)
        ;
    if (rc != VARVE_E_CANCELLED)
        die("an interrupted reader", &err);
    side_close(&b);
    side_close(&a);
    printf("%d records by offset and %d by time are the same\n", count, count + count / 10);
    return 0;
}
