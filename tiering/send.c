/*
 * Senders: full buffers become objects or parts of them, paced, and confirmed by the store. Each
 * has a thread of its own unless the pool has none.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "tiering/engine.h"

#define PACE_SLEEP_NS INT64_C(200000000) /* at a time */

static void upload_set_error_locked(struct tiering_upload *u, const struct varve_error *err)
{
    if (u->err.code == 0)
        u->err = *err;
}

/* The key holds our own attempt id, so what is there is ours: an earlier request of this very put
 * whose reply was lost (I7). Its length is compared with the promised one (I9). */
static int put_confirm(struct cold_store *store, const struct tiering_upload *u, uint64_t size,
                       struct varve_error *err)
{
    struct cold_meta meta;
    int rc = cold_store_head(store, u->key, &meta, err);

    if (rc < 0)
        return rc;
    if (meta.size != size)
        return base_fail_retriable(err, VARVE_E_STORE,
                                   "%s: the store holds %llu bytes of it instead of %llu", u->key,
                                   (unsigned long long)meta.size, (unsigned long long)size);
    return 0;
}

/* Waits for the turn of these bytes, a little at a time: a log that is closed does not wait. */
static int sender_pace(const struct sender *s, uint64_t size, struct varve_error *err)
{
    const struct tiering_log *t = s->engine->t;
    const struct base_clock *clock = t->env->clock;
    int64_t turn = tiering_rate_reserve(t->o.rate, size), wait;

    for (;;) {
        if (cancelled(s->engine))
            return base_fail(err, VARVE_E_CANCELLED, "upload interrupted");
        if (turn == INT64_MIN)
            return 0;
        wait = turn - clock->mono_ns(clock->ctx);
        if (wait <= 0)
            return 0;
        clock->sleep_ns(clock->ctx, wait < PACE_SLEEP_NS ? wait : PACE_SLEEP_NS);
    }
}

static int part_send(struct sender *s, struct cold_part *ret_part, struct varve_error *err)
{
    struct tiering_upload *u = s->upload;
    struct iovec body = {.iov_base = s->buf, .iov_len = s->size};
    int rc;

    if (s->kept) { /* nothing to send: it is there, and the same */
        *ret_part = u->kept[s->part_number - 1].part;
        return 0;
    }
    rc = sender_pace(s, s->size, err);
    if (rc == 0)
        rc = cold_store_upload_part(s->engine->t->o.segments, u->key, &u->multipart, s->part_number,
                                    s->pos, &body, 1, s->crc32c, ret_part, err);
    if (rc == 0 && u->journal)
        tiering_journal_part(s->engine->t->journal, u->journal, ret_part, s->crc32c);
    return rc;
}

static int object_send(struct sender *s, struct varve_error *err)
{
    struct tiering_upload *u = s->upload;
    struct cold_store *store = s->engine->t->o.segments;
    struct iovec body[1 + UPLOAD_PUT_BUFFERS_MAX] = {{.iov_base = s->buf, .iov_len = s->size}};
    struct cold_put how = {
        .condition = s->engine->if_absent ? COLD_IF_ABSENT : COLD_ALWAYS,
        .has_crc32c = true,
        .crc32c = u->entry.object_crc32c,
    };
    uint64_t size = s->size;
    int rc;

    for (unsigned i = 0; i < s->with_count; i++) {
        body[1 + i] = (struct iovec){.iov_base = s->with[i]->buf, .iov_len = s->with[i]->size};
        size += s->with[i]->size;
    }
    rc = sender_pace(s, size, err);
    if (rc < 0)
        return rc;
    /* I2: the driver proves length and checksum of what it stored. */
    rc = cold_store_put(store, u->key, body, 1 + (int)s->with_count, &how, NULL, err);
    if (rc == VARVE_E_PRECONDITION)
        rc = put_confirm(store, u, size, err);
    return rc;
}

