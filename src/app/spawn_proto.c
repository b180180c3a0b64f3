/*
 * spawn_proto: a request to start a program, as bytes. The writing side is a web child, which may
 * be in somebody else's hands; the reading side believes nothing: every length is checked, every
 * string ends inside the text, and what is left over makes the whole thing bad.
 */
#include "app/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <muster/str.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };

static void add_string(struct mu_buf *text, const char *s)
{
    mu_buf_add(text, mu_str_n(s, strlen(s) + 1));
}

static uint32_t add_strings(struct mu_buf *text, char *const *v)
{
    uint32_t n = 0;

    for (; v[n] && text->n <= MU_SPAWN_TEXT_MAX; n++)
        add_string(text, v[n]);
    return n;
}

static void put_limit(struct mu_spawn_head *head, enum mu_spawn_limit i,
                      const struct mu_app_limit *l)
{
    if (!l->is_set)
        return;
    head->limits_set |= 1u << i;
    head->limits[i][0] = l->soft;
    head->limits[i][1] = l->hard;
}

enum mu_rc mu_spawn_encode(const struct mu_spawn *s, struct mu_spawn_head *head,
                           struct mu_buf *text)
{
    *head = (struct mu_spawn_head){ .magic = MU_SPAWN_MAGIC, .suexec = s->suexec };
    add_string(text, s->path);
    add_string(text, s->dir);
    head->argc = add_strings(text, s->argv);
    head->envc = add_strings(text, s->envp);
    put_limit(head, MU_SPAWN_CPU, &s->limits.cpu_s);
    put_limit(head, MU_SPAWN_MEM, &s->limits.mem_bytes);
    put_limit(head, MU_SPAWN_NPROC, &s->limits.nproc);
    if (text->is_failed)
        return MU_NOMEM;
    head->text_n = (uint32_t)text->n;
    return text->n > MU_SPAWN_TEXT_MAX ? MU_LIMIT : MU_OK;
}

bool mu_spawn_head_is_good(const struct mu_spawn_head *head, size_t inline_n, bool has_memfd)
{
    uint64_t strings = 2 + (uint64_t)head->argc + head->envc;

    if (head->magic != MU_SPAWN_MAGIC || head->argc == 0 || head->text_n > MU_SPAWN_TEXT_MAX ||
        strings > head->text_n) /* each takes a byte at least */
        return false;
    return has_memfd ? inline_n == 0 : inline_n == head->text_n;
}

/* The next string of *text, or NULL when there is none. */
static char *take(char **text, char *end)
{
    char *s = *text, *nul = s < end ? memchr(s, '\0', (size_t)(end - s)) : NULL;

    if (nul)
        *text = nul + 1;
    return nul ? s : NULL;
}

static char **take_all(char **text, char *end, uint32_t n)
{
    char **v = calloc((size_t)n + 2, sizeof(*v)); /* for the NULL, and mu_suexec_clean_env's */

    for (uint32_t i = 0; v && i < n; i++) {
        v[i] = take(text, end);
        if (!v[i]) {
            free(v);
            errno = EBADMSG;
            return NULL;
        }
    }
    return v;
}

static bool are_variables(char **envp)
{
    for (; *envp; envp++) {
        if ((*envp)[0] == '=' || !strchr(*envp, '='))
            return false;
    }
    return true;
}

enum mu_rc mu_spawn_parse(const struct mu_spawn_head *head, char *text, struct mu_spawn_order *out)
{
    char *at = text, *end = text + head->text_n;

    *out = (struct mu_spawn_order){ .path = take(&at, end) };
    out->dir = take(&at, end);
    errno = 0;
    out->argv = out->dir ? take_all(&at, end, head->argc) : NULL;
    out->envp = out->argv ? take_all(&at, end, head->envc) : NULL;
    if (out->envp && at == end && out->path[0] == '/' && out->dir[0] == '/' &&
        are_variables(out->envp))
        return MU_OK;
    mu_spawn_order_fini(out);
    return errno == ENOMEM ? MU_NOMEM : MU_BAD;
}

void mu_spawn_order_fini(struct mu_spawn_order *o)
{
    free(o->argv);
    free(o->envp);
    *o = (struct mu_spawn_order){ .path = NULL };
}

int mu_spawn_text_to_fd(struct mu_str text)
{
    int fd = memfd_create("muster-spawn", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int saved;

    while (fd >= 0 && text.n) {
        ssize_t n = write(fd, text.p, text.n);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        text = mu_str_n(text.p + n, text.n - (size_t)n);
    }
    if (fd >= 0 && text.n == 0 && fcntl(fd, F_ADD_SEALS, SEALS) == 0)
        return fd;
    saved = errno;
    if (fd >= 0)
        close(fd);
    errno = saved;
    return -1;
}

/* Only memory can be sealed: a file on a disk that hangs, or a pipe, cannot get here. */
static bool is_sealed(int fd, size_t n)
{
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);

    return seals >= 0 && (seals & SEALS) == SEALS && fstat(fd, &st) == 0 && st.st_size >= 0 &&
           (uint64_t)st.st_size == n;
}

char *mu_spawn_text_from_fd(int fd, size_t n)
{
    char *text = NULL;
    size_t got = 0;

    if (!is_sealed(fd, n)) {
        errno = EBADMSG;
        return NULL;
    }
    text = malloc(n ? n : 1);
    while (text && got < n) {
        ssize_t k = pread(fd, text + got, n - got, (off_t)got);

        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0) {
            free(text);
            errno = EBADMSG;
            return NULL;
        }
        got += (size_t)k;
    }
    return text;
}
