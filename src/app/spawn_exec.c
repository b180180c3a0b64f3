/*
 * spawn_exec: from a request to a running program. The helper's own user's programs are started by
 * vfork, which costs the same however much memory the helper has; suexec's by fork, because between
 * the change of user and execve the process must share nothing with root. Both report what failed
 * through a pipe that execve closes. In the new process everything is a system call; suexec's also
 * takes the request apart there, as the user it is for.
 */
#include "app/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <muster/log.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MU_SPAWN_FORKS 1 /* a sanitizer's own memory must not be shared */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define MU_SPAWN_FORKS 1
#endif
#endif

/* No function: the stack of the one that calls vfork must last until execve. */
#ifdef MU_SPAWN_FORKS
#define START_SHARING() fork()
#else
#define START_SHARING() vfork()
#endif

static _Noreturn void give_up(int out, enum mu_spawn_word word, int value)
{
    struct mu_spawn_reply why = { .word = word, .value = value };

    (void)!write(out, &why, sizeof(why));
    _exit(127);
}

/* Descriptors 0, 1, 2, and the rest closed by execve. Received ones have higher numbers. */
static bool take_descriptors(const int *fd)
{
    for (int i = 0; i < 3; i++) {
        if (dup2(fd[i], i) < 0)
            return false;
    }
    if (close_range(3, UINT_MAX, CLOSE_RANGE_CLOEXEC) == 0)
        return true;
    return errno == ENOSYS || errno == EPERM; /* then each of them was close-on-exec already */
}

/* As far as the process may: a limit that is higher than the present hard one becomes that. */
static void set_limit(int resource, const uint64_t *soft_hard)
{
    struct rlimit l;
    rlim_t soft = soft_hard[0] == UINT64_MAX ? RLIM_INFINITY : (rlim_t)soft_hard[0];
    rlim_t hard = soft_hard[1] == UINT64_MAX ? RLIM_INFINITY : (rlim_t)soft_hard[1];

    if (getrlimit((__rlimit_resource_t)resource, &l) != 0)
        return;
    if (hard < l.rlim_max)
        l.rlim_max = hard;
    l.rlim_cur = soft < l.rlim_max ? soft : l.rlim_max;
    (void)setrlimit((__rlimit_resource_t)resource, &l);
}

static void set_limits(const struct mu_spawn_head *head)
{
    static const int resources[MU_SPAWN_LIMITS] = {
        [MU_SPAWN_CPU] = RLIMIT_CPU, [MU_SPAWN_MEM] = RLIMIT_AS, [MU_SPAWN_NPROC] = RLIMIT_NPROC
    };

    for (unsigned i = 0; i < MU_SPAWN_LIMITS; i++) {
        if (head->limits_set & (1u << i))
            set_limit(resources[i], head->limits[i]);
    }
}

/* The last steps: a helper that is killed takes its programs with it; no signal is blocked. */
static _Noreturn void execute(const char *path, const struct mu_spawn_head *head,
                              const struct mu_spawn_order *o, pid_t helper, int out)
{
    sigset_t none;

    set_limits(head);
    mu_descriptors_restore();
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    sigemptyset(&none);
    if (getppid() != helper)
        _exit(127);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(path, o->argv, o->envp);
    give_up(out, MU_SPAWN_FAILED, errno);
}

static _Noreturn void become_plain(const struct mu_spawn_request *rq,
                                   const struct mu_spawn_order *o, pid_t helper, int out)
{
    if (setsid() < 0 || !take_descriptors(rq->fd) || chdir(o->dir) != 0)
        give_up(out, MU_SPAWN_FAILED, errno);
    execute(o->path, &rq->head, o, helper, out);
}