/* Abandoning. */

/* What passes by itself, so that the parts which are stored are worth keeping. */
static bool passes(const struct varve_error *why)
{
    return why->code == VARVE_E_CANCELLED || why->code == VARVE_E_NO_MEMORY ||
           (why->code == VARVE_E_STORE && why->retriable);
}

void tiering_send_abandon(struct engine *e, struct tiering_upload *u, const struct varve_error *why)
{
    struct tiering_journal_entry *entry = u->journal;
    int rc;

    u->journal = NULL;
    if (entry && passes(why)) {
        tiering_journal_leave(e->t->journal, entry);
        return;
    }
    rc = cold_store_upload_abort(e->t->o.segments, u->key, &u->multipart, NULL);
    if (!entry)
        return;
    if (rc == 0 || rc == VARVE_E_NOT_FOUND)
        tiering_journal_end(e->t->journal, entry);
    else
        tiering_journal_leave(e->t->journal, entry);
}

/* All parts are stored: makes the object of them. */
static int upload_complete(struct engine *e, struct tiering_upload *u, struct varve_error *err)
{
    struct cold_store *store = e->t->o.segments;
    struct cold_put how = {
        .condition = e->if_absent ? COLD_IF_ABSENT : COLD_ALWAYS,
        .has_crc32c = true,
        .crc32c = u->entry.object_crc32c,
    };
    struct cold_caps caps;
    int rc;

    cold_store_caps(store, &caps);
    if (!caps.conditional_complete)
        how.condition = COLD_ALWAYS; /* the key is ours alone */
    rc = cold_store_upload_complete(store, u->key, &u->multipart, u->parts, u->part_count, &how,
                                    NULL, err);
    if (rc == VARVE_E_PRECONDITION)
        rc = put_confirm(store, u, u->entry.object_size, err);
    if (rc == 0 && u->journal) {
        tiering_journal_end(e->t->journal, u->journal);
        u->journal = NULL;
    }
    return rc;
}

/*
 * The last of an upload's parts is over: whichever sender had it completes the object, so that the
 * step's thread fills buffers with the next segment while the store makes this one durable. With
 * the engine's lock held; let go meanwhile.
 */
static void upload_end_locked(struct engine *e, struct tiering_upload *u)
{
    struct varve_error err = u->err;
    bool failed = err.code < 0;

    base_mutex_unlock(&e->lock);
    if (!failed)
        err.code = upload_complete(e, u, &err);
    if (err.code < 0)
        tiering_send_abandon(e, u, &err);
    base_mutex_lock(&e->lock);
    if (err.code < 0)
        upload_set_error_locked(u, &err);
    else
        u->stored = true;
}

void tiering_send_run(struct base_job *job)
{
    struct sender *s = (struct sender *)((char *)job - offsetof(struct sender, job));
    struct engine *e = s->engine;
    struct tiering_upload *u = s->upload;
    struct varve_error err = {0};
    struct cold_part part;
    int rc = s->part_number > 0 ? part_send(s, &part, &err) : object_send(s, &err);

    base_mutex_lock(&e->lock);
    if (rc < 0) {
        err.code = rc;
        upload_set_error_locked(u, &err);
    } else if (s->part_number > 0)
        u->parts[s->part_number - 1] = part;
    else
        u->stored = true;
    if (u->parted && u->dispatched && u->sending == 1)
        upload_end_locked(e, u);
    if (--u->sending == 0 && u->dispatched)
        atomic_store_explicit(&u->over, true, memory_order_release); /* u may be gone from here */
    for (unsigned i = 0; i < s->with_count; i++)
        s->with[i]->busy = false;
    s->busy = false;
    base_cond_broadcast(&e->changed);
    base_mutex_unlock(&e->lock);
}

/* Buffers. */

static struct sender *sender_free_locked(struct engine *e)
{
    struct sender *found = NULL;

