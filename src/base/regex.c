/*
 * regex: PCRE2 with JIT. Each thread has one match context, one block of match data and one JIT
 * stack, made at its first match and freed when it ends; a match never suspends, so the fibers of
 * a thread share them. Nothing recurses on the machine stack, which is small in a fiber: the JIT
 * has a stack of its own and the interpreter uses the heap. Match, depth and heap limits turn a
 * catastrophic pattern into MU_LIMIT.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <muster/regex.h>
#include <muster/str.h>

#include <pcre2.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/fault.h"

enum {
    JIT_STACK_MIN = 32 * 1024,
    JIT_STACK_MAX = 256 * 1024,
    MATCH_LIMIT = 1000000,
    DEPTH_LIMIT = 250000,
    HEAP_LIMIT_KIB = 32 * 1024,
};

struct mu_regex {
    pcre2_code *code;
    bool has_jit;
    uint32_t n_names;
    uint32_t name_size; /* of a row of the name table */
    PCRE2_SPTR name_table;
};

/* What a thread needs to match. */
struct tools {
    pcre2_match_context *context;
    pcre2_match_data *data;
    pcre2_jit_stack *jit_stack;
};

static __thread struct tools *tools;
static pthread_key_t tools_key;
static pthread_once_t tools_once = PTHREAD_ONCE_INIT;
static unsigned default_flags = MU_REGEX_DOTALL | MU_REGEX_DOLLAR_ENDONLY;

void mu_regex_set_defaults(unsigned flags)
{
    default_flags = flags;
}

unsigned mu_regex_defaults(void)
{
    return default_flags;
}

static void tools_destroy(void *arg)
{
    struct tools *t = arg;

    tools = NULL;
    pcre2_match_data_free(t->data);
    pcre2_match_context_free(t->context);
    pcre2_jit_stack_free(t->jit_stack);
    free(t);
}

/* The thread that calls exit() runs no key destructors. */
__attribute__((destructor)) static void tools_exit(void)
{
    if (tools)
        tools_destroy(tools);
}

static void make_key(void)
{
    pthread_key_create(&tools_key, tools_destroy);
}

static struct tools *tools_create(void)
{
    struct tools *t = mu_alloc_fails() ? NULL : calloc(1, sizeof(*t));

    if (!t)
        return NULL;
    pthread_once(&tools_once, make_key);
    t->context = pcre2_match_context_create(NULL);
    t->data = pcre2_match_data_create(MU_REGEX_GROUPS, NULL);
    t->jit_stack = pcre2_jit_stack_create(JIT_STACK_MIN, JIT_STACK_MAX, NULL);
    if (!t->context || !t->data || pthread_setspecific(tools_key, t)) {
        tools_destroy(t);
        return NULL;
    }
    pcre2_set_match_limit(t->context, MATCH_LIMIT);
    pcre2_set_depth_limit(t->context, DEPTH_LIMIT);
    pcre2_set_heap_limit(t->context, HEAP_LIMIT_KIB);
    if (t->jit_stack)
        pcre2_jit_stack_assign(t->context, NULL, t->jit_stack);
    tools = t;
    return t;
}

static void free_code(void *arg)
{
    pcre2_code_free(arg);
}

static uint32_t pcre2_options(unsigned flags)
{
    uint32_t options = PCRE2_DUPNAMES;

    if (!(flags & MU_REGEX_NO_DEFAULT))
        flags |= default_flags;
    if (flags & MU_REGEX_ICASE)
        options |= PCRE2_CASELESS;
    if (flags & MU_REGEX_DOLLAR_ENDONLY)
        options |= PCRE2_DOLLAR_ENDONLY;
    if (flags & MU_REGEX_DOTALL)
        options |= PCRE2_DOTALL;
    if (flags & MU_REGEX_EXTENDED)
        options |= PCRE2_EXTENDED;
    return options;
}

struct mu_regex *mu_regex_compile(struct mu_arena *a, struct mu_str pattern, unsigned flags,
                                  struct mu_str *err)
{
    struct mu_regex *re = mu_new(a, struct mu_regex);
    PCRE2_UCHAR message[160];
    PCRE2_SIZE at;
    int code;

