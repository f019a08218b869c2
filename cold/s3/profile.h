/*
 * The INI-like files of AWS, ~/.aws/config and ~/.aws/credentials.
 *
 * Source: "Shared config and credentials files", AWS SDKs and Tools reference guide.
 */
#ifndef COLD_S3_PROFILE_H
#define COLD_S3_PROFILE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/io.h"

#define S3_PROFILE_FILE_MAX (1024 * 1024)
#define S3_PROFILE_ENTRIES_MAX 16384

enum s3_profile_kind {
    S3_PROFILE_CONFIG,      /* "[profile x]", "[default]", "[sso-session y]", "[services z]" */
    S3_PROFILE_CREDENTIALS, /* "[x]" */
};

/* Immutable once made; values are wiped when it is freed. */
struct s3_profile_file;

/*
 * Sections are known by "profile x", "services z", ... whatever the file; in a config file a bare
 * "[x]" is no profile, but for "[default]". Sections of the same name are one; of a name given
 * twice the last counts. VARVE_E_INVALID: a line that is neither a section, a property nor a
 * comment; the message has its number and nothing of what it says. VARVE_E_TOO_LARGE,
 * VARVE_E_NO_MEMORY.
 */
int s3_profile_file_parse(const char *text, size_t size, enum s3_profile_kind kind,
                          struct s3_profile_file **ret, struct varve_error *err);
/* Reads and parses. Conditions: VARVE_E_NOT_FOUND. Failures: as above, VARVE_E_DENIED, VARVE_E_IO.
 */
int s3_profile_file_read(const struct base_io *io, const char *path, enum s3_profile_kind kind,
                         struct s3_profile_file **ret, struct varve_error *err);
struct s3_profile_file *s3_profile_file_free(struct s3_profile_file *file);

/* Whether there is a section; "profile x". */
bool s3_profile_file_has(const struct s3_profile_file *file, const char *kind, const char *name);
/* The value of a property in the section "<kind> <name>"; NULL: not there, or empty. Properties are
 * in lower case; what is nested under "s3 =" is "s3.endpoint_url". */
const char *s3_profile_file_get(const struct s3_profile_file *file, const char *kind,
                                const char *name, const char *property);

#endif
