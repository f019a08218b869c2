/*
 * Listings. A body that broke off looks to libs3 like one that is over, and no length is told with
 * which to find out. So the end of a listing is believed only when the store, asked again from
 * there, has nothing more to name: one request more a listing.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "cold/libs3/driver.h"

#define PAGE_MAX 1000 /* S3's own limit */

struct entry {
    char *key; /* without our prefix */
    struct cold_meta meta;
};

struct page {
    struct libs3_request request;
    char *prefix, *marker; /* whole ones */
    int max;
    size_t prefix_size; /* of the store's own part */
    struct entry *entries;
    size_t count, room;
    bool truncated;
    bool failed; /* out of memory, or a key that nobody asked for */
};

static void page_clear(struct page *p)
{
    for (size_t i = 0; i < p->count; i++)
        free(p->entries[i].key);
    p->count = 0;
}

static bool page_add(struct page *p, const S3ListBucketContent *c)
{
    struct entry *e;

    if (strncmp(c->key, p->prefix, strlen(p->prefix)) != 0)
        return false;
    if (p->count == p->room) {
        size_t room = p->room ? 2 * p->room : 64;
        struct entry *entries = realloc(p->entries, room * sizeof(*entries));

        if (!entries)
            return false;
        p->entries = entries;
        p->room = room;
    }
    e = &p->entries[p->count];
    *e = (struct entry){.key = strdup(c->key + p->prefix_size),
                        .meta = {.size = c->size, .modified = c->lastModified * 1000}};
    libs3_etag(c->eTag ? c->eTag : "", &e->meta.etag);
    p->count += e->key != NULL;
    return e->key != NULL;
}

static S3Status page_contents(int truncated, const char *next_marker, int count,
                              const S3ListBucketContent *contents, int prefixes_count,
                              const char **prefixes, void *data)
{
    struct page *p = data;

    (void)next_marker; /* the last key says the same, and cannot be missing */
    (void)prefixes_count;
    (void)prefixes;
    p->truncated = truncated != 0;
    for (int i = 0; i < count && !p->failed; i++)
        p->failed = !page_add(p, &contents[i]);
    return p->failed ? S3StatusAbortedByCallback : S3StatusOK;
}

static void page_issue(struct libs3_request *r)
{
    struct page *p = (struct page *)r;
    const S3ListBucketHandler handler = {{libs3_properties, libs3_complete}, page_contents};

    page_clear(p);
    p->truncated = p->failed = false;
    S3_list_bucket(&r->store->context, p->prefix, p->marker, NULL, p->max, LIBS3_BLOCKING, &handler,
                   p);
}

static int page_judge(struct libs3_request *r, struct varve_error *err)
{
    const struct page *p = (const struct page *)r;

    return p->failed ? libs3_fail(r, VARVE_E_STORE, false,
                                  "out of memory, or the store named a key of another prefix", err)
                     : 0;
}

/* Asks for the keys behind `start_after` (NULL: from the first). */
static int page_fetch(struct page *p, const char *start_after, int max, struct varve_error *err)
{
    int rc = 0;

    free(p->marker);
    p->marker = NULL;
    p->max = max;
    if (start_after)
        rc = base_format(&p->marker, err, "%s%s", p->request.store->prefix, start_after);
    return rc < 0 ? rc : libs3_request_run(&p->request, err);
}

/* Is there anything behind the last key, or, with none, at all? The page's own entries stay. */
static int page_is_last(struct page *p, const char *start_after, bool *ret, struct varve_error *err)
{
    struct page next = {.request = p->request, .prefix = p->prefix, .prefix_size = p->prefix_size};
    int rc = page_fetch(&next, p->count > 0 ? p->entries[p->count - 1].key : start_after, 1, err);

    *ret = rc == 0 && next.count == 0;
    page_clear(&next);
    free(next.entries);
    free(next.marker);
    return rc;
}

int libs3_list(void *self, const char *prefix, const char *start_after, unsigned max,
               int (*visit)(void *arg, const char *key, const struct cold_meta *meta), void *arg,
               bool *ret_more, struct varve_error *err)
{
    struct libs3 *s = self;
    struct page p = {.request = {.issue = page_issue, .judge = page_judge},
                     .prefix_size = strlen(s->prefix)};
    bool last = false;
    int rc = libs3_request_init(&p.request, s, "list", prefix, err);

    p.prefix = p.request.full_key;
    if (rc == 0)
        rc = page_fetch(&p, start_after, max < PAGE_MAX ? (int)max : PAGE_MAX, err);
    if (rc == 0 && !p.truncated && visit)
        rc = page_is_last(&p, start_after, &last, err);
    if (rc == 0 && visit && p.count == 0 && !last) /* which the caller could not go on from */
        rc = libs3_fail(&p.request, VARVE_E_STORE, true, "a page without a key is not the last one",
                        err);
    for (size_t i = 0; rc == 0 && visit && i < p.count; i++)
        rc = visit(arg, p.entries[i].key, &p.entries[i].meta);
    if (rc == 0)
        *ret_more = !last;
    page_clear(&p);
    free(p.entries);
    free(p.marker);
    free(p.request.full_key);
    return rc;
}
