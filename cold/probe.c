/*
 * The prober. Each check makes objects of its own under a fresh prefix, so that nothing a check
 * leaves behind (a put that should have been refused) can mislead the next.
 *
 * A verdict is about the store, an error about reaching it: where a request fails for a reason that
 * may pass, the probe fails and can be run again. Nothing is concluded from a lost connection.
 */
#include "cold/probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/thread.h"

#define RACERS 16
#define RACE_ROUNDS 2
#define KEY_SIZE 128
#define BODY_SIZE_MAX 64

struct prober {
    const struct base_env *env;
    struct cold_store *store;
    struct cold_probe *probe;
    char prefix[64];
    bool uploaded; /* a multipart upload was begun */
};

/* ---- caps as text ---- */

static const struct {
    const char *name;
    size_t field;
} words[] = {
    {"conditional-put", offsetof(struct cold_caps, conditional_put)},
    {"conditional-complete", offsetof(struct cold_caps, conditional_complete)},
    {"ordered-list", offsetof(struct cold_caps, ordered_list)},
    {"verifies-crc32c", offsetof(struct cold_caps, verifies_crc32c)},
    {"etag-unquoted", offsetof(struct cold_caps, etag_unquoted)},
    {"lists-uploads", offsetof(struct cold_caps, lists_uploads)},
};
#define WORD_COUNT (sizeof(words) / sizeof(words[0]))

static bool *word_field(struct cold_caps *caps, size_t i)
{
    return (bool *)((char *)caps + words[i].field);
}

void cold_caps_encode(const struct cold_caps *caps, char ret[COLD_CAPS_TEXT_SIZE])
{
    struct cold_caps copy = *caps;
    size_t pos = 0;

    for (size_t i = 0; i < WORD_COUNT; i++)
        pos += (size_t)snprintf(ret + pos, COLD_CAPS_TEXT_SIZE - pos, "%s%s=%d", i > 0 ? " " : "",
                                words[i].name, *word_field(&copy, i));
}

void cold_caps_decode(const char *text, struct cold_caps *caps)
{
    while (*text) {
        size_t size = strcspn(text, " ");

        for (size_t i = 0; i < WORD_COUNT; i++) {
            size_t name = strlen(words[i].name);

            if (size == name + 2 && strncmp(text, words[i].name, name) == 0 && text[name] == '=')
                *word_field(caps, i) = text[name + 1] == '1';
        }
        text += size + (text[size] == ' ');
    }
}

/* ---- helpers ---- */

static void say(struct prober *p, const char *name, const char *what,
                enum cold_probe_verdict verdict, const char *detail)
{
    struct cold_probe_check *c = &p->probe->checks[p->probe->count++];

    c->name = name;
    c->what = what;
    c->verdict = verdict;
    snprintf(c->detail, sizeof(c->detail), "%s", detail);
}

const struct cold_probe_check *cold_probe_find(const struct cold_probe *probe, const char *name)
{
    for (size_t i = 0; i < probe->count; i++)
        if (strcmp(probe->checks[i].name, name) == 0)
            return &probe->checks[i];
    return NULL;
}

static const char *key_of(const struct prober *p, const char *name, char ret[KEY_SIZE])
{
    snprintf(ret, KEY_SIZE, "%s/%s", p->prefix, name);
    return ret;
}

static int put(struct prober *p, const char *name, const char *text, enum cold_condition condition,
               const struct cold_etag *etag, struct cold_etag *ret_etag, struct varve_error *err)
{
    char key[KEY_SIZE];
    struct iovec body = {.iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text)};
    struct cold_put how = {.condition = condition,
                           .etag = etag,
                           .has_crc32c = true,
                           .crc32c = base_crc32c(0, text, strlen(text))};

    return cold_store_put(p->store, key_of(p, name, key), &body, 1, &how, ret_etag, err);
}

/* True: the store was not asked, or not heard; a later try may tell. */
static bool is_not_asked(int rc, const struct varve_error *err)
{
    return rc < 0 && (err->retriable || rc == VARVE_E_NO_MEMORY);
}

/* *ret: whether the object is there with this body. A failure to ask is no answer. */
static int holds(struct prober *p, const char *name, const char *text, bool *ret,
                 struct varve_error *err)
{
    char key[KEY_SIZE];
    void *data;
    size_t size;
    int rc =
        cold_store_read(p->store, key_of(p, name, key), BODY_SIZE_MAX, &data, &size, NULL, err);

    *ret = false;
    if (rc < 0)
        return is_not_asked(rc, err) ? rc : 0;
    *ret = size == strlen(text) && memcmp(data, text, size) == 0;
    free(data);
    return 0;
}

