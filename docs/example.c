/* A program that embeds a log: cc example.c $(pkg-config --cflags --libs varve) */
#include <stdio.h>
#include <string.h>

#include <varve/varve.h>

static int fail(const struct varve_error *err)
{
    fprintf(stderr, "example: %s\n", err->msg);
    return 1;
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "example-store";
    static const char *const texts[] = {"sand in spring", "clay in winter", "sand again"};
    struct varve_tier_options tier = {.size = sizeof(tier), .seal = true, .evict = true};
    struct varve_reader_options from = {.size = sizeof(from), .from = VARVE_FROM_START};
    struct varve_store *store = NULL;
    struct varve_log *log = NULL;
    struct varve_reader *reader = NULL;
    struct varve_record record = {0};
    struct varve_error err;
    int rc;

    rc = varve_store_create(path, NULL, &err);
    if (rc == 0 || rc == VARVE_E_EXISTS)
        rc = varve_store_open(path, NULL, &store, &err);
    if (rc == 0)
        rc = varve_log_create(store, "lake/0", NULL, 0, &err);
    if (rc == 0 || rc == VARVE_E_EXISTS)
        rc = varve_log_open(store, "lake/0", NULL, &log, &err);
    for (int i = 0; rc == 0 && i < 3; i++) {
        record.timestamp = 1431857103000 + i * 1000;
        record.value = texts[i];
        record.value_size = strlen(texts[i]);
        rc = varve_log_append_record(log, &record, NULL, &err);
    }
    /* To the cold tier, and away from here: reading does not notice. */
    if (rc == 0)
        rc = varve_log_tier(log, &tier, &err);
    if (rc == 0)
        rc = varve_reader_open(log, &from, &reader, &err);
    while (rc == 0 && (rc = varve_reader_next(reader, 0, &record, &err)) == 0)
        printf("%lld %.*s\n", (long long)record.offset, (int)record.value_size,
               (const char *)record.value);
    varve_reader_close(reader);
    varve_log_close(log);
    varve_store_close(store);
    return rc == VARVE_E_END ? 0 : fail(&err);
}
