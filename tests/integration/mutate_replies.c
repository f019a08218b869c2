/*
 * The s3 driver over replies changed by chance: each case is an operation of cold/store.h whose
 * replies, true ones of a server, come through a proxy that changes the first few of them
 * (reply_mutation.c). s3_trial.h says what must hold. Nothing is printed of what holds.
 *
 *   mutate_replies PORT SEED COUNT [WORKERS]
 *
 * runs the cases SEED, SEED + 1, ...; a case that fails is told with its seed and the changes.
 * test_mutate_replies.py starts the server.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/thread.h"
#include "tests/integration/reply_mutation.h"
#include "tests/integration/reply_proxy.h"
#include "tests/integration/s3_trial.h"

#define WORKERS_DEFAULT 4

static const char *port;
static uint64_t seed_first, case_count;
static atomic_uint_fast64_t next_case;
static atomic_uint_fast64_t ended_well;

static void case_run(uint64_t seed)
{
    static const unsigned some[] = {1, 1, 2, 3, UINT32_MAX};
    uint64_t state = seed;
    const struct s3_operation *op = &s3_operations[mutation_random(&state) % s3_operation_count];
    char name[64], prefix[32], verdict[300];
    atomic_uint lies = 0;
    const struct reply_proxy_options options = {
        .server_port = port,
        .loses = op->loses,
        .spoilt = some[mutation_random(&state) % (sizeof(some) / sizeof(some[0]))],
        .seed = mutation_random(&state),
        .lies = &lies};
    struct reply_proxy *proxy = reply_proxy_start(&options);
    struct s3_trial t = {.name = name,
                         .bucket = "mutated",
                         .prefix = prefix,
                         .clean_port = port,
                         .spoilt_port = reply_proxy_port(proxy),
                         .lies = &lies};
    unsigned failed_before;
    double seconds;

    snprintf(name, sizeof(name), "%s, seed %" PRIu64, op->name, seed);
    snprintf(prefix, sizeof(prefix), "%" PRIu64, seed);
    s3_trial_open(&t);
    failed_before = s3_trials_failed();
    s3_trial_run(&t, op, verdict, sizeof(verdict), &seconds);
    s3_trial_close(&t);
    reply_proxy_stop(proxy);
    if (strcmp(verdict, "VARVE_OK ") == 0)
        atomic_fetch_add(&ended_well, 1);
    /* Of other cases that fail in the same moment the story is told, too. */
    if (s3_trials_failed() > failed_before || getenv("VARVE_MUTATIONS_SHOWN"))
        fprintf(stderr, "%s: %.2f s, %s\n%s", name, seconds, verdict, reply_proxy_story(proxy));
    reply_proxy_free(proxy);
}

static void worker_run(void *arg)
{
    uint64_t number;

    (void)arg;
    while ((number = atomic_fetch_add(&next_case, 1)) < case_count)
        case_run(seed_first + number);
}

int main(int argc, char **argv)
{
    unsigned workers = argc > 4 ? (unsigned)atoi(argv[4]) : WORKERS_DEFAULT;
    unsigned long kib;

    if (argc < 4 || argc > 5) {
        fprintf(stderr, "usage: mutate_replies PORT SEED COUNT [WORKERS]\n");
        return 2;
    }
    port = argv[1];
    seed_first = strtoull(argv[2], NULL, 10);
    case_count = strtoull(argv[3], NULL, 10);
    s3_trials_init();
    s3_trials_work(workers, worker_run);
    kib = s3_trials_rss_peak();
    if (kib == 0 || kib > S3_TRIAL_RSS_MAX_KIB(workers)) { /* B4 */
        fprintf(stderr, "memory: %lu KiB, the limit is %u\n", kib, S3_TRIAL_RSS_MAX_KIB(workers));
        return 1;
    }
    if (getenv("VARVE_MUTATIONS_SHOWN"))
        fprintf(stderr,
                "%" PRIu64 " cases, %" PRIu64 " ended in success, %u wrong, %lu KiB at most\n",
                case_count, (uint64_t)ended_well, s3_trials_failed(), kib);
    return s3_trials_failed() > 0;
}
