/* Private resident memory, sampled: what a kernel counts as anonymous (RssAnon), so that page cache
 * and mapped files do not count. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/bench.h"

#define SAMPLE_NS 10000000L

struct bench_memory {
    pthread_t thread;
    _Atomic bool stop;
    uint64_t peak;
};

static uint64_t sample(void)
{
    char line[256];
    uint64_t kib = 0;
    FILE *f = fopen("/proc/self/status", "re");

    if (!f)
        return 0;
    while (fgets(line, sizeof(line), f))
        if (!strncmp(line, "RssAnon:", 8))
            kib = strtoull(line + 8, NULL, 10);
    fclose(f);
    return kib * 1024;
}

static void *sample_thread(void *arg)
{
    struct bench_memory *m = arg;

    while (!atomic_load(&m->stop)) {
        uint64_t v = sample();
        if (v > m->peak)
            m->peak = v;
        nanosleep(&(struct timespec){.tv_nsec = SAMPLE_NS}, NULL);
    }
    return NULL;
}

struct bench_memory *bench_memory_start(void)
{
    struct bench_memory *m = calloc(1, sizeof(*m));

    if (m && pthread_create(&m->thread, NULL, sample_thread, m) != 0) {
        free(m);
        return NULL;
    }
    return m;
}

uint64_t bench_memory_stop(struct bench_memory *m)
{
    uint64_t peak;

    if (!m)
        return 0;
    atomic_store(&m->stop, true);
    pthread_join(m->thread, NULL);
    peak = m->peak;
    free(m);
    return peak;
}
