/* One inotify instance a generation, shared by its children, stands in for the stat of each cache
 * hit under prefork and worker (under event one stat serves all requests of a reactor's turn).
 *
 * A hit asks with FIONREAD whether events are waiting. Whoever finds some raises the generation
 * first and drains those second, so nobody can see the queue empty and the old generation when something
 * changed; who meets one that does it goes and asks stat. Which file it was does not matter: each entry is stat'ed once more and goes on. Three
 * things stay out of inotify's sight: writes through mmap, mounts, and a child that was taken over
 * and drains in silence; the cache therefore trusts a generation for a second at the most. Watch
 * first and read second: see mu_watch_path.
 */
#include <server/watch.h>

#include <linux/magic.h>
#include <stdatomic.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Kernel memory is spent on each until the generation ends. The kernel numbers them as they are made. */
enum { WATCHES_MAX = 16 * 1024 };

#define DIR_EVENTS                                                                                 \
    (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB | IN_DELETE_SELF |            \
     IN_MOVE_SELF | IN_ONLYDIR | IN_DONT_FOLLOW)
#define FILE_EVENTS (IN_MODIFY | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_DONT_FOLLOW)
#define XFS_MAGIC 0x58465342

/** Shared by the children of a generation. */
struct shared {
    _Atomic uint64_t generation;
    _Atomic bool is_draining;
};

static struct shared *shared;
static int watch_fd = -1;

void mu_watch_close(void)
{
    if (watch_fd >= 0)
        close(watch_fd);
    if (shared)
        munmap(shared, sizeof(*shared));
    watch_fd = -1;
    shared = NULL;
}

void mu_watch_open(void)
{
    void *p;

    mu_watch_close();
    p = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return;
    shared = p;
    atomic_init(&shared->generation, 1);
    watch_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (watch_fd < 0)
        mu_watch_close();
}

static int bytes_waiting(void)
{
    int n = 0;

    return ioctl(watch_fd, FIONREAD, &n) == 0 ? n : -1;
}

/* The events that are there when the generation is raised, and none that came behind it: those are for
 * the next one to raise. By one at a time; one that dies here costs stats until the next restart.
 * Returns the new generation; 0: somebody else is at it. */
static uint64_t drain(void)
{
    char events[4096];
    uint64_t raised;
    ssize_t n = 1;
    int left;

    if (atomic_exchange(&shared->is_draining, true))
        return 0;
    left = bytes_waiting();
    raised =
        atomic_fetch_add(&shared->generation, 1) + 1; /* before the queue looks empty: seq_cst */
    for (; left > 0 && n > 0; left -= (int)n)
        n = read(watch_fd, events, (size_t)left < sizeof(events) ? (size_t)left : sizeof(events));
    atomic_store(&shared->is_draining, false);
    return raised;
}

uint64_t mu_watch_generation(void)
{
    uint64_t seen;
    int waiting;

    if (watch_fd < 0)
        return 0;
    /* Before the look at the queue: an event may join an equal one there that is raised for already. */
    seen = atomic_load(&shared->generation);
    waiting = bytes_waiting();
    if (waiting == 0)
        return seen;
    return waiting > 0 ? drain() : 0;
}

/* File systems of this machine alone, whose every change passes the kernel's notification. */
static bool is_local(const char *path)
{
    static const uint32_t known[] = { EXT4_SUPER_MAGIC, XFS_MAGIC, BTRFS_SUPER_MAGIC, TMPFS_MAGIC,
                                      F2FS_SUPER_MAGIC };
    struct statfs fs;

    if (statfs(path, &fs) != 0)
        return false;
    for (size_t i = 0; i < MU_ARRAY_LEN(known); i++) {
        if ((uint32_t)fs.f_type == known[i])
            return true;
    }
    return false;
}

static bool add(const char *path, uint32_t events)
{
    int wd = inotify_add_watch(watch_fd, path, events); /* a path that is a link fails: ENOTDIR */

    return wd >= 0 && wd <= WATCHES_MAX;
}

bool mu_watch_path(struct mu_str filename)
{
    char path[4096];
    struct stat st;

    if (watch_fd < 0 || filename.n == 0 || filename.n >= sizeof(path) || filename.p[0] != '/')
        return false;
    if (!add("/", DIR_EVENTS))
        return false;
    for (size_t i = 1; i < filename.n; i++) {
        if (filename.p[i] != '/')
            continue;
        memcpy(path, filename.p, i);
        path[i] = '\0';
        if (!add(path, DIR_EVENTS))
            return false;
    }
    memcpy(path, filename.p, filename.n);
    path[filename.n] = '\0';
    if (!add(path, FILE_EVENTS))
        return false;
    return lstat(path, &st) == 0 && S_ISREG(st.st_mode) && is_local(path);
}
