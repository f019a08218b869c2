/*
 * The model: what was appended where, what the roots have committed, what each machine holds.
 *
 *   M1  Roots only go forward: generation, epoch, start and end; a root is its owner's.
 *   M2  What a root commits are the records that its owner appended there, in objects that are
 *       there with the size and the checksum that it says (I2).
 *   M3  The start moves over what is committed, unless a trim was asked for (I5).
 *   M4  A segment file goes only when the bucket's root covers it, the start is beyond it, or it
 * has another durable name (I3, I13). M5  An object goes only when no root needs it: it is not
 * named, or it lies below the start and the grace period is over (I5, I10). M6  After a kill all
 * that was acknowledged is there; after a loss of power, or a failed fsync, all that was synced;
 * whatever is there is a prefix of what was appended (I11). M7  What a displaced machine held
 * beyond the new owner's start lies in divergent/ (I13).
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "record/batch.h"
#include "tests/sim/world.h"

/* ---- records ---- */

uint32_t sim_model_attempt(struct sim_world *w, unsigned machine, int64_t offset, int64_t timestamp)
{
    if (w->attempt_count + 1 >= w->attempt_capacity) {
        w->attempt_capacity = w->attempt_capacity ? 2 * w->attempt_capacity : 1024;
        w->attempts = realloc(w->attempts, w->attempt_capacity * sizeof(*w->attempts));
        assert(w->attempts);
    }
    if (w->attempt_count == 0)
        w->attempt_count = 1; /* 0 is none */
    w->attempts[w->attempt_count] = (struct sim_attempt){timestamp, offset, machine};
    return w->attempt_count++;
}

size_t sim_model_value(uint32_t serial, char value[SIM_VALUE_MAX])
{
    struct sim_random r = {serial};
    uint64_t bits = sim_u64(&r);
    size_t size = 16 + bits % (SIM_VALUE_MAX - 16);

    (void)snprintf(value, SIM_VALUE_MAX, "%08x:", (unsigned)serial);
    for (size_t i = 9; i < size; i++) /* half text, half noise */
        value[i] = i % 2 ? (char)('a' + serial % 16) : (char)(bits >> i % 57);
    return size;
}

uint32_t sim_model_serial(struct sim_world *w, const struct varve_record *record)
{
    char head[9] = "", value[SIM_VALUE_MAX];
    uint32_t serial;

    if (record->value_size < 9)
        return 0;
    memcpy(head, record->value, 8);
    serial = (uint32_t)strtoul(head, NULL, 16);
    if (serial == 0 || serial >= w->attempt_count)
        return 0;
    if (sim_model_value(serial, value) != record->value_size ||
        memcmp(value, record->value, record->value_size) != 0)
        return 0;
    if (w->attempts[serial].timestamp != record->timestamp)
        return 0;
    return serial;
}

/* ---- views ---- */

void sim_view_set(struct sim_view *v, int64_t offset, uint32_t serial)
{
    if (offset >= v->capacity) {
        int64_t capacity = v->capacity ? v->capacity : 1024;

        while (capacity <= offset)
            capacity *= 2;
        v->serials = realloc(v->serials, (size_t)capacity * sizeof(*v->serials));
        assert(v->serials);
        v->capacity = capacity;
    }
    while (v->end < offset)
        v->serials[v->end++] = 0;
    v->serials[offset] = serial;
    if (v->end == offset)
        v->end++;
}

void sim_view_cut(struct sim_view *v, int64_t end)
{
    if (v->end > end)
        v->end = end;
}

void sim_view_copy(struct sim_view *to, const struct sim_view *from, int64_t end)
{
    to->end = 0;
    for (int64_t i = 0; i < end; i++)
        sim_view_set(to, i, i < from->end ? from->serials[i] : 0);
}

/* ---- the bucket's root ---- */

static struct sim_machine *machine_of(struct sim_world *w, const struct base_id *store)
{
    for (unsigned i = 0; i < 2; i++)
        if (w->machines[i].has_id && base_id_equal(&w->machines[i].store_id, store))
            return &w->machines[i];
    return NULL;
}

