/*
 * varve-sim: runs seeds of the simulation.
 *
 *   varve-sim --seed N --count M    seeds N to N+M-1
 *     --threads J       in J processes
 *     --events N        events of a seed, instead of what it says itself
 *     --trace-hash      prints the hash of each seed's trace
 *     --story           prints what happens as it happens; --calls: each call on the seams, too
 *     --shorten         looks for the fewest events with which the seed fails
 *   varve-sim --crash-points        each durable step of some stories with a crash at it (crash.c)
 *   varve-sim --crash STORY:STEP:FAULT:TRY   one of them, with what happens
 *     --seconds S       begins no seed after so much processor time of each thread
 *     --table           a zero in the table of steps and faults fails, when enough seeds have run
 */
#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/world.h"

#define EVENTS_MIN 1000
#define TABLE_SEEDS_MIN 20000 /* with which every cell of the table should have been reached */

struct options {
    uint64_t seed, count;
    unsigned processes;
    unsigned events;
    double seconds; /* of processor time; 0: as long as it takes */
    bool trace_hash, story, calls, shorten, table;
    bool crash_points;
    unsigned every;
    const char *crash;
};

/* What all processes have done, in shared memory. */
struct totals {
    struct sim_points points;
    uint64_t seeds, failed, brief, events, faults, acked, read, crashes, takeovers, uploads;
    double days;
};

static int64_t pick(struct sim_random *r, const int64_t *from, size_t count)
{
    return from[sim_below(r, count)];
}