/* True: rc is the store's answer to the question, not a failure to ask it. */
static bool is_answer(int rc, const struct varve_error *err)
{
    return rc == 0 || rc == VARVE_E_PRECONDITION || rc == VARVE_E_UNSUPPORTED ||
           rc == VARVE_E_NOT_FOUND || (rc == VARVE_E_STORE && !err->retriable);
}

/* ---- the checks: each returns 0 when it has said something, else an error ---- */

static int check_write(struct prober *p, struct varve_error *err)
{
    int rc = put(p, "write", "written by varve", COLD_ALWAYS, NULL, NULL, err);
    bool good;

    if (rc == 0)
        rc = holds(p, "write", "written by varve", &good, err);
    if (rc < 0)
        return rc;
    say(p, "write", "an object is read back as it was written",
        good ? COLD_PROBE_YES : COLD_PROBE_NO, good ? "" : "another body came back");
    return 0;
}

static int check_if_absent(struct prober *p, bool *ret, struct varve_error *err)
{
    static const char what[] = "a put with If-None-Match: * fails where there is an object";
    struct varve_error why = {0};
    int rc = put(p, "absent", "first", COLD_IF_ABSENT, NULL, NULL, err), held = 0;

    if (rc == 0)
        rc = put(p, "absent", "second", COLD_IF_ABSENT, NULL, NULL, err);
    if (!is_answer(rc, err))
        return rc;
    if (rc == VARVE_E_PRECONDITION)
        held = holds(p, "absent", "first", ret, &why);
    if (held < 0) {
        *err = why;
        return held;
    }
    say(p, "if-absent", what, *ret ? COLD_PROBE_YES : COLD_PROBE_NO,
        *ret      ? ""
        : rc == 0 ? "the second put was taken: the condition is ignored"
                  : err->msg);
    return 0;
}

/* If-match with the object's own ETag, and with one that it had before. */
static int if_match_try(struct prober *p, const char *name, int *ret_good, int *ret_stale,
                        struct varve_error *err)
{
    struct cold_etag first, second;
    int rc = put(p, name, "first", COLD_ALWAYS, NULL, &first, err);

    if (rc < 0)
        return rc;
    *ret_good = put(p, name, "second", COLD_IF_MATCH, &first, &second, err);
    if (!is_answer(*ret_good, err))
        return *ret_good;
    *ret_stale = put(p, name, "third", COLD_IF_MATCH, &first, NULL, err);
    return is_answer(*ret_stale, err) ? 0 : *ret_stale;
}

static int check_if_match(struct prober *p, bool *ret, struct varve_error *err)
{
    static const char what[] = "a put with If-Match succeeds on that ETag and on no other";
    int good, stale, rc = if_match_try(p, "match", &good, &stale, err);

    if (rc == 0 && good != 0) {
        p->probe->caps.etag_unquoted = true;
        cold_store_set_caps(p->store, &p->probe->caps);
        rc = if_match_try(p, "match-unquoted", &good, &stale, err);
    }
    if (rc < 0)
        return rc;
    *ret = good == 0 && stale == VARVE_E_PRECONDITION;
    if (!*ret)
        p->probe->caps.etag_unquoted = false;
    say(p, "if-match", what, *ret ? COLD_PROBE_YES : COLD_PROBE_NO,
        *ret && p->probe->caps.etag_unquoted ? "only with the ETag unquoted"
        : *ret                               ? ""
        : good != 0                          ? "the right ETag is refused, quoted and unquoted"
                                             : "a stale ETag is taken: the condition is ignored");
    return 0;
}

struct racer {
    struct prober *p;
    const char *name;
    const struct cold_etag *etag; /* NULL: if-absent */
    char text[16];
    struct base_thread *thread;
    int rc;
    struct varve_error err;
};

static void race_run(void *arg)
{
    struct racer *r = arg;

    r->rc = put(r->p, r->name, r->text, r->etag ? COLD_IF_MATCH : COLD_IF_ABSENT, r->etag, NULL,
                &r->err);
}