/* What that store appended; NULL: nobody knows it. */
static const struct sim_view *view_of(struct sim_world *w, const struct base_id *store)
{
    struct sim_machine *m = machine_of(w, store);

    for (unsigned i = 0; !m && i < 2; i++)
        if (w->machines[i].has_lost && base_id_equal(&w->machines[i].lost_id, store))
            return &w->machines[i].lost;
    return m ? &m->view : NULL;
}

void sim_model_wiped(struct sim_machine *m)
{
    if (m->has_id) {
        m->has_lost = true;
        m->lost_id = m->store_id;
        sim_view_copy(&m->lost, &m->view, m->view.end);
    }
    m->fresh = true;
    m->epoch = 0;
    m->displaced = false;
    m->has_id = false;
    sim_view_cut(&m->view, 0);
    m->synced = m->trimmed = 0;
}

/* ---- what a root names ---- */

static void page_each(struct sim_world *w, const struct index_root *root,
                      const struct index_ref *ref, sim_named *visit, void *arg)
{
    struct varve_error err = {0};
    struct index_page page;
    const void *data;
    size_t size;
    char *key = NULL;

    if (index_key_page(SIM_LOG, &root->log_id, ref, &key, NULL) < 0)
        return;
    visit(arg, NULL, ref);
    data = sim_bucket_look(w->bucket, key, &size);
    if (!data && ref->end_offset > root->deleted_to)
        sim_fail(w, "I2: the root names %s, which is not there", key);
    else if (data && index_page_decode(data, size, ref, &root->log_id, &page, &err) < 0)
        sim_fail(w, "I2: %s: %s", key, err.msg);
    else
        for (size_t i = 0; data && i < page.count; i++) {
            struct index_entry e;
            struct index_ref below;

            if (page.level == 0) {
                index_entry_decode(page.items + i * INDEX_ENTRY_SIZE, &e);
                visit(arg, &e, NULL);
            } else {
                index_ref_decode(page.items + i * INDEX_REF_SIZE, &below);
                page_each(w, root, &below, visit, arg);
            }
        }
    free(key);
}

void sim_root_each(struct sim_world *w, const struct index_root *root, sim_named *visit, void *arg)
{
    for (size_t i = 0; i < root->ref_count; i++) {
        struct index_ref ref;

        index_root_ref(root, i, &ref);
        page_each(w, root, &ref, visit, arg);
    }
    for (size_t i = 0; i < root->entry_count; i++) {
        struct index_entry e;

        index_root_entry(root, i, &e);
        visit(arg, &e, NULL);
    }
}

struct search {
    const struct base_id *attempt;
    bool found, page;
    struct index_entry entry;
    struct index_ref ref;
};

static void search_visit(void *arg, const struct index_entry *e, const struct index_ref *page)
{
    struct search *s = arg;

    if (e && base_id_equal(&e->attempt, s->attempt)) {
        s->found = true;
        s->entry = *e;
    }
    if (page && base_id_equal(&page->attempt, s->attempt)) {
        s->found = s->page = true;
        s->ref = *page;
    }
}

bool sim_root_names(struct sim_world *w, const struct index_root *root,
                    const struct base_id *attempt, int64_t *ret_end)
{
    struct search s = {.attempt = attempt};

    sim_root_each(w, root, search_visit, &s);
    *ret_end = s.page ? s.ref.end_offset : s.entry.end_offset;
    return s.found;
}

/* The largest timestamp of what the owner appended there, and of nothing else. */
static void check_entry_time(struct sim_world *w, const struct sim_view *v,
                             const struct index_entry *e)
{
    int64_t max = INT64_MIN;

    for (int64_t o = e->base_offset; o < e->end_offset; o++) {
        uint32_t serial = v && o < v->end ? v->serials[o] : 0;

        if (serial == 0)
            return;
        if (w->attempts[serial].timestamp > max)
            max = w->attempts[serial].timestamp;
    }
    if (e->max_timestamp != max)
        sim_fail(w,
                 "M2: the root gives %" PRId64 " as the maximum of what ends at %" PRId64
                 ", it is %" PRId64,
                 e->max_timestamp, e->end_offset, max);
}

