/*
 * Which slot of a cache file holds what, in memory: an index by fingerprint, the order of eviction,
 * and the free slots. No I/O, no locks, no allocation after init: 32 bytes a slot, and 4 to 8 each
 * for the index and for the ghosts.
 *
 * The order is S3-FIFO's (Yang et al., SOSP 2023): new values enter a small queue (a tenth of the
 * slots); those used again by the time they reach its end move to the main queue, the others leave
 * and are remembered as ghosts for a while; a ghost that returns enters the main queue. The main
 * queue gives a value another round for each use, up to three. So a scan passes through the small
 * queue, and each step is O(1).
 *
 * A value is a chain of slots; its first slot is its name here.
 */
#ifndef COLD_SLOTS_H
#define COLD_SLOTS_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <varve/error.h>

#define COLD_SLOT_NONE UINT32_C(0x0fffffff) /* also: the number of slots is below this */

enum cold_slot_state {
    COLD_SLOT_FREE = 0,
    COLD_SLOT_SMALL = 1, /* first slot of a value, in the small queue */
    COLD_SLOT_MAIN = 2,
    COLD_SLOT_PART = 3, /* another slot of a value, or taken and not inserted yet */
};

struct cold_slot {
    uint64_t fingerprint; /* of the key; first slots only */
    uint32_t size;        /* of the value */
    uint32_t crc32c;
    uint32_t bits; /* next slot of the value, state, uses */
    uint32_t index_next;
    uint32_t queue_prev; /* towards the newer */
    uint32_t queue_next; /* towards the older */
};
static_assert(sizeof(struct cold_slot) == 32, "memory per slot is bounded");

struct cold_slot_queue {
    uint32_t newest;
    uint32_t oldest;
    uint32_t slots; /* of all its values */
};

struct cold_slots {
    struct cold_slot *slots;
    uint32_t *index;
    uint32_t *ghosts;
    uint32_t count;
    uint32_t mask; /* of index and ghosts */
    uint32_t slot_size;
    uint32_t free_first;
    uint32_t free_count;
    struct cold_slot_queue small;
    struct cold_slot_queue main;
    uint64_t evictions; /* values */
    uint64_t freed;     /* values whose slots were given back: evicted or removed */
};

int cold_slots_init(struct cold_slots *s, uint32_t count, uint32_t slot_size,
                    struct varve_error *err);
void cold_slots_deinit(struct cold_slots *s);

/* The value's first slot, or COLD_SLOT_NONE. */
uint32_t cold_slots_find(const struct cold_slots *s, uint64_t fingerprint);
void cold_slots_use(struct cold_slots *s, uint32_t first); /* a hit */
enum cold_slot_state cold_slots_state(const struct cold_slots *s, uint32_t slot);
uint32_t cold_slots_next(const struct cold_slots *s, uint32_t slot);
/* Slots that a value of this size takes. */
uint32_t cold_slots_needed(const struct cold_slots *s, uint64_t size);

/* Takes a chain of `count` slots, evicting; COLD_SLOT_NONE when there are not so many to be had. */
uint32_t cold_slots_take(struct cold_slots *s, uint32_t count);
/* Makes a taken chain a value that can be found. The fingerprint must not be there. */
void cold_slots_insert(struct cold_slots *s, uint32_t first, uint64_t fingerprint, uint32_t size,
                       uint32_t crc32c);
/* Gives a taken chain back. */
void cold_slots_untake(struct cold_slots *s, uint32_t first);
/* Removes a value. */
void cold_slots_remove(struct cold_slots *s, uint32_t first);

/*
 * Filling from a stored table, right after init: cold_slots_load for each slot that has a sound
 * entry, then cold_slots_load_finish once. Values whose chains are whole are there afterwards, all
 * other slots are free.
 */
void cold_slots_load(struct cold_slots *s, uint32_t slot, uint64_t fingerprint, uint32_t size,
                     uint32_t crc32c, uint32_t next, uint32_t part);
void cold_slots_load_finish(struct cold_slots *s);

#endif
