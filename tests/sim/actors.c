/* What processes do: one event at a time, picked by the seed. */
#include <inttypes.h>
#include <string.h>

#include "cold/manifest.h"
#include "tests/sim/world.h"
#include "tiering/lease.h"

#define MS INT64_C(1000000)
#define BATCH_RECORDS_MAX 12

/* ---- calls ---- */

/* What could explain a failure, as of the beginning of a call. */
struct excuse {
    uint64_t faults;
    bool trouble;
};

static bool in_trouble(const struct sim_world *w)
{
    return sim_bucket_is_down(w->bucket) || w->squeeze_until_ms > 0;
}

static struct excuse call_begin(struct sim_process *p)
{
    p->call = SIM_CALL_WORK;
    sim_rot_begin(p);
    return (struct excuse){p->world->fault_count, in_trouble(p->world)};
}

/*
 * What a displaced machine knows of the log is its past: objects that it names may be gone. After a
 * failed sync what was not synced may be gone at any time. And of its directory another process
 * sees what a dead writer left, until there is one that recovers it.
 */
static bool lags(const struct sim_process *p)
{
    return p->machine && (p->machine->displaced || p->machine->shaken ||
                          (!p->writes && !p->world->processes[0].log) ||
                          (!p->writes && p->opened_ns <= p->machine->aside_ns));
}

/* Ends a call; true when the process lives on. A failure needs a reason. */
static bool call_end(struct sim_process *p, const struct excuse *e, const char *what, int rc,
                     const struct varve_error *err)
{
    struct sim_world *w = p->world;
    bool rotten = false;

    p->call = SIM_CALL_NONE;
    if (p->caller.dead) {
        sim_bury(w);
        return false;
    }
    if (rc == VARVE_E_CORRUPT)
        rotten = sim_rot_explains(p, err);
    sim_trace_mix(&w->trace, 77, (uint64_t)rc, (uint64_t)w->now_ns);
    if (rc < 0 && rc != VARVE_E_END)
        sim_trace_line(&w->trace, "  %s %s: %.130s", p->name, what, err->msg);
    if (rc == VARVE_E_CORRUPT && w->flips == 0 && !lags(p) && !rotten)
        sim_fail(w, "%s %s: nothing is damaged at %" PRId64 ": %s", p->name, what, p->at, err->msg);
    else if (rc < 0 && rc != VARVE_E_END && !lags(p) && !rotten && e &&
             e->faults == w->fault_count && !e->trouble && !in_trouble(w))
        sim_fail(w, "%s %s fails without a reason: %s", p->name, what, err->msg);
    return !w->failed;
}

static bool owns(const struct sim_process *p)
{
    const struct sim_world *w = p->world;

    return p->machine && p->machine->has_id && base_id_equal(&w->owner, &p->machine->store_id);
}

/* ---- the lease, and who looks ---- */

void sim_renew(struct sim_process *p)
{
    struct sim_world *w = p->world;

    if (!p->store || !p->store->lease || !p->log || p->caller.dead || p->renewing ||
        p->call == SIM_CALL_OPEN || p->call == SIM_CALL_CLOSE || w->now_ns < p->renew_ns)
        return;
    p->renewing = true;
    (void)tiering_lease_renew(p->store->lease, NULL);
    p->renewing = false;
    p->renew_ns = w->now_ns + w->setup.lease_ms * MS / 4;
    if (p->caller.dead) /* others were busy meanwhile */
        sim_bury(w);
}

/* It is fenced. Closing would wait for a renewal that is under way: then it finds out once more. */
static void leave(struct sim_process *p)
{
    if (!p->renewing)
        sim_process_close(p);
}

/* ---- opening ---- */