/* *ret_winners: how many puts of RACERS at once were taken. */
static int race(struct prober *p, const char *name, const struct cold_etag *etag,
                unsigned *ret_winners, struct varve_error *err)
{
    struct racer racers[RACERS];
    unsigned winners = 0;
    int rc = 0;

    for (unsigned i = 0; i < RACERS; i++) {
        racers[i] = (struct racer){.p = p, .name = name, .etag = etag, .rc = VARVE_E_STORE};
        /* Where ETags are of the content, equal bodies would leave the condition true. */
        snprintf(racers[i].text, sizeof(racers[i].text), "%s %u", etag ? "match" : "absent", i);
        if (rc == 0)
            rc = base_thread_start(&racers[i].thread, "varve-probe", race_run, &racers[i], err);
    }
    for (unsigned i = 0; i < RACERS; i++) {
        base_thread_join(racers[i].thread);
        /* Other bytes under the key than were put: it was taken, and then another's was, too. */
        if (racers[i].rc == VARVE_E_CORRUPT)
            racers[i].rc = 0;
        if (rc == 0 && !is_answer(racers[i].rc, &racers[i].err)) {
            rc = racers[i].rc;
            if (err)
                *err = racers[i].err;
        }
        winners += racers[i].rc == 0;
    }
    *ret_winners = winners;
    return rc;
}

static int check_race(struct prober *p, bool *ret, struct varve_error *err)
{
    static const char what[] = "of 16 conditional puts at once exactly one is taken";
    char detail[COLD_PROBE_DETAIL_SIZE] = "";

    *ret = true;
    for (unsigned round = 0; round < RACE_ROUNDS && *ret; round++) {
        char name[16], key[KEY_SIZE];
        unsigned absent = 0, match = 0;
        struct cold_meta meta;
        int rc;

        snprintf(name, sizeof(name), "race-%u", round);
        rc = race(p, name, NULL, &absent, err);
        if (rc == 0)
            rc = cold_store_head(p->store, key_of(p, name, key), &meta, err);
        if (rc == 0)
            rc = race(p, name, &meta.etag, &match, err);
        if (rc < 0)
            return rc;
        *ret = absent == 1 && match == 1;
        snprintf(detail, sizeof(detail), "%u won with if-absent, %u with if-match", absent, match);
    }
    say(p, "race", what, *ret ? COLD_PROBE_YES : COLD_PROBE_NO, *ret ? "" : detail);
    return 0;
}

static int check_ranges(struct prober *p, struct varve_error *err)
{
    static const char what[] = "a ranged get brings exactly that range";
    char key[KEY_SIZE], buf[4];
    struct varve_error why = {0};
    int rc = put(p, "range", "0123456789", COLD_ALWAYS, NULL, NULL, err), beyond = 0;

    if (rc < 0)
        return rc;
    rc = cold_store_get(p->store, key_of(p, "range", key), 3, 4, buf, err);
    if (rc == 0)
        beyond = cold_store_get(p->store, key, 8, 4, buf, &why);
    if (is_not_asked(rc, err))
        return rc;
    if (is_not_asked(beyond, &why)) {
        *err = why;
        return beyond;
    }
    if (rc < 0)
        say(p, "ranges", what, COLD_PROBE_NO, err->msg);
    else if (beyond != VARVE_E_CORRUPT)
        say(p, "ranges", what, COLD_PROBE_NO, "a range beyond the end is not told");
    else
        say(p, "ranges", what, COLD_PROBE_YES, "");
    return 0;
}

struct find_upload {
    const char *key;
    bool found;
};

static int find_upload_visit(void *arg, const char *key, const struct cold_upload *upload,
                             int64_t started)
{
    struct find_upload *f = arg;

    (void)upload;
    (void)started;
    f->found = f->found || strcmp(key, f->key) == 0;
    return 0;
}

/* Uploads one small part to `name`, and completes it under the condition. */
static int multipart_try(struct prober *p, const char *name, enum cold_condition condition,
                         bool *ret_listed, struct varve_error *err)
{
    static const char text[] = "a part";
    char key[KEY_SIZE];
    struct iovec body = {.iov_base = (void *)(uintptr_t)text, .iov_len = sizeof(text) - 1};
    struct find_upload find = {.key = key_of(p, name, key)};
    struct cold_put how = {.condition = condition};
    struct cold_upload upload;
    struct cold_part part;
    struct varve_error why = {0};
    int rc = cold_store_upload_begin(p->store, key, &upload, err), listed = 0;

    p->uploaded = p->uploaded || rc == 0 || is_not_asked(rc, err);
    if (rc < 0)
        return rc;
    rc = cold_store_upload_part(p->store, key, &upload, 1, 0, &body, 1,
                                base_crc32c(0, text, sizeof(text) - 1), &part, err);
    if (rc == 0)
        listed = cold_store_upload_list(p->store, p->prefix, find_upload_visit, &find, &why);
    if (rc == 0 && is_not_asked(listed, &why)) {
        rc = listed;
        *err = why;
    }
    *ret_listed = rc == 0 && listed == 0 && find.found;
    if (rc == 0)
        rc = cold_store_upload_complete(p->store, key, &upload, &part, 1, &how, NULL, err);
    if (rc < 0)
        (void)cold_store_upload_abort(p->store, key, &upload, NULL);
    return rc;
}

