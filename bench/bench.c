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

struct bench {
    const char *dir;
    const char *only; /* a figure's name; NULL: all */
    int64_t bytes;    /* a round */
    unsigned rounds;
    unsigned threads;
    bool json;
    bool programs;
    bool below; /* a ratio was below its bound */
    bool failed;
};

/* One line: the engine and its limit in MiB/s, the median of the rounds' ratios, the bound it must
 * hold. */
struct line {
    const char *what;
    const char *data;
    const char *limit;
    double bound;
    unsigned count;
    double engine[BENCH_ROUNDS_MAX]; /* bytes per second */
    double limits[BENCH_ROUNDS_MAX];
    double cpu[BENCH_ROUNDS_MAX]; /* processor seconds of the engine per one of the limit */
    double program;               /* seconds, 0: not measured */
    const char *program_name;
    double program_rate;
};

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(const double *values, unsigned count)
{
    double sorted[BENCH_ROUNDS_MAX];

    if (!count)
        return 0;
    memcpy(sorted, values, count * sizeof(*values));
    qsort(sorted, count, sizeof(*sorted), compare_doubles);
    return count % 2 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
}

static void line_add(struct line *l, double bytes, const struct bench_time *engine,
                     const struct bench_time *limit)
{
    l->engine[l->count] = bytes / engine->wall;
    l->limits[l->count] = bytes / limit->wall;
    l->cpu[l->count] = limit->cpu > 0 ? engine->cpu / limit->cpu : 0;
    l->count++;
}

static double line_ratio(const struct line *l)
{
    double ratios[BENCH_ROUNDS_MAX];

    for (unsigned i = 0; i < l->count; i++)
        ratios[i] = l->limits[i] > 0 ? l->engine[i] / l->limits[i] : 0;
    return median(ratios, l->count);
}

/* Whether a figure is asked for: "append os" by "append", "append os" or nothing. */
static bool wanted(const struct bench *b, const char *what)
{
    return !b->only || strncmp(what, b->only, strlen(b->only)) == 0;
}

static void print_heading(const struct bench *b)
{
    if (!b->json)
        printf("%-22s %-7s %7s  %-34s %7s %6s %6s %6s\n", "", "data", "MiB/s", "limit", "MiB/s",
               "ratio", "bound", "cpu");
}

static void print_line(struct bench *b, const struct line *l)
{
    const double mib = 1024 * 1024;
    double ratio = line_ratio(l);
    bool ok = ratio >= l->bound;

    if (b->failed || l->count == 0)
        return;
    b->below |= !ok;
    if (b->json) {
        printf(
            "{\"what\":\"%s\",\"data\":\"%s\",\"rate\":%.0f,\"limit\":\"%s\",\"limit_rate\":%.0f,"
            "\"ratio\":%.3f,\"bound\":%.2f,\"cpu_ratio\":%.3f,\"rounds\":%u}\n",
            l->what, l->data, median(l->engine, l->count), l->limit, median(l->limits, l->count),
            ratio, l->bound, median(l->cpu, l->count), l->count);
    } else {
        printf("%-22s %-7s %7.0f  %-34s %7.0f %6.2f %6.2f %6.2f %s\n", l->what, l->data,
               median(l->engine, l->count) / mib, l->limit, median(l->limits, l->count) / mib,
               ratio, l->bound, median(l->cpu, l->count), ok ? "ok" : "BELOW");
        if (l->program_rate > 0)
            printf("%-22s %-7s %7s  %-34s %7.0f\n", "", "", "", l->program_name,
                   l->program_rate / mib);
    }
    fflush(stdout);
}

static int fail(struct bench *b, const char *what, const struct varve_error *err)
{
    fprintf(stderr, "varve: bench %s: %s\n", what, err->msg);
    b->failed = true;
    return err->code;
}

/* Times a program over the same bytes; what is not on this machine is left out. */
static void run_program(struct bench *b, struct line *l, const char *name, const char *const *argv,
                        double bytes)
{
    struct bench_time time = {0};

    if (!b->programs || bench_limit_program(argv, &time, NULL) < 0 || time.wall <= 0)
        return;
    l->program_name = name;
    l->program_rate = bytes / time.wall;
}

/* ---- append ---- */

static int append_os_round(struct bench *b, const struct bench_data *d, struct line *l, bool last,
                           struct varve_error *err)
{
    struct bench_engine e = {0};
    char dir[400], copy[450];
    struct bench_time engine = {0}, limit = {0};
    struct bench_files files = {0};
    int r = bench_scratch_make(b->dir, "append", dir, sizeof(dir), err);

