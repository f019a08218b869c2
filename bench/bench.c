/* The figures of this machine: the rounds of each. */
#include "bench/bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"

#define RSS_BOUND_MIB 96.0
#define READ_ROUNDS_MIN 21 /* of a read; one more warms it up */

/* Times a program over the same bytes; what is not on this machine is left out. */
static void run_program(struct bench *b, struct bench_line *l, const char *name,
                        const char *const *argv, double bytes)
{
    struct bench_time time = {0};

    if (!b->programs || bench_limit_program(argv, &time, NULL) < 0 || time.wall <= 0)
        return;
    l->program_name = name;
    l->program_rate = bytes / time.wall;
}

/* ---- append ---- */

static int append_os_round(struct bench *b, const struct bench_data *d, struct bench_line *l,
                           bool last, struct varve_error *err)
{
    struct bench_engine e = {0};
    char dir[400], copy[450];
    struct bench_time engine = {0}, limit = {0};
    struct bench_files files = {0};
    int r = bench_scratch_make(b->dir, "append", dir, sizeof(dir), err);

    if (r < 0)
        return r;
    snprintf(copy, sizeof(copy), "%s/store", dir);
    r = bench_engine_open(&(struct bench_engine_options){.dir = copy, .threads = b->threads}, &e,
                          err);
    if (r == 0)
        r = bench_engine_append(&e, d, (uint64_t)b->bytes, &engine, err);
    if (r == 0)
        r = bench_limit_write(dir, d, (uint64_t)b->bytes, &limit, err);
    if (r == 0) {
        bench_line_add(l, (double)b->bytes, &engine, &limit);
        if (last && bench_files_find(copy, ".log", &files, NULL) == 0 && files.count) {
            struct stat st;
            char to[450];
            snprintf(to, sizeof(to), "%s/copy", dir);
            if (base_io_posix.stat(NULL, files.paths[0], &st) == 0)
                run_program(b, l, "cp of one segment",
                            (const char *const[]){"cp", files.paths[0], to, NULL},
                            (double)st.st_size);
        }
        bench_files_free(&files);
    }
    bench_engine_close(&e);
    bench_scratch_remove(dir);
    return r;
}

static int append_fsync_round(struct bench *b, const struct bench_data *d, struct bench_line *l,
                              struct varve_error *err)
{
    struct bench_engine e = {0};
    char dir[400], store[450];
    struct bench_time engine = {0}, limit = {0};
    uint64_t commit = 0;
    int r = bench_scratch_make(b->dir, "fsync", dir, sizeof(dir), err);

    if (r < 0)
        return r;
    snprintf(store, sizeof(store), "%s/store", dir);
    r = bench_engine_open(&(struct bench_engine_options){.dir = store,
                                                         .durability = VARVE_DURABILITY_FSYNC,
                                                         .threads = b->threads},
                          &e, err);
    if (r == 0)
        r = bench_engine_append_threads(&e, d, (uint64_t)b->bytes, BENCH_FSYNC_THREADS, &engine,
                                        &commit, err);
    if (r == 0)
        r = bench_limit_write_sync(dir, d, (uint64_t)b->bytes, commit, &limit, err);
    if (r == 0)
        bench_line_add(l, (double)b->bytes, &engine, &limit);
    bench_engine_close(&e);
    bench_scratch_remove(dir);
    return r;
}

/* ---- hot read, tier, cold read: one store serves all rounds of the reads ---- */

static int read_rounds(struct bench *b, struct bench_engine *e, const char *dir, bool cold,
                       struct bench_line *l, struct varve_error *err)
{
    /* Reads take little time, and so more of them tell more. */
    unsigned rounds = b->rounds > READ_ROUNDS_MIN ? b->rounds : READ_ROUNDS_MIN;
    int r = 0;

    for (unsigned i = 0; r == 0 && i <= rounds; i++) {
        struct bench_time engine = {0}, limit = {0};
        uint64_t bytes = 0, limit_bytes = 0;
        r = bench_engine_read(e, &engine, &bytes, err);
        if (r == 0)
            r = cold ? bench_limit_decompress(dir, b->threads, &limit, &limit_bytes, err)
                     : bench_limit_read(dir, &limit, &limit_bytes, err);
        if (r == 0 && bytes != limit_bytes)
            r = base_fail(err, VARVE_E_FAILED,
                          "the engine read %" PRIu64 " bytes, its limit %" PRIu64, bytes,
                          limit_bytes);
        if (r == 0 && i > 0) /* the first warms both */
            bench_line_add(l, (double)bytes, &engine, &limit);
    }
    return r;
}