static int check_multipart(struct prober *p, struct varve_error *err)
{
    static const char what[] = "parts make an object";
    bool listed = false;
    struct varve_error why = {0};
    int rc = multipart_try(p, "multipart", COLD_ALWAYS, &listed, err), held = 0;
    bool good = false;

    if (!is_answer(rc, err))
        return rc;
    if (rc == 0)
        held = holds(p, "multipart", "a part", &good, &why);
    if (held < 0) {
        *err = why;
        return held;
    }
    say(p, "multipart", what, good ? COLD_PROBE_YES : COLD_PROBE_NO,
        good      ? ""
        : rc == 0 ? "another body came back"
                  : err->msg);
    p->probe->caps.lists_uploads = good && listed;
    say(p, "list-uploads", "an unfinished upload is listed by its prefix",
        listed ? COLD_PROBE_YES : COLD_PROBE_NO,
        listed ? "" : "it is not: what a crash leaves behind is the store's to clean up");
    return 0;
}

static int check_conditional_complete(struct prober *p, struct varve_error *err)
{
    static const char what[] = "completing parts with If-None-Match: * fails where there is an "
                               "object";
    bool listed, good = false;
    struct varve_error why = {0};
    int rc, held = 0;

    p->probe->caps.conditional_complete = true;
    cold_store_set_caps(p->store, &p->probe->caps);
    rc = put(p, "complete", "there first", COLD_ALWAYS, NULL, NULL, err);
    if (rc < 0)
        return rc;
    rc = multipart_try(p, "complete", COLD_IF_ABSENT, &listed, err);
    if (!is_answer(rc, err))
        return rc;
    if (rc == VARVE_E_PRECONDITION)
        held = holds(p, "complete", "there first", &good, &why);
    if (held < 0) {
        *err = why;
        return held;
    }
    p->probe->caps.conditional_complete = good;
    cold_store_set_caps(p->store, &p->probe->caps);
    say(p, "conditional-complete", what, good ? COLD_PROBE_YES : COLD_PROBE_NO,
        good      ? ""
        : rc == 0 ? "the object was replaced: the condition is ignored"
                  : err->msg);
    return 0;
}

static int check_checksum(struct prober *p, const char *name, const char *what,
                          enum cold_trial trial, bool *ret, struct varve_error *err)
{
    char key[KEY_SIZE];
    bool refused = false;
    int rc = cold_store_trial(p->store, key_of(p, name, key), trial, &refused, err);

    *ret = false;
    if (rc == VARVE_E_UNSUPPORTED) {
        say(p, name, what, COLD_PROBE_UNKNOWN, "this driver has none");
        return 0;
    }
    if (rc < 0)
        return rc;
    *ret = refused;
    say(p, name, what, refused ? COLD_PROBE_YES : COLD_PROBE_NO,
        refused ? "" : "the store takes a body that is not what its header promises");
    return 0;
}

struct order {
    const char *const *names;
    size_t prefix_size;
    size_t count;
    bool good;
};

static int order_visit(void *arg, const char *key, const struct cold_meta *meta)
{
    struct order *o = arg;

    (void)meta;
    o->good =
        o->good && o->names[o->count] && strcmp(key + o->prefix_size + 1, o->names[o->count]) == 0;
    if (o->names[o->count])
        o->count++;
    return 0;
}

/* Put in another order, and with a '/' sorting between '.' and '0'. */
static int check_order(struct prober *p, struct varve_error *err)
{
    static const char what[] = "a listing is complete at once, and in the order of its keys";
    static const char *const names[] = {"order/a-b", "order/a.b", "order/a/b", "order/a0", NULL};
    struct order o = {.names = names, .prefix_size = strlen(p->prefix), .good = true};
    char key[KEY_SIZE];
    int rc = 0;

    for (size_t i = 4; i-- > 0 && rc == 0;)
        rc = put(p, names[i], "x", COLD_ALWAYS, NULL, NULL, err);
    if (rc == 0)
        rc = cold_store_list_all(p->store, key_of(p, "order/", key), order_visit, &o, err);
    if (rc < 0)
        return rc;
    p->probe->caps.ordered_list = o.good && o.count == 4;
    say(p, "list", what, p->probe->caps.ordered_list ? COLD_PROBE_YES : COLD_PROBE_NO,
        p->probe->caps.ordered_list ? "" : "keys are missing or out of order");
    return 0;
}

/* ---- cleaning up ---- */

