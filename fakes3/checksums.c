#include "fakes3/checksums.h"

#include <string.h>

#include "fakes3/text.h"

static bool verify_md5(struct fakes3_call *call)
{
    const char *given = fakes3_call_header(call, "content-md5");
    uint8_t md5[16];

    if (!given)
        return true;
    if (!fakes3_text_unbase64(given, md5, sizeof(md5))) {
        fakes3_reply_error(&call->reply, "InvalidDigest",
                           "The Content-MD5 you specified was invalid.");
        return false;
    }
    if (memcmp(md5, call->request->digest.md5, sizeof(md5)) == 0)
        return true;
    fakes3_reply_error(&call->reply, "BadDigest",
                       "The Content-MD5 you specified did not match what we received.");
    return false;
}

static bool verify_payload(struct fakes3_call *call)
{
    const char *given = fakes3_call_header(call, "x-amz-content-sha256");
    char computed[65];

    if (!given || strlen(given) != 64)
        return true;
    fakes3_text_hex(call->request->digest.sha256, 32, computed);
    if (strcmp(given, computed) == 0)
        return true;
    fakes3_reply_error(&call->reply, "XAmzContentSHA256Mismatch",
                       "The provided 'x-amz-content-sha256' header does not match what was "
                       "computed.");
    fakes3_reply_detail(&call->reply, "ClientComputedContentSHA256", "%s", given);
    fakes3_reply_detail(&call->reply, "S3ComputedContentSHA256", "%s", computed);
    return false;
}

static bool verify_checksum(struct fakes3_call *call, const char *name, const char *algorithm,
                            const uint8_t *computed, size_t size)
{
    const char *given = fakes3_call_header(call, name);
    uint8_t value[32];

    if (!given)
        return true;
    if (!fakes3_text_unbase64(given, value, size)) {
        fakes3_reply_error(&call->reply, "InvalidRequest", "Value for %s header is invalid.", name);
        return false;
    }
    if (memcmp(value, computed, size) == 0)
        return true;
    fakes3_reply_error(&call->reply, "BadDigest",
                       "The %s you specified did not match the calculated checksum.", algorithm);
    return false;
}

/* Accepting a checksum unseen would be a lie. */
static bool refuse_unknown(struct fakes3_call *call)
{
    static const char *const unknown[] = {"x-amz-checksum-crc32", "x-amz-checksum-sha1",
                                          "x-amz-checksum-crc64nvme", "x-amz-trailer"};

    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        if (!fakes3_call_header(call, unknown[i]))
            continue;
        fakes3_reply_error(&call->reply, "NotImplemented",
                           "A header you provided implies functionality that is not implemented.");
        fakes3_reply_detail(&call->reply, "Header", "%s", unknown[i]);
        return false;
    }
    return true;
}

bool fakes3_checksums_verify(struct fakes3_call *call)
{
    const struct fakes3_digest *digest = &call->request->digest;
    /* There it tells the checksum of the object, not of the body. */
    bool of_object = call->request->op == FAKES3_COMPLETE_MULTIPART_UPLOAD;

    if (call->effects.ignore & FAKES3_IGNORE_CHECKSUMS)
        return true;
    return refuse_unknown(call) && verify_md5(call) && verify_payload(call) &&
           (of_object ||
            (verify_checksum(call, "x-amz-checksum-crc32c", "CRC32C", digest->crc32c, 4) &&
             verify_checksum(call, "x-amz-checksum-sha256", "SHA256", digest->sha256, 32)));
}
