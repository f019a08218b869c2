/*
 * The whole s3 driver over replies that no store should give: each operation of cold/store.h
 * through each bad reply of varve-fakes3. s3_trial.h says what must hold.
 *
 *   bad_replies rules        prints the rules for the server, a bucket for each case
 *   bad_replies run PORT     runs all cases
 *
 * The rules are for the access key of the profile "spoilt"; what is prepared and checked goes by
 * the profile "clean". test_bad_replies.py makes both.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/integration/s3_trial.h"

#define WORKERS 6

struct reply {
    const char *name;
    const char *effects;
    unsigned lies;
};

static const struct reply replies[] = {
    {"bomb", "xml=bomb", S3_LIE_BODY},
    {"deep", "xml=deep", S3_LIE_BODY},
    {"half", "xml=truncated", S3_LIE_BODY},
    {"garbage", "xml=garbage", S3_LIE_BODY},
    {"empty", "xml=empty", S3_LIE_BODY},
    {"huge", "xml=huge", S3_LIE_BODY},
    {"html", "xml=html", S3_LIE_BODY},
    {"headers", "headers=10M"},
    {"endless-body", "endless=body"},
    {"endless-chunks", "endless=chunked"},
    {"endless-headers", "endless=headers"},
    {"range-ignored", "range=ignore"},
    {"range-wrong", "range=wrong"},
    {"range-none", "range=none"},
    {"range-short", "range=short"},
    {"no-length", "length=none"},
    {"longer", "length=+7", S3_LIE_SIZE},
    {"longest", "length=+9000000000000000000", S3_LIE_SIZE},
    {"shorter", "length=-7", S3_LIE_BODY | S3_LIE_SIZE},
    {"cut", "cut=3"},
    {"cut-rst", "cut=20 end=rst"},
    {"bodiless", "cut=0"},
    {"error-200", "error-body", S3_LIE_BODY},
    {"slow-200", "error-body=SlowDown", S3_LIE_BODY},
    {"status-204", "status=204", S3_LIE_DELETED},
    {"status-299", "status=299", S3_LIE_BODY},
    {"status-304", "status=304"},
    {"status-418", "status=418"},
    {"redirect", "redirect=307 location=127.0.0.1:1"},
    {"region", "redirect=301 region=nowhere"},
    {"etag-none", "etag=none"},
    {"etag-wrong", "etag=wrong", S3_LIE_ETAG},
    {"no-answer", "drop=rst"},
    {"lost", "lose=fin"},
    {"chunked", "chunked"}, /* nothing is wrong with that */
};

#define REPLY_COUNT (sizeof(replies) / sizeof(replies[0]))

#define CASE_COUNT (s3_operation_count * REPLY_COUNT)

static void case_name(size_t number, char *ret, size_t size)
{
    snprintf(ret, size, "%s-%s", s3_operations[number / REPLY_COUNT].name,
             replies[number % REPLY_COUNT].name);
}

static const char *port;
static atomic_size_t next_case;

static void case_run(size_t number)
{
    char name[64], verdict[300];
    atomic_uint lies = replies[number % REPLY_COUNT].lies;
    struct s3_trial t = {.name = name,
                         .bucket = name,
                         .prefix = "pre/fix",
                         .clean_port = port,
                         .spoilt_port = port,
                         .lies = &lies};
    double seconds;

    case_name(number, name, sizeof(name));
    s3_trial_open(&t);
    s3_trial_run(&t, &s3_operations[number / REPLY_COUNT], verdict, sizeof(verdict), &seconds);
    printf("%-32s %5.2f s  %s\n", name, seconds, verdict);
    s3_trial_close(&t);
}

static void worker_run(void *arg)
{
    size_t number;

    (void)arg;
    while ((number = atomic_fetch_add(&next_case, 1)) < CASE_COUNT)
        case_run(number);
}

static int run(void)
{
    unsigned long kib;

    s3_trials_init();
    s3_trials_work(WORKERS, worker_run);
    kib = s3_trials_rss_peak();
    printf("%zu cases, %u wrong, %lu KiB at most\n", CASE_COUNT, s3_trials_failed(), kib);
    if (kib == 0 || kib > S3_TRIAL_RSS_MAX_KIB(WORKERS)) { /* B4 */
        fprintf(stderr, "memory: %lu KiB, the limit is %u\n", kib, S3_TRIAL_RSS_MAX_KIB(WORKERS));
        return 1;
    }
    return s3_trials_failed() > 0;
}

#define SPOILT "access-key=spoilt"

static int print_rules(void)
{
    char name[64];

    for (size_t i = 0; i < CASE_COUNT; i++) {
        const struct s3_operation *op = &s3_operations[i / REPLY_COUNT];

        case_name(i, name, sizeof(name));
        if (op->loses)
            printf("bucket=%s " SPOILT " op=%s lose=rst times=1\n", name, op->loses);
        printf("bucket=%s " SPOILT " op=%s %s\n", name, op->fakes3,
               replies[i % REPLY_COUNT].effects);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "rules") == 0)
        return print_rules();
    if (argc == 3 && strcmp(argv[1], "run") == 0) {
        port = argv[2];
        return run();
    }
    fprintf(stderr, "usage: bad_replies rules | run PORT\n");
    return 2;
}
