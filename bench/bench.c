/* The command: options, the rounds, and the table. */
#include "bench/bench.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "base/text.h"

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

/* ---- the command ---- */

static void usage(FILE *out)
{
    fputs("usage: varve bench [options]\n\n"
          "Measures append, read and tiering beside the machine's own limits, in one scratch "
          "store.\n\n"
          "  --dir DIR        scratch directory (default: the current one)\n"
          "  --size SIZE      bytes of each round (default 256MiB)\n"
          "  --rounds N       rounds; engine and limit take turns (default 5, at most 25)\n"
          "  --threads N      workers of the engine and of its limits (default: processors)\n"
          "  --only FIGURE    those whose name begins so: append, \"append os\", hot, tier, cold,\n"
          "                   upload, seek\n"
          "  --data WHAT      lines, random or both (default both)\n"
          "  --memory SIZE    instead: append, tier and read back SIZE, print the peak of private "
          "memory\n"
          "  --no-programs    leave out cp, cat and zstd\n"
          "  --cold URL       instead: upload, cold read and seek on that object store, below a "
          "prefix of its own\n"
          "  --input FILE     with --cold: its lines are the records\n"
          "  --segment SIZE   with --cold: of a segment (default 512MiB)\n"
          "  --parallel N     with --cold: requests of the limits at a time (default 8)\n"
          "  --rate SIZE      with --cold: instead, whether uploads keep to that many bytes a "
          "second\n"
          "  --json           one JSON object a line\n"
          "  --help\n\n"
          "cpu: processor seconds of the engine for one of its limit.\n\n"
          "exit codes: 0 all ratios hold, 1 one is below its bound or something failed, 2 wrong "
          "use\n",
          out);
}

enum {
    OPT_DIR = 256,
    OPT_SIZE,
    OPT_ROUNDS,
    OPT_THREADS,
    OPT_DATA,
    OPT_ONLY,
    OPT_MEMORY,
    OPT_NOPROG,
    OPT_COLD,
    OPT_INPUT,
    OPT_SEGMENT,
    OPT_PARALLEL,
    OPT_RATE,
    OPT_JSON
};

static const struct option long_options[] = {
    {"dir", required_argument, NULL, OPT_DIR},
    {"size", required_argument, NULL, OPT_SIZE},
    {"rounds", required_argument, NULL, OPT_ROUNDS},
    {"threads", required_argument, NULL, OPT_THREADS},
    {"data", required_argument, NULL, OPT_DATA},
    {"only", required_argument, NULL, OPT_ONLY},
    {"memory", required_argument, NULL, OPT_MEMORY},
    {"no-programs", no_argument, NULL, OPT_NOPROG},
    {"cold", required_argument, NULL, OPT_COLD},
    {"input", required_argument, NULL, OPT_INPUT},
    {"segment", required_argument, NULL, OPT_SEGMENT},
    {"parallel", required_argument, NULL, OPT_PARALLEL},
    {"rate", required_argument, NULL, OPT_RATE},
    {"json", no_argument, NULL, OPT_JSON},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static bool parse_count(const char *text, int64_t max, unsigned *ret)
{
    int64_t v;

    if (!base_parse_i64(text, &v) || v < 1 || v > max)
        return false;
    *ret = (unsigned)v;
    return true;
}

int bench_main(int argc, char **argv)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    struct bench b = {.dir = ".",
                      .bytes = 256 * 1024 * 1024,
                      .rounds = 5,
                      .programs = true,
                      .segment = 512 * 1024 * 1024,
                      .parallel = 8};
    const char *data = "both";
    int64_t memory = 0;
    int c;

    b.threads = processors < 1 ? 1 : processors > 64 ? 64 : (unsigned)processors;
    optind = 1;
    while ((c = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
        bool ok = true;
        switch (c) {
        case OPT_DIR:
            b.dir = optarg;
            break;
        case OPT_SIZE:
            ok = base_parse_size(optarg, &b.bytes) && b.bytes >= 1024 * 1024;
            break;
        case OPT_ROUNDS:
            ok = parse_count(optarg, BENCH_ROUNDS_MAX, &b.rounds);
            break;
        case OPT_THREADS:
            ok = parse_count(optarg, 64, &b.threads);
            break;
        case OPT_DATA:
            data = optarg;
            ok = !strcmp(data, "lines") || !strcmp(data, "random") || !strcmp(data, "both");
            break;
        case OPT_ONLY:
            b.only = optarg;
            ok = bench_wanted(&b, "append os") || bench_wanted(&b, "append fsync, 64 thr.") ||
                 bench_wanted(&b, "hot read") || bench_wanted(&b, "tier") ||
                 bench_wanted(&b, "cold read") || bench_wanted(&b, "upload") ||
                 bench_wanted(&b, "seek");
            break;
        case OPT_MEMORY:
            ok = base_parse_size(optarg, &memory) && memory >= 1024 * 1024;
            break;
        case OPT_NOPROG:
            b.programs = false;
            break;
        case OPT_COLD:
            b.cold_url = optarg;
            break;
        case OPT_INPUT:
            b.input = optarg;
            break;
        case OPT_SEGMENT:
            ok = base_parse_size(optarg, &b.segment) && b.segment >= 1024 * 1024;
            break;
        case OPT_PARALLEL:
            ok = parse_count(optarg, BENCH_PARALLEL_MAX, &b.parallel);
            break;
        case OPT_RATE:
            ok = base_parse_size(optarg, &b.rate) && b.rate >= 1024 * 1024;
            break;
        case OPT_JSON:
            b.json = true;
            break;
        case 'h':
            usage(stdout);
            return 0;
        default:
            usage(stderr);
            return 2;
        }
        if (!ok) {
            fprintf(stderr, "varve: bench: %s is no value for this option\n", optarg);
            return 2;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "varve: bench: unexpected argument %s\n", argv[optind]);
        return 2;
    }
    if (!b.cold_url && (b.input || b.rate)) {
        fprintf(stderr, "varve: bench: %s goes with --cold\n", b.input ? "--input" : "--rate");
        return 2;
    }
    if (memory) {
        bench_rss(&b, memory);
    } else if (b.cold_url) {
        bench_remote(&b, data);
    } else {
        bench_print_heading(&b);
        if (strcmp(data, "random") != 0)
            bench_one(&b, false);
        if (!b.failed && strcmp(data, "lines") != 0)
            bench_one(&b, true);
    }
    return b.failed || b.below ? 1 : 0;
}
