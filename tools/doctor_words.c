/* The words of doctor, one entry for each case of each check: see cold/inspect.h and cold/probe.h
 * for who finds them. */
#include "tools/doctor.h"

#include <string.h>

#define FENCING                                                                                    \
    "two writers could both believe they own a log, and each would acknowledge records that the "  \
    "other's root leaves out; init refuses this store"
#define FENCING_ADVICE                                                                             \
    "use a store that keeps conditional writes (AWS S3, MinIO, Ceph RGW, R2); or put roots and "   \
    "pages alone on one (init --cold URL --cold-meta OTHER-URL); or say fencing=none in the URL "  \
    "and then run only one writer, ever"
#define VERSIONED                                                                                  \
    "this bucket is versioned, and there this store does not keep conditional writes: of several " \
    "writers at once all win, and two could both believe they own a log; init refuses it for "     \
    "roots. Segments may lie here: no two of them ever have the same key"
#define VERSIONED_ADVICE                                                                           \
    "put the roots elsewhere: make a second bucket that is not versioned and run varve init "      \
    "STORE --cold THIS-URL --cold-meta s3://SECOND-BUCKET/..., which keeps it as cold.meta"
#define ACTIONS                                                                                    \
    "give the key these actions on the bucket and its objects: s3:GetObject, s3:PutObject, "       \
    "s3:DeleteObject, s3:ListBucket, s3:GetBucketLocation, s3:AbortMultipartUpload, "              \
    "s3:ListMultipartUploadParts, s3:ListBucketMultipartUploads"
#define CLOCK                                                                                      \
    "varve corrects the dates of its requests by itself, but the times of records that are "       \
    "appended without one, segment.ms and retention.ms go by this machine's clock"
#define CLOCK_ADVICE                                                                               \
    "set the clock that is wrong, most often this machine's: timedatectl set-ntp true, or "        \
    "chronyc makestep"

