/* varve bench: what was asked for, into the run of bench/. */
#include <limits.h>

#include "bench/bench.h"
#include "tools/commands.h"

/* One that is too large stays so: bench_check says what it may be. */
static unsigned count(const struct tools_args *args, const char *name, unsigned fallback)
{
    int64_t n = tools_number(args, name, fallback);

    return n > UINT_MAX ? UINT_MAX : (unsigned)n;
}

int tools_bench(struct tools_args *args)
{
    struct bench b;
    const char *wrong;

    bench_init(&b);
    if (tools_text(args, "dir"))
        b.dir = tools_text(args, "dir");
    if (tools_text(args, "data"))
        b.data = tools_text(args, "data");
    b.only = tools_text(args, "only");
    b.bytes = tools_number(args, "size", b.bytes);
    b.rounds = count(args, "rounds", b.rounds);
    b.threads = count(args, "threads", b.threads);
    b.memory = tools_number(args, "memory", 0);
    b.programs = !tools_flag(args, "no-programs");
    b.cold_url = tools_text(args, "cold");
    b.input = tools_text(args, "input");
    b.segment = tools_number(args, "segment", b.segment);
    b.parallel = count(args, "parallel", b.parallel);
    b.rate = tools_number(args, "rate", 0);
    b.json = tools_flag(args, "json");
    wrong = bench_check(&b);
    if (wrong)
        return tools_usage(args, "%s", wrong);
    return bench_run(&b) ? TOOLS_OK : TOOLS_FAILURE;
}
