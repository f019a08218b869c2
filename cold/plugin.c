/* Loading drivers that are modules of their own. */
#include "cold/plugin.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"

#define DIR_VARIABLE "VARVE_PLUGIN_DIR"

static int module_path(const char *scheme, char **ret, struct varve_error *err)
{
    const char *dir = secure_getenv(DIR_VARIABLE);

    if (dir && dir[0] != '/')
        return base_fail(err, VARVE_E_INVALID, DIR_VARIABLE "=%s is no absolute path", dir);
    return base_format(ret, err, "%s/varve-%s.so", dir ? dir : VARVE_PLUGIN_DIR, scheme);
}

static int module_check(const struct cold_plugin *p, const char *path, struct varve_error *err)
{
    if (p->abi != COLD_PLUGIN_ABI)
        return base_fail(err, VARVE_E_UNSUPPORTED, "%s has interface %u, this varve has %u", path,
                         p->abi, COLD_PLUGIN_ABI);
    if (strcmp(p->version, VARVE_VERSION) != 0 || p->ops_size != sizeof(struct cold_store_ops) ||
        p->caps_size != sizeof(struct cold_caps) || p->env_size != sizeof(struct base_env))
        return base_fail(err, VARVE_E_UNSUPPORTED,
                         "%s is of another build of varve (%s) than this one (%s)", path,
                         p->version, VARVE_VERSION);
    return 0;
}

static int module_load(const char *path, const struct cold_plugin **ret, struct varve_error *err)
{
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL); /* its symbols are its own */
    const struct cold_plugin *plugin;
    int rc;

    if (!module)
        return base_fail(err, VARVE_E_UNSUPPORTED, "the driver cannot be loaded: %s", dlerror());
    plugin = dlsym(module, COLD_PLUGIN_SYMBOL);
    rc = plugin ? module_check(plugin, path, err)
                : base_fail(err, VARVE_E_UNSUPPORTED, "%s is no driver of varve", path);
    if (rc < 0) {
        dlclose(module);
        return rc;
    }
    /* It stays: what it links with has state of the whole process. */
    *ret = plugin;
    return 0;
}

int cold_plugin_open(const struct base_env *env, const struct cold_url *url, const char *text,
                     const struct cold_store_options *options, struct cold_store **ret,
                     struct varve_error *err)
{
    const struct cold_plugin *plugin = NULL;
    const struct cold_store_ops *ops;
    void *self;
    char *path = NULL;
    int rc = module_path(url->scheme, &path, err);

    if (rc == 0)
        rc = module_load(path, &plugin, err);
    free(path);
    if (rc < 0)
        return base_error_context(err, rc, "open store %s", text);
    rc = plugin->open(env, url, text, options, &ops, &self, err);
    if (rc < 0)
        return rc;
    rc = cold_store_new(env, text, ops, self, options->read_only, ret, err);
    if (rc < 0)
        ops->close(self);
    return rc;
}
