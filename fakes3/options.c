#include "fakes3/options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "fakes3/text.h"

static const char usage[] =
    "usage: varve-fakes3 [OPTION]...\n"
    "An S3 server for tests: objects in memory, strict signatures, and a script of faults.\n"
    "Its first line says where it listens; it ends on SIGTERM.\n"
    "\n"
    "  --port N               listen on 127.0.0.1:N (default 0: a free one)\n"
    "  --port-file FILE       write the port there, once the server listens\n"
    "  --tls-cert FILE --tls-key FILE   speak TLS (PEM)\n"
    "  --key AK:SK[:ro][:account=NAME][:token=TOKEN]\n"
    "                         an access key (default " FAKES3_KEY_DEFAULT ")\n"
    "  --anonymous            let unsigned requests in\n"
    "  --bucket NAME[:account=NAME][:region=NAME]   a bucket that is there from the start\n"
    "  --region NAME          default us-east-1\n"
    "  --domain NAME          BUCKET.NAME are virtual hosts (default localhost)\n"
    "  --dir DIR              objects lie there and outlive the server (default: in memory)\n"
    "  --memory SIZE          bound on all bodies together (default 4G); beyond it PUTs get 507\n"
    "  --seed N               of all that is random (default 1)\n"
    "  --fault RULE           a rule of the fault script; may be repeated\n"
    "  --script FILE          rules, one a line\n"
    "  --clock-skew TIME      this server's clock is off by that (1h, -20m)\n"
    "  --clock TIME           this server's clock starts there (ISO 8601)\n"
    "  --opaque-etags         ETags are not MD5 sums (and cost nothing)\n"
    "  --restore-delay TIME   how long a restore takes (default 1s)\n"
    "  --day TIME             how long the days of a restored copy are (default 24h)\n"
    "  --credentials-life TIME   of temporary credentials (default 1h)\n"
    "  --container-token TEXT, --web-identity-token TEXT   the only ones that are taken\n"
    "  --part-size-min SIZE   of all parts but the last (default 5M)\n"
    "  --exit-with-parent     end when the parent does, or when a pipe at stdin closes\n"
    "  --help, --version\n"
    "\n"
    "RULE is a row of words. Selectors: op=NAME,... bucket=GLOB key=GLOB method=NAME\n"
    "access-key=GLOB with=HEADER nth=N|N-M|N- every=N p=X times=N from=TIME to=TIME.\n"
    "Effects:\n";

static void print_help(void)
{
    struct evbuffer *out = evbuffer_new();
    char *text;

    fakes3_faults_describe(out);
    evbuffer_add_printf(out, "\nOperations: ");
    for (int op = 0; op < FAKES3_OPERATIONS_COUNT; op++)
        evbuffer_add_printf(out, "%s%s",
                            op == 0  ? ""
                            : op % 4 ? ", "
                                     : ",\n  ",
                            fakes3_operation_name((enum fakes3_operation)op));
    evbuffer_add_printf(out, "\n\nExample: varve-fakes3 --bucket demo \\\n"
                             "  --fault 'op=GetObject every=10 status=503 retry-after=1' \\\n"
                             "  --fault 'latency=lognormal:30ms:0.4'\n");
    text = fakes3_text_of_buffer(out);
    printf("%s%s", usage, text);
    free(text);
}

static bool wrong(const char *format, const char *what)
{
    fputs("varve-fakes3: ", stderr);
    fprintf(stderr, format, what);
    fputs("\n  varve-fakes3 --help lists the options\n", stderr);
    return false;
}

static bool add_faults(struct fakes3_server *server, const char *text, const char *where)
{
    char *error;

    if (fakes3_faults_add(&server->faults, text, fakes3_server_mono_ms(), &error))
        return true;
    fprintf(stderr, "varve-fakes3: %s: %s\n", where, error);
    free(error);
    return false;
}

static bool add_script(struct fakes3_server *server, const char *path)
{
    FILE *file = fopen(path, "r");
    struct evbuffer *buffer = evbuffer_new();
    char block[4096];
    size_t size;
    char *text;
    bool good;

    if (!file) {
        evbuffer_free(buffer);
        return wrong("the script %s cannot be read", path);
    }
    while ((size = fread(block, 1, sizeof(block), file)) > 0)
        evbuffer_add(buffer, block, size);
    fclose(file);
    text = fakes3_text_of_buffer(buffer);
    good = add_faults(server, text, path);
    free(text);
    return good;
}

