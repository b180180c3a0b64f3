/*
 * print: `muster -L`, every directive from its table in the form httpd has for it: name and file,
 * what it does, where it may stand.
 */
#include <muster/str.h>

#include <stdio.h>

#include "conf/priv.h"

static const struct {
    unsigned bit;
    const char *name;
} classes[] = {
    { MU_OVR_AUTHCFG, "AuthConfig" }, { MU_OVR_OPTIONS, "Options" },
    { MU_OVR_FILEINFO, "FileInfo" },  { MU_OVR_INDEXES, "Indexes" },
    { MU_OVR_LIMIT, "Limit" },
};

static void print_overrides(unsigned where)
{
    const char *sep = "\twhen AllowOverride includes ";

    if ((where & MU_OVR_ALL) == MU_OVR_ALL) {
        puts("\twhen AllowOverride isn't None");
        return;
    }
    for (size_t i = 0; i < MU_ARRAY_LEN(classes); i++) {
        if (!(where & classes[i].bit))
            continue;
        printf("%s%s", sep, classes[i].name);
        sep = " or ";
    }
    putchar('\n');
}

static void print_contexts(unsigned where)
{
    const char *place;

    if ((where & MU_IN_DIR) && (where & MU_IN_SERVER))
        place = "anywhere";
    else if (where & MU_IN_DIR)
        place = "only inside <Directory>, <Files>, <Location>, or <If>";
    else
        place = "only outside <Directory>, <Files>, <Location>, or <If>";
    if (where & MU_OVR_ALL) {
        printf("\tAllowed in *.conf %s and in .htaccess\n", place);
        print_overrides(where);
    } else {
        printf("\tAllowed in *.conf %s\n", place);
    }
}

static void print_name(const struct mu_directive *d, const char *file)
{
    printf("%s (%s)\n\t%s%s\n", d->name, file, d->help ? d->help : "",
           d->kind == MU_K_IGNORED ? " [accepted without effect]" : "");
}

/* The directives of a section that has its own. */
static void print_inner(const struct mu_directive *section, const char *file)
{
    for (const struct mu_directive *d = section->inner; d && d->name; d++) {
        print_name(d, file);
        printf("\tAllowed in *.conf only inside %s>\n", section->name);
    }
}

static void print_table(const struct mu_directive *d, const char *file)
{
    for (; d && d->name; d++) {
        if (d->kind == MU_K_REFUSED || (d->name[0] == '<' && d->name[1] == '/'))
            continue;
        print_name(d, file);
        print_contexts(d->where);
        print_inner(d, file);
    }
}

void mu_config_print_directives(struct mu_module *const *modules, size_t n)
{
    char file[256];

    print_table(mu_conf_directives, "core.c");
    for (size_t i = 0; i < n; i++) {
        struct mu_str name = mu_str_c(modules[i]->name);

        if (mu_str_eq(name, MU_S("core")))
            snprintf(file, sizeof(file), "core.c");
        else if (mu_str_eq(name, MU_S("http")))
            snprintf(file, sizeof(file), "http_core.c");
        else if (mu_module_is_mpm(name))
            snprintf(file, sizeof(file), "%s.c", name.p + 4);
        else
            snprintf(file, sizeof(file), "mod_%s.c", name.p);
        print_table(modules[i]->directives, file);
    }
}
