/* Credentials as programs and metadata services write them: a flat JSON object. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "cold/s3/credentials_private.h"

int s3_provider_json_member(const char *text, size_t size, const char *name, char **ret,
                            struct varve_error *err)
{
    struct base_json value;
    struct base_buffer out;

    *ret = NULL;
    if (!base_json_find(text, size, name, &value) || value.kind != BASE_JSON_STRING)
        return 0;
    /* Room for all of it at once, so that growing leaves no copies behind. */
    base_buffer_init(&out);
    if (!base_buffer_extend(&out, value.size + 1))
        return base_fail(err, VARVE_E_NO_MEMORY, "read credentials: out of memory");
    if (base_json_string(&value, &out)) {
        base_buffer_u8(&out, '\0');
        if (strlen((char *)out.data) == out.size - 1) {
            *ret = (char *)out.data;
            return 0;
        }
    }
    explicit_bzero(out.data, out.capacity);
    base_buffer_deinit(&out);
    return base_fail(err, VARVE_E_CORRUPT, "'%s' is no text", name);
}

/* A member that must be there. */
static int needed(const char *text, size_t size, const char *name, char **ret,
                  struct varve_error *err)
{
    char *value;
    int rc = s3_provider_json_member(text, size, name, &value, err);

    if (rc < 0)
        return rc;
    if (!value || !s3_provider_is_header(value)) {
        s3_provider_wipe(value);
        return base_fail(err, VARVE_E_CORRUPT, "there is no valid '%s'", name);
    }
    *ret = value;
    return 0;
}

/* Null and empty stand for none. */
static int token(const char *text, size_t size, const char *name, char **ret,
                 struct varve_error *err)
{
    char *value;
    int rc = s3_provider_json_member(text, size, name, &value, err);

    if (rc < 0)
        return rc;
    if (value && !s3_provider_is_header(value)) {
        if (value[0])
            rc = base_fail(err, VARVE_E_CORRUPT, "there is no valid '%s'", name);
        s3_provider_wipe(value);
        value = NULL;
    }
    if (rc == 0)
        *ret = value;
    return rc;
}

/* Without one they do not expire. */
static int expiration(const char *text, size_t size, int64_t *ret_ms, struct varve_error *err)
{
    char *value;
    int rc = s3_provider_json_member(text, size, "Expiration", &value, err);

    if (rc < 0)
        return rc;
    *ret_ms = INT64_MAX;
    if (value && value[0] && !base_parse_iso8601(value, strlen(value), ret_ms))
        rc = base_fail(err, VARVE_E_CORRUPT, "there is no valid 'Expiration'");
    free(value);
    return rc;
}

int s3_provider_json(const char *text, size_t size, const char *token_name,
                     struct s3_credentials *ret, struct varve_error *err)
{
    struct s3_credentials c = {0};
    struct base_json whole;
    int rc;

    if (!base_json_parse(text, size, &whole) || whole.kind != BASE_JSON_OBJECT)
        return base_fail(err, VARVE_E_CORRUPT, "not a JSON object");
    rc = needed(text, size, "AccessKeyId", &c.access_key, err);
    if (rc == 0)
        rc = needed(text, size, "SecretAccessKey", &c.secret_key, err);
    if (rc == 0)
        rc = token(text, size, token_name, &c.session_token, err);
    if (rc == 0)
        rc = expiration(text, size, &c.expires_ms, err);
    if (rc < 0) {
        s3_credentials_clear(&c);
        return rc;
    }
    *ret = c;
    return 0;
}
