/*
 * Drivers in modules of their own, loaded when a URL asks for one: what they link with (and the
 * licence of that) stays out of the library.
 *
 * A module is <libdir>/varve/varve-<scheme>.so. Nowhere else is looked, neither in the current
 * directory nor along LD_LIBRARY_PATH; VARVE_PLUGIN_DIR, an absolute directory, takes the place of
 * <libdir>/varve, but not in a set-user-id program. A module belongs to the build of the library
 * that it came with, for the structs of store.h have no stable layout: version and sizes are
 * compared before anything is called. Modules are never unloaded.
 */
#ifndef COLD_PLUGIN_H
#define COLD_PLUGIN_H

#include "cold/store.h"
#include "cold/url.h"

#define COLD_PLUGIN_ABI 1
#define COLD_PLUGIN_SYMBOL "varve_cold_plugin"

struct cold_plugin {
    uint32_t abi; /* COLD_PLUGIN_ABI; what follows may change with it */
    uint32_t ops_size;
    uint32_t caps_size;
    uint32_t env_size;
    const char *version; /* of varve */
    /* As cold_store_open. On success *ret_self is ours, and ops->close ends it. */
    int (*open)(const struct base_env *env, const struct cold_url *url, const char *text,
                const struct cold_store_options *options, const struct cold_store_ops **ret_ops,
                void **ret_self, struct varve_error *err);
};

/* What a module exports. */
#define COLD_PLUGIN_DEFINE(function)                                                               \
    extern const struct cold_plugin varve_cold_plugin;                                             \
    __attribute__((visibility("default"))) const struct cold_plugin varve_cold_plugin = {          \
        .abi = COLD_PLUGIN_ABI,                                                                    \
        .ops_size = sizeof(struct cold_store_ops),                                                 \
        .caps_size = sizeof(struct cold_caps),                                                     \
        .env_size = sizeof(struct base_env),                                                       \
        .version = VARVE_VERSION,                                                                  \
        .open = (function),                                                                        \
    }

/* Loads the module of the URL's scheme and opens the store. VARVE_E_UNSUPPORTED: there is no such
 * module, or it is another build's. */
int cold_plugin_open(const struct base_env *env, const struct cold_url *url, const char *text,
                     const struct cold_store_options *options, struct cold_store **ret,
                     struct varve_error *err);

#endif
