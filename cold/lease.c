/*
 * FORMAT
 *
 * `leases/<store id>`, in the store of the roots; settings text (base/text.h), "varve-lease 1":
 *
 *   store        id of the store whose lease it is, as in the key
 *   holder       id of the process that holds it, or held it
 *   write        id of the write that made these bytes
 *   term         decimal, from 1; +1 with each process that claims the lease
 *   duration.ms  decimal, 1 to COLD_LEASE_MS_MAX
 *   state        held, broken or released
 *   broken.by    id of the store that ended it; missing when nobody did
 *   place        text, at most 127 bytes
 *   process      text, at most 127 bytes; for people
 *
 * Valid: all but broken.by are there, and as said; other names are ignored.
 */
#include "cold/lease.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"
#include "cold/manifest.h"

#define LEASE_MAGIC "varve-lease"
#define LEASE_VERSION 1

static const char *const state_names[] = {"held", "broken", "released"};

/* ---- format ---- */

int cold_lease_encode(const struct cold_lease *lease, char **ret, size_t *ret_size,
                      struct varve_error *err)
{
    struct base_settings *s = base_settings_new();
    char store[BASE_ID_TEXT_SIZE], holder[BASE_ID_TEXT_SIZE], write[BASE_ID_TEXT_SIZE];
    char by[BASE_ID_TEXT_SIZE], term[24], duration[24];
    const char *const values[][2] = {
        {"store", store},        {"holder", holder},          {"write", write},
        {"term", term},          {"duration.ms", duration},   {"state", state_names[lease->state]},
        {"place", lease->place}, {"process", lease->process},
    };
    int rc = s ? 0 : base_fail(err, VARVE_E_NO_MEMORY, "lease: out of memory");

    base_id_format(&lease->store, store);
    base_id_format(&lease->holder, holder);
    base_id_format(&lease->write, write);
    base_id_format(&lease->broken_by, by);
    snprintf(term, sizeof(term), "%" PRIu64, lease->term);
    snprintf(duration, sizeof(duration), "%" PRId64, lease->duration_ms);
    for (size_t i = 0; rc == 0 && i < sizeof(values) / sizeof(values[0]); i++)
        rc = base_settings_set(s, values[i][0], values[i][1], err);
    if (rc == 0 && !base_id_is_zero(&lease->broken_by))
        rc = base_settings_set(s, "broken.by", by, err);
    if (rc == 0)
        rc = base_settings_encode(s, LEASE_MAGIC, LEASE_VERSION, ret, ret_size, err);
    base_settings_free(s);
    return rc;
}

static bool take_id(const struct base_settings *s, const char *name, struct base_id *ret)
{
    const char *text = base_settings_get(s, name);

    return text && base_id_parse(text, strlen(text), ret);
}

static bool take_number(const struct base_settings *s, const char *name, int64_t max, int64_t *ret)
{
    const char *text = base_settings_get(s, name);

    return text && base_parse_i64(text, ret) && *ret >= 1 && *ret <= max;
}

static bool take_text(const struct base_settings *s, const char *name,
                      char ret[COLD_LEASE_TEXT_SIZE])
{
    const char *text = base_settings_get(s, name);

    if (!text || strlen(text) >= COLD_LEASE_TEXT_SIZE)
        return false;
    strcpy(ret, text);
    return true;
}

static bool take_state(const struct base_settings *s, enum cold_lease_state *ret)
{
    const char *text = base_settings_get(s, "state");

    for (unsigned i = 0; text && i < sizeof(state_names) / sizeof(state_names[0]); i++) {
        if (strcmp(text, state_names[i]) == 0) {
            *ret = (enum cold_lease_state)i;
            return true;
        }
    }
    return false;
}

int cold_lease_decode(const void *data, size_t size, struct cold_lease *ret,
                      struct varve_error *err)
{
    struct base_settings *s;
    struct cold_lease lease = {0};
    int64_t term = 0;
    int rc = base_settings_decode(data, size, LEASE_MAGIC, LEASE_VERSION, &s, err);

