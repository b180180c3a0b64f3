/*
 * test_merge: typed fields and their merge, from defaults over the servers to sections; that a
 * merge is made once; and that many threads asking at once get the same answer.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "conf_test.h"

static void test_kinds(void **state)
{
    struct loaded_conf l =
        conf_load("ServerName n\nDocumentRoot www/./x\nKeepAlive OFF\nTimeout 3\nNumber -5\n"
                  "Level HIGH\nList a b\nList c\nPair x y\nRaw  as \"it\" is # x \n",
                  NULL);
    const struct core_conf *c = core_of(conf_ok(__LINE__, &l)->main->base);

    (void)state;
    check_str(__LINE__, c->name, MU_S("n"));
    check_str(__LINE__, c->root, MU_S("/s/www/x"));
    assert_false(c->keep_alive);
    assert_int_equal(c->timeout_ms, 3000);
    assert_int_equal(c->number, -5);
    assert_int_equal(c->level, 2);
    assert_int_equal(c->list.n, 3);
    check_str(__LINE__, c->list.v[2], MU_S("c"));
    check_str(__LINE__, c->pair[0], MU_S("x"));
    check_str(__LINE__, c->pair[1], MU_S("y"));
    conf_free(&l);
}

static void test_raw(void **state)
{
    struct loaded_conf l = conf_load("Raw  as \"it\" is # x \n", NULL);
    struct mu_config *c = conf_ok(__LINE__, &l);

    (void)state;
    /* RAW has no field of its own here: it stands in the block as written, and the module's merge
     * leaves it out */
    check_str(__LINE__, ((const struct core_conf *)c->main->conf[test_core.index])->raw,
              MU_S("as \"it\" is # x"));
    conf_free(&l);
}

static void test_durations(void **state)
{
    static const struct {
        int row;
        const char *text;
        int64_t want; /* -1: none */
    } rows[] = {
        { __LINE__, "0", 0 },        { __LINE__, "5", 5000 },
        { __LINE__, "5s", 5000 },    { __LINE__, "250ms", 250 },
        { __LINE__, "2mi", 120000 }, { __LINE__, "2min", 120000 },
        { __LINE__, "1H", 3600000 }, { __LINE__, "", -1 },
        { __LINE__, "s", -1 },       { __LINE__, "1m", -1 },
        { __LINE__, "1 s", -1 },     { __LINE__, "-1", -1 },
        { __LINE__, "1.5", -1 },     { __LINE__, "9223372036854775807", -1 },
    };
    int64_t ms;

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        bool is_one = mu_parse_duration_ms(mu_str_c(rows[i].text), 1000, &ms);

        check_int(rows[i].row, is_one ? ms : -1, rows[i].want);
    }
    assert_true(mu_parse_duration_ms(MU_S("7"), 1, &ms));
    assert_int_equal(ms, 7);
}

static void test_servers(void **state)
{
    struct loaded_conf l =
        conf_load("Timeout 1\nList a b\nNumber 3\nAdd 1\n"
                  "<VirtualHost *>\nList c\nAdd 10\nKeepAlive off\n</VirtualHost>\n"
                  "<VirtualHost *>\n</VirtualHost>\nNumber 4\nDirectoryIndex i\n",
                  NULL);
    struct mu_config *c = conf_ok(__LINE__, &l);
    const struct core_conf *m = core_of(c->main->base);
    const struct core_conf *v = core_of(c->vhosts[1]->base);
    const struct core_conf *w = mu_vhost_conf(c->vhosts[2], &test_core);

    (void)state;
    assert_int_equal(m->timeout_ms, 1000);
    assert_true(m->keep_alive); /* a default */
    assert_int_equal(m->number,
                     4); /* what is said behind the <VirtualHost> counts for it as well */
    assert_int_equal(v->number, 4);
    assert_int_equal(v->timeout_ms, 1000);
    assert_false(v->keep_alive);
    assert_int_equal(v->list.n, 1); /* a list replaces */
    check_str(__LINE__, v->list.v[0], MU_S("c"));
    assert_int_equal(m->sum, 1);
    assert_int_equal(v->sum, 11); /* the module's own merge */
    assert_int_equal(w->sum, 1);
    assert_int_equal(w->list.n, 2);
    assert_int_equal(v->merges, 2);
    assert_int_equal(w->merges, 1); /* nothing was said: nothing is merged */
    assert_ptr_equal(c->vhosts[1]->base->v[test_dir.index], c->main->base->v[test_dir.index]);
    conf_free(&l);
}

