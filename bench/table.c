/* The table: what was measured beside its limit. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"

#define MIB (1024.0 * 1024)

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double bench_median(double *values, unsigned count)
{
    if (!count)
        return 0;
    qsort(values, count, sizeof(*values), compare_doubles);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static double median_of(const double values[BENCH_ROUNDS_MAX], unsigned count)
{
    double sorted[BENCH_ROUNDS_MAX];

    memcpy(sorted, values, count * sizeof(*values));
    return bench_median(sorted, count);
}

void bench_line_add(struct bench_line *l, double bytes, const struct bench_time *engine,
                    const struct bench_time *limit)
{
    l->engine[l->count] = bytes / engine->wall;
    l->limits[l->count] = bytes / limit->wall;
    l->cpu[l->count] = limit->cpu > 0 ? engine->cpu / limit->cpu : 0;
    l->count++;
}

static double line_ratio(const struct bench_line *l)
{
    double ratios[BENCH_ROUNDS_MAX];

    for (unsigned i = 0; i < l->count; i++)
        ratios[i] = l->limits[i] > 0 ? l->engine[i] / l->limits[i] : 0;
    return bench_median(ratios, l->count);
}

void bench_print_heading(const struct bench *b)
{
    if (!b->json)
        printf("%-22s %-7s %7s  %-34s %7s %6s %6s %6s\n", "", "data", "MiB/s", "limit", "MiB/s",
               "ratio", "bound", "cpu");
}

void bench_print_line(struct bench *b, const struct bench_line *l)
{
    double ratio, engine, limit, cpu;
    bool ok;

    if (b->failed || l->count == 0)
        return;
    ratio = line_ratio(l);
    engine = median_of(l->engine, l->count);
    limit = median_of(l->limits, l->count);
    cpu = median_of(l->cpu, l->count);
    ok = ratio >= l->bound;
    b->below |= !ok;
    if (b->json) {
        printf(
            "{\"what\":\"%s\",\"data\":\"%s\",\"rate\":%.0f,\"limit\":\"%s\",\"limit_rate\":%.0f,"
            "\"ratio\":%.3f,\"bound\":%.2f,\"cpu_ratio\":%.3f,\"rounds\":%u}\n",
            l->what, l->data, engine, l->limit, limit, ratio, l->bound, cpu, l->count);
    } else {
        char bound[16] = "-";
        if (l->bound > 0)
            snprintf(bound, sizeof(bound), "%.2f", l->bound);
        printf("%-22s %-7s %7.0f  %-34s %7.0f %6.2f %6s %6.2f %s\n", l->what, l->data, engine / MIB,
               l->limit, limit / MIB, ratio, bound, cpu,
               l->bound <= 0 ? ""
               : ok          ? "ok"
                             : "BELOW");
        if (l->program_rate > 0)
            printf("%-22s %-7s %7s  %-34s %7.0f\n", "", "", "", l->program_name,
                   l->program_rate / MIB);
    }
    fflush(stdout);
}

void bench_print_value(struct bench *b, const char *what, const char *data, double value,
                       const char *unit, const char *limit, double bound)
{
    bool ok = bound <= 0 || value <= bound;

    b->below |= !ok;
    if (b->json)
        printf("{\"what\":\"%s\",\"data\":\"%s\",\"value\":%.3f,\"unit\":\"%s\",\"bound\":%.3f}\n",
               what, data, value, unit, bound);
    else if (bound > 0)
        printf("%-22s %-7s %9.2f %-18s at most %.2f: %s %s\n", what, data, value, unit, bound,
               limit, ok ? "ok" : "ABOVE");
    else
        printf("%-22s %-7s %9.2f %-18s %s\n", what, data, value, unit, limit);
    fflush(stdout);
}

int bench_fail(struct bench *b, const char *what, const struct varve_error *err)
{
    fprintf(stderr, "varve: bench %s: %s\n", what, err->msg);
    b->failed = true;
    return err->code;
}

bool bench_wanted(const struct bench *b, const char *what)
{
    return !b->only || strncmp(what, b->only, strlen(b->only)) == 0;
}
