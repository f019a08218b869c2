/*
 * Senders: full buffers become objects or parts of them, paced, and confirmed by the store. Each
 * has a thread of its own unless the pool has none.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "tiering/engine.h"

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

static int sender_pace(struct sender *s, struct varve_error *err)
{
    for (size_t left = s->size; left > 0;) {
        size_t step = left < TIERING_RATE_STEP_BYTES ? left : TIERING_RATE_STEP_BYTES;

        if (cancelled(s->engine))
            return base_fail(err, VARVE_E_CANCELLED, "upload interrupted");
        tiering_rate_take(s->engine->t->o.rate, step);
        left -= step;
    }
    return 0;
}

static int sender_send(struct sender *s, struct cold_part *ret_part, struct varve_error *err)
{
    struct tiering_upload *u = s->upload;
    struct cold_store *store = s->engine->t->o.segments;
    struct iovec body = {.iov_base = s->buf, .iov_len = s->size};
    struct cold_put how = {
        .condition = s->engine->if_absent ? COLD_IF_ABSENT : COLD_ALWAYS,
        .has_crc32c = true,
    };
    int rc = sender_pace(s, err);

    if (rc < 0)
        return rc;
    if (s->part_number > 0)
        return cold_store_upload_part(store, u->key, &u->multipart, s->part_number, s->pos, &body,
                                      1, s->crc32c, ret_part, err);
    how.crc32c = u->entry.object_crc32c;
    /* I2: the driver proves length and checksum of what it stored. */
    rc = cold_store_put(store, u->key, &body, 1, &how, NULL, err);
    if (rc == VARVE_E_PRECONDITION)
        rc = put_confirm(store, u, s->size, err);
    return rc;
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
    if (rc < 0)
        (void)cold_store_upload_abort(store, u->key, &u->multipart, NULL);
    return rc;
}

/*
 * The last of an upload's parts is over: whichever sender had it completes the object, so that the
 * step's thread fills buffers with the next segment while the store makes this one durable. With
 * the engine's lock held; let go meanwhile.
 */
static void upload_end_locked(struct engine *e, struct tiering_upload *u)
{
    struct varve_error err = {0};
    bool failed = u->err.code < 0;
    int rc = 0;

    base_mutex_unlock(&e->lock);
    if (failed)
        (void)cold_store_upload_abort(e->t->o.segments, u->key, &u->multipart, NULL);
    else
        rc = upload_complete(e, u, &err);
    base_mutex_lock(&e->lock);
    if (rc < 0) {
        err.code = rc;
        upload_set_error_locked(u, &err);
    } else if (!failed)
        u->stored = true;
}

void tiering_send_run(struct base_job *job)
{
    struct sender *s = (struct sender *)((char *)job - offsetof(struct sender, job));
    struct engine *e = s->engine;
    struct tiering_upload *u = s->upload;
    struct varve_error err = {0};
    struct cold_part part;
    int rc = sender_send(s, &part, &err);

    base_mutex_lock(&e->lock);
    if (rc < 0) {
        err.code = rc;
        upload_set_error_locked(u, &err);
    } else if (s->part_number > 0)
        u->parts[s->part_number - 1] = part;
    else
        u->stored = true;
    if (u->parts_dispatched && u->sending == 1)
        upload_end_locked(e, u);
    u->sending--;
    s->busy = false;
    base_cond_broadcast(&e->changed);
    base_mutex_unlock(&e->lock);
}

/* The buffer being filled, waiting for a free one. */
static struct sender *sender_current(struct engine *e)
{
    if (e->current)
        return e->current;
    base_mutex_lock(&e->lock);
    while (!e->current) {
        for (unsigned i = 0; i < e->sender_count && !e->current; i++)
            if (!e->senders[i].busy)
                e->current = &e->senders[i];
        if (!e->current)
            base_cond_wait(&e->changed, &e->lock);
    }
    base_mutex_unlock(&e->lock);
    e->current->size = 0;
    e->current->crc32c = 0;
    return e->current;
}

void tiering_send_buffer(struct engine *e, struct tiering_upload *u, unsigned part_number,
                         uint64_t pos)
{
    struct sender *s = e->current;

    e->current = NULL;
    s->upload = u;
    s->part_number = part_number;
    s->pos = pos;
    base_mutex_lock(&e->lock);
    s->busy = true;
    u->sending++;
    base_mutex_unlock(&e->lock);
    base_pool_submit(e->send_pool, &s->job);
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

int tiering_send_part(struct passage *p, uint64_t end_pos, bool last, struct varve_error *err)
{
    struct engine *e = p->e;
    struct tiering_upload *u = p->upload;
    int rc = upload_error(e, u, err);

    if (rc < 0)
        return rc;
    if (!u->parted) {
        rc = cold_store_upload_begin(e->t->o.segments, u->key, &u->multipart, err);
        if (rc < 0)
            return rc;
        u->parted = true;
    }
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
    if (rc == 0) {
        u->part_count++;
        u->parts_dispatched = last;
    }
    base_mutex_unlock(&e->lock);
    if (rc == 0)
        tiering_send_buffer(e, u, u->part_count, end_pos - e->current->size);
    return rc;
}

int tiering_send_add(struct passage *p, const void *data, size_t size, uint32_t crc32c,
                     struct varve_error *err)
{
    const uint8_t *from = data;
    size_t whole = size;

    while (size > 0) {
        struct sender *s = sender_current(p->e);
        size_t part = p->e->part_bytes - s->size;
        int rc;

        if (part == 0) {
            rc = tiering_send_part(p, p->object_pos, false, err);
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
