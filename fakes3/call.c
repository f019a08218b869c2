#include "fakes3/call.h"

#include "base/text.h"

const char *fakes3_call_header(const struct fakes3_call *call, const char *name)
{
    return fakes3_request_header(call->request, name);
}

const char *fakes3_call_param(const struct fakes3_call *call, const char *name)
{
    return fakes3_request_param(call->request, name);
}

int64_t fakes3_call_number(struct fakes3_call *call, const char *name, int64_t fallback,
                           int64_t max)
{
    const char *text = fakes3_call_param(call, name);
    int64_t value = fallback;

    if (!text)
        return value;
    if (!base_parse_i64(text, &value) || value < 0) {
        fakes3_reply_error(&call->reply, "InvalidArgument",
                           "Provided %s not an integer or within integer range", name);
        fakes3_reply_detail(&call->reply, "ArgumentName", "%s", name);
        fakes3_reply_detail(&call->reply, "ArgumentValue", "%s", text);
        return -1;
    }
    return value < max ? value : max;
}
