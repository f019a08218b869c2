/*
 * Runs a fuzz target without a fuzzing engine: every file of the corpus directories as it is; then
 * mutations of them, the same in every run, in rounds over the files until all are done or the time
 * is over. Of small files first every truncation and three changes of every byte, then of all files
 * RANDOM_MUTATIONS that are drawn. Inputs lie in memory of exactly their size, so that ASan sees
 * the first byte too many. On a crash the file and the number of the mutation are printed;
 * `--run FILE NUMBER` in front of the directories runs that one again.
 */
#include <dirent.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RANDOM_MUTATIONS 4000 /* of each file */
#define SYSTEMATIC_SIZE_MAX 1024
#define SECONDS_MAX 2
#define SIZE_MAX_MUTATED (1 << 20)
#define CHANGES_MAX 4 /* in one mutation */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    char *name;
    uint8_t *data;
    size_t size;
};

static struct input *corpus;
static size_t corpus_count;

static char running[512]; /* what the crash handler prints */

static void say_what_ran(void)
{
    ssize_t n = write(STDERR_FILENO, running, strlen(running));

    (void)n;
}

static void on_crash(int signal_number)
{
    say_what_ran();
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

/* There when a sanitizer is linked in. */
__attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)(void));

static void watch_crashes(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

    if (__sanitizer_set_death_callback) {
        __sanitizer_set_death_callback(say_what_ran);
        return;
    }
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        signal(signals[i], on_crash);
}

static void *must_have(void *p)
{
    if (!p)
        abort();
    return p;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct input *)a)->name, ((const struct input *)b)->name);
}

static void load_file(const char *directory, const char *name)
{
    struct input input = {.name = must_have(strdup(name))};
    char path[4096];
    long size;
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    f = must_have(fopen(path, "rbe"));
    fseek(f, 0, SEEK_END);
    size = ftell(f);
    rewind(f);
    input.size = size > 0 ? (size_t)size : 0;
    input.data = must_have(malloc(input.size + 1));
    if (fread(input.data, 1, input.size, f) != input.size)
        abort();
    fclose(f);
    corpus = must_have(realloc(corpus, (corpus_count + 1) * sizeof(*corpus)));
    corpus[corpus_count++] = input;
}

static void load_corpus(const char *directory)
{
    DIR *dir = opendir(directory);
    struct dirent *entry;

    if (!dir) {
        perror(directory);
        exit(1);
    }
    while ((entry = readdir(dir))) {
        if (entry->d_name[0] != '.')
            load_file(directory, entry->d_name);
    }
    closedir(dir);
    if (corpus_count == 0) {
        fprintf(stderr, "%s: no corpus\n", directory);
        exit(1);
    }
    qsort(corpus, corpus_count, sizeof(*corpus), by_name);
}

/* SplitMix64. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static size_t below(uint64_t *state, size_t limit)
{
    return limit > 0 ? (size_t)(next_random(state) % limit) : 0;
}

/* Overwrites 1, 2, 4 or 8 bytes with a number of the kind that decoders stumble over. */
static void put_number(uint8_t *data, size_t size, uint64_t *state)
{
    static const uint64_t numbers[] = {0,          1,
                                       2,          0x7f,
                                       0x80,       0xff,
                                       0x7fff,     0x8000,
                                       0xffff,     0x10000,
                                       0x7fffffff, 0x80000000,
                                       0xffffffff, UINT64_C(0x100000000),
                                       INT64_MAX,  UINT64_C(1) << 63,
                                       UINT64_MAX, UINT64_MAX - 1};
    uint64_t v = numbers[below(state, sizeof(numbers) / sizeof(numbers[0]))];
    size_t width = (size_t)1 << below(state, 4);
    bool big_endian = below(state, 2);
    size_t at;

    if (size < width)
        return;
    at = below(state, size - width + 1);
    for (size_t i = 0; i < width; i++)
        data[at + i] = (uint8_t)(v >> 8 * (big_endian ? width - 1 - i : i));
}

/* Cuts a range out, or doubles it. `data` has room for twice the size. */
static size_t move_range(uint8_t *data, size_t size, bool doubling, uint64_t *state)
{
    size_t from = below(state, size + 1);
    size_t length = below(state, size - from + 1);

    if (doubling) {
        memmove(data + from + length, data + from, size - from);
        return size + length;
    }
    memmove(data + from, data + from + length, size - from - length);
    return size - length;
}

