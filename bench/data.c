/* What the benchmarks append: batches of 64 KiB of 1 KiB records, log-like lines or random bytes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/error.h"
#include "bench/bench.h"
#include "record/builder.h"

struct bench_time bench_time_now(void)
{
    struct timespec ts;
    struct rusage u;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    getrusage(RUSAGE_SELF, &u);
    return (struct bench_time){
        .wall = (double)ts.tv_sec + (double)ts.tv_nsec / 1e9,
        .cpu = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
               (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6,
    };
}

struct bench_time bench_time_since(struct bench_time start)
{
    struct bench_time now = bench_time_now();

    return (struct bench_time){now.wall - start.wall, now.cpu - start.cpu};
}

/* splitmix64: the same bytes in every run. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void fill_random(uint8_t *buf, size_t size, uint64_t *state)
{
    for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
        uint64_t v = next_random(state);
        memcpy(buf + i, &v, size - i < sizeof(v) ? size - i : sizeof(v));
    }
}

/* Lines like a web server's, until the record is full. */
static void fill_lines(uint8_t *buf, size_t size, uint64_t *state)
{
    static const char *const paths[] = {"/images/kibana-search.png",
                                        "/presentations/logstash/",
                                        "/blog/tags/puppet",
                                        "/favicon.ico",
                                        "/robots.txt",
                                        "/projects/xdotool/"};
    static const char *const agents[] = {
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/32.0.1700.107 Safari/537.36",
        "Mozilla/5.0 (Windows NT 6.1; WOW64; rv:27.0) Gecko/20100101 Firefox/27.0",
        "Googlebot/2.1 (+http://www.google.com/bot.html)"};
    size_t used = 0;

    while (used < size) {
        char line[400];
        uint64_t r = next_random(state);
        int n = snprintf(line, sizeof(line),
                         "%u.%u.%u.%u - - [17/May/2015:%02u:%02u:%02u +0000] \"GET %s?id=%u "
                         "HTTP/1.1\" %s %u \"-\" \"%s\"\n",
                         (unsigned)(r & 255), (unsigned)(r >> 8 & 255), (unsigned)(r >> 16 & 255),
                         (unsigned)(r >> 24 & 255), (unsigned)(r >> 32) % 24,
                         (unsigned)(r >> 37) % 60, (unsigned)(r >> 43) % 60, paths[(r >> 49) % 6],
                         (unsigned)(r >> 20) % 100000, (r >> 60) ? "200" : "404",
                         (unsigned)(r >> 30) % 300000, agents[(r >> 52) % 3]);
        size_t take = (size_t)n < size - used ? (size_t)n : size - used;
        memcpy(buf + used, line, take);
        used += take;
    }
}

/* Where records come from: random bytes, made-up lines, or the lines of a file. */
struct source {
    bool random;
    uint64_t state;
    FILE *file; /* NULL: none */
    char line[16384];
    uint8_t value[BENCH_RECORD_BYTES];
};

static int source_next(struct source *s, struct varve_record *record, struct varve_error *err)
{
    if (!s->file) {
        (s->random ? fill_random : fill_lines)(s->value, sizeof(s->value), &s->state);
        record->value = s->value;
        record->value_size = sizeof(s->value);
        return 0;
    }
    if (!fgets(s->line, sizeof(s->line), s->file)) {
        rewind(s->file);
        if (!fgets(s->line, sizeof(s->line), s->file))
            return base_fail(err, VARVE_E_INVALID, "the file of lines is empty or cannot be read");
    }
    record->value = s->line;
    record->value_size = strcspn(s->line, "\n");
    return 0;
}

static int make_batch(struct source *source, uint8_t **ret, size_t *ret_size,
                      struct varve_error *err)
{
    struct varve_record record = {0};
    struct varve_batch *batch = NULL;
    const void *data;
    size_t size;
    int r = varve_batch_new(VARVE_CODEC_NONE, 0, BENCH_BATCH_BYTES, &batch, err);

    while (r == 0) {
        r = source_next(source, &record, err);
        record.timestamp = 1431857103000 + (int64_t)varve_batch_count(batch);
        if (r == 0)
            r = varve_batch_add(batch, &record, err);
    }
    if (r == VARVE_E_FULL)
        r = record_builder_encode(batch, &data, &size, err);
    if (r == 0) {
        *ret = malloc(size);
        if (!*ret)
            r = base_fail(err, VARVE_E_NO_MEMORY, "out of memory");
        else
            memcpy(*ret, data, size);
        *ret_size = size;
    }
    varve_batch_free(batch);
    return r;
}

static int data_fill(struct bench_data *d, struct source *source, struct varve_error *err)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < BENCH_RING_BATCHES; i++)
        r = make_batch(source, &d->batches[i], &d->sizes[i], err);
    if (r < 0)
        bench_data_free(d);
    return r;
}

int bench_data_make(struct bench_data *d, bool random, struct varve_error *err)
{
    struct source source = {.random = random, .state = random ? 1 : 2};

    *d = (struct bench_data){.name = random ? "random" : "lines"};
    return data_fill(d, &source, err);
}

int bench_data_read(struct bench_data *d, const char *path, struct varve_error *err)
{
    struct source source = {.file = fopen(path, "re")};
    int r;

    *d = (struct bench_data){.name = "input"};
    if (!source.file)
        return base_fail_errno(err, errno, "open %s", path);
    r = data_fill(d, &source, err);
    fclose(source.file);
    return r;
}

void bench_data_free(struct bench_data *d)
{
    for (size_t i = 0; i < BENCH_RING_BATCHES; i++)
        free(d->batches[i]);
    memset(d, 0, sizeof(*d));
}
