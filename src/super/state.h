/* What one image of the supervisor hands to the next over execve: versioned key/length/value
 * records in a memfd. */
#ifndef MU_SUPER_STATE_H
#define MU_SUPER_STATE_H

#include <muster/buf.h>
#include <muster/types.h>

#define MU_STATE_VERSION 1u

/**
 * Keys. Never renumber; a reader skips what it does not know from MU_STATE_OPTIONAL on, and refuses
 * it below.
 */
enum mu_state_key {
    MU_STATE_END = 0, /**< no value; what follows is the reason of a failed take-over, as text */
    MU_STATE_GENERATION = 1, /**< u64: of the image that writes */
    MU_STATE_START_TIME = 2, /**< i64: seconds since the epoch, of the first image */
    MU_STATE_IS_HARD = 3,    /**< u64: HUP rather than USR1 */
    MU_STATE_TREE_OLD = 4,   /**< text: the resolved configuration in force */
    MU_STATE_TREE_NEW = 5,   /**< text: the one to take */
    MU_STATE_LISTENER = 6,   /**< mu_state_listener */
    MU_STATE_BOARD = 7,      /**< mu_state_board: a generation */
    MU_STATE_CHILD = 8,      /**< mu_state_child */
    MU_STATE_PIPELOG = 9,    /**< mu_state_pipelog, then its specification as text */
    MU_STATE_PENDING = 10,   /**< u64: signals taken from the kernel and not acted on */
    MU_STATE_PIDFILE = 11,   /**< text */
    MU_STATE_IS_DAEMON = 12, /**< u64 */
    MU_STATE_LAST = MU_STATE_IS_DAEMON,
    MU_STATE_OPTIONAL = 1000,
    MU_STATE_GROUP =
        1000, /**< u64: length of a group's name, the name, and what its save() wrote */
    MU_STATE_GROUP_HOLD = 1001, /**< mu_state_hold, then the group's name (empty: of none) */
};

struct mu_state_listener {
    int64_t fd, bucket;
};
struct mu_state_board {
    uint64_t generation;
    int64_t board_fd, locks_fd; /**< -1: none */
    uint64_t children, slots, locks;
    uint64_t asked; /**< enum mu_stop */
};
struct mu_state_child {
    int64_t pid, channel_fd;
    uint64_t generation, place, flags, asked, bytes_seen;
    int64_t started_ms, ready_ms, asked_ms;
};
enum {
    MU_STATE_CHILD_READY = 1,
    MU_STATE_CHILD_LEAVING = 2,
    MU_STATE_CHILD_TERM = 4,
    MU_STATE_CHILD_KILL = 8,
    MU_STATE_CHILD_DEAF = 16,
};
struct mu_state_pipelog {
    int64_t pid, read_fd, write_fd;
};
/** A process or a descriptor of a group, for an image that lacks the group. */
struct mu_state_hold {
    int64_t pid, fd; /**< 0 and -1: none */
};

/** Begin a state in `b`: magic and version. */
void mu_state_begin(struct mu_buf *b);
/** One record whose value is `head` (n bytes) and then `text`. */
void mu_state_put(struct mu_buf *b, enum mu_state_key key, const void *head, size_t n,
                  struct mu_str text);
void mu_state_put_u64(struct mu_buf *b, enum mu_state_key key, uint64_t v);

/** Check magic and version. Returns MU_OK with *at behind them, or MU_BAD. */
MU_NODISCARD enum mu_rc mu_state_open(struct mu_str all, struct mu_str *at);
/**
 * The next record. Returns MU_OK; MU_EOF at MU_STATE_END (*at is then the reason); MU_BAD when it
 * is cut short.
 */
MU_NODISCARD enum mu_rc mu_state_next(struct mu_str *at, uint32_t *key, struct mu_str *value);
/** Take a fixed head off the front of a value. Returns false when it is too short. */
MU_NODISCARD bool mu_state_head(struct mu_str *value, void *head, size_t n);

/**
 * A memfd with these bytes (not close-on-exec), positioned at its start. -1 and errno on failure.
 */
int mu_state_to_fd(struct mu_str bytes);
/** Read all of a file. Returns MU_OK; MU_NOMEM; MU_EIO. */
MU_NODISCARD enum mu_rc mu_state_from_fd(int fd, struct mu_buf *out);

#endif