static void test_sections(void **state)
{
    struct loaded_conf l =
        conf_load("List base\n<Directory /a>\nTimeout 1\nAdd 1\n</Directory>\n"
                  "<Directory /a/b>\nTimeout 2\nList x\n</Directory>\n"
                  "<Directory /a/b/c>\n</Directory>\n<Directory /a/b/d>\nDirectoryIndex i\n"
                  "</Directory>\n",
                  NULL);
    struct mu_config *c = conf_ok(__LINE__, &l);
    const struct mu_dirconf *base = c->main->base;
    const struct mu_dirconf *a = mu_dirconf_merge(base, c->main->dirs[0]);
    const struct mu_dirconf *ab = mu_dirconf_merge(a, c->main->dirs[1]);
    const struct mu_dirconf *b = mu_dirconf_merge(base, c->main->dirs[1]);
    const struct mu_dirconf *abd = mu_dirconf_merge(ab, c->main->dirs[3]);

    (void)state;
    assert_int_equal(core_of(a)->timeout_ms, 1000);
    check_str(__LINE__, core_of(a)->list.v[0], MU_S("base"));
    assert_int_equal(core_of(ab)->timeout_ms, 2000);
    assert_int_equal(core_of(ab)->sum, 1);
    check_str(__LINE__, core_of(ab)->list.v[0], MU_S("x"));
    assert_int_equal(core_of(b)->sum, 0);
    assert_ptr_equal(mu_dirconf_merge(base, c->main->dirs[0]), a); /* once */
    assert_ptr_equal(mu_dirconf_merge(a, c->main->dirs[1]), ab);
    assert_ptr_not_equal(ab, b);
    assert_ptr_equal(mu_dirconf_merge(ab, c->main->dirs[2]), ab); /* says nothing */
    assert_ptr_equal(abd->v[test_core.index], ab->v[test_core.index]);
    assert_ptr_not_equal(abd->v[test_dir.index], ab->v[test_dir.index]);
    conf_free(&l);
}

static struct mu_config *many_sections(struct loaded_conf *l, int n)
{
    struct mu_buf text = { 0 };

    for (int i = 0; i < n; i++)
        mu_buf_addf(&text, "<Directory /d%d>\nTimeout %d\n</Directory>\n", i, i % 100);
    mu_buf_addc(&text, '\0');
    *l = conf_load(text.p, NULL);
    mu_buf_fini(&text);
    return conf_ok(__LINE__, l);
}

static void test_many_children(void **state)
{
    struct loaded_conf l;
    struct mu_config *c = many_sections(&l, 1000);
    const struct mu_dirconf *made[1000];

    (void)state;
    for (size_t i = 0; i < 1000; i++)
        made[i] = mu_dirconf_merge(c->main->base, c->main->dirs[i]);
    for (size_t i = 0; i < 1000; i++) {
        assert_ptr_equal(mu_dirconf_merge(c->main->base, c->main->dirs[i]), made[i]);
        assert_int_equal(core_of(made[i])->timeout_ms, (i % 100) * 1000);
    }
    conf_free(&l);
}

enum { THREADS = 4, SECTIONS = 200 };
static struct {
    struct mu_config *c;
    atomic_int ready;
    const struct mu_dirconf *got[THREADS][SECTIONS];
} shared;

static void *ask(void *arg)
{
    size_t me = (size_t)(uintptr_t)arg;

    atomic_fetch_add(&shared.ready, 1);
    while (atomic_load(&shared.ready) < THREADS)
        ;
    for (size_t i = 0; i < SECTIONS; i++) {
        size_t k = (i * 7 + me * 50) % SECTIONS;
        const struct mu_dirconf *d =
            mu_dirconf_merge(shared.c->main->base, shared.c->main->dirs[k]);

        shared.got[me][k] = mu_dirconf_merge(d, shared.c->main->dirs[(k + 1) % SECTIONS]);
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct loaded_conf l;
    pthread_t t[THREADS];

    (void)state;
    shared.c = many_sections(&l, SECTIONS);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, ask, (void *)(uintptr_t)i), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    for (size_t k = 0; k < SECTIONS; k++) {
        assert_int_equal(core_of(shared.got[0][k])->timeout_ms, (k + 1) % SECTIONS % 100 * 1000);
        for (size_t i = 1; i < THREADS; i++)
            assert_ptr_equal(shared.got[i][k], shared.got[0][k]);
    }
    conf_free(&l);
}

static int derivations;

static const void *derive(const struct mu_dirconf *d, struct mu_arena *a)
{
    int *made = mu_new(a, int);

    assert_non_null(made);
    derivations++;
    *made = (int)core_of(d)->number * 2;
    return made;
}

static void test_derived(void **state)
{
    struct loaded_conf l;
    struct mu_config *c;
    const struct mu_dirconf *d;

    (void)state;
    mu_dirconf_on_merge(derive);
    l = conf_load(
        "Number 2\n<Directory /a>\nNumber 3\n</Directory>\n<Directory /b>\n</Directory>\n", NULL);
    c = conf_ok(__LINE__, &l);
    assert_int_equal(derivations, 1);
    assert_int_equal(*(const int *)mu_dirconf_derived(c->main->base), 4);
    d = mu_dirconf_merge(c->main->base, c->main->dirs[0]);
    assert_int_equal(*(const int *)mu_dirconf_derived(d), 6);
    assert_ptr_equal(mu_dirconf_merge(c->main->base, c->main->dirs[0]), d);
    assert_ptr_equal(mu_dirconf_merge(c->main->base, c->main->dirs[1]), c->main->base);
    assert_int_equal(derivations, 2);
    mu_dirconf_on_merge(NULL);
    conf_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),     cmocka_unit_test(test_raw),
        cmocka_unit_test(test_durations), cmocka_unit_test(test_servers),
        cmocka_unit_test(test_sections),  cmocka_unit_test(test_many_children),
        cmocka_unit_test(test_threads),   cmocka_unit_test(test_derived),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
