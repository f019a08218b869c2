/*
 * The documents of S3, as AWS, MinIO and Ceph write them. The texts are written by hand from the
 * stores' documents and sources; they differ in the order of elements, in namespaces, in how ETags
 * are quoted and in what they leave out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cold/s3/bucket.h"
#include "cold/s3/reply.h"
#include "cold/s3/sign.h"

#define XML "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
#define NS " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""

/* What a walk visited, one line an item. */
struct seen {
    char text[2048];
    size_t size;
    int stop_after; /* a visit returns 7 when so many are through; 0: never */
    int visits;
};

static int seen_add(struct seen *s, const char *format, ...) VARVE_PRINTF(2, 3);
static int seen_add(struct seen *s, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    s->size += (size_t)vsnprintf(s->text + s->size, sizeof(s->text) - s->size, format, ap);
    va_end(ap);
    assert_true(s->size < sizeof(s->text));
    return ++s->visits == s->stop_after ? 7 : 0;
}

static int see_object(void *arg, const struct s3_list_object *o)
{
    return seen_add(arg, "%s %llu %lld %s %s\n", o->key, (unsigned long long)o->size,
                    (long long)o->modified_ms, o->etag, o->storage_class);
}

static int see_upload(void *arg, const struct s3_list_upload *u)
{
    return seen_add(arg, "%s %s %lld\n", u->key, u->upload_id, (long long)u->initiated_ms);
}

static int see_part(void *arg, const struct s3_list_part *p)
{
    return seen_add(arg, "%u %llu %s\n", p->number, (unsigned long long)p->size, p->etag);
}

static void see_failed(void *arg, const char *key, const char *code, const char *message)
{
    (void)seen_add(arg, "%s %s %s\n", key, code, message);
}

static const char aws_list[] = XML
    "<ListBucketResult" NS "><Name>bkt</Name><Prefix>logs/</Prefix>"
    "<NextContinuationToken>1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM=</NextContinuationToken>"
    "<KeyCount>2</KeyCount><MaxKeys>2</MaxKeys><EncodingType>url</EncodingType>"
    "<IsTruncated>true</IsTruncated>"
    "<Contents><Key>logs/a%2Fb+c%2Bd%C3%A9</Key><LastModified>2026-01-02T03:04:05.000Z"
    "</LastModified><ETag>&quot;70ee1738b6b21e2c8a43f3a5ab0eee71&quot;</ETag>"
    "<ChecksumAlgorithm>CRC32C</ChecksumAlgorithm><Size>11</Size>"
    "<StorageClass>STANDARD</StorageClass></Contents>"
    "<Contents><Key>logs/z</Key><LastModified>2026-01-02T03:04:06.500Z</LastModified>"
    "<ETag>&quot;d41d8cd98f00b204e9800998ecf8427e-3&quot;</ETag><Size>5368709120</Size>"
    "<Owner><ID>75aa57f09aa0c8caeab4f8c24e99d10f8e7faeebf76c078efc7c6caea54ba06a</ID>"
    "</Owner><StorageClass>GLACIER</StorageClass>"
    "<RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress></RestoreStatus>"
    "</Contents></ListBucketResult>";

static void a_listing_of_aws_is_read(void **state)
{
    struct s3_list_result result;
    struct seen seen = {0};

    (void)state;
    assert_int_equal(s3_reply_list(aws_list, strlen(aws_list), see_object, &seen, &result, NULL),
                     0);
    assert_string_equal(
        seen.text,
        "logs/a/b c+d\xc3\xa9 11 1767323045000 \"70ee1738b6b21e2c8a43f3a5ab0eee71\" STANDARD\n"
        "logs/z 5368709120 1767323046500 \"d41d8cd98f00b204e9800998ecf8427e-3\" GLACIER\n");
    assert_true(result.truncated);
    assert_string_equal(result.next_token, "1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM=");
    assert_int_equal(result.count, 2);
    free(result.next_token);
}

