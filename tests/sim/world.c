/* Time, faults and crashes: what the seams ask the world. */
#include "tests/sim/world.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define MS INT64_C(1000000)
#define WALL_MS INT64_C(1700000000000) /* where the clock begins */
#define DISK_BYTES (UINT64_C(256) << 20)
#define TARGET_AGE_MAX 400 /* steps that one target is waited for */

void sim_fail(struct sim_world *w, const char *format, ...)
{
    va_list ap;

    if (w->failed)
        return; /* the first counts */
    w->failed = true;
    va_start(ap, format);
    (void)vsnprintf(w->why, sizeof(w->why), format, ap);
    va_end(ap);
    sim_trace_line(&w->trace, "FAILED: %s", w->why);
}

int64_t sim_world_ms(const struct sim_world *w)
{
    return WALL_MS + w->now_ns / MS;
}

/* ---- time ---- */

/*
 * One thread plays all machines, and one acts while another waits with its locks held: to
 * ThreadSanitizer, which looks for locks taken in two orders, that is a thread of its own.
 */
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>

static void *others_begin(void)
{
    static void *others;
    void *one = __tsan_get_current_fiber();

    if (!others)
        others = __tsan_create_fiber(0);
    if (one != others)
        __tsan_switch_to_fiber(others, 0);
    return one;
}

static void others_end(void *one)
{
    if (__tsan_get_current_fiber() != one)
        __tsan_switch_to_fiber(one, 0);
}
#else
static void *others_begin(void)
{
    return NULL;
}

static void others_end(void *one)
{
    (void)one;
}
#endif

void sim_pass(struct sim_world *w, struct sim_process *p, int64_t ns)
{
    int64_t end = w->now_ns + ns;

    if (!p && w->setup.lease_ms == 0 && ns > 0) { /* nobody acts meanwhile */
        w->now_ns = end;
        return;
    }
    while (w->now_ns < end) {
        int64_t slice = end - w->now_ns < 100 * MS ? end - w->now_ns : 100 * MS;

        void *one = others_begin();

        w->now_ns += slice;
        for (unsigned i = 0; i < SIM_PROCESSES; i++)
            sim_renew(&w->processes[i]);
        if (p && !w->walk && w->depth == 0 && w->quiet == 0 && !w->failed &&
            sim_chance(&w->actors, 1, w->setup.rival ? 12 : 40)) {
            w->depth++;
            sim_event(w, p);
            w->depth--;
        }
        others_end(one);
    }
}

static int64_t clock_wall_ms(void *ctx)
{
    struct sim_process *p = ctx;

    return sim_world_ms(p->world) + (p->machine ? p->machine->skew_ms : 0);
}

static int64_t clock_mono_ns(void *ctx)
{
    struct sim_process *p = ctx;

    return 1000 * MS + p->world->now_ns + p->dead_ns - (p->machine ? p->machine->boot_ns : 0);
}

static void clock_sleep_ns(void *ctx, int64_t ns)
{
    struct sim_process *p = ctx;

    if (p->caller.dead)
        p->dead_ns += ns;
    else if (ns > 0)
        sim_pass(p->world, p, ns);
}

static void random_fill(void *ctx, void *buf, size_t size)
{
    struct sim_process *p = ctx;
    uint8_t *to = buf;

    while (size > 0) {
        uint64_t bits = sim_u64(&p->world->ids);
        size_t n = size < 8 ? size : 8;

        memcpy(to, &bits, n);
        to += n;
        size -= n;
    }
}

/* ---- crashes ---- */

void sim_crash(struct sim_world *w, struct sim_process *p, bool power)
{
    struct sim_machine *m = p->machine;

    w->crashes++;
    w->fault_count++;
    if (m)
        sim_disk_freeze(m->disk);
    for (unsigned i = 0; i < SIM_PROCESSES; i++) {
        struct sim_process *other = &w->processes[i];

        if (other == p || (power && m && other->machine == m)) {
            other->caller.dead = true;
            other->wants = other->wants || (power && sim_chance(&w->actors, 1, 2));
        }
    }
    if (power && m) {
        m->dark = true;
        m->shaken = true;
    }
    sim_trace_line(&w->trace, "  %s",
                   power && m ? m->index ? "machine 1 loses power" : "machine 0 loses power"
                              : p->name);
    if (!power || !m)
        sim_trace_line(&w->trace, "  is killed");
}

void sim_bury(struct sim_world *w)
{
    for (unsigned i = 0; i < SIM_PROCESSES; i++) {
        struct sim_process *p = &w->processes[i];

        if (p->caller.dead && p->call == SIM_CALL_NONE && !p->renewing) {
            sim_process_close(p);
            p->caller.dead = false;
            p->dead_ns = 0;
            if (p->machine && !p->machine->dark)
                sim_disk_thaw(p->machine->disk);
        }
    }
    for (unsigned i = 0; i < 2; i++) {
        struct sim_machine *m = &w->machines[i];
        bool busy = false;

        for (unsigned j = 0; j < SIM_PROCESSES; j++)
            busy = busy || (w->processes[j].machine == m && w->processes[j].caller.dead);
        if (!m->dark || busy)
            continue;
        sim_disk_thaw(m->disk);
        sim_disk_cut_power(m->disk, w->walk && w->walk->strict);
        sim_rot_power(w, m);
        m->dark = false;
        m->boots++;
        m->boot_ns = w->now_ns;
        (void)snprintf(m->boot_id, sizeof(m->boot_id), "%08x-0000-4000-8000-%012x\n", m->index,
                       m->boots);
    }
}

