/* Benchmarks, each beside the machine's own limit measured in the same run. */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

/* `varve bench [NAME...]`: argv[0] is "bench". Prints, and returns what to exit with (tools/cli.h).
 */
int bench_main(int argc, char **argv);

#endif