/* M2 */
struct commit {
    struct sim_world *w;
    const struct index_root *root;
    int64_t from;
};

static void check_entry(void *arg, const struct index_entry *e, const struct index_ref *page)
{
    struct commit *c = arg;
    struct sim_world *w = c->w;
    const void *data;
    size_t size;
    char *key = NULL;

    (void)page;
    if (!e || e->end_offset <= c->from ||
        index_key_object(SIM_LOG, &c->root->log_id, e, &key, NULL) < 0)
        return;
    data = sim_bucket_look(w->bucket, key, &size);
    if (!data)
        sim_fail(w, "I2: the root names %s, which is not there", key);
    else if (size != e->object_size || base_crc32c(0, data, size) != e->object_crc32c)
        sim_fail(w, "I2: %s is not what the root says", key);
    free(key);
    check_entry_time(w, view_of(w, &c->root->owner), e);
}

static void commit_range(struct sim_world *w, const struct index_root *root)
{
    const struct sim_view *v = view_of(w, &root->owner);
    struct sim_view *g = &w->committed;
    struct commit c = {w, root, g->end};

    sim_root_each(w, root, check_entry, &c);
    while (g->end < root->end_offset) {
        int64_t o = g->end;
        uint32_t serial = v && o < v->end ? v->serials[o] : 0;

        if (serial == 0 && o >= root->start_offset)
            sim_fail(w, "I2: the root commits offset %" PRId64 ", which nobody appended", o);
        sim_view_set(g, o, serial);
        w->uploads++;
    }
}

static void owner_changed(struct sim_world *w, const struct index_root *root)
{
    struct sim_machine *before = machine_of(w, &w->owner);

    w->takeovers++;
    if (before && !before->displaced) {
        before->displaced = true;
        before->displaced_at = root->end_offset;
    }
    sim_trace_line(&w->trace, "  the log is machine %d's now, epoch %u, n %" PRId64,
                   machine_of(w, &root->owner) ? (int)machine_of(w, &root->owner)->index : -1,
                   (unsigned)root->epoch, root->end_offset);
}

/* What lies below the start is deleted some day: a cut covers it (I5). */
struct cuts {
    struct sim_world *w;
    int64_t start, covered;
};

static void cuts_visit(void *arg, const struct index_entry *e, const struct index_ref *page)
{
    const struct cuts *c = arg;

    (void)page;
    if (e && e->end_offset <= c->start && e->end_offset > c->covered)
        sim_fail(c->w, "I5: no cut covers what ends at %" PRId64 ", below the start",
                 e->end_offset);
}

static void check_cuts(struct sim_world *w, const struct index_root *root)
{
    struct index_cut cut = {.offset = root->deleted_to};
    struct cuts c = {.w = w, .start = root->start_offset};

    if (root->cut_count > 0)
        index_root_cut(root, root->cut_count - 1, &cut);
    c.covered = cut.offset;
    sim_root_each(w, root, cuts_visit, &c);
}

/* Retention by size leaves at least that much, each byte counted once, in whichever tier. */
struct left {
    int64_t start, end; /* of the root */
    uint64_t bytes;
    size_t prefix_size;
};

static void left_hot(void *arg, const char *path, uint8_t *data, int64_t size)
{
    struct left *l = arg;
    const char *name = path + l->prefix_size;

    (void)data;
    if (!strchr(name, '/') && strstr(name, ".log") && strtoll(name, NULL, 10) >= l->end)
        l->bytes += (uint64_t)size;
}

static void left_cold(void *arg, const struct index_entry *e, const struct index_ref *page)
{
    struct left *l = arg;

    (void)page;
    if (e && e->end_offset > l->start)
        l->bytes += e->segment_size;
}

