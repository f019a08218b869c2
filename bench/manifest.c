/*
 * The manifest of a log of a million segments: what opening, looking up and extending it cost,
 * each beside its limit.
 *
 *   varve-bench-manifest [--segments N] [--dir DIR]
 *
 * Builds a synthetic manifest of N segments (default 1,000,000) and one of 1,000 in a temporary
 * directory under DIR (default $TMPDIR or /tmp). Each measurement runs in a process of its own
 * that does nothing else, so that its memory is the manifest's. Exit code 1 when a limit is broken.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "index/edit.h"
#include "index/manifest.h"

#define LOG_NAME "bench/0"
#define SMALL_SEGMENTS 1000
#define SEGMENTS_PER_EDIT 20000
#define OFFSETS_PER_SEGMENT 1000
#define MS_PER_SEGMENT 60000
#define TIME_ZERO INT64_C(1500000000000)
#define ROUNDS 301
#define LOOK_UPS 2000 /* in a round */
#define ADDS 1001     /* one whole period of folding */

#define LIMIT_OPEN_MS 50.0
#define LIMIT_PRIVATE_MIB 16.0
#define LIMIT_LOOK_UP_US 2.0
#define LIMIT_ADD_RATIO 1.5 /* the same, and the machine's noise */
#define LIMIT_ROOT_MIB 1.0

struct figures {
    double open_ms;
    double private_mib;
    double offset_us;
    double time_us;
    double add_us; /* median */
    double add_small_us;
    uint64_t root_size;
    uint64_t segments;
};

struct job {
    const char *dir;
    int64_t segments;
    const char *small_dir; /* of a manifest of SMALL_SEGMENTS */
    int (*run)(const struct job *job, struct figures *f);
};

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static int complain(const char *what, const struct varve_error *err)
{
    fprintf(stderr, "varve-bench-manifest: %s: %s\n", what, err->msg);
    return -1;
}

/* Segment `i`; its timestamps are a little out of order. */
static int segment_entry(int64_t i, uint8_t chain[BASE_SHA256_SIZE], uint64_t *seed,
                         struct index_entry *ret)
{
    struct index_entry e = {
        .base_offset = i * OFFSETS_PER_SEGMENT,
        .end_offset = (i + 1) * OFFSETS_PER_SEGMENT,
        .max_timestamp =
            TIME_ZERO + i * MS_PER_SEGMENT + (int64_t)(random_next(seed) % (3 * MS_PER_SEGMENT)),
        .segment_size = 64 << 20,
        .object_size = 16 << 20,
        .index_pos = (16 << 20) - 8192,
        .table_size = 4096,
        .index_size = 8192,
    };

    e.first_timestamp = TIME_ZERO + i * MS_PER_SEGMENT;
    e.append_time = e.max_timestamp;
    for (size_t b = 0; b < BASE_ID_SIZE; b += 8)
        memcpy(e.attempt.bytes + b, &(uint64_t){random_next(seed)}, 8);
    for (size_t b = 0; b < BASE_SHA256_SIZE; b += 8)
        memcpy(e.segment_sha256 + b, &(uint64_t){random_next(seed)}, 8);
    if (index_chain_hash(chain, e.segment_sha256, e.base_offset, e.end_offset, e.chain_hash) < 0)
        return -1;
    memcpy(chain, e.chain_hash, BASE_SHA256_SIZE);
    *ret = e;
    return 0;
}

static int edit_install(struct index_manifest *m, struct index_edit *edit,
                        const struct base_env *env, struct varve_error *err)
{
    const void *root;
    size_t root_size, page_count;
    const struct index_edit_page *pages;

    int rc = index_edit_finish(edit, env->random, &root, &root_size, &pages, &page_count, err);
    if (rc == 0)
        rc = index_manifest_install(m, root, root_size, pages, page_count, false, err);
    return rc;
}