struct doomed {
    char keys[64][KEY_SIZE];
    const char *list[64];
    size_t count;
};

static int doomed_visit(void *arg, const char *key, const struct cold_meta *meta)
{
    struct doomed *d = arg;

    (void)meta;
    if (d->count < 64 && strlen(key) < KEY_SIZE) {
        snprintf(d->keys[d->count], KEY_SIZE, "%s", key);
        d->list[d->count] = d->keys[d->count];
        d->count++;
    }
    return 0;
}

/* Deletes all that was made; *ret_gone: what was deleted is not there any more. */
static int clean(struct prober *p, bool *ret_gone, struct varve_error *err)
{
    struct doomed *d = calloc(1, sizeof(*d));
    struct cold_meta meta;
    char prefix[KEY_SIZE];
    int rc;

    if (!d)
        return base_fail(err, VARVE_E_NO_MEMORY, "probe: out of memory");
    rc = cold_store_list_all(p->store, key_of(p, "", prefix), doomed_visit, d, err);
    if (rc == 0)
        rc = cold_store_delete(p->store, d->list, d->count, err);
    *ret_gone = true;
    if (rc == 0 && d->count > 0) {
        rc = cold_store_head(p->store, d->list[0], &meta, err);
        *ret_gone = rc == VARVE_E_NOT_FOUND;
        rc = is_not_asked(rc, err) ? rc : 0;
    }
    free(d);
    return rc;
}

static int check_delete(struct prober *p, struct varve_error *err)
{
    static const char what[] = "many objects are deleted by one request";
    bool gone;
    int rc = clean(p, &gone, err);

    if (rc == 0)
        say(p, "delete", what, gone ? COLD_PROBE_YES : COLD_PROBE_NO,
            gone ? "" : "a deleted object is still there");
    return rc;
}

/* After a failure, as far as the store still answers. */
static void clean_up(struct prober *p)
{
    static const char *const uploads[] = {"multipart", "complete"};
    struct varve_error why = {0};
    char key[KEY_SIZE];
    bool gone;

    for (size_t i = 0; p->uploaded && i < sizeof(uploads) / sizeof(uploads[0]); i++)
        (void)cold_store_upload_abort_all(p->store, key_of(p, uploads[i], key), NULL);
    (void)clean(p, &gone, &why);
}

static int conditions(struct prober *p, struct varve_error *err)
{
    bool absent = false, match = false, raced = false;
    int rc;

    p->probe->caps.conditional_put = true; /* to be tried, even where the user expects nothing */
    cold_store_set_caps(p->store, &p->probe->caps);
    rc = check_if_absent(p, &absent, err);
    if (rc == 0)
        rc = check_if_match(p, &match, err);
    if (rc == 0 && absent && match)
        rc = check_race(p, &raced, err);
    p->probe->caps.conditional_put = absent && match && raced;
    return rc;
}

int cold_probe_run(const struct base_env *env, struct cold_store *store, struct cold_probe *ret,
                   struct varve_error *err)
{
    struct prober p = {.env = env, .store = store, .probe = ret};
    struct base_id id = base_id_new(env->random);
    char text[BASE_ID_TEXT_SIZE];
    struct varve_error own;
    bool sha256 = false;
    int rc;

    err = err ? err : &own;
    base_id_format(&id, text);
    snprintf(p.prefix, sizeof(p.prefix), "%s/%s", COLD_PROBE_PREFIX, text);
    memset(ret, 0, sizeof(*ret));
    cold_store_caps(store, &ret->caps);
    ret->caps.verifies_crc32c = false;
    rc = check_write(&p, err);
    if (rc == 0)
        rc = conditions(&p, err);
    cold_store_set_caps(store, &ret->caps);
    if (rc == 0)
        rc = check_ranges(&p, err);
    if (rc == 0)
        rc = check_multipart(&p, err);
    if (rc == 0 && ret->caps.conditional_put)
        rc = check_conditional_complete(&p, err);
    if (rc == 0)
        rc = check_checksum(&p, "sha256", "a body that is not of its SHA-256 is refused",
                            COLD_TRIAL_WRONG_SHA256, &sha256, err);
    if (rc == 0)
        rc = check_checksum(&p, "crc32c", "a body that is not of its CRC32C is refused",
                            COLD_TRIAL_WRONG_CRC32C, &ret->caps.verifies_crc32c, err);
    if (rc == 0)
        rc = check_order(&p, err);
    cold_store_set_caps(store, &ret->caps);
    if (rc == 0)
        rc = check_delete(&p, err);
    if (rc < 0)
        clean_up(&p);
    return rc < 0 ? base_error_context(err, rc, "probe") : 0;
}
