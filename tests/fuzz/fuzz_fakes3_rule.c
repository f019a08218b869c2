/* A rule of the fault script of varve-fakes3. */
#include "fakes3/rule.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size), *why = NULL;
    struct fakes3_rule *rule = fakes3_rule_parse(text, &why);

    must((rule != NULL) != (why != NULL));
    free(why);
    fakes3_rule_free(rule);
    free(text);
    return 0;
}
