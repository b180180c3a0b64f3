/* Inside the room: the words between who wants a program started (a process of the server) and the
 * helper that starts it, and what the helper's files have in common.
 *
 * A request is one packet on the helper's socket: struct mu_spawn_head, then the text (in a sealed
 * memfd when it is long), with the descriptors of the reply socket, of 0, 1 and 2, and of the memfd.
 * Replies are struct mu_spawn_reply on the reply socket: one that it was started, or why not; one
 * that it has ended. When the asking side closes its end, a program that runs still is ended with its
 * process group; when it has written MU_SPAWN_KILL before, a group without its leader is, too. */
#ifndef MU_APP_SPAWN_H
#define MU_APP_SPAWN_H

#include <base/proc.h>
#include <muster/buf.h>
#include <muster/list.h>
#include <muster/spawn.h>

enum {
    MU_SPAWN_MAGIC = 0x4d755370,
    MU_SPAWN_INLINE_MAX = 16 * 1024,     /**< text in the packet itself */
    MU_SPAWN_TEXT_MAX = 4 * 1024 * 1024, /**< in a memfd; execve takes less */
};

enum mu_spawn_limit { MU_SPAWN_CPU, MU_SPAWN_MEM, MU_SPAWN_NPROC, MU_SPAWN_LIMITS };

/** How a packet begins. The text is the path, the directory, argc words and envc "NAME=value", each
 *  with a NUL behind it. */
struct mu_spawn_head {
    uint32_t magic;
    uint32_t text_n;
    uint32_t argc, envc;
    int32_t suexec; /**< mu_config_suexec(), -1: none */
    uint32_t limits_set;
    uint64_t limits[MU_SPAWN_LIMITS][2]; /**< soft, hard */
};

enum mu_spawn_word {
    MU_SPAWN_STARTED = 1, /**< value: the pid */
    MU_SPAWN_FAILED,      /**< value: errno */
    MU_SPAWN_REFUSED,     /**< by suexec's checks; logged by the helper */
    MU_SPAWN_ENDED,       /**< value: the status as of waitpid(2) */
};
/** The one byte that the asking side may write on the reply socket. */
enum { MU_SPAWN_KILL = 'K' };
struct mu_spawn_reply {
    uint32_t word;
    int32_t value;
};

/** A request taken apart; strings lie in the text, the vectors on the heap. */
struct mu_spawn_order {
    char *path, *dir;
    char **argv, **envp; /**< NULL at the end */
};

/* ---- spawn_proto.c ---- */

/**
 * Head and text of `s` into *head and *text.
 * Returns: MU_OK; MU_NOMEM; MU_LIMIT: longer than MU_SPAWN_TEXT_MAX.
 */
MU_NODISCARD enum mu_rc mu_spawn_encode(const struct mu_spawn *s, struct mu_spawn_head *head,
                                        struct mu_buf *text);
/** Is it a head, and is the text where it says (inline_n bytes follow, or a memfd came)? */
bool mu_spawn_head_is_good(const struct mu_spawn_head *head, size_t inline_n, bool has_memfd);
/**
 * Take the text apart; it is written by whoever asks, so nothing of it is believed.
 * Returns: MU_OK (give it to mu_spawn_order_fini); MU_BAD; MU_NOMEM.
 */
MU_NODISCARD enum mu_rc mu_spawn_parse(const struct mu_spawn_head *head, char *text,
                                       struct mu_spawn_order *out);
void mu_spawn_order_fini(struct mu_spawn_order *o);
/** A memfd that holds `text` and cannot be changed any more; -1 with errno. */
int mu_spawn_text_to_fd(struct mu_str text);
/** Read all `n` bytes of one, if it is one and sealed. NULL with errno. The caller frees. */
char *mu_spawn_text_from_fd(int fd, size_t n);

/* ---- spawn_exec.c ---- */

/** One request as the helper received it. */
struct mu_spawn_request {
    struct mu_spawn_head head;
    char *text;  /**< head.text_n bytes, or NULL: in text_fd */
    int text_fd; /**< -1 */
    int reply_fd;
    int fd[3];
};
struct mu_suexec_target;

/**
 * Start it. `target` is NULL for the helper's own user; else the new process becomes that user
 * before it looks at anything of the request but its head, and nobody waits for how it goes on:
 * *start_fd is then what mu_spawn_has_begun() reads when it is readable; -1: it runs.
 * Returns: the pid; 0 with the word and value to answer in *why.
 */
pid_t mu_spawn_process(const struct mu_spawn_request *rq, const struct mu_suexec_target *target,
                       struct mu_spawn_reply *why, int *start_fd);
/** Returns: MU_OK: it runs; MU_AGAIN: not known yet; MU_BAD: *why is what to answer. */
enum mu_rc mu_spawn_has_begun(int start_fd, struct mu_spawn_reply *why);

/* ---- spawn_suexec.c ---- */

/** Whom SuexecUserGroup names, and where that one's scripts may lie. */
struct mu_suexec_target {
    struct mu_identity id;
    const char **roots; /**< DocumentRoots of the servers that name it, and the user's public_html;
                             NULL at the end */
};

/**
 * Resolve entry `index` of the configuration's list.
 * Returns: MU_OK; MU_NOENT without such an entry; MU_DENIED: not one that scripts may run as
 *          (logged); MU_NOMEM.
 */
MU_NODISCARD enum mu_rc mu_suexec_resolve(const struct mu_config *config, int index,
                                          struct mu_arena *a, struct mu_suexec_target *out);
/** What keeps a script from being started, NULL: nothing. */
struct mu_suexec_checked {
    int dir_fd;         /**< the script's directory (O_PATH) */
    const char *name;   /**< in it */
    const char *reason; /**< NULL when it may run */
};
/** In the new process, which is `target` already: look at the script `path` on descriptors. */
void mu_suexec_check(const struct mu_suexec_target *target, const char *path,
                     struct mu_suexec_checked *out);
/** Leave what suexec's list of safe variables names, and set PATH. In place: there is room for one more. */
void mu_suexec_clean_env(char **envp);

/* ---- spawn_helper.c ---- */

struct mu_spawn_helper_opts {
    int fd;                             /**< the requests */
    const struct mu_identity *identity; /**< to become; NULL: none, this is suexec's helper */
    const struct mu_config *config;     /**< for suexec's list; NULL elsewhere */
};
/** The helper's life. Returns its exit status. */
int mu_spawn_helper(const struct mu_spawn_helper_opts *o);

/* ---- spawn_group.c ---- */

extern const struct mu_group mu_spawn_group;
/** The socket of the helper that starts programs as `suexec` says; -1: there is none. */
int mu_spawn_socket(bool is_suexec);
/** Is SuexecUserGroup obeyed? (The server was started as root.) */
bool mu_spawn_has_suexec(void);

/* ---- spawn_slots.c ---- */

/** The table of running scripts, shared by all web children of all generations. */
struct mu_spawn_slots;
/**
 * Map the table in `fd` (-1: make a new one). NULL with errno when it cannot be used.
 * Owns: the descriptors, when it returns something.
 */
struct mu_spawn_slots *mu_spawn_slots_open(int fd, int event_fd);
void mu_spawn_slots_close(struct mu_spawn_slots *s);
/** Descriptors of the table and of its event, for a re-exec. */
void mu_spawn_slots_fds(const struct mu_spawn_slots *s, int *fd, int *event_fd);
/** A web child has ended: what it held is free. */
void mu_spawn_slots_forget(struct mu_spawn_slots *s, pid_t pid);
/** The one this process uses from now on. */
void mu_spawn_slots_use(struct mu_spawn_slots *s);

#endif
