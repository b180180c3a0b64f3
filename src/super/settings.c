/*
 * settings: the module unixd, on in every server: User and Group, and the directives that all MPMs
 * share (in httpd they are in each MPM's table). It is a table and its defaults; what it says is
 * carried out by the supervisor and the MPMs.
 */
#include "super/settings.h"

#include "super/child.h"
#include "super/super.h"

#include <muster/str.h>
#include <unistd.h>

#ifndef MU_PID_FILE
#define MU_PID_FILE "logs/muster.pid"
#endif

/* Mutex mechanisms of httpd; "none" and "no" take no lock. */
static bool is_mechanism(struct mu_str name)
{
    static const char *const names[] = { "default", "pthread", "sem",   "posixsem", "sysvsem",
                                         "flock",   "file",    "fcntl", "yes" };

    for (size_t i = 0; i < MU_ARRAY_LEN(names); i++) {
        if (mu_str_ieq(name, mu_str_c(names[i])))
            return true;
    }
    return false;
}

static bool is_none(struct mu_str name)
{
    return mu_str_ieq(name, MU_S("none")) || mu_str_ieq(name, MU_S("no"));
}

/*
 * Mutex mechanism[:path] [default|name] [OmitPID]: of httpd's mutexes Muster has only mpm-accept.
 * Debian's stock "Mutex file:${APACHE_LOCK_DIR} default" does not name it and keeps Muster's
 * default, which is none.
 */
static enum mu_rc set_mutex(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    struct mu_super_conf *c = conf;
    ssize_t colon = mu_str_chr(args[0], ':');
    struct mu_str mechanism = colon < 0 ? args[0] : mu_str_sub(args[0], 0, (size_t)colon);

    if (!is_mechanism(mechanism) && !is_none(mechanism))
        return mu_cmd_error(
            cmd,
            "Mutex \"%.*s\": there is no such mechanism; allowed are default, pthread, sem, flock, "
            "fcntl and none (each is Muster's own lock in shared memory)",
            MU_FMT(mechanism));
    for (size_t i = 1; i < n; i++) {
        if (mu_str_ieq(args[i], MU_S("mpm-accept")))
            c->has_accept_lock = !is_none(mechanism) && !mu_str_ieq(mechanism, MU_S("default"));
    }
    return MU_OK;
}

static const struct mu_directive directives[] = {
    MU_DIR_STR("User", struct mu_super_conf, user, MU_IN_GLOBAL,
               "User that children run as, by name or #uid"),
    MU_DIR_STR("Group", struct mu_super_conf, group, MU_IN_GLOBAL,
               "Group that children run as, by name or #gid"),
    MU_DIR_REFUSED(
        "ChrootDir", MU_IN_GLOBAL,
        "Running in a chroot is not supported; use RootDirectory= of the systemd unit instead"),
    MU_DIR_PATH("PidFile", struct mu_super_conf, pid_file, MU_IN_GLOBAL,
                "File that holds the pid of the running server"),
    MU_DIR_IGNORED("ScoreBoardFile", MU_IN_GLOBAL,
                   "Accepted without effect: the scoreboard is in anonymous shared memory"),
    MU_DIR_PATH("CoreDumpDirectory", struct mu_super_conf, core_dump_dir, MU_IN_GLOBAL,
                "Directory children change to, where a core dump would go"),
    MU_DIR_INT("ListenBacklog", struct mu_super_conf, listen_backlog, MU_IN_GLOBAL, 1, INT32_MAX,
               "Connections that may wait to be accepted"),
    MU_DIR_INT("ListenCoresBucketsRatio", struct mu_super_conf, buckets_ratio, MU_IN_GLOBAL, 0,
               INT32_MAX,
               "Cores for each bucket of listening sockets (SO_REUSEPORT); 0: one bucket"),
    MU_DIR_INT("SendBufferSize", struct mu_super_conf, send_buffer, MU_IN_GLOBAL, 0, INT32_MAX,
               "Bytes of the kernel's send buffer of a connection; 0: its default"),
    MU_DIR_INT("ReceiveBufferSize", struct mu_super_conf, receive_buffer, MU_IN_GLOBAL, 0,
               INT32_MAX, "Bytes of the kernel's receive buffer of a connection; 0: its default"),
    MU_DIR_DURATION("GracefulShutdownTimeout", struct mu_super_conf, graceful_timeout_ms,
                    MU_IN_GLOBAL, 0, INT64_C(1000) * INT32_MAX,
                    "Time a graceful stop may take before it becomes a stop at once; 0: for ever"),
    MU_DIR_IGNORED("MaxMemFree", MU_IN_GLOBAL,
                   "Accepted without effect: a request's memory goes back to the C library"),
    MU_DIR_INT("ThreadStackSize", struct mu_super_conf, thread_stack_size, MU_IN_GLOBAL, 0,
               INT64_C(1) << 32,
               "Bytes of stack of threads that run blocking work; 0: the system's default"),
    { .name = "Mutex",
      .kind = MU_K_CUSTOM,
      .where = MU_IN_GLOBAL,
      .min_args = 1,
      .max_args = -1,
      MU_DIR_FIELD_(struct mu_super_conf, has_accept_lock),
      .set = set_mutex,
      .help = "Mechanism and name of a lock; mpm-accept is the one there is" },
    MU_DIR_IGNORED("EnableExceptionHook", MU_IN_GLOBAL,
                   "Accepted without effect: there is no exception hook"),
    MU_DIR_END
};

static void init(void *conf)
{
    struct mu_super_conf *c = conf;

    c->listen_backlog = 511;
}

MU_MODULE(unixd, .conf_size = sizeof(struct mu_super_conf), .directives = directives, .init = init);

const struct mu_super_conf *mu_super_conf_of(const struct mu_config *config)
{
    return mu_vhost_conf(config->main, &mu_module_unixd);
}

struct mu_mpm_common mu_mpm_common_of(const struct mu_config *config)
{
    const struct mu_super_conf *c = mu_super_conf_of(config);

    return (struct mu_mpm_common){
        .thread_stack_size = (size_t)c->thread_stack_size,
    };
}

const struct mu_mpm *mu_config_mpm(const struct mu_config *config)
{
    return config->mpm ? config->mpm->mpm : NULL;
}

const char *mu_super_pid_path(const struct mu_config *config)
{
    const struct mu_super_conf *c = mu_super_conf_of(config);

    if (c->pid_file.n)
        return mu_cstr(config->arena, c->pid_file);
    return mu_str_cat(config->arena, config->server_root, MU_S("/"), MU_S(MU_PID_FILE)).p;
}

enum mu_rc mu_super_identity(struct mu_config *config, struct mu_identity *id)
{
    const struct mu_super_conf *c = mu_super_conf_of(config);
    struct mu_str err = MU_STR_NULL;

    memset(id, 0, sizeof(*id));
    if (geteuid() != 0)
        return MU_OK;
    if (!c->user.n)
        return mu_config_error(
            config, "started as root, but there is no User: say as whom the children shall run "
                    "(User www-data, Group www-data)");
    if (mu_identity_resolve(config->arena, c->user, c->group, id, &err) != MU_OK)
        return mu_config_error(config, "%.*s", MU_FMT(err));
    if (id->uid == 0)
        return mu_config_error(config, "User \"%.*s\" is root: children must not run as root",
                               MU_FMT(c->user));
    return MU_OK;
}
