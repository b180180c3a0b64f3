/*
 * Fuzz target: configuration files. The input is a few files in memory, parted by bytes 0xFF: the
 * main one first, then a.conf, d/b.conf and d/c.conf, which it may Include. What loads is also
 * dumped, loaded from the dump and dumped again: both dumps must be the same. An input that begins
 * with "muster-tree" is loaded as a dump itself.
 */
#include "fuzz.h"

#include <assert.h>
#include <stdlib.h>

#include "../unit/conf/memfs.h"

struct some_conf {
    struct mu_str str, path;
    struct mu_strs list;
    int64_t number, time;
    int level;
    bool flag;
    size_t words;
};

static enum mu_rc count(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    size_t bytes = 0;

    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < args[i].n; k++)
            bytes += (unsigned char)args[i].p[k];
    if (bytes % 7 == 6)
        return mu_cmd_error(cmd, "not that");
    ((struct some_conf *)conf)->words += n;
    return MU_OK;
}

static const struct mu_enum_name levels[] = { { "low", 1 }, { "high", 2 }, { NULL, 0 } };

#define T struct some_conf
#define ALL (MU_IN_SERVER | MU_IN_DIR | MU_OVR_ALL)
static const struct mu_directive directives[] = {
    MU_DIR_STR("Str", T, str, ALL, "A word"),
    MU_DIR_PATH("Path", T, path, MU_IN_SERVER, "A file"),
    MU_DIR_LIST("List", T, list, ALL, "Words"),
    MU_DIR_INT("Number", T, number, ALL, -5, 1000, "A number"),
    MU_DIR_DURATION("Time", T, time, ALL, 0, 100000, "A time"),
    MU_DIR_ENUM("Level", T, level, MU_IN_DIR, levels, "A level"),
    MU_DIR_FLAG("Flag", T, flag, ALL, "A flag"),
    MU_DIR_CALL("Call", ALL, 1, 3, count, "Words"),
    MU_DIR_RAW("Raw", ALL, count, "A line"),
    MU_DIR_CALL("<Sec", ALL, 0, -1, count, "A section"),
    MU_DIR_CALL("</Sec", ALL, 0, -1, count, "Its end"),
    MU_DIR_END
};

static struct mu_module core = { .abi = MU_MODULE_ABI,
                                 .name = "core",
                                 .conf_size = sizeof(struct some_conf),
                                 .directives = directives };
static struct mu_module dir = { .abi = MU_MODULE_ABI, .name = "dir" };
static struct mu_module event = { .abi = MU_MODULE_ABI, .name = "mpm_event" };
static struct mu_module *const builtin[] = { &core, &dir, &event, NULL };

static void swallow(void *arg, bool is_error, const char *text)
{
    (void)arg;
    (void)is_error;
    assert(text[0] != '\0');
}

static struct mu_config *load(const struct memfile *files, struct mu_str tree)
{
    struct mu_conf_fs fs = memfs_of(files);
    struct mu_config_opts opts = { .server_root = "/s",
                                   .builtin = builtin,
                                   .report = swallow,
                                   .tree = tree.p,
                                   .tree_len = tree.n };
    struct mu_config *c = NULL;

    return mu_config_load_fs(&opts, &fs, &c) == MU_OK ? c : NULL;
}

/* Merge every section of every server over its base. */
static void merge_all(const struct mu_config *c)
{
    for (size_t i = 0; i < c->vhosts_n; i++) {
        const struct mu_vhost *v = c->vhosts[i];
        const struct mu_dirconf *d = v->base;

        for (size_t k = 0; k < v->dirs_n; k++)
            d = mu_dirconf_merge(d, v->dirs[k]);
        for (size_t k = 0; k < v->locations_n; k++)
            d = mu_dirconf_merge(d, v->locations[k]);
        assert(d);
    }
}

/* A NUL cannot stand in a file that loads, and the dump keeps everything else. */
static void round_trip(const struct memfile *files, struct mu_config *c)
{
    struct mu_buf one = { 0 };
    struct mu_buf two = { 0 };
    struct mu_config *again;

    mu_config_dump_tree(c, &one);
    again = load(files, mu_buf_str(&one));
    assert(again);
    mu_config_dump_tree(again, &two);
    assert(mu_str_eq(mu_buf_str(&one), mu_buf_str(&two)));
    assert(again->vhosts_n == c->vhosts_n && again->listens_n == c->listens_n);
    mu_config_destroy(again);
    mu_buf_fini(&one);
    mu_buf_fini(&two);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct memfile files[] = { { "/s/conf/httpd.conf", MU_STR_NULL },
                               { "/s/a.conf", MU_STR_NULL },
                               { "/s/d/c.conf", MU_STR_NULL },
                               { "/s/d/b.conf", MU_STR_NULL },
                               { NULL, MU_STR_NULL } };
    struct mu_str rest = mu_str_n((const char *)data, size);
    bool is_tree = mu_str_starts(rest, MU_S("muster-tree"));
    struct mu_config *c;

    if (!is_tree)
        for (size_t i = 0;
             i + 1 < MU_ARRAY_LEN(files) && mu_str_split(&rest, '\xff', &files[i].text); i++)
            ;
    c = load(files, is_tree ? rest : MU_STR_NULL);
    if (c) {
        merge_all(c);
        round_trip(files, c);
    }
    mu_config_destroy(c);
    return 0;
}