static void check_left(struct sim_world *w, const struct index_root *root)
{
    struct sim_machine *m = machine_of(w, &root->owner);
    struct left l = {.start = root->start_offset, .end = root->end_offset};
    char prefix[80];

    /* A root that comes late finds what a loss of power has left. */
    if (!m || w->setup.retention_ms >= 0 || w->points.made[SIM_ROOT][SIM_PUT][SIM_LATE] > 0)
        return;
    l.prefix_size =
        (size_t)snprintf(prefix, sizeof(prefix), SIM_DISK_TOP "/m%u/logs/" SIM_LOG "/@/", m->index);
    sim_disk_each(m->disk, prefix, left_hot, &l);
    sim_root_each(w, root, left_cold, &l);
    if (l.bytes < (uint64_t)w->setup.retention_bytes)
        sim_fail(w, "I5: retention leaves %" PRIu64 " bytes of %" PRId64, l.bytes,
                 w->setup.retention_bytes);
}

static void start_moved(struct sim_world *w, const struct index_root *root)
{
    int64_t decided = sim_world_ms(w);

    for (size_t i = 0; i < root->cut_count; i++) {
        struct index_cut cut;

        index_root_cut(root, i, &cut);
        if (cut.offset == root->start_offset)
            decided = cut.time;
    }
    if (w->start_count == sizeof(w->starts) / sizeof(*w->starts))
        return;
    w->starts[w->start_count].offset = root->start_offset;
    w->starts[w->start_count].ms = sim_world_ms(w);
    w->starts[w->start_count].ns = w->now_ns;
    w->starts[w->start_count].by = root->owner;
    w->starts[w->start_count++].decided_ms = decided;
}

/* Has the owner moved that start itself, and had the log open since? */
static bool owner_remembers(const struct sim_world *w, unsigned start)
{
    if (!base_id_equal(&w->starts[start].by, &w->owner))
        return false;
    for (unsigned i = 0; i < SIM_PROCESSES; i++) {
        const struct sim_process *p = &w->processes[i];

        if (p->writes && p->log && p->machine && p->machine->has_id &&
            base_id_equal(&p->machine->store_id, &w->owner) && p->opened_ns < w->starts[start].ns)
            return true;
    }
    return false;
}

static void root_written(struct sim_world *w, const struct index_root *root)
{
    if (w->has_root) {
        if (root->generation != w->generation + 1)
            sim_fail(w, "M1: root generation %" PRIu64 " follows %" PRIu64, root->generation,
                     w->generation);
        if (root->epoch < w->epoch || root->start_offset < w->start ||
            root->end_offset < w->committed.end)
            sim_fail(w, "M1: the root goes back: epoch %u, start %" PRId64 ", end %" PRId64,
                     (unsigned)root->epoch, root->start_offset, root->end_offset);
        if (!base_id_equal(&root->owner, &w->owner)) {
            if (root->epoch <= w->epoch)
                sim_fail(w, "I6: another owner with epoch %u", (unsigned)root->epoch);
            owner_changed(w, root);
        }
    }
    if (root->start_offset > w->start) {
        bool wanted = root->start_offset <= w->trim_asked;

        if (!wanted && w->setup.retention_ms < 0 && w->setup.retention_bytes < 0)
            sim_fail(w, "I5: the start moved to %" PRId64 ", nobody asked for it",
                     root->start_offset);
        if (!wanted && root->start_offset > w->committed.end)
            sim_fail(w, "I5: retention took %" PRId64 ", only %" PRId64 " are uploaded",
                     root->start_offset, w->committed.end);
        if (!wanted && w->setup.retention_bytes >= 0)
            check_left(w, root);
        start_moved(w, root);
    }
    w->has_root = true;
    w->start = root->start_offset;
    check_cuts(w, root);
    commit_range(w, root);
    w->generation = root->generation;
    w->epoch = root->epoch;
    w->owner = root->owner;
}

void sim_model_stored(void *ctx, const char *key, const void *data, size_t size)
{
    struct sim_world *w = ctx;
    struct varve_error err = {0};
    struct index_root root;
    uint32_t crc;

    if (strcmp(key, "logs/" SIM_LOG "/@/root") != 0)
        return;
    crc = size > 8 ? base_crc32c(0, data, size - 8) : 0; /* without its own */
    if (index_root_decode(data, size, &root, &err) < 0)
        sim_fail(w, "a root that cannot be read: %s", err.msg);
    else if (!w->has_root || w->root_crc != crc) /* a repair may repeat it */
        root_written(w, &root);
    w->root_crc = crc;
}

