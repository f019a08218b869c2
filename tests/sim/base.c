#include "tests/sim/base.h"

#include <stdarg.h>
#include <string.h>

#include "base/hash.h"

uint64_t sim_u64(struct sim_random *r)
{
    uint64_t z = (r->state += UINT64_C(0x9e3779b97f4a7c15)); /* splitmix64 */

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t sim_below(struct sim_random *r, uint64_t limit)
{
    return limit > 0 ? sim_u64(r) % limit : 0;
}

bool sim_chance(struct sim_random *r, uint64_t n, uint64_t of)
{
    return sim_below(r, of) < n;
}

void sim_trace_mix(struct sim_trace *t, uint64_t a, uint64_t b, uint64_t c)
{
    const uint64_t words[] = {a, b, c};

    for (size_t i = 0; i < 3; i++) {
        t->hash ^= words[i];
        t->hash *= UINT64_C(0x9fb21c651e98df25);
        t->hash ^= t->hash >> 29;
    }
}

void sim_trace_bytes(struct sim_trace *t, const void *data, size_t size)
{
    sim_trace_mix(t, base_crc32c(0, data, size), size, 1);
}

void sim_trace_line(struct sim_trace *t, const char *format, ...)
{
    char *line = t->lines[t->count++ % SIM_STORY_LINES];
    va_list ap;

    va_start(ap, format);
    if (vsnprintf(line, SIM_STORY_LINE_SIZE, format, ap) < 0)
        line[0] = 0;
    va_end(ap);
    sim_trace_bytes(t, line, strlen(line));
    if (t->echo)
        fprintf(t->echo, "%s\n", line);
}

void sim_trace_print(const struct sim_trace *t, FILE *out)
{
    uint64_t first = t->count > SIM_STORY_LINES ? t->count - SIM_STORY_LINES : 0;

    if (t->echo)
        return; /* they are out already */
    for (uint64_t i = first; i < t->count; i++)
        fprintf(out, "    %s\n", t->lines[i % SIM_STORY_LINES]);
}
