/* Lists of names and values: headers, parameters of a query, fields of a form, metadata. */
#ifndef FAKES3_PAIRS_H
#define FAKES3_PAIRS_H

#include <stdbool.h>
#include <stddef.h>

/* Names and values in the order they came; both are owned by the list. */
struct fakes3_pair {
    char *name;
    char *value;
};
struct fakes3_pairs {
    struct fakes3_pair *items;
    size_t count;
};
void fakes3_pairs_add(struct fakes3_pairs *pairs, char *name, char *value); /* takes both over */
void fakes3_pairs_deinit(struct fakes3_pairs *pairs);
/* The first of that name, NULL without one. */
const char *fakes3_pairs_get(const struct fakes3_pairs *pairs, const char *name);
/* Adds what a query or a form holds to `ret`: "a=b&c" with percent-decoding. False: broken. */
bool fakes3_pairs_parse(const char *text, size_t size, struct fakes3_pairs *ret);

#endif
