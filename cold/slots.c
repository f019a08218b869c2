/* Slots of a cache file in memory: index, queues, free slots. */
#include "cold/slots.h"

#include <stdlib.h>

#include "base/error.h"

#define NEXT_MASK COLD_SLOT_NONE
#define STATE_SHIFT 28
#define USES_SHIFT 30
#define USES_MAX 3
#define SMALL_SHARE 10 /* the small queue's share: one in so many slots */

static uint32_t uses(const struct cold_slots *s, uint32_t slot)
{
    return s->slots[slot].bits >> USES_SHIFT;
}

static void set_uses(struct cold_slots *s, uint32_t slot, uint32_t n)
{
    s->slots[slot].bits = (s->slots[slot].bits & ~(UINT32_C(3) << USES_SHIFT)) | (n << USES_SHIFT);
}

static void set_state(struct cold_slots *s, uint32_t slot, enum cold_slot_state state)
{
    s->slots[slot].bits =
        (s->slots[slot].bits & ~(UINT32_C(3) << STATE_SHIFT)) | ((uint32_t)state << STATE_SHIFT);
}

static void set_bits(struct cold_slots *s, uint32_t slot, uint32_t next, enum cold_slot_state state)
{
    s->slots[slot].bits = next | ((uint32_t)state << STATE_SHIFT);
}

enum cold_slot_state cold_slots_state(const struct cold_slots *s, uint32_t slot)
{
    return (enum cold_slot_state)(s->slots[slot].bits >> STATE_SHIFT & 3);
}

uint32_t cold_slots_next(const struct cold_slots *s, uint32_t slot)
{
    return s->slots[slot].bits & NEXT_MASK;
}

uint32_t cold_slots_needed(const struct cold_slots *s, uint64_t size)
{
    uint64_t n = size / s->slot_size + (size % s->slot_size != 0);

    return n == 0 ? 1 : n < COLD_SLOT_NONE ? (uint32_t)n : COLD_SLOT_NONE;
}

/* ---- free slots: a list through `next` ---- */

static void free_slot(struct cold_slots *s, uint32_t slot)
{
    set_bits(s, slot, s->free_first, COLD_SLOT_FREE);
    s->free_first = slot;
    s->free_count++;
}

static void free_chain(struct cold_slots *s, uint32_t first)
{
    while (first != COLD_SLOT_NONE) {
        uint32_t next = cold_slots_next(s, first);

        free_slot(s, first);
        first = next;
    }
    s->freed++;
}

/* Puts all free slots in order, so that chains taken from a fresh cache lie together. */
static void free_list_build(struct cold_slots *s)
{
    s->free_first = COLD_SLOT_NONE;
    s->free_count = 0;
    for (uint32_t i = s->count; i-- > 0;)
        if (cold_slots_state(s, i) == COLD_SLOT_FREE)
            free_slot(s, i);
}

/* ---- the index and the ghosts ---- */

static uint32_t *bucket(const struct cold_slots *s, uint64_t fingerprint)
{
    return &s->index[(uint32_t)fingerprint & s->mask];
}

static void index_add(struct cold_slots *s, uint32_t slot)
{
    uint32_t *b = bucket(s, s->slots[slot].fingerprint);

    s->slots[slot].index_next = *b;
    *b = slot;
}

static void index_remove(struct cold_slots *s, uint32_t slot)
{
    uint32_t *b = bucket(s, s->slots[slot].fingerprint);

    while (*b != slot)
        b = &s->slots[*b].index_next;
    *b = s->slots[slot].index_next;
}

uint32_t cold_slots_find(const struct cold_slots *s, uint64_t fingerprint)
{
    uint32_t slot = s->count > 0 ? *bucket(s, fingerprint) : COLD_SLOT_NONE;

    while (slot != COLD_SLOT_NONE && s->slots[slot].fingerprint != fingerprint)
        slot = s->slots[slot].index_next;
    return slot;
}

/* One ghost a place: a newer one takes it, which makes the oldest go first, on the whole. */
static void ghost_add(struct cold_slots *s, uint64_t fingerprint)
{
    s->ghosts[(uint32_t)fingerprint & s->mask] = (uint32_t)(fingerprint >> 32) | 1;
}

