/* The parser of AWS's files over any text, as both kinds. What it takes can be asked and freed. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cold/s3/profile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"role_arn", "source_profile", "s3.endpoint_url"};

    for (int kind = S3_PROFILE_CONFIG; kind <= S3_PROFILE_CREDENTIALS; kind++) {
        struct s3_profile_file *file;
        struct varve_error err = {0};
        int rc = s3_profile_file_parse((const char *)data, size, (enum s3_profile_kind)kind, &file,
                                       &err);

        if (rc < 0) {
            if ((rc != VARVE_E_INVALID && rc != VARVE_E_TOO_LARGE && rc != VARVE_E_NO_MEMORY) ||
                err.code != rc || !err.msg[0])
                abort();
            continue;
        }
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
            const char *value = s3_profile_file_get(file, "profile", "default", names[i]);

            if (value && (!value[0] || !s3_profile_file_has(file, "profile", "default")))
                abort();
        }
        s3_profile_file_free(file);
    }
    return 0;
}