/* MinIO says at the end how the keys were encoded. */
static void a_listing_of_minio_is_read(void **state)
{
    static const char body[] =
        XML "<ListBucketResult" NS "><Name>bkt</Name><Prefix></Prefix><StartAfter></StartAfter>"
            "<KeyCount>1</KeyCount><MaxKeys>1000</MaxKeys><Delimiter></Delimiter>"
            "<IsTruncated>false</IsTruncated><Contents><Key>logs/a/%40/100%25</Key>"
            "<LastModified>2026-01-02T03:04:05.678Z</LastModified><ETag>&#34;abc&#34;</ETag>"
            "<Size>0</Size><StorageClass>STANDARD</StorageClass></Contents>"
            "<EncodingType>url</EncodingType></ListBucketResult>";
    struct s3_list_result result;
    struct seen seen = {0};

    (void)state;
    assert_int_equal(s3_reply_list(body, strlen(body), see_object, &seen, &result, NULL), 0);
    assert_string_equal(seen.text, "logs/a/@/100% 0 1767323045678 \"abc\" STANDARD\n");
    assert_false(result.truncated);
    assert_null(result.next_token);
}

/* Ceph's, with keys as they are, a CDATA section, comments and a prefix for the namespace. */
static void a_listing_of_ceph_is_read(void **state)
{
    static const char body[] =
        XML "<s3:ListBucketResult xmlns:s3=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
            "<s3:Name>bkt</s3:Name><!-- a comment --><s3:IsTruncated>false</s3:IsTruncated>\n"
            "<s3:Contents>\n  <s3:Key>a%20b&amp;<![CDATA[<c>]]></s3:Key>\n"
            "  <s3:LastModified>yesterday</s3:LastModified><s3:Size>3</s3:Size>\n"
            "  <s3:Owner><s3:ID>testid</s3:ID><s3:DisplayName>M. Tester</s3:DisplayName></s3:Owner>"
            "<s3:Type>Normal</s3:Type></s3:Contents>"
            "<s3:CommonPrefixes><s3:Prefix>p/</s3:Prefix></s3:CommonPrefixes>"
            "<s3:Marker/></s3:ListBucketResult>\n";
    struct s3_list_result result;
    struct seen seen = {0};

    (void)state;
    assert_int_equal(s3_reply_list(body, strlen(body), see_object, &seen, &result, NULL), 0);
    assert_string_equal(seen.text, "a%20b&<c> 3 0  \n");
    assert_int_equal(result.count, 1);
}

static void a_visit_can_end_the_walk(void **state)
{
    struct s3_list_result result = {.count = 99};
    struct seen seen = {.stop_after = 1};

    (void)state;
    assert_int_equal(s3_reply_list(aws_list, strlen(aws_list), see_object, &seen, &result, NULL),
                     7);
    assert_int_equal(seen.visits, 1);
    assert_int_equal(result.count, 99);
}

static void assert_list_refused(const char *body, int code, const char *part)
{
    struct s3_list_result result = {.count = 99};
    struct varve_error err = {0};
    struct seen seen = {0};
    int rc = s3_reply_list(body, strlen(body), see_object, &seen, &result, &err);

    if (rc != code || !strstr(err.msg, part))
        fail_msg("%.200s: %d %s", body, rc, err.msg);
    assert_int_equal(err.code, code);
    assert_int_equal(result.count, 99);
}