/* Adds segments [from, to) in one edit. */
static int add_segments(struct index_manifest *m, const struct base_env *env, int64_t from,
                        int64_t to, uint8_t chain[BASE_SHA256_SIZE], uint64_t *seed,
                        struct varve_error *err)
{
    struct index_edit *edit = NULL;
    struct base_id id = base_id_new(env->random);
    int rc;

    if (index_manifest_loaded(m))
        rc = index_edit_new(m, &edit, err);
    else
        rc = index_edit_new_log(LOG_NAME, &id, &id, 0, TIME_ZERO, &edit, err);
    for (int64_t i = from; i < to && rc == 0; i++) {
        struct index_entry e;
        rc = segment_entry(i, chain, seed, &e);
        if (rc == 0)
            rc = index_edit_add(edit, &e, err);
    }
    if (rc == 0)
        rc = edit_install(m, edit, env, err);
    index_edit_free(edit);
    return rc;
}

static int run_build(const struct job *job, struct figures *f)
{
    struct base_env env;
    struct index_manifest *m = NULL;
    struct varve_error err = {0};
    uint8_t chain[BASE_SHA256_SIZE] = {0};
    uint64_t seed = 88172645463325252u;

    (void)f;
    base_env_init(&env);
    int rc = base_dir_create(env.io, job->dir, false, &err);
    if (rc == 0)
        rc = index_manifest_open(&env, job->dir, LOG_NAME, NULL, &m, &err);
    for (int64_t i = 0; i < job->segments && rc == 0; i += SEGMENTS_PER_EDIT) {
        int64_t to = i + SEGMENTS_PER_EDIT < job->segments ? i + SEGMENTS_PER_EDIT : job->segments;
        rc = add_segments(m, &env, i, to, chain, &seed, &err);
    }
    index_manifest_close(m);
    return rc < 0 ? complain("build", &err) : 0;
}

/* Anonymous memory of this process. */
static double private_mib(void)
{
    FILE *f = fopen("/proc/self/status", "re");
    char line[256];
    double kib = -1;

    while (f != NULL && fgets(line, sizeof(line), f) != NULL)
        if (strncmp(line, "RssAnon:", 8) == 0)
            kib = strtod(line + 8, NULL);
    if (f != NULL)
        fclose(f);
    return kib / 1024;
}