static void act_open(struct sim_process *p)
{
    struct sim_world *w = p->world;
    struct varve_error err = {0};
    struct excuse e = {w->fault_count, in_trouble(w)};
    bool wants = p->wants;
    int rc;

    sim_trace_line(&w->trace, "%s opens%s", p->name, wants ? " and takes over" : "");
    rc = sim_process_open(p, &err);
    if (p->caller.dead) {
        sim_bury(w);
        return;
    }
    if (rc == VARVE_E_FENCED) { /* by another owner, or by one that lives */
        sim_trace_line(&w->trace, "  %s: %.130s", p->name, err.msg);
        if (!wants && !w->setup.lease_ms && owns(p) && e.faults == w->fault_count)
            sim_fail(w, "%s owns the log and is refused: %s", p->name, err.msg);
        p->wants = sim_chance(&w->actors, 1, 4);
        return;
    }
    if (rc == VARVE_E_NOT_FOUND && !w->has_root)
        return;
    if (rc == VARVE_E_EXISTS && w->has_root) /* the other has made the log at the same time */
        return;
    if (call_end(p, &e, "open", rc, &err) && rc == VARVE_E_CORRUPT && p->writes)
        sim_rot_mend(w, p->machine);
}

/* ---- writing ---- */

static int64_t next_timestamp(struct sim_process *p)
{
    struct sim_world *w = p->world;
    int64_t now = sim_world_ms(w);

    switch (sim_below(&w->actors, 40)) {
    case 0:
        return w->setup.retention_ms < 0 ? now + 86400000 + (int64_t)sim_below(&w->actors, 1000000)
                                         : now;
    case 1:
    case 2:
    case 3:
        return now - (int64_t)sim_below(&w->actors, 60000);
    default:
        return now;
    }
}

static void append_acked(struct sim_process *p, uint32_t first, int count, int64_t base)
{
    struct sim_world *w = p->world;
    struct sim_machine *m = p->machine;

    if (base != m->view.end)
        sim_fail(w, "%s appends at offset %" PRId64 ", not at %" PRId64, p->name, base,
                 m->view.end);
    /* The old owner may until the new one's opening has ended its lease (T5). */
    if (w->setup.lease_ms > 0 && tiering_log_epoch(p->log->tiering) < w->epoch_opened)
        sim_fail(w, "I6: %s acknowledges offset %" PRId64 ", and epoch %u is at work", p->name,
                 base, (unsigned)w->epoch_opened);
    for (int i = 0; i < count; i++)
        sim_view_set(&m->view, base + i, first + (uint32_t)i);
    if (w->setup.fsync && m->synced < m->view.end)
        m->synced = m->view.end;
    w->acked += (uint64_t)count;
}

/* It failed; in lease mode it may be in the log all the same. */
static void append_failed(struct sim_process *p, uint32_t first, int count,
                          const struct varve_error *err)
{
    struct sim_world *w = p->world;
    struct sim_machine *m = p->machine;
    struct varve_log_info info = {.size = sizeof(info)};
    struct hot_range range;

    (void)info;
    hot_set_range(p->log->hot, &range);
    if (range.end == m->view.end)
        return;
    if (range.end != m->view.end + count || !strstr(err->msg, "written, but not acknowledged"))
        sim_fail(w, "an append fails and the log ends at %" PRId64 ", not at %" PRId64, range.end,
                 m->view.end);
    for (int i = 0; i < count; i++)
        sim_view_set(&m->view, m->view.end, first + (uint32_t)i);
}

static void act_append(struct sim_process *p)
{
    struct sim_world *w = p->world;
    struct varve_batch *batch = NULL;
    struct varve_error err = {0};
    int count = 1 + (int)sim_below(&w->actors, BATCH_RECORDS_MAX), rc = 0;
    enum varve_codec codec = sim_chance(&w->actors, 1, 20)
                                 ? (enum varve_codec)(1 + sim_below(&w->actors, 4))
                                 : VARVE_CODEC_NONE;
    uint32_t first = w->attempt_count;
    int64_t base = -1;
    struct excuse e;
    bool fenced;

    if (varve_batch_new(codec, 0, 16384, &batch, NULL) < 0)
        return;
    for (int i = 0; i < count; i++) {
        char value[SIM_VALUE_MAX];
        int64_t ts = next_timestamp(p);
        uint32_t serial = sim_model_attempt(w, p->machine->index, p->machine->view.end + i, ts);
        struct varve_record record = {.timestamp = ts, .value = value};

        record.value_size = sim_model_value(serial, value);
        rc = varve_batch_add(batch, &record, &err);
        if (rc < 0) {
            sim_fail(w, "batch: %s", err.msg);
            break;
        }
    }
    e = call_begin(p);
    fenced = tiering_log_fenced(p->log->tiering);
    rc = varve_log_append(p->log, batch, &base, &err);
    varve_batch_free(batch);
    if (!p->caller.dead) {
        if (rc == 0 && fenced)
            sim_fail(w, "I6: %s has met a higher epoch and acknowledges offset %" PRId64, p->name,
                     base);
        if (rc == 0)
            append_acked(p, first, count, base);
        else
            append_failed(p, first, count, &err);
    }
    if (rc == VARVE_E_FENCED || rc == VARVE_E_FAILED || rc == VARVE_E_TIMEOUT) {
        bool alive = call_end(p, NULL, "append", rc, &err);

        if (alive && rc != VARVE_E_TIMEOUT) {
            if (rc == VARVE_E_FENCED && owns(p) && w->setup.lease_ms == 0)
                sim_fail(w, "%s owns the log and is fenced: %s", p->name, err.msg);
            p->machine->shaken = p->machine->shaken || rc == VARVE_E_FAILED;
            leave(p);
        }
        return;
    }
    (void)call_end(p, &e, "append", rc, &err);
}

