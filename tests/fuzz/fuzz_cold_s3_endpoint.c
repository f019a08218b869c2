/* Endpoints, regions and buckets as a URL or a profile names them: the first three lines. */
#include <stdio.h>

#include "cold/s3/endpoint.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size), *line[3] = {text, NULL, NULL};
    struct varve_error err = {0};
    char *base, *host, *encoded;

    for (int i = 1; i < 3 && line[i - 1]; i++) {
        line[i] = strchr(line[i - 1], '\n');
        if (line[i])
            *line[i]++ = '\0';
    }
    for (int style = S3_STYLE_AUTO; style <= S3_STYLE_VIRTUAL; style++) {
        struct s3_endpoint_options o = {.endpoint = line[0][0] ? line[0] : NULL,
                                        .region = line[1],
                                        .bucket = line[2] ? line[2] : "bucket",
                                        .style = (enum s3_style)style};
        struct s3_endpoint e = {0};

        if (took(s3_endpoint_init(&o, &e, &err), &err)) {
            must(strncmp(e.base, e.tls ? "https://" : "http://", e.tls ? 8 : 7) == 0);
            must(!strpbrk(e.base, " \r\n@?#") && !strpbrk(e.host, " \r\n/@"));
            s3_endpoint_deinit(&e);
        }
    }
    if (took(s3_endpoint_split(line[0], &base, &host, &err), &err)) {
        free(base);
        free(host);
    }
    if (line[1] && took(s3_endpoint_aws_host("sts", line[1], &host, &err), &err)) {
        must(!strpbrk(host, " \r\n/@:"));
        free(host);
    }
    /* What is encoded decodes to the same. */
    if (s3_uri_encode(line[0], false, &encoded, &err) == 0) {
        must(s3_uri_decode(encoded) && strcmp(encoded, line[0]) == 0);
        free(encoded);
    }
    (void)s3_uri_decode(text);
    free(text);
    return 0;
}
