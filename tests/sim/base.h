/* What everything in the simulation stands on: seeded random numbers and the trace. */
#ifndef SIM_BASE_H
#define SIM_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <varve/export.h>

/* One stream for each purpose, so that leaving out a fault does not change what the actors do. */
struct sim_random {
    uint64_t state;
};

uint64_t sim_u64(struct sim_random *r);
/* From 0 up to, but not including, `limit`; 0 when that is 0. */
uint64_t sim_below(struct sim_random *r, uint64_t limit);
/* True `n` times out of `of`. */
bool sim_chance(struct sim_random *r, uint64_t n, uint64_t of);

/*
 * The trace: every call of the engine on its seams goes into a hash, and what actors and faults do
 * is also kept as lines, the last SIM_STORY_LINES of them, which are the story of a failing seed.
 */
#define SIM_STORY_LINES 60
#define SIM_STORY_LINE_SIZE 192

struct sim_trace {
    uint64_t hash;
    uint64_t count; /* of lines */
    char lines[SIM_STORY_LINES][SIM_STORY_LINE_SIZE];
    FILE *echo;  /* all lines go here as well; NULL: nowhere */
    FILE *calls; /* and every call, in words; NULL: nowhere */
};

void sim_trace_mix(struct sim_trace *t, uint64_t a, uint64_t b, uint64_t c);
void sim_trace_bytes(struct sim_trace *t, const void *data, size_t size);
void sim_trace_line(struct sim_trace *t, const char *format, ...) VARVE_PRINTF(2, 3);
void sim_trace_print(const struct sim_trace *t, FILE *out);

#endif
