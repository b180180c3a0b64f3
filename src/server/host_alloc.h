/* Memory of connection structs, between host.c and conn.c. */
#ifndef MU_SERVER_HOST_ALLOC_H
#define MU_SERVER_HOST_ALLOC_H

#include <server/conn_internal.h>

/** A zeroed connection struct with room for the protocol's state. NULL when out of memory. */
struct mu_conn *mu_host_conn_alloc(struct mu_conn_host *h, const struct mu_protocol *proto);
/** Give it back; c->proto must still be what it was allocated for. */
void mu_host_conn_free(struct mu_conn_host *h, struct mu_conn *c);

#endif
