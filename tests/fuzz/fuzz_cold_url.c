/* cold_url_parse over any text. What parses has a scheme, a host without '@', distinct names. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cold/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct cold_url *u)
{
    if (!u->scheme[0] || strchr(u->host, '@') || strchr(u->host, '/') ||
        u->query_count > COLD_URL_QUERY_MAX)
        abort();
    for (size_t i = 0; i < u->query_count; i++)
        if (cold_url_query(u, u->query[i].name) != u->query[i].value)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const none[] = {NULL};
    struct varve_error err = {0};
    struct cold_url *u;
    char *text = malloc(size + 1);
    int rc;

    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    rc = cold_url_parse(text, &u, &err);
    if (rc < 0) {
        if (rc != VARVE_E_INVALID || err.code != rc || !err.msg[0])
            abort();
    } else {
        check(u);
        rc = cold_url_check_query(u, none, &err);
        if ((rc == 0) != (u->query_count == 0))
            abort();
        cold_url_free(u);
    }
    free(text);
    return 0;
}