    for (unsigned i = 0; i < e->sender_count; i++) {
        struct sender *s = &e->senders[i];

        if (!s->busy && (!found || (!found->buf && s->buf)))
            found = s; /* one that has memory, where there is a choice */
    }
    return found;
}

/* The buffer being filled, waiting for a free one. NULL: no memory for it. */
static struct sender *sender_current(struct engine *e)
{
    struct sender *s;

    if (e->current)
        return e->current;
    base_mutex_lock(&e->lock);
    while (!(s = sender_free_locked(e)))
        base_cond_wait(&e->changed, &e->lock);
    base_mutex_unlock(&e->lock);
    if (!s->buf)
        s->buf = malloc(e->part_bytes);
    if (!s->buf)
        return NULL;
    s->size = 0;
    s->crc32c = 0;
    s->kept = false;
    s->with_count = 0;
    e->current = s;
    return s;
}

/* The current buffer is full, and more follows; its object may still go by one put. */
static void sender_hold(struct engine *e)
{
    base_mutex_lock(&e->lock);
    e->current->busy = true;
    base_mutex_unlock(&e->lock);
    e->held[e->held_count++] = e->current;
    e->current = NULL;
}

void tiering_send_drop(struct engine *e)
{
    base_mutex_lock(&e->lock);
    for (unsigned i = 0; i < e->held_count; i++)
        e->held[i]->busy = false;
    base_mutex_unlock(&e->lock);
    e->held_count = 0;
    e->current = NULL;
}

/* `last`: no request of this upload follows. Told together with the request, since one that ends
 * meanwhile must not take itself for the last. */
static void sender_start(struct engine *e, struct sender *s, struct tiering_upload *u,
                         unsigned part_number, bool last)
{
    s->upload = u;
    s->part_number = part_number;
    s->pos = part_number > 0 ? (uint64_t)(part_number - 1) * e->part_bytes : 0;
    base_mutex_lock(&e->lock);
    s->busy = true;
    u->sending++;
    u->dispatched = last;
    base_mutex_unlock(&e->lock);
    base_pool_submit(e->send_pool, &s->job);
}

void tiering_send_object(struct engine *e, struct tiering_upload *u)
{
    struct sender *first = e->held_count > 0 ? e->held[0] : e->current;

    if (first != e->current) {
        for (unsigned i = 1; i < e->held_count; i++)
            first->with[first->with_count++] = e->held[i];
        base_mutex_lock(&e->lock);
        e->current->busy = true;
        base_mutex_unlock(&e->lock);
        first->with[first->with_count++] = e->current;
    }
    e->held_count = 0;
    e->current = NULL;
    sender_start(e, first, u, 0, true);
}

int tiering_send_wait(struct engine *e, struct tiering_upload *u, struct varve_error *err)
{
    int rc;

    base_mutex_lock(&e->lock);
    while (u->sending > 0)
        base_cond_wait(&e->changed, &e->lock);
    rc = u->err.code;
    if (rc < 0 && err)
        *err = u->err;
    base_mutex_unlock(&e->lock);
    return rc;
}

static int upload_error(struct engine *e, struct tiering_upload *u, struct varve_error *err)
{
    int rc;

    base_mutex_lock(&e->lock);
    rc = u->err.code;
    if (rc < 0 && err)
        *err = u->err;
    base_mutex_unlock(&e->lock);
    return rc;
}

/*
 * The store has just these bytes as this part (I9: by length and checksum). Of the tail neither
 * says it: the index holds its own CRC32C, and bytes with theirs behind them all have the same one.
 * It differs when n has moved by a trim since, and with it the chain.
 */
static bool part_is_kept(const struct tiering_upload *u, unsigned number, const struct sender *s)
{
    const struct tiering_journal_part *kept = number <= u->kept_count ? &u->kept[number - 1] : NULL;
    uint64_t end = (uint64_t)(number - 1) * s->engine->part_bytes + s->size;
    bool has_tail = u->entry.index_pos > 0 && end > u->entry.index_pos; /* 0: blocks still come */

    return kept && !has_tail && kept->part.number == number && kept->part.size == s->size &&
           kept->crc32c == s->crc32c;
}