static bool root_now(struct sim_world *w, struct index_root *ret)
{
    size_t size;
    const void *data = sim_bucket_look(w->bucket, "logs/" SIM_LOG "/@/root", &size);

    return data && index_root_view(data, size, ret, NULL) == 0;
}

/* M5 */
void sim_model_removing(void *ctx, const char *key)
{
    struct sim_world *w = ctx;
    const char *name = strrchr(key, '/');
    struct index_key_parts parts;
    struct index_root root;
    int64_t end;

    if (strstr(key, "/@/root")) {
        sim_fail(w, "a root is deleted");
        return;
    }
    if (!name || !index_key_parse(name + 1, &parts) || !root_now(w, &root) ||
        !sim_root_names(w, &root, &parts.attempt, &end))
        return;
    if (parts.page && end > root.deleted_to)
        sim_fail(w, "I5: page %s is deleted and the root names it", key);
    if (parts.page)
        return;
    if (end > root.start_offset)
        sim_fail(w, "I10: %s is deleted and the root names it", key);
    for (unsigned s = 0; !w->setup.wall_jumps && w->points.made[SIM_ROOT][SIM_PUT][SIM_LATE] == 0 &&
                         s < w->start_count;
         s++)
        if (w->starts[s].offset >= end) {
            int64_t since = owner_remembers(w, s) ? w->starts[s].ms : w->starts[s].decided_ms;
            if (sim_world_ms(w) - since < w->setup.delete_delay_ms)
                sim_fail(w, "I5: %s is deleted %" PRId64 " ms after it was cut off", key,
                         sim_world_ms(w) - since);
            break;
        }
}

/* ---- segment files ---- */

/* Where the batches of a segment file end; -1: it holds none. */
static int64_t segment_end(const uint8_t *data, int64_t size)
{
    int64_t pos = 0, end = -1;
    struct record_batch b;

    while (pos < size && record_batch_decode(data + pos, (size_t)(size - pos), &b, NULL) == 0) {
        end = b.last_offset + 1;
        pos += b.size;
    }
    return end;
}

struct aside_copy {
    const char *name;
    const void *data;
    int64_t size;
    bool found;
};

static void aside_copy_visit(void *arg, const char *path, uint8_t *data, int64_t size)
{
    struct aside_copy *copy = arg;
    const char *name = strrchr(path, '/');

    if (strstr(path, "/divergent/") && strcmp(name, copy->name) == 0 && size >= copy->size &&
        memcmp(data, copy->data, (size_t)copy->size) == 0)
        copy->found = true;
}

/* What an interrupted move has set aside opening may have cut since, in a file of its own (I13). */
static bool held_aside(struct sim_process *p, const char *path, const void *data, int64_t size)
{
    struct aside_copy copy = {.name = strrchr(path, '/'), .data = data, .size = size};

    sim_disk_each(p->machine->disk, SIM_DISK_TOP, aside_copy_visit, &copy);
    return copy.found;
}

/* M4 */
void sim_model_unlink(void *ctx, struct sim_caller *c, const char *path, const void *data,
                      int64_t size)
{
    struct sim_world *w = ctx;
    struct sim_process *p = c->owner;
    int64_t end = segment_end(data, size), base = strtoll(strrchr(path, '/') + 1, NULL, 10);

    /* A draft is a copy of what is there. */
    if (!strstr(path, "/logs/" SIM_LOG "/") || strcmp(path + strlen(path) - 4, ".tmp") == 0)
        return;
    w->evictions++;
    end = sim_rot_end(w, p->machine, path, end);
    if (end < 0 || end <= w->committed.end || end <= w->start)
        return;
    /* Recovery drops what lies behind a torn segment; what it may not drop, M6 says. */
    if (p->call == SIM_CALL_OPEN && p->machine->shaken && base >= p->machine->synced)
        return;
    if (p->call == SIM_CALL_OPEN &&
        (base >= p->machine->view.end || held_aside(p, path, data, size)))
        return;
    sim_fail(w, "I3: %s, which ends at %" PRId64 ", is unlinked, and the bucket ends at %" PRId64,
             path, end, w->committed.end);
}

