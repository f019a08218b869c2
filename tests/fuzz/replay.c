/*
 * Replays a corpus where there is no fuzzing engine: each file of the directory given, each of its
 * truncations, and each of its bytes changed in three ways. Files above REPLAY_MUTATED_MAX are only
 * replayed whole.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPLAY_SIZE_MAX (1 << 20)
#define REPLAY_MUTATED_MAX 1024

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Each run gets memory of exactly its size, so that a sanitizer sees the first byte beyond it. */
static void run(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);

    if (!copy)
        abort();
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static size_t replay(uint8_t *data, size_t size)
{
    static const uint8_t changes[] = {0x01, 0x80, 0xff};
    size_t runs = 1;

    run(data, size);
    if (size > REPLAY_MUTATED_MAX)
        return runs;
    for (size_t i = 0; i < size; i++) {
        run(data, i);
        for (size_t c = 0; c < sizeof(changes); c++) {
            data[i] ^= changes[c];
            run(data, size);
            data[i] ^= changes[c];
        }
        runs += 1 + sizeof(changes);
    }
    return runs;
}

static size_t replay_file(const char *dir, const char *name, uint8_t *buffer)
{
    char path[4096];
    FILE *f;
    size_t size;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    f = fopen(path, "rb");
    if (!f) {
        perror(path);
        exit(1);
    }
    size = fread(buffer, 1, REPLAY_SIZE_MAX, f);
    fclose(f);
    return replay(buffer, size);
}

int main(int argc, char **argv)
{
    uint8_t *buffer = malloc(REPLAY_SIZE_MAX);
    size_t files = 0, runs = 0;

    if (argc < 2 || !buffer) {
        fprintf(stderr, "usage: %s CORPUS-DIRECTORY...\n", argv[0]);
        return 1;
    }
    for (int i = 1; i < argc; i++) {
        DIR *dir = opendir(argv[i]);
        struct dirent *entry;
        if (!dir) {
            perror(argv[i]);
            return 1;
        }
        while ((entry = readdir(dir))) {
            if (entry->d_name[0] != '.') {
                runs += replay_file(argv[i], entry->d_name, buffer);
                files++;
            }
        }
        closedir(dir);
    }
    free(buffer);
    printf("%zu files, %zu runs\n", files, runs);
    return files > 0 ? 0 : 1; /* an empty corpus tests nothing */
}