    if (rc < 0)
        return rc;
    if (!take_id(s, "store", &lease.store) || !take_id(s, "holder", &lease.holder) ||
        !take_id(s, "write", &lease.write) || !take_number(s, "term", INT64_MAX, &term) ||
        !take_number(s, "duration.ms", COLD_LEASE_MS_MAX, &lease.duration_ms) ||
        !take_state(s, &lease.state) || !take_text(s, "place", lease.place) ||
        !take_text(s, "process", lease.process) ||
        (base_settings_get(s, "broken.by") && !take_id(s, "broken.by", &lease.broken_by)))
        rc = base_fail(err, VARVE_E_CORRUPT, "a field is missing or wrong");
    base_settings_free(s);
    if (rc == 0) {
        lease.term = (uint64_t)term;
        *ret = lease;
    }
    return rc;
}

/* ---- in the store ---- */

static int lease_key(const struct base_id *store, char **ret, struct varve_error *err)
{
    char id[BASE_ID_TEXT_SIZE];

    base_id_format(store, id);
    return base_format(ret, err, "leases/%s", id);
}

int cold_lease_read(struct cold_store *meta, const struct base_id *store, struct cold_lease *ret,
                    struct cold_etag *ret_etag, struct varve_error *err)
{
    struct cold_lease lease;
    struct cold_etag etag;
    void *data;
    size_t size;
    char *key;
    int rc = lease_key(store, &key, err);

    if (rc < 0)
        return rc;
    rc = cold_store_read(meta, key, COLD_LEASE_SIZE_MAX, &data, &size, &etag, err);
    if (rc == VARVE_E_TOO_LARGE)
        rc = base_fail(err, VARVE_E_CORRUPT, "above %d bytes", COLD_LEASE_SIZE_MAX);
    else if (rc == 0) {
        rc = cold_lease_decode(data, size, &lease, err);
        free(data);
        if (rc == 0 && !base_id_equal(&lease.store, store))
            rc = base_fail(err, VARVE_E_CORRUPT, "it is another store's");
    }
    if (rc < 0)
        base_error_context(err, rc, "lease %s in %s", key, cold_store_url(meta));
    free(key);
    if (rc == 0) {
        *ret = lease;
        *ret_etag = etag;
    }
    return rc;
}

int cold_lease_write(struct cold_store *meta, const struct cold_lease *lease,
                     const struct cold_etag *etag, struct cold_etag *ret_etag,
                     struct varve_error *err)
{
    struct cold_put how = {
        .condition = etag ? COLD_IF_MATCH : COLD_IF_ABSENT, .etag = etag, .has_crc32c = true};
    struct varve_error back = {0};
    struct cold_lease there;
    struct cold_etag stored;
    struct iovec body;
    char *text = NULL, *key = NULL;
    size_t size;
    int read, rc = cold_lease_encode(lease, &text, &size, err);

    if (rc == 0)
        rc = lease_key(&lease->store, &key, err);
    if (rc < 0) {
        free(text);
        return rc;
    }
    body = (struct iovec){.iov_base = text, .iov_len = size};
    how.crc32c = base_crc32c(0, text, size);
    rc = cold_store_put(meta, key, &body, 1, &how, &stored, err);
    free(text);
    free(key);
    if (cold_manifest_outcome_unknown(rc)) { /* I7 */
        read = cold_lease_read(meta, &lease->store, &there, &stored, &back);
        if (read == 0 && base_id_equal(&there.write, &lease->write)) {
            rc = 0;
        } else if (read == 0 && (!etag || strcmp(etag->text, stored.text) != 0)) {
            /* Something else lies there: our condition is void, the write can not arrive any more.
             */
            rc = base_fail(err, VARVE_E_PRECONDITION, "another lease is in %s",
                           cold_store_url(meta));
        } else if (rc == VARVE_E_PRECONDITION && read < 0 && read != VARVE_E_NOT_FOUND) {
            rc = read; /* lost or won: not known until it is read */
            if (err)
                *err = back;
        }
    }
    if (rc == 0 && ret_etag)
        *ret_etag = stored;
    return rc;
}