/* Of suexec's helper, in a process of its own. */
static _Noreturn void become_target(const struct mu_spawn_request *rq,
                                    const struct mu_suexec_target *t, pid_t helper, int out)
{
    struct mu_suexec_checked checked;
    struct mu_spawn_order o;
    char *text = rq->text;
    char err[256], name[NAME_MAX + 3];
    enum mu_rc rc;

    if (mu_identity_become(&t->id, err, sizeof(err)) != MU_OK) {
        MU_LOG(NULL, "suexec", MU_LOG_ERR, "MU1320", "%s", err);
        give_up(out, MU_SPAWN_REFUSED, 0);
    }
    if (!text)
        text = mu_spawn_text_from_fd(rq->text_fd, rq->head.text_n);
    rc = text ? mu_spawn_parse(&rq->head, text, &o) : MU_BAD;
    if (rc != MU_OK)
        give_up(out, MU_SPAWN_FAILED, rc == MU_NOMEM ? ENOMEM : EBADMSG);
    mu_suexec_check(t, o.path, &checked);
    if (checked.reason) {
        MU_LOG(NULL, "suexec", MU_LOG_ERR, "MU1321", "%s is not run as user %s, group %lu: %s",
               o.path, t->id.user, (unsigned long)t->id.gid, checked.reason);
        give_up(out, MU_SPAWN_REFUSED, 0);
    }
    MU_LOG(NULL, "suexec", MU_LOG_INFO, "MU1322", "uid %lu, gid %lu: %s", (unsigned long)t->id.uid,
           (unsigned long)t->id.gid, o.path);
    mu_suexec_clean_env(o.envp);
    snprintf(name, sizeof(name), "./%s", checked.name);
    if (setsid() < 0 || !take_descriptors(rq->fd) || fchdir(checked.dir_fd) != 0)
        give_up(out, MU_SPAWN_FAILED, errno);
    execute(name, &rq->head, &o, helper, out);
}

/* What the pipe says: nothing when execve has closed it. */
enum mu_rc mu_spawn_has_begun(int start_fd, struct mu_spawn_reply *why)
{
    ssize_t n;

    do
        n = read(start_fd, why, sizeof(*why));
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        return MU_AGAIN;
    if (n != 0 && n != (ssize_t)sizeof(*why))
        *why = (struct mu_spawn_reply){ .word = MU_SPAWN_FAILED, .value = EIO };
    return n == 0 ? MU_OK : MU_BAD;
}

static pid_t start_plain(const struct mu_spawn_request *rq, int out)
{
    char *text = rq->text ? rq->text : mu_spawn_text_from_fd(rq->text_fd, rq->head.text_n);
    struct mu_spawn_order o = { .path = NULL };
    pid_t helper = getpid(), pid = -1;
    enum mu_rc rc = text ? mu_spawn_parse(&rq->head, text, &o) : MU_BAD;
    int saved = errno;

    if (rc == MU_OK) {
        pid = START_SHARING();
        if (pid == 0)
            become_plain(rq, &o, helper, out);
        saved = errno;
        mu_spawn_order_fini(&o);
    } else if (text) {
        saved = rc == MU_NOMEM ? ENOMEM : EBADMSG;
    }
    if (text != rq->text)
        free(text);
    errno = saved;
    return pid;
}

/*
 * Of suexec's, nobody waits for execve: until then the process is in the hands of a user who can stop it,
 * or keep its program busy (a lease, a file system of one's own), and other users are not to wait for that.
 */
static pid_t start_target(const struct mu_spawn_request *rq, const struct mu_suexec_target *target,
                          const int *ends)
{
    pid_t helper = getpid(), pid = fork();

    if (pid == 0)
        become_target(rq, target, helper, ends[1]);
    if (pid > 0)
        (void)fcntl(ends[0], F_SETFL, O_NONBLOCK);
    return pid;
}

pid_t mu_spawn_process(const struct mu_spawn_request *rq, const struct mu_suexec_target *target,
                       struct mu_spawn_reply *why, int *start_fd)
{
    int ends[2];
    pid_t pid;

    *start_fd = -1;
    if (pipe2(ends, O_CLOEXEC) != 0) {
        *why = (struct mu_spawn_reply){ .word = MU_SPAWN_FAILED, .value = errno };
        return 0;
    }
    pid = target ? start_target(rq, target, ends) : start_plain(rq, ends[1]);
    *why = (struct mu_spawn_reply){ .word = MU_SPAWN_FAILED, .value = errno };
    close(ends[1]);
    if (pid > 0 && target) {
        *start_fd = ends[0];
        return pid;
    }
    if (pid > 0 && mu_spawn_has_begun(ends[0], why) != MU_OK) {
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            continue;
        pid = 0;
    }
    close(ends[0]);
    return pid > 0 ? pid : 0;
}