static void listings_that_say_too_little_are_corrupt(void **state)
{
    (void)state;
    assert_list_refused("", VARVE_E_CORRUPT, "nothing at all");
    assert_list_refused("{}", VARVE_E_CORRUPT, "not well-formed");
    assert_list_refused("<html></html>", VARVE_E_CORRUPT, "a <html>");
    assert_list_refused("<Error><Code>SlowDown</Code></Error>", VARVE_E_STORE, "an <Error>");
    assert_list_refused("<ListBucketResult/>", VARVE_E_CORRUPT, "<IsTruncated>");
    assert_list_refused("<ListBucketResult><IsTruncated>maybe</IsTruncated></ListBucketResult>",
                        VARVE_E_CORRUPT, "<IsTruncated>");
    /* The answer of a store that knows only the first version of the call. */
    assert_list_refused("<ListBucketResult><IsTruncated>true</IsTruncated><NextMarker>m"
                        "</NextMarker></ListBucketResult>",
                        VARVE_E_CORRUPT, "<NextContinuationToken>");
#define ITEM(x)                                                                                    \
    "<ListBucketResult><IsTruncated>false</IsTruncated><EncodingType>url</EncodingType>"           \
    "<Contents>" x "</Contents></ListBucketResult>"
    assert_list_refused(ITEM("<Size>1</Size>"), VARVE_E_CORRUPT, "<Key>");
    assert_list_refused(ITEM("<Key></Key><Size>1</Size>"), VARVE_E_CORRUPT, "<Key>");
    assert_list_refused(ITEM("<Key>%4</Key><Size>1</Size>"), VARVE_E_CORRUPT, "<Key>");
    assert_list_refused(ITEM("<Key>k%00</Key><Size>1</Size>"), VARVE_E_CORRUPT, "<Key>");
    assert_list_refused(ITEM("<Key>k</Key>"), VARVE_E_CORRUPT, "<Size>");
    assert_list_refused(ITEM("<Key>k</Key><Size>-1</Size>"), VARVE_E_CORRUPT, "<Size>");
    assert_list_refused(ITEM("<Key>k</Key><Size> 1</Size>"), VARVE_E_CORRUPT, "<Size>");
    assert_list_refused(ITEM("<Key>k</Key><Size>9999999999999999999</Size>"), VARVE_E_CORRUPT,
                        "<Size>");
    assert_list_refused(ITEM("<Key>k</Key><Size>1<b/></Size>"), VARVE_E_CORRUPT, "<Size>");
}

/* Of every prefix of a listing none is taken for a listing, and nothing is visited. */
static void a_listing_that_was_cut_off_is_never_a_short_one(void **state)
{
    (void)state;
    for (size_t size = 0; size < strlen(aws_list); size++) {
        struct s3_list_result result;
        struct seen seen = {0};
        char *body = malloc(size + 1); /* of nearly that size, for the sanitizer */

        assert_non_null(body);
        memcpy(body, aws_list, size);
        assert_int_equal(s3_reply_list(body, size, see_object, &seen, &result, NULL),
                         VARVE_E_CORRUPT);
        assert_int_equal(seen.visits, 0);
        free(body);
    }
}

