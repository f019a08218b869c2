/* One rule of the fault script: from text, and merged with others. */
#ifndef FAKES3_RULE_H
#define FAKES3_RULE_H

#include "fakes3/faults.h"

/* NULL with a message of fresh memory. */
struct fakes3_rule *fakes3_rule_parse(const char *line, char **ret_error);
void fakes3_rule_free(struct fakes3_rule *rule);
/* What `more` gives and `effects` does not have yet. */
void fakes3_rule_merge(struct fakes3_effects *effects, const struct fakes3_effects *more);

#endif