/* ---- faults ---- */

static void target_pick(struct sim_world *w)
{
    w->target = sim_points_at((unsigned)sim_below(&w->faults, sim_points_count()));
    w->target_left = (unsigned)sim_below(&w->faults, 1 + sim_below(&w->faults, 12));
    w->target_age = 0;
}

/* The seed's own are taken from the end. */
static void own_pick(struct sim_world *w)
{
    if (!w->setup.has_target)
        return;
    w->own[w->own_count++] = w->setup.target;
    if (sim_points_prelude(&w->setup.target, &w->own[w->own_count]))
        w->own_count++;
}

static bool is_at(const struct sim_target *t, enum sim_kind kind, enum sim_step step)
{
    return t->kind == kind && t->step == step;
}

static void made(struct sim_world *w, enum sim_kind kind, enum sim_step step, enum sim_fault f)
{
    w->points.made[kind][step][f]++;
    w->fault_count++;
    if (f == SIM_FLIP)
        w->flips++;
}

/* Of a story of which each step crashes in turn. */
static void walk_verdict(struct sim_walk *k, enum sim_kind kind, enum sim_step step,
                         struct sim_verdict *v)
{
    if (!sim_point_can(kind, step, SIM_KILL_BEFORE))
        return;
    if (k->steps && k->count < k->capacity)
        k->steps[k->count++] = (struct sim_target){kind, step, SIM_KILL_BEFORE};
    if (k->taken++ != k->at || v->faulty)
        return;
    v->faulty = true;
    v->fault = k->fault;
}

static struct sim_verdict verdict(struct sim_world *w, struct sim_process *p, enum sim_kind kind,
                                  enum sim_step step, const char *what)
{
    struct sim_verdict v = {.chance = sim_u64(&w->chaos) >> 1};

    w->points.reached[kind][step]++;
    if (w->quiet > 0 || !w->setup.faults || w->failed)
        return v;
    if (w->own_count > 0 && is_at(&w->own[w->own_count - 1], kind, step)) {
        v.faulty = w->walk || sim_chance(&w->faults, 1, 2); /* not always at the first time */
        v.fault = w->own[w->own_count - 1].fault;
        w->own_count -= v.faulty;
    } else if (!w->walk && is_at(&w->target, kind, step)) {
        v.faulty = w->target_left == 0;
        v.fault = w->target.fault;
        if (v.faulty)
            target_pick(w);
        else
            w->target_left--;
    } else if (++w->target_age > TARGET_AGE_MAX) {
        target_pick(w);
    }
    if (w->walk)
        walk_verdict(w->walk, kind, step, &v);
    else if (!v.faulty && sim_chance(&w->faults, w->setup.error_rate, 10000)) {
        v.fault = (enum sim_fault)(SIM_TORN + 1 + sim_below(&w->faults, SIM_FAULTS - SIM_TORN - 1));
        v.faulty = sim_point_can(kind, step, v.fault);
    }
    if (!v.faulty)
        return v;
    sim_trace_line(&w->trace, "  %s: %s at %s.%s %.120s", p->name, sim_fault_name(v.fault),
                   sim_kind_name(kind), sim_step_name(step), what);
    if (v.fault == SIM_KILL_BEFORE || v.fault == SIM_POWER_BEFORE) {
        made(w, kind, step, v.fault);
        sim_crash(w, p, v.fault == SIM_POWER_BEFORE);
    } else if (!sim_fault_crashes(v.fault)) {
        made(w, kind, step, v.fault);
        if (step == SIM_SYNC && p->machine && (kind == SIM_SEGMENT || kind == SIM_DIRECTORY))
            p->machine->shaken = true; /* what was not synced is lost now */
    }
    return v;
}

static struct sim_verdict before_io(void *ctx, struct sim_caller *c, enum sim_kind kind,
                                    enum sim_step step, const char *path)
{
    return verdict(ctx, c->owner, kind, step, path);
}

static struct sim_verdict before_request(void *ctx, struct sim_caller *c, enum sim_kind kind,
                                         enum sim_step step, const char *key)
{
    struct sim_world *w = ctx;
    struct sim_process *p = c->owner;

    sim_pass(w, p, (int64_t)(1 + sim_below(&w->chaos, 20)) * MS);
    if (c->dead)
        return (struct sim_verdict){0};
    return verdict(w, p, kind, step, key);
}

