#include "bench/bench.h"

#include <stdio.h>

int bench_main(int argc, char **argv)
{
    (void)argc;
    fprintf(stderr, "varve: %s: this build holds no benchmarks\n", argv[0]);
    return 1;
}