    if (r < 0)
        return r;
    snprintf(copy, sizeof(copy), "%s/store", dir);
    r = bench_engine_open(copy, VARVE_DURABILITY_OS, b->threads, &e, err);
    if (r == 0)
        r = bench_engine_append(&e, d, (uint64_t)b->bytes, &engine, err);
    if (r == 0)
        r = bench_limit_write(dir, d, (uint64_t)b->bytes, &limit, err);
    if (r == 0) {
        line_add(l, (double)b->bytes, &engine, &limit);
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

static int append_fsync_round(struct bench *b, const struct bench_data *d, struct line *l,
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
    r = bench_engine_open(store, VARVE_DURABILITY_FSYNC, b->threads, &e, err);
    if (r == 0)
        r = bench_engine_append_threads(&e, d, (uint64_t)b->bytes, BENCH_FSYNC_THREADS, &engine,
                                        &commit, err);
    if (r == 0)
        r = bench_limit_write_sync(dir, d, (uint64_t)b->bytes, commit, &limit, err);
    if (r == 0)
        line_add(l, (double)b->bytes, &engine, &limit);
    bench_engine_close(&e);
    bench_scratch_remove(dir);
    return r;
}

/* ---- hot read, tier, cold read: one store serves all rounds of the reads ---- */

static int read_rounds(struct bench *b, struct bench_engine *e, const char *dir, bool cold,
                       struct line *l, struct varve_error *err)
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
            line_add(l, (double)bytes, &engine, &limit);
    }
    return r;
}

static int tier_round(struct bench *b, const struct bench_data *d, struct line *l, struct line *hot,
                      struct line *cold, bool last, struct varve_error *err)
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
    r = bench_engine_open(store, VARVE_DURABILITY_OS, b->threads, &e, err);
    if (r == 0)
        r = bench_engine_append(&e, d, (uint64_t)b->bytes, &seconds, err);
    if (r == 0)
        r = varve_log_sync(e.log, err);
    if (r == 0)
        r = varve_log_seal(e.log, err);
    if (r == 0 && last) {
        if (wanted(b, hot->what))
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
        r = bench_limit_tier(logs, dir, b->threads, &limit, err);
    if (r == 0)
        line_add(l, (double)b->bytes, &engine, &limit);
    if (r == 0 && last) {
        r = varve_log_tier(e.log, &evict, err);
        if (r == 0 && wanted(b, cold->what))
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
    struct line os = {.what = "append os", .limit = "write(2)", .bound = 0.7};
    struct line fs = {
        .what = "append fsync, 64 thr.", .limit = "write(2)+fdatasync, same commits", .bound = 0.8};
    struct line hot = {.what = "hot read", .limit = "read(2)", .bound = 0.7};
    struct line tier = {.what = "tier", .limit = "read, SHA-256, zstd, write, sync", .bound = 0.8};
    struct line cold = {.what = "cold read", .limit = "read(2), decompress", .bound = 0.9};

    if (bench_data_make(&d, random, &err) < 0) {
        fail(b, "data", &err);
        return;
    }
    os.data = fs.data = hot.data = tier.data = cold.data = d.name;
    for (unsigned i = 0; !b->failed && wanted(b, os.what) && i < b->rounds; i++)
        if (append_os_round(b, &d, &os, i + 1 == b->rounds, &err) < 0)
            fail(b, "append os", &err);
    print_line(b, &os);
    for (unsigned i = 0; !b->failed && wanted(b, fs.what) && i < b->rounds; i++)
        if (append_fsync_round(b, &d, &fs, &err) < 0)
            fail(b, "append fsync", &err);
    print_line(b, &fs);
    /* The reads need a store that has been tiered: the last round of tiering leaves it. */
    unsigned rounds = wanted(b, tier.what)                          ? b->rounds
                      : wanted(b, hot.what) || wanted(b, cold.what) ? 1
                                                                    : 0;
    for (unsigned i = 0; !b->failed && i < rounds; i++)
        if (tier_round(b, &d, &tier, &hot, &cold, i + 1 == rounds, &err) < 0)
            fail(b, "tier", &err);
    print_line(b, &hot);
    if (wanted(b, tier.what))
        print_line(b, &tier);
    print_line(b, &cold);
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
        fail(b, "memory", &err);
        return;
    }
    m = bench_memory_start();
    r = bench_engine_open(store, VARVE_DURABILITY_OS, b->threads, &e, &err);
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
        fail(b, "memory", &err);
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
          "  --only FIGURE    those whose name begins so: append, \"append os\", hot, tier, cold\n"
          "  --data WHAT      lines, random or both (default both)\n"
          "  --memory SIZE    instead: append, tier and read back SIZE, print the peak of private "
          "memory\n"
          "  --no-programs    leave out cp, cat and zstd\n"
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
    struct bench b = {.dir = ".", .bytes = 256 * 1024 * 1024, .rounds = 5, .programs = true};
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
            ok = wanted(&b, "append os") || wanted(&b, "append fsync, 64 thr.") ||
                 wanted(&b, "hot read") || wanted(&b, "tier") || wanted(&b, "cold read");
            break;
        case OPT_MEMORY:
            ok = base_parse_size(optarg, &memory) && memory >= 1024 * 1024;
            break;
        case OPT_NOPROG:
            b.programs = false;
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
    if (memory) {
        bench_rss(&b, memory);
    } else {
        print_heading(&b);
        if (strcmp(data, "random") != 0)
            bench_one(&b, false);
        if (!b.failed && strcmp(data, "lines") != 0)
            bench_one(&b, true);
    }
    return b.failed || b.below ? 1 : 0;
}
