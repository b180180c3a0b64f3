/* A module for the tests: its conf shows which sections applied in which order, its handlers use
 * the request API. */
#ifndef PROBE_H
#define PROBE_H

extern struct mu_module mu_module_probe;

/** How often the log hook ran, and for which status last. */
extern unsigned probe_logs;
extern int probe_logged;

#endif