static bool set_ms(int64_t *place, const char *text)
{
    int64_t us;

    if (!fakes3_text_parse_us(text, &us) || us < 0)
        return wrong("\"%s\" is not a time, as 500ms or 2h", text);
    *place = us / 1000;
    return true;
}

static bool set_size(int64_t *place, const char *text)
{
    if (!base_parse_size(text, place) || *place < 0)
        return wrong("\"%s\" is not a size, as 64M", text);
    return true;
}

static bool set_number(int64_t *place, const char *text, int64_t max)
{
    if (!base_parse_i64(text, place) || *place < 0 || *place > max)
        return wrong("\"%s\" is not a number that fits here", text);
    return true;
}

static bool set_clock(struct fakes3_server *server, const char *text)
{
    int64_t ms;

    if (!base_parse_iso8601(text, strlen(text), &ms))
        return wrong("\"%s\" is not a time, as 2013-05-24T00:00:00Z", text);
    server->skew_ms = 0;
    server->skew_ms = ms - fakes3_server_wall_ms(server);
    return true;
}

static bool add_bucket(struct fakes3_settings *settings, const char *text)
{
    const char *colon = strchr(text, ':');

    fakes3_pairs_add(&settings->buckets,
                     fakes3_text_slice(text, colon ? (size_t)(colon - text) : strlen(text)),
                     fakes3_text_copy(colon ? colon + 1 : ""));
    return true;
}

enum option_code {
    PORT = 256,
    PORT_FILE,
    TLS_CERT,
    TLS_KEY,
    KEY,
    ANONYMOUS,
    BUCKET,
    REGION,
    DOMAIN,
    DIR,
    MEMORY,
    SEED,
    FAULT,
    SCRIPT,
    CLOCK_SKEW,
    CLOCK,
    OPAQUE_ETAGS,
    RESTORE_DELAY,
    DAY,
    CREDENTIALS_LIFE,
    CONTAINER_TOKEN,
    WEB_IDENTITY_TOKEN,
    PART_SIZE_MIN,
    EXIT_WITH_PARENT,
    HELP,
    VERSION,
};

static const struct option names[] = {
    {"port", required_argument, NULL, PORT},
    {"port-file", required_argument, NULL, PORT_FILE},
    {"tls-cert", required_argument, NULL, TLS_CERT},
    {"tls-key", required_argument, NULL, TLS_KEY},
    {"key", required_argument, NULL, KEY},
    {"anonymous", no_argument, NULL, ANONYMOUS},
    {"bucket", required_argument, NULL, BUCKET},
    {"region", required_argument, NULL, REGION},
    {"domain", required_argument, NULL, DOMAIN},
    {"dir", required_argument, NULL, DIR},
    {"memory", required_argument, NULL, MEMORY},
    {"seed", required_argument, NULL, SEED},
    {"fault", required_argument, NULL, FAULT},
    {"script", required_argument, NULL, SCRIPT},
    {"clock-skew", required_argument, NULL, CLOCK_SKEW},
    {"clock", required_argument, NULL, CLOCK},
    {"opaque-etags", no_argument, NULL, OPAQUE_ETAGS},
    {"restore-delay", required_argument, NULL, RESTORE_DELAY},
    {"day", required_argument, NULL, DAY},
    {"credentials-life", required_argument, NULL, CREDENTIALS_LIFE},
    {"container-token", required_argument, NULL, CONTAINER_TOKEN},
    {"web-identity-token", required_argument, NULL, WEB_IDENTITY_TOKEN},
    {"part-size-min", required_argument, NULL, PART_SIZE_MIN},
    {"exit-with-parent", no_argument, NULL, EXIT_WITH_PARENT},
    {"help", no_argument, NULL, HELP},
    {"version", no_argument, NULL, VERSION},
    {0},
};

static bool set_skew(struct fakes3_server *server, const char *text)
{
    int64_t us;

    if (!fakes3_text_parse_us(text, &us))
        return wrong("\"%s\" is not a time, as 1h or -20m", text);
    server->skew_ms = us / 1000;
    return true;
}