static void bombs_do_not_go_off(void **state)
{
    static const char laughs[] =
        "<?xml version=\"1.0\"?><!DOCTYPE lolz [<!ENTITY lol \"lol\"><!ENTITY lol1 "
        "\"&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;\">]><ListBucketResult><IsTruncated>"
        "false</IsTruncated><Contents><Key>&lol1;</Key><Size>1</Size></Contents>"
        "</ListBucketResult>";
    static const char external[] =
        "<!DOCTYPE r SYSTEM \"file:///etc/passwd\"><ListBucketResult><IsTruncated>false"
        "</IsTruncated></ListBucketResult>";
    char deep[600] = "", *big;
    size_t n = 0;

    (void)state;
    assert_list_refused(laughs, VARVE_E_CORRUPT, "document type");
    assert_list_refused(external, VARVE_E_CORRUPT, "document type");
    assert_list_refused("<ListBucketResult>&lol;</ListBucketResult>", VARVE_E_CORRUPT,
                        "undefined entity");
    for (int i = 0; i < S3_REPLY_DEPTH_MAX; i++)
        n += (size_t)snprintf(deep + n, sizeof(deep) - n, "%s",
                              i == 0 ? "<ListBucketResult>" : "<a>");
    for (int i = S3_REPLY_DEPTH_MAX; i-- > 0;)
        n += (size_t)snprintf(deep + n, sizeof(deep) - n, "%s",
                              i == 0 ? "</ListBucketResult>" : "</a>");
    assert_list_refused(deep, VARVE_E_CORRUPT, "<IsTruncated>"); /* just not too deep */
    n = (size_t)snprintf(deep, sizeof(deep), "<ListBucketResult>");
    for (int i = 0; i < S3_REPLY_DEPTH_MAX; i++)
        n += (size_t)snprintf(deep + n, sizeof(deep) - n, "<a>");
    assert_list_refused(deep, VARVE_E_CORRUPT, "nested too deeply");

    big = malloc(S3_REPLY_XML_MAX + 2);
    assert_non_null(big);
    memset(big, 'x', S3_REPLY_XML_MAX + 1);
    big[S3_REPLY_XML_MAX + 1] = '\0';
    assert_list_refused(big, VARVE_E_CORRUPT, "the limit is");
    memcpy(big, "<ListBucketResult>", strlen("<ListBucketResult>"));
    big[S3_REPLY_XML_MAX] = '\0';
    assert_list_refused(big, VARVE_E_CORRUPT, "text is too long");
    memcpy(big, "<ListBucketResult><", strlen("<ListBucketResult><"));
    big[1000] = '>';
    assert_list_refused(big, VARVE_E_CORRUPT, "names too long");
    free(big);
}

static void a_key_of_the_greatest_length_is_read_in_any_encoding(void **state)
{
    static char body[8192];
    struct s3_list_result result;
    struct seen seen = {0};
    size_t n;

    (void)state;
    n = (size_t)snprintf(body, sizeof(body),
                         "<ListBucketResult><IsTruncated>false</IsTruncated><EncodingType>url"
                         "</EncodingType><Contents><Size>1</Size><Key>");
    for (int i = 0; i < 1024; i++)
        n += (size_t)snprintf(body + n, sizeof(body) - n, "%%FF");
    snprintf(body + n, sizeof(body) - n, "</Key></Contents></ListBucketResult>");
    assert_int_equal(s3_reply_list(body, strlen(body), see_object, &seen, &result, NULL), 0);
    assert_int_equal(strspn(seen.text, "\xff"), 1024);
}

static void unfinished_uploads_are_read(void **state)
{
    static const char body[] =
        XML "<ListMultipartUploadsResult" NS "><Bucket>bkt</Bucket><KeyMarker></KeyMarker>"
            "<UploadIdMarker></UploadIdMarker><NextKeyMarker>logs/b%2Bc</NextKeyMarker>"
            "<NextUploadIdMarker>id2</NextUploadIdMarker><EncodingType>url</EncodingType>"
            "<MaxUploads>2</MaxUploads><IsTruncated>true</IsTruncated>"
            "<Upload><Key>logs/a%3D</Key><UploadId>XMgbGlrZSBlbHZpbmcncyB1cGxvYWQ</UploadId>"
            "<Initiator><ID>arn:aws:iam::1:user/u</ID><DisplayName>u</DisplayName></Initiator>"
            "<Owner><ID>1</ID></Owner><StorageClass>STANDARD</StorageClass>"
            "<Initiated>2026-01-02T03:04:05.000Z</Initiated></Upload>"
            "<Upload><Key>logs/b+c</Key><UploadId>id2</UploadId></Upload>"
            "</ListMultipartUploadsResult>";
    static const char none[] = XML "<ListMultipartUploadsResult" NS "><IsTruncated>false"
                                   "</IsTruncated></ListMultipartUploadsResult>";
    static const char *const bad[] = {
        "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated>"
        "</ListMultipartUploadsResult>",
        "<ListMultipartUploadsResult></ListMultipartUploadsResult>",
        "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated><Upload><Key>k</Key>"
        "</Upload></ListMultipartUploadsResult>",
        "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated><Upload><UploadId>i"
        "</UploadId></Upload></ListMultipartUploadsResult>",
    };
    struct s3_uploads_result result;
    struct seen seen = {0};

    (void)state;
    assert_int_equal(s3_reply_uploads(body, strlen(body), see_upload, &seen, &result, NULL), 0);
    assert_string_equal(seen.text, "logs/a= XMgbGlrZSBlbHZpbmcncyB1cGxvYWQ 1767323045000\n"
                                   "logs/b c id2 0\n");
    assert_true(result.truncated);
    assert_string_equal(result.next_key_marker, "logs/b+c");
    assert_string_equal(result.next_upload_id_marker, "id2");
    free(result.next_key_marker);
    free(result.next_upload_id_marker);
    assert_int_equal(s3_reply_uploads(none, strlen(none), see_upload, &seen, &result, NULL), 0);
    assert_int_equal(seen.visits, 2);
    assert_false(result.truncated);
    assert_null(result.next_key_marker);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(s3_reply_uploads(bad[i], strlen(bad[i]), see_upload, &seen, &result, NULL),
                         VARVE_E_CORRUPT);
    assert_int_equal(seen.visits, 2);
}