static void act_sync(struct sim_process *p)
{
    struct sim_machine *m = p->machine;
    struct varve_error err = {0};
    int64_t end = m->view.end;
    struct excuse e = call_begin(p);
    int rc = varve_log_sync(p->log, &err);

    if (rc == 0 && !p->caller.dead && m->synced < end)
        m->synced = end;
    if (call_end(p, rc == VARVE_E_FENCED || rc == VARVE_E_FAILED ? NULL : &e, "sync", rc, &err) &&
        rc == VARVE_E_FAILED) {
        m->shaken = true;
        leave(p);
    }
}

static void act_seal(struct sim_process *p)
{
    struct varve_error err = {0};
    struct excuse e = call_begin(p);
    int rc = varve_log_seal(p->log, &err);

    (void)call_end(p, rc == VARVE_E_FAILED ? NULL : &e, "seal", rc, &err);
}

/* ---- tiering ---- */

static void act_collect(struct sim_process *p)
{
    struct sim_world *w = p->world;
    struct tiering_collect c = {.share_max = 1, .force = true};
    struct varve_error err = {0};
    int rc;

    (void)call_begin(p);
    rc = tiering_log_collect(p->log->tiering, &c, &err);
    sim_trace_line(&w->trace, "%s collects: %u orphans, %u uploads", p->name, c.orphans, c.uploads);
    (void)call_end(p, NULL, "collect", rc, &err);
}

static void act_step(struct sim_process *p)
{
    struct sim_world *w = p->world;
    struct varve_error err = {0};
    int64_t next = 0;
    int rc;

    (void)call_begin(p);
    rc = tiering_log_step(p->log->tiering, &next, &err);
    p->step_ms = next;
    if (!call_end(p, NULL, "step", rc, &err))
        return;
    if (rc == VARVE_E_FENCED && owns(p) && w->setup.lease_ms == 0)
        sim_fail(w, "%s owns the log and is fenced: %s", p->name, err.msg);
    /* Objects that wait for their root are old when the machine wakes, and not garbage. */
    if (rc < 0 && rc != VARVE_E_FENCED && w->setup.lease_ms == 0 && sim_chance(&w->actors, 1, 10)) {
        sim_trace_line(&w->trace, "the machine of %s sleeps", p->name);
        sim_pass(w, NULL, 3600000 * MS);
        sim_bucket_pass(w->bucket, false);
        act_collect(p);
    }
}

static void act_run(struct sim_process *p, bool seal, bool evict)
{
    struct sim_world *w = p->world;
    struct varve_tier_options o = {.size = sizeof(o), .seal = seal, .evict = evict};
    struct varve_error err = {0};
    int rc;

    sim_trace_line(&w->trace, "%s tiers%s%s", p->name, o.seal ? ", seals" : "",
                   o.evict ? ", evicts" : "");
    (void)call_begin(p);
    rc = varve_log_tier(p->log, &o, &err);
    (void)call_end(p, NULL, "tier", rc, &err);
}