static int touch(void *arg, const struct index_entry *e, struct varve_error *err)
{
    (void)err;
    *(uint64_t *)arg += e->object_size;
    return 0;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static int look_up_offset(struct index_manifest *m, int64_t segments, uint64_t *seed,
                          struct varve_error *err)
{
    int64_t offset = (int64_t)(random_next(seed) % ((uint64_t)segments * OFFSETS_PER_SEGMENT));
    struct index_entry e;

    int rc = index_manifest_find_offset(m, offset, &e, err);
    if (rc == 0 && (offset < e.base_offset || offset >= e.end_offset))
        abort();
    return rc;
}

static int look_up_time(struct index_manifest *m, int64_t segments, uint64_t *seed,
                        struct varve_error *err)
{
    int64_t t = TIME_ZERO + (int64_t)(random_next(seed) % ((uint64_t)segments * MS_PER_SEGMENT));
    struct index_entry e;

    int rc = index_manifest_find_time(m, t, 0, &e, err);
    if (rc == 0 && e.max_timestamp < t)
        abort();
    return rc;
}

/* Rounds are short, and the middle one counts: on a busy machine most are not interrupted. */
static int time_look_ups(struct index_manifest *m, int64_t segments,
                         int (*one)(struct index_manifest *m, int64_t segments, uint64_t *seed,
                                    struct varve_error *err),
                         double *ret_us, struct varve_error *err)
{
    static double took[ROUNDS];
    uint64_t seed = 424242;

    for (size_t r = 0; r < ROUNDS; r++) {
        double begin = now();
        for (int i = 0; i < LOOK_UPS; i++) {
            int rc = one(m, segments, &seed, err);
            if (rc < 0)
                return rc;
        }
        took[r] = (now() - begin) / LOOK_UPS * 1e6;
    }
    qsort(took, ROUNDS, sizeof(took[0]), compare_doubles);
    *ret_us = took[ROUNDS / 2];
    return 0;
}

static int run_look_up(const struct job *job, struct figures *f)
{
    struct base_env env;
    struct index_manifest *m = NULL;
    struct index_entry first;
    struct varve_error err = {0};
    const struct index_root *root;
    struct index_root_pin *pin;
    uint64_t sum = 0;

    base_env_init(&env);
    double begin = now();
    int rc = index_manifest_open(&env, job->dir, LOG_NAME, NULL, &m, &err);
    if (rc == 0)
        rc = index_manifest_find_offset(m, 0, &first, &err);
    f->open_ms = (now() - begin) * 1e3;
    if (rc == 0)
        rc = index_manifest_pin(m, &pin, &root, &err);
    if (rc == 0) {
        f->root_size = root->size;
        f->segments = root->segment_count;
        index_manifest_unpin(pin);
        rc = index_manifest_each(m, 0, touch, &sum, &err); /* warm */
    }
    if (rc == 0)
        rc = time_look_ups(m, job->segments, look_up_offset, &f->offset_us, &err);
    if (rc == 0)
        rc = time_look_ups(m, job->segments, look_up_time, &f->time_us, &err);
    f->private_mib = private_mib();
    index_manifest_close(m);
    return rc < 0 ? complain("look up", &err) : 0;
}

/* A manifest to which segments are added one by one. */
struct growing {
    struct index_manifest *manifest;
    int64_t segments;
    uint8_t chain[BASE_SHA256_SIZE];
    double took[ADDS];
};

static int growing_open(struct growing *g, const struct base_env *env, const char *dir,
                        int64_t segments, struct varve_error *err)
{
    const struct index_root *root;
    struct index_root_pin *pin;

    g->segments = segments;
    int rc = index_manifest_open(env, dir, LOG_NAME, NULL, &g->manifest, err);
    if (rc == 0)
        rc = index_manifest_pin(g->manifest, &pin, &root, err);
    if (rc < 0)
        return rc;
    memcpy(g->chain, root->chain_hash, sizeof(g->chain));
    index_manifest_unpin(pin);
    return 0;
}

static int growing_add(struct growing *g, const struct base_env *env, size_t i, uint64_t *seed,
                       struct varve_error *err)
{
    double begin = now();
    int rc = add_segments(g->manifest, env, g->segments, g->segments + 1, g->chain, seed, err);

    g->took[i] = now() - begin;
    g->segments++;
    return rc;
}

/* To both in turn, so that whatever else the machine does disturbs both. */
static int run_add(const struct job *job, struct figures *f)
{
    static struct growing small, big;
    struct base_env env;
    struct varve_error err = {0};
    uint64_t seed = 99;

    base_env_init(&env);
    int rc = growing_open(&big, &env, job->dir, job->segments, &err);
    if (rc == 0)
        rc = growing_open(&small, &env, job->small_dir, SMALL_SEGMENTS, &err);
    for (size_t i = 0; i < ADDS && rc == 0; i++) {
        rc = growing_add(&small, &env, i, &seed, &err);
        if (rc == 0)
            rc = growing_add(&big, &env, i, &seed, &err);
    }
    index_manifest_close(small.manifest);
    index_manifest_close(big.manifest);
    if (rc < 0)
        return complain("add", &err);
    qsort(small.took, ADDS, sizeof(small.took[0]), compare_doubles);
    qsort(big.took, ADDS, sizeof(big.took[0]), compare_doubles);
    f->add_small_us = small.took[ADDS / 2] * 1e6;
    f->add_us = big.took[ADDS / 2] * 1e6;
    return 0;
}

/* Runs a job in a process of its own. */
static int run_apart(const struct job *job, struct figures *f)
{
    int ends[2], status;

    if (pipe(ends) < 0)
        return -1;
    fflush(stdout);
    pid_t child = fork();
    if (child < 0)
        return -1;
    if (child == 0) {
        close(ends[0]);
        int rc = job->run(job, f);
        if (rc == 0 && write(ends[1], f, sizeof(*f)) != (ssize_t)sizeof(*f))
            rc = -1;
        _exit(rc == 0 ? 0 : 1);
    }
    close(ends[1]);
    ssize_t n = read(ends[0], f, sizeof(*f));
    close(ends[0]);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return n == (ssize_t)sizeof(*f) && status == 0 ? 0 : -1;
}

static bool show(const char *what, double value, const char *unit, double limit, const char *note)
{
    bool good = value < limit;

    printf("%-34s %10.3f %-6s limit %8.3f %-6s %s%s%s\n", what, value, unit, limit, unit,
           good ? "ok" : "TOO MUCH", note[0] != '\0' ? "  " : "", note);
    return good;
}

static bool show_all(const struct figures *big, const struct figures *add)
{
    char note[96];
    bool good = true;

    printf("manifest of %" PRIu64 " segments\n", big->segments);
    good &= show("open and first look-up", big->open_ms, "ms", LIMIT_OPEN_MS, "");
    good &= show("private memory", big->private_mib, "MiB", LIMIT_PRIVATE_MIB, "");
    snprintf(note, sizeof(note), "%.0f/s", 1e6 / big->offset_us);
    good &= show("look-up by offset", big->offset_us, "us", LIMIT_LOOK_UP_US, note);
    snprintf(note, sizeof(note), "%.0f/s", 1e6 / big->time_us);
    good &= show("look-up by time", big->time_us, "us", LIMIT_LOOK_UP_US, note);
    snprintf(note, sizeof(note), "%.0f us, at %d segments %.0f us", add->add_us, SMALL_SEGMENTS,
             add->add_small_us);
    good &= show("adding one segment, ratio", add->add_us / add->add_small_us, "", LIMIT_ADD_RATIO,
                 note);
    good &= show("root", (double)big->root_size / (1 << 20), "MiB", LIMIT_ROOT_MIB, "");
    return good;
}

static int measure(const char *dir, int64_t segments)
{
    struct figures big = {0}, add = {0}, none = {0};
    char *big_dir = NULL, *small_dir = NULL;
    struct varve_error err = {0};

    if (base_format(&big_dir, &err, "%s/big", dir) < 0 ||
        base_format(&small_dir, &err, "%s/small", dir) < 0)
        return complain("measure", &err);
    const struct job build_big = {big_dir, segments, NULL, run_build};
    const struct job build_small = {small_dir, SMALL_SEGMENTS, NULL, run_build};
    const struct job look_ups = {big_dir, segments, NULL, run_look_up};
    const struct job adds = {big_dir, segments, small_dir, run_add};

    int rc = run_apart(&build_big, &none);
    if (rc == 0)
        rc = run_apart(&build_small, &none);
    if (rc == 0)
        rc = run_apart(&look_ups, &big);
    if (rc == 0)
        rc = run_apart(&adds, &add);
    free(big_dir);
    free(small_dir);
    if (rc < 0) {
        fprintf(stderr, "varve-bench-manifest: a measurement failed\n");
        return 2;
    }
    return show_all(&big, &add) ? 0 : 1;
}

int main(int argc, char **argv)
{
    const char *parent = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";
    int64_t segments = 1000000;
    char *dir;

    for (int i = 1; i < argc; i += 2) {
        if (i + 1 < argc && strcmp(argv[i], "--dir") == 0) {
            parent = argv[i + 1];
        } else if (i + 1 >= argc || strcmp(argv[i], "--segments") != 0 ||
                   !base_parse_i64(argv[i + 1], &segments) || segments < 1) {
            fprintf(stderr, "usage: varve-bench-manifest [--segments N] [--dir DIR]\n");
            return 2;
        }
    }
    if (base_format(&dir, NULL, "%s/varve-bench-manifest-XXXXXX", parent) < 0)
        return 2;
    if (mkdtemp(dir) == NULL) {
        perror(dir);
        free(dir);
        return 2;
    }
    int rc = measure(dir, segments);
    base_tree_remove(&base_io_posix, dir, NULL);
    free(dir);
    return rc;
}