static bool ghost_take(struct cold_slots *s, uint64_t fingerprint)
{
    uint32_t *g = &s->ghosts[(uint32_t)fingerprint & s->mask];

    if (*g != ((uint32_t)(fingerprint >> 32) | 1))
        return false;
    *g = 0;
    return true;
}

/* ---- queues ---- */

static void queue_push(struct cold_slots *s, struct cold_slot_queue *q, uint32_t slot,
                       enum cold_slot_state state)
{
    set_state(s, slot, state);
    s->slots[slot].queue_prev = COLD_SLOT_NONE;
    s->slots[slot].queue_next = q->newest;
    if (q->newest != COLD_SLOT_NONE)
        s->slots[q->newest].queue_prev = slot;
    else
        q->oldest = slot;
    q->newest = slot;
    q->slots += cold_slots_needed(s, s->slots[slot].size);
}

static void queue_remove(struct cold_slots *s, struct cold_slot_queue *q, uint32_t slot)
{
    const struct cold_slot *e = &s->slots[slot];

    if (e->queue_prev != COLD_SLOT_NONE)
        s->slots[e->queue_prev].queue_next = e->queue_next;
    else
        q->newest = e->queue_next;
    if (e->queue_next != COLD_SLOT_NONE)
        s->slots[e->queue_next].queue_prev = e->queue_prev;
    else
        q->oldest = e->queue_prev;
    q->slots -= cold_slots_needed(s, e->size);
}

static struct cold_slot_queue *queue_of(struct cold_slots *s, uint32_t slot)
{
    return cold_slots_state(s, slot) == COLD_SLOT_SMALL ? &s->small : &s->main;
}

void cold_slots_use(struct cold_slots *s, uint32_t first)
{
    uint32_t n = uses(s, first);

    if (n < USES_MAX)
        set_uses(s, first, n + 1);
}

void cold_slots_remove(struct cold_slots *s, uint32_t first)
{
    queue_remove(s, queue_of(s, first), first);
    index_remove(s, first);
    free_chain(s, first);
}

static void evict(struct cold_slots *s, uint32_t first)
{
    if (cold_slots_state(s, first) == COLD_SLOT_SMALL)
        ghost_add(s, s->slots[first].fingerprint);
    cold_slots_remove(s, first);
    s->evictions++;
}

/* Evicts one value; false: there is none. Each step away from that uses up a hit of before. */
static bool evict_one(struct cold_slots *s)
{
    for (;;) {
        bool small = s->small.oldest != COLD_SLOT_NONE &&
                     (s->small.slots > s->count / SMALL_SHARE || s->main.oldest == COLD_SLOT_NONE);
        struct cold_slot_queue *q = small ? &s->small : &s->main;
        uint32_t slot = q->oldest, n;

        if (slot == COLD_SLOT_NONE)
            return false;
        n = uses(s, slot);
        if (n == 0) {
            evict(s, slot);
            return true;
        }
        queue_remove(s, q, slot);
        set_uses(s, slot, small ? 0 : n - 1);
        queue_push(s, &s->main, slot, COLD_SLOT_MAIN);
    }
}

/* ---- taking and inserting ---- */

uint32_t cold_slots_take(struct cold_slots *s, uint32_t count)
{
    uint32_t first = COLD_SLOT_NONE, last = COLD_SLOT_NONE;

    while (s->free_count < count)
        if (!evict_one(s))
            return COLD_SLOT_NONE;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t slot = s->free_first;

        s->free_first = cold_slots_next(s, slot);
        s->free_count--;
        set_bits(s, slot, COLD_SLOT_NONE, COLD_SLOT_PART);
        if (last == COLD_SLOT_NONE)
            first = slot;
        else
            set_bits(s, last, slot, COLD_SLOT_PART);
        last = slot;
    }
    return first;
}

void cold_slots_untake(struct cold_slots *s, uint32_t first)
{
    free_chain(s, first);
}

static void insert(struct cold_slots *s, uint32_t first, bool main)
{
    set_uses(s, first, 0);
    index_add(s, first);
    if (main)
        queue_push(s, &s->main, first, COLD_SLOT_MAIN);
    else
        queue_push(s, &s->small, first, COLD_SLOT_SMALL);
}