static int part_start(struct engine *e, struct tiering_upload *u, struct sender *s, bool last,
                      struct varve_error *err)
{
    int rc = 0;

    base_mutex_lock(&e->lock);
    if (u->part_count == u->part_capacity) {
        unsigned capacity = u->part_capacity ? u->part_capacity * 2 : 16;
        struct cold_part *parts = realloc(u->parts, capacity * sizeof(*parts));

        if (parts) {
            u->parts = parts;
            u->part_capacity = capacity;
        } else
            rc = base_fail(err, VARVE_E_NO_MEMORY, "upload %s: out of memory", u->key);
    }
    if (rc == 0)
        u->part_count++;
    base_mutex_unlock(&e->lock);
    if (rc < 0)
        return rc;
    s->kept = part_is_kept(u, u->part_count, s);
    sender_start(e, s, u, u->part_count, last);
    return 0;
}

/* J1: noted before the store is asked, and before the first part is sent. */
static int multipart_begin(struct engine *e, struct tiering_upload *u, struct varve_error *err)
{
    struct tiering_journal_what what = e->what;
    struct tiering_journal_entry *asked = NULL;
    int rc;

    what.base_offset = u->entry.base_offset;
    what.end_offset = u->entry.end_offset;
    what.segment_size = u->entry.segment_size;
    if (e->journal)
        asked = tiering_journal_ask(e->journal, &what, &u->attempt, u->key);
    rc = cold_store_upload_begin(e->t->o.segments, u->key, &u->multipart, err);
    if (rc < 0) {
        if (asked) /* whatever the failure says: the store may have begun one */
            tiering_journal_leave(e->journal, asked);
        return rc;
    }
    u->parted = true;
    u->journal = tiering_journal_begin(e->journal, asked, &u->multipart);
    return 0;
}

int tiering_send_parts(struct passage *p, bool last, struct varve_error *err)
{
    struct engine *e = p->e;
    struct tiering_upload *u = p->upload;
    int rc = upload_error(e, u, err);

    if (rc == 0 && !u->parted)
        rc = multipart_begin(e, u, err);
    while (rc == 0 && e->held_count > 0) {
        struct sender *s = e->held[0];

        rc = part_start(e, u, s, false, err);
        if (rc == 0)
            memmove(e->held, e->held + 1, --e->held_count * sizeof(e->held[0]));
    }
    if (rc == 0)
        rc = part_start(e, u, e->current, last, err);
    if (rc == 0)
        e->current = NULL;
    return rc;
}

int tiering_send_add(struct passage *p, const void *data, size_t size, uint32_t crc32c,
                     struct varve_error *err)
{
    const uint8_t *from = data;
    size_t whole = size;

    while (size > 0) {
        struct engine *e = p->e;
        struct sender *s = sender_current(e);
        size_t part;
        int rc;

        if (!s)
            return base_fail(err, VARVE_E_NO_MEMORY, "upload %s: no memory for a buffer",
                             p->upload->key);
        part = e->part_bytes - s->size;
        if (part == 0 && !p->upload->parted && e->held_count + 1 < e->put_buffers) {
            sender_hold(e);
            continue;
        }
        if (part == 0) {
            rc = tiering_send_parts(p, false, err);
            if (rc < 0)
                return rc;
            continue;
        }
        if (part > size)
            part = size;
        memcpy(s->buf + s->size, from, part);
        s->crc32c = base_crc32c_combine(s->crc32c,
                                        part == whole ? crc32c : base_crc32c(0, from, part), part);
        s->size += part;
        p->object_pos += part;
        from += part;
        size -= part;
    }
    return 0;
}
