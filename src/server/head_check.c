/*
 * head_check: the last look at an answer before its head is made, whatever protocol makes it. Modules
 * and the applications behind them may set nearly all of it; what could end or split the head, and so
 * be taken for another answer, is never sent: the answer becomes a 500, and the log names the field.
 */
#include <server/exchange.h>

#include <http/h1.h>

static bool is_sane(struct mu_str value, const char *name, const char **culprit)
{
    if (MU_LIKELY(mu_h1_field_is_sane(MU_S("x"), value)))
        return true;
    *culprit = name;
    return false;
}

static bool table_is_sane(const struct mu_headers *t, struct mu_str *culprit)
{
    for (uint32_t i = 0; i < t->n; i++) {
        if (MU_UNLIKELY(!mu_h1_field_is_sane(t->v[i].name, t->v[i].value))) {
            *culprit = t->v[i].name;
            return false;
        }
    }
    return true;
}

static bool languages_are_sane(const struct mu_req *r, const char **culprit)
{
    for (size_t i = 0; i < r->languages.n; i++) {
        if (!is_sane(r->languages.v[i], "Content-Language", culprit))
            return false;
    }
    return true;
}

/** What has a member of its own in the request. */
static bool members_are_sane(const struct mu_req *r, const char **culprit)
{
    if (r->status < 100 || r->status > 999) {
        *culprit = "status";
        return false;
    }
    return is_sane(r->content_type, "Content-Type", culprit) &&
           is_sane(r->content_encoding, "Content-Encoding", culprit) &&
           is_sane(r->etag, "ETag", culprit) &&
           is_sane(r->status_reason, "reason phrase", culprit) && languages_are_sane(r, culprit);
}

bool mu_answer_is_sane(struct mu_req *r)
{
    const char *member = NULL;
    struct mu_str field = MU_STR_NULL;

    if (MU_UNLIKELY(mu_exchange_of(r)->is_field_lost))
        return false; /* logged when it was */
    if (MU_LIKELY(members_are_sane(r, &member) && table_is_sane(&r->out_always, &field) &&
                  table_is_sane(&r->out, &field)))
        return true;
    if (member)
        field = mu_str_n(member, strlen(member));
    MU_LOG(
        &r->log, "core", MU_LOG_ERR, "MU0520",
        "the answer for \"%.*s\" is not sent, 500 instead: its %.*s holds characters that would end or split the head; "
        "the handler (%.*s), the application behind it, or the configuration must not set such a value",
        MU_FMT(r->path), MU_FMT(field), MU_FMT(r->handler));
    return false;
}

void mu_answer_forget(struct mu_req *r)
{
    r->status = MU_500_INTERNAL_SERVER_ERROR;
    r->status_reason = MU_STR_NULL;
    r->out = r->out_always = (struct mu_headers){ 0 };
    r->content_encoding = r->etag = MU_STR_NULL;
    r->content_type = MU_S("text/html; charset=iso-8859-1");
    r->languages = (struct mu_strs){ 0 };
    r->last_modified = -1;
    mu_exchange_of(r)->is_field_lost = false;
}