static int64_t trim_pick(struct sim_process *p)
{
    struct sim_world *w = p->world;
    int64_t from = log_start(p->log), span = p->machine->view.end - from;

    if (w->setup.split && w->committed.end < p->machine->view.end)
        return (w->committed.end + p->machine->view.end) / 2;
    return from + (int64_t)sim_below(
                      &w->actors,
                      (uint64_t)(span > 0 ? span : 0) / (sim_chance(&w->actors, 1, 6) ? 1 : 4) + 1);
}

static void act_trim(struct sim_process *p, int64_t to)
{
    struct sim_world *w = p->world;
    struct sim_machine *m = p->machine;
    struct varve_error err = {0};
    struct excuse e;
    int rc;

    sim_trace_line(&w->trace, "%s trims to %" PRId64, p->name, to);
    if (to > w->trim_asked)
        w->trim_asked = to;
    e = call_begin(p);
    rc = varve_log_trim(p->log, to, &err);
    if (rc == 0 && to > m->trimmed)
        m->trimmed = to;
    if (rc == 0 && w->start < to)
        sim_fail(w, "I5: a trim to %" PRId64 " is done, and the root starts at %" PRId64, to,
                 w->start);
    (void)call_end(p, rc == VARVE_E_FENCED ? NULL : &e, "trim", rc, &err);
}

static void act_look(struct sim_process *p)
{
    struct sim_world *w = p->world;
    struct varve_error err = {0};
    bool displaced = p->machine->displaced;
    int rc;

    (void)call_begin(p);
    rc = tiering_log_look(p->log->tiering, true, &err);
    if (!call_end(p, NULL, "look", rc, &err))
        return;
    if (rc == 0 && displaced)
        sim_fail(w, "I6: %s was replaced, looks, and does not see it", p->name);
    if (rc == VARVE_E_FENCED)
        leave(p);
}

/* What it finds must have a reason as well: verify looks at both tiers, so nobody may interfere. Or
 * somebody does, and nothing is concluded. */
static void act_verify(struct sim_process *p)
{
    struct sim_world *w = p->world;
    struct varve_verify_options o = {.size = sizeof(o), .ctx = w};
    struct varve_error err = {0};
    struct excuse e;
    bool calm = sim_chance(&w->actors, 1, 2);
    int rc;

    if (calm && w->flips == 0 && !in_trouble(w) && !p->machine->displaced)
        o.found = sim_check_finding;
    o.deep = sim_chance(&w->actors, 1, 2);
    w->quiet += calm;
    e = call_begin(p);
    rc = varve_log_verify(p->log, &o, &err);
    w->quiet -= calm;
    (void)call_end(p, rc == VARVE_E_FENCED ? NULL : &e, "verify", rc, &err);
}

static void act_repair(struct sim_process *p)
{
    struct sim_world *w = p->world;
    struct varve_error err = {0};
    bool calm = sim_chance(&w->rots, 1, 2), whole = w->flips == 0 && !in_trouble(w);
    int rc;

    if (!p->log || p->call != SIM_CALL_NONE || p->caller.dead || !p->log->tiering || !owns(p))
        return;
    w->quiet += calm;
    (void)call_begin(p);
    rc = sim_rot_repair(p, calm && whole && w->setup.lease_ms == 0, &err);
    w->quiet -= calm;
    (void)call_end(p, NULL, "repair", rc, &err);
}

/* ---- reading ---- */

/* Reads up to `count` records from where the reader stands. */
static bool read_on(struct sim_process *p, struct varve_reader *reader, int64_t *at, unsigned count)
{
    struct sim_world *w = p->world;
    struct varve_error err = {0};
    struct varve_record record;

    for (; count > 0; count--) {
        struct excuse e = call_begin(p);
        int rc = varve_reader_next(reader, 0, &record, &err);
        bool alive;

        if (rc == VARVE_E_OUT_OF_RANGE || rc == VARVE_E_FAILED)
            return call_end(p, NULL, "read", rc, &err);
        p->at = *at;
        alive = call_end(p, rc == VARVE_E_END ? NULL : &e, "read", rc, &err);
        p->at = -1;
        if (!alive)
            return false;
        if (rc == VARVE_E_END && p->writes && *at < p->machine->view.end && *at >= w->start &&
            !p->machine->shaken)
            sim_fail(w, "%s reads the end at %" PRId64 ", and it is %" PRId64, p->name, *at,
                     p->machine->view.end);
        if (rc < 0)
            return false;
        if (record.offset != *at && (record.offset < *at || record.offset > w->start))
            sim_fail(w, "I1: %s reads offset %" PRId64 " where %" PRId64 " comes next", p->name,
                     record.offset, *at);
        if (w->failed || !sim_model_record(p, &record))
            return false;
        *at = record.offset + 1;
    }
    return true;
}

