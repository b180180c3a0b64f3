/*
 * doors: the listening sockets of the server. They are opened as root, before anything else, and
 * outlive every restart: a new configuration adopts those it names again by asking the kernel what
 * they are bound to, opens what is new, and closes the rest once its children serve.
 */
#include "super/master.h"

#include <muster/str.h>
#include <stdlib.h>
#include <unistd.h>

bool mu_doors_add(struct mu_door **doors, size_t *n, int fd, uint32_t bucket)
{
    struct mu_door *v = reallocarray(*doors, *n + 1, sizeof(*v));

    if (!v)
        return false;
    *doors = v;
    v[*n] = (struct mu_door){ .listener = { .fd = fd, .bucket = bucket } };
    (*n)++;
    return true;
}

static uint32_t count_buckets(const struct mu_super_conf *c)
{
    int64_t n;

    if (c->buckets_ratio <= 0)
        return 1;
    n = mu_core_count() / c->buckets_ratio;
    return n < 1 ? 1 : (uint32_t)n;
}

static struct mu_door *find_open(struct mu_super *s, const struct mu_listen *want, uint32_t bucket)
{
    for (size_t i = 0; i < s->doors_n; i++) {
        struct mu_door *d = &s->doors[i];

        if (!d->is_wanted && d->listener.bucket == bucket && mu_listener_is(d->listener.fd, want))
            return d;
    }
    return NULL;
}

static enum mu_rc open_one(struct mu_super *s, const struct mu_listen *want,
                           const struct mu_listen_options *o, uint32_t bucket)
{
    struct mu_door *d = find_open(s, want, bucket);
    struct mu_str err = MU_STR_NULL;
    int fd;

    if (d) {
        if (mu_listener_adopt(d->listener.fd, o) != MU_OK)
            return mu_config_error(s->config, "a listening socket cannot be taken over");
    } else {
        fd = mu_listener_open(s->config->arena, want, o, &err);
        if (fd < 0)
            return mu_config_error(s->config, "%.*s", MU_FMT(err));
        if (!mu_doors_add(&s->doors, &s->doors_n, fd, bucket)) {
            close(fd);
            return mu_config_error(s->config, "out of memory");
        }
        d = &s->doors[s->doors_n - 1];
    }
    d->listener.want = *want;
    d->is_wanted = true;
    return MU_OK;
}

/* Each Listen once; all errors in one go. */
static struct mu_listen *parse_all(struct mu_super *s)
{
    struct mu_config *c = s->config;
    struct mu_listen *wants = mu_new_n(c->arena, struct mu_listen, c->listens_n + 1);
    struct mu_str err = MU_STR_NULL;
    bool is_good = wants != NULL;

    for (size_t i = 0; wants && i < c->listens_n; i++) {
        const struct mu_listen_spec *l = &c->listens[i];

        wants[i].file = mu_cstr(c->arena, l->file);
        wants[i].line = l->line;
        if (mu_listen_parse(c->arena, l->text, l->protocol, &wants[i], &err) != MU_OK) {
            mu_config_error(c, "%.*s:%u: %.*s", MU_FMT(l->file), l->line, MU_FMT(err));
            is_good = false;
            continue;
        }
        wants[i].file = mu_cstr(c->arena, l->file);
        wants[i].line = l->line;
        for (size_t k = 0; k < i; k++) {
            if (!mu_listen_is_dup(&wants[k], &wants[i]))
                continue;
            mu_config_error(
                c, "%.*s:%u: Listen %.*s: there is one for the same address on line %u of %s",
                MU_FMT(l->file), l->line, MU_FMT(l->text), wants[k].line, wants[k].file);
            is_good = false;
        }
    }
    return is_good ? wants : NULL;
}

enum mu_rc mu_doors_open(struct mu_super *s)
{
    const struct mu_super_conf *c = s->settings;
    struct mu_listen_options o = { .backlog = (int)c->listen_backlog,
                                   .send_buffer = (int)c->send_buffer,
                                   .receive_buffer = (int)c->receive_buffer };
    struct mu_listen *wants;
    enum mu_rc rc = MU_OK;

    if (!s->config->listens_n)
        return mu_config_error(
            s->config, "no listening sockets: the configuration needs at least one Listen line");
    s->buckets = count_buckets(c);
    o.has_reuseport = s->buckets > 1;
    wants = parse_all(s);
    if (!wants)
        return MU_BAD;
    for (size_t i = 0; i < s->doors_n; i++)
        s->doors[i].is_wanted = false;
    for (size_t i = 0; i < s->config->listens_n; i++) {
        for (uint32_t b = 0; b < s->buckets; b++) {
            if (open_one(s, &wants[i], &o, b) != MU_OK) {
                rc = MU_BAD;
                break;
            }
        }
    }
    return rc;
}

void mu_doors_close_unwanted(struct mu_super *s)
{
    size_t kept = 0;

    for (size_t i = 0; i < s->doors_n; i++) {
        if (s->doors[i].is_wanted)
            s->doors[kept++] = s->doors[i];
        else
            close(s->doors[i].listener.fd);
    }
    s->doors_n = kept;
}

void mu_doors_close_all(struct mu_super *s)
{
    for (size_t i = 0; i < s->doors_n; i++)
        close(s->doors[i].listener.fd);
    s->doors_n = 0;
}