/* M7 */
struct aside {
    struct sim_world *w;
    struct sim_machine *m;
    uint8_t *held; /* by offset, from displaced_at on */
    int64_t count;
};

static void aside_visit(void *arg, const char *path, uint8_t *data, int64_t size)
{
    struct aside *a = arg;
    int64_t pos = 0;
    struct record_batch b;
    size_t n = strlen(path);

    if (n < 4 || strcmp(path + n - 4, ".log") != 0)
        return;
    while (pos < size && record_batch_check(data + pos, (size_t)(size - pos), &b, NULL) == 0) {
        for (int64_t o = b.base_offset; o <= b.last_offset; o++)
            if (o >= a->m->displaced_at && o - a->m->displaced_at < a->count)
                a->held[o - a->m->displaced_at] = 1;
        pos += b.size;
    }
}

static void check_aside(struct sim_world *w, struct sim_machine *m)
{
    struct aside a = {.w = w, .m = m};
    int64_t must = m->shaken ? m->synced : m->view.end;
    char prefix[80];

    if (must <= m->displaced_at)
        return;
    a.count = must - m->displaced_at;
    a.held = calloc((size_t)a.count, 1);
    assert(a.held);
    (void)snprintf(prefix, sizeof(prefix), SIM_DISK_TOP "/m%u/logs/" SIM_LOG "/@/divergent/",
                   m->index);
    sim_disk_each(m->disk, prefix, aside_visit, &a);
    for (int64_t i = 0; i < a.count; i++)
        if (!a.held[i]) {
            sim_fail(w,
                     "I13: machine %u was displaced at %" PRId64 " and held up to %" PRId64
                     ": offset %" PRId64 " is not in divergent/",
                     m->index, m->displaced_at, must, m->displaced_at + i);
            break;
        }
    free(a.held);
}

/* ---- opening ---- */

/* Reads what is local and takes it over into the view. */
static void take_local(struct sim_process *p, int64_t from, int64_t end)
{
    struct sim_world *w = p->world;
    struct sim_machine *m = p->machine;
    struct varve_reader_options o = {.size = sizeof(o), .from = VARVE_FROM_OFFSET, .offset = from};
    struct varve_reader *reader = NULL;
    struct varve_record record;
    struct varve_error err = {0};
    bool down = sim_bucket_is_down(w->bucket);
    int rc;

    sim_bucket_set_down(w->bucket, false); /* what is damaged here is read there */
    rc = varve_reader_open(p->log, &o, &reader, &err);
    for (int64_t at = from; rc == 0 && at < end; at++) {
        uint32_t serial;

        rc = varve_reader_next(reader, 0, &record, &err);
        if (rc < 0)
            break;
        serial = sim_model_serial(w, &record);
        if (record.offset != at || serial == 0 || w->attempts[serial].offset != at)
            sim_fail(w, "M6: offset %" PRId64 " holds record %u (read as %" PRId64 ")", at, serial,
                     record.offset);
        else if (at < m->view.end && m->view.serials[at] != serial)
            sim_fail(w, "M6: offset %" PRId64 " holds record %u, not %u", at, serial,
                     m->view.serials[at]);
        if (w->failed)
            break;
        sim_view_set(&m->view, at, serial);
    }
    /* Of a displaced machine's past objects may be gone. */
    if (rc < 0 && !m->displaced)
        sim_fail(w, "what was recovered cannot be read: %s", err.msg);
    varve_reader_close(reader);
    sim_bucket_set_down(w->bucket, down);
}

