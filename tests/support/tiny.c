#include "tests/support/tiny.h"

#include <stdlib.h>

bool support_tiny(void)
{
    const char *value = getenv("VARVE_TEST_TINY");

    return value && value[0] != '\0';
}