static int tier_round(struct bench *b, const struct bench_data *d, struct bench_line *l,
                      struct bench_line *hot, struct bench_line *cold, bool last,
                      struct varve_error *err)
{
    struct varve_tier_options evict = {.size = sizeof(evict), .evict = true};
    struct bench_engine e = {0};
    struct bench_files files = {0};
    char dir[400], store[450], logs[500], objects[500];
    struct bench_time seconds = {0}, engine = {0}, limit = {0};
    int r = bench_scratch_make(b->dir, "tier", dir, sizeof(dir), err);

    if (r < 0)
        return r;
    snprintf(store, sizeof(store), "%s/store", dir);
    snprintf(logs, sizeof(logs), "%s/logs", store);
    snprintf(objects, sizeof(objects), "%s/cold", store);
    r = bench_engine_open(&(struct bench_engine_options){.dir = store, .threads = b->threads}, &e,
                          err);
    if (r == 0)
        r = bench_engine_append(&e, d, (uint64_t)b->bytes, &seconds, err);
    if (r == 0)
        r = varve_log_sync(e.log, err);
    if (r == 0)
        r = varve_log_seal(e.log, err);
    if (r == 0 && last) {
        if (bench_wanted(b, hot->what))
            r = read_rounds(b, &e, logs, false, hot, err);
        if (r == 0 && bench_files_find(logs, ".log", &files, NULL) == 0 && files.count) {
            struct stat st;
            if (base_io_posix.stat(NULL, files.paths[0], &st) == 0) {
                char threads[16];
                snprintf(threads, sizeof(threads), "-T%u", b->threads);
                run_program(b, hot, "cat of one segment",
                            (const char *const[]){"cat", files.paths[0], NULL}, (double)st.st_size);
                run_program(
                    b, l, "zstd -T of one segment",
                    (const char *const[]){"zstd", "-3", threads, "-q", "-c", files.paths[0], NULL},
                    (double)st.st_size);
            }
        }
        bench_files_free(&files);
    }
    if (r == 0)
        r = bench_engine_tier(&e, &engine, err);
    if (r == 0)
        r = bench_limit_tier(logs, dir, b->threads, NULL, NULL, &limit, err);
    if (r == 0)
        bench_line_add(l, (double)b->bytes, &engine, &limit);
    if (r == 0 && last) {
        r = varve_log_tier(e.log, &evict, err);
        if (r == 0 && bench_wanted(b, cold->what))
            r = read_rounds(b, &e, objects, true, cold, err);
        if (r == 0 && bench_files_find(objects, ".zst", &files, NULL) == 0 && files.count)
            run_program(b, cold, "zstd -dc of one object",
                        (const char *const[]){"zstd", "-dcq", files.paths[0], NULL},
                        (double)(b->bytes < 64 * 1024 * 1024 ? b->bytes : 64 * 1024 * 1024));
        bench_files_free(&files);
    }
    bench_engine_close(&e);
    bench_scratch_remove(dir);
    return r;
}

static void bench_one(struct bench *b, bool random)
{
    struct bench_data d;
    struct varve_error err = {0};
    struct bench_line os = {.what = "append os", .limit = "write(2)", .bound = 0.7};
    struct bench_line fs = {
        .what = "append fsync, 64 thr.", .limit = "write(2)+fdatasync, same commits", .bound = 0.8};
    struct bench_line hot = {.what = "hot read", .limit = "read(2)", .bound = 0.7};
    struct bench_line tier = {
        .what = "tier", .limit = "read, SHA-256, zstd, write, sync", .bound = 0.8};
    struct bench_line cold = {.what = "cold read", .limit = "read(2), decompress", .bound = 0.9};

    if (bench_data_make(&d, random, &err) < 0) {
        bench_fail(b, "data", &err);
        return;
    }
    os.data = fs.data = hot.data = tier.data = cold.data = d.name;
    for (unsigned i = 0; !b->failed && bench_wanted(b, os.what) && i < b->rounds; i++)
        if (append_os_round(b, &d, &os, i + 1 == b->rounds, &err) < 0)
            bench_fail(b, "append os", &err);
    bench_print_line(b, &os);
    for (unsigned i = 0; !b->failed && bench_wanted(b, fs.what) && i < b->rounds; i++)
        if (append_fsync_round(b, &d, &fs, &err) < 0)
            bench_fail(b, "append fsync", &err);
    bench_print_line(b, &fs);
    /* The reads need a store that has been tiered: the last round of tiering leaves it. */
    unsigned rounds = bench_wanted(b, tier.what)                                ? b->rounds
                      : bench_wanted(b, hot.what) || bench_wanted(b, cold.what) ? 1
                                                                                : 0;
    for (unsigned i = 0; !b->failed && i < rounds; i++)
        if (tier_round(b, &d, &tier, &hot, &cold, i + 1 == rounds, &err) < 0)
            bench_fail(b, "tier", &err);
    bench_print_line(b, &hot);
    if (bench_wanted(b, tier.what))
        bench_print_line(b, &tier);
    bench_print_line(b, &cold);
    bench_data_free(&d);
}

