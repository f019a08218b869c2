/* How a bucket is set up, from what the store answers. */
#include "cold/s3/bucket.h"

#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "cold/s3/xml.h"

#define LIFECYCLE "LifecycleConfiguration"
#define RULE LIFECYCLE "/Rule"
#define LOCK "ObjectLockConfiguration"

static bool is(const char *path, const char *expected)
{
    return strcmp(path, expected) == 0;
}

static int root_check(const char *path, const char *root, struct varve_error *err)
{
    if (strchr(path, '/') || is(path, root))
        return 0;
    return base_fail(err, VARVE_E_CORRUPT, "a <%.64s> in the place of a <%s>", path, root);
}

/* Days and years are small whole numbers; what is none counts as one, which is on the safe side of
 * every question that is asked of it. */
static uint64_t number(const char *text)
{
    int64_t v;

    return base_parse_i64(text, &v) && v > 0 ? (uint64_t)v : 1;
}

/* A text that does not fit is cut: what it begins with is as true. */
static void keep(const char *text, char *ret, size_t room)
{
    size_t size = strlen(text);

    size = size < room ? size : room - 1;
    memcpy(ret, text, size);
    ret[size] = '\0';
}

struct lifecycle {
    struct s3_lifecycle_rule rule;
    int (*visit)(void *arg, const struct s3_lifecycle_rule *rule);
    void *arg;
    struct varve_error *err;
};

static int lifecycle_start(void *ctx, const char *path)
{
    struct lifecycle *l = ctx;

    if (is(path, RULE))
        memset(&l->rule, 0, sizeof(l->rule));
    return root_check(path, LIFECYCLE, l->err);
}

/* An element below <Rule>, by its path there. */
static void rule_take(struct s3_lifecycle_rule *r, const char *name, const char *text)
{
    if (is(name, "Status"))
        r->enabled = is(text, "Enabled");
    else if (is(name, "Prefix") || is(name, "Filter/Prefix") || is(name, "Filter/And/Prefix"))
        keep(text, r->prefix, sizeof(r->prefix));
    else if (is(name, "Filter/Tag") || is(name, "Filter/And/Tag"))
        r->tagged = true;
    else if (is(name, "Expiration/Days") || is(name, "Expiration/Date"))
        r->expires = true;
    else if (is(name, "NoncurrentVersionExpiration/NoncurrentDays"))
        r->noncurrent_days = number(text);
    else if (is(name, "AbortIncompleteMultipartUpload/DaysAfterInitiation"))
        r->abort_days = number(text);
    else if (is(name, "Transition/StorageClass"))
        keep(text, r->transition_class, sizeof(r->transition_class));
    if (is(name, "Expiration/Days"))
        r->expire_days = number(text);
    if (is(name, "Transition"))
        r->transits = true;
    if (is(name, "Transition/Days"))
        r->transition_days = number(text);
}

static int lifecycle_end(void *ctx, const char *path, const char *text)
{
    struct lifecycle *l = ctx;
    size_t size = strlen(RULE);

    if (is(path, RULE))
        return l->visit(l->arg, &l->rule);
    if (strncmp(path, RULE "/", size + 1) == 0)
        rule_take(&l->rule, path + size + 1, text);
    return 0;
}

int s3_bucket_lifecycle(const void *body, size_t size,
                        int (*visit)(void *arg, const struct s3_lifecycle_rule *rule), void *arg,
                        struct varve_error *err)
{
    struct lifecycle l = {.visit = visit, .arg = arg, .err = err};
    const struct s3_xml_handler handler = {
        .start = lifecycle_start, .end = lifecycle_end, .ctx = &l};

    return s3_xml_walk(body, size, &handler, err);
}

struct lock {
    struct s3_object_lock lock;
    struct varve_error *err;
};

static int lock_start(void *ctx, const char *path)
{
    return root_check(path, LOCK, ((struct lock *)ctx)->err);
}

static int lock_end(void *ctx, const char *path, const char *text)
{
    struct s3_object_lock *l = &((struct lock *)ctx)->lock;

    if (is(path, LOCK "/ObjectLockEnabled"))
        l->enabled = is(text, "Enabled");
    else if (is(path, LOCK "/Rule/DefaultRetention/Mode"))
        keep(text, l->mode, sizeof(l->mode));
    else if (is(path, LOCK "/Rule/DefaultRetention/Days"))
        l->days = number(text);
    else if (is(path, LOCK "/Rule/DefaultRetention/Years"))
        l->years = number(text);
    return 0;
}

int s3_bucket_lock(const void *body, size_t size, struct s3_object_lock *ret,
                   struct varve_error *err)
{
    struct lock l = {.err = err};
    const struct s3_xml_handler handler = {.start = lock_start, .end = lock_end, .ctx = &l};
    int rc = s3_xml_walk(body, size, &handler, err);

    if (rc == 0)
        *ret = l.lock;
    return rc;
}