static void parts_are_read(void **state)
{
    static const char body[] =
        XML "<ListPartsResult" NS "><Bucket>bkt</Bucket><Key>k</Key><UploadId>u</UploadId>"
            "<PartNumberMarker>1</PartNumberMarker><NextPartNumberMarker>3</NextPartNumberMarker>"
            "<MaxParts>2</MaxParts><IsTruncated>true</IsTruncated><Part><PartNumber>2</PartNumber>"
            "<LastModified>2026-01-02T03:04:05.000Z</LastModified><ETag>&quot;7778&quot;</ETag>"
            "<Size>10485760</Size></Part><Part><PartNumber>3</PartNumber><ETag>aaaa</ETag>"
            "<Size>1</Size></Part></ListPartsResult>";
#define PARTS(x) "<ListPartsResult>" x "</ListPartsResult>"
#define WHOLE "<IsTruncated>false</IsTruncated>"
    static const char *const bad[] = {
        PARTS(""),
        PARTS("<IsTruncated>true</IsTruncated>"),
        PARTS("<IsTruncated>true</IsTruncated><NextPartNumberMarker>0</NextPartNumberMarker>"),
        PARTS("<IsTruncated>true</IsTruncated><NextPartNumberMarker>99999</NextPartNumberMarker>"),
        PARTS(WHOLE "<Part><ETag>e</ETag><Size>1</Size></Part>"),
        PARTS(WHOLE "<Part><PartNumber>0</PartNumber><ETag>e</ETag><Size>1</Size></Part>"),
        PARTS(WHOLE "<Part><PartNumber>10001</PartNumber><ETag>e</ETag><Size>1</Size></Part>"),
        PARTS(WHOLE "<Part><PartNumber>1</PartNumber><Size>1</Size></Part>"),
        PARTS(WHOLE "<Part><PartNumber>1</PartNumber><ETag>e</ETag></Part>"),
    };
    struct s3_parts_result result;
    struct seen seen = {0};

    (void)state;
    assert_int_equal(s3_reply_parts(body, strlen(body), see_part, &seen, &result, NULL), 0);
    assert_string_equal(seen.text, "2 10485760 \"7778\"\n3 1 aaaa\n");
    assert_true(result.truncated);
    assert_int_equal(result.next_part_number_marker, 3);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(s3_reply_parts(bad[i], strlen(bad[i]), see_part, &seen, &result, NULL),
                         VARVE_E_CORRUPT);
    assert_int_equal(seen.visits, 2);
}