/* Options that say how to listen. -1: not one of them; 0: wrong. */
static int take_setting(struct fakes3_settings *settings, int option, const char *value)
{
    int64_t number;

    switch (option) {
    case PORT:
        if (!set_number(&number, value, 65535))
            return 0;
        settings->port = (int)number;
        return 1;
    case PORT_FILE:
        settings->port_file = value;
        return 1;
    case TLS_CERT:
        settings->tls_cert = value;
        return 1;
    case TLS_KEY:
        settings->tls_key = value;
        return 1;
    case BUCKET:
        return add_bucket(settings, value);
    case EXIT_WITH_PARENT:
        settings->exit_with_parent = true;
        return 1;
    case HELP:
        print_help();
        settings->quit = true;
        return 1;
    case VERSION:
        printf("varve-fakes3 %s\n", FAKES3_VERSION);
        settings->quit = true;
        return 1;
    default:
        return -1;
    }
}

/* Options that say how to behave. */
static bool take_option(struct fakes3_server *server, int option, const char *value)
{
    struct fakes3_options *o = &server->options;
    int64_t number;

    switch (option) {
    case KEY:
        return fakes3_keys_add(&server->keys, value) ||
               wrong("--key is AK:SK[:ro][:account=NAME][:token=TOKEN], not \"%s\"", value);
    case ANONYMOUS:
        o->anonymous = true;
        return true;
    case REGION:
        o->region = value;
        return true;
    case DOMAIN:
        o->domain = value;
        return true;
    case DIR:
        server->store.blobs.dir = value;
        return true;
    case MEMORY:
        if (!set_size(&number, value))
            return false;
        server->store.blobs.bytes_max = (uint64_t)number;
        return true;
    case SEED:
        if (!set_number(&number, value, INT64_MAX))
            return false;
        server->faults.seed = (uint64_t)number;
        return true;
    case CLOCK_SKEW:
        return set_skew(server, value);
    case CLOCK:
        return set_clock(server, value);
    case OPAQUE_ETAGS:
        o->opaque_etags = true;
        return true;
    case RESTORE_DELAY:
        return set_ms(&o->restore_ms, value);
    case DAY:
        return set_ms(&o->day_ms, value);
    case CREDENTIALS_LIFE:
        return set_ms(&o->credentials_ms, value);
    case CONTAINER_TOKEN:
        o->container_token = value;
        return true;
    case WEB_IDENTITY_TOKEN:
        o->web_identity_token = value;
        return true;
    case PART_SIZE_MIN:
        return set_size(&o->part_size_min, value);
    default: /* getopt has said what is wrong */
        return wrong("%s", "wrong use");
    }
}

/* Rules wait for the end of the line: their dice are thrown from --seed, which may stand behind. */
static bool add_rules(struct fakes3_server *server, const struct fakes3_pairs *rules)
{
    for (size_t i = 0; i < rules->count; i++)
        if (strcmp(rules->items[i].name, "script") == 0
                ? !add_script(server, rules->items[i].value)
                : !add_faults(server, rules->items[i].value, "--fault"))
            return false;
    return true;
}

bool fakes3_options_parse(int argc, char **argv, struct fakes3_server *server,
                          struct fakes3_settings *settings)
{
    struct fakes3_pairs rules = {0};
    bool good = true;
    int option;

    while (good && !settings->quit && (option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        int taken;
        if (option == FAULT || option == SCRIPT) {
            fakes3_pairs_add(&rules, fakes3_text_copy(option == FAULT ? "fault" : "script"),
                             fakes3_text_copy(optarg));
            continue;
        }
        taken = take_setting(settings, option, optarg);
        good = taken < 0 ? take_option(server, option, optarg) : taken;
    }
    if (good && optind < argc && !settings->quit)
        good = wrong("\"%s\" is not an option", argv[optind]);
    if (good && !settings->tls_cert != !settings->tls_key)
        good = wrong("%s", "--tls-cert and --tls-key go together");
    if (good && !settings->quit)
        good = add_rules(server, &rules);
    fakes3_pairs_deinit(&rules);
    return good;
}