#define PICK(r, ...)                                                                               \
    pick(r, (const int64_t[]){__VA_ARGS__},                                                        \
         sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

/* Two of three seeds have a fault of their own, one after the other of all there are, and the world
 * in which it is likely. */
static void setup_aim(struct sim_setup *s, struct sim_random *r)
{
    if (!s->faults || sim_chance(r, 1, 3))
        return;
    s->has_target = true;
    s->target = sim_points_at((unsigned)(s->seed % sim_points_count()));
    if (s->target.kind == SIM_JOURNAL ||
        (s->target.step >= SIM_BEGIN && s->target.step <= SIM_CHECK))
        s->part_bytes = 2048;
    if (s->target.kind == SIM_PAGE || s->target.kind == SIM_LOCAL_PAGE)
        s->folds = true;
    if (s->target.kind == SIM_LEASE)
        s->lease_ms = 3000;
    s->split = s->target.kind == SIM_SEGMENT && s->target.step == SIM_RENAME;
    if (s->target.kind == SIM_DIVERGENT || s->split) {
        s->rival = true;
        s->lease_ms = 0;
    }
}

static struct sim_setup setup_of(uint64_t seed)
{
    struct sim_random r = {seed * 2 + 1};
    struct sim_setup s = {
        .seed = seed,
        .events = EVENTS_MIN + (unsigned)sim_below(&r, 300),
        .fsync = sim_chance(&r, 1, 2),
        .lease_ms = sim_chance(&r, 1, 4) ? 3000 : 0,
        .part_bytes = sim_chance(&r, 1, 3) ? 2048 : 0,
        .error_rate = (unsigned)PICK(&r, 0, 10, 50, 200),
        .faults = !sim_chance(&r, 1, 10),
        .rival = sim_chance(&r, 1, 2),
        .wall_jumps = sim_chance(&r, 1, 4),
        .retention_ms = PICK(&r, -1, -1, 3600000, 300000),
        .retention_bytes = PICK(&r, -1, -1, -1, 40000),
        .local_retention_ms = PICK(&r, -2, 1000, 60000),
        .local_retention_bytes = PICK(&r, -2, -2, 10000, 30000),
        .delete_delay_ms = PICK(&r, 0, 1000, 60000),
        .segment_ms = PICK(&r, -1, 1000, 60000),
        .flush_ms = PICK(&r, -1, 1000, 100),
        .segment_bytes = PICK(&r, 8192, 8192, 16384, 24576),
    };

    s.folds = sim_chance(&r, 1, 3);
    s.fold.root_entries = 1 + (size_t)sim_below(&r, 8);
    s.fold.page_entries = 1 + (size_t)sim_below(&r, s.fold.root_entries + 1);
    s.fold.page_refs = 3 + (size_t)sim_below(&r, 4);
    setup_aim(&s, &r);
    s.rots = s.faults && seed % 6 == 5;
    s.again = seed % 6 == 2;
    return s;
}

static void totals_add(struct totals *t, const struct sim_world *w)
{
    sim_points_add(&t->points, &w->points);
    t->seeds++;
    t->failed += w->failed;
    t->brief += !w->failed && w->event_count < EVENTS_MIN;
    t->events += w->event_count;
    t->faults += w->fault_count;
    t->acked += w->acked;
    t->read += w->read;
    t->crashes += w->crashes;
    t->takeovers += w->takeovers;
    t->uploads += w->uploads;
    t->days += (double)w->now_ns / 86400e9;
}

/* Runs one seed; the caller frees. */
static struct sim_world *seed_run(const struct options *o, const struct sim_setup *setup,
                                  FILE *echo)
{
    struct sim_world *w = calloc(1, sizeof(*w));

    assert(w);
    w->trace.echo = echo;
    w->trace.calls = o->calls ? echo : NULL;
    sim_world_init(w, setup);
    while (!w->failed && w->event_count < setup->events)
        sim_event(w, NULL);
    if (!w->failed)
        sim_check(w);
    sim_world_deinit(w);
    return w;
}

static unsigned shorten(const struct options *o, struct sim_setup setup)
{
    unsigned low = 1, high = setup.events;

    while (low < high) {
        struct sim_world *w;

        setup.events = (low + high) / 2;
        w = seed_run(o, &setup, NULL);
        if (w->failed)
            high = setup.events;
        else
            low = setup.events + 1;
        free(w);
    }
    return high;
}

static void failure_print(const struct options *o, const struct sim_world *w)
{
    printf("seed %" PRIu64 " failed after %" PRIu64 " events: %s\n", w->setup.seed, w->event_count,
           w->why);
    printf("  the end of its story:\n");
    sim_trace_print(&w->trace, stdout);
    printf("  again: varve-sim --seed %" PRIu64 " --count 1 --story", w->setup.seed);
    if (o->events > 0)
        printf(" --events %u", o->events);
    printf("\n");
    if (o->shorten)
        printf("  shortest: --events %u\n", shorten(o, w->setup));
    fflush(stdout);
}

static double seconds_of(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Of this process and those that it has waited for. */
static double seconds_used(void)
{
    struct rusage all;

    getrusage(RUSAGE_CHILDREN, &all);
    return seconds_of(CLOCK_PROCESS_CPUTIME_ID) +
           (double)(all.ru_utime.tv_sec + all.ru_stime.tv_sec) +
           (double)(all.ru_utime.tv_usec + all.ru_stime.tv_usec) / 1e6;
}

static volatile uint64_t seed_now;

/* An assertion failed, or a lock is taken twice: of which seed? */
static void on_abort(int number)
{
    char text[64];
    int size = snprintf(text, sizeof(text), "aborted in seed %" PRIu64 "\n", seed_now);

    if (size > 0 && write(STDERR_FILENO, text, (size_t)size) < 0)
        _exit(1);
    (void)number;
}

static void seeds_run(const struct options *o, uint64_t first, uint64_t step, struct totals *t)
{
    for (uint64_t i = first; i < o->count; i += step) {
        struct sim_setup setup = setup_of(o->seed + i);
        struct sim_world *w;

        if (o->seconds > 0 && seconds_of(CLOCK_PROCESS_CPUTIME_ID) >= o->seconds)
            return;
        if (o->events > 0)
            setup.events = o->events;
        seed_now = setup.seed;
        w = seed_run(o, &setup, o->story || o->calls ? stdout : NULL);
        totals_add(t, w);
        if (w->failed)
            failure_print(o, w);
        if (o->trace_hash)
            printf("seed %" PRIu64 " trace %016" PRIx64 "\n", setup.seed, w->trace.hash);
        free(w);
        if (t->failed >= 10)
            return; /* it is broken enough */
    }
}

static bool processes_run(const struct options *o, struct totals *all)
{
    struct totals *each = mmap(NULL, o->processes * sizeof(*each), PROT_READ | PROT_WRITE,
                               MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    bool ok = each != MAP_FAILED;

    fflush(stdout);
    for (unsigned i = 0; ok && i < o->processes; i++) {
        pid_t pid = o->processes == 1 ? 0 : fork();

        if (pid < 0)
            ok = false;
        if (pid != 0)
            continue;
        if (o->processes > 1)
            (void)prctl(PR_SET_PDEATHSIG, SIGTERM); /* who ends this process ends all of them */
        seeds_run(o, i, o->processes, &each[i]);
        fflush(stdout);
        if (o->processes > 1)
            _exit(0);
    }
    for (unsigned i = 0; o->processes > 1 && i < o->processes; i++) {
        int status = 0;

        if (wait(&status) < 0 || status != 0) {
            printf("a process ended with status %d\n", status);
            ok = false;
        }
    }
    for (unsigned i = 0; ok && i < o->processes; i++) {
        const struct totals *t = &each[i];

        sim_points_add(&all->points, &t->points);
        all->seeds += t->seeds;
        all->failed += t->failed;
        all->brief += t->brief;
        all->events += t->events;
        all->faults += t->faults;
        all->acked += t->acked;
        all->read += t->read;
        all->crashes += t->crashes;
        all->takeovers += t->takeovers;
        all->uploads += t->uploads;
        all->days += t->days;
    }
    return ok;
}

static bool options_parse(int argc, char **argv, struct options *o)
{
    static const struct option longs[] = {
        {"seed", required_argument, NULL, 's'},    {"count", required_argument, NULL, 'n'},
        {"threads", required_argument, NULL, 'j'}, {"seconds", required_argument, NULL, 'S'},
        {"events", required_argument, NULL, 'e'},  {"trace-hash", no_argument, NULL, 'h'},
        {"story", no_argument, NULL, 'v'},         {"calls", no_argument, NULL, 'c'},
        {"shorten", no_argument, NULL, 'x'},       {"table", no_argument, NULL, 't'},
        {"crash-points", no_argument, NULL, 'p'},  {"every", required_argument, NULL, 'E'},
        {"crash", required_argument, NULL, 'P'},   {NULL, 0, NULL, 0}};
    int c;

    *o = (struct options){.seed = 1, .count = 1, .processes = 1, .every = 1};
    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1)
        switch (c) {
        case 's':
            o->seed = strtoull(optarg, NULL, 10);
            break;
        case 'n':
            o->count = strtoull(optarg, NULL, 10);
            break;
        case 'j':
            o->processes = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'S':
            o->seconds = strtod(optarg, NULL);
            break;
        case 'e':
            o->events = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'h':
            o->trace_hash = true;
            break;
        case 'v':
            o->story = true;
            break;
        case 'c':
            o->calls = true;
            break;
        case 'x':
            o->shorten = true;
            break;
        case 'p':
            o->crash_points = true;
            break;
        case 'E':
            o->every = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'P':
            o->crash = optarg;
            break;
        case 't':
            o->table = true;
            break;
        default:
            return false;
        }
    return optind == argc && o->processes > 0 && o->every > 0;
}

/* The table of steps and faults; false: it is not as it should be. */
static bool table_print(const struct options *o, const struct totals *t)
{
    unsigned zeros = sim_points_print(&t->points, stdout);
    unsigned unknown = sim_points_unknown(&t->points);

    if (unknown > 0)
        printf("%u steps are taken that the table does not know\n", unknown);
    if (zeros > 0)
        printf("%u combinations were not reached%s\n", zeros,
               t->seeds < TABLE_SEEDS_MIN ? ", with so few seeds" : "");
    return unknown == 0 && !(o->table && zeros > 0 && t->seeds >= TABLE_SEEDS_MIN);
}

int main(int argc, char **argv)
{
    struct options o;
    static struct totals t;
    double begin = seconds_of(CLOCK_MONOTONIC), took;
    bool ok;

    if (!options_parse(argc, argv, &o)) {
        fprintf(stderr, "usage: varve-sim --seed N --count M [--threads J] [--events N] "
                        "[--seconds S] [--trace-hash] [--story] [--calls] [--shorten] [--table]\n");
        return 2;
    }
    /* The engine takes and gives back large buffers all the time: the kernel need not hear of it.
     */
    mallopt(M_MMAP_THRESHOLD, 256 << 20);
    mallopt(M_TRIM_THRESHOLD, 256 << 20);
    if (o.crash_points)
        return sim_crash_points(o.processes, o.every, stdout);
    if (o.crash)
        return sim_crash_one(o.crash, o.calls, stdout);
    (void)signal(SIGABRT, on_abort);
    ok = processes_run(&o, &t);
    took = seconds_of(CLOCK_MONOTONIC) - begin;
    ok = (o.count == 1 || table_print(&o, &t)) && ok;
    if (o.events == 0 && t.brief > 0) {
        printf("%" PRIu64 " seeds had fewer than %d events\n", t.brief, EVENTS_MIN);
        ok = false;
    }
    printf("%" PRIu64 " seeds, %" PRIu64 " failed; %" PRIu64 " events, %" PRIu64
           " records acknowledged, %" PRIu64 " read, %" PRIu64 " uploaded; %" PRIu64
           " faults, %" PRIu64 " crashes, %" PRIu64 " changes of owner\n",
           t.seeds, t.failed, t.events, t.acked, t.read, t.uploads, t.faults, t.crashes,
           t.takeovers);
    printf("%.1f simulated days in %.1f s (processor time %.1f s); %.1f seeds/s, "
           "%.2f simulated days/s, %.0f faults/s\n",
           t.days, took, seconds_used(), (double)t.seeds / took, t.days / took,
           (double)t.faults / took);
    return ok && t.failed == 0 ? 0 : 1;
}