static void an_upload_begins_and_ends(void **state)
{
    static const char begun[] =
        XML "<InitiateMultipartUploadResult" NS "><Bucket>bkt</Bucket><Key>k</Key><UploadId>"
            "VXBsb2FkIElEIGZvciBlbHZpbmc~2</UploadId></InitiateMultipartUploadResult>";
    /* While it works AWS sends blanks, before the declaration and behind it. */
    static const char done[] =
        "  \n" XML "   \n<CompleteMultipartUploadResult" NS "><Location>http://h/b/k</Location>"
        "<Bucket>b</Bucket><Key>k</Key><ETag>&quot;3858f62230ac3c915f300c664312c11f-9&quot;</ETag>"
        "</CompleteMultipartUploadResult>";
    static const char failed[] = "\n" XML "<Error><Code>InternalError</Code></Error>";
    struct varve_error err = {0};
    char *text = NULL;

    (void)state;
    assert_int_equal(s3_reply_upload_id(begun, strlen(begun), &text, NULL), 0);
    assert_string_equal(text, "VXBsb2FkIElEIGZvciBlbHZpbmc~2");
    free(text);
    assert_int_equal(s3_reply_complete(done, strlen(done), &text, NULL), 0);
    assert_string_equal(text, "\"3858f62230ac3c915f300c664312c11f-9\"");
    free(text);
    text = NULL;
    assert_int_equal(s3_reply_complete(failed, strlen(failed), &text, &err), VARVE_E_STORE);
    assert_non_null(strstr(err.msg, "an <Error>"));
    assert_int_equal(s3_reply_complete(begun, strlen(begun), &text, NULL), VARVE_E_CORRUPT);
    assert_int_equal(s3_reply_complete("<CompleteMultipartUploadResult/>", 32, &text, NULL),
                     VARVE_E_CORRUPT);
    assert_null(text);
}

static void keys_that_could_not_be_deleted_are_named(void **state)
{
    static const char body[] =
        XML "<DeleteResult" NS "><Deleted><Key>gone</Key></Deleted><Error><Key>a%2Fb&lt;</Key>"
            "<Code>AccessDenied</Code><Message>Access Denied</Message></Error><Error><Key>c</Key>"
            "<VersionId>1</VersionId></Error></DeleteResult>";
    static const char quiet[] = XML "<DeleteResult" NS "/>";
    static const char nameless[] = "<DeleteResult><Error><Code>c</Code></Error></DeleteResult>";
    struct seen seen = {0};

    (void)state;
    assert_int_equal(s3_reply_delete(body, strlen(body), see_failed, &seen, NULL), 0);
    assert_string_equal(seen.text, "a%2Fb< AccessDenied Access Denied\nc  \n");
    assert_int_equal(s3_reply_delete(quiet, strlen(quiet), see_failed, &seen, NULL), 0);
    assert_int_equal(s3_reply_delete(nameless, strlen(nameless), see_failed, &seen, NULL),
                     VARVE_E_CORRUPT);
    assert_int_equal(seen.visits, 2);
    assert_int_equal(s3_reply_delete(body, strlen(body) - 5, see_failed, &seen, NULL),
                     VARVE_E_CORRUPT);
    assert_int_equal(seen.visits, 2); /* a body that was cut off names nothing */
}

static void the_region_of_a_bucket_is_read(void **state)
{
    static const struct {
        const char *body, *region;
    } cases[] = {
        {XML "<LocationConstraint" NS ">eu-west-3</LocationConstraint>", "eu-west-3"},
        {XML "<LocationConstraint" NS "/>", "us-east-1"},
        {"<LocationConstraint></LocationConstraint>", "us-east-1"},
        {"<LocationConstraint>EU</LocationConstraint>", "eu-west-1"},
        {"<LocationConstraint>\n<LocationConstraint>default</LocationConstraint></"
         "LocationConstraint>",
         "default"},
    };
    char *region = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(s3_reply_location(cases[i].body, strlen(cases[i].body), &region, NULL), 0);
        assert_string_equal(region, cases[i].region);
        free(region);
    }
    region = NULL;
    assert_int_equal(
        s3_reply_location("<LocationConstraint>a/b</LocationConstraint>", 44, &region, NULL),
        VARVE_E_CORRUPT);
    assert_null(region);
}