void cold_slots_insert(struct cold_slots *s, uint32_t first, uint64_t fingerprint, uint32_t size,
                       uint32_t crc32c)
{
    struct cold_slot *e = &s->slots[first];

    e->fingerprint = fingerprint;
    e->size = size;
    e->crc32c = crc32c;
    insert(s, first, ghost_take(s, fingerprint));
}

/* ---- init and load ---- */

int cold_slots_init(struct cold_slots *s, uint32_t count, uint32_t slot_size,
                    struct varve_error *err)
{
    size_t buckets = 1;

    while (buckets < count)
        buckets *= 2;
    *s = (struct cold_slots){.count = count, .slot_size = slot_size, .mask = (uint32_t)buckets - 1};
    s->small = s->main = (struct cold_slot_queue){COLD_SLOT_NONE, COLD_SLOT_NONE, 0};
    s->free_first = COLD_SLOT_NONE;
    if (count == 0)
        return 0;
    s->slots = calloc(count, sizeof(*s->slots));
    s->index = malloc(buckets * sizeof(*s->index));
    s->ghosts = calloc(buckets, sizeof(*s->ghosts));
    if (!s->slots || !s->index || !s->ghosts) {
        cold_slots_deinit(s);
        return base_fail(err, VARVE_E_NO_MEMORY, "cache of %u slots: out of memory", count);
    }
    for (size_t i = 0; i < buckets; i++)
        s->index[i] = COLD_SLOT_NONE;
    free_list_build(s);
    return 0;
}

void cold_slots_deinit(struct cold_slots *s)
{
    free(s->slots);
    free(s->index);
    free(s->ghosts);
    *s = (struct cold_slots){0};
}

/* While loading, queue_next is the part number, and a use marks what a whole chain has claimed. */
void cold_slots_load(struct cold_slots *s, uint32_t slot, uint64_t fingerprint, uint32_t size,
                     uint32_t crc32c, uint32_t next, uint32_t part)
{
    struct cold_slot *e = &s->slots[slot];

    e->fingerprint = fingerprint;
    e->size = size;
    e->crc32c = crc32c;
    e->queue_next = part;
    set_bits(s, slot, next < s->count ? next : COLD_SLOT_NONE, COLD_SLOT_PART);
}

/* Does a chain begin here of which each slot is this value's next part? */
static bool chain_is_whole(const struct cold_slots *s, uint32_t first)
{
    const struct cold_slot *head = &s->slots[first];
    uint32_t slot = first, count = cold_slots_needed(s, head->size);

    for (uint32_t part = 0; part < count; part++) {
        const struct cold_slot *e;

        if (slot == COLD_SLOT_NONE || cold_slots_state(s, slot) != COLD_SLOT_PART ||
            uses(s, slot) != 0)
            return false;
        e = &s->slots[slot];
        if (e->fingerprint != head->fingerprint || e->size != head->size ||
            e->crc32c != head->crc32c || e->queue_next != part)
            return false;
        slot = cold_slots_next(s, slot);
    }
    return slot == COLD_SLOT_NONE;
}

void cold_slots_load_finish(struct cold_slots *s)
{
    for (uint32_t i = 0; i < s->count; i++) {
        if (cold_slots_state(s, i) != COLD_SLOT_PART || s->slots[i].queue_next != 0 ||
            uses(s, i) != 0 || !chain_is_whole(s, i) ||
            cold_slots_find(s, s->slots[i].fingerprint) != COLD_SLOT_NONE)
            continue;
        for (uint32_t slot = i; slot != COLD_SLOT_NONE; slot = cold_slots_next(s, slot))
            set_uses(s, slot, 1);
        insert(s, i, true); /* it was worth keeping before */
    }
    for (uint32_t i = 0; i < s->count; i++) {
        if (cold_slots_state(s, i) != COLD_SLOT_PART)
            continue;
        if (uses(s, i) == 0)
            set_state(s, i, COLD_SLOT_FREE);
        else
            set_uses(s, i, 0);
    }
    free_list_build(s);
}