static void after_step(void *ctx, struct sim_caller *c, enum sim_kind kind, enum sim_step step,
                       const struct sim_verdict *v)
{
    struct sim_world *w = ctx;

    if (v->fault != SIM_KILL_AFTER && v->fault != SIM_POWER_AFTER && v->fault != SIM_TORN)
        return;
    made(w, kind, step, v->fault);
    sim_crash(w, c->owner, v->fault != SIM_KILL_AFTER);
}

static const char *proc_text(void *ctx, struct sim_caller *c, const char *path)
{
    struct sim_process *p = c->owner;

    (void)ctx;
    if (!p->machine)
        return NULL;
    if (strcmp(path, "/proc/sys/kernel/random/boot_id") == 0)
        return p->machine->boot_id;
    if (strcmp(path, "/proc/sys/kernel/hostname") == 0)
        return p->machine->index ? "machine1\n" : "machine0\n";
    return strcmp(path, "/proc/self/comm") == 0 ? p->name : NULL;
}

static int64_t bucket_ms(void *ctx)
{
    return sim_world_ms(ctx);
}

/* ---- making the world ---- */

static int open_bucket(void *ctx, const struct base_env *env, const char *url,
                       const struct cold_store_options *options, struct cold_store **ret,
                       struct varve_error *err)
{
    struct sim_process *p = ctx;

    return sim_bucket_open(p->world->bucket, &p->caller, env, url, p->world->setup.part_bytes,
                           options->read_only, ret, err);
}

static void process_init(struct sim_world *w, unsigned i, const char *name,
                         struct sim_machine *machine, bool writes)
{
    struct sim_process *p = &w->processes[i];

    *p = (struct sim_process){
        .world = w, .name = name, .machine = machine, .writes = writes, .at = -1};
    p->caller = (struct sim_caller){.owner = p, .disk = machine ? machine->disk : w->nothing};
    sim_disk_io(&p->caller, &p->io);
    p->clock = (struct base_clock){.ctx = p,
                                   .wall_ms = clock_wall_ms,
                                   .mono_ns = clock_mono_ns,
                                   .boot_ns = clock_mono_ns,
                                   .sleep_ns = clock_sleep_ns};
    p->random = (struct base_random){.ctx = p, .fill = random_fill};
    p->opener = (struct cold_opener){.ctx = p, .open = open_bucket};
    p->env = (struct base_env){.io = &p->io,
                               .clock = &p->clock,
                               .random = &p->random,
                               .cold = &p->opener,
                               .no_threads = true,
                               .fold = w->setup.folds ? &w->setup.fold : NULL,
                               .pid = 1000 + (long)i};
}

void sim_world_init(struct sim_world *w, const struct sim_setup *setup)
{
    const struct sim_disk_hooks disk = {.ctx = w,
                                        .trace = &w->trace,
                                        .random = &w->chaos,
                                        .before = before_io,
                                        .after = after_step,
                                        .unlink = sim_model_unlink,
                                        .proc = proc_text};
    const struct sim_bucket_hooks bucket = {.ctx = w,
                                            .trace = &w->trace,
                                            .random = &w->chaos,
                                            .now_ms = bucket_ms,
                                            .before = before_request,
                                            .after = after_step,
                                            .stored = sim_model_stored,
                                            .removing = sim_model_removing};
    struct sim_random r = {setup->seed};

    w->setup = *setup;
    w->trace.hash = sim_u64(&r);
    w->actors.state = sim_u64(&r);
    w->faults.state = sim_u64(&r);
    w->chaos.state = sim_u64(&r);
    w->ids.state = sim_u64(&r);
    w->rots.state = sim_u64(&r);
    w->again.state = sim_u64(&r);
    w->attempt_count = 1;
    for (unsigned i = 0; i < 2; i++) {
        struct sim_machine *m = &w->machines[i];

        m->index = i;
        m->disk = sim_disk_new(&disk, DISK_BYTES);
        m->fresh = true;
        (void)snprintf(m->boot_id, sizeof(m->boot_id), "%08x-0000-4000-8000-%012x\n", i, 0u);
    }
    w->nothing = sim_disk_new(&disk, 0);
    w->bucket = sim_bucket_new(&bucket);
    process_init(w, 0, "a", &w->machines[0], true);
    process_init(w, 1, "b", &w->machines[1], true);
    process_init(w, 2, "r", &w->machines[0], false);
    process_init(w, 3, "x", NULL, false);
    target_pick(w);
    own_pick(w);
}

void sim_world_deinit(struct sim_world *w)
{
    w->quiet++;
    for (unsigned i = 0; i < SIM_PROCESSES; i++)
        sim_process_close(&w->processes[i]);
    for (unsigned i = 0; i < 2; i++) {
        sim_disk_free(w->machines[i].disk);
        free(w->machines[i].view.serials);
        free(w->machines[i].lost.serials);
    }
    sim_disk_free(w->nothing);
    sim_bucket_free(w->bucket);
    free(w->attempts);
    free(w->committed.serials);
}
