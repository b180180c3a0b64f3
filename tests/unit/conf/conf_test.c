/*
 * conf_test: the modules and helpers of the conf room's tests. The modules have the names of real
 * ones, because names decide what is on; their directives are the tests' own, one for each kind.
 */
#include "conf_test.h"

#include <stdlib.h>

struct mu_cmd test_last_cmd;

static enum mu_rc set_pair(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    struct core_conf *c = conf;

    if (mu_str_eq(args[0], MU_S("bad")))
        return mu_cmd_error(cmd, "Pair: \"bad\" is bad");
    if (mu_str_eq(args[0], MU_S("silent")))
        return MU_BAD;
    c->pair[0] = args[0];
    c->pair[1] = n > 1 ? args[1] : MU_STR_NULL;
    return MU_OK;
}

static enum mu_rc set_raw(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    (void)cmd;
    assert_int_equal(n, 1);
    ((struct core_conf *)conf)->raw = args[0];
    return MU_OK;
}

static enum mu_rc set_info(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    (void)args;
    (void)n;
    ((struct core_conf *)conf)->methods = cmd->methods;
    test_last_cmd = *cmd;
    return MU_OK;
}

static enum mu_rc add_sum(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    int64_t v;

    (void)n;
    if (!mu_str_i64(args[0], &v))
        return mu_cmd_error(cmd, "Add takes a number");
    ((struct core_conf *)conf)->sum += (int)v;
    return MU_OK;
}

static const struct mu_enum_name levels[] = { { "low", 1 }, { "high", 2 }, { NULL, 0 } };

#define T struct core_conf
#define ALL (MU_IN_SERVER | MU_IN_DIR | MU_OVR_ALL)
static const struct mu_directive core_directives[] = {
    MU_DIR_PATH("DocumentRoot", T, root, MU_IN_SERVER, "Root of the documents"),
    MU_DIR_STR("ServerName", T, name, MU_IN_SERVER, "Name of the server"),
    MU_DIR_FLAG("KeepAlive", T, keep_alive, ALL, "Keep connections"),
    MU_DIR_DURATION("Timeout", T, timeout_ms, ALL, 0, 100000, "Time in seconds"),
    MU_DIR_INT("Number", T, number, ALL, -5, 10, "A small number"),
    MU_DIR_ENUM("Level", T, level, ALL, levels, "How much"),
    MU_DIR_LIST("List", T, list, ALL, "Some words"),
    MU_DIR_CUSTOM("Pair", T, pair, ALL, 1, 2, set_pair, "One word or two"),
    MU_DIR_RAW("Raw", ALL, set_raw, "The rest of the line"),
    MU_DIR_CUSTOM("CmdInfo", T, methods, ALL, 0, 0, set_info, "Nothing"),
    MU_DIR_CALL("Add", ALL, 1, 1, add_sum, "A number to add"),
    MU_DIR_CALL("ThreeWords", ALL, 3, 3, set_info, "Three words"),
    MU_DIR_CALL("TwoOrMore", ALL, 2, -1, set_info, "Two words or more"),
    MU_DIR_STR("OnlyGlobal", T, name, MU_IN_GLOBAL, "Global"),
    MU_DIR_STR("OnlyVhost", T, name, MU_IN_VHOST, "Of a virtual host"),
    MU_DIR_STR("OnlyDir", T, name, MU_IN_DIR | MU_OVR_INDEXES | MU_OVR_LIMIT, "Of a directory"),
    MU_DIR_IGNORED("Ignored", ALL, "there is no need for it"),
    MU_DIR_REFUSED("Refused", ALL, "use Pair instead"),
    MU_DIR_CALL("<Group", MU_IN_DIR, 1, 1, add_sum, "A section of a module"),
    MU_DIR_CALL("</Group", MU_IN_DIR, 0, -1, set_info, "Its end"),
    MU_DIR_END
};
#undef T

static void core_init(void *conf)
{
    struct core_conf *c = conf;

    c->keep_alive = true;
    c->timeout_ms = 60000;
    c->number = 7;
}

static enum mu_rc core_merge(struct mu_arena *a, const void *base, const void *over, void *out)
{
    (void)a;
    ((struct core_conf *)out)->merges = ((const struct core_conf *)base)->merges + 1;
    ((struct core_conf *)out)->sum =
        ((const struct core_conf *)base)->sum + ((const struct core_conf *)over)->sum;
    return MU_OK;
}

static enum mu_rc core_check(struct mu_config *c, struct mu_arena *a)
{
    const struct core_conf *main_conf = mu_vhost_conf(mu_config_vhost(c, 0), &test_core);

    (void)a;
    if (mu_str_eq(main_conf->name, MU_S("warn")))
        mu_config_warn(c, "the name is %s", "warn");
    if (mu_str_eq(main_conf->name, MU_S("refuse")))
        return mu_config_error(c, "the name is %s", "refuse");
    return mu_str_eq(main_conf->name, MU_S("silent")) ? MU_BAD : MU_OK;
}

struct mu_module test_core = { .abi = MU_MODULE_ABI,
                               .name = "core",
                               .conf_size = sizeof(struct core_conf),
                               .directives = core_directives,
                               .init = core_init,
                               .merge = core_merge,
                               .check = core_check };

