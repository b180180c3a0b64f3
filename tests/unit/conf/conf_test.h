/*
 * What the conf room's tests share: a few modules with directives of every kind, loading from
 * memory, and the messages of a load as one string.
 */
#ifndef CONF_TEST_H
#define CONF_TEST_H

#include "../base/unit.h"
#include "memfs.h"

/** The conf of the test module "core". */
struct core_conf {
    struct mu_str root, name;
    bool keep_alive;
    int64_t timeout_ms, number;
    int level;
    struct mu_strs list;
    struct mu_str pair[2];
    struct mu_str raw;
    uint32_t methods;
    int merges;
    int sum;
};

struct small_conf {
    struct mu_strs index;
    bool on;
};

extern struct mu_module test_core, test_dir, test_alias, test_log_config, test_mpm_event,
    test_mpm_prefork;
/** core, log_config, dir, alias, mpm_event, mpm_prefork. */
extern struct mu_module *const test_builtin[];
/** The mu_cmd of the last CmdInfo directive. */
extern struct mu_cmd test_last_cmd;

struct loaded_conf {
    struct mu_config *c;    /**< NULL: refused */
    struct mu_buf messages; /**< each with a newline behind it */
    enum mu_rc rc;
};

/**
 * Load `text` as /s/conf/httpd.conf below ServerRoot /s, with other files (a list that ends with a
 * NULL path, or NULL).
 */
struct loaded_conf conf_load(const char *text, const struct memfile *more);
/** The same with options: members that are not set are filled in. */
struct loaded_conf conf_load_with(const char *text, const struct memfile *more,
                                  struct mu_config_opts opts);
void conf_free(struct loaded_conf *l);
/** Loaded without a message; fails the test otherwise. */
struct mu_config *conf_ok(int line, struct loaded_conf *l);
/**
 * The tree on one line: "A 1;<S x{B 2;}" with the number of each line in front when `has_lines`.
 */
void conf_show(const struct mu_config *c, struct mu_buf *out, bool has_lines);
const struct core_conf *core_of(const struct mu_dirconf *d);

#endif
