/*
 * Opening a hot set whose files somebody has changed. The engine writes a set to a disk in memory;
 * then the input's edits change its files, and checksums are set right where the input says so.
 *
 * What must hold: opening for writing says in words what is wrong, or the set reads, by offset and
 * by time, in dense offsets up to its end or up to damage that is named, takes an append, and is
 * the same when it is opened again. In neither case has a byte of a segment been written over, only
 * tails may be gone. What a reader beside no writer has been given before, recovery keeps (I11).
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hot/internal.h"
#include "hot/reader.h"
#include "record/builder.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/sums.h"
#include "tests/sim/disk.h"

#define DIR SIM_DISK_TOP "/log"
#define TIME INT64_C(1600000000000)
#define EDITS_MAX 24
#define FILES_MAX 96 /* a segment and an index for each append, as many edits, two hints */
#define DISK_BYTES (1 << 24)

/* What may not fail has failed: says why, since no sanitizer will. */
static void fine(int rc, const struct varve_error *err)
{
    if (rc == 0)
        return;
    fprintf(stderr, "%s\n", err->msg);
    abort();
}

/* ---- the input ---- */

struct input {
    const uint8_t *at, *end;
};

static unsigned take_u8(struct input *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

static unsigned take_u16(struct input *in)
{
    unsigned low = take_u8(in);

    return low | take_u8(in) << 8;
}

static size_t take_bytes(struct input *in, size_t size, const uint8_t **ret)
{
    size_t have = (size_t)(in->end - in->at);

    *ret = in->at;
    if (size > have)
        size = have;
    in->at += size;
    return size;
}

enum { /* the first byte */
       FSYNC = 1,
       CLOSE = 2,       /* the set was closed, not killed */
       RESTARTED = 4,   /* the machine was */
       HELD = 8,        /* the cold tier holds what lies below the last segment */
       RIGHT_CRCS = 16, /* of batches */
       RIGHT_INDEX = 32,
       RIGHT_HINTS = 64, /* checkpoint, published */
};

/* ---- the machine ---- */

struct machine {
    struct sim_trace trace;
    struct sim_random random;
    struct sim_disk *disk;
    struct sim_caller caller;
    struct base_io io;
    struct base_env env;
    const char *boot_id;
};

static struct sim_verdict before(void *ctx, struct sim_caller *c, enum sim_kind kind,
                                 enum sim_step step, const char *path)
{
    (void)ctx, (void)c, (void)kind, (void)step, (void)path;
    return (struct sim_verdict){0};
}

static void after(void *ctx, struct sim_caller *c, enum sim_kind kind, enum sim_step step,
                  const struct sim_verdict *v)
{
    (void)ctx, (void)c, (void)kind, (void)step, (void)v;
}

static void unlinked(void *ctx, struct sim_caller *c, const char *path, const void *data,
                     int64_t size)
{
    (void)ctx, (void)c, (void)path, (void)data, (void)size;
}

static const char *proc(void *ctx, struct sim_caller *c, const char *path)
{
    const struct machine *m = ctx;

    (void)c;
    return strstr(path, "boot_id") ? m->boot_id : NULL;
}

static void machine_init(struct machine *m)
{
    memset(m, 0, sizeof(*m));
    struct sim_disk_hooks hooks = {.ctx = m,
                                   .trace = &m->trace,
                                   .random = &m->random,
                                   .before = before,
                                   .after = after,
                                   .unlink = unlinked,
                                   .proc = proc};
    m->boot_id = "00000000-0000-4000-8000-000000000001\n";
    m->disk = sim_disk_new(&hooks, DISK_BYTES);
    m->caller.disk = m->disk;
    sim_disk_io(&m->caller, &m->io);
    base_env_init(&m->env);
    m->env.io = &m->io;
    m->env.no_threads = true;
}

/* ---- a set as the engine writes it ---- */

static int append(struct hot_set *set, unsigned count, struct varve_error *err)
{
    struct varve_batch *batch;
    struct hot_append append = {.record_count = (int32_t)count};
    struct hot_range range;
    int64_t offset = -1;
    char value[96];

    hot_set_range(set, &range);
    must(varve_batch_new(VARVE_CODEC_NONE, 0, 1 << 20, &batch, NULL) == 0);
    memset(value, 'v', sizeof(value));
    for (unsigned i = 0; i < count; i++) {
        struct varve_record record = {.timestamp = TIME + range.end + i,
                                      .value = value,
                                      .value_size = (size_t)(range.end + i) % sizeof(value)};
        must(varve_batch_add(batch, &record, NULL) == 0);
    }
    must(record_builder_encode(batch, &append.data, &append.size, NULL) == 0);
    append.first_timestamp = TIME + range.end;
    append.max_timestamp = TIME + range.end + count - 1;
    int rc = hot_set_append(set, &append, 1, 3, &offset, err);
    must(rc < 0 || offset == range.end);
    varve_batch_free(batch);
    return rc;
}

/* Returns the base offset of the last segment. */
static int64_t build(struct machine *m, struct input *in, unsigned flags,
                     const struct hot_set_options *options)
{
    struct hot_set *set;
    struct hot_recovery recovery;
    struct varve_error err = {0};
    unsigned count = take_u8(in) % 24;

    fine(hot_set_open(&m->env, DIR, options, &set, &recovery, &err), &err);
    for (unsigned i = 0; i < count; i++) {
        unsigned what = take_u8(in);

        fine(append(set, 1 + what % 32, &err), &err);
        if (what & 32)
            fine(hot_set_sync(set, &err), &err);
        if (what & 64)
            fine(hot_set_seal(set, &err), &err);
        if (what & 128) {
            int64_t next;
            fine(hot_set_tick(set, &next, &err), &err);
        }
    }
    struct hot_range range;
    struct hot_segment *last;
    struct hot_segment_info info;
    hot_set_range(set, &range);
    fine(hot_segment_find(set, range.end, false, &last, &err), &err);
    hot_segment_extent(last, &info);
    hot_segment_unref(last);
    if (flags & CLOSE)
        hot_set_close(set);
    else
        hot_set_abandon(set);
    return info.base_offset;
}

/* ---- what somebody does to it ---- */

struct files {
    size_t count;
    struct file {
        char path[128];
        int64_t size;
        uint8_t *data; /* the disk's */
    } v[FILES_MAX];
};

static void files_visit(void *arg, const char *path, uint8_t *data, int64_t size)
{
    struct files *f = arg;

    if (f->count == FILES_MAX || strlen(path) >= sizeof(f->v[0].path))
        return;
    struct file *file = &f->v[f->count++];
    memcpy(file->path, path, strlen(path) + 1);
    file->size = size;
    file->data = data;
}

static void files_look(struct machine *m, struct files *ret)
{
    ret->count = 0;
    sim_disk_each(m->disk, DIR "/", files_visit, ret);
}

static bool ends_in(const char *path, const char *end)
{
    size_t n = strlen(path), k = strlen(end);

    return n >= k && strcmp(path + n - k, end) == 0;
}

static int file_open(struct machine *m, const char *path, int flags)
{
    int fd = m->io.open(m->io.ctx, path, flags, 0600);

    must(fd >= 0);
    return fd;
}

static void file_write(struct machine *m, const char *path, const void *data, size_t size,
                       int64_t pos)
{
    int fd = file_open(m, path, O_RDWR | O_CREAT);

    must(base_io_pwrite_full(&m->io, fd, data, size, pos, path, NULL) == 0);
    m->io.close(m->io.ctx, fd);
}

static void file_copy(struct machine *m, const struct file *from, int64_t pos, size_t size,
                      const char *to, int64_t to_pos)
{
    uint8_t *copy;

    if (pos >= from->size)
        return;
    if ((int64_t)size > from->size - pos)
        size = (size_t)(from->size - pos);
    copy = malloc(size + 1);
    must(copy != NULL);
    memcpy(copy, from->data + pos, size);
    file_write(m, to, copy, size, to_pos);
    free(copy);
}

static void edit(struct machine *m, struct input *in)
{
    struct files files;
    unsigned op = take_u8(in), which = take_u8(in), pos = take_u16(in), value = take_u8(in);
    const uint8_t *bytes;
    char path[128];
    size_t size;

    files_look(m, &files);
    if (files.count == 0)
        return;
    struct file *f = &files.v[which % files.count];
    int64_t at = f->size > 0 ? (int64_t)pos % f->size : 0;
    switch (op % 8) {
    case 0:
        if (f->size > 0)
            f->data[at] = (uint8_t)value;
        break;
    case 1:
        if (f->size > 0)
            f->data[at] ^= (uint8_t)(1u << value % 8);
        break;
    case 2: {
        int fd = file_open(m, f->path, O_RDWR);
        must(m->io.ftruncate(m->io.ctx, fd, at) == 0);
        m->io.close(m->io.ctx, fd);
        break;
    }
    case 3: /* behind its end */
        size = take_bytes(in, value, &bytes);
        file_write(m, f->path, bytes, size, f->size);
        break;
    case 4:
        size = take_bytes(in, value, &bytes);
        file_write(m, f->path, bytes, size, at);
        break;
    case 5:
        must(m->io.unlink(m->io.ctx, f->path) == 0);
        break;
    case 6: /* a part of a file to the end of another, as a disk may that mixes up its blocks */
        file_copy(m, f, at, value * 16, files.v[value % files.count].path,
                  files.v[value % files.count].size);
        break;
    default: /* a file by another name */
        (void)snprintf(path, sizeof(path), DIR "/%020u.%s", pos, value % 2 ? "log" : "index");
        if (strcmp(path, f->path) != 0)
            file_copy(m, f, 0, (size_t)f->size, path, 0);
        break;
    }
}

static void right_batches(struct file *f)
{
    for (int64_t pos = 0; f->size - pos >= RECORD_BATCH_HEADER_SIZE;) {
        size_t size = record_batch_size(f->data + pos);

        if (size < RECORD_BATCH_HEADER_SIZE || size > (size_t)(f->size - pos))
            return;
        fuzz_sum_batch(f->data + pos, size);
        pos += (int64_t)size;
    }
}

static void right_hints(struct file *f)
{
    if (ends_in(f->path, "/checkpoint") && f->size >= HOT_CHECKPOINT_SIZE)
        fuzz_sum_checkpoint(f->data);
    if (ends_in(f->path, "/published") && f->size >= HOT_PUBLISHED_SIZE)
        fuzz_sum_published(f->data);
}

static void spoil(struct machine *m, struct input *in, unsigned flags)
{
    struct files files;

    for (int i = 0; i < EDITS_MAX && in->at < in->end; i++)
        edit(m, in);
    files_look(m, &files);
    for (size_t i = 0; i < files.count; i++) {
        struct file *f = &files.v[i];

        if ((flags & RIGHT_CRCS) && ends_in(f->path, ".log"))
            right_batches(f);
        if ((flags & RIGHT_INDEX) && ends_in(f->path, ".index") &&
            f->size >= INDEX_SPARSE_HEADER_SIZE)
            fuzz_sum_sparse(f->data, (size_t)f->size);
        if (flags & RIGHT_HINTS)
            right_hints(f);
    }
}

/* ---- what must hold ---- */

/* Checksums of what was never written are right: offsets are still dense, and ends mean nothing. */
static bool forged;

/* Reads from the floor on; the offset behind the last batch, -1 when there was none. *ret_rc is how
 * it ended. */
static int64_t read_all(struct hot_set *set, int *ret_rc)
{
    struct hot_reader *reader;
    struct varve_error err = {0};
    struct record_batch batch;
    struct hot_range range;
    const void *data;
    int64_t next = -1;

    hot_set_range(set, &range);
    must(range.floor <= range.end);
    must(hot_reader_new(set, &reader, NULL) == 0);
    int rc = hot_reader_seek(reader, range.floor, &err);
    while (rc == 0 && (rc = hot_reader_next(reader, &data, &batch, &err)) == 0) {
        must(next < 0 ? batch.base_offset <= range.floor && range.floor <= batch.last_offset
                      : batch.base_offset == next);
        next = batch.last_offset + 1;
        must(next == hot_reader_offset(reader));
    }
    must(rc == VARVE_E_END || rc == VARVE_E_CORRUPT || rc == VARVE_E_OUT_OF_RANGE);
    must(rc == VARVE_E_END || (err.code == rc && err.msg[0]));
    hot_set_range(set, &range);
    /* Where files overlap their end says so. */
    must(forged || rc == VARVE_E_CORRUPT || next <= range.end);
    hot_reader_free(reader);
    *ret_rc = rc;
    return next;
}

/* What else may be asked of a set, whatever lies in it. `whole`: nothing is damaged, no two files
 * overlap. */
static void ask(struct hot_set *set, bool whole)
{
    struct varve_error err = {0};
    struct hot_range range;
    int64_t offset, timestamp;

    hot_set_range(set, &range);
    for (int64_t k = 0; k <= 4; k++) {
        int64_t step = range.end / 4 * k;
        if (took(hot_reader_find_time(set, TIME + step, 0, 1 << 20, &offset, &timestamp, &err),
                 &err))
            must(timestamp >= TIME + step && offset >= range.floor &&
                 (!whole || offset < range.end));
    }
    for (int64_t at = range.floor; at <= range.end;) {
        struct hot_segment *segment;
        struct hot_segment_info info;

        if (!took(hot_segment_find(set, at, false, &segment, &err), &err))
            break;
        hot_segment_extent(segment, &info);
        must(info.base_offset <= at && info.end_offset >= at);
        took(hot_segment_check_index(segment, &err), &err);
        took(hot_segment_info(segment, &info, &err), &err);
        took(hot_segment_verify(segment, &err), &err);
        hot_segment_unref(segment);
        if (info.end_offset <= at)
            break;
        at = info.end_offset;
    }
}

static void report(void *arg, const char *path, const struct varve_error *what, bool repaired)
{
    (void)arg, (void)repaired;
    must(path[0] && what->code < 0 && what->msg[0]);
}

/* The segments as they are: which one is the disk's own memory, and will change. */
struct kept {
    size_t count;
    struct {
        char path[128];
        uint8_t *data;
        int64_t size;
    } v[FILES_MAX];
};

static void segments_keep(struct machine *m, struct kept *ret)
{
    struct files files;

    files_look(m, &files);
    ret->count = 0;
    for (size_t i = 0; i < files.count; i++) {
        const struct file *f = &files.v[i];

        if (!ends_in(f->path, ".log"))
            continue;
        memcpy(ret->v[ret->count].path, f->path, sizeof(f->path));
        ret->v[ret->count].size = f->size;
        ret->v[ret->count].data = malloc((size_t)f->size + 1);
        must(ret->v[ret->count].data != NULL);
        memcpy(ret->v[ret->count++].data, f->data, (size_t)f->size);
    }
}

/* Tails may have gone, and nothing else: no byte is another than before. */
static void must_be_kept(struct machine *m, struct kept *kept)
{
    struct files files;

    files_look(m, &files);
    for (size_t i = 0; i < files.count; i++) {
        const struct file *f = &files.v[i];
        size_t k = 0;

        while (k < kept->count && strcmp(f->path, kept->v[k].path) != 0)
            k++;
        if (k < kept->count)
            must(f->size <= kept->v[k].size &&
                 memcmp(f->data, kept->v[k].data, (size_t)f->size) == 0);
        else
            must(!ends_in(f->path, ".log") || f->size == 0);
    }
    for (size_t i = 0; i < kept->count; i++)
        free(kept->v[i].data);
}

/* What a reader finds where nobody writes. -1: nothing, or not all from where the log begins: who
 * knows both tiers would not have shown it. */
static int64_t read_beside_none(struct machine *m, const struct hot_set_options *options)
{
    struct hot_set_options o = *options;
    struct varve_error err = {0};
    struct hot_set *set;
    struct hot_range range;
    int64_t end;
    int rc;

    o.read_only = true;
    if (!took(hot_set_open(&m->env, DIR, &o, &set, NULL, &err), &err))
        return -1;
    hot_set_range(set, &range);
    end = read_all(set, &rc);
    ask(set, rc == VARVE_E_END && !forged);
    hot_set_close(set);
    return range.floor <= options->start_offset ? end : -1;
}

/* Goes on writing to what was opened, closes it, and opens it again. */
static void go_on(struct machine *m, const struct hot_set_options *options, struct hot_set *set)
{
    struct varve_error err = {0};
    struct hot_recovery recovery;
    struct hot_range range, again;
    struct hot_reader *reader;
    struct record_batch batch;
    const void *data;

    hot_set_range(set, &range);
    if (range.end < INT64_MAX - 64) {
        fine(append(set, 3, &err), &err);
        must(hot_reader_new(set, &reader, NULL) == 0);
        fine(hot_reader_seek(reader, range.end, &err), &err);
        fine(hot_reader_next(reader, &data, &batch, &err), &err);
        must(batch.base_offset == range.end && batch.record_count == 3);
        hot_reader_free(reader);
    }
    hot_set_range(set, &range);
    hot_set_close(set);
    fine(hot_set_open(&m->env, DIR, options, &set, &recovery, &err), &err);
    hot_set_range(set, &again);
    must(again.floor == range.floor && again.end == range.end);
    must(recovery.truncated_bytes == 0 && recovery.truncated_at < 0 && !recovery.unclean);
    hot_set_close(set);
}

/* The same without any hope. */
static void go_on_forged(struct machine *m, const struct hot_set_options *options,
                         struct hot_set *set)
{
    struct varve_error err = {0};
    struct hot_recovery recovery;

    took(append(set, 3, &err), &err);
    hot_set_close(set);
    if (took(hot_set_open(&m->env, DIR, options, &set, &recovery, &err), &err))
        hot_set_close(set);
}

static void recover(struct machine *m, const struct hot_set_options *options)
{
    struct varve_error err = {0};
    struct hot_recovery recovery;
    struct hot_range range;
    struct hot_set *set;
    struct kept kept;
    int64_t seen = read_beside_none(m, options), next;
    int rc;

    segments_keep(m, &kept);
    if (!took(hot_set_open(&m->env, DIR, options, &set, &recovery, &err), &err)) {
        must(err.code == VARVE_E_CORRUPT || err.code == VARVE_E_VERSION);
        must_be_kept(m, &kept);
        return;
    }
    must_be_kept(m, &kept);
    hot_set_range(set, &range);
    next = read_all(set, &rc);
    ask(set, rc == VARVE_E_END && !forged);
    must(took(hot_set_check_files(set, report, NULL, &err), &err));
    if (forged) {
        go_on_forged(m, options, set);
        return;
    }
    if (range.end < seen && seen > options->start_offset) { /* what lies below is held */
        fprintf(stderr, "a reader was given what lies below %lld, the set ends at %lld\n",
                (long long)seen, (long long)range.end);
        abort();
    }
    must(rc != VARVE_E_END || next == range.end || (next < 0 && range.floor == range.end));
    go_on(m, options, set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, data + size};
    unsigned flags = take_u8(&in);
    struct machine m;
    struct hot_set_options options = {.durability =
                                          flags & FSYNC ? HOT_DURABILITY_FSYNC : HOT_DURABILITY_OS,
                                      .segment_bytes = HOT_SEGMENT_BYTES_MIN,
                                      .segment_ms = -1,
                                      .flush_ms = -1,
                                      .index_interval_bytes = 256};

    forged = flags & (RIGHT_CRCS | RIGHT_HINTS);
    machine_init(&m);
    int64_t last = build(&m, &in, flags, &options);
    spoil(&m, &in, flags);
    if (flags & RESTARTED)
        m.boot_id = "00000000-0000-4000-8000-000000000002\n";
    if (flags & HELD)
        options.start_offset = last;
    recover(&m, &options);
    sim_disk_free(m.disk);
    return 0;
}