static const struct mu_directive dir_directives[] = {
    MU_DIR_LIST("DirectoryIndex", struct small_conf, index, ALL, "Names of index files"),
    MU_DIR_FLAG("DirectorySlash", struct small_conf, on, ALL, "Add a slash"), MU_DIR_END
};
struct mu_module test_dir = { .abi = MU_MODULE_ABI,
                              .name = "dir",
                              .conf_size = sizeof(struct small_conf),
                              .directives = dir_directives };

static const struct mu_directive alias_directives[] = {
    MU_DIR_LIST("Alias", struct small_conf, index, ALL, "Two words"), MU_DIR_END
};
struct mu_module test_alias = { .abi = MU_MODULE_ABI,
                                .name = "alias",
                                .conf_size = sizeof(struct small_conf),
                                .directives = alias_directives };

static const struct mu_directive log_directives[] = {
    MU_DIR_LIST("CustomLog", struct small_conf, index, MU_IN_SERVER, "A log"), MU_DIR_END
};
struct mu_module test_log_config = { .abi = MU_MODULE_ABI,
                                     .name = "log_config",
                                     .conf_size = sizeof(struct small_conf),
                                     .directives = log_directives };

struct mpm_conf {
    int64_t servers;
};
static const struct mu_directive event_directives[] = {
    MU_DIR_INT("StartServers", struct mpm_conf, servers, MU_IN_GLOBAL, 1, 100,
               "Processes at first"),
    MU_DIR_INT("ThreadsPerChild", struct mpm_conf, servers, MU_IN_GLOBAL, 1, 100, "Threads"),
    MU_DIR_END
};
struct mu_module test_mpm_event = { .abi = MU_MODULE_ABI,
                                    .name = "mpm_event",
                                    .conf_size = sizeof(struct mpm_conf),
                                    .directives = event_directives };

static const struct mu_directive prefork_directives[] = {
    MU_DIR_INT("StartServers", struct mpm_conf, servers, MU_IN_GLOBAL, 1, 100,
               "Processes at first"),
    MU_DIR_INT("MinSpareServers", struct mpm_conf, servers, MU_IN_GLOBAL, 1, 100, "Idle ones"),
    MU_DIR_END
};
struct mu_module test_mpm_prefork = { .abi = MU_MODULE_ABI,
                                      .name = "mpm_prefork",
                                      .conf_size = sizeof(struct mpm_conf),
                                      .directives = prefork_directives };

struct mu_module *const test_builtin[] = { &test_core,  &test_log_config, &test_dir,
                                           &test_alias, &test_mpm_event,  &test_mpm_prefork,
                                           NULL };

static void gather(void *arg, bool is_error, const char *text)
{
    mu_buf_addf(arg, "%s%s\n", is_error ? "" : "[w] ", text);
}

struct loaded_conf conf_load_with(const char *text, const struct memfile *more,
                                  struct mu_config_opts opts)
{
    struct memfile files[32] = { { "/s/conf/httpd.conf", mu_str_c(text) },
                                 { "/s/there", MU_S("") } };
    struct mu_conf_fs fs = memfs_of(files);
    struct loaded_conf l = { 0 };

    for (size_t n = 2; more && more->path; more++) {
        assert_true(n + 1 < MU_ARRAY_LEN(files));
        files[n++] = *more;
    }
    if (!opts.server_root)
        opts.server_root = "/s";
    if (!opts.builtin)
        opts.builtin = test_builtin;
    opts.report = gather;
    opts.report_arg = &l.messages;
    l.rc = mu_config_load_fs(&opts, &fs, &l.c);
    mu_buf_addc(&l.messages, '\0');
    if (!l.messages.is_failed)
        l.messages.n--;
    return l;
}

struct loaded_conf conf_load(const char *text, const struct memfile *more)
{
    return conf_load_with(text, more, (struct mu_config_opts){ 0 });
}

void conf_free(struct loaded_conf *l)
{
    mu_config_destroy(l->c);
    mu_buf_fini(&l->messages);
}

struct mu_config *conf_ok(int line, struct loaded_conf *l)
{
    if (l->rc != MU_OK || !l->c || l->messages.n) {
        print_error("row at line %d: refused or warned: %s\n", line, l->messages.p);
        fail();
    }
    return l->c;
}

static void show_nodes(const struct mu_node *n, struct mu_buf *out, bool has_lines)
{
    for (; n; n = n->next) {
        if (has_lines)
            mu_buf_addf(out, "%u:", n->line);
        mu_buf_addf(out, "%.*s", MU_FMT(n->name));
        mu_buf_addf(out, n->args.n ? " %.*s" : "%.*s", MU_FMT(n->args));
        if (mu_node_is_section(n)) {
            mu_buf_addc(out, '{');
            show_nodes(n->first, out, has_lines);
            mu_buf_addc(out, '}');
        } else {
            mu_buf_addc(out, ';');
        }
    }
}

void conf_show(const struct mu_config *c, struct mu_buf *out, bool has_lines)
{
    show_nodes(c->tree->first, out, has_lines);
}

const struct core_conf *core_of(const struct mu_dirconf *d)
{
    assert_non_null(d);
    return d->v[test_core.index];
}