static void act_read_offset(struct sim_process *p)
{
    struct sim_world *w = p->world;
    int64_t from = w->start, end = p->machine ? p->machine->view.end : w->committed.end;
    int64_t at = from + (int64_t)sim_below(&w->actors, (uint64_t)(end > from ? end - from : 0) + 1);
    struct varve_reader_options o = {.size = sizeof(o), .from = VARVE_FROM_OFFSET, .offset = at};
    struct varve_error err = {0};
    unsigned count = 1 + (unsigned)sim_below(&w->actors, sim_chance(&w->actors, 1, 8) ? 200 : 4);
    struct excuse e = call_begin(p);
    int rc = varve_reader_open(p->log, &o, &p->reader, &err);

    if (rc == VARVE_E_OUT_OF_RANGE || rc == VARVE_E_NOT_FOUND) { /* readers elsewhere lag */
        if (p->writes && rc == VARVE_E_OUT_OF_RANGE && at >= w->start && at <= end &&
            !p->caller.dead)
            sim_fail(w, "%s: offset %" PRId64 " is out of range: %s", p->name, at, err.msg);
        e.faults--;
    }
    if (call_end(p, &e, "open a reader", rc, &err) && rc == 0)
        (void)read_on(p, p->reader, &at, count);
    p->reader = varve_reader_close(p->reader);
}

static void act_follow(struct sim_process *p)
{
    struct sim_world *w = p->world;
    struct varve_error err = {0};

    if (!p->follower) {
        struct varve_reader_options o = {.size = sizeof(o), .from = VARVE_FROM_START};
        struct excuse e = call_begin(p);
        int rc = varve_reader_open(p->log, &o, &p->follower, &err);

        if (!call_end(p, &e, "open a follower", rc, &err) || rc < 0)
            return;
        p->follower_next = varve_reader_offset(p->follower);
    }
    (void)read_on(p, p->follower, &p->follower_next, 1 + (unsigned)sim_below(&w->actors, 60));
}

/* By the local root: the reader's hint may lag. */
static int64_t local_start(struct sim_process *p)
{
    const struct index_root *root;
    struct index_root_pin *pin;
    int64_t start = 0;

    if (index_manifest_pin(p->log->manifest, &pin, &root, NULL) == 0) {
        start = root->start_offset;
        index_manifest_unpin(pin);
    }
    return start;
}

static void act_find_time(struct sim_process *p)
{
    struct sim_world *w = p->world;
    struct sim_machine *m = p->machine;
    int64_t start = local_start(p), want = -1, found = -1, found_ts = 0, t;
    struct varve_error err = {0};
    struct excuse e;
    int rc;

    if (m->view.end <= start)
        return;
    t = w->attempts[m->view.serials[start + (int64_t)sim_below(&w->actors,
                                                               (uint64_t)(m->view.end - start))]]
            .timestamp +
        (int64_t)sim_below(&w->actors, 3) - 1;
    e = call_begin(p);
    rc = varve_log_find_time(p->log, t, &found, &found_ts, &err);
    if (!call_end(p, rc == VARVE_E_NOT_FOUND ? NULL : &e, "find a time", rc, &err))
        return;
    /* Of a trim whose reply was lost the root may say more than the readers' hint. */
    if (rc == 0 && found >= log_start(p->log) && found < local_start(p))
        return;
    start = local_start(p);
    for (int64_t o = start; o < m->view.end && want < 0; o++)
        if (w->attempts[m->view.serials[o]].timestamp >= t)
            want = o;
    if (m->shaken)
        return;
    if (rc == VARVE_E_NOT_FOUND && want >= 0)
        sim_fail(w, "time %" PRId64 " is at offset %" PRId64 " and is not found", t, want);
    if (rc == 0 && found != want)
        sim_fail(w, "time %" PRId64 " is at offset %" PRId64 ", and %" PRId64 " is found", t, want,
                 found);
}

