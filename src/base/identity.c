/*
 * identity: from root to User and Group, once and for good. The supervisor resolves the names, a
 * child takes the numbers on. The order is fixed by what each step still needs: capabilities
 * leave the bounding set while CAP_SETPCAP is there, groups change before the uid, and in the end
 * it is tried whether root can be had back, because a server that believes it dropped root is
 * worse than one that stops.
 */
#include "base/proc.h"

#include <muster/str.h>

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool numeric(struct mu_str name, uint64_t *v)
{
    return name.n > 1 && name.p[0] == '#' && mu_str_u64(mu_str_sub(name, 1, name.n), v) &&
           *v < UINT32_MAX; /* -1 means "leave it" to setresuid */
}

static const struct passwd *find_user(struct mu_arena *a, struct mu_str user, uid_t *uid)
{
    const struct passwd *pw;
    const char *name;
    uint64_t v;

    if (numeric(user, &v)) {
        *uid = (uid_t)v;
        return getpwuid(*uid);
    }
    name = mu_cstr(a, user);
    pw = name ? getpwnam(name) : NULL;
    *uid = pw ? pw->pw_uid : (uid_t)-1;
    return pw;
}

static bool find_group(struct mu_arena *a, struct mu_str group, gid_t *gid)
{
    const char *name;
    const struct group *gr;
    uint64_t v;

    if (numeric(group, &v)) {
        *gid = (gid_t)v;
        return true;
    }
    name = mu_cstr(a, group);
    gr = name ? getgrnam(name) : NULL;
    if (gr)
        *gid = gr->gr_gid;
    return gr != NULL;
}

static enum mu_rc list_groups(struct mu_arena *a, const char *name, struct mu_identity *id)
{
    int n = 64;
    gid_t *list = mu_new_n(a, gid_t, (size_t)n);

    if (!list)
        return MU_NOMEM;
    if (!name) { /* a number without an account */
        list[0] = id->gid;
        n = 1;
    } else if (getgrouplist(name, id->gid, list, &n) < 0) {
        list = mu_new_n(a, gid_t, (size_t)n);
        if (!list)
            return MU_NOMEM;
        if (getgrouplist(name, id->gid, list, &n) < 0)
            return MU_NOMEM;
    }
    id->groups = list;
    id->n_groups = (size_t)n;
    return MU_OK;
}

enum mu_rc mu_identity_resolve(struct mu_arena *a, struct mu_str user, struct mu_str group,
                               struct mu_identity *id, struct mu_str *err)
{
    const struct passwd *pw = find_user(a, user, &id->uid);
    const char *name = pw ? mu_cstr(a, mu_str_c(pw->pw_name)) : NULL;

    id->user = mu_cstr(a, user);
    id->home = pw && pw->pw_dir && *pw->pw_dir ? mu_cstr(a, mu_str_c(pw->pw_dir)) : "/";
    id->gid = pw ? pw->pw_gid : (gid_t)-1;
    if (!id->user || !id->home || (pw && !name))
        return MU_NOMEM;
    if (id->uid == (uid_t)-1) {
        *err = mu_fmt(a, "there is no user \"%.*s\" (a number is written \"#1000\")", MU_FMT(user));
        return MU_NOENT;
    }
    if (group.n && !find_group(a, group, &id->gid)) {
        *err =
            mu_fmt(a, "there is no group \"%.*s\" (a number is written \"#1000\")", MU_FMT(group));
        return MU_NOENT;
    }
    if (id->gid == (gid_t)-1) {
        *err = mu_fmt(a, "user \"%.*s\" has no account: a Group must be given", MU_FMT(user));
        return MU_NOENT;
    }
    return list_groups(a, name, id);
}

/*
 * All five capability sets. The bounding set needs CAP_SETPCAP, so root calls this before setuid.
 */
static bool empty_bounding_set(void)
{
    for (unsigned long cap = 0; cap < 64; cap++) {
        if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) < 0)
            break; /* the first number the kernel does not know */
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0))
            return false;
    }
    return true;
}

bool mu_capabilities_drop(void)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[2] = { { 0 }, { 0 } };

    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) && errno != EINVAL)
        return false;
    return syscall(SYS_capset, &head, data) == 0;
}

static enum mu_rc refuse(char *err, size_t cap, const struct mu_identity *id, const char *what)
{
    snprintf(err, cap, "cannot become user \"%s\" (uid %lu, gid %lu): %s: %s", id->user,
             (unsigned long)id->uid, (unsigned long)id->gid, what, strerror(errno));
    return MU_DENIED;
}

static bool is_regainable(const struct mu_identity *id)
{
    uid_t r, e, s;
    gid_t rg, eg, sg;

    if (getresuid(&r, &e, &s) || getresgid(&rg, &eg, &sg))
        return true;
    if (r != id->uid || e != id->uid || s != id->uid)
        return true;
    if (rg != id->gid || eg != id->gid || sg != id->gid)
        return true;
    return id->uid != 0 && (setuid(0) == 0 || seteuid(0) == 0);
}

enum mu_rc mu_identity_become(const struct mu_identity *id, char *err, size_t err_cap)
{
    if (geteuid() == 0) {
        if (setgroups(id->n_groups, id->groups))
            return refuse(err, err_cap, id, "setgroups");
        if (setresgid(id->gid, id->gid, id->gid))
            return refuse(err, err_cap, id, "setresgid");
        if (setresuid(id->uid, id->uid, id->uid))
            return refuse(err, err_cap, id, "setresuid");
    }
    if (id->uid != 0 && !mu_capabilities_drop())
        return refuse(err, err_cap, id, "dropping capabilities");
    errno = EPERM;
    if (is_regainable(id))
        return refuse(err, err_cap, id, "the change did not take, or root can be had back");
    return MU_OK;
}

enum mu_rc mu_identity_assume(const struct mu_identity *id, char *err, size_t err_cap)
{
    if (geteuid() == 0 && id->uid != 0 && !empty_bounding_set())
        return refuse(err, err_cap, id, "dropping the capability bounding set");
    return mu_identity_become(id, err, err_cap);
}

bool mu_allow_core_dumps(void)
{
    return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0;
}
