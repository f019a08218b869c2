/*
 * Where a bucket is reached: URLs, Host headers and request paths in both of S3's styles.
 *
 * Source: "Virtual hosting of buckets" and "Methods for accessing a bucket", Amazon S3 user guide.
 */
#ifndef COLD_S3_ENDPOINT_H
#define COLD_S3_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>

#include <varve/error.h>

enum s3_style {
    /* Virtual host, but path where that cannot work: for IP addresses, for host names of one label
     * ("localhost", "minio": nobody has a wildcard name below those), for buckets that are no host
     * name or hold dots (no certificate covers them). */
    S3_STYLE_AUTO,
    S3_STYLE_PATH,    /* http://endpoint/bucket/key */
    S3_STYLE_VIRTUAL, /* http://bucket.endpoint/key */
};

struct s3_endpoint_options {
    const char *endpoint; /* "http[s]://host[:port]"; NULL: AWS's own for the region */
    const char *region;   /* NULL: us-east-1 */
    const char *bucket;
    enum s3_style style;
};

struct s3_endpoint {
    /* "https://host[:port]", with the bucket's name in front in virtual style; like `host` without
     * the scheme's default port, and in lower case */
    char *base;
    char *host; /* the value of the Host header: without the scheme's default port */
    char *path; /* "" in virtual style, "/bucket" (encoded) in path style */
    char *region;
    char *bucket;
    bool tls;
};

/* VARVE_E_INVALID: an endpoint that is no http(s) URL, has a path, a query or credentials (which
 * the message does not repeat); a region that is none; virtual style on an IP address; a bucket
 * name against S3's rules (3-63 of a-z 0-9 . -, begins and ends with a letter or digit, no IP
 * address; older, laxer names are accepted in path style with a given endpoint). */
int s3_endpoint_init(const struct s3_endpoint_options *options, struct s3_endpoint *ret,
                     struct varve_error *err);
void s3_endpoint_deinit(struct s3_endpoint *endpoint);

/* "https://host[:port]" of an endpoint that belongs to no bucket, and its Host header; as above,
 * with the same checks of the URL. Fresh memory. */
int s3_endpoint_split(const char *url, char **ret_base, char **ret_host, struct varve_error *err);

/* The host name of an AWS service in a region, "sts.eu-west-1.amazonaws.com": each of AWS's
 * partitions has a domain of its own. Fresh memory. VARVE_E_INVALID: the region. */
int s3_endpoint_aws_host(const char *service, const char *region, char **ret,
                         struct varve_error *err);

/* Percent-encoding as SigV4 wants it: all but A-Z a-z 0-9 - . _ ~ ; '/' is kept with keep_slash. */
int s3_uri_encode(const char *text, bool keep_slash, char **ret, struct varve_error *err);
/* The reverse, for `encoding-type=url` listings, which write a blank as '+'; in place. False: a bad
 * escape, or a NUL; the text is then undefined. */
bool s3_uri_decode(char *text);

/*
 * The path of a request as it is sent: endpoint path, '/', the encoded key ("" for the bucket
 * itself). Fresh memory.
 */
int s3_endpoint_path(const struct s3_endpoint *endpoint, const char *key, char **ret,
                     struct varve_error *err);

/* A query string: encoded, sorted by name, each name with '='; at most S3_QUERY_MAX pairs. Fresh
 * memory. */
#define S3_QUERY_MAX 16
struct s3_query {
    const char *name;
    const char *value; /* NULL: the pair is left out */
};
int s3_query_encode(const struct s3_query *pairs, size_t count, char **ret,
                    struct varve_error *err);

#endif