static void act_info(struct sim_process *p)
{
    struct sim_world *w = p->world;
    struct varve_log_info info = {.size = sizeof(info)};
    struct varve_error err = {0};
    struct excuse e = call_begin(p);
    int rc = varve_log_info(p->log, &info, &err);

    if (!call_end(p, &e, "info", rc, &err) || rc < 0)
        return;
    if (info.hot_start > info.cold_end && info.hot_start > info.start_offset)
        sim_fail(w, "I1: hot begins at %" PRId64 " and cold ends at %" PRId64, info.hot_start,
                 info.cold_end);
}

/* ---- the operator ---- */

static void act_operator(struct sim_world *w, const struct sim_process *busy)
{
    struct sim_process *p = &w->processes[sim_below(&w->actors, SIM_PROCESSES)];
    int64_t now = sim_world_ms(w);

    if (p == busy || p->call != SIM_CALL_NONE || p->renewing)
        return;
    switch (sim_below(&w->actors, 10)) {
    case 0:
    case 1:
    case 2:
        if (p->store) {
            sim_trace_line(&w->trace, "%s is stopped", p->name);
            if (!p->caller.dead)
                sim_process_close(p);
            sim_bury(w);
        }
        break;
    case 3:
    case 4:
        if (!w->setup.faults || !p->store)
            break;
        sim_crash(w, p, false);
        sim_bury(w);
        break;
    case 5:
        if (!w->setup.faults || !p->machine || (busy && busy->machine == p->machine))
            break;
        sim_crash(w, p, true);
        sim_bury(w);
        break;
    case 6:
        if (!w->setup.faults || !p->machine || !sim_chance(&w->actors, 1, 4) ||
            (busy && busy->machine == p->machine))
            break;
        sim_crash(w, p, true);
        sim_bury(w);
        sim_trace_line(&w->trace, "  and its disk is lost");
        sim_disk_wipe(p->machine->disk);
        sim_model_wiped(p->machine);
        w->processes[p->machine->index].wants = true;
        break;
    case 7:
        if (!w->setup.faults)
            break;
        w->down_until_ms = now + 1000 + (int64_t)sim_below(&w->actors, 600000);
        sim_bucket_set_down(w->bucket, true);
        sim_trace_line(&w->trace, "the bucket is away");
        break;
    case 8:
        if (!w->setup.faults || !p->machine)
            break;
        w->squeeze_until_ms = now + 1000 + (int64_t)sim_below(&w->actors, 300000);
        sim_disk_set_room(p->machine->disk, 4096 * sim_below(&w->actors, 12));
        sim_trace_line(&w->trace, "disk %u fills", p->machine->index);
        break;
    default:
        if (!w->setup.wall_jumps || !p->machine)
            break;
        p->machine->skew_ms += (int64_t)sim_below(&w->actors, 7200000) - 3600000;
        sim_trace_line(&w->trace, "the wall clock of machine %u jumps", p->machine->index);
    }
}

static void troubles_end(struct sim_world *w)
{
    int64_t now = sim_world_ms(w);

    if (w->down_until_ms > 0 && now >= w->down_until_ms) {
        w->down_until_ms = 0;
        sim_bucket_set_down(w->bucket, false);
        sim_trace_line(&w->trace, "the bucket is back");
    }
    if (w->squeeze_until_ms > 0 && now >= w->squeeze_until_ms) {
        w->squeeze_until_ms = 0;
        for (unsigned i = 0; i < 2; i++)
            sim_disk_set_room(w->machines[i].disk, UINT64_MAX);
        sim_trace_line(&w->trace, "disks have room again");
    }
}

/* ---- the scheduler ---- */