static void versioning_is_on_when_it_was_ever_turned_on(void **state)
{
    static const struct {
        const char *body;
        bool on;
    } cases[] = {
        {XML "<VersioningConfiguration" NS "/>", false},
        {"<VersioningConfiguration><Status>Enabled</Status><MfaDelete>Disabled</MfaDelete>"
         "</VersioningConfiguration>",
         true},
        {"<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>", true},
        {"<VersioningConfiguration><Status>Off</Status></VersioningConfiguration>", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bool on = !cases[i].on;

        assert_int_equal(s3_reply_versioning(cases[i].body, strlen(cases[i].body), &on, NULL), 0);
        assert_int_equal(on, cases[i].on);
    }
}

static int see_rule(void *arg, const struct s3_lifecycle_rule *r)
{
    return seen_add(arg, "%d%d '%s' e%d:%llu n%llu a%llu t%d:%llu:%s\n", r->enabled, r->tagged,
                    r->prefix, r->expires, (unsigned long long)r->expire_days,
                    (unsigned long long)r->noncurrent_days, (unsigned long long)r->abort_days,
                    r->transits, (unsigned long long)r->transition_days, r->transition_class);
}

static void rules_of_a_lifecycle_are_read(void **state)
{
    static const char body[] =
        XML "<LifecycleConfiguration" NS "><Rule><ID>a</ID><Filter><Prefix>logs/</Prefix></Filter>"
            "<Status>Enabled</Status><Expiration><Days>30</Days></Expiration>"
            "<AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation>"
            "</AbortIncompleteMultipartUpload></Rule>"
            "<Rule><Prefix>old/</Prefix><Status>Disabled</Status><Transition><Days>1</Days>"
            "<StorageClass>GLACIER</StorageClass></Transition></Rule>"
            "<Rule><Status>Enabled</Status><Filter><And><Prefix>x</Prefix><Tag><Key>k</Key>"
            "<Value>v</Value></Tag></And></Filter><Expiration><Date>2030-01-01T00:00:00Z</Date>"
            "</Expiration><NoncurrentVersionExpiration><NoncurrentDays>3</NoncurrentDays>"
            "</NoncurrentVersionExpiration></Rule></LifecycleConfiguration>";
    struct seen seen = {.stop_after = 0}, first = {.stop_after = 1};
    struct varve_error err = {0};

    (void)state;
    assert_int_equal(s3_bucket_lifecycle(body, strlen(body), see_rule, &seen, &err), 0);
    assert_string_equal(seen.text, "10 'logs/' e1:30 n0 a7 t0:0:\n"
                                   "00 'old/' e0:0 n0 a0 t1:1:GLACIER\n"
                                   "11 'x' e1:0 n3 a0 t0:0:\n");
    assert_int_equal(s3_bucket_lifecycle(body, strlen(body), see_rule, &first, &err), 7);
    assert_int_equal(s3_bucket_lifecycle("<html/>", 7, see_rule, &seen, &err), VARVE_E_CORRUPT);
    assert_non_null(strstr(err.msg, "html"));
    assert_int_equal(s3_bucket_lifecycle(body, strlen(body) - 9, see_rule, &seen, &err),
                     VARVE_E_CORRUPT);
}

static void an_object_lock_is_read(void **state)
{
    static const char plain[] =
        "<ObjectLockConfiguration" NS "><ObjectLockEnabled>Enabled</ObjectLockEnabled>"
        "</ObjectLockConfiguration>";
    static const char kept[] =
        "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule>"
        "<DefaultRetention><Mode>COMPLIANCE</Mode><Years>7</Years></DefaultRetention></Rule>"
        "</ObjectLockConfiguration>";
    struct s3_object_lock lock = {.days = 5};

    (void)state;
    assert_int_equal(s3_bucket_lock("<a/>", 4, &lock, NULL), VARVE_E_CORRUPT);
    assert_true(lock.days == 5);
    assert_int_equal(s3_bucket_lock(plain, strlen(plain), &lock, NULL), 0);
    assert_true(lock.enabled && !lock.mode[0] && lock.days == 0);
    assert_int_equal(s3_bucket_lock(kept, strlen(kept), &lock, NULL), 0);
    assert_true(lock.enabled && lock.years == 7);
    assert_string_equal(lock.mode, "COMPLIANCE");
}

#define GRANT(result)                                                                              \
    "<" result "Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><" result "Result>"   \
    "<AssumedRoleUser><Arn>arn:aws:sts::1:assumed-role/r/s</Arn></AssumedRoleUser>"                \
    "<Credentials><AccessKeyId>ASIAIOSFODNN7EXAMPLE</AccessKeyId>"                                 \
    "<SecretAccessKey>wJalr/XUt+nFEMI</SecretAccessKey><SessionToken>AQoDYXdzEPT//////==</"        \
    "SessionToken><Expiration>2026-01-02T04:04:05Z</Expiration></Credentials></" result "Result>"  \
    "<ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></" result "Response>"

static void credentials_of_sts_are_read(void **state)
{
    static const char *const bodies[] = {GRANT("AssumeRole"), GRANT("AssumeRoleWithWebIdentity")};
    static const char failed[] = "<ErrorResponse><Error><Code>AccessDenied</Code></Error>"
                                 "</ErrorResponse>";
    static const char *const parts[] = {"<AccessKeyId>", "<SecretAccessKey>", "<SessionToken>",
                                        "<Expiration>2026"};
    struct s3_credentials c;
    struct varve_error err = {0};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(s3_reply_credentials(bodies[i], strlen(bodies[i]), &c, NULL), 0);
        assert_string_equal(c.access_key, "ASIAIOSFODNN7EXAMPLE");
        assert_string_equal(c.secret_key, "wJalr/XUt+nFEMI");
        assert_string_equal(c.session_token, "AQoDYXdzEPT//////==");
        assert_true(c.expires_ms == INT64_C(1767326645000));
        s3_credentials_clear(&c);
    }
    assert_int_equal(s3_reply_credentials(failed, strlen(failed), &c, &err), VARVE_E_STORE);
    /* Each of the four misnamed in turn. */
    for (size_t i = 0; i < 4; i++) {
        char *body = strdup(bodies[0]), *found;

        assert_non_null(body);
        found = strstr(body, parts[i]);
        assert_non_null(found);
        if (i == 3) {
            found[strlen("<Expiration>")] = 'x';
        } else {
            found[1] = 'x';
            found = strstr(found, "</");
            found[2] = 'x';
        }
        assert_int_equal(s3_reply_credentials(body, strlen(body), &c, &err), VARVE_E_CORRUPT);
        assert_null(strstr(err.msg, "wJalr"));
        free(body);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_listing_of_aws_is_read),
        cmocka_unit_test(a_listing_of_minio_is_read),
        cmocka_unit_test(a_listing_of_ceph_is_read),
        cmocka_unit_test(a_visit_can_end_the_walk),
        cmocka_unit_test(listings_that_say_too_little_are_corrupt),
        cmocka_unit_test(a_listing_that_was_cut_off_is_never_a_short_one),
        cmocka_unit_test(bombs_do_not_go_off),
        cmocka_unit_test(a_key_of_the_greatest_length_is_read_in_any_encoding),
        cmocka_unit_test(unfinished_uploads_are_read),
        cmocka_unit_test(parts_are_read),
        cmocka_unit_test(an_upload_begins_and_ends),
        cmocka_unit_test(keys_that_could_not_be_deleted_are_named),
        cmocka_unit_test(the_region_of_a_bucket_is_read),
        cmocka_unit_test(versioning_is_on_when_it_was_ever_turned_on),
        cmocka_unit_test(rules_of_a_lifecycle_are_read),
        cmocka_unit_test(an_object_lock_is_read),
        cmocka_unit_test(credentials_of_sts_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