const struct doctor_words doctor_words[] = {
    /* Where and who. */
    {"driver", "faulty", DOCTOR_NOTE, "calls are made to fail by the script in the URL", NULL},
    {"driver", "libs3", DOCTOR_NOTE,
     "signs by SigV2, and knows neither conditions nor checksums: for old stores only", NULL},
    {"tls", "off", DOCTOR_NOTE,
     "records and requests can be read, and answers changed, by whoever is on the way; keys are "
     "not sent, only signatures",
     "say https:// in endpoint=, and ca=FILE where the CA is your own"},
    {"credentials", "none", DOCTOR_PROBLEM, "no request can be signed",
     "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile by AWS_PROFILE or "
     "profile=NAME in the URL; keys never belong into the URL"},

    /* Does it answer. */
    {"reach", "yes", DOCTOR_GOOD, NULL, NULL},
    {"reach", "dead", DOCTOR_PROBLEM,
     "nobody answers there: appends go on locally and uploads wait; cold reads fail until it is "
     "back",
     "is the store running, and are host and port of the URL right? Then run this again"},
    {"reach", "no-directory", DOCTOR_PROBLEM,
     "the directory is no cold tier, or its disk is not mounted: what lies in it counts for "
     "nothing",
     "mount the disk; a new one is made by varve init STORE --cold URL"},
    {"reach", "broken", DOCTOR_PROBLEM,
     "something listens there, but the connection breaks before an answer comes",
     "look at the store's own log, and at proxies on the way; http:// to a TLS port looks like "
     "this"},
    {"reach", "failing", DOCTOR_PROBLEM, "the store answers with errors of its own",
     "look at the store's health and log, then run this again"},
    {"reach", "name", DOCTOR_PROBLEM, "the host of the endpoint has no address",
     "check endpoint= for a typing error, and this machine's DNS; where only BUCKET.HOST has no "
     "address, say path_style=1"},
    {"reach", "tls", DOCTOR_PROBLEM, "no TLS came about: most often the port speaks plain HTTP",
     "say http:// in endpoint=, or the store's TLS port"},
    {"reach", "ca-file", DOCTOR_PROBLEM,
     "the file named by ca= holds no certificates that can be read",
     "give ca= the path of a PEM file with the certificate of the store's CA"},
    {"reach", "untrusted", DOCTOR_PROBLEM,
     "the store's certificate is self-signed, or of a CA this machine does not know: it could be "
     "anybody's, so nothing was sent",
     "get the CA's certificate (or the self-signed one itself) from the store's owner and say "
     "ca=FILE in the URL"},
    {"reach", "expired-certificate", DOCTOR_PROBLEM,
     "the store's certificate is not valid at this machine's time",
     "look at this machine's clock; if that is right, the store needs a new certificate"},
    {"reach", "another-host", DOCTOR_PROBLEM,
     "the certificate is good, but of another host than the URL names: nothing was sent",
     "use the name that the certificate bears in endpoint=, or have one issued for this name; for "
     "BUCKET.HOST names that no certificate covers say path_style=1"},
    {"reach", "not-s3", DOCTOR_PROBLEM,
     "what answers there does not speak S3: a web page, a console or a proxy",
     "check host, port and path of endpoint=: consoles listen on a port of their own"},
    {"reach", "no-credentials", DOCTOR_PROBLEM, NULL, NULL},
    {"reach", "key", DOCTOR_PROBLEM, "the store does not know this access key",
     "check the access key, and that endpoint= is the store which issued it; the line credentials "
     "says where it was found"},
    {"reach", "secret", DOCTOR_PROBLEM, "the secret key does not belong to the access key",
     "check the secret key where the line credentials says it was found: one that was cut, or "
     "replaced since, looks like this"},
    {"reach", "token", DOCTOR_PROBLEM, "the session token is not valid",
     "get fresh temporary credentials; with lasting keys unset AWS_SESSION_TOKEN"},
    {"reach", "expired", DOCTOR_PROBLEM, "the credentials have expired",
     "get fresh ones; a role or credential_process in the profile lets varve renew them by itself"},
    {"reach", "denied", DOCTOR_PROBLEM,
     "the store refuses a listing of this bucket to the key, and does not say why: the key may "
     "lack "
     "the permission, the bucket be another's, or (Ceph RGW says no more than this) the access key "
     "or its secret be wrong",
     "check both keys where the line credentials says they were found; then " ACTIONS},
    {"reach", "bucket", DOCTOR_PROBLEM, "the store answers, and has no bucket of this name",
     "check the name, or have it made: varve init STORE --cold URL --create-bucket"},
    {"reach", "region", DOCTOR_PROBLEM,
     "the bucket is in another region, or at another endpoint, and the store does not say which",
     "say region=NAME in the URL"},
    {"reach", "clock", DOCTOR_PROBLEM,
     "the store refuses the time of requests, and does not say its own",
     "set this machine's clock: timedatectl set-ntp true"},
    {"reach", NULL, DOCTOR_PROBLEM, "the store cannot be used", NULL},
    {"region", "another", DOCTOR_PROBLEM,
     "the store said so, and varve corrects it by itself: one request more at each start",
     "say the right one by region= in the URL"},
    {"clock", "behind", DOCTOR_PROBLEM, CLOCK, CLOCK_ADVICE},
    {"clock", "ahead", DOCTOR_PROBLEM, CLOCK, CLOCK_ADVICE},
    {"clock", "drifting", DOCTOR_NOTE, CLOCK, CLOCK_ADVICE},
    {"read", "denied", DOCTOR_PROBLEM, "cold reads would fail", ACTIONS},

    /* How the bucket is set up. */
    {"versioning", "on", DOCTOR_NOTE,
     "what retention deletes stays as an old version and is paid for, and so does each "
     "overwritten root",
     "a lifecycle rule with NoncurrentVersionExpiration removes old versions; the check race says "
     "whether roots may lie here"},
    {"object-lock", "on", DOCTOR_NOTE,
     "objects can be locked one by one; retention cannot delete those that are", NULL},
    {"object-lock", "retention", DOCTOR_NOTE,
     "no object can be deleted for good before that time, whatever retention.ms says: right for an "
     "archive, and roots should lie elsewhere",
     "put the roots into a bucket without lock or versions: init --cold-meta"},
    {"lifecycle", "expires", DOCTOR_PROBLEM,
     "the store would delete segments that logs still name: reading them fails as damage. Only "
     "varve's own retention may delete here",
     "remove that rule, or set the prefix it goes by so that it does not reach this URL; use "
     "retention.ms of the logs"},
    {"lifecycle", "archives", DOCTOR_PROBLEM,
     "archived objects cannot be read before somebody has restored them: cold reads fail",
     "remove that rule, or use a class that is read at once"},
    {"lifecycle", "cools", DOCTOR_NOTE,
     "objects stay readable at once; reading them costs more, and the class has a least time",
     NULL},
    {"lifecycle", "aborts", DOCTOR_GOOD,
     "what a lost machine leaves of uploads is removed; an upload that takes longer begins again",
     NULL},
    {"lifecycle", "noncurrent", DOCTOR_GOOD, "old versions do not pile up", NULL},
    {"content", "store", DOCTOR_NOTE,
     "init refuses this place for another store unless --adopt is given", NULL},
    {"content", "others", DOCTOR_NOTE,
     "varve leaves objects alone that are not its own, but a prefix for itself is easier to keep",
     NULL},
    {"uploads", "some", DOCTOR_NOTE,
     "their parts are paid for; those of a running store are gone on with or removed by it, those "
     "of a machine that is lost stay",
     "a lifecycle rule with AbortIncompleteMultipartUpload removes them"},
    {"latency", "slow", DOCTOR_NOTE, "each cold read that is not sequential takes at least so long",
     "a region nearer to the readers"},

    /* By doing. */
    {"write", "no", DOCTOR_PROBLEM, "what is stored cannot be trusted to come back",
     "use another store"},
    {"write", "denied", DOCTOR_PROBLEM,
     "the key may read and list, not write: enough for read and ls on the URL; init, append and "
     "tier need more",
     ACTIONS},
    {"write", "full", DOCTOR_PROBLEM, "the store takes no more bytes",
     "make room, or raise the quota"},
    {"write", "failed", DOCTOR_PROBLEM, "the first object could not be stored", NULL},
    {"trial", "denied", DOCTOR_PROBLEM, "the key may write, but not do all that varve needs",
     ACTIONS},
    {"trial", "failed", DOCTOR_PROBLEM, "what follows could not be tried: run this again", NULL},
    {"if-absent", "yes", DOCTOR_GOOD, "a log is made by one store only", NULL},
    {"if-absent", "no", DOCTOR_PROBLEM, "no conditional writes: " FENCING, FENCING_ADVICE},
    {"if-absent", "no-versioned", DOCTOR_PROBLEM, VERSIONED, VERSIONED_ADVICE},
    {"if-match", "yes", DOCTOR_GOOD, "a root is replaced only by who knows the one before", NULL},
    {"if-match", "no", DOCTOR_PROBLEM, "no conditional writes: " FENCING, FENCING_ADVICE},
    {"if-match", "no-versioned", DOCTOR_PROBLEM, VERSIONED, VERSIONED_ADVICE},
    {"race", "yes", DOCTOR_GOOD, "of two writers that start at once one becomes the owner", NULL},
    {"race", "no", DOCTOR_PROBLEM, "conditions do not hold under concurrency: " FENCING,
     FENCING_ADVICE},
    {"race", "no-versioned", DOCTOR_PROBLEM, VERSIONED, VERSIONED_ADVICE},
    {"ranges", "yes", DOCTOR_GOOD, "a cold read fetches one block, not the whole segment", NULL},
    {"ranges", "no", DOCTOR_PROBLEM, "cold reads would fail", "use another store"},
    {"multipart", "no", DOCTOR_PROBLEM,
     "segments above the size of a single put cannot be uploaded, and none is gone on with",
     "keep segment.bytes at 64 MiB or less"},
    {"list-uploads", "no", DOCTOR_NOTE,
     "the store's listing does not tell of unfinished uploads: varve remembers its own and ends "
     "them by key; those of a lost machine stay",
     "a lifecycle rule with AbortIncompleteMultipartUpload (MinIO removes them by itself after a "
     "day)"},
    {"conditional-complete", "no", DOCTOR_NOTE,
     "no harm: keys of segments are never used twice, and roots are never multipart", NULL},
    {"sha256", "yes", DOCTOR_GOOD, "an upload that arrives damaged is refused by the store itself",
     NULL},
    {"sha256", "no", DOCTOR_NOTE,
     "the store does not check what it is sent by SHA-256: damage on the way in shows when it is "
     "read",
     "varve verify --deep after uploads"},
    {"sha256", "unguarded", DOCTOR_PROBLEM,
     "the store checks no body that it is sent, by SHA-256 nor CRC32C: what was damaged on the way "
     "in is found when it is read, and the local copy may be gone by then",
     "use https, which protects the way, and run varve verify --deep before evicting"},
    {"crc32c", "no", DOCTOR_NOTE, "no harm where SHA-256 is checked", NULL},
    {"list", "no", DOCTOR_PROBLEM,
     "recovery and collection go by listings: they could pass over objects", "use another store"},
    {"delete", "no", DOCTOR_PROBLEM, "retention would free nothing", ACTIONS},
    {NULL, NULL, DOCTOR_GOOD, NULL, NULL},
};

const struct doctor_words *doctor_words_find(const char *name, const char *kind)
{
    const struct doctor_words *w = doctor_words;

    while (w->name && (strcmp(w->name, name) != 0 || (w->kind && strcmp(w->kind, kind) != 0)))
        w++;
    return w;
}