static void writer_event(struct sim_process *p)
{
    struct sim_world *w = p->world;
    uint64_t what = sim_below(&w->actors, 1000);

    if (!p->log->tiering)
        return;
    if (what < 480)
        act_append(p);
    else if (what < 500)
        act_sync(p);
    else if (what < 510)
        act_seal(p);
    else if (what < 620)
        act_step(p);
    else if (what < 635)
        act_run(p, sim_chance(&w->actors, 1, 2), sim_chance(&w->actors, 1, 2));
    else if (what < 640)
        act_collect(p);
    else if (what < 650 || (w->setup.split && what < 680))
        act_trim(p, trim_pick(p));
    else if (what < 660)
        act_look(p);
    else if (what < 663)
        act_verify(p);
    else if (what < 780)
        act_read_offset(p);
    else if (what < 860)
        act_find_time(p);
    else if (what < 970)
        act_follow(p);
    else
        act_info(p);
}

void sim_do(struct sim_process *p, enum sim_act act, int64_t arg)
{
    switch (act) {
    case SIM_ACT_OPEN:
        act_open(p);
        break;
    case SIM_ACT_CLOSE:
        sim_trace_line(&p->world->trace, "%s is stopped", p->name);
        sim_process_close(p);
        sim_bury(p->world);
        break;
    case SIM_ACT_APPEND:
        act_append(p);
        break;
    case SIM_ACT_SYNC:
        act_sync(p);
        break;
    case SIM_ACT_SEAL:
        act_seal(p);
        break;
    case SIM_ACT_STEP:
        act_step(p);
        break;
    case SIM_ACT_RUN:
        act_run(p, arg & SIM_RUN_SEALS, arg & SIM_RUN_EVICTS);
        break;
    case SIM_ACT_COLLECT:
        act_collect(p);
        break;
    case SIM_ACT_TRIM:
        act_trim(p, arg);
        break;
    case SIM_ACT_LOOK:
        act_look(p);
        break;
    case SIM_ACT_VERIFY:
        act_verify(p);
        break;
    case SIM_ACT_AGAIN:
        sim_again_do(p, (enum sim_again_act)arg);
        break;
    }
}

static void reader_event(struct sim_process *p)
{
    if (sim_chance(&p->world->actors, 1, 2))
        act_follow(p);
    else
        act_read_offset(p);
}

static void time_passes(struct sim_world *w)
{
    int64_t ms = 1 + (int64_t)sim_below(&w->actors, 500);
    int64_t due = INT64_MAX;

    for (unsigned i = 0; i < 2; i++) /* to the next that is due */
        if (w->processes[i].log && w->processes[i].step_ms < due)
            due = w->processes[i].step_ms;
    if (sim_chance(&w->actors, 1, 6) && due != INT64_MAX && due > sim_world_ms(w) &&
        due - sim_world_ms(w) < 120000)
        ms = due - sim_world_ms(w) + 1;
    if (sim_chance(&w->actors, 1, 100))
        ms = (int64_t)sim_below(&w->actors, 4 * 3600 * 1000);
    if (w->setup.lease_ms > 0 && ms > 20000)
        ms = 20000;
    sim_pass(w, NULL, ms * MS);
    sim_bucket_pass(w->bucket, false);
}

void sim_event(struct sim_world *w, const struct sim_process *busy)
{
    uint64_t who = sim_below(&w->actors, 100);
    unsigned owner = owns(&w->processes[1]) ? 1 : 0;
    struct sim_process *p;

    w->event_count++;
    if (!busy) {
        troubles_end(w);
        if (sim_chance(&w->actors, 1, 3))
            time_passes(w);
        if (!w->failed && sim_rot_event(w))
            act_repair(&w->processes[owner]);
        sim_again_event(w);
        if (w->failed)
            return;
    }
    if (who < 1) {
        act_operator(w, busy);
        return;
    }
    p = &w->processes[who < 72 ? owner : who < 80 && w->setup.rival ? 1 - owner : who < 92 ? 2 : 3];
    if (p == busy || p->call != SIM_CALL_NONE || p->caller.dead ||
        (p->machine && p->machine->dark) || (!p->writes && !w->has_root))
        return;
    if (!p->log) {
        if (!p->writes && p->machine && !p->machine->has_id)
            return;
        if (p->writes && p != &w->processes[owner] &&
            sim_chance(&w->actors, w->setup.split ? 5 : 9, 10))
            return; /* the rival seldom comes */
        if (p->writes && p != &w->processes[owner])
            p->wants = sim_chance(&w->actors, 2, 3);
        act_open(p);
    } else if (p->writes) {
        writer_event(p);
    } else {
        reader_event(p);
    }
}
