/*
 * A whole HTTP reply, changed by chance: the same for the same seed. What the changes may make the
 * reader believe that is not so is in `lies` (s3_trial.h); what is not there can be told from the
 * reply.
 */
#ifndef TESTS_INTEGRATION_REPLY_MUTATION_H
#define TESTS_INTEGRATION_REPLY_MUTATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is sent: head, then body, then `filler` again and again, up to filler_total bytes of it. */
struct mutated {
    char *head;
    size_t head_size;
    char *body;
    size_t body_size;
    const char *filler;  /* static; NULL: none */
    bool filler_in_head; /* it comes between head and body */
    uint64_t filler_total;
    size_t cut;  /* only so many bytes in all are sent; SIZE_MAX: all */
    bool silent; /* nothing is sent */
    bool closes; /* afterwards */
    bool resets; /* and that by RST */
    bool stalls; /* afterwards nothing more comes, and the connection stays */
    unsigned lies;
    char what[400]; /* in words */
};

uint64_t mutation_random(uint64_t *state);

/* `reply` is what a server sent, up to the end of the connection; `head_only` for a HEAD. False: it
 * is no HTTP reply, or memory is out. Freed by mutated_deinit. */
bool mutate(const char *reply, size_t size, bool head_only, uint64_t seed, struct mutated *ret);
void mutated_deinit(struct mutated *m);

#endif