void sim_model_opened(struct sim_process *p)
{
    struct sim_world *w = p->world;
    struct sim_machine *m = p->machine;
    struct varve_log_info info = {.size = sizeof(info)};
    struct varve_error err = {0};
    int64_t must;
    uint32_t epoch = tiering_log_epoch(p->log->tiering);
    bool owner, aware;

    w->quiet++;
    sim_rot_lift(w, m, true);
    if (varve_log_info(p->log, &info, &err) < 0)
        sim_fail(w, "info after opening: %s", err.msg);
    must = m->shaken ? m->synced : m->view.end;
    /* Without the bucket a log opens by its local root: who was displaced does not know it yet. And
     * who takes it over may have lost it to another while it was at that. */
    owner = base_id_equal(&w->owner, &m->store_id) && epoch == w->epoch;
    aware = owner || m->fresh || epoch > m->epoch;
    if (aware && (m->displaced || m->fresh)) {
        if (m->displaced)
            check_aside(w, m);
        m->aside_ns = w->now_ns;
        if (info.end_offset != info.cold_end)
            sim_fail(w, "I13: machine %u takes the log with end %" PRId64 " and n %" PRId64,
                     m->index, info.end_offset, info.cold_end);
        sim_view_copy(&m->view, &w->committed, info.end_offset);
    } else {
        if (info.end_offset < must)
            sim_fail(w,
                     "I11: machine %u %s: the log ends at %" PRId64 ", and up to %" PRId64
                     " was acknowledged for good",
                     m->index, m->shaken ? "lost what was not synced" : "lost nothing",
                     info.end_offset, must);
        if (m->view.end > info.end_offset)
            m->aside_ns = w->now_ns; /* who has files open may stand behind the cut */
        sim_view_cut(&m->view, info.end_offset);
        if (!w->failed && info.end_offset > info.hot_start)
            take_local(p, info.hot_start > info.start_offset ? info.hot_start : info.start_offset,
                       info.end_offset);
        if (m->view.end < info.end_offset)
            sim_view_set(&m->view, info.end_offset - 1,
                         w->committed.end >= info.end_offset
                             ? w->committed.serials[info.end_offset - 1]
                             : 0);
    }
    if (m->synced < info.cold_end || (aware && (m->displaced || m->fresh)))
        m->synced = info.cold_end; /* T2: what is committed was synced first */
    if (aware) {
        m->displaced = !owner;
        m->displaced_at = info.end_offset;
        m->fresh = false;
        m->epoch = epoch;
    }
    if (owner)
        w->epoch_opened = epoch;
    m->shaken = false;
    sim_rot_lift(w, m, false);
    w->quiet--;
    sim_trace_line(&w->trace, "  %s has the log: start %" PRId64 ", n %" PRId64 ", end %" PRId64,
                   p->name, info.start_offset, info.cold_end, info.end_offset);
}

/* ---- reading ---- */

bool sim_model_record(struct sim_process *p, const struct varve_record *record)
{
    struct sim_world *w = p->world;
    struct sim_machine *m = p->machine;
    uint32_t serial = sim_model_serial(w, record);
    const struct sim_view *v = m ? &m->view : &w->committed;
    int64_t o = record->offset;

    w->read++;
    if (serial == 0 || w->attempts[serial].offset != o) {
        sim_fail(w, "%s reads at offset %" PRId64 " what was never appended there (record %u)",
                 p->name, o, serial);
        return false;
    }
    if (!p->writes && (o >= v->end || v->serials[o] != serial)) {
        /* Another process of the machine sees also what nobody was told of yet; one that reads
         * the bucket, only what is committed. */
        if (o < w->committed.end && w->committed.serials[o] == serial)
            return true;
        /* It keeps files open that were set aside since. */
        if (m && p->opened_ns <= m->aside_ns && w->attempts[serial].machine == m->index)
            return true;
        if (m && o >= m->synced && w->attempts[serial].machine == m->index)
            return true;
        sim_fail(w, "%s reads record %u at offset %" PRId64 ", where %u lies", p->name, serial, o,
                 o < v->end ? v->serials[o] : 0);
        return false;
    }
    if (p->writes && (o >= v->end || v->serials[o] != serial)) {
        sim_fail(w, "%s reads record %u at offset %" PRId64 ", where %u lies", p->name, serial, o,
                 o < v->end ? v->serials[o] : 0);
        return false;
    }
    if (m && w->setup.fsync && !m->displaced && m->synced <= o)
        m->synced = o + 1; /* shown, so it must stay (I11) */
    return true;
}
