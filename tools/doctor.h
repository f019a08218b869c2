/* What doctor says: the words for each case of each check. */
#ifndef TOOLS_DOCTOR_H
#define TOOLS_DOCTOR_H

#include <stddef.h>

/* How much it matters. */
enum doctor_weight {
    DOCTOR_GOOD,    /* as varve wants it, or a plain fact */
    DOCTOR_NOTE,    /* worth knowing; varve does without, or it is the owner's to decide */
    DOCTOR_PROBLEM, /* varve needs or wants it otherwise */
};

struct doctor_words {
    const char *name; /* of the check */
    const char *kind; /* the case; NULL: all that are not listed before */
    enum doctor_weight weight;
    const char *means;  /* for varve; NULL: it says itself */
    const char *advice; /* what to do; NULL: nothing */
};

/* Never NULL: a case nobody has thought of is a plain fact. */
const struct doctor_words *doctor_words_find(const char *name, const char *kind);
/* The whole table, for its test; ends with name NULL. */
extern const struct doctor_words doctor_words[];

#endif