/* ---- memory ---- */

static void bench_rss(struct bench *b, int64_t bytes)
{
    struct varve_tier_options evict = {.size = sizeof(evict), .seal = true, .evict = true};
    struct varve_error err = {0};
    struct bench_engine e = {0};
    struct bench_data d;
    struct bench_memory *m;
    char dir[400], store[450];
    struct bench_time seconds;
    uint64_t read = 0;
    double peak;
    int r = bench_scratch_make(b->dir, "memory", dir, sizeof(dir), &err);

    snprintf(store, sizeof(store), "%s/store", dir);
    if (r == 0)
        r = bench_data_make(&d, false, &err);
    if (r < 0) {
        bench_fail(b, "memory", &err);
        return;
    }
    m = bench_memory_start();
    r = bench_engine_open(&(struct bench_engine_options){.dir = store, .threads = b->threads}, &e,
                          &err);
    if (r == 0)
        r = bench_engine_append(&e, &d, (uint64_t)bytes, &seconds, &err);
    if (r == 0)
        r = varve_log_tier(e.log, &evict, &err);
    if (r == 0)
        r = bench_engine_read(&e, &seconds, &read, &err);
    peak = (double)bench_memory_stop(m) / (1024 * 1024);
    bench_engine_close(&e);
    bench_scratch_remove(dir);
    bench_data_free(&d);
    if (r < 0) {
        bench_fail(b, "memory", &err);
        return;
    }
    b->below |= peak > RSS_BOUND_MIB || read < (uint64_t)bytes;
    if (b->json)
        printf("{\"what\":\"private memory\",\"bytes\":%" PRId64 ",\"read\":%" PRIu64
               ",\"peak_mib\":%.1f,\"bound_mib\":%.0f}\n",
               bytes, read, peak, RSS_BOUND_MIB);
    else
        printf(
            "private memory while %.1f GiB were appended, tiered, evicted and read back: peak %.1f "
            "MiB (bound %.0f) %s\n",
            (double)bytes / (1 << 30), peak, RSS_BOUND_MIB, peak > RSS_BOUND_MIB ? "ABOVE" : "ok");
}

/* ---- the run ---- */

static bool is_figure(const struct bench *b)
{
    return bench_wanted(b, "append os") || bench_wanted(b, "append fsync, 64 thr.") ||
           bench_wanted(b, "hot read") || bench_wanted(b, "tier") || bench_wanted(b, "cold read") ||
           bench_wanted(b, "upload") || bench_wanted(b, "seek");
}

void bench_init(struct bench *b)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);

    *b = (struct bench){.dir = ".",
                        .data = "both",
                        .bytes = 256 * 1024 * 1024,
                        .rounds = 5,
                        .programs = true,
                        .segment = 512 * 1024 * 1024,
                        .parallel = 8};
    b->threads = processors < 1                   ? 1
                 : processors > BENCH_THREADS_MAX ? BENCH_THREADS_MAX
                                                  : (unsigned)processors;
}

const char *bench_check(const struct bench *b)
{
    if (!is_figure(b))
        return "--only: there is no such figure; they are: append os, append fsync, hot read, "
               "tier, "
               "cold read, upload, seek";
    if (b->rounds < 1 || b->rounds > BENCH_ROUNDS_MAX)
        return "--rounds is 1 to 25";
    if (b->threads < 1 || b->threads > BENCH_THREADS_MAX)
        return "--threads is 1 to 64";
    if (b->parallel < 1 || b->parallel > BENCH_PARALLEL_MAX)
        return "--parallel is 1 to 64";
    if (b->bytes < BENCH_BYTES_MIN || b->segment < BENCH_BYTES_MIN ||
        (b->memory && b->memory < BENCH_BYTES_MIN) || (b->rate && b->rate < BENCH_BYTES_MIN))
        return "--size, --segment, --memory and --rate are at least 1 MiB";
    if (!b->cold_url && (b->input || b->rate))
        return "--input and --rate go with --cold";
    return NULL;
}

bool bench_run(struct bench *b)
{
    bool lines = strcmp(b->data, "random") != 0, random = strcmp(b->data, "lines") != 0;

    if (b->memory) {
        bench_rss(b, b->memory);
    } else if (b->cold_url) {
        bench_print_heading(b);
        if (lines)
            bench_remote(b, false);
        if (!b->failed && random)
            bench_remote(b, true);
    } else {
        bench_print_heading(b);
        if (lines)
            bench_one(b, false);
        if (!b->failed && random)
            bench_one(b, true);
    }
    return !b->failed && !b->below;
}