    if (!re) {
        *err = MU_S("out of memory");
        return NULL;
    }
    re->code = pcre2_compile((PCRE2_SPTR)(pattern.p ? pattern.p : ""), pattern.n,
                             pcre2_options(flags), &code, &at, NULL);
    if (!re->code) {
        pcre2_get_error_message(code, message, sizeof(message));
        *err = mu_fmt(a, "%s at offset %zu", (const char *)message, (size_t)at);
        return NULL;
    }
    if (mu_defer(a, free_code, re->code) != MU_OK) {
        pcre2_code_free(re->code);
        *err = MU_S("out of memory");
        return NULL;
    }
    re->has_jit = pcre2_jit_compile(re->code, PCRE2_JIT_COMPLETE) == 0;
    pcre2_pattern_info(re->code, PCRE2_INFO_NAMECOUNT, &re->n_names);
    pcre2_pattern_info(re->code, PCRE2_INFO_NAMEENTRYSIZE, &re->name_size);
    pcre2_pattern_info(re->code, PCRE2_INFO_NAMETABLE, &re->name_table);
    return re;
}

static enum mu_rc failure(int rc)
{
    switch (rc) {
    case PCRE2_ERROR_NOMATCH:
        return MU_NOENT;
    case PCRE2_ERROR_NOMEMORY:
        return MU_NOMEM;
    default: /* a limit: nothing else happens without UTF, partial matches and callouts */
        return MU_LIMIT;
    }
}

/*
 * `count` is pcre2_match's result: groups that took part plus one, or 0 when there were more than
 * fit.
 */
static void captures(const pcre2_match_data *data, int count, struct mu_match *m)
{
    const PCRE2_SIZE *v = pcre2_get_ovector_pointer((pcre2_match_data *)data);

    m->n = count ? count : MU_REGEX_GROUPS;
    for (int i = 0; i < MU_REGEX_GROUPS; i++) {
        bool is_set = i < m->n && v[2 * i] != PCRE2_UNSET;

        m->g[i].so = is_set ? (ssize_t)v[2 * i] : -1;
        m->g[i].eo = is_set ? (ssize_t)v[2 * i + 1] : -1;
    }
}

enum mu_rc mu_regex_match(const struct mu_regex *re, struct mu_str subject, struct mu_match *m)
{
    struct tools *t = tools ? tools : tools_create();
    PCRE2_SPTR p = (PCRE2_SPTR)(subject.p ? subject.p : "");
    uint32_t options = t && t->jit_stack ? 0 : PCRE2_NO_JIT;
    int rc;

    if (!t)
        return MU_NOMEM;
    rc = pcre2_match(re->code, p, subject.n, 0, options, t->data, t->context);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) /* a long subject: the interpreter has more room */
        rc = pcre2_match(re->code, p, subject.n, 0, PCRE2_NO_JIT, t->data, t->context);
    if (rc < 0)
        return failure(rc);
    if (m)
        captures(t->data, rc, m);
    return MU_OK;
}

bool mu_regex_name(const struct mu_regex *re, size_t i, struct mu_str *name, int *group)
{
    PCRE2_SPTR row;

    if (i >= re->n_names)
        return false;
    row = re->name_table + i * re->name_size; /* two bytes of group number, the name, NUL */
    *group = row[0] << 8 | row[1];
    *name = mu_str_c((const char *)row + 2);
    return true;
}

/*
 * The piece that starts at *i: a group, an escaped character, or the ordinary run up to the next
 * special one. Moves *i behind it.
 */
static struct mu_str next_piece(struct mu_str tmpl, size_t *i, struct mu_str subject,
                                const struct mu_match *m)
{
    char c = tmpl.p[*i];
    char next = *i + 1 < tmpl.n ? tmpl.p[*i + 1] : '\0';
    size_t from;

    if (c == '$' && next >= '0' && next <= '9') {
        int group = next - '0';

        *i += 2;
        if (group >= m->n || m->g[group].so < 0)
            return MU_STR_NULL;
        return mu_str_sub(subject, (size_t)m->g[group].so, (size_t)m->g[group].eo);
    }
    if (c == '\\' && *i + 1 < tmpl.n)
        ++*i;
    from = (*i)++;
    while (*i < tmpl.n && tmpl.p[*i] != '$' && tmpl.p[*i] != '\\')
        ++*i;
    return mu_str_sub(tmpl, from, *i);
}

struct mu_str mu_regex_subst(struct mu_arena *a, struct mu_str tmpl, struct mu_str subject,
                             const struct mu_match *m)
{
    size_t len = 0;
    char *p;
    char *w;

    for (size_t i = 0; i < tmpl.n;)
        len += next_piece(tmpl, &i, subject, m).n;
    p = w = mu_arena_alloc(a, len + 1);
    if (!p)
        return MU_STR_NULL;
    for (size_t i = 0; i < tmpl.n;) {
        struct mu_str piece = next_piece(tmpl, &i, subject, m);

        if (piece.n)
            memcpy(w, piece.p, piece.n);
        w += piece.n;
    }
    *w = '\0';
    return mu_str_n(p, len);
}