/* Continues with a part of another file of the corpus. */
static size_t splice(uint8_t *data, size_t size, uint64_t *state)
{
    const struct input *other = &corpus[below(state, corpus_count)];
    size_t from = below(state, other->size + 1);
    size_t length = other->size - from;
    size_t at = below(state, size + 1);

    if (at + length > SIZE_MAX_MUTATED)
        return size;
    memcpy(data + at, other->data + from, length);
    return at + length > size ? at + length : size;
}

static size_t change_once(uint8_t *data, size_t size, uint64_t *state)
{
    switch (below(state, 8)) {
    case 0:
    case 1:
        if (size > 0)
            data[below(state, size)] ^= (uint8_t)(1 << below(state, 8));
        return size;
    case 2:
        if (size > 0)
            data[below(state, size)] = (uint8_t)next_random(state);
        return size;
    case 3:
        return below(state, size + 1);
    case 4:
        return move_range(data, size, false, state);
    case 5:
        return move_range(data, size, size <= SIZE_MAX_MUTATED / 2, state);
    case 6:
        return splice(data, size, state);
    default:
        put_number(data, size, state);
        return size;
    }
}

static void run(const uint8_t *data, size_t size)
{
    uint8_t *exact = must_have(malloc(size > 0 ? size : 1));

    memcpy(exact, data, size);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
}

/* How many mutations of a file are systematic: each byte cut off there, and changed three times. */
static size_t systematic_count(const struct input *input)
{
    return input->size <= SYSTEMATIC_SIZE_MAX ? 4 * input->size : 0;
}

static size_t change_systematically(uint8_t *data, size_t size, size_t number)
{
    static const uint8_t changes[] = {0x01, 0x80, 0xff};

    if (number % 4 == 3)
        return number / 4;
    data[number / 4] ^= changes[number % 4];
    return size;
}

static size_t change_randomly(uint8_t *data, size_t size, uint64_t state)
{
    for (size_t changes = 1 + below(&state, CHANGES_MAX); changes > 0; changes--)
        size = change_once(data, size, &state);
    return size;
}

/* Number 0 is the file as it is. */
static void run_mutation(size_t index, size_t number)
{
    static uint8_t room[2 * SIZE_MAX_MUTATED];
    const struct input *input = &corpus[index];
    size_t systematic = systematic_count(input);
    size_t size = input->size;

    snprintf(running, sizeof(running), "while running %s mutation %zu\n", input->name, number);
    if (number == 0 || size > SIZE_MAX_MUTATED) {
        run(input->data, size);
        return;
    }
    memcpy(room, input->data, size);
    if (number <= systematic)
        size = change_systematically(room, size, number - 1);
    else
        size = change_randomly(room, size, (uint64_t)index << 32 | number);
    run(room, size);
}

static double seconds(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int run_one(const char *name, size_t number)
{
    for (size_t i = 0; i < corpus_count; i++) {
        if (strcmp(corpus[i].name, name) == 0) {
            run_mutation(i, number);
            return 0;
        }
    }
    fprintf(stderr, "%s: not in the corpus\n", name);
    return 1;
}

static void corpus_deinit(void)
{
    for (size_t i = 0; i < corpus_count; i++) {
        free(corpus[i].name);
        free(corpus[i].data);
    }
    free(corpus);
}

static void run_all(void)
{
    double until = seconds() + SECONDS_MAX;
    size_t runs = 0, done = 0;

    /* The files themselves are always run, all of them. */
    for (size_t number = 0; number == 0 || done < corpus_count; number++) {
        done = 0;
        for (size_t i = 0; i < corpus_count; i++) {
            if (number > systematic_count(&corpus[i]) + RANDOM_MUTATIONS ||
                (number > 0 && seconds() >= until)) {
                done++;
                continue;
            }
            run_mutation(i, number);
            runs++;
        }
    }
    printf("%zu files, %zu inputs\n", corpus_count, runs);
}

int main(int argc, char **argv)
{
    bool one = argc > 4 && strcmp(argv[1], "--run") == 0;
    int rc = 0;

    if (argc < 2) {
        fprintf(stderr, "usage: %s [--run FILE NUMBER] CORPUS-DIRECTORY...\n", argv[0]);
        return 2;
    }
    watch_crashes();
    for (int i = one ? 4 : 1; i < argc; i++)
        load_corpus(argv[i]);
    if (one)
        rc = run_one(argv[2], strtoul(argv[3], NULL, 10));
    else
        run_all();
    corpus_deinit();
    return rc;
}
